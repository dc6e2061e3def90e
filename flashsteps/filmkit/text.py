"""Text in pictures: HarfBuzz shapes it, cairo fills it, from bundled fonts: the same pixels on every machine.

What these lack, of Chinese or emoji, comes from a font of the system, and where it has none, it is a hollow box.

Sizes and places are in pixels, y grows downwards, and the y of a text is its baseline. In every text `^{...}` is raised
and `_{...}` lowered, smaller, as in "S = Q K^{T} / √d" or "m_{new}"; any other caret, underscore or brace is itself.
Text from strangers goes through `literal` first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import groupby
from math import ceil, floor
from typing import Any, Literal, NamedTuple

import cairo
import numpy as np
import uharfbuzz as hb

from . import fonts
from .fonts import Family

# calt would turn "->" into an arrow in both families; tnum gives all digits one width (the mono has no other).
FEATURES = {"calt": False, "liga": False, "tnum": True}
SCRIPT = 0.68  # size of a sub- or superscript, of the text's own
SHIFT = {"": 0.0, "^": 0.34, "_": -0.16}  # where its baseline stands, in em of the text, upwards
LARGE = 1 << 20  # px² from which on a text is filled anew each time instead of kept as a mask
START = {"left": 0.0, "center": 0.5, "right": 1.0}  # how much of the text stands before x

# the languages whose characters look different elsewhere, by what is written in them alone; Chinese is what is left
_LANGUAGES = {"ja": "[\u3040-\u30ff]", "ko": "[\u1100-\u11ff\uac00-\ud7af]"}

_SCRIPTS = re.compile(r"([\^_])\{([^{}]*)\}")

#: a character of Chinese or Japanese with the signs that close it, a word, blanks: a line may end after each
_HAN = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_ATOMS = re.compile(rf"[{_HAN}][、。，．！？：；」』）]*|[^{_HAN}\s]+|\s+")
_WORDS = re.compile(r"(?:[\^_]\{[^{}]*\}|[^ \t\n])+")  # a script may hold spaces


class Style(NamedTuple):
    """How a text is set: Inter or JetBrains Mono, the weight (the nearest bundled one is used), and the em in px."""

    family: Family
    weight: int
    size: float


def width(text: str, style: Style) -> float:
    """The advance width of the text in px."""
    return _line(text, style).width


def cap_height(style: Style) -> float:
    """The height of a capital letter in px: text whose baseline is at y + cap_height / 2 stands centred on y."""
    font = fonts.bundled(style.family, style.weight)
    return float(font.get_metric_position(hb.OTMetricsTag.CAP_HEIGHT) / font.scale[1] * style.size)


def literal(text: str) -> str:
    """The same text to the eye, but `^{` and `_{` in it are themselves (an invisible word joiner parts them)."""
    return re.sub(r"([\^_])(?=\{)", "\\1\u2060", text)


@lru_cache(maxsize=4096)
def elide(text: str, style: Style, room: float) -> str:
    """The text if it fits into `room` px, else the longest start of it that fits with "…" after it, else "".

    What a reader sees as one character is never split, and a script that is cut stays one.
    """
    line = _line(text, style)
    if line.width <= room:
        return text
    starts, before = [], 0.0
    for cluster, group in groupby(sorted(line.clusters), key=lambda c: c[:2]):
        if before > room:
            break
        offset, close = cluster
        starts.append((text[:offset] if close else text[:offset].rstrip(" ")) + close)
        before += sum(advance for _, _, advance in group)
    return next((s + "…" for s in reversed(starts) if width(s + "…", style) <= room), "")


def wrap(text: str, style: Style, room: float) -> list[str]:
    """Lines no wider than `room` px, each with as many words as fit; a word that is wider is elided."""
    lines: list[str] = []
    for match in _WORDS.finditer(text):
        word = match.group()
        if lines and width(f"{lines[-1]} {word}", style) <= room:
            lines[-1] += f" {word}"
        elif short := elide(word, style, room):
            lines.append(short)
    return lines


def broken(text: str, style: Style, room: float) -> list[str]:
    """Lines no wider than `room` px, all of the text: what has no blanks, as Chinese, goes on in the next line."""
    lines = [""]
    for atom in _ATOMS.findall(text):
        if width(lines[-1] + atom, style) > room and lines[-1]:
            lines.append("")
        while width(atom, style) > room and (start := _start(atom, style, room)):
            lines[-1:] = [atom[:start], ""]
            atom = atom[start:]
        lines[-1] = (lines[-1] + atom).lstrip()
    return [line.rstrip() for line in lines if line.strip()]


def _start(text: str, style: Style, room: float) -> int:
    """How many characters of a text fit; what a reader sees as one is never split, nor is a script."""
    ends = sorted({offset for offset, close, _ in _line(text, style).clusters if offset and not close})
    return max((end for end in ends if width(text[:end], style) <= room), default=ends[0] if ends else 0)


def draw(
    ctx: cairo.Context[Any],
    x: float,
    y: float,
    text: str,
    style: Style,
    color: tuple[float, float, float],
    *,
    align: Literal["left", "center", "right"] = "left",
    alpha: float = 1.0,
    outlines: bool = False,
) -> float:
    """Draw the text with its baseline at y and its left end, middle or right end at x; return its width in px.

    Start and baseline are moved to the nearest whole pixel, so a text looks the same wherever it stands. Under a
    transformation that does more than move, or where `outlines` are asked for, those are filled where they fall. The
    colour stays the source of ctx.
    Pictures, as emoji are, have red and blue the other way round unless `outlines` are asked for: as the colour has.
    Raises ValueError for a style of another family, or a size that is not above 0.
    """
    line = _line(text, style)
    x -= line.width * START[align]
    m = ctx.get_matrix()
    moved = m.xx == 1 and m.yy == 1 and m.xy == 0 and m.yx == 0
    if moved:
        x, y = floor(x + m.x0 + 0.5) - m.x0, floor(y + m.y0 + 0.5) - m.y0
    ctx.set_source_rgba(*color, alpha)
    if moved and not outlines and line.width * style.size < LARGE:
        surface, left, top = _mask(text, style)
        ctx.mask_surface(surface, x + left, y + top)
    else:
        _fill(ctx, x, y, line)
    for picture in line.pictures:
        _show(ctx, x, y, picture, alpha, swapped=not outlines)
    return line.width


# Shaping


class _Glyph(NamedTuple):
    """A shaped glyph: its outline in font units and the em of one unit; the cluster it shows; advance, place in em;
    its picture, if it is one, and that's left, top, width, height in em, y upwards."""

    outline: cairo.Path | None
    unit: float
    cluster: int
    advance: float
    dx: float
    dy: float
    picture: cairo.ImageSurface | None = None
    extents: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


