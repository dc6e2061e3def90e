"""Standard attention, backward: P comes in, dP and dS go out to HBM and come back (FA1, Algorithm 3).

The forward pass saved P, with its mask. As there, each matrix product reads its operands once, so the capacity of SRAM
is not held against it. Elements moved: 4Nd + 4Md + 7NM for N queries and M keys, and a mask saves nothing; with
softcap NM more, as its derivative needs the scores, S, that the forward pass saved too.
"""

import numpy as np

from ..machine.arrays import Array
from ..machine.dropout import Dropout
from ..machine.masks import Mask
from ..machine.memory import HBM, SRAM, Tensor

TITLE, DIRECTION = "standard attention", "backward"
IDEAL_PRODUCTS = True
SAVED_BY = "standard-forward"
NEEDS = {"S": "softcap"}


def attend(
    hbm: HBM,
    sram: SRAM,
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    P: Tensor,
    dO: Tensor,
    S: Tensor | None = None,
    *,
    block_q: int,
    block_k: int,
    mask: Mask,
    scale: float,
    softcap: float | None = None,
    dropout: Dropout | None = None,
) -> dict[str, Array]:
    """Gradients in five kernels. Q, dQ (N, d), dO (N, d_v), K, dK (M, d), V, dV (M, d_v), P (N, M)."""
    (N, d), (M, d_v) = Q.shape, V.shape
    dP, dS = hbm.empty("dP", (N, M)), hbm.empty("dS", (N, M))
    dQ, dK, dV = hbm.empty("dQ", (N, d)), hbm.empty("dK", (M, d)), hbm.empty("dV", (M, d_v))

    sram.launch()
    dv = sram["dv"] = sram.full((M, d_v), 0.0)  # First kernel, dV = PᵀdO: a sum over all queries.
    for i in sram.loop("i", Q.blocks(block_q)):
        p = sram.load(P[i], "P")  # All of P comes back from the forward pass, with its mask.
        do = sram.load(dO[i])
        if dropout:
            p = sram["P"] = p * sram.kept(dropout, i, K.all)  # Dropped as they were: the seed says which.
        dv = sram["dv"] = dv + p.T @ do  # Each value's gradient: what it gave, weighted as it was.
    sram.store(dV.all, dv)  # The gradient of the values goes out.

    sram.launch()
    v = sram.gather(V, block_k)  # Second kernel, dP = dO Vᵀ: bring in all the values.
    for i in sram.loop("i", Q.blocks(block_q)):
        do = sram.load(dO[i])
        dp = sram["dP"] = do @ v.T  # How the loss would change with each weight.
        if dropout:
            dp = sram["dP"] = dp * sram.kept(dropout, i, K.all)
        sram.store(dP[i], dp)  # As large as P: dP goes out to HBM.

    sram.launch()
    for i in sram.loop("i", Q.blocks(block_q)):
        p = sram.load(P[i], "P")  # Third kernel, softmax backward: P and dP come in.
        dp = sram.load(dP[i], "dP")
        D_i = sram["D"] = (p * dp).sum(axis=1)  # One number a row: weights add up to 1, so they move together.
        ds = sram["dS"] = p * (dp - D_i[:, None])  # How the loss would change with each score.
        if S and softcap:
            s = sram.load(S[i], "S")  # Softcap: a score that was held back changes less. S says which.
            c = sram["C"] = np.tanh(s / softcap)
            ds = sram["dS"] = ds * (1 - c * c)
        sram.store(dS[i], ds)  # As large again: dS goes out too.

    sram.launch()
    k = sram.gather(K, block_k)  # Fourth kernel, dQ = dS K: bring in all the keys.
    for i in sram.loop("i", Q.blocks(block_q)):
        ds = sram.load(dS[i], "dS")
        dq = sram["dq"] = ds @ k * scale  # The gradient of these queries, done at once.
        sram.store(dQ[i], dq)

    sram.launch()
    dk = sram["dk"] = sram.full((M, d), 0.0)  # Fifth kernel, dK = dSᵀQ: a sum over all queries.
    for i in sram.loop("i", Q.blocks(block_q)):
        ds = sram.load(dS[i], "dS")  # All of dS comes in again.
        q = sram.load(Q[i])
        dk = sram["dk"] = dk + ds.T @ q * scale
    sram.store(dK.all, dk)  # The gradient of the keys goes out: done.
    return {"dQ": dQ.data, "dK": dK.data, "dV": dV.data}
