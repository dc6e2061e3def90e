"""What a film shows at a moment: the actors that are there, plain, as a painter gets them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import flashsteps as fs
from flashsteps.filmkit.script import Script


class Told:
    """A film's script, told when it is first looked at: not while tests are collected."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _script(self) -> Script:
        return fs.film(self._name).script()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._script, name)


def actors(script: Script | Told, when: str | float, kind: type) -> list[Any]:
    """Those of a kind, at a time or just before a chapter (by name) is over."""
    t = script.time(when) - 0.1 if isinstance(when, str) else when
    return [shown.actor for shown in script.at(t) if isinstance(shown.actor, kind) and shown.opacity == 1]


def actor(script: Script | Told, when: str | float, kind: type) -> Any:
    """The one of this kind."""
    (found,) = actors(script, when, kind)
    return found


def said(script: Script | Told) -> str:
    """All captions, one a line."""
    return "\n".join(caption.name for caption in script.captions)
