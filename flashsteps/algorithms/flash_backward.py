"""FlashAttention backward: P is made again on chip, from ℓ and m; keys outside, queries inside (FA1, Algorithm 4).

As printed: dQ lives in HBM, comes in and goes out once for each block of keys. The forward pass saved O, ℓ and m.
Elements moved, with the writes that set dQ, dK and dV up: 4Md + Tc(5Nd + 2N) + Nd + 2Md for N queries and M keys in Tc
blocks.
"""

import numpy as np

from ..machine.arrays import Array, div_sum, exp_sub
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "FlashAttention", "backward"
SAVED_BY = "flash-forward"
NEEDS = {"bias": "bias"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    O: Tensor,
    l: Tensor,
    m: Tensor,
    dO: Tensor,
    bias: Tensor | None = None,
    *,
    block_q: int,
    block_k: int,
    mask: Mask,
    scale: float,
    softcap: float | None = None,
    dropout: Dropout | None = None,
) -> dict[str, Array]:
    """Gradients, tile by tile. Q, dQ (N, d), O, dO (N, d_v), K, dK (M, d), V, dV (M, d_v), ℓ and m (N,)."""
    (N, d), (M, d_v) = Q.shape, V.shape
    dQ, dK, dV = hbm.empty("dQ", (N, d)), hbm.empty("dK", (M, d)), hbm.empty("dV", (M, d_v))
    sram.store(dQ.all, 0.0)  # All gradients start in HBM, from 0.
    sram.store(dK.all, 0.0)
    sram.store(dV.all, 0.0)

    for j in sram.loop("j", K.blocks(block_k)):
        k = sram.load(K[j])  # A block of keys and values comes in, and stays for all queries.
        v = sram.load(V[j])
        dk = sram["dk"] = sram.full((len(j), d), 0.0)  # Their gradients are summed on chip.
        dv = sram["dv"] = sram.full((len(j), d_v), 0.0)
        for i in sram.loop("i", Q.blocks(block_q), mask.column(j)):
            q = sram.load(Q[i])  # Queries come in with their output, its gradient, and dQ so far.
            o = sram.load(O[i])
            do = sram.load(dO[i])
            dq = sram.load(dQ[i])
            l_i = sram.load(l[i], "l_i")  # Two numbers a row are all that is left of the softmax.
            m_i = sram.load(m[i], "m_i")
            s = sram["S"] = q @ k.T * scale  # The scores are made again, for none were kept.
            if softcap:
                c = sram["C"] = np.tanh(s / softcap)  # Softcap: no score grows past it, and changes less.
                s = sram["S"] = softcap * c
            if bias:
                b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                s = sram["S"] = s + b
            if i.cut:
                s = sram["S"] = s + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
            p = sram["P"] = div_sum(exp_sub(s, m_i[:, None]), l_i[:, None])  # P, as it was, from ℓ and m.
            w = p
            if dropout:
                w = sram["W"] = p * sram.kept(dropout, i, j)  # Dropped as they were: the seed says which.
            dv = sram["dv"] = dv + w.T @ do  # Each value's gradient: what it gave, weighted as it was.
            dp = sram["dP"] = do @ v.T  # How the loss would change with each weight, and with each score.
            if dropout:
                dp = sram["dP"] = dp * sram.kept(dropout, i, j)
            D_i = sram["D"] = (do * o).sum(axis=1)
            ds = sram["dS"] = p * (dp - D_i[:, None])
            if softcap:
                ds = sram["dS"] = ds * (1 - c * c)
            dq = sram["dq"] = dq + ds @ k * scale  # The gradient dQ takes in this tile, and goes back to HBM.
            sram.store(dQ[i], dq)
            dk = sram["dk"] = dk + ds.T @ q * scale  # The gradient dK takes in this tile, and stays on chip.
        sram.store(dK[j], dk)  # All queries seen: these keys and values are done.
        sram.store(dV[j], dv)
    return {"dQ": dQ.data, "dK": dK.data, "dV": dV.data}
