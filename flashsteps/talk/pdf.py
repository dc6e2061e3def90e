"""A talk as a PDF: a page a slide, in outlines; a chapter's page is how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..filmkit import vector
from ..filmkit.boxes import shape_of
from ..filmkit.card import card, places
from ..filmkit.vector import Page
from . import opening
from .plan import Card, Column, Slide, opening_of

BEFORE = 1e-3  # seconds before a chapter is over, it looks as it ends


def write(
    path: Path, columns: Sequence[Column], size: tuple[int, int], theme: str, told: Callable[[int], None]
) -> None:
    """Write it, whole or not at all; tells each page that is drawn."""

    def pages() -> Iterator[Page]:
        first = 0
        for column in columns:
            for n, slide in enumerate(column):
                yield _page(slide, shape_of(*size), first if n else None)
                told(1)
            first += len(column)

    first = opening_of(columns)
    vector.write_pages(path, pages(), size, theme, first.title, first.by)


def _page(slide: Slide, shape: str, below: int | None) -> Page:
    if isinstance(slide, Card) and slide.opens:
        return Page(opening.script(shape, slide.title, slide.words, slide.by), 0.0, slide.name)
    if isinstance(slide, Card):
        rows = tuple((link.name, link.words) for link in slide.links)
        script = card(shape, slide.section, slide.title, slide.words, rows)
        addresses = [link.address for link in slide.links]
        return Page(script, 0.0, slide.name, below, tuple(zip(places(shape, len(rows)), addresses, strict=True)))
    return Page(slide.script, slide.span.stop - BEFORE, slide.span.name, below)
