"""Each step of attention by the FLOPs it does for a byte: which side of the ridge, and where fusing puts the whole."""

from flashsteps.filmkit import Board, Film
from flashsteps.filmkit.actors.areas import Area, Areas, Crowd
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.curve import Side
from flashsteps.filmkit.actors.formula import Formula, Fraction
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.pictures.intensities import BLOCK, COUNTED, D, N, bytes_moved, fused_runs, stacks
from flashsteps.filmkit.places import note, stage
from flashsteps.filmkit.roofs import RoofChart
from flashsteps.filmkit.script import Part as Placed
from flashsteps.machine.devices import Device, device
from flashsteps.story.labels import a
from flashsteps.theme import BODY
from flashsteps.traffic.intensity import Part, programs, ridge, whole
from flashsteps.units import short, size_of

EXAMPLE = 3  # FLOPs a byte


class Roofline(Film):
    title = "The roofline"

    def storyboard(self, board: Board) -> None:
        gpu = device(board.option("device", "a100-80gb"))
        other = device("h100" if ridge(gpu) < ridge(device("h100")) else "a100-80gb")
        place = stage(board, *board.pick(wide=(5, 2), square=(5, 2), tall=(5, 3)))
        steps = programs("standard-forward", n=N, d=D, block_q=BLOCK, block_k=BLOCK)
        chart, side, beside = RoofChart(board, gpu, other), place.sides[1], list[Placed]()
        board.put(chart.actor, place.sides[0])
        if not board.short:
            with board.chapter("FLOPs for a byte"):
                beside = divide(board, chart, side)
        with board.chapter("The roof"):
            words = "At the left a GPU waits for its memory, at the right for its arithmetic."
            board.say("Left of the ridge, a GPU waits for HBM." if board.short else words)
            if not board.short:
                chart.drop("example")
            chart.draw()
            if not board.short:
                board.say(f"This one’s ridge is at {ridge(gpu):.0f} FLOPs a byte.")
        if not board.short:
            with board.chapter("One step"):
                board.remove(*beside)
                note(board, place, COUNTED)
                beside = one_step(board, chart, side, steps[0])
        with board.chapter("Standard attention"):
            if board.short:
                note(board, place, COUNTED)
            beside = standard(board, chart, side, steps, beside, ridge(gpu))
        with board.chapter("Fused"):
            if beside:
                board.remove(*beside)
            fused(board, chart, side, gpu)
        if not board.short:
            with board.chapter("Another chip"):
                board.say("Another chip has another roof.")
                chart.change(other)
                words = "more FLOP/s a TB/s want taller tiles"
                board.say(f"On {a(other.model)} the ridge is at {ridge(other):.0f}: {words}.")


def divide(board: Board, chart: RoofChart, side: Box) -> list[Placed]:
    """What intensity is: one byte comes, something is done with it."""
    chart.mark("example", 1.0, "", "accent", "above right")
    if board.shape != "square":
        boxes = side.rows(4, 1, 2, 1, 2, gap=8)
    else:
        first, *others = side.columns(4, 2, 3)
        boxes = [first, *(box for column in others for box in column.rows(1, 2, gap=8))]
    done = board.value(0.0)
    board.say("Divide a step’s FLOPs by its bytes: what is done with each byte that comes.")
    actors = (
        Formula(("intensity = ", Fraction("FLOPs", "bytes moved"))),
        Text("1 byte comes", BODY, "ink"), Crowd(1, 1, "dim"),
        Text(f"{EXAMPLE} FLOPs are done", BODY, "ink"), Crowd(done, EXAMPLE, "accent", EXAMPLE),
    )  # fmt: skip
    parts = [board.put(actor, box) for actor, box in zip(actors, boxes, strict=True)]
    board.move(done.to(float(EXAMPLE)), seconds=1.2)
    chart.mark("example", EXAMPLE, f"{EXAMPLE} FLOPs a byte", "accent", "above right", seconds=1.0)
    return parts


