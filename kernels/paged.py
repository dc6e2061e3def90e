"""Decoding from a paged cache: a block table says where each page of keys and values lies (PagedAttention).

The Triton twin of `flashsteps.algorithms.paged_decode`: the same loads and stores, page by page, in the same order.
Only the rows in use of the last page are read. A program is (block of queries, part): grid (blocks, parts). Where these
are too few for a GPU, the pages are shared out in pieces, which `split_kv`'s second kernel merges.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from . import checks
from .launch import arguments, grid, launch, like, outputs, strides, tiles
from .problem import Problem
from .split_kv import merge, pieces, room
from .targets import configs
from .tile import (
    add_tile,
    load_tile,
    natural_lse,
    one_over,
    part,
    store_statistic,
    store_tile,
    visited,
)


@triton.jit(do_not_specialize=["N", "M", "left", "right", "pieces", "per_piece"])
def paged_kernel(
    Q, K, V, table, lengths, O, LSE, q_strides, k_strides, v_strides, table_stride, o_strides, heads_kv, N, M, scale,
    softcap, left, right, pieces, per_piece,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, PAGE: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr,
    RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, LENGTHS: tl.constexpr, PRECISION: tl.constexpr,
    HEAVY_FIRST: tl.constexpr, TABLE: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """O (B, H, N, HEAD_DIM) and LSE (B, H, N); K and V are pools of pages: (page, key-value head, row) by strides.

    M keys, or lengths (B,) of them; table (B, pages of the longest), int32. Without TABLE, each sequence's keys lie in
    one piece, at its own number, and a page is PAGE of them. With SPLIT, O and LSE are those of pieces
    of so many pages, as `split_kernel` writes them.
    """
    i = tl.program_id(0)
    s = i * 0
    if SPLIT:
        i, s = i // pieces, i % pieces
    elif HEAVY_FIRST:  # Under a causal mask the last queries see most keys: what takes longest is begun first.
        i = tl.num_programs(0) - 1 - i
    b, h = part(heads_kv)
    first = i * BLOCK_Q
    if LENGTHS:
        M = tl.load(lengths + b)  # Each sequence of a batch has its own number of keys.
    lo, full, cut, hi = visited(first, tl.minimum(first + BLOCK_Q, N) - 1, N, M, left, right, PAGE, LEFT, RIGHT)
    if SPLIT:
        lo = tl.maximum(lo, s * per_piece)  # of the pages that are seen, those of this piece
        hi = tl.minimum(hi, (s + 1) * per_piece)
    tokens = first + tl.arange(0, BLOCK_M) // GROUP

    # Each program keeps its own queries: when decoding, one.
    q = load_tile(Q, q_strides, b, h * GROUP, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, True, False)
    m_i = tl.full([BLOCK_M], float("-inf"), tl.float32)  # Max, sum and output start on chip, and stay there.
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_V], tl.float32)
    for j in tl.range(lo, hi):
        start = j * PAGE
        page, row, stop = b, start, M
        if TABLE:
            page = tl.load(table + b.to(tl.int64) * table_stride + j)  # The block table says which page comes next.
            row, stop = start * 0, M - start
        # That page of keys and values comes in, wherever it lies; of the last one, the rows in use.
        k = load_tile(K, k_strides, page, h, row, stop, BLOCK_N, PAGE, 1, HEAD_DIM, D, True, False)
        v = load_tile(V, v_strides, page, h, row, stop, BLOCK_N, PAGE, 1, HEAD_DIM_V, D_V, True, False)
        acc, l_i, m_i = add_tile(acc, l_i, m_i, q, k, v, None, tokens, start, N, M, scale, softcap, left, right,
                                 BLOCK_N, PAGE, LEFT, RIGHT, SOFTCAP, 0, True, PRECISION)  # fmt: skip
    o = acc * one_over(l_i)[:, None]  # All pages seen: divide by the sum, once.
    # The output goes out, with one number a row: LSE.
    lse = natural_lse(m_i, l_i)
    if SPLIT:
        one, row, rows = b * heads_kv + h, first * GROUP, N * GROUP
        store_tile(O, o_strides, one, s, row, rows, o, BLOCK_M, BLOCK_Q * GROUP, 1, HEAD_DIM_V, D_V, False)
        store_statistic(LSE, one, s, pieces, row, rows, rows, lse, BLOCK_M, BLOCK_Q * GROUP, 1)
    else:
        store_tile(O, o_strides, b, h * GROUP, first, N, o, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, False)
        store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first, N, N, lse, BLOCK_M, BLOCK_Q, GROUP)


def paged_decode(
    q: torch.Tensor,
    k_pool: torch.Tensor,
    v_pool: torch.Tensor,
    table: torch.Tensor,
    n_keys: int | torch.Tensor,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    block_q: int | None = None,
    splits: int | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse, as `forward` gives them, of q (B, H, N, d), with keys and values that lie in pages; no gradient.

    k_pool and v_pool are (pages, rows of a page, Hk, d); `table` (B, most), int32, says which pages hold the keys of
    each sequence, in order; n_keys is how many each has: one number, or a tensor (B,), int32. Masks are aligned to the
    last key. `splits` is in how many pieces the pages are shared out at most; without it, in as many as keep the GPU's
    multiprocessors at work. On a GPU, what table and n_keys hold is not looked at beforehand: that would make it wait.

    Raises ValueError for arguments that make no sense.
    """
    if torch.compiler.is_compiling() and config is None:
        lengths = n_keys if isinstance(n_keys, torch.Tensor) else None
        keys = None if isinstance(n_keys, torch.Tensor) else n_keys
        left, right = window or (-1, -1)
        whole: tuple[torch.Tensor, torch.Tensor] = _whole(
            q, k_pool, v_pool, table, lengths, keys, causal, left, right, scale, softcap, block_q, splits
        )
        return whole
    for name, x in {"k_pool": k_pool, "v_pool": v_pool}.items():
        checks.matrix_of_heads(name, x, "(pages, rows of a page, key-value heads, head dimension)")
    checks.matrix_of_heads("q", q)
    for name, x in {"k_pool": k_pool, "v_pool": v_pool}.items():
        checks.same(name, x, "q", q)
    if k_pool.shape[3] != q.shape[3]:
        raise ValueError(f"k_pool has head dimension {k_pool.shape[3]}, q {q.shape[3]}: make them the same")
    if v_pool.shape[:3] != k_pool.shape[:3]:
        raise ValueError(
            f"v_pool has shape {tuple(v_pool.shape)}, k_pool {tuple(k_pool.shape)}: give a value for each key"
        )
    checks.widths("head dimension", ("q", q.shape[3]), ("v_pool", v_pool.shape[3]))
    (pages, page, kv_heads, d), (batch, heads, n, _) = k_pool.shape, q.shape
    most, lengths = _table(table, n_keys, batch, pages, page, q.device)
    options = checks.options_of(tuple(q.shape), (batch, kv_heads, most, d), causal, window, scale, softcap)
    problem = Problem(batch, heads, kv_heads, n, most, d, v_pool.shape[3], *options, q.dtype, q.device)
    return decode(problem, q, k_pool, v_pool, table, lengths, page, block_q=block_q, splits=splits, config=config)


