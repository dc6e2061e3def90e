"""SRAM, HBM, DRAM to scale: how much they hold, and how long one tile takes to come from each."""

from flashsteps.filmkit import Board, Film, linear
from flashsteps.filmkit.pictures import three_memories
from flashsteps.filmkit.pictures.kept_on_chip import KeptOnChip
from flashsteps.filmkit.pictures.one_of_many import OneOfMany
from flashsteps.filmkit.pictures.other_chips import bandwidths
from flashsteps.filmkit.pictures.three_memories import COME, ROWS, SPEED, TAKES, TILE, D
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import Device, device
from flashsteps.story.labels import a
from flashsteps.traffic.published import figure
from flashsteps.units import size_of, time_of

USES = 4  # of a tile
PAPER = "a100-40gb"  # the GPU of the paper's figure
SECONDS = 5.0  # that the ladder's time is slowed down to


class MemoryHierarchy(Film):
    title = "The memory hierarchy"

    def storyboard(self, board: Board) -> None:
        place, paper, other = stage(board), device(PAPER), device(board.option("device", "h100"))
        if not board.short:
            sm = OneOfMany(board, place, paper)
            with board.chapter("One SM"):
                said = multiprocessor(board, place, paper, sm)
            with board.chapter("The chip"):
                chip(board, place, sm, said)
        with board.chapter("How much they hold"):
            sizes(board, place)
        with board.chapter("How fast tiles come"):
            ladder(board, place, paper)
        if not board.short:
            with board.chapter("One tile"):
                one_tile(board, place)
            with board.chapter("Other chips"):
                others(board, place, other)
        with board.chapter("Use it often"):
            reuse(board, place)


def multiprocessor(board: Board, place: Stage, gpu: Device, sm: OneOfMany) -> Part:
    """What one SM has on chip, to scale."""
    sm.come()
    said = note(
        board, place, "SM: streaming multiprocessor. Loads go to shared memory, results to registers. Areas to scale"
    )
    board.move(sm.full.to(1.0), seconds=0.8)
    board.say(f"One SM has {gpu.shared_per_sm} KiB of shared memory, {gpu.registers_per_sm} KiB of registers.")
    return said


def chip(board: Board, place: Stage, sm: OneOfMany, said: Part) -> None:
    """All SMs: the one that was seen takes its place among them."""
    each, whole = figure("sram-size-of-an-sm"), figure("sram-size")
    board.hush()
    sm.shrink(said)
    note(
        board,
        place,
        f"SRAM: shared memory with the L1 cache, without registers: {each.source}; {whole.source}, {whole.hardware}",
    )
    sm.join()
    board.say(f"Here {sm.many} SMs. The paper counts {each.value:g} KB of SRAM in each: {whole.value:g} MB in all.")


def sizes(board: Board, place: Stage) -> None:
    """SRAM's area beside HBM's."""
    large, grown = figure("hbm-size"), board.value(0.0)
    all_of_it = "SRAM" if board.short else "all SRAM"
    picture = three_memories.held(board.shape == "wide", grown), place.whole
    said = below(place, f"areas to scale; {large.source}, {large.hardware}; DRAM is the CPU’s memory")
    told = f"HBM holds {three_memories.times():,.0f} times as much as {all_of_it}."
    turn(board, told, picture, said, grows=(grown.to(1.0),), seconds=1.4)


def ladder(board: Board, place: Stage, gpu: Device) -> None:
    """Tiles that come from each in the same time."""
    passed = board.value(0.0)
    counts = [f"{int(COME[name]):,}" for name in ("HBM", "SRAM")]
    words = "All three send tiles, until one has come from CPU memory."
    turn(
        board,
        "DRAM sends one tile, the others many." if board.short else words,
        (three_memories.ladder(gpu, passed), place.whole),
    )
    source, slow = figure("hbm-bandwidth"), SECONDS / TAKES["DRAM"]
    tile = f"a tile: {ROWS} × {D} numbers in fp16, {size_of(TILE)}"
    note(
        board,
        place,
        f"{tile}; slowed down {slow / 1e6:.1f} million times; {source.source}, {source.hardware}, whole chip",
    )
    board.move(passed.to(1.0), seconds=2.4 if board.short else SECONDS, ease=linear)
    if not board.short:
        board.say("Meanwhile {} came from HBM, {} from all SRAM.".format(*counts))


def one_tile(board: Board, place: Stage) -> None:
    """How long one tile takes, as lengths."""
    passed, source = board.value(0.0), figure("hbm-bandwidth")
    dram, hbm, sram = (time_of(TAKES[name]) for name in ("DRAM", "HBM", "SRAM"))
    said = below(
        place, f"{size_of(TILE)} at the bandwidths of {source.source}, {source.hardware}: all SMs’, without latency"
    )
    words = f"One tile: {dram} from DRAM, {hbm} from HBM, {sram} from all SRAM at once."
    grows = (passed.to(TAKES["DRAM"]),)
    turn(board, words, (three_memories.one_tile(passed), place.whole), said, grows=grows, seconds=2.0, ease=linear)


def others(board: Board, place: Stage, chosen: Device) -> None:
    """The bandwidth of other GPUs' memory."""
    grown = board.value(0.0)
    words = f"Other chips: {a(chosen.model)}’s {chosen.memory_kind} moves {chosen.bandwidth:g} TB/s."
    said = below(place, "from datasheets; the paper rounds")
    turn(board, words, (bandwidths(chosen, grown), place.whole), said, grows=(grown.to(1.0),), seconds=1.0)


def reuse(board: Board, place: Stage) -> None:
    """One tile comes once, stays, and is used again and again."""
    slow = TILE / SPEED["HBM"]
    kept = KeptOnChip(board, place, slow, USES)
    words = "Fetch a tile once, use it often: that is FlashAttention’s idea."
    if board.short:
        words = "So: fetch a tile once, use it often."
    *_, there = turn(board, words, *kept.pictures)
    note(board, place, f"each use makes another tile of scores, here {USES} times; {time_of(slow)} a fetch, as before")
    board.move(there.to(kept.stop), kept.once.to(slow), seconds=0.8)
    for n in range(USES):
        board.move(kept.each.to((n + 1) * slow), seconds=0.3 if board.short else 0.5)
        board.set(kept.uses.to(n + 1))
        board.wait(0.0 if board.short else 0.2)
