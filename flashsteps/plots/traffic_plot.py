"""A plot of traffic, by N and by tile, in the colours and the type of the films. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from math import ceil
from os import PathLike
from typing import TYPE_CHECKING, Any

from .. import algorithms, theme
from ..machine import dtypes
from ..machine.devices import DEFAULT as DEFAULT_DEVICE
from ..machine.devices import device as device_of
from ..theme import BODY, LABEL, SMALL, Theme
from ..trace import rules
from ..traffic import formulas, report
from ..units import head_of, short, size_of
from . import curves
from .axes import Ink, Place, along_ticks, decades, frame, legend, nbytes, span, up_ticks
from .chart import MARGIN, THEME, WIDTH, check_ending, font, header, page, points, words
from .curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: the least N that is worth an axis
SMALLEST = 16

# in px, as everything here; type has the sizes of theme.py
TOP, TALL, WIDE = 216, 540, 690
LEFT = (216, WIDTH - MARGIN - WIDE - 24)  # half of the last number on the axis stands out


def plot(
    path: str | PathLike[str],
    names: Iterable[str] | None = None,
    sizes: Iterable[int] = report.SIZES,
    *,
    device: str = DEFAULT_DEVICE,
    batch: int = 1,
    heads: int = 1,
    kv_heads: int | None = None,
    rule: str = rules.DEFAULT,
    theme_name: str = THEME,
    d: int = report.D,
    d_v: int | None = None,
    block_q: int = report.BLOCK,
    block_k: int = report.BLOCK,
    mask: str | None = None,
    block_mask: str | None = None,
    dtype: str = dtypes.DEFAULT,
) -> None:
    """Draw the traffic that `report.rows` tells to an .svg or .png file, whole or not at all.

    On the left by N, up to the largest of `sizes`, with a ring for each recorded run; on the right by tile.
    Standard attention comes with the algorithms, which are those of the forward pass unless others are named. The same
    call gives the same bytes. Raises ValueError as `report.rows` does, for algorithms of different kinds, for a file
    that cannot be written, and without matplotlib.
    """
    check_ending(path)
    colours, gpu, most = theme.theme(theme_name), device_of(device), max(sizes)
    chosen = [*(names or (name for name in report.default_algorithms(rule) if not algorithms.algorithm(name).backward))]
    what = curves.kind(chosen)
    chosen = list(dict.fromkeys([algorithms.algorithm(chosen[0]).standard, *chosen]))
    options: dict[str, Any] = {"d": d, "d_v": d_v, "block_q": block_q, "block_k": block_k, "mask": mask, "dtype": dtype}
    options |= {"block_mask": block_mask}
    several: dict[str, Any] = {"batch": batch, "heads": heads, "kv_heads": kv_heads}
    (*_, row) = report.rows(chosen, [most], **options, **several, rule=rule, device=device)  # refuses what is wrong
    group, times = row.heads // row.kv_heads, batch * row.kv_heads
    options |= {"heads": group, "kv_heads": 1}
    if most < SMALLEST:
        raise ValueError(f"n is {most}: a plot begins with {SMALLEST}, give a larger one")
    n = min(curves.TILE_N, most)
    options |= {"n": 1} if what == curves.STEP else {}  # so has standard attention, beside a step of decoding
    title = f"HBM traffic of a {what}"
    with page(path, title, colours) as figure:
        left = [curves.by_size(name, most, rule, times, options) for name in chosen]
        right = [curves.by_tile(name, n, rule, times, options, gpu) for name in chosen]
        many = "one head" if heads * batch == 1 else f"{heads * batch:,} heads"
        many += f" in groups of {group}" if group > 1 else ""
        masked = f", {row.mask}" if row.mask else ""
        header(figure, colours, title, f"{many}, {head_of(row.d, row.d_v)}, {row.dtype}{masked}", gpu.title)
        inks = dict(zip(chosen, _inks(chosen, colours), strict=True))
        by_n = _panel(figure, colours, LEFT[0], f"by N, tiles of {block_q}×{block_k}", left)
        by_tile = _panel(figure, colours, LEFT[1], f"by tile, N = {short(n)}", right)
        _lines(by_n, left, inks, colours)
        _lines(by_tile, right, inks, colours)
        _levels(by_tile, right, colours, {} if group > 1 else _known_levels(row.d, row.d_v, dtype, masked, rule))
        legend(figure, colours, 822, _labels(left), inks, columns=3)
        words(figure, MARGIN, 950, _says(right, what, masked, block_mask), colours.ink, BODY)
        words(figure, MARGIN, 1006, _small_print(left, right, gpu.title), colours.dim, LABEL)


# ---- what it says


def _known_levels(d: int, d_v: int, dtype: str, masked: str, rule: str) -> dict[str, tuple[str, int]]:
    """Where the closed forms level standard attention's, as a formula and as a number.

    That is for values as wide as keys, without a mask, with all bytes counted: elsewhere the curve alone says where.
    """
    if d_v != d or masked or rule != rules.DEFAULT:
        return {}
    sizes = dtypes.storage(dtype).itemsize, dtypes.computing(dtype).itemsize
    return {
        "flash-forward": (f"¾d + {sizes[1] / sizes[0]:g}", ceil(formulas.flash_level(d, *sizes))),
        "flash2-forward": ("d/2", ceil(formulas.flash2_level(d))),
    }


def _says(right: Sequence[Curve], what: str, masked: str, block_mask: str | None) -> str:
    """What is to be seen, as far as it is."""
    levels = {algorithms.algorithm(curve.algorithm).title: curve.level for curve in right if curve.level}
    first, *rest = [f"{name} from {level}" for name, level in levels.items()][:2] or [""]
    said = [
        ""
        if what == curves.STEP or block_mask
        else "The mask saves standard attention nothing."
        if masked
        else "All grow with N².",
        f"The tile decides: {first.replace(' from', ' moves less from')}{''.join(f', {one}' for one in rest)}."
        * bool(first),
    ]
    return " ".join(filter(None, said))


def _small_print(left: Sequence[Curve], right: Sequence[Curve], gpu: str) -> str:
    rings = ", rings were recorded" if any(curve.recorded for curve in left) else ""
    faint = f"; faint: tiles that do not fit on {gpu}" if any(curve.fits for curve in right) else ""
    return f"Two levels, no L2. Lines are counted{rings}{faint}."


# ---- how it is drawn


def _inks(names: Sequence[str], colours: Theme) -> list[Ink]:
    """Standard attention dim, FlashAttention in the accent, 1 dashed and 2 solid; hues for the others."""
    known = {
        "standard attention": Ink(colours.dim, "-", 4),
        "FlashAttention": Ink(colours.accent, (0, (4, 2)), 3.5),
        "FlashAttention-2": Ink(colours.accent, "-", 5),
    }
    hues = iter(cycle((colours.S, colours.Q, colours.V, colours.K, colours.O)))
    return [known.get(algorithms.algorithm(name).title) or Ink(next(hues), "-", 4) for name in names]


def _panel(figure: Figure, colours: Theme, left: int, title: str, found: Sequence[Curve]) -> Axes:
    """An empty panel with the axes that these curves need."""
    axes = frame(figure, colours, Place(left, TOP, WIDE, TALL), title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    xs = [x for x, _ in found[0].points]
    values = [moved for curve in found for _, moved in curve.points]
    low, high = min(values) / 1.4, max(values) * 1.4
    if not decades(low, high):  # nothing to label: out to the next powers of ten
        low, high = span(values, log=True)
    axes.set_xlim(xs[0], xs[-1])
    axes.set_ylim(low, high)
    up_ticks(axes, decades(low, high), nbytes)
    along_ticks(axes, [1 << power for power in range(60) if xs[0] <= 1 << power <= xs[-1]] or xs[:1])
    return axes


def _lines(axes: Axes, found: Sequence[Curve], inks: dict[str, Ink], colours: Theme) -> None:
    """Each curve, faint from where its tile no longer fits, with a ring for each recorded run."""
    for curve in found:
        ink = inks[curve.algorithm]
        look: dict[str, Any] = {"color": ink.colour, "linestyle": ink.dashes, "linewidth": points(ink.width)}
        last = curve.fits or curve.points[-1][0]
        inside = [point for point in curve.points if point[0] <= last]
        outside = curve.points[len(inside) - 1 :]
        axes.plot(*zip(*inside, strict=True), **look, zorder=3, solid_capstyle="round")
        if len(outside) > 1:
            axes.plot(*zip(*outside, strict=True), **look, alpha=0.3, zorder=2, solid_capstyle="butt")
        if curve.recorded:
            _rings(axes, curve.recorded, ink.colour, colours.bg)


def _rings(axes: Axes, at: Sequence[tuple[int, int]], colour: str, inside: str) -> None:
    axes.plot(
        *zip(*at, strict=True), linestyle="none", marker="o", markersize=points(15), markerfacecolor=inside,
        markeredgecolor=colour, markeredgewidth=points(4), zorder=4, clip_on=False,
    )  # fmt: skip


def _levels(axes: Axes, found: Sequence[Curve], colours: Theme, known: dict[str, tuple[str, int]]) -> None:
    """A ring where a curve comes down to standard attention's, and from which tile on."""
    standard, middle = found[0].points[0][1], sum(axes.get_xlim()) / 2
    for below, curve in enumerate(sorted((c for c in found if c.level), key=lambda c: -(c.level or 0))):
        x = curve.level or 0
        formula, expected = known.get(curve.algorithm, ("", 0))
        _rings(axes, [(x, standard)], colours.ink, colours.bg)
        beside = -16 if below or x > middle else 16
        axes.annotate(
            f"{formula} = {x}" if x == expected else str(x), (x, standard),
            xytext=(points(beside), points(-40 if below else 24)), textcoords="offset points",
            ha="right" if beside < 0 else "left", color=colours.ink, fontproperties=font("strong", SMALL),
        )  # fmt: skip


def _labels(left: Sequence[Curve]) -> dict[str, str]:
    """Each algorithm with what it moves at the largest N: standard attention in bytes, the others beside it."""
    (n, level), moved = left[0].points[-1], {curve.algorithm: curve.points[-1][1] for curve in left}
    amounts = {name: report.ratio_of(nbytes / level) for name, nbytes in moved.items()}
    amounts[left[0].algorithm] = size_of(level)
    return {name: f"{algorithms.algorithm(name).title}, {amount} at {short(n)}" for name, amount in amounts.items()}
