"""What an algorithm is called with: each option checked, and held against what its signature says it takes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from .. import algorithms
from ..machine import block_masks, mask_arrays, masks
from ..machine.dropout import Dropout
from ..machine.mask_arrays import Of

#: block sizes where none are given, cut to the number of queries or keys
BLOCK = 64

#: which parameters of an algorithm an option is for, where they have other names
FOR = {"do": ("dO",), "seed": ("table", "dropout"), "alibi": ("mask",)}


def positive(name: str, given: Any) -> int:
    """`given` as an int. Raises ValueError, with its name, unless it is a whole number above 0."""
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < 1:
        raise ValueError(f"{name} is {given!r}: give a whole number, 1 or more")
    return int(given)


def takes(algorithm: str, option: str) -> bool:
    """Whether an algorithm, or the forward pass before it, takes an option of `record`. ValueError: it is unknown."""
    about = algorithms.algorithm(algorithm)
    before = algorithms.algorithm(about.saved_by).parameters if about.saved_by else {}
    return any(name in about.parameters or name in before for name in FOR.get(option, (option,)))


def called_with(
    algorithm: str, N: int, M: int, d: int, heads: int, group: int, given: Mapping[str, Any], of: Of | None = None
) -> dict[str, Any]:
    """What an algorithm is called with, for N queries and M keys of size d.

    `of` says which heads a mask's array is about (all, unless given). `given` are options of `record`, None where left
    out. Blocks are cut to the number of rows. With a `group` of heads packed as rows, a block of so many tokens has
    that many times the rows.

    Raises ValueError for what makes no sense, and for an option that the algorithm doesn't take: nothing is accepted
    and ignored.
    """
    for name, value in given.items():
        if value is not None and not takes(algorithm, name):
            others = ", ".join(other for other in algorithms.names() if takes(other, name))
            raise ValueError(f"{algorithm} takes no {name}: leave it out, or use {others}")
    scale = _number("scale", given.get("scale"), "None for 1/√d")
    block_q = min(_size(algorithm, "block_q", given.get("block_q")), N)
    block_k = min(_size(algorithm, "block_k", given.get("block_k")), M)
    of = of or Of(N, M, heads)
    mask = masks.parse(given.get("mask"), N, M, of=of)
    found: dict[str, Any] = {"block_q": block_q, "block_k": block_k, "mask": mask}
    if given.get("bias") is not None:
        found["bias"] = mask_arrays.bias(given["bias"], of)
    if given.get("sinks") is not None:
        found["sinks"] = mask_arrays.sinks(given["sinks"], of)
    if mask.added is not None:
        if "bias" in found:
            raise ValueError("mask holds numbers to add to scores, and there is a bias, too: add them, and give one")
        found["bias"] = mask_arrays.whole(masks.ARRAY, mask.added, of)
    found["scale"] = d**-0.5 if scale is None else scale
    if takes(algorithm, "splits"):
        found["splits"] = _size(algorithm, "splits", given.get("splits"))
    found |= _changes(algorithm, heads, given)
    mask = replace(mask, group=group, slopes=found.get("alibi", ()))
    if takes(algorithm, "block_mask"):
        found["block_mask"] = block_masks.parse(given.get("block_mask"), mask, block_q, block_k)
    return found | {"block_q": block_q * group, "mask": mask}


def _changes(algorithm: str, heads: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """What changes scores and weights: softcap, the slopes of ALiBi, dropout."""
    seed, found = given.get("seed"), dict[str, Any]()
    if seed is not None and (type(seed) is not int or seed < 0):
        raise ValueError(f"seed is {seed!r}: give a whole number, 0 or more")
    softcap, dropout = (_number(name, given.get(name)) for name in ("softcap", "dropout"))
    if softcap is not None:
        if not softcap > 0:
            raise ValueError(f"softcap is {softcap!r}: give a number above 0, or None for none")
        found["softcap"] = softcap
    if given.get("alibi") is not None:
        found["alibi"] = _slopes(given["alibi"], heads)
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout!r}: give a probability from 0 to less than 1")
        found["dropout"] = Dropout(dropout, seed or 0) if dropout else None
    elif seed is not None and not takes(algorithm, "table"):
        raise ValueError(f"seed={seed} is for dropout: give dropout, too, or leave it out")
    return found


def said(options: Mapping[str, Any], group: int) -> dict[str, Any]:
    """The options as plain data, as they were meant: a block is so many tokens."""
    found = {name: getattr(option, "name", option) for name, option in options.items()}
    found["block_q"] //= group
    if slopes := found.pop("alibi", None):
        found["alibi"] = slopes[0] if len(set(slopes)) == 1 else list(slopes)
    if isinstance(dropout := found.pop("dropout", None), Dropout):
        found |= {"dropout": dropout.rate, "seed": dropout.seed}
    return found


def _slopes(given: Any, heads: int) -> tuple[float, ...]:
    """ALiBi's slopes, one a head: one number for all of them, or as many as there are."""
    several = np.ndim(given) > 0
    slopes = tuple(_number("alibi", one, "None") or 0.0 for one in (given if several else [given]))
    if several and len(slopes) != heads:
        raise ValueError(f"alibi has {len(slopes)} slopes: give one for each of the {heads} heads, or one for all")
    if min(slopes) < 0:
        raise ValueError(f"alibi is {min(slopes)!r}: give a slope, 0 or more")
    return slopes if several else slopes * heads


def _number(name: str, given: Any, none: str = "None") -> float | None:
    """`given` as a float. Raises ValueError unless it is a finite number."""
    if given is None:
        return None
    if not isinstance(given, Real) or isinstance(given, bool) or not abs(given) <= sys.float_info.max:  # type: ignore[operator]
        raise ValueError(f"{name} is {given!r}: give a finite number, or {none}")
    return float(given)


def _size(algorithm: str, name: str, given: Any) -> int:
    """A size as given, or as the algorithm has it, or BLOCK."""
    return own_size(algorithm, name, BLOCK) if given is None else positive(name, given)


def own_size(algorithm: str, name: str, other: int) -> int:
    """A size as an algorithm's signature has it (a page of 16, say), or the other."""
    declared = algorithms.algorithm(algorithm).parameters[name].default
    return other if declared is inspect.Parameter.empty else int(declared)


def small_block(rows: int) -> int:
    """The block size for a run to be looked at, of so many queries or keys: a few of them, max(2, ⌈rows/4⌉)."""
    return min(rows, max(2, -(-rows // 4)))
