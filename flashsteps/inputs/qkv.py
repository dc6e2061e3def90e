"""Get q, k and v: from the bundled head of a real model, a file, at random, or as arrays; checked once, here."""

from __future__ import annotations

import difflib
import hashlib
import io
import operator
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import unknown
from . import readers

Matrix: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Head: TypeAlias = int | Sequence[int] | None
Source: TypeAlias = dict[str, str | int | list[int]]

SAMPLE = Path(__file__).parent / "minilm_animal_l3h1.npz"
SAMPLE_SOURCE: Source = {
    "kind": "sample",
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "layer": 3,  # both counted from 0
    "head": 1,
    "sentence": "The animal didn't cross the street because it was too tired.",
    "licence": "Apache-2.0",
}
RANDOM_FORM = "random:N,d or random:N,d,seed, such as random:16,8 or random:16,8,1"

# Would break or reorder the line they are drawn on: control characters, line ends, text direction, lone surrogates.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
REAL = re.compile(r"(bfloat|float|int|uint)\d+\w*")


@dataclass(frozen=True, eq=False)
class QKV:
    """One attention head's input: `q, k, v = qkv`. Finite, float32 or float64; q and k have one d, k and v one M."""

    q: Matrix  # (n_queries, d)
    k: Matrix  # (n_keys, d)
    v: Matrix  # (n_keys, d_v), often d
    tokens: tuple[str, ...] | None  # one per key, or per query where those are more
    source: Source  # where it is from, fit for JSON

    def __iter__(self) -> Iterator[Matrix]:
        return iter((self.q, self.k, self.v))


def load_qkv(source: str | os.PathLike[str], head: Head = None) -> QKV:
    """The q, k and v that `source` names.

    source: "sample"; "random:N,d[,seed]" (standard normal float32, seed 0 if not given); or a file:
        .npz and .safetensors with q, k, v and perhaps tokens (a str array; a JSON list in the metadata),
        .pt and .pth with a dict of them, .npy (or one tensor in a .pt) of shape (3, N, d). Files are only data: no
        pickle is run.
    head: which matrix of arrays with leading axes (..., heads, N, d), counted from 0: an int, or one int an axis.
        Axes of length 1 may be left out. Where k and v have fewer heads, theirs is head // group.

    float64 stays float64, all else becomes float32. Raises ValueError, one line that quotes the source.
    """
    if source == "sample":
        with SAMPLE.open("rb") as file:
            return _from_file(file, SAMPLE, head, SAMPLE_SOURCE)
    if isinstance(source, str) and source.partition(":")[0] == "random":
        return _random(source, head)
    with _opened(source) as (file, path):
        return _from_file(file, path, head, {"kind": "file"})


def load_heads(source: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], QKV]:
    """All heads of a file together: q (heads, N, d), k and v (kv_heads, M, d), and the first one as `load_qkv` has it.

    Raises ValueError as `load_qkv` does, and for arrays that have no heads, or several sequences of them.
    """
    if source == "sample" or (isinstance(source, str) and source.partition(":")[0] == "random"):
        raise ValueError(f"{source!r} is one head: give a file with q of shape (heads, N, d)")
    with _opened(source) as (file, path):
        stored = readers.read(file, path.suffix.lower())
        shapes = tuple(stored[0].shape), tuple(stored[1].shape)
        long = [n for n in shapes[0][:-2] if n > 1]
        if len(long) != 1 or long[0] != shapes[0][-3]:
            raise ValueError(f"q has shape {shapes[0]}: (heads, N, d) are needed, one sequence with several heads")
        heads = [_from_file(file, path, head, {"kind": "file"}) for head in range(long[0])]
    of_keys = heads[:: len(heads) // shapes[1][-3]]
    heads[0].source.pop("head", None)
    q, k, v = (np.stack(part) for part in ([x.q for x in heads], [x.k for x in of_keys], [x.v for x in of_keys]))
    return q, k, v, heads[0]


@contextmanager
def _opened(source: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedReader, Path]]:
    """The file that `source` names. Raises ValueError, which quotes it, whatever goes wrong while it is open."""
    try:
        path = Path(os.fsdecode(source))
    except TypeError:
        raise ValueError(f"{source!r} names no input: give 'sample', a file or {RANDOM_FORM}") from None
    try:
        with _open(path) as file:
            yield file, path
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(source)!r}: {error}") from error


