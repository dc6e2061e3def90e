"""What several films of runs tell alike: a max that moves, a block that doesn't fit, what two runs moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..machine.events import IO, Moved
from ..machine.masks import for_any_size
from ..runs import again
from ..runs.counting import count
from ..story.maxima import Shrink
from ..theme import ORDER, hue, label
from ..units import size_of
from .actors.bars import Bar, Bars, Legend, Piece
from .actors.rescale import Rescale
from .board import LONGEST_CAPTION, Board
from .run import Run
from .run_stage import RunStage


def max_moves(board: Board, stage: RunStage, moves: Shrink) -> None:
    """The round of the max that moves most, step by step: its row alone is lit, and what becomes of its sum is shown in
    the meter's place. Only then the run goes on, to its new max and its new sum."""
    run, told = stage.run, board.value(0.0)
    found = run.round(moves.event)
    stage.light(moves)
    base = "2" if "kernel" in run.trace.meta else "e"
    asks, by = run.quoted("queries", moves.query), run.quoted("keys", moves.key)
    stage.play(run.after(found, slot="S", op="compute"), seconds=1.2)
    stage.hide("meter")
    card = board.put(Rescale(asks, by, moves.m, moves.alpha, moves.l, told, base), stage.places.meter)
    board.move(told.to(1.0), seconds=0.1)
    counts = f"its old sum counts {moves.alpha:.2f} of what it did."
    words = f"{by} beats the old max of {asks}: {counts}"
    words = words if len(words) <= LONGEST_CAPTION else f"{asks} has a new max: {counts}"
    words = words if len(words) <= LONGEST_CAPTION else f"A max moves: {counts}"
    board.say(words[0].upper() + words[1:])
    board.wait(0.6)
    board.move(told.to(2.0), seconds=1.0)
    board.wait(0.5)
    board.move(told.to(3.0), seconds=0.6)
    stage.play(max(stage.at, run.after(found, slot="l_new" if run.has("l_new") else "l_i", op="compute")))
    board.read()
    board.remove(card)
    stage.light(None)
    stage.bring("meter")


def put_totals(board: Board, totals: Mapping[str, IO]) -> None:
    """Bytes of runs, by what they are called, by tensor, on one axis: read solid, written hatched."""
    bars = tuple(Bar(name, io.total, "ink", pieces_of(io.by_tensor)) for name, io in totals.items())
    upper, lower = board.main.rows(6, 1)
    board.put(Bars(bars, max(io.total for io in totals.values())), upper)
    board.put(Legend((Piece(1, "dim", name="read from HBM"), Piece(1, "dim", True, "written to HBM"))), lower)


def only(io: IO, names: Sequence[str]) -> IO:
    """What was moved of these tensors alone."""
    return replace(io, by_tensor={name: io.by_tensor[name] for name in names if name in io.by_tensor})


def times(count: int) -> str:
    """`once`, `twice`, `4 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def pieces_of(moved: Mapping[str, Moved]) -> tuple[Piece, ...]:
    """Read and written bytes of each tensor, in the order of the tensors."""
    names = sorted(moved, key=lambda name: ORDER.index(name) if name in ORDER else 99)
    pairs = [
        (name, nbytes, hatched) for name in names for nbytes, hatched in zip(moved[name], (False, True), strict=True)
    ]
    return tuple(Piece(float(nbytes), hue(name), hatched, label(name)) for name, nbytes, hatched in pairs if nbytes)


def toy(run: Run) -> str:
    """`16 tiles, 16.5 KB`: what a run came to."""
    return f"{tiles(run)}, {size_of(run.total.total)}"


def tiles(run: Run) -> str:
    """`16 tiles`: how many it made."""
    count = sum(len(found.tiles) for found in run.visited)
    return f"{count} {'tile' if count == 1 else 'tiles'}"


def counted(run: Run, algorithm: str) -> IO | None:
    """What another algorithm moves on the same problem; None where its mask is for this very input."""
    meta = run.trace.meta
    mask = meta["mask"]
    if mask != for_any_size(mask):
        return None
    sizes = again.sizes(run.trace) | {name: meta[name] for name in ("block_q", "block_k", "mask")}
    return count(algorithm, **sizes)
