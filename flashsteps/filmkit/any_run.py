"""The run of any algorithm as a film: each of its lines once, in its own words; how exact it is; and what it moved.

Nothing here knows an algorithm by its name: kernels, loops, slots and tensors are those of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from .. import algorithms
from ..errors import shorten
from ..machine.devices import DEFAULT, MODEL, Device, device
from ..machine.events import IO
from ..machine.masks import ARRAY, for_any_size
from ..runs import arguments, exact
from ..runs.counting import count
from ..story.kernels import Kernel, kernels, moved
from ..story.labels import a, opening
from ..story.rounds import rounds
from ..theme import hue, label
from ..trace import narration
from ..trace.trace import Trace
from ..traffic.report import fits
from ..traffic.standard import beside
from ..units import at_most, short, size_of
from . import places, telling
from .actors.bars import Bar, Bars, Legend, Piece
from .actors.cards import Text
from .board import LEAD, LONGEST_CAPTION, Board, reading_time
from .line_by_line import Told, told
from .moments import SCORES
from .run import Run
from .run_stage import RunStage, news
from .storyboard import Storyboard
from .text import literal

#: signs that a film's head has room for, on each canvas
HEAD = 38

#: what of its own an algorithm may take; and what of that a toy's run has, unless another was chosen
OWN = "block_mask", "splits", "softcap", "alibi", "dropout", "seed"
CHOSEN: dict[str, Any] = {"block_mask": "butterfly", "splits": 2}
COUNTED = OWN[:2]  # at any size, too

#: a real head, and real tiles
N, D, TILES = 4096, 64, (128, 64, 32)

#: so many times as far from exact attention as the standard one (or as this): that is no rounding
FAR, LEAST = 20.0, 1e-6

#: seconds for the lines' words, so that all takes a minute at most; less for each kernel beyond the first, which has a
#: chapter of its own, and for what else is told
LINES, KERNEL = 37.0, 1.5

#: seconds for a first look at all that stands there
FIRST = 4.5

#: seconds in which rounds go by that were told already: for each, and all together
ROUND, ROUNDS = 0.4, 1.8


class AnyRun(Storyboard):
    """Of the algorithm of that name."""

    def __init__(self, algorithm: str, **options: Any) -> None:
        self.algorithm, self.about = algorithm, algorithms.algorithm(algorithm)
        called = literal(shorten(self.about.title, LONGEST_CAPTION))
        titles = f"{called[:1].upper()}{called[1:]}, {self.about.direction}", algorithm
        self.title = next((title for title in titles if len(title) <= HEAD), shorten(algorithm, HEAD))
        super().__init__(**options)

    @property
    def words(self) -> str:
        """With those of its author."""
        codes = {run.meta["code"]: narration.of(run.meta).values() for run in self.runs}
        lines = (line.caption + line.code for of in codes.values() for line in of)
        return "".join([super().words, self.title, algorithms.summary(self.algorithm), *lines])

    def storyboard(self, board: Board) -> None:
        trace = board.record(self.algorithm, **own_options(board, self.algorithm))
        parts = kernels(trace)
        more = sum(map(reading_time, news(Run(trace)).values()))
        lines = told(trace, parts, LINES - KERNEL * (len(parts) - 1) - more)
        of, steps = rounds(trace), [one.step for each in lines for one in each]
        run = Run(trace, slowly={of[step] for step in steps or [0]}, singly=True)
        how: dict[str, Any] = {"device": board.option("device", ""), "code": bool(board.option("code", False))}
        how |= {"kind": "slots", "tile": tile_of(trace)}
        if board.short:
            return in_short(board, RunStage(board, run, **how))
        with board.chapter("What it is"):
            stage = RunStage(board, run, without=("meter",), **how)
            board.put(Text(how_it_is_run(board, trace)), stage.places.meter)
            board.say(what_it_is(self.algorithm))
            board.wait(FIRST)
        for n, (kernel, each) in enumerate(zip(parts, lines, strict=True)):
            with board.chapter(f"Kernel {n + 1}" if len(parts) > 1 else "Line by line"):
                if n == 0:
                    board.read()
                    board.remove(board.parts[-1])
                    stage.bring("meter")
                else:
                    stage.begin()
                line_by_line(board, stage, kernel, each, others=len(parts) == 1)
        with board.chapter("What it moved"):
            what_it_moved(board, run, device(how["device"] or DEFAULT))


# ---- what the run is


def own_options(board: Board, algorithm: str) -> dict[str, Any]:
    """What of its own the user chose. Of one that it doesn't take nobody asks, and so it is refused."""
    taken = [name for name in OWN if arguments.takes(algorithm, name)]
    found = {name: value for name in taken if (value := board.option(name)) is not None}
    if board.option("trace") is not None:
        return found
    return {name: value for name, value in CHOSEN.items() if name in taken} | found


