"""`flashsteps validate`: the Triton kernels beside the reference, load by load and number by number."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ..units import size_of
from . import kernels
from . import options as take
from .options import option
from .outputs import Output
from .program import Command, Stopped, printable, say, table

EXAMPLES = """\b
Examples:
  flashsteps validate
  flashsteps validate --kernel forward --shapes 1,4/2,20/33,24
  flashsteps validate --device cuda --save schedule.npz
"""


KERNEL = "Only this kernel; may be given again: forward, backward, block-sparse, split-kv-decode, paged-decode."
SHAPES = "Another shape; may be given again: 1,4/2,20/33,24 is batch 1, 4 heads on 2 of keys, 20 queries, 33 keys."
SAVE = "With cuda: keep the order of tiles on each SM, with times, as the plain forward kernel's own log has it."


def _kernels() -> Sequence[str]:
    return tuple(kernels.module("validation.cases").TWINS)


def _devices() -> Sequence[str]:
    return tuple(kernels.module("validation.cases").DEVICES)


@click.command(cls=Command, epilog=EXAMPLES)
@option("--kernel", "names", type=take.Name("kernel", _kernels), multiple=True, metavar="NAME", help=KERNEL)
@option("--shapes", multiple=True, metavar="B,H,N,D", help=SHAPES)
@option("--device", type=take.Name("device", _devices), help="cpu or cuda  [default: cuda where there is one]")
@option("--save", type=Output(), metavar="FILE.npz", help=SAVE)
@option("--json", "as_json", is_flag=True, help="All numbers as JSON, instead of tables.")
@click.pass_context
def validate(
    ctx: click.Context,
    names: tuple[str, ...],
    shapes: tuple[str, ...],
    device: str | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Hold the Triton kernels against the reference, load by load.

    Without a GPU, in Triton's interpreter: there each load and store of a kernel is compared with the trace, tile by
    tile. On a GPU, numbers are, and the order of tiles that the plain forward kernel logs. An error may be twice that
    of standard attention in the same type, and 1e-5 more. Exit code 0 if all is the same, 1 if anything differs.
    """
    asked = [kernels.module("validation.cases").shape(text) for text in shapes]
    device = device or _device()
    chosen = kernels.module("validation.cases").cases(names, asked, device)
    if save:
        _check_save(save, device, chosen)
    validating = kernels.ready("validation.validate", device)
    results: list[Any] = []
    try:
        for line in _cases(chosen, _kept(validating.validate(chosen, device), results)):
            if not as_json:
                say(line)
            elif sys.stderr.isatty() and results:
                click.echo(f"\r{len(results)} of {len(chosen)} cases", file=sys.stderr, nl=len(results) == len(chosen))
    except KeyboardInterrupt as stop:
        if as_json:
            click.echo(json.dumps(validating.document(results, device), indent=1))
        raise Stopped(f"{len(results)} of {len(chosen)} cases are done", stop) from None
    document = validating.document(results, device)
    if as_json:
        click.echo(json.dumps(document, indent=1))
    else:
        for line in _report(document, results):
            say(line)
    if save:
        visits = validating.save_visits(save, results, document["gpu"])
        if not as_json:
            say(f"{save}   {size_of(save.stat().st_size)}   {visits:,} visits of tiles")
    ctx.exit(1 if document["differ"] else 0)


def _device() -> str:
    """The GPU where there is one."""
    torch = kernels.needed("torch")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_save(path: Path, device: str, chosen: Sequence[Any]) -> None:
    """Raises ValueError where there will be nothing to save, or no place for it."""
    from .. import files

    if device != "cuda":
        raise ValueError(f"--save {path}: only a GPU has SMs and a clock: add --device cuda, or leave it out")
    if not any(case.kernel == "forward" for case in chosen):
        raise ValueError(f"--save {path}: only the forward kernel keeps a log: add --kernel forward, or leave it out")
    files.check(path, (".npz",))


# ---- the tables


