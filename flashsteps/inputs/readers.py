"""Find q, k, v in a stranger's file: each header is held against the file's real size, and nothing in it is run.

Every reader takes an open file and gives the arrays as `Stored`: shape and type now, numbers when they are asked for.
Whatever the bytes are, the outcome is arrays or a ValueError of one line.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import shorten

MAX_BYTES = 2**31  # what q, k and v may take together, as float32 (float64 where they are that)
MAX_TEXT = 2**24  # bytes of a safetensors header, of a .pt file's pickle, or of the tokens
MAX_LIST = 2**20  # bytes of a zip file's list of what is in it: of some ten thousand
MAX_NPY_HEADER = 2**10  # NumPy writes 118 bytes for a plain array
MAX_RATIO = 1032  # deflate cannot do better: a member that claims more is lying

# The spellings taken as q, k and v, in the order they are tried, in any case.
NAMES = {"q": ("q", "query"), "k": ("k", "key"), "v": ("v", "value")}

#: what a file of one's own model's holds besides: JSON with options of `record`, under this name
OWN = "flashsteps"
#: what stands there for an array: it is a member of the file, of the option's name
BESIDE = "beside"
#: which options those are, and what each may be
OPTIONS: dict[str, type | tuple[type, ...]] = {
    "mask": (str, np.ndarray), "bias": np.ndarray, "scale": float, "dtype": str, "softcap": float, "alibi": float,
    "sinks": float,
}  # fmt: skip

SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
SAFETENSORS |= {f"{sign}{8 * n}": f"<{sign.lower()}{n}" for sign in "IU" for n in (1, 2, 4, 8)}

# The names in a pickle of plain tensors, written as pickletools does; types without a storage class of their own
# (float8, uint16) are named beside bytes.
TENSOR_PARTS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v[23]|parameter)|torch (?!Typed|Untyped)[A-Z]\w*Storage"
    r"|torch\.storage UntypedStorage|torch (float|uint)\d\w*"
)

Fetch = Callable[[int, int], bytes]  # (start, count) -> that part of a file or of a zip's member, shorter at its end


@dataclass(frozen=True)
class Stored:
    """An array still in its file: `stored[i, j]` reads the matrix at these leading indices, and little more."""

    shape: tuple[int, ...]
    dtype: Any  # NumPy's or torch's, or its name
    read: Callable[[tuple[int, ...]], Any]

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        return self.read(index)

    def permute(self, axes: tuple[int, ...]) -> Stored:
        """The same with its axes in another order: a matrix is then no piece of the file, so all is read, once."""

        @cache
        def whole() -> Any:
            return permuted(self.read(()), axes)

        return Stored(tuple(self.shape[axis] for axis in axes), self.dtype, lambda index: whole()[index])


def permuted(array: Any, axes: tuple[int, ...]) -> Any:
    """An array of any kind with its axes in another order."""
    if axes == tuple(range(len(axes))):
        return array
    return array.permute(axes) if hasattr(array, "permute") else array.transpose(axes)


class Found(NamedTuple):
    """What a file holds, as far as attention is concerned."""

    q: Stored
    k: Stored
    v: Stored
    tokens: Any = None  # not checked yet
    own: Mapping[str, Any] = {}  # options of `record` that are the model's own; arrays are NumPy's


def read(file: BinaryIO, ending: str) -> Found:
    """The q, k, v and tokens of an open file with this ending, a key of READERS; it must stay open until they are read.

    Raises ValueError, one line without the file's name, if they cannot be had or take more than MAX_BYTES.
    """
    found = READERS[ending](file, file.seek(0, io.SEEK_END))
    total = sum(math.prod(a.shape) * max(4, getattr(a.dtype, "itemsize", 4)) for a in found[:3])
    if total > MAX_BYTES:
        raise ValueError(f"q, k and v would take {total:,} bytes, the limit is {MAX_BYTES:,}: save fewer heads or rows")
    return found


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever a parser raises on bytes made to break it, of any type and length, into ValueError(what (why))."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # zipfile, tokenize, json and torch raise some twenty types between them
        raise ValueError(f"{what} ({reason(error)})") from error


def check_unmasked(name: str, given: Any) -> None:
    """Raises ValueError for an array of numpy.ma some of whose numbers are masked: nothing here leaves them out."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError(f"{name} is a masked array, and nothing here leaves numbers out: give {name}.filled(0), or so")


def reason(error: Exception) -> str:
    """What an error says, fit for the end of a line."""
    lines = str(error).splitlines()
    return shorten(lines[0] if lines else type(error).__name__, 120)


