"""The parts of the stage around SRAM: header, HBM, bus, caption, traffic meter, map.

A part has a box of its own and a key: as long as the key stays, so does its picture. Drawing is a function of the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

import numpy as np

from .. import theme as themes
from ..film import Film
from ..layout import Box, Grid
from ..theme import BODY, HEAD, LABEL, SMALL, TITLE
from ..timeline import query_label
from ..trace import Event, Moved
from ..units import size_of
from . import text as texts
from .moment import Moment
from .paint import Pen, binned, ease, shades


class Part(NamedTuple):
    """Something on the stage that is drawn anew when its key changes, over what never changes."""

    box: Box
    key: Callable[[Moment], Hashable]
    draw: Callable[[Pen, Moment], None]


# ---- what never changes


def background(pen: Pen, film: Film) -> None:
    """Panels, titles and labels."""
    place = film.layout
    pen.fill(Box(0, 0, place.width, place.height), "bg")
    _title(pen, film)
    pen.panel(place.hbm)
    wide = place.canvas == "wide"
    base = place.hbm.y + pen.px(52 if wide else 46)
    x = place.hbm.x + pen.px(30 if wide else 22)
    x += pen.text(x, base, "HBM", HEAD, weight=700)
    if wide:
        room = place.hbm.right - x - pen.px(40)
        pen.text(x + pen.px(20), base, _hbm_note(film, pen, room), LABEL, "dim", room=room)
        if film.spec.kind != "kernels":
            pen.text(place.main.right, place.meter.y + pen.px(126), MODEL, LABEL, "dim", align="right")
    else:
        room = place.bus.w * 0.56
        pen.text(place.bus.x + pen.px(22), place.bus.y + place.bus.h // 2 + pen.px(10), _hbm_note(film, pen, room), LABEL, "dim", room=room)
    for name, grid in place.columns.items():
        centre, size = grid.box.x + grid.box.w / 2, BODY if len(themes.label(name)) == 1 else LABEL
        pen.text(centre, grid.box.y - pen.px(18), themes.label(name), size, themes.hue(name), weight=700, align="center")


def _title(pen: Pen, film: Film) -> None:
    place = film.layout
    base = place.title.y + pen.px(50)
    x = place.title.x + pen.text(place.title.x, base, film.spec.title, TITLE, weight=600)
    if place.canvas == "wide":
        pen.text(x + pen.px(32), base, film.spec.loops, LABEL, "dim", mono=True)


def _hbm_note(film: Film, pen: Pen, room: float) -> str:
    """The device's memory, and how many columns share a cell; as much of it as there is room for."""
    device, binned_ = film.device, film.layout.binned
    notes = [f"{device.memory} GB, {device.bandwidth:.1f} TB/s", f"{device.memory} GB", ""]
    joined = [" · ".join(part for part in (note, binned_) if part) for note in notes]
    return next((words for words in joined if pen.width(words, LABEL) <= room), joined[-1])


# ---- parts


def parts(film: Film) -> Iterator[Part]:
    """All parts but SRAM's."""
    place = film.layout
    yield _running(film)
    yield _rail(film)
    for name, grid in place.columns.items():
        yield _column(film, name, grid)
    for axis, grid in place.labels.items():
        yield _labels(film, axis, grid)
    yield Part(place.bus, lambda m: _crossing(m), lambda pen, m: _bus(pen, m))
    yield Part(place.caption, lambda m: _caption_key(m), lambda pen, m: _caption(pen, m))
    yield Part(place.meter, lambda m: _meter_key(m), lambda pen, m: _meter(pen, m))
    if film.spec.kind == "kernels":
        yield Part(place.aside, lambda m: None, lambda pen, m: _memory(pen, m.film))
    else:
        yield Part(place.aside, lambda m: _map_key(m), lambda pen, m: _map(pen, m))


def _running(film: Film) -> Part:
    """The indices of the running loops, top right."""
    place = film.layout
    box = Box(place.title.right - round(620 * place.unit), place.title.y, round(620 * place.unit), place.title.h)
    if place.canvas != "wide":
        box = Box(place.title.right - round(370 * place.unit), place.title.y, round(370 * place.unit), place.title.h)

    def draw(pen: Pen, m: Moment) -> None:
        pen.text(box.right, box.y + pen.px(50), running(m), BODY if place.canvas == "wide" else LABEL, weight=600, mono=True, align="right", room=box.w)

    return Part(box, running, draw)


