"""The lecture: all films in the order of a talk as one, with a title before each, and a card before and after all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import films
from .card import card
from .chain import chained
from .script import Script
from .several import several, suit, without_input
from .storyboard import Storyboard

if TYPE_CHECKING:
    from ..trace.trace import Trace

OPENING = "FlashAttention", "Fast and exact attention, step by step: films that are drawn from real runs."
ENDING = "The end", "Drawn by flashsteps, from runs, counts and published figures. Each film can be made anew."


class Lecture(Storyboard):
    """Takes what any of its films does; each is told of what it has a use for."""

    title = "FlashAttention, step by step"

    def script(self, shape: str = "wide") -> Script:
        """Raises ValueError where a film can’t be told like that, and for an option that none of them takes."""
        if shape not in self._scripts:
            unread, failed = suit(self._films, shape, self.chosen)
            for name, error in failed.items():
                advice = "`flashsteps talk --films` can leave it out"
                raise ValueError(f"the film {name!r} can't be told: {error}; {advice}") from error
            if unread:
                raise ValueError(f"none of the lecture’s films takes {unread}: leave it out")
            links = [card(shape, "", *OPENING)]
            for name, film in self._films.items():
                told = film.script(shape)
                marks = tuple(c._replace(name=f"{told.title}: {c.name}") for c in told.chapters)
                links += [card(shape, films.section(name), told.title), replace(told, chapters=marks)]
            self._scripts[shape] = chained(self.title, [*links, card(shape, "", *ENDING)])
        return self._scripts[shape]

    @cached_property
    def _films(self) -> dict[str, Storyboard]:
        """Each is told once, in all shapes, from what it has read and recorded itself."""
        return several(films.names(), self.theme, self.chosen)

    # ---- what all of them have read and recorded

    @property
    def words(self) -> str:
        return "".join(film.words for film in self._films.values())

    @property
    def runs(self) -> tuple[Trace, ...]:
        return tuple(run for film in self._films.values() for run in film.runs)

    @property
    def made(self) -> Mapping[Any, Any]:
        return {name: film.made for name, film in self._films.items()}

    def again(self, made: Mapping[Any, Any]) -> None:
        self._films = several(made, self.theme, without_input(self.chosen))  # which has been read
        for name, of in made.items():
            self._films[name].again(of)
