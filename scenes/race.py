"""Race: standard attention, FlashAttention and FlashAttention-2 carry bytes at the same pace; who is done first?"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from flashsteps.filmkit import Board, Film, Made, linear
from flashsteps.filmkit.actors.bars import Legend, Piece
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.tape import Lane, Lanes, averaged, transfers
from flashsteps.filmkit.closing import TILE, D, N
from flashsteps.machine.devices import DEFAULT, MODEL, device
from flashsteps.machine.masks import for_any_size
from flashsteps.story.labels import a
from flashsteps.theme import hue
from flashsteps.trace.trace import Trace
from flashsteps.traffic.course import Course, Transfer, counted
from flashsteps.units import short, size_of

STANDARD, FLASH, FLASH2 = "standard-forward", "flash-forward", "flash2-forward"
NAMES = {STANDARD: "standard attention", FLASH: "FlashAttention", FLASH2: "FlashAttention-2"}
LOOPS = {STANDARD: "S and P, out and back", FLASH: "for j: K, V · for i: Q, O", FLASH2: "for i: Q · for j: K, V"}
KERNELS = ("Q and K in, S out", "softmax: S in, P out", "P and V in, O out")
WRITTEN = "all of S written, hardly any of it read back"
BEST = "standard at its best: Q, K and V read once each"
HUES = (("Q", "Q"), ("K", "K"), ("V", "V"), ("S", "S, P"), ("O", "O"), ("stat", "ℓ, m, LSE"))
MASKED = 1 << 11  # tokens of the real size with a mask: its rounds are not alike, and each is gone through
Courses = Mapping[str, Course]


class Race(Film):
    title = "Race"

    def storyboard(self, board: Board) -> None:
        runs = {name: board.record(name, sram=None) for name in NAMES}
        meta, mask = runs[STANDARD].meta, for_any_size(runs[STANDARD].meta["mask"])
        size = f"{meta['block_q']}×{meta['block_k']}"
        keys = f", {meta['keys']} keys" if meta["queries"] != meta["keys"] else ""
        small = f"this toy: N = {meta['queries']}{keys}, d = {meta['d']}, {meta['dtype']}, tiles {size}"
        n = N if mask is None else MASKED
        toy = {name: Course(name, run) for name, run in runs.items()}
        real = {name: counted(name, n, D, TILE, mask, meta["dtype"]) for name in NAMES}
        order, later = ranked(toy), ranked(real)
        first, _, third = (toy[name].total for name in order)
        carried = [size_of(real[name].total) for name in reversed(later)]
        in_all = f"{carried[0]} against {carried[1]} and {carried[2]}"

        if board.short:
            with board.chapter("In short"):
                moved = lanes(board, toy, f"{small}; a mark is a transfer", each=True)
                board.say(f"{size} tiles: {NAMES[order[0]]} carries least.")
                board.move(moved.to(third), seconds=2.4, ease=linear)
                board.read()
                board.clear()
                moved = lanes(board, real, f"N = {short(n)}, d = {D}, tiles {TILE}×{TILE}")
                board.say(f"Real ones, {TILE}×{TILE}: {NAMES[later[0]]} does.")
                board.move(moved.to(real[later[0]].total), seconds=1.6, ease=linear)
                board.say(f"{in_all}.")
                board.move(moved.to(real[later[2]].total), seconds=1.4, ease=linear)
            return

        with board.chapter("The same bytes for each"):
            moved = lanes(board, toy, f"{small}; each mark is a transfer, in the order of the run; {BEST}", each=True)
            board.say("Three ways to the same output. Each mark is a transfer, as wide as its bytes.")
            board.move(moved.to(0.25 * first), seconds=4.0, ease=linear)
            board.say("All three carry the same number of bytes at every moment.")
            board.move(moved.to(0.8 * first), seconds=3.6, ease=linear)

        with board.chapter("Who is first"):
            board.move(moved.to(first), seconds=1.4, ease=linear, step=order[0])
            board.say(f"With this toy’s {size} tiles, {NAMES[order[0]]} has the fewest bytes to carry: it wins.")
            if order[0] == STANDARD:
                board.say("It keeps all of K on chip, and reads Q, K and V just once.", given=once(runs[STANDARD]))

        with board.chapter("The others"):
            for name in order[1:]:
                board.say(why(name, meta))
                board.move(moved.to(toy[name].total), seconds=2.2, ease=linear, step=name)

        with board.chapter("A real size"):
            board.clear()
            axis = f"the axis: {size_of(third)} → {carried[0]}"
            words = f"now N = {short(n)}, d = {D}, {meta['dtype']}; {axis}; heights: how much of which; {BEST}"
            moved = lanes(board, real, words)
            board.say(f"Now a real size: {short(n)} tokens, and tiles of {TILE}×{TILE}.")
            board.wait(0.6)
            board.move(moved.to(real[later[0]].total), seconds=3.6, ease=linear, step="real")
            board.say(one_is_done(real, later[0]))
            gpu, S = device(DEFAULT), sum(t.nbytes for t in real[STANDARD].transfers if t.tensor == "S" and t.written)
            if gpu.shared < S:
                chip = f"the {gpu.multiprocessors} SMs (processors) of {a(gpu.chip)} have {size_of(gpu.shared)} SRAM"
                board.say(f"S can’t stay on chip: {size_of(S)}; {chip}.")

        turned = later != order
        with board.chapter("The order turns" if turned else "The order stays"):
            board.say(f"{in_all}: real tiles {'turn the order round' if turned else 'keep the order'}.")
            board.move(moved.to(real[later[1]].total), seconds=1.6, ease=linear)
            board.move(moved.to(real[later[2]].total), seconds=2.4, ease=linear)
            if turned and meta["block_q"] == meta["block_k"]:
                now = f"What a tile fetches now serves {TILE} tokens, not {meta['block_q']}"
                board.say(f"{now}; S still goes out, and comes back.", given=meta["block_q"] < TILE)


def ranked(courses: Courses) -> list[str]:
    return sorted(courses, key=lambda name: courses[name].total)


def lanes(board: Board, courses: Courses, words: str, each: bool = False) -> Any:
    """The tapes on one axis, what their hues mean, and what is shown. Gives the bytes that all have moved."""
    moved = board.value(0.0)
    upper, legend, note = board.main.rows(
        *board.pick(wide=(620, 56, 88), square=(570, 96, 130), tall=(1160, 96, 130)), gap=16
    )
    most = max(course.total for course in courses.values())
    board.put(Lanes(tuple(lane(course, moved, each) for course in courses.values()), moved, most), upper)
    pieces = [Piece(1, color, name=name) for color, name in HUES]
    pieces += [
        Piece(1, "dim", name="read"),
        Piece(1, "dim", True, "written"),
        Piece(1, "faint", name="to come"),
        Piece(1, "ink", name="end"),
    ]
    board.put(Legend(tuple(pieces)), legend)
    board.put(Text(f"{words}; {MODEL}"), note)
    return moved


def lane(course: Course, moved: Any, each: bool) -> Lane:
    """A tape of each transfer, or else of what the rounds of its outer loop are made of."""
    name, status = course.algorithm, cast(Any, Made(lambda nbytes: status_of(course, nbytes), moved))
    if each:
        return Lane(NAMES[name].removesuffix(" attention"), transfers(pieces(course.transfers)), LOOPS[name], status)
    tape, ends = averaged(map(pieces, course.rounds)), (0.0, *map(float, course.kernels))
    names = tuple(zip(ends, ends[1:], KERNELS, strict=False)) if name == STANDARD else ()
    return Lane(NAMES[name].removesuffix(" attention"), tape, LOOPS[name], status, names)


def pieces(moved: Iterable[Transfer]) -> list[Piece]:
    return [Piece(one.nbytes, hue(one.tensor), one.written) for one in moved]


def status_of(course: Course, nbytes: float) -> str:
    """In words, what is over of it."""
    done, whole = course.done(nbytes), course.whole
    if done.transfers == whole.transfers:
        return "finished"
    if course.algorithm == STANDARD:
        over = sum(one.nbytes for one in course.transfers[: done.transfers]) == course.kernels[0]
        return WRITTEN if over else KERNELS[done.program]
    rows = f"{done.outputs:,} of {whole.outputs:,} blocks of O finished" if done.outputs else "no row of O finished"
    return f"{done.tiles:,} of {whole.tiles:,} tiles done, {rows}"


def why(name: str, meta: Mapping[str, Any]) -> str:
    """Why it carries so much."""
    if name == STANDARD:
        return "Standard attention writes S and P, and reads them back."
    of, fetched = {FLASH: ("keys", "Q and O again, and writes O"), FLASH2: ("queries", "K and V again")}[name]
    many = -(-meta[of] // meta[{"keys": "block_k", "queries": "block_q"}[of]])
    each = "its one block" if many == 1 else "each block" if meta["mask"] else f"each of {many} blocks"
    return f"{NAMES[name]}: {each} of {of} fetches {fetched if many > 1 else fetched.replace(' again', '')}."


def once(standard: Trace) -> bool:
    """Whether each byte of Q, K and V comes in only once."""
    moved = standard.io().by_tensor
    return all(moved[name].read == standard.initial[name].nbytes for name in "QKV")


def one_is_done(real: Courses, best: str) -> str:
    if best == FLASH2 and status_of(real[STANDARD], real[best].total) == WRITTEN:
        return "FlashAttention-2 is done. Standard attention has just written S, and must read it back."
    name, share = NAMES[best], real[best].total / real[STANDARD].total
    return f"{name[0].upper()}{name[1:]} is done: {share:.2f} of the bytes that standard attention carries."
