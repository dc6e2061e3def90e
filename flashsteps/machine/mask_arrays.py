"""Masks and biases as arrays, in the shapes and kinds that people have them in: NumPy's or torch's, or in a file.

A mask is True (or 1, as Hugging Face has it) where a query sees a key; an additive one is 0 there and −∞ elsewhere. Any
other numbers are a bias. Axes of length 1 stand for all: a row (M,) is for every query, a matrix (N, M) for every head.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import files
from ..inputs import readers
from ..inputs.types import STORAGE
from . import dtypes

#: how many biases there are, where none is given: one for all heads, or one a head
BIASES = ("shared", "heads")


class Of(NamedTuple):
    """What is run: queries and keys of `heads` heads of `batch` sequences.

    Of these it is `head`, counted through all sequences, or None: all heads of the one sequence that there is.
    """

    n_queries: int
    n_keys: int
    heads: int = 1
    batch: int = 1
    head: int | None = None


class Bias(NamedTuple):
    """What is added to scores: `values` (N, M), or (heads, N, M) where each head has its own; None when counting."""

    name: str
    by_head: bool
    values: np.ndarray | None


def bias(given: Any, of: Of) -> Bias:
    """The bias that a user gave: an array, file:PATH, or, to count with, "shared" by all heads (or True) or "heads".

    Raises ValueError, one line, for a name that is none of these, and an array of another kind or shape.
    """
    if given is True or (isinstance(given, str) and given in BIASES):
        return Bias("array", given == "heads", None)
    if isinstance(given, str) and not given.startswith("file:"):
        raise ValueError(
            f"bias is {given!r}: give file:PATH, an .npy or .npz, or, to count with, {' or '.join(BIASES)}"
        )
    name = f"file:{Path(given[5:]).name}" if isinstance(given, str) else "array"
    return whole(name, added(f"bias {given!r:.80}" if isinstance(given, str) else "bias", given, of), of)


def whole(name: str, values: np.ndarray, of: Of) -> Bias:
    """A bias as it lies in HBM: a row for each query."""
    rows = np.broadcast_to(values, (*values.shape[:-2], of.n_queries, of.n_keys))
    return Bias(name, values.ndim == 3, rows)


class Sinks(NamedTuple):
    """One logit a head, (heads,), which joins the sum of the softmax and has no value; None when counting."""

    values: np.ndarray | None
    name: str = "array"


def sinks(given: Any, of: Of) -> Sinks:
    """The sinks that a user gave, one a head, or one for all; True to count with. Raises ValueError for others."""
    if given is True:
        return Sinks(None)
    array = numbers("sinks", given)
    if array.dtype == bool or array.shape not in ((), (1,), (of.heads,)):
        raise ValueError(f"sinks have shape {array.shape} of {array.dtype}: give one number a head, {(of.heads,)}")
    if not np.isfinite(array).all():
        raise ValueError(f"sinks hold {array[~np.isfinite(array)].ravel()[0]}: all numbers must be finite")
    each = np.broadcast_to(array, (of.heads,)).astype(np.float64)
    return Sinks(each if of.head is None else each[of.head % of.heads][None])


def seen(name: str, given: Any, of: Of) -> np.ndarray:
    """Which keys are seen, Boolean, or, of numbers that are a bias, what is added, float64.

    Shape (N, M), or (1, M) of a row that is for all queries; with the heads in front, (heads, …), if each has its own.
    Raises ValueError, one line, for an array of another kind or shape.
    """
    array = _fitted(name, numbers(name, given), of)
    if array.dtype == bool:
        return array
    if array.dtype.kind in "iu":
        if not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name} holds {array.dtype} from {array.min()} to {array.max()}: give 1 for seen, else 0")
        return np.asarray(array == 1)
    if np.isin(array, (0, 1)).all() and (array == 1).any():
        raise ValueError(f"{name} holds floats that are all 0 or 1, to add or to choose by: give Booleans, or bias=")
    _check_finite(name, array)
    return np.asarray(array == 0) if np.isin(array, (0, -np.inf)).all() else array


def added(name: str, given: Any, of: Of) -> np.ndarray:
    """What is added to scores, float64, of the shapes of `seen`. Raises ValueError, one line, as that does."""
    array = _fitted(name, numbers(name, given), of)
    if array.dtype == bool:
        raise ValueError(f"{name} holds bool: give it as a mask, or numbers to add to scores")
    _check_finite(name, array)
    return array.astype(np.float64)


def by_name(given: Any, n_queries: int, n_keys: int) -> Any:
    """torch's causal_upper_left and causal_lower_right by their names here; anything else as it is.

    They are tensors whose memory holds no numbers. Raises ValueError, one line, for one of another size.
    """
    if not hasattr(given, "seq_len_kv"):
        return given
    size = given.seq_len_q, given.seq_len_kv
    if size != (n_queries, n_keys):
        raise ValueError(f"mask is a CausalBias of {size[0]} queries and {size[1]} keys, not {n_queries} and {n_keys}")
    return "causal-top-left" if given.variant.name == "UPPER_LEFT" else "causal"


def numbers(name: str, given: Any) -> np.ndarray:
    """Booleans, whole numbers, or float64, from NumPy, torch or the file of that name. ValueError for others."""
    if hasattr(given, "seq_len_kv"):
        raise ValueError(f"{name} is torch's CausalBias, which holds no numbers: give it as mask=")
    if hasattr(given, "mask_mod") or callable(given):
        mod = "block_mask.mask_mod" if hasattr(given, "mask_mod") else "mask_mod"
        raise ValueError(
            f"{name} is a {type(given).__name__}: give what it allows as an array, "
            f"torch.nn.attention.flex_attention.create_mask({mod}, 1, 1, queries, keys, device='cpu')"
        )
    if isinstance(given, str):
        given = load_matrix(given.removeprefix("file:"))
    readers.check_unmasked(name, given)
    with readers.one_line(f"{name} is no array"):
        if hasattr(given, "detach"):  # a torch tensor, without importing torch; NumPy has no bfloat16
            given = given.detach()
            given = (given.double() if given.dtype.is_floating_point else given).cpu().numpy()
        array = np.asarray(given)
        array = array.astype(np.float64) if array.dtype.kind in "fV" else array
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}: Booleans or real numbers are needed")
    return array


def boolean(name: str, given: Any, shape: tuple[int, int], axes: str) -> np.ndarray:
    """A Boolean array of this shape. Raises ValueError, one line, for anything else."""
    if hasattr(given, "mask_mod"):
        raise ValueError(f"{name} is a BlockMask: give its blocks as an array, block_mask.to_dense()[0, 0].bool()")
    array = numbers(name, given)
    if array.dtype != bool:
        raise ValueError(f"{name} holds {array.dtype}: give True where it may be seen, False elsewhere")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}: {axes} are {shape}")
    return array.copy()


def load_matrix(path: str) -> Any:
    """The array of an .npy file, or the only one of an .npz file, read as data. Raises ValueError, one line."""
    try:
        with files.opened(path) as file:
            size, ending = file.seek(0, io.SEEK_END), Path(path).suffix.lower()
            if ending == ".npy":
                return readers.npy(file, size)[()]
            if ending != ".npz":
                raise ValueError("give an .npy or .npz file")
            members = readers.npz(file, size)
            if len(members) != 1:
                raise ValueError(f"it holds {len(members)} arrays: one is needed")
            return next(iter(members.values()))()[()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def in_type(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """A bias for a type: the lowest number of any type (Hugging Face's finfo.min) becomes the lowest of this one."""
    lowest = [-dtypes.largest(dtypes.storage(name)) for name in STORAGE]
    return np.where(np.isin(array, lowest), -dtypes.largest(dtype), array)


def _fitted(name: str, array: np.ndarray, of: Of) -> np.ndarray:
    """The array with its axes where they belong, and of these what belongs to the heads that are run."""
    N, M, H, B, head = of
    shape = array.shape
    if array.ndim == 2 and shape[0] == B > 1 and shape == (N, M):
        either = f"{(1, 1, N, M)} or {(B, 1, 1, M)}"
        raise ValueError(f"{name} has shape {shape}, a row for each query or for each sequence: give {either}")
    rows = array.ndim == 2 and shape == (B, M) and B > 1  # a row of keys for each sequence
    whole = (1,) * (4 - array.ndim) + shape if not rows else (B, 1, 1, M)
    fits = 0 < array.ndim <= 4 and all(n in (1, full) for n, full in zip(whole, (B, H, N, M), strict=True))
    if not fits:
        raise ValueError(f"{name} has shape {shape}: give {_shapes(of)}")
    of_sequence = array.reshape(whole)[0 if head is None else min(head // H, whole[0] - 1)]
    all_heads = head is None and whole[1] > 1
    found: np.ndarray = of_sequence if all_heads else of_sequence[min((head or 0) % H, whole[1] - 1)]
    return np.broadcast_to(found, (*found.shape[:-1], M))


def _shapes(of: Of) -> str:
    """The shapes that are taken, in words."""
    N, M, H, B, _ = of
    heads = f", or, one a head, {(H, N, M)}" if H > 1 else ""
    batch = f", or, one a sequence, {(B, M)}, {(B, 1, N, M)}" if B > 1 else ""
    return f"queries × keys, {(N, M)}, or keys, {(M,)}{heads}{batch}; an axis of length 1 is for all"


def _check_finite(name: str, array: np.ndarray) -> None:
    """Raises ValueError for NaN and +∞; −∞ hides."""
    if not (array < np.inf).all():
        at = tuple(map(int, np.unravel_index(int((array < np.inf).argmin()), array.shape)))
        raise ValueError(f"{name}{list(at)} is {array[at]}: give finite numbers, or -inf where a key is hidden")
