"""`fs.capture`: every call of attention is seen, and each of its heads, recorded, gives what the model computed."""

from __future__ import annotations

import importlib
import re
import sys
import types
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.functional import scaled_dot_product_attention as imported
from torch.utils.checkpoint import checkpoint

import flashsteps as fs
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.input import Input
from flashsteps.models import saving
from flashsteps.models.calls import Call, Calls
from flashsteps.models.maps import small, weights
from tests.test_api import python

LOWEST = torch.finfo(torch.float64).min


def tensors(*shapes: tuple[int, ...], seed: int = 0, dtype: Any = torch.float64) -> list[Any]:
    torch.manual_seed(seed)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def made_again(call: Call, error: float = 1e-10, algorithm: str = "flash2-forward") -> None:
    """Each head of a call, recorded with its own options, gives the O that the model computed; and so does float64."""
    assert call.kept
    for batch in range(call.batch):
        for head in call.kept.heads:
            one = call.head(head, batch=batch)
            np.testing.assert_allclose(weights(one) @ one.v, one.o, rtol=0, atol=error)
            O = fs.record(algorithm, *one, **one.options).outputs["O"]
            np.testing.assert_allclose(O.astype(float), one.o, rtol=0, atol=error)


# ---- what is seen


@st.composite
def calls_of_torch(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any], int]:
    """q, k, v and the other arguments of scaled_dot_product_attention, as people give them; and how many heads of k."""
    B, kv_heads, group = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    N, M, d = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    H, seed = kv_heads * group, draw(st.integers(0, 99))
    q, k, v = tensors((B, H, N, d), (B, kv_heads, M, d), (B, kv_heads, M, d), seed=seed)
    options: dict[str, Any] = {"scale": draw(st.sampled_from([None, 0.3, 1.0]))}
    if draw(st.booleans()):
        options["enable_gqa"] = True
    else:  # as transformers does where there is a mask
        k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    shape = draw(st.sampled_from([(N, M), (B, 1, N, M), (1, H, N, M), (B, H, N, M), (B, 1, 1, M), (N, 1)]))
    kind = draw(st.sampled_from(["none", "is_causal", "causal", "window", "Boolean", "-inf", "lowest", "bias", "both"]))
    seen = torch.rand(shape) < 0.7
    if kind == "is_causal":
        options["is_causal"] = True
    elif kind in ("causal", "window"):
        ones = torch.ones(N, M, dtype=torch.bool)
        options["attn_mask"] = ones.tril(M - N) if kind == "causal" else ones.tril(M - N).triu(M - N - 2)
    elif kind == "Boolean":
        options["attn_mask"] = seen.expand(B, H, N, M) if len(shape) == 4 and draw(st.booleans()) else seen
    elif kind != "none":
        low = LOWEST if kind == "lowest" else -torch.inf
        hidden = torch.zeros(shape, dtype=q.dtype).masked_fill(~seen, low if kind != "bias" else 0.0)
        options["attn_mask"] = hidden + (torch.randn(shape, dtype=q.dtype) if kind in ("bias", "both") else 0)
    return [q, k, v], options, kv_heads


@settings(max_examples=60)
@given(calls_of_torch())
def test_a_head_of_any_call_is_recorded_as_the_model_had_it(made: tuple[list[Any], dict[str, Any], int]) -> None:
    qkv, options, kv_heads = made
    with fs.capture("all") as calls:
        o = F.scaled_dot_product_attention(*qkv, **options)
    (call,) = calls
    B, H, N, d = qkv[0].shape
    assert (call.batch, call.heads, call.queries, call.keys, call.d) == (B, H, N, qkv[1].shape[2], d)
    assert call.kv_heads == kv_heads
    assert call.kept is not None
    assert torch.equal(call.kept.o, o)
    made_again(call)
    assert "mask" not in str(calls).splitlines()[0] or call.mask in str(calls)


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 4, 5, 3), (1, 4, 6, 3), (1, 4, 6, 3)),  # sequences that share keys
        ((1, 4, 5, 3), (2, 4, 6, 3), (2, 4, 6, 3)),
        ((4, 5, 3), (2, 1, 6, 3), (2, 1, 6, 3)),
        ((2, 1, 5, 3), (2, 4, 6, 3), (2, 4, 6, 3)),  # heads that share queries
        ((2, 4, 5, 3), (2, 4, 6, 3), (2, 1, 6, 3)),  # and values
        ((2, 4, 5, 3), (2, 2, 6, 3), (2, 1, 6, 2)),
        ((2, 3, 4, 5, 3), (2, 1, 4, 6, 3), (3, 4, 6, 3)),
    ],
)
def test_what_torch_broadcasts_is_kept_as_it_was_paired(shapes: tuple[tuple[int, ...], ...]) -> None:
    q, k, v = tensors(*shapes)
    mask = torch.rand(5, 6) < 0.7
    with fs.capture("all") as calls:
        o = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=k.shape[-3] == 2)
    assert (calls[0].batch * calls[0].heads, calls[0].d_v) == (o.shape[:-2].numel(), v.shape[-1])
    made_again(calls[0])


