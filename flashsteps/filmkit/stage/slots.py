"""A slot on the stage: what it shows, and whether it is being read."""

from __future__ import annotations

from collections.abc import Hashable

from ...trace import narration
from ..film import Film
from ..layout import Box, Grid
from ..pen import Pen
from .hbm import tile_colors
from .moment import Moment, Shown, program_of, shown
from .part import Part


def view_of(m: Moment, lane: int, slots: tuple[str, ...]) -> Shown | None:
    program = program_of(m, lane)
    return None if program is None else shown(m, program, slots)


def view_key(view: Shown | None) -> Hashable:
    return view.key if view else None


def read_now(m: Moment, lane: int, slots: tuple[str, ...]) -> bool:
    """Is one of these slots being read, in a step that is told?"""
    if m.beat is None or not m.beat.told:
        return False
    program = program_of(m, lane)
    lines = narration.of(m.film.trace.meta)
    return any(
        event.program == program
        and event.op == "compute"
        and event.slot not in slots
        and lines[event.line].reads & set(slots)
        for event in m.events
    )


def slot(film: Film, lane: int, name: str, grid: Grid) -> Part:
    """A slot as a part of its own."""

    def key(m: Moment) -> Hashable:
        return view_key(view_of(m, lane, (name,))), read_now(m, lane, (name,))

    return Part(grid.box.grown(_ring(film) + 1), key, lambda pen, m: draw_slot(pen, m, lane, name, grid))


def draw_slot(pen: Pen, m: Moment, lane: int, name: str, grid: Grid) -> None:
    """A slot as a texture: full while it is of use, dimmed when not, framed while it is made or read."""
    view = view_of(m, lane, (name,))
    if view is None:
        pen.frame(grid.box, "faint", radius=4, dash=6)
        return
    draw_texture(pen, m.film, grid, view)
    around = grid.rows(0, view.value.shape[0]).grown(_ring(m.film))
    if view.made and view.part < 1:
        pen.frame(around, "accent", width=3, radius=5)
    elif read_now(m, lane, (name,)):
        pen.frame(around, "ink", width=3, radius=5)


def _ring(film: Film) -> int:
    return max(2, round(4 * film.layout.unit))


def draw_texture(pen: Pen, film: Film, grid: Grid, view: Shown) -> None:
    """A slot's value, the new one wiped over the old one from the top."""
    low, high = film.ranges.get(view.slot, (0.0, 1.0))
    alpha = 1.0 if view.live else 0.35
    for values, part, strength in ((view.before, 1.0, 0.35), (view.value, view.part, alpha)):
        if values is None or part <= 0:
            continue
        colors = tile_colors(pen, values, grid, low, high, "sram", view.slot)
        shown_rows = max(1, round(len(colors) * part))
        pen.texture(
            Box(grid.box.x, grid.box.y, grid.box.w, grid.cell[1] * shown_rows), colors[:shown_rows], alpha=strength
        )