def _pick(names: Iterable[str]) -> dict[str, str]:
    """The name that q, k and v each have among `names`."""
    names = list(names)
    lower = {name.lower(): name for name in reversed(names)} | {name: name for name in names}
    picked = {ours: lower[alias] for ours, aliases in NAMES.items() for alias in reversed(aliases) if alias in lower}
    if missing := [name for name in NAMES if name not in picked]:
        shown = [shorten(name, 40) for name in names[:8]] + ["…"] * (len(names) > 8)
        raise ValueError(
            f"no {', '.join(missing)} in it, but {', '.join(shown) or 'nothing'}: name the arrays q, k and v"
        )
    return picked


def _stack(stacked: Stored) -> Found:
    """q, k, v from one array of shape (3, ..., N, d)."""
    if len(stacked.shape) < 3 or stacked.shape[0] != 3:
        raise ValueError(f"it holds one array of shape {stacked.shape}: (3, N, d) is needed, for q, k and v")

    def part(i: int) -> Stored:
        return Stored(stacked.shape[1:], stacked.dtype, lambda index: stacked[(i, *index)])

    return Found(part(0), part(1), part(2))


def _raw(fetch: Fetch, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool = False) -> Stored:
    """Plain numbers that lie from byte `start` on."""

    def read(index: tuple[int, ...]) -> Any:
        inner, skip = shape[len(index) :], 0
        for i, n in zip(index, shape, strict=False):
            skip = skip * n + i
        if fortran:  # one matrix is not one piece then
            inner, skip = shape, 0
        size = math.prod(inner) * dtype.itemsize
        with one_line("its numbers cannot be read"):
            data = bytearray(fetch(start + skip * size, size))  # a bytearray, so that the array can be written to
            if len(data) < size:
                raise EOFError(f"{len(data):,} bytes where {size:,} are declared")
            values = np.frombuffer(data, dtype)
            return values.reshape(shape, order="F")[index] if fortran else values.reshape(inner)

    return Stored(shape, dtype, read)


def _npy(fetch: Fetch, size: int) -> Stored:
    """The array of an .npy file of `size` bytes, once its header has been held against that size."""
    with one_line("it is damaged"):
        head = io.BytesIO(fetch(0, MAX_NPY_HEADER))  # a header that claims to be longer ends too early here
    if not head.getvalue().startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError(f"it is no .npy array: it starts with {head.read(8)!r}")
    with one_line("its .npy header is damaged"):
        version = np.lib.format.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}, but plain arrays have 1.0 or 2.0")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(head)
        _axes(shape)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded: save plain numbers (tokens as a str array)")
    _fits(shape, dtype.itemsize, size - head.tell())
    return _raw(fetch, head.tell(), shape, dtype, fortran)


def _axes(shape: tuple[Any, ...]) -> None:
    """Refuse what cannot be a shape."""
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise ValueError("its shape is impossible")


def _fits(shape: tuple[int, ...], itemsize: int, there: int) -> None:
    """Refuse a header that declares more than there is."""
    need = math.prod(shape) * itemsize
    if need > there:
        what = f"{need:,}" if need < 10**18 else "over 10^18"
        raise ValueError(f"its header declares {what} bytes where {there:,} are: it is damaged or cut short")


def _npy_file(file: BinaryIO, size: int) -> Found:
    return _stack(_npy(_from(file), size))


def _from(file: BinaryIO) -> Fetch:
    def fetch(start: int, count: int) -> bytes:
        file.seek(start)
        return file.read(count)

    return fetch


def npy(file: BinaryIO, size: int) -> Stored:
    """The array of an open .npy file of `size` bytes. Raises ValueError, one line without the file's name."""
    return _npy(_from(file), size)


def npz(file: BinaryIO, size: int, most: int = MAX_LIST) -> dict[str, Callable[[], Stored]]:
    """The arrays of an open .npz file of `size` bytes, by name: call one to have its header read and checked.

    Raises ValueError, one line without the file's name, if it is no .npz file, or lists its arrays in more than `most`
    bytes, as do the calls.
    """
    archive = _zip(file, size, "it is no .npz file, or a damaged one", most)
    return {info.filename.removesuffix(".npy"): partial(_member, archive, info, size) for info in archive.infolist()}


