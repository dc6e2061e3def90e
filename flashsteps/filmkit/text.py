"""Text in pictures: HarfBuzz shapes it, cairo fills it, from bundled fonts alone: the same pixels on every machine.

Sizes and places are in pixels, y grows downwards, and the y of a text is its baseline. In every text `^{...}` is raised
and `_{...}` lowered, smaller, as in "S = Q K^{T} / √d" or "m_{new}"; any other caret, underscore or brace is itself.
Text from strangers goes through `literal` first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache, lru_cache
from importlib import resources
from itertools import groupby
from math import ceil, floor
from typing import Any, Literal, NamedTuple

import cairo
import uharfbuzz as hb

Family = Literal["sans", "mono"]

FILES: dict[Family, dict[int, str]] = {
    "sans": {400: "Inter-Regular.otf", 500: "Inter-Medium.otf", 600: "Inter-SemiBold.otf", 700: "Inter-Bold.otf"},
    "mono": {400: "JetBrainsMono-Regular.ttf", 600: "JetBrainsMono-SemiBold.ttf"},
}
# calt would turn "->" into an arrow in both families; tnum gives all digits one width (the mono has no other).
FEATURES = {"calt": False, "liga": False, "tnum": True}
SCRIPT = 0.68  # size of a sub- or superscript, of the text's own
SHIFT = {"": 0.0, "^": 0.34, "_": -0.16}  # where its baseline stands, in em of the text, upwards
LARGE = 1 << 20  # px² from which on a text is filled anew each time instead of kept as a mask
START = {"left": 0.0, "center": 0.5, "right": 1.0}  # how much of the text stands before x

_SCRIPTS = re.compile(r"([\^_])\{([^{}]*)\}")
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
    font = _font(style.family, style.weight)
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
    return line.width


# Shaping


class _Glyph(NamedTuple):
    """A shaped glyph: its outline in font units and the em of one unit; the cluster it shows; advance, place in em."""

    outline: cairo.Path | None
    unit: float
    cluster: int
    advance: float
    dx: float
    dy: float


class _Line(NamedTuple):
    """A text set in a style, in px: outlines as (path, scale, x, y); per glyph where to cut text before it, advance.

    A cut is an offset into the text, and the brace to close if that is inside a script.
    """

    width: float
    outlines: tuple[tuple[cairo.Path, float, float, float], ...]
    clusters: tuple[tuple[int, str, float], ...]


@lru_cache(maxsize=4096)
def _line(text: str, style: Style) -> _Line:
    if style.family not in FILES or not 0 < style.size < 10_000:
        raise ValueError(f"{style!r} is no style: give 'sans' or 'mono', a weight, and a size in pixels above 0")
    pen, outlines, clusters = 0.0, [], []
    for start, stop, kind in _runs(text):
        size = style.size * (SCRIPT if kind else 1)
        rise = style.size * SHIFT[kind]
        for g in _shape(text[start:stop], style.family, style.weight):
            if g.outline:
                outlines.append((g.outline, g.unit * size, pen + g.dx * size, -rise - g.dy * size))
            opening = kind and g.cluster == 0  # to cut here is to cut before "^{"
            offset, close = (start - 2, "") if opening else (start + g.cluster, "}" if kind else "")
            clusters.append((offset, close, g.advance * size))
            pen += g.advance * size
    return _Line(pen, tuple(outlines), tuple(clusters))


def _runs(text: str) -> list[tuple[int, int, str]]:
    """(start, stop, "" or "^" or "_") of each stretch of text that is set on one baseline."""
    runs, at = [], 0
    for m in _SCRIPTS.finditer(text):
        runs += [(at, m.start(), ""), (m.start(2), m.end(2), m.group(1))]
        at = m.end()
    return [run for run in (*runs, (at, len(text), "")) if run[0] < run[1]]


def _shape(text: str, family: Family, weight: int, fallback: bool = True) -> list[_Glyph]:
    """The glyphs from left to right; what the family lacks comes from the other one, or else is a hollow box."""
    font = _font(family, weight)
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.language = "en"  # not the one of the machine
    buffer.guess_segment_properties()
    hb.shape(font, buffer, FEATURES)
    infos, em = buffer.glyph_infos, font.scale[0]
    missing = {info.cluster for info in infos if info.codepoint == 0}
    glyphs = [
        _Glyph(
            _outline(family, weight, info.codepoint),
            1 / em,
            info.cluster,
            p.x_advance / em,
            p.x_offset / em,
            p.y_offset / em,
        )
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
        found = list(dict.fromkeys(g.cluster for g in group))
        if not fallback:
            whole += [_Glyph(_box(), 1 / 1000, cluster, 0.6, 0.0, 0.0) for cluster in found]
            continue
        first, stop = min(found), ends[bisect_right(ends, max(found))]
        other: Family = "mono" if family == "sans" else "sans"
        found_there = _shape(text[first:stop], other, weight, fallback=False)
        whole += [g._replace(cluster=first + g.cluster) for g in found_there]
    return whole


@cache
def _font(family: Family, weight: int) -> Any:
    """The HarfBuzz font of the nearest weight, in its own units."""
    name = FILES[family][min(FILES[family], key=lambda w: abs(w - weight))]
    return hb.Font(hb.Face((resources.files("flashsteps") / "fonts" / name).read_bytes()))


# Outlines and masks


def _scratch() -> cairo.Context[cairo.ImageSurface]:
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
def _outline(family: Family, weight: int, glyph: int) -> cairo.Path | None:
    """The unhinted outline in font units, y upwards, or None where there is no ink."""
    ctx = _scratch()
    _font(family, weight).draw_glyph(glyph, _PEN, ctx)
    return ctx.copy_path() if ctx.has_current_point() else None


@cache
def _box() -> cairo.Path:
    """What stands for a character that no font here has: a hollow box as tall as a capital, in 1/1000 em."""
    ctx = _scratch()
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
