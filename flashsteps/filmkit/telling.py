"""What several films of runs tell alike: a max that moves, a block that doesn't fit, what two runs moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..machine.events import IO, Moved
from ..machine.masks import for_any_size
from ..runs import again
from ..runs.counting import count
from ..story.maxima import Shrink
from ..story.telling import LEAST
from ..theme import hue, label, rank
from ..units import size_of
from .actors.bars import Bar, Bars, Legend, Piece
from .actors.rescale import Rescale
from .board import LONGEST_CAPTION, Board
from .run import Run
from .run_stage import RunStage
from .values import Value


def max_moves(board: Board, stage: RunStage, moves: Shrink) -> None:
    """The round of the max that moves most, step by step (FA1): of its row, and then of one whose max stays, what the
    new sum is made of, in the meter's place."""
    run, told = stage.run, board.value(0.0)
    found, row = run.round(moves.event), moves.row
    summed = run.after(found, slot="l_new", op="compute")
    held = {slot: of.value for slot, of in run.pictures[summed].sram[moves.event.program].items()}
    asks, by = run.quoted("queries", moves.query), run.quoted("keys", moves.key)
    stage.light(row)
    stage.play(run.after(found, slot="P", op="compute"), seconds=0.5)
    rescaled = _rescaled(held, row, asks, told)
    alpha = rescaled.written().write("factor", moves.alpha)
    where, counts = f"Key block {moves.event.loop['j'] + 1}: ", f"its old sum counts α = {alpha}."
    wordings = f"{by} beats the old max of {asks}", f"{asks} has a new max", "a max moves"
    stage.hide("meter")
    card = board.put(rescaled, stage.places.meter)
    board.say(next(said for words in wordings if len(said := f"{where}{words}: {counts}") <= LONGEST_CAPTION))
    stage.play(run.after(found, slot="m_new", op="compute"))
    _tell(board, told)
    stage.play(summed)
    board.read()
    beta = held["beta"]
    stays = np.where((beta > LEAST) & (beta < 1) & (held["alpha"] == 1), beta, 0)
    if stays.any():
        row, again = int(stays.argmax()), board.value(0.0)
        asks = run.quoted("queries", moves.query - moves.row + row)
        stage.light(row)
        rescaled = _rescaled(held, row, asks, again)
        card = board.swap(card, rescaled)
        counts = f"this tile’s sum counts β = {rescaled.written().write('factor', float(beta[row]))}."
        kept = f"{asks[0].upper()}{asks[1:]} keeps its max", "A max stays"
        board.say(next(said for words in kept if len(said := f"{words}: {counts}") <= LONGEST_CAPTION))
        _tell(board, again)
        board.read()
    board.remove(card)
    stage.light(None)
    stage.bring("meter")


def _rescaled(held: Mapping[str, np.ndarray], row: int, asks: str, told: Value) -> Rescale:
    """Of a row of what is on chip once its new sum is made (FA1's slots)."""
    m, l = (tuple(float(held[slot][row]) for slot in (f"{s}_i", f"{s}_ij", f"{s}_new")) for s in "ml")
    return Rescale(asks, m, (float(held["alpha"][row]), float(held["beta"][row])), l, told)  # type: ignore[arg-type]


def _tell(board: Board, told: Value) -> None:
    """What was, with its factors; what they leave; the new sum."""
    board.wait(0.8)
    board.move(told.to(1.0), seconds=1.0)
    board.wait(0.8)
    board.move(told.to(2.0), seconds=0.1)


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
    """All bytes that are read, then all that are written, in the order of the tensors."""
    names = sorted(moved, key=rank)
    return tuple(
        Piece(float(moved[name][written]), hue(name), written, label(name))
        for written in (False, True)
        for name in names
        if moved[name][written]
    )


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
