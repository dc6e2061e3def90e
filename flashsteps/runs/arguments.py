"""What an algorithm is called with: each option checked, and held against what its signature says it takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from .. import algorithms, scalars
from ..inputs import readers
from ..inputs.layouts import Axes
from ..machine import block_masks, mask_arrays, masks
from ..machine.dropout import Dropout
from ..machine.mask_arrays import Of

#: block sizes where none are given, cut to the number of queries or keys
BLOCK = 64

#: which parameters of an algorithm an option is for, where they have other names
FOR = {"do": ("dO",), "seed": ("table", "dropout"), "alibi": ("mask",)}


def takes(algorithm: str, option: str) -> bool:
    """Whether an algorithm, or the forward pass before it, takes an option of `record`. ValueError: it is unknown."""
    about = algorithms.algorithm(algorithm)
    before = algorithms.algorithm(about.saved_by).parameters if about.saved_by else {}
    return any(name in about.parameters or name in before for name in FOR.get(option, (option,)))


def called_with(
    algorithm: str, N: int, M: int, d: int, heads: int, group: int, given: Mapping[str, Any], axes: Axes | None = None
) -> dict[str, Any]:
    """What an algorithm is called with, for N queries and M keys of size d.

    `given` are options of `record`, None where left out. Blocks are cut to the number of rows. With a `group` of heads
    packed as rows, a block of so many tokens has that many times the rows. `axes` say which head it is that is run, and
    of how many: what belongs to it is picked from what was given for all.

    Raises ValueError for what makes no sense, and for an option that the algorithm doesn't take: nothing is accepted
    and ignored.
    """
    for name, value in given.items():
        if value is not None and not takes(algorithm, name):
            others = ", ".join(other for other in algorithms.names() if takes(other, name))
            raise ValueError(f"{algorithm} takes no {name}: leave it out, or use {others}")
    scale = None if given.get("scale") is None else scalars.real("scale", given["scale"], "None for 1/√d")
    block_q = min(_size(algorithm, "block_q", given.get("block_q")), N)
    block_k = min(_size(algorithm, "block_k", given.get("block_k")), M)
    of = Of(N, M, heads) if axes is None else _of(axes, N, M)
    mask = _mask(given.get("mask"), of, axes)
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
    found |= _changes(algorithm, heads, group, given, axes)
    mask = replace(mask, group=group, slopes=found.get("alibi", ()))
    if takes(algorithm, "block_mask"):
        found["block_mask"] = block_masks.parse(given.get("block_mask"), mask, block_q, block_k)
    return found | {"block_q": block_q * group, "mask": mask}


def _of(axes: Axes, N: int, M: int) -> Of:
    """Whose an array is that comes beside q: that of the head that is run, or of all."""
    alone = axes.picked is not None or axes.heads == 1
    return Of(N, M, axes.heads, prod(axes.queries[:-3]), axes.place if alone else None)


def _mask(given: Any, of: Of, axes: Axes | None) -> masks.Mask:
    """The mask, over so many queries and keys; where `axes` have an index, it is for that head alone.

    Raises ValueError as `masks.parse` does; where it would fit q and k in another layout, it says so.
    """

    def fits(other: Axes) -> bool:
        n, m = other.queries[-2], other.keys[-2]
        try:
            return bool(masks.parse(given, n, m, of=Of(n, m, other.heads, prod(other.queries[:-3]))))
        except ValueError:
            return False

    try:
        return masks.parse(given, of.n_queries, of.n_keys, of=of)
    except ValueError as error:
        raise ValueError(axes.advice(str(error), fits) if axes else str(error)) from None


def _changes(algorithm: str, heads: int, group: int, given: Mapping[str, Any], axes: Axes | None) -> dict[str, Any]:
    """What changes scores and weights: softcap, the slopes of ALiBi, dropout."""
    seed, found = given.get("seed"), dict[str, Any]()
    if seed is not None:
        seed = scalars.whole("seed", seed, least=0)
    softcap, dropout = (
        None if given.get(name) is None else scalars.real(name, given[name]) for name in ("softcap", "dropout")
    )
    if softcap is not None:
        if not softcap > 0:
            raise ValueError(f"softcap is {softcap!r}: give a number above 0, or None for none")
        found["softcap"] = softcap
    if given.get("alibi") is not None:
        found["alibi"] = _slopes(given["alibi"], heads, axes)
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout!r}: give a probability from 0 to less than 1")
        found["dropout"] = Dropout(dropout, seed or 0, group, axes.place if axes else 0) if dropout else None
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


def _slopes(given: Any, heads: int, axes: Axes | None) -> tuple[float, ...]:
    """ALiBi's slopes, one a head that is run: from one number for all, or from as many as there are heads."""
    if hasattr(given, "tolist"):  # an array or a tensor, wherever it is, with gradients or not
        with readers.one_line("alibi cannot be read"):
            given = given.tolist()
    several, there = isinstance(given, list | tuple), axes.heads if axes else heads
    if several and any(isinstance(one, list | tuple) for one in given):
        raise ValueError(f"alibi has {len(given)} rows: give one row of slopes, one for each of the {there} heads")
    slopes = tuple(scalars.real("alibi", one) for one in (given if several else [given]))
    if several and len(slopes) != there:
        raise ValueError(f"alibi has {len(slopes)} slopes: give one for each of the {there} heads, or one for all")
    if min(slopes) < 0:
        raise ValueError(f"alibi is {min(slopes)!r}: give a slope, 0 or more")
    if not several:
        return slopes * heads
    return slopes if heads == there or axes is None else (slopes[axes.head],)


def _size(algorithm: str, name: str, given: Any) -> int:
    """A size as given, or as the algorithm has it, or BLOCK."""
    return own_size(algorithm, name, BLOCK) if given is None else scalars.whole(name, given)


def own_size(algorithm: str, name: str, other: int) -> int:
    """A size as an algorithm's signature has it (a page of 16, say), or the other."""
    declared = algorithms.algorithm(algorithm).parameters[name].default
    return other if declared is inspect.Parameter.empty else int(declared)


def small_block(rows: int) -> int:
    """The block size for a run to be looked at, of so many queries or keys: the power of two, as kernels have them,
    that a quarter of the rows fits into; 2 at least."""
    return min(rows, max(2, 1 << (-(-rows // 4) - 1).bit_length()))
