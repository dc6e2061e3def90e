"""Where things stand: a trace and a size become boxes in whole pixels. Nothing here draws.

Three canvases: wide (1920×1080), square (1080×1080) and tall (1080×1920), each laid out in its own units and scaled to
the output. What moves on the bus crosses between HBM and SRAM: sideways on the wide canvas, downwards on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from .. import theme
from ..trace.trace import Trace
from .films import Kind

#: the smallest cell that survives video compression, in px
CELL = 4

#: how small and how large a picture may be, as a share of its canvas
SMALLEST_SCALE, LARGEST_SCALE = 0.41, 4.0


class Box(NamedTuple):
    """A rectangle in px: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def bottom(self) -> int:
        return self.y + self.h

    def grown(self, by: int) -> Box:
        return Box(self.x - by, self.y - by, self.w + 2 * by, self.h + 2 * by)

    def overlaps(self, other: Box) -> bool:
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom


@dataclass(frozen=True)
class Grid:
    """A matrix on screen: rows × columns of it in `box`, binned so that a cell is no smaller than it may be.

    `cell` is a cell's size in px, `bins` how many rows and columns of the matrix go into one. A vector has one column.
    """

    name: str
    box: Box
    cell: tuple[int, int]
    bins: tuple[int, int] = (1, 1)

    def rows(self, start: int, stop: int) -> Box:
        """Where rows start … stop − 1 of the matrix stand."""
        top, bottom = start // self.bins[0], ceil(stop / self.bins[0])
        return Box(self.box.x, self.box.y + top * self.cell[1], self.box.w, (bottom - top) * self.cell[1])


@dataclass(frozen=True)
class Lane:
    """One SRAM: a panel, its slots as grids, the column heads of its statistics."""

    panel: Box
    slots: dict[str, Grid]
    scores: Grid | None
    stats: dict[str, Grid]
    gauge: Box | None
    note: Box | None = None

    top: int = 0  # below the panel's title


@dataclass(frozen=True)
class Layout:
    """Every box of a film's stage. `unit` is px per unit of the canvas."""

    width: int
    height: int
    canvas: str
    unit: float
    origin: tuple[int, int]
    title: Box
    rail: Box
    hbm: Box
    columns: dict[str, Grid]
    labels: dict[str, Grid]
    bus: Box
    sideways: bool
    lanes: tuple[Lane, ...]
    heads: Box | None
    caption: Box
    caption_lines: int
    meter: Box
    aside: Box
    code: Box | None
    main: Box
    binned: str

    def px(self, units: float) -> int:
        """Canvas units in whole px."""
        return round(units * self.unit)


class _Areas(NamedTuple):
    """A canvas: its size and where its panels are, in units."""

    size: tuple[float, float]
    title: tuple[float, float, float, float]
    rail: tuple[float, float, float, float]
    main: tuple[float, float, float, float]
    caption: tuple[float, float, float, float]
    caption_lines: int
    meter: tuple[float, float, float, float]
    aside: tuple[float, float, float, float]


_CANVASES = {
    "wide": _Areas(
        size=(1920, 1080), title=(72, 28, 1776, 66), rail=(72, 102, 1776, 6), main=(72, 140, 1776, 690),
        caption=(72, 862, 1460, 48), caption_lines=1, meter=(72, 926, 1340, 140), aside=(1548, 858, 300, 152),
    ),
    "square": _Areas(
        size=(1080, 1080), title=(40, 16, 1000, 60), rail=(40, 84, 1000, 6), main=(40, 108, 1000, 748),
        caption=(40, 862, 1000, 94), caption_lines=2, meter=(40, 962, 700, 112), aside=(756, 962, 284, 112),
    ),
    "tall": _Areas(
        size=(1080, 1920), title=(56, 60, 968, 66), rail=(56, 140, 968, 6), main=(56, 180, 968, 1330),
        caption=(56, 1534, 968, 98), caption_lines=2, meter=(56, 1650, 968, 130), aside=(56, 1788, 968, 116),
    ),
}  # fmt: skip


