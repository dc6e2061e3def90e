"""What each step does and moves, as two stacks; and what it moves once it is fused, as bars, with FLOPs a byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...machine.devices import MODEL, Device
from ...runs.counting import count
from ...theme import ORDER, hue, label
from ...traffic.intensity import Part, whole
from ...traffic.report import fits
from ...units import short, size_of
from ..actors.bars import Bar, Bars, Piece
from ..actors.columns import Stack
from ..values import Made

N, D, BLOCK = 8192, 64, 128
STEPS = ("QK^{T}", "softmax", "PV")
FUSED = (("FlashAttention", "flash-forward", 128, 128), ("FlashAttention-2", "flash2-forward", 128, 64),
         ("FlashAttention-2", "flash2-forward", 256, 64))  # fmt: skip
COUNTED = f"one head, N = {short(N)}, d = {D}, fp16, forward; FLOPs of products, and of softmax all; {MODEL}"


class Fused(NamedTuple):
    """An algorithm at a tile: its name, what it does and moves, and the tile in words."""

    name: str
    part: Part
    tile: str


def stacks(parts: Sequence[Part]) -> tuple[Stack, Stack]:
    """The arithmetic of all steps, and their bytes, softmax in a hue of its own."""
    sums = sum(part.work.total for part in parts), sum(part.total for part in parts)
    shares = [(part.work.total, part.total) for part in parts]
    made = []
    for n, (title, total) in enumerate((("all arithmetic", f"{sums[0] / 1e9:.1f} GFLOP"), ("bytes", size_of(sums[1])))):
        pieces = tuple(Piece(share[n], "dim" if k != 1 else "S", name=STEPS[k]) for k, share in enumerate(shares))
        made.append(Stack(pieces, sums[n], title, total))
    return made[0], made[1]


def fused_runs(gpu: Device) -> list[Fused]:
    """Standard attention, then those that this GPU has room for."""
    runs = [Fused("standard", whole("standard-forward", n=N, d=D, block_q=BLOCK, block_k=BLOCK), "")]
    for name, algorithm, block_q, block_k in FUSED:
        part = whole(algorithm, n=N, d=D, block_q=block_q, block_k=block_k)
        if fits(algorithm, count(algorithm, n=N, d=D, block_q=block_q, block_k=block_k), gpu):
            runs.append(Fused(name, part, f"{block_q}×{block_k}: "))
    return runs


def bytes_moved(runs: Sequence[Fused], grown: Sequence[Any], wide: bool) -> Bars:
    """Of each by tensor, as far as it has `grown`."""
    said = [f"{tile}{part.intensity:.0f}" for _, part, tile in runs]
    bars = tuple(
        Bar(
            name, Made(lambda u, of=part.total: u * of, u), pieces=pieces(part),
            under=figure if wide else "", note="" if wide else figure,
        )
        for (name, part, _), figure, u in zip(runs, said, grown, strict=True)
    )  # fmt: skip
    return Bars(bars, runs[0].part.total, title="bytes moved, and FLOPs a byte")


def pieces(part: Part) -> tuple[Piece, ...]:
    """Bytes by tensor, in the order of tensors."""
    names = sorted(part.nbytes, key=ORDER.index)
    return tuple(Piece(part.nbytes[name], hue(name), name=label(name)) for name in names)
