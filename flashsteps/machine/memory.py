"""HBM and SRAM: the only way bytes move.

A tensor lives in `HBM`; `Q[i]` is an address, and only `SRAM.load` reads it. What it gives is an array to compute with;
`sram["S"] = …` names a result and keeps it on chip; `SRAM.store` writes a slot back. Each of these is told to a `Tape`.
The same algorithm runs in two ways: recorded, with numbers, one block after another; or counted, with shapes alone,
where a loop yields one block for each run of equal ones and what happens inside is multiplied.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from .arrays import Array, Meter, Shape, on_chip
from .dropout import Dropout
from .dtypes import largest
from .events import Event, Op, Peak, Tile
from .masks import Mask, Seen
from .tiling import Block, Blocks, Pieces


class View(NamedTuple):
    """The address of some rows of a tensor, of all columns or some; `rows` of queries are what it is for, if others."""

    tensor: Tensor
    start: int
    stop: int
    columns: tuple[int, int] | None = None
    rows: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        width = self.tensor.shape[1:] if self.columns is None else (self.columns[1] - self.columns[0],)
        return (self.stop - self.start, *width)

    @property
    def tile(self) -> Tile:
        first = self.tensor.first
        return Tile(self.tensor.name, first + self.start, first + self.stop, self.columns)

    def spread(self, loaded: Array) -> Array:
        """What was loaded, a row for each of the queries that it is for: each token's for its heads, or each head's."""
        if self.rows is None or self.rows == len(loaded):
            return loaded
        if isinstance(loaded, Shape):
            return Shape((self.rows, *loaded.shape[1:]), loaded.meter)
        plain, times = np.asarray(loaded), self.rows // len(loaded)
        spread = plain.repeat(times, axis=0) if self.tensor.per == "token" else np.tile(plain, times)
        return on_chip(spread, loaded.meter, loaded.masked)


@dataclass(frozen=True)
class Tensor:
    """A named array in HBM; `data` is None when counting. Shape (rows,) or (rows, columns).

    Its rows are those of the queries (or keys), or there is one `per` "token", for all `group` heads of it that are
    packed as rows, or one per "head" of the group.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: np.ndarray | None
    first: int = 0  # where its rows begin, if it is a part of a larger tensor of that name
    common: bool = False  # whether all key-value heads have it in common
    per: Literal["row", "token", "head"] = "row"
    group: int = 1

    def part(self, index: int, parts: int) -> Tensor:
        """One of so many equal parts: the rows of one key-value head."""
        if self.common:
            return self
        rows = self.shape[0] // parts
        data = None if self.data is None else self.data[index * rows : (index + 1) * rows]
        return replace(self, shape=(rows, *self.shape[1:]), data=data, first=index * rows)

    def __getitem__(self, at: Block | tuple[Block, Block]) -> View:
        """The rows of a block, or of these the columns of another."""
        i, j = at if isinstance(at, tuple) else (at, None)
        columns = None if j is None else (j.start, j.stop)
        if self.per == "row":
            return View(self, i.start, i.stop, columns)
        start, stop = (0, self.shape[0]) if self.per == "head" else (i.start // self.group, i.stop // self.group)
        return View(self, start, stop, columns, len(i))

    @property
    def all(self) -> View:
        return View(self, 0, self.shape[0])

    def blocks(self, size: int) -> Blocks:
        return Blocks(self.shape[0], min(size, self.shape[0]))

    def pieces(self, most: int, size: int) -> Pieces:
        """Pieces of equally many blocks of `size`: `most` of them, or fewer, as ceil division has it."""
        blocks = -(-self.shape[0] // size)
        return Pieces(self.shape[0], -(-blocks // most) * size)


class Capacity(NamedTuple):
    """What fits on chip, in bytes: a device's shared memory and registers, or a toy's SRAM that holds both."""

    shared: int | None = None
    registers: int | None = None
    total: int | None = None


class Tape(Protocol):
    """Whoever listens: one writes each step down (`runs.record`), one adds up (`trace.rules`)."""

    def step(self, event: Event, value: np.ndarray | None, times: int) -> None:
        """Take an event with the array that it made or stored; `times` is 1 unless the run is counted."""


#: what share of a tensor may be lost when it is rounded to the type that it is stored in
MOST_LOST = 0.01

#: what is smaller than that, beside what it was made of, is what float32 leaves of 0
NOISE = 2.0**-20

#: scores and weights: what is lost of them matters beside 1 alone
BESIDE_1 = ("S", "P")

#: the tensors that hold addresses: whole numbers, the same for all heads
ADDRESSES = ("table", "starts", "columns")


class HBM:
    """The tensors that a run finds and makes. Where there are several key-value heads, each run is about one `part`."""

    def __init__(self, storage: np.dtype[Any], computing: np.dtype[Any], counting: bool, parts: int = 1) -> None:
        self.storage, self.computing, self.counting = storage, computing, counting
        self.part, self.parts = 0, parts
        self.tensors: dict[str, Tensor] = {}
        self.lost: dict[str, tuple[float, float, int]] = {}  # of what was written: what rounding took, all, how many

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        data: np.ndarray | None,
        per: Literal["row", "token", "head"] = "row",
        group: int = 1,
    ) -> Tensor:
        """A tensor that is there before the run, in the storage type; one per token is the same for all heads."""
        stored = None if data is None else round_to(data, self.storage, name)
        if data is not None and stored is not None:
            _not_lost(data, stored, name)
        return self._put(Tensor(name, shape, self.storage, stored, common=per == "token", per=per, group=group))

    def addresses(self, name: str, shape: tuple[int, ...], data: np.ndarray | None) -> Tensor:
        """A list of whole numbers, 4 bytes each, that is there before the run, one for all heads."""
        return self._put(Tensor(name, shape, np.dtype(np.int32), data, common=True))

    def empty(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor to be written, of the storage type: full of NaN, so that a forgotten store shows."""
        return self._empty(name, shape, self.storage)

    def empty_statistics(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The same, of the type that m, ℓ and LSE are kept in."""
        return self._empty(name, shape, self.computing)

    def _empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
        if name not in self.tensors:
            whole = (shape[0] * self.parts, *shape[1:])
            self._put(Tensor(name, whole, dtype, None if self.counting else np.full(whole, np.nan, dtype)))
        return self.tensors[name].part(self.part, self.parts)

    def written(self, name: str, values: np.ndarray, stored: np.ndarray) -> None:
        """Note what rounding took of values on their way here."""
        if values.dtype != stored.dtype and name not in BESIDE_1:
            exact, took = (np.asarray(x, np.float64) for x in (values, stored))
            error, whole, size = self.lost.get(name, (0.0, 0.0, 0))
            now = float(np.abs(took - exact).sum()), float(np.abs(exact).sum()), exact.size
            self.lost[name] = error + now[0], whole + now[1], size + now[2]

    def check_lost(self) -> None:
        """Raises ValueError where rounding took more than MOST_LOST of a tensor that the run wrote.

        What counts is the sum of what was lost beside the sum of what there was, by size: gradients of keys that nobody
        looks at may rightly be too small to be stored, and to matter. A tensor that is NOISE as a whole, beside what it
        is made of (V, and dO), may be lost: it is 0 but for what rounding on chip left.
        """
        made_of = [tensor.data for name, tensor in self.tensors.items() if name in ("V", "dO")]
        largest_of = prod(float(np.abs(data).max()) for data in made_of if data is not None)
        for name, (error, whole, size) in self.lost.items():
            if error > MOST_LOST * whole and whole > NOISE * largest_of * size:
                raise ValueError(
                    f"{name} loses {_percent(error / whole)} of what it holds when it is rounded to {self.storage}: "
                    "use dtype='float32'"
                )

    def _put(self, tensor: Tensor) -> Tensor:
        self.tensors[tensor.name] = tensor
        return tensor


class Slot(NamedTuple):
    """What a slot holds, and how many bytes of which memory that takes."""

    value: Array
    nbytes: int
    loaded: bool  # loads sit in shared memory, computed values in registers


class SRAM:
    """On-chip memory, one program at a time: named slots, and the loops that a program runs."""

    def __init__(
        self,
        hbm: HBM,
        tape: Tape,
        capacity: Capacity = Capacity(),  # noqa: B008 (immutable)
        by_runs: bool | None = None,
    ) -> None:
        self.hbm, self.tape, self.capacity, self.meter = hbm, tape, capacity, Meter()
        self.by_runs = hbm.counting if by_runs is None else by_runs  # equal blocks as one, multiplied
        self.slots: dict[str, Slot] = {}
        self.steps, self.program, self.launched, self.times = 0, 0, False, 1
        self.loops: dict[str, int] = {}
        self.peak = Peak()

    # ---- programs and loops

    def launch(self) -> None:
        """Start the next program (a kernel of its own): SRAM is empty again."""
        self.slots.clear()
        self.program, self.launched = self.program + self.launched, True

    def finish(self) -> None:
        """The programs of one head are done: whatever comes next is another, and finds SRAM empty."""
        self.slots.clear()
        self.program, self.launched = self.program + 1, False

    def programs(self, name: str, blocks: Blocks | Pieces) -> Iterator[Block]:
        """One program a block. Programs share nothing on chip; a GPU runs them in any order, many at once."""
        for block in self.loop(name, blocks):
            self.launch()
            yield block

    def loop(self, name: str, blocks: Blocks | Pieces, seen: Seen | None = None) -> Iterator[Block]:
        """One block after another; with `seen`, tiles that no query may see are passed over."""
        line, times = sys._getframe(1).f_lineno, self.times
        for block in _runs(blocks, seen) if self.by_runs and isinstance(blocks, Blocks) else blocks.each():
            self.loops[name] = block.index
            if seen is None:
                self.times = times * block.times
                yield block
                continue
            around = times // ((seen.queries or seen.keys or block).times)
            for kind, tiles in seen.kinds(block).items():
                self.times = around * tiles
                if not tiles:
                    continue
                if kind == "hidden":
                    keys, first = seen.keys or block, self.hbm.part * seen.mask.n_keys
                    self._tell("skip", "", Tile("K", first + keys.start, first + keys.stop), (), 0, line)
                else:
                    yield replace(block, cut=kind == "cut")
        self.loops.pop(name, None)
        self.times = times

    # ---- what moves, what is made

    def load(self, view: View, slot: str | None = None) -> Array:
        """Read a tile from HBM into a slot (named like the tensor, in lower case), ready to compute with."""
        return self._load(view, slot or view.tensor.name.lower(), sys._getframe(1).f_lineno)

    def gather(self, tensor: Tensor, size: int) -> Array:
        """Read all of a tensor, block by block, into one slot."""
        line, slot, value = sys._getframe(1).f_lineno, tensor.name.lower(), None
        for j in self.loop("j", tensor.blocks(size)):
            value = self._load(tensor[j], slot, line, above=value, rows=j.start + len(j) * j.times)
        return value

    def lookup(self, table: Tensor, page: Block, size: int) -> Block:
        """Read one entry of a block table: where this page lies in a pool of pages of so many rows."""
        entry = View(table, page.index, page.index + 1)
        number = self._load(entry, "page", sys._getframe(1).f_lineno)
        if self.hbm.counting:
            return page
        start = int(number[0]) * size
        return replace(page, start=start, stop=start + len(page))

    def full(self, shape: tuple[int, ...], fill: float) -> Array:
        """A new on-chip array of one value."""
        if self.hbm.counting:
            return Shape(shape, self.meter)
        return on_chip(np.full(shape, fill, self.hbm.computing), self.meter, masked=fill == -np.inf)

    def bias(self, mask: Mask, i: Block | View, j: Block | View) -> Array:
        """0 where these queries see these keys, −∞ where not: made from indices on chip, so it moves no bytes."""
        if self.hbm.counting:
            return Shape((i.stop - i.start, j.stop - j.start), self.meter)
        bias = mask.bias(slice(i.start, i.stop), slice(j.start, j.stop))
        return on_chip(round_to(bias, self.hbm.computing, "what ALiBi lowers scores by"), self.meter, masked=True)

    def kept(self, dropout: Dropout, i: Block | View, j: Block | View) -> Array:
        """0 where a weight is dropped, 1 / (1 − rate) where not: made from the seed on chip, so it moves no bytes."""
        if self.hbm.counting:
            return Shape((i.stop - i.start, j.stop - j.start), self.meter)
        kept = dropout.kept(slice(i.start, i.stop), slice(j.start, j.stop), self.hbm.part)
        return kept.astype(self.hbm.computing)

    def __setitem__(self, slot: str, value: Array) -> None:
        """Name a result: from here on it takes up registers, and it can be stored."""
        self._hold(slot, Slot(value, prod(value.shape) * self.hbm.computing.itemsize, loaded=False))
        computed = None if isinstance(value, Shape) else _finite(value, slot, self.hbm)
        self._tell("compute", slot, None, value.shape, 0, sys._getframe(1).f_lineno, value=computed)

    def store(self, view: View, value: Array | float) -> None:
        """Write a slot's value (or a constant) to HBM, rounded to the tensor's type."""
        tensor = view.tensor
        slot = next((name for name, held in reversed(self.slots.items()) if held.value is value), "")
        if not isinstance(value, float):
            if not slot:
                raise ValueError(f"what is stored to {tensor.name} is in no slot: name it first, sram[...] = value")
            if value.shape != view.shape:
                raise ValueError(f"{tensor.name} has {view.shape} at rows {view.start}:{view.stop}, not {value.shape}")
        tile, stored = view.tile, None
        if tensor.data is not None:
            whole = np.broadcast_to(value, view.shape)
            stored = round_to(whole, tensor.dtype, str(tile))
            self.hbm.written(tensor.name, whole, stored)
            tensor.data[view.start : view.stop] = stored
        nbytes = prod(view.shape) * tensor.dtype.itemsize
        self._tell("store", slot, tile, view.shape, nbytes, sys._getframe(1).f_lineno, value=stored)

    def _load(self, view: View, slot: str, line: int, above: Array | None = None, rows: int | None = None) -> Array:
        """Load below what the slot holds already (`above`), so that it comes to `rows` rows."""
        tensor, shape = view.tensor, (rows or view.shape[0], *view.shape[1:])
        tile, itemsize = view.tile, tensor.dtype.itemsize
        if tensor.data is None:
            value: Array = Shape(shape, self.meter)
        else:
            loaded = Tile("", view.start, view.stop, view.columns).of(tensor.data).astype(self.hbm.computing)
            if np.isnan(loaded).any():
                raise ValueError(f"{tile} is loaded before all of it was stored")
            whole = loaded if above is None else np.concatenate([above, loaded])
            value = on_chip(whole, self.meter, masked=bool(np.isneginf(loaded).any()))
        value = view.spread(value)
        self._hold(slot, Slot(value, prod(shape) * itemsize, loaded=True))
        row = 0 if above is None else above.shape[0]
        self._tell("load", slot, tile, view.shape, prod(view.shape) * itemsize, line, row=row)
        return value

    def _hold(self, slot: str, new: Slot) -> None:
        self.slots[slot] = new
        shared = {name: held.nbytes for name, held in self.slots.items() if held.loaded}
        registers = {name: held.nbytes for name, held in self.slots.items() if not held.loaded}
        places = {"shared memory": shared, "the register file": registers, "this toy SRAM": shared | registers}
        needs = [sum(held.values()) for held in places.values()]
        self.peak = Peak(*map(max, self.peak, needs))
        for (place, held), room, need in zip(places.items(), self.capacity, needs, strict=True):
            if room is not None and need > room:
                listed = ", ".join(f"{name} {nbytes:,}" for name, nbytes in held.items())
                raise ValueError(
                    f"{place} holds {room:,} bytes but this step needs {need:,} ({listed}): choose smaller blocks"
                )

    def _tell(
        self,
        op: Op,
        slot: str,
        tile: Tile | None,
        shape: tuple[int, ...],
        nbytes: int,
        line: int,
        row: int = 0,
        value: np.ndarray | None = None,
    ) -> None:
        if value is not None:
            value.setflags(write=False)  # what was recorded stays as it was
        work, loop = self.meter.read(), dict(self.loops)
        event = Event(self.steps, op, self.program, loop, slot, tile, shape, nbytes, work, line, row)
        self.tape.step(event, value, self.times)
        self.steps += 1


def _runs(blocks: Blocks, seen: Seen | None) -> list[Block]:
    """The runs of blocks to count, in an order that leaves on chip the largest tiles that any of the loops leaves.

    Where some of the loops see blocks but not the ragged tail, they end before it, so it comes first.
    """
    runs = list(blocks.runs())
    if seen and seen.kinds(runs[-1])["hidden"] > seen.kinds(Block(blocks.first, blocks.n))["hidden"]:
        return [runs[-1], *runs[:-1]]
    return runs


def _finite(value: Array, slot: str, hbm: HBM) -> np.ndarray:
    """The values of a slot, if none of them is NaN or infinite (but −∞ as a mask leaves it). Raises ValueError else."""
    values, masked = np.asarray(value), getattr(value, "masked", False)
    if not (values < np.inf).all() or not (masked or (values > -np.inf).all()):
        wider = "" if values.dtype == np.float64 else "use dtype='float64', or "
        most = largest(values.dtype)
        given = "q, k, v and dO" if "dO" in hbm.tensors else "q, k and v"
        raise ValueError(f"{slot} grew past the largest {values.dtype} ({most:.2g}): {wider}scale {given} down")
    return values


def round_to(data: np.ndarray, dtype: np.dtype[Any], name: str) -> np.ndarray:
    """`data` in another type, without OnChip's metering. Raises ValueError where a number gets too large for it."""
    plain = np.asarray(data)
    with np.errstate(over="ignore"):
        rounded = plain.astype(dtype)
    too_large = np.isinf(rounded) & np.isfinite(plain)
    if too_large.any():
        worst, most = plain[too_large][0], largest(dtype)
        raise ValueError(
            f"{name} holds {worst:,.6g}, past the largest {dtype} ({most:,.6g}): use dtype={_that_holds(plain)!r}"
        )
    return rounded


def _not_lost(data: np.ndarray, stored: np.ndarray, name: str) -> None:
    """Raises ValueError where rounding made 0 of more than MOST_LOST of the numbers that are not 0."""
    if (lost := _zeroed(data, stored)) > MOST_LOST * np.count_nonzero(data):
        raise ValueError(
            f"{name}: {_percent(lost / np.count_nonzero(data))} of its numbers that are not 0 become 0 in "
            f"{stored.dtype}: use dtype={_that_holds(np.asarray(data))!r}"
        )


def _zeroed(data: np.ndarray, stored: np.ndarray) -> int:
    """How many of the numbers that are not 0 are 0 once stored."""
    return int(np.count_nonzero(data)) - int(np.count_nonzero(stored))


def _that_holds(plain: np.ndarray) -> str:
    """The type that would do: float32, unless too much gets too large, or lost, in it, too."""
    with np.errstate(over="ignore"):
        single = plain.astype(np.float32)
    kept = _zeroed(plain, single) <= MOST_LOST * np.count_nonzero(plain)
    return "float32" if kept and np.isfinite(single).all() else "float64"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
