"""Scripts that follow each other as one script: what it shows at t is what that one shows whose turn it is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from .script import Script, Shown, Span


@dataclass(frozen=True)
class Chain(Script):
    """`links` are the scripts, `starts` when each begins, on the clock of the board."""

    links: tuple[Script, ...] = ()
    starts: tuple[float, ...] = ()

    def at(self, t: float) -> tuple[Shown, ...]:
        when = t * self.pace
        n = self._turn(when)
        before = sum(len(link.parts) for link in self.links[:n])
        shown = self.links[n].at(min(when - self.starts[n], self.links[n].duration))
        return tuple(s._replace(part=before + s.part) for s in shown)

    def looks(self, number: int) -> str:
        n = self._turn(self.chapters[number].start * self.pace + 1e-6)
        return f"{self.links[n].looks(number - sum(len(link.chapters) for link in self.links[:n]))} {self.pace}"

    def _turn(self, when: float) -> int:
        return max(0, bisect_right(self.starts, when) - 1)


def chained(title: str, links: Sequence[Script]) -> Chain:
    """One script of several in the same shape, with all their chapters and captions."""
    starts = tuple(accumulate((link.duration for link in links), initial=0.0))

    def later(spans: Sequence[Span], start: float) -> list[Span]:
        return [Span(name, start + begin, start + stop) for name, begin, stop in spans]

    pairs = list(zip(links, starts, strict=False))
    return Chain(
        links[0].shape,
        title,
        starts[-1],
        tuple(part for link in links for part in link.parts),
        tuple(span for link, start in pairs for span in later(link.chapters, start)),
        tuple(span for link, start in pairs for span in later(link.captions, start)),
        links=tuple(links),
        starts=starts[:-1],
    )
