"""One-line errors: what was given, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """`unknown film 'flsh': did you mean 'flash-forward'? known are …`, with the nearest name if one is near."""
    names, start = list(known), str(given).lower()
    near = [name for name in names if start and name.startswith(start)] or difflib.get_close_matches(
        start, names, 1, 0.4
    )
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"unknown {what} {given!r}: {hint}known are {', '.join(names)}"
