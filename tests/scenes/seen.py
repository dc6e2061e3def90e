"""What a film shows at a moment: the actors that are there, plain, as a painter gets them."""

from __future__ import annotations

from typing import Any

from flashsteps.filmkit.script import Script


def actors(script: Script, when: str | float, kind: type) -> list[Any]:
    """Those of a kind, at a time or just before a chapter (by name) is over."""
    t = script.time(when) - 0.1 if isinstance(when, str) else when
    return [shown.actor for shown in script.at(t) if isinstance(shown.actor, kind) and shown.opacity == 1]


def actor(script: Script, when: str | float, kind: type) -> Any:
    """The one of this kind."""
    (found,) = actors(script, when, kind)
    return found


def said(script: Script) -> str:
    """All captions, one a line."""
    return "\n".join(caption.name for caption in script.captions)
