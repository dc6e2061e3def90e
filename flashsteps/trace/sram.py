"""What a run has on chip after each step, and how much there is room for."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ..machine import devices
from ..machine.events import Peak
from .trace import Trace


class Room(NamedTuple):
    """How many bytes SRAM holds, and whose it is: a device's title, or "toy"."""

    nbytes: int
    of: str


def room(trace: Trace) -> Room:
    """The SRAM that a run is seen in: its device's shared memory and registers, or the toy's that it was given.

    A run with neither gets the smallest toy that is enough, of a power of two.
    """
    if trace.meta["device"]:
        gpu = devices.device(trace.meta["device"])
        return Room((gpu.shared_per_block + gpu.registers_per_sm) * 1024, gpu.title)
    return Room(trace.meta["sram"] or 1 << max(0, trace.peak.total - 1).bit_length(), "toy")


def on_chip(trace: Trace) -> list[Peak]:
    """The bytes on chip after each step: in shared memory, in registers, in both. Shapes alone say it."""
    itemsize = {name: data.itemsize for name, data in trace.initial.items()}
    computing = np.dtype(trace.meta["computing"])
    shared, registers, program = dict[str, int](), dict[str, int](), 0
    taken: list[Peak] = []
    for event in trace:
        if event.program != program:
            program, shared, registers = event.program, {}, {}
        if event.op == "load" and event.tile:
            registers.pop(event.slot, None)
            rows = event.row + event.shape[0]
            shared[event.slot] = rows * prod(event.shape[1:]) * itemsize[event.tile.tensor]
        elif event.op == "compute":
            shared.pop(event.slot, None)
            registers[event.slot] = prod(event.shape) * computing.itemsize
        loads, made = sum(shared.values()), sum(registers.values())
        taken.append(Peak(loads, made, loads + made))
    return taken