class _Picture(NamedTuple):
    """A picture in a line, in px from the start of its baseline."""

    surface: cairo.ImageSurface
    x: float
    y: float
    width: float
    height: float


class _Line(NamedTuple):
    """A text set in a style, in px: outlines as (path, scale, x, y); pictures; per glyph where to cut text before it,
    advance. A cut is an offset into the text, and the brace to close if that is inside a script.
    """

    width: float
    outlines: tuple[tuple[cairo.Path, float, float, float], ...]
    pictures: tuple[_Picture, ...]
    clusters: tuple[tuple[int, str, float], ...]


@lru_cache(maxsize=4096)
def _line(text: str, style: Style) -> _Line:
    if style.family not in fonts.FILES or not 0 < style.size < 10_000:
        raise ValueError(f"{style!r} is no style: give 'sans' or 'mono', a weight, and a size in pixels above 0")
    pen, outlines, pictures, clusters = 0.0, [], [], []
    for start, stop, kind in _runs(text):
        size = style.size * (SCRIPT if kind else 1)
        rise = style.size * SHIFT[kind]
        for g in _shape(text[start:stop], style.family, style.weight):
            if g.outline:
                outlines.append((g.outline, g.unit * size, pen + g.dx * size, -rise - g.dy * size))
            if g.picture:
                left, top, w, h = (size * share for share in g.extents)
                pictures.append(_Picture(g.picture, pen + g.dx * size + left, -rise - g.dy * size - top, w, h))
            opening = kind and g.cluster == 0  # to cut here is to cut before "^{"
            offset, close = (start - 2, "") if opening else (start + g.cluster, "}" if kind else "")
            clusters.append((offset, close, g.advance * size))
            pen += g.advance * size
    return _Line(pen, tuple(outlines), tuple(pictures), tuple(clusters))


