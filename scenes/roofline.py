"""Each step of attention by the FLOPs it does for a byte: which side of the ridge, and where fusing puts the whole."""

from math import log10

from flashsteps.filmkit import Board, Film, Made
from flashsteps.filmkit.actors.areas import Area, Areas, Crowd
from flashsteps.filmkit.actors.bars import Bar, Bars, Piece
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.columns import Stack
from flashsteps.filmkit.actors.curve import Area as Ground
from flashsteps.filmkit.actors.curve import Axis, Curve, Dot, Line, Rule
from flashsteps.filmkit.actors.formula import Formula, Fraction
from flashsteps.filmkit.boxes import Box
from flashsteps.filmkit.places import note, stage
from flashsteps.filmkit.script import Part as Placed
from flashsteps.machine.devices import Device, device
from flashsteps.runs.record import count
from flashsteps.story.labels import a
from flashsteps.theme import BODY, ORDER, hue, label
from flashsteps.traffic.intensity import Part, programs, ridge, roof, whole
from flashsteps.traffic.report import fits
from flashsteps.units import short, size_of

N, D, BLOCK = 8192, 64, 128
LOW, HIGH, EXAMPLE = 0.7, 1500.0, 3  # FLOPs a byte
STEPS = ("QK^{T}", "softmax", "PV")
FUSED = (("FlashAttention", "flash-forward", 128, 128), ("FlashAttention-2", "flash2-forward", 128, 64),
         ("FlashAttention-2", "flash2-forward", 256, 64))  # fmt: skip
COUNTED = f"counted, not measured: one head, N = {short(N)}, d = {D}, fp16, forward; two levels, no L2, no overlap"


class Roofline(Film):
    title = "The roofline"

    def storyboard(self, board: Board) -> None:
        gpu = device(board.option("device", "a100-80gb"))
        other = device("h100" if ridge(gpu) < ridge(device("h100")) else "a100-80gb")
        place = stage(board, *board.pick(wide=(5, 2), square=(5, 2), tall=(5, 3)))
        steps = programs("standard-forward", n=N, d=D, block_q=BLOCK, block_k=BLOCK)
        chart, side, beside = Chart(board, gpu, other), place.sides[1], list[Placed]()
        board.put(chart.actor, place.sides[0])
        if not board.short:
            with board.chapter("FLOPs for a byte"):
                beside = divide(board, chart, side)
        with board.chapter("The roof"):
            words = f"Below {ridge(gpu):.0f} FLOPs a byte, this GPU waits for its memory."
            board.say("Left of the ridge, a GPU waits for HBM." if board.short else words)
            if not board.short:
                chart.drop("example")
            chart.draw()
        if not board.short:
            with board.chapter("One step"):
                board.remove(*beside)
                beside = one_step(board, chart, side, steps[0])
        with board.chapter("Standard attention"):
            note(board, place, COUNTED)
            beside = standard(board, chart, side, steps, beside, ridge(gpu))
        with board.chapter("Fused"):
            if beside:
                board.remove(*beside)
            fused(board, chart, side, gpu)
        if not board.short:
            with board.chapter("Another chip"):
                higher = ridge(other) > ridge(gpu)
                what = "a faster chip wants taller tiles" if higher else "the faster the chip, the taller its tiles"
                board.say(f"On {a(other.model)} the ridge is at {ridge(other):.0f}: {what}.")
                chart.change(other)


