"""All heads of a model as small maps, to choose one: a row for each call of attention, a column for each head."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .. import theme
from ..models.calls import Call
from ..models.maps import small, weights
from ..theme import LABEL, SMALL
from .chart import HEIGHT, MARGIN, THEME, WIDTH, header, page, words

#: the most cells of a map along each side
CELLS = 64

#: where maps begin, in px from the top left, and the part of a map's room that stays free
TOP, LEFT, GAP = 190, 150, 0.03


def plot(path: str | PathLike[str], calls: Sequence[Call], title: str, theme_name: str = THEME) -> Path:
    """Draw the kept heads of these calls. Raises ValueError where it can't be written, and without matplotlib."""
    colours = theme.theme(theme_name)
    most = max(call.heads for call in calls)
    side = min((WIDTH - LEFT - MARGIN) / most, (HEIGHT - TOP - MARGIN) / len(calls), 420)
    with page(path, title, colours) as figure:
        from matplotlib.colors import LinearSegmentedColormap  # page says what to do where there is none

        shades = LinearSegmentedColormap.from_list("weights", [colours.panel, colours.S])
        sizes = {f"{call.queries} × {call.keys}" for call in calls}
        header(figure, colours, title, "P, queries down, keys along", sizes.pop() if len(sizes) == 1 else "")
        for row, call in enumerate(calls):
            y = TOP + row * side
            size = min(LABEL, side * 0.8)
            words(figure, LEFT - 20, y + side / 2, f"{call.index}", colours.dim, size, ha="right", va="center")
            for column, head in enumerate(call.kept.heads if call.kept else ()):
                p = small(weights(call.head(head, batch=0)), CELLS, CELLS)
                x, size = LEFT + column * side, side * (1 - GAP)
                box = (x / WIDTH, 1 - (y + size) / HEIGHT, size / WIDTH, size / HEIGHT)
                axes = figure.add_axes(box, xticks=[], yticks=[])
                axes.spines[:].set_color(colours.line)
                axes.imshow(np.sqrt(p), cmap=shades, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
                if row == 0:
                    words(figure, x + size / 2, y - 16, f"{head}", colours.dim, min(SMALL, side * 0.8), ha="center")
        words(figure, LEFT, TOP - 48, "head", colours.dim, SMALL)
        words(figure, LEFT - 20, TOP - 16, "layer", colours.dim, SMALL, ha="right")
    return Path(path)
