"""Several films of one head: it is read once, and each film takes of the options what it has a use for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import films
from .input import OF_AN_INPUT, Input
from .storyboard import Storyboard, said


def several(names: Iterable[str], theme: str | None, options: Mapping[str, Any]) -> dict[str, Storyboard]:
    """Films by name, of these options. Raises ValueError for an input that can't be read."""
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if given.keys() & {*OF_AN_INPUT}:
        given = {**without_input(given), "input": Input().qkv(given.get)}
    return {name: films.load(name)(theme=theme, **given) for name in names}


def without_input(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, but for those that say of which input it is."""
    return {name: value for name, value in options.items() if name not in OF_AN_INPUT}


class Unsuited(NamedTuple):
    """An option that none of the films has a use for, as it was given, or ""; and why films can't be told, by name."""

    option: str
    films: dict[str, ValueError]


def suit(told: Mapping[str, Storyboard], shape: str, options: Mapping[str, Any]) -> Unsuited:
    """Tell each in a shape, of what it has a use for of the options that were given for all.

    A film that shows a head without the mask that was asked for is warned of: its scores are others.
    """
    unread, failed, bare = list[list[str]](), dict[str, ValueError](), list[str]()
    for name, film in told.items():
        try:
            unread.append(film.suit(shape))
        except ValueError as error:
            failed[name] = error
        else:
            masked = [run.meta["mask"] for run in film.runs]
            bare += [name] * ("mask" in unread[-1] and len(masked) > 0 and not any(masked))
    left = [name for name in (unread or [[]])[0] if all(name in names for names in unread)]
    asked = [name for name in OF_AN_INPUT if options.get(name) is not None] if left[:1] == ["input"] else left
    if bare and not asked and not failed and str(options["mask"]) != "none":
        warnings.warn(f"these films have no mask, and show the head without it: {', '.join(bare)}", stacklevel=4)
    return Unsuited(said(asked[0], options) if asked else "", failed)
