"""Race: standard attention, FlashAttention and FlashAttention-2 carry bytes at the same pace; who is done first?"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import product
from typing import Any

from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.bars import Legend, Piece
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.tape import Lane, Lanes, averaged, transfers
from flashsteps.filmkit.closing import TILE, D, N, rule
from flashsteps.machine import masks
from flashsteps.machine.events import Event
from flashsteps.runs.record import count, walk
from flashsteps.theme import hue
from flashsteps.units import short, size_of

NAMES = {
    "standard-forward": "standard attention",
    "flash-forward": "FlashAttention",
    "flash2-forward": "FlashAttention-2",
}
STANDARD, FLASH, FLASH2 = NAMES
LOOPS = {STANDARD: "S and P, out and back", FLASH: "for j: K, V · for i: Q, O", FLASH2: "for i: Q · for j: K, V"}
KERNELS = ("Q and K in, S out", "softmax: S in, P out", "P and V in, O out")
OUTER = {FLASH: "j", FLASH2: "i"}
MASKED = 1 << 11  # tokens of a real head with a mask: its tiles are not alike, and told one by one
COLOURS = (("Q", "Q"), ("K", "K"), ("V", "V"), ("S", "S, P"), ("O", "O"), ("stat", "ℓ, m, LSE"))
MODEL = "two levels, no L2, no overlap"


class Race(Film):
    title = "Race"

    def storyboard(self, board: Board) -> None:
        runs = {name: board.record(name) for name in NAMES}
        meta = runs[STANDARD].meta
        toy = {name: Course(name, run) for name, run in runs.items()}
        mask, tile = rule(meta["mask"]), f"{meta['block_q']}×{meta['block_k']}"
        order = sorted(NAMES, key=lambda name: toy[name].total)
        middle = order[1]
        n = N if mask is None else MASKED
        real = {name: course(name, mask, meta["dtype"], n) for name in NAMES}
        later = sorted(NAMES, key=lambda name: real[name].total)
        sizes = [size_of(real[name].total) for name in reversed(later)]

        if board.short:
            with board.chapter("In short"):
                moved = lanes(board, toy, "each mark is a transfer, as wide as its bytes", True)
                board.say(f"Tiles of {tile}: {NAMES[order[0]]} has the fewest bytes to carry.")
                run_to(board, moved, toy[order[2]].total, 2.6)
                board.read()
                board.clear()
                moved = lanes(board, real, f"N = {short(n)}, d = {D}, tiles {TILE}×{TILE}")
                board.say(f"Tiles of {TILE}×{TILE}, as a real chip holds them: {NAMES[later[0]]} has.")
                run_to(board, moved, real[later[0]].total, 2.6)
                board.say(f"{sizes[0]} against {sizes[1]} and {sizes[2]}.")
                run_to(board, moved, real[later[2]].total, 2.0)
            return

        with board.chapter("The same bytes for each"):
            moved = lanes(
                board, toy, "each mark is a transfer, as wide as its bytes, in the order of the run", transfers
            )
            first = toy[order[0]].total
            board.say("Three ways to the same output. Each mark is a transfer, as wide as its bytes.")
            run_to(board, moved, first * 0.25, 4.0)
            board.say("All three carry the same number of bytes at every moment.")
            run_to(board, moved, first * 0.8, 4.0)
        with board.chapter("One is done"):
            run_to(board, moved, first, 1.6)
            board.say(f"With this toy’s {tile} tiles, {NAMES[order[0]]} has the fewest bytes to carry: it wins.")
            board.wait(1.0)
        with board.chapter("All are done"):
            board.say(again(runs))
            run_to(board, moved, toy[middle].total, 2.4)
            board.wait(0.4)
            run_to(board, moved, toy[order[2]].total, 2.4)
        with board.chapter("A real size"):
            board.clear()
            scale = f"{size_of(toy[order[2]].total)} → {size_of(real[later[2]].total)}"
            words = f"now N = {short(n)}, d = {D}, tiles {TILE}×{TILE}; the axis: {scale}; heights: how much of which tensor"
            moved = lanes(board, real, words)
            board.say(f"Now a real size: {short(n)} tokens, and tiles of {TILE}×{TILE}.")
            board.wait(0.6)
            run_to(board, moved, real[later[0]].total, 4.0)
            say_first(board, real, later)
        with board.chapter("The order turns" if later != order else "The order stays"):
            turn = "turn the order round" if later != order else "keep the order"
            board.say(f"{sizes[0]} against {sizes[1]} and {sizes[2]}: real tiles {turn}.")
            run_to(board, moved, real[later[1]].total, 1.6)
            run_to(board, moved, real[later[2]].total, 2.6)


class Course:
    """What one algorithm carries, in order, and how far it is when so many bytes have moved.

    `times` is how often the events happen, with the outer loop's index going on: what is alike is gone through once.
    """

    def __init__(self, name: str, events: Sequence[Event], times: int = 1) -> None:
        self.name, self.total, self.pieces, self.ends = name, 0.0, list[Piece](), list[float]()
        tiles, outputs, self.kernels, self.rounds = {}, {}, dict[int, float](), dict[Any, list[Piece]]()
        for n, event in product(range(times), events):
            loop = event.loop
            if n and not loop:  # what is done before the loops is done once
                continue
            i, j = (loop.get(name, 0) + n * (name == OUTER.get(self.name)) for name in "ij")
            if event.nbytes and event.tile:
                piece = Piece(event.nbytes, hue(event.tile.tensor), event.op == "store")
                self.total += event.nbytes
                self.pieces.append(piece)
                self.ends.append(self.total)
                self.kernels[event.program] = self.total
                self.rounds.setdefault(
                    (event.program, i if name == FLASH2 else j, i if name == STANDARD else 0), []
                ).append(piece)
                if event.op == "store" and event.slot and event.tile.tensor == "O":
                    outputs[i] = self.total
            if len(loop) == 2 and event.op != "skip":
                tiles[i, j] = self.total
        self.tiles, self.outputs = sorted(tiles.values()), sorted(outputs.values())

    def status(self, moved: float) -> str:
        """In words, what is done of it."""
        if moved >= self.total:
            return "finished"
        if self.name == STANDARD:
            whole = bisect_right(self.ends, moved + 1e-6)  # transfers that are over
            over = self.ends[whole - 1] if whole else 0.0
            kernel = sum(end <= over for end in self.kernels.values())
            if kernel == 1 and over == self.kernels[0]:
                return "all of S written, none of it read yet"
            return KERNELS[kernel]
        done, out = bisect_right(self.tiles, moved + 1e-6), bisect_right(self.outputs, moved + 1e-6)
        rows = f"{out:,} of {len(self.outputs):,} blocks of O finished" if out else "no row of O finished"
        return f"{done:,} of {len(self.tiles):,} tiles done, {rows}"


class _Tape:
    """Takes down every event of a counted run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def step(self, event: Event, value: Any, times: int) -> None:
        self.events += [event] * times


