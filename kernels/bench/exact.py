"""Attention and its gradients, a block of queries at a time: what the outputs of every backend are held against.

In float32 (float64 for float32 inputs) it is the reference, in the inputs' own type it is standard attention, whose
error is the measure: |x − reference| ≤ 2·|standard − reference| + 1e-5, three times for gradients (the field's rule).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..validation import compare

#: scores that are alive at one time, at most: 256 MiB in float32
MOST = 1 << 26

#: how far from the reference each output may be, in errors of standard attention, and what is added
FACTORS = {"O": compare.FACTOR} | dict.fromkeys(("dQ", "dK", "dV"), 1.5 * compare.FACTOR)

Outputs = dict[str, Tensor]


def outputs(
    q: Tensor, k: Tensor, v: Tensor, do: Tensor, *, causal: bool, dtype: torch.dtype, most: int = MOST
) -> Outputs:
    """O, dQ, dK and dV, all (B, H, N, d) and float32 or wider, of q, k, v and dO of that shape.

    Products, scores and weights are of `dtype`; what is added up over blocks of queries is wider, as inside a product.
    """
    wide = torch.promote_types(dtype, torch.float32)
    scale = q.shape[-1] ** -0.5
    made = {name: torch.zeros(q.shape, dtype=wide, device=q.device) for name in FACTORS}
    flat = [x.detach().flatten(0, 1) for x in (q, k, v, do)]
    into = {name: x.flatten(0, 1) for name, x in made.items()}
    keys = torch.arange(q.shape[2], device=q.device)
    for heads, rows in _blocks(len(flat[0]), q.shape[2], most):
        kb, vb = (x[heads].to(dtype) for x in flat[1:3])
        qb, dob = (x[heads, rows].to(dtype) for x in (flat[0], flat[3]))
        s = (qb @ kb.mT) * scale  # (heads, rows, N)
        if causal:
            s.masked_fill_(keys > keys[rows, None], float("-inf"))
        p = torch.softmax(s, dim=-1)
        del s
        into["O"][heads, rows] = (p @ vb).to(wide)
        into["dV"][heads] += (p.mT @ dob).to(wide)
        dp = dob @ vb.mT
        ds = p * (dp - (p * dp).sum(-1, keepdim=True, dtype=wide).to(dtype))
        del p, dp
        into["dQ"][heads, rows] = ((ds @ kb) * scale).to(wide)
        into["dK"][heads] += ((ds.mT @ qb) * scale).to(wide)
    return made


def _blocks(heads: int, n: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Heads and rows whose scores together are no more than `most`."""
    rows = max(1, min(n, most // n))
    many = max(1, most // (rows * n))
    for head in range(0, heads, many):
        for row in range(0, n, rows):
            yield slice(head, min(heads, head + many)), slice(row, min(n, row + rows))


def bounds(reference: Outputs, standard: Outputs) -> dict[str, float]:
    """How far from the reference each output may be."""
    return {
        name: factor * _distance(standard[name], reference[name]) + compare.MORE for name, factor in FACTORS.items()
    }


def refusal(found: Mapping[str, Tensor], reference: Outputs, bound: Mapping[str, float]) -> str:
    """Why these outputs are wrong, in one line, or "" if they are right."""
    wrong = []
    for name, x in found.items():
        if x.shape != reference[name].shape:
            wrong.append(f"{name} is {tuple(x.shape)}, not {tuple(reference[name].shape)}")
        elif not (off := _distance(x, reference[name])) <= bound[name]:  # so is NaN
            wrong.append(f"{name} is {off:.2g} off, where {bound[name]:.2g} is allowed")
    return ", ".join(wrong)


def _distance(x: Tensor, y: Tensor) -> float:
    """max |x − y|, a part at a time: no wide copy of all."""
    parts = zip(x.detach().reshape(-1).split(1 << 24), y.reshape(-1).split(1 << 24), strict=True)
    return float(torch.stack([(a.to(b.dtype) - b).abs().max() for a, b in parts]).max())
