"""Gluon kernels of Hopper run as Python: partitions in turns, barriers with phases, products that end when waited for.

A Gluon kernel has no interpreter. Here its own source runs, with stand-ins for the language: shared memory and
registers are NumPy arrays, a partition is a thread, of which one runs at a time, until a barrier holds it up. A copy is
done at once and a product reads its operands when it is waited for, after all others have run; or, with `late`, a
product reads at once and a copy is done when nothing else can go on, NaN until then: of several that which was asked
for first (0) or last (−1), since a GPU may do them in any order. So memory that is given back too soon makes wrong
numbers in the first case, memory that is read too soon in the others, and what would hang on a GPU is a Fault. So is
memory that a partition has written and the copy engine or a product reads with no fence between. Copies to HBM read
shared memory when they are waited for, or at once, in the same two cases as products. In each case one partition may be
`lazy`: it goes on when no other can, so that they are ahead of it by as much as barriers let them.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl

from flashsteps.kernels.targets.target import Launch


class Fault(Exception):
    """All partitions wait for each other, or a barrier is arrived at too often."""


class Turns:
    """Partitions take turns: each runs until it waits for something."""

    def __init__(self, next_copy: int, lazy: str = "") -> None:
        self.next, self.lazy = next_copy, lazy
        self.changed = threading.Condition()
        self.waiting: dict[str, Callable[[], bool]] = {}
        self.turn = ""
        self.copies: list[Callable[[], None]] = []  # those that are under way
        self.error: BaseException | None = None

    def run(self, partitions: dict[str, Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._one, args=one, name=one[0]) for one in partitions.items()]
        self.waiting = {name: lambda: True for name in partitions}
        self.turn = next(iter(partitions))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.error:
            raise self.error

    def _one(self, name: str, work: Callable[[], None]) -> None:
        with self.changed:
            try:
                self.changed.wait_for(lambda: self.turn == name or self.error)
                if not self.error:
                    with np.errstate(all="ignore"):  # which each thread has of its own
                        work()
            except BaseException as error:
                self.error = self.error or error
            del self.waiting[name]
            self._next()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Let others run, and go on when it is this one's turn again."""
        name = threading.current_thread().name
        if name not in self.waiting:
            assert ready()  # before there are partitions nothing has to be waited for
            return
        self.waiting[name] = ready
        self.waiting[name] = self.waiting.pop(name)  # the last in the row
        self._next()
        self.changed.wait_for(lambda: self.turn == name or self.error)
        if self.error:
            raise self.error

    def _ready(self) -> str:
        """Who goes on: who has waited longest, or, with the last copies first, one partition as long as it can."""
        row = reversed(self.waiting.items()) if self.next else self.waiting.items()
        return next((name for name, ready in sorted(row, key=lambda one: one[0] == self.lazy) if ready()), "")

    def _next(self) -> None:
        try:
            self.turn = self._ready()
            while self.copies and not self.turn:
                self.copies.pop(self.next)()
                self.turn = self._ready()
            if self.waiting and not self.turn:
                raise Fault(f"{', '.join(self.waiting)} wait for each other")
        except Fault as fault:
            self.error = self.error or fault
        self.changed.notify_all()