@pytest.mark.parametrize("mask", [torch.rand(4, 6) < 0.6, torch.randn(4, 6, dtype=torch.float64)])
def test_a_mask_beside_is_causal_is_heeded_where_there_are_more_keys_than_queries(mask: Any) -> None:
    q, k = tensors((1, 3, 4, 5), (1, 3, 6, 5))
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(q, k, k, mask, is_causal=True)
    made_again(calls[0])


def test_a_batch_without_sequences_has_nothing_to_choose() -> None:
    (q,) = tensors((0, 2, 4, 4))
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(q, q, q)
    with pytest.raises(ValueError, match=r"^calls\[0\] has no sequence: there is nothing to choose$"):
        calls[0].head(0)


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad])
def test_what_torch_func_transforms_is_refused_in_one_line(transform: Any) -> None:
    (q,) = tensors((2, 3, 4, 5))
    with fs.capture(), pytest.raises(ValueError, match=r"^attention was called inside a transform of torch.func .*it$"):
        transform(lambda x: F.scaled_dot_product_attention(x, x, x).sum())(q)


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        (torch.ones(5, 7, dtype=torch.bool), "none"),
        (torch.ones(5, 7, dtype=torch.bool).tril(2), "causal"),
        (torch.ones(5, 7, dtype=torch.bool).tril(2).triu(-1), "window:3,0"),
        (torch.zeros(5, 7).masked_fill(torch.ones(5, 7).triu(3) > 0, -torch.inf), "causal"),
        (torch.zeros(5, 7).masked_fill(torch.ones(5, 7).triu(3) > 0, torch.finfo(torch.float32).min), "causal"),
        (torch.zeros(5, 7).masked_fill(torch.ones(5, 7).triu(3) > 0, -10000.0), "bias"),
        (torch.ones(5, 7, dtype=torch.bool).tril(0), "Boolean"),
        (torch.arange(35.0).reshape(5, 7), "bias"),
        (torch.arange(35.0).reshape(5, 7).masked_fill(torch.ones(5, 7).triu(3) > 0, -torch.inf), "causal + bias"),
    ],
)
def test_a_mask_is_called_by_its_name(mask: Any, name: str) -> None:
    q, k = tensors((1, 2, 5, 4), (1, 2, 7, 4), dtype=torch.float32)
    with fs.capture() as calls:
        F.scaled_dot_product_attention(q, k, k, mask)
    assert calls[0].mask == name


def test_a_mask_that_all_share_is_kept_once() -> None:
    (q,) = tensors((2, 3, 4, 4))
    mask = torch.rand(2, 1, 4, 4) < 0.5
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(q, q, q, mask.expand(2, 3, 4, 4))
        F.scaled_dot_product_attention(q, q, q, mask[:1].expand(2, 3, 4, 4))
    assert [tuple(call.kept.added.shape[:2]) for call in calls if call.kept] == [(2, 1), (1, 1)]


def test_where_all_keys_are_as_low_the_row_sees_them_all_and_is_no_mask() -> None:
    """A finite number that hides every key of a query hides none: a softmax is as it is without it."""
    q, k, v = tensors((1, 1, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4), dtype=torch.float32)
    mask = torch.zeros(3, 5)
    mask[1] = torch.finfo(torch.float32).min
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(q, k, v, mask)
    one = calls[0].head(0)
    assert "mask" not in one.own
    np.testing.assert_allclose(one.o[1], one.v.mean(axis=0), atol=1e-6)
    made_again(calls[0], 1e-6)


def test_torchs_causal_biases_are_the_masks_that_they_are() -> None:
    q, k = tensors((1, 2, 3, 4), (1, 2, 5, 4))
    with fs.capture("all") as calls:
        for bias in (causal_lower_right(3, 5), causal_upper_left(3, 5), causal_upper_left(5, 5)):
            F.scaled_dot_product_attention(q if bias.seq_len_q == 3 else k, k, k, bias)
    assert [call.mask for call in calls] == ["causal", "Boolean", "causal"]
    for call in calls:
        made_again(call)


def test_under_autocast_a_head_is_what_was_multiplied() -> None:
    (x,) = tensors((1, 2, 6, 8), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16), fs.capture("all") as calls:
        F.scaled_dot_product_attention(x, x, x)
    assert (calls[0].dtype, calls[0].head(0).own["dtype"]) == ("bfloat16", "bfloat16")
    made_again(calls[0], 2e-2)


def test_sequences_of_different_lengths_are_noted_and_no_head_of_them_is_given() -> None:
    parts = [torch.randn(n, 2, 4) for n in (3, 5)]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged).transpose(1, 2)
    with fs.capture("all") as calls, torch.no_grad():
        F.scaled_dot_product_attention(x, x, x)
    assert (calls[0].batch, calls[0].queries, calls[0].keys) == (2, 5, 5)
    with pytest.raises(ValueError, match="has nested tensors, which no run here has: choose another call"):
        calls[0].head(0, batch=0)


class Attends(nn.Module):  # type: ignore[misc]  # torch is not read
    """One of the ways to reach the same function."""

    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how, self.inner = how, nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.inner(self.how(x, x, x))