def _zip(file: BinaryIO, size: int, otherwise: str, most: int = MAX_LIST) -> zipfile.ZipFile:
    """A zip file whose list of what is in it is not too long: it is read as a whole, and each entry takes memory.

    The list's length stands 12 bytes into the record at a zip file's end, or, where that is too short for it, 40 bytes
    into the one before (APPNOTE 4.3.14 and 4.3.16).
    """
    file.seek(max(0, size - (1 << 16) - 128))
    tail = file.read()
    for sign, start, count in ((b"PK\5\6", 12, 4), (b"PK\6\6", 40, 8)):
        at = tail.rfind(sign)
        length = int.from_bytes(tail[at + start : at + start + count], "little") if at >= 0 else 0
        if most < length < size:
            raise ValueError(f"it lists what is in it in {length:,} bytes, the limit is {most:,}: save fewer arrays")
    with one_line(otherwise):
        return zipfile.ZipFile(file)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> Stored:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in a way that NumPy does not write: save it with numpy.savez")
    _honest(info, size)

    def fetch(start: int, count: int) -> bytes:
        with archive.open(info) as inside:
            for _ in range(start // MAX_TEXT):  # read past, not sought, so that the checksum still holds
                inside.read(MAX_TEXT)
            inside.read(start % MAX_TEXT)
            return inside.read(count)

    try:
        return _npy(fetch, info.file_size)
    except ValueError as error:
        raise ValueError(f"{shorten(info.filename.removesuffix('.npy'), 40)}: {error}") from error


def _npz(file: BinaryIO, size: int) -> Found:
    members = npz(file, size)
    picked = _pick(members)
    tokens = None
    if "tokens" in members:
        words = members["tokens"]()
        if words.dtype.kind != "U" or len(words.shape) != 1:
            raise ValueError(f"tokens must be one row of str, not {words.dtype.name} of shape {words.shape}")
        if (need := words.shape[0] * words.dtype.itemsize) > MAX_TEXT:
            raise ValueError(f"tokens take {need:,} bytes, the limit is {MAX_TEXT:,}")
        with one_line("tokens cannot be read"):
            tokens = words[()].tolist()
    q, k, v = (members[picked[name]]() for name in NAMES)
    own = {}
    if OWN in members:
        text = members[OWN]()
        if text.dtype.kind != "U" or text.shape or text.dtype.itemsize > MAX_TEXT:
            raise ValueError(f"{OWN} in it is no text, but {text.dtype.name} of shape {text.shape}: leave it out")
        own = _own(str(text[()]), lambda name: members[name]())
    return Found(q, k, v, tokens, own)


def _own(text: str, member: Callable[[str], Stored]) -> dict[str, Any]:
    """The options of `record` that a file holds, its arrays read."""
    with one_line(f"what {OWN} says in it is no JSON of options"):
        said = dict(json.loads(text))
        found: dict[str, Any] = {name: float(x) if type(x) is int else x for name, x in said.items()}
        for name in [name for name, x in found.items() if x == BESIDE]:
            array = member(name)
            if len(array.shape) != 2 or 8 * math.prod(array.shape) > MAX_BYTES:
                raise ValueError(f"{name} of shape {array.shape}")
            numbers = np.asarray(array[()])  # a mask of safetensors is 0 and 1
            found[name] = numbers > 0 if name == "mask" and numbers.dtype == np.uint8 else numbers
        for name, x in found.items():
            if name not in OPTIONS or not isinstance(x, OPTIONS[name]):
                raise ValueError(f"{shorten(name, 40)} is {shorten(repr(x), 40)}")
    return found


def _honest(info: zipfile.ZipInfo, size: int) -> None:
    """Refuse a zip member whose stated sizes cannot be true in a file of `size` bytes."""
    most = info.compress_size * (1 if info.compress_type == zipfile.ZIP_STORED else MAX_RATIO)
    if info.compress_size > size or info.file_size > most:
        name, stated = shorten(info.filename, 40), f"{info.file_size:,} bytes in {info.compress_size:,}"
        raise ValueError(f"{name} claims to hold {stated}, which cannot be: it is damaged or made to fill the memory")


def _safetensors(file: BinaryIO, size: int) -> Found:
    """The format is 8 bytes that give the header's length, the header (JSON), then the numbers.

    Source: https://github.com/huggingface/safetensors#format
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError(f"it is no .safetensors file, or cut short: a header of {length:,} bytes, a file of {size:,}")
    if length > MAX_TEXT:
        raise ValueError(f"its header has {length:,} bytes, the limit is {MAX_TEXT:,}")
    with one_line("its safetensors header is damaged"):
        header = json.loads(file.read(length).decode())
        meta = header.pop("__metadata__", {})
        words = meta.get("tokens")
    picked = _pick(header)

    def tensor(name: str) -> Stored:
        with one_line(f"its safetensors header is damaged at {shorten(name, 40)}"):
            entry = header[name]
            code, shape, (begin, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
            _axes((*shape, begin, end))
            dtype = np.dtype(SAFETENSORS.get(code, "V"))
            if code in SAFETENSORS and end - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError("its shape and its offsets disagree")
        if code not in SAFETENSORS:
            raise ValueError(f"{shorten(name, 40)} is {shorten(code, 20)}: save it as one of {', '.join(SAFETENSORS)}")
        _fits(shape, dtype.itemsize, max(0, size - 8 - length - begin))
        raw = _raw(_from(file), 8 + length + begin, shape, dtype)
        return Stored(shape, "bfloat16", lambda index: _from_bfloat16(raw[index])) if code == "BF16" else raw

    tokens = None
    if words is not None:
        with one_line("its tokens are no JSON list of str"):
            tokens = json.loads(words)
    q, k, v = (tensor(picked[name]) for name in NAMES)
    own = _own(meta[OWN], tensor) if isinstance(meta.get(OWN), str) else {}
    return Found(q, k, v, tokens, own)


def _from_bfloat16(bits: Any) -> Any:
    """A bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _torch(file: BinaryIO, size: int) -> Found:
    archive = _zip(file, size, "torch.save since 1.6 writes a zip file, this is none")
    for info in archive.infolist():
        _honest(info, size)
        pickled = info.filename.endswith(".pkl")
        if info.compress_type != zipfile.ZIP_STORED or (pickled and info.file_size > MAX_TEXT):
            raise ValueError(f"{shorten(info.filename, 40)} in it is nothing that torch.save writes for plain tensors")
        if pickled:
            _only_tensors(archive, info)
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise ValueError("reading it needs torch: pip install torch, or save .npz or .safetensors instead") from error
    with one_line("torch cannot read it"):  # mapped, so that a storage is a window of the file and never more
        loaded = torch.load(file.name, map_location="cpu", weights_only=True, mmap=True)
    if hasattr(loaded, "detach"):
        return _stack(_tensor("the tensor", loaded))
    if isinstance(loaded, Mapping):
        named: dict[str, Any] = {name: value for name, value in loaded.items() if isinstance(name, str)}
        picked = _pick(named)
        q, k, v = (_tensor(picked[name], named[picked[name]]) for name in NAMES)
        return Found(q, k, v, named.get("tokens"))
    raise ValueError(f"it holds a {type(loaded).__name__}: save a dict of q, k and v, or a tensor of shape (3, N, d)")


def _only_tensors(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Refuse a pickle that names anything but what plain tensors are made of; to list its names, nothing is run.

    `weights_only` alone would still call, say, bytearray(10**10), and take a tuple of the same two tuples of the same
    two tuples … as a key, whose hash is never done.
    """
    with one_line("its pickle is damaged"):
        steps = [(op.name, arg) for op, arg, _ in pickletools.genops(archive.read(info))]
    named = [(op, str(arg or op)) for op, arg in steps if "GLOBAL" in op]
    made, tuples = 0, set[Any]()  # how much was memorised so far, and which of it are tuples
    for (before, _), (op, arg) in pairwise([("", None), *steps]):
        if "PUT" in op or op == "MEMOIZE":
            if "TUPLE" in before or before == "FROZENSET":
                tuples.add(made if op == "MEMOIZE" else int(arg or 0))
            made += 1
        if op == "DUP" or ("GET" in op and int(arg or 0) in tuples):
            raise ValueError("its pickle holds one tuple twice, which torch.save never writes: save q, k and v anew")
    for op, name in named:
        if op != "GLOBAL" or not TENSOR_PARTS.fullmatch(name):
            raise ValueError(
                f"it holds more than plain tensors ({shorten(name, 40)}), and none of that is run: "
                "torch.save a dict of q, k and v alone"
            )


def _tensor(name: str, tensor: Any) -> Stored:
    if not hasattr(tensor, "detach"):
        raise ValueError(f"{shorten(name, 40)} is a {type(tensor).__name__}, not a tensor")

    def read(index: tuple[int, ...]) -> Any:
        with one_line(f"{shorten(name, 40)} cannot be read"):
            return tensor[index].clone()  # off the file, which may change

    with one_line(f"{shorten(name, 40)} cannot be read"):
        return Stored(tuple(int(n) for n in tensor.shape), tensor.dtype, read)


READERS: dict[str, Callable[[BinaryIO, int], Found]] = {
    ".npz": _npz,
    ".npy": _npy_file,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
