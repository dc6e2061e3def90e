"""Panels of lines: powers of two along, numbers up, in the type and the colours of the films."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..theme import LABEL, SMALL, Theme
from ..units import short, size_of
from .chart import HEIGHT, MARGIN, WIDTH, font, points, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]
Dashes = Literal["-"] | tuple[float, Sequence[float]]

#: the most numbers along an axis
MOST = 8


class Ink(NamedTuple):
    """How a line is drawn."""

    colour: str
    dashes: Dashes = "-"
    width: float = 4


class Place(NamedTuple):
    """Where a panel lies, in px from the top left."""

    left: float
    top: float
    width: float
    height: float


def panel(
    figure: Figure,
    colours: Theme,
    place: Place,
    title: str,
    lines: Mapping[str, Points],
    inks: Mapping[str, Ink],
    *,
    up: tuple[float, float] | None = None,
    log: bool = False,
    numbers: Callable[[float], str] | None = None,
    sizes: bool = True,
    rings: bool = True,
) -> Axes:
    """Lines by name in a box of their own.

    `up`: from where to where it goes up, else as the lines ask; `log`: in powers of ten. `numbers` writes those of the
    axis at the left; None: none. `sizes`: what is along is N, in powers of two. `rings`: each point is marked.
    """
    axes = frame(figure, colours, place, title)
    low, high = up or span([y for line in lines.values() for _, y in line], log)
    if log:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    _along(axes, sorted({x for line in lines.values() for x, _ in line}), sizes)
    up_ticks(axes, decades(low, high) if log else steps(high), numbers)
    for order, (name, line) in enumerate(reversed(list(lines.items()))):
        if line:
            _line(axes, line, inks[name], colours, rings, order)
    return axes


def frame(figure: Figure, colours: Theme, place: Place, title: str) -> Axes:
    """A panel with nothing in it yet: a title, numbers in small type, and lines across at those up its left."""
    words(figure, place.left, place.top - 26, title, colours.ink, LABEL, kind="strong")
    box = place.left / WIDTH, 1 - (place.top + place.height) / HEIGHT, place.width / WIDTH, place.height / HEIGHT
    axes = figure.add_axes(box, facecolor="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=points(12), labelcolor=colours.dim)
    axes.grid(axis="y", color=colours.line, linewidth=points(1.5))
    return axes


def up_ticks(axes: Axes, at: Sequence[float], numbers: Callable[[float], str] | None) -> None:
    """Numbers up the left of a panel, or only the lines."""
    axes.minorticks_off()
    axes.set_yticks(at, [numbers(y) if numbers else "" for y in at], fontproperties=font("words", SMALL), va="center")


def along_ticks(axes: Axes, at: Sequence[int]) -> None:
    """Sizes below a panel, in powers of two, at most `MOST` of them."""
    axes.minorticks_off()
    few = list(at)[:: -ceil(len(at) / MOST)] if at else []
    axes.set_xticks(few, [short(x) for x in few], fontproperties=font("words", SMALL))


def _along(axes: Axes, xs: Sequence[float], sizes: bool) -> None:
    """The axis below: each N that was measured, or round numbers."""
    first, last = (xs[0], xs[-1]) if xs else (1, 2)
    if sizes:
        axes.set_xscale("log", base=2)
        axes.set_xlim(first / 1.15, last * 1.15)
        along_ticks(axes, [int(x) for x in xs])
    else:
        axes.set_xlim(first, max(last, first + 1))
        axes.set_xticks(steps(last), [f"{x:g}" for x in steps(last)], fontproperties=font("words", SMALL))


def _line(axes: Axes, line: Points, ink: Ink, colours: Theme, rings: bool, order: int) -> None:
    look: dict[str, Any] = {"color": ink.colour, "linestyle": ink.dashes, "linewidth": points(ink.width)}
    if rings:
        look |= {"marker": "o", "markersize": points(11), "markerfacecolor": colours.bg}
        look |= {"markeredgewidth": points(3)}
    axes.plot(*zip(*line, strict=True), **look, zorder=3 + order / 100, solid_capstyle="round", clip_on=not rings)


def legend(
    figure: Figure, colours: Theme, y: float, labels: Mapping[str, str], inks: Mapping[str, Ink], columns: int = 4
) -> None:
    """What each line is, below the panels, in so many columns from y px on."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=inks[name].colour, linestyle=inks[name].dashes, linewidth=points(inks[name].width),
               label=label) for name, label in labels.items()
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(MARGIN / WIDTH, 1 - y / HEIGHT), ncols=columns,
        frameon=False, prop=font("words", SMALL), labelcolor=colours.ink, borderpad=0, borderaxespad=0,
        handlelength=2.2, columnspacing=1.6, labelspacing=0.5,
    )  # fmt: skip


# ---- numbers along and up


def span(values: Sequence[float], log: bool) -> tuple[float, float]:
    """From where to where an axis goes: from 0, or from one power of ten to another."""
    if log:
        low, high = min(values, default=1), max(values, default=10)
        return 10.0 ** floor(log10(low)), 10.0 ** max(ceil(log10(high)), floor(log10(low)) + 1)
    return 0, max(values, default=1) * 1.08


def steps(high: float, most: int = 6) -> list[float]:
    """Round numbers from 0 up to `high`, at most so many steps."""
    size = 10.0 ** floor(log10(high)) if high > 0 else 1.0
    step = next(s for s in (size / 10, size / 5, size / 2, size, size * 2, size * 5) if high / s <= most)
    return [step * n for n in range(int(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The powers of ten from `low` to `high`, at most seven of them."""
    found = [10.0**power for power in range(ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9) + 1)]
    return found[:: ceil(len(found) / 7) or 1]


def nbytes(y: float) -> str:
    """Bytes on an axis: 100 MB."""
    return size_of(y).replace(".0", "")


def number(y: float) -> str:
    return f"{y:,.10g}"


def milliseconds(y: float) -> str:
    return f"{y * 1000:,.6g} ms"
