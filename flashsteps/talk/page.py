"""A talk as one HTML file that opens from disk and fetches nothing: reveal.js, films and pictures are in it.

A column is a film. A chapter plays when one comes to it from before, and shows how it ends when one comes back to it,
in the overview, in print, in the speaker's window, and to those who asked for less motion.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .. import files, player
from ..filmkit.boxes import shape_of, unit_of
from ..filmkit.clips import Clip
from ..theme import THEMES
from . import opening
from .plan import Card, Chapter, Column, Slide, opening_of

FOLDER = Path(__file__).parent

#: the page may show what it holds, and reach nothing else; it opens itself in the speaker's window
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; img-src data:; "
    "media-src data:; frame-src file: http: https:; base-uri 'none'; form-action 'none'"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>{author}
<style>{style}</style>
</head>
<body>
<div class="reveal"><div class="slides">
"""

#: on the first slide: how to go on
KEYS = """<p class="keys"><kbd>→</kbd> or a click: on&emsp;<kbd>←</kbd> back&emsp;<kbd>R</kbd> again&emsp;
<kbd>O</kbd> all slides&emsp;<kbd>S</kbd> notes&emsp;<kbd>?</kbd> all keys</p>
"""

END = """</div></div>
<noscript>This page needs JavaScript: the talk is in it, and nothing is fetched.</noscript>
{scripts}
</body>
</html>
"""


def write(path: Path, columns: Sequence[Column], media: Iterable[Clip], size: tuple[int, int], theme: str) -> None:
    """Write it, whole or not at all, with a clip for each chapter; the same talk gives the same bytes."""
    clips, first = iter(media), opening_of(columns)
    author = f'\n<meta name="author" content="{html.escape(first.by)}">' if first.by else ""
    with files.whole(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(PAGE.format(policy=POLICY, title=html.escape(first.title), author=author, style=_style(size, theme)))
        for column in columns:
            file.write("<section>\n")
            for slide in column:
                file.writelines(_slide(slide, clips, shape_of(*size)))
            file.write("</section>\n")
        file.write(END.format(scripts=_scripts(size)))


def _style(size: tuple[int, int], theme: str) -> str:
    colors = "".join(f"--{name.replace('_', '-')}:{color};" for name, color in THEMES[theme]._asdict().items())
    root = f":root{{color-scheme:{theme};--unit:{unit_of(*size)}px;{colors}}}\n"
    reveal, own = ((FOLDER / name).read_text(encoding="utf-8") for name in ("reveal/reveal.css", "talk.css"))
    return player.fonts() + reveal + root + own


def _scripts(size: tuple[int, int]) -> str:
    """reveal.js, its notes, and what plays chapters; nothing in them can end the element that they are in."""
    names = "reveal/reveal.js", "reveal/notes.js", "talk.js"
    texts = [(FOLDER / name).read_text(encoding="utf-8") for name in names]
    texts[-1] = texts[-1].replace("SIZE", json.dumps({"width": size[0], "height": size[1]}))
    safe = (re.sub("<(?=!--|/script)", r"<\\", text, flags=re.IGNORECASE) for text in texts)
    return "\n".join(f"<script>{text}</script>" for text in safe)


def _slide(slide: Slide, clips: Iterator[Clip], shape: str) -> Iterator[str]:
    notes = "".join(f"<p>{html.escape(part)}</p>" for part in slide.notes.split("\n\n"))
    kind = "chapter"
    if isinstance(slide, Card):
        body, kind = (_opening(slide, shape), "card opening") if slide.opens else (_card(slide), "card")
    else:
        body = _chapter(slide, next(clips))
    yield f'<section class="{kind}" aria-label="{html.escape(slide.name)}">\n'
    yield from body
    yield f'<aside class="notes">{notes}</aside>\n</section>\n'


def _opening(card: Card, shape: str) -> Iterator[str]:
    """The title is as large as it fits; it, and who gives it, may be in any writing."""
    sizes = (
        f"font-size:calc({of.size} * var(--unit))"
        for of in (opening.title(card.title, shape), opening.name(card.by, shape))
    )
    yield f'<div>\n<h2 dir="auto" style="{next(sizes)}"><span>{html.escape(card.title)}</span></h2>\n'
    yield f"<p>{html.escape(card.words)}</p>\n"
    if card.by:
        yield f'<p dir="auto" class="by" style="{next(sizes)}">{html.escape(card.by)}</p>\n'
    yield f"{KEYS}</div>\n"


def _card(card: Card) -> Iterator[str]:
    yield "<div>\n"
    if card.above:
        yield f'<p class="above">{html.escape(card.above)}</p>\n'
    yield f"<h2>{html.escape(card.title)}</h2>\n<p>{html.escape(card.words)}</p>\n"
    if card.links:
        yield "<dl>\n"
        for name, words, address in card.links:
            link = f'<a href="{address}" target="_blank" rel="noreferrer">{html.escape(words)}</a>'
            yield f"<dt>{html.escape(name)}</dt><dd>{link}</dd>\n"
        yield "</dl>\n"
    yield "</div>\n"


def _chapter(chapter: Chapter, clip: Clip) -> Iterator[str]:
    """Its last picture, and over it, where it plays, the film: that gets its data when it is near."""
    film, still = (base64.b64encode(path.read_bytes()).decode() for path in clip)
    yield f'<img alt="{html.escape(chapter.words)}" src="data:image/png;base64,{still}">\n'
    yield f'<video muted playsinline preload="auto" tabindex="-1" data-src="data:video/mp4;base64,{film}"></video>\n'
