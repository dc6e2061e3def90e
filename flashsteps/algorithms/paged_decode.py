"""Decoding from a paged cache: a block table says where each page of keys and values lies (PagedAttention).

Keys and values lie in pages of 16 in a pool that others use too; `block_k` is the size of a page. Only the rows in use
of the last page are read. Elements moved for N queries in Tr blocks and M keys in Tc pages: 2Nd + 2·Tr·Md + N, and
Tr·Tc entries of the table, 4 bytes each. Source: arXiv:2309.06180, section 4.1.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor
from ..machine.tiling import Blocks

TITLE, DIRECTION = "paged decoding", "forward"
DECODES = True
NEEDS = {"bias": "bias", "sinks": "sinks"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    table: Tensor,
    bias: Tensor | None = None,
    sinks: Tensor | None = None,
    *,
    block_q: int,
    block_k: int = 16,
    mask: Mask,
    scale: float,
    softcap: float | None = None,
) -> dict[str, Array]:
    """O = softmax(Q Kᵀ · scale) V. Q (N, d), K (pool's rows, d), V (…, d_v), table (pages,). O (N, d_v), LSE (N,)."""
    N, d_v = Q.shape[0], V.shape[1]
    O, LSE = hbm.empty("O", (N, d_v)), hbm.empty_statistics("LSE", (N,))

    for i in sram.programs("i", Q.blocks(block_q)):
        q = sram.load(Q[i])  # Each program keeps its own queries: when decoding, one.
        m_i = sram["m_i"] = sram.full((len(i),), -np.inf)  # Max, sum and output start on chip, and stay there.
        l_i = sram["l_i"] = sram.full((len(i),), 0.0)
        if sinks:
            sink = sram.load(sinks[i], "sink")  # A sink comes in: a logit that takes its share and has no value.
            m_i = sram["m_i"] = sink
            l_i = sram["l_i"] = sram.full((len(i),), 1.0)
        acc = sram["acc"] = sram.full((len(i), d_v), 0.0)
        for j in sram.loop("j", Blocks(mask.n_keys, block_k), mask.row(i)):
            page = sram.lookup(table, j, block_k)  # The block table says which page of the pool comes next.
            k = sram.load(K[page])  # That page of keys and values comes in, wherever it lies.
            v = sram.load(V[page])
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
            l_i = sram["l_i"] = alpha * l_i + p.sum(axis=1)  # Old sum and output shrink by α; this page is added.
            acc = sram["acc"] = alpha[:, None] * acc + p @ v
        o = sram["acc"] = div_sum(acc, l_i[:, None])  # All pages seen: divide by the sum, once.
        sram.store(O[i], o)  # The output goes out, with one number a row: LSE.
        lse = sram["LSE"] = m_i + np.log(l_i)
        sram.store(LSE[i], lse)
    return {"O": O.data, "LSE": LSE.data}