class Chart:
    """The roof of a GPU and the dots on it. `marks` are (log x, name, hue, side, hollow), each under a key."""

    def __init__(self, board: Board, gpu: Device, other: Device) -> None:
        self.board, self.gpu, self.marks = board, gpu, dict[str, tuple]()
        self.speeds, self.model = board.value((gpu.bandwidth, float(gpu.tflops))), board.value(gpu.model)
        self.drawn, self.there, self.dots = board.value(log10(LOW)), board.value(False), board.value(())
        low = LOW * min(gpu.bandwidth, other.bandwidth) / 3
        high = 1.6 * max(gpu.tflops, other.tflops)
        x, y = (
            Axis(
                first,
                last,
                tuple((10.0**k, f"{10**k:g}") for k in range(-1, 5) if first <= 10**k <= last),
                name,
                log=True,
            )
            for first, last, name in ((LOW, HIGH, "FLOPs for each byte of HBM traffic"), (low, high, "TFLOP/s at best"))
        )
        now = Made(lambda speeds: gpu._replace(bandwidth=speeds[0], tflops=speeds[1]), self.speeds)
        lines = (Line("", Made(slope, now, self.drawn), "ink"),)
        dots = Made(lambda dots, gpu, there: placed(dots, gpu, there, low), self.dots, now, self.there)
        rules = Made(lambda gpu, there: (Rule(ridge(gpu), f"{ridge(gpu):.0f}"),) * there, now, self.there)
        self.actor = Curve(x, y, lines, dots, Made(grounds, now, self.there), rules, title=self.model)

    def draw(self) -> None:
        self.board.move(self.drawn.to(log10(HIGH)), seconds=1.8)
        self.board.set(self.there.to(True))

    def mark(self, key: str, x: float, *looks, seconds: float = 0.0) -> None:
        """A dot comes, or moves to x and then has another name."""
        if seconds:
            self.marks[key] = (log10(x), "", *looks[1:])
            self.board.move(self.dots.to(tuple(self.marks.values())), seconds=seconds)
        self.marks[key] = (log10(x), *looks)
        self.board.set(self.dots.to(tuple(self.marks.values())))

    def drop(self, key: str) -> None:
        del self.marks[key]
        self.board.set(self.dots.to(tuple(self.marks.values())))

    def change(self, gpu: Device) -> None:
        self.board.set(self.model.to(f"{self.gpu.model} → {gpu.model}"))
        self.board.move(self.speeds.to((gpu.bandwidth, float(gpu.tflops))), seconds=1.6)
        self.board.set(self.model.to(gpu.model))


def slope(gpu: Device, drawn: float) -> tuple[tuple[float, float], ...]:
    """The roof, as far as it is drawn (log x)."""
    end = 10**drawn
    return tuple((x, roof(gpu, x)) for x in sorted({LOW, min(end, ridge(gpu)), end}))


def grounds(gpu: Device, there: bool) -> tuple[Ground, ...]:
    left, top, right = slope(gpu, log10(HIGH))
    return (
        Ground((left, top), "panel", "waits for memory"),
        Ground((top, right), "sram", "waits for arithmetic"),
    ) * there


def placed(marks, gpu: Device, there: bool, low: float) -> tuple[Dot, ...]:
    """Dots on the roof, or on the axis as long as there is none; and what the roof is made of."""
    dots = [
        Dot(10**x, roof(gpu, 10**x) if there else low, name, color, side, ring) for x, name, color, side, ring in marks
    ]
    names = (
        Dot(4, roof(gpu, 4), f"HBM: {gpu.bandwidth:.4g} TB/s", "dim", "below right", bare=True),
        Dot(HIGH / 2.2, gpu.tflops, f"{gpu.tflops:.0f} TFLOP/s", "dim", "above", bare=True),
    )
    return (*dots, *(names if there else ()))


def divide(board: Board, chart: Chart, side: Box) -> list[Placed]:
    """What intensity is: one byte comes, something is done with it."""
    chart.mark("example", 1.0, "", "accent", "above right", False)
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
    chart.mark("example", EXAMPLE, f"{EXAMPLE} FLOPs a byte", "accent", "above right", False, seconds=1.0)
    return parts


def one_step(board: Board, chart: Chart, side: Box, part: Part) -> list[Placed]:
    """S = QKᵀ: its operands to scale, and where it lies."""
    upper, lower = side.rows(3, 2) if board.shape == "wide" else side.columns(1, 2)
    lower = lower._replace(h=min(lower.h, 190))
    at, most = N / 20, f"{part.intensity:.0f}"
    areas = Area(at, at, N, N, "S", "S", f"{short(N)} × {short(N)}"), Area(0, at, D, N, "Q"), Area(at, 0, N, D, "K")
    figures = ("FLOPs", f"{part.work.total / 1e9:.1f} billion"), ("bytes", size_of(part.total)), ("FLOPs a byte", most)
    parts = [board.put(Areas(areas, N + at, N + at), upper), board.put(Card("", "", figures), lower)]
    board.say(f"S = QK^{{T}}: {most} FLOPs a byte. Its S has to be written out.")
    chart.mark("QK", LOW, "", "S", "above left", False)
    chart.mark("QK", part.intensity, f"S = QK^{{T}}: {most}", "S", "above left", False, seconds=1.4)
    return parts


