"""Problems for the kernels at random, attention by its definition in float64, and how far off one may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st

from flashsteps.kernels.targets.configs import Config

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Problem:
    """q (B, Hk · group, n, d), k (B, Hk, m, d) and v (B, Hk, m, d_v or d), standard normal, and the options of a call.

    `mask` is "boolean" or "added", a tensor of one number for each score whose axes are whole where `whole` says so.
    """

    n: int
    m: int
    d: int = 16
    batch: int = 1
    kv_heads: int = 1
    group: int = 1
    dtype: torch.dtype = torch.float32
    causal: bool = False
    window: tuple[int, int] | None = None
    softcap: float | None = None
    scale: float | None = None
    block_q: int = 4
    block_k: int = 4
    descriptors: bool = False
    d_v: int | None = None
    mask: str | None = None
    whole: tuple[bool, bool, bool, bool] = (True, True, True, True)
    sinks: bool = False
    seed: int = 0

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q, k and v; q as a model has it, heads beside tokens, so that its strides are not those of its shape."""
        torch.manual_seed(self.seed)
        q = torch.randn(self.batch, self.n, self.kv_heads * self.group, self.d).to(self.dtype).transpose(1, 2)
        k, v = torch.randn(2, self.batch, self.kv_heads, self.m, self.d).to(self.dtype)
        if self.d_v:
            v = torch.randn(self.batch, self.kv_heads, self.m, self.d_v).to(self.dtype)
        return q, k, v

    def options(self) -> dict[str, Any]:
        return {"causal": self.causal, "window": self.window, "softcap": self.softcap, "scale": self.scale}

    def of_scores(self) -> dict[str, Any]:
        """attn_mask and sinks, as far as there are any: some keys are hidden, some rows of them whole."""
        torch.manual_seed(self.seed + 1)
        found: dict[str, Any] = {}
        if self.mask:
            sizes = self.batch, self.kv_heads * self.group, self.n, self.m
            shape = [size if whole else 1 for size, whole in zip(sizes, self.whole, strict=True)]
            seen = (torch.rand(shape) > 0.3) & (torch.rand(*shape[:3], 1) > 0.1)
            added = torch.randn(shape).masked_fill(~seen, -torch.inf)
            found["attn_mask"] = seen if self.mask == "boolean" else added.to(self.dtype)
        return found | ({"sinks": torch.randn(self.kv_heads * self.group)} if self.sinks else {})

    def blocks(self) -> dict[str, Any]:
        config = Config(16, 16, descriptors=self.descriptors)
        return {"block_q": self.block_q, "block_k": self.block_k, "config": config}

    def keep(self) -> torch.Tensor:
        """True where a query sees a key, (n, m): the rules by their words."""
        left, right = self.window or (-1, -1)
        below = torch.arange(self.n)[:, None] + self.m - self.n
        key = torch.arange(self.m)[None, :]
        keep = torch.ones(self.n, self.m, dtype=torch.bool)
        if left >= 0:
            keep &= key >= below - left
        if right >= 0:
            keep &= key <= below + right
        return keep & (key <= below) if self.causal else keep


@st.composite
def problems(draw: Any, largest: int = 14, scores: bool = False) -> Problem:
    """Any problem, of few tiles: the interpreter takes some milliseconds for each. `scores`: masks and sinks, too."""
    rows = st.integers(1, largest)
    bound = st.integers(-1, largest // 2)
    batch, kv_heads = draw(st.sampled_from(((1, 1), (2, 1), (1, 2))))
    kinds = st.sampled_from((None, "boolean", "added"))
    return Problem(
        n=draw(rows),
        m=draw(rows),
        d=draw(st.sampled_from((16, 20, 24, 32))),
        batch=batch,
        kv_heads=kv_heads,
        group=draw(st.sampled_from((1, 1, 2, 3, 7))),
        dtype=draw(st.sampled_from(DTYPES)),
        causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(bound, bound)),
        softcap=draw(st.none() | st.sampled_from((1.5, 30.0))),
        scale=draw(st.none() | st.sampled_from((0.1, 1.0))),
        block_q=draw(st.integers(3, 8)),
        block_k=draw(st.sampled_from((4, 8))),
        descriptors=draw(st.booleans()),
        d_v=draw(st.sampled_from((None, None, 8, 40))),
        mask=draw(kinds) if scores else None,
        whole=draw(st.tuples(*[st.booleans()] * 4)) if scores else (True,) * 4,
        sinks=scores and draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )


