"""Intensity: how many FLOPs are done for each byte of HBM traffic; and the roof that a GPU sets over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..machine.arrays import Work
from ..machine.devices import Device
from ..machine.events import Event
from ..runs import counting


class Part(NamedTuple):
    """What a run, or one of its programs, does and moves: FLOPs of all kinds, and bytes by tensor."""

    work: Work
    nbytes: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.nbytes.values())

    @property
    def intensity(self) -> float:
        return of(self.work, self.total)

    @property
    def of_all(self) -> float:
        """FLOPs of all kinds a byte, for a step that has no product: other units do them, below the same roof."""
        return self.work.total / self.total


def of(work: Work, nbytes: int) -> float:
    """The intensity wherever one is shown: FLOPs of matrix products a byte. The roof is the tensor cores', and they do
    no others."""
    return work.matmul / nbytes if nbytes else 0.0


class _Parts:
    """A tape that adds up each program on its own."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        work, nbytes = self.parts.get(event.program, Part(Work(), {}))
        if event.tile and event.nbytes:
            name = event.tile.tensor
            nbytes = nbytes | {name: nbytes.get(name, 0) + event.nbytes * times}
        self.parts[event.program] = Part(work.plus(event.work, times), nbytes)


def programs(algorithm: str, **sizes: Any) -> tuple[Part, ...]:
    """Each program of a counted run; of standard attention these are its kernels. Sizes as `flashsteps.count`."""
    tape = _Parts()
    counting.walk(algorithm, tape, **sizes)
    return tuple(tape.parts[program] for program in sorted(tape.parts))


def whole(algorithm: str, **sizes: Any) -> Part:
    """A counted run in one."""
    io = counting.count(algorithm, **sizes)
    return Part(io.work, {name: sum(moved) for name, moved in io.by_tensor.items()})


def ridge(gpu: Device) -> float:
    """FLOPs a byte from which on a GPU's tensor cores, not its memory, set the time: both at their peaks."""
    return gpu.tflops / gpu.bandwidth


def roof(gpu: Device, intensity: float) -> float:
    """TFLOP/s at best (Williams, Waterman, Patterson: Roofline, 2009)."""
    return min(gpu.tflops, gpu.bandwidth * intensity)
