"""All that stands on the stage, in one place: what never changes, and what changes part by part."""

from __future__ import annotations

from collections.abc import Iterator

from ..film import Film
from ..layout import Box
from ..pen import Pen
from . import below, bus, chip, code, hbm, header
from .part import Part


def background(pen: Pen, film: Film) -> None:
    """What never changes: panels, titles, names."""
    pen.fill(Box(0, 0, film.layout.width, film.layout.height), "bg")
    for member in (header, hbm, chip, code, below):
        member.background(pen, film)


def parts(film: Film) -> Iterator[Part]:
    """Every part; their boxes don't overlap."""
    for member in (header, hbm, bus, chip, code, below):
        yield from member.parts(film)
