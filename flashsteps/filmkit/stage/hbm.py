"""HBM on the stage: every tensor that lives there as a column, with the tiles in use framed, and row labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from ... import theme as themes
from ...story.labels import query_label
from ...theme import BODY, HEAD, LABEL
from .. import text as texts
from ..film import Film
from ..layout import Box, Grid
from ..pen import Pen, binned, shades
from .moment import Moment
from .part import Part


def background(pen: Pen, film: Film) -> None:
    """The panel, the device's name plate, the tensors' names."""
    place = film.layout
    pen.panel(place.hbm)
    wide = place.canvas == "wide"
    base = place.hbm.y + pen.px(52 if wide else 46)
    x: float = place.hbm.x + pen.px(30 if wide else 22)
    x += pen.text(x, base, "HBM", HEAD, weight=700)
    if wide:
        room = place.hbm.right - x - pen.px(40)
        pen.label(x + pen.px(20), base, _note(film, pen, room), room=room)
    else:
        room, middle = place.bus.w * 0.56, place.bus.y + place.bus.h // 2 + pen.px(10)
        pen.label(place.bus.x + pen.px(22), middle, _note(film, pen, room), room=room)
    for name, grid in place.columns.items():
        words, x, y = themes.label(name), grid.box.x + grid.box.w / 2, grid.box.y - pen.px(18)
        size = BODY if len(words) == 1 else LABEL
        pen.text(x, y, words, size, themes.hue(name), weight=700, align="center")


def _note(film: Film, pen: Pen, room: float) -> str:
    """The device's memory, and how many columns share a cell; as much of it as there is room for."""
    device, binned_ = film.device, film.layout.binned
    notes = [f"{device.memory} GB, {device.bandwidth:.1f} TB/s", f"{device.memory} GB", ""]
    joined = [" · ".join(part for part in (note, binned_) if part) for note in notes]
    return next((words for words in joined if pen.width(words, LABEL) <= room), joined[-1])


def _column(film: Film, name: str, grid: Grid) -> Part:
    """A tensor in HBM: dimmed, but for the tiles in use, which are framed."""
    frame = max(2, round(4 * film.layout.unit))
    low, high = film.ranges.get(name, (0.0, 1.0))

    def key(m: Moment) -> Hashable:
        return id(m.now.hbm[name]), tuple(in_use(m, name))

    def draw(pen: Pen, m: Moment) -> None:
        data = m.now.hbm[name]
        colors = tile_colors(pen, data, grid, low, high, "panel", name)
        whole = np.isnan(data).all()
        if not whole:
            pen.texture(grid.box, colors, alpha=0.5)
        if np.isnan(data).any():
            pen.frame(grid.box, "line")
        for start, stop in in_use(m, name):
            box = grid.rows(start, stop)
            cells = slice(start // grid.bins[0], -(-stop // grid.bins[0]))
            if not whole:
                pen.texture(box, colors[cells])
            pen.frame(box.grown(frame), "ink", width=3, radius=5)

    return Part(grid.box.grown(frame + 1), key, draw)


def tile_colors(pen: Pen, values: np.ndarray, grid: Grid, low: float, high: float, base: str, name: str) -> np.ndarray:
    """A tile's colours (rows, columns, 3), binned as its grid is. Where a mask hides all of a cell (−∞) it is empty."""
    matrix = values.astype(np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    hidden = np.isneginf(matrix) & (values.ndim == 2)  # a running max of −∞ is there: it is just the lowest
    cells = binned(np.where(hidden, low, matrix), *grid.bins)
    cells = np.where(binned(hidden.astype(float), *grid.bins) == 1, np.nan, cells)  # nothing is there to be seen
    return shades(cells, low, high, pen.color(base), pen.color(themes.hue(name)))


def in_use(m: Moment, tensor: str) -> list[tuple[int, int]]:
    """Rows of a tensor that are on chip and still needed, or on their way: as (start, stop), in order."""
    tiles = set()
    for event in m.events:
        if event.tile and event.tile.tensor == tensor and event.op in ("load", "store"):
            tiles.add((event.tile.start, event.tile.stop))
    for program, slots in m.before.sram.items():
        for held in slots.values():
            event = m.film.trace[held.step]
            if (
                event.op == "load"
                and event.tile
                and event.tile.tensor == tensor
                and held.last_read >= m.before.clock.get(program, 0)
            ):
                tiles.add((0 if event.row else event.tile.start, event.tile.stop))
    return sorted(tiles)


def _labels(film: Film, axis: str, grid: Grid) -> Part:
    """Row labels: tokens, or numbers; every k-th where they would touch."""
    tensor = "Q" if axis == "queries" else "K"
    count = film.trace.meta[axis]
    pitch = grid.cell[1] / grid.bins[0]
    every = max(1, int(np.ceil(LABEL * film.layout.unit * 1.12 / pitch)))
    high = round(LABEL * film.layout.unit)
    low = min(grid.box.bottom + high // 2, film.layout.hbm.bottom - 3)
    box = Box(grid.box.x - 2, grid.box.y - high // 2, grid.box.w + 2, low - grid.box.y + high // 2)

    def label(row: int) -> str:
        tokens = film.trace.meta["tokens"]
        if not tokens:
            return str(row)
        found = (
            query_label(film.trace, row).strip("“”")
            if axis == "queries"
            else (tokens[row] if row < len(tokens) else str(row))
        )
        return texts.literal(found)

    def lit(m: Moment) -> frozenset[int]:
        return (
            frozenset(row for start, stop in in_use(m, tensor) for row in range(start, stop))
            if film.lanes == 1
            else frozenset()
        )

    def draw(pen: Pen, m: Moment) -> None:
        strong = lit(m)
        for row in range(0, count, every):
            at = grid.rows(row, row + 1)
            y = at.y + at.h / 2 + pen.px(10)
            on = row in strong
            color, weight = ("ink", 600) if on else ("dim", 400)
            pen.label(grid.box.right, y, label(row), color, weight=weight, align="right", room=grid.box.w)

    return Part(box, lit, draw)


def parts(film: Film) -> Iterator[Part]:
    for name, grid in film.layout.columns.items():
        yield _column(film, name, grid)
    for axis, grid in film.layout.labels.items():
        yield _labels(film, axis, grid)
