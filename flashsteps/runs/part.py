"""A part of an input: some of its queries and keys, with what belongs to them of the mask and bias it came with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..inputs.qkv import QKV, Heads
from ..machine import masks


def part(one: QKV, queries: slice, keys: slice) -> QKV:
    """These queries and keys, with as many of the last tokens. What a model made of all keys does not go along."""
    q, k, v = one.q[queries], one.k[keys], one.v[keys]
    own = _own(one.own, len(one.q), len(one.k), queries, keys)
    axes = one.axes and one.axes.cut(len(q), len(k))
    return QKV(q, k, v, one.tokens and one.tokens[-max(len(q), len(k)) :], one.source, axes, own)


def last(heads: Heads, n: int) -> Heads:
    """The last n queries of all heads, and all keys."""
    each = tuple(part(one, slice(len(one.q) - n, len(one.q)), slice(len(one.k))) for one in heads.each)
    return Heads(each, heads.axes.cut(n, len(each[0].k)))


def _own(own: Mapping[str, Any], N: int, M: int, queries: slice, keys: slice) -> dict[str, Any]:
    """A mask and a bias cut to these; a mask by name stays one if it goes by the diagonal alone, as causal does."""
    found = dict(own)
    if "bias" in own:
        found["bias"] = own["bias"][queries, keys]
    mask = own.get("mask")
    if isinstance(mask, np.ndarray):
        found["mask"] = mask[queries, keys]
    elif mask not in (None, "causal"):
        found["mask"] = masks.parse(mask, N, M).keep(queries, keys)
    return found