def test_the_function_is_seen_however_it_was_imported_and_its_module_is_named() -> None:
    operation = torch.ops.aten.scaled_dot_product_attention
    ways = [imported, partial(imported, is_causal=True), operation, operation.default]
    model = nn.Sequential(*[nn.Sequential(nn.Identity(), Attends(way)) for way in ways])
    (x,) = tensors((1, 2, 4, 4))
    with fs.capture() as calls:
        model(x)
        torch.compile(model, backend="eager")(x)
        imported(x, x, x)
    assert [call.module for call in calls] == [*["0.1", "1.1", "2.1", "3.1"] * 2, ""]
    assert calls[0].kind == "Attends"
    assert calls[1].mask == "causal"
    with fs.capture() as calls:
        pass
    model(x)
    assert len(calls) == 0
    assert "no call of attention was seen" in str(calls)


def test_what_fails_inside_leaves_nothing_behind() -> None:
    class Fails(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            raise KeyError("fails")

    (x,) = tensors((1, 2, 4, 4))
    hooks = nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks
    with fs.capture() as calls:
        with pytest.raises(KeyError):
            nn.Sequential(Fails())(x)
        nn.Sequential(Attends(imported))(x)
    with pytest.raises(KeyError), fs.capture():
        Fails()(x)
    assert [call.module for call in calls] == ["0"]
    assert [len(hook) for hook in hooks] == [0, 0]
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize("weights_too", [False, True])
def test_multihead_attention_is_seen_on_every_path_and_gives_the_same(weights_too: bool) -> None:
    torch.manual_seed(0)
    attend = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64).eval()
    (x,) = tensors((2, 5, 12))
    options = {"need_weights": weights_too, "attn_mask": torch.ones(5, 5).triu(1) > 0,
               "key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])}  # fmt: skip
    for given_options in ({"need_weights": weights_too}, options):
        with torch.no_grad():  # on the fast path, where there is one
            expected = attend(x, x, x, **given_options)
            with fs.capture("all") as calls:
                got = attend(x, x, x, **given_options)
        torch.testing.assert_close(got[0], expected[0])
        (call,) = calls
        assert (call.batch, call.heads, call.queries, call.d) == (2, 3, 5, 4)
        assert call.kind == "MultiheadAttention"
        made_again(call)
        assert call.kept is not None
        o = call.kept.o.transpose(1, 2).reshape(2, 5, 12)
        torch.testing.assert_close(attend.out_proj(o), expected[0])
    assert calls[0].mask == "2 masks" or " or " in calls[0].mask
    assert calls.unseen == []


def test_an_encoder_is_seen_layer_by_layer() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 3).eval()
    x = torch.randn(1, 6, 8)
    with torch.no_grad():
        expected = model(x)
        with fs.capture(("layers.1", 1), tokens=list("abcdef")) as calls:
            torch.testing.assert_close(model(x), expected)
    assert [call.module for call in calls] == [f"layers.{n}.self_attn" for n in range(3)]
    assert [call.kept is not None for call in calls] == [False, True, False]
    one = calls[1].head()
    assert one.tokens == tuple("abcdef")
    assert one.source == {"kind": "model", "module": "layers.1.self_attn", "call": 1, "head": [1]}
    made_again(calls[1], 1e-6)


def test_flex_attention_is_seen_with_its_functions() -> None:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q, k, v = tensors((2, 4, 8, 5), (2, 2, 8, 5), (2, 2, 8, 5))
    ends = torch.tensor([3, 8])
    causal = create_block_mask(lambda b, h, i, j: i >= j, None, None, 8, 8, device="cpu")
    padded = create_block_mask(lambda b, h, i, j: j < ends[b], 2, None, 8, 8, device="cpu")
    with fs.capture("all") as calls:
        flex_attention(q, k, v, block_mask=causal, enable_gqa=True)
        flex_attention(q, k, v, block_mask=padded, enable_gqa=True, scale=0.5)
        flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s - 0.1 * (h + 1) * (i - j).abs(), enable_gqa=True)
        torch.compile(flex_attention, backend="eager")(q, k, v, enable_gqa=True)
        flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: 5 * torch.tanh(s / 5), enable_gqa=True)
        flex_attention(4 * q, 4 * k, v, score_mod=lambda s, b, h, i, j: torch.clamp(s, -3, 3), enable_gqa=True)
        flex_attention(q, 9 * k, v, score_mod=lambda s, b, h, i, j: torch.where(s > 3, 3.0, s), enable_gqa=True)
    assert [call.mask for call in calls] == ["causal", "Boolean or none", "bias", "none", *["a function"] * 3]
    assert [(call.heads, call.kv_heads) for call in calls] == [(4, 2)] * 7
    for call in calls[:4]:
        made_again(call, 1e-6)
    for call in calls[4:]:
        with pytest.raises(ValueError, match=r"has a score_mod that does more than add to a score, which no run"):
            call.head(0, batch=0)


# ---- flash-attn, as a stand-in with its signatures: there is none without a GPU


