"""Get q, k and v: from the bundled head of a real model, a file, at random, or as arrays; checked once, here."""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..errors import unknown
from . import layouts, readers, types
from .layouts import Axes, Head

Matrix: TypeAlias = NDArray[Any]  # float16, bfloat16 (ml_dtypes'), float32 or float64
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


@dataclass(frozen=True, eq=False)
class QKV:
    """One attention head's input: `q, k, v = qkv`. Finite; q and k have one d, k and v one M.

    Each is of the type that it was given in, float16, bfloat16, float32 or float64; of others, see `types.kept_as`.
    """

    q: Matrix  # (n_queries, d)
    k: Matrix  # (n_keys, d)
    v: Matrix  # (n_keys, d_v), often d
    tokens: tuple[str, ...] | None  # one per key, or per query where those are more
    source: Source  # where it is from, fit for JSON
    axes: Axes | None = None  # how all that were given lie, and which of them this is; None where it is all there is
    own: Mapping[str, Any] = field(default_factory=dict)  # mask, scale and more that are its model's, where it has one

    @property
    def options(self) -> dict[str, Any]:
        """All that `record` is to be told besides: `record(algorithm, *qkv, **qkv.options)`."""
        return {"tokens": self.tokens, "source": self.source, **self.own}

    def __iter__(self) -> Iterator[Matrix]:
        return iter((self.q, self.k, self.v))


@dataclass(frozen=True, eq=False)
class Heads:
    """What is run: one head, or all heads of one sequence, each as a QKV."""

    each: tuple[QKV, ...]
    axes: Axes  # how they were given; `picked` where one of several is

    @staticmethod
    def of(one: QKV) -> Heads:
        """One head that is there already."""
        return Heads((one,), one.axes or Axes(one.q.shape, one.k.shape))

    @property
    def kv_heads(self) -> int:
        """How many heads of keys and values there are for those that are run."""
        return 1 if len(self.each) == 1 else self.axes.keys[-3]

    @property
    def group(self) -> int:
        """How many heads share one key-value head."""
        return len(self.each) // self.kv_heads

    @property
    def of_o(self) -> tuple[int, ...]:
        """The shape of O, which lies as q does and is as wide as v."""
        return (*self.axes.q[:-1], self.each[0].v.shape[1])

    @property
    def kept(self) -> str:
        """The storage type that holds all numbers of q, k and v."""
        return types.common(types.name_of(x.dtype) for one in self.each for x in one)

    def matrices(self, name: str, given: Any) -> list[Matrix]:
        """The matrices (N, d_v) of something that lies as O does, such as dO, for each head that is run.

        Where one head is run, its own matrix alone will do. Raises ValueError, with this name, for anything else.
        """
        array, axes, like = _array(name, given), self.axes, (len(self.each[0].q), self.of_o[-1])
        if (1, *array.shape) == self.of_o and len(axes.q) > 2:  # a batch of one, left out
            array = array[None]
        shape = tuple(array.shape)
        if shape == like and len(self.each) == 1:
            return [_matrix(name, array, ())]
        if shape != self.of_o:
            alone = f", or {like} for the one head" if len(self.each) == 1 and like != self.of_o else ""
            raise ValueError(f"{name} has shape {shape}: give one of O's shape, {self.of_o}{alone}")
        turned = readers.permuted(array, layouts.order(axes.layout, len(shape)))
        places = [axes.picked] if axes.picked is not None else layouts.all_heads(axes)
        return [_matrix(name, turned, place) for place in places]


def load_qkv(source: str | os.PathLike[str], head: Head = None, layout: str | None = None) -> QKV:
    """The q, k and v that `source` names.

    source: "sample"; "random:N,d[,seed]" (standard normal, seed 0 if not given), both in float16; or a file:
        .npz and .safetensors with q, k, v and perhaps tokens (a str array; a JSON list in the metadata),
        .pt and .pth with a dict of them, .npy (or one tensor in a .pt) of shape (3, N, d). Files are only data: no
        pickle is run.
    head: which matrix of arrays with leading axes (..., heads, N, d), counted from 0: an int, or one int an axis.
        Axes of length 1 may be left out. Where k and v have fewer heads, theirs is head // group.
    layout: how the axes lie, where not so: one of `layouts.LAYOUTS`, such as "bshd" (batch, tokens, heads, d).

    Arrays keep their type; float8 becomes float16, and whole numbers float32. A head that was captured and saved has
    its model's mask and scale among its `options`. Raises ValueError, one line that quotes the source.
    """
    return _load(source, head, layout, every=False).each[0]