@st.composite
def hopper_problems(draw: Any, widths: tuple[int, ...], groups: tuple[int, ...], keys: int, kv_heads: int) -> Problem:
    """Of what the kernels for Hopper take: ragged, masked and grouped; heads beside tokens, as a model has them."""
    bound = st.integers(-1, 200)
    return Problem(
        n=draw(st.integers(1, 300)),
        m=draw(st.integers(1, keys)),
        d=draw(st.sampled_from(widths)),
        batch=draw(st.integers(1, 2)),
        kv_heads=draw(st.integers(1, kv_heads)),
        group=draw(st.sampled_from(groups)),
        dtype=draw(st.sampled_from((torch.float16, torch.bfloat16))),
        causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(bound, bound)),
        scale=draw(st.none() | st.just(0.3)),
        seed=draw(st.integers(0, 99)),
    )


def attention(
    problem: Problem,
    tensors: Iterable[torch.Tensor],
    keep: torch.Tensor | None = None,
    attn_mask: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """o and lse by the definition, in the type of q; 0 and −∞ where a query sees no key."""
    q, k, v = tensors
    k, v = (x.repeat_interleave(problem.group, 1) for x in (k, v))
    s = q @ k.mT * (problem.d**-0.5 if problem.scale is None else problem.scale)
    if problem.softcap:
        s = problem.softcap * torch.tanh(s / problem.softcap)
    if attn_mask is not None:
        s = s.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else s + attn_mask.to(s.dtype)
    s = s.masked_fill(~(problem.keep() if keep is None else keep), -torch.inf)
    if sinks is not None:
        s = torch.cat([s, sinks.to(s.dtype)[:, None, None].expand(*s.shape[:3], 1)], -1)
    # where a row sees no key, neither value nor gradient: logsumexp would give NaN for the one
    lse = torch.where(s.isneginf().all(-1), -torch.inf, s.masked_fill(s.isneginf().all(-1, True), 0).logsumexp(-1))
    p = torch.exp(s - lse.clamp_min(torch.finfo(lse.dtype).min)[..., None])
    return p[..., : k.shape[2]] @ v, lse


def gradients(problem: Problem, do: torch.Tensor, dlse: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
    """dq, dk, dv, and dsinks where there are sinks, by torch's autograd, where rows that see no key have none."""
    inputs = [x.to(dtype).requires_grad_() for x in problem.tensors()]
    given = problem.of_scores()
    if problem.sinks:
        inputs.append(given["sinks"].to(dtype).requires_grad_())
        given["sinks"] = inputs[-1]
    o, lse = attention(problem, inputs[:3], **given)
    loss = (o * do.to(dtype)).sum() + torch.where(lse.isneginf(), 0, lse * dlse.to(dtype)).sum()
    return [torch.nan_to_num(gradient, nan=0.0) for gradient in torch.autograd.grad(loss, inputs)]


def are_gradients(made: Iterable[torch.Tensor], problem: Problem, do: torch.Tensor, dlse: torch.Tensor) -> bool:
    """Whether dq, dk and dv are as near to float64's as those of the definition in the problem's own type."""
    exact, standard = (gradients(problem, do, dlse, dtype) for dtype in (torch.float64, problem.dtype))
    return all(near(*one) for one in zip(made, exact, standard, strict=True))


def near(ours: torch.Tensor, exact: torch.Tensor, standard: torch.Tensor) -> bool:
    """The field's rule: at most twice as far off as standard attention, computed in the same type; and no NaN.

    A last digit of the largest number is given on top: with a handful of numbers, standard's may be right by luck.
    """
    if not torch.isfinite(ours).all():
        return False
    digit = float(torch.finfo(ours.dtype).eps * exact.abs().max())
    return far(ours, exact) <= 2 * far(standard, exact) + 1e-5 + digit


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).abs().max())
