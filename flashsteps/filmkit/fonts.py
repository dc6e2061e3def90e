"""Fonts: the bundled ones, which are the same everywhere, and those of the system for what these lack.

The system's are found by looking into the folders where they lie, and tried in an order that depends on their names
alone: fontconfig, whose answers depend on much else, is not asked. A font counts where it draws something.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import unicodedata
from functools import cache, lru_cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cairo
import uharfbuzz as hb

Family = Literal["sans", "mono"]

FILES: dict[Family, dict[int, str]] = {
    "sans": {400: "Inter-Regular.otf", 500: "Inter-Medium.otf", 600: "Inter-SemiBold.otf", 700: "Inter-Bold.otf"},
    "mono": {400: "JetBrainsMono-Regular.ttf", 600: "JetBrainsMono-SemiBold.ttf"},
}

BOLD = 600  # the weight from which on a bold font of the system is taken before a regular one

NAMED = 6  # characters, at most, in a message

_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
_OTHERS = re.compile(r"black|heavy|light|thin|medium|italic|oblique|condensed|serif|mono|display|looped|nastaliq", re.I)
_NONE = re.compile(r"lastresort|adobeblank|unifont", re.I)  # fonts that have everything, as boxes or dots


# ---- the bundled ones


@cache
def bundled(family: Family, weight: int) -> Any:
    """The HarfBuzz font of the nearest weight, in its own units."""
    name = FILES[family][min(FILES[family], key=lambda w: abs(w - weight))]
    return hb.Font(hb.Face((resources.files("flashsteps") / "fonts" / name).read_bytes()))


# ---- those of the system


def folders() -> list[Path]:
    """Where fonts lie, of the system and of the user."""
    if sys.platform == "darwin":
        found = ["/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"]
    else:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        shared = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
        found = [*(f"{folder}/fonts" for folder in (data, *shared)), "~/.fonts"]
    return [Path(os.path.expanduser(folder)) for folder in dict.fromkeys(found)]


@cache
def _files(bold: bool) -> tuple[Path, ...]:
    """The system's fonts, the best first: Noto before others, plain before fancy, regular or bold as asked."""
    found = [
        Path(folder) / name
        for top in folders()
        for folder, _, names in os.walk(top)
        for name in names
        if name.lower().endswith(_ENDINGS) and not _NONE.search(name) and os.path.isfile(os.path.join(folder, name))
    ]

    def rank(path: Path) -> tuple[Any, ...]:
        name = path.name
        fancy, other = len(_OTHERS.findall(name)), ("bold" in name.lower()) != bold
        return not name.startswith("NotoSans"), not name.startswith("Noto"), fancy, other, name, path

    return tuple(sorted(found, key=rank))


@cache
def _opened(path: Path) -> Any:
    """A font of the system, or None where the file is none."""
    try:
        return hb.Font(hb.Face(hb.Blob.from_file_path(str(path))))
    except Exception:  # whatever lies there
        return None


@lru_cache(maxsize=4096)
def system(text: str, weight: int) -> Any:
    """The first font of the system that draws all characters of a text; None where there is none."""
    needed = {ord(sign) for sign in text if _shows(sign)}
    if not needed:
        return None
    fonts = (_opened(path) for path in _files(weight >= BOLD))
    return next((font for font in fonts if font and all(_draws(font, sign) for sign in needed)), None)


def _shows(sign: str) -> bool:
    """Is there something to see of this character by itself? Not of spaces, joiners, controls, what is unassigned."""
    return unicodedata.category(sign)[0] not in "ZC"


def _draws(font: Any, sign: int) -> bool:
    glyph = font.get_nominal_glyph(sign)
    return bool(glyph) and (outline(font, glyph) is not None or picture(font, glyph) is not None)


def lacking(text: str) -> str:
    """The characters of a text that no font here has, in their order."""
    return "".join(sign for sign in _strange(text) if not system(sign, 400))


def _strange(text: str) -> str:
    """The characters of a text that the bundled fonts lack, in their order."""
    fonts = [bundled(family, 400) for family in FILES]

    def had(sign: str) -> bool:
        return not _shows(sign) or any(font.get_nominal_glyph(ord(sign)) for font in fonts)

    return "".join(sign for sign in dict.fromkeys(text) if not had(sign))


def fonts_for(text: str) -> str:
    """The system's fonts by name and size, in a few letters; "" for a text that takes none of them."""
    if not _strange(text):
        return ""
    there = [(path.name, path.stat().st_size) for bold in (False, True) for path in _files(bold)]
    return hashlib.sha256(repr(there).encode()).hexdigest()[:16]


def advice(text: str) -> str:
    """Which characters of a text are drawn as boxes, and what to do about it, in one line; "" where none is."""
    signs = lacking(text)
    if not signs:
        return ""
    some = ", ".join(f"{sign} (U+{ord(sign):04X})" for sign in signs[:NAMED])
    more = f" and {len(signs) - NAMED} more" if len(signs) > NAMED else ""
    install = f"apt install {' '.join(_packages(signs))}"
    return f"no font here has {some}{more}: boxes stand for them; install fonts, on Debian or Ubuntu with: {install}"


def _packages(signs: str) -> list[str]:
    """The packages of Debian and its kin whose fonts have such characters."""

    def package(sign: str) -> str:
        if unicodedata.category(sign) in ("So", "Sk") and ord(sign) >= 0x2190:
            return "fonts-noto-color-emoji"
        return "fonts-noto-cjk" if unicodedata.east_asian_width(sign) in "WF" else "fonts-noto-core"

    return sorted({package(sign) for sign in signs})


# ---- glyphs


def scratch() -> cairo.Context[cairo.ImageSurface]:
    """A context to build a path in."""
    return cairo.Context(cairo.ImageSurface(cairo.FORMAT_A8, 1, 1))


def _quadratic(x1: float, y1: float, x: float, y: float, ctx: cairo.Context[Any]) -> None:
    """A quadratic curve as the cubic one that it is."""
    x0, y0 = ctx.get_current_point()
    ctx.curve_to((x0 + 2 * x1) / 3, (y0 + 2 * y1) / 3, (x + 2 * x1) / 3, (y + 2 * y1) / 3, x, y)


_PEN = hb.DrawFuncs()
_PEN.set_move_to_func(lambda x, y, ctx: ctx.move_to(x, y))
_PEN.set_line_to_func(lambda x, y, ctx: ctx.line_to(x, y))
_PEN.set_cubic_to_func(lambda x1, y1, x2, y2, x, y, ctx: ctx.curve_to(x1, y1, x2, y2, x, y))
_PEN.set_quadratic_to_func(_quadratic)
_PEN.set_close_path_func(lambda ctx: ctx.close_path())


@cache
def outline(font: Any, glyph: int) -> cairo.Path | None:
    """The unhinted outline in font units, y upwards, or None where there is no ink."""
    ctx = scratch()
    font.draw_glyph(glyph, _PEN, ctx)
    return ctx.copy_path() if ctx.has_current_point() else None


@cache
def picture(font: Any, glyph: int) -> cairo.ImageSurface | None:
    """What a font of pictures (CBDT, sbix) shows for a glyph, as emoji are; None where it has none."""
    if not font.face.has_color_png:
        return None
    png = font.get_glyph_color_png(glyph)
    data = bytes(png.data) if png else b""
    return cairo.ImageSurface.create_from_png(BytesIO(data)) if data else None
