"""A picture as SVG or PDF, for papers: the same drawing, in outlines that stay sharp at any size.

No date, no version and no font is in the file, and nothing that depends on what was drawn before it: the same picture
gives the same bytes.
"""

from __future__ import annotations

import io
import re
from typing import Any

import cairo

from ..files import whole
from .formats import PathLike, Size, check_path, check_size
from .painter import Painter
from .script import Script


def write(path: PathLike, script: Script, t: float, size: Size, theme: str, transparent: bool = False) -> None:
    """Write the picture at t seconds, in a file's own units 1 px each. Raises ValueError where the path won't do."""
    target = check_path(path)
    check_size(target, size)
    ending, data = target.suffix.lower(), io.BytesIO()
    if ending == ".svg":
        surface: Any = cairo.SVGSurface(data, *size)
        surface.set_document_unit(cairo.SVG_UNIT_PX)
    else:
        surface = cairo.PDFSurface(data, *size)
        surface.restrict_to_version(cairo.PDF_VERSION_1_4)  # whose list of things is no compressed one
        surface.set_metadata(cairo.PDF_METADATA_TITLE, script.title)
        surface.set_metadata(cairo.PDF_METADATA_CREATE_DATE, "2000-01-01T00:00:00Z")  # of one length, everywhere
    Painter(script, *size, theme, transparent=transparent, surface=surface).paint(t)
    surface.finish()
    made = _renamed(data.getvalue()) if ending == ".svg" else _undated(data.getvalue())
    with whole(target) as aside:
        aside.write_bytes(made)


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
