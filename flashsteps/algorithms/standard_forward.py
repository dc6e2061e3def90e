"""Standard attention: S and P go out to HBM and come back (FA1, Algorithm 0).

Each matrix product reads its operands once, as the paper counts: an ideal product, so the capacity of SRAM is not held
against it. Elements moved: 2Nd + 2Md + 4NM for N queries and M keys, and a mask saves nothing.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "standard attention", "forward"
IDEAL_PRODUCTS = True
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
    """O = softmax(Q Kᵀ · scale) V in three kernels. Q (N, d), K (M, d), V (M, d_v); gives O (N, d_v), m and ℓ (N,)."""
    N, M, d_v = Q.shape[0], K.shape[0], V.shape[1]
    S, P, O = hbm.empty("S", (N, M)), hbm.empty("P", (N, M)), hbm.empty("O", (N, d_v))
    m, l = [], []

    sram.launch()
    k = sram.gather(K, block_k)  # First kernel, the scores: bring in all keys, block by block.
    for i in sram.loop("i", Q.blocks(block_q)):
        q = sram.load(Q[i])  # Then the queries: each operand is read just once.
        s = sram["S"] = q @ k.T * scale  # Every score of these queries, against every key.
        sram.store(S[i], s)  # S has a number for each query and key: too large to stay, it goes out.

    sram.launch()
    for i in sram.loop("i", Q.blocks(block_q)):
        s = sram.load(S[i], "S")  # Second kernel, softmax: all of S comes back from HBM.
        if softcap:
            s = sram["S"] = softcap * np.tanh(s / softcap)  # Softcap: no score grows past it.
        if bias:
            b = sram.load(bias[i])  # A bias comes in, as large as S: one number for each score, to be added.
            s = sram["S"] = s + b
        if mask.hides:
            s = sram["S"] = s + sram.bias(mask, i, K.all)  # Keys that a query may not see get −∞. It saves no bytes.
        m_i = sram["m_i"] = s.max(axis=1)  # The largest score of each row, to subtract: no overflow.
        if sinks:
            sink = sram.load(sinks[i], "sink")  # A sink comes in: a logit that takes its share and has no value.
            m_i = sram["m_i"] = np.maximum(m_i, sink)
        p = sram["P"] = exp_sub(s, m_i[:, None])  # Exponentials: now every weight is from 0 to 1.
        l_i = sram["l_i"] = p.sum(axis=1)  # Each row's sum. Divided by it, weights add up to 1.
        if sinks:
            l_i = sram["l_i"] = l_i + exp_sub(sink, m_i)
        p = sram["P"] = div_sum(p, l_i[:, None])
        sram.store(P[i], p)  # P is just as large as S, and goes out to HBM too.
        m.append(m_i)
        l.append(l_i)

    sram.launch()
    v = sram.gather(V, block_k)  # Third kernel, the output: bring in all values.
    for i in sram.loop("i", Q.blocks(block_q)):
        p = sram.load(P[i], "P")  # All of P comes back from HBM.
        if dropout:
            p = sram["P"] = p * sram.kept(dropout, i, K.all)  # Weights are dropped: which, the seed says.
        o = sram["O"] = p @ v  # Values, weighted: the output of these queries.
        sram.store(O[i], o)  # Done: O goes out to HBM.
    return {"O": O.data, "m": m, "l": l}