class Scalar(int):
    """A whole number that knows how to become another type, and what comes of it by counting, too."""

    def to(self, dtype: Any) -> Scalar:
        return self

    def __add__(self, other: Any) -> Any:
        return _plain(np.add(int(self), other))

    def __mul__(self, other: Any) -> Any:
        return _plain(np.multiply(int(self), other))

    def __floordiv__(self, other: Any) -> Any:
        return Scalar(int(self) // other)

    def __mod__(self, other: Any) -> Any:
        return Scalar(int(self) % other)


class Registers(np.ndarray):
    """A tensor in registers; `to` rounds to what shared memory holds."""

    def to(self, dtype: Any) -> Registers:
        return in_registers(torch.tensor(np.asarray(self)).to(dtype).float().numpy()) if dtype else self


def in_registers(x: Any) -> Registers:
    return np.asarray(x).view(Registers)


class Barrier:
    def __init__(self) -> None:
        self.count = self.left = self.coming = 0
        self.phase = 0

    def arrive(self, arrivals: int, nbytes: int = 0) -> None:
        self.left, self.coming = self.left - arrivals, self.coming + nbytes
        if self.left < 0:
            raise Fault("a barrier is arrived at more often than it waits for")
        if not self.left and not self.coming:
            self.phase, self.left = self.phase + 1, self.count


class Shared:
    """Shared memory: an array, or barriers. What was written, and by whom, is in `unfenced` until there is a fence."""

    def __init__(self, array: Any, dtype: Any, unfenced: list[tuple[str, np.ndarray]]) -> None:
        self.array, self.dtype, self.unfenced = array, dtype, unfenced

    @property
    def nbytes(self) -> int:
        return int(self.array.size) * (self.dtype.itemsize if self.dtype else 4)

    def index(self, at: int) -> Shared:
        return Shared(self.array[int(at)], self.dtype, self.unfenced)

    def reshape(self, shape: Any) -> Shared:
        return Shared(self.array.reshape(shape), self.dtype, self.unfenced)

    def permute(self, axes: Any) -> Shared:
        return Shared(self.array.transpose(axes), self.dtype, self.unfenced)

    def slice(self, start: int, length: int, dim: int) -> Shared:
        return Shared(self.array[(slice(None),) * dim + (slice(start, start + length),)], self.dtype, self.unfenced)

    def store(self, x: Any) -> None:
        self.unfenced.append((threading.current_thread().name, self.array))
        self.array[...] = x

    def load(self, layout: Any) -> Registers:
        return in_registers(self.array.copy())

    def read(self) -> np.ndarray:
        """What the copy engine, or a product, finds here."""
        if any(np.shares_memory(self.array, written) for _, written in self.unfenced):
            raise Fault("shared memory was written, and is read by another engine with no fence between")
        found: np.ndarray = self.array
        return found


class Descriptor:
    """What `TensorDescriptor` says, over its tensor's own memory; what is copied is noted in `moved`."""

    layout = None

    def __init__(self, name: str, given: Any, moved: list[Any]) -> None:
        self.name, self.given, self.moved, self.dtype = name, given, moved, given.base.dtype
        self.tensor = torch.as_strided(given.base, given.shape, given.strides)

    def _inside(self, at: Any) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        sizes = list(zip(at, self.given.block_shape, self.given.shape, strict=True))
        there = tuple(slice(a, min(a + block, size)) for a, block, size in sizes)
        return there, tuple(slice(0, max(0, one.stop - one.start)) for one in there)

    def load(self, at: Any) -> np.ndarray:
        there, here = self._inside(at)
        self.moved.append(("load", self.name, there))
        block = np.zeros(self.given.block_shape, np.float32)
        block[here] = self.tensor[there].float().numpy()
        return block

    def store(self, at: Any, block: np.ndarray) -> None:
        there, here = self._inside(at)
        self.moved.append(("store", self.name, there))
        self.tensor[there] = torch.from_numpy(np.ascontiguousarray(block[here])).to(self.dtype)

    def add(self, at: Any, block: np.ndarray) -> None:
        there, here = self._inside(at)
        self.moved.append(("add", self.name, there))
        self.tensor[there] += torch.from_numpy(np.ascontiguousarray(block[here]))


class Product:
    """An accumulator that is still being made."""

    def __init__(self, a: Any, b: Shared, acc: Any, use_acc: bool) -> None:
        self.operands, self.done = (a, b, acc if use_acc else 0), False
        self._made: Registers | None = None

    def made(self) -> Registers:
        if self._made is None:
            a, b, acc = self.operands
            wide = a.read() if isinstance(a, Shared) else np.asarray(a)
            before = acc.made() if isinstance(acc, Product) else acc  # one product after another, in the same registers
            self._made = in_registers(wide @ b.read() + np.asarray(before))
        return self._made


class Emulator:
    """The language of one program, at one place of the grid."""

    def __init__(
        self, grid: tuple[int, ...], place: tuple[int, ...], moved: list[Any], late: int | None, lazy: str = ""
    ) -> None:
        self.turns, self.moved, self.late = Turns(late or 0, lazy), moved, late
        self.going: dict[str, list[Product]] = {}
        self.storing: dict[str, list[Callable[[], None]]] = {}  # copies to HBM that nobody has waited for
        self.unfenced: list[tuple[str, np.ndarray]] = []
        numpy = {name: np.__dict__[name] for name in ("maximum", "minimum", "exp2", "log2")}
        self.gl = SimpleNamespace(
            **numpy,
            **dict.fromkeys(_LAYOUTS, _nothing),
            float32=None,
            int64="barrier",
            program_id=lambda axis: Scalar(place[axis]),
            num_programs=lambda axis: grid[axis],
            arange=lambda start, stop, layout=None: in_registers(np.arange(start, stop)),
            full=lambda shape, value, *rest: in_registers(np.full(shape, value, np.float32)),
            zeros=lambda shape, *rest: in_registers(np.zeros(shape, np.float32)),
            max=lambda x, axis: x.max(axis),
            sum=lambda x, axis: x.sum(axis),
            where=_where,
            broadcast=lambda *x: tuple(in_registers(one.copy()) for one in np.broadcast_arrays(*x)),
            convert_layout=lambda x, layout: x,
            static_range=range,
            allocate_shared_memory=self._allocate,
            store=self._store,
            warp_specialize=self._specialize,
        )
        self.mbarrier = SimpleNamespace(
            MBarrierLayout=_nothing,
            init=self._init,
            wait=self._wait,
            arrive=lambda bar, count: _one(bar).arrive(count),
            expect=lambda bar, nbytes: _one(bar).arrive(1, nbytes),
        )
        self.tma = SimpleNamespace(
            async_copy_global_to_shared=self._fetch,
            async_copy_shared_to_global=lambda tensor, at, sm: self._send(tensor.store, at, sm),
            store_wait=self._sent,
        )

    def names(self) -> dict[str, Any]:
        """What stands for the names of a kernel's module."""
        return {"gl": self.gl, "tl": _scalars(self.gl), "mbarrier": self.mbarrier, "tma": self.tma,
                "warpgroup_mma": self._multiply, "warpgroup_mma_wait": self._finish,
                "tma_add": lambda tensor, at, sm: self._send(tensor.add, at, sm),
                "fence_async_shared": self._fence}  # fmt: skip

    # ---- memory and barriers

    def _allocate(self, dtype: Any, shape: Any, layout: Any) -> Shared:
        if dtype == "barrier":
            return Shared(np.array([[Barrier()] for _ in range(shape[0])]), dtype, self.unfenced)
        return Shared(np.full(shape, np.nan, np.float32), dtype, self.unfenced)  # what lies there before means nothing

    def _init(self, bar: Shared, count: int) -> None:
        _one(bar).count = _one(bar).left = count

    def _wait(self, bar: Shared, parity: int, pred: Any = True) -> None:
        if pred:
            self.turns.wait(lambda: _one(bar).phase & 1 != parity)

    def _fetch(self, tensor: Descriptor, at: Any, bar: Shared, sm: Shared) -> None:
        def copy() -> None:
            sm.array[...] = block
            _one(bar).arrive(0, -sm.nbytes)

        block, sm.array[...] = tensor.load(at), np.nan
        self.turns.copies.append(copy)
        if self.late is None:
            self.turns.copies.pop()()

    def _send(self, store: Callable[[Any, Any], None], at: Any, sm: Shared) -> None:
        sm.read()
        if self.late is None:
            self.storing.setdefault(threading.current_thread().name, []).append(lambda: store(at, sm.array))
        else:
            store(at, sm.array)

    def _sent(self, pendings: int) -> None:
        going = self.storing.get(threading.current_thread().name, [])
        while len(going) > pendings:
            going.pop(0)()

    def _fence(self) -> None:
        self.unfenced[:] = [one for one in self.unfenced if one[0] != threading.current_thread().name]

    def _store(self, at: Any, x: Any, mask: Any) -> None:
        tensor, place = at
        self.moved.append(("store", "LSE", place[mask]))
        tensor.view(-1)[torch.from_numpy(np.asarray(place[mask]))] = torch.from_numpy(np.asarray(x)[mask]).float()

    # ---- partitions and products

    def _specialize(self, partitions: Any, warps: Any, registers: Any) -> None:
        names = (function.__name__ for function, _ in partitions)
        each = dict(zip(names, partitions, strict=True))
        self.turns.run({name: (lambda one=one: one[0](*one[1])) for name, one in each.items()})  # type: ignore[misc]
        if any(self.storing.values()):
            raise Fault("a program has ended, and with it what the copy engine has yet to read")

    def _multiply(self, a: Any, b: Shared, acc: Any, use_acc: bool = True, is_async: bool = False) -> Product:
        made = Product(a, b, acc, use_acc)
        if self.late is not None:
            made.made()
        self.going.setdefault(threading.current_thread().name, []).append(made)
        return made

    def _finish(self, outstanding: int, deps: Any) -> Any:
        self.turns.wait(lambda: True)
        going = self.going[threading.current_thread().name]
        while len(going) > outstanding:
            one = going.pop(0)
            one.made()
            one.done = True
        assert all(one.done for one in deps if isinstance(one, Product)), "what was waited for is still being made"
        found = [one.made() if isinstance(one, Product) else one for one in deps]
        return tuple(found) if len(found) > 1 else found[0]


_LAYOUTS = ("constexpr", "NVMMADistributedLayout", "NVMMASharedLayout", "SharedLinearLayout", "DotOperandLayout",
            "SliceLayout")  # fmt: skip


def _nothing(*given: Any, **named: Any) -> None:
    return None


def _where(x: Any, a: Any, b: Any) -> Any:
    found = np.where(x, a, b)
    return _plain(found.astype(np.float32) if found.dtype.kind == "f" else found)


def _one(bar: Shared) -> Barrier:
    found: Barrier = bar.array.item() if isinstance(bar.array, np.ndarray) else bar.array
    return found


def _scalars(gl: Any) -> Any:
    """`tl` as the small functions of tile.py use it."""
    math = SimpleNamespace(log2=np.log2, exp2=np.exp2)
    return SimpleNamespace(minimum=lambda *x: _plain(np.minimum(*x)), maximum=lambda *x: _plain(np.maximum(*x)),
                           where=lambda *x: _plain(np.where(*x)), math=math, program_id=gl.program_id,
                           num_programs=gl.num_programs)  # fmt: skip


def _plain(x: Any) -> Any:
    return Scalar(x) if np.ndim(x) == 0 else in_registers(x)


class Pointer:
    """A tensor's first address: to that numbers are added."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __add__(self, at: Any) -> tuple[torch.Tensor, Any]:
        return self.tensor, at


def emulate(launch: Launch, late: int | None = None, lazy: str = "") -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    """Run a launch's programs, one after another; gives the place and what moved of each."""
    for place in product(*map(range, launch.grid)):
        moved: list[Any] = []
        whole = (*launch.grid, 1, 1)[:3]
        emulator = Emulator(whole, (*place, 0, 0)[:3], moved, late, lazy)
        bound = _bound(launch.kernel, emulator.names(), {})
        given = {name: _given(name, x, moved) for name, x in launch.arguments.items()}
        bound(**given)
        yield place, moved


def _given(name: str, x: Any, moved: list[Any]) -> Any:
    if isinstance(x, torch.Tensor):
        return Pointer(x)
    return Descriptor(name, x, moved) if hasattr(x, "block_shape") else x


def _bound(kernel: Any, names: dict[str, Any], done: dict[int, Any]) -> FunctionType:
    """A kernel's Python function, whose globals are the stand-ins and the functions that it calls, likewise."""
    function = kernel.fn
    if id(function) not in done:
        scope: dict[str, Any] = {"__builtins__": __builtins__}
        done[id(function)] = FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        for name in function.__code__.co_names:
            found = function.__globals__.get(name)
            if name in names:
                scope[name] = names[name]
            elif isinstance(found, tl.constexpr):
                scope[name] = found.value
            elif hasattr(found, "fn"):
                scope[name] = _bound(found, names, done)
    bound: FunctionType = done[id(function)]
    return bound


def mutant(module: Any, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A kernel's module whose source has one text, which it has once, instead of another."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "mutant_hopper.py"
    path.write_text(text.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("flashsteps.kernels.mutant_hopper", path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, made)
    spec.loader.exec_module(made)
    return made
