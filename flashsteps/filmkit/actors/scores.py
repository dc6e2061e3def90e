"""The score tile: a cell for each query and key with its number, P in the place of S; max, α and sum of each row."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...story.labels import scaled
from ...theme import LABEL, SMALL
from ...trace.trace import Trace
from ..boxes import Box
from ..moments import SCORES, STATS
from ..run import Run, Shown
from . import cells

if TYPE_CHECKING:
    from ..pen import Pen

#: the least contrast of a text with its ground
READABLE = 4.5


class Places(NamedTuple):
    """Where the tile stands, how wide labels of its rows are, how high those of its columns, and each statistic."""

    tile: cells.Grid
    labels: int
    below: int
    stats: dict[str, cells.Grid]


def places(pen: Pen, box: Box, run: Run, *, alpha: bool, labels: bool = True, heads: bool = True) -> Places:
    """The largest tile that leaves room for what belongs to it; cells need not be square."""
    bq, bk = run.trace.meta["block_q"], run.trace.meta["block_k"]
    left = min(pen.px(126), round(0.19 * box.w)) if labels else 0
    stat, gap = min(pen.px(110), max(pen.px(72), round(0.12 * box.w))), pen.px(14)
    names = [name for name in STATS if alpha or name != "α"]
    top = pen.px(44) if heads else 0
    room = box.w - left - gap - len(names) * (stat + pen.px(4))
    below = pen.px(60) if labels and room / bk >= pen.px(40) and box.h - top >= pen.px(200) else 0
    w, h = min(pen.px(130), room / bk), min(pen.px(76), (box.h - top - below) / bq)
    if min(w, h) >= cells.CELL:
        cell, bins = (int(w), int(h)), (1, 1)
    else:
        found = cells.grid(Box(0, 0, room, box.h - top - below), bq, bk, square=True)
        cell, bins = found.cell, found.bins
    wide, tall = cell[0] * -(-bk // bins[1]), cell[1] * -(-bq // bins[0])
    tile = cells.Grid(Box(box.x + left, box.y + top, wide, tall), cell, bins)
    at, stats = tile.box.right + gap, {}
    for name in names:
        stats[name] = cells.Grid(Box(at, tile.box.y, stat, tall), (stat, cell[1]), (bins[0], 1))
        at += stat + pen.px(4)
    return Places(tile, left, below, stats)


def draw(pen: Pen, box: Box, run: Run, now: float, program: int | None, *, lit: int | None, alpha: bool) -> None:
    """The tile with its formula, its tokens and its statistics."""
    at = places(pen, box, run, alpha=alpha)
    shown = run.shown(now, program, SCORES)
    if shown and pen.clip and pen.clip.within(at.tile.box) == pen.clip:  # only cells have come
        tile(pen, at.tile, run, shown, lit)
        return
    y = at.tile.box.y - pen.px(14)
    if pen.sees(box._replace(h=at.tile.box.y - box.y)):
        room = at.tile.box.right - box.x
        formula = formulas(run.trace)[shown.slot if shown else "S"]
        drawn = box.x + pen.text(box.x, y, formula, LABEL, "S", weight=600, room=room) + pen.px(16)
        note = remark(run.trace)
        if note and drawn + pen.width(note, LABEL) <= at.tile.box.right:
            pen.label(drawn, y, note)
    for name, column in at.stats.items():
        found = run.shown(now, program, STATS[name])
        pen.label(column.box.x + column.box.w / 2, y, called(run, name, found), "stat", weight=700, align="center")
        statistic(pen, column, run, found, lit, behind(run, now, program, name))
    if shown:
        tile(pen, at.tile, run, shown, lit)
        tokens(pen, at, run, shown, lit)
    else:
        pen.frame(at.tile.box, "faint", radius=4, dash=6)


def formulas(trace: Trace) -> dict[str, str]:
    """How this run makes S and P."""
    meta = trace.meta
    if "kernel" in meta:  # m carries the factor c = log₂ e · scale already, or log₂ e where scores are capped
        return {"S": "S, capped" if meta.get("softcap") else "S = Q K^{T}", "P": "P = 2^{cS − m}"}
    own = any(event.slot == "m_ij" for event in trace)  # FA1 takes exponentials against the tile's own max
    s = "S, capped" if meta.get("softcap") else f"S = Q K^{{T}} {scaled(meta)}"
    return {"S": s, "P": "P = exp(S − tile’s max)" if own else "P = exp(S − m)"}


def base(trace: Trace) -> str:
    """What a kernel's m is: `m in base 2`; "" where it is natural, as in the formulas."""
    return "m in base 2" if "kernel" in trace.meta and any(event.slot == "m_i" for event in trace) else ""