def load_heads(
    source: str | os.PathLike[str], head: Head = None, layout: str | None = None, every: bool = False
) -> Heads:
    """What `source` names, to be run: one head, as `load_qkv` has it, or, with `every`, all heads of a file together.

    Raises ValueError as `load_qkv` does, and for arrays that have no heads, or several sequences of them.
    """
    if every and (source == "sample" or (isinstance(source, str) and source.partition(":")[0] == "random")):
        raise ValueError(f"{source!r} is one head: give a file with q of shape (heads, N, d)")
    return _load(source, head, layout, every)


def _load(source: str | os.PathLike[str], head: Head, layout: str | None, every: bool) -> Heads:
    if not isinstance(source, str | bytes | os.PathLike):
        raise ValueError(f"the input is of type {type(source).__name__}: give 'sample', a file or {RANDOM_FORM}")
    if source == "sample":
        with SAMPLE.open("rb") as file:
            found = readers.read(file, SAMPLE.suffix)
            q, k, v = (_matrix("sample", array, ()).astype(np.float16) for array in (found.q, found.k, found.v))
            return _checked(q, k, v, found.tokens, head, layout, SAMPLE_SOURCE | _provenance(file, SAMPLE))
    if isinstance(source, str) and source.partition(":")[0] == "random":
        return _random(source, head, layout)
    with _opened(source) as (file, path):
        found = readers.read(file, path.suffix.lower())
        if every and len(found.q.shape) < 3:
            raise ValueError(f"q has shape {found.q.shape}: (heads, N, d) are needed, one sequence with several heads")
        where = {"kind": "file"} | _provenance(file, path)
        heads = _checked(found.q, found.k, found.v, found.tokens, head, layout, where, every)
    return replace(heads, each=tuple(replace(one, own=found.own) for one in heads.each)) if found.own else heads


def _provenance(file: io.BufferedReader, path: Path) -> Source:
    """What tells a file from all others."""
    file.seek(0, io.SEEK_SET)
    return {"file": UNPRINTABLE.sub("·", path.name), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@contextmanager
def _opened(source: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedReader, Path]]:
    """The file that `source` names. Raises ValueError, which quotes it, whatever goes wrong while it is open."""
    path = Path(os.fsdecode(source))
    try:
        with _open(path) as file:
            yield file, path
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(source)!r}: {error}") from error


def check_qkv(q: Any, k: Any, v: Any, tokens: Any = None, head: Head = None, layout: str | None = None) -> QKV:
    """One head of q, k, v, checked: NumPy arrays or torch tensors (on any device, of any float type, with gradients).

    q: (..., n_queries, d), k: (..., n_keys, d), v: (..., n_keys, d_v), real numbers; `head` and `layout` as in
    `load_qkv`.
    tokens: None, or max(n_queries, n_keys) strings. What has not to be converted is not copied.

    Raises ValueError, one line, if they don't fit each other, or are not finite real numbers.
    """
    return _checked(q, k, v, tokens, head, layout, {"kind": "arrays"}).each[0]


def check_heads(q: Any, k: Any, v: Any, tokens: Any = None, head: Head = None, layout: str | None = None) -> Heads:
    """The same, to be run: all heads of q (heads, n_queries, d), k and v (kv_heads, n_keys, d), unless `head` picks
    one. Raises ValueError as `check_qkv` does."""
    return _checked(q, k, v, tokens, head, layout, {"kind": "arrays"}, every=head is None)


def _random(spec: str, head: Head, layout: str | None) -> Heads:
    match = re.fullmatch(r"random:([0-9]{1,18}),([0-9]{1,18})(?:,([0-9]{1,18}))?", spec)
    if not match:
        raise ValueError(f"{spec!r} is not of the form {RANDOM_FORM}")
    n, d, seed = (int(number or 0) for number in match.groups())
    if n == 0 or d == 0:
        raise ValueError(f"{spec!r}: N and d must be at least 1")
    if (need := 3 * n * d * 4) > readers.MAX_BYTES:
        raise ValueError(f"{spec!r}: q, k and v would take {need:,} bytes, the limit is {readers.MAX_BYTES:,}")
    q, k, v = np.random.default_rng(seed).standard_normal((3, n, d), dtype=np.float32).astype(np.float16)
    return _checked(q, k, v, None, head, layout, {"kind": "random", "spec": f"random:{n},{d},{seed}"})


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