def _runs(text: str) -> list[tuple[int, int, str]]:
    """(start, stop, "" or "^" or "_") of each stretch of text that is set on one baseline."""
    runs, at = [], 0
    for m in _SCRIPTS.finditer(text):
        runs += [(at, m.start(), ""), (m.start(2), m.end(2), m.group(1))]
        at = m.end()
    return [run for run in (*runs, (at, len(text), "")) if run[0] < run[1]]


def _shape(text: str, family: Family, weight: int) -> list[_Glyph]:
    """The glyphs from left to right; what the family lacks comes from the other one, then from the system."""
    other: Family = "mono" if family == "sans" else "sans"

    def found_elsewhere(part: str) -> list[_Glyph]:
        return _glyphs(part, fonts.bundled(other, weight), lambda rest: _of_system(rest, weight))

    return _glyphs(text, fonts.bundled(family, weight), found_elsewhere)


def _of_system(text: str, weight: int) -> list[_Glyph]:
    """Glyphs of one font of the system if there is one that has them all, else character by character; or boxes."""
    if font := fonts.system(text, weight):
        language = next((name for name, signs in _LANGUAGES.items() if re.search(signs, text)), "zh-Hans")
        return _glyphs(text, font, _boxes, language)
    starts = sorted({info.cluster for info in _shaped(text, fonts.bundled("sans", weight)).glyph_infos})
    parts = list(zip(starts, [*starts[1:], len(text)], strict=True))
    if len(parts) < 2:
        return _boxes(text)
    found = [
        [g._replace(cluster=start + g.cluster) for g in _of_system(text[start:stop], weight)] for start, stop in parts
    ]
    if _shaped(text, fonts.bundled("sans", weight)).direction == "rtl":
        found.reverse()
    return [glyph for part in found for glyph in part]


def _boxes(text: str) -> list[_Glyph]:
    """A box for each character that a reader sees."""
    clusters = dict.fromkeys(info.cluster for info in _shaped(text, fonts.bundled("sans", 400)).glyph_infos)
    return [_Glyph(_box(), 1 / 1000, cluster, 0.6, 0.0, 0.0) for cluster in clusters]


def _glyphs(text: str, font: Any, elsewhere: Callable[[str], list[_Glyph]], language: str = "en") -> list[_Glyph]:
    """The glyphs from left to right; each stretch that the font lacks is given to `elsewhere`."""
    buffer, em = _shaped(text, font, language), font.scale[0]
    infos = buffer.glyph_infos
    missing = {info.cluster for info in infos if info.codepoint == 0}
    glyphs = [
        _glyph(font, info.codepoint, info.cluster, (p.x_advance / em, p.x_offset / em, p.y_offset / em))
        for info, p in zip(infos, buffer.glyph_positions, strict=True)
    ]
    if not missing:
        return glyphs
    ends = [*sorted({info.cluster for info in infos})[1:], len(text)]
    whole: list[_Glyph] = []
    for lacks, group in groupby(glyphs, key=lambda g: g.cluster in missing):
        if not lacks:
            whole += group
            continue
        found = [g.cluster for g in group]
        first, stop = min(found), ends[bisect_right(ends, max(found))]
        whole += [g._replace(cluster=first + g.cluster) for g in elsewhere(text[first:stop])]
    return whole


