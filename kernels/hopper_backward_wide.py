"""The backward pass of wide heads (d = 256) as Hopper's units want it: dK and dV here, then dQ in `hopper_dq`.

The fast twin of `flash2_backward` on sm_90 for heads of more than 128. `hopper_backward` makes five products, each
once, for 128 keys a program. But dK and dV of 128 keys would be all the registers there are, and with 64 keys dQ is
added to in HBM twice as often. As Hopper's kernels were measured on an H100, L2 is busy to 64 % when it reads 8.1 bytes
a cycle for each multiprocessor and adds as many, to 38 % when it reads 23. So for 64 × 64 scores these are cycles, at
best, where tensor cores make 2,048 multiplications a cycle and shared memory moves 128 bytes:

                                               tensor cores   shared memory      L2
    one pass, five products                           2,560           3,776   5,200
    dK and dV, four products, then                    2,048           2,304   1,070
    dQ, three products                                1,536           1,536     540
    the plain kernels, seven products                 3,584           5,440   1,610

So two passes, 3,840 cycles, are quicker than one, though they make S and dP twice, and give the same each time. How
two warpgroups share 64 keys is what shared memory's part depends on. A product of Hopper has 64 rows: if each had half
of the columns of S and of d, both would read all of K, V and P (one pass: 4,352 instead of 3,776). So one makes S, P
and dV, the other dP, dS and dK, each of all keys, and has 128 registers a thread for its sum. P and dS are in registers
as dV and dK want them, keys by queries, and only P goes from one to the other, through shared memory:

    copies       Q₁ dO₁ Q₂ …               the producer is ahead by as many tiles as there are stages
    one          S₀ → P₀  [dV += P₀ dO₀][S₁ = K Q₁ᵀ]  S₁ → P₁  [dV += …
    the other             P₀ dP₀ → dS₀  [dK += dS₀ Q₀][dP₁ = V dO₁ᵀ]  P₁ dP₁ → dS₁  […

While one takes exponentials the other multiplies. Barriers: `full` when bytes are there, `empty` when they were read.
Who makes dK gives the queries back: S was made of them before P was. Who makes dV gives back dO: dP was made of it by
then, since the producer waits for the queries' place first. As in `hopper_backward`, sums start from −LSE and −D.
"""

from __future__ import annotations

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

from .hopper import CONSUMING, PRODUCING, REGISTERS, barriers, begun, described, wait_for
from .hopper_dq import hopper_dq_kernel
from .launch import Tiles, arguments, grid, launch
from .problem import Problem
from .tile import LOG2_E, seeing, work

#: queries of a tile and keys of a program: a product of Hopper has 64 rows, and each warpgroup makes it of all keys
BLOCK = 64

#: queries of a program that makes dQ, half of them for each warpgroup
ROWS = 128