def tile_of(trace: Trace) -> tuple[int, int] | None:
    """Of how many queries and keys each tile of scores is, where one kernel makes all of them, tile by tile."""
    meta, found = trace.meta, set[tuple[int, int]]()
    if len(kernels(trace)) > 1:
        return None
    for event in trace:
        if event.op == "compute" and event.slot in SCORES:
            if "i" not in event.loop or len(event.shape) != 2:
                return None
            size = meta["block_q"], meta["block_k"] if "j" in event.loop else meta["keys"]
            at = event.loop["i"], event.loop.get("j", 0)
            whole = zip(size, at, (meta["queries"], meta["keys"]), strict=True)
            if event.shape != tuple(min(of, end - of * n) for of, n, end in whole):
                return None
            found.add(size)
    return found.pop() if len(found) == 1 else None


# ---- shots


def what_it_is(algorithm: str) -> str:
    """The first line of its file, without the source in brackets at its end, and as much of it as a caption holds."""
    words = re.sub(r"\s*\([^()]*\)\.?$", "", literal(algorithms.summary(algorithm))).rstrip(".")
    if len(words) >= LONGEST_CAPTION:
        ends = [found.start() for found in re.finditer(r"[,:;.]\s", words) if found.start() < LONGEST_CAPTION]
        words = words[: max(ends, default=LONGEST_CAPTION - 2)]
    return f"{words or algorithm}."


def how_it_is_run(board: Board, trace: Trace) -> str:
    """Whose input it is, and how that is run."""
    meta = trace.meta
    options = [option(name, meta[name]) for name in OWN if meta.get(name) is not None]
    blocks = f"{_many(meta['block_q'], 'query', 'queries')} and {_many(meta['block_k'], 'key', 'keys')}"
    said = ", ".join([f"Blocks of {blocks}", f"mask {meta['mask'] or 'none'}", *options, meta["dtype"]])
    if "dO" in trace.initial and board.option("trace") is None:
        known = getattr(board.input, "do", None) is not None
        said += "; dO, the gradient of O, is " + ("that of its step" if known else "drawn at random, seed 0")
    return f"{opening(trace)} {said}."


