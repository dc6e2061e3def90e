"""Attention written out, in torch: in float64 it is what "exact" means, in a kernel's own type what it may err by.

Heads that share keys and values are taken one by one, S and P are whole matrices, gradients are autograd's: nothing
here is the reference's or the kernels'.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Tensors(NamedTuple):
    """q and do (batch, heads, n, d), k and v (batch, kv_heads, m, d)."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    do: torch.Tensor


def attention(
    given: Tensors,
    keep: torch.Tensor,
    *,
    scale: float,
    softcap: float | None,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> dict[str, torch.Tensor]:
    """O, LSE, D, dQ, dK and dV, all computed in `dtype` on `device`; `keep` (n, m) is True where a key is seen.

    O is 0 and LSE −∞ where a query sees no key. Shapes are those of `given`; LSE and D (batch, heads, n).
    """
    q, k, v, do = (x.detach().to(device, dtype) for x in given)
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    s = q @ k.repeat_interleave(group, 1).mT * scale
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    s = s.masked_fill(~keep, -torch.inf)
    top = s.detach().amax(-1, keepdim=True)
    p = torch.exp(s - top.masked_fill(top == -torch.inf, 0))
    total = p.sum(-1, keepdim=True)
    o = p / total.masked_fill(total == 0, 1) @ v.repeat_interleave(group, 1)
    dq, dk, dv = torch.autograd.grad(o, (q, k, v), do)
    lse, o = (top + torch.log(total))[..., 0].detach(), o.detach()
    return {"O": o, "LSE": lse, "D": (o * do).sum(-1), "dQ": dq, "dK": dk, "dV": dv}