def standard(
    board: Board, chart: Chart, side: Box, parts: tuple[Part, ...], beside: list[Placed], limit: float
) -> list[Placed]:
    """All three steps, and the whole of them; then what each does and moves."""
    qk, softmax, pv = (part.intensity for part in parts)
    every = whole("standard-forward", n=N, d=D, block_q=BLOCK, block_k=BLOCK)
    wide = board.shape == "wide"
    if board.short:
        board.say(f"Standard attention: {every.intensity:.0f} FLOPs a byte.", given=every.intensity < limit)
    else:
        words = "Every step lies left of the ridge: arithmetic waits for HBM, in softmax most of all."
        board.say(words, given=softmax < qk < limit and pv < limit)
        for key, value, name, where in (
            ("softmax", softmax, f"{'P = softmax(S)' if wide else 'softmax'}: {softmax:.2f}", "below right"),
            ("PV", pv, "", "left"),
        ):
            chart.mark(key, LOW, "", "S", where, False)
            chart.mark(key, value, name, "S", where, False, seconds=0.8)
        chart.mark("QK", qk, f"QK^{{T}} and PV: {qk:.0f} and {pv:.0f}", "S", "above left", False)
    chart.mark("whole", LOW, "", "ink", "below right", True)
    chart.mark(
        "whole",
        every.intensity,
        f"{'the whole' if wide else 'all'}: {every.intensity:.0f}",
        "ink",
        "below right",
        True,
        seconds=0.8,
    )
    if board.short:
        return []
    board.read()
    board.remove(*beside)
    moved, work = sum(part.total for part in parts), every.work.total
    shares = [(part.work.total, part.total) for part in parts]
    board.say(
        f"Softmax does {shares[1][0] / work:.0%} of the arithmetic and moves {shares[1][1] / moved:.0%} of the bytes."
    )
    sums = ("arithmetic", f"{work / 1e9:.1f} GFLOP", work), ("bytes", size_of(moved), moved)
    placed = []
    for n, ((title, total, most), box) in enumerate(zip(sums, side.columns(2), strict=True)):
        pieces = tuple(Piece(share[n], "dim" if k != 1 else "S", name=STEPS[k]) for k, share in enumerate(shares))
        placed.append(board.put(Stack(pieces, most, title, total), box))
    return placed


def fused(board: Board, chart: Chart, side: Box, gpu: Device) -> None:
    """The same work without S and P in HBM."""
    sizes = {"n": N, "d": D}
    runs = [("standard", whole("standard-forward", **sizes, block_q=BLOCK, block_k=BLOCK), "")]
    for name, algorithm, block_q, block_k in FUSED:
        blocks = {"block_q": block_q, "block_k": block_k}
        if fits(algorithm, count(algorithm, **sizes, **blocks), gpu):
            runs.append((name, whole(algorithm, **sizes, **blocks), f"{block_q}×{block_k}"))
    place = "under" if board.shape == "wide" else "note"
    most, grown = runs[0][1].total, [board.value(1.0), *(board.value(0.0) for _ in runs[1:])]
    bars = tuple(
        Bar(name, Made(lambda u, of=part.total: u * of, u), pieces=pieces(part), **{place: said(part, tile)})
        for (name, part, tile), u in zip(runs, grown, strict=True)
    )
    board.put(Bars(bars, most, title="bytes moved, and FLOPs a byte"), side)
    top = max(part.intensity for _, part, _ in runs)
    far = ", up to the ridge" if top >= 0.8 * ridge(gpu) else ""
    words = "Fused, S and P cost no traffic: the same work climbs the roof" + far + "."
    board.say("Fused, the same work climbs the roof." if board.short else words)
    for key in ("QK", "softmax", "PV"):
        if key in chart.marks:
            chart.drop(key)
    before = runs[0][1].intensity
    name = f"standard: {before:.0f}" if board.shape == "wide" else f"{before:.0f}"
    chart.mark("whole", before, name, "dim", "below right", True)
    for (_, part, tile), u in zip(runs[1:], grown[1:], strict=True):
        corner = "above left" if part.intensity < ridge(gpu) else "below right"
        chart.mark(tile, before, "", "accent", corner, False)
        board.move(u.to(1.0), seconds=0.2 if board.short else 0.5)
        name, seconds = f"{part.intensity:.0f}", 0.4 if board.short else 0.7
        chart.mark(tile, part.intensity, name, "accent", corner, False, seconds=seconds)
        before = part.intensity


def pieces(part: Part) -> tuple[Piece, ...]:
    """Bytes by tensor, in the order of tensors."""
    names = sorted(part.nbytes, key=ORDER.index)
    return tuple(Piece(part.nbytes[name], hue(name), name=label(name)) for name in names)


def said(part: Part, tile: str) -> str:
    """Its tile, if it has one, and its intensity."""
    return f"{tile}: {part.intensity:.0f}" if tile else f"{part.intensity:.0f}"
