"""How attention is called, by torch, by FlexAttention, by flash-attn and by this package, read into one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.attention.bias import CausalBias, CausalVariant
from torch.nn.attention.flex_attention import _identity

from ..machine import masks

Tensor = Any  # torch's, which is not read by mypy

UPPER_LEFT, LOWER_RIGHT = CausalVariant.UPPER_LEFT, CausalVariant.LOWER_RIGHT


class Attention(NamedTuple):
    """One call: q (B, H, N, d), k (B, Hk, M, d), v (B, Hk, M, d_v), and all that changes scores and weights."""

    function: str
    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    rule: str | None = None  # a mask by its name, aligned to the bottom right
    #: True where seen, or added to scores, (B or 1, H or 1, N or 1, M or 1); a function where that takes long
    added: Tensor | Callable[[], Tensor | None] | None = None
    dropout: float = 0.0
    softcap: float | None = None
    slopes: Tensor | None = None  # ALiBi: (H,) or (B, H)
    sinks: Tensor | None = None  # (H,)
    beyond: str = ""  # what of it no run here can do
    form: Callable[[Tensor], Tensor] = lambda o: o  # brings what the call gave into the form of q


# ---- torch


def sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Attention:
    """torch.nn.functional.scaled_dot_product_attention. Its causal mask is aligned to the top left."""
    if query.is_nested:
        q, k, v = map(four, (query, key, value))
    else:
        q, k, v, axes = _broadcast(query, key, value)
        if isinstance(attn_mask, torch.Tensor) and len(axes) > 2:
            attn_mask = attn_mask.expand(*axes, *attn_mask.shape[-2:])
    N, M = q.shape[2], k.shape[2]
    top_left, bottom_right, added = is_causal, False, None
    if isinstance(attn_mask, CausalBias):
        top_left, bottom_right = (attn_mask.variant == which for which in (UPPER_LEFT, LOWER_RIGHT))
    elif attn_mask is not None:
        added = four(attn_mask)
    if top_left and N != M:
        added = _top_left(added, N, M)
    rule = "causal" if bottom_right or (top_left and N == M) else None
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    beyond = "nested tensors" if query.is_nested else ""
    return Attention("sdpa", q, k, v, scale, rule, added, float(dropout_p), beyond=beyond, form=four)


def _broadcast(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """q, k and v of one batch, and with heads as torch pairs them; and the axes before tokens that there were."""
    axes = max(x.dim() for x in (q, k, v))
    q, k, v = (x[(None,) * (max(axes, 4) - x.dim())] for x in (q, k, v))
    batch, heads = torch.broadcast_shapes(*(x.shape[:-3] for x in (q, k, v))), max(x.shape[-3] for x in (q, k, v))
    if k.shape[-3] != v.shape[-3]:
        k, v = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (k, v))
    if q.shape[-3] == 1:
        q = q.expand(*q.shape[:-3], heads, *q.shape[-2:])
    q, k, v = (x.expand(*batch, *x.shape[-3:]).flatten(0, -4) for x in (q, k, v))
    return q, k, v, (*batch, heads)


def _top_left(added: Tensor | None, N: int, M: int) -> Tensor:
    """What is added, and a causal mask that begins at the top left."""
    seen = torch.ones(1, 1, N, M, dtype=torch.bool, device=None if added is None else added.device).tril()
    if added is None:
        return seen
    return added & seen if added.dtype == torch.bool else added.masked_fill(~seen, -torch.inf)


def four(x: Tensor) -> Tensor:
    """(N, d), (H, N, d) or (…, H, N, d) as (B, H, N, d); sequences of different lengths with zeros behind them."""
    if x.is_nested:
        parts = x.unbind()
        padded = parts[0].new_zeros(len(parts), len(parts[0]), max(part.shape[1] for part in parts), parts[0].shape[2])
        for row, part in zip(padded, parts, strict=True):
            row[:, : part.shape[1]] = part
        return padded
    if x.dim() > 4:
        return x.flatten(0, -4)
    return x[(None,) * (4 - x.dim())]


def unpacked(attention: Attention, module: Any) -> Attention:
    """A call with its heads: where one query decodes under a mask, transformers has those that share keys as rows."""
    group = getattr(module, "num_key_value_groups", 1)
    heads = getattr(getattr(module, "config", None), "num_attention_heads", 0)
    if group == 1 or attention.q.shape[1:3] != (heads // group, group):
        return attention
    added, form = attention.added, attention.form

    def apart(x: Tensor) -> Tensor:
        return x.flatten(1, 2).unsqueeze(2)

    if isinstance(added, torch.Tensor) and added.shape[1] > 1:
        added = apart(added)
    return attention._replace(q=apart(attention.q), added=added, form=lambda o: apart(form(o)))


def by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, heads: int, dropout: float) -> Attention:
    """nn.MultiheadAttention where it returns its weights too: q (B·H, N, d), scaled already, and kᵀ (B·H, d, M)."""
    q, k, v = (x.unflatten(0, (-1, heads)) for x in (q, k.mT, v))
    if mask is not None:
        mask = mask[None] if len(mask) == 1 else mask.unflatten(0, (-1, heads))
    return Attention("by hand", q, k, v, 1.0, None, mask, dropout, form=lambda o: o.unflatten(0, (-1, heads)))


# ---- FlexAttention


def flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: tuple[Any, ...],
    scale: float,
    *rest: Any,
    **others: Any,
) -> Attention:
    """What torch.nn.attention.flex_attention.flex_attention hands on to its operation."""
    (B, H, N, _), M = query.shape, key.shape[2]
    mask_mod, lead = block_mask[-1], block_mask[2].shape[:2]  # of kv_num_blocks: 1 where all have one mask
    indices = [torch.arange(n, device=query.device) for n in (B, H, N, M)]
    every = {"device": query.device, "dtype": torch.float32}

    def over(mod: Callable[..., Tensor], B: int, H: int, *scores: Tensor) -> Tensor:
        """What a function of (score, b, h, query, key) gives for all of these."""
        for axis in range(3, -1, -1):
            mod = torch.vmap(mod, (*(0 for _ in scores), *(0 if axis == at else None for at in range(4))))
        return mod(*scores, indices[0][:B], indices[1][:H], *indices[2:])

    def added() -> Tensor | None:
        """What is added, if the scores that this very call had, and two others, are no more than added to."""
        seen = over(mask_mod, *lead)
        if score_mod is _identity:
            return seen
        found = over(score_mod, B, H, torch.zeros(B, H, N, M, **every)).float()
        own = query.float() @ key.float().repeat_interleave(H // key.shape[1], 1).mT * scale
        for scores in (own, *(torch.full((B, H, N, M), score, **every) for score in (1.0, -2.5))):
            became = over(score_mod, B, H, scores).float()
            if not torch.allclose(torch.where(seen, became, 0), torch.where(seen, scores + found, 0), 1e-4, 1e-4):
                return None
        return torch.where(seen, found, -torch.inf)

    beyond = "" if len(key) == B else "keys of another batch size"
    return Attention("flex", query, key, value, float(scale), None, added, beyond=beyond)


# ---- flash-attn: tokens before heads


def flash(name: str, given: Mapping[str, Any], asked: Iterable[str]) -> Attention:
    """A function of flash-attn, 2 or 3, by its name and its arguments; `asked` are those that are not as by default.
    Masks are bottom right."""
    q, k, v = _unpacked(given)
    varlen = "varlen" in name

    def form(x: Tensor) -> Tensor:
        """Heads before tokens."""
        return x.transpose(0, 1)[None] if varlen else x.transpose(1, 2)

    q, k, v = map(form, (q, k, v))
    scale = q.shape[-1] ** -0.5 if given.get("softmax_scale") is None else float(given["softmax_scale"])
    left, right = (-1 if n is None or n < 0 else int(n) for n in given.get("window_size") or (-1, -1))
    rule, added = _rule(left, 0 if given.get("causal") else right), None
    slopes = given.get("alibi_slopes")
    if varlen:
        (N, M), (of_q, of_k) = (q.shape[2], k.shape[2]), (_ends(given, x) for x in "qk")
        same = all(m - n == M - N for n, m in zip(of_q, of_k, strict=True))
        apart = slopes is not None and (slopes.dim() > 1 or not same)
        added = partial(_documents, rule, (N, M), of_q, of_k, slopes if apart else None)
        rule, slopes = None, None if apart else slopes
    return Attention(
        name, q, k, v, scale, rule, added,
        dropout=float(given.get("dropout_p") or 0.0),
        softcap=float(given.get("softcap") or 0.0) or None,
        slopes=slopes,
        beyond=_beyond(given, asked),
        form=form,
        sinks=next((given[name] for name in SINKS if given.get(name) is not None), None),
    )  # fmt: skip


def _unpacked(given: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    if "qkv" in given:
        packed, heads = given["qkv"], given.get("num_heads_q")
        if heads is not None and packed.dim() == 4:  # heads of queries, then of keys, then of values
            shared = (packed.shape[2] - heads) // 2
            q, k, v = packed.split([heads, shared, shared], 2)
        else:
            q, k, v = packed.unbind(-3)
        return q, k, v
    if "kv" in given:
        return (given["q"], *given["kv"].unbind(-3))
    if "k_cache" in given:
        return given["q"], given["k_cache"], given["v_cache"]
    return given["q"], given["k"], given["v"]


#: what functions of flash-attn call a logit a head that has no value
SINKS = ("learnable_sink", "sinks", "s_aux")

#: arguments that are read here
READ = {"q", "k", "v", "kv", "qkv", "k_cache", "v_cache", "softmax_scale", "causal", "window_size", "dropout_p",
        "softcap", "alibi_slopes", "cu_seqlens", "cu_seqlens_q", "cu_seqlens_k", "num_heads_q", *SINKS}  # fmt: skip

#: arguments that say how something is computed, or what else is given, and not what comes out
HOW = {"max_seqlen", "max_seqlen_q", "max_seqlen_k", "deterministic", "num_splits", "pack_gqa", "sm_margin", "out",
       "scheduler_metadata", "return_attn_probs", "return_softmax_lse", "return_lse", "rotary_interleaved"}  # fmt: skip


def _beyond(given: Mapping[str, Any], asked: Iterable[str]) -> str:
    """The first that was asked for and that no run here has, whatever flash-attn comes to take; to a cache, new keys
    too."""
    known = (READ | HOW) - ({"k", "v"} if "k_cache" in given else set())
    return next((name for name in asked if name not in known), "")


def _ends(given: Mapping[str, Any], which: str) -> list[int]:
    """Where the sequences of queries or keys begin, and the last one ends."""
    ends: list[int] = given.get(f"cu_seqlens_{which}", given.get("cu_seqlens")).tolist()
    return ends


def _documents(
    rule: str | None, size: tuple[int, int], q_ends: list[int], k_ends: list[int], slopes: Tensor | None = None
) -> Tensor:
    """Of sequences that lie one after the other: True where a query sees a key of its own, (1, 1, N, M).

    With ALiBi's `slopes`, (H,) or (sequences, H), what is added to its score, (1, H, N, M): distances are counted from
    the last key of the sequence, to which its last query is nearest.
    """
    kept = torch.zeros(1, 1, *size, dtype=torch.bool)
    added = None if slopes is None else torch.full((1, slopes.shape[-1], *size), -torch.inf)
    for s, (q, q_end, k, k_end) in enumerate(zip(q_ends, q_ends[1:], k_ends, k_ends[1:], strict=False)):
        if n := q_end - q:
            own = masks.parse(rule, n, k_end - k).keep(slice(0, n), slice(0, k_end - k))
            kept[0, 0, q:q_end, k:k_end] = torch.from_numpy(own)
            if slopes is not None and added is not None:
                steep = (slopes[s] if slopes.dim() > 1 else slopes).detach().float().cpu()
                far = (torch.arange(n)[:, None] - n - torch.arange(k_end - k) + (k_end - k)).abs()
                added[0, :, q:q_end, k:k_end] = -steep[:, None, None] * far
    return kept if added is None else torch.where(kept, added, -torch.inf)


# ---- this package's kernels


def ours(given: Mapping[str, Any]) -> Attention:
    """The operation flashsteps::flash_attention, by the names of its arguments."""
    q, k, v, sinks = given["q"], given["k"], given["v"], given["sinks"]
    rule, added = _rule(given["left"], given["right"]), given["attn_mask"]
    if given["starts_q"] is not None:
        ends = [given[f"starts_{x}"].tolist() for x in "qk"]
        rule, added = None, partial(_documents, rule, (q.shape[2], k.shape[2]), *ends)
    return Attention("flashsteps", q, k, v, given["scale"], rule, added, softcap=given["softcap"] or None, sinks=sinks)


def _rule(left: int, right: int) -> str | None:
    """The mask of so many keys to the left and to the right of the diagonal, −1 for all."""
    if left == -1:
        return {-1: None, 0: "causal"}.get(right, f"window:-1,{right}")
    return f"window:{left},{right}"
