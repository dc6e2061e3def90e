"""Drawing in whole pixels with cairo: rectangles, textures, hatches, arrows and text in a theme's colours.

Pictures are RGBA bytes that cairo believes to be BGRA. So red and blue change places here, once, on the way into
cairo, and nowhere else.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import cairo
import numpy as np

from .. import theme as themes
from ..theme import LABEL, RGB, Theme, rgb
from . import text as texts
from .boxes import Box

Point = tuple[float, float]
Align = Literal["left", "center", "right"]


class Pen:
    """A cairo context that knows its theme and how many px a unit of the canvas is.

    Text that would be too small to read is left out, unless `all_text`. With `outlines`, nothing is drawn that is made
    of pixels, for a file that keeps what it is told: letters are shapes, and so is each cell of a texture.
    """

    def __init__(
        self, ctx: cairo.Context[Any], theme: Theme, unit: float, all_text: bool = False, outlines: bool = False
    ) -> None:
        self.ctx, self.theme, self.unit, self.all_text, self.outlines = ctx, theme, unit, all_text, outlines
        self.clip: Box | None = None  # where alone it draws just now, in px
        self._rgb: dict[str, RGB] = {}

    def sees(self, box: Box) -> bool:
        """Is any of this box to be drawn just now?"""
        return self.clip is None or box.overlaps(self.clip)

    def px(self, units: float) -> int:
        return round(units * self.unit)

    def color(self, name: str) -> str:
        """A theme's colour by name; "#rrggbb" is itself."""
        return name if name.startswith("#") else str(getattr(self.theme, name))

    def rgb(self, color: str) -> RGB:
        """A colour in cairo's order, which for pixels is blue, green, red."""
        if (found := self._rgb.get(color)) is None:
            red, green, blue = rgb(self.color(color))
            found = self._rgb[color] = (red, green, blue) if self.outlines else (blue, green, red)
        return found

    def source(self, color: str, alpha: float = 1.0) -> None:
        self.ctx.set_source_rgba(*self.rgb(color), alpha)

    def stroke_width(self, units: float) -> float:
        return max(1.0, units * self.unit)

    # ---- shapes

    def fill(self, box: Box, color: str, *, radius: float = 0, alpha: float = 1.0) -> None:
        self._path(box, radius * self.unit)
        self.source(color, alpha)
        self.ctx.fill()

    def frame(
        self, box: Box, color: str, *, width: float = 2, radius: float = 0, alpha: float = 1.0, dash: float = 0
    ) -> None:
        """An outline, drawn inside the box."""
        line = self.stroke_width(width)
        inset = line / 2
        self._path(box, max(0.0, radius * self.unit - inset), inset)
        self.source(color, alpha)
        self.ctx.set_line_width(line)
        self.ctx.set_dash([dash * self.unit, dash * self.unit] if dash else [])
        self.ctx.stroke()
        self.ctx.set_dash([])

    def panel(self, box: Box, *, sram: bool = False) -> None:
        self.fill(box, "sram" if sram else "panel", radius=18)
        self.frame(box, "sram_line" if sram else "line", width=3 if sram else 2, radius=18)

    def _path(self, box: Box, radius: float, inset: float = 0.0) -> None:
        x, y, w, h = box.x + inset, box.y + inset, box.w - 2 * inset, box.h - 2 * inset
        radius = max(0.0, min(radius, w / 2, h / 2))
        self.ctx.new_path()
        if radius == 0:
            self.ctx.rectangle(x, y, w, h)
            return
        for cx, cy, turn in (
            (x + w - radius, y + radius, 0),
            (x + w - radius, y + h - radius, 1),
            (x + radius, y + h - radius, 2),
            (x + radius, y + radius, 3),
        ):
            self.ctx.arc(cx, cy, radius, (turn - 1) * math.pi / 2, turn * math.pi / 2)
        self.ctx.close_path()

    def hatch(self, box: Box, color: str, *, alpha: float = 0.65, step: float = 9) -> None:
        """Slanted lines over a box: what is written."""
        ctx, gap = self.ctx, max(4.0, step * self.unit)
        ctx.save()
        ctx.rectangle(*box)
        ctx.clip()
        self.source(color, alpha)
        ctx.set_line_width(gap * 0.45)
        start = -(box.h // gap + 1) * gap
        while start < box.w:
            ctx.move_to(box.x + start, box.y + box.h)
            ctx.line_to(box.x + start + box.h, box.y)
            start += gap
        ctx.stroke()
        ctx.restore()

    def cross(self, box: Box, color: str, *, radius: float = 4) -> None:
        """An empty place, crossed out: what is left out, or skipped."""
        self.frame(box, color, width=1, radius=radius)
        near = min(box.w, box.h) * 0.2
        (left, top), (right, bottom) = (box.x + near, box.y + near), (box.right - near, box.bottom - near)
        self.line([(left, top), (right, bottom)], color)
        self.line([(left, bottom), (right, top)], color)

    def line(
        self,
        points: list[tuple[float, float]],
        color: str,
        *,
        width: float = 2,
        alpha: float = 1.0,
        dash: float = 0,
        rounded: bool = False,
    ) -> None:
        """From point to point. Where it is not `rounded`, a sharp corner stands out beyond its point."""
        self.ctx.new_path()
        for x, y in points:
            self.ctx.line_to(x, y)
        self.source(color, alpha)
        self.ctx.set_line_width(self.stroke_width(width))
        self.ctx.set_dash([dash * self.unit, dash * self.unit] if dash else [])
        self.ctx.set_line_join(cairo.LineJoin.ROUND if rounded else cairo.LineJoin.MITER)
        self.ctx.stroke()
        self.ctx.set_dash([])

    def arrow(self, start: Point, stop: Point, color: str, *, width: float = 4) -> None:
        """A straight arrow, along an axis."""
        head = 12 * self.unit
        (x0, y0), (x1, y1) = start, stop
        dx, dy = (math.copysign(1, x1 - x0) if x1 != x0 else 0), (math.copysign(1, y1 - y0) if y1 != y0 else 0)
        self.line([start, stop], color, width=width)
        back, side = head, head * 0.75
        left = x1 - dx * back - dy * side, y1 - dy * back - dx * side
        right = x1 - dx * back + dy * side, y1 - dy * back + dx * side
        self.line([left, (x1, y1), right], color, width=width)

    # ---- textures

    def texture(self, box: Box, colors: np.ndarray, *, alpha: float = 1.0) -> None:
        """A matrix as one thing: colours (rows, columns, 3) in 0 … 255, each cell scaled up without blur."""
        if self.outlines:
            self._cells(box, colors, alpha)
            return
        rows, columns = colors.shape[:2]
        pixels = np.full((rows, columns, 4), 255, np.uint8)
        pixels[..., :3] = colors
        surface = cairo.ImageSurface.create_for_data(memoryview(pixels), cairo.FORMAT_RGB24, columns, rows)  # type: ignore[arg-type]
        ctx = self.ctx
        ctx.save()
        ctx.rectangle(*box)
        ctx.clip()
        ctx.translate(box.x, box.y)
        ctx.scale(box.w / columns, box.h / rows)
        ctx.set_source_surface(surface)
        ctx.get_source().set_filter(cairo.FILTER_NEAREST)
        ctx.paint_with_alpha(alpha)
        ctx.restore()

    def _cells(self, box: Box, colors: np.ndarray, alpha: float) -> None:
        """The same as rectangles: each reaches below the ones after it, for no ground to show between them."""
        ctx, (rows, columns) = self.ctx, colors.shape[:2]
        w, h = box.w / columns, box.h / rows
        ctx.push_group()
        for i, row in enumerate(colors.tolist()):
            for j, (red, green, blue) in enumerate(row):
                if j and row[j - 1] == row[j]:
                    continue  # the one before reaches as far
                ctx.set_source_rgb(red / 255, green / 255, blue / 255)
                ctx.rectangle(box.x + j * w, box.y + i * h, box.w - j * w, min(2 * h, box.h - i * h))
                ctx.fill()
        ctx.pop_group_to_source()
        ctx.paint_with_alpha(alpha)

    # ---- text

    def fits(self, size: float) -> bool:
        """Is text of this size large enough to be read at the output's size?"""
        return size * self.unit >= (1 if self.all_text else themes.SMALLEST)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        color: str = "ink",
        *,
        weight: int = 400,
        mono: bool = False,
        align: Align = "left",
        alpha: float = 1.0,
        room: float | None = None,
    ) -> float:
        """Text with its baseline at y, elided to `room` px, dropped where it is too small to read. Gives its width."""
        if not self.fits(size):
            return 0.0
        style = self.style(size, weight, mono)
        if room is not None:
            words = texts.elide(words, style, room)
        ink = self.rgb(color)
        return texts.draw(self.ctx, x, y, words, style, ink, align=align, alpha=alpha, outlines=self.outlines)

    def label(
        self,
        x: float,
        y: float,
        words: str,
        color: str = "dim",
        *,
        weight: int = 400,
        align: Align = "left",
        room: float | None = None,
    ) -> float:
        """Text as labels are set."""
        return self.text(x, y, words, LABEL, color, weight=weight, align=align, room=room)

    def figure(
        self,
        x: float,
        y: float,
        words: str,
        color: str = "ink",
        *,
        size: float = LABEL,
        align: Align = "left",
        room: float | None = None,
    ) -> float:
        """Text as figures are set: in the mono, strong."""
        return self.text(x, y, words, size, color, weight=600, mono=True, align=align, room=room)

    def figure_width(self, words: str, size: float = LABEL) -> float:
        return self.width(words, size, weight=600, mono=True)

    def digits(self, box: Box, words: str, size: float, color: str) -> None:
        """A number in the middle of its cell."""
        x, y = box.x + box.w / 2, box.y + box.h / 2 + self.px(size * 0.36)
        self.text(x, y, words, size, color, weight=500, mono=True, align="center")

    def style(self, size: float, weight: int = 400, mono: bool = False) -> texts.Style:
        return texts.Style("mono" if mono else "sans", weight, size * self.unit)

    def width(self, words: str, size: float, *, weight: int = 400, mono: bool = False) -> float:
        return texts.width(words, self.style(size, weight, mono))


def shades(values: np.ndarray, low: float, high: float, base: str, hue: str) -> np.ndarray:
    """Values (rows, columns) as colours (rows, columns, 3) in 0 … 255: from near `base` (lowest) to `hue` (highest).

    What isn't there yet (NaN) is `base` itself.
    """
    share = 0.1 + 0.9 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    share = np.where(np.isnan(share), 0.0, share)[..., None]
    a, b = 255 * np.array(rgb(base)), 255 * np.array(rgb(hue))
    colors: np.ndarray = (a + (b - a) * share + 0.5).astype(np.uint8)
    return colors


def binned(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The mean of each `rows` × `columns` cells; those on the far edges may be of fewer."""
    if (rows, columns) == (1, 1):
        return values
    tall, wide = values.shape
    sums = np.add.reduceat(np.add.reduceat(values, range(0, tall, rows), axis=0), range(0, wide, columns), axis=1)
    heights = np.diff([*range(0, tall, rows), tall])
    widths = np.diff([*range(0, wide, columns), wide])
    mean: np.ndarray = sums / np.outer(heights, widths)
    return mean
