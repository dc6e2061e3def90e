"""`flash_attention_with_kvcache`: new keys and values go into a cache, in place, and queries see all that is in it.

As flash-attn has it: the cache is one piece for each sequence, or pages of a pool that a block table names.
"""

from __future__ import annotations

from typing import Any

import torch

from . import checks
from .launch import like
from .paged import decode
from .problem import Problem
from .targets import configs


def flash_attention_with_kvcache(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    k: torch.Tensor | None = None,
    v: torch.Tensor | None = None,
    cache_seqlens: torch.Tensor | int | None = None,
    block_table: torch.Tensor | None = None,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    splits: int | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention of q (B, N, H, d) to the keys and values of a cache, to which k and v are appended first.

    Axes are as in flash-attn, tokens before heads. k_cache (B, room, Hk, d) and v_cache (B, room, Hk, d_v) are one
    piece for each sequence; with `block_table` (B, pages of each), int32, they are pools (pages, rows of a page, Hk, …)
    that it points into. cache_seqlens (B,), int32, or one number, is how many keys are there before; without it the
    cache is full, and nothing can be appended. k (B, new, Hk, d) and v (B, new, Hk, d_v) are written behind them, in
    place; cache_seqlens stays as it is. Options are those of `flash_attention`, aligned to the last key; `splits` is in
    how many pieces the keys are shared out at most, by itself as many as keep a GPU at work.

    Gives o (B, N, H, d_v), and with `return_lse` lse (B, H, N), float32; no gradient flows. It neither rotates (give
    rotated q and k) nor drops. On a CPU cache_seqlens and block_table are looked at; on a GPU nothing waits for them.
    Raises ValueError for what makes no sense.
    """
    if not isinstance(return_lse, bool):
        raise ValueError(f"return_lse is {return_lse!r}: give True or False")
    if (k is None) != (v is None):
        raise ValueError(f"{'v' if k is None else 'k'} is given alone: give both k and v, or neither")
    lengths = cache_seqlens
    if lengths is None and k is not None:
        raise ValueError("cache_seqlens is None, so the cache is full: say how many keys are there, to append k and v")
    if isinstance(lengths, int) and not isinstance(lengths, bool):
        lengths = torch.full((q.shape[0],), lengths, dtype=torch.int32, device=q.device)
    if lengths is not None and not isinstance(lengths, torch.Tensor):
        raise ValueError(f"cache_seqlens is {lengths!r}: give a whole number, or a tensor (batch,) of int32")
    left, right = window or (-1, -1)
    o, lse = _attend(
        q, k_cache, v_cache, k, v, lengths, block_table, causal, left, right, scale, softcap, splits
    )  # fmt: skip
    return (o.transpose(1, 2), lse) if return_lse else o.transpose(1, 2)


_NAMES = ("q", "k_cache")


@torch.library.custom_op("flashsteps::attention_with_kvcache", mutates_args=("k_cache", "v_cache"))
def _attend(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    k: torch.Tensor | None,
    v: torch.Tensor | None,
    lengths: torch.Tensor | None,
    table: torch.Tensor | None,
    causal: bool,
    left: int,
    right: int,
    scale: float | None,
    softcap: float | None,
    splits: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o (B, H, N, d_v) and lse, as one operation, which torch.compile sees from outside."""
    axes = "(batch, tokens, heads, head dimension)"
    for name, x in {"q": q, "k_cache": k_cache, "v_cache": v_cache, "k": k, "v": v}.items():
        if x is not None:
            checks.matrix_of_heads(name, x, axes)
            checks.same(name, x, "q", q)
    (batch, n, heads, d), (_, rows, kv_heads, _), d_v = q.shape, k_cache.shape, v_cache.shape[3]
    if k_cache.shape[3] != d or (table is None and k_cache.shape[0] != batch):
        raise ValueError(f"k_cache has shape {tuple(k_cache.shape)}, q {tuple(q.shape)}: make batch and d the same")
    if v_cache.shape[:3] != k_cache.shape[:3]:
        raise ValueError(f"v_cache has shape {tuple(v_cache.shape)}, k_cache {tuple(k_cache.shape)}: give as much room")
    checks.widths("head dimension", ("q", d), ("v_cache", d_v))
    if table is not None:
        checks.shaped("block_table", table, (batch, table.shape[-1]), torch.int32, q.device)
        table = table.contiguous()
    room = rows if table is None else rows * table.shape[1]
    new = 0 if k is None else k.shape[1]
    if k is not None and v is not None:
        checks.shaped("k", k, (batch, new, kv_heads, d), q.dtype, q.device)
        checks.shaped("v", v, (batch, new, kv_heads, d_v), q.dtype, q.device)
    if lengths is not None:
        checks.shaped("cache_seqlens", lengths, (batch,), torch.int32, q.device)
        _fits(lengths, new, room, table, rows, k_cache.shape[0])
    if k is not None and v is not None and lengths is not None:
        _append(((k_cache, k), (v_cache, v)), lengths, table, rows)
        lengths = lengths + new
    queries = q.transpose(1, 2)
    window = None if left == right == -1 else (left, right)
    options = checks.options_of(
        tuple(queries.shape), (batch, kv_heads, room, d), causal, window, scale, softcap, _NAMES
    )
    problem = Problem(batch, heads, kv_heads, n, room, d, d_v, *options, q.dtype, q.device)
    page = rows if table is not None else min(configs.shipped("split_kv", problem).block_n, checks.up(room))
    return decode(problem, queries, k_cache, v_cache, table, lengths, page, splits=splits)


@_attend.register_fake
def _shapes(q: Any, k_cache: Any, v_cache: Any, *rest: Any) -> Any:
    queries = q.transpose(1, 2)
    return like(queries, v_cache.shape[3]), q.new_empty(queries.shape[:3], dtype=torch.float32)


def _append(
    pairs: tuple[tuple[torch.Tensor, torch.Tensor], ...], lengths: torch.Tensor, table: torch.Tensor | None, rows: int
) -> None:
    """Write each sequence's new rows behind those that it has, into the cache itself."""
    new = pairs[0][1].shape[1]
    at = lengths[:, None].long() + torch.arange(new, device=lengths.device)
    if table is None:
        where: tuple[torch.Tensor, torch.Tensor] = torch.arange(len(at), device=at.device)[:, None].expand_as(at), at
    else:
        where = table.long().gather(1, at // rows), at % rows
    with torch.no_grad():
        for cache, x in pairs:
            cache.index_put_(where, x)


def _fits(lengths: torch.Tensor, new: int, room: int, table: torch.Tensor | None, rows: int, pages: int) -> None:
    """Raises ValueError where there are fewer rows than keys, as far as that can be seen without waiting for a GPU."""
    if lengths.device.type != "cpu":
        return
    for b, many in enumerate(lengths.tolist()):
        if not 0 <= many <= room - new:
            raise ValueError(f"cache_seqlens is {many:,}, with {new:,} new: the cache has room for {room:,}")
        if table is not None:
            used = table[b, : -(-(many + new) // rows)]
            if used.numel() and (int(used.min()) < 0 or int(used.max()) >= pages):
                raise ValueError(f"block_table points outside the cache: its pages are 0 to {pages - 1}")