def _flash_attn_func(q: Any, k: Any, v: Any, dropout_p: float = 0.0, softmax_scale: Any = None, causal: bool = False,
                     window_size: Any = (-1, -1), softcap: float = 0.0, alibi_slopes: Any = None,
                     deterministic: bool = False, return_attn_probs: bool = False,
                     learnable_sink: Any = None, attention_chunk: int = 0, num_splits: int = 1) -> Any:  # fmt: skip
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    N, M, d = q.shape[2], k.shape[2], q.shape[3]
    s = q @ k.mT * (d**-0.5 if softmax_scale is None else softmax_scale)
    s = softcap * torch.tanh(s / softcap) if softcap else s
    far = torch.arange(M) - torch.arange(N)[:, None] - (M - N)
    if alibi_slopes is not None:
        s = s - alibi_slopes[..., None, None] * far.abs()
    left, right = window_size
    hidden = (far > 0) & causal | (far < -left) & (left >= 0) | (far > right) & (right >= 0)
    if attention_chunk:
        at = torch.arange(N)[:, None] + M - N
        hidden = hidden | (at // attention_chunk != torch.arange(M) // attention_chunk)
    s = s.masked_fill(hidden, -torch.inf)
    lse = s.logsumexp(-1, keepdim=True)
    if learnable_sink is not None:
        lse = torch.logaddexp(lse, learnable_sink[:, None, None].to(lse))
    return (s - lse).exp().nan_to_num(0.0).matmul(v).transpose(1, 2)


def _flash_attn_qkvpacked_func(qkv: Any, dropout_p: float = 0.0, softmax_scale: Any = None, causal: bool = False,
                               num_heads_q: Any = None) -> Any:  # fmt: skip
    if qkv.dim() == 4:  # as FlashAttention-3 has it: heads of q, of k and of v side by side
        shared = (qkv.shape[2] - num_heads_q) // 2
        q, k, v = qkv.split([num_heads_q, shared, shared], 2)
        return _flash_attn_func(q, k, v, dropout_p, softmax_scale, causal)
    return _flash_attn_func(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], dropout_p, softmax_scale, causal)


def _flash_attn_varlen_func(q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int,
                            max_seqlen_k: int, causal: bool = False, block_table: Any = None,
                            alibi_slopes: Any = None) -> Any:  # fmt: skip
    ends = zip(*(zip(x.tolist(), x.tolist()[1:], strict=False) for x in (cu_seqlens_q, cu_seqlens_k)), strict=True)
    each = alibi_slopes if alibi_slopes is not None and alibi_slopes.dim() > 1 else [alibi_slopes] * len(cu_seqlens_q)
    return torch.cat(
        [
            _flash_attn_func(q[None, a:b], k[None, c:e], v[None, c:e], causal=causal, alibi_slopes=slopes)[0]
            for ((a, b), (c, e)), slopes in zip(ends, each, strict=False)
        ]
    )


@pytest.fixture
def flash_attn(monkeypatch: pytest.MonkeyPatch) -> Any:
    package, inner = types.ModuleType("flash_attn"), types.ModuleType("flash_attn.flash_attn_interface")
    for function in (_flash_attn_func, _flash_attn_qkvpacked_func, _flash_attn_varlen_func):
        own = types.FunctionType(function.__code__, function.__globals__, function.__name__[1:], function.__defaults__)
        setattr(inner, own.__name__, own)
        setattr(package, own.__name__, own)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setitem(sys.modules, "flash_attn.flash_attn_interface", inner)
    return package


def test_flash_attns_functions_are_seen_wherever_a_module_holds_one(flash_attn: Any) -> None:
    q, k, v = tensors((2, 5, 4, 3), (2, 7, 2, 3), (2, 7, 2, 3))
    before = flash_attn.flash_attn_func
    ends = torch.tensor([0, 2, 5]), torch.tensor([0, 4, 7])
    with fs.capture("all") as calls:
        flash_attn.flash_attn_func(q, k, v, causal=True)
        flash_attn.flash_attn_func(q, k, v, window_size=(2, 1), softmax_scale=0.4)
        flash_attn.flash_attn_func(q, k, v, softcap=1.5, alibi_slopes=torch.tensor([0.1, 0.2, 0.3, 0.4]))
        flash_attn.flash_attn_qkvpacked_func(torch.stack([k, v, k], dim=2), causal=True)
        flash_attn.flash_attn_varlen_func(q[0], k[0], v[0], *ends, 3, 4, causal=True)
        flash_attn.flash_attn_varlen_func(q[0], k[0], v[0], *ends, 3, 4, block_table=torch.zeros(2, 1))
    assert [call.function for call in calls[:4]] == [*["flash_attn_func"] * 3, "flash_attn_qkvpacked_func"]
    assert [call.mask for call in calls] == ["causal", "window:2,1", "none", "causal", "Boolean", "Boolean"]
    assert (calls[2].softcap, calls[2].head(3, batch=1).own["alibi"]) == (1.5, pytest.approx(0.4))
    for call in calls[:5]:
        made_again(call, 1e-6)
    with pytest.raises(ValueError, match="has block_table, which no run here has"):
        calls[5].head(0)
    assert flash_attn.flash_attn_func is before
    assert sys.modules["flash_attn.flash_attn_interface"].flash_attn_func is before


