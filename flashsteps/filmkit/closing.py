"""The coda of a film about traffic: from this toy to a real size, one thing at a time, beside standard attention.

N grows, then the tile, then d, in steps that were all counted: no number or bar is between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil
from typing import Any, NamedTuple

from ..machine.devices import DEFAULT, MODEL, Device, device
from ..machine.events import IO
from ..machine.masks import for_any_size
from ..runs import again
from ..runs.counting import count
from ..story.labels import a
from ..theme import TITLE, label
from ..trace.trace import Trace
from ..traffic import formulas
from ..traffic.report import fits
from ..units import short, size_of
from .actors.areas import Area, Areas
from .actors.bars import Bar, Bars, Mark
from .actors.cards import Chips, Text
from .actors.writing import Run
from .board import Board
from .values import Made, linear

#: a real head's size, and a real tile's
N, D, TILE = 1 << 13, 64, 128
LEVEL_AT_MOST = 512  # where tiles are looked for that are level with standard attention


class Kind(NamedTuple):
    """An algorithm as the coda tells it: its name, whose block decides, where it is level with standard attention and
    why, and what taller blocks spare."""

    name: str
    tensor: str
    rows: str
    level: Callable[[int, int, int], float]
    formula: Callable[[int], str]
    why: Callable[[int], str]
    again: str


KINDS = {
    "flash-forward": Kind(
        "FlashAttention", "K", "keys", formulas.flash_level, lambda b: f"¾d + {b}",
        lambda b: f"(3d + {4 * b}) / keys = 4. A block of keys moves 3d + {4 * b} numbers a query "
        f"(Q, O in and out, ℓ, m{' as two' * (b > 1)})", "Q and O",
    ),
    "flash2-forward": Kind(
        "FlashAttention-2", "Q", "queries", lambda d, *_: formulas.flash2_level(d), lambda _: "d/2",
        lambda _: "2d / queries = 4. A block of queries moves 2d numbers a key (K, V)", "K and V",
    ),
}  # fmt: skip


class Size(NamedTuple):
    """A size on the way: queries and keys, their width, and the tile."""

    n: int
    n_keys: int
    d: int
    block_q: int
    block_k: int


class Moved(NamedTuple):
    """Bytes to and from HBM, this algorithm's and the standard one's; and the tile at which both are level."""

    own: int
    standard: int
    level: float

    @property
    def ratio(self) -> float:
        return self.own / self.standard


def way(toy: Size) -> list[list[Size]]:
    """Sizes from the toy's to a real one: those with more tokens, those with taller tiles, those with a wider head."""
    tokens = [1 << k for k in range(max(toy.n, toy.n_keys).bit_length(), N.bit_length())]
    grown = [toy._replace(n=n, n_keys=n) for n in tokens]
    tall = [grown[-1]._replace(block_q=q, block_k=k) for q, k in taller(toy.block_q, toy.block_k)]
    wide = [tall[-1]._replace(d=d) for d in [*range(toy.d + 8 - toy.d % 8, D, 8), D] if d > toy.d]
    return [grown, tall, wide]


def taller(q: int, k: int) -> list[tuple[int, int]]:
    """The tiles that come after one of q × k on the way to a real one: twice as many of both each time."""
    found = list[tuple[int, int]]()
    while (q, k) != (TILE, TILE):
        q, k = (min(TILE, 1 << size.bit_length()) for size in (q, k))
        found.append((q, k))
    return found


