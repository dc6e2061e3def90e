"""What people call, on this machine: `flash_attention`, packed sequences and caches with all that they take, held
against float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..attention import flash_attention
from ..kv_cache import flash_attention_with_kvcache
from ..validation import standard
from ..varlen import flash_attention_varlen
from . import numbers
from .machine import Machine
from .numbers import Outputs, poison, seen

#: as many queries and keys as are no multiple of a tile, and fewer, to see that all works
LARGE, SMALL = (500, 777), (9, 20)


class Call(NamedTuple):
    """A call in words, and how it is made on a device: what it gives, what is exact, and what standard attention of
    the same type gives."""

    name: str
    made: Callable[[str], tuple[Outputs, Outputs, Outputs]]

    def __str__(self) -> str:
        return self.name


def all_calls(n: int, m: int) -> list[Call]:
    """One for each thing that a caller may ask for."""
    half, single = torch.float16, torch.float32
    asked: dict[str, dict[str, Any]] = {
        "as it comes": {},
        "is_causal, top left": {"is_causal": True},
        "causal, bottom right": {"causal": True},
        "window": {"window": (m // 5, m // 9)},
        "shared keys, causal": {"heads": 6, "kv_heads": 2, "causal": True},
        "softcap, window": {"softcap": 5.0, "window": (m // 4, 0)},
        "a bias for each head": {"mask": "bias"},
        "a bias for each head, float32": {"mask": "bias", "dtype": single},
        "a bias, shared keys, causal": {"mask": "bias", "heads": 6, "kv_heads": 2, "causal": True},
        "padding": {"mask": "padding"},
        "padding, is_causal": {"mask": "padding", "is_causal": True},
        "queries that see nothing": {"mask": "hidden"},
        "−∞ in a mask": {"mask": "infinite", "dtype": half},
        "sinks": {"sinks": True},
        "sinks, causal, shared keys": {"sinks": True, "causal": True, "heads": 6, "kv_heads": 2, "dtype": half},
        "sinks, a bias, softcap": {"sinks": True, "mask": "bias", "softcap": 5.0},
        "narrower values": {"d": 96, "d_v": 64},
        "wider values, causal": {"d": 64, "d_v": 128, "causal": True, "dtype": half},
        "narrower values, a bias": {"d": 96, "d_v": 64, "mask": "bias", "dtype": half},
        "heads of 128": {"d": 128, "causal": True},
        "heads of 256": {"d": 256, "causal": True},
        "heads of 256, a bias": {"d": 256, "mask": "bias"},
        "heads of 40": {"d": 40, "causal": True, "dtype": single},
        "tokens before heads": {"strided": True, "causal": True},
        "one query": {"n": 1, "causal": True},
    }
    found = [Call(f"flash_attention: {name}", partial(attended, **{"n": n, "m": m} | of)) for name, of in asked.items()]
    packed: dict[str, dict[str, Any]] = {
        "as they come": {},
        "causal, shared keys": {"causal": True, "kv_heads": 2},
        "window, softcap": {"window": (m // 5, 0), "softcap": 5.0},
        "sinks, float16": {"sinks": True, "causal": True, "dtype": half},
    }
    found += [Call(f"flash_attention_varlen: {name}", partial(sequences, m=m, **of)) for name, of in packed.items()]
    cached: dict[str, dict[str, Any]] = {
        "one query": {"n": 1},
        "new keys, causal": {"n": 3, "new": 3, "causal": True},
        "pages": {"n": 1, "page": 16},
        "pages, new keys, shared out": {"n": 1, "new": 1, "page": 16, "splits": 4},
        "window, wider heads": {"n": 1, "window": (m // 3, 0), "d": 128, "dtype": half},
    }
    return found + [
        Call(f"flash_attention_with_kvcache: {name}", partial(cache, room=m, **of)) for name, of in cached.items()
    ]


def errors(machine: Machine, call: Call) -> dict[str, Any]:
    """How far each output is off and how far it may be, as `numbers.errors` has it."""
    found, exact, near = call.made(machine.kind)
    machine.wait()
    return numbers.held(found, exact, near)


# ---- each of the three


def attended(
    device: str, *, n: int, m: int, d: int = 64, d_v: int | None = None, heads: int = 4, kv_heads: int | None = None,
    dtype: torch.dtype = torch.bfloat16, mask: str | None = None, sinks: bool = False, strided: bool = False,
    **options: Any,
) -> tuple[Outputs, Outputs, Outputs]:  # fmt: skip
    """`flash_attention`, forward and back."""
    given = _tensors((2, heads, kv_heads or heads, n, m, d, d_v or d), dtype, sinks, strided).to(device)
    keep, told = torch.ones(2, 1, n, m, dtype=torch.bool), None
    random = torch.Generator().manual_seed(1)
    match mask:
        case "bias" | "infinite":
            bias = torch.randn(1, heads, n, m, generator=random).to(dtype)
            if mask == "infinite":
                bias = bias.masked_fill(torch.rand(1, heads, n, m, generator=random) < 0.3, -torch.inf)
            told = bias.to(device)
            given = given._replace(bias=told)
        case "padding" | "hidden":
            keep = keep[..., :1, :] & (torch.arange(m) < torch.tensor([m, m // 2])[:, None, None, None])
            if mask == "hidden":
                keep = keep & (torch.rand(2, 1, n, 1, generator=random) < 0.7)
            told = keep.to(device)
    by = {"causal": options.get("causal", False), "window": options.get("window")}
    keep = keep & seen(n, m, **by)
    if options.get("is_causal"):
        keep = keep & torch.ones(n, m, dtype=torch.bool).tril()
    grouped = kv_heads is not None
    return _both_ways(
        given, keep.to(device), options.get("softcap"),
        lambda q, k, v, sink: flash_attention(
            q, k, v, told, sinks=sink, enable_gqa=grouped, return_lse=True, **options),
    )  # fmt: skip


def sequences(
    device: str, *, m: int, d: int = 64, heads: int = 4, kv_heads: int = 4, dtype: torch.dtype = torch.bfloat16,
    sinks: bool = False, **options: Any,
) -> tuple[Outputs, Outputs, Outputs]:  # fmt: skip
    """`flash_attention_varlen`, forward and back: sequences of several lengths, one of them with no token."""
    lengths_q, lengths_k = (m // 3, 0, 1, m // 2), (m // 2, m // 4, m // 5, m // 2)
    starts = [torch.tensor([0, *each]).cumsum(0) for each in (lengths_q, lengths_k)]
    n, all_keys = (int(each[-1]) for each in starts)
    given = _tensors((1, heads, kv_heads, n, all_keys, d, d), dtype, sinks).to(device)
    keep = torch.zeros(n, all_keys, dtype=torch.bool)
    by = {"causal": options.get("causal", False), "window": options.get("window")}
    for (a, b), (c, e) in zip(*([*each.unfold(0, 2, 1).tolist()] for each in starts), strict=True):
        keep[a:b, c:e] = seen(b - a, e - c, **by)
    cu = [each.to(device, torch.int32) for each in starts]

    def called(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Any:
        packed = (x[0].transpose(0, 1) for x in (q, k, v))
        call: Any = flash_attention_varlen
        made = call(*packed, *cu, max(lengths_q), max(lengths_k), sinks=sink, return_lse=True, **options)
        return made[0].transpose(0, 1)[None], made[1][None]

    return _both_ways(given, keep.to(device), options.get("softcap"), called)


def cache(
    device: str, *, n: int, room: int, new: int = 0, page: int = 0, d: int = 64, dtype: torch.dtype = torch.bfloat16,
    splits: int | None = None, **options: Any,
) -> tuple[Outputs, Outputs, Outputs]:  # fmt: skip
    """`flash_attention_with_kvcache`: sequences of several lengths, each in one piece or in pages that lie anywhere."""
    heads, kv_heads, lengths = 8, 2, [room - new, room // 2, 1]
    q, k, v, do, *_ = _tensors((3, heads, kv_heads, n, room, d, d), dtype)
    pools = [x.transpose(1, 2).to(device) for x in (k, v)]  # (batch, room, kv_heads, d)
    table = None
    if page:
        pages = -(-room // page)
        table = torch.randperm(3 * pages, generator=torch.Generator().manual_seed(2)).view(3, pages)
        into = [torch.full((3 * pages, page, kv_heads, d), torch.nan, dtype=dtype, device=device) for _ in pools]
        for pool, x in zip(into, pools, strict=True):
            padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, pages * page - room), value=torch.nan)
            pool[table.flatten().to(device)] = padded.reshape(3 * pages, page, kv_heads, d)
        pools = into
    appended = [torch.randn(3, new, kv_heads, d, device=device).to(dtype) for _ in pools]
    many = torch.tensor(lengths, dtype=torch.int32)
    call: Any = flash_attention_with_kvcache
    made = call(
        q.transpose(1, 2).to(device), *pools, *(appended if new else (None, None)), many.to(device),
        table if table is None else table.to(device, torch.int32), splits=splits, return_lse=True, **options,
    )  # fmt: skip
    both: tuple[list[Outputs], list[Outputs]] = ([], [])
    for b, length in enumerate(lengths):
        ours = [x.to(device)[b : b + 1, :, :length] for x in (k, v)]
        ours = [torch.cat([x, y[b : b + 1].transpose(1, 2)], 2) for x, y in zip(ours, appended, strict=True)]
        keep = seen(n, length + new, options.get("causal", False), options.get("window")).to(device)
        one = standard.Tensors(q[b : b + 1], ours[0], ours[1], do[b : b + 1])
        for kept, found in zip(both, _references(one, keep, options.get("softcap"), device), strict=True):
            kept.append(found)
    exact, near = ({name: torch.cat([one[name] for one in each]) for name in ("O", "LSE")} for each in both)
    return {"O": made[0].transpose(1, 2), "LSE": made[1]}, exact, near


# ---- what they share


def _tensors(
    sizes: tuple[int, int, int, int, int, int, int], dtype: torch.dtype, sinks: bool = False, strided: bool = False
) -> standard.Tensors:
    """Normal random q, k, v and dO of (batch, heads, kv_heads, n, m, d, d_v), and sinks; `strided`: (B, N, H, d)."""
    batch, heads, kv_heads, n, m, d, d_v = sizes
    random = torch.Generator().manual_seed(0)

    def one(*shape: int) -> Tensor:
        if not strided:
            return torch.randn(shape, generator=random).to(dtype)
        b, h, rows, width = shape
        return torch.randn((b, rows, h, width), generator=random).to(dtype).transpose(1, 2)

    q, k, v, do = one(batch, heads, n, d), one(batch, kv_heads, m, d), one(batch, kv_heads, m, d_v), None
    do = one(batch, heads, n, d_v)
    return standard.Tensors(q, k, v, do, None, torch.randn(heads, generator=random) if sinks else None)


def _references(given: standard.Tensors, keep: Tensor, softcap: float | None, device: str) -> Iterator[Outputs]:
    """Standard attention in float64, then in the type of q."""
    scale = given.q.shape[-1] ** -0.5
    for dtype in (torch.float64, given.q.dtype):
        yield standard.attention(given, keep, scale=scale, softcap=softcap, dtype=dtype, device=device)


def _both_ways(
    given: standard.Tensors, keep: Tensor, softcap: float | None, call: Callable[..., Any]
) -> tuple[Outputs, Outputs, Outputs]:
    """O, LSE and the gradients of a call, and what they should be; that of sinks is −Σ exp(sink − LSE)·D."""
    exact, near = _references(given, keep, softcap, given.q.device.type)
    leaves = [x.detach().requires_grad_() for x in (given.q, given.k, given.v)]
    sinks = None if given.sinks is None else given.sinks.detach().requires_grad_()
    poison(*leaves, exact["LSE"].float())
    o, lse = call(*leaves, sinks)
    grads = torch.autograd.grad(o, [*leaves, *([] if sinks is None else [sinks])], given.do)
    found = {"O": o.detach(), "LSE": lse.detach()} | dict(zip(("dQ", "dK", "dV", "dsinks"), grads, strict=False))
    if sinks is not None:
        for of in (exact, near):
            share = torch.exp(sinks.detach().double()[:, None] - of["LSE"].double())
            of["dsinks"] = -(share * of["D"].double()).sum((0, 2))
    return found, exact, near
