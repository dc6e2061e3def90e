"""What the tests of `load_qkv` share: one small q, k, v, what a refusal looks like, and files made wrong on purpose."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from flashsteps.inputs.qkv import load_qkv

Q, K, V = np.random.default_rng(7).standard_normal((3, 5, 4)).astype(np.float32)
WORDS = ["the", "café", "猫", "", "sat"]


def one_line(error: BaseException) -> str:
    assert type(error) is ValueError, repr(error)
    assert str(error).isprintable(), repr(str(error))
    assert len(str(error)) < 400
    return str(error)


def refused(source: Any, head: Any = None) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        load_qkv(source, head)
    return one_line(caught.value)


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def with_value(array: Any, i: int, j: int, value: float) -> Any:
    changed = array.copy()
    changed[i, j] = value
    return changed


def npy_bytes(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_with(header: str, *, version: bytes = b"\x01\x00", length: int | None = None, data: bytes = b"") -> bytes:
    size = len(header.encode()) if length is None else length
    return b"\x93NUMPY" + version + size.to_bytes(2 if version[0] == 1 else 4, "little") + header.encode() + data


def describe(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


def npz_bytes(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npz_with(q: bytes, method: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    return npz_bytes({"q": q, "k": npy_bytes(K), "v": npy_bytes(V)} | more, method)


def bomb(kind: int, declared: int) -> bytes:
    """A zip whose list of contents says that q holds `declared` bytes, as does q's own header."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("k.npy", npy_bytes(K))
        archive.writestr("v.npy", npy_bytes(V))
        archive.writestr("q.npy", npy_with(describe(f"({(declared - 128) // 16}, 4)"), data=bytes(4096)))
        archive.getinfo("q.npy").file_size = declared
    return file.getvalue()


def tensors_with(length: Any = None, tokens: Any = None, **changed: Any) -> bytes:
    entries = {n: {"dtype": "F32", "shape": [5, 4], "data_offsets": [80 * i, 80 * i + 80]} for i, n in enumerate("qkv")}
    header: Any = entries | {"q": entries["q"] | changed}
    if tokens is not None:
        header["__metadata__"] = {"tokens": tokens}
    text = json.dumps(header).encode()
    start = (len(text) if length is None else length).to_bytes(8, "little")
    return b"".join([start, text, Q.tobytes(), K.tobytes(), V.tobytes()])


class Trap:
    """Pickled, it is a call; it must never be made."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def pt_bytes(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tensors() -> dict[str, Any]:
    return {"q": torch.from_numpy(Q), "k": torch.from_numpy(K), "v": torch.from_numpy(V)}


def rezipped(data: bytes, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The .pt file `data` with its pickle changed and all checksums right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return file.getvalue()


def grown(pickled: bytes) -> bytes:
    """The first storage of 20 numbers, and the 5 × 4 tensor on it, said to be 2^28 numbers and 2^14 × 2^14."""
    storage, side = b"J\x00\x00\x00\x10", b"J\x00\x40\x00\x00"
    bigger = pickled.replace(b"K\x14", storage)
    return bigger.replace(b"K\x05K\x04\x86", side + side + b"\x86").replace(b"K\x04K\x01\x86", side + b"K\x01\x86")


def huge_bytearray(_: bytes) -> bytes:
    """A pickle of {"q": bytearray(2^35)}, a call that torch.load's weights_only makes."""
    return b"\x80\x02}X\x01\x00\x00\x00qc__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x08\x85Rs."