def coda(board: Board, trace: Trace) -> None:
    """One chapter: this toy's verdict, held; then N, the tile and d grow, and the bar beside standard's, which stays.

    For flash-forward and flash2-forward. What stood on the board goes.
    """
    meta = trace.meta
    kind, mask, dtype = KINDS[meta["algorithm"]], for_any_size(meta["mask"]), meta["dtype"]
    toy = Size(meta["queries"], meta["keys"], meta["d"], meta["block_q"], meta["block_k"])
    more = {name: of for name, of in again.sizes(trace).items() if name in ("d_v", "bias", "sinks")}
    grown, tall, wide = way(toy)
    path = [toy, *grown, *tall, *wide]

    def level(size: Size) -> float:
        """The smallest block with which it moves no more than standard attention."""
        if mask is None:
            bytes_of = trace.initial["Q"].dtype.itemsize
            return kind.level(size.d, bytes_of, max(4, bytes_of))
        low, high = 1, LEVEL_AT_MOST
        while low < high:
            block = (low + high) // 2
            more = total(meta["algorithm"], size._replace(block_q=block, block_k=block)) > standard(size)
            low, high = (block + 1, high) if more else (low, block)
        return low

    @cache
    def counted(algorithm: str, size: Size) -> IO:
        return count(algorithm, **size._asdict(), mask=mask, dtype=dtype, **(more if size == toy else {}))

    def total(algorithm: str, size: Size) -> int:
        return counted(algorithm, size).total

    def standard(size: Size) -> int:
        return total("standard-forward", size)

    moved = [
        Moved(total(meta["algorithm"], size), standard(size), level(grown[-1]._replace(d=size.d))) for size in path
    ]
    moved[0] = moved[0]._replace(own=trace.io().total)  # with its own mask
    at, lit, was, of_toy = board.value(0), board.value(""), board.value(None), board.value(None)

    def now(what: Callable[[Size, Moved], Any]) -> Any:
        """Something that is as the size has it that the film has come to."""
        return Made(lambda k: what(path[int(k)], moved[int(k)]), at)

    low = board.pick(wide=(44, 84), square=(88, 176), tall=(88, 150))
    chips, body, chip, note = board.main.rows(76, 564, *low, gap=16)
    block, bars = board.pick(wide=body.columns(5, 8, gap=64), square=body.columns(9, 11, gap=40), tall=body.rows(5, 6))
    block_head, block = block.rows(44, block.h - 60, gap=16)
    bars, figures = bars.rows(bars.h - 64, 48, gap=16)

    with board.chapter("A real size"):
        board.clear()
        shown = (("tokens N", _tokens), ("head width d", lambda s, _: str(s.d)), ("tile", _tile))
        board.put(Chips(tuple((name, now(of)) for name, of in shown), lit), chips, fade=0)
        board.put(Text(now(lambda s, _: _block(kind, s))), block_head, fade=0)
        even, how = (
            board.pick(wide="break-even:", square="even at"),
            kind.rows if mask else kind.formula(_constant(trace)),
        )
        board.put(_to_scale(kind, path, now, even, how, max(run.level for run in moved)), block, fade=0)
        most = max(2.0, max(run.ratio for run in moved) * 1.08)
        own = Bar(kind.name, now(lambda _, run: run.ratio), whole=was)
        apart = 1 if most < 10 else 5 if most < 30 else 10 * ceil(most / 60)  # and 0 only where it keeps clear of 1
        ticks = tuple((x, f"{x}×") for x in range(int(most) + 1) if x == 1 or (x % apart == 0 and (x or most < 16)))
        marks = Mark(1.0, hue="ink"), Mark(of_toy, "this toy")
        title = "HBM traffic, standard’s being 1"
        axis = Bars((own, Bar("standard", 1.0, "dim")), most, "{:.2f}×", marks, ticks, title, size=TITLE)
        board.put(axis, bars, fade=0)
        board.put(Text(now(_figures), align="left"), figures, fade=0)
        gpu = device(board.option("device") or DEFAULT)
        line = board.pick(wide=(slice(None),), square=(slice(PER_ROOM), slice(PER_ROOM, None)))

        def needs(part: slice) -> Any:
            return now(lambda s, _: _on_chip(gpu, meta["algorithm"], counted(meta["algorithm"], s))[part])

        for part, box in zip(line, chip.rows(len(line), gap=0), strict=True):
            board.put(Text(needs(part)), box, fade=0)
        of = " and ".join(filter(None, ("forward", mask)))
        rows = ", ".join(label(name) for name, data in trace.initial.items() if data.ndim == 1)
        stored = dtype + f", {rows} {meta['computing']}" * (dtype != meta["computing"])
        why = f"{kind.why(_constant(trace))}, standard 4 a score (S, P out and in; Q, K, V, O once)"
        why = f"break-even, for large N: {'as many bytes as standard, which reads Q, K, V once' if mask else why}"
        board.put(Text(f"{why}; one head, {stored}, {of}; {MODEL}"), note, fade=0)

        first = moved[0].ratio
        few = f": blocks of {_rows(kind, toy)} {kind.rows} are too flat"
        few *= first > 1 and _rows(kind, toy) < moved[0].level and not more
        board.say(f"{size_of(moved[0].own)}, {first:.2f}× standard’s{few}.")
        stops = [len(grown), len(grown) + len(tall), len(path) - 1]

        def go(stop: int, chip: str, seconds: float) -> None:
            start = int(at.at(board.now))
            board.set(lit.to(chip), was.to(moved[start].ratio), of_toy.to(moved[0].ratio))
            board.move(at.to(stop), seconds=seconds, ease=linear)

        # a figure is said once the bar stands at it: until then it is beside the bar alone
        ratio, masked = moved[stops[0]].ratio, _without(*["mask"] * (meta["mask"] != mask), *more)
        worse = "make it worse" if ratio > first * 1.02 else "help" if ratio < first * 0.98 else "change little"
        words = f"At this tile more tokens {worse}{masked}"
        if moved[stops[1]].ratio < ratio:
            why = f": {kind.again} come less often" * (not masked)
            words += f"; larger tiles help{why}"
        board.say(f"{words}.")
        go(stops[0], "tokens N", 1.2)
        board.wait(0.4)
        go(stops[1], "tile", 1.2)
        last, size = moved[-1], path[-1]
        if wide:
            board.wait(0.4)
            go(stops[2], "head width d", 0.8)
        words = f"d = {size.d}, {TILE} {kind.rows} a block: {last.ratio:.2f}×."
        board.say(words, given=(last.ratio <= 1) == (last.level <= TILE))


