"""The forward pass as Hopper's units want it: one warp fetches, two warpgroups multiply and take exponentials (FA3).

The same loads and stores, tile by tile and in the same order, as `flash2_forward`, whose fast twin this is on sm_90,
for what it takes: 16-bit types, no softcap, groups of 1, 2, 4 … heads. It is written in Gluon, Triton's lower level,
where barriers, registers and the order of products are the kernel's own. A program has 128 rows of packed queries, 64
for each warpgroup. Three things are in flight at a time, and for one warpgroup they lie so:

    copies     K₀ V₀ K₁ V₁ K₂ …               the producer is ahead by as many tiles as there are stages
    products   [Q K₀ᵀ]  [Q K₁ᵀ][P₀ V₀]  [Q K₂ᵀ][P₁ V₁]  …
    softmax             S₀ → P₀   S₁ → P₁          S₂ → P₂

Scores of the next tile and the output of the last are asked for together; the exponentials of the next tile are taken
while the output is still being made (FA3, section 3.2), and the other warpgroup fills what gaps are left. With IN_TURN
the two ask for products by turns, so that one multiplies while the other takes exponentials (FA3, section 3.1). A stage
is handed over by barriers: `full` when its bytes are there, `empty` when both warpgroups have read it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from . import checks
from .hopper import CONSUMING, PRODUCING, REGISTERS, barriers, bound, described, form, wait_for
from .launch import Tiles, arguments, grid, launch
from .problem import Problem
from .targets.configs import Config
from .tile import LN_2, LOG2_E, lost, one_over, visited, work

#: rows of a program, half of them for each warpgroup; a product of Hopper has 64
ROWS = 128


@gluon.jit
def produce(Q, K, V, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi,
            BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, HALF: gl.constexpr,
            TOKENS: gl.constexpr):  # fmt: skip
    """Fetch the queries, then tile after tile of keys and values, each when its stage is empty."""
    for c in gl.static_range(2):
        mbarrier.expect(q_full.index(c), HALF * D * 2)
        tma.async_copy_global_to_shared(Q, [b, h, first + c * TOKENS, 0, 0], q_full.index(c), q_sm.index(c))
    for j in range(lo, hi):
        t = j - lo
        stage = t % STAGES
        free = ((t // STAGES) & 1) ^ 1  # all stages are empty at first
        mbarrier.wait(k_empty.index(stage), free)
        mbarrier.expect(k_full.index(stage), BLOCK_N * D * 2)
        tma.async_copy_global_to_shared(K, [b, h, j * BLOCK_N, 0], k_full.index(stage), k_sm.index(stage))
        mbarrier.wait(v_empty.index(stage), free)
        mbarrier.expect(v_full.index(stage), BLOCK_N * D * 2)
        tma.async_copy_global_to_shared(V, [b, h, j * BLOCK_N, 0], v_full.index(stage), v_sm.index(stage))


@gluon.jit
def softmax(s, m_i, l_i, factor, tokens, start, N, M, left, right, BLOCK_N: gl.constexpr, LEFT: gl.constexpr,
            RIGHT: gl.constexpr, CUT: gl.constexpr, LAYOUT: gl.constexpr):  # fmt: skip
    """P of one tile, α, and max and sum so far: `tile.add_tile` without its products."""
    if CUT:
        column = gl.arange(0, BLOCK_N, gl.SliceLayout(0, LAYOUT))[None, :]
        stop = tokens * 0 + M
        if RIGHT:
            stop = gl.minimum(tokens + (M - N + right + 1), M)
        seen = column < (stop - start)[:, None]
        if LEFT:
            seen = seen & (column >= (tokens + (M - N - left) - start)[:, None])
        s = gl.where(seen, s + lost(s * factor), float("-inf"))
    m_new = gl.maximum(m_i, gl.max(s, 1) * factor)
    m = m_new
    if CUT:
        m = gl.maximum(m_new, -3.0e38)
    x = s * factor - m[:, None]
    p = gl.exp2(x) if CUT else gl.exp2(x) + lost(x)
    alpha = gl.exp2(m_i - m)
    l_i = alpha * l_i + gl.sum(p, 1)
    return p, alpha, m_new, l_i


@gluon.jit
def consume_tiles(acc, l_i, m_i, p, q, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, tokens, lo, j_lo, j_hi, hi,
                  N, M, factor, left, right, C: gl.constexpr, HALF: gl.constexpr, BLOCK_N: gl.constexpr,
                  D: gl.constexpr, STAGES: gl.constexpr, IN_TURN: gl.constexpr, LEFT: gl.constexpr,
                  RIGHT: gl.constexpr, CUT: gl.constexpr, S_LAYOUT: gl.constexpr, O_LAYOUT: gl.constexpr,
                  P_LAYOUT: gl.constexpr):  # fmt: skip
    """Tiles j_lo … j_hi − 1, of which the scores are made, and the tiles before them, of which the output is."""
    zero = gl.zeros([HALF, BLOCK_N], gl.float32, S_LAYOUT)
    for j in range(j_lo, j_hi):
        t = j - lo
        stage = t % STAGES
        last = (t - 1) % STAGES
        if IN_TURN:
            mbarrier.wait(q_full.index(2 + C), (t & 1) ^ C ^ 1)
        s = warpgroup_mma(q, k_sm.index(stage).reshape([BLOCK_N, D]).permute((1, 0)), zero, use_acc=False,
                          is_async=True)  # fmt: skip
        wait_for(v_full, t - 1, STAGES, True)
        acc = warpgroup_mma(p, v_sm.index(last).reshape([BLOCK_N, D]), acc, is_async=True)
        if IN_TURN:
            mbarrier.arrive(q_full.index(3 - C), count=1)
        s = warpgroup_mma_wait(1, deps=(s,))  # the scores are there, the output is still being made
        mbarrier.arrive(k_empty.index(stage), count=1)
        p, alpha, m_i, l_i = softmax(s, m_i, l_i, factor, tokens, j * BLOCK_N, N, M, left, right, BLOCK_N, LEFT, RIGHT,
                                     CUT, S_LAYOUT)  # fmt: skip
        wait_for(k_full, t + 1, STAGES, j + 1 < hi)  # here, and ℓ below, or ptxas waits before the exponentials
        acc, l_i = warpgroup_mma_wait(0, deps=(acc, l_i))
        mbarrier.arrive(v_empty.index(last), count=1)
        acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, O_LAYOUT))[:, None]
        p = gl.convert_layout(p.to(k_sm.dtype), P_LAYOUT)
    return acc, l_i, m_i, p


@gluon.jit
def consume(O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv, first, lo, full,
            cut, hi, N, M, scale, left, right, C: gl.constexpr, GROUP: gl.constexpr, BLOCK_N: gl.constexpr,
            D: gl.constexpr, STAGES: gl.constexpr, IN_TURN: gl.constexpr, HALF: gl.constexpr, TOKENS: gl.constexpr,
            LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """One warpgroup: HALF rows of queries from token `first` + C · TOKENS on, their output and their LSE."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    ANY_CUT: gl.constexpr = LEFT or RIGHT or not EVEN
    factor = scale * LOG2_E
    row = gl.arange(0, HALF, gl.SliceLayout(1, S_LAYOUT))
    tokens = first + C * TOKENS + row // GROUP
    some = lo < hi
    q = q_sm.index(C).reshape([HALF, D])
    m_i = gl.full([HALF], float("-inf"), gl.float32, gl.SliceLayout(1, S_LAYOUT))
    l_i = gl.full([HALF], 0.0, gl.float32, gl.SliceLayout(1, S_LAYOUT))
    acc = gl.zeros([HALF, D], gl.float32, O_LAYOUT)

    # the first tile's scores, with nothing beside them
    mbarrier.wait(q_full.index(C), 0)
    wait_for(k_full, 0, STAGES, some)
    if IN_TURN:  # the first begins: its barrier is passed as one that was never waited for
        mbarrier.wait(q_full.index(2 + C), C ^ 1)
    s = warpgroup_mma(q, k_sm.index(0).reshape([BLOCK_N, D]).permute((1, 0)),
                      gl.zeros([HALF, BLOCK_N], gl.float32, S_LAYOUT), use_acc=False, is_async=True)  # fmt: skip
    if IN_TURN:
        mbarrier.arrive(q_full.index(3 - C), count=1)
    s = warpgroup_mma_wait(0, deps=(s,))
    mbarrier.arrive(k_empty.index(0), count=1)
    p, alpha, m_i, l_i = softmax(s, m_i, l_i, factor, tokens, lo * BLOCK_N, N, M, left, right, BLOCK_N, LEFT, RIGHT,
                                 ANY_CUT, S_LAYOUT)  # fmt: skip
    p = gl.convert_layout(p.to(k_sm.dtype), P_LAYOUT)
    wait_for(k_full, 1, STAGES, lo + 1 < hi)
    begun = lo + 1
    if LEFT:
        acc, l_i, m_i, p = consume_tiles(
            acc, l_i, m_i, p, q, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, tokens, lo, begun, full, hi, N,
            M, factor, left, right, C, HALF, BLOCK_N, D, STAGES, IN_TURN, LEFT, RIGHT, True, S_LAYOUT, O_LAYOUT,
            P_LAYOUT)  # fmt: skip
        begun = gl.maximum(begun, full)
    acc, l_i, m_i, p = consume_tiles(
        acc, l_i, m_i, p, q, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, tokens, lo, begun, cut, hi, N, M,
        factor, left, right, C, HALF, BLOCK_N, D, STAGES, IN_TURN, LEFT, RIGHT, False, S_LAYOUT, O_LAYOUT,
        P_LAYOUT)  # fmt: skip
    if RIGHT or not EVEN:
        acc, l_i, m_i, p = consume_tiles(
            acc, l_i, m_i, p, q, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, tokens, lo,
            gl.maximum(begun, cut), hi, hi, N, M, factor, left, right, C, HALF, BLOCK_N, D, STAGES, IN_TURN, LEFT,
            RIGHT, True, S_LAYOUT, O_LAYOUT,
            P_LAYOUT)  # fmt: skip
    # the last tile's output, with nothing beside it
    wait_for(v_full, gl.maximum(hi - lo - 1, 0), STAGES, some)
    acc = warpgroup_mma(p, v_sm.index(gl.maximum(hi - lo - 1, 0) % STAGES).reshape([BLOCK_N, D]), acc, is_async=True)
    acc = warpgroup_mma_wait(0, deps=(acc,))

    by = gl.convert_layout(one_over(l_i), gl.SliceLayout(1, O_LAYOUT))
    none = gl.convert_layout(l_i, gl.SliceLayout(1, O_LAYOUT)) == 0
    o = gl.where(none[:, None], 0.0, acc * by[:, None])  # where no tile came, what was multiplied means nothing
    q.store(o.to(k_sm.dtype))  # the queries' place is free now
    fence_async_shared()
    tma.async_copy_shared_to_global(O, [b, h, first + C * TOKENS, 0, 0], q_sm.index(C))
    at = ((b.to(gl.int64) * heads_kv + h) * GROUP + row % GROUP) * N + tokens
    gl.store(LSE + at, (m_i + gl.log2(l_i)) * LN_2, mask=tokens < N)
    tma.store_wait(0)