def decode(
    problem: Problem,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: torch.Tensor | None,
    lengths: torch.Tensor | None,
    page: int,
    *,
    block_q: int | None = None,
    splits: int | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`paged_decode` of a problem that was checked; without a table, k and v are (B, rows, Hk, d), a page some rows."""
    config = config or configs.shipped("paged", problem)
    tile = tiles(problem, config, block_q, checks.up(page))._replace(block_n=checks.up(page))
    o, lse = outputs(problem, q)
    if problem.nothing:
        return o.zero_(), lse.fill_(-torch.inf)
    blocks, in_use = -(-problem.n // tile.block_q), -(-problem.m // page)
    at_most = _enough(problem, blocks, in_use) if splits is None else checks.positive("splits", splits)
    count, per_piece = pieces(at_most, in_use)
    o_s, lse_s = (o, lse) if count == 1 else room(problem, count)
    launch(
        paged_kernel,
        grid(problem, blocks * count),
        problem,
        config.options,
        Q=q,
        K=k,
        V=v,
        table=table,
        lengths=lengths,
        O=o_s,
        LSE=lse_s,
        **strides(q=q, o=o_s),
        k_strides=_by_page(k),
        v_strides=_by_page(v),
        table_stride=0 if table is None else table.stride(0),
        pieces=count,
        per_piece=per_piece,
        **arguments(paged_kernel, problem, tile),
        PAGE=page,
        LENGTHS=lengths is not None,
        TABLE=table is not None,
        SPLIT=count > 1,
    )
    if count > 1:
        merge(problem, tile, o_s, lse_s, o, lse)
    return o, lse


#: pages that a piece has at least: fewer are not worth a program and its merging
LEAST = 8


def _enough(problem: Problem, blocks: int, in_use: int) -> int:
    """Pieces enough for a program on each multiprocessor; 1 where there is no GPU to fill."""
    if problem.device.type != "cuda":
        return 1
    return max(1, min(_multiprocessors(problem.device) // (blocks * problem.parts), in_use // LEAST))


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@torch.library.custom_op("flashsteps::paged_decode", mutates_args=())
def _whole(
    q: torch.Tensor,
    k_pool: torch.Tensor,
    v_pool: torch.Tensor,
    table: torch.Tensor,
    lengths: torch.Tensor | None,
    keys: int | None,
    causal: bool,
    left: int,
    right: int,
    scale: float | None,
    softcap: float | None,
    block_q: int | None,
    splits: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as one operation, which torch.compile sees from outside."""
    return paged_decode(q, k_pool, v_pool, table, keys if lengths is None else lengths, causal=causal,
                        window=None if left == right == -1 else (left, right), scale=scale, softcap=softcap,
                        block_q=block_q, splits=splits)  # fmt: skip


@_whole.register_fake
def _whole_shapes(q: Any, k_pool: Any, v_pool: Any, *rest: Any) -> Any:
    return like(q, v_pool.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


def _by_page(pool: torch.Tensor) -> tuple[int, int, int]:
    """Strides of page, key-value head and row."""
    return pool.stride(0), pool.stride(2), pool.stride(1)


def _table(
    table: Any, n_keys: Any, batch: int, pages: int, page: int, device: torch.device
) -> tuple[int, torch.Tensor | None]:
    """How many keys a sequence can have at most, and how many each has, if that is said of each."""
    if not isinstance(table, torch.Tensor) or table.dim() != 2:
        raise ValueError("table is no tensor (batch, pages): give int32, the pages of each sequence in order")
    checks.shaped("table", table, (batch, table.shape[1]), torch.int32, device)
    if table.shape[1] > 1 and table.stride(1) != 1:
        raise ValueError(f"table has stride {table.stride(1)} in its last dimension: call table.contiguous() first")
    room = table.shape[1] * page
    if isinstance(n_keys, torch.Tensor):
        checks.shaped("n_keys", n_keys, (batch,), torch.int32, device)
        lengths: torch.Tensor | None = n_keys.contiguous()
        said = n_keys.tolist() if device.type == "cpu" else []
    else:
        lengths, said = None, [n_keys] * batch
        if not isinstance(n_keys, int) or isinstance(n_keys, bool):
            raise ValueError(f"n_keys is {n_keys!r}: give a whole number, or a tensor (batch,) of int32")
    for b, keys in enumerate(said):
        if not 0 <= keys <= room:
            raise ValueError(f"n_keys is {keys:,}, but table has room for {room:,}: {table.shape[1]} pages of {page}")
        if device.type == "cpu":
            used = table[b, : -(-keys // page)]
            if used.numel() and (int(used.min()) < 0 or int(used.max()) >= pages):
                raise ValueError(f"table points outside the pool: its pages are 0 to {pages - 1}")
    return (room if lengths is not None else int(n_keys)), lengths
