"""A plot of what `flashsteps bench --train` has measured: losses that lie on each other, time a step, peak memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

from .. import theme
from ..results import Results, packages, where
from ..theme import LABEL, SMALL, Theme
from ..units import short
from .axes import Ink, Place, Points, legend, milliseconds, nbytes, number, panel
from .chart import MARGIN, THEME, header, page, words

#: in the order in which they lie on each other, the topmost first
TITLES = {
    "flashsteps": "flashsteps (Triton)",
    "sdpa": "scaled_dot_product_attention",
    "standard": "standard attention, written out",
}

# in px
TOP, TALL, WIDE = 216, 520, 440
LEFT = (156, 784, 1408)


def training(path: str | PathLike[str], results: Results, theme_name: str = THEME) -> None:
    """Draw the losses at the largest N that all have trained at, and time a step and peak memory by N.

    The file appears whole or not at all. Raises ValueError for a theme or an ending that isn't known, for results with
    nothing in them, and without matplotlib.
    """
    rows = [row for row in results.rows if row["status"] == "ok"]
    if not rows:
        raise ValueError("nothing was trained, so there is nothing to draw: run `flashsteps bench --train` anew")
    names = [name for name in TITLES if any(row["attention"] == name for row in rows)]
    shown = max(
        {row["n"] for row in rows},
        key=lambda n: (len({row["attention"] for row in rows if row["n"] == n}), n),
    )
    title = "A small GPT, trained with each attention"
    with page(path, title, colours := theme.theme(theme_name)) as figure:
        of = f"{results.settings['layers']} layers, d = {results.settings['head']}"
        header(figure, colours, title, of, where(results))
        inks = _inks(colours)
        losses = {
            row["attention"]: list(enumerate(row["losses"], 1))
            for row in sorted(rows, key=lambda row: list(TITLES).index(row["attention"]))
            if row["n"] == shown
        }
        panel(
            figure, colours, Place(LEFT[0], TOP, WIDE, TALL), f"loss by step, N = {short(shown)}", losses, inks,
            numbers=number, sizes=False, rings=False,
        )  # fmt: skip
        measured: tuple[tuple[str, Callable[[Mapping[str, Any]], float | None], Callable[[float], str], bool], ...] = (
            ("time a step, by N", lambda row: row["seconds"]["median"], milliseconds, False),
            ("peak memory of a step, by N", lambda row: row["peak_bytes"], nbytes, True),
        )
        for left, (told, value, numbers, log) in zip(LEFT[1:], measured, strict=True):
            lines = {name: _line(rows, name, value) for name in names}
            panel(figure, colours, Place(left, TOP, WIDE, TALL), told, lines, inks, numbers=numbers, log=log)
        legend(figure, colours, 832, {name: TITLES[name] + _short_of(results.rows, name) for name in names}, inks)
        _notes(figure, colours, results, losses)


def _line(rows: Sequence[Mapping[str, Any]], name: str, value: Callable[[Mapping[str, Any]], float | None]) -> Points:
    found = [(row["n"], value(row)) for row in rows if row["attention"] == name]
    return sorted((n, y) for n, y in found if y)


def _short_of(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    sizes = [row["n"] for row in rows if (row["attention"], row["status"]) == (name, "out of memory")]
    return f", out of memory from {short(min(sizes))}" if sizes else ""


def _notes(figure: Any, colours: Theme, results: Results, losses: Mapping[str, Points]) -> None:
    """How far the losses are apart, and how it was measured."""
    curves = [[y for _, y in line] for line in losses.values()]
    apart = max((max(ys) - min(ys) for ys in zip(*curves, strict=True)), default=0.0)
    same = f"The same seed, text and order: losses differ by {apart:.2g} at most." if len(curves) > 1 else ""
    cut = "" if results.finished else " Cut off: not all was measured."
    words(figure, MARGIN, 926, same + cut, colours.ink, LABEL)
    about = results.settings
    words(figure, MARGIN, 978, f"The text: {about['corpus']}", colours.dim, SMALL)
    how = f"{about['arithmetic']}, {about['parameters']:,} parameters, {about['time']}"
    words(figure, MARGIN, 1026, f"{how}; {packages(results)}; {results.date}", colours.dim, SMALL)


def _inks(colours: Theme) -> dict[str, Ink]:
    """Wide below, narrow and dashed above, so that lines that lie on each other are all seen."""
    return {
        "standard": Ink(colours.dim, width=9),
        "sdpa": Ink(colours.Q, width=5),
        "flashsteps": Ink(colours.accent, (0, (3, 2)), 4),
    }
