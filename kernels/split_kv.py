"""Decoding with split keys: few queries, so the keys are shared out, and a second kernel merges (Flash-Decoding).

The Triton twin of `flashsteps.algorithms.split_kv_decode`: the same loads and stores, tile by tile, in the same order.
Pieces are whole blocks of keys, by ceil division, so there can be fewer than asked for. A program of the first kernel
is (block of queries, piece, part): grid (blocks · pieces, parts); of the second (block of queries, part).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from . import checks
from .flash2_forward import attend_keys
from .launch import Tiles, arguments, fetched, grid, launch, like, outputs, strides, tiles
from .problem import Problem
from .targets import configs
from .tile import (
    load_statistic,
    load_tile,
    natural_lse,
    one_over,
    part,
    store_statistic,
    store_tile,
    visited,
)


@triton.jit(do_not_specialize=["N", "M", "left", "right", "pieces", "per_piece"])
def split_kernel(
    Q, K, V, O_s, LSE_s, q_strides, k_strides, v_strides, os_strides, heads_kv, N, M, scale, softcap, left, right,
    pieces, per_piece,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, EVEN: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """O_s (parts, pieces, N · GROUP, HEAD_DIM_V) and LSE_s (parts, pieces, N · GROUP), float32, of packed rows."""
    i, s = tl.program_id(0) // pieces, tl.program_id(0) % pieces
    b, h = part(heads_kv)
    first = i * BLOCK_Q
    lo, full, cut, hi = visited(first, tl.minimum(first + BLOCK_Q, N) - 1, N, M, left, right, BLOCK_N, LEFT, RIGHT)
    lo = tl.maximum(lo, s * per_piece)  # of the tiles that are seen, those of this piece
    hi = tl.minimum(hi, (s + 1) * per_piece)
    full = tl.minimum(tl.maximum(full, lo), hi)
    cut = tl.minimum(tl.maximum(cut, full), hi)
    tokens = first + tl.arange(0, BLOCK_M) // GROUP

    # Each program has the same queries, and one piece of the keys.
    q = load_tile(Q, q_strides, b, h * GROUP, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, True, False)
    m_i = tl.full([BLOCK_M], float("-inf"), tl.float32)  # Max, sum and output start on chip, and stay there.
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_V], tl.float32)
    if LEFT:
        acc, l_i, m_i = attend_keys(
            acc, l_i, m_i, q, tokens, first, K, V, None, k_strides, v_strides, None, b, h, lo, full, N, M, scale,
            softcap, left, right, None, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT, RIGHT,
            SOFTCAP, 0, True, TMA, False, PRECISION, False, False)  # fmt: skip
    acc, l_i, m_i = attend_keys(
        acc, l_i, m_i, q, tokens, first, K, V, None, k_strides, v_strides, None, b, h, full, cut, N, M, scale,
        softcap, left, right, None, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT, RIGHT,
        SOFTCAP, 0, False, TMA, False, PRECISION, False, False)  # fmt: skip
    if RIGHT or not EVEN:
        acc, l_i, m_i = attend_keys(
            acc, l_i, m_i, q, tokens, first, K, V, None, k_strides, v_strides, None, b, h, cut, hi, N, M, scale,
            softcap, left, right, None, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT, RIGHT,
            SOFTCAP, 0, True, TMA, False, PRECISION, False, False)  # fmt: skip
    o = acc * one_over(l_i)[:, None]  # This piece is done: attention over its keys alone.
    # Its output and LSE go out, in fp32, to be merged.
    one, row, rows = b * heads_kv + h, first * GROUP, N * GROUP
    store_tile(O_s, os_strides, one, s, row, rows, o, BLOCK_M, BLOCK_Q * GROUP, 1, HEAD_DIM_V, D_V, False)
    lse = natural_lse(m_i, l_i)
    store_statistic(LSE_s, one, s, pieces, row, rows, rows, lse, BLOCK_M, BLOCK_Q * GROUP, 1)


@triton.jit(do_not_specialize=["N", "pieces"])
def merge_kernel(
    O_s, LSE_s, O, LSE, os_strides, o_strides, heads_kv, N, pieces,
    GROUP: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """O (B, H, N, HEAD_DIM_V) and LSE (B, H, N) from what the pieces gave."""
    b, h = part(heads_kv)
    i = tl.program_id(0)
    first = i * BLOCK_Q
    one, row, rows = b * heads_kv + h, first * GROUP, N * GROUP
    m_i = tl.full([BLOCK_M], float("-inf"), tl.float32)  # The second kernel merges, as tiles are merged.
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_V], tl.float32)
    for n in tl.range(0, pieces):
        s = one * 0 + n
        # One piece after another comes in.
        o = load_tile(O_s, os_strides, one, s, row, rows, BLOCK_M, BLOCK_Q * GROUP, 1, HEAD_DIM_V, D_V, True, False)
        lse = load_statistic(LSE_s, one, s, pieces, row, rows, rows, BLOCK_M, BLOCK_Q * GROUP, 1)
        m_new = tl.maximum(m_i, lse)  # The larger LSE wins: α shrinks what was merged before.
        m = tl.maximum(m_new, -3.0e38)  # −∞ − (−∞) must not make NaN of what is 0
        alpha = tl.exp(m_i - m)
        w = tl.exp(lse - m)  # How much this piece weighs.
        l_i = alpha * l_i + w
        acc = alpha[:, None] * acc + w[:, None] * o
        m_i = m_new
    o = acc * one_over(l_i)[:, None]  # All pieces merged: divide by the sum of their weights.
    # The output goes out, with the LSE over all keys.
    store_tile(O, o_strides, b, h * GROUP, first, N, o, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, False)
    store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first, N, N, m_i + tl.log(l_i), BLOCK_M, BLOCK_Q, GROUP)


def split_kv_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    splits: int = 8,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    partial: tuple[torch.Tensor, torch.Tensor] | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse, as `forward` gives them, with the keys in up to `splits` pieces; no gradient follows.

    `partial` is where the pieces' results are written, if they are of interest, as `partial_results` makes it. Raises
    ValueError for arguments that make no sense.
    """
    problem = checks.problem(q, k, v, causal=causal, window=window, scale=scale, softcap=softcap)
    if torch.compiler.is_compiling() and partial is None and config is None:
        whole: tuple[torch.Tensor, torch.Tensor] = _whole(
            q, k, v, splits, problem.left, problem.right, problem.scale, problem.softcap, block_q, block_k
        )
        return whole
    config = config or configs.shipped("split_kv", problem)
    tile = tiles(problem, config, block_q, block_k)
    o, lse = outputs(problem, q)
    if problem.nothing:
        return o.zero_(), lse.fill_(-torch.inf)
    count, per_piece = pieces(checks.positive("splits", splits), -(-problem.m // tile.block_n))
    shape = (problem.parts, count, problem.n * problem.group, problem.d_v)
    o_s, lse_s = partial or room(problem, count)
    checks.shaped("partial[0]", o_s, shape, torch.float32, q.device)
    checks.shaped("partial[1]", lse_s, shape[:3], torch.float32, q.device)
    if not (o_s.is_contiguous() and lse_s.is_contiguous()):
        raise ValueError("partial is not contiguous: make it by partial_results")
    blocks = -(-problem.n // tile.block_q)
    by_keys, tma = fetched(config.descriptors, tile.block_n, K=k, V=v)
    launch(
        split_kernel,
        grid(problem, blocks * count),
        problem,
        config.options,
        Q=q,
        **by_keys,
        O_s=o_s,
        LSE_s=lse_s,
        **strides(q=q, k=k, v=v, os=o_s),
        pieces=count,
        per_piece=per_piece,
        **arguments(split_kernel, problem, tile),
        TMA=tma,
    )
    merge(problem, tile, o_s, lse_s, o, lse)
    return o, lse


@torch.library.custom_op("flashsteps::split_kv_decode", mutates_args=())
def _whole(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    splits: int,
    left: int,
    right: int,
    scale: float,
    softcap: float,
    block_q: int | None,
    block_k: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as one operation, which torch.compile sees from outside."""
    return split_kv_decode(q, k, v, splits=splits, window=(left, right), scale=scale, softcap=softcap or None,
                           block_q=block_q, block_k=block_k)  # fmt: skip


@_whole.register_fake
def _whole_shapes(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    return like(q, v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


def merge(
    problem: Problem, tile: Tiles, o_s: torch.Tensor, lse_s: torch.Tensor, o: torch.Tensor, lse: torch.Tensor
) -> None:
    """o and lse, as `forward` gives them, from what pieces gave, as `room` has it."""
    launch(
        merge_kernel,
        grid(problem, -(-problem.n // tile.block_q)),
        problem,
        configs.shipped("merge", problem).options,
        O_s=o_s,
        LSE_s=lse_s,
        O=o,
        LSE=lse,
        **strides(os=o_s, o=o),
        pieces=o_s.shape[1],
        **arguments(merge_kernel, problem, tile),
    )


def room(problem: Problem, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for the results of so many pieces: O_s (parts, pieces, N · group, d_v) and LSE_s without d_v, float32."""
    shape = (problem.parts, count, problem.n * problem.group, problem.d_v)
    return torch.empty(shape, device=problem.device), torch.empty(shape[:3], device=problem.device)


def partial_results(
    q: torch.Tensor, k: torch.Tensor, *, splits: int = 8, block_k: int, d_v: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for the pieces' results: O_s (parts, pieces, N · group, d_v) and LSE_s (parts, pieces, N · group), float32.

    d_v is d unless given: how wide values are.
    Rows are packed (token, head of the group), as `flashsteps.machine.heads` packs them.
    """
    (batch, heads, n, d), kv_heads, m = q.shape, k.shape[1], k.shape[2]
    count, _ = pieces(splits, -(-m // min(block_k, checks.up(m))))
    shape = (batch * kv_heads, count, n * (heads // kv_heads))
    return torch.empty((*shape, d_v or d), device=q.device), torch.empty(shape, device=q.device)


def pieces(most: int, blocks: int) -> tuple[int, int]:
    """How many pieces there are, and how many blocks of keys each has (the last may have fewer)."""
    per_piece = -(-blocks // most)
    return -(-blocks // per_piece), per_piece