def canvas_of(width: int, height: int) -> str:
    """The canvas whose shape is nearest: "wide", "square" or "tall"."""
    return min(_CANVASES, key=lambda name: abs(_CANVASES[name].size[0] / _CANVASES[name].size[1] - width / height))


def layout(trace: Trace, *, width: int, height: int, kind: Kind = "tile", lanes: int = 1, code: bool = False) -> Layout:
    """Lay out a film's stage for a trace. `kind` says what SRAM shows: one large tile, lanes side by side, or kernels.

    Raises ValueError for a size that nothing can be read at, and for a matrix too large to draw.
    """
    canvas = canvas_of(width, height)
    areas = _CANVASES[canvas]
    if canvas == "wide" and kind == "kernels":  # the memory of S and P takes more room than the map
        areas = areas._replace(caption=(72, 862, 1330, 48), aside=(1424, 862, 424, 204))
    unit = min(width / areas.size[0], height / areas.size[1])
    if not SMALLEST_SCALE <= unit <= LARGEST_SCALE:
        w, h = (ceil(side * SMALLEST_SCALE / 2) * 2 for side in areas.size)
        raise ValueError(
            f"size {width}x{height} can't be drawn: in this shape, choose one from {w}x{h} to "
            f"{areas.size[0] * LARGEST_SCALE:.0f}x{areas.size[1] * LARGEST_SCALE:.0f}"
        )
    origin = round((width - areas.size[0] * unit) / 2), round((height - areas.size[1] * unit) / 2)
    place = _Placer(unit, origin)
    hbm, bus, sram, pane = _panels(areas, canvas, kind, code)
    columns, labels = _columns(trace, place, hbm, canvas)
    if kind == "lanes":
        head = (sram[0], sram[1], sram[2], 34.0)
        rows = _lanes(trace, place, (sram[0], sram[1] + 36, sram[2], sram[3] - 36), lanes)
        heads: Box | None = place.box(head)
    else:
        rows = (_kernels(trace, place, sram) if kind == "kernels" else _tile(trace, place, sram),)
        heads = None
    return Layout(
        width=width,
        height=height,
        canvas=canvas,
        unit=unit,
        origin=origin,
        title=place.box(areas.title),
        rail=place.box(areas.rail),
        hbm=place.box(hbm),
        columns=columns,
        labels=labels,
        bus=place.box(bus),
        sideways=canvas == "wide",
        lanes=rows,
        heads=heads,
        caption=place.box(areas.caption),
        caption_lines=areas.caption_lines,
        meter=place.box(areas.meter),
        aside=place.box(areas.aside),
        code=place.box(pane) if pane else None,
        main=place.box(areas.main),
        binned=_binned(columns, trace.meta["d"]),
    )


def _binned(columns: dict[str, Grid], d: int) -> str:
    """What is to be said where columns of a matrix share a cell."""
    notes = [f"d {d}, {columns['Q'].bins[1]} to a cell"] if columns["Q"].bins[1] > 1 else []
    if columns["Q"].bins[0] > 1:
        notes.append(f"{columns['Q'].bins[0]} rows to a cell")
    if "S" in columns and columns["S"].bins[1] > 1:
        notes.append(f"S {columns['S'].bins[1]} to a cell")
    return ", ".join(notes)


Rect = tuple[float, float, float, float]


