"""flash_attention in the place of torch's scaled_dot_product_attention: calls, shapes, models, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

from flashsteps.kernels import FallbackWarning, attention, flash_attention
from tests.kernels.kernel_problems import far
from tests.kernels.test_kernels_attention import without_interpreter
from tests.kernels.test_kernels_numbers import SLOW

theirs = F.scaled_dot_product_attention


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_told", set())


@st.composite
def calls(draw: Any) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """q, k and v of 2 to 5 axes, some broadcast, some laid out as nobody should; and what torch's function is told."""
    torch.manual_seed(draw(st.integers(0, 99)))
    n, m, d = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.sampled_from((8, 12)))
    heads, grouped = draw(st.sampled_from((1, 2, 4))), draw(st.booleans())
    batch = draw(st.lists(st.integers(1, 2), max_size=2))
    tensors = []
    for name, tokens in zip("qkv", (n, m, m), strict=True):
        lead = [*batch, heads]
        if name != "q" and grouped:
            lead[-1] = max(1, heads // 2)
        elif not grouped:
            lead = lead[draw(st.integers(0, len(lead))) :]
            lead = [1 if draw(st.booleans()) else size for size in lead]
        x = torch.randn(*lead, tokens, d)
        tensors.append(x.mT.contiguous().mT if draw(st.booleans()) else x)
    scores = torch.broadcast_shapes(*(x.shape[:-2] for x in tensors[:2])) if not grouped else tensors[0].shape[:-2]
    mask = None
    if draw(st.booleans()):
        sizes = (*scores, n, m)[draw(st.integers(0, len(scores))) :]
        mask = torch.randn([1 if draw(st.booleans()) else size for size in sizes])
        mask = mask > -0.5 if draw(st.booleans()) else mask
    return tensors, {
        "attn_mask": mask,
        "is_causal": mask is None and draw(st.booleans()),  # torch refuses both, at times
        "scale": draw(st.none() | st.just(0.4)),
        "enable_gqa": grouped,
    }


@given(calls())
@settings(SLOW, max_examples=18)
def test_it_gives_what_torchs_gives(call: tuple[list[torch.Tensor], dict[str, Any]]) -> None:
    """The same shape, numbers and gradients, whatever is broadcast."""
    tensors, options = call
    found = []
    for attend in (theirs, flash_attention):
        inputs = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in tensors]
        o = attend(*inputs, **options)
        found.append([o, *torch.autograd.grad(o.square().sum(), inputs)])
    torch.testing.assert_close(found[1], found[0], rtol=2e-5, atol=2e-5)


def models() -> dict[str, Callable[[], torch.Tensor]]:
    """What people have: each gives o and its gradient by what it was given, as one tensor."""

    def both(layer: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            torch.manual_seed(1)
            x = torch.randn(2, 5, 8, requires_grad=True)
            o = layer(x)
            return torch.cat([o, *torch.autograd.grad(o.square().sum(), x)])

        return run

    torch.manual_seed(0)
    heads = nn.MultiheadAttention(8, 2, batch_first=True)
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    training = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    evaluated = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()

    def nano_gpt(x: torch.Tensor) -> torch.Tensor:
        q = x.view(2, 5, 2, 4).transpose(1, 2)
        o = F.scaled_dot_product_attention(q, q, q, attn_mask=None, dropout_p=0.0, is_causal=True)
        return o.transpose(1, 2).flatten(2)

    return {
        "nanoGPT": both(nano_gpt),
        "MultiheadAttention": both(lambda x: heads(x, x, x, need_weights=False)[0]),
        "causal": both(lambda x: heads(x, x, x, need_weights=False, attn_mask=causal, is_causal=True)[0]),
        "masked": both(lambda x: heads(x, x, x, need_weights=False, attn_mask=causal)[0]),
        "training": both(training),
        "evaluated": both(evaluated),
    }


@pytest.mark.parametrize("name", models())
def test_models_run_unchanged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = models()[name], []

    def ours(*given: Any, **options: Any) -> Any:
        asked.append(given)
        return flash_attention(*given, **options)

    expected = model()
    monkeypatch.setattr(F, "scaled_dot_product_attention", ours)
    torch.testing.assert_close(model(), expected, rtol=1e-5, atol=1e-5)
    assert asked


def test_what_models_hide_keys_by_does_as_it_does_in_torch() -> None:
    """−∞, the least number, −10000: in a part of a row, and in all of it: then it is a mean, or nothing."""
    q, k, v = torch.randn(3, 1, 2, 7, 8).unbind()
    hidden = torch.zeros(7, 7)
    for i, least in enumerate((torch.finfo(torch.float32).min, -1e4, -torch.inf)):
        hidden[2 * i, 3:], hidden[2 * i + 1] = least, least
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        exact = theirs(q.double(), k.double(), v.double(), hidden.double())
        standard = theirs(q, k, v, hidden)
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    o = flash_attention(*inputs, hidden)
    assert far(o, exact) <= 2 * far(standard, exact) + 1e-5
    assert not o[:, :, 5].any()
    assert torch.allclose(o[:, :, 1], v.mean(2), atol=1e-6)
    kept = [True, False, True, True, True, False, True]  # without the rows whose LSE tells nothing any more
    found = torch.autograd.grad(o.square().sum(), inputs)
    alike = [x.double().requires_grad_() for x in (q, k, v)]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = theirs(alike[0], alike[1], alike[2], hidden.double())[:, :, kept].square().sum()
    for mine, true in zip(found, torch.autograd.grad(loss, alike), strict=True):
        assert far(mine, true) < 5e-3  # −10000 leaves three digits of a score


@pytest.mark.parametrize("bias", [causal_upper_left, causal_lower_right])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["kernel", "torch"])
def test_torchs_causal_biases_are_read_by_what_they_say(bias: Any, dtype: torch.dtype) -> None:
    """No number lies in such a tensor, only in which corner it begins."""
    q, k = torch.randn(1, 2, 4, 8, dtype=dtype), torch.randn(1, 2, 7, 8, dtype=dtype)
    seen = torch.ones(4, 7, dtype=torch.bool).tril(0 if bias is causal_upper_left else 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        o = flash_attention(q, k, k, bias(4, 7))
    torch.testing.assert_close(o, theirs(q, k, k, seen))
    with pytest.raises(ValueError, match=r"^attn_mask is a CausalBias of 4 queries and 5 keys: give one of \(4, 7\)$"):
        flash_attention(q, k, k, bias(4, 5))
    with pytest.raises(ValueError, match="^attn_mask is a CausalBias, and a causal mask is given besides: give one"):
        flash_attention(q, k, k, bias(4, 7), is_causal=True)


X = torch.randn(2, 4, 5, 8)
FALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "dropout_p is 1": ((X, X, X), {"dropout_p": 1.0}),
    "query holds float64": ((X.double(),) * 3, {}),
    "the head dimension is more than 256": ((X.repeat(1, 1, 1, 33),) * 3, {}),
    "value has other heads than key": ((X, X[:, :2], X[:, :1]), {"enable_gqa": True}),
    "scale is -0.5": ((X, X, X), {"scale": -0.5}),
    "attn_mask requires a gradient": ((X, X, X, torch.zeros(5, 5, requires_grad=True)), {}),
    "query is on meta": ((X.to("meta"),) * 3, {}),
}


