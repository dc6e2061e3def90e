"""A picture as SVG or PDF, or many as the pages of one PDF: the same drawing, in outlines, sharp at any size.

No date, no version and no font is in the file, and nothing that depends on what was drawn before it: the same picture
gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import NamedTuple

import cairo

from ..files import whole
from .boxes import Box
from .formats import PathLike, Size, check_path, check_size
from .painter import Painter
from .script import Script


class Page(NamedTuple):
    """A page of a PDF: a moment of a script; how the table of contents calls it, and below which page (by number); what
    is to be clicked, boxes in units of the canvas, with addresses."""

    script: Script
    t: float
    name: str
    below: int | None = None
    links: tuple[tuple[Box, str], ...] = ()


def write(path: PathLike, script: Script, t: float, size: Size, theme: str, transparent: bool = False) -> None:
    """Write the picture at t seconds, in a file's own units 1 px each. Raises ValueError where the path won't do."""
    target = check_path(path)
    check_size(target, size)
    if target.suffix.lower() == ".pdf":
        made = _pdf([Page(script, t, "")], size, theme, script.title, transparent)
    else:
        data = io.BytesIO()
        surface = cairo.SVGSurface(data, *size)
        surface.set_document_unit(cairo.SVG_UNIT_PX)
        Painter(script, *size, theme, transparent=transparent, surface=surface).paint(t)
        surface.finish()
        made = _renamed(data.getvalue())
    with whole(target) as aside:
        aside.write_bytes(made)


def write_pages(path: PathLike, pages: Iterable[Page], size: Size, theme: str, title: str, author: str = "") -> None:
    """Write a PDF of many pages, with a table of contents. Raises ValueError where the path won't do."""
    check_size(path, size)
    with whole(path) as aside:
        aside.write_bytes(_pdf(pages, size, theme, title, author=author))


def _pdf(
    pages: Iterable[Page], size: Size, theme: str, title: str, transparent: bool = False, author: str = ""
) -> bytes:
    data = io.BytesIO()
    surface = cairo.PDFSurface(data, *size)
    surface.restrict_to_version(cairo.PDF_VERSION_1_4)  # whose list of things is no compressed one
    surface.set_metadata(cairo.PDF_METADATA_TITLE, title)
    if author:
        surface.set_metadata(cairo.PDF_METADATA_AUTHOR, author)
    surface.set_metadata(cairo.PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z")  # of one length, everywhere
    entries: list[int] = []
    for number, page in enumerate(pages, 1):
        painter = Painter(page.script, *size, theme, transparent=transparent, surface=surface)
        painter.paint(page.t)
        for box, address in page.links:
            x, y, w, h = painter.px(box)
            painter.pen.ctx.tag_begin(cairo.TAG_LINK, f"rect=[{x} {y} {w} {h}] uri='{address}'")
            painter.pen.ctx.tag_end(cairo.TAG_LINK)
        if page.name:
            above = cairo.PDF_OUTLINE_ROOT if page.below is None else entries[page.below]
            entries.append(surface.add_outline(above, page.name, f"page={number}", cairo.PDFOutlineFlags(0)))
        surface.show_page()
    surface.finish()
    return _undated(data.getvalue())


def _renamed(svg: bytes) -> bytes:
    """With what is referred to numbered in order: cairo goes on counting from one file to the next."""
    names: dict[bytes, bytes] = {}
    for name in re.findall(rb'\bid="([^"]+)"', svg):
        names.setdefault(name, b"%s-%d" % (re.sub(rb"[-\d]+$", b"", name), len(names)))
    return re.sub(rb'(\bid="|"#|url\(#)([^")]+)', lambda found: found[1] + names.get(found[2], found[2]), svg)


def _undated(pdf: bytes) -> bytes:
    """Without the date and the version of who wrote it, but as long: a PDF knows at which byte all things are."""
    for entry in (rb"/CreationDate \([^)]*\)", rb"/Producer \((?:[^()]|\([^()]*\))*\)"):
        pdf = re.sub(entry, lambda found: b" " * len(found[0]), pdf)
    return pdf
