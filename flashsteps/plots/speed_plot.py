"""Plots of what `flashsteps bench` has measured: how fast each backend is by N, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

from .. import theme
from ..results import Results, packages, where
from ..theme import LABEL, SMALL, Theme
from ..units import short
from .axes import Ink, Place, Points, legend, nbytes, number, panel, span
from .chart import MARGIN, THEME, WIDTH, header, page, words

PASSES = ("forward", "backward")

TITLES = {
    "flashsteps": "flashsteps (Triton)",
    "flash": "SDPA flash",
    "cudnn": "SDPA cuDNN",
    "efficient": "SDPA efficient",
    "flex": "FlexAttention",
    "math": "SDPA math",
    "standard": "standard, written out",
    "numpy": "NumPy",
}

# in px
LEFT, GAP, TOP, TALL, BETWEEN = 168, 48, 204, 234, 122


def speed(path: str | PathLike[str], results: Results, theme_name: str = THEME) -> None:
    """Draw TFLOP/s (on a CPU GFLOP/s) by N: forward above, backward below, a panel for each d and mask.

    The file appears whole or not at all. Raises ValueError for a theme or an ending that isn't known, for results with
    nothing in them, and without matplotlib.
    """
    unit, per = ("TFLOP/s", 1.0) if results.machine.get("kind") != "cpu" else ("GFLOP/s", 1e3)
    with page(path, title := f"Attention, {unit} by N", colours := theme.theme(theme_name)) as figure:
        _drawn(figure, colours, results, title, lambda row: row["tflops"] * per, number, log=False)
        _notes(figure, colours, results, f"{results.settings['flops']}.")


def memory(path: str | PathLike[str], results: Results, theme_name: str = THEME) -> None:
    """Draw the most bytes held at one time, by N, as `speed` draws speed."""
    with page(path, title := "Attention, peak memory by N", colours := theme.theme(theme_name)) as figure:
        _drawn(figure, colours, results, title, lambda row: row["peak_bytes"], nbytes, log=True)
        _notes(figure, colours, results, "With q, k, v; backward: a forward and a backward pass, with gradients.")


def _drawn(figure: Any, colours: Theme, results: Results, title: str, value: Any, numbers: Any, *, log: bool) -> None:
    """The header, a panel for each pass, d and mask, and what the lines are."""
    rows = [row for row in results.rows if row["status"] == "ok" and value(row)]
    if not rows:
        raise ValueError("nothing was measured, so there is nothing to draw: run `flashsteps bench` anew")
    header(figure, colours, title, _of(results), where(results))
    names = [name for name in TITLES if any(row["backend"] == name for row in rows)]
    inks = _inks(colours)
    columns = sorted({(row["d"], row["causal"]) for row in rows}, key=lambda key: (-key[0], key[1]))
    passes = [which for which in PASSES if any(row["pass"] == which for row in rows)]
    wide = (WIDTH - MARGIN - LEFT - GAP * (len(columns) - 1)) / len(columns)
    tall = TALL if len(passes) == 2 else 2 * TALL + BETWEEN
    for down, which in enumerate(passes):
        here = [row for row in rows if row["pass"] == which]
        up = span([value(row) for row in here], log)
        for across, (d, causal) in enumerate(columns):
            lines = {name: _line(here, name, d, causal, value) for name in names}
            box = Place(LEFT + across * (wide + GAP), TOP + down * (tall + BETWEEN), wide, tall)
            told = f"{which}, d = {d}, {'causal' if causal else 'full'}"
            panel(figure, colours, box, told, lines, inks, up=up, log=log, numbers=numbers if across == 0 else None)
    legend(figure, colours, 866, {name: TITLES[name] + _short_of(results.rows, name) for name in names}, inks)


def _line(rows: Iterable[Mapping[str, Any]], name: str, d: int, causal: bool, value: Any) -> Points:
    mine = [row for row in rows if (row["backend"], row["d"], row["causal"]) == (name, d, causal)]
    return sorted((row["n"], value(row)) for row in mine)


def _short_of(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Where a backend ran out of memory."""
    sizes = [row["n"] for row in rows if (row["backend"], row["status"]) == (name, "out of memory")]
    return f", out of memory from {short(min(sizes))}" if sizes else ""


def _of(results: Results) -> str:
    return f"{results.settings['hidden']:,} hidden, {results.settings['dtype']}"


def _notes(figure: Any, colours: Theme, results: Results, text: str) -> None:
    """How it was measured, and with what."""
    cut = "" if results.finished else " Cut off: not all was measured."
    words(figure, MARGIN, 978, text + cut, colours.ink, LABEL)
    batch = f"batch = max(1, {short(results.settings['tokens'])} / N)"
    said = f"Medians, turn about, caches flushed; {batch}; {packages(results)}; {results.date}"
    words(figure, MARGIN, 1026, said, colours.dim, SMALL)


def _inks(colours: Theme) -> dict[str, Ink]:
    return {
        "flashsteps": Ink(colours.accent, width=5),
        "flash": Ink(colours.Q),
        "cudnn": Ink(colours.V),
        "efficient": Ink(colours.K),
        "flex": Ink(colours.S),
        "math": Ink(colours.dim, (0, (2, 1.5)), 3.5),
        "standard": Ink(colours.dim),
        "numpy": Ink(colours.O),
    }
