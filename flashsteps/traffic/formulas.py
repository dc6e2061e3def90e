"""The published closed forms: what attention moves, by arithmetic alone; the second opinion on every count.

N queries and M keys of size d, in blocks of block_q and block_k (the papers' Br and Bc), one head; values have d_v
numbers, d unless given. FA1 is arXiv:2205.14135, FA2 is arXiv:2307.08691. The papers write M = N and d_v = d; the forms
here hold for all, but for FA1's blocks, Theorem 2 and Figure 2, which are as published: for d alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Elements(NamedTuple):
    """How many numbers move between HBM and SRAM: those of Q, K, V, O, S and P, and those of m, ℓ and LSE."""

    matrices: int
    statistics: int = 0

    @property
    def total(self) -> int:
        return self.matrices + self.statistics

    def nbytes(self, itemsize: int = 2, statistics_itemsize: int = 4) -> int:
        """The same in bytes: fp16 and fp32 unless told otherwise."""
        return self.matrices * itemsize + self.statistics * statistics_itemsize


# ---- a forward pass


def standard_forward(N: int, M: int, d: int, d_v: int | None = None) -> Elements:
    """4Nd + 4N²: reads Q, K, V, S, P, writes S, P, O, each once (FA1, Algorithm 0), whatever the mask."""
    return Elements((N + M) * (d + (d_v or d)) + 4 * N * M)


def flash_forward(
    N: int, M: int, d: int, block_q: int, block_k: int, causal: bool = False, d_v: int | None = None
) -> Elements:
    """2Nd + Tc(3Nd + 4N), and Nd + 2N to set O, ℓ and m up (FA1, Algorithm 1).

    K and V come once. For each block of keys, Q and O come and O goes, ℓ and m come and go; with the causal mask, only
    for the queries from the block on in which the first of these keys is seen.
    """
    e, rows = d_v or d, _rows(N, M, block_q, block_k, causal)
    return Elements(M * (d + e) + rows * (d + 2 * e) + N * e, 4 * rows + 2 * N)


def flash2_forward(
    N: int, M: int, d: int, block_q: int, block_k: int, causal: bool = False, d_v: int | None = None
) -> Elements:
    """2Nd + 2·Tr·Nd + N (FA2, Algorithm 1).

    Q comes once, O and LSE go once. For each block of queries, K and V come; with the causal mask, only up to the block
    of keys that the last of these queries still sees.
    """
    return Elements((N + _keys(N, M, block_q, block_k, causal)) * (d + (d_v or d)), N)


def grouped_forward(
    N: int,
    M: int,
    d: int,
    block_q: int,
    block_k: int,
    heads: int,
    kv_heads: int,
    causal: bool = False,
    d_v: int | None = None,
) -> Elements:
    """heads·(2Nd + N) + kv_heads·2·Tr·Nd: FA2 with grouped queries, where a group shares each tile of K and V.

    Without sharing, each head brings in its own: 2·Tr·Nd for each of `heads` (arXiv:2305.13245).
    """
    rows = heads * N + kv_heads * _keys(N, M, block_q, block_k, causal)
    return Elements(rows * (d + (d_v or d)), heads * N)


def block_sparse_forward(
    N: int, M: int, d: int, block_q: int, visited: Sequence[Sequence[bool]], d_v: int | None = None
) -> Elements:
    """2Nd + nnz·(3Br·d + 4Br), and Nd + 2N to set O, ℓ and m up (FA1, Algorithm 5).

    K and V come once, for every block of keys. `visited` (query blocks, key blocks) says which tiles are; the last
    block of queries may be short.
    """
    e = d_v or d
    rows = sum(min(block_q, N - i * block_q) * sum(map(bool, row)) for i, row in enumerate(visited))
    return Elements(M * (d + e) + rows * (d + 2 * e) + N * e, 4 * rows + 2 * N)


def flash2_block_sparse_forward(
    N: int, M: int, d: int, block_k: int, visited: Sequence[Sequence[bool]], d_v: int | None = None
) -> tuple[Elements, int]:
    """2Nd + N, and 2Bc·d for each of nnz tiles; and 2Tr + nnz entries of the list of tiles (4 bytes each).

    `visited` (query blocks, key blocks) says which tiles are; the last block of keys may be short. Derived here.
    """
    keys = sum(min(block_k, M - j * block_k) for row in visited for j, there in enumerate(row) if there)
    return Elements((N + keys) * (d + (d_v or d)), N), 2 * len(visited) + sum(sum(map(bool, row)) for row in visited)


def split_kv_decode(
    N: int, M: int, d: int, block_q: int, block_k: int, splits: int, d_v: int | None = None
) -> Elements:
    """S·Nd + 2·Tr·Md + Nd + N, and 2·S·N(d + 1) for partial results in fp32, of S pieces (Flash-Decoding).

    S is `splits`, or less: pieces are equally many blocks of keys.
    """
    e, S = d_v or d, pieces(M, block_k, splits)
    return Elements(S * N * d + N * e + ceil(N, block_q) * M * (d + e), 2 * S * N * (e + 1) + N)


def pieces(M: int, block_k: int, splits: int) -> int:
    """Into how many pieces of whole blocks M keys are shared out, where `splits` are asked for: by ceil division."""
    blocks = ceil(M, block_k)
    return ceil(blocks, ceil(blocks, splits))


def paged_decode(N: int, M: int, d: int, block_q: int, page: int = 16, d_v: int | None = None) -> tuple[Elements, int]:
    """2Nd + 2·Tr·Md + N as FA2, and Tr·Tc entries of the block table, which are addresses (4 bytes each)."""
    return Elements((N + ceil(N, block_q) * M) * (d + (d_v or d)), N), ceil(N, block_q) * ceil(M, page)


def bias(N: int, M: int, block_q: int, block_k: int, causal: bool = False) -> int:
    """NM: each number of a bias comes in once, where a tile is seen; derived here. FA2's backward pass has it twice."""
    if not causal:
        return N * M
    widths = [
        min(M, block_k * ceil(max(0, min(N, start + block_q) + M - N), block_k)) for start in range(0, N, block_q)
    ]
    return sum(min(block_q, N - i * block_q) * width for i, width in enumerate(widths))


