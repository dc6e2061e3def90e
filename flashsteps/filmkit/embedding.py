"""What to paste where a film of the gallery is to stand: dark and light, a still for who wants no motion, and words."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote

from .. import theme
from ..errors import unknown
from ..units import size_of
from . import films, reel, spoken
from .piece import Piece


def alt(name: str, cut: str = "full") -> str:
    """What a film shows, for who does not see it: its own first sentence, and what ran in it, from the runs; of one in
    which nothing runs, its figures."""
    shown = reel.film(name, cut=cut)
    said = [films.summary(name)]
    if not shown.told.runs:
        said.append(spoken.figures(shown.script()))
    for run in shown.told.runs:
        meta = run.meta
        blocks = f"in blocks of {meta['block_q']} and {meta['block_k']}, " if meta.get("block_q") else ""
        many = "query" if meta["queries"] == 1 else "queries"
        size = f"{meta['queries']} {many} and {meta['keys']} keys of {meta['d']} numbers in {meta['dtype']}"
        said.append(f"A run of {meta['algorithm']} on {size}, {blocks}moves {size_of(run.io().total)}.")
    return " ".join(dict.fromkeys(said))


def lines(name: str, form: str = "html", *, cut: str = "short", folder: str = "renders", width: int = 800) -> list[str]:
    """The lines to paste, for one of FORMS; the gallery lies in `folder`, a path or a URL.

    Raises ValueError for a film or a form that isn't known.
    """
    if form not in FORMS:
        raise ValueError(unknown("form", form, FORMS))
    films.section(name)
    return FORMS[form](name, cut, _address(folder.rstrip("/")), width)


def picture(name: str, cut: str, at: Callable[[str], str], width: int) -> list[str]:
    """The film in its two themes, and a still of each for who wants no motion; `at` says where a file lies. The first
    source that fits is taken."""
    light = next(one for one in theme.THEMES if one != theme.DEFAULT)
    film, still = (
        {colours: at(f"{Piece(name, of, colours).stem}.{ending}") for colours in (theme.DEFAULT, light)}
        for of, ending in ((cut, "gif"), ("full", "png"))
    )
    likes_light, calm = "(prefers-color-scheme: light)", "(prefers-reduced-motion: reduce)"
    return [
        "<picture>",
        f'  <source media="{likes_light} and {calm}" srcset="{still[light]}">',
        f'  <source media="{calm}" srcset="{still[theme.DEFAULT]}">',
        f'  <source media="{likes_light}" srcset="{film[light]}">',
        f'  <img src="{film[theme.DEFAULT]}" width="{width}" alt="{html.escape(alt(name, cut))}">',
        "</picture>",
    ]


def _is_url(folder: str) -> bool:
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|//", folder))


def _address(folder: str) -> str:
    """With what may not stand in an address written as %20 is; of a URL, what is so already stays."""
    return quote(folder, safe="/:@%?&=~+,;!$*()" if _is_url(folder) else "/~")


def _html(name: str, cut: str, folder: str, width: int) -> list[str]:
    return picture(name, cut, lambda file: html.escape(f"{folder}/{file}"), width)


def _rst(name: str, cut: str, folder: str, width: int) -> list[str]:
    """reStructuredText's own image: one file for all readers. GitHub and PyPI drop what is raw."""
    file = f"{folder}/{Piece(name, cut, theme.DEFAULT).stem}.gif"
    return [f".. image:: {file}", f"   :width: {width}", f"   :alt: {alt(name, cut)}"]


def _sphinx(name: str, cut: str, folder: str, width: int) -> list[str]:
    """Where raw HTML is let through, readers have their own."""
    return [".. raw:: html", "", *(f"   {line}" for line in _html(name, cut, folder, width))]


def _reveal(name: str, cut: str, folder: str, width: int) -> list[str]:
    """A slide of reveal.js, with what the film is about as its note."""
    note = f'  <aside class="notes">{html.escape(films.summary(name))}</aside>'
    return ["<section>", *(f"  {line}" for line in _html(name, cut, folder, width)), note, "</section>"]


def _jekyll(name: str, cut: str, folder: str, width: int) -> list[str]:
    """Addresses that hold below whatever base the site has; a URL has its own."""
    if _is_url(folder):
        return _html(name, cut, folder, width)
    return picture(name, cut, lambda file: f"{{{{ '/{folder.lstrip('/')}/{file}' | relative_url }}}}", width)


#: for which places there are lines; Markdown takes HTML as it is
FORMS: dict[str, Callable[[str, str, str, int], list[str]]] = {
    "html": _html,
    "markdown": _html,
    "rst": _rst,
    "sphinx": _sphinx,
    "reveal": _reveal,
    "jekyll": _jekyll,
}
