"""Block-sparse FlashAttention forward: as FlashAttention, but most tiles are never visited (FA1, Algorithm 5).

A block mask says which tiles are. Keys and values come in for each block of keys all the same. Elements moved, with the
writes that set O, ℓ and m up: 2Md + nnz·(3Br·d + 4Br) + Nd + 2N for N queries, M keys and nnz tiles of Br queries.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.block_masks import BlockMask
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "block-sparse FlashAttention", "forward"
NEEDS = {"bias": "bias", "sinks": "sinks"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    bias: Tensor | None = None,
    sinks: Tensor | None = None,
    *,
    block_q: int,
    block_k: int,
    block_mask: BlockMask,
    mask: Mask,
    scale: float,
    softcap: float | None = None,
    dropout: Dropout | None = None,
) -> dict[str, Array]:
    """O = softmax(Q Kᵀ · scale) V over tiles visited. Q (N, d), K (M, d), V (M, d_v); gives O (N, d_v), m, ℓ (N,)."""
    N, d_v = Q.shape[0], V.shape[1]
    O = hbm.empty("O", (N, d_v))
    l, m = hbm.empty_statistics("l", (N,)), hbm.empty_statistics("m", (N,))
    sram.store(O.all, 0.0)  # O, ℓ and m start in HBM: 0, 0 and −∞.
    if sinks:
        sram.store(l.all, 1.0)  # With sinks each row starts with one: a logit that takes its share, and has no value.
        for i in sram.loop("i", Q.blocks(block_q)):
            sink = sram.load(sinks[i], "sink")
            m_i = sram["m_i"] = sink
            sram.store(m[i], m_i)
    else:
        sram.store(l.all, 0.0)
        sram.store(m.all, -np.inf)

    for j in sram.loop("j", K.blocks(block_k)):
        k = sram.load(K[j])  # A block of keys and values comes in, even if few queries will see it.
        v = sram.load(V[j])
        for i in sram.loop("i", Q.blocks(block_q), block_mask.column(j)):
            q = sram.load(Q[i])  # Only queries whose tile the block mask has come in, with O, ℓ and m.
            o = sram.load(O[i])
            l_i = sram.load(l[i], "l_i")
            m_i = sram.load(m[i], "m_i")
            s = sram["S"] = q @ k.T * scale  # One tile of scores, made on chip. It never goes to HBM.
            if softcap:
                s = sram["S"] = softcap * np.tanh(s / softcap)  # Softcap: no score grows past it.
            if bias:
                b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                s = sram["S"] = s + b
            if i.cut:
                s = sram["S"] = s + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
            m_ij = sram["m_ij"] = s.max(axis=1)  # This tile's own max, exponentials and sum.
            p = sram["P"] = exp_sub(s, m_ij[:, None])
            l_ij = sram["l_ij"] = p.sum(axis=1)
            if dropout:
                p = sram["P"] = p * sram.kept(dropout, i, j)  # Weights are dropped after they were summed.
            m_new = sram["m_new"] = np.maximum(m_i, m_ij)  # The larger max wins: α shrinks the old sum, β the tile's.
            alpha = sram["alpha"] = exp_sub(m_i, m_new)
            beta = sram["beta"] = exp_sub(m_ij, m_new)
            l_new = sram["l_new"] = alpha * l_i + beta * l_ij
            old = (l_i * alpha)[:, None] * o
            new = beta[:, None] * (p @ v)
            o = sram["o"] = div_sum(old + new, l_new[:, None])  # O is shrunk by α, and takes in this tile.
            sram.store(O[i], o)  # O, ℓ and m go back to HBM, until the next keys.
            sram.store(l[i], l_new)
            sram.store(m[i], m_new)
    return {"O": O.data, "m": m.data, "l": l.data}