def running(m: Moment) -> str:
    """What the header says of the moment: `j = 2  i = 1`, or the kernel and its rows."""
    film = m.film
    beat = m.beat or film.timeline.beats[-1]
    event = beat.events[-1]
    if film.spec.kernels:
        rows = [e.tile for e in beat.events if e.tile and e.tile.tensor not in "KV"]
        at = f", rows {rows[-1].start}–{rows[-1].stop - 1}" if rows and film.layout.canvas == "wide" else ""
        return film.spec.kernels[event.program] + (at or _rows_of(m, event))
    loops = dict(event.loop)
    if film.lanes > 1:
        programs = [e.program for e in beat.events]
        first = programs[0] // film.lanes * film.lanes
        last = min(first + film.lanes - 1, film.trace[-1].program)
        more = f"programs {first}–{last}  " if film.trace[-1].program >= film.lanes and film.layout.canvas == "wide" else ""
        inner = [f"{name} = {index}" for name, index in loops.items()][1:]
        return more + "  ".join(inner)
    return "  ".join(f"{name} = {index}" for name, index in loops.items())


def _rows_of(m: Moment, event: Event) -> str:
    if "i" not in event.loop or m.film.layout.canvas != "wide":
        return ""
    start = event.loop["i"] * m.film.trace.meta["block_q"]
    stop = min(start + m.film.trace.meta["block_q"], m.film.trace.meta["queries"])
    return f", rows {start}–{stop - 1}"


def _rail(film: Film) -> Part:
    """One tick for each inner tile: done, now, ahead."""
    box, total = film.layout.rail, film.timeline.ticks

    def key(m: Moment) -> Hashable:
        return m.beat.ticks if m.beat else "done"

    def draw(pen: Pen, m: Moment) -> None:
        now = m.beat.ticks if m.beat else ()
        first = min(now) if now else total
        gap = pen.px(6) if box.w / total >= 4 * pen.px(6) else 0
        edges = [box.x + round(n * (box.w + gap) / total) for n in range(total + 1)]
        for n in range(total):
            color = "accent" if n in now else "ink" if n < first else "line"
            pen.fill(Box(edges[n], box.y, max(1, edges[n + 1] - edges[n] - gap), box.h), color, radius=3 if gap else 0)

    return Part(box, key, draw)