def _without(*own: str) -> str:
    """That larger sizes are counted without what this run has of its own."""
    words = {"mask": "without that mask", "d_v": "with v as wide as k", "bias": "without bias", "sinks": "without sink"}
    found = [words[name] for name in own]
    return "".join(f", {said}" for said in found) if len(found) < 2 else ", without what is its own"


#: of what `_on_chip` says, so much is of shared memory and of registers; the rest is a line of its own where it must
PER_ROOM = 5


def _on_chip(gpu: Device, algorithm: str, io: IO) -> tuple[Run, ...]:
    """What a program of this size needs on chip, each at its fullest, beside what an SM has; and both at one time."""
    shared, registers, both = (f"{nbytes / 1024:.1f}".removesuffix(".0") for nbytes in io.peak)
    enough = fits(algorithm, io, gpu)
    return (
        Run("at most ", "dim"),
        Run(f"{shared} KiB", "accent", 600, True),
        Run(f" of {gpu.shared_per_sm} in shared memory, ", "dim"),
        Run(f"{registers} KiB", "accent", 600, True),
        Run(f" of {gpu.registers_per_sm} in registers, ", "dim"),
        Run(f"{both} KiB", "accent", 600, True),
        Run(" at one time: ", "dim"),
        Run("fits" if enough else "too large for", "ink", 600),
        Run(f" {'on ' if enough else ''}an SM of {a(gpu.chip)}", "dim"),
    )


def _constant(trace: Trace) -> int:
    """The number in ¾d + …: what ℓ and m weigh beside a number of O (FA1)."""
    bytes_of = trace.initial["Q"].dtype.itemsize
    return 4 * max(4, bytes_of) // (4 * bytes_of)


def _tokens(size: Size, _: Moved) -> str:
    return short(size.n) if size.n == size.n_keys else f"{size.n}, {size.n_keys} keys"


def _tile(size: Size, _: Moved) -> str:
    return f"{size.block_q}×{size.block_k}"


def _rows(kind: Kind, size: Size) -> int:
    """Of the block that decides."""
    return size.block_k if kind.tensor == "K" else size.block_q


def _block(kind: Kind, size: Size) -> tuple[Run, ...]:
    return Run(f"{kind.tensor} ", kind.tensor, 700), Run(f"block: {_rows(kind, size)} {kind.rows}, {size.d} wide")


def _figures(_: Size, run: Moved) -> tuple[Run, ...]:
    return (
        Run(size_of(run.own), "accent", 600, True),
        Run("  against  ", "dim"),
        Run(size_of(run.standard), "ink", 600, True),
    )


def _to_scale(kind: Kind, path: list[Size], now: Callable[..., Any], even: str, how: str, highest: float) -> Areas:
    """A block of keys, or of queries, rows downwards and d across; dashed, the one at which both are level."""

    def areas(size: Size, run: Moved) -> tuple[Area, ...]:
        level = Area(0, 0, size.d, run.level, "ink", f"{even} {run.level:.0f}", how, open=True, beside=True)
        return Area(0, 0, size.d, _rows(kind, size), kind.tensor), *((level,) if run.level >= 2 else ())

    margin = 240 if highest < 99.5 else 264  # for a third digit
    return Areas(
        now(areas), max(size.d for size in path), max(highest, *(_rows(kind, size) for size in path)), margin=margin
    )
