"""The score tile: S, then P in its place, with a number in each cell where there is room for it."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ...story.labels import key_label, query_label
from ...theme import BODY, LABEL, SMALL
from ...trace.trace import Trace
from .. import text as texts
from ..film import Film
from ..layout import Box, Grid, Lane
from ..pen import Pen, ink_on, mix, number
from .hbm import tile_colors
from .moment import Moment, Shown
from .part import Part
from .slots import read_now, view_key, view_of

#: what the score tile is called while it holds a slot
TILE = ("P", "S")


def formula(film: Film, lane: Lane) -> Part:
    """What the score tile holds, above it."""
    grid, unit = lane.scores, film.layout.unit
    assert grid is not None
    left = lane.note.x if lane.note else grid.box.x
    formulas = _formulas(film.trace)
    box = Box(left, grid.box.y - round(80 * unit), round(340 * unit), round(42 * unit))

    def name(m: Moment) -> str:
        view = view_of(m, 0, TILE)
        return view.slot if view else "S"

    def draw(pen: Pen, m: Moment) -> None:
        pen.text(box.x + pen.px(6), box.y + pen.px(29), formulas[name(m)], BODY, "S", weight=600)

    return Part(box, name, draw)


def _formulas(trace: Trace) -> dict[str, str]:
    """How this run makes S and P."""
    meta, m = trace.meta, "m"
    if "kernel" in meta:  # m carries the factor c = log₂ e · scale already, or log₂ e where scores are capped
        return {"S": "S, capped" if meta.get("softcap") else "S = Q K^{T}", "P": "P = 2^{cS − m}"}
    if any(event.slot == "m_ij" for event in trace):  # FA1 takes a tile's exponentials against the tile's own max
        m = "m_{ij}"
    scaled = "/ √d" if meta["scale"] == meta["d"] ** -0.5 else f"· {meta['scale']:.3g}"
    return {"S": "S, capped" if meta.get("softcap") else f"S = Q K^{{T}} {scaled}", "P": f"P = exp(S − {m})"}


def scores(film: Film, lane: int, lane_: Lane) -> Part:
    """S, then P in its place: a cell for each query and key, with its value where there is room for it."""
    grid, single = lane_.scores, film.lanes == 1
    assert grid is not None
    below = round(66 * film.layout.unit) if single else 0
    left = lane_.note.w if lane_.note and single else 0
    box = Box(grid.box.x - left - 2, grid.box.y - 2, grid.box.w + left + 4, grid.box.h + below + 4)
    box = Box(box.x, box.y, box.w, min(box.h, lane_.panel.bottom - box.y - 3))

    def key(m: Moment) -> Hashable:
        return view_key(view_of(m, lane, TILE)), read_now(m, lane, TILE)

    def draw(pen: Pen, m: Moment) -> None:
        view = view_of(m, lane, TILE)
        if view is None:
            return
        low, high = film.ranges.get(view.slot, (0.0, 1.0))
        cells(pen, grid, view, low, high)
        if read_now(m, lane, TILE):
            rows, columns = view.value.shape
            used = grid.box
            if grid.bins == (1, 1):
                used = Box(used.x, used.y, columns * grid.cell[0], rows * grid.cell[1])
            pen.frame(used.grown(2), "ink", width=3, radius=5)
        if single:
            _axis_labels(pen, film, grid, view, left)

    return Part(box, key, draw)


def cells(pen: Pen, grid: Grid, view: Shown, low: float, high: float) -> None:
    """Cells with numbers if they are large enough, else a texture; of a new value the first ones in reading order."""
    rows, columns = view.value.shape
    base, hue = pen.color("sram"), pen.color("S")
    cell = grid.cell[0]
    gap = max(1, pen.px(4 if cell >= 30 * pen.unit else 2))
    alpha = 1.0 if view.live else 0.35
    if grid.bins != (1, 1) or cell < 12:
        colors = tile_colors(pen, view.value, grid, low, high, "sram", "S")
        count = max(1, round(len(colors) * view.part))
        box = Box(grid.box.x, grid.box.y, colors.shape[1] * cell, count * grid.cell[1])
        pen.texture(box, colors[:count], alpha=alpha)
        return
    new = round(rows * columns * view.part)
    size = digits(pen, cell - gap)
    for n, (r, c) in enumerate(np.ndindex(rows, columns)):
        fresh = n < new
        if not fresh and view.before is None:
            continue
        x = float(view.value[r, c] if fresh else view.before[r, c])  # type: ignore[index]
        share = 0.12 + 0.88 * min(1.0, max(0.0, (x - low) / max(high - low, 1e-9))) if np.isfinite(x) else 0.0
        color = mix(base, hue, share * (1.0 if view.live and fresh else 0.4))
        box = Box(grid.box.x + c * cell, grid.box.y + r * cell, cell - gap, cell - gap)
        pen.fill(box, color, radius=5)
        if np.isneginf(x):
            pen.hatch(box, "faint", alpha=0.6)
        if size and fresh:  # what gives way keeps its colour for a moment, but no number under the new name
            ink = ink_on(color) if not np.isneginf(x) else "ink"
            pen.digits(box, number(x, 1 if view.slot == "S" else 2, 4), size, ink)


def digits(pen: Pen, room: float, characters: int = 4) -> int | None:
    """The largest size at which so many digits fit and can be read, if any."""
    for size in (LABEL, SMALL):
        if pen.fits(size) and characters * 0.6 * size * pen.unit <= room + 1:
            return size
    return None


def _axis_labels(pen: Pen, film: Film, grid: Grid, view: Shown, left: int) -> None:
    """Tokens beside the tile's rows and under its columns, these in two lines so that they don't touch."""
    meta, loop = film.trace.meta, film.trace[view.step].loop
    i, j = loop.get("i", 0), loop.get("j", 0)
    rows, columns = view.value.shape
    if not meta["tokens"] or grid.bins != (1, 1):
        return
    if left > pen.px(90) and grid.cell[1] >= 1.1 * LABEL * pen.unit:
        for r in range(rows):
            y = grid.box.y + r * grid.cell[1] + grid.cell[1] / 2 + pen.px(8)
            words = texts.literal(query_label(film.trace, i * meta["block_q"] + r).strip("“”"))
            pen.label(grid.box.x - pen.px(14), y, words, align="right", room=left - pen.px(20))
    if grid.cell[0] >= 2.4 * SMALL * pen.unit:
        for c in range(columns):
            y = grid.box.y + rows * grid.cell[1] + pen.px(24 + 26 * (c % 2))
            words = texts.literal(key_label(film.trace, j * meta["block_k"] + c).strip("“”"))
            x = grid.box.x + (c + 0.5) * grid.cell[0] - 1
            edge = min(x - grid.box.x + left, grid.box.right - x)  # on both sides of x there is as much room
            room = min(2 * grid.cell[0] - pen.px(16), 2 * edge)
            pen.text(x, y, words, SMALL, "dim", align="center", room=room)