def remark(trace: Trace) -> str:
    """What else is to be known of these numbers: their base, or their type; tiles that were loaded take less."""
    meta = trace.meta
    return base(trace) or ("" if meta["computing"] == meta["dtype"] else str(meta["computing"]))


def tile(pen: Pen, grid: cells.Grid, run: Run, shown: Shown, lit: int | None = None) -> None:
    """Cells with numbers if they are large enough, else a texture; of a new value the first ones in reading order."""
    from ...theme import contrast, ink_on, mix
    from ...units import number

    value = run.value(shown.step)
    rows, columns = value.shape
    low, high = run.ranges.get(shown.slot, (0.0, 1.0))
    w, h = grid.cell
    if grid.bins != (1, 1) or min(w, h) < 10:
        strength = 1.0 if shown.live else 0.35
        cells.texture(pen, grid, value, (low, high), "S", part=shown.part, alpha=strength)
        return
    gap = max(1, pen.px(4 if w >= pen.px(30) else 2))
    base, hue = pen.color("sram"), pen.color("S")
    size = cells.digits(pen, w - gap) if h >= 1.05 * LABEL * pen.unit else None
    for n, (r, c) in enumerate(np.ndindex(rows, columns)):
        if n >= int(np.ceil(shown.part * value.size)):
            break
        box = Box(grid.box.x + c * w, grid.box.y + r * h, w - gap, h - gap)
        if not pen.sees(box):
            continue
        x, strong = float(value[r, c]), shown.live and lit in (None, r)
        share = 0.12 + 0.88 * min(1.0, max(0.0, (x - low) / max(high - low, 1e-9))) if np.isfinite(x) else 0.0
        color = mix(base, hue, share * (1.0 if strong else 0.35))
        pen.fill(box, color, radius=5)
        if np.isneginf(x):
            pen.frame(box, "line", width=1, radius=5)
        if size:
            ink = "ink" if np.isneginf(x) else ink_on(color)
            if not strong and contrast(pen.color("dim"), color) >= READABLE:
                ink = "dim"
            pen.digits(box, number(x, 1 if shown.slot == "S" else 2, 4), size, ink)
    if shown.slot == "P":  # it has the hue of S: the dots tell it
        used = Box(grid.box.x, grid.box.y, columns * w - gap, rows * h - gap)
        pen.frame(cells.edge(pen.unit, used), "S", width=2, radius=6, dash=4)


def more(run: Run, grid: cells.Grid, before: Shown, after: Shown) -> Box | None:
    """The rows of a tile of S that has only gained cells, or lost some. None where more is another: and for P, around
    which dashes stand, that a clip would cut through."""
    if before._replace(part=after.part) != after or after.slot != "S":
        return None
    first, last = sorted((before.part, after.part))
    rows = ceil(len(run.value(after.step)) / grid.bins[0])
    top, bottom = int(first * rows), min(rows, ceil(last * rows - 1e-9))
    return Box(grid.box.x, grid.box.y + top * grid.cell[1], grid.box.w, (bottom - top) * grid.cell[1])