def test_alibi_counts_from_the_end_of_each_packed_sequence(flash_attn: Any) -> None:
    """Where the sequences' ends lie apart, the distances are not those of the whole, and where each has slopes of its
    own, no one number a head says them."""
    q, k, v = tensors((6, 4, 3), (10, 2, 3), (10, 2, 3))
    slopes = torch.tensor([0.5, 0.25, 0.1, 0.9])
    alike, apart = [0, 2, 6], [0, 3, 10]
    with fs.capture("all") as calls:
        for ends, each in ((alike, slopes), (apart, slopes), (alike, torch.stack([slopes, 2 * slopes]))):
            for causal in (False, True):
                keys = k[: ends[-1]], v[: ends[-1]]
                flash_attn.flash_attn_varlen_func(
                    q, *keys, torch.tensor(alike), torch.tensor(ends), 4, 7, causal=causal, alibi_slopes=each
                )
    assert [call.mask for call in calls] == ["Boolean"] * 2 + ["Boolean + bias"] * 4
    assert calls[0].head(3).own["alibi"] == pytest.approx(0.9)
    for call in calls:
        made_again(call, 1e-6)


def test_flash_attention_3_packs_heads_side_by_side(flash_attn: Any) -> None:
    (qkv,) = tensors((2, 5, 4 + 2 + 2, 3))
    with fs.capture("all") as calls:
        flash_attn.flash_attn_qkvpacked_func(qkv, num_heads_q=4, causal=True)
    assert (calls[0].heads, calls[0].kv_heads) == (4, 2)
    made_again(calls[0], 1e-6)


def test_an_argument_of_flash_attn_that_nobody_here_knows_is_named_unless_it_asks_for_nothing(flash_attn: Any) -> None:
    q, k, v = tensors((2, 5, 4, 3), (2, 7, 2, 3), (2, 7, 2, 3))
    with fs.capture("all") as calls:
        flash_attn.flash_attn_func(q, k, v, causal=True, attention_chunk=4)
        flash_attn.flash_attn_func(q, k, v, causal=True, attention_chunk=0, num_splits=3, deterministic=True)
    assert "causal, attention_chunk" in str(calls)
    with pytest.raises(ValueError, match="has attention_chunk, which no run here has"):
        calls[0].head(0, batch=0)
    made_again(calls[1], 1e-6)


def test_sinks_go_along_with_a_head_into_a_file_too(flash_attn: Any, tmp_path: Path) -> None:
    q, k, v = tensors((2, 5, 4, 3), (2, 7, 2, 3), (2, 7, 2, 3))
    with fs.capture("all") as calls:
        flash_attn.flash_attn_func(q, k, v, causal=True, learnable_sink=torch.tensor([0.5, -1.0, 2.0, 0.0]))
    assert calls[0].mask == "causal"
    assert "causal, sinks" in str(calls)
    made_again(calls[0])
    one = calls[0].head(2, batch=1)
    again = fs.load_qkv(one.save(tmp_path / "head.npz"))
    O = fs.record("flash2-forward", *again, **again.options).outputs["O"]
    np.testing.assert_allclose(O, one.o, rtol=0, atol=1e-10)


def test_what_a_backward_pass_computes_once_more_is_no_other_call_of_flash_attn(flash_attn: Any) -> None:
    (x,) = (x.requires_grad_() for x in tensors((1, 5, 2, 3)))
    with fs.capture() as calls:
        o = checkpoint(lambda x: flash_attn.flash_attn_func(x, x, x), x, use_reentrant=True)
        o.sum().backward()
    assert len(calls) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="there is no Triton elsewhere")
def test_this_packages_own_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as such, and where it stands in torch's place; what it gives to torch's own function is seen as that."""
    from flashsteps.kernels import flash_attention

    q, k, v = tensors((1, 2, 8, 16), (1, 1, 8, 16), (1, 1, 8, 16), dtype=torch.float32)
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash_attention)
    keep = torch.rand(1, 2, 8, 8) > 0.3
    with fs.capture("all") as calls, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flash_attention(q, k, v, causal=True, softcap=3.0)
        F.scaled_dot_product_attention(q, k, v, attn_mask=keep, enable_gqa=True)
        F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True, enable_gqa=True)
    assert [(call.function, call.heads, call.kv_heads) for call in calls] == [
        ("flashsteps", 2, 1), ("flashsteps", 2, 1), ("sdpa", 2, 1)
    ]  # fmt: skip
    assert [call.mask for call in calls][::2] == ["causal", "causal"]
    for call in calls:
        made_again(call, 1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no Triton elsewhere")
def test_masks_sinks_and_packed_sequences_of_this_packages_own_kernel_are_kept() -> None:
    from flashsteps.kernels import flash_attention, flash_attention_varlen

    q, k, packed, mask = tensors((1, 2, 6, 8), (1, 1, 7, 8), (7, 2, 8), (2, 6, 7), dtype=torch.float32)
    ends = torch.tensor([0, 0, 3, 7], dtype=torch.int32)
    with fs.capture("all") as calls:
        flash_attention(q, k, k, mask > 0, is_causal=True)
        flash_attention(q, k, k, mask, sinks=torch.tensor([0.5, 3.0]))
        flash_attention_varlen(packed, packed, packed, ends, ends, 4, 4, causal=True)
    assert [(call.mask, call.sinks) for call in calls] == [("Boolean", False), ("bias", True), ("Boolean", False)]
    assert "bias, sinks" in str(calls)
    for call in calls:
        made_again(call, 1e-5)


def test_attention_that_is_written_out_is_not_seen_and_the_table_says_where() -> None:
    by_hand = Attends(lambda q, k, v: (q @ k.mT).softmax(-1) @ v)
    (x,) = tensors((1, 2, 4, 4))
    with fs.capture() as calls:
        nn.Sequential(by_hand)(x)
    assert (len(calls), calls.unseen) == (0, ["0"])
    assert str(calls).startswith("a softmax was taken in 0: attention that is written out by hand is not seen; ")


def test_without_torch_it_says_what_to_type(tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["torch"] = None
        import flashsteps as fs
        try:
            with fs.capture(): pass
        except ValueError as error: print(error)
    """
    assert python(code, tmp_path) == "capture needs torch: pip install 'flashsteps[torch]'\n"