class _Placer(NamedTuple):
    """From canvas units to px."""

    unit: float
    origin: tuple[int, int]

    def box(self, rect: Rect) -> Box:
        x, y = self.origin[0] + round(rect[0] * self.unit), self.origin[1] + round(rect[1] * self.unit)
        return Box(x, y, round(rect[2] * self.unit), round(rect[3] * self.unit))

    def grid(
        self,
        name: str,
        rect: Rect,
        rows: int,
        columns: int,
        *,
        most: float = 1e9,
        square: bool = False,
        gap: bool = False,
    ) -> Grid:
        """The largest grid of whole-px cells within a rectangle, centred across, from the top down. Cells are at most
        `most` units; where they would be smaller than CELL, rows or columns are binned."""
        box, limit = self.box(rect), max(CELL, round(most * self.unit))
        smallest = CELL if columns > 1 else 1
        bin_w, bin_h = _bin(columns, box.w, smallest), _bin(rows, box.h, CELL if square else 2)
        cell_w = min(limit, box.w // ceil(columns / bin_w))
        cell_h = min(limit, box.h // ceil(rows / bin_h))
        if square:
            cell_w = cell_h = min(cell_w, cell_h)
        w, h = cell_w * ceil(columns / bin_w), cell_h * ceil(rows / bin_h)
        return Grid(name, Box(box.x + (box.w - w) // 2, box.y, w, h), (cell_w, cell_h), (bin_h, bin_w))


def _bin(count: int, room: int, smallest: int) -> int:
    """How many go into one cell, so that cells of at least `smallest` px fit: 1, 2, 4, …"""
    bins = 1
    while ceil(count / bins) * smallest > room and bins < count:
        bins *= 2
    return bins


def _panels(areas: _Areas, canvas: str, kind: Kind, code: bool) -> tuple[Rect, Rect, Rect, Rect | None]:
    """HBM, bus, SRAM and the code pane, in units."""
    x, y, w, h = areas.main
    pane: Rect | None = None
    if canvas == "wide":
        if code:
            pane = (x + w - 560, y, 560, h)
            w -= 584
        share = {"tile": 940 / 1776, "lanes": 706 / 1776, "kernels": 1230 / 1776}[kind]
        if code:
            share = {"tile": 0.47, "lanes": 0.38, "kernels": 0.6}[kind]
        gap = {"tile": 88.0, "lanes": 126.0, "kernels": 98.0}[kind]
        left = w * share
        return (x, y, left, h), (x + left, y, gap, h), (x + left + gap, y, w - left - gap, h), pane
    strip = {"square": 62.0, "tall": 84.0}[canvas]
    if code:
        tall = {"square": 132.0, "tall": 360.0}[canvas]
        pane = (x, y + h - tall, w, tall)
        h -= tall + 14
    square = canvas == "square"
    upper = (h - strip) * {"tile": 0.40 if square else 0.51, "lanes": 0.44 if square else 0.48, "kernels": 0.52}[kind]
    return (x, y, w, upper), (x, y + upper, w, strip), (x, y + upper + strip, w, h - upper - strip), pane


def _columns(trace: Trace, place: _Placer, panel: Rect, canvas: str) -> tuple[dict[str, Grid], dict[str, Grid]]:
    """The tensors of HBM as columns of one row height, with row labels on their left."""
    x, y, w, h = panel
    names = sorted(trace.initial, key=lambda name: theme.ORDER.index(name) if name in theme.ORDER else len(theme.ORDER))
    N, M = trace.meta["queries"], trace.meta["keys"]
    head, pad, gap = (126.0, 20.0, 16.0) if canvas == "wide" else (66.0, 14.0, 14.0)
    label = min(158.0, 0.225 * w) if trace.meta["tokens"] else 64.0
    vector = 44.0
    wide = [name for name in names if trace.initial[name].ndim == 2]
    weight = {name: 2.1 if trace.initial[name].shape[1] == M and name in "SP" else 1.0 for name in wide}
    second = label if N != M else 0.0  # keys have labels of their own where they are not the queries
    room = w - 2 * pad - label - second - gap * len(names) - (vector + 0) * (len(names) - len(wide))
    unit_width = min(room / sum(weight.values()), 260.0)
    slack = room - unit_width * sum(weight.values())
    rows = max(N, M)
    tall = h - head - pad
    bin_h = _bin(rows, round(tall * place.unit), 2)
    cell_h = min(round(48 * place.unit), round(tall * place.unit) // ceil(rows / bin_h))
    grids: dict[str, Grid] = {}
    labels: dict[str, Box] = {}
    at = x + pad + slack / 2
    top = y + head
    for name in names:
        for axis in ("queries", "keys"):
            if axis not in labels and (axis == "queries" and name == "Q" or axis == "keys" and name == "K" and second):
                labels[axis] = place.box((at, top, label - gap, tall))
                at += label
        shape = trace.initial[name].shape
        width = vector if len(shape) == 1 else unit_width * weight[name]
        grid = place.grid(name, (at, top, width, tall), 1, shape[1] if len(shape) == 2 else 1)
        box = Box(grid.box.x, grid.box.y, grid.box.w, cell_h * ceil(shape[0] / bin_h))
        grids[name] = Grid(name, box, (grid.cell[0], cell_h), (bin_h, grid.bins[1]))
        at += width + gap
    made = {
        axis: Grid(axis, Box(box.x, box.y, box.w, cell_h * ceil(size / bin_h)), (box.w, cell_h), (bin_h, 1))
        for (axis, box), size in zip(labels.items(), (N, M), strict=False)
    }
    return grids, made


def _matrices(trace: Trace) -> dict[str, tuple[int, int]]:
    """The largest shape of each slot that holds a matrix, in the order in which they come on chip."""
    shapes: dict[str, tuple[int, int]] = {}
    for event in trace:
        if event.op in ("load", "compute") and len(event.shape) == 2:
            rows, columns = event.row + event.shape[0], event.shape[1]
            was = shapes.get(event.slot, (0, 0))
            shapes[event.slot] = max(was[0], rows), max(was[1], columns)
    return shapes


#: what a column of statistics shows: the first of these slots that holds something, unless another is being made
STATS = {"m": ("m_new", "m_i", "m_ij"), "α": ("alpha", "beta"), "ℓ": ("l_new", "l_i", "l_ij")}


def _tile(trace: Trace, place: _Placer, panel: Rect) -> Lane:
    """One large score tile with its numbers, loaded tiles above or beside it, running statistics on its right."""
    x, y, w, h = panel
    shapes = _matrices(trace)
    slots: list[str] = [name for name in ("k", "v", "q", "o", "acc") if name in shapes]
    bq, bk = trace.meta["block_q"], trace.meta["block_k"]
    gauge = (x + w - 24, y + 86, 14.0, h - 130)
    made: dict[str, Grid] = {}
    if h > 0.62 * w:  # a tall panel: two by two above the tile
        half = (w - 60) / 2
        for n, name in enumerate(slots):
            rect = (x + 66 + (n % 2) * half, y + 82 + (n // 2) * 78, half - 76, 56.0)
            made[name] = place.grid(name, rect, *shapes[name])
        top, left = y + 324, x + 24.0
    else:  # a broad one: a stack on its left
        step = (h - 88) / len(slots)
        for n, name in enumerate(slots):
            made[name] = place.grid(name, (x + 66, y + 72 + n * step, 210, step - 14), *shapes[name])
        top, left = y + 94, x + 290.0
    right, bottom = x + w - 40, y + h - 14
    labels = 126.0 if right - left > 640 and trace.meta["tokens"] else 0.0
    stats = [78.0] * 3
    if right - left - labels < 304 + sum(stats):
        stats = [66.0] * 3
    side = min(right - left - labels - sum(stats) - 20, bottom - top - 54)
    cell = min(76.0 if w < 900 else 92.0, side / max(bq, bk))
    scores = place.grid("S", (left + labels, top, max(side, cell * bk), cell * bq + 1), bq, bk, most=cell, square=True)
    scores = Grid("S", Box(place.box((left + labels, top, 0, 0)).x, *scores.box[1:]), scores.cell, scores.bins)
    after = scores.box.right + round(18 * place.unit)
    columns: dict[str, Grid] = {}
    for n, name in enumerate(STATS):
        pitch = round((stats[0] + 4) * place.unit)
        columns[name] = Grid(
            name,
            Box(after + n * pitch, scores.box.y, pitch - max(2, round(4 * place.unit)), scores.box.h),
            (pitch, scores.cell[1]),
            (scores.bins[0], 1),
        )
    note = Box(place.box((left, 0, 0, 0)).x, scores.box.y, scores.box.x - place.box((left, 0, 0, 0)).x, scores.box.h)
    return Lane(place.box(panel), made, scores, columns, place.box(gauge), note)


def _lanes(trace: Trace, place: _Placer, area: Rect, count: int) -> tuple[Lane, ...]:
    """Programs side by side: a flat panel each, with the same slots in the same places."""
    x, y, w, h = area
    shapes = _matrices(trace)
    bq, bk = trace.meta["block_q"], trace.meta["block_k"]
    gap = 12.0
    tall = (h - gap * (count - 1)) / count
    inner = tall - 24
    title = 0.17 * w if w > 800 else 74.0
    minis = 0.135 * w
    stat = 82.0 if w > 800 else 66.0
    side = min(inner, 0.15 * w, 40.0 * max(bq, bk))
    acc = max(70.0, w - title - 44 - minis - 26 - side - 26 - 3 * stat - 26 - 24)
    lanes = []
    for n in range(count):
        top = y + n * (tall + gap)
        slots: dict[str, Grid] = {}
        at = x + title + 44
        loaded: list[str] = [name for name in ("q", "k", "v") if name in shapes]
        step = (inner + 16) / 3
        for k, name in enumerate(loaded):
            slots[name] = place.grid(name, (at, top + 12 + k * step, minis, step - 16), *shapes[name], most=20.0)
        at += minis + 26
        scores = place.grid("S", (at, top + 12, side, side), bq, bk, square=True)
        at += side + 26
        columns: dict[str, Grid] = {}
        for k, name in enumerate(STATS):
            box = place.box((at + k * stat, 0, stat - 4, 0))
            columns[name] = Grid(
                name, Box(box.x, scores.box.y, box.w, scores.box.h), (box.w, scores.cell[1]), (scores.bins[0], 1)
            )
        at += 3 * stat + 26
        wide = place.grid("acc", (at, top + 12, acc, 30), 1, shapes["acc"][1], most=20.0)
        slots["acc"] = Grid(
            "acc",
            Box(wide.box.x, scores.box.y, wide.box.w, scores.box.h),
            (wide.cell[0], scores.cell[1]),
            (scores.bins[0], wide.bins[1]),
        )
        note = place.box((x + 16, top + 12, title - 10, inner))
        lanes.append(Lane(place.box((x, top, w, tall)), slots, scores, columns, None, note))
    return tuple(lanes)


def _kernels(trace: Trace, place: _Placer, panel: Rect) -> Lane:
    """Whole rows: the slots of each kernel under each other, or beside each other where the panel is broad."""
    x, y, w, h = panel
    shapes: dict[int, dict[str, tuple[int, ...]]] = {}
    for event in trace:
        if event.op in ("load", "compute"):
            held = shapes.setdefault(event.program, {})
            rows = max(held.get(event.slot, (0,))[0], event.row + event.shape[0])
            held[event.slot] = (rows, *event.shape[1:])
    slots: dict[str, Grid] = {}
    for program, held in shapes.items():
        wide = [name for name, shape in held.items() if len(shape) == 2]
        narrow = [name for name in held if name not in wide]
        for n, name in enumerate(wide):
            if h > w:
                step = (h - 84) / len(wide)
                rect = (x + 28, y + 84 + n * step + 44, w - 150, step - 64)
            else:
                step = (w - 64) / len(wide)
                rect = (x + 28 + n * step, y + 112, step - 100, h - 130)
            grid = slots[f"{program}.{name}"] = place.grid(
                name, rect, held[name][0], held[name][1], most=44.0 if h > w else 90.0
            )
            if n < len(narrow):  # a row's max beside its scores, its sum beside its weights
                at = Box(grid.box.right + round(14 * place.unit), grid.box.y, round(40 * place.unit), grid.box.h)
                slots[f"{program}.{narrow[n]}"] = Grid(narrow[n], at, (at.w, grid.cell[1]), (grid.bins[0], 1))
    gauge = place.box((x + w - 28, y + 86, 14.0, h - 130))
    return Lane(place.box(panel), slots, None, {}, gauge, top=place.box((x, y + 62, 0, 0)).y)
