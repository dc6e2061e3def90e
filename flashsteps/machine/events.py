"""What a run tells: each step as an event about a tile or a slot, and what steps add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .arrays import Work

Op = Literal["load", "store", "compute", "skip"]


class Tile(NamedTuple):
    """Rows start … stop − 1 of one tensor in HBM: whole, or some of their columns, where it is as wide as S."""

    tensor: str
    start: int
    stop: int
    columns: tuple[int, int] | None = None  # the first, and the one after the last

    def of(self, data: np.ndarray) -> np.ndarray:
        """Its part of the tensor's data."""
        return (
            data[self.start : self.stop] if self.columns is None else data[self.start : self.stop, slice(*self.columns)]
        )

    def __str__(self) -> str:
        columns = "" if self.columns is None else f", {self.columns[0]}:{self.columns[1]}"
        return f"{self.tensor}[{self.start}:{self.stop}{columns}]"


class Event(NamedTuple):
    """One step of a run: a tile is loaded or stored, a slot gets a value, or a tile is passed over.

    `slot` is the on-chip buffer that is written (load, compute) or read (store; "" where a constant is stored), `row`
    the row of the slot where a loaded tile lands, `loop` the index of each loop around the step, outermost first,
    `nbytes` what crosses between HBM and SRAM, `work` the floating-point operations done since the step before, `line`
    the line of the algorithm's source. (A tuple, as a run may have a million of them.)
    """

    step: int
    op: Op
    program: int
    loop: Mapping[str, int]
    slot: str
    tile: Tile | None
    shape: tuple[int, ...]
    nbytes: int
    work: Work
    line: int
    row: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of all kinds."""
        return self.work.total

    def __repr__(self) -> str:
        return f"<event {self}>"

    def __str__(self) -> str:
        where = " ".join(f"{name}={index}" for name, index in self.loop.items())
        size = f"{self.nbytes:,} B"
        match self.op:
            case "load":
                what = f"{self.tile} → {self.slot}   {size}   HBM→SRAM"
            case "store":
                what = f"{self.slot + ' → ' if self.slot else ''}{self.tile}   {size}   SRAM→HBM"
            case "compute":
                what = f"{self.slot}   {'×'.join(map(str, self.shape))}   {self.flops:,} FLOPs"
            case "skip":
                what = f"{self.tile}"
        return f"{self.step}  {where}  {self.op}  {what}" if where else f"{self.step}  {self.op}  {what}"


class Moved(NamedTuple):
    """Bytes of one tensor: read is HBM→SRAM, written is SRAM→HBM."""

    read: int = 0
    written: int = 0


class Peak(NamedTuple):
    """The most bytes on chip at one time: loads in shared memory, computed slots in registers, both together."""

    shared: int = 0
    registers: int = 0
    total: int = 0


@dataclass(frozen=True)
class IO:
    """What a run moved between HBM and SRAM, in bytes, with its work and its peak use of SRAM."""

    by_tensor: Mapping[str, Moved]
    work: Work
    peak: Peak

    @property
    def read(self) -> int:
        return sum(moved.read for moved in self.by_tensor.values())

    @property
    def written(self) -> int:
        return sum(moved.written for moved in self.by_tensor.values())

    @property
    def total(self) -> int:
        return self.read + self.written
