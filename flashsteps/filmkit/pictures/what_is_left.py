"""What FlashAttention-2 leaves of each cost, and what its tile takes on chip, as bars."""

from __future__ import annotations

from typing import Any

from ...machine.devices import Device
from ...machine.events import IO
from ...runs.counting import count
from ...traffic.footprint import footprint
from ...units import short, size_of
from ..actors.bars import Bar, Bars, Mark
from ..values import Made

N, D, TILE = 1 << 16, 64, 128  # a real head
WIDE, FITS = 128, (128, 64)  # a wide head, and the tile that is shipped for it


def counts(n: int = N) -> tuple[IO, IO]:
    """Standard attention's and FlashAttention-2's, forward, at a real size."""
    sizes: dict[str, Any] = {"n": n, "d": D, "block_q": TILE, "block_k": TILE}
    return count("standard-forward", **sizes), count("flash2-forward", **sizes)


def costs_left(grown: list[Any]) -> Bars:
    """Each cost of FlashAttention-2, as a share of standard attention's: it falls from all of it as it has `grown`."""
    sizes: dict[str, Any] = {"n": N, "d": D, "block_q": TILE, "block_k": TILE}
    held, io = [footprint(name, **sizes).total for name in ("standard-forward", "flash2-forward")], counts()
    pairs = (
        ("memory", "grows with N", size_of, held[1], held[0]),
        ("HBM traffic", "grows with N²", size_of, io[1].total, io[0].total),
        ("products", "grow with N²", flops, io[1].work.matmul, io[0].work.matmul),
    )
    bars = tuple(
        Bar(
            name,
            Made(lambda u, own=own, of=of: 1 - (1 - own / of) * u, part),
            under=how,
            whole=1.0,
            note=Made(lambda u, say=say, own=own, of=of: f"{say(of + (own - of) * u)} of {say(of)}", part),
        )
        for (name, how, say, own, of), part in zip(pairs, grown, strict=True)
    )
    return Bars(bars, 1.0, "{:.1%}", (Mark(1.0, "standard"),), title=f"FlashAttention-2, N = {short(N)}, d = {D}")


def flops(work: float) -> str:
    return f"{work / 1e12:.1f} TFLOP"


def on_chip() -> tuple[int, int]:
    """Bytes of shared memory and of registers that the tile of a wide head takes."""
    peak = count("flash2-forward", n=1 << 13, d=WIDE, block_q=FITS[0], block_k=FITS[1]).peak
    return peak.shared, peak.registers


def beside_an_sm(gpu: Device, grown: Any) -> tuple[Bars, bool]:
    """Both, beside what an SM has; and whether they fit."""
    room = gpu.shared_per_block * 1024, gpu.registers_per_sm * 1024
    names = ("shared memory", "Q, K and V of a tile"), ("registers", "acc, S, P, m, ℓ, α, LSE")
    bars = tuple(
        Bar(name, Made(lambda u, b=b: b * u, grown), "V" if n == 0 else "S", under=what, whole=float(most),
            note=f"of {most:,} B")
        for n, ((name, what), b, most) in enumerate(zip(names, on_chip(), room, strict=True))
    )  # fmt: skip
    chart = Bars(bars, float(max(room)), "{:,.0f} B", title=f"one SM of {gpu.title}")
    return chart, all(b <= most for b, most in zip(on_chip(), room, strict=True))