def behind(run: Run, now: float, program: int | None, name: str) -> bool:
    """Whether it is ℓ, and still against the max of before while a new one is there."""
    m, l = (run.shown(now, program, STATS[one]) for one in ("m", "ℓ"))
    if name != "ℓ" or m is None or l is None:
        return False
    return run.trace[m.step].op == "compute" and m.step > l.step and bool(run.value(l.step).any())


def called(run: Run, name: str, shown: Shown | None) -> str:
    """What stands above a statistic: where a run has an old and a new one (FA1), which of them it is."""
    if shown is None or not run.has(STATS[name][0]) or len(STATS[name]) == 1:
        return name
    return f"{name}_{{{'new' if shown.slot == STATS[name][0] else 'old'}}}"


def statistic(
    pen: Pen, grid: cells.Grid, run: Run, shown: Shown | None, lit: int | None = None, behind: bool = False
) -> None:
    """One number a row; a texture where rows are too flat for numbers. What is `behind` is pale, in dashes."""
    from ...units import number

    if shown is None:
        pen.frame(grid.box, "faint", radius=4, dash=6)
        return
    value = run.value(shown.step)
    gap = max(1, pen.px(4))
    roomy = grid.bins[0] == 1 and grid.cell[1] >= 1.05 * SMALL * pen.unit
    size = cells.digits(pen, grid.box.w - 2) if roomy else None
    if size is None or grid.cell[1] < 1.05 * size * pen.unit:
        cells.texture(pen, grid, value, run.ranges.get(shown.slot, (0.0, 1.0)), "l", part=shown.part)
        return
    for r in range(int(np.ceil(shown.part * len(value)))):
        cell = Box(grid.box.x, grid.box.y + r * grid.cell[1], grid.box.w, grid.cell[1] - gap)
        strong = shown.live and lit in (None, r)
        if cell.h >= 1.3 * size * pen.unit:
            width, alpha = 3 if lit == r else 2, 1.0 if strong and not behind else 0.35
            pen.frame(cell, "stat", width=width, radius=5, alpha=alpha, dash=6 * behind)
        else:  # too flat for a frame around the digits
            pen.fill(cell, "stat", radius=4, alpha=0.2 if strong and not behind else 0.08)
        pen.digits(cell, number(float(value[r]), 2, 4), size, "ink" if strong and not behind else "dim")


def tokens(pen: Pen, at: Places, run: Run, shown: Shown, lit: int | None) -> None:
    """Tokens beside the tile's rows and under its columns, these in two lines so that they don't touch."""
    event, (rows, columns) = run.trace[shown.step], run.value(shown.step).shape
    first = row_of(run, event.loop.get("i", event.program))
    start = event.loop.get("j", 0) * run.trace.meta["block_k"]
    if at.labels and at.tile.bins == (1, 1):
        words = run.names["queries"][first : first + rows]
        used = at.tile._replace(box=Box(*at.tile.box[:3], rows * at.tile.cell[1]))
        strong = frozenset() if lit is None else frozenset([lit])
        cells.row_labels(pen, used, words, at.tile.box.x - pen.px(14), at.labels - pen.px(14), strong)
    if not at.below or columns == run.trace.meta["keys"] > at.tile.box.w / pen.px(60):
        return
    w = at.tile.cell[0]
    step = 1 if w >= 1.8 * LABEL * pen.unit else 2 * cells.every(pen, w)
    for n, c in enumerate(range(0, columns, step)):
        x = at.tile.box.x + (c + 0.5) * w
        y = at.tile.box.y + rows * at.tile.cell[1] + pen.px(26 + 28 * (n % 2))
        edge = min(x - at.tile.box.x + at.labels, at.tile.box.right + pen.px(90) - x)  # as much room on both sides
        room = min(2 * step * w - pen.px(14), 2 * edge)
        pen.label(x, y, run.names["keys"][start + c], align="center", room=room)


def row_of(run: Run, i: int) -> int:
    """The first query of block i."""
    return int(min(i * run.trace.meta["block_q"], run.trace.meta["queries"] - 1))
