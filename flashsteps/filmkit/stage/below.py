"""Below the panels: the caption, the traffic meter, and the map of tiles or the memory that S and P take."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from ... import theme as themes
from ...machine.events import Moved
from ...theme import BODY, LABEL
from ...units import size_of
from .. import text as texts
from ..film import Film
from ..layout import Box
from ..pen import Pen, ease
from .bus import crossing
from .moment import Moment
from .part import Part

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


def _meter_key(m: Moment) -> Hashable:
    growing = round(m.u, 2) if crossing(m) else 1.0
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
    room = box.right - left - pen.px(16) - round(pen.figure_width("000.0 KB"))
    scale = room / max(total, film.standard.total)
    u = ease(m.u) if crossing(m) else float(m.landed)
    moved = {}
    for name, after in m.after.moved.items():
        was = m.before.moved.get(name, Moved())
        moved[name] = Moved(*(round(a + (b - a) * u) for a, b in zip(was, after, strict=True)))
    high, step = pen.px(34 if wide else 30), pen.px(50 if wide else 42)
    pen.label(box.x, box.y + pen.px(27), "HBM traffic so far" if wide else "moved")
    end = bar(pen, left, box.y, high, scale, meter_parts(moved))
    sofar = sum(moved.read + moved.written for moved in m.now.moved.values())
    pen.figure(end + pen.px(16), box.y + pen.px(27), size_of(sofar))
    below = box.y + step
    if not own:
        pen.text(box.x, below + pen.px(27), "standard, in all" if wide else "standard", LABEL, "dim")
        ghost = Box(left, below, round(film.standard.total * scale), high)
        pen.frame(ghost, "dim", radius=4, dash=8)
        pen.figure(ghost.right + pen.px(16), below + pen.px(27), size_of(film.standard.total), "dim")
    if wide:
        words = "solid: read   hatched: written"
        if film.lanes > 1:
            words += "   side by side: a model of the schedule"
        if film.spec.kind == "kernels":
            words += f"   {MODEL}"
        pen.label(left, box.y + pen.px(126 if not own else 84), words, room=box.right - left)
    else:
        words = f"{'schedule: a model' if film.lanes > 1 else 'hatched: written'}   {MODEL}"
        pen.label(box.x, box.y + pen.px(101), words, room=box.w)


#: what the picture leaves out
MODEL = "two levels, no L2, no overlap"


def _map_key(m: Moment) -> Hashable:
    return m.index, m.landed


def _map(pen: Pen, m: Moment) -> None:
    film, box = m.film, m.film.layout.aside
    meta = film.trace.meta
    rows, columns = -(-meta["queries"] // meta["block_q"]), -(-meta["keys"] // meta["block_k"])
    side = min(pen.px(132), box.h - pen.px(12))
    cell = max(1, side // max(rows, columns))
    gap = 3 if cell >= 12 else 1 if cell >= 5 else 0
    gap = pen.px(gap) if gap == 3 else gap
    x, y = box.right - cell * columns - 2, box.y + pen.px(8 if film.layout.canvas == "wide" else 6)
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
    pen.label(right, y + pen.px(26), "tiles of S", align="right")
    pen.figure(right, y + pen.px(64), f"{done} of {visited}", align="right")
    skipped = rows * columns - visited
    if skipped and film.layout.canvas != "square":
        pen.label(right, y + pen.px(102), f"{skipped} hidden", align="right")


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
    step = box.h / 3.25

    def fitting(long: str, short: str, width: float) -> str:
        return long if width <= room else short

    words = fitting("extra memory: S and P", "extra: S and P", pen.width("extra memory: S and P", LABEL))
    pen.label(x, box.y + step * 0.9, words, room=room)
    pen.figure(x, box.y + step * 1.9, fitting(count, f"{here:,} B", pen.figure_width(count)), room=room)
    words = f"at N = 64K: {there} a head"
    pen.label(x, box.y + step * 2.9, fitting(words, f"64K: {there}", pen.width(words, LABEL)), room=room)


def background(pen: Pen, film: Film) -> None:
    """What the picture leaves out."""
    place = film.layout
    if place.canvas == "wide" and film.spec.kind != "kernels":
        pen.label(place.main.right, place.meter.y + pen.px(126), MODEL, align="right")


def parts(film: Film) -> Iterator[Part]:
    place = film.layout
    yield Part(place.caption, _caption_key, _caption)
    yield Part(place.meter, _meter_key, _meter)
    if film.spec.kind == "kernels":
        yield Part(place.aside, lambda m: None, lambda pen, m: _memory(pen, m.film))
    else:
        yield Part(place.aside, _map_key, _map)