@pytest.mark.parametrize("reason", FALLS)
def test_what_the_kernels_cant_do_torch_does_and_it_is_said_once(reason: str) -> None:
    tensors, options = FALLS[reason]
    with pytest.warns(FallbackWarning, match=f"^{reason}.*: torch's own function is used$") as heard:
        found = [flash_attention(*tensors, **options) for _ in "ab"]
    assert len(heard) == 1
    assert heard[0].filename == __file__
    expected = theirs(*tensors, **options)
    assert found[1].shape == expected.shape
    assert found[1].device == expected.device
    if expected.device.type == "cpu":
        torch.testing.assert_close(found[1], expected)
    with pytest.raises(
        ValueError, match=f"^{reason}.*scaled_dot_product_attention can, but has no window and no softcap$"
    ):
        flash_attention(*tensors, **options, window=(1, 1), softcap=1.0)


def test_nested_tensors_are_torchs() -> None:
    q = torch.nested.nested_tensor([torch.randn(3, 2, 8), torch.randn(5, 2, 8)], layout=torch.jagged).transpose(1, 2)
    with pytest.warns(FallbackWarning, match="nested"):
        found = flash_attention(q, q, q)
    for one, x in zip(found.transpose(1, 2).unbind(), q.transpose(1, 2).unbind(), strict=True):
        torch.testing.assert_close(one.transpose(0, 1), theirs(*[x.transpose(0, 1)] * 3))


def test_it_falls_to_torchs_own_where_that_was_replaced_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash_attention)
    with pytest.warns(FallbackWarning):
        torch.testing.assert_close(F.scaled_dot_product_attention(*[X.double()] * 3), theirs(*[X.double()] * 3))


def test_autocast_leaves_float64_alone() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.warns(FallbackWarning):
            assert flash_attention(*[X.double()] * 3).dtype == torch.float64
        assert flash_attention(X, X, X, torch.zeros(5, 5).half()).dtype == torch.bfloat16


def test_under_autocast_a_mask_is_cast_too_and_its_lowest_number_hides() -> None:
    """As in torch, where float32's lowest is −∞ in bfloat16: a row of nothing else gives 0, not a mean."""
    lowest = torch.zeros(5, 5)
    lowest[1:, :3] = lowest[2] = torch.finfo(torch.float32).min
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = (attend(X, X, X, lowest) for attend in (flash_attention, theirs))
    assert not found[:, :, 2].any()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_torch_compile_takes_all_of_it() -> None:
    """What the kernels do and what falls to torch, in one graph."""

    def loss(q: torch.Tensor) -> torch.Tensor:
        kept = flash_attention(q, q[:1], q[:1, ..., :3], q[0, 0, :, :5] > 0, is_causal=True, sinks=q[0, 0, 0, :4]).sum()
        return kept + flash_attention(q, q, q, None, 1.0).sum() + flash_attention(q[0], q[0], q[0]).square().sum()

    q = X.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
        found, expected = (torch.autograd.grad(one(q), q) for one in (compiled, loss))
    torch.testing.assert_close(found, expected)


SAID = "query is on the CPU: move it to a GPU, or set TRITON_INTERPRET=1 before Python starts (slow)"


def test_on_a_cpu_without_the_interpreter_torch_does_it_unless_only_the_kernels_could() -> None:
    said = without_interpreter(
        "import torch, warnings; from flashsteps.kernels import flash_attention as f; x = torch.ones(1, 1, 2, 16)\n"
        "with warnings.catch_warnings(record=True) as heard: assert f(x, x, x, is_causal=True).eq(1).all()\n"
        "assert str(heard[0].message) == " + repr(f"{SAID}: torch's own function is used") + "\n"
        "f(x, x, x, causal=True)"
    )
    assert said == f"ValueError: {SAID}; scaled_dot_product_attention can, but has no causal"