@gluon.jit
def fetch_queries(Q, K, V, dO, Rows, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, kv_full, q_full, q_empty, do_full, do_empty,
                  b, h, start, lo, hi, GROUP: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr,
                  D: gl.constexpr, STAGES: gl.constexpr):  # fmt: skip
    """Fetch keys and values, then tile after tile of queries and dO, each when its stage is empty."""
    mbarrier.expect(kv_full.index(0), BLOCK_N * D * 2)
    tma.async_copy_global_to_shared(K, [b, h, start, 0], kv_full.index(0), k_sm.index(0))
    mbarrier.expect(kv_full.index(1), BLOCK_N * D * 2)
    tma.async_copy_global_to_shared(V, [b, h, start, 0], kv_full.index(1), v_sm.index(0))
    for t in range(0, GROUP * (hi - lo)):
        stage = t % STAGES
        free = ((t // STAGES) & 1) ^ 1  # all stages are empty at first
        head = h * GROUP + t // (hi - lo)
        first = (lo + t % (hi - lo)) * BLOCK_M
        mbarrier.wait(q_empty.index(stage), free)
        mbarrier.expect(q_full.index(stage), BLOCK_M * D * 2 + BLOCK_M * 4)
        tma.async_copy_global_to_shared(Q, [b, head, first, 0], q_full.index(stage), q_sm.index(stage))
        tma.async_copy_global_to_shared(Rows, [b, head, 0, first], q_full.index(stage), lse_sm.index(stage))
        mbarrier.wait(do_empty.index(stage), free)
        mbarrier.expect(do_full.index(stage), BLOCK_M * D * 2 + BLOCK_M * 4)
        tma.async_copy_global_to_shared(dO, [b, head, first, 0], do_full.index(stage), do_sm.index(stage))
        tma.async_copy_global_to_shared(Rows, [b, head, 1, first], do_full.index(stage), d_sm.index(stage))


@gluon.jit
def make_dv(dV, k_sm, q_sm, do_sm, lse_sm, p_sm, kv_full, q_full, do_full, do_empty, p_full, p_empty, b, h, start, lo,
            hi, N, M, scale, left, right, GROUP: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr,
            D: gl.constexpr, STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr,
            EVEN: gl.constexpr):  # fmt: skip
    """One warpgroup: S and P of all keys and a tile of queries, and dV; P goes to the other, too."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_M, 16])
    ROW: gl.constexpr = gl.SliceLayout(0, S_LAYOUT)
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    factor = scale * LOG2_E
    CUT: gl.constexpr = LEFT or RIGHT or not EVEN
    keys = start + gl.arange(0, BLOCK_N, gl.SliceLayout(1, S_LAYOUT))
    low, high = keys * 0, keys - (M - N - left)
    if RIGHT:
        low = keys - (M - N + right)
    if not EVEN:
        low = gl.where(keys < M, low, 0x7FFFFFFF)  # nobody sees a key past the end
    total = GROUP * (hi - lo)
    k = k_sm.index(0).reshape([BLOCK_N, D])
    dv = gl.zeros([BLOCK_N, D], gl.float32, O_LAYOUT)
    zero = gl.zeros([BLOCK_N, BLOCK_M], gl.float32, S_LAYOUT)

    # the first tile's scores, with nothing beside them
    i = lo
    mbarrier.wait(kv_full.index(0), 0)
    wait_for(q_full, 0, STAGES, total > 0)
    s = begun(lse_sm.index(0).reshape([BLOCK_M]).load(ROW), low, high, i * BLOCK_M, zero, BLOCK_M, LEFT, CUT,
              S_LAYOUT)  # fmt: skip
    s = warpgroup_mma(k, q_sm.index(0).reshape([BLOCK_M, D]).permute((1, 0)), s, is_async=True)
    s = warpgroup_mma_wait(0, deps=(s,))
    for t in range(0, total):
        stage = t % STAGES
        following = (t + 1) % STAGES
        p = gl.exp2(s * factor)
        mbarrier.wait(p_empty.index(0), (t & 1) ^ 1)
        p_sm.store(p)
        mbarrier.arrive(p_full.index(0), count=1)
        wait_for(do_full, t, STAGES, True)
        p = gl.convert_layout(p.to(k_sm.dtype), P_LAYOUT)
        dv = warpgroup_mma(p, do_sm.index(stage).reshape([BLOCK_M, D]), dv, is_async=True)
        i += 1
        if GROUP > 1:
            i = gl.where(i == hi, lo, i)
        wait_for(q_full, t + 1, STAGES, t + 1 < total)
        s = begun(lse_sm.index(following).reshape([BLOCK_M]).load(ROW), low, high, i * BLOCK_M, zero, BLOCK_M,
                  LEFT, CUT, S_LAYOUT)  # fmt: skip
        s = warpgroup_mma(k, q_sm.index(following).reshape([BLOCK_M, D]).permute((1, 0)), s, is_async=True)
        dv = warpgroup_mma_wait(1, deps=(dv,))
        mbarrier.arrive(do_empty.index(stage), count=1)
        s = warpgroup_mma_wait(0, deps=(s,))
    k.store(dv.to(k_sm.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(dV, [b, h, start, 0], k_sm.index(0))
    tma.store_wait(0)


@gluon.jit
def make_dk(dK, v_sm, q_sm, do_sm, d_sm, p_sm, kv_full, q_full, q_empty, do_full, p_full, p_empty, b, h, start, lo, hi,
            scale, GROUP: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
            STAGES: gl.constexpr):  # fmt: skip
    """The other warpgroup: dP, and with P dS, and dK."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_M, 16])
    ROW: gl.constexpr = gl.SliceLayout(0, S_LAYOUT)
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    total = GROUP * (hi - lo)
    v = v_sm.index(0).reshape([BLOCK_N, D])
    dk = gl.zeros([BLOCK_N, D], gl.float32, O_LAYOUT)
    zero = gl.zeros([BLOCK_N, BLOCK_M], gl.float32, S_LAYOUT)

    mbarrier.wait(kv_full.index(1), 0)
    wait_for(do_full, 0, STAGES, total > 0)
    dp, none = gl.broadcast(d_sm.index(0).reshape([BLOCK_M]).load(ROW)[None, :], zero)
    dp = warpgroup_mma(v, do_sm.index(0).reshape([BLOCK_M, D]).permute((1, 0)), dp, is_async=True)
    dp = warpgroup_mma_wait(0, deps=(dp,))
    for t in range(0, total):
        stage = t % STAGES
        following = (t + 1) % STAGES
        mbarrier.wait(p_full.index(0), t & 1)
        p = p_sm.load(S_LAYOUT)
        mbarrier.arrive(p_empty.index(0), count=1)
        ds = gl.convert_layout((p * dp).to(v_sm.dtype), P_LAYOUT)
        wait_for(q_full, t, STAGES, True)
        dk = warpgroup_mma(ds, q_sm.index(stage).reshape([BLOCK_M, D]), dk, is_async=True)
        wait_for(do_full, t + 1, STAGES, t + 1 < total)
        dp, none = gl.broadcast(d_sm.index(following).reshape([BLOCK_M]).load(ROW)[None, :], zero)
        dp = warpgroup_mma(v, do_sm.index(following).reshape([BLOCK_M, D]).permute((1, 0)), dp, is_async=True)
        dk = warpgroup_mma_wait(1, deps=(dk,))
        mbarrier.arrive(q_empty.index(stage), count=1)
        dp = warpgroup_mma_wait(0, deps=(dp,))
    v.store((dk * scale).to(v_sm.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(dK, [b, h, start, 0], v_sm.index(0))
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def hopper_dkdv_kernel(Q, K, V, dO, Rows, dK, dV, heads_kv, section, N, M, scale, left, right, GROUP: gl.constexpr,
                       D: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, LEFT: gl.constexpr,
                       RIGHT: gl.constexpr, EVEN: gl.constexpr, HEAVY_FIRST: gl.constexpr, STAGES: gl.constexpr,
                       CONSUMING: gl.constexpr, PRODUCING: gl.constexpr):  # fmt: skip
    """dK and dV (B, Hk, M, d); all tensors are descriptors, `Rows` of (B, H, 2, N and more): LSE and D.

    Under a causal mask the first keys are seen most, and begun first.
    """
    j, b, h = work(heads_kv, section, False, HEAVY_FIRST)
    start = j * BLOCK_N
    lo, full, cut, hi = seeing(start, gl.minimum(start + BLOCK_N, M) - 1, N, M, left, right, BLOCK_M, LEFT, RIGHT)
    # where P lies: 16 bytes of each thread side by side, which the same thread of the other warpgroup reads
    P_PLACES: gl.constexpr = gl.SharedLinearLayout([[0, 1], [0, 8], [0, 2], [0, 4], [1, 0], [2, 0], [4, 0], [16, 0],
                                                    [32, 0], [8, 0], [0, 16], [0, 32]])  # fmt: skip
    k_sm = gl.allocate_shared_memory(K.dtype, [1, 1, 1, BLOCK_N, D], K.layout)
    v_sm = gl.allocate_shared_memory(V.dtype, [1, 1, 1, BLOCK_N, D], V.layout)
    q_sm = gl.allocate_shared_memory(Q.dtype, [STAGES, 1, 1, BLOCK_M, D], Q.layout)
    do_sm = gl.allocate_shared_memory(dO.dtype, [STAGES, 1, 1, BLOCK_M, D], dO.layout)
    lse_sm = gl.allocate_shared_memory(gl.float32, [STAGES, 1, 1, 1, BLOCK_M], Rows.layout)
    d_sm = gl.allocate_shared_memory(gl.float32, [STAGES, 1, 1, 1, BLOCK_M], Rows.layout)
    p_sm = gl.allocate_shared_memory(gl.float32, [BLOCK_N, BLOCK_M], P_PLACES)
    kv_full = barriers(2, 1)
    q_full = barriers(STAGES, 1)
    q_empty = barriers(STAGES, 1)
    do_full = barriers(STAGES, 1)
    do_empty = barriers(STAGES, 1)
    p_full = barriers(1, 1)
    p_empty = barriers(1, 1)
    # fmt: off
    gl.warp_specialize([
        (make_dv, (dV, k_sm, q_sm, do_sm, lse_sm, p_sm, kv_full, q_full, do_full, do_empty, p_full, p_empty, b, h,
                   start, lo, hi, N, M, scale, left, right, GROUP, BLOCK_M, BLOCK_N, D, STAGES, LEFT, RIGHT, EVEN)),
        (make_dk, (dK, v_sm, q_sm, do_sm, d_sm, p_sm, kv_full, q_full, q_empty, do_full, p_full, p_empty, b, h, start,
                   lo, hi, scale, GROUP, BLOCK_M, BLOCK_N, D, STAGES)),
        (fetch_queries, (Q, K, V, dO, Rows, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, kv_full, q_full, q_empty, do_full,
                         do_empty, b, h, start, lo, hi, GROUP, BLOCK_M, BLOCK_N, D, STAGES)),
    ], [4, 1], [CONSUMING, PRODUCING])
    # fmt: on


def launch_both(
    problem: Problem,
    do: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rows: torch.Tensor,
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    stages: int,
) -> None:
    """Make dk and dv, then dq, from `rows`, LSE and D as `hopper_backward.rows_kernel` makes them.

    Queries and dO for dK and dV, and keys for dQ, lie on chip in as many `stages`, two at least.
    """
    block = [1, 1, BLOCK, 256]
    tensors = {"Q": q, "K": k, "V": v, "dO": do}
    given = {name: described(x, block) for name, x in tensors.items()}
    given["Rows"] = described(rows, [1, 1, 1, BLOCK], swizzle=0)
    own = {"STAGES": stages, "CONSUMING": CONSUMING, "PRODUCING": PRODUCING}
    options = {"num_warps": 4, "maxnreg": REGISTERS}
    by_keys = Tiles(BLOCK, BLOCK, BLOCK, 256, 256)
    launch(
        hopper_dkdv_kernel,
        grid(problem, -(-problem.m // BLOCK)),
        problem,
        options,
        **given,
        dK=described(dk, block),
        dV=described(dv, block),
        **arguments(hopper_dkdv_kernel, problem, by_keys),
        **own,
    )
    heads = problem._replace(kv_heads=problem.heads)  # each head of queries by itself
    by_queries = by_keys._replace(block_q=ROWS, block_m=ROWS)
    launch(
        hopper_dq_kernel,
        grid(heads, -(-problem.n // ROWS)),
        problem,
        options,
        **given,
        dQ=described(dq, block),
        SHARED=problem.group,
        **arguments(hopper_dq_kernel, heads, by_queries),
        **own,
    )
