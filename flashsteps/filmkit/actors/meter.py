"""The meter: bytes between HBM and SRAM so far, by tensor, read and written, over what standard attention moves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import theme
from ...machine.devices import MODEL
from ...units import size_of
from ..boxes import Box
from .of_run import OfRun

if TYPE_CHECKING:
    from ..pen import Pen


@dataclass(frozen=True)
class Meter(OfRun):
    """`standard` is whether standard attention's whole is a dashed ghost below; `most` bytes are the end of the axis
    (unless given, the larger of both wholes). `words` is what is said of the bar."""

    standard: bool = True
    most: float | None = None
    words: str = "HBM traffic so far"

    def seen(self) -> Hashable:
        return tuple(sorted(self.run.moved(self.now).items()))

    def draw(self, pen: Pen, box: Box) -> None:
        moved = self.run.moved(self.now)
        most = self.most or max(self.run.total.total, self.run.standard.total * self.standard)
        read, written = (sum(pair[side] for pair in moved.values()) for side in (0, 1))
        wide = box.w >= pen.px(1200)
        left = box.x + (pen.px(270) if wide else pen.px(150))
        figure = round(pen.figure_width("00.0 KB"))
        scale = max(1, box.right - left - figure - pen.px(20)) / max(1, most)
        rows = 3 if self.standard else 2
        pitch = min(pen.px(52), box.h // rows)
        high = min(pen.px(34), round(pitch * 0.68))
        base = round(high / 2 + pen.px(10))
        pen.label(box.x, box.y + base, self.words if wide else "moved", room=left - box.x - pen.px(12))
        end = bar(pen, left, box.y, high, scale, moved)
        pen.figure(end + pen.px(16), box.y + base, size_of(read + written))
        y = box.y + pitch
        if self.standard:
            pen.label(box.x, y + base, "standard, in all" if wide else "standard", room=left - box.x - pen.px(12))
            ghost = Box(left, y, round(self.run.standard.total * scale), high)
            pen.frame(ghost, "dim", radius=4, dash=8)
            pen.figure(ghost.right + pen.px(16), y + base, size_of(self.run.standard.total), "dim")
            y += pitch
        x: float = left if wide else box.x
        for words, nbytes, hatched in (("read", read, False), ("written", written, True)):
            swatch = Box(x, y + base - pen.px(22), pen.px(34), pen.px(24)).whole()
            if pen.fits(theme.LABEL):
                pen.fill(swatch, "dim")
                if hatched:
                    pen.hatch(swatch, "bg")
            x = swatch.right + pen.px(12)
            x += pen.label(x, y + base, words, "ink") + pen.px(14)
            pen.figure(x, y + base, size_of(nbytes))
            x += max(pen.figure_width("00.0 KB"), pen.figure_width(size_of(nbytes))) + pen.px(36)
        if x + pen.width(MODEL, theme.LABEL) <= box.right:
            pen.label(box.right, y + base, MODEL, align="right")


def bar(pen: Pen, x: float, y: float, h: float, scale: float, moved: Mapping[str, tuple[int, int]]) -> int:
    """Bytes as a bar from x: each tensor in its hue, read solid, with its name, written hatched. Gives its end."""
    from ...theme import ink_on

    at = float(x)
    for name in sorted(moved, key=lambda name: theme.ORDER.index(name) if name in theme.ORDER else 99):
        for nbytes, hatched in zip(moved[name], (False, True), strict=True):
            left, right = round(at), round(at + nbytes * scale)
            if right > left:
                piece = Box(left, y, right - left, h)
                pen.fill(piece, theme.hue(name))
                if hatched:
                    pen.hatch(piece, "bg")
                elif right - left > pen.width(theme.label(name), theme.LABEL, weight=700) + pen.px(20) and h >= pen.px(
                    32
                ):
                    ink = ink_on(pen.color(theme.hue(name)))
                    middle, base = (left + right) / 2, y + h / 2 + pen.px(10)
                    pen.label(middle, base, theme.label(name), ink, weight=700, align="center")
            at += nbytes * scale
    return round(at)
