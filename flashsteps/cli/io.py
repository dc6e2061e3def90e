"""`flashsteps io`: what attention moves, takes and does at several sizes, as a table, as data or as a plot."""

from __future__ import annotations

import csv
import io as text_io
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..units import head_of, short, size_of, time_of
from . import options as take
from .options import option
from .outputs import Output
from .program import Command, say, table

if TYPE_CHECKING:
    from ..traffic.report import Row

EXAMPLES = """\b
Examples:
  flashsteps io
  flashsteps io --n 4K --d 128 --heads 32 --mask causal --device h100
  flashsteps io --n 1K,1M --algorithms flash-forward,flash2-forward --csv
  flashsteps io --plot traffic.svg --theme dark
"""


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(take.TOKENS.read(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(take.ALGORITHM.convert(part.strip(), None, None) for part in text.split(","))


class Algorithms(take.Name):
    """Names of algorithms, with commas between them."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if isinstance(value, tuple) else _names(value)

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        return "NAME,…"


SIZES = take.Text("N,…", _sizes, "give how many, one or several: 4096, or 1K,8K,1M (in binary: 1K is 1,024)")
NAMES = Algorithms("algorithm", take.ALGORITHM.names)


def _d() -> str:
    from ..traffic.report import D

    return f"The size of a head  [default: {D}]"


def _blocks() -> str:
    from ..traffic.report import BLOCK

    return f"{BLOCK}, cut to their number"


@click.command(cls=Command, epilog=EXAMPLES)
@option("--n", "sizes", type=SIZES, help="How many keys, and queries (decoding has one)  [default: 1K,8K,128K,1M]")
@option("--d", type=take.TOKENS, help=_d)
@take.d_v_option
@take.heads_options
@option("--batch", type=take.NUMBER, help="How many sequences, each with all heads  [default: 1]")
@option("--algorithms", "names", type=NAMES, help="Which ones  [default: standard and flash, forward and backward]")
@take.block_options(_blocks)
@option("--block-mask", metavar="MASK", help=take.block_mask_help)
@option("--device", type=take.DEVICE, help=f"The GPU whose limits bound the time  {take.DEVICE_DEFAULT}")
@take.rule_option
@option("--csv", "as_csv", is_flag=True, help="Print whole numbers with commas between, for a spreadsheet.")
@option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@option("--plot", type=Output(), metavar="FILE", help="Draw the traffic to an .svg or .png file.")
@option("--theme", type=take.THEME, help=take.plot_theme_help)
def io(as_csv: bool, as_json: bool, plot: Path | None, theme: str | None, **options: Any) -> None:
    """Compare what algorithms move, take and do.

    For each size: bytes between HBM and SRAM, the most that is allocated in HBM, floating-point operations, and the
    least time that a GPU's limits allow. No data is needed."""
    wanted = [name for name, given in (("--csv", as_csv), ("--json", as_json), ("--plot", plot)) if given]
    if len(wanted) > 1:
        raise ValueError(f"{' and '.join(wanted)} each say what to make: give one of them")
    if theme and not plot:
        raise ValueError(f"--theme {theme} is for a plot: give --plot FILE too, or leave it out")
    if plot:
        from ..plots import traffic_plot as plotting

        plotting.plot(plot, **take.given(options | {"theme_name": theme}))
        return say(f"{plot}   {size_of(plot.stat().st_size)}")
    from ..traffic import report

    rows = report.rows(**take.given(options))
    for line in _csv(rows) if as_csv else _json(rows) if as_json else _table(rows):
        say(line)


# ---- as data


def _csv(rows: list[Row]) -> Iterator[str]:
    """A line of names, then one a row; what there is not is empty."""
    text = text_io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].data()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.data() for row in rows)
    yield from text.getvalue().splitlines()


def _json(rows: list[Row]) -> Iterator[str]:
    yield "["
    for n, row in enumerate(rows, 1):
        yield f"  {json.dumps(row.data(), ensure_ascii=False)}{',' if n < len(rows) else ''}"
    yield "]"


# ---- as a table


def _table(rows: list[Row]) -> Iterator[str]:
    from ..machine.devices import device
    from ..traffic.report import ratio_of

    gpu = device(rows[0].device)
    yield _setting(rows)
    yield ""
    trained = any(row.training_footprint for row in rows)
    heads = ("N", "", "read", "written", "footprint", *["training"] * trained)
    lines = [(*heads, "FLOPs", "FLOPs/B", "at best", "limit", "of standard")]
    for n, group in groupby(rows, key=lambda row: row.keys):
        for at, row in enumerate(group):
            training = [size_of(row.training_footprint) if row.training_footprint else "-"] * trained
            nbytes = (size_of(row.read), size_of(row.written), size_of(row.footprint), *training)
            work = (_count(row.matmul), f"{row.intensity:.1f}", time_of(row.bound_seconds), row.bound_by)
            lines.append(
                (
                    "" if at else short(n),
                    row.algorithm,
                    *nbytes,
                    *work,
                    ratio_of(row.ratio),
                )
            )
    yield from table(lines, right="rl" + "r" * (6 + trained) + "lr")
    yield ""
    yield f"footprint: the most that is allocated at one time{', in this pass alone and in both' * trained}"
    yield "FLOPs: of matrix products, a multiply and an add being two; --csv and --json tell the others too"
    yield (
        f"at best: the longer time that {gpu.bandwidth:g} TB/s and {gpu.tflops:,} TFLOP/s alone would allow "
        f"({gpu.title});"
    )
    yield "  this is a bound in a model without L2, not a prediction"
    yield from _notes(rows)


def _setting(rows: list[Row]) -> str:
    """What all rows have in common, and their tiles."""
    row, tiles = rows[0], " or ".join(dict.fromkeys(row.tile for row in rows))
    heads = "one head" if row.heads == 1 else f"{row.heads:,} heads"
    heads += f" that share {row.kv_heads:,} of keys and values" if row.kv_heads < row.heads else ""
    many = heads if row.batch == 1 else f"{heads} × {row.batch:,} sequences"
    mask = f"mask {row.mask}" if row.mask else "no mask"
    return f"{many}, {head_of(row.d, row.d_v)}, tiles of {tiles}, {row.dtype}, {mask}"


def _notes(rows: list[Row]) -> Iterator[str]:
    """What is to be known of single rows."""
    from ..machine.devices import device
    from ..trace.rules import RULES
    from ..traffic import report

    for rule in dict.fromkeys(row.rule for row in rows if row.rule != report.rule_of(row.algorithm, "all")):
        names = ", ".join(dict.fromkeys(row.algorithm for row in rows if row.rule == rule))
        yield f"{names} by the rule {rule}: {RULES[rule].says}"
    large: dict[str, list[str]] = {}
    for row in report.too_large(rows):
        large.setdefault(row.algorithm, []).append(short(row.keys))
    if large:
        named = "; ".join(f"{name} at {', '.join(sizes)}" for name, sizes in large.items())
        yield f"more than the {device(rows[0].device).memory} GB of memory: {named}"
    if unfit := dict.fromkeys(row.algorithm for row in rows if row.fits is False):
        yield f"more on chip than there is: {', '.join(unfit)}: `flashsteps blocks` (same heads) says what fits"


def _count(n: int) -> str:
    """Operations: 512, 268 M, 4.4 T."""
    for size, unit in ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K")):
        if n >= size * 0.9995:
            return f"{n / size:,.3g} {unit}" if n < size * 999.5 else f"{n / size:,.0f} {unit}"
    return str(n)
