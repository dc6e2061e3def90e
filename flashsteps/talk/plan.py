"""What a talk is, as plain data: columns of slides, one for each film, whatever file they go to.

A slide is a card, which is words, or a chapter of a film. What to say is in its notes: what the chapter says itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ..filmkit import films, reel
from ..filmkit.reel import Reel
from ..filmkit.script import Script, Span, unmarked

TITLE, SUBTITLE = "FlashAttention", "Fast and exact attention, step by step: films that are drawn from real runs."


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
)
THIS = "The papers, and their code. The films are made by flashsteps."


class Card(NamedTuple):
    """A slide of words: the section, a title, a line below it, and links."""

    section: str
    title: str
    words: str
    notes: str
    links: tuple[Link, ...] = ()

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
        said = (c.name for c in self.script.captions if self.span.start <= c.start < self.span.stop)
        return tuple(map(unmarked, said))

    @property
    def notes(self) -> str:
        return "\n\n".join(self.said)

    @property
    def words(self) -> str:
        return " ".join(self.said)


Slide: TypeAlias = Card | Chapter
Column: TypeAlias = list[Slide]


def plan(names: Sequence[str], shape: str, theme: str | None = None, cut: str | None = None) -> list[Column]:
    """The columns of a talk of these films. Raises ValueError for a film that isn't known, or can't be told so."""
    opening = Card("", TITLE, SUBTITLE, "In this talk: " + ", ".join(dict.fromkeys(map(films.section, names))) + ".")
    told = [_film(name, theme=theme, cut=cut) for name in names]
    closing = Card("", "Read on", THIS, "The papers, and the code.", LINKS)
    return [[opening], *(_column(film, shape) for film in told), [closing]]


def chapters(columns: Sequence[Column]) -> list[Chapter]:
    """All chapters, in their order."""
    return [slide for column in columns for slide in column if isinstance(slide, Chapter)]


def _film(name: str, **options: Any) -> Reel:
    try:
        return reel.film(name, **options)
    except ValueError as error:
        raise ValueError(f"the film {name!r} can't be told: {error}; or leave it out of films=") from error


def _column(film: Reel, shape: str) -> Column:
    script = film.script(shape)
    notes = f"{film.summary}\n\n{len(script.chapters)} chapters, {script.duration:.0f} seconds."
    card = Card(films.section(film.name), film.title, _told(film), notes)
    return [card, *(Chapter(film, script, span) for span in script.chapters)]


def _told(film: Reel) -> str:
    """What a film is about, without its title, which stands above."""
    words = film.summary.removeprefix(f"{film.title}: ")
    return words[:1].upper() + words[1:]
