"""The page that every plot is drawn on: its size, its type and its header, as the films have them. Needs matplotlib."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import whole
from ..theme import LABEL, TITLE, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

ENDINGS = (".svg", ".png")

#: on paper and in a README, unless another theme is named
THEME = "light"

# in px, as everything here; type has the sizes of theme.py
WIDTH, HEIGHT, MARGIN, DPI = 1920, 1080, 72, 100

FONTS = {"words": "Inter-Regular.otf", "strong": "Inter-SemiBold.otf", "mono": "JetBrainsMono-Regular.ttf"}


def check_ending(path: str | PathLike[str]) -> None:
    """Raises ValueError for a file whose ending is not one of a plot."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"'{path}': its ending is to say what to draw: use {' or '.join(ENDINGS)}")


@contextmanager
def page(path: str | PathLike[str], title: str, colours: Theme) -> Iterator[Figure]:
    """An empty page to draw on: at the end it is an .svg or .png file, whole or not at all, the same bytes each time.

    Raises ValueError for another ending, for a file that cannot be written, and without matplotlib.
    """
    check_ending(path)
    try:
        # it warns where HOME cannot be written: then it only starts more slowly
        with _silent("matplotlib"), _without("MPLBACKEND"):  # a page has no use for one, and it may be none
            from matplotlib import style
            from matplotlib.figure import Figure
    except ImportError as missing:
        raise ValueError(
            f"a plot needs matplotlib, but {missing.name} is not installed: pip install 'flashsteps[plot]'"
        ) from missing

    with whole(path) as aside, style.context(["default", {"svg.fonttype": "path", "svg.hashsalt": "flashsteps"}]):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=colours.bg)
        yield figure
        ending = Path(path).suffix.lower()[1:]
        maker = {"Date": None, "Creator": "flashsteps"} if ending == "svg" else {"Software": "flashsteps"}
        figure.savefig(aside, format=ending, metadata=maker | {"Title": title})


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without the warnings of a logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without(name: str) -> Iterator[None]:
    """As if this were not set in the environment."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def font(kind: str, size: float) -> FontProperties:
    """One of the bundled fonts, at so many px."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=Path(__file__).parents[1] / "fonts" / FONTS[kind], size=points(size))


def points(px: float) -> float:
    """So many px in matplotlib's points."""
    return px * 72 / DPI


def words(figure: Figure, x: float, y: float, text: str, colour: str, size: float, **how: Any) -> Any:
    """A text whose baseline begins at x, y in px from the top left; `kind` is one of FONTS."""
    face = font(how.pop("kind", "words"), size)
    return figure.text(x / WIDTH, 1 - y / HEIGHT, text, color=colour, fontproperties=face, **how)


def header(figure: Figure, colours: Theme, title: str, of: str, right: str) -> None:
    """The title, what it is of in small letters beside it, what it stands on at the right, and a line below."""
    from matplotlib.lines import Line2D

    heading = words(figure, MARGIN, 84, title, colours.ink, TITLE, kind="strong")
    end = heading.get_window_extent().x1
    words(figure, end + 40, 84, of, colours.dim, LABEL, kind="mono")
    words(figure, WIDTH - MARGIN, 84, right, colours.ink, LABEL, kind="strong", ha="right")
    y = 1 - 114 / HEIGHT
    figure.add_artist(Line2D([MARGIN / WIDTH, 1 - MARGIN / WIDTH], [y, y], color=colours.line, linewidth=points(3)))
