"""`flash_attention`: the kernels, called as torch's `scaled_dot_product_attention` is, to be used in a model.

What a caller gave is brought into the kernels' form, (batch, heads, tokens, head dimension); what they can't do goes to
torch's own function, with a word of warning.
"""

from __future__ import annotations

import warnings
from numbers import Real
from operator import is_
from typing import Any

import torch
from torch.nn.attention.bias import CausalBias, CausalVariant

from . import checks
from .operation import PLAIN, attention
from .problem import Problem
from .targets.target import interpreted, pretended


class FallbackWarning(UserWarning):
    """That a call went to torch's own function, and why: said once for each reason."""


def flash_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """softmax(q kᵀ · scale) v for each head, exactly, without ever storing a matrix of scores (FlashAttention-2).

    It is called as `torch.nn.functional.scaled_dot_product_attention` is, by position or by name, and may be put in its
    place. query (…, H, N, d), key (…, Hk, M, d) and value (…, Hk, M, d_v), of 2 to 5 dimensions, of float16, bfloat16
    or float32, with d and d_v up to 256; axes before the last two are broadcast. Gives o (…, H, N, d_v).

    As there: `attn_mask`, which is broadcast to (…, H, N, M), is Boolean (True: may be seen) or is added to the scores,
    and read tile by tile; it may hold −∞, the least number of its type, −10000; or it is torch's `causal_upper_left` or
    `causal_lower_right`, by which nothing is read. `is_causal` is top left (query i sees
    keys up to i) and may be given with a mask. `scale` is 1/√d unless given. With `enable_gqa` head h uses keys and
    values of head h // (H / Hk); without it, too, where torch would refuse fewer heads of keys.

    Further, and not there. `causal` and `window` are aligned to the bottom right, as in flash-attn ≥ 2.1 (for N = M
    both causal masks agree): query i sees keys up to i + M − N; with `window` (left, right) those from i + M − N − left
    to i + M − N + right, −1 for no bound; both may be given. `softcap` makes each scaled score softcap ·
    tanh(score / softcap), before a mask. `sinks` (H,) is one more score for each head, without a value: it joins the
    sum of each row's softmax, and has a gradient. `return_lse` gives lse (…, H, N), too, float32: the natural logarithm
    of each row's sum of exponentials.

    A query that sees no key gives 0, as in torch (NaN before 2.5), and −∞ as lse, or its sink. One whose scores
    overflow float32 gives NaN. One with nothing but keys to which less than −1e30 is added gives their mean, as in
    torch, but no gradient: what that takes is lost in lse.

    ==========================================================  ======================================================
    a last dimension whose stride isn't 1                       is made contiguous
    under autocast                                              inputs are cast as there: float64 stays what it is
    dropout_p > 0, float64, d or d_v > 256, scale ≤ 0, an       torch's own function, and a `FallbackWarning`, once for
    attn_mask with a gradient, nested tensors, enable_gqa with  each reason; with keywords that it doesn't have:
    other heads of value than of key, devices other than cuda,  ValueError
    a CPU without Triton's interpreter
    forward-mode and second derivatives                         ValueError
    what makes no sense                                         ValueError, one line
    ==========================================================  ======================================================

    On a CPU the kernels run in Triton's interpreter, slowly, where it was asked for (TRITON_INTERPRET=1, before Python
    starts). Gradients flow through o and lse, once, and backwards. On an H100 dQ is summed in no fixed order, unless
    torch.use_deterministic_algorithms(True) was called.
    """
    options = dropout_p, is_causal, scale, enable_gqa, causal, window, softcap, sinks, return_lse
    asked = _asked((query, key, value), options) if attn_mask is None else None
    if asked and (known := _answered.get(asked)):
        o, lse = attention(known, query, key, value)
        return (o, lse) if return_lse else o
    tensors = {"query": query, "key": key, "value": value}
    for name, x in tensors.items():
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"{name} is {type(x).__name__}: give a torch.Tensor (…, heads, tokens, head dimension)")
    for name, flag in {"is_causal": is_causal, "enable_gqa": enable_gqa, "return_lse": return_lse}.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{name} is {flag!r}: give True or False")
    if not isinstance(dropout_p, Real) or isinstance(dropout_p, bool) or not 0 <= dropout_p <= 1:
        raise ValueError(f"dropout_p is {dropout_p!r}: give a number from 0 to 1")
    lower_right = False
    if isinstance(attn_mask, CausalBias):
        is_causal, lower_right = _triangle(attn_mask, query, key, is_causal or causal)
        attn_mask = None
    if reason := _beyond(query, key, value, attn_mask, dropout_p, scale, enable_gqa):
        own = {"window": window, "softcap": softcap, "sinks": sinks}
        own |= {"causal": causal or None, "return_lse": return_lse or None}
        if named := [name for name, given in own.items() if given is not None]:
            raise ValueError(f"{reason}; scaled_dot_product_attention can, but has no {' and no '.join(named)}")
        _warn(reason)
        if lower_right:
            n, m = query.shape[-2], key.shape[-2]
            attn_mask = torch.ones(n, m, dtype=torch.bool, device=query.device).tril(m - n)
        return torch._C._nn.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x if x.dtype == torch.float64 else x.to(dtype) for x in (query, key, value))
        if isinstance(attn_mask, torch.Tensor) and attn_mask.dtype in checks.DTYPES:
            attn_mask = attn_mask.to(dtype)
    q, k, v, axes = _heads_of(query, key, value, enable_gqa)
    mask = None if attn_mask is None else _of_scores(attn_mask, (*axes, q.shape[2], k.shape[2]), q)
    if is_causal:
        if causal:
            raise ValueError("is_causal (top left) and causal (bottom right) are both given: give one of them")
        if window is not None and q.shape[2] != k.shape[2]:
            raise ValueError("is_causal is top left and window bottom right: give causal, which is bottom right, too")
        # no query sees a key past the last query's own: without them, bottom right or beyond it is top left
        n, m = q.shape[2], min(q.shape[2], k.shape[2])
        if m < k.shape[2]:  # a slice of all of it would have a gradient of its own to make
            k, v = k[:, :, :m], v[:, :, :m]
            mask = mask if mask is None else mask[..., :m]
        causal, window = n == m, window if n == m else (-1, n - m)
    causal = causal or lower_right
    problem = checks.problem(
        q, k, v, causal=causal, window=window, scale=scale, softcap=softcap, attn_mask=mask, sinks=sinks, names=_NAMES
    )
    if asked and all(map(is_, (q, k, v), tensors.values())):
        if len(_answered) >= checks.KEPT:
            _answered.clear()
        _answered[asked] = problem
    o, lse = attention(problem, q, k, v, mask, sinks)
    if len(axes) != 2:
        o, lse = o.reshape(*axes, *o.shape[2:]), lse.reshape(*axes, lse.shape[2])
    return (o, lse) if return_lse else o


