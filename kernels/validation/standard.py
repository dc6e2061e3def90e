"""Attention written out, in torch: in float64 it is what "exact" means, in a kernel's own type what it may err by.

Heads that share keys and values are taken one by one, S and P are whole matrices, gradients are autograd's: nothing
here is the reference's or the kernels'.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Tensors(NamedTuple):
    """q (batch, heads, n, d), do (batch, heads, n, d_v), k (batch, kv_heads, m, d) and v (batch, kv_heads, m, d_v).

    And what is added to scores, (1, heads or 1, n, m), and one more score for each head, (heads,), where there is any.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    do: torch.Tensor
    bias: torch.Tensor | None = None
    sinks: torch.Tensor | None = None

    def to(self, *where: Any) -> Tensors:
        """The same somewhere else, or in another type."""
        return Tensors(*(x if x is None else x.detach().to(*where) for x in self))


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
    q, k, v, do, bias, sinks = given.to(device, dtype)
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    s = q @ k.repeat_interleave(group, 1).mT * scale
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    s = s if bias is None else s + bias
    s = s.masked_fill(~keep, -torch.inf)
    if sinks is not None:  # as a key would, whose value is 0
        s = torch.cat([s, sinks[:, None, None].expand(*s.shape[:3], 1)], -1)
    top = s.detach().amax(-1, keepdim=True)
    p = torch.exp(s - top.masked_fill(top == -torch.inf, 0))
    total = p.sum(-1, keepdim=True)
    p = p[..., : k.shape[2]]
    o = p / total.masked_fill(total == 0, 1) @ v.repeat_interleave(group, 1)
    dq, dk, dv = torch.autograd.grad(o, (q, k, v), do)
    lse, o = (top + torch.log(total))[..., 0].detach(), o.detach()
    return {"O": o, "LSE": lse, "D": (o * do).sum(-1), "dQ": dq, "dK": dk, "dV": dv}
