"""Race: standard attention, FlashAttention and FlashAttention-2 carry bytes at the same pace; who is done first?"""

from flashsteps.filmkit import Board, Film, linear
from flashsteps.filmkit.closing import TILE, D, N
from flashsteps.filmkit.pictures.courses import (
    FLASH,
    FLASH2,
    NAMES,
    STANDARD,
    WRITTEN,
    Courses,
    lanes,
    ranked,
    status_of,
)
from flashsteps.filmkit.pictures.tile_alone import TileAlone
from flashsteps.filmkit.telling import times
from flashsteps.machine.devices import DEFAULT, device
from flashsteps.machine.masks import for_any_size
from flashsteps.story.labels import a
from flashsteps.trace.trace import Trace
from flashsteps.traffic.course import Course, counted
from flashsteps.units import short, size_of

BEST = "standard at its best: Q, K and V read once each"
MASKED = 1 << 11  # tokens of the real size with a mask: its rounds are not alike, and each is gone through


class Race(Film):
    title = "Race"

    def storyboard(self, board: Board) -> None:
        runs = {name: board.record(name, sram=None) for name in NAMES}
        meta, mask = runs[STANDARD].meta, for_any_size(runs[STANDARD].meta["mask"])
        size = f"{meta['block_q']}×{meta['block_k']}"
        keys = f", {meta['keys']} keys" if meta["queries"] != meta["keys"] else ""
        small = f"this toy: N = {meta['queries']}{keys}, d = {meta['d']}, {meta['dtype']}, tiles {size}"
        n = N if mask is None else MASKED
        hidden = f", {mask}" if mask else ", without the toy’s mask" if meta["mask"] else ""
        toy = {name: Course(name, run) for name, run in runs.items()}
        real = {name: counted(name, n, D, TILE, mask, meta["dtype"]) for name in NAMES}
        order, later = ranked(toy), ranked(real)
        first, _, third = (toy[name].total for name in order)
        carried = [size_of(real[name].total) for name in reversed(later)]
        in_all = f"{carried[0]}, against {carried[1]} and {carried[2]}"

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
            board.say("One output, three ways. A mark is a transfer, as wide as its bytes.")
            board.move(moved.to(0.25 * first), seconds=4.0, ease=linear)
            board.say("Until one is done, all three have moved as much.")
            board.move(moved.to(0.85 * first), seconds=3.1, ease=linear)

        with board.chapter("Who is first"):
            board.move(moved.to(first), seconds=1.0, ease=linear, step=order[0])
            board.say(wins(order[0], runs[STANDARD]))

        with board.chapter("The others"):
            for name in order[1:]:
                board.say(why(name, runs[name]))
                board.move(moved.to(toy[name].total), seconds=2.2, ease=linear, step=name)

        alone = TileAlone(n, D, (meta["block_q"], meta["block_k"]), mask, meta["dtype"])
        before, after = alone.ranked(0), alone.ranked(-1)
        with board.chapter("The tile alone"):
            board.clear()
            alone.put(board, f"HBM traffic of one head, {meta['dtype']}, forward{hidden}; {BEST}")
            still = "still " * (before[0] == order[0])
            board.say(f"{short(n)} tokens, same tiles: {NAMES[before[0]]} {still}moves least.")
            board.read()
            ends = "stays" if after == before else "turns"
            board.say("Only the tile grows: each serves more tokens.")
            alone.grow(seconds=2.4)
            board.say(f"The order {ends}: {NAMES[after[0]]} moves least.")

        with board.chapter("A real size"):
            board.clear()
            axis = f"the axis: {size_of(third)} → {carried[0]}"
            now = f"now N = {short(n)}, d = {D}, {meta['dtype']}, tiles {TILE}×{TILE}{hidden}"
            moved = lanes(board, real, f"{now}; {axis}; heights: how much of which; {BEST}")
            S, gpu = sum(t.nbytes for t in real[STANDARD].transfers if t.tensor == "S" and t.written), device(DEFAULT)
            if gpu.shared < S:
                chip = f"{a(gpu.chip)} has {size_of(gpu.shared)} of shared memory"
                board.say(f"Standard attention writes S: {size_of(S)}; {chip}.")
            else:
                board.say("The race again, with these tiles.")
            board.move(moved.to(real[later[0]].total), seconds=4.0, ease=linear, step="real")
            board.say(one_is_done(real, later[0]))

        with board.chapter("In the end"):
            scores = sum(t.nbytes for t in real[STANDARD].transfers if t.tensor in ("S", "P"))
            words = f"S and P: {size_of(scores)} of {carried[0]}; others: {carried[1]} and {carried[2]}."
            board.say(words if later[2] == STANDARD else f"{in_all}.")
            board.move(moved.to(real[later[1]].total), seconds=1.0, ease=linear)
            board.move(moved.to(real[later[2]].total), seconds=1.7, ease=linear)


def wins(name: str, standard: Trace) -> str:
    """Who does, and why."""
    moved = standard.io().by_tensor
    once = name == STANDARD and all(moved[one].read == standard.initial[one].nbytes for one in "QKV")
    why = "it reads Q, K and V just once" if once else "it has the fewest bytes to carry"
    return f"{NAMES[name][0].upper()}{NAMES[name][1:]} wins with this toy: {why}."


def why(name: str, run: Trace) -> str:
    """Why it carries so much."""
    if name == STANDARD:
        return "Standard attention writes S and P, and reads them back."
    meta, O = run.meta, run.io().by_tensor["O"].written / run.outputs["O"].nbytes
    of, fetched = {FLASH: ("keys", "Q and O"), FLASH2: ("queries", "K and V")}[name]
    many = -(-meta[of] // meta[{"keys": "block_k", "queries": "block_q"}[of]])
    often = f"for each block of {of}" if meta["mask"] and many > 1 else times(many)
    also = "" if name == FLASH2 else f", writes O {times(round(O))}" if round(O) == O else ", and writes O"
    return f"{NAMES[name]} fetches {fetched} {often}{also}."


def one_is_done(real: Courses, best: str) -> str:
    if best == FLASH2 and status_of(real[STANDARD], real[best].total) == WRITTEN:
        return "FlashAttention-2 is done. Standard attention has read hardly any of S back."
    name, share = NAMES[best], real[best].total / real[STANDARD].total
    return f"{name[0].upper()}{name[1:]} is done: {share:.2f} of the bytes that standard attention carries."
