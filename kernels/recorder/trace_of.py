"""From a tape to a trace: what a kernel did in the words of the reference, to save, replay, show and film like others.

Each value is the kernel's own: where its m_i carries a factor of log₂ e, or its scores are not yet scaled, so it is in
the trace. Lanes beyond the rows and columns in range are cut off. FLOPs are the kernel's own, too, at the size at
which it runs them, lanes out of range included: dot products, each exp2, log2 and their like, and each add, multiply
or max of floating-point numbers. So they are not quite the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flashsteps.machine.events import Event, Peak, Tile
from flashsteps.trace.trace import Trace

from .tape import KernelStep, KernelTape, Order, Program, by_launch

#: in the axes of a watched variable: the columns of a tile
COLUMNS = "d"


def trace_of(
    tape: KernelTape,
    meta: Mapping[str, Any],
    outputs: Mapping[str, np.ndarray],
    *,
    order: Order = by_launch,
    part: Callable[[Program], int] | None = None,
) -> Trace:
    """The trace of a recorded run: its programs numbered as `order` sorts them, its tensors in the tape's order.

    `meta` says what ran, as `flashsteps.record` says it in its traces (algorithm, queries, keys, d, block_q, block_k,
    mask, scale, dtype, …); the code is the kernels' own. `outputs` are O (N, d) and LSE (N,), or the gradients, with a
    dimension of heads in front where there are several. `part` gives the key-value head of a program, where there are
    several: the loop h. Raises ValueError, one line, for a step that a trace cannot hold: a tile of some of the
    columns, or a watched variable with other axes than `record_kernels` was told.
    """
    events: list[Event] = []
    values: list[np.ndarray | None] = []
    peak = Peak()
    for number, program in enumerate(tape.programs(order)):
        around = {} if part is None else {"h": part(program)}
        chip = _Chip(tape, program, meta["computing"])
        for step in program.steps:
            slot, tile, shape, value = chip.take(step)
            event = Event(len(events), step.op, number, around | step.loop, slot, tile, shape, step.nbytes,
                          step.work, step.line, step.row)  # fmt: skip
            events.append(event)
            values.append(value)
            peak = Peak(*map(max, peak, chip.holds()))
    about = {**meta, "code": tape.source.text, "slots": _variables(tape)}
    return Trace(about, tuple(events), _initial(tape, events), tuple(values), dict(outputs), peak)


def _variables(tape: KernelTape) -> dict[str, str]:
    """The slot that each watched variable stands for, in whatever function."""
    return {name.rpartition(".")[2]: spec[0] for name, spec in tape.slots.items()}


def _initial(tape: KernelTape, events: list[Event]) -> dict[str, np.ndarray]:
    """What the tensors held before, or NaN where a tensor was stored to before anything of it was loaded."""
    first: dict[str, str] = {}
    for event in events:
        if event.tile:
            first.setdefault(event.tile.tensor, event.op)
    unwritten = {name for name, op in first.items() if op == "store" and tape.before[name].dtype.kind != "i"}
    return {name: np.full_like(data, np.nan) if name in unwritten else data for name, data in tape.before.items()}


class _Chip:
    """What a program holds on chip: each slot's value, as far as it is in range, and what it takes up."""

    def __init__(self, tape: KernelTape, program: Program, computing: str) -> None:
        self.tape, self.program, self.computing = tape, program, computing
        self.made: dict[str, np.ndarray] = {}  # what was computed, the newest last
        self.shared: dict[str, int] = {}
        loads = [step for step in program.steps if step.op == "load" and step.lanes is not None]
        self.lanes: dict[str, np.ndarray] = {}  # where the rows of the tile in a slot are: of the first that it gets
        for step in reversed(loads):
            assert step.lanes is not None
            self.lanes[step.slot] = step.lanes[0]
            if len(step.lanes[1]) > 1 or COLUMNS not in self.lanes:
                self.lanes[COLUMNS] = step.lanes[1]

    def take(self, step: KernelStep) -> tuple[str, Tile | None, tuple[int, ...], np.ndarray | None]:
        """The slot, the tile, the shape and the value of a step, which from here on is on chip."""
        if step.op == "compute":
            value = self._cut(step)
            self.shared.pop(step.slot, None)
            self.made.pop(step.slot, None)
            self.made[step.slot] = value
            return step.slot, None, value.shape, value
        region = step.region
        assert region is not None
        tensor = self.tape.tensors[region.tensor]
        tile, shape = Tile(region.tensor, region.start, region.stop), tensor.shape_of(region.start, region.stop)
        if tensor.scores:
            columns = region.left, region.right
            tile, shape = tile._replace(columns=columns), (shape[0], columns[1] - columns[0])
        elif not step.whole:
            raise ValueError(f"{self.program}: {step} is of some columns, but a trace has whole rows: read the tape")
        if step.op == "store":
            return self._stored_from(step.value), tile, shape, step.value
        self.made.pop(step.slot, None)
        self.shared[step.slot] = step.nbytes + (self.shared.get(step.slot, 0) if step.row else 0)
        if step.lanes is not None:
            self.lanes[step.slot] = step.lanes[0]
        return step.slot, tile, shape, None

    def holds(self) -> Peak:
        """Bytes now in shared memory, in registers, in both."""
        shared, registers = sum(self.shared.values()), sum(value.nbytes for value in self.made.values())
        return Peak(shared, registers, shared + registers)

    def _cut(self, step: KernelStep) -> np.ndarray:
        """What a variable got, without the lanes that are out of range, in the order of the rows."""
        assert step.value is not None
        value, axes = step.value, step.axes
        if axes and len(axes) != value.ndim:
            raise ValueError(f"slot {step.slot} got an array of shape {value.shape}, but has the axes {axes}")
        for axis, names in enumerate(axes):
            lanes = next((self.lanes[name] for name in names.split("|") if name in self.lanes), None)
            if lanes is None:
                raise ValueError(f"slot {step.slot} has the axis {names!r}, but {self.program} loads no such tile")
            value = np.take(value, lanes, axis)
        return np.ascontiguousarray(value, self.computing)

    def _stored_from(self, stored: np.ndarray | None) -> str:
        """The newest slot whose value, rounded as HBM's tensor is, was stored; "" where there is none."""
        assert stored is not None
        for slot, value in reversed(self.made.items()):
            if value.shape == stored.shape:
                with np.errstate(over="ignore"):
                    if np.array_equal(value.astype(stored.dtype), stored, equal_nan=True):
                        return slot
        return ""