def _rows(N: int, M: int, block_q: int, block_k: int, causal: bool) -> int:
    """Queries that come in for all blocks of keys together."""
    if not causal:
        return N * ceil(M, block_k)
    return sum(N - block_q * (max(0, key + N - M) // block_q) for key in range(0, M, block_k))


def _keys(N: int, M: int, block_q: int, block_k: int, causal: bool) -> int:
    """Keys that come in for all blocks of queries together."""
    if not causal:
        return M * ceil(N, block_q)
    seen = [max(0, min(N, start + block_q) + M - N) for start in range(0, N, block_q)]
    return sum(min(M, block_k * ceil(last, block_k)) for last in seen)


def forward_flops(N: int, M: int, d: int, d_v: int | None = None) -> int:
    """4NMd: S = QKᵀ and O = PV, without a mask; to multiply and to add are two (FA2, section 4.1)."""
    return 2 * N * M * (d + (d_v or d))


# ---- a backward pass


def standard_backward(N: int, M: int, d: int, d_v: int | None = None) -> Elements:
    """8Nd + 7N²: P and dS are read twice, dP once, both dP and dS are written, dO is read twice (FA1, Algorithm 3)."""
    return Elements(2 * (N + M) * (d + (d_v or d)) + 7 * N * M)


def flash_backward(
    N: int, M: int, d: int, block_q: int, block_k: int, causal: bool = False, d_v: int | None = None
) -> Elements:
    """4Nd + Tc(5Nd + 2N), and 3Nd to set dQ, dK and dV up (FA1, Algorithm 4).

    K and V come and dK and dV go once. For each block of keys, Q, O, dO and dQ come and dQ goes, ℓ and m come.
    """
    e, rows = d_v or d, _rows(N, M, block_q, block_k, causal)
    return Elements(3 * M * (d + e) + rows * (3 * d + 2 * e) + N * d, 2 * rows)


def flash2_backward(
    N: int, M: int, d: int, block_q: int, block_k: int, causal: bool = False, d_v: int | None = None
) -> Elements:
    """9Nd + 3N + Tc(2Nd + 2N) + 2·Tr·Nd: FA2, Algorithm 2, in three kernels, derived here.

    D: O and dO come, D goes. dK and dV: K and V come, dK and dV go, and for each block of keys Q, dO, LSE and D come.
    dQ: Q, dO, LSE and D come, dQ goes, and for each block of queries K and V come.
    """
    e = d_v or d
    rows, keys = (streamed(N, M, block_q, block_k, causal) for streamed in (_rows, _keys))
    return Elements(N * (2 * d + 3 * e) + (2 * M + rows + keys) * (d + e), 3 * N + 2 * rows)


def backward_flops(N: int, M: int, d: int, products: int = 5, d_v: int | None = None) -> int:
    """10NMd, 2.5 times a forward pass: S, dP, dV, dQ and dK (FA2, section 4.1).

    `products` is 4 where P was saved, and 7 where two kernels make S and dP, each for itself. Half of them, rounded
    down, are dP and dV, over the size of a value.
    """
    of_values = products // 2
    return 2 * N * M * ((products - of_values) * d + of_values * (d_v or d))


# ---- what follows from them


def flash_blocks(sram: int, d: int) -> tuple[int, int]:
    """block_q and block_k for an SRAM of so many elements: min(⌈M/4d⌉, d) and ⌈M/4d⌉ (FA1, Algorithm 1, line 1).

    The 4 blocks that share it are of q, k, v and O, each d wide: it says nothing of values of another size.
    """
    width = ceil(sram, 4 * d)
    return min(width, d), width


def theorem_2(N: int, d: int, sram: int) -> tuple[float, float]:
    """Nd + N² for standard attention, N²d²/M for FlashAttention, M being SRAM's elements: FA1, Theorem 2.

    Orders of growth, without their constants. Raises ValueError outside d ≤ M ≤ Nd, where the theorem says nothing.
    """
    if not d <= sram <= N * d:
        raise ValueError(f"an SRAM of {sram:,} elements is outside d … Nd = {d:,} … {N * d:,}: Theorem 2 is for those")
    return N * d + N * N, N * N * d * d / sram


def flash_level(d: int, itemsize: int = 2, statistics_itemsize: int = 4, d_v: int | None = None) -> float:
    """The block_k from which FA1 moves less than standard attention as N grows: 0.75d + 2 at fp16.

    Per query and key, FA1 moves (d + 2d_v + 4 statistics) / Bc and standard attention 4 elements: the terms in N² of
    `flash_forward` and `standard_forward`, set equal.
    """
    return (d + 2 * (d_v or d)) / 4 + statistics_itemsize / itemsize


def flash2_level(d: int, d_v: int | None = None) -> float:
    """The block_q from which FA2 moves less than standard attention as N grows: d/2, from (d + d_v)/Br against 4."""
    return (d + (d_v or d)) / 4


def figure_2_middle(N: int, d: int, block_k: int) -> Elements:
    """(1 + 3Tc)·Nd, as FA1's Figure 2, middle, counts Algorithm 1: no ℓ and m, no set-up, no first read of O."""
    return Elements((1 + 3 * ceil(N, block_k)) * N * d)


#: how often an N×N matrix moves in FA1's Figure 2, left, where attention is standard: scores, weights, mask, dropout,
#: and their gradients
FIGURE_2_LEFT_PASSES = 18


def figure_2_left_standard(N: int, d: int) -> Elements:
    """18N² + 12Nd: standard attention in FA1's Figure 2, left, with mask and dropout, forward and backward.

    A fit to the published 40.3 GB, no count of an algorithm that was printed.
    """
    return Elements(FIGURE_2_LEFT_PASSES * N * N + 12 * N * d)


def ceil(a: int, b: int) -> int:
    """⌈a / b⌉, exact for any size."""
    return -(-a // b)
