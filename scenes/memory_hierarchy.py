"""SRAM, HBM, DRAM to scale: how much they hold, and how long one tile takes to come from each."""

from math import sqrt

from flashsteps.filmkit import Board, Box, Film, Made, Value, linear, shapes
from flashsteps.filmkit.actors.areas import Areas, Crowd
from flashsteps.filmkit.actors.bars import Bar, Bars
from flashsteps.filmkit.actors.cards import Panel, Text
from flashsteps.filmkit.pictures import three_memories
from flashsteps.filmkit.pictures.kept_on_chip import KeptOnChip
from flashsteps.filmkit.pictures.three_memories import COME, ROWS, SPEED, TAKES, TILE, D
from flashsteps.filmkit.places import Stage, below, note, stage, turn
from flashsteps.filmkit.script import Part
from flashsteps.machine.devices import DEVICES, Device, device
from flashsteps.story.labels import a
from flashsteps.theme import HEAD
from flashsteps.traffic.published import figure
from flashsteps.units import size_of, time_of

USES = 4  # of a tile
PAPER = "a100-40gb"  # the GPU of the paper's figure
SECONDS = 6.0  # that the ladder's time is slowed down to


class MemoryHierarchy(Film):
    title = "The memory hierarchy"

    def storyboard(self, board: Board) -> None:
        place, paper, other = stage(board), device(PAPER), device(board.option("device", "h100"))
        if not board.short:
            with board.chapter("One SM"):
                one = multiprocessor(board, place, paper)
            with board.chapter("The chip"):
                chip(board, place, paper, *one)
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


def multiprocessor(board: Board, place: Stage, gpu: Device) -> tuple[Part, Part, Part, Value]:
    """What one SM has on chip, to scale."""
    full, name = board.value(0.0), board.value(f"one SM of {a(gpu.model)}")
    box = board.pick(
        wide=place.whole.inset(300, 60), square=place.whole.inset(60, 120), tall=place.whole.inset(60, 440)
    )
    shared, registers = gpu.shared_per_sm, gpu.registers_per_sm
    inside = Made(shapes.multiprocessor, shared, registers, full)
    panel = board.put(Panel(name, sram=True), box)
    areas = board.put(Areas(inside, shared + registers, (shared + registers) * 0.45), Panel.inside(box))
    said = note(
        board, place, "SM: streaming multiprocessor. Loads go to shared memory, results to registers. Areas to scale"
    )
    board.move(full.to(1.0), seconds=0.9)
    board.say(f"One SM has {shared} KiB of shared memory and {registers} KiB of registers.")
    return panel, areas, said, name


def chip(board: Board, place: Stage, gpu: Device, sm: Part, inside: Part, said: Part, name: Value) -> None:
    """All SMs: the one that was seen takes its place among them."""
    count, many, columns = board.value(1.0), gpu.multiprocessors, board.pick(wide=18, square=12, tall=9)
    each, whole = figure("sram-size-of-an-sm"), figure("sram-size")
    head, body = place.whole.rows(1, 9)
    board.say("Many SMs, side by side, make the chip.")
    board.remove(inside, said)
    board.set(name.to(""))
    side = 0.94 * min(body.w / columns, body.h * columns / many, 140)
    board.move(sm.to(Box(body.x, body.y, side, side)), seconds=0.8)
    board.put(Text(Made(lambda n: f"{n:.0f} SM{'s' * (n > 1)}", count), HEAD, "ink", 600), head)
    board.put(Crowd(count, many, "sram_line", columns, most=140), body)
    note(board, place, f"SRAM: shared memory with the L1 cache, {each.source}; {whole.source}, {whole.hardware}")
    board.remove(sm)
    board.move(count.to(float(many)), seconds=1.5, ease=linear)
    board.say(f"Here {many} SMs. The paper counts {each.value:g} KB of SRAM in each: {whole.value:g} MB in all.")


