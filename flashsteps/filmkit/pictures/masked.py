"""What the causal mask spares: tiles of each program as they are done; bytes at a real size, with it and without."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...runs.counting import count
from ...units import short, size_of
from ..actors.bars import Bar, Bars
from ..board import Board
from ..run import Run
from ..values import Made, Value

N, D, TILE = 8192, 64, 128  # a real head, and the tiles of a real kernel
REAL = {"n": N, "n_keys": N, "d": D, "block_q": TILE, "block_k": TILE}


def tiles_done(run: Run, now: Value) -> tuple[Bars, list[int]]:
    """By program, of those that its queries may see; and how many these are."""
    tiles = [sum(i == row for r in run.rounds for i, _ in r.tiles) for row in range(run.lanes)]

    def done(row: int, at: float) -> float:
        return float(sum(i == row for r in run.rounds[: run.done(at)[0]] for i, _ in r.tiles))

    bars = tuple(
        Bar(f"program {row}", Made(partial(done, row), now), "S", whole=float(many)) for row, many in enumerate(tiles)
    )
    return Bars(bars, float(max(tiles)), "{:.0f}", title="tiles done, of those it may see"), tiles


def moved(name: str, mask: str | None) -> int:
    """Bytes at a real size."""
    return count(name, n=N, d=D, block_q=TILE, block_k=TILE, mask=mask).total


def with_and_without(board: Board, grown: Any) -> Bars:
    """Standard attention and FlashAttention-2, of what they move without the mask."""
    bars = []
    for title, name, hue in (
        ("standard", "standard-forward", "dim"),
        ("FlashAttention-2", "flash2-forward", "accent"),
    ):
        with_it, without = moved(name, "causal"), moved(name, None)
        said = "as without the mask" if with_it == without else f"of {size_of(without)} without the mask"
        length = Made(lambda u, of=with_it: of * u, grown)
        after, lower = board.pick(wide=(said, ""), square=("", said))
        bars.append(Bar(title, length, hue, whole=float(without), note=after, under=lower))
    title = f"HBM traffic of one head, causal, N = {short(N)}, d = {D}"
    return Bars(tuple(bars), float(moved("standard-forward", None)), title=title)