# ---- the gradient


def trained(reentrant: bool | None = None, inside: bool = False) -> tuple[Calls, dict[str, Any]]:
    """A step of training, and the gradients that torch computed for q, k and v of its only call of attention."""
    q, k, v = (x.requires_grad_() for x in tensors((1, 4, 6, 3), (1, 2, 6, 3), (1, 2, 6, 3)))

    def step(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).sin()

    with fs.capture("all", backward=True) as calls:
        o = step(q, k, v) if reentrant is None else checkpoint(step, q, k, v, use_reentrant=reentrant)
        if inside:
            torch.autograd.backward((o * torch.arange(3)).sum())
    if not inside:
        (o * torch.arange(3)).sum().backward()
    return calls, {"dQ": q.grad[0], "dK": k.grad[0], "dV": v.grad[0]}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("reentrant", [None, False])
def test_with_the_gradient_of_o_the_backward_pass_is_the_models(reentrant: bool | None, inside: bool) -> None:
    calls, expected = trained(reentrant, inside)
    (call,) = calls  # what a checkpoint computes once more is no other call
    heads = [call.head(head) for head in range(4)]
    found = [fs.record("flash2-backward", *one, do=one.do, **one.options).outputs for one in heads]
    for head, outputs in enumerate(found):
        np.testing.assert_allclose(outputs["dQ"], expected["dQ"][head], atol=1e-10)
    for name in ("dK", "dV"):
        sums = [found[0][name] + found[1][name], found[2][name] + found[3][name]]  # two heads share one of keys
        np.testing.assert_allclose(sums, expected[name], atol=1e-10)
    assert "all + dO" in str(calls)


def test_what_is_kept_of_one_head_is_no_part_of_the_step() -> None:
    (x,) = (x.requires_grad_() for x in tensors((1, 3, 4, 2)))
    with fs.capture((0, 1), backward=True) as calls:
        o = checkpoint(lambda x: F.scaled_dot_product_attention(x, x, x), x, use_reentrant=False)  # counts what is kept
    o.sin().sum().backward()
    assert calls[0].head(1).do is not None
    assert "head 1 + dO" in str(calls)


@pytest.mark.parametrize("inside", [True, False])
def test_where_no_gradient_came_a_backward_pass_says_so(inside: bool) -> None:
    calls, _ = trained(True, inside)
    (call,) = calls
    one = call.head(0)
    assert one.do is None
    with pytest.raises(ValueError, match="needs do, the gradient of O"):
        fs.record("flash2-backward", *one, do=one.do, **one.options)


# ---- what is kept


def two_layers(**options: Any) -> Calls:
    x, y = tensors((1, 2, 4, 3), (1, 2, 5, 3))
    model = nn.Sequential(Attends(partial(imported, **options)), Attends(lambda q, k, v: imported(q, y, y)))
    with fs.capture(options.pop("keep", "all")) as calls:
        model(x)
    return calls


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (7, "tensors=7: there were 2 calls of attention, from 0 to 1"),
        ("layers.3", "tensors='layers.3': unknown module 'layers.3': known are 0, 1"),
        ((0, 5), "head 5 was asked for, but call 0 has 2 heads, from 0"),
        (
            -1,
            "tensors=-1: give the number of a call, from 0, a module's path, 'all', or one of them and a head: (3, 1)",
        ),
        (True, "tensors=True: give the number of a call"),
        ((1, 2, 3), "tensors=(1, 2, 3): give the number"),
    ],
)
def test_what_is_to_be_kept_has_to_be_there(keep: Any, message: str) -> None:
    (x,) = tensors((1, 2, 4, 3))
    model = nn.Sequential(Attends(imported), Attends(imported))
    with pytest.raises(ValueError, match=re.escape(message)), fs.capture(keep):
        model(x)


