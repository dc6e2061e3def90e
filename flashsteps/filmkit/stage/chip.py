"""SRAM on the stage: its panels, the slots of each lane with what they hold, running statistics, the gauge."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import prod

import numpy as np

from ... import theme as themes
from ...theme import BODY, HEAD, LABEL, SMALL
from ..film import Film
from ..layout import STATS, Box, Grid, Lane
from ..pen import Pen, number
from . import kernels, scores
from .moment import Moment, program_of
from .part import Part
from .slots import draw_texture, read_now, slot, view_key, view_of


def background(pen: Pen, film: Film) -> None:
    """SRAM's panels, and the names of its slots."""
    place = film.layout
    wide = place.canvas == "wide"
    for number_, lane in enumerate(place.lanes):
        pen.panel(lane.panel, sram=True)
        if len(place.lanes) == 1:
            base = lane.panel.y + pen.px(52 if wide or lane.panel.h > 0.62 * lane.panel.w else 46)
            x: float = lane.panel.x + pen.px(30 if wide else 22)
            x += pen.text(x, base, "SRAM", HEAD, weight=700) + pen.px(18)
            if wide or film.spec.kind == "kernels" or lane.panel.h > 0.62 * lane.panel.w:
                room = lane.panel.right - x - pen.px(24)
                pen.label(x, base, sram_note(film, pen, room), room=room)
            else:  # the formula needs that place
                middle = place.bus.y + place.bus.h // 2 + pen.px(10)
                pen.label(place.bus.right - pen.px(22), middle, sram_note(film, pen, 0), align="right")
        elif lane.note:
            pen.text(lane.note.x, lane.note.y + pen.px(30), f"SM {number_}", BODY, weight=700, room=lane.note.w)
        for name, grid in lane.slots.items():
            if film.spec.kind != "kernels" and not (len(place.lanes) > 1 and name == "acc"):
                x, y = grid.box.x - pen.px(14), grid.box.y + grid.box.h / 2 + pen.px(10)
                pen.label(x, y, _slot_name(film, name), themes.hue(name), weight=700, align="right")
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


def parts(film: Film) -> Iterator[Part]:
    """All parts of all lanes."""
    for index, lane in enumerate(film.layout.lanes):
        if film.spec.kind == "kernels":
            yield kernels.kernel(film, lane)
        else:
            for name, grid in lane.slots.items():
                yield slot(film, index, name, grid)
            if lane.scores:
                yield scores.scores(film, index, lane)
                if film.lanes == 1:
                    yield scores.formula(film, lane)
            for name, grid in lane.stats.items():
                yield _statistic(film, index, lane, name, grid)
        if lane.gauge:
            yield _gauge(film, index, lane.gauge)
        if film.lanes > 1 and lane.note:
            yield _program(film, index, lane.note)
    if film.layout.heads:
        yield _heads(film, film.layout.heads)


def _statistic(film: Film, lane: int, lane_: Lane, name: str, grid: Grid) -> Part:
    """One number a row: the running max, α, the running sum; the head says which it is."""
    slots = STATS[name]
    head = round(36 * film.layout.unit) if film.lanes == 1 else 0
    box = Box(grid.box.x - 1, grid.box.y - head, grid.box.w + 2, grid.box.h + head + 1)

    def key(m: Moment) -> Hashable:
        return view_key(view_of(m, lane, slots)), read_now(m, lane, slots)

    def draw(pen: Pen, m: Moment) -> None:
        view = view_of(m, lane, slots)
        if head:
            label = themes.label(view.slot) if view else name
            pen.label(grid.box.x + grid.box.w / 2, grid.box.y - pen.px(14), label, "stat", weight=700, align="center")
        if view is None:
            return
        count = len(view.value)
        gap = max(1, pen.px(4))
        roomy = grid.bins[0] == 1 and grid.cell[1] >= 1.1 * SMALL * pen.unit
        size = scores.digits(pen, grid.box.w - 2) if roomy else None
        if size is None:
            draw_texture(pen, film, grid, view)
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
            edge = "ink" if read_now(m, lane, slots) else color
            if cell.h >= 1.3 * size * pen.unit:
                pen.frame(cell, edge, width=2, radius=5, alpha=1.0 if strong else 0.35)
            else:  # too flat for a frame around the digits
                pen.fill(cell, edge, radius=4, alpha=0.2 if strong else 0.08)
            pen.digits(cell, number(x, 2, 4), size, "ink" if strong else "dim")

    return Part(box, key, draw)