def _report(document: dict[str, Any], results: Sequence[Any]) -> Iterator[str]:
    """What comes after the cases: all tensors, and what there is to say of all of it."""
    yield ""
    yield from _tensors(document)
    yield ""
    differ, count = document["differ"], len(results)
    for result in results:
        if result.comparison.first:
            yield f"{result.case}: {result.comparison.first}"
    if differ:
        yield f"{differ} of {count} cases differ"
    elif document["device"] == "cpu":
        yield f"all {count} cases: every load and store is the trace's, every number as close as it has to be"
    else:
        yield f"all {count} cases: every number is as close as it has to be, every tile visited is the trace's"


def _kept(coming: Iterable[Any], kept: list[Any]) -> Iterator[Any]:
    """The same results, each kept as it comes."""
    for result in coming:
        kept.append(result)
        yield result


#: how wide the figures of a case are, as a rule: they are not known when the first is printed
FIGURES = (8, 5, 6, 13)


def _cases(chosen: Sequence[Any], coming: Iterable[Any]) -> Iterator[str]:
    """A line a case, as soon as it is done: what it was, how much it did, and its worst number."""
    head = ("kernel", "B,H,N,d", "tiles, mask, options", "type", "programs", "loads", "stores", "error/allowed")
    known = [head[:4], *((case.kernel, str(case.shape), case.options, case.dtype) for case in chosen)]
    widths = [max(map(len, map(printable, column))) for column in zip(*known, strict=True)]

    def line(*cells: str) -> str:
        left = (f"{printable(cell):<{width}}" for cell, width in zip(cells, widths, strict=False))
        right = (f"{printable(cell):>{width}}" for cell, width in zip(cells[4:], FIGURES, strict=True))
        return "  ".join([*left, *right]).rstrip()

    for at, result in enumerate(coming):
        if not at:  # only now: it may have been refused
            yield line(*head)
        case, of = result.case, result.comparison
        worst = max(of.errors, key=lambda name: of.errors[name].ratio, default="")
        counts = (_sides(*both) if both else "–" for both in (of.loads, of.stores))
        error = f"{of.errors[worst].ratio:.2f}× ({worst})" if worst else "–"
        differs = " differs" if of.first else ""
        yield line(case.kernel, str(case.shape), case.options, case.dtype, f"{result.programs or '–'}", *counts,
                   error + differs)  # fmt: skip


def _tensors(document: dict[str, Any]) -> Iterator[str]:
    """A line a tensor of each kernel, over all its cases: bytes, kernel against trace, and its worst number."""
    rows = [("kernel", "tensor", "read", "trace", "written", "trace", "error", "allowed")]
    names = dict.fromkeys(case["kernel"] for case in document["cases"])
    for kernel in names:
        of = [case for case in document["cases"] if case["kernel"] == kernel]
        for name in dict.fromkeys(name for case in of for name in (*case["bytes"], *case["errors"])):
            moved = [case["bytes"][name] for case in of if name in case["bytes"]]
            sums = (_sum(moved, side, whose) for side in ("read", "written") for whose in ("kernel", "trace"))
            errors = [case["errors"][name] for case in of if name in case["errors"]]
            worst = max(errors, key=lambda one: one["error"] / one["allowed"], default=None)
            numbers = (f"{worst['error']:.1e}", f"{worst['allowed']:.1e}") if worst else ("", "")
            rows.append((kernel, name, *sums, *numbers))
    yield from table(rows, right="llrrrrrr")


def _sum(moved: Sequence[dict[str, Any]], side: str, whose: str) -> str:
    """Bytes of a tensor over several cases, "" for none, a dash where they could not be seen."""
    numbers = [one[side][whose] for one in moved]
    if None in numbers:
        return "–"
    return f"{sum(numbers):,} B" if any(numbers) else ""


def _sides(kernel: int, trace: int) -> str:
    return f"{kernel:,}" if kernel == trace else f"{kernel:,} of {trace:,}"
