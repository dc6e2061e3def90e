"""A kernel's tape: what each of its programs loaded, made and stored, step by step.

`record_kernels` gives one; everything that the interpreter does is told to it. Plain data from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

import numpy as np

from flashsteps.machine.arrays import Work

from .source import Source, is_kernel
from .tensors import Region, Registered, lanes, runs

Move = Literal["load", "store"]


class Refused(ValueError):
    """What a kernel did that no step can tell: it comes through the interpreter's own errors as it is."""


#: variable, or function.variable: the slot, then what each axis counts (as `record_kernels` says)
Slots = Mapping[str, tuple[str, ...]]


@dataclass
class KernelStep:
    """One step of a program: a region is loaded or stored, or a slot gets a value.

    `line` is of the tape's `source`, `loop` the index of each loop around the step, `work` what the kernel computed
    since the step before, at the size at which it ran (with lanes beyond N and d). `value` is what a store left in HBM,
    rows × columns, or what a slot got, with all its lanes. `row` is where in its slot a tile lands, if one load brings
    several; `lanes` says where in all of that load its rows and its columns are, in order.
    """

    op: Literal["load", "store", "compute"]
    region: Region | None
    nbytes: int
    slot: str
    line: int
    loop: dict[str, int]
    work: Work = Work()
    value: np.ndarray | None = None
    lanes: tuple[np.ndarray, np.ndarray] | None = None
    row: int = 0
    axes: tuple[str, ...] = ()  # what those of a computed value count
    whole: bool = True  # all columns of its rows

    def __str__(self) -> str:
        if self.region is None:
            return f"compute {self.slot}"
        columns = "" if self.whole else f", {self.region.left}:{self.region.right}"
        return f"{self.op} {self.region.tensor}[{self.region.start}:{self.region.stop}{columns}]"


@dataclass
class Program:
    """What one program did: the launch that it is of (from 0), its kernel, its place on the grid, and its steps."""

    launch: int
    kernel: str
    grid: tuple[int, int, int]
    steps: list[KernelStep] = field(default_factory=list)

    @property
    def index(self) -> dict[str, int]:
        """Which block it is about, as far as `loops` says: the loops around its first step."""
        return self.steps[0].loop if self.steps else {}

    def __str__(self) -> str:
        return f"program {self.grid} of {self.kernel}"


#: what programs are sorted by
Order = Callable[[Program], Any]


def by_launch(program: Program) -> Any:
    """All programs of a launch, then those of the next; the first axis of the grid runs fastest."""
    return program.launch, program.grid[::-1]


