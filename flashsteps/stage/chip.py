"""SRAM on the stage: slots with what they hold, the score tile with its numbers, running statistics, the gauge."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from math import prod

import numpy as np

from .. import narration
from .. import theme as themes
from ..film import Film
from ..layout import STATS, Box, Grid, Lane
from ..theme import BODY, HEAD, LABEL, SMALL
from ..timeline import key_label, query_label
from . import text as texts
from .moment import Moment, Shown, program_of, shown
from .paint import Pen, ink_on, mix, number
from .parts import Part, tile_colors

#: what the score tile is called while it holds a slot
FORMULAS = {"S": "S = Q K^{T} / √d", "P": "P = e^{S − m}"}


# ---- what never changes


def background(pen: Pen, film: Film) -> None:
    """SRAM's panels, and the names of its slots."""
    place = film.layout
    wide = place.canvas == "wide"
    for number_, lane in enumerate(place.lanes):
        pen.panel(lane.panel, sram=True)
        if len(place.lanes) == 1:
            base = lane.panel.y + pen.px(52 if wide or lane.panel.h > 0.62 * lane.panel.w else 46)
            x = lane.panel.x + pen.px(30 if wide else 22)
            x += pen.text(x, base, "SRAM", HEAD, weight=700) + pen.px(18)
            if wide or film.spec.kind == "kernels" or lane.panel.h > 0.62 * lane.panel.w:
                room = lane.panel.right - x - pen.px(24)
                pen.text(x, base, sram_note(film, pen, room), LABEL, "dim", room=room)
            else:  # the formula needs that place
                pen.text(place.bus.right - pen.px(22), place.bus.y + place.bus.h // 2 + pen.px(10), sram_note(film, pen, 0), LABEL, "dim", align="right")
        elif lane.note:
            pen.text(lane.note.x, lane.note.y + pen.px(30), f"SM {number_}", BODY, weight=700, room=lane.note.w)
        for name, grid in lane.slots.items():
            if film.spec.kind != "kernels" and not (len(place.lanes) > 1 and name == "acc"):
                pen.text(grid.box.x - pen.px(14), grid.box.y + grid.box.h / 2 + pen.px(10), _slot_name(film, name), LABEL, themes.hue(name), weight=700, align="right")
        if lane.gauge:
            pen.fill(lane.gauge, "bg", radius=7)
            pen.frame(lane.gauge, "line", radius=7)


def _slot_name(film: Film, name: str) -> str:
    return name if name == "acc" else name.upper() if film.lanes == 1 else name


def sram_note(film: Film, pen: Pen, room: float) -> str:
    """Whose SRAM this is: a toy's, of a real one's size."""
    size = f"{film.sram // 1024} KiB" if film.sram >= 1024 and film.sram % 1024 == 0 else f"{film.sram:,} B"
    if film.spec.kind == "kernels":
        return f"a toy's {size}"
    words = f"toy: {size} of an SM's {film.device.shared_per_sm}"
    return words if pen.width(words, LABEL) <= room else f"toy: {size}"


# ---- parts


def parts(film: Film) -> Iterator[Part]:
    """All parts of all lanes."""
    for index, lane in enumerate(film.layout.lanes):
        if film.spec.kind == "kernels":
            yield _kernel(film, lane)
        else:
            for name, grid in lane.slots.items():
                yield _slot(film, index, name, grid)
            if lane.scores:
                yield _scores(film, index, lane)
            for name, grid in lane.stats.items():
                yield _statistic(film, index, lane, name, grid)
        if lane.gauge:
            yield _gauge(film, index, lane.gauge)
        if film.lanes > 1 and lane.note:
            yield _program(film, index, lane.note)
    if film.layout.heads:
        yield _heads(film, film.layout.heads)


def _view(m: Moment, lane: int, slots: tuple[str, ...]) -> Shown | None:
    program = program_of(m, lane)
    return None if program is None else shown(m, program, slots)


def _key(view: Shown | None) -> Hashable:
    return view.key if view else None


@lru_cache(maxsize=16)
def _lines(code: str) -> dict[int, narration.Line]:
    return narration.read(code)


def _read_now(m: Moment, lane: int, slots: tuple[str, ...]) -> bool:
    """Is one of these slots being read, in a step that is told?"""
    if m.beat is None or not m.beat.told or m.landed:
        return False
    program = program_of(m, lane)
    lines = _lines(m.film.trace.meta["code"])
    return any(
        event.program == program and event.op == "compute" and event.slot not in slots and lines[event.line].reads & set(slots)
        for event in m.events
    )


def _slot(film: Film, lane: int, name: str, grid: Grid) -> Part:
    """A slot as a texture: full while it is of use, dimmed when not, framed while it is read."""
    ring = max(3, round(4 * film.layout.unit))

    def key(m: Moment) -> Hashable:
        return _key(_view(m, lane, (name,))), _read_now(m, lane, (name,))

    def draw(pen: Pen, m: Moment) -> None:
        view = _view(m, lane, (name,))
        if view is None:
            pen.frame(grid.box, "faint", radius=4, dash=6)
            return
        texture(pen, film, grid, view)
        rows = grid.rows(0, view.value.shape[0])
        if view.made and view.part < 1:
            pen.frame(rows.grown(ring), "accent", width=3, radius=5)
        elif _read_now(m, lane, (name,)):
            pen.frame(rows.grown(ring), "ink", width=3, radius=5)

    return Part(grid.box.grown(ring + 1), key, draw)


def texture(pen: Pen, film: Film, grid: Grid, view: Shown) -> None:
    """A slot's value, the new one wiped over the old one from the top."""
    low, high = film.ranges.get(view.slot, (0.0, 1.0))
    alpha = 1.0 if view.live else 0.35
    for values, part, strength in ((view.before, 1.0, 0.35), (view.value, view.part, alpha)):
        if values is None or part <= 0:
            continue
        colors = tile_colors(pen, values, grid, low, high, "sram", view.slot)
        shown_rows = max(1, round(len(colors) * part))
        pen.texture(Box(grid.box.x, grid.box.y, grid.box.w, grid.cell[1] * shown_rows), colors[:shown_rows], alpha=strength)


# ---- the score tile


def _scores(film: Film, lane: int, lane_: Lane) -> Part:
    """S, then P in its place: a cell for each query and key, with its value where there is room for it."""
    grid = lane_.scores
    assert grid is not None
    unit, single = film.layout.unit, film.lanes == 1
    above = round(50 * unit) if single else 0
    below = round(66 * unit) if single else 0
    left = (lane_.note.w if lane_.note else 0) if single else 0
    box = Box(grid.box.x - left, grid.box.y - above, grid.box.w + left + 2, grid.box.h + above + below)
    box = Box(box.x, box.y, box.w, min(box.h, lane_.panel.bottom - box.y - 3))

    def key(m: Moment) -> Hashable:
        return _key(_view(m, lane, ("S", "P"))), _where(m, lane), _read_now(m, lane, ("S", "P"))

    def draw(pen: Pen, m: Moment) -> None:
        view = _view(m, lane, ("S", "P"))
        if single:
            name = view.slot if view else "S"
            pen.text(grid.box.x if left == 0 else grid.box.x - left + pen.px(6), grid.box.y - pen.px(22), FORMULAS[name], BODY, "S", weight=600)
        if view is None:
            return
        where = _where(m, lane)
        low, high = film.ranges.get(view.slot, (0.0, 1.0))
        cells(pen, grid, view, low, high)
        if _read_now(m, lane, ("S", "P")):
            rows, columns = view.value.shape
            used = Box(grid.box.x, grid.box.y, columns * grid.cell[0], rows * grid.cell[1]) if grid.bins == (1, 1) else grid.box
            pen.frame(used.grown(2), "ink", width=3, radius=5)
        if single and where is not None:
            _axis_labels(pen, film, grid, where, view, left)

    return Part(box, key, draw)


def _where(m: Moment, lane: int) -> tuple[int, int] | None:
    """Which block of queries and of keys the lane's tile is: (i, j)."""
    program = program_of(m, lane)
    beats = m.film.timeline.beats
    for index in range(min(m.index, len(beats) - 1), max(-1, m.index - 12), -1):
        for event in beats[index].events:
            if event.program == program and "i" in event.loop and "j" in event.loop:
                return event.loop["i"], event.loop["j"]
    return None


def cells(pen: Pen, grid: Grid, view: Shown, low: float, high: float) -> None:
    """Single cells with numbers if they are large enough, else a texture; of a new value the first cells in reading order."""
    rows, columns = view.value.shape
    base, hue = pen.color("sram"), pen.color("S")
    cell, gap = grid.cell[0], max(1, pen.px(4))
    alpha = 1.0 if view.live else 0.35
    if grid.bins != (1, 1) or cell < 12:
        colors = tile_colors(pen, view.value, grid, low, high, "sram", "S")
        count = max(1, round(len(colors) * view.part))
        box = Box(grid.box.x, grid.box.y, colors.shape[1] * cell, count * grid.cell[1])
        pen.texture(box, colors[:count], alpha=alpha)
        return
    new = round(rows * columns * view.part)
    size = _digits(pen, cell - gap)
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
        if size:
            ink = ink_on(color) if not np.isneginf(x) else "dim"
            pen.text(box.x + box.w / 2, box.y + box.h / 2 + pen.px(size * 0.36), number(x, 1 if view.slot == "S" else 2, 4), size, ink, weight=500, mono=True, align="center")


def _digits(pen: Pen, room: float, characters: int = 4) -> int | None:
    """The largest size at which so many digits fit and can be read, if any."""
    for size in (LABEL, SMALL):
        if pen.fits(size) and characters * 0.6 * size * pen.unit <= room + 1:
            return size
    return None


def _axis_labels(pen: Pen, film: Film, grid: Grid, where: tuple[int, int], view: Shown, left: int) -> None:
    """Tokens beside the tile's rows and under its columns, these in two lines so that they don't touch."""
    meta, (i, j) = film.trace.meta, where
    rows, columns = view.value.shape
    if not meta["tokens"] or grid.bins != (1, 1):
        return
    if left > pen.px(90) and grid.cell[1] >= 1.1 * LABEL * pen.unit:
        for r in range(rows):
            y = grid.box.y + r * grid.cell[1] + grid.cell[1] / 2 + pen.px(8)
            words = texts.literal(query_label(film.trace, i * meta["block_q"] + r).strip("“”"))
            pen.text(grid.box.x - pen.px(14), y, words, LABEL, "dim", align="right", room=left - pen.px(20))
    if grid.cell[0] >= 2.4 * SMALL * pen.unit:
        for c in range(columns):
            y = grid.box.y + rows * grid.cell[1] + pen.px(24 + 26 * (c % 2))
            words = texts.literal(key_label(film.trace, j * meta["block_k"] + c).strip("“”"))
            pen.text(grid.box.x + c * grid.cell[0] + grid.cell[0] / 2 - 1, y, words, SMALL, "dim", align="center", room=2 * grid.cell[0] - pen.px(16))


# ---- statistics


def _statistic(film: Film, lane: int, lane_: Lane, name: str, grid: Grid) -> Part:
    """One number a row: the running max, α, the running sum; the head says which it is."""
    slots = STATS[name]
    head = round(40 * film.layout.unit) if film.lanes == 1 else 0
    box = Box(grid.box.x - 1, grid.box.y - head, grid.box.w + 2, grid.box.h + head + 1)

    def key(m: Moment) -> Hashable:
        return _key(_view(m, lane, slots)), _read_now(m, lane, slots)

    def draw(pen: Pen, m: Moment) -> None:
        view = _view(m, lane, slots)
        if head:
            label = themes.label(view.slot) if view else name
            pen.text(grid.box.x + grid.box.w / 2, grid.box.y - pen.px(14), label, LABEL, "stat", weight=700, align="center")
        if view is None:
            return
        count = len(view.value)
        gap = max(1, pen.px(4))
        size = _digits(pen, grid.box.w - 2) if grid.bins[0] == 1 and grid.cell[1] >= 1.1 * SMALL * pen.unit else None
        if size is None:
            texture(pen, film, grid, view)
            return
        new = round(count * view.part)
        for r in range(count):
            fresh = r < new
            if not fresh and view.before is None:
                continue
            x = float(view.value[r] if fresh else view.before[r])  # type: ignore[index]
            cell = Box(grid.box.x, grid.box.y + r * grid.cell[1], grid.box.w, grid.cell[1] - gap)
            strong = fresh and view.live
            color = "accent" if view.made and view.part < 1 and fresh else "stat"
            edge = "ink" if _read_now(m, lane, slots) else color
            if cell.h >= 1.3 * size * pen.unit:
                pen.frame(cell, edge, width=2, radius=5, alpha=1.0 if strong else 0.35)
            else:  # too flat for a frame around the digits
                pen.fill(cell, edge, radius=4, alpha=0.2 if strong else 0.08)
            pen.text(cell.x + cell.w / 2, cell.y + cell.h / 2 + pen.px(size * 0.36), number(x, 2, 4), size, "ink" if strong else "dim", weight=500, mono=True, align="center")

    return Part(box, key, draw)


def _heads(film: Film, box: Box) -> Part:
    """Above lanes: what stands in which column."""
    first = film.layout.lanes[0]

    def names(m: Moment) -> dict[str, str]:
        views = {name: _view(m, 0, slots) for name, slots in STATS.items()}
        tile = _view(m, 0, ("S", "P"))
        return {"tile": tile.slot if tile else "S", **{name: themes.label(view.slot) if view else name for name, view in views.items()}}

    def draw(pen: Pen, m: Moment) -> None:
        shown_, y = names(m), box.bottom - pen.px(8)
        if first.scores:
            pen.text(first.scores.box.x + first.scores.box.w / 2, y, shown_["tile"], LABEL, "S", weight=700, align="center")
        for name, grid in first.stats.items():
            pen.text(grid.box.x + grid.box.w / 2, y, shown_[name], LABEL, "stat", weight=700, align="center")
        grid = first.slots["acc"]
        pen.text(grid.box.x + grid.box.w / 2, y, "acc", LABEL, "O", weight=700, align="center")

    return Part(box, lambda m: tuple(names(m).items()), draw)


def _program(film: Film, lane: int, box: Box) -> Part:
    """Which program an SM is running."""

    def key(m: Moment) -> Hashable:
        program = program_of(m, lane)
        events = any(event.program == program for event in m.events)
        skipping = any(event.program == program and event.op == "skip" for event in m.events)
        return program, skipping, events

    def draw(pen: Pen, m: Moment) -> None:
        program, skipping, _ = key(m)  # type: ignore[misc]
        y = box.y + pen.px(70)
        words = "idle" if program is None else f"program {program}"
        if pen.width(words, LABEL) > box.w:
            words = words.replace("program ", "p. ")
        pen.text(box.x, y, words, LABEL, "dim", room=box.w)
        if skipping:
            pen.text(box.x, y + pen.px(38), "skips", LABEL, "accent", weight=600, room=box.w)

    return Part(Box(box.x, box.y + round(36 * film.layout.unit), box.w, max(1, box.h - round(36 * film.layout.unit))), key, draw)


# ---- kernels: whole rows


def _kernel(film: Film, lane: Lane) -> Part:
    """The slots of the kernel that is running, under each other."""
    inside = Box(lane.panel.x + 4, lane.top, lane.panel.w - round(44 * film.layout.unit) - 4, lane.panel.bottom - lane.top - 6)

    def grids(m: Moment) -> dict[str, Grid]:
        program = program_of(m, 0)
        return {key.split(".", 1)[1]: grid for key, grid in lane.slots.items() if key.startswith(f"{program}.")}

    def key(m: Moment) -> Hashable:
        views = {name: _view(m, 0, (name,)) for name in grids(m)}
        return program_of(m, 0), tuple((name, _key(view), _read_now(m, 0, (name,))) for name, view in views.items()), _rows(m)

    def draw(pen: Pen, m: Moment) -> None:
        for name, grid in grids(m).items():
            view = _view(m, 0, (name,))
            vector = grid.name in ("m_i", "l_i")
            words = themes.label(name) if vector else _kernel_title(name, _rows(m))
            x = grid.box.x + grid.box.w / 2 if vector else grid.box.x
            pen.text(x, grid.box.y - pen.px(16), words, LABEL, themes.hue(name), weight=600, align="center" if vector else "left")
            if view is None:
                pen.frame(grid.box, "faint", radius=4, dash=6)
                continue
            texture(pen, film, grid, view)
            used = grid.rows(0, view.value.shape[0])
            if view.made and view.part < 1:
                pen.frame(used.grown(3), "accent", width=3, radius=5)
            elif _read_now(m, 0, (name,)):
                pen.frame(used.grown(3), "ink", width=3, radius=5)

    return Part(inside, key, draw)


def _rows(m: Moment) -> str:
    """The rows that the running kernel works on."""
    beats = m.film.timeline.beats
    event = (m.beat or beats[-1]).events[-1]
    if "i" not in event.loop:
        return ""
    size, queries = m.film.trace.meta["block_q"], m.film.trace.meta["queries"]
    start = event.loop["i"] * size
    return f"rows {start}–{min(start + size, queries) - 1}"


def _kernel_title(name: str, rows: str) -> str:
    """`S, rows 8–11`; an operand that is there as a whole has no rows."""
    shown_name = name if name in ("S", "P", "O") else name.upper()
    return shown_name if name in ("k", "v") or not rows else f"{shown_name}, {rows}"


# ---- the gauge


def _gauge(film: Film, lane: int, box: Box) -> Part:
    """Bytes on chip, by slot, over what this SRAM holds."""
    computing = np.dtype(film.trace.meta["computing"]).itemsize

    def held(m: Moment) -> tuple[tuple[str, int], ...]:
        sizes: dict[str, int] = {}
        program = program_of(m, lane)
        for slot, value in m.now.sram.get(-1 if program is None else program, {}).items():
            event = film.trace[value.step]
            wide = film.trace.initial[event.tile.tensor].dtype.itemsize if event.tile else computing
            hue = themes.hue(slot)
            sizes[hue] = sizes.get(hue, 0) + prod(value.value.shape) * wide
        return tuple(sorted(sizes.items(), key=lambda item: ("K", "V", "Q", "O", "S", "stat").index(item[0])))

    def draw(pen: Pen, m: Moment) -> None:
        inner = Box(box.x + 2, box.y + 2, box.w - 4, box.h - 4)
        bottom = float(inner.bottom)
        for hue, nbytes in held(m):
            top = bottom - nbytes / film.sram * inner.h
            high = round(bottom) - round(top)
            pen.fill(Box(inner.x, round(top), inner.w, max(0, high - (1 if high > 3 else 0))), hue, radius=3 if high > 8 else 0)
            bottom = top

    return Part(box, held, draw)