# ---- what was asked before

#: what came of calls whose tensors a kernel can take as they are, by all that `flash_attention` looks at to see that
_answered: dict[Any, Problem] = {}

_NUMBERS = {bool, int, float, tuple, type(None)}


def _asked(tensors: tuple[Any, ...], options: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """All that a call without a mask is judged by; None if that is more than numbers, and how its tensors lie.

    1 and True are equal, and only one of them is a number of keys: types are part of it.
    """
    if torch.compiler.is_compiling() or not PLAIN.issuperset(map(type, tensors)) or any(x.is_nested for x in tensors):
        return None
    types = *map(type, options), *[type(one) for given in options if type(given) is tuple for one in given]
    kind = tensors[0].device.type
    if not _NUMBERS.issuperset(types) or kind not in ("cpu", "cuda"):
        return None
    cast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
    layouts = tuple([(x.shape, x.stride(), x.dtype, x.device) for x in tensors])
    return layouts, options, types, cast, pretended() is None


# ---- what the kernels can't do


def _beyond(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, dropout: Any, scale: Any, grouped: bool
) -> str | None:
    """Why a call is not one for the kernels, though it makes sense; None where it is one, or makes none."""
    if q.is_nested or k.is_nested or v.is_nested:
        return "query is a nested tensor: no kernel here takes one (flash_attention_varlen takes packed tokens)"
    if dropout > 0:
        return f"dropout_p is {dropout:g}: no kernel here drops weights"
    if isinstance(mask, torch.Tensor) and mask.requires_grad and torch.is_grad_enabled():
        return "attn_mask requires a gradient: no kernel here gives one"
    if q.dtype == torch.float64:
        return "query holds float64: the kernels have float16, bfloat16 and float32"
    if any(x.dim() and x.shape[-1] > checks.LARGEST for x in (q, v)):
        return f"the head dimension is more than {checks.LARGEST}: no tile of it fits on chip"
    if grouped and k.shape[-3:-2] != v.shape[-3:-2]:
        return "value has other heads than key"
    if isinstance(scale, Real) and not isinstance(scale, bool) and scale <= 0:
        return f"scale is {scale}: the kernels have positive ones"
    kind = q.device.type
    if kind == "cpu" and not (interpreted() or pretended() is not None):
        return "query is on the CPU: move it to a GPU, or set TRITON_INTERPRET=1 before Python starts (slow)"
    return f"query is on {kind}: the kernels run on GPUs that torch calls cuda" if kind not in ("cpu", "cuda") else None


_told: set[str] = set()


@torch.compiler.assume_constant_result
def _warn(reason: str) -> None:
    """Say why, the first time."""
    if reason not in _told:
        _told.add(reason)
        warnings.warn(f"{reason}: torch's own function is used", FallbackWarning, stacklevel=3)


# ---- the kernels' form

_NAMES = ("query", "key", "value")


def _triangle(mask: CausalBias, q: torch.Tensor, k: torch.Tensor, causal: bool) -> tuple[bool, bool]:
    """Which of torch's causal biases this is, upper left or lower right: no number lies in such a tensor."""
    if causal:
        raise ValueError("attn_mask is a CausalBias, and a causal mask is given besides: give one of them")
    said, size = (mask.seq_len_q, mask.seq_len_kv), (q.shape[-2], k.shape[-2])
    if said != size:
        raise ValueError(f"attn_mask is a CausalBias of {said[0]} queries and {said[1]} keys: give one of {size}")
    upper_left = mask.variant == CausalVariant.UPPER_LEFT
    return upper_left, not upper_left


def _of_scores(mask: Any, scores: tuple[int, ...], q: torch.Tensor) -> torch.Tensor:
    """attn_mask as (B | 1, H | 1, N | 1, M | 1), where it is one number for each of these scores (…, N, M)."""
    if not isinstance(mask, torch.Tensor):
        raise ValueError(f"attn_mask is {type(mask).__name__}: give a torch.Tensor of bool or float, or None")
    new = len(scores) - mask.dim()
    if new < 0 or any(n not in (1, size) for n, size in zip(mask.shape[::-1], scores[::-1], strict=False)):
        raise ValueError(f"attn_mask has shape {tuple(mask.shape)}: give what can be broadcast to {tuple(scores)}")
    mask = mask[(None,) * (new + max(4 - len(scores), 0))]
    if mask.dim() == 4:
        return mask
    batch = mask.shape[:-3] if mask.shape[:-3].numel() == 1 else scores[:-3]
    return mask.expand(*batch, *mask.shape[-3:]).flatten(0, -4)


def _heads_of(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grouped: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[int, ...]]:
    """query, key and value as (batch, heads, tokens, head dimension), and the axes before tokens that o shall have."""
    named = {"query": q, "key": k, "value": v}
    for name, x in named.items():
        if not 2 <= x.dim() <= 5:
            raise ValueError(f"{name} has shape {tuple(x.shape)}: give (…, heads, tokens, head dimension), 2 to 5 axes")
    plain = q.dim() == k.dim() == v.dim() == 4 and q.shape[0] == k.shape[0] == v.shape[0] and k.shape[1] == v.shape[1]
    if plain and (q.shape[1] == k.shape[1] or q.shape[1] > 1):
        return *(checks.readable(x, k.shape[1]) for x in (q, k, v)), q.shape[:2]
    h, hk, hv = (x.shape[-3] if x.dim() > 2 else 1 for x in (q, k, v))
    if hk != hv and 1 not in (hk, hv):
        raise ValueError(f"value has {hv} heads, key {hk}: give as many of both")
    hk = max(hk, hv) if hk and hv else 0
    heads = hk if h == 1 and not grouped else h
    try:
        batch = torch.broadcast_shapes(*(x.shape[:-3] for x in (q, k, v)))
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in named.items())
        raise ValueError(f"{shapes}: axes before the heads are not the same, nor 1") from None
    q, k, v = (
        x.expand(*batch, many, *x.shape[-2:]).reshape(batch.numel(), many, *x.shape[-2:])
        for x, many in ((q, heads), (k, hk), (v, hk))
    )
    axes = (*batch, heads) if max(x.dim() for x in named.values()) > 2 else ()
    return *(checks.readable(x, hk) for x in (q, k, v)), axes