class KernelTape:
    """What `record_kernels` gives: the programs that ran, what the tensors held before, the kernels' source."""

    def __init__(
        self, names: Iterable[str], slots: Slots, loops: Mapping[str, tuple[str, int]], source: Source
    ) -> None:
        self.tensors: dict[str, Registered] = {}
        self.before: dict[str, np.ndarray] = {}
        self.slots, self.loops, self.source = slots, loops, source
        self._names = list(names)  # the order of the tensors, whenever each is registered
        self._programs: dict[tuple[int, tuple[int, int, int]], Program] = {}
        self._launch, self._kernel = -1, ""
        self._held: dict[str, np.ndarray] = {}  # slot → the interpreter's array that is in it
        self._naming: list[tuple[Any, int, KernelStep]] = []  # loads that say which block is next, with frame and line
        self._loaded: list[tuple[np.ndarray, KernelStep]] = []  # what this program loaded: any of it may get a name
        self._work = Work()

    def programs(self, order: Order = by_launch) -> list[Program]:
        """The programs, each with its steps as they came, in this order: the interpreter's own means nothing."""
        self._named()
        return sorted(self._programs.values(), key=order)

    # ---- told by the interpreter

    def register(self, tensor: Registered) -> None:
        """A tensor that kernels may touch. Raises ValueError where another one has its name."""
        name, known = tensor.name, self.tensors.get(tensor.name)
        if known is not None:
            if (known.start, known.array.shape, known.array.strides) != (
                tensor.start, tensor.array.shape, tensor.array.strides,
            ):  # fmt: skip
                raise ValueError(f"{name} is another tensor in the second launch: record one run at a time")
            return
        self.tensors[name], self.before[name] = tensor, tensor.read(0, tensor.rows)
        self.tensors = {name: self.tensors[name] for name in self._names if name in self.tensors}
        self.before = {name: self.before[name] for name in self.tensors}

    def launched(self, kernel: str) -> None:
        self._launch, self._kernel = self._launch + 1, kernel

    def moved(self, op: Move, grid: tuple[int, int, int], pointers: Any, mask: Any) -> list[KernelStep]:
        """A load or a store: the steps that it is, one for each run of rows that follow each other."""
        program = self._program(grid)
        self._named()
        addresses, live = np.broadcast_arrays(pointers, True if mask is None else np.asarray(mask, bool))
        if not live.any():
            return []
        frame = self.source.frame(sys._getframe(2))
        line = self.source.line(frame.f_code, frame.f_lineno)
        touched = addresses[live]
        found = next((both for both in self._candidates(touched)), None)
        if found is None:
            raise Refused(self._outside(op, program, touched, frame))
        tensor, (rows, columns) = found
        where = lanes(live, rows, columns) if self.slots and op == "load" else None
        steps: list[KernelStep] = []
        row = 0  # of the slot, where a load brings several runs
        for start, stop in runs(rows):
            region, elements = self._region(op, program, tensor, frame, rows, columns, start, stop)
            step = KernelStep(op, region, elements * tensor.array.itemsize, "", line, self._loop(frame), self._worked())
            step.slot = tensor.name.lower() if op == "load" else ""
            step.whole = region.right - region.left == tensor.columns
            step.row, step.lanes = row, where
            row += stop - start
            steps.append(step)
        program.steps += steps
        if op == "load":
            self._naming = [(frame, frame.f_lineno, step) for step in steps]
        return steps

    def loaded(self, steps: list[KernelStep], data: np.ndarray) -> None:
        """What a load gave, so that it is known again when a variable gets it."""
        self._loaded += [(data, step) for step in steps]

    def stored(self, steps: list[KernelStep]) -> None:
        """After a store: what is in HBM now."""
        for step in steps:
            assert step.region is not None
            tensor, region = self.tensors[step.region.tensor], step.region
            rows = tensor.read(region.start, region.stop)
            step.value = rows[:, region.left : region.right] if rows.ndim > 1 else rows

    def bound(self, grid: tuple[int, int, int], frame: Any, ran: int, name: str, data: np.ndarray) -> None:
        """A watched variable got a value: a new one, a tile that was just loaded, or what its slot holds already.

        `ran` is the line of the frame's file that gave it.
        """
        self._named()
        (slot, *axes), line = self.watched(frame.f_code, name), self.source.line(frame.f_code, ran)
        if self._held.get(slot) is data:
            return
        self._held[slot] = data
        if tiles := [step for array, step in self._loaded if _views(data, array)]:
            for step in tiles:
                step.slot, step.line = slot, line
            return
        program = self._program(grid)
        step = KernelStep("compute", None, 0, slot, line, self._loop(frame, ran), self._worked(), np.array(data))
        step.axes = tuple(axes)
        program.steps.append(step)

    def watched(self, code: CodeType, name: str) -> tuple[str, ...]:
        """The slot and axes of a function's variable; nothing where it is not watched."""
        return self.slots.get(f"{code.co_name}.{name}") or self.slots.get(name) or ()

    def computed(self, grid: tuple[int, int, int], work: Work) -> None:
        """The work of one operation on floating-point numbers: it is of the step that comes next."""
        self._program(grid)
        self._work = self._work.plus(work)

    # ---- how it is done

    def _program(self, grid: tuple[int, int, int]) -> Program:
        key = self._launch, grid
        if key not in self._programs:
            self._programs[key] = Program(self._launch, self._kernel, grid)
            self._held, self._loaded, self._work = {}, [], Work()
        return self._programs[key]

    def _worked(self) -> Work:
        work, self._work = self._work, Work()
        return work

    def _region(self, op: Move, program: Program, tensor: Registered, frame: Any, rows: np.ndarray, columns: np.ndarray,
                start: int, stop: int) -> tuple[Region, int]:  # fmt: skip
        """What is touched of rows start … stop − 1, and how many elements that is. Raises Refused for no region."""
        inside = (rows >= start) & (rows < stop)
        left, right = int(columns[inside].min()), int(columns[inside].max()) + 1
        elements = np.unique(rows[inside] * tensor.columns + columns[inside]).size
        again = op == "store" and elements != inside.sum()  # lanes that load one element get it by one load
        if again or elements != (stop - start) * (right - left):
            what = f"{tensor.name}[{start}:{stop}] with other columns in some rows, or some of it twice"
            raise Refused(f"{program} {op}s {what}, which is no tile: {self.source.quote(frame)}")
        return Region(tensor.name, start, stop, left, right), elements

    def _candidates(self, addresses: np.ndarray) -> Iterator[tuple[Registered, tuple[np.ndarray, np.ndarray]]]:
        low, high = int(addresses.min()), int(addresses.max())
        for tensor in self.tensors.values():
            if tensor.start <= low and high < tensor.stop and (found := tensor.find(addresses)) is not None:
                yield tensor, found

    def _named(self) -> None:
        """A load in the statement that sets a loop's variable, j = tl.load(…), is of the round that this begins."""
        for frame, ran, step in self._naming:
            named = self._counted(frame.f_code)
            for variable in self.source.assigned(frame.f_code, ran):
                if variable in named and variable in frame.f_locals:
                    name, size = named[variable]
                    step.loop[name] = int(_number(frame.f_locals[variable])) // size
        self._naming = []

    def _counted(self, code: CodeType) -> dict[str, tuple[str, int]]:
        """The loops that a function's variables count, by variable."""
        return {key.rpartition(".")[2]: loop for key, loop in self.loops.items()
                if key.rpartition(".")[0] in ("", code.co_name)}  # fmt: skip

    def _loop(self, frame: Any, ran: int | None = None) -> dict[str, int]:
        """The index of each loop around this place, outermost first, in the kernel and in what it called."""
        found: dict[str, int] = {}
        for here in reversed(list(_frames(frame))):
            line = ran if here is frame and ran is not None else here.f_lineno
            named = self._counted(here.f_code)
            for variable in self.source.counting(here.f_code, line, named):
                if variable in here.f_locals:
                    name, size = named[variable]
                    found[name] = int(_number(here.f_locals[variable])) // size
        return found

    def _outside(self, op: str, program: Program, addresses: np.ndarray, frame: Any) -> str:
        """Nearest tensor, program and source line of an access that is in no tensor."""
        low, high = int(addresses.min()), int(addresses.max())
        if not self.tensors:
            return f"{program} {op}s from a tensor that is not registered: {self.source.quote(frame)}"

        def away(tensor: Registered) -> int:
            return max(tensor.start - high, low - tensor.stop, 0)

        tensor = min(self.tensors.values(), key=away)
        if low >= tensor.start and high < tensor.stop:
            where = f"between the elements of {tensor.name}, or across its ends"
        elif high >= tensor.stop:
            where = f"up to {high + tensor.array.itemsize - tensor.stop:,} B past the end of {tensor.name}"
        else:
            where = f"from {tensor.start - low:,} B before the start of {tensor.name}"
        shape = "×".join(map(str, (tensor.rows, *tensor.array.shape[tensor.leading :])))
        return f"{program} {op}s {where} ({shape}): {self.source.quote(frame)}"


def _frames(frame: Any) -> Iterator[Any]:
    """This frame of a kernel and those of kernels that called it, innermost first."""
    while frame is not None:
        if is_kernel(frame.f_code):
            yield frame
        frame = frame.f_back


def _views(array: np.ndarray | None, of: np.ndarray) -> bool:
    """Whether an array is another one, or a view of it."""
    while isinstance(array, np.ndarray):
        if array is of:
            return True
        array = array.base
    return False


def _number(value: Any) -> Any:
    """A loop variable as a number: Python's own, or Triton's."""
    handle = getattr(value, "handle", None)
    return value if handle is None else handle.data.reshape(-1)[0]
