"""A trace: each step of a run as plain data, to read, replay and total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ..machine.events import IO, Event, Peak
from . import rules

if TYPE_CHECKING:
    from ..explorer.notebook import Explorer
    from ..player.notebook import Player

#: what is said of a trace whose values are asked for in vain
NO_VALUES = "this trace holds no values, its run was too large or they were left out when it was saved: record it anew"


@dataclass(frozen=True)
class State:
    """Everything as it stands after one step: HBM's tensors (NaN where nothing was written yet) and SRAM's slots."""

    step: int
    hbm: dict[str, np.ndarray]
    sram: dict[str, np.ndarray]

    def __repr__(self) -> str:
        held = (
            f"{name} " + ", ".join(f"{tensor} {'×'.join(map(str, data.shape))}" for tensor, data in arrays.items())
            for name, arrays in (("HBM:", self.hbm), ("SRAM:", self.sram))
        )
        return f"<state after step {self.step}; {'; '.join(map(str.strip, held))}>"


@dataclass(frozen=True)
class Trace:
    """A recorded run.

    `initial` holds HBM's tensors as the run found them, NaN in those that it has yet to write. `values` holds, for each
    event, the array that it made (compute) or put into HBM (store), else None; it is empty where a run was too large to
    keep its values. `meta` says which algorithm ran on what: plain JSON data.
    """

    meta: dict[str, Any]
    events: tuple[Event, ...]
    initial: dict[str, np.ndarray]
    values: tuple[np.ndarray | None, ...]
    outputs: dict[str, np.ndarray]
    peak: Peak = field(default=Peak())

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    @overload
    def __getitem__(self, step: int) -> Event: ...
    @overload
    def __getitem__(self, step: slice) -> Sequence[Event]: ...
    def __getitem__(self, step: int | slice) -> Event | Sequence[Event]:
        return self.events[step]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return (
            (self.meta, self.events, self.peak) == (other.meta, other.events, other.peak)
            and _same(self.initial, other.initial)
            and _same(self.outputs, other.outputs)
            and len(self.values) == len(other.values)
            and all(_equal(a, b) for a, b in zip(self.values, other.values, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        meta, total = self.meta, sum(event.nbytes for event in self.events)
        size = f"{meta['queries']}×{meta['keys']}, d = {meta['d']}, tiles {meta['block_q']}×{meta['block_k']}"
        return f"<trace of {self.name}, {size}: {len(self):,} steps, {total:,} B moved>"

    @property
    def name(self) -> str:
        """What ran, in a few words: the algorithm, and whether it was its Triton kernel."""
        algorithm = str(self.meta["algorithm"])
        return f"{algorithm}, the Triton kernel" if "kernel" in self.meta else algorithm

    @property
    def direction(self) -> Literal["forward", "backward"]:
        """What it gave says which: O, or the gradients of Q, K and V."""
        return "backward" if "dQ" in self.outputs else "forward"

    @property
    def standard(self) -> str:
        """Standard attention of that direction: the algorithm that it is measured by, or is."""
        return f"standard-{self.direction}"

    def _repr_html_(self) -> str:
        """A still for notebooks: `show` gives the player."""
        from ..player.still import still

        return still(self)

    def show(self, step: int = -1) -> Player:
        """The player for a notebook, at a step (−1: the start): `player.step` follows it and moves it.

        Raises ImportError, one line, where the extra [notebook] is not installed.
        """
        from ..player.notebook import Player

        return Player(self, step)

    def explore(self) -> Explorer:
        """A page in a notebook in which this run's settings can be changed: it performs the runs itself.

        Raises ValueError, one line, for a run that the page cannot perform (`flashsteps.explorer.page`).
        """
        from ..explorer.notebook import Explorer

        return Explorer(self)

    def io(self, rule: str = rules.DEFAULT) -> IO:
        """Bytes read and written, by tensor, with the work and the peak use of SRAM.

        `rule` says which bytes count: "all", or as a published figure counts them (`flashsteps.trace.rules`). Raises
        ValueError for a rule that isn't known, or isn't for this algorithm.
        """
        tally = rules.Tally(rules.rule(rule, self.meta["algorithm"]))
        for event in self.events:
            tally.step(event)
        return tally.io(self.initial, self.peak)

    def at(self, step: int) -> State:
        """Everything as it stood after `step`; −1 is before the first. Raises ValueError outside the run."""
        if step not in range(-1, len(self.events)):
            last = len(self.events) - 1
            raise ValueError(f"step {step} is outside this run: give one from 0 to {last}, or -1 for its start")
        return next(state for state in self.states() if state.step == step)

    def states(self) -> Iterator[State]:
        """The state before the first step, then after each: a replay that needs only what the trace holds.

        States share the arrays that did not change, and none of them is written to again.
        Raises ValueError where the run was too large to keep its values.
        """
        hbm, sram, program = self.initial, dict[str, np.ndarray](), 0
        yield State(-1, hbm, sram)
        for event in self.events:
            if event.program != program:  # a new program shares nothing with the last
                program, sram = event.program, {}
            hbm, sram = self.advance(event, hbm, sram)
            yield State(event.step, hbm, sram)

    def advance(
        self, event: Event, hbm: dict[str, np.ndarray], sram: dict[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """HBM and one program's SRAM after an event, as new dictionaries where something changed."""
        if len(self.values) != len(self.events):
            raise ValueError(NO_VALUES)
        hbm, sram = (dict(hbm), sram) if event.op == "store" else (hbm, dict(sram))
        replay(event, self.values[event.step], hbm, sram, self.meta["computing"])
        return hbm, sram

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one `.npz` file, whole or not at all: `flashsteps.load` reads it back.

        Raises ValueError where the path has another ending, or cannot be written.
        """
        from .npz import save

        save(self, path)


def replay(
    event: Event,
    value: np.ndarray | None,
    hbm: dict[str, np.ndarray],
    sram: dict[str, np.ndarray],
    computing: str,
    own: frozenset[str] | set[str] = frozenset(),
) -> None:
    """Let an event happen to HBM and to one program's SRAM: it replaces an array, and writes only to tensors in `own`.

    `value` is what the event made or stored, `computing` the type of values on chip.
    """
    tile = event.tile
    if event.op == "load" and tile:
        loaded = tile.of(hbm[tile.tensor]).astype(computing)
        if event.row:
            loaded = np.concatenate([sram[event.slot][: event.row], loaded])
        sram[event.slot] = loaded
    elif event.op == "store" and tile:
        if tile.tensor not in own:
            hbm[tile.tensor] = hbm[tile.tensor].copy()
        tile.of(hbm[tile.tensor])[...] = value
    elif event.op == "compute" and value is not None:
        sram[event.slot] = value


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def _same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return list(a) == list(b) and all(_equal(a[name], b[name]) for name in a)