def _heads(film: Film, box: Box) -> Part:
    """Above lanes: what stands in which column."""
    first = film.layout.lanes[0]

    def names(m: Moment) -> dict[str, str]:
        views = {name: view_of(m, 0, slots) for name, slots in STATS.items()}
        tile = view_of(m, 0, scores.TILE)
        return {
            "tile": tile.slot if tile else "S",
            **{name: themes.label(view.slot) if view else name for name, view in views.items()},
        }

    def draw(pen: Pen, m: Moment) -> None:
        shown_, y = names(m), box.bottom - pen.px(8)
        if first.scores:
            pen.label(first.scores.box.x + first.scores.box.w / 2, y, shown_["tile"], "S", weight=700, align="center")
        for name, grid in first.stats.items():
            pen.label(grid.box.x + grid.box.w / 2, y, shown_[name], "stat", weight=700, align="center")
        grid = first.slots["acc"]
        pen.label(grid.box.x + grid.box.w / 2, y, "acc", "O", weight=700, align="center")

    return Part(box, lambda m: tuple(names(m).items()), draw)


def _program(film: Film, lane: int, box: Box) -> Part:
    """Which program an SM is running."""

    below = round(36 * film.layout.unit)  # the SM's name stands above
    place = Box(box.x, box.y + below, box.w, max(1, box.h - below))

    def key(m: Moment) -> tuple[int | None, bool]:
        program = program_of(m, lane)
        return program, any(event.program == program and event.op == "skip" for event in m.events)

    def draw(pen: Pen, m: Moment) -> None:
        program, skipping = key(m)
        y = box.y + pen.px(70)
        words = "idle" if program is None else f"program {program}"
        if pen.width(words, LABEL) > box.w:
            words = words.replace("program ", "p. ")
        pen.label(box.x, y, words, room=box.w)
        if skipping:
            pen.label(box.x, y + pen.px(38), "skips", "accent", weight=600, room=box.w)

    return Part(place, key, draw)


def _gauge(film: Film, lane: int, box: Box) -> Part:
    """Bytes on chip, by slot, over what this SRAM holds."""
    computing = np.dtype(film.trace.meta["computing"]).itemsize

    def held(m: Moment) -> tuple[tuple[str, int], ...]:
        sizes: dict[str, int] = {}
        program = program_of(m, lane)
        for name, value in m.now.sram.get(-1 if program is None else program, {}).items():
            event = film.trace[value.step]
            wide = film.trace.initial[event.tile.tensor].dtype.itemsize if event.tile else computing
            hue = themes.hue(name)
            sizes[hue] = sizes.get(hue, 0) + prod(value.value.shape) * wide
        return tuple(sorted(sizes.items(), key=lambda item: ("K", "V", "Q", "O", "S", "stat").index(item[0])))

    def draw(pen: Pen, m: Moment) -> None:
        inner = Box(box.x + 2, box.y + 2, box.w - 4, box.h - 4)
        bottom = float(inner.bottom)
        for hue, nbytes in held(m):
            top = bottom - nbytes / film.sram * inner.h
            high = round(bottom) - round(top)
            pen.fill(
                Box(inner.x, round(top), inner.w, max(0, high - (1 if high > 3 else 0))),
                hue,
                radius=3 if high > 8 else 0,
            )
            bottom = top

    return Part(box, held, draw)
