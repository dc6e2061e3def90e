"""Packed sequences of several lengths: each as if it were alone, and none where there is none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashsteps.kernels import flash_attention, flash_attention_varlen
from tests.kernels.test_kernels_numbers import SLOW

LENGTHS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=3)
NONE: list[tuple[int, int]] = [(0, 0)]
OPTIONS = st.sampled_from(({}, {"causal": True}, {"window": (2, 1), "softcap": 3.0, "scale": 0.4}))


def starts(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


@example(NONE, {}, True, 2)
@given(LENGTHS, OPTIONS, st.booleans(), st.integers(0, 2))
@settings(SLOW, max_examples=8)
def test_each_sequence_is_as_if_it_were_alone(
    lengths: list[tuple[int, int]], options: dict[str, Any], with_sinks: bool, left_over: int
) -> None:
    """o, lse and all gradients; tokens after the last sequence are NaN, and have no gradient."""
    torch.manual_seed(0)
    ns, ms = ([pair[at] for pair in lengths] for at in (0, 1))
    q = torch.randn(sum(ns) + left_over, 4, 16, requires_grad=True)
    k = torch.randn(sum(ms), 2, 16, requires_grad=True)
    v = torch.randn(sum(ms), 4, 12, requires_grad=True)[:, ::2]  # a slice of what was projected together
    sinks = torch.randn(4, requires_grad=True) if with_sinks else None
    options = options | {"sinks": sinks, "return_lse": True}
    inputs = [q, k, v, *([] if sinks is None else [sinks])]
    o, lse = flash_attention_varlen(q, k, v, starts(ns), starts(ms), max(ns) + 1, max(*ms, 1), **options)
    ends = list(zip(starts(ns).tolist(), starts(ms).tolist(), strict=True))
    pieces = []
    for (n, m), (n_end, m_end) in pairwise(ends):
        tensors = (x.transpose(0, 1) for x in (q[n:n_end], k[m:m_end], v[m:m_end]))
        pieces.append(flash_attention(*tensors, **options))
    expected = torch.cat([one.transpose(0, 1) for one, _ in pieces]), torch.cat([one for _, one in pieces], 1)
    found = o[: sum(ns)], lse[:, : sum(ns)]
    assert o[sum(ns) :].isnan().all()
    weights = [torch.randn_like(one) for one in expected]
    gradients = []
    for given_o, given_lse in (found, expected):
        loss = (given_o * weights[0]).sum() + (given_lse.masked_fill(given_lse.isneginf(), 0) * weights[1]).sum()
        gradients.append(torch.autograd.grad(loss, inputs, allow_unused=True))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # NumPy's log depends on how many it is given
    for mine, true in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if true is None else true, rtol=1e-5, atol=1e-5)


def test_torch_compile_sees_it_whole() -> None:
    q, k, at = torch.randn(9, 4, 16, requires_grad=True), torch.randn(9, 2, 16, requires_grad=True), starts([4, 5])

    def loss(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return flash_attention_varlen(q, k, k, at, at, 5, 5, causal=True).square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for mine, true in zip(*(torch.autograd.grad(one(q, k), (q, k)) for one in (compiled, loss)), strict=True):
        torch.testing.assert_close(mine, true)


Q, AT = torch.zeros(6, 2, 8), starts([2, 4])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda f: f(Q[None], Q, Q, AT, AT, 4, 4),
            r"q is \(1, 6, 2, 8\): give a torch.Tensor \(tokens, heads, head dim",
        ),
        (
            lambda f: f(Q, Q, Q, AT.long(), AT, 4, 4),
            r"cu_seqlens_q is no tensor of int32 \(sequences \+ 1,\): give where",
        ),
        (
            lambda f: f(Q, Q, Q, AT, AT + 1, 4, 4),
            r"cu_seqlens_k is \[1, 3, 7\]: give numbers from 0 to 6, in ascending",
        ),
        (lambda f: f(Q, Q, Q, AT, AT, 4, 3), "cu_seqlens_k has a sequence of 4 keys: give max_seqlen_k as much, not 3"),
        (lambda f: f(Q, Q, Q, AT, AT[:2], 4, 4), "cu_seqlens_k has 1 sequences, cu_seqlens_q 2: give as many of both"),
        (lambda f: f(Q, Q, Q, AT.to("meta"), AT, 4, 4), "cu_seqlens_q is on meta, its tokens on cpu: move them to one"),
        (lambda f: f(Q, Q, Q, AT, AT, 0, 4), "max_seqlen_q is 0: give a whole number, 1 or more"),
        (lambda f: f(Q, Q, Q, AT, AT, 4, 4, causal=1), "causal is 1: give True or False"),
        (lambda f: f(Q.double(), Q, Q, AT, AT, 4, 4), "q holds float64: give float16, bfloat16, float32"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as refused:
        call(flash_attention_varlen)
    assert "\n" not in str(refused.value)
