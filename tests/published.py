"""Figures that were published without the rule by which they were counted, and the rule that fits them."""

from typing import Any

from flashsteps.machine.events import IO, Event
from flashsteps.runs import counting
from flashsteps.trace.rules import Rule, Tally
from flashsteps.traffic.formulas import Elements, ceil, figure_2_middle


def figure_2_left(N: int, d: int, block_k: int) -> Elements:
    """(13 + 20)·Nd at Tc = 4: FA1's Figure 2, left, forward as in `figure_2_middle` and backward (4 + 4Tc)·Nd.

    A fit: that the backward pass read O only once and dQ not at first is what makes the published 4.4 GB come out.
    """
    return Elements(figure_2_middle(N, d, block_k).total + (4 + 4 * ceil(N, block_k)) * N * d)


def kernel_of_2022(**sizes: Any) -> IO:
    """flash-backward as FA1's Figure 2, left, seems to count it, of `flashsteps.count`'s sizes."""
    tally = Tally(Rule("FA1, Figure 2, left, a fit", ("flash-backward",), _counts))
    hbm, memory = counting.walk("flash-backward", tally, **sizes)
    return tally.io(hbm.tensors, memory.peak)


def _counts(event: Event) -> bool:
    """No ℓ and m, nothing that only sets up; O is read for the first block of keys only (D is kept), dQ not for it."""
    tensor, later = event.tile.tensor if event.tile else "", event.loop.get("j") != 0
    set_up = event.op == "store" and not event.slot
    again = event.op == "load" and ((tensor == "O" and later) or (tensor == "dQ" and not later))
    return tensor not in ("m", "l") and not set_up and not again
