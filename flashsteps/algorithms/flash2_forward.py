"""FlashAttention-2 forward: one program for each block of queries, keys and values stream past (FA2, Algorithm 1).

The output stays on chip until it is done, is divided by ℓ once, and O and LSE are stored once. Elements moved:
2Nd + 2·Tr·Md + N for N queries in Tr blocks and M keys.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "FlashAttention-2", "forward"
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
    mask: Mask,
    scale: float,
    softcap: float | None = None,
    dropout: Dropout | None = None,
) -> dict[str, Array]:
    """O = softmax(Q Kᵀ · scale) V, tile by tile. Q (N, d), K (M, d), V (M, d_v); gives O (N, d_v) and LSE (N,)."""
    N, d_v = Q.shape[0], V.shape[1]
    O, LSE = hbm.empty("O", (N, d_v)), hbm.empty_statistics("LSE", (N,))

    for i in sram.programs("i", Q.blocks(block_q)):
        q = sram.load(Q[i])  # Each program keeps its own block of queries.
        m_i = sram["m_i"] = sram.full((len(i),), -np.inf)  # Max, sum and output start on chip, and stay there.
        l_i = sram["l_i"] = sram.full((len(i),), 0.0)
        if sinks:
            sink = sram.load(sinks[i], "sink")  # A sink comes in: a logit that takes its share and has no value.
            m_i = sram["m_i"] = sink
            l_i = sram["l_i"] = sram.full((len(i),), 1.0)
        acc = sram["acc"] = sram.full((len(i), d_v), 0.0)
        for j in sram.loop("j", K.blocks(block_k), mask.row(i)):
            k = sram.load(K[j])  # Keys and values stream past, block by block.
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
            alpha = sram["alpha"] = exp_sub(m_old, m_i)  # α: how much all that was summed before must shrink.
            p = sram["P"] = exp_sub(s, m_i[:, None])  # Exponentials, taken against the max so far.
            l_i = sram["l_i"] = alpha * l_i + p.sum(axis=1)  # Old sum and output shrink by α; this tile is added.
            if dropout:
                p = sram["P"] = p * sram.kept(dropout, i, j)
            acc = sram["acc"] = alpha[:, None] * acc + p @ v
        o = sram["acc"] = div_sum(acc, l_i[:, None])  # All keys seen: divide by the sum, once.
        sram.store(O[i], o)  # The output goes out, once, with one number a row: LSE.
        lse = sram["LSE"] = m_i + np.log(l_i)
        sram.store(LSE[i], lse)
    return {"O": O.data, "LSE": LSE.data}