def one_step(board: Board, chart: RoofChart, side: Box, part: Part) -> list[Placed]:
    """S = QKᵀ: its operands to scale, and where it lies."""
    upper, lower = side.rows(3, 2) if board.shape == "wide" else side.columns(1, 2)
    lower = lower._replace(h=min(lower.h, 190))
    at, most = N / 20, f"{part.intensity:.0f}"
    areas = Area(at, at, N, N, "S", "S", f"{short(N)} × {short(N)}"), Area(0, at, D, N, "Q"), Area(at, 0, N, D, "K")
    figures = ("FLOPs", f"{part.work.matmul / 1e9:.1f} billion"), ("bytes", size_of(part.total)), ("FLOPs a byte", most)
    parts = [board.put(Areas(areas, N + at, N + at), upper), board.put(Card("", "", figures), lower)]
    board.say(f"S = QK^{{T}}: {most} FLOPs a byte. Its S has to be written out.")
    chart.enter("QK", part.intensity, f"S = QK^{{T}}: {most}", "S", "above left", seconds=1.4)
    return parts


def standard(
    board: Board, chart: RoofChart, side: Box, parts: tuple[Part, ...], beside: list[Placed], limit: float
) -> list[Placed]:
    """All three steps, and the whole of them; then what each does and moves."""
    qk, softmax, pv = parts[0].intensity, parts[1].of_all, parts[2].intensity  # softmax has no product
    every = whole("standard-forward", n=N, d=D, block_q=BLOCK, block_k=BLOCK)
    wide = board.shape == "wide"
    if board.short:
        board.say(f"Standard attention: {every.intensity:.0f} FLOPs a byte.", given=every.intensity < limit)
    else:
        words = "Every step lies left of the ridge: arithmetic waits for HBM, in softmax most of all."
        board.say(words, given=softmax < qk == pv < limit)
        chart.enter("softmax", softmax, f"{'P = softmax(S)' if wide else 'softmax'}: {softmax:.2f}", "S", "below right")
        chart.enter("PV", pv, "", "S", "left")
        chart.mark("QK", qk, f"QK^{{T}} and PV: {qk:.0f} each", "S", "above left")
    name = f"{'the whole' if wide else 'all'}: {every.intensity:.0f}"
    chart.enter("whole", every.intensity, name, "ink", "below right", hollow=True)
    if board.short:
        return []
    board.read()
    board.remove(*beside)
    placed = [board.put(stack, box) for stack, box in zip(stacks(parts), side.columns(2), strict=True)]
    work, moved = sum(part.work.total for part in parts), sum(part.total for part in parts)
    done, crossed = parts[1].work.total / work, parts[1].total / moved
    board.say(f"Softmax does {done:.0%} of the arithmetic and moves {crossed:.0%} of the bytes.")
    return placed


def fused(board: Board, chart: RoofChart, side: Box, gpu: Device) -> None:
    """The same work without S and P in HBM."""
    runs = fused_runs(gpu)
    grown = [board.value(1.0), *(board.value(0.0) for _ in runs[1:])]
    board.put(bytes_moved(runs, grown, board.shape == "wide"), side)
    top = max(part.intensity for _, part, _ in runs)
    near = ", close to the ridge" if top >= 0.8 * ridge(gpu) else ""
    far = ", with tall tiles past the ridge" if top > ridge(gpu) else near
    words = f"Fused, S and P cost no traffic: the same work climbs{far}."
    board.say("Fused, the same work climbs the roof." if board.short else words)
    chart.drop("QK", "softmax", "PV")
    before = runs[0][1].intensity
    name = f"standard: {before:.0f}" if board.shape == "wide" else f"{before:.0f}"
    chart.mark("whole", before, name, "dim", "below right", True)
    for (_, part, tile), u in zip(runs[1:], grown[1:], strict=True):
        corner: Side = "above left" if part.intensity < ridge(gpu) else "below right"
        chart.mark(tile, before, "", "accent", corner)
        board.move(u.to(1.0), seconds=0.2 if board.short else 0.5)
        name, seconds = f"{part.intensity:.0f}", 0.4 if board.short else 0.7
        chart.mark(tile, part.intensity, name, "accent", corner, seconds=seconds)
        before = part.intensity
