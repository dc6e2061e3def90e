"""What a talk is, as plain data: columns of slides, one for each film, whatever file they go to.

A slide is a card, which is words, or a chapter of a film. What to say is in its notes: the speaker's words, what to
point at, what the picture says, where its figures are from, and how long it plays.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from .. import algorithms
from ..errors import shorten
from ..filmkit import films, several, spoken
from ..filmkit.reel import Reel
from ..filmkit.script import Script, Span
from ..trace import narration
from ..trace.trace import Trace
from .words import words

TITLE, SUBTITLE = "FlashAttention", "Fast and exact attention, step by step: films that are drawn from real runs."

LONGEST = 100  # characters of either: as many as fit on the first slide
#: what is no character of a line: controls, ends of lines, what turns the writing round, halves of characters
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Link(NamedTuple):
    """Where to read on: what it is, what is written of its address, and the address."""

    name: str
    words: str
    address: str


def paper(name: str, number: str) -> Link:
    return Link(name, f"arXiv:{number}", f"https://arxiv.org/abs/{number}")


LINKS = (
    paper("FlashAttention", "2205.14135"),
    paper("FlashAttention-2", "2307.08691"),
    paper("FlashAttention-3", "2407.08608"),
    paper("Online softmax", "1805.02867"),
    Link("Their code", "flash-attention", "https://github.com/Dao-AILab/flash-attention"),
    Link("PyTorch’s own", "docs.pytorch.org",
         "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html"),
    Link("FlexAttention", "pytorch.org/blog", "https://pytorch.org/blog/flexattention/"),
)  # fmt: skip
THIS = "The papers, and the code. The films are made by flashsteps."

#: how a talk ends: with links that can be clicked; a film's chapter of that name, where they can't, is left out of it
READ_ON = "Read on"
NEXT = "The first paper is worth reading for its argument, the second for its loops. Thank people, and take questions."


class Card(NamedTuple):
    """A slide of words: the section, a title, a line below it, and links; on the first, which `opens`, who gives it."""

    section: str
    title: str
    words: str
    notes: str
    links: tuple[Link, ...] = ()
    opens: bool = False
    by: str = ""

    @property
    def name(self) -> str:
        return self.title

    @property
    def above(self) -> str:
        """The section, where the title doesn't say it."""
        return self.section if self.section != self.title else ""


class Chapter(NamedTuple):
    """A slide that plays a chapter of a film."""

    film: Reel
    script: Script
    span: Span

    @property
    def name(self) -> str:
        return f"{self.film.title}: {self.span.name}"

    @property
    def said(self) -> tuple[str, ...]:
        return spoken.captions(self.script, self.span)

    @property
    def notes(self) -> str:
        notes, small = list[str](), "; ".join(spoken.small_print(self.script, self.span))
        if told := words().get((self.film.name, self.span.name)):
            own = told.of(f"{self.words} {small}", self._of_sample)
            notes += [own.say, f"Point at {own.point}."]
        notes.append(f"On the slide: {self.words}")
        if small:
            notes.append(f"In small print: {small.removesuffix('.')}.")
        return "\n\n".join([*notes, f"Plays {self.span.stop - self.span.start:.0f} seconds, then stands."])

    @property
    def words(self) -> str:
        return " ".join(self.said)

    @property
    def _of_sample(self) -> bool:
        return any((run.meta["input"] or {}).get("kind") == "sample" for run in self.film.told.runs)


Slide: TypeAlias = Card | Chapter
Column: TypeAlias = list[Slide]


def plan(
    names: Sequence[str],
    shape: str,
    theme: str | None = None,
    cut: str | None = None,
    *,
    title: str | None = None,
    by: str | None = None,
    **options: Any,
) -> list[Column]:
    """The columns of a talk of these films, each told of what it has a use for of the options.

    Raises ValueError for a film that isn't known, or can't be told so, and for an option that none of them takes.
    """
    first = "In this talk: " + ", ".join(dict.fromkeys(map(films.section, names))) + "."
    of, who = TITLE if title is None else check("title", title), "" if by is None else check("by", by)
    opens = Card("", of, SUBTITLE, first, opens=True, by=who)
    told = _films(names, theme, {"cut": cut, **options})
    closing = Card("", READ_ON, THIS, NEXT, LINKS)
    return [[opens], *(_column(film, shape) for film in told), [closing]]


def opening_of(columns: Sequence[Column]) -> Card:
    """The first slide."""
    first = columns[0][0]
    assert isinstance(first, Card)
    return first


def check(name: str, words: str) -> str:
    """The words of a title, or of who gives the talk. Raises ValueError for what is not one line that can be read."""
    words = words.strip()
    if found := _CONTROLS.search(words):
        sign = f"U+{ord(found[0]):04X}"
        raise ValueError(f"{name}: {shorten(words, 40)!r} has a control character, {sign}: leave that out")
    if not words:
        raise ValueError(f"{name}: it is empty: give words, or leave it out")
    if len(words) > LONGEST:
        raise ValueError(f"{name}: {shorten(words, 40)!r} has {len(words)} characters: give at most {LONGEST}")
    return words


def chapters(columns: Sequence[Column]) -> list[Chapter]:
    """All chapters, in their order."""
    return [slide for column in columns for slide in column if isinstance(slide, Chapter)]


def _films(names: Sequence[str], theme: str | None, options: Mapping[str, Any]) -> list[Reel]:
    told = several.several(names, theme, options)
    unread, failed = several.suit(told, "wide", options)
    for name, error in failed.items():
        rest = [other for other in names if other not in failed]
        advice = f"; or leave it out: films={','.join(rest)}" if rest and not unread else ""
        raise ValueError(f"the film {name!r} can't be told: {error}{advice}") from error
    if unread:
        raise ValueError(f"none of these films takes {unread}: leave it out")
    return [Reel(name, film) for name, film in told.items()]


def _column(film: Reel, shape: str) -> Column:
    script = film.script(shape)
    chapters = [Chapter(film, script, span) for span in script.chapters if span.name != READ_ON]
    lasts = f"{len(chapters)} chapters play {sum(c.span.stop - c.span.start for c in chapters):.0f} seconds in all."
    notes = "\n\n".join([film.summary, *_algorithms(film.told.runs), lasts])
    card = Card(films.section(film.name), film.title, _told(film), notes)
    return [card, *chapters]


def _told(film: Reel) -> str:
    """What a film is about, without its title, which stands above."""
    words = film.summary.removeprefix(f"{film.title}: ")
    return words[:1].upper() + words[1:]


def _algorithms(runs: Sequence[Trace]) -> Iterator[str]:
    """What ran in a film: how its file describes each algorithm; and of one alone, what its lines do, in order."""
    of = {run.meta["algorithm"]: run for run in runs}
    for name in of:
        doc = ast.get_docstring(ast.parse(algorithms.source(name))) or ""
        yield f"{name}: {' '.join(doc.split())}"
    if len(of) == 1:
        (run,) = of.values()
        lines, ran = narration.of(run.meta), {event.line for event in run}
        steps = dict.fromkeys(line.caption for number, line in lines.items() if number in ran and line.caption)
        yield f"Its lines, in their order: {' '.join(steps)}"
