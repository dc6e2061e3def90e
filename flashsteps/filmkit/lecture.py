"""The lecture: all films in the order of a talk as one film, with a title before each."""

from __future__ import annotations

from dataclasses import replace

from . import films
from .card import card
from .chain import chained
from .script import Script
from .storyboard import Storyboard


class Lecture(Storyboard):
    """Takes what every film takes: a theme, and the cut."""

    title = "FlashAttention, step by step"

    def script(self, shape: str = "wide") -> Script:
        """Raises ValueError where one of the films cannot be told like that."""
        if shape not in self._scripts:
            links: list[Script] = []
            for name in films.names():
                try:
                    told = films.load(name)(theme=self.theme, **self.chosen).script(shape)
                except ValueError as error:
                    raise ValueError(f"the film {name!r} can't be told: {error}") from error
                marks = tuple(c._replace(name=f"{told.title}: {c.name}") for c in told.chapters)
                links += [card(shape, films.section(name), told.title), replace(told, chapters=marks)]
            self._scripts[shape] = chained(self.title, links)
        return self._scripts[shape]
