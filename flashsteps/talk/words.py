"""The speaker's words (words.md), by film and chapter. A test holds that each chapter has some, and none is left."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Words(NamedTuple):
    """What to say, a sentence or some; what to point at, as it follows "Point at"."""

    say: str
    point: str


@cache
def words() -> dict[tuple[str, str], Words]:
    """All there are, by film and chapter."""
    text, found = Path(__file__).with_suffix(".md").read_text(encoding="utf-8"), dict[tuple[str, str], Words]()
    for film, chapters in re.findall(r"^# (.+)\n((?:(?!# ).*\n)*)", text, re.MULTILINE):
        for chapter, say, point in re.findall(r"^## (.+)\n(.+)\n→ (.+)$", chapters, re.MULTILINE):
            found[film, chapter] = Words(say, point)
    return found
