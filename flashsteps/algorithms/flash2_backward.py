"""FlashAttention-2 backward in three kernels: one makes D, one dK and dV, one dQ, from LSE (FA2, Algorithm 2).

Algorithm 2 adds to dQ in HBM inside its loop over keys; here, as in Triton's kernels, programs of their own make dQ,
and no two write to one place. The forward pass saved O and LSE; D is the row sums of dO∘O.
Elements moved: 5Nd + 4Md + 3N + Tc(2Nd + 2N) + 2·Tr·Md for N queries in Tr blocks and M keys in Tc blocks.
"""

import numpy as np

from ..machine.arrays import Array, exp_sub
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "FlashAttention-2", "backward"
SAVED_BY = "flash2-forward"
NEEDS = {"bias": "bias"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    O: Tensor,
    LSE: Tensor,
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
    """Gradients, tile by tile. Q, dQ (N, d), O, dO (N, d_v), K, dK (M, d), V, dV (M, d_v), LSE (N,)."""
    (N, d), (M, d_v) = Q.shape, V.shape
    dQ, dK, dV = hbm.empty("dQ", (N, d)), hbm.empty("dK", (M, d)), hbm.empty("dV", (M, d_v))
    D = hbm.empty_statistics("D", (N,))

    for i in sram.programs("i", Q.blocks(block_q)):
        o = sram.load(O[i])  # First, one number a row: D, the sum of the output times its gradient.
        do = sram.load(dO[i])
        D_i = sram["D"] = (do * o).sum(axis=1)
        sram.store(D[i], D_i)

    for j in sram.programs("j", K.blocks(block_k)):
        k = sram.load(K[j])  # Each program keeps its own block of keys and values.
        v = sram.load(V[j])
        dk = sram["dk"] = sram.full((len(j), d), 0.0)  # Their gradients start on chip, and stay there.
        dv = sram["dv"] = sram.full((len(j), d_v), 0.0)
        for i in sram.loop("i", Q.blocks(block_q), mask.column(j)):
            q = sram.load(Q[i])  # Queries stream past, with dO and two numbers a row: LSE and D.
            do = sram.load(dO[i])
            lse = sram.load(LSE[i])
            D_i = sram.load(D[i], "D")
            s = sram["S"] = q @ k.T * scale  # The scores are made again, for none were kept.
            if softcap:
                c = sram["C"] = np.tanh(s / softcap)  # Softcap: no score grows past it, and changes less.
                s = sram["S"] = softcap * c
            if bias:
                b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                s = sram["S"] = s + b
            if i.cut:
                s = sram["S"] = s + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
            p = sram["P"] = exp_sub(s, lse[:, None])  # P, as it was, from LSE alone.
            w = p
            if dropout:
                w = sram["W"] = p * sram.kept(dropout, i, j)  # Dropped as they were: the seed says which.
            dv = sram["dv"] = dv + w.T @ do  # Each value's gradient: what it gave, weighted as it was.
            dp = sram["dP"] = do @ v.T  # How the loss would change with each weight, and with each score.
            if dropout:
                dp = sram["dP"] = dp * sram.kept(dropout, i, j)
            ds = sram["dS"] = p * (dp - D_i[:, None])
            if softcap:
                ds = sram["dS"] = ds * (1 - c * c)
            dk = sram["dk"] = dk + ds.T @ q * scale  # Each key's gradient takes in this tile.
        sram.store(dK[j], dk)  # All queries seen: dK and dV go out, once.
        sram.store(dV[j], dv)

    for i in sram.programs("i", Q.blocks(block_q)):
        q = sram.load(Q[i])  # The third kernel: each program keeps its own block of queries.
        do = sram.load(dO[i])
        lse = sram.load(LSE[i])
        D_i = sram.load(D[i], "D")
        dq = sram["dq"] = sram.full((len(i), d), 0.0)  # Their gradient starts on chip, and stays there.
        for j in sram.loop("j", K.blocks(block_k), mask.row(i)):
            k = sram.load(K[j])  # Keys and values stream past, and P is made once more.
            v = sram.load(V[j])
            s = sram["S"] = q @ k.T * scale
            if softcap:
                c = sram["C"] = np.tanh(s / softcap)  # Softcap: no score grows past it, and changes less.
                s = sram["S"] = softcap * c
            if bias:
                b = sram.load(bias[i, j])  # A bias comes in, one number for each score of this tile, to be added.
                s = sram["S"] = s + b
            if j.cut:
                s = sram["S"] = s + sram.bias(mask, i, j)  # Keys that a query may not see get −∞.
            p = sram["P"] = exp_sub(s, lse[:, None])  # P once more, and from it the gradient of each score.
            dp = sram["dP"] = do @ v.T
            if dropout:
                dp = sram["dP"] = dp * sram.kept(dropout, i, j)
            ds = sram["dS"] = p * (dp - D_i[:, None])
            if softcap:
                ds = sram["dS"] = ds * (1 - c * c)
            dq = sram["dq"] = dq + ds @ k * scale  # Each query's gradient takes in this tile.
        sram.store(dQ[i], dq)  # All keys seen: dQ goes out, once.
    return {"dQ": dQ.data, "dK": dK.data, "dV": dV.data}
