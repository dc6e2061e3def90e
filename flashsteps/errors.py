"""One-line errors: what was given, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shorten(text: str, most: int) -> str:
    """A text fit for one line: only signs that can be seen, and at most `most` of them."""
    clean = "".join(sign if sign.isprintable() else "·" for sign in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """`unknown film 'flsh': did you mean 'flash-forward'? known are …`, with the nearest name if one is near."""
    names, start = list(known), str(given).lower()
    near = [name for name in names if start and name.startswith(start)] or difflib.get_close_matches(
        start, names, 1, 0.4
    )
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"unknown {what} {given!r}: {hint}known are {', '.join(names)}"