def test_a_calls_number_is_no_modules_path() -> None:
    (x,) = tensors((1, 2, 4, 3))
    model = nn.Sequential(nn.Identity(), Attends(imported), Attends(imported))
    for keep, kept in ((1, [False, True]), ("1", [True, False]), ("2", [False, True]), (("1", 0), [True, False])):
        with fs.capture(keep) as calls:
            model(x)
        assert [call.kept is not None for call in calls] == kept


def test_nothing_is_kept_unless_it_is_asked_for_and_no_more_than_the_limit() -> None:
    (x,) = tensors((1, 2, 64, 8))
    model = nn.Sequential(Attends(imported), Attends(imported))
    with fs.capture() as calls:
        model(x)
    assert [call.kept for call in calls] == [None, None]
    with pytest.raises(
        ValueError, match=r"calls\[1\]: its tensors were not kept: give capture\(tensors=1\), or tensors="
    ):
        calls[1].head(0)
    with pytest.raises(ValueError, match="no tensors were kept: give capture"):
        calls.save("x.npz")
    nbytes = 4 * x.nbytes
    with fs.capture("all", limit=2 * nbytes):
        model(x)
    with pytest.raises(ValueError, match=r"the tensors of calls 0 to 1 take 65.5 KB, the limit is 65.5 KB: keep fewer "
                       r"\(tensors=1, or tensors=\(1, 0\) for one head\), or give a larger limit="), \
            fs.capture("all", limit=2 * nbytes - 1):  # fmt: skip
        model(x)
    with pytest.raises(ValueError, match="the limit is 32.8 KB"), fs.capture(0, backward=True, limit=nbytes):
        model(x)
    for remedy in ({"tensors": 1}, {"tensors": (1, 0)}, {"tensors": "all", "limit": 65536}):
        with fs.capture(**remedy, **{} if "limit" in remedy else {"limit": nbytes}):
            model(x)


def test_what_makes_no_sense_is_refused_in_one_line() -> None:
    with (
        pytest.raises(ValueError, match="backward=True keeps a gradient, but no tensors are kept"),
        fs.capture(backward=True),
    ):
        pass
    with pytest.raises(ValueError, match="limit is 0: give the most bytes"), fs.capture(limit=0):
        pass
    calls = two_layers()
    for ask, message in {
        lambda: calls[0].head(): r"calls\[0\] has 2 heads: choose one, head=0 to 1",
        lambda: calls[0].head(2): r"head=2, but calls\[0\] has 2 heads: give 0 to 1",
        lambda: calls[0].head(0, batch=1): r"batch=1, but calls\[0\] has 1 sequences: give 0 to 0",
        lambda: calls[0].head(0, tokens=["a"]): "1 tokens for 4 keys: give one for each",
    }.items():
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(IndexError, match=r"calls\[2\], but there are 2: give 0 to 1"):
        _ = calls[2]


def test_dropped_weights_cannot_be_had_again() -> None:
    calls = two_layers(dropout_p=0.25)
    with pytest.raises(
        ValueError, match=r"calls\[0\] dropped weights at random \(0.25\), which nothing can do again: call "
    ):
        calls[0].head(0)
    assert "0.25" in str(calls)
    made_again(calls[1])


