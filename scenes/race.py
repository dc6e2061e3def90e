"""Race: standard attention, FlashAttention and FlashAttention-2 carry bytes at the same pace; who is done first?"""

from collections.abc import Mapping
from typing import Any

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
