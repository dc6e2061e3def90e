"""What several films of runs tell alike: a max that moves, a block that doesn't fit, what two runs moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..runs.record import count
from ..theme import ORDER, hue, label
from ..trace.trace import IO, Moved
from ..units import size_of
from .actors.bars import Bar, Bars, Mark, Piece
from .actors.rescale import Rescale
from .actors.run_stage import RunStage
from .board import Board
from .run import Run, Shrink


def max_moves(board: Board, stage: RunStage, moves: Shrink, then: str) -> None:
    """The round of the max that moves most, step by step: its row alone is lit, and what becomes of its sum is shown in
    the meter's place. `then` is what shrinks, in the words before the factor."""
    from .pen import number

    run, told = stage.run, board.value(0.0)
    found = run.round(moves.event)
    stage.hide("meter")
    stage.light(moves)
    base = "2" if "kernel" in run.trace.meta else "e"
    asks, by = run.quoted("queries", moves.query), run.quoted("keys", moves.key)
    card = board.put(Rescale(asks, by, moves.m, moves.alpha, moves.l, told, base), stage.places.meter)  # type: ignore[arg-type]
    board.say(f"The max of {asks} is {number(moves.m[0], 2)} up to now, and its sum {number(moves.l[0], 2)}.")
    stage.play(run.after(found, slot="S", op="compute"))
    words = f"{by} beats the old max of {asks}: {then} {moves.alpha:.2f} of what it did."
    board.say(words[0].upper() + words[1:])
    stage.play(run.after(found, slot="m_new" if run.has("m_new") else "m_i", op="compute"))
    board.move(told.to(1.0), seconds=0.1)
    board.wait(1.2)
    board.move(told.to(2.0), seconds=1.2)
    board.wait(0.5)
    board.move(told.to(3.0), seconds=0.8)
    stage.play(max(stage.at, run.after(found, slot="l_new" if run.has("l_new") else "l_i", op="compute")))
    board.wait(0.5)
    board.read()
    board.remove(card)
    stage.light(None)
    stage.bring("meter")


def does_it_fit(run: Run, sizes: Mapping[str, int]) -> Bars:
    """Bytes on chip by what blocks they would be of; what is more than the chip holds is hatched."""
    bars = tuple(
        Bar(f"{name}: {size:,} B", size, "dim", (Piece(size, "stat" if size <= run.sram else "dim", size > run.sram),),
            figure=False)
        for name, size in sizes.items()
    )  # fmt: skip
    return Bars(bars, max(run.sram, *sizes.values()), marks=(Mark(run.sram, f"the toy’s SRAM: {run.sram:,} B", "ink"),))


def by_tensor(totals: Mapping[str, IO], first: Sequence[str] = (), hue: str = "ink") -> Bars:
    """Bytes of runs, by what they are called, by tensor, on one axis: read solid, written hatched."""
    bars = (Bar(name, io.total, hue, pieces_of(io.by_tensor, first)) for name, io in totals.items())
    return Bars(tuple(bars), max(io.total for io in totals.values()))


def times(count: int) -> str:
    """`once`, `twice`, `4 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def pieces_of(moved: Mapping[str, Moved], first: Sequence[str] = ()) -> tuple[Piece, ...]:
    """Read and written bytes of each tensor, in the order of the tensors, those in `first` before all others."""
    names = sorted(moved, key=lambda name: (name not in first, ORDER.index(name) if name in ORDER else 99))
    pairs = [(name, nbytes, hatched) for name in names for nbytes, hatched in zip(moved[name], (False, True), strict=True)]
    return tuple(Piece(float(nbytes), hue(name), hatched, label(name)) for name, nbytes, hatched in pairs if nbytes)


def toy(run: Run) -> str:
    """`16 tiles, 16.5 KB`: what a run came to."""
    tiles = sum(len(found.tiles) for found in run.visited)
    return f"{tiles} {'tile' if tiles == 1 else 'tiles'}, {size_of(run.total.total)}"


def counted(run: Run, algorithm: str) -> IO | None:
    """What another algorithm moves on the same problem; None where the mask is for this very input, and can't be counted."""
    meta = run.trace.meta
    mask = meta["mask"]
    if mask is not None and any(part.startswith(("document", "file", "matrix")) for part in mask.split("+")):
        return None
    sizes = {name: meta[name] for name in ("d", "block_q", "block_k", "mask", "dtype")}
    return count(algorithm, n=meta["queries"], n_keys=meta["keys"], **sizes)
