"""What is noted of one call of attention, and which of its tensors are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from . import biases
from .calls import Call, Kept, plain
from .reading import Attention

Tensor = Any  # torch's, which is not read by mypy

#: a mask of more numbers than this is not looked at to say what it is
MOST_LOOKED_AT = 1 << 22


def call(index: int, attention: Attention, module: str, kind: str, tokens: tuple[str, ...] | None) -> Call:
    """All that there is to say of a call, without its tensors."""
    q, k, v = attention.q, attention.k, attention.v
    (batch, heads, N, d), (_, _, M, d_v) = q.shape, v.shape
    return Call(
        index, module, kind, attention.function, batch, heads, _different(k, v), N, M, d, d_v,
        str(q.dtype).removeprefix("torch."), attention.scale, attention.rule, _said(attention), attention.dropout,
        attention.softcap, attention.sinks is not None, attention.beyond,
        tokens if tokens is not None and len(tokens) == max(N, M) else None,
    )  # fmt: skip


def with_tensors(
    call: Call,
    attention: Attention,
    out: Tensor,
    heads: tuple[int, ...],
    backward: bool,
    take: Callable[[int, int], None],
) -> Call:
    """The call with the tensors of these heads, on the CPU. `take` is told of bytes before they are taken."""
    q, k, v, o = attention.q, attention.k, attention.v, attention.form(out)
    group = call.heads // call.kv_heads
    kv_heads = tuple(dict.fromkeys(head // group for head in heads))
    same = k.shape[1] // call.kv_heads  # of k and v as they came, so many are the same
    per_head = q[:, :1].nbytes + o[:, :1].nbytes * (1 + backward)
    take(len(heads) * per_head + len(kv_heads) * (k[:, :1].nbytes + v[:, :1].nbytes), call.index)
    added, lowest = _added(attention), 0.0
    if added is not None:
        if added.shape[1] > 1:
            added = _of(added, heads)
        take(added.nbytes, call.index)
        added, lowest = _ours(added), _lowest(added)
    slopes = attention.slopes
    if slopes is not None:
        slopes = _ours(_of(slopes.expand(call.batch, call.heads), heads))
    sinks = None if attention.sinks is None else _ours(_of(attention.sinks[None], heads)[0])
    of_keys = tuple(head * same for head in kv_heads)
    form = attention.form
    kept = Kept(
        heads, kv_heads, _ours(_of(q, heads)), _ours(_of(k, of_keys)), _ours(_of(v, of_keys)), _ours(_of(o, heads)),
        added, lowest, slopes, sinks,
    )  # fmt: skip
    if backward and out.requires_grad:

        def came(gradient: Tensor) -> None:
            kept.do = _ours(_of(form(gradient), heads))

        out.register_hook(came)
    beyond = call.beyond
    if added is None and callable(attention.added):
        beyond = "a score_mod that does more than add to a score"
    return replace(call, kept=kept, beyond=beyond)


def _of(tensor: Tensor, heads: tuple[int, ...]) -> Tensor:
    """These heads of a tensor (B, H, …)."""
    return tensor if heads == tuple(range(tensor.shape[1])) else tensor[:, list(heads)]


def _ours(tensor: Tensor) -> Tensor:
    """A copy on the CPU, without a history."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _added(attention: Attention) -> Tensor | None:
    """What is added to scores, made now where it is made by a function; one of those that are all the same."""
    with torch.no_grad():
        added = attention.added() if callable(attention.added) else attention.added
        for axis in (0, 1):
            if added is not None and added.shape[axis] > 1 and added.stride(axis) == 0:
                added = added.narrow(axis, 0, 1)
    return added


def _different(k: Tensor, v: Tensor) -> int:
    """How many heads of keys and values there are, where a model has each of them several times for as many queries."""
    heads = k.shape[1]
    if k.numel() == 0 or k.is_meta:
        return int(heads)
    for times in range(heads, 1, -1):
        if heads % times == 0 and all(_repeats(x[:, :, :1], times) and _repeats(x, times) for x in (k, v)):
            return int(heads // times)
    return int(heads)


def _repeats(x: Tensor, times: int) -> bool:
    parts = x.detach().unflatten(1, (-1, times))
    return bool(torch.equal(parts, parts[:, :, :1].expand_as(parts)))


def _said(attention: Attention) -> str:
    """A call's mask in a word or two."""
    N, M = attention.q.shape[2], attention.k.shape[2]
    if attention.added is None:
        return attention.rule or "none"
    if callable(attention.added) and attention.q.shape[:2].numel() * N * M > MOST_LOOKED_AT:
        return "a function"
    if (added := _added(attention)) is None:
        return "a function"
    if added.numel() > MOST_LOOKED_AT:
        return "Boolean" if added.dtype == torch.bool else "added"
    matrices = plain(added.detach().cpu()).reshape(-1, *added.shape[2:])
    words = (_word(*biases.of_scores(attention.rule, matrix, _lowest(added), N, M)) for matrix in matrices)
    found = dict.fromkeys(words)
    return " or ".join(found) if len(found) < 3 else f"{len(found)} masks"


def _lowest(added: Tensor) -> float:
    """The least number of its type; 0 for a Boolean one."""
    return float(torch.finfo(added.dtype).min) if added.dtype.is_floating_point else 0.0


def _word(mask: str | np.ndarray | None, bias: np.ndarray | None) -> str:
    word = mask if isinstance(mask, str) else "none" if mask is None else "Boolean"
    return word if bias is None else "bias" if mask is None else f"{word} + bias"