def course(name: str, mask: str | None, dtype: str, n: int) -> Course:
    """A head's course, counted. Without a mask all rounds of the outer loop are alike: one of them tells all."""
    size = {"d": D, "block_q": TILE, "block_k": TILE, "dtype": dtype}
    tape, rounds = _Tape(), n // TILE if name in OUTER and mask is None else 1
    short = {"i": {"n": TILE, "n_keys": n}, "j": {"n": n, "n_keys": TILE}}[OUTER[name]] if rounds > 1 else {"n": n}
    rows, keys = short["n"], short.get("n_keys", n)
    allowed = masks.parse(mask, rows, keys).keep(slice(0, rows), slice(0, keys))  # so that tiles are told one by one
    walk(name, tape, mask=allowed, **short, **size)
    found = Course(name, tape.events, rounds)
    whole = count(name, n=n, mask=mask, **size).total
    if found.total != whole:
        raise ValueError(f"{name}: {rounds} rounds that are alike move {found.total:,} B, and all of it {whole:,} B")
    return found


def lanes(board: Board, courses: dict[str, Course], words: str, each: bool = False) -> Any:
    """The three tapes on one axis, what their colours mean, and what is shown; gives the bytes that all have moved."""
    moved: Any = board.value(0.0)
    shown = tuple(lane(course, each, moved) for course in courses.values())
    upper, legend, note = board.main.rows(
        *board.pick(wide=(660, 60, 44), square=(610, 96, 90), tall=(1200, 96, 90)), gap=16
    )
    board.put(Lanes(shown, moved, max(course.total for course in courses.values())), upper)
    pieces = [Piece(1, color, name=name) for color, name in COLOURS]
    pieces += [Piece(1, "dim", name="read"), Piece(1, "dim", True, "written"), Piece(1, "faint", name="to come")]
    board.put(Legend(tuple(pieces)), legend)
    board.put(Text(f"{words}; {MODEL}"), note)
    return moved


def lane(course: Course, each: bool, moved: Any) -> Lane:
    """With `each` transfer on its own; else what the rounds of a loop are made of."""
    names: tuple[tuple[float, float, str], ...] = ()
    tape = transfers(course.pieces) if each else averaged(course.rounds.values())
    if course.name == STANDARD and not each:
        ends = [0.0, *course.kernels.values()]
        names = tuple(zip(ends, ends[1:], KERNELS, strict=False))
    status: Any = Made(course.status, moved)
    return Lane(NAMES[course.name].removesuffix(" attention"), tape, LOOPS[course.name], status, names)


def run_to(board: Board, moved: Any, goal: float, seconds: float) -> None:
    board.move(moved.to(goal), seconds=seconds, ease=linear, step=("bytes", goal))


def again(runs: Any) -> str:
    """Why the others carry more: what they fetch again and again."""
    meta = runs[FLASH].meta
    columns, rows = -(-meta["keys"] // meta["block_k"]), -(-meta["queries"] // meta["block_q"])
    tile = meta["block_k"]
    if meta["mask"] in (None, "full"):
        times = {1: "once", 2: "twice", 3: "three times", 4: "four times"}
        if columns == rows:
            many = times.get(columns, f"{columns} times")
            return f"Tiles of {tile} keys: FlashAttention fetches Q and O {many}, the other K and V."
        first, second = times.get(columns, f"{columns} times"), times.get(rows, f"{rows} times")
        return f"FlashAttention fetches Q and O {first}, FlashAttention-2 K and V {second}."
    return "FlashAttention fetches Q and O again and again, FlashAttention-2 K and V."


def say_first(board: Board, real: dict[str, Course], later: list[str]) -> None:
    best = later[0]
    status = real[STANDARD].status(real[best].total)
    if best == FLASH2 and status == "all of S written, none of it read yet":
        board.say("FlashAttention-2 is done. Standard attention has just written S, and must read it again.")
    else:
        share = real[best].total / real[STANDARD].total
        name = NAMES[best][0].upper() + NAMES[best][1:]
        board.say(f"{name} is done. Of standard attention’s bytes, {share:.0%} have moved.")
