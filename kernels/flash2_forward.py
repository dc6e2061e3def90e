"""FlashAttention-2 forward: one program for each block of queries, keys and values stream past (FA2, Algorithm 1).

The Triton twin of `flashsteps.algorithms.flash2_forward`: the same loads and stores, tile by tile, in the same order.
A program is (block of queries, part), a part is (batch entry, key-value head): grid (blocks, parts). Where tiles are
cut by a mask or the end of the keys, they are so at the ends of a row of tiles: the loop over keys goes in up to three
stages, and only the first and the last look at the mask.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from . import checks, hopper_forward, trace_log
from .launch import Tiles, arguments, fetched, grid, launch, of_scores, outputs, starting, strides, tiles
from .problem import Problem
from .targets import configs
from .targets.target import target
from .tile import (
    add_tile,
    first_scores,
    load_bias,
    load_tile,
    natural_lse,
    one_over,
    sequence,
    store_statistic,
    store_tile,
    visited,
    work,
)
from .trace_log import stamp


@triton.jit
def attend_keys(acc, l_i, m_i, q, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, lo, hi, N, M,
                scale, softcap, left, right, log, GROUP: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr,
                BLOCK_N: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr,
                D_V: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr,
                CUT: tl.constexpr, TMA: tl.constexpr, TMA_BIAS: tl.constexpr, PRECISION: tl.constexpr,
                TRACE: tl.constexpr, CLOCK: tl.constexpr):  # fmt: skip
    """Take in the key tiles lo … hi − 1, each of them CUT by the mask or the end of the keys, or none."""
    for j in tl.range(lo, hi):
        start = j * BLOCK_N
        if TRACE:
            log = stamp(log, j, CLOCK)
        # Keys and values stream past, block by block.
        k = load_tile(K, k_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, CUT, TMA)
        v = load_tile(V, v_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM_V, D_V, CUT, TMA)
        x = None
        if MASK:  # Of each score, a number comes in, too.
            x = load_bias(bias, bias_strides, b, h * GROUP, first, start, N, M, BLOCK_M, BLOCK_Q, GROUP, BLOCK_N, MASK,
                          TMA_BIAS)  # fmt: skip
        acc, l_i, m_i = add_tile(acc, l_i, m_i, q, k, v, x, tokens, start, N, M, scale, softcap, left, right, BLOCK_N,
                                 BLOCK_N, LEFT, RIGHT, SOFTCAP, MASK, CUT, PRECISION)  # fmt: skip
    return acc, l_i, m_i


@triton.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def forward_kernel(Q, K, V, bias, sinks, starts_q, starts_k, O, LSE, q_strides, k_strides, v_strides, bias_strides,
                   o_strides, heads_kv, section, N, M, scale, softcap, left, right, log, GROUP: tl.constexpr,
                   HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
                   BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr,
                   RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, MASK: tl.constexpr, SINKS: tl.constexpr,
                   VARLEN: tl.constexpr, EVEN: tl.constexpr, TMA_Q: tl.constexpr, TMA: tl.constexpr,
                   TMA_BIAS: tl.constexpr,
                   PRECISION: tl.constexpr, HEAVY_FIRST: tl.constexpr, TRACE: tl.constexpr,
                   CLOCK: tl.constexpr):  # fmt: skip
    """O (B, H, N, HEAD_DIM_V) and LSE (B, H, N) from Q (B, H, N, HEAD_DIM), K and V (B, heads_kv, M, …).

    With MASK there is a bias (B, H, N, M), with SINKS one more score for each head, sinks (H,). With VARLEN there is no
    batch but packed tokens, of which sequence b has those from starts_q[b] to starts_q[b + 1] − 1, and likewise keys; N
    counts all of them.
    """
    # Under a causal mask the last queries see most keys: what takes longest is begun first.
    i, b, h = work(heads_kv, section, HEAVY_FIRST, HEAVY_FIRST)
    first, rows = i * BLOCK_Q, N
    if VARLEN:  # Each sequence is a problem of its own; past its end there is nothing to see.
        at_q, N = sequence(starts_q, b)
        at_k, M = sequence(starts_k, b)
        Q, O, LSE = Q + at_q * q_strides[2], O + at_q * o_strides[2], LSE + at_q
        K, V = K + at_k * k_strides[2], V + at_k * v_strides[2]
        b, M = b * 0, tl.where(first < N, M, 0)
    lo, full, cut, hi = visited(first, tl.minimum(first + BLOCK_Q, N) - 1, N, M, left, right, BLOCK_N, LEFT, RIGHT)
    tokens = first + tl.arange(0, BLOCK_M) // GROUP
    if TRACE:
        log += ((b * heads_kv + h) * tl.num_programs(0) + i).to(tl.int64) * tl.cdiv(M, BLOCK_N) * 3

    # Each program keeps its own block of queries.
    q = load_tile(Q, q_strides, b, h * GROUP, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, True, TMA_Q)
    m_i = tl.full([BLOCK_M], float("-inf"), tl.float32)  # Max, sum and output start on chip, and stay there.
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_V], tl.float32)
    if SINKS:  # Each row begins as if it had seen a key already, one without a value.
        m_i, l_i = first_scores(sinks, h * GROUP, BLOCK_M, GROUP), tl.full([BLOCK_M], 1.0, tl.float32)
    if LEFT:
        acc, l_i, m_i = attend_keys(
            acc, l_i, m_i, q, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, lo, full, N, M,
            scale, softcap, left, right, log, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT,
            RIGHT, SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION, TRACE, CLOCK)  # fmt: skip
        if TRACE:
            log += (full - lo) * 3
    acc, l_i, m_i = attend_keys(
        acc, l_i, m_i, q, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, full, cut, N, M,
        scale, softcap, left, right, log, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT, RIGHT,
        SOFTCAP, MASK, False, TMA, TMA_BIAS, PRECISION, TRACE, CLOCK)  # fmt: skip
    if TRACE:
        log += (cut - full) * 3
    if RIGHT or not EVEN:
        acc, l_i, m_i = attend_keys(
            acc, l_i, m_i, q, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, cut, hi, N, M,
            scale, softcap, left, right, log, GROUP, BLOCK_Q, BLOCK_M, BLOCK_N, HEAD_DIM, D, HEAD_DIM_V, D_V, LEFT,
            RIGHT, SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION, TRACE, CLOCK)  # fmt: skip
    o = acc * one_over(l_i)[:, None]  # All keys seen: divide by the sum, once.
    # The output goes out, once, with one number a row: LSE, a natural logarithm.
    store_tile(O, o_strides, b, h * GROUP, first, N, o, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, TMA_Q)
    lse = natural_lse(m_i, l_i)
    store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first, N, rows, lse, BLOCK_M, BLOCK_Q, GROUP)


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    trace: torch.Tensor | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """O = softmax(q kᵀ · scale) v, and LSE, by the kernel alone: no gradient follows from what this gives.

    q (B, H, N, d), k (B, Hk, M, d) and v (B, Hk, M, d_v), H a multiple of Hk; gives o (B, H, N, d_v), laid out as q is,
    and lse (B, H, N), float32, a natural logarithm. Masks are aligned to the bottom right: causal lets query i see keys
    up to i + M − N, window (left, right) those from i + M − N − left to i + M − N + right, −1 for no bound. `attn_mask`
    (B | 1, H | 1, N | 1, M | 1) is Boolean, True where a key may be seen, or is added to the scores, after any softcap;
    `sinks` (H,) is one more score for each head. `block_q` is in tokens, `block_k` in keys and a power of two; without
    them, tiles are those of `configs`, or of `config`. `trace` is a log of `empty_log`, which the kernel then writes
    to. Raises ValueError for arguments that make no sense.

    Where tuning found it faster, on an H100, it is `hopper_forward` that runs, but for a log or blocks of your own;
    beside a window, which no tuning has timed, where it is faster without.
    """
    problem = checks.problem(
        q, k, v, causal=causal, window=window, scale=scale, softcap=softcap, attn_mask=attn_mask, sinks=sinks
    )
    return attend(problem, q, k, v, attn_mask, sinks, block_q=block_q, block_k=block_k, trace=trace, config=config)


def attend(
    problem: Problem,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    starts: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    block_q: int | None = None,
    block_k: int | None = None,
    trace: torch.Tensor | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`forward` of a problem that was checked; `starts` are those of packed queries and keys.

    Tokens that are in no sequence have NaN as output, and −∞ as LSE.
    """
    problem = checks.with_mask(problem, attn_mask)
    config = config or configs.shipped("forward", problem)
    as_it_likes = trace is None and block_q is None and block_k is None
    if config.hopper and as_it_likes and hopper_forward.takes(problem, q, k, v):
        return hopper_forward.forward(problem, q, k, v, config)
    config = _plain(config, problem)
    tile = tiles(problem, config, block_q, block_k)
    programs = grid(problem, -(-problem.n // tile.block_q))
    if trace is not None:
        checks.shaped("trace", trace, _log_shape(problem, tile), torch.int64, q.device)
    o, lse = outputs(problem, q)
    if problem.packed:
        o, lse = o.fill_(torch.nan), lse.fill_(-torch.inf)
    if problem.nothing and problem.packed:
        return o, lse
    if problem.nothing:
        o, lse = o.zero_(), lse.fill_(-torch.inf) if sinks is None else lse.copy_(sinks[:, None].expand_as(lse))
        if starts is not None:
            tokens = torch.arange(q.shape[2], device=q.device)
            in_none = (tokens < starts[0][0]) | (tokens >= starts[0][-1])
            o, lse = o.masked_fill_(in_none[:, None], torch.nan), lse.masked_fill_(in_none, -torch.inf)
        return o, lse
    descriptors = config.descriptors and not problem.packed
    by_queries, tma_q = fetched(descriptors and tile.plain, tile.block_m, Q=q, O=o)
    by_keys, tma = fetched(descriptors, tile.block_n, K=k, V=v)
    launch(
        forward_kernel,
        programs,
        problem,
        config.options,
        **by_queries,
        **by_keys,
        **of_scores(attn_mask, problem, tile, descriptors),
        sinks=None if sinks is None else sinks.contiguous(),
        **starting(starts),
        LSE=lse,
        **strides(q=q, k=k, v=v, o=o),
        **arguments(forward_kernel, problem, tile),
        log=trace,
        TMA_Q=tma_q,
        TMA=tma,
        TRACE=trace is not None,
        CLOCK=trace is not None and target(q.device).backend == "cuda",
    )
    return o, lse


def empty_log(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    block_q: int | None = None,
    block_k: int | None = None,
    config: configs.Config | None = None,
    **options: Any,
) -> torch.Tensor:
    """A log for `forward(q, k, v, trace=log, …)` called with the same arguments; `trace_log.read` reads it.

    Shape (programs, key tiles, 3), int64; the program of block i of part p (batch entry · Hk + key-value head) is
    number p · blocks + i. Raises ValueError as `forward` does.
    """
    problem = checks.with_mask(checks.problem(q, k, v, **options), options.get("attn_mask"))
    config = _plain(config or configs.shipped("forward", problem), problem)
    programs, key_tiles, _ = _log_shape(problem, tiles(problem, config, block_q, block_k))
    return trace_log.empty(programs, key_tiles, q.device)


def _plain(config: configs.Config, problem: Problem) -> configs.Config:
    """A tile for the kernel of this file."""
    return configs.shipped("forward", problem, plain=True) if config.hopper else config


def _log_shape(problem: Problem, tile: Tiles) -> tuple[int, int, int]:
    return problem.parts * -(-problem.n // tile.block_q), -(-problem.m // tile.block_n), 3
