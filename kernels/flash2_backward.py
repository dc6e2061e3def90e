"""FlashAttention-2 backward in three kernels: D, then dK and dV, then dQ, from LSE (FA2, Algorithm 2).

The Triton twin of `flashsteps.algorithms.flash2_backward`: the same loads and stores, tile by tile, in the same order.
Programs of the first and the third kernel are (block of queries, part), those of the second (block of keys, part). That
one holds scores the other way round, keys by queries: then P and dS are on chip as the next product wants them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from . import checks, hopper_backward
from .launch import Tiles, arguments, fetched, grid, launch, of_scores, starting, strides, tiles
from .problem import Problem
from .targets import configs
from .tile import (
    LOG2_E,
    LOST,
    load_bias,
    load_statistic,
    load_tile,
    part,
    score_tile,
    seeing,
    seeing_tokens,
    seen_keys,
    sequence,
    store_statistic,
    store_tile,
    visited,
    with_bias,
    work,
)


@triton.jit(do_not_specialize=["N"])
def delta_kernel(
    O, dO, dLSE, D_, starts_q, o_strides, do_strides, heads_kv, N,
    GROUP: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr,
    DLSE: tl.constexpr, VARLEN: tl.constexpr,
):  # fmt: skip
    """D (B, H, N), one number a row: the sum of the output times its gradient, less the gradient of LSE if any."""
    b, h = part(heads_kv)
    i, rows = tl.program_id(0), N
    h, heads, first = h * GROUP, heads_kv * GROUP, i * BLOCK_Q
    if VARLEN:
        at_q, N = sequence(starts_q, b)
        O, dO, D_, b = O + at_q * o_strides[2], dO + at_q * do_strides[2], D_ + at_q, b * 0
        if DLSE:
            dLSE += at_q
    o = load_tile(O, o_strides, b, h, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, True, False)
    do = load_tile(dO, do_strides, b, h, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, True, False)
    D_i = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    if DLSE:
        D_i -= load_statistic(dLSE, b, h, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
    store_statistic(D_, b, h, heads, first, N, rows, D_i, BLOCK_M, BLOCK_Q, GROUP)


@triton.jit
def add_queries(
    dk, dv, k, v, start, keys, Q, dO, LSE, D_, bias, q_strides, do_strides, bias_strides, b, h, heads, lo, hi, N, M,
    rows, scale, softcap, left, right,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, MASK: tl.constexpr, CUT: tl.constexpr, TMA: tl.constexpr, TMA_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Take in the query tiles lo … hi − 1, each of them CUT by the mask or the end of the queries, or none."""
    for i in tl.range(lo, hi):
        first = i * BLOCK_Q
        ragged: tl.constexpr = CUT or BLOCK_Q * GROUP < BLOCK_M
        # Queries stream past, with dO and two numbers a row: LSE and D.
        q = load_tile(Q, q_strides, b, h, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, ragged, TMA)
        do = load_tile(dO, do_strides, b, h, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, ragged, TMA)
        # The scores are made again: cheaper than to fetch them.
        s, factor = score_tile(k, q, scale, softcap, SOFTCAP, PRECISION)
        lse = load_statistic(LSE, b, h, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
        c = s
        if MASK:  # What says of each score whether it counts, or is added to it, comes in again, too, after D.
            D_i = load_statistic(D_, b, h, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
            x = load_bias(bias, bias_strides, b, h, first, start, N, M, BLOCK_M, BLOCK_Q, GROUP, BLOCK_N, MASK,
                          TMA_BIAS)  # fmt: skip
            s, factor, seen = with_bias(s, factor, x.T, scale, MASK, SOFTCAP)
        p = tl.math.exp2(s * factor - (lse * LOG2_E)[None, :])  # P, as it was, from LSE alone.
        if MASK:
            p = tl.where(seen & ~(lse < LOST)[None, :], p, 0.0)
        if CUT and (LEFT or RIGHT):  # Keys that a query may not see: e^−∞. (Its LSE may be −∞, too, and p be ∞ here.)
            p = tl.where(seeing_tokens(keys, first, N, M, left, right, BLOCK_M, GROUP, LEFT, RIGHT), p, 0.0)
        # Each value's gradient: what it gave, weighted as it was.
        dv = tl.dot(p.to(do.dtype), do, dv, input_precision=PRECISION)
        # How the loss would change with each weight, and with each score.
        dp = tl.dot(v, do.T, input_precision=PRECISION)
        if not MASK:
            D_i = load_statistic(D_, b, h, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
        ds = p * (dp - D_i[None, :])
        if SOFTCAP:
            c = c * (1 / softcap)  # A capped score changes less: by 1 − tanh².
            ds = ds * (1 - c * c)
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)  # Each key's gradient takes in this tile.
    return dk, dv


@triton.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def dkdv_kernel(
    Q, K, V, dO, LSE, D_, bias, starts_q, starts_k, dK, dV, q_strides, k_strides, v_strides, do_strides, bias_strides,
    dk_strides, dv_strides, heads_kv, section, N, M, scale, softcap, left, right,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, MASK: tl.constexpr, VARLEN: tl.constexpr, EVEN_Q: tl.constexpr, TMA: tl.constexpr,
    TMA_BIAS: tl.constexpr, PRECISION: tl.constexpr, HEAVY_FIRST: tl.constexpr,
):  # fmt: skip
    """dK and dV, like K and V; under a causal mask the first keys are seen most, and begun first."""
    j, b, h = work(heads_kv, section, False, HEAVY_FIRST)
    start, rows = j * BLOCK_N, N
    if VARLEN:  # Each sequence is a problem of its own; keys past its end are seen by none.
        at_q, N = sequence(starts_q, b)
        at_k, M = sequence(starts_k, b)
        Q, dO = Q + at_q * q_strides[2], dO + at_q * do_strides[2]
        LSE, D_ = LSE + at_q, D_ + at_q
        K, V = K + at_k * k_strides[2], V + at_k * v_strides[2]
        dK, dV = dK + at_k * dk_strides[2], dV + at_k * dv_strides[2]
        b, N = b * 0, tl.where(start < M, N, 0)
    lo, full, cut, hi = seeing(start, tl.minimum(start + BLOCK_N, M) - 1, N, M, left, right, BLOCK_Q, LEFT, RIGHT)
    keys = start + tl.arange(0, BLOCK_N)

    # Each program keeps its own block of keys and values.
    k = load_tile(K, k_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, True, False)
    v = load_tile(V, v_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM_V, D_V, True, False)
    dk = tl.zeros([BLOCK_N, D], tl.float32)  # Their gradients start on chip, and stay there.
    dv = tl.zeros([BLOCK_N, D_V], tl.float32)
    if RIGHT:
        dk, dv = add_queries(
            dk, dv, k, v, start, keys, Q, dO, LSE, D_, bias, q_strides, do_strides, bias_strides, b, h * GROUP,
            heads_kv * GROUP, lo, full, N, M, rows, scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V,
            BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT, SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    dk, dv = add_queries(
        dk, dv, k, v, start, keys, Q, dO, LSE, D_, bias, q_strides, do_strides, bias_strides, b, h * GROUP,
        heads_kv * GROUP, full, cut, N, M, rows, scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V,
        BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT, SOFTCAP, MASK, False, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    if LEFT or not EVEN_Q:
        dk, dv = add_queries(
            dk, dv, k, v, start, keys, Q, dO, LSE, D_, bias, q_strides, do_strides, bias_strides, b, h * GROUP,
            heads_kv * GROUP, cut, hi, N, M, rows, scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V,
            BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT, SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    # All queries seen: dK and dV go out, once.
    store_tile(dK, dk_strides, b, h, start, M, dk * scale, BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, False)
    store_tile(dV, dv_strides, b, h, start, M, dv, BLOCK_N, BLOCK_N, 1, HEAD_DIM_V, D_V, False)


@triton.jit
def add_keys(
    dq, q, do, lse, D_i, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, lo, hi, N, M, scale,
    softcap, left, right,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, MASK: tl.constexpr, CUT: tl.constexpr, TMA: tl.constexpr, TMA_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Take in the key tiles lo … hi − 1, each of them CUT by the mask or the end of the keys, or none."""
    for j in tl.range(lo, hi):
        start = j * BLOCK_N
        # Keys and values stream past, and P is made once more.
        k = load_tile(K, k_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, CUT, TMA)
        v = load_tile(V, v_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM_V, D_V, CUT, TMA)
        # Their scores, too.
        s, factor = score_tile(q, k, scale, softcap, SOFTCAP, PRECISION)
        c = s
        if MASK:  # With what is given of each score.
            x = load_bias(bias, bias_strides, b, h * GROUP, first, start, N, M, BLOCK_M, BLOCK_Q, GROUP, BLOCK_N, MASK,
                          TMA_BIAS)  # fmt: skip
            s, factor, seen = with_bias(s, factor, x, scale, MASK, SOFTCAP)
        # P once more, and from it the gradient of each score.
        p = tl.math.exp2(s * factor - (lse * LOG2_E)[:, None])
        if MASK:
            p = tl.where(seen & ~(lse < LOST)[:, None], p, 0.0)
        if CUT:  # Keys that a query may not see: e^−∞. (Its LSE may be −∞, too, and p be ∞ here.)
            p = tl.where(seen_keys(tokens, start, N, M, left, right, BLOCK_N, LEFT, RIGHT), p, 0.0)
        dp = tl.dot(do, v.T, input_precision=PRECISION)
        ds = p * (dp - D_i[:, None])
        if SOFTCAP:
            c = c * (1 / softcap)  # A capped score changes less: by 1 − tanh².
            ds = ds * (1 - c * c)
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)  # Each query's gradient takes in this tile.
    return dq


@triton.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def dq_kernel(
    Q, K, V, dO, LSE, D_, bias, starts_q, starts_k, dQ, q_strides, k_strides, v_strides, do_strides, bias_strides,
    dq_strides, heads_kv, section, N, M, scale, softcap, left, right,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, MASK: tl.constexpr, VARLEN: tl.constexpr, EVEN: tl.constexpr, TMA: tl.constexpr,
    TMA_BIAS: tl.constexpr, PRECISION: tl.constexpr, HEAVY_FIRST: tl.constexpr,
):  # fmt: skip
    """dQ (B, H, N, HEAD_DIM)."""
    # Under a causal mask the last queries see most keys: what takes longest is begun first.
    i, b, h = work(heads_kv, section, HEAVY_FIRST, HEAVY_FIRST)
    first, head, heads, rows = i * BLOCK_Q, h * GROUP, heads_kv * GROUP, N
    if VARLEN:  # Each sequence is a problem of its own; past its end there is nothing to see.
        at_q, N = sequence(starts_q, b)
        at_k, M = sequence(starts_k, b)
        Q, dO, dQ = Q + at_q * q_strides[2], dO + at_q * do_strides[2], dQ + at_q * dq_strides[2]
        LSE, D_ = LSE + at_q, D_ + at_q
        K, V = K + at_k * k_strides[2], V + at_k * v_strides[2]
        b, M = b * 0, tl.where(first < N, M, 0)
    lo, full, cut, hi = visited(first, tl.minimum(first + BLOCK_Q, N) - 1, N, M, left, right, BLOCK_N, LEFT, RIGHT)
    tokens = first + tl.arange(0, BLOCK_M) // GROUP

    # The other kernel: each program keeps its own block of queries.
    q = load_tile(Q, q_strides, b, head, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, True, False)
    do = load_tile(dO, do_strides, b, head, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, True, False)
    lse = load_statistic(LSE, b, head, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
    D_i = load_statistic(D_, b, head, heads, first, N, rows, BLOCK_M, BLOCK_Q, GROUP)
    dq = tl.zeros([BLOCK_M, D], tl.float32)  # Their gradient starts on chip, and stays there.
    if LEFT:
        dq = add_keys(
            dq, q, do, lse, D_i, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, lo, full, N, M,
            scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V, BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT,
            SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    dq = add_keys(
        dq, q, do, lse, D_i, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, full, cut, N, M,
        scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V, BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT,
        SOFTCAP, MASK, False, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    if RIGHT or not EVEN:
        dq = add_keys(
            dq, q, do, lse, D_i, tokens, first, K, V, bias, k_strides, v_strides, bias_strides, b, h, cut, hi, N, M,
            scale, softcap, left, right, GROUP, HEAD_DIM, D, HEAD_DIM_V, D_V, BLOCK_Q, BLOCK_M, BLOCK_N, LEFT, RIGHT,
            SOFTCAP, MASK, True, TMA, TMA_BIAS, PRECISION)  # fmt: skip
    # All keys seen: dQ goes out, once.
    store_tile(dQ, dq_strides, b, head, first, N, dq * scale, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, False)


def backward(
    do: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor,
    *,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    block_q: int | None = None,
    block_k: int | None = None,
    dlse: torch.Tensor | None = None,
    delta: torch.Tensor | None = None,
    deterministic: bool = False,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, ...]:
    """dq, dk and dv, and with sinks dsinks, from `do`, the gradient of o, and what `forward` gave, told the same.

    do and o are (B, H, N, d_v), lse is (B, H, N), float32. `dlse`, like lse, is the gradient of lse, if it has one;
    `delta`, like lse, is where D is written, if it is of interest. `block_q`, `block_k` and `config` are for all three
    kernels; without them, each has the tile of `configs`. A row with nothing but keys to
    which less than −1e30 is added is their mean, and gives no gradient: what it would take is lost in its LSE. Raises
    ValueError for arguments that make no sense.

    Where tuning found it faster, on an H100, it is `hopper_backward` that runs, but for blocks of your own; beside a
    window, which no tuning has timed, where it is faster without. Its dq, of heads of at most 128, is not the same to
    the last digit each time. It never runs where `deterministic` or torch asks for algorithms that are
    (torch.use_deterministic_algorithms).
    """
    problem = checks.problem(
        q, k, v, causal=causal, window=window, scale=scale, softcap=softcap, attn_mask=attn_mask, sinks=sinks
    )
    checks.of_forward(q, v, do=do, o=o, lse=lse, dlse=dlse, delta=delta)
    dq, dk, dv, dsinks = gradients(
        problem, do, q, k, v, o, lse, attn_mask, sinks, block_q=block_q, block_k=block_k, dlse=dlse, delta=delta,
        deterministic=deterministic, config=config,
    )  # fmt: skip
    return (dq, dk, dv) if dsinks is None else (dq, dk, dv, dsinks)


#: of q, k and v, and of sinks, if there are any
Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


def gradients(
    problem: Problem,
    do: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    starts: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    block_q: int | None = None,
    block_k: int | None = None,
    dlse: torch.Tensor | None = None,
    delta: torch.Tensor | None = None,
    deterministic: bool = False,
    config: configs.Config | None = None,
) -> Gradients:
    """`backward` of a problem that was checked; `starts` are those of packed queries and keys."""
    problem = checks.with_mask(problem, attn_mask)
    fast = configs.of_hopper("backward", problem) if config is None else config
    as_it_likes = block_q is None and block_k is None
    reproducible = deterministic or torch.are_deterministic_algorithms_enabled()
    if fast and fast.hopper and as_it_likes and not reproducible and hopper_backward.takes(problem, q, k, v, do):
        dlse = None if dlse is None else dlse.contiguous()
        return *hopper_backward.backward(problem, do, q, k, v, o, lse.contiguous(), dlse, delta, fast), None
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    delta = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device) if delta is None else delta
    if problem.packed:  # what is in no sequence has no gradient
        dq, dk, dv, delta = dq.zero_(), dk.zero_(), dv.zero_(), delta.zero_()
    if problem.nothing:
        delta.zero_() if dlse is None else delta.copy_(-dlse)
        return dq.zero_(), dk.zero_(), dv.zero_(), _of_sinks(sinks, lse, delta)
    given = _Given(problem, q, k, v, do, lse.contiguous(), delta, attn_mask, starts)

    def chosen(kernel: str) -> tuple[configs.Config, Tiles]:
        one = configs.shipped(kernel, problem) if config is None or config.hopper else config
        return one, tiles(problem, one, block_q, block_k)

    _launch_delta(given, *chosen("delta"), o, None if dlse is None else dlse.contiguous())
    _launch_dkdv(given, *chosen("dkdv"), dk, dv)
    _launch_dq(given, *chosen("dq"), dq)
    return dq, dk, dv, _of_sinks(sinks, lse, delta)


def _of_sinks(sinks: torch.Tensor | None, lse: torch.Tensor, delta: torch.Tensor) -> torch.Tensor | None:
    """dsinks (H,), from LSE and D: a sink is a score whose value is 0, so its dP is 0, and its dS is P (0 − D)."""
    if sinks is None:
        return None
    p = torch.exp(sinks[:, None].float() - lse).masked_fill(torch.isneginf(lse), 0.0)
    return -(p * delta).sum((0, 2)).to(sinks.dtype)


class _Given(NamedTuple):
    """What all three kernels go by: the problem, the tensors of the forward pass, dO, LSE, D, and any bias."""

    problem: Problem
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    do: torch.Tensor
    lse: torch.Tensor
    delta: torch.Tensor
    attn_mask: torch.Tensor | None
    starts: tuple[torch.Tensor, torch.Tensor] | None


def _launch_delta(
    given: _Given, config: configs.Config, tile: Tiles, o: torch.Tensor, dlse: torch.Tensor | None
) -> None:
    """D, from O and dO."""
    launch(
        delta_kernel,
        grid(given.problem, -(-given.problem.n // tile.block_q)),
        given.problem,
        config.options,
        O=o,
        dO=given.do,
        dLSE=dlse,
        D_=given.delta,
        starts_q=starting(given.starts)["starts_q"],
        **strides(o=o, do=given.do),
        **arguments(delta_kernel, given.problem, tile),
        DLSE=dlse is not None,
    )


def _launch_dkdv(given: _Given, config: configs.Config, tile: Tiles, dk: torch.Tensor, dv: torch.Tensor) -> None:
    """dK and dV: a program for each block of keys, past which queries stream."""
    problem, q, k, v, do, lse, delta, attn_mask, starts = given
    descriptors = config.descriptors and starts is None
    by_queries, tma = fetched(descriptors and tile.plain, tile.block_m, Q=q, dO=do)
    launch(
        dkdv_kernel,
        grid(problem, -(-problem.m // tile.block_n)),
        problem,
        config.options,
        **by_queries,
        K=k,
        V=v,
        LSE=lse,
        D_=delta,
        **of_scores(attn_mask, problem, tile, descriptors),
        **starting(starts),
        dK=dk,
        dV=dv,
        **strides(q=q, k=k, v=v, do=do, dk=dk, dv=dv),
        **arguments(dkdv_kernel, problem, tile),
        TMA=tma,
    )


def _launch_dq(given: _Given, config: configs.Config, tile: Tiles, dq: torch.Tensor) -> None:
    """dQ: a program for each block of queries, past which keys stream."""
    problem, q, k, v, do, lse, delta, attn_mask, starts = given
    descriptors = config.descriptors and starts is None
    by_keys, tma = fetched(descriptors, tile.block_n, K=k, V=v)
    launch(
        dq_kernel,
        grid(problem, -(-problem.n // tile.block_q)),
        problem,
        config.options,
        **by_keys,
        Q=q,
        dO=do,
        LSE=lse,
        D_=delta,
        **of_scores(attn_mask, problem, tile, descriptors),
        **starting(starts),
        dQ=dq,
        **strides(q=q, k=k, v=v, do=do, dq=dq),
        **arguments(dq_kernel, problem, tile),
        TMA=tma,
    )
