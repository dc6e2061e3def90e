"""Script → pixels: a part is drawn anew when it looks different, and then only where it stands."""

from __future__ import annotations

from functools import lru_cache

import cairo
import numpy as np

from ..theme import theme as theme_of
from .boxes import CANVASES, Box
from .pen import Pen
from .script import Script, Shown


class Painter:
    """A film at one size in one theme. `pixels` are RGBA (height, width, 4), drawn over and over; `transparent`, they
    have no ground, and colours hold their share of alpha. What is too small to be read is left out, unless `all_text`:
    a picture in a picture shows what it would show if it were large. A `surface` of cairo's that keeps outlines is
    drawn on instead, once."""

    def __init__(
        self,
        script: Script,
        width: int,
        height: int,
        theme: str = "dark",
        all_text: bool = False,
        transparent: bool = False,
        surface: cairo.Surface | None = None,
    ) -> None:
        self.script, canvas = script, CANVASES[script.shape]
        self.unit = min(width / canvas.w, height / canvas.h)
        self.left, self.top = (width - canvas.w * self.unit) / 2, (height - canvas.h * self.unit) / 2
        self.pixels, outlines = np.empty((0 if surface else height, width, 4), np.uint8), surface is not None
        if surface is None:
            form = cairo.FORMAT_ARGB32 if transparent else cairo.FORMAT_RGB24
            surface = cairo.ImageSurface.create_for_data(memoryview(self.pixels), form, width, height)  # type: ignore[arg-type]
        self.pen = Pen(cairo.Context(surface), theme_of(theme), self.unit, all_text, outlines)
        self.whole, self.transparent = Box(0, 0, width, height), transparent
        self._clear(self.whole)
        self.shown: tuple[Shown, ...] = ()

    def paint(self, t: float) -> list[Box]:
        """Turn to t. Gives where, in px, it was drawn anew: nowhere if nothing changed."""
        shown = self.script.at(round(t, 6))  # the same whoever divides to get it
        before, after = {s.part: s for s in self.shown}, {s.part: s for s in shown}
        pairs = [(before.get(n), after.get(n)) for n in before | after]
        stale = [box for one, other in pairs if one != other for box in self._stale(one, other)]
        if not stale:
            return []
        self.shown, ctx, parts = shown, self.pen.ctx, _merged(stale)
        for part in parts:
            ctx.save()
            ctx.rectangle(*part)
            ctx.clip()
            self.pen.clip = part
            self._clear(part)
            for s in shown:
                if self.px(s.box).overlaps(part):
                    self._draw(s)
            ctx.restore()
        return parts

    def _stale(self, before: Shown | None, after: Shown | None) -> list[Box]:
        """Where a part looks different from what it did: in whole px, within what it takes up."""
        if before and after and before.box == after.box and before.opacity == after.opacity:
            one, other = before.actor, after.actor
            if type(one) is type(other):
                box = self.px(after.box)
                return [at.whole().within(box) for at in other.differs(one, self.pen, box) if at.overlaps(box)]
        return [self.px(shown.box) for shown in (before, after) if shown]

    def _clear(self, box: Box) -> None:
        """Nothing but the ground there, or nothing."""
        if not self.transparent:
            self.pen.fill(box, "bg")
        elif not self.pen.outlines:
            self.pen.ctx.set_operator(cairo.OPERATOR_CLEAR)
            self.pen.ctx.paint()
            self.pen.ctx.set_operator(cairo.OPERATOR_OVER)

    def _draw(self, shown: Shown) -> None:
        ctx, box = self.pen.ctx, self.px(shown.box)
        ctx.save()
        ctx.rectangle(*box)
        ctx.clip()
        if shown.opacity == 1:
            shown.actor.draw(self.pen, box)
        else:
            ctx.push_group()
            shown.actor.draw(self.pen, box)
            ctx.pop_group_to_source()
            ctx.paint_with_alpha(shown.opacity)
        ctx.restore()

    def px(self, box: Box) -> Box:
        """A box of the board in whole px."""
        return _px(box, self.unit, self.left, self.top)


@lru_cache(maxsize=1024)  # most boxes stay where they are
def _px(box: Box, unit: float, left: float, top: float) -> Box:
    x, y, w, h = (side * unit for side in box)
    return Box(left + x, top + y, w, h).whole()


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes that cover the same and more, and do not overlap. One at a time is drawn into: under a clip that is not a
    plain rectangle cairo rounds otherwise, and a frame would depend on the one before it."""
    found: list[Box] = []
    for box in boxes:
        while others := [other for other in found if other.overlaps(box)]:
            found = [other for other in found if other not in others]
            x, y = min(o.x for o in (box, *others)), min(o.y for o in (box, *others))
            right, bottom = max(o.right for o in (box, *others)), max(o.bottom for o in (box, *others))
            box = Box(x, y, right - x, bottom - y)
        found.append(box)
    return found