def _column(film: Film, name: str, grid: Grid) -> Part:
    """A tensor in HBM: dimmed, but for the tiles in use, which are framed."""
    frame = max(2, round(4 * film.layout.unit))
    low, high = film.ranges.get(name, (0.0, 1.0))

    def key(m: Moment) -> Hashable:
        return id(m.now.hbm[name]), tuple(_in_use(m, name))

    def draw(pen: Pen, m: Moment) -> None:
        data = m.now.hbm[name]
        colors = tile_colors(pen, data, grid, low, high, "panel", name)
        whole = np.isnan(data).all()
        if not whole:
            pen.texture(grid.box, colors, alpha=0.5)
        if np.isnan(data).any():
            pen.frame(grid.box, "line")
        for start, stop in _in_use(m, name):
            box = grid.rows(start, stop)
            cells = slice(start // grid.bins[0], -(-stop // grid.bins[0]))
            if not whole:
                pen.texture(box, colors[cells])
            pen.frame(box.grown(frame), "ink", width=3, radius=5)

    return Part(grid.box.grown(frame + 1), key, draw)


def tile_colors(pen: Pen, values: np.ndarray, grid: Grid, low: float, high: float, base: str, name: str) -> np.ndarray:
    """A tile's colours (rows, columns, 3), binned as its grid is. −∞ is drawn as the lowest value."""
    matrix = values.astype(np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    matrix = np.where(np.isneginf(matrix), low, matrix)
    return shades(binned(matrix, *grid.bins), low, high, pen.color(base), pen.color(themes.hue(name)))


def _in_use(m: Moment, tensor: str) -> list[tuple[int, int]]:
    """Rows of a tensor that are on chip and still needed, or on their way: as (start, stop), in order."""
    tiles = set()
    for event in m.events:
        if event.tile and event.tile.tensor == tensor and event.op in ("load", "store"):
            tiles.add((event.tile.start, event.tile.stop))
    for program, slots in m.before.sram.items():
        for held in slots.values():
            event = m.film.trace[held.step]
            if event.op == "load" and event.tile and event.tile.tensor == tensor and held.last_read >= m.before.clock.get(program, 0):
                tiles.add((0 if event.row else event.tile.start, event.tile.stop))
    return sorted(tiles)


def _labels(film: Film, axis: str, grid: Grid) -> Part:
    """Row labels: tokens, or numbers; every k-th where they would touch."""
    tensor = "Q" if axis == "queries" else "K"
    count = film.trace.meta[axis]
    pitch = grid.cell[1]
    every = max(1, int(np.ceil(LABEL * film.layout.unit * 1.12 / pitch)))
    high = round(LABEL * film.layout.unit)
    box = Box(grid.box.x - 2, grid.box.y - high // 2, grid.box.w + 2, grid.box.h + high)

    def label(row: int) -> str:
        tokens = film.trace.meta["tokens"]
        if not tokens:
            return str(row)
        found = query_label(film.trace, row).strip("“”") if axis == "queries" else (tokens[row] if row < len(tokens) else str(row))
        return texts.literal(found)

    def lit(m: Moment) -> frozenset[int]:
        return frozenset(row for start, stop in _in_use(m, tensor) for row in range(start, stop)) if film.lanes == 1 else frozenset()

    def draw(pen: Pen, m: Moment) -> None:
        strong = lit(m)
        for row in range(0, count, every):
            y = grid.box.y + row * pitch + pitch / 2 + pen.px(10)
            on = row in strong
            pen.text(grid.box.right, y, label(row), LABEL, "ink" if on else "dim", weight=600 if on else 400, align="right", room=grid.box.w)

    return Part(box, lit, draw)


# ---- the bus


def _crossing(m: Moment) -> tuple[str, int] | None:
    """What crosses now: "load" or "store", and how many bytes."""
    moving = [event for event in m.events if event.nbytes]
    if not moving or m.landed:
        return None
    return moving[0].op, sum(event.nbytes for event in moving)


def lane_ends(film: Film) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Where the bus meets HBM, and each lane."""
    bus = film.layout.bus
    return [((bus.x, bus.y + bus.h / 2), (bus.right, lane.panel.y + lane.panel.h / 2)) for lane in film.layout.lanes]


def _bus(pen: Pen, m: Moment) -> None:
    place = m.film.layout
    bus, crossing = place.bus, _crossing(m)
    if place.sideways and len(place.lanes) == 1:
        top, bottom = bus.y + round(bus.h * 0.435), bus.y + round(bus.h * 0.652)
        for y in (top, bottom):
            pen.line([(bus.x, y), (bus.right, y)], "line")
        if crossing:
            left, right = bus.x + pen.px(12), bus.right - pen.px(12)
            ends = ((left, bottom + pen.px(30)), (right, bottom + pen.px(30)))
            pen.arrow(*(ends if crossing[0] == "load" else ends[::-1]), "ink")
            _bytes(pen, bus, top - pen.px(18), crossing[1])
    elif place.sideways:
        for (x0, y0), (x1, y1) in lane_ends(m.film):
            half = (x0 + x1) / 2
            pen.ctx.new_path()
            pen.ctx.move_to(x0 + pen.px(4), y0)
            pen.ctx.curve_to(half, y0, half, y1, x1 - pen.px(4), y1)
            pen.source("line")
            pen.ctx.set_line_width(pen.stroke_width(3))
            pen.ctx.stroke()
        if crossing:
            _bytes(pen, bus, bus.y + pen.px(60), crossing[1])
            y = bus.y + pen.px(92)
            ends = ((bus.x + pen.px(16), y), (bus.right - pen.px(16), y))
            pen.arrow(*(ends if crossing[0] == "load" else ends[::-1]), "ink")
    elif crossing:
        x, top, bottom = bus.x + bus.w * 0.62, bus.y + pen.px(8), bus.bottom - pen.px(8)
        pen.arrow(*(((x, top), (x, bottom)) if crossing[0] == "load" else ((x, bottom), (x, top))), "ink")
        pen.text(x + pen.px(24), bus.y + bus.h / 2 + pen.px(10), size_of(crossing[1]), LABEL, weight=600, mono=True)


def _bytes(pen: Pen, bus: Box, y: float, nbytes: int) -> None:
    """The bytes on the bus, in two lines where one would be too wide."""
    words = size_of(nbytes)
    if pen.width(words, LABEL, weight=600, mono=True) <= bus.w:
        pen.text(bus.x + bus.w / 2, y, words, LABEL, weight=600, mono=True, align="center")
        return
    value, unit = words.split(" ")
    size = LABEL if pen.width(value, LABEL, weight=600, mono=True) <= bus.w else SMALL
    pen.text(bus.x + bus.w / 2, y - pen.px(32), value, size, weight=600, mono=True, align="center")
    pen.text(bus.x + bus.w / 2, y, unit, LABEL, weight=600, mono=True, align="center")


# ---- caption


#: seconds in which a new caption comes up
FADE = 0.25


def _caption_key(m: Moment) -> tuple[str, float]:
    if m.beat is None:
        return "", 1.0
    beats = m.film.timeline.beats
    first = m.index
    while first > 0 and beats[first - 1].caption == m.beat.caption:
        first -= 1
    return m.beat.caption, 1.0 if first == 0 else round(min(1.0, (m.t - beats[first].start) / FADE), 2)


def _caption(pen: Pen, m: Moment) -> None:
    words, alpha = _caption_key(m)
    draw_caption(pen, m.film, words, alpha)


def draw_caption(pen: Pen, film: Film, words: str, alpha: float = 1.0) -> None:
    box, lines = film.layout.caption, film.layout.caption_lines
    wrapped = texts.wrap(texts.literal(words), pen.style(BODY, 500), box.w)[:lines]
    for n, line in enumerate(wrapped):
        pen.text(box.x, box.y + pen.px(38 + n * 42), line, BODY, weight=500, alpha=ease(alpha))


# ---- traffic


def _meter_key(m: Moment) -> Hashable:
    growing = round(m.u, 2) if _crossing(m) else 1.0
    return tuple(m.before.moved.items()), tuple(m.after.moved.items()), growing, m.landed


def meter_parts(moved: dict[str, Moved]) -> list[tuple[str, float, float]]:
    """Bytes by hue, in the order of the tensors: (hue, read, written)."""
    sums: dict[str, list[float]] = {}
    for name in sorted(moved, key=lambda name: themes.ORDER.index(name) if name in themes.ORDER else 99):
        both = sums.setdefault(themes.hue(name), [0.0, 0.0])
        both[0] += moved[name].read
        both[1] += moved[name].written
    return [(hue, read, written) for hue, (read, written) in sums.items()]


def bar(pen: Pen, x: int, y: int, h: int, scale: float, parts_: list[tuple[str, float, float]]) -> int:
    """Bytes as a bar: each tensor in its hue, read solid, written hatched. Returns where it ends."""
    at = float(x)
    for hue, read, written in parts_:
        for nbytes, hatched in ((read, False), (written, True)):
            left, right = round(at), round(at + nbytes * scale)
            if right > left:
                box = Box(left, y, right - left, h)
                pen.fill(box, hue)
                if hatched:
                    pen.hatch(box, "bg")
            at += nbytes * scale
    return round(at)


def _meter(pen: Pen, m: Moment) -> None:
    film, box = m.film, m.film.layout.meter
    wide = film.layout.canvas == "wide"
    whole = film.timeline.pictures[-1].moved
    total = sum(moved.read + moved.written for moved in whole.values())
    own = film.spec.algorithm == "standard-forward"
    left = box.x + pen.px(258 if wide else 150)
    room = box.right - left - pen.px(16) - round(pen.width("000.0 KB", LABEL, weight=600, mono=True))
    scale = room / max(total, film.standard.total)
    u = ease(m.u) if _crossing(m) else float(m.landed)
    moved = {}
    for name, after in m.after.moved.items():
        was = m.before.moved.get(name, Moved())
        moved[name] = Moved(*(round(a + (b - a) * u) for a, b in zip(was, after, strict=True)))
    high, step = pen.px(34 if wide else 30), pen.px(50 if wide else 42)
    pen.text(box.x, box.y + pen.px(27), "HBM traffic so far" if wide else "moved", LABEL, "dim")
    end = bar(pen, left, box.y, high, scale, meter_parts(moved))
    sofar = sum(moved.read + moved.written for moved in m.now.moved.values())
    pen.text(end + pen.px(16), box.y + pen.px(27), size_of(sofar), LABEL, weight=600, mono=True)
    below = box.y + step
    if not own:
        pen.text(box.x, below + pen.px(27), "standard, in all" if wide else "standard", LABEL, "dim")
        ghost = Box(left, below, round(film.standard.total * scale), high)
        pen.frame(ghost, "dim", radius=4, dash=8)
        pen.text(ghost.right + pen.px(16), below + pen.px(27), size_of(film.standard.total), LABEL, "dim", weight=600, mono=True)
    if wide:
        words = "solid: read   hatched: written"
        if film.lanes > 1:
            words += "   side by side: a model of the schedule"
        if film.spec.kind == "kernels":
            words += f"   {MODEL}"
        pen.text(left if not own else left, box.y + pen.px(126 if not own else 84), words, LABEL, "dim", room=box.right - left)
    else:
        words = f"hatched: written   {MODEL}"
        pen.text(box.x, box.y + pen.px(108), words, LABEL, "dim", room=box.w)


#: what the picture leaves out
MODEL = "two levels, no L2, no overlap"


# ---- the map of tiles, or the memory that S and P take


def _map_key(m: Moment) -> Hashable:
    return m.index, m.landed


def _map(pen: Pen, m: Moment) -> None:
    film, box = m.film, m.film.layout.aside
    meta = film.trace.meta
    rows, columns = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
    side = min(pen.px(132), box.h - pen.px(4))
    cell = max(1, side // max(rows, columns))
    gap = 3 if cell >= 12 else 1 if cell >= 5 else 0
    gap = pen.px(gap) if gap == 3 else gap
    x, y = box.right - cell * columns, box.y + pen.px(8 if film.layout.canvas == "wide" else 0)
    pen.frame(Box(x - gap - 1, y - gap - 1, cell * columns + gap + 2, cell * rows + gap + 2), "line", radius=4)
    done = 0
    for (i, j), (at, kind) in film.timeline.tiles.items():
        if at > m.index:
            continue
        tile = Box(x + j * cell, y + i * cell, cell - gap, cell - gap)
        done += kind == "visited"
        now = m.beat is not None and m.beat.ticks == film.timeline.beats[at].ticks
        if kind == "skipped":
            pen.hatch(tile, "dim" if now else "faint", alpha=1.0, step=7)
        else:
            pen.fill(tile, "S", radius=3 if gap else 0, alpha=1.0 if now else 0.35)
    visited = sum(kind == "visited" for _, kind in film.timeline.tiles.values())
    right = x - pen.px(20)
    pen.text(right, y + pen.px(26), "tiles of S", LABEL, "dim", align="right")
    pen.text(right, y + pen.px(64), f"{done} of {visited}", LABEL, weight=600, mono=True, align="right")
    skipped = rows * columns - visited
    if skipped and film.layout.canvas != "square":
        pen.text(right, y + pen.px(102), f"{skipped} hidden", LABEL, "dim", align="right")
def _memory(pen: Pen, film: Film) -> None:
    """The memory that standard attention takes for S and P, here and at a real size."""
    box, meta = film.layout.aside, film.trace.meta
    pen.fill(box, "panel", radius=12)
    pen.frame(box, "line", radius=12)
    n, m = meta["queries"], meta["keys"]
    itemsize = film.trace.initial["S"].dtype.itemsize
    large = 1 << 16
    x, room = box.x + pen.px(24), box.w - pen.px(44)
    here, there = 2 * n * m * itemsize, size_of(2 * large * large * itemsize)
    count = f"2·N{'^{2}' if n == m else '·M'} values, {here:,} B"
    lines = [
        ("extra memory: S and P", "extra: S and P", "dim"),
        (count, f"{here:,} B", "ink"),
        (f"at N = 64K: {there} a head", f"64K: {there}", "dim"),
    ]
    step = box.h / (len(lines) + 0.25)
    for k, (long, short, color) in enumerate(lines):
        strong = {"weight": 600, "mono": True} if color == "ink" else {"weight": 400, "mono": False}
        words = long if pen.width(long, LABEL, **strong) <= room else short  # type: ignore[arg-type]
        pen.text(x, box.y + step * (k + 0.9), words, LABEL, color, room=room, **strong)  # type: ignore[arg-type]
