"""What a run carries between HBM and SRAM, in order, and how far it is when so many bytes have moved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, cast

from ..machine import masks
from ..machine.events import Event
from ..runs.counting import count, walk

#: the loop that a program of these goes through outside; without a mask its rounds are alike
OUTER = {"flash-forward": "j", "flash2-forward": "i"}


class Transfer(NamedTuple):
    """Bytes of one tensor, at once; and which round of which program's outer loop they belong to."""

    nbytes: int
    tensor: str
    written: bool
    program: int
    round: tuple[str, int]


class Done(NamedTuple):
    """What is over: transfers, tiles of scores, blocks of O that won't change any more; and the last one's program."""

    transfers: int
    tiles: int
    outputs: int
    program: int


class Course:
    """The transfers of a run. `times` is how often its events happen, the outer loop's index going on: what happens
    before all loops happens once."""

    def __init__(self, algorithm: str, events: Iterable[Event], times: int = 1) -> None:
        outer, at, transfers = OUTER.get(algorithm, ""), 0, list[Transfer]()
        tiles, outputs, ends = dict[Any, int](), dict[Any, int](), list[int]()
        for n, event in product(range(times), events):
            if n and not event.loop:
                continue
            loop = {name: index + n * (name == outer) for name, index in event.loop.items()}
            first = next(iter(loop.items()), ("", 0))
            if event.nbytes and event.tile:
                at += event.nbytes
                written = event.op == "store"
                transfers.append(Transfer(event.nbytes, event.tile.tensor, written, event.program, first))
                ends.append(at)
                if written and event.slot and event.tile.tensor == "O":
                    outputs[loop.get("i"), loop.get("j") if algorithm == "standard-forward" else None] = at
            if len(loop) == 2 and event.op != "skip":
                tiles[loop["i"], loop["j"]] = at
        self.algorithm, self.transfers, self.total, self._ends = algorithm, transfers, at, ends
        self._tiles, self._outputs = sorted(tiles.values()), sorted(outputs.values())

    @property
    def whole(self) -> Done:
        """All of it."""
        return self.done(self.total)

    def done(self, nbytes: float) -> Done:
        """What is over when so many bytes have moved."""
        at = nbytes + 1e-6
        over = bisect_right(self._ends, at)
        program = self.transfers[max(0, over - 1)].program
        return Done(over, bisect_right(self._tiles, at), bisect_right(self._outputs, at), program)

    @cached_property
    def kernels(self) -> tuple[int, ...]:
        """When each program of the run is over, in bytes."""
        ends = {t.program: end for t, end in zip(self.transfers, self._ends, strict=True)}
        return tuple(ends.values())

    @cached_property
    def rounds(self) -> tuple[tuple[Transfer, ...], ...]:
        """The transfers by rounds of the outer loop."""
        found: dict[Any, list[Transfer]] = {}
        for transfer in self.transfers:
            found.setdefault((transfer.program, transfer.round), []).append(transfer)
        return tuple(map(tuple, found.values()))


def counted(algorithm: str, n: int, d: int, block: int, mask: str | None = None, dtype: str = "float16") -> Course:
    """The course of a run of any size, without its data: n queries and keys, in square tiles.

    Without a mask all rounds of the outer loop are alike, and one of them is gone through for all; standard attention's
    bands come run by run. Raises ValueError where what that comes to isn't what `count` says, and as `count` does.
    """
    outer = OUTER.get(algorithm) if mask is None else None
    queries, keys = block if outer == "i" else n, block if outer == "j" else n
    tape, seen = _Tape(), cast(Any, mask)
    if algorithm in OUTER:  # not by rule, so that tiles are told one by one
        seen = masks.parse(mask, n, n).keep(slice(0, queries), slice(0, keys))
    walk(algorithm, tape, n=queries, n_keys=keys, d=d, block_q=block, block_k=block, mask=seen, dtype=dtype)
    found = Course(algorithm, tape.events, n // block if outer else 1)
    total = count(algorithm, n=n, d=d, block_q=block, block_k=block, mask=mask, dtype=dtype).total
    if found.total != total:
        raise ValueError(f"{algorithm} at n={n} moves {total:,} B, and its rounds come to {found.total:,} B")
    return found


class _Tape:
    """Takes down every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def step(self, event: Event, value: Any, times: int) -> None:
        self.events += [event] * times