# ---- files


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_saved_head_is_read_with_its_mask_and_its_scale(tmp_path: Path, ending: str, dtype: Any) -> None:
    q, k, v = tensors((1, 2, 4, 3), (1, 2, 5, 3), (1, 2, 5, 3), dtype=dtype)
    with fs.capture("all", tokens=list("abcdé")) as calls:
        F.scaled_dot_product_attention(q, k, v, torch.tensor([[True, False, True, True, False]]), scale=0.7)
    one = calls[0].head(1)
    path = one.save(tmp_path / f"head{ending}")
    read = fs.load_qkv(path)
    for got, kept in zip(read, one, strict=True):
        np.testing.assert_array_equal(got, kept)
    assert read.tokens == tuple("abcdé")
    assert {name: np.asarray(x).tolist() for name, x in read.own.items()} == {
        name: np.asarray(x).tolist() for name, x in one.own.items()
    }
    expected = fs.record("flash2-forward", *one, **one.options).outputs["O"]
    np.testing.assert_array_equal(fs.record("flash2-forward", *read, **read.options).outputs["O"], expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_all_heads_of_a_call_or_of_all_calls_are_one_file(tmp_path: Path, dtype: Any) -> None:
    from safetensors import torch as safetensors

    (x,) = tensors((2, 4, 6, 3), dtype=dtype)
    with fs.capture("all") as calls:
        for _ in range(3):
            F.scaled_dot_product_attention(x, x[:, ::2], x[:, 1::2], is_causal=True, enable_gqa=True)
    path = calls.save(tmp_path / "run.safetensors")
    there = safetensors.load_file(path)
    assert there["q"].dtype == dtype
    assert {name: array.shape for name, array in there.items()} == {
        "q": (3, 2, 4, 6, 3),
        "k": (3, 2, 2, 6, 3),
        "v": (3, 2, 2, 6, 3),
    }
    for at in ((0, 0, 3), (2, 1, 1)):
        read, one = fs.load_qkv(path, at), calls[at[0]].head(at[2], batch=at[1])
        assert all(np.array_equal(*pair) for pair in zip(read, one, strict=True))
        assert read.own == one.own
    assert fs.load_qkv(calls[1].save(tmp_path / "call.npz"), (1, 3)).own["mask"] == "causal"


def test_what_is_not_alike_is_saved_apart(tmp_path: Path) -> None:
    calls = two_layers()
    with pytest.raises(
        ValueError, match=r"calls\[0\] and calls\[1\] are of different shapes: save one of them, calls\[1\]"
    ):
        calls.save(tmp_path / "run.npz")
    calls[1].save(tmp_path / "run.npz")
    q, k = tensors((1, 2, 4, 3), (1, 2, 5, 3))
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(q, k, k, torch.rand(1, 2, 4, 5) < 0.5)
    with pytest.raises(ValueError, match=r"not all heads of calls\[0\] have one mask, bias and scale: save a single"):
        calls[0].save(tmp_path / "run.npz")
    calls[0].head(1).save(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="its ending is to say what to make: use .npz or .safetensors"):
        calls[0].head(1).save(tmp_path / "run.txt")


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_type_that_numpy_lacks_is_saved_as_it_is(tmp_path: Path, ending: str) -> None:
    x = np.linspace(-3, 3, 12).reshape(4, 3).astype(ml_dtypes.bfloat16)
    read = fs.load_qkv(saving.save(tmp_path / f"x{ending}", x, x, x, None, {}))
    np.testing.assert_array_equal(read.q.astype(float), x.astype(float))


@pytest.mark.parametrize(
    "said",
    ["x", "[1]", '{"mask": 3}', '{"mask": "beside"}', '{"code": "x"}', '{"scale": "large"}', '{"scale": "beside"}',
     '{"mask": "beside", "scale": [1]}'],
)  # fmt: skip
def test_options_of_strangers_are_only_data(tmp_path: Path, said: str) -> None:
    path = tmp_path / "x.npz"
    x = np.ones((4, 3))
    np.savez(path, q=x, k=x, v=x, flashsteps=np.array(said))
    with pytest.raises(ValueError, match="what flashsteps says in it is no JSON of options") as error:
        fs.load_qkv(path)
    assert "\n" not in str(error.value)


# ---- what takes a head


def test_a_film_of_a_head_has_its_mask_and_its_scale() -> None:
    (x,) = tensors((1, 1, 8, 4), dtype=torch.float32)
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3)
    one = calls[0].head(0)
    film = fs.film("flash2-forward", input=one)
    (run,) = film.told.runs
    assert (run.meta["mask"], run.meta["scale"], run.meta["dtype"]) == ("causal", 0.3, "float32")
    np.testing.assert_allclose(run.outputs["O"], one.o, atol=1e-6)
    fs.film("causal", input=one)  # which has a run without it beside
    message = "this film shows runs with mask none, and this head has the mask causal: give mask none to see it without"
    with pytest.raises(ValueError, match=message):
        fs.film("online-softmax", input=one)


def test_a_film_of_a_training_step_has_the_gradient_that_came() -> None:
    q, k, v = (x.requires_grad_() for x in tensors((1, 1, 8, 4), (1, 1, 8, 4), (1, 1, 8, 4)))
    with fs.capture("all", backward=True) as calls:
        F.scaled_dot_product_attention(q, k, v, scale=0.6).sin().sum().backward()
        F.scaled_dot_product_attention(q, k, v, is_causal=True)
    one = calls[0].head(0)
    board = Board("wide", "", options={"input": one}, source=Input())
    trace = importlib.import_module("flashsteps.scenes.backward").recorded(board, "flash2-backward").trace
    np.testing.assert_array_equal(trace.initial["dO"], one.do)
    np.testing.assert_allclose(trace.outputs["dQ"], q.grad[0, 0], atol=1e-10)
    with pytest.raises(ValueError, match="this film shows runs with mask none, and this head has the mask causal"):
        fs.film("backward", input=calls[1].head(0))


def test_a_small_map_keeps_what_rows_give() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(50), 37)
    for rows, columns in ((8, 16), (37, 50), (64, 64), (1, 1)):
        found = small(p, rows, columns)
        assert found.shape == (min(rows, 37), min(columns, 50))
        np.testing.assert_allclose(found.sum(axis=1), 1)


def test_the_explorer_opens_with_a_heads_own_mask_or_says_what_it_lacks(tmp_path: Path) -> None:
    from flashsteps.explorer import page

    (x,) = tensors((1, 1, 8, 4), dtype=torch.float32)
    with fs.capture("all") as calls:
        F.scaled_dot_product_attention(x, x, x, is_causal=True)
        F.scaled_dot_product_attention(x, x, x, scale=1.0)
    page.write(tmp_path / "x.html", fs.load_qkv(calls[0].head(0).save(tmp_path / "x.npz")))
    assert '"first":{"a":"flash2-forward","bq":4,"bk":4,"mask":"causal"' in (tmp_path / "x.html").read_text("utf-8")
    with pytest.raises(
        ValueError, match="nothing else that changes scores, and this head has more: step through it with"
    ):
        page.page(calls[1].head(0))
