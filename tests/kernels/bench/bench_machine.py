"""A machine for the tests of `bench`: a clock that only moves when told to, and backends that take a known time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flashsteps.kernels.bench import backends


class FakeMachine:
    """Time goes by when somebody calls `spend`; peaks are as told. What happened is in `log`."""

    kind = "cpu"

    def __init__(self, peak: int | None = 1000, room: int | None = None) -> None:
        self.now, self.log = 0.0, list[str]()
        self._peak, self._room, self.broken = peak, room, ""

    def about_to(self, what: str) -> None:
        pass

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def mark(self) -> float:
        self.log.append("mark")
        return self.now

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def wait(self) -> None:
        if self.broken:
            raise RuntimeError(self.broken)

    def flush(self) -> None:
        self.log.append("flush")
        self.spend(100.0)  # what must never be in a measured time

    def peak(self, call: Callable[[], object]) -> int | None:
        call()
        return self._peak

    def room(self) -> int | None:
        return self._room

    def release(self) -> None:
        pass

    def about(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": "Fake Machine 1"}


def backend(
    machine: FakeMachine,
    seconds: float,
    *,
    wrong: float = 0.0,
    fails: Callable[[int], Exception | None] = lambda call: None,
    **about: Any,
) -> backends.Backend:
    """Right attention, or `wrong` by so much, that takes so long and twice that back; `fails` may raise in a call."""
    calls = [0]

    def make(n: int, causal: bool, device: torch.device) -> backends.Attention:
        right = backends.BACKENDS["standard"].make(n, causal, device)

        def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            calls[0] += 1
            if error := fails(calls[0]):
                raise error
            machine.spend(seconds)
            out = right(q, k, v) + wrong
            if out.requires_grad:
                out.register_hook(lambda grad: machine.spend(2 * seconds))
            return out

        return attention

    return backends.Backend(make, **about)
