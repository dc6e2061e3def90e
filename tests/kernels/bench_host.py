"""What a call of attention costs the host: Python and dispatch, up to a kernel's launch. `make bench` prints it.

python tests/kernels/bench_host.py

Nothing is launched: `stubbed` stands in for the GPU. What is compared runs turn about; shown is the best of the rounds,
in the process's own time, which others at work on the machine change least. Beside it is torch's own function, on the
CPU, for one query: there it is dispatch, and next to no work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import triton
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).parents[2]))
from flashsteps.kernels import flash_attention, relaunch  # noqa: E402
from tests.kernels.stubbed import NAME, stubbed  # noqa: E402

ROUNDS, CALLS = 60, 20


def best(*calls: Callable[[], object]) -> list[float]:
    """Microseconds that each of these takes."""
    found = [[] for _ in calls]  # type: list[list[float]]
    for _ in range(ROUNDS):
        for call, took in zip(calls, found, strict=True):
            began = time.process_time()
            for _ in range(CALLS):
                call()
            took.append((time.process_time() - began) / CALLS * 1e6)
    return [min(took) for took in found]


def passes(attention: Callable[..., torch.Tensor], n: int, d: int, dtype: torch.dtype) -> list[Callable[[], object]]:
    """A forward pass, and a forward and a backward pass, of two heads."""
    q, k, v, do = (torch.zeros(1, 2, n, d, dtype=dtype, requires_grad=True) for _ in range(4))

    def forward() -> torch.Tensor:
        return attention(q, k, v, is_causal=True)

    return [forward, lambda: torch.autograd.grad(forward(), (q, k, v), do.detach())]


def searching(call: Callable[[], object]) -> Callable[[], object]:
    """The same, with Triton's own search for what it compiled."""

    def called() -> None:
        with mock.patch.object(relaunch, "HELD_AGAINST", ()):
            call()

    return called


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"\nHost time of a call on a pretended {NAME}: bfloat16, causal, Triton {triton.__version__}, nothing launched."
    )
    print("SDPA is torch's own function on the CPU, for one query, float32.\n")
    print("                          flashsteps  with Triton's search       SDPA  flashsteps / SDPA")
    launched = [0]

    def launch(*given: object) -> None:
        launched[0] += 1

    with stubbed(launch):
        for d in (64, 128):
            ours = passes(flash_attention, 16, d, torch.bfloat16)
            torchs = passes(scaled_dot_product_attention, 1, d, torch.float32)
            for name, our, sdpa in zip(("forward", "forward, backward"), ours, torchs, strict=True):
                our()
                before = launched[0]
                our()
                many = launched[0] - before
                mine, search, other = best(our, searching(our), sdpa)
                print(
                    f"d = {d:3}, {name:17}  {mine:7.0f} µs  {search:17.0f} µs  {other:6.1f} µs  {mine / other:14.1f}×"
                    f"   {many} launches"
                )


if __name__ == "__main__":
    main()
