"""A long cache of one head, counted: what comes in of it, into how many pieces a GPU cuts it, and what that costs."""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import Any

from ...machine.devices import Device
from ...machine.events import IO
from ...runs.counting import count
from ...story.labels import a
from ...traffic.intensity import of, ridge
from ...units import short, size_of
from ..actors.bars import Bar, Bars, Piece
from ..actors.number import Number
from ..values import Made
from .cut_cache import Cut

N, D, BLOCK = 65536, 128, 64  # keys, their width, and keys of a block


@cache
def counted(splits: int) -> IO:
    return count("split-kv-decode", n=1, n_keys=N, d=D, block_q=1, block_k=BLOCK, splits=splits)


def shared(gpu: Device) -> tuple[int, int]:
    """Into how many pieces the keys are cut for this GPU, and how many keys each has."""
    blocks = N // BLOCK
    each = ceil(blocks / gpu.multiprocessors)
    return ceil(blocks / each), each * BLOCK


def read() -> int:
    """Bytes of K and V, which all come in."""
    return sum(counted(1).by_tensor[name].read for name in "KV")


def intensity() -> float:
    """FLOPs for each byte that moves."""
    return of(counted(1).work, counted(1).total)


# ---- shots


def for_each_byte(gpu: Device) -> tuple[Number, Number]:
    """FLOPs that are done for each byte, and those that this GPU could do while a byte comes."""
    done, at = (
        Number("", f"{value:.1f}" if value < 10 else f"{value:.0f}", says=says)
        for says, value in (("FLOPs done for each byte", intensity()), (f"{a(gpu.model)} could do", ridge(gpu)))
    )
    return done, at


def ways(gpu: Device) -> tuple[Cut, Cut]:
    """One program for the one query; and one for each piece of its keys."""
    (pieces, each), sms = shared(gpu), gpu.multiprocessors
    blocks = N // BLOCK
    share = f"{blocks:,} blocks of {BLOCK} / {sms} SMs = {blocks / sms:.1f}"
    many = f"{share}: {each // BLOCK} each, {pieces} pieces"
    sizes = (each,) * (pieces - 1) + (N - each * (pieces - 1),)
    return (
        Cut("one program for the one query", f"1 of {sms} SMs reads all {size_of(read())}", (N,)),
        Cut(f"the keys in {pieces} pieces", many, sizes),
    )


def what_comes(grown: Any) -> Bars:
    """K and V, as long as the cache, and the one query."""
    K, V, Q = (counted(1).by_tensor[name].read for name in ("K", "V", "Q"))
    bars = tuple(
        Bar(name, Made(lambda u, of=of: of * u, grown), hue, under=under)
        for name, of, hue, under in (
            ("K", K, "K", f"{short(N)} keys"), ("V", V, "V", f"{short(N)} values"), ("q", Q, "Q", "one query")
        )
    )  # fmt: skip
    return Bars(bars, float(K), title=f"a cache of {short(N)} keys, one head, d = {D}, fp16: bytes that come in")


def what_it_costs(gpu: Device, grown: Any) -> tuple[Bars, int, int]:
    """The cache beside the partial results, to scale; and both in bytes."""
    io = counted(gpu.multiprocessors)
    kv, extra = (sum(sum(io.by_tensor[name]) for name in names) for names in (("K", "V"), ("O_s", "LSE_s")))
    parts = tuple(Piece(io.by_tensor[name].read, name, name=name) for name in "KV")
    out = tuple(
        Piece(getattr(io.by_tensor[name], way), hue, way == "written")
        for way in ("written", "read") for name, hue in (("O_s", "O"), ("LSE_s", "stat"))
    )  # fmt: skip
    bars = (
        Bar("the cache", Made(lambda u: u * kv, grown), pieces=parts, under="K and V, read once"),
        Bar("partial results", Made(lambda u: u * extra, grown), pieces=out, under="written, then read"),
    )
    return Bars(bars, float(kv), title=f"HBM traffic, {shared(gpu)[0]} pieces, to scale"), kv, extra