def check_qkv(q: Any, k: Any, v: Any, tokens: Any = None, head: Head = None) -> QKV:
    """One head of q, k, v, checked: NumPy arrays or torch tensors (on any device, of any float type, with gradients).

    q: (..., n_queries, d), k: (..., n_keys, d), v: (..., n_keys, d_v), real numbers; `head` as in `load_qkv`.
    tokens: None, or max(n_queries, n_keys) strings. What has not to be converted is not copied.

    Raises ValueError, one line, if they don't fit each other, or are not finite real numbers.
    """
    return _checked(q, k, v, tokens, head, {"kind": "arrays"})


def _random(spec: str, head: Head) -> QKV:
    match = re.fullmatch(r"random:([0-9]{1,18}),([0-9]{1,18})(?:,([0-9]{1,18}))?", spec)
    if not match:
        raise ValueError(f"{spec!r} is not of the form {RANDOM_FORM}")
    n, d, seed = (int(number or 0) for number in match.groups())
    if n == 0 or d == 0:
        raise ValueError(f"{spec!r}: N and d must be at least 1")
    if (need := 3 * n * d * 4) > readers.MAX_BYTES:
        raise ValueError(f"{spec!r}: q, k and v would take {need:,} bytes, the limit is {readers.MAX_BYTES:,}")
    q, k, v = np.random.default_rng(seed).standard_normal((3, n, d), dtype=np.float32)
    return _checked(q, k, v, None, head, {"kind": "random", "spec": f"random:{n},{d},{seed}"})