@gluon.jit
def consume_first(O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv, first, lo,
                  full, cut, hi, N, M, scale, left, right, GROUP: gl.constexpr, BLOCK_N: gl.constexpr,
                  D: gl.constexpr, STAGES: gl.constexpr, IN_TURN: gl.constexpr, HALF: gl.constexpr,
                  TOKENS: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the first half of the rows."""
    consume(O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv, first, lo, full,
            cut, hi, N, M, scale, left, right, 0, GROUP, BLOCK_N, D, STAGES, IN_TURN, HALF, TOKENS, LEFT, RIGHT,
            EVEN)  # fmt: skip


@gluon.jit
def consume_second(O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv, first, lo,
                   full, cut, hi, N, M, scale, left, right, GROUP: gl.constexpr, BLOCK_N: gl.constexpr,
                   D: gl.constexpr, STAGES: gl.constexpr, IN_TURN: gl.constexpr, HALF: gl.constexpr,
                   TOKENS: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the second half."""
    consume(O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv, first, lo, full,
            cut, hi, N, M, scale, left, right, 1, GROUP, BLOCK_N, D, STAGES, IN_TURN, HALF, TOKENS, LEFT, RIGHT,
            EVEN)  # fmt: skip


@gluon.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def hopper_forward_kernel(Q, K, V, O, LSE, heads_kv, section, N, M, scale, left, right, GROUP: gl.constexpr,
                          D: gl.constexpr, BLOCK_Q: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr,
                          LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr, HEAVY_FIRST: gl.constexpr,
                          STAGES: gl.constexpr, IN_TURN: gl.constexpr, CONSUMING: gl.constexpr,
                          PRODUCING: gl.constexpr):  # fmt: skip
    """O and LSE (B, H, N); Q and O are descriptors of (B, heads_kv, N, GROUP, d), K and V of (B, heads_kv, M, d)."""
    i, b, h = work(heads_kv, section, HEAVY_FIRST, HEAVY_FIRST)
    first = i * BLOCK_Q
    lo, full, cut, hi = visited(first, gl.minimum(first + BLOCK_Q, N) - 1, N, M, left, right, BLOCK_N, LEFT, RIGHT)
    HALF: gl.constexpr = BLOCK_M // 2
    TOKENS: gl.constexpr = BLOCK_Q // 2
    q_sm = gl.allocate_shared_memory(Q.dtype, [2, 1, 1, TOKENS, GROUP, D], Q.layout)
    k_sm = gl.allocate_shared_memory(K.dtype, [STAGES, 1, 1, BLOCK_N, D], K.layout)
    v_sm = gl.allocate_shared_memory(V.dtype, [STAGES, 1, 1, BLOCK_N, D], V.layout)
    q_full = barriers(4, 1)  # two for the queries, two that say whose turn it is
    k_full = barriers(STAGES, 1)
    k_empty = barriers(STAGES, 2)
    v_full = barriers(STAGES, 1)
    v_empty = barriers(STAGES, 2)
    # fmt: off
    gl.warp_specialize([
        (consume_first, (O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv,
                         first, lo, full, cut, hi, N, M, scale, left, right, GROUP, BLOCK_N, D, STAGES, IN_TURN, HALF,
                         TOKENS, LEFT, RIGHT, EVEN)),
        (consume_second, (O, LSE, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, heads_kv,
                          first, lo, full, cut, hi, N, M, scale, left, right, GROUP, BLOCK_N, D, STAGES, IN_TURN, HALF,
                          TOKENS, LEFT, RIGHT, EVEN)),
        (produce, (Q, K, V, q_sm, k_sm, v_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi, BLOCK_N, D,
                   STAGES, HALF, TOKENS)),
    ], [4, 1], [CONSUMING, PRODUCING])
    # fmt: on


def takes(problem: Problem, *tensors: torch.Tensor) -> bool:
    """Whether this kernel can do a problem on these tensors, q, k and v: all others are the plain kernel's."""
    return (
        not problem.nothing
        and problem.dtype in (torch.float16, torch.bfloat16)
        and problem.usual
        and problem.d > 32
        and problem.d % 8 == 0  # rows of the output, which is made here, lie at multiples of 16 bytes
        and problem.group & (problem.group - 1) == 0
        and problem.group <= ROWS // 2
        and checks.describable(*tensors)
    )


def forward(
    problem: Problem, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, config: Config
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse, as `flash2_forward.forward` gives them, of a problem that this kernel `takes`.

    `config` says how many keys a tile has, and in how many stages they lie on chip.
    """
    o = torch.empty_like(q)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    d = checks.on_chip_d(problem.d)
    tile = Tiles(ROWS // problem.group, ROWS, config.block_n, d, d)
    by_queries = {name: _packed(x, problem, tile) for name, x in {"Q": q, "O": o}.items()}
    by_keys = {name: described(x, [1, 1, tile.block_n, tile.d]) for name, x in {"K": k, "V": v}.items()}
    launch(
        hopper_forward_kernel,
        grid(problem, -(-problem.n // tile.block_q)),
        problem,
        {"num_warps": 4, "maxnreg": REGISTERS},
        **by_queries,
        **by_keys,
        LSE=lse,
        **arguments(hopper_forward_kernel, problem, tile),
        STAGES=config.num_stages,
        IN_TURN=config.in_turn,
        CONSUMING=CONSUMING,
        PRODUCING=PRODUCING,
    )
    return o, lse


def _packed(x: torch.Tensor, problem: Problem, tile: Tiles) -> TensorDescriptor:
    """A descriptor of x (B, H, N, d) as (B, key-value heads, N, heads of the group, d): half a program's rows."""
    return bound(x, _packed_form(x.shape, x.stride(), x.dtype, problem.group, tile))


@lru_cache(checks.KEPT)
def _packed_form(
    shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, group: int, tile: Tiles
) -> dict[str, Any]:
    (batch, heads, n, d), (of_batch, of_head, of_token, of_number) = shape, strides
    sizes, steps = (batch, heads // group, n, group, d), (of_batch, group * of_head, of_token, of_head, of_number)
    return form(sizes, steps, dtype, (1, 1, tile.block_q // 2, group, tile.d))
