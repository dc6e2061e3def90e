"""`flashsteps show`: a saved trace, as a whole or at one step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from .count import totals
from .options import INTEGER, STEPS, option
from .program import Command, say, table

if TYPE_CHECKING:
    import numpy as np

    from ..trace import State, Trace

#: how many events are listed unless told otherwise
SCREENFUL = 20

EXAMPLES = """\b
Examples:
  flashsteps show run.npz
  flashsteps show run.npz --step 12
  flashsteps show run.npz --events all | grep store
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.npz", help="What `flashsteps record` saved.")
@option("--step", type=INTEGER, help="Show this step: its line, what is on chip and in HBM after it.")
@option("--events", type=STEPS, help="List only events: the first and the one after the last, 20:60, or all.")
def show(file: Path, step: int | None, events: slice | None) -> None:
    """Show a saved trace: as a whole, one step of it, or its steps."""
    from .. import trace_file

    if step is not None and events is not None:
        raise ValueError(f"--step {step} and --events both say what to show: give one of them")
    trace = trace_file.load(file)
    if step is not None:
        lines = _step(trace, step)
    elif events is not None:
        lines = map(str, trace[events])
    else:
        lines = _summary(trace)
    for line in lines:
        say(line)


def _summary(trace: Trace) -> Iterator[str]:
    """What ran, what it moved, and the first events."""
    meta = trace.meta
    source = {name: value for name, value in (meta["input"] or {}).items() if name not in ("kind", "sha256", "licence")}
    fits = meta["device"] or (f"a toy's SRAM of {meta['sram']:,} B" if meta["sram"] else "")
    rows = {
        "algorithm": meta["algorithm"],
        "recorded from": f"the Triton kernel {meta['kernel']}, in the interpreter" if "kernel" in meta else "",
        "input": ", ".join(f"{name} {value}" for name, value in source.items())
        or (meta["input"] or {}).get("kind", ""),
        "sizes": f"{meta['queries']:,} queries, {meta['keys']:,} keys, d = {meta['d']}",
        "tokens": " ".join(meta["tokens"] or ()),
        "blocks": f"{meta['block_q']} queries × {meta['block_k']} keys",
        "mask": meta["mask"] or "none",
        "scale": f"{meta['scale']:g}",
        "dtype": f"{meta['dtype']} in HBM, {meta['computing']} on chip",
        "fits in": fits,
    }
    yield from table((name, shorten(str(text), 160, placeholder=" …")) for name, text in rows.items() if text)
    yield ""
    yield from totals(trace.io())
    yield ""
    yield from map(str, trace[:SCREENFUL])
    if len(trace) > SCREENFUL:
        more = min(len(trace), 2 * SCREENFUL)
        yield f"… {len(trace) - SCREENFUL:,} more: --events {SCREENFUL}:{more}, or --events all"


def _step(trace: Trace, step: int) -> Iterator[str]:
    """One step: its line and caption, then everything as it stands after it."""
    state = trace.at(step)
    if step >= 0:
        yield str(trace[step])
        yield from _line(trace, step)
        yield ""
    on_chip = list(_on_chip(trace, state))
    yield f"on chip, {sum(nbytes for _, _, nbytes in on_chip):,} B"
    yield from _indented((slot, _shape(value), f"{nbytes:,} B") for slot, value, nbytes in on_chip)
    yield "in HBM"
    yield from _indented((name, _shape(data), _written(data)) for name, data in state.hbm.items())
    if step >= 0 and (made := _made(trace, state)) is not None:
        import numpy as np

        yield ""
        yield f"{trace[step].slot or trace[step].tile} ="
        yield from np.array2string(
            made, precision=4, suppress_small=True, threshold=100, max_line_width=110
        ).splitlines()


def _indented(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    return (f"  {line}" for line in table(rows, right="llr"))


def _line(trace: Trace, step: int) -> Iterator[str]:
    """The source line of a step, and the caption that stands there, as far as the trace's code can be understood."""
    from .. import narration

    number = trace[step].line
    try:
        lines = narration.of(trace.meta)
        code = lines[number].code
        captions = (lines[event.line].caption for event in reversed(trace[: step + 1]))
        caption = next(filter(None, captions), "")
    except Exception:  # a stranger's trace may hold any text as its code
        code, caption = trace.meta["code"].split("\n")[number - 1], ""
    yield f"line {number}: {code.strip()}"
    if caption:
        yield caption


def _on_chip(trace: Trace, state: State) -> Iterator[tuple[str, np.ndarray, int]]:
    """Each slot with its value and its bytes: what was loaded takes what it takes in HBM."""
    sizes: dict[str, int] = {}
    for event in trace[: state.step + 1]:
        if event.op == "load" and event.tile:
            sizes[event.slot] = trace.initial[event.tile.tensor].dtype.itemsize
        elif event.op == "compute":
            sizes.pop(event.slot, None)
    for slot, value in state.sram.items():
        yield slot, value, value.size * sizes.get(slot, value.dtype.itemsize)


def _written(data: np.ndarray) -> str:
    """How much of a tensor is there: what nobody wrote yet is NaN."""
    import numpy as np

    rows = int((~np.isnan(data).reshape(len(data), -1).any(axis=1)).sum())
    return f"{rows} of {len(data)} rows" if rows < len(data) else "all there"


def _made(trace: Trace, state: State) -> np.ndarray | None:
    """What the step put into a slot or into HBM."""
    event = trace[state.step]
    return state.sram[event.slot] if event.op in ("load", "compute") else trace.values[event.step]


def _shape(data: np.ndarray) -> str:
    return "×".join(map(str, data.shape))
