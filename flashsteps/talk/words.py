"""The speaker's words (words.md), by film and chapter. A test holds that each chapter has some, and none is left."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """What may be said, and where: of the bundled head alone (`sample`), or where the slide has words ("…" parts
    them)."""

    sample: str
    phrase: str
    words: str

    def holds(self, slide: str, of_sample: bool) -> bool:
        return (of_sample or not self.sample) and all(part in slide for part in self.phrase.split(" … "))


class Words(NamedTuple):
    """What to say, a sentence or some; what to point at, as it follows "Point at"."""

    say: str
    point: str


class Told(NamedTuple):
    """All that may be said of a chapter; of the lines that hold, the last one is."""

    say: tuple[Line, ...]
    point: tuple[Line, ...]

    def of(self, slide: str, of_sample: bool) -> Words:
        """What is to be said where the slide reads so, and shows the bundled head or another."""
        return Words(*([line.words for line in lines if line.holds(slide, of_sample)][-1] for lines in self))


@cache
def words() -> dict[tuple[str, str], Told]:
    """All there are, by film and chapter."""
    text, found = Path(__file__).with_suffix(".md").read_text(encoding="utf-8"), dict[tuple[str, str], Told]()
    for film, chapters in re.findall(r"^# (.+)\n((?:(?!# ).*\n)*)", text, re.MULTILINE):
        for chapter, say, point in re.findall(r"^## (.+)\n((?:[^#→\n].*\n)+)((?:→ .+\n)+)", chapters, re.MULTILINE):
            found[film, chapter] = Told(_lines(say), _lines(point.replace("→ ", "")))
    return found


def _lines(text: str) -> tuple[Line, ...]:
    return tuple(Line(*line) for line in re.findall(r"^(?:\((sample)? ?(?:“(.+)”)?\) )?(.+)$", text, re.M))
