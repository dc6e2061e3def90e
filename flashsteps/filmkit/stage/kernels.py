"""SRAM of an algorithm in several kernels: the slots of the one that is running, as whole rows."""

from __future__ import annotations

from collections.abc import Hashable

from ... import theme as themes
from ...units import rows_of
from ..film import Film
from ..layout import Box, Grid, Lane
from ..pen import Pen
from .moment import Moment, program_of
from .part import Part
from .slots import draw_slot, read_now, view_key, view_of


def kernel(film: Film, lane: Lane) -> Part:
    """The slots of the kernel that is running, under each other."""
    inside = Box(
        lane.panel.x + 4, lane.top, lane.panel.w - round(44 * film.layout.unit) - 4, lane.panel.bottom - lane.top - 6
    )

    def grids(m: Moment) -> dict[str, Grid]:
        program = program_of(m, 0)
        return {key.split(".", 1)[1]: grid for key, grid in lane.slots.items() if key.startswith(f"{program}.")}

    def key(m: Moment) -> Hashable:
        views = {name: view_of(m, 0, (name,)) for name in grids(m)}
        return (
            program_of(m, 0),
            tuple((name, view_key(view), read_now(m, 0, (name,))) for name, view in views.items()),
            _rows(m),
        )

    def draw(pen: Pen, m: Moment) -> None:
        for name, grid in grids(m).items():
            vector, y = grid.name in ("m_i", "l_i"), grid.box.y - pen.px(16)
            if vector:
                pen.label(grid.box.x + grid.box.w / 2, y, themes.label(name), "stat", weight=600, align="center")
            else:
                pen.label(grid.box.x, y, _kernel_title(name, _rows(m)), themes.hue(name), weight=600)
            draw_slot(pen, m, 0, name, grid)

    return Part(inside, key, draw)


def _rows(m: Moment) -> str:
    """The rows that the running kernel works on."""
    event = m.near[-1]
    if "i" not in event.loop:
        return ""
    size, queries = m.film.trace.meta["block_q"], m.film.trace.meta["queries"]
    start = event.loop["i"] * size
    return rows_of(start, min(start + size, queries))


def _kernel_title(name: str, rows: str) -> str:
    """`S, rows 8–11`; an operand that is there as a whole has no rows."""
    shown_name = name if name in ("S", "P", "O") else name.upper()
    return shown_name if name in ("k", "v") or not rows else f"{shown_name}, {rows}"
