"""Block-sparse forward in FlashAttention-2's order: each program visits the key tiles that a list names (FA1, 3.3).

The Triton twin of `flashsteps.algorithms.flash2_block_sparse_forward`. Which tiles are visited lies in HBM as two lists
(compressed sparse rows): block of queries i visits the key tiles columns[starts[i] … starts[i + 1] − 1], in ascending
order. One mask is for all batch entries and heads. A program is (block of queries, part): grid (blocks, parts).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from flashsteps.machine import block_masks, masks

from . import checks
from .launch import arguments, fetched, grid, launch, like, outputs, strides, tiles
from .targets import configs
from .tile import add_tile, load_tile, natural_lse, one_over, store_statistic, store_tile, work


@triton.jit(do_not_specialize=["N", "M", "left", "right"])
def block_sparse_kernel(
    Q, K, V, starts, columns, O, LSE, q_strides, k_strides, v_strides, o_strides, heads_kv, N, M, scale, softcap,
    left, right,
    GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, D: tl.constexpr, HEAD_DIM_V: tl.constexpr, D_V: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    SOFTCAP: tl.constexpr, EVEN: tl.constexpr, TMA_Q: tl.constexpr, TMA: tl.constexpr, PRECISION: tl.constexpr,
    HEAVY_FIRST: tl.constexpr,
):  # fmt: skip
    """O (B, H, N, HEAD_DIM) and LSE (B, H, N); starts (blocks + 1,) and columns (tiles visited,), int32."""
    # Under a causal mask the last queries see most keys: what takes longest is begun first.
    i, b, h = work(heads_kv, 1, HEAVY_FIRST, False)
    first = i * BLOCK_Q
    tokens = first + tl.arange(0, BLOCK_M) // GROUP
    CUT: tl.constexpr = LEFT or RIGHT or not EVEN  # which tiles are cut is not known beforehand

    # Each program keeps its own block of queries.
    q = load_tile(Q, q_strides, b, h * GROUP, first, N, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM, D, True, TMA_Q)
    ends = tl.load(starts + i + tl.arange(0, 2))  # Where its list of tiles begins and ends, in one load.
    m_i = tl.full([BLOCK_M], float("-inf"), tl.float32)  # Max, sum and output start on chip, and stay there.
    l_i = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_V], tl.float32)
    for n in tl.range(tl.min(ends, 0), tl.max(ends, 0)):
        j = tl.load(columns + n)  # The list says which tile comes next.
        start = j * BLOCK_N
        # Keys and values come in, those of the tiles listed and no others.
        k = load_tile(K, k_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM, D, CUT, TMA)
        v = load_tile(V, v_strides, b, h, start, M, BLOCK_N, BLOCK_N, 1, HEAD_DIM_V, D_V, CUT, TMA)
        acc, l_i, m_i = add_tile(acc, l_i, m_i, q, k, v, None, tokens, start, N, M, scale, softcap, left, right,
                                 BLOCK_N, BLOCK_N, LEFT, RIGHT, SOFTCAP, 0, CUT, PRECISION)  # fmt: skip
    o = acc * one_over(l_i)[:, None]  # All its tiles seen: divide by the sum, once.
    # The output goes out, once, with one number a row: LSE, a natural logarithm.
    store_tile(O, o_strides, b, h * GROUP, first, N, o, BLOCK_M, BLOCK_Q, GROUP, HEAD_DIM_V, D_V, TMA_Q)
    lse = natural_lse(m_i, l_i)
    store_statistic(LSE, b, h * GROUP, heads_kv * GROUP, first, N, N, lse, BLOCK_M, BLOCK_Q, GROUP)


def block_sparse(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_mask: Any,
    *,
    block_q: int,
    block_k: int,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    config: configs.Config | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse, as `forward` gives them, where only the tiles of `block_mask` are visited; no gradient follows.

    `block_mask` is Boolean, (blocks of block_q tokens, blocks of block_k keys), True where a tile is visited; or a name
    that `flashsteps.machine.block_masks` knows, such as "butterfly"; or what `csr` made of either, which saves making
    it again.
    Tiles that `causal` or `window` hide are not visited, either. Raises ValueError for arguments that make no sense.
    """
    problem = checks.problem(q, k, v, causal=causal, window=window, scale=scale, softcap=softcap)
    if torch.compiler.is_compiling() and config is None:
        given = _as_tensors(block_mask)
        whole: tuple[torch.Tensor, torch.Tensor] = _whole(
            q, k, v, *given, block_q, block_k, problem.left, problem.right, problem.scale, problem.softcap
        )
        return whole
    config = config or configs.shipped("block_sparse", problem)
    block_q, block_k = checks.positive("block_q", block_q), checks.power_of_2("block_k", block_k)
    tile = tiles(problem, config, block_q, block_k)
    o, lse = outputs(problem, q)
    if problem.nothing:
        return o.zero_(), lse.fill_(-torch.inf)
    shape = -(-problem.n // tile.block_q), -(-problem.m // tile.block_n)
    if isinstance(block_mask, tuple):
        starts, columns = _checked(block_mask, shape, q.device)
    else:
        starts, columns = csr(q, k, block_mask, block_q=block_q, block_k=block_k, causal=causal, window=window)
    by_queries, tma_q = fetched(config.descriptors and tile.plain, tile.block_m, Q=q, O=o)
    by_keys, tma = fetched(config.descriptors, tile.block_n, K=k, V=v)
    launch(
        block_sparse_kernel,
        grid(problem, shape[0]),
        problem,
        config.options,
        **by_queries,
        **by_keys,
        starts=starts,
        columns=columns,
        LSE=lse,
        **strides(q=q, k=k, v=v, o=o),
        **arguments(block_sparse_kernel, problem, tile),
        TMA_Q=tma_q,
        TMA=tma,
    )
    return o, lse


def _as_tensors(block_mask: Any) -> tuple[str, torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """A block mask as an operation of torch can be given it: by name, or as a tensor, or starts and columns."""
    if isinstance(block_mask, str):
        return block_mask, None, None, None
    if isinstance(block_mask, tuple) and len(block_mask) == 2:
        return "", None, *block_mask
    return "", torch.as_tensor(block_mask), None, None


@torch.library.custom_op("flashsteps::block_sparse", mutates_args=())
def _whole(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    name: str,
    visited: torch.Tensor | None,
    starts: torch.Tensor | None,
    columns: torch.Tensor | None,
    block_q: int,
    block_k: int,
    left: int,
    right: int,
    scale: float,
    softcap: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as one operation, which torch.compile sees from outside."""
    mask: Any = name or (visited.cpu().numpy() if visited is not None else (starts, columns))
    return block_sparse(q, k, v, mask, block_q=block_q, block_k=block_k, window=(left, right), scale=scale,
                        softcap=softcap or None)  # fmt: skip


@_whole.register_fake
def _whole_shapes(q: Any, k: Any, v: Any, *rest: Any) -> Any:
    return like(q, v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


def csr(
    q: torch.Tensor,
    k: torch.Tensor,
    block_mask: Any,
    *,
    block_q: int,
    block_k: int,
    causal: bool = False,
    window: tuple[int, int] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """starts (blocks of queries + 1,) and columns (tiles visited,), int32, on q's device, for `block_sparse`.

    Raises ValueError for a block mask of another shape, or one that isn't known.
    """
    n, m = q.shape[2], k.shape[2]
    left, right = checks.bounds(n, m, causal, window)
    mask = masks.parse(None if left == right == -1 else f"window:{left},{right}", n, m)
    lists = block_masks.parse(block_mask, mask, min(block_q, n), min(block_k, m)).lists()
    starts, columns = (torch.from_numpy(lists[name]).to(q.device) for name in ("starts", "columns"))
    return starts, columns


def _checked(given: tuple[Any, ...], shape: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """starts and columns, as given. Raises ValueError where they would send a program outside of the tensors."""
    if len(given) != 2:
        raise ValueError(f"block_mask has {len(given)} tensors: give (starts, columns), as csr makes them")
    starts, columns = given
    checks.shaped("block_mask[0]", starts, (shape[0] + 1,), torch.int32, device)
    checks.shaped("block_mask[1]", columns, (columns.numel(),), torch.int32, device)
    ends = starts[0] == 0, starts[-1] == columns.numel(), (starts[1:] >= starts[:-1]).all()
    if not (all(ends) and ((columns >= 0) & (columns < shape[1])).all()):
        raise ValueError(
            f"block_mask lists tiles that are not there: there are {shape[0]} × {shape[1]}; make it by csr"
        )
    return starts.contiguous(), columns.contiguous()
