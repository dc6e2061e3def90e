"""A row's new sum: the old one and the tile's own, each against a max of its own, and the factors α and β of both."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from ...story.written import Equals, Places, Term, places
from ..boxes import Box
from .actor import Actor

if TYPE_CHECKING:
    from ..pen import Pen

#: units after words, and after figures
APART = 12, 20

#: words, or with `True` figures, and their hue
Said = tuple[str, str, bool]


@dataclass(frozen=True)
class Rescale(Actor):
    """Max and sum of `row`: the old one, the tile's, the new one (FA1). `step` is how far it is told: 0 the old sum and
    the tile's, and the `factors` that the new max gives both; 1 they have shrunk by these; 2 the new sum. Between them
    lengths glide, without a number."""

    row: str
    m: tuple[float, float, float]
    factors: tuple[float, float]
    l: tuple[float, float, float]
    step: float = 0.0

    def draw(self, pen: Pen, box: Box) -> None:
        wide, of = box.w >= pen.px(1200), self.written()
        left = box.x + pen.px(330 if wide else 236)
        pitch = min(pen.px(52), box.h // 3)
        high = min(pen.px(36), round(pitch * 0.72))
        base = round(high / 2 + pen.px(10))
        names = (f"max of {self.row}", "factors", "ℓ_{new} = α ℓ_{old} + β ℓ_{tile}")
        for n, name in enumerate(names if wide else ("max", "factors", "α ℓ_{old} + β ℓ_{tile}")):
            pen.label(box.x, box.y + n * pitch + base, name, room=left - box.x - pen.px(16))
        old, tile, new = (of.write("m", x) for x in self.m)
        larger = "the larger: " * wide + "m_{new}"
        three = (("m_{old}", old, "stat"), ("m_{tile}", tile, "S"), (larger, new, "ink"))
        _say(
            pen, left, box.y + base, [said for words, x, hue in three for said in ((words, hue, False), (x, hue, True))]
        )
        half, factors = (box.right - left) // 2, (("α", old, "stat"), ("β", tile, "S"))
        for n, ((name, was, hue), factor) in enumerate(zip(factors, self.factors, strict=True)):
            powers = (f"exp({was} − {new})", "dim", True), (f"e^{{{was} − {new}}}", "dim", False)
            equals = f"= {of.write('factor', factor)}"
            wordings: list[list[Said]] = [[(f"{name} =", hue, False), power, (equals, hue, True)] for power in powers]
            how = next((some for some in wordings if _width(pen, some) <= half), [(f"{name} {equals}", hue, True)])
            _say(pen, left + n * half, box.y + pitch + base, how)
        self._sum(pen, Box(left, box.y + 2 * pitch, box.right - left, high), base, of)

    def written(self) -> Places:
        """With how many places its max, factors, sums and the new sum stand."""
        (*m, new), (old, tile, whole) = self.m, self.l
        factors = [Term("factor", factor) for factor in self.factors]
        equations = [
            Equals(factor, lambda was, now: exp(was - now), (Term("m", x), Term("m", new)))
            for factor, x in zip(factors, m, strict=True)
        ]
        terms = (*factors, Term("ℓ", old), Term("ℓ", tile))
        equations.append(Equals(Term("new", whole), lambda a, b, x, y: a * x + b * y, terms))
        moved = Term("m", min(m)), Term("m", new)
        return places(equations, [moved, *((factor, Term("factor", 1.0)) for factor in factors)])

    def _sum(self, pen: Pen, box: Box, base: int, of: Places) -> None:
        """The sum as a bar: what counts of the old one, and of the tile's own, in the hue of its weights."""
        old, tile, new = self.l
        kept, added = (x * f for x, f in zip((old, tile), self.factors, strict=True))
        shrunk = min(1.0, max(0.0, self.step))
        lengths = [x + (y - x) * shrunk for x, y in ((old, kept), (tile, added))]
        a, b, whole = of.write("ℓ", old), of.write("ℓ", tile), of.write("new", new)
        alpha, beta = (of.write("factor", factor) for factor in self.factors)
        products: list[Said] = [(f"{alpha} × {a}", "stat", True), ("+", "dim", True), (f"{beta} × {b}", "S", True)]
        parts: list[list[Said]] = [
            [("ℓ_{old}", "stat", False), (a, "stat", True), ("ℓ_{tile}", "S", False), (b, "S", True)],
            products,
            [*products, ("≈", "dim", True), (whole, "ink", True)],
        ]
        longest = max(_width(pen, some) for some in parts)
        scale = max(1.0, box.w - longest - pen.px(16)) / max(old + tile, new, 1e-9)
        pen.frame(Box(box.x, box.y, round((old + tile) * scale), box.h), "faint", radius=4, dash=6)
        at = box.x
        for length, hue in zip(lengths, ("stat", "S"), strict=True):
            end = at + round(length * scale)
            pen.fill(Box(at, box.y, end - at, box.h), hue, radius=3)
            at = end
        if self.step == int(self.step):  # on its way it is no sum that ever was
            x = box.x + round(max(old + tile, new) * scale) + pen.px(16)
            _say(pen, x, box.y + base, parts[int(self.step)])


def _say(pen: Pen, x: float, y: float, said: list[Said]) -> None:
    """One after the other; more apart after figures."""
    for words, color, mono in said:
        x += (pen.figure if mono else pen.label)(x, y, words, color) + pen.px(APART[mono])


def _width(pen: Pen, said: list[Said]) -> float:
    from ...theme import LABEL

    return sum(
        (pen.figure_width(words) if mono else pen.width(words, LABEL)) + pen.px(APART[mono]) for words, _, mono in said
    )