def _checked(
    q: Any, k: Any, v: Any, tokens: Any, head: Head, layout: str | None, source: Source, every: bool = False
) -> Heads:
    """One matrix of each, or, with `every`, those of all heads."""
    arrays = {"q": _array("q", q), "k": _array("k", k), "v": _array("v", v)}
    axes = _axes({name: tuple(array.shape) for name, array in arrays.items()}, layout)
    places = layouts.all_heads(axes) if every else [layouts.indices(axes, head)]
    if not every and (head is not None or any(places[0])):
        axes = axes._replace(picked=places[0])
    turned = [readers.permuted(array, layouts.order(layout, len(array.shape))) for array in arrays.values()]
    words = _tokens(tokens, axes)
    found = []
    for place in places:
        of_each = (place, axes.of_kv(place), axes.of_kv(place))
        q, k, v = (_matrix(*one) for one in zip(arrays, turned, of_each, strict=True))
        own = dict(source) | ({"head": list(place)} if place and not every else {})
        found.append(QKV(q, k, v, words, own, axes._replace(picked=place) if place else axes))
    return Heads(tuple(found), axes)


def _array(name: str, given: Any) -> Any:
    """Real numbers with `shape`, `dtype` and `[index]`: in a file or on a GPU they stay until a head is picked."""
    if getattr(given, "is_nested", False) is True:
        raise ValueError(
            f"{name} is a nested tensor, sequences of several lengths: give one of them, such as {name}.unbind()[0]"
        )
    readers.check_unmasked(name, given)
    with readers.one_line(f"{name} is no array"):
        array = given if isinstance(given, readers.Stored) or hasattr(given, "detach") else np.asarray(given)
        kind, _ = types.name_of(array.dtype), tuple(array.shape)
    if not types.is_real(kind):
        raise ValueError(f"{name} holds {kind}: real numbers are needed")
    return array


def _axes(shapes: Mapping[str, tuple[int, ...]], layout: str | None) -> Axes:
    """How q, k and v lie, once their shapes fit each other."""
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise ValueError(f"{name} has shape {shape}: a matrix (rows, d) is needed, or several with head=")
        if 0 in shape:
            raise ValueError(f"{name} has shape {shape}: at least one row and one column are needed")
        layouts.check(layout, len(shape), name, shape)
    q, k, v = shapes.values()
    if not len(q) == len(k) == len(v):
        raise ValueError(f"q, k and v must have equally many axes, not shapes {q}, {k} and {v}")
    if k[:-1] != v[:-1]:
        raise ValueError(f"k has shape {k} and v {v}: each key needs one value")
    if q[-1] != k[-1]:
        raise ValueError(f"q has d = {q[-1]} and k {k[-1]}: they must have the same d")
    return layouts.fitting(Axes(q, k, layout))


def _matrix(name: str, array: Any, index: tuple[int, ...]) -> Matrix:
    """The matrix at `index`, finite, of the type that `types.kept_as` says."""
    own = types.kept_as(types.name_of(array.dtype))
    dtype = types.numpy_type(own)
    with readers.one_line(f"{name} cannot be made a NumPy array"):
        picked = array[index]
        if hasattr(picked, "detach"):  # a torch tensor, without importing torch; NumPy has no bfloat16
            picked = picked.detach()
            picked = (picked.double() if own == "float64" else picked.float()).cpu().numpy()
        with np.errstate(over="ignore"):
            matrix: Matrix = np.ascontiguousarray(picked, dtype)
    finite = np.isfinite(matrix)
    if not finite.all():
        i, j = np.unravel_index(int(finite.argmin()), matrix.shape)
        raise ValueError(f"{name}[{i}, {j}] is {matrix[i, j]}: all numbers must be finite")
    return matrix


def _tokens(tokens: Any, axes: Axes) -> tuple[str, ...] | None:
    """The tokens, one for each key (or query, where those are more), with what cannot be drawn on a line as "·"."""
    if tokens is None:
        return None
    try:
        words = [tokens] if isinstance(tokens, str) else list(tokens)
    except TypeError:
        words = [tokens]
    if others := [i for i, word in enumerate(words) if not isinstance(word, str)]:
        raise ValueError(f"tokens[{others[0]}] is of type {type(words[others[0]]).__name__}: each must be a str")
    if len(words) != axes.most_tokens:
        what = "keys" if axes.keys[-2] == axes.most_tokens else "queries"
        said = f"{len(words)} tokens for {axes.most_tokens} {what}: give one for each"
        raise ValueError(axes.advice(said, lambda other: len(words) == other.most_tokens))
    return tuple(UNPRINTABLE.sub("·", str(word)) for word in words)