def sizes(board: Board, place: Stage) -> None:
    """SRAM's area beside HBM's."""
    small, large, far, grown = figure("sram-size"), figure("hbm-size"), figure("dram-size"), board.value(0.0)
    times, more = large.value * 1e3 / small.value, far.value * 1e3 / large.value
    words = (f"{small.value:g} MB", f"{large.value:g} GB", f"> {far.value:g} TB: over {more:.0f} of these")
    wide = board.shape == "wide"
    areas = Made(shapes.memories, grown, 1 / sqrt(times), wide, words)
    all_of_it = "SRAM" if board.short else "all SRAM together"
    picture = Areas(areas, 2.0 if wide else 1.5, 1.02 if wide else 1.3, middle=True), place.whole
    said = below(place, f"areas to scale; {large.source}, {large.hardware}; DRAM is the CPU’s memory")
    told = f"HBM holds {times:,.0f} times as much as {all_of_it}."
    turn(board, told, picture, said, grows=(grown.to(1.0),), seconds=1.4)


def ladder(board: Board, place: Stage, gpu: Device) -> None:
    """Tiles that come from each in the same time."""
    passed = board.value(0.0)
    counts = [f"{int(COME[name]):,}" for name in ("HBM", "SRAM")]
    words = "All three send tiles, until the first one has come from CPU memory."
    turn(
        board,
        "DRAM sends one tile, the others many." if board.short else words,
        (three_memories.ladder(gpu, passed), place.whole),
    )
    source, slow = figure("hbm-bandwidth"), SECONDS / TAKES["DRAM"]
    tile = f"a tile: {ROWS} × {D} numbers, {size_of(TILE)}"
    note(
        board,
        place,
        f"{tile}; slowed down {slow / 1e6:.1f} million times; {source.source}, {source.hardware}, whole chip",
    )
    board.move(passed.to(1.0), seconds=2.4 if board.short else SECONDS, ease=linear)
    if not board.short:
        board.say("Meanwhile {} came from HBM and {} from all SRAM together.".format(*counts))


def one_tile(board: Board, place: Stage) -> None:
    """How long one tile takes, as lengths."""
    passed = board.value(0.0)
    times = {name: time_of(time) for name, time in TAKES.items()}
    turn(
        board,
        "The same as time: how long until one tile has come?",
        (three_memories.one_tile(passed), place.whole),
    )
    source = figure("hbm-bandwidth")
    note(board, place, f"{size_of(TILE)} at the bandwidths of {source.source}, {source.hardware}: without latency")
    board.move(passed.to(TAKES["DRAM"]), seconds=3.0, ease=linear)
    board.say(f"{times['DRAM']} from DRAM, {times['HBM']} from HBM, {times['SRAM']} from all SRAM at once.")


def others(board: Board, place: Stage, chosen: Device) -> None:
    """The bandwidth of other GPUs' memory."""
    grown = board.value(0.0)
    ordered = sorted(DEVICES.values(), key=lambda gpu: gpu.bandwidth)
    bars = tuple(
        Bar(gpu.model, Made(lambda u, of=gpu: u * of.bandwidth, grown), "accent" if gpu == chosen else "dim",
            note=f"{gpu.memory} GB {gpu.memory_kind}")
        for gpu in ordered
    )  # fmt: skip
    chart = Bars(bars, ordered[-1].bandwidth, "{:.3f} TB/s", title="bandwidth of GPU memory")
    words = f"Other chips, the same ladder: {a(chosen.model)}’s {chosen.memory_kind} moves {chosen.bandwidth:g} TB/s."
    said = below(place, "from datasheets")
    turn(board, words, (chart, place.whole), said, grows=(grown.to(1.0),), seconds=1.6)


def reuse(board: Board, place: Stage) -> None:
    """One tile comes once, stays, and is used again and again."""
    slow = TILE / SPEED["HBM"]
    kept = KeptOnChip(board, place, slow, USES)
    words = "So: bring a tile in once, use it as often as you can. That is FlashAttention’s idea."
    if board.short:
        words = "So: bring a tile in once, use it often."
    *_, there = turn(board, words, *kept.pictures)
    note(board, place, f"each use makes another tile of scores, here {USES} times; {time_of(slow)} a fetch, as before")
    board.move(there.to(kept.stop), kept.once.to(slow), seconds=0.8)
    for n in range(USES):
        board.set(kept.uses.to(n + 1))
        board.move(kept.each.to((n + 1) * slow), seconds=0.3 if board.short else 0.5)
        board.wait(0.0 if board.short else 0.2)