def _shaped(text: str, font: Any, language: str = "en") -> Any:
    """HarfBuzz's buffer, shaped."""
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.language = language  # not the one of the machine
    buffer.guess_segment_properties()
    hb.shape(font, buffer, FEATURES)
    return buffer


def _glyph(font: Any, glyph: int, cluster: int, place: tuple[float, float, float]) -> _Glyph:
    em = font.scale[0]
    if picture := fonts.picture(font, glyph):
        of = font.get_glyph_extents(glyph)
        extents = (of.x_bearing / em, of.y_bearing / em, of.width / em, -of.height / em)
        return _Glyph(None, 1 / em, cluster, *place, picture, extents)
    return _Glyph(fonts.outline(font, glyph), 1 / em, cluster, *place)


# Outlines and masks


@cache
def _box() -> cairo.Path:
    """What stands for a character that no font here has: a hollow box as tall as a capital, in 1/1000 em."""
    ctx = fonts.scratch()
    ctx.rectangle(70, 0, 460, 730)
    ctx.rectangle(70 + 60, 730 - 60, 460 - 120, 120 - 730)  # the other way round, so a hole
    return ctx.copy_path()


def _fill(ctx: cairo.Context[Any], x: float, y: float, line: _Line) -> None:
    """Fill the outlines, starting at x on the baseline y.

    One by one, for cairo's antialiasing of an outline depends a little on what else is in the path, and a digit should
    not change with its neighbours.
    """
    base = ctx.get_matrix()
    ctx.new_path()
    for outline, scale, gx, gy in line.outlines:
        ctx.set_matrix(cairo.Matrix(scale, 0, 0, -scale, x + gx, y + gy) * base)
        ctx.append_path(outline)
        ctx.fill()
    ctx.set_matrix(base)


def _show(ctx: cairo.Context[Any], x: float, y: float, picture: _Picture, alpha: float, swapped: bool) -> None:
    """A picture, as large as its place in the line."""
    surface = _swapped(picture.surface) if swapped else picture.surface
    ctx.save()
    ctx.translate(x + picture.x, y + picture.y)
    ctx.scale(picture.width / surface.get_width(), picture.height / surface.get_height())
    ctx.set_source_surface(surface)
    ctx.paint_with_alpha(alpha)
    ctx.restore()


@cache
def _swapped(surface: cairo.ImageSurface) -> cairo.ImageSurface:
    """With red and blue the other way round."""
    width, height = surface.get_width(), surface.get_height()
    made = cairo.ImageSurface(cairo.FORMAT_ARGB32, width, height)
    ctx = cairo.Context(made)
    ctx.set_source_surface(surface)
    ctx.paint()
    made.flush()
    pixels = np.ndarray((height, width, 4), np.uint8, made.get_data(), strides=(made.get_stride(), 4, 1))
    pixels[..., :3] = pixels[..., 2::-1].copy()
    made.mark_dirty()
    return made


@lru_cache(maxsize=2048)
def _mask(text: str, style: Style) -> tuple[cairo.ImageSurface, int, int]:
    """The coverage of each pixel, and where the top left one is, seen from the start of the baseline."""
    ink = cairo.RecordingSurface(cairo.CONTENT_ALPHA, None)
    _fill(cairo.Context(ink), 0, 0, _line(text, style))
    x, y, w, h = ink.ink_extents()
    left, top = floor(x), floor(y)
    surface = cairo.ImageSurface(cairo.FORMAT_A8, ceil(x + w) - left, ceil(y + h) - top)
    ctx = cairo.Context(surface)
    ctx.set_source_surface(ink, -left, -top)
    ctx.paint()
    surface.flush()
    return surface, left, top