def _many(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def line_by_line(board: Board, stage: RunStage, kernel: Kernel, lines: list[Told], others: bool) -> None:
    """Each line's words, then what it does, and those after it that have none; what was seen before goes by quickly."""
    run = stage.run
    starts, stop = [moment_of(run, one.step) for one in lines], moment_of(run, kernel.stop - 1) + 1
    for one, start, end in zip(lines, starts, [*starts[1:], stop], strict=True):
        board.say(one.words)
        stage.begin()
        parts = parts_of(run, kernel, start, end)
        natural = sum(seconds(run, *part) for new, *part in parts if new)
        share = min(1.0, max(1.0, reading_time(one.words) - LEAD) / (natural or 1.0))
        for n, (new, first, last) in enumerate(parts):
            if new:
                stage.tell(last, share * seconds(run, first, last))
                continue
            if n == len(parts) - 1 and end == stop:
                words = rest_of(run, kernel, first) if others else ""
                board.say(words) if words else board.hush()
            stage.tell(last, min(ROUNDS, ROUND * max(1, run.rounds_between(first, last))))


def parts_of(run: Run, kernel: Kernel, start: int, stop: int) -> list[tuple[bool, int, int]]:
    """Stretches of moments in which lines of the kernel run for the first time, and others; and which they are."""
    seen = {event.line for moment in run.moments[moment_of(run, kernel.start) : start] for event in moment}
    new = []
    for moment in run.moments[start:stop]:
        lines = {event.line for event in moment}
        new.append(not lines <= seen)
        seen |= lines
    edges = [0, *(n for n in range(1, len(new)) if new[n] != new[n - 1]), len(new)]
    return [(new[a], start + a, start + b) for a, b in pairwise(edges)]


def moment_of(run: Run, step: int) -> int:
    return next(n for n, moment in enumerate(run.moments) if any(event.step == step for event in moment))


def seconds(run: Run, start: int, stop: int) -> float:
    return sum(map(run.seconds, range(start, stop)))


def rest_of(run: Run, kernel: Kernel, start: int) -> str:
    """What is said of all that is left."""
    left = kernel.programs[-1] - run.moments[start - 1][0].program
    if len(kernel.programs) > 1 and left:
        return f"The other {left} programs do the same." if left > 1 else "The other program does the same."
    return "So it goes on, round by round." if run.rounds_between(start, len(run)) > 1 else ""


def how_exact(run: Run) -> tuple[str, bool]:
    """What it made, beside the definition, where that can be told; and whether it is something else."""
    trace, found = run.trace, exact.error(run.trace)
    meta, out = trace.meta, sum(len(r.hidden) for r in run.rounds)
    if meta.get("block_mask") and meta["mask"] is None and out:
        tiles = out + sum(len(r.tiles) for r in run.rounds)
        return f"{out} of {tiles} tiles are left out: this is no longer attention to all keys.", False
    if found is None:
        return "", False
    made, (own, standard) = _listed([label(name) for name in trace.outputs if name != "LSE"]), found.values()
    if own > FAR * max(standard, LEAST):
        return f"{made}: up to {own:.2g} from exact attention; standard attention: {standard:.1g}.", True
    are = f"{made} {'are' if ' and ' in made else 'is'} exact to {at_most(own)}, beside float64"
    alone = meta["algorithm"] == trace.standard
    return f"{are}." if alone else f"{are}; standard attention to {at_most(standard)}.", False


def what_it_moved(board: Board, run: Run, gpu: Device) -> None:
    """This toy's bytes, and a real head's, beside standard attention of that direction: by tensor, each on its axis."""
    trace = run.trace
    whole, below = board.main.rows(*board.pick(wide=(8, 2), square=(6, 2), tall=(8, 2)))
    own, meta, (close, other) = trace.meta["algorithm"], trace.meta, how_exact(run)
    name = shorten(algorithms.algorithm(own).title, HEAD)
    alone, real = own == trace.standard, at_real_size(trace, gpu)
    charts = [(f"this run: {meta['queries']} × {meta['keys']} scores, d = {meta['d']}", run.total, run.standard)]
    charts += [real[:3]] if real else []
    sides = whole.columns(2, gap=places.APART) if board.shape == "wide" else whole.rows(2, gap=places.APART)
    boxes = sides if real else (whole,)
    board.clear()
    for (title, moves, theirs), box in zip(charts, boxes, strict=True):
        upper, lower = box.rows(*board.pick(wide=(6, 1), square=(5, 1), tall=(6, 1)))
        totals = {name: moves} | ({} if alone else {"standard": theirs})
        bars = tuple(Bar(name, io.total, "ink", telling.pieces_of(io.by_tensor)) for name, io in totals.items())
        board.put(Bars(bars, max(io.total for io in totals.values()), title=title), upper)
        board.put(Legend((Piece(1, "dim", name="read from HBM"), Piece(1, "dim", True, "written"))), lower)
    for words, box in zip((on_chip(trace, real, gpu) if real else MODEL, close), below.rows(2, gap=0), strict=True):
        board.put(Text(words), box)
    words = f"It moves {size_of(run.total.total)}"
    words += "" if alone else f", standard attention {size_of(run.standard.total)}"
    if real:
        words += f"; at {short(N)} keys {size_of(real.own.total)}" + f" and {size_of(real.standard.total)}" * (
            not alone
        )
    board.say(f"{words}.")
    if other:
        board.say(close)


class Real(NamedTuple):
    """What it moves at a real size, and standard attention does there; how large that is, and what else was chosen."""

    title: str
    own: IO
    standard: IO
    chosen: dict[str, Any]


def at_real_size(trace: Trace, gpu: Device) -> Real | None:
    """With the largest tile that fits an SM, or else the largest. None where this can't be counted."""
    meta, name = trace.meta, trace.meta["algorithm"]
    about, mask = algorithms.algorithm(name), for_any_size(meta["mask"])
    chosen = {of: meta[of] for of in COUNTED if meta.get(of) is not None}
    if str(chosen.get("block_mask")).startswith((ARRAY, "file")):
        return None
    if chosen.get("splits") == CHOSEN["splits"]:  # of a toy
        chosen["splits"] = arguments.own_size(name, "splits", CHOSEN["splits"])
    n = 1 if about.decodes else N
    sizes: dict[str, Any] = {"n": n, "n_keys": N, "d": D, "dtype": meta["dtype"]}
    found = []
    for tile in TILES:
        block_k = arguments.own_size(name, "block_k", tile)
        try:
            own = count(name, **sizes, block_q=tile, block_k=block_k, mask=mask, **chosen)
        except ValueError:
            return None
        title = f"{short(n)} × {short(N)} scores, d = {D}, blocks {min(n, tile)}×{block_k}"
        found.append(Real(title, own, beside(name, **sizes), chosen))
        if fits(name, own, gpu) is not False:
            return found[-1]
    return found[0]


def on_chip(trace: Trace, real: Real, gpu: Device) -> str:
    """What a program needs there at most at the real size, and whether an SM has it."""
    meta, io = trace.meta, real.own
    options = [option(name, value) for name, value in real.chosen.items()]
    options += [for_any_size(meta["mask"]) or "without that mask"] * bool(meta["mask"])
    options += [f"without {name}" for name in ("bias", "sinks") if meta.get(name)]
    where = ", ".join([f"at {short(N)} keys", *options])
    shared, registers = map(_kib, io.peak[:2])
    enough = fits(meta["algorithm"], io, gpu)
    if enough is None:
        return "matrix products are taken to be ideal: on chip is room for what they need"
    held = f"{'fits' if enough else 'too large for'} {'on ' * enough}an SM of {a(gpu.chip)}"
    return f"{where}: a program needs {shared} of shared memory, {registers} of registers: {held}"


def option(name: str, value: Any) -> str:
    """`block mask butterfly`; and keys that are fewer blocks than splits are in fewer pieces."""
    return f"up to {value} splits" if name == "splits" else f"{name.replace('_', ' ')} {value}"


def _kib(nbytes: int) -> str:
    return f"{nbytes / 1024:,.1f}".removesuffix(".0") + " KiB"


def in_short(board: Board, stage: RunStage) -> None:
    """What comes in, what stays, what it comes to: in three captions."""
    run, trace = stage.run, stage.run.trace
    half = run.visited[0].stop if run.visited else len(run) // 4
    with board.chapter("In short"):
        board.say(f"{_listed(moved(trace, 'load'))} come in, tile by tile.")
        stage.play(half, seconds=3.0)
        board.say(made_on_chip(trace))
        stage.play(len(run), seconds=3.2)
        alone = trace.meta["algorithm"] == trace.standard
        words = size_of(run.total.total)
        board.say(f"{words} in all." if alone else f"{words} in all; standard: {size_of(run.standard.total)}.")


def made_on_chip(trace: Trace) -> str:
    """Whether what has the size of all scores leaves the chip."""
    made = {event.slot: None for event in trace if event.op == "compute" and len(event.shape) == 2}
    large = [slot for slot in made if hue(slot) == "S"]
    out = [slot for slot in large if slot in moved(trace, "store")]
    if out:
        return f"{_listed(out)} {'go' if len(out) > 1 else 'goes'} out to HBM."
    if large:
        return f"{_listed(large)} {'never leave' if len(large) > 1 else 'never leaves'} the chip."
    return f"{_listed(moved(trace, 'store'))} go out."


def _listed(names: Iterable[str]) -> str:
    """`Q, K and V`."""
    *first, last = map(label, names)
    return f"{', '.join(first)} and {last}" if first else last
