"""What to paste where a film of the gallery is to stand: dark and light, a still for who wants no motion, and words."""

from __future__ import annotations

import html
from collections.abc import Callable

from .. import theme
from ..errors import unknown
from ..units import size_of
from . import films, reel
from .gallery import Piece


def alt(name: str, cut: str = "full") -> str:
    """What a film shows, for who does not see it: its own first sentence, and what ran in it, from the runs."""
    shown = reel.film(name, cut=cut)
    said = [films.summary(name)]
    for run in shown.told.runs:
        meta = run.meta
        blocks = f"in blocks of {meta['block_q']} and {meta['block_k']}, " if meta.get("block_q") else ""
        size = f"{meta['queries']} queries and {meta['keys']} keys of {meta['d']} numbers"
        said.append(f"A run of {meta['algorithm']} on {size}, {blocks}moves {size_of(run.io().total)}.")
    return " ".join(dict.fromkeys(said))


def lines(name: str, form: str = "html", *, cut: str = "short", folder: str = "renders", width: int = 800) -> list[str]:
    """The lines to paste, for one of FORMS; the gallery lies in `folder`, a path or a URL.

    Raises ValueError for a film or a form that isn't known.
    """
    if form not in FORMS:
        raise ValueError(unknown("form", form, FORMS))
    return FORMS[form](name, cut, folder.rstrip("/"), width)


def _picture(name: str, cut: str, at: Callable[[str], str], width: int) -> list[str]:
    light = next(one for one in theme.THEMES if one != theme.DEFAULT)
    dark_film, light_film = (f"{Piece(name, cut, colours).stem}.gif" for colours in (theme.DEFAULT, light))
    still = f"{Piece(name, 'full', theme.DEFAULT).stem}.png"
    return [
        "<picture>",
        f'  <source media="(prefers-reduced-motion: reduce)" srcset="{at(still)}">',
        f'  <source media="(prefers-color-scheme: light)" srcset="{at(light_film)}">',
        f'  <img src="{at(dark_film)}" width="{width}" alt="{html.escape(alt(name, cut))}">',
        "</picture>",
    ]


def _html(name: str, cut: str, folder: str, width: int) -> list[str]:
    return _picture(name, cut, lambda file: html.escape(f"{folder}/{file}"), width)


def _rst(name: str, cut: str, folder: str, width: int) -> list[str]:
    """reStructuredText's own image has one file for all readers: so it is the HTML."""
    return [".. raw:: html", "", *(f"   {line}" for line in _html(name, cut, folder, width))]


def _reveal(name: str, cut: str, folder: str, width: int) -> list[str]:
    """A slide of reveal.js, with what the film is about as its note."""
    note = f'  <aside class="notes">{html.escape(films.summary(name))}</aside>'
    return ["<section>", *(f"  {line}" for line in _html(name, cut, folder, width)), note, "</section>"]


def _jekyll(name: str, cut: str, folder: str, width: int) -> list[str]:
    """Addresses that hold below whatever base the site has."""
    return _picture(name, cut, lambda file: f"{{{{ '/{folder.lstrip('/')}/{file}' | relative_url }}}}", width)


#: for which places there are lines; Markdown takes HTML as it is
FORMS: dict[str, Callable[[str, str, str, int], list[str]]] = {
    "html": _html,
    "markdown": _html,
    "rst": _rst,
    "reveal": _reveal,
    "jekyll": _jekyll,
}