def _open(path: Path) -> io.BufferedReader:
    """The file, if it is one and its ending is known."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ValueError(f"this is a folder: give a file in it ({', '.join(readers.READERS)})")
        if path.suffix.lower() not in readers.READERS:
            raise ValueError(unknown("ending", path.suffix, readers.READERS))
        return files.opened(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(_missing(path)) from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _missing(path: Path) -> str:
    """What to say of a file that is not there: names near it, or what an input can be."""
    try:
        beside = [name for name in os.listdir(path.parent) if Path(name).suffix.lower() in readers.READERS]
    except OSError:
        return f"no such file, and no folder {str(path.parent)!r}"
    if near := difflib.get_close_matches(path.name, [*beside, "sample"]):
        return f"no such file; did you mean {' or '.join(map(repr, near))}?"
    return f"no such file: give 'sample', a file or {RANDOM_FORM}"


def _from_file(file: io.BufferedReader, path: Path, head: Head, source: Source) -> QKV:
    found = readers.read(file, path.suffix.lower())
    qkv = _checked(*found, head, source)
    file.seek(0, io.SEEK_SET)
    qkv.source.update(file=UNPRINTABLE.sub("·", path.name), sha256=hashlib.file_digest(file, "sha256").hexdigest())
    return qkv


def _checked(q: Any, k: Any, v: Any, tokens: Any, head: Head, source: Source) -> QKV:
    arrays = {"q": _array("q", q), "k": _array("k", k), "v": _array("v", v)}
    index = _indices({name: tuple(array.shape) for name, array in arrays.items()}, head)
    q, k, v = (_matrix(name, array, index[name]) for name, array in arrays.items())
    if index["q"]:
        source = source | {"head": list(index["q"])}
    return QKV(q, k, v, _tokens(tokens, len(q), len(k)), dict(source))


def _array(name: str, given: Any) -> Any:
    """Real numbers with `shape`, `dtype` and `[index]`: in a file or on a GPU they stay until a head is picked."""
    with readers.one_line(f"{name} is no array"):
        array = given if isinstance(given, readers.Stored) or hasattr(given, "detach") else np.asarray(given)
        kind, _ = _kind(array), tuple(array.shape)
    if not REAL.fullmatch(kind):
        raise ValueError(f"{name} holds {kind}: real numbers are needed")
    return array


def _kind(array: Any) -> str:
    """The name of its type, which NumPy, ml_dtypes and torch agree on: float32, bfloat16, int8 ..."""
    return str(getattr(array.dtype, "name", array.dtype)).removeprefix("torch.")


def _indices(shapes: dict[str, tuple[int, ...]], head: Head) -> dict[str, tuple[int, ...]]:
    """The leading indices of the matrix to take from q, k and v, once their shapes fit each other."""
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise ValueError(f"{name} has shape {shape}: a matrix (rows, d) is needed, or several with head=")
        if 0 in shape:
            raise ValueError(f"{name} has shape {shape}: at least one row and one column are needed")
    q, k, v = shapes.values()
    if not len(q) == len(k) == len(v):
        raise ValueError(f"q, k and v must have equally many axes, not shapes {q}, {k} and {v}")
    if k[:-1] != v[:-1]:
        raise ValueError(f"k has shape {k} and v {v}: each key needs one value")
    if q[-1] != k[-1]:
        raise ValueError(f"q has d = {q[-1]} and k {k[-1]}: they must have the same d")
    lead, kv_lead = q[:-2], k[:-2]
    index = _index(q, head)
    if not lead:
        return dict.fromkeys(shapes, index)
    if lead[:-1] != kv_lead[:-1] or lead[-1] % kv_lead[-1]:
        raise ValueError(f"q has shape {q} and k {k}: the heads of q must be those of k, or a multiple of them")
    kv_head = index[-1] // (lead[-1] // kv_lead[-1])  # grouped-query attention: query heads share a key-value head
    return {"q": index, "k": (*index[:-1], kv_head), "v": (*index[:-1], kv_head)}


def _index(shape: tuple[int, ...], head: Head) -> tuple[int, ...]:
    """`head` as one index for each leading axis of `shape`."""
    try:
        given = [operator.index(i) for i in (head if isinstance(head, Sequence) else () if head is None else (head,))]
    except TypeError:
        raise ValueError(f"head={head!r} is not an int or a tuple of ints") from None
    lead = shape[:-2]
    long = [n for n in lead if n > 1]
    if len(given) == len(long) != len(lead):
        rest = iter(given)
        given = [next(rest) if n > 1 else 0 for n in lead]
    if len(given) == len(lead) and all(0 <= i < n for i, n in zip(given, lead, strict=True)):
        return tuple(given)
    if not long:
        raise ValueError(f"head={head!r}, but q of shape {shape} has one head only: leave head out")
    first, last = (0, long[0] - 1) if len(long) == 1 else ((0,) * len(long), tuple(n - 1 for n in long))
    raise ValueError(f"head={head!r}, but q has shape {shape}: choose one matrix, from head={first} to head={last}")


def _matrix(name: str, array: Any, index: tuple[int, ...]) -> Matrix:
    """The matrix at `index`, finite, as float64 if it is that and as float32 otherwise."""
    wide = _kind(array) in ("float64", "float96", "float128")
    with readers.one_line(f"{name} cannot be made a NumPy array"):
        picked = array[index]
        if hasattr(picked, "detach"):  # a torch tensor, without importing torch; NumPy has no bfloat16
            picked = picked.detach()
            picked = (picked.double() if wide else picked.float()).cpu().numpy()
        with np.errstate(over="ignore"):
            matrix: Matrix = (
                np.ascontiguousarray(picked, np.float64) if wide else np.ascontiguousarray(picked, np.float32)
            )
    finite = np.isfinite(matrix)
    if not finite.all():
        i, j = np.unravel_index(int(finite.argmin()), matrix.shape)
        raise ValueError(f"{name}[{i}, {j}] is {matrix[i, j]}: all numbers must be finite")
    return matrix


def _tokens(tokens: Any, n_queries: int, n_keys: int) -> tuple[str, ...] | None:
    """The tokens, one for each key (or query, where those are more), with what cannot be drawn on a line as "·"."""
    if tokens is None:
        return None
    try:
        words = [tokens] if isinstance(tokens, str) else list(tokens)
    except TypeError:
        words = [tokens]
    if others := [i for i, word in enumerate(words) if not isinstance(word, str)]:
        raise ValueError(f"tokens[{others[0]}] is of type {type(words[others[0]]).__name__}: each must be a str")
    need, what = max((n_keys, "keys"), (n_queries, "queries"), key=lambda pair: pair[0])
    if len(words) != need:
        raise ValueError(f"{len(words)} tokens for {need} {what}: give one for each")
    return tuple(UNPRINTABLE.sub("·", str(word)) for word in words)
