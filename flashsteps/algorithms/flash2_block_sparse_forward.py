"""Block-sparse attention in FlashAttention-2's order: a list says which keys each program visits (FA1, Algorithm 5).

FA1 has the block mask in its own order; kernels since then (FlexAttention's, say) have it so. The list is two tensors:
`columns`, the blocks of keys of all tiles visited, row by row, and `starts`, where each row's begin; 4 bytes an entry.
Elements moved: 2Nd + N, and 2Bc·d for each of nnz tiles of Bc keys; entries of the list: 2Tr + nnz.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.block_masks import BlockMask
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "block-sparse FlashAttention-2", "forward"
NEEDS = {"bias": "bias", "sinks": "sinks"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    starts: Tensor,
    columns: Tensor,
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
    """O = softmax(Q Kᵀ · scale) V over tiles visited. Q (N, d), K (M, d), V (M, d_v); gives O (N, d_v) and LSE (N,)."""
    N, d_v = Q.shape[0], V.shape[1]
    O, LSE = hbm.empty("O", (N, d_v)), hbm.empty_statistics("LSE", (N,))

    for i in sram.programs("i", Q.blocks(block_q)):
        q = sram.load(Q[i])  # Each program keeps its own block of queries.
        sram.load(starts[block_mask.bounds(i)], "listed")  # Where the list of their blocks of keys begins and ends.
        m_i = sram["m_i"] = sram.full((len(i),), -np.inf)  # Max, sum and output start on chip, and stay there.
        l_i = sram["l_i"] = sram.full((len(i),), 0.0)
        if sinks:
            sink = sram.load(sinks[i], "sink")  # A sink comes in: a logit that takes its share and has no value.
            m_i = sram["m_i"] = sink
            l_i = sram["l_i"] = sram.full((len(i),), 1.0)
        acc = sram["acc"] = sram.full((len(i), d_v), 0.0)
        for j in sram.loop("j", K.blocks(block_k), block_mask.row(i)):
            sram.load(columns[block_mask.entry(i, j)], "column")  # The list says which keys and values come next.
            k = sram.load(K[j])
            v = sram.load(V[j])
            s = sram["S"] = q @ k.T * scale  # One tile of scores, made on chip. It never goes to HBM.
            if softcap:
                s = sram["S"] = softcap * np.tanh(s / softcap)  # Softcap: no score grows past it.
            if bias:
                b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                s = sram["S"] = s + b
            if j.cut:
                s = sram["S"] = s + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
            m_old = m_i
            m_i = sram["m_i"] = np.maximum(m_i, s.max(axis=1))  # The running max of each row, so far.
            alpha = sram["alpha"] = exp_sub(m_old, m_i)
            p = sram["P"] = exp_sub(s, m_i[:, None])  # Exponentials, taken against the max so far.
            l_i = sram["l_i"] = alpha * l_i + p.sum(axis=1)  # Old sum and output shrink by α; this tile is added.
            if dropout:
                p = sram["P"] = p * sram.kept(dropout, i, j)
            acc = sram["acc"] = alpha[:, None] * acc + p @ v
        o = sram["acc"] = div_sum(acc, l_i[:, None])  # All tiles visited: divide by the sum, once.
        sram.store(O[i], o)  # The output goes out, once, with one number a row: LSE.
        lse = sram["LSE"] = m_i + np.log(l_i)
        sram.store(LSE[i], lse)
    return {"O": O.data, "LSE": LSE.data}
