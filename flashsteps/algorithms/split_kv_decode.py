"""Decoding with split keys: few queries, so the keys are shared out, and a second kernel merges (Flash-Decoding).

Each program sees one piece of the keys and stores what it has as fp32: an output and an LSE. Pieces are whole blocks of
keys, by ceil division, so there can be fewer than asked for. Elements moved for N queries, M keys and S pieces:
S·Nd + 2·Tr·Md + Nd + N, and 2·S·N(d + 1) for the partial results. Source: pytorch.org/blog/flash-decoding.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "split-KV decoding", "forward"
DECODES = True
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
    splits: int = 8,
    mask: Mask,
    scale: float,
    softcap: float | None = None,
) -> dict[str, Array]:
    """O = softmax(Q Kᵀ · scale) V, in pieces. Q (N, d), K (M, d), V (M, d_v); gives O (N, d_v) and LSE (N,)."""
    N, d_v = Q.shape[0], V.shape[1]
    pieces = K.pieces(splits, block_k)
    O, LSE = hbm.empty("O", (N, d_v)), hbm.empty_statistics("LSE", (N,))
    O_s = hbm.empty_statistics("O_s", (len(pieces) * N, d_v))
    LSE_s = hbm.empty_statistics("LSE_s", (len(pieces) * N,))

    for i in sram.loop("i", Q.blocks(block_q)):
        for s in sram.programs("s", pieces):
            q = sram.load(Q[i])  # Each program has the same queries, and one piece of the keys.
            m_i = sram["m_i"] = sram.full((len(i),), -np.inf)  # Max, sum and output start on chip, and stay there.
            l_i = sram["l_i"] = sram.full((len(i),), 0.0)
            acc = sram["acc"] = sram.full((len(i), d_v), 0.0)
            for j in sram.loop("j", s.blocks(block_k), mask.row(i)):
                k = sram.load(K[j])  # The keys and values of this piece stream past, block by block.
                v = sram.load(V[j])
                x = sram["S"] = q @ k.T * scale  # One tile of scores, made on chip. It never goes to HBM.
                if softcap:
                    x = sram["S"] = softcap * np.tanh(x / softcap)  # Softcap: no score grows past it.
                if bias:
                    b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                    x = sram["S"] = x + b
                if j.cut:
                    x = sram["S"] = x + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
                m_old = m_i
                m_i = sram["m_i"] = np.maximum(m_i, x.max(axis=1))  # The running max of each row, so far.
                alpha = sram["alpha"] = exp_sub(m_old, m_i)
                p = sram["P"] = exp_sub(x, m_i[:, None])  # Exponentials, taken against the max so far.
                l_i = sram["l_i"] = alpha * l_i + p.sum(axis=1)  # Old sum and output shrink by α; this tile is added.
                acc = sram["acc"] = alpha[:, None] * acc + p @ v
            o = sram["acc"] = div_sum(acc, l_i[:, None])  # This piece is done: attention over its keys alone.
            sram.store(O_s[i.below(s.index * N)], o)  # Its output and LSE go out, in fp32, to be merged.
            lse = sram["LSE"] = m_i + np.log(l_i)
            sram.store(LSE_s[i.below(s.index * N)], lse)

    for i in sram.programs("i", Q.blocks(block_q)):
        m_i = sram["m_i"] = sram.full((len(i),), -np.inf)  # The second kernel merges, as tiles are merged.
        l_i = sram["l_i"] = sram.full((len(i),), 0.0)
        if sinks:
            sink = sram.load(sinks[i], "sink")  # A sink comes in: a logit that takes its share and has no value.
            m_i = sram["m_i"] = sink
            l_i = sram["l_i"] = sram.full((len(i),), 1.0)
        acc = sram["acc"] = sram.full((len(i), d_v), 0.0)
        for s in sram.loop("s", pieces.all):
            o = sram.load(O_s[i.below(s.index * N)], "o")  # One piece after another comes in.
            lse = sram.load(LSE_s[i.below(s.index * N)], "lse")
            m_old = m_i
            m_i = sram["m_i"] = np.maximum(m_i, lse)  # The larger LSE wins: α shrinks what was merged before.
            alpha = sram["alpha"] = exp_sub(m_old, m_i)
            w = sram["w"] = exp_sub(lse, m_i)  # How much this piece weighs.
            l_i = sram["l_i"] = alpha * l_i + w
            acc = sram["acc"] = alpha[:, None] * acc + w[:, None] * o
        o = sram["acc"] = div_sum(acc, l_i[:, None])  # All pieces merged: divide by the sum of their weights.
        sram.store(O[i], o)  # The output goes out, with the LSE over all keys.
        total = sram["LSE"] = m_i + np.log(l_i)
        sram.store(LSE[i], total)
    return {"O": O.data, "LSE": LSE.data}
