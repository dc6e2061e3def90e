"""One number: what it is, what it is now, and how it was made, with the values filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...theme import BODY, LABEL, TITLE
from ...units import fixed
from ..boxes import Box
from .actor import Actor
from .writing import line, width, write

if TYPE_CHECKING:
    from ..pen import Pen

PAD = 24


@dataclass(frozen=True)
class Number(Actor):
    """`says` is what it is, `how` how it was made. `lit` is the name of the number that matters now, if any does.

    A value of None is not known yet: its place stays empty. `bare` is without a panel around it.
    """

    name: str
    value: float | str | None
    how: str = ""
    says: str = ""
    hue: str = "stat"
    places: int = 2
    lit: str = ""
    bare: bool = False

    def draw(self, pen: Pen, box: Box) -> None:
        lit = bool(self.lit) and self.lit == self.name
        if not self.bare:
            pen.fill(box, "panel", radius=18)
            pen.frame(box, self.hue if lit else "line", width=4 if lit else 2, radius=18)
            box = box.inset(pen.px(PAD), pen.px(PAD * 0.6))
        rows = min(
            3, int(box.h / line(pen, LABEL))
        )  # what it is called, the number, how it was made: each has its place
        above, below = (line(pen, LABEL) if rows >= n and pen.fits(LABEL) else 0 for n in (2, 3))
        above = above if self.says else 0
        write(pen, Box(box.x, box.y, box.w, above), self.says, LABEL, "dim")
        write(pen, Box(box.x, box.bottom - below, box.w, below), self.how, LABEL, mono=True)
        if self.value is None:
            return
        shown = self.value if isinstance(self.value, str) else fixed(self.value, self.places, 2)
        named, middle = f"{self.name} = " if self.name else "", Box(box.x, box.y + above, box.w, box.h - above - below)
        most = named + max(shown, "0.00", key=len)  # so that −∞ is as large as what follows it
        tall = middle.h >= line(pen, TITLE) and width(pen, most, TITLE, weight=600, mono=True) <= middle.w
        size = TITLE if tall else BODY
        left = write(pen, middle, named, size, "ink", weight=600, mono=True)
        after = Box(middle.x + left, middle.y, middle.w - left, middle.h)
        left += write(pen, after, shown, size, self.hue, weight=600, mono=True)
        if self.how and not below and width(pen, self.how, LABEL, mono=True) + pen.px(12) <= middle.w - left:
            write(pen, middle, self.how, LABEL, "dim", mono=True, align="right")
