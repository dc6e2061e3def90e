"""`flashsteps show`: a saved trace, as a whole or at one step."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from ..units import head_of
from .count import totals
from .options import INTEGER, STEPS, option
from .program import Command, say, table

if TYPE_CHECKING:
    import numpy as np

    from ..trace.trace import State, Trace

#: how many events are listed unless told otherwise
SCREENFUL = 20

EXAMPLES = """\b
Examples:
  flashsteps show run.npz
  flashsteps show run.npz --step 12
  flashsteps show run.npz --events all | grep store
  flashsteps show run.npz --json | jq .totals.read
"""

#: what of a run's meta the summary says in words of its own, or not at all
TOLD = (
    "algorithm", "input", "queries", "keys", "d", "d_v", "heads", "kv_heads", "shape", "layout", "head", "tokens",
    "block_q", "block_k", "mask", "scale",
    "dropout", "seed", "splits", "dtype", "computing", "device", "sram", "code", "kernel", "slots",
)  # fmt: skip


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.npz", help="What `flashsteps record` saved.")
@option("--step", type=INTEGER, help="Show this step: its line, what is on chip and in HBM after it.")
@option("--events", type=STEPS, help="List only events: the first and the one after the last, 20:60, or all.")
@option("--json", "as_json", is_flag=True, help="Print it as JSON, for programs.")
def show(file: Path, step: int | None, events: slice | None, as_json: bool) -> None:
    """Show a saved run: as a whole, one step of it, or its steps."""
    from ..trace import npz as trace_file

    if step is not None and events is not None:
        raise ValueError(f"--step {step} and --events both say what to show: give one of them")
    trace = trace_file.load(file)
    if events is not None and not trace[events] and events.start != events.stop:
        first, last = events.start or 0, len(trace) - 1
        raise ValueError(f"--events {first}:{events.stop or ''} are no steps: give two from 0 to {last:,}, rising")
    if as_json:
        click.echo(json.dumps(_data(trace, step, events), ensure_ascii=False, allow_nan=False, indent=1))
        return
    if step is not None:
        lines = _step(trace, step)
    elif events is not None:
        lines = _events(trace, events)
    else:
        lines = _summary(trace)
    for line in lines:
        say(line)


def _events(trace: Trace, part: slice) -> Iterator[str]:
    """Events as lines; on a terminal, where rich is there, as a table."""
    if not sys.stdout.isatty():
        yield from map(str, trace[part])
        return
    try:
        from . import event_table
    except ImportError:
        yield from map(str, trace[part])
        return
    event_table.show(trace, trace[part])


def _data(trace: Trace, step: int | None, events: slice | None) -> Any:
    """The same as JSON data: events as `flashsteps schema` has them, numbers as the JSON of a run."""
    from ..trace import document as trace_json

    if events is not None:
        return [trace_json.plain(event) for event in trace[events]]
    if step is None:
        parts = {"algorithm": trace.meta["algorithm"], "steps": len(trace), "peak": trace.peak._asdict()}
        return parts | {"totals": trace_json.totals(trace.io()), "meta": trace.meta}
    from ..runs.stepper import Stepper

    stepper = Stepper(trace)
    stepper.seek(step)

    def arrays(of: dict[str, np.ndarray]) -> dict[str, Any]:
        return {
            name: {"dtype": x.dtype.name, "shape": list(x.shape), "data": trace_json.numbers(x)}
            for name, x in of.items()
        }

    state = stepper.state
    return {
        "event": trace_json.plain(stepper.event) if stepper.event else None,
        "caption": stepper.caption,
        "code": stepper.code,
        "totals": trace_json.totals(stepper.io()),
        "sram": arrays(state.sram),
        "hbm": arrays(state.hbm),
    }


def _summary(trace: Trace) -> Iterator[str]:
    """What ran, what it moved, and the first events."""
    rows = ((name, shorten(str(text), 160, placeholder=" …")) for name, text in _options(trace).items() if text)
    yield from table(rows)
    yield ""
    yield from totals(trace.io())
    yield ""
    yield from _events(trace, slice(SCREENFUL))
    if len(trace) > SCREENFUL:
        more = min(len(trace), 2 * SCREENFUL)
        yield f"… {len(trace) - SCREENFUL:,} more: --events {SCREENFUL}:{more}, or --events all"


def _options(trace: Trace) -> dict[str, str]:
    """All that the run was given, as far as it was."""
    meta = trace.meta
    source = {name: value for name, value in (meta["input"] or {}).items() if name not in ("kind", "sha256", "licence")}
    heads = meta.get("heads", 1)
    rows = {
        "algorithm": meta["algorithm"],
        "recorded from": f"the Triton kernel {meta['kernel']}, in the interpreter" if "kernel" in meta else "",
        "input": ", ".join(f"{name} {value}" for name, value in source.items())
        or (meta["input"] or {}).get("kind", ""),
        "sizes": f"{meta['queries']:,} queries, {meta['keys']:,} keys, {head_of(meta['d'], meta.get('d_v'))}",
        "heads": f"{heads:,} of queries, {meta.get('kv_heads', 1):,} of keys and values" if heads != 1 else "",
        "given": _given(meta),
        "tokens": " ".join(meta["tokens"] or ()),
        "blocks": f"{meta['block_q']} queries × {meta['block_k']} keys",
        "mask": meta["mask"] or "none",
        "scale": f"{meta['scale']:g}",
        "dropout": f"{meta['dropout']}, from seed {meta.get('seed')}" if "dropout" in meta else "",
        "dtype": f"{meta['dtype']} in HBM, {meta['computing']} on chip",
        "fits in": meta["device"] or (f"a toy's SRAM of {meta['sram']:,} B" if meta["sram"] else ""),
        "splits": _pieces(meta),
        "table": " ".join(map(str, trace.initial["table"].tolist())) if "table" in trace.initial else "",
    }
    others = {name: value for name, value in meta.items() if name not in TOLD and value is not None}
    return rows | {name.replace("_", " "): str(value) for name, value in others.items() if name not in rows}


def _given(meta: Mapping[str, Any]) -> str:
    """How q lay, where it was more than one matrix."""
    words = [
        f"q of shape {'×'.join(map(str, meta['shape']))}" if "shape" in meta else "",
        f"layout {meta['layout']}" if "layout" in meta else "",
        f"head {','.join(map(str, meta['head']))} of it" if "head" in meta else "",
    ]
    return ", ".join(filter(None, words))


def _pieces(meta: Mapping[str, Any]) -> str:
    """How many pieces of the keys there are: whole blocks, by ceil division, so there can be fewer than asked for."""
    if type(meta.get("splits")) is not int or meta["splits"] < 1:  # there are none, or a stranger's trace says anything
        return str(meta.get("splits", ""))
    from ..traffic.formulas import pieces

    made = pieces(meta["keys"], meta["block_k"], meta["splits"])
    return f"{made}" if made == meta["splits"] else f"{made}, of the {meta['splits']} asked for"


def _step(trace: Trace, step: int) -> Iterator[str]:
    """One step: its line and caption, then everything as it stands after it."""
    from ..runs.stepper import Stepper

    stepper = Stepper(trace)
    stepper.seek(step)
    state = stepper.state
    if step >= 0:
        yield str(trace[step])
        yield f"line {stepper.line}: {stepper.code}"
        if stepper.caption:
            yield stepper.caption
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

    rows = int((~np.isnan(data).reshape(len(data), math.prod(data.shape[1:])).any(axis=1)).sum())
    return f"{rows} of {len(data)} rows" if rows < len(data) else "all there"


def _made(trace: Trace, state: State) -> np.ndarray | None:
    """What the step put into a slot or into HBM."""
    event = trace[state.step]
    return state.sram[event.slot] if event.op in ("load", "compute") else trace.values[event.step]


def _shape(data: np.ndarray) -> str:
    return "×".join(map(str, data.shape))
