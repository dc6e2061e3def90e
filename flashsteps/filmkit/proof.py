"""Is a saved run what its algorithm does? A film relies on every step of it, and a file may be anybody's.

The algorithm is run once more on the input that the file has, and the steps of both are held against each other: kinds,
tiles, slots, shapes, loops and programs, and the shapes of what was made. What it computed stays the file's own.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import numpy as np

from ..machine.events import Event
from ..machine.masks import ARRAY
from ..runs import again
from ..runs.record import record
from ..trace.trace import Trace

#: what a run was called with, by the names of `record`, as far as a trace says it
OPTIONS = (
    "block_q",
    "block_k",
    "mask",
    "dtype",
    "scale",
    "block_mask",
    "splits",
    *again.PLAIN[1:],
)


def can_be_proven(trace: Trace) -> bool:
    """Whether the file says all that is needed to run it again: a mask that came as an array it only names, pages of
    keys it has as they lie, and of a Triton kernel's run the program is not the algorithm's."""
    meta = trace.meta
    named = [str(meta.get(name) or "") for name in ("mask", "block_mask")]
    by_array = any(part.startswith((ARRAY, "file")) for name in named for part in name.split("+"))
    return not (by_array or "table" in trace.initial or meta.get("kernel"))


def check(trace: Trace) -> None:
    """Raises ValueError, one line, where a step is not what the algorithm does."""
    meta = trace.meta
    options: dict[str, Any] = {name: meta[name] for name in OPTIONS if meta.get(name) is not None}
    try:
        expected = record(meta["algorithm"], **again.tensors(trace), **options)
    except (KeyError, ValueError) as error:
        raise ValueError(f"this trace cannot be what {meta['algorithm']} does: {error}: record it anew") from None
    for step, (ours, theirs) in enumerate(zip_longest(trace, expected)):
        if ours is None or theirs is None:
            raise ValueError(
                f"this trace has {len(trace)} steps, and {meta['algorithm']} does {len(expected)}: record it anew"
            )
        if _seen(ours) != _seen(theirs) or _shape(trace.values[step]) != _shape(expected.values[step]):
            what = f"{meta['algorithm']} does there ({_words(theirs)})"
            raise ValueError(f"step {step} of this trace is not what {what}: record it anew")


def _seen(event: Event) -> tuple[Any, ...]:
    """All of an event but its work and the line of the source, which may be an older one's."""
    loop = tuple(event.loop.items())
    return event.op, event.program, loop, event.slot, event.tile, event.shape, event.nbytes, event.row


def _words(event: Event) -> str:
    return " ".join(str(event).split()[1:])


def _shape(value: np.ndarray | None) -> tuple[int, ...] | None:
    return None if value is None else value.shape
