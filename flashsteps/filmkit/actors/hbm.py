"""HBM: every tensor that lives there as a column, with the tiles in use framed, and row labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Self

import numpy as np

from ... import theme
from ...machine.devices import device
from ...machine.events import Tile
from ...theme import BODY, HEAD, LABEL
from ..boxes import Box
from . import cells
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen
    from ..run import Run

#: whose rows are labelled with what
AXES = {"queries": "Q", "keys": "K"}


@dataclass(frozen=True)
class Hbm(OfRun):
    """`device` is the GPU whose memory it is said to be, unless given the run's own. A toy's has no size."""

    device: str = ""

    def seen(self) -> Hashable:
        number, _ = self.run.split(self.now)
        arrived = [event.step for event in self.run.events(self.now) if event.step in self.run.landed(self.now)]
        stored = [step for step in arrived if self.run.trace[step].op == "store"]
        return self.run.stored_before(number), tuple(stored), self.run.in_use(self.now)

    def differs(self, before: Self, pen: Pen, box: Box) -> tuple[Box, ...]:
        if (before.run, before.device) != (self.run, self.device):
            return (box,)
        columns, labels = places(pen, box, self.run)
        (old, was), (new, now) = before._held(), self._held()
        others = {name for name in columns if old[name] is not new[name] or was[name] != now[name]}
        found = [_around(pen, column.box) for axis, column in labels.items() if AXES[axis] in others]
        for other, stretch in groupby(columns, others.__contains__):
            if other:  # neighbours are drawn as one
                found.append(reduce(Box.around, (cells.edge(pen.unit, columns[name].box) for name in stretch)))
        return tuple(found)

    def _held(self) -> tuple[Mapping[str, np.ndarray], dict[str, list[Tile]]]:
        """What HBM holds, and the tiles of each tensor that are in use."""
        data, tiles = self.run.hbm(self.now), self.run.in_use(self.now)
        return data, {name: [tile for tile in tiles if tile.tensor == name] for name in data}

    def draw(self, pen: Pen, box: Box) -> None:
        pen.panel(box)
        columns, labels = places(pen, box, self.run)
        if pen.sees(box._replace(h=min(column.box.y for column in columns.values()) - box.y)):
            self._heads(pen, box, columns)
        data, tiles = self._held()
        for name, column in columns.items():
            if pen.sees(cells.edge(pen.unit, column.box)):
                self._column(pen, name, column, data[name], tiles[name])
        for axis, column in labels.items():
            if not pen.sees(_around(pen, column.box)):
                continue
            lit = {row for tile in tiles.get(AXES[axis], ()) for row in range(tile.start, tile.stop)}
            names = self.run.names[axis]
            alone = frozenset(lit if len(lit) < len(names) else ())
            cells.row_labels(pen, column, names, column.box.right, column.box.w, alone)

    def _heads(self, pen: Pen, box: Box, columns: dict[str, cells.Grid]) -> None:
        """What stands over the columns: whose memory it is, and their names."""
        flat = box.h < pen.px(430)
        base, x = box.y + pen.px(44 if flat else 52), box.x + pen.px(28)
        x += round(pen.text(x, base, "HBM", HEAD, weight=700))
        if not flat:
            self._notes(pen, box, x + pen.px(20), base, columns)
        for name, column in columns.items():
            words = theme.label(name)
            pen.text(
                column.box.x + column.box.w / 2, column.box.y - pen.px(16), words, BODY if len(words) == 1 else LABEL,
                theme.hue(name), weight=700, align="center",
            )  # fmt: skip

    def _notes(self, pen: Pen, box: Box, left: float, base: float, columns: dict[str, cells.Grid]) -> None:
        """Whose memory, how many columns share a cell, and what dark and bright mean; as much as there is room for."""
        gpu, d = self.device or self.run.trace.meta["device"], self.run.trace.meta["d"]
        ramp = pen.px(24)
        room = box.right - pen.px(24) - left
        scale = pen.width("low", LABEL) + pen.width("high", LABEL) + 4 * ramp + pen.px(24)
        bins = columns["Q"].bins[1] if "Q" in columns else 1
        shared = f"{bins} of {d} columns a cell" if bins > 1 else ""
        size = [f"{device(gpu).memory} GB, {device(gpu).bandwidth:.1f} TB/s", f"{device(gpu).memory} GB"] if gpu else []
        for words in (" · ".join(filter(None, (*size[:1], shared))), *size):
            if pen.width(words, LABEL) + scale + pen.px(30) <= room:
                pen.label(left, base, words)
                break
        if scale <= room and pen.fits(LABEL):
            right = box.right - pen.px(24)
            right -= round(pen.label(right, base, "high", align="right")) + pen.px(12)
            for n in range(4):
                at = Box(right - (4 - n) * ramp, base - pen.px(20), ramp, pen.px(20))
                pen.fill(at, "ink", alpha=0.12 + 0.22 * n)
            pen.label(right - 4 * ramp - pen.px(12), base, "low", align="right")

    def _column(self, pen: Pen, name: str, grid: cells.Grid, data: np.ndarray, tiles: list[Tile]) -> None:
        blank = blank_rows(data)
        matrix = np.where(blank.reshape(-1, *(1,) * (data.ndim - 1)), np.nan, data.astype(np.float64))
        colors = cells.colors_of(pen, matrix, grid.bins, self.run.ranges.get(name, (0.0, 1.0)), "panel", name)
        if blank.any():
            pen.frame(grid.box, "faint", dash=6, radius=3)
        for start, stop in stretches(~blank):
            pen.texture(grid.rows(start, stop), colors[start // grid.bins[0] : ceil(stop / grid.bins[0])], alpha=0.5)
        for start, stop in stretches(blank & ~_missing(data)):
            at = grid.rows(start, stop)
            if at.h >= pen.px(34):
                words = "0" if data[start].max() == 0 else "−∞"
                pen.label(at.x + at.w / 2, at.y + at.h / 2 + pen.px(10), words, theme.hue(name), align="center")
        for tile in tiles:
            start, stop = tile.start, tile.stop
            left, right = tile.columns or (0, colors.shape[1] * grid.bins[1])
            across = slice(left // grid.bins[1], ceil(right / grid.bins[1]))
            box = grid.part(start, stop, left, right)
            shown = colors[start // grid.bins[0] : ceil(stop / grid.bins[0]), across]
            for a, b in stretches(~blank[start:stop]):
                part = grid.part(start + a, start + b, left, right)
                pen.texture(part, shown[a // grid.bins[0] : ceil(b / grid.bins[0])])
            pen.frame(cells.edge(pen.unit, box), "ink", width=3, radius=5)


def _around(pen: Pen, labels: Box) -> Box:
    """Where labels of rows may reach to: they may be higher than their row."""
    at, high = cells.edge(pen.unit, labels), pen.px(LABEL)
    return Box(at.x, at.y - high, at.w, at.h + 2 * high)


def _missing(data: np.ndarray) -> np.ndarray:
    return np.array(np.isnan(data.reshape(len(data), -1)).any(axis=1))


def blank_rows(data: np.ndarray) -> np.ndarray:
    """Rows that nothing was written to yet, or only what they start from: 0 or −∞."""
    flat = data.reshape(len(data), -1)
    return np.array(_missing(data) | (flat == 0).all(axis=1) | np.isneginf(flat).all(axis=1))


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _named(pen: Pen, name: str) -> int:
    """How wide a name is that is too long for the column of a vector."""
    return ceil(pen.width(theme.label(name), LABEL, weight=700)) if len(name) > 3 else 0


def places(pen: Pen, box: Box, run: Run) -> tuple[dict[str, cells.Grid], dict[str, cells.Grid]]:
    """Tensors as columns of one row height, and row labels: of queries, and of keys where they are others."""
    trace = run.trace
    names = sorted(trace.initial, key=theme.rank)
    N, M = trace.meta["queries"], trace.meta["keys"]
    head, pad, gap = (pen.px(126 if box.h >= pen.px(430) else 62)), pen.px(20), pen.px(12)
    label = round(min(pen.px(118), 0.22 * box.w)) if trace.meta["tokens"] else pen.px(44)
    vector, least = pen.px(54), pen.px(30)  # there is room for a name
    wide = [name for name in names if trace.initial[name].ndim == 2]
    weight = {name: min(2.1, trace.initial[name].shape[1] / trace.meta["d"]) for name in wide}  # to scale, up to there
    columns_of = {name: max(vector, _named(pen, name)) for name in names if name not in wide}
    both = N != M and "K" in names and len(trace.initial["K"]) == M  # in pages they lie anywhere
    if both:
        names.sort(key=lambda name: len(trace.initial[name]) == M)  # beside their own labels
    room = box.w - 2 * pad - gap * (len(names) + both) - sum(columns_of.values())
    free = int(room - least * len(wide)) // (1 + both)
    if box.h < pen.px(430):  # its name stands in the line of theirs
        label = max(label, round(pen.px(28) - pad + pen.width("HBM", HEAD, weight=700)))
    label = min(label, max(pen.px(44), free))
    room -= label * (1 + both)
    second = label + gap if both else 0
    unit = room / max(1e-9, sum(weight.values()))
    narrow = [name for name in wide if unit * weight[name] < least]
    room -= least * len(narrow)
    unit = min(room / max(1e-9, sum(weight[name] for name in wide if name not in narrow)), pen.px(230))
    rows, tall = max(N, M, *(len(data) for data in trace.initial.values())), box.h - head - pad
    bin_h = cells._bins(rows, tall, 2)
    high = max(1, min(pen.px(48), tall // ceil(rows / bin_h)))
    slack = max(0, room - unit * sum(weight[name] for name in wide if name not in narrow))
    at, top = box.x + pad + slack / 2, box.y + head
    columns: dict[str, cells.Grid] = {}
    labels: dict[str, cells.Grid] = {}

    def put(axis: str) -> None:
        nonlocal at
        count = trace.meta[axis]
        labels[axis] = cells.Grid(Box(round(at), top, label, high * ceil(count / bin_h)), (label, high), (bin_h, 1))
        at += label + gap

    for name in names:
        if name == "Q" or not labels and name == names[0]:
            put("queries")
        if name == "K" and second:
            put("keys")
        shape = trace.initial[name].shape
        width = columns_of[name] if len(shape) == 1 else least if name in narrow else int(unit * weight[name])
        made = cells.grid(Box(round(at), top, width, tall), 1, shape[1] if len(shape) == 2 else 1)
        columns[name] = cells.Grid(
            Box(made.box.x, top, made.box.w, high * ceil(shape[0] / bin_h)), (made.cell[0], high), (bin_h, made.bins[1])
        )
        at += width + gap
    return columns, labels
