"""dQ of wide heads (d = 256) as Hopper's units want it: the pass after `hopper_backward_wide`, where it says why.

A program has 128 queries, 64 for each of two warpgroups, past which keys and values stream. Scores are queries by keys,
so that dS is in registers as dQ wants it, and never goes to shared memory. For one warpgroup, from S of a tile to the
next:

    copies     K₁ V₁ K₂ …               keys have two places, values one
    products   [dP₀ = dO V₀ᵀ]       [dQ += dS₀ K₀][S₁ = Q K₁ᵀ]  [dP₁ …
    the rest   S₀ → P₀      dP₀ → dS₀                            S₁ → P₁

Values come while dQ and the next S are made, keys while dP is. Sums start from −LSE and −D, as in `hopper_backward`.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from .hopper import barriers, wait_for
from .tile import LOG2_E, visited, work


@gluon.jit
def fetch_keys(Q, K, V, dO, Rows, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h,
               h_kv, first, lo, hi, HALF: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
               STAGES: gl.constexpr):  # fmt: skip
    """Fetch queries and dO, then tile after tile of keys and values, each when its place is empty."""
    for c in gl.static_range(2):
        at = first + c * HALF
        mbarrier.expect(q_full.index(c), 2 * HALF * D * 2 + 2 * HALF * 4)
        tma.async_copy_global_to_shared(Q, [b, h, at, 0], q_full.index(c), q_sm.index(c))
        tma.async_copy_global_to_shared(Rows, [b, h, 0, at], q_full.index(c), lse_sm.index(c))
        tma.async_copy_global_to_shared(Rows, [b, h, 1, at], q_full.index(c), d_sm.index(c))
        tma.async_copy_global_to_shared(dO, [b, h, at, 0], q_full.index(c), do_sm.index(c))
    for j in range(lo, hi):
        t = j - lo
        stage = t % STAGES
        mbarrier.wait(k_empty.index(stage), ((t // STAGES) & 1) ^ 1)  # all is empty at first
        mbarrier.expect(k_full.index(stage), BLOCK_N * D * 2)
        tma.async_copy_global_to_shared(K, [b, h_kv, j * BLOCK_N, 0], k_full.index(stage), k_sm.index(stage))
        mbarrier.wait(v_empty.index(0), (t & 1) ^ 1)
        mbarrier.expect(v_full.index(0), BLOCK_N * D * 2)
        tma.async_copy_global_to_shared(V, [b, h_kv, j * BLOCK_N, 0], v_full.index(0), v_sm.index(0))


@gluon.jit
def begun_by_rows(lse, below, start, M, left, right, zero, BLOCK_N: gl.constexpr, LEFT: gl.constexpr,
                  RIGHT: gl.constexpr, CUT: gl.constexpr, LAYOUT: gl.constexpr):  # fmt: skip
    """What the scores of a tile are added to, queries by keys: −LSE of each row, but −∞ where a key is not seen."""
    s, zero = gl.broadcast(lse[:, None], zero)
    if CUT:
        key = gl.arange(0, BLOCK_N, gl.SliceLayout(0, LAYOUT))[None, :]
        stop = below * 0 + (M - start)
        if RIGHT:
            stop = gl.minimum(below + (right + 1 - start), M - start)
        seen = key < stop[:, None]
        if LEFT:
            seen = seen & (key >= (below - (left + start))[:, None])
        s = gl.where(seen, s, float("-inf"))
    return s


@gluon.jit
def make_dq(dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi, N,
            M, scale, left, right, C: gl.constexpr, HALF: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
            STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """One warpgroup: HALF rows of queries from `first` + C · HALF on, and their dQ."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    COLUMN: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    factor = scale * LOG2_E
    CUT: gl.constexpr = LEFT or RIGHT or not EVEN
    below = first + C * HALF + (M - N) + gl.arange(0, HALF, COLUMN)  # the key that each token stands above
    q = q_sm.index(C).reshape([HALF, D])
    dq = gl.zeros([HALF, D], gl.float32, O_LAYOUT)
    zero = gl.zeros([HALF, BLOCK_N], gl.float32, S_LAYOUT)

    # the first tile's scores, with nothing beside them
    mbarrier.wait(q_full.index(C), 0)
    lse = lse_sm.index(C).reshape([HALF])
    d = d_sm.index(C).reshape([HALF]).load(COLUMN)
    wait_for(k_full, 0, STAGES, lo < hi)
    s = begun_by_rows(lse.load(COLUMN), below, lo * BLOCK_N, M, left, right, zero, BLOCK_N, LEFT, RIGHT, CUT, S_LAYOUT)
    s = warpgroup_mma(q, k_sm.index(0).reshape([BLOCK_N, D]).permute((1, 0)), s, is_async=True)
    s = warpgroup_mma_wait(0, deps=(s,))
    for j in range(lo, hi):
        t = j - lo
        following = (t + 1) % STAGES
        same = t >> 30  # 0, but ptxas, if it knew that, would keep where each part of V and dO lies in 64 registers
        do = do_sm.index(C + same).reshape([HALF, D])
        v = v_sm.index(same).reshape([BLOCK_N, D])
        mbarrier.wait(v_full.index(0), t & 1)
        dp, none = gl.broadcast(d[:, None], zero)
        dp = warpgroup_mma(do, v.permute((1, 0)), dp, is_async=True)
        p = gl.exp2(s * factor)
        dp, p = warpgroup_mma_wait(0, deps=(dp, p))  # with P, or ptxas waits before the exponentials
        mbarrier.arrive(v_empty.index(0), count=1)
        ds = gl.convert_layout((p * dp).to(k_sm.dtype), P_LAYOUT)
        dq = warpgroup_mma(ds, k_sm.index(t % STAGES).reshape([BLOCK_N, D]), dq, is_async=True)
        wait_for(k_full, t + 1, STAGES, j + 1 < hi)
        s = begun_by_rows(lse.load(COLUMN), below, (j + 1) * BLOCK_N, M, left, right, zero, BLOCK_N, LEFT, RIGHT, CUT,
                          S_LAYOUT)  # fmt: skip
        s = warpgroup_mma(q, k_sm.index(following).reshape([BLOCK_N, D]).permute((1, 0)), s, is_async=True)
        dq = warpgroup_mma_wait(1, deps=(dq,))
        mbarrier.arrive(k_empty.index(t % STAGES), count=1)
        s = warpgroup_mma_wait(0, deps=(s,))

    q.store((dq * scale).to(k_sm.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(dQ, [b, h, first + C * HALF, 0], q_sm.index(C))
    tma.store_wait(0)


@gluon.jit
def make_first(dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi,
               N, M, scale, left, right, HALF: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
               STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the first half of the rows."""
    make_dq(dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi, N,
            M, scale, left, right, 0, HALF, BLOCK_N, D, STAGES, LEFT, RIGHT, EVEN)  # fmt: skip


@gluon.jit
def make_second(dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo,
                hi, N, M, scale, left, right, HALF: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
                STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the second half."""
    make_dq(dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first, lo, hi, N,
            M, scale, left, right, 1, HALF, BLOCK_N, D, STAGES, LEFT, RIGHT, EVEN)  # fmt: skip


@gluon.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def hopper_dq_kernel(Q, K, V, dO, Rows, dQ, heads_kv, section, N, M, scale, left, right, SHARED: gl.constexpr,
                     D: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, LEFT: gl.constexpr,
                     RIGHT: gl.constexpr, EVEN: gl.constexpr, HEAVY_FIRST: gl.constexpr, STAGES: gl.constexpr,
                     CONSUMING: gl.constexpr, PRODUCING: gl.constexpr):  # fmt: skip
    """dQ (B, H, N, d), a program for each block of rows of a head of queries, SHARED of which have one head of keys.

    All tensors are descriptors, `Rows` of (B, H, 2, N and more): LSE and D, where TMA reads 0 past the end.
    """
    i, b, h = work(heads_kv, section, HEAVY_FIRST, HEAVY_FIRST)
    first = i * BLOCK_M
    lo, full, cut, hi = visited(first, gl.minimum(first + BLOCK_M, N) - 1, N, M, left, right, BLOCK_N, LEFT, RIGHT)
    HALF: gl.constexpr = BLOCK_M // 2
    q_sm = gl.allocate_shared_memory(Q.dtype, [2, 1, 1, HALF, D], Q.layout)
    do_sm = gl.allocate_shared_memory(dO.dtype, [2, 1, 1, HALF, D], dO.layout)
    k_sm = gl.allocate_shared_memory(K.dtype, [STAGES, 1, 1, BLOCK_N, D], K.layout)
    v_sm = gl.allocate_shared_memory(V.dtype, [1, 1, 1, BLOCK_N, D], V.layout)
    lse_sm = gl.allocate_shared_memory(gl.float32, [2, 1, 1, 1, HALF], Rows.layout)
    d_sm = gl.allocate_shared_memory(gl.float32, [2, 1, 1, 1, HALF], Rows.layout)
    q_full = barriers(2, 1)
    k_full = barriers(STAGES, 1)
    k_empty = barriers(STAGES, 2)
    v_full = barriers(1, 1)
    v_empty = barriers(1, 2)
    # fmt: off
    gl.warp_specialize([
        (make_first, (dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first,
                      lo, hi, N, M, scale, left, right, HALF, BLOCK_N, D, STAGES, LEFT, RIGHT, EVEN)),
        (make_second, (dQ, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full, v_empty, b, h, first,
                       lo, hi, N, M, scale, left, right, HALF, BLOCK_N, D, STAGES, LEFT, RIGHT, EVEN)),
        (fetch_keys, (Q, K, V, dO, Rows, q_sm, do_sm, k_sm, v_sm, lse_sm, d_sm, q_full, k_full, k_empty, v_full,
                      v_empty, b, h, h // SHARED, first, lo, hi, HALF, BLOCK_N, D, STAGES)),
    ], [4, 1], [CONSUMING, PRODUCING])
    # fmt: on
