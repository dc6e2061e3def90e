"""The time of a step of attention as published, beside what its bytes and its products would take at full speed."""

from __future__ import annotations

from ...machine.devices import device
from ...runs.counting import count
from ...story.labels import a
from ...traffic import formulas, published
from ..actors.bars import Bar, Bars, Piece
from ..board import Board
from .grows import HEADS, D

BATCH, SIZE = 64, 1024  # of GPT-2 medium, whose times were published
TOOK, MOVED, PRINTED = (published.figure(f"gpt2-medium-standard-{what}") for what in ("time", "traffic", "work"))


class TimeOfStep:
    """Three bars on one axis: measured, to move, to multiply, on the paper's A100; `ms` are their ends, `grown` what
    they have come to so far, and `work` is what there is to multiply, in GFLOP."""

    def __init__(self, board: Board) -> None:
        gpu, ways = device("a100-40gb"), ("forward", "backward")
        passes = [count(f"standard-{way}", n=SIZE, d=D, block_q=D, block_k=D).work.matmul for way in ways]
        each, self.work = 2 * SIZE * SIZE * D, sum(passes) * HEADS * BATCH / 1e9
        self.ms = TOOK.value, MOVED.value / gpu.bandwidth, self.work / gpu.tflops
        self.counted = f"{sum(passes) // each} products of 2N²d a head and sequence"
        self.grown = [board.value(0.0) for _ in self.ms]
        names = (
            "measured: attention of GPT-2 medium, forward and backward",
            f"to move its {MOVED.value:g} GB, at {a(gpu.model)}’s full {gpu.bandwidth:g} TB/s",
            f"to multiply: {self.work:.0f} GFLOP, at its full {gpu.tflops} TFLOP/s",
        )
        bars = tuple(
            Bar(name, now, hue, pieces=parts)
            for name, now, hue, parts in zip(
                names, self.grown, ("dim", "S", "ink"), ((), of_matrices(self.ms[1]), ()), strict=True
            )
        )
        self.chart = Bars(bars, TOOK.value, "{:.1f} ms")


def of_matrices(ms: float) -> tuple[Piece, Piece]:
    """Of the time to move all bytes, what those of N×N matrices take, by the fit to the paper's own figures."""
    share = formulas.FIGURE_2_LEFT_PASSES * SIZE * SIZE / formulas.figure_2_left_standard(SIZE, D).total
    return Piece(ms * share, "S", name="N×N matrices: S, P, masks, gradients"), Piece(ms - ms * share, "dim")
