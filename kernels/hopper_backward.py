"""The backward pass as Hopper's units want it: one pass, five products a tile, shared by two warpgroups (FA3).

The fast twin of `flash2_backward` on sm_90, for what it takes (FA2, Algorithm 2, as FA3 lays it out for Hopper): where
that makes S and dP twice, once for dK and dV and once for dQ, here each is made once, and dQ is summed in HBM, by the
copy engine, which adds float32 to float32 there. It is written in Gluon, as `hopper_forward` is. A program has 128
keys, 64 for each of two warpgroups, past which queries stream. Scores are held the other way round, keys by queries: P
and dS are then in registers as dV and dK want them. dS goes to shared memory, too, where the warpgroups meet: each
makes one half of dQ, from the keys of both. For one warpgroup these lie so, from S of a tile to S of the next:

    copies     Q₁ dO₁ Q₂ …              the producer is ahead by as many tiles as there are stages
    products   [dP₀ = V dO₀ᵀ][dV += P₀ dO₀][dK += dS₀ Q₀][dQ₀ = dS₀ᵀ K][S₁ = K Q₁ᵀ]  [dP₁ …
    the rest       S₀ → P₀        dP₀ → dS₀    dS₀ → shared memory  mask    dQ₀ → HBM     S₁ → P₁

So whatever is done beside products, one is under way (FA3, section 3.2). Sums start not from 0 but from −LSE, where S
is made, and from −D, where dP is: then P = e^S and dS = P · dP, and a mask is a start of −∞. Barriers: `full` when
bytes are there, `empty` when both warpgroups have read them, `ds_full` when both halves of dS are there. dS has two
places, and so needs no `empty`: who has waited for both halves of one dS knows that the other has read the one before.

A small kernel comes before it, for LSE and D of each row and dQ = 0, and one after it: dQ is scaled and rounded.

It is for heads of at most 128: for wider ones there are not enough registers, and `hopper_backward_wide` runs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from . import checks
from .hopper import CONSUMING, PRODUCING, REGISTERS, barriers, begun, described, tma_add, wait_for
from .hopper_backward_wide import launch_both
from .launch import Tiles, arguments, grid, launch, strides
from .problem import Problem
from .targets.configs import Config
from .tile import LOG2_E, load_statistic, load_tile, part, seeing, store_statistic, store_tile, work

#: keys of a program, half of them for each warpgroup; a product of Hopper has 64 rows
KEYS = 128


@gluon.jit
def produce(Q, K, V, dO, Rows, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, kv_full, q_full, do_full, empty, b, h,
            start, lo, hi, GROUP: gl.constexpr, BLOCK_M: gl.constexpr, D: gl.constexpr, HALF: gl.constexpr,
            STAGES: gl.constexpr):  # fmt: skip
    """Fetch keys and values, then tile after tile of queries and dO, each when its stage is empty."""
    mbarrier.expect(kv_full.index(0), 2 * HALF * D * 2)
    for c in gl.static_range(2):
        tma.async_copy_global_to_shared(K, [b, h, start + c * HALF, 0], kv_full.index(0), k_sm.index(c))
    mbarrier.expect(kv_full.index(1), 2 * HALF * D * 2)
    for c in gl.static_range(2):
        tma.async_copy_global_to_shared(V, [b, h, start + c * HALF, 0], kv_full.index(1), v_sm.index(c))
    for t in range(0, GROUP * (hi - lo)):
        stage = t % STAGES
        head = h * GROUP + t // (hi - lo)
        first = (lo + t % (hi - lo)) * BLOCK_M
        mbarrier.wait(empty.index(stage), ((t // STAGES) & 1) ^ 1)  # all stages are empty at first
        mbarrier.expect(q_full.index(stage), BLOCK_M * D * 2 + 2 * BLOCK_M * 4)
        tma.async_copy_global_to_shared(Q, [b, head, first, 0], q_full.index(stage), q_sm.index(stage))
        tma.async_copy_global_to_shared(Rows, [b, head, 0, first], q_full.index(stage), lse_sm.index(stage))
        tma.async_copy_global_to_shared(Rows, [b, head, 1, first], q_full.index(stage), d_sm.index(stage))
        mbarrier.expect(do_full.index(stage), BLOCK_M * D * 2)
        tma.async_copy_global_to_shared(dO, [b, head, first, 0], do_full.index(stage), do_sm.index(stage))


@gluon.jit
def consume(dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full,
            empty, ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right, C: gl.constexpr,
            GROUP: gl.constexpr, BLOCK_M: gl.constexpr, D: gl.constexpr, HALF: gl.constexpr, STAGES: gl.constexpr,
            LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """One warpgroup: HALF keys from `start` + C · HALF on, their dK and dV, and half of each tile's dQ."""
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_M, 16])
    ROW: gl.constexpr = gl.SliceLayout(0, S_LAYOUT)
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    P_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    DQ_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    WIDE: gl.constexpr = D > 64  # then each warpgroup makes half of the columns of dQ, else half of its rows
    factor = scale * LOG2_E
    CUT: gl.constexpr = LEFT or RIGHT or not EVEN
    keys = start + C * HALF + gl.arange(0, HALF, gl.SliceLayout(1, S_LAYOUT))
    low, high = keys * 0, keys - (M - N - left)
    if RIGHT:
        low = keys - (M - N + right)
    if not EVEN:
        low = gl.where(keys < M, low, 0x7FFFFFFF)  # nobody sees a key past the end
    total = GROUP * (hi - lo)
    k = k_sm.index(C).reshape([HALF, D])
    v = v_sm.index(C).reshape([HALF, D])
    dk = gl.zeros([HALF, D], gl.float32, O_LAYOUT)
    dv = gl.zeros([HALF, D], gl.float32, O_LAYOUT)
    zero = gl.zeros([HALF, BLOCK_M], gl.float32, S_LAYOUT)

    # the first tile's scores, with nothing beside them
    i = lo
    head = h * GROUP
    mbarrier.wait(kv_full.index(0), 0)
    wait_for(q_full, 0, STAGES, total > 0)
    s = begun(lse_sm.index(0).reshape([BLOCK_M]).load(ROW), low, high, i * BLOCK_M, zero, BLOCK_M, LEFT, CUT,
              S_LAYOUT)  # fmt: skip
    s = warpgroup_mma(k, q_sm.index(0).reshape([BLOCK_M, D]).permute((1, 0)), s, is_async=True)
    s = warpgroup_mma_wait(0, deps=(s,))
    mbarrier.wait(kv_full.index(1), 0)
    for t in range(0, total):
        stage = t % STAGES
        q = q_sm.index(stage).reshape([BLOCK_M, D])
        do = do_sm.index(stage).reshape([BLOCK_M, D])
        dp, none = gl.broadcast(d_sm.index(stage).reshape([BLOCK_M]).load(ROW)[None, :], zero)
        wait_for(do_full, t, STAGES, True)
        dp = warpgroup_mma(v, do.permute((1, 0)), dp, is_async=True)
        p = gl.exp2(s * factor)
        dv = warpgroup_mma(gl.convert_layout(p.to(k_sm.dtype), P_LAYOUT), do, dv, is_async=True)
        dp = warpgroup_mma_wait(1, deps=(dp,))
        ds = (p * dp).to(k_sm.dtype)
        ds_sm.index(t % 2 * 2 + C).store(ds)
        fence_async_shared()
        mbarrier.arrive(ds_full.index(0), count=1)
        dk = warpgroup_mma(gl.convert_layout(ds, P_LAYOUT), q, dk, is_async=True)
        mbarrier.wait(ds_full.index(0), t & 1)
        dq = gl.zeros([64, 64], gl.float32, DQ_LAYOUT)
        for c in gl.static_range(2):
            ds_c = ds_sm.index(t % 2 * 2 + c)
            k_c = k_sm.index(c).reshape([HALF, D])
            if WIDE:
                k_c = k_c.slice(C * 64, 64, 1)
            else:
                ds_c = ds_c.slice(C * 64, 64, 1)
            dq = warpgroup_mma(ds_c.permute((1, 0)), k_c, dq, use_acc=c > 0, is_async=True)
        dk, dv = warpgroup_mma_wait(2, deps=(dk, dv))
        mbarrier.arrive(empty.index(stage), count=1)
        if GROUP == 1:
            where_head, where_row = h, (lo + t) * BLOCK_M
            i = lo + t + 1
        else:
            where_head, where_row = head, i * BLOCK_M
            i += 1
            head = gl.where(i == hi, head + 1, head)
            i = gl.where(i == hi, lo, i)
        following = (t + 1) % STAGES
        wait_for(q_full, t + 1, STAGES, t + 1 < total)
        s = begun(lse_sm.index(following).reshape([BLOCK_M]).load(ROW), low, high, i * BLOCK_M, zero, BLOCK_M,
                  LEFT, CUT, S_LAYOUT)  # fmt: skip
        s = warpgroup_mma(k, q_sm.index(following).reshape([BLOCK_M, D]).permute((1, 0)), s, is_async=True)
        dq = warpgroup_mma_wait(1, deps=(dq,))
        tma.store_wait(0)
        dq_sm.index(C).reshape([64, 64]).store(dq)
        fence_async_shared()
        if WIDE:
            tma_add(dQ, [b, where_head, where_row, C * 64], dq_sm.index(C))
        else:
            tma_add(dQ, [b, where_head, where_row + C * 64, 0], dq_sm.index(C))
        s = warpgroup_mma_wait(0, deps=(s,))

    # dK and dV go out, once, through the places of the keys and values: those of K are read by both warpgroups
    mbarrier.arrive(k_free.index(0), count=1)
    v.store(dv.to(k_sm.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(dV, [b, h, start + C * HALF, 0], v_sm.index(C))
    mbarrier.wait(k_free.index(0), 0)
    k.store((dk * scale).to(k_sm.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(dK, [b, h, start + C * HALF, 0], k_sm.index(C))
    tma.store_wait(0)


@gluon.jit
def consume_first(dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full,
                  empty, ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right,
                  GROUP: gl.constexpr, BLOCK_M: gl.constexpr, D: gl.constexpr, HALF: gl.constexpr,
                  STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the first half of the keys."""
    consume(dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full, empty,
            ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right, 0, GROUP, BLOCK_M, D, HALF,
            STAGES, LEFT, RIGHT, EVEN)  # fmt: skip


@gluon.jit
def consume_second(dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full,
                   empty, ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right,
                   GROUP: gl.constexpr, BLOCK_M: gl.constexpr, D: gl.constexpr, HALF: gl.constexpr,
                   STAGES: gl.constexpr, LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr):  # fmt: skip
    """The warpgroup of the second half."""
    consume(dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full, empty,
            ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right, 1, GROUP, BLOCK_M, D, HALF,
            STAGES, LEFT, RIGHT, EVEN)  # fmt: skip


@gluon.jit(do_not_specialize=["section", "N", "M", "left", "right"])
def hopper_backward_kernel(Q, K, V, dO, Rows, dQ, dK, dV, heads_kv, section, N, M, scale, left, right,
                           GROUP: gl.constexpr, D: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr,
                           LEFT: gl.constexpr, RIGHT: gl.constexpr, EVEN: gl.constexpr, HEAVY_FIRST: gl.constexpr,
                           STAGES: gl.constexpr, CONSUMING: gl.constexpr, PRODUCING: gl.constexpr):  # fmt: skip
    """dK and dV, and dQ added up in float32; all tensors are descriptors, `Rows` of (B, H, 2, N and more): LSE and D.

    Under a causal mask the first keys are seen most, and begun first.
    """
    j, b, h = work(heads_kv, section, False, HEAVY_FIRST)
    start = j * BLOCK_N
    lo, full, cut, hi = seeing(start, gl.minimum(start + BLOCK_N, M) - 1, N, M, left, right, BLOCK_M, LEFT, RIGHT)
    HALF: gl.constexpr = BLOCK_N // 2
    DS_LAYOUT: gl.constexpr = gl.NVMMASharedLayout(128, 16, rank=2)
    k_sm = gl.allocate_shared_memory(K.dtype, [2, 1, 1, HALF, D], K.layout)
    v_sm = gl.allocate_shared_memory(V.dtype, [2, 1, 1, HALF, D], V.layout)
    q_sm = gl.allocate_shared_memory(Q.dtype, [STAGES, 1, 1, BLOCK_M, D], Q.layout)
    do_sm = gl.allocate_shared_memory(dO.dtype, [STAGES, 1, 1, BLOCK_M, D], dO.layout)
    lse_sm = gl.allocate_shared_memory(gl.float32, [STAGES, 1, 1, 1, BLOCK_M], Rows.layout)
    d_sm = gl.allocate_shared_memory(gl.float32, [STAGES, 1, 1, 1, BLOCK_M], Rows.layout)
    ds_sm = gl.allocate_shared_memory(Q.dtype, [4, HALF, BLOCK_M], DS_LAYOUT)
    dq_sm = gl.allocate_shared_memory(gl.float32, [2, 1, 1, 64, 64], dQ.layout)
    kv_full = barriers(2, 1)
    q_full = barriers(STAGES, 1)
    do_full = barriers(STAGES, 1)
    empty = barriers(STAGES, 2)
    ds_full = barriers(1, 2)
    k_free = barriers(1, 2)
    # fmt: off
    gl.warp_specialize([
        (consume_first, (dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full,
                         empty, ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right, GROUP,
                         BLOCK_M, D, HALF, STAGES, LEFT, RIGHT, EVEN)),
        (consume_second, (dQ, dK, dV, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, ds_sm, dq_sm, kv_full, q_full, do_full,
                          empty, ds_full, k_free, b, h, start, lo, hi, N, M, scale, left, right, GROUP,
                          BLOCK_M, D, HALF, STAGES, LEFT, RIGHT, EVEN)),
        (produce, (Q, K, V, dO, Rows, k_sm, v_sm, q_sm, do_sm, lse_sm, d_sm, kv_full, q_full, do_full, empty, b,
                   h, start, lo, hi, GROUP, BLOCK_M, D, HALF, STAGES)),
    ], [4, 1], [CONSUMING, PRODUCING])
    # fmt: on


@triton.jit(do_not_specialize=["N", "PADDED"])
def rows_kernel(
    O, dO, LSE, dLSE, D_, Rows, dQ, o_strides, do_strides, dq_strides, heads, N, PADDED, scale,
    HEAD_DIM: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, DLSE: tl.constexpr, DELTA: tl.constexpr,
):  # fmt: skip
    """What others want of each row, in Rows (B, H, 2, PADDED): −LSE, for scores not scaled, and −D. dQ, if given, is 0.

    Where there is no row, or it sees no key, that is −∞: so all of its P are 0. D_ (B, H, N), if given, is D, too.
    """
    b, h = part(heads)
    first = tl.program_id(0) * BLOCK_M
    o = load_tile(O, o_strides, b, h, first, N, BLOCK_M, BLOCK_M, 1, HEAD_DIM, D, True, False)
    do = load_tile(dO, do_strides, b, h, first, N, BLOCK_M, BLOCK_M, 1, HEAD_DIM, D, True, False)
    D_i = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    if DLSE:
        D_i -= load_statistic(dLSE, b, h, heads, first, N, N, BLOCK_M, BLOCK_M, 1)
    if DELTA:
        store_statistic(D_, b, h, heads, first, N, N, D_i, BLOCK_M, BLOCK_M, 1)
    lse = load_statistic(LSE, b, h, heads, first, N, N, BLOCK_M, BLOCK_M, 1)
    tokens = first + tl.arange(0, BLOCK_M)
    none = (tokens >= N) | (lse == float("-inf"))
    at = Rows + (b.to(tl.int64) * heads + h) * 2 * PADDED + tokens
    tl.store(at, tl.where(none, float("-inf"), -lse / scale))
    tl.store(at + PADDED, -D_i)
    if dQ is not None:
        zero = tl.zeros([BLOCK_M, D], tl.float32)
        store_tile(dQ, dq_strides, b, h, first, N, zero, BLOCK_M, BLOCK_M, 1, HEAD_DIM, D, False)


@triton.jit(do_not_specialize=["N"])
def round_kernel(
    Sum, dQ, sum_strides, dq_strides, heads, N, scale, HEAD_DIM: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr
):  # fmt: skip
    """dQ (B, H, N, HEAD_DIM), from its Sum in float32."""
    b, h = part(heads)
    first = tl.program_id(0) * BLOCK_M
    dq = load_tile(Sum, sum_strides, b, h, first, N, BLOCK_M, BLOCK_M, 1, HEAD_DIM, D, True, False)
    store_tile(dQ, dq_strides, b, h, first, N, dq * scale, BLOCK_M, BLOCK_M, 1, HEAD_DIM, D, False)


def takes(problem: Problem, *tensors: torch.Tensor) -> bool:
    """Whether this kernel can do a problem on these tensors, q, k, v and dO: all others are the plain kernels'."""
    return (
        not problem.nothing
        and problem.dtype in (torch.float16, torch.bfloat16)
        and problem.usual
        and 32 < problem.d <= 256
        and problem.d % 8 == 0  # rows of the gradients, which are made here, lie at multiples of 16 bytes
        and checks.describable(*tensors)
    )


def backward(
    problem: Problem,
    do: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: torch.Tensor,
    lse: torch.Tensor,
    dlse: torch.Tensor | None,
    delta: torch.Tensor | None,
    config: Config,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """dq, dk and dv, as `flash2_backward.backward` gives them, of a problem that this kernel `takes`.

    `config` says in how many stages, two at least, queries and dO lie on chip. Where d is 128 or less, dQ is summed in
    whatever order programs come to it: its last digits are not the same each time. Above that it is two kernels of
    `hopper_backward_wide` that run.
    """
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    d = checks.on_chip_d(problem.d)
    wide = d > 128
    block_m = 64 * 128 // min(d, 128)  # so that each warpgroup makes 64 × 64 of dQ
    tile = Tiles(block_m, block_m, KEYS, d, d)
    padded = -(-problem.n // tile.block_m) * tile.block_m
    rows = torch.empty(*q.shape[:2], 2, padded, dtype=torch.float32, device=q.device)
    total = None if wide else torch.empty(q.shape, dtype=torch.float32, device=q.device)
    heads = problem._replace(kv_heads=problem.heads)  # each head of queries by itself
    launch(
        rows_kernel,
        grid(heads, padded // tile.block_m),
        problem,
        {"num_warps": 4},
        O=o,
        dO=do,
        LSE=lse,
        dLSE=dlse,
        D_=delta,
        Rows=rows,
        dQ=total,
        **strides(o=o, do=do, dq=o if total is None else total),
        heads=problem.heads,
        PADDED=padded,
        **arguments(rows_kernel, problem, tile),
        DLSE=dlse is not None,
        DELTA=delta is not None,
    )
    if total is None:
        launch_both(problem, do, q, k, v, rows, dq, dk, dv, config.num_stages)
        return dq, dk, dv
    half, rest = [1, 1, KEYS // 2, d], [1, 1, tile.block_m, d]
    launch(
        hopper_backward_kernel,
        grid(problem, -(-problem.m // tile.block_n)),
        problem,
        {"num_warps": 4, "maxnreg": REGISTERS},
        Q=described(q, rest),
        K=described(k, half),
        V=described(v, half),
        dO=described(do, rest),
        Rows=described(rows, [1, 1, 1, tile.block_m], swizzle=0),
        dQ=described(total, [1, 1, 64, 64]),
        dK=described(dk, half),
        dV=described(dv, half),
        **arguments(hopper_backward_kernel, problem, tile),
        STAGES=config.num_stages,
        CONSUMING=CONSUMING,
        PRODUCING=PRODUCING,
    )
    launch(
        round_kernel,
        grid(heads, padded // tile.block_m),
        problem,
        {"num_warps": 4},
        Sum=total,
        dQ=dq,
        **strides(sum=total, dq=dq),
        heads=problem.heads,
        **arguments(round_kernel, problem, tile),
    )
    return dq, dk, dv
