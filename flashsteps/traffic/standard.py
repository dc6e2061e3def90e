"""Standard attention at the size of another run, in the same direction: what every algorithm is measured by."""

from __future__ import annotations

from typing import Any

from .. import algorithms
from ..machine.events import IO
from ..runs import again
from ..runs.counting import count
from ..trace.trace import Trace


def beside(algorithm: str, **sizes: Any) -> IO:
    """What standard attention moves in the direction of an algorithm; `sizes` are those of `flashsteps.count`.

    Neither a mask nor the size of blocks saves it anything; heads that share keys and values share their loads.
    """
    return count(algorithms.algorithm(algorithm).standard, **sizes)


def beside_run(trace: Trace) -> IO:
    """The same for a recorded run, whoever's it is: for all of its heads together."""
    return count(trace.standard, **again.sizes(trace))
