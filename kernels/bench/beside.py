"""Masks, packed sequences and decoding, held against what torch has for each, in one run, turn about.

What everybody times, plain and causal attention, is in `speed`; here is the rest of what is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..attention import flash_attention
from ..kv_cache import flash_attention_with_kvcache
from ..varlen import flash_attention_varlen
from . import speed, trial
from .backends import TORCH, held
from .machine import Machine

#: how often each is timed, and the page of a cache
TURNS, PAGE = 20, 64


class Subject(NamedTuple):
    """Something to do in several ways, by name; `leaves` are what gradients are taken of, none where there are none.

    `nbytes`: what has to be read, where that is what its time goes into.
    """

    name: str
    ways: dict[str, Callable[[], Tensor]]
    leaves: tuple[Tensor, ...] = ()
    nbytes: int = 0


class Size(NamedTuple):
    """N of what is masked, the most tokens of a sequence of those that are packed, keys of a cache, heads, d."""

    masked: int
    packed: int
    cached: int
    heads: int
    d: int


#: what is measured, and what is enough to see that all works
FULL, QUICK = Size(4 << 10, 4 << 10, 16 << 10, 16, 128), Size(32, 32, 128, 2, 16)


def subjects(device: str, size: Size = FULL) -> Iterator[Subject]:
    """One after the other, as each holds gigabytes."""
    yield _biased(device, size)
    yield _padded(device, size)
    yield _packed(device, size)
    for batch in (1, 16):
        yield _decoding(device, size, batch)


def compared(machine: Machine, subject: Subject) -> Iterator[dict[str, Any]]:
    """A row for each way: the median of its time, forward, and back where that is asked for; or why there is none."""
    for which in trial.PASSES[: 2 if subject.leaves else 1]:
        failed: dict[str, tuple[str, str]] = {}
        calls = {name: partial(_once, machine, way, subject.leaves, which) for name, way in subject.ways.items()}
        times = speed.timed(machine, calls, failed, speed.BUDGET, TURNS)
        for name in calls:
            status, why = failed.get(name, ("ok", None))
            row: dict[str, Any] = {"what": subject.name, "pass": which, "backend": name, "status": status, "why": why}
            each = times.get(name, [])
            rate = subject.nbytes / median(each) / 1e12 if each and subject.nbytes else None
            yield row | {
                "seconds": speed.summary(each) if each else None,
                "runs": len(each) or None,
                "tb_per_s": rate and speed.digits(rate),
            }
        machine.release()


def _once(
    machine: Machine, way: Callable[[], Tensor], leaves: tuple[Tensor, ...], which: str, turn: int
) -> tuple[Any, Any]:
    """As `trial.once`."""
    back = which == "backward"
    for x in leaves:
        x.requires_grad_(back)
    out = way() if back else None
    machine.flush()
    start = machine.mark()
    if out is None:
        way()
    else:
        torch.autograd.grad(out, leaves, torch.ones_like(out))
    return start, machine.mark()


def _torch(*given: Tensor, **options: Any) -> dict[str, Callable[[], Tensor]]:
    """scaled_dot_product_attention with each of its backends; which of them take what is given is found out."""
    return {name: partial(held, name, *given, **options) for name in TORCH}


def _biased(device: str, size: Size) -> Subject:
    n = size.masked
    q, k, v = (_random(device, 1, size.heads, n, size.d) for _ in range(3))
    bias = _random(device, 1, size.heads, n, n)
    ours = {"flashsteps": lambda: flash_attention(q, k, v, bias)}
    return Subject(f"a bias for each head, N = {n:,}", ours | _torch(q, k, v, bias), (q, k, v))


def _padded(device: str, size: Size) -> Subject:
    n = size.masked
    q, k, v = (_random(device, 4, size.heads, n, size.d) for _ in range(3))
    ends = torch.tensor([n, 3 * n // 4, n // 2, n // 4], device=device)
    keep = (torch.arange(n, device=device) < ends[:, None])[:, None, None, :]
    ours = {"flashsteps": lambda: flash_attention(q, k, v, keep)}
    return Subject(f"a padding mask, 4 sequences, N = {n:,}", ours | _torch(q, k, v, keep), (q, k, v))


def _packed(device: str, size: Size) -> Subject:
    longest = size.packed
    lengths = [longest * each // 16 for each in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)]
    starts = torch.tensor([0, *lengths], device=device).cumsum(0, dtype=torch.int32)
    q, k, v = (_random(device, sum(lengths), size.heads, size.d) for _ in range(3))

    def torchs() -> Tensor:
        varlen: Any = torch.ops.aten._flash_attention_forward
        out: Tensor = varlen(q, k, v, starts, starts, longest, longest, 0.0, True, False)[0]
        return out

    ours: Any = partial(flash_attention_varlen, q, k, v, starts, starts, longest, longest, causal=True)
    name = f"packed, causal, 10 sequences of {min(lengths):,} to {longest:,}"
    return Subject(name, {"flashsteps": ours, "flash": torchs})


def _decoding(device: str, size: Size, batch: int) -> Subject:
    m, heads, kv_heads = size.cached, 2 * size.heads, size.heads // 2
    q, k, v = (_random(device, batch, h, n, size.d) for h, n in ((heads, 1), (kv_heads, m), (kv_heads, m)))
    query, *cache = (x.transpose(1, 2).contiguous() for x in (q, k, v))  # tokens before heads
    pools = [x.view(batch * m // PAGE, PAGE, kv_heads, size.d) for x in cache]
    table = torch.randperm(len(pools[0]), device=device).to(torch.int32).view(batch, m // PAGE)
    lengths = torch.full((batch,), m, dtype=torch.int32, device=device)
    cached: Any = flash_attention_with_kvcache
    ours: dict[str, Any] = {
        "flashsteps": partial(cached, query, *cache, cache_seqlens=lengths),
        "flashsteps, pages": partial(cached, query, *pools, cache_seqlens=lengths, block_table=table),
        "flashsteps, pages, not shared out": partial(
            cached, query, *pools, cache_seqlens=lengths, block_table=table, splits=1
        ),
    }
    name = f"decoding, {batch} × 1 query, {m:,} keys, {heads} heads on {kv_heads}"
    return Subject(name, ours | _torch(q, k, v, enable_gqa=True), nbytes=2 * k.nbytes)


def _random(device: str, *shape: int) -> Tensor:
    return torch.randn(shape, device=device, dtype=torch.bfloat16)
