"""A max that moves, of one row: the factor α that it gives, and what becomes of the old sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..boxes import Box
from .actor import Actor

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Rescale(Actor):
    """`step` is how far it is told: 0 the old max and sum, 1 the new max and α, 2 the old sum has shrunk, 3 what is new
    has been added. Between them lengths glide, without a number. `base` is that of the exponentials."""

    row: str
    by: str
    m: tuple[float, float]
    alpha: float
    l: tuple[float, float]
    step: float = 0.0
    base: str = "e"

    def draw(self, pen: Pen, box: Box) -> None:
        from ...units import number

        m_old, m_new = self.m
        wide = box.w >= pen.px(1200)
        left = box.x + pen.px(270 if wide else 190)
        pitch = min(pen.px(52), box.h // 3)
        high = min(pen.px(36), round(pitch * 0.72))
        base = round(high / 2 + pen.px(10))
        names = (f"max of {self.row}", "α", "its sum ℓ") if wide else ("max", "α", "its ℓ")
        for n, name in enumerate(names):
            pen.label(box.x, box.y + n * pitch + base, name, room=left - box.x - pen.px(16))
        y = box.y + base
        x = left + pen.figure(left, y, number(m_old, 2), "dim" if self.step >= 1 else "stat") + pen.px(18)
        if self.step >= 1:
            x += pen.label(x, y, "→") + pen.px(18)
            x += pen.figure(x, y, number(m_new, 2), "stat") + pen.px(18)
            pen.label(x, y, f"by {self.by}", room=box.right - x)
            y += pitch
            exponent = f"({number(m_old, 2)} − {number(m_new, 2)})"
            words = f"exp{exponent}" if self.base == "e" else f"{self.base}^{exponent}"
            x = left + pen.figure(left, y, words) + pen.px(18)
            pen.figure(x, y, f"= {self.alpha:.2f}", "stat")
        self._sum(pen, Box(left, box.y + 2 * pitch, box.right - left, high), base)

    def _sum(self, pen: Pen, box: Box, base: int) -> None:
        """The sum as a bar: what is left of the old one in its hue, what the new tile adds in that of its weights."""
        from ...units import number

        l_old, l_new = self.l
        old, added, whole = number(self.alpha * l_old, 2), number(l_new - self.alpha * l_old, 2), number(l_new, 2)
        parts = {
            2: ((f"{self.alpha:.2f}", "stat"), (f" × {number(l_old, 2)} ≈ ", "dim"), (old, "stat")),
            3: ((old, "stat"), (" + ", "dim"), (f"{added} of this tile", "S"), (" = ", "dim"), (whole, "ink")),
        }
        longest = max(sum(pen.figure_width(words) for words, _ in some) for some in parts.values())
        if longest > 0.5 * box.w:
            parts[3] = ((old, "stat"), (" + ", "dim"), (added, "S"), (" = ", "dim"), (whole, "ink"))
            longest = max(sum(pen.figure_width(words) for words, _ in some) for some in parts.values())
        roomy = longest <= 0.6 * box.w
        scale = (box.w - (longest if roomy else pen.figure_width("00.00")) - pen.px(24)) / max(l_old, l_new, 1e-9)
        kept = l_old * (1 + (self.alpha - 1) * min(1.0, max(0.0, self.step - 1)))
        new = (l_new - self.alpha * l_old) * min(1.0, max(0.0, self.step - 2))
        pen.frame(Box(box.x, box.y, round(l_old * scale), box.h), "faint", radius=4, dash=6)
        bar = Box(box.x, box.y, round(kept * scale), box.h)
        pen.fill(bar, "stat", radius=3)
        if new > 0:
            pen.fill(Box(bar.right, box.y, round(new * scale), box.h), "S", radius=3)
        if self.step != int(self.step):  # on its way it is no sum that ever was
            return
        shown = (
            parts.get(int(self.step), ((number(kept + new, 2), "ink"),)) if roomy else ((number(kept + new, 2), "ink"),)
        )
        x = max(bar.right, box.x + round(l_old * scale), box.x + round((kept + new) * scale)) + pen.px(16)
        for words, color in shown:
            x += pen.figure(x, box.y + base, words, color)
