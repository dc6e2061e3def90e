"""Files of q, k and v that `load_qkv` reads: .npz and .safetensors, with tokens, and what else the call did."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import files
from ..inputs import readers

ENDINGS = (".npz", ".safetensors")


def save(
    path: str | os.PathLike[str],
    q: Any,
    k: Any,
    v: Any,
    tokens: Sequence[str] | None,
    own: Mapping[str, Any],
    extra: Mapping[str, np.ndarray | None] | None = None,
) -> Path:
    """Write q (…, N, d), k and v (…, M, d), NumPy's or torch's, whole or not at all. `own` are options of `record`.

    Arrays among the options are members of the file; the others are JSON. `extra` are arrays to be kept beside them.

    Raises ValueError, one line, where nothing can be written there.
    """
    target = files.check(path, ENDINGS)
    arrays: dict[str, Any] = {"q": q, "k": k, "v": v}
    arrays |= {name: x for name, x in (*own.items(), *(extra or {}).items()) if isinstance(x, np.ndarray)}
    beside = {name: readers.BESIDE if isinstance(x, np.ndarray) else x for name, x in own.items()}
    with files.whole(target) as aside, aside.open("wb") as file:
        write = _npz if target.suffix.lower() == ".npz" else _safetensors
        write(file, arrays, tokens, json.dumps(beside))
    return target


def joined(tensors: Sequence[Any]) -> Any:
    """Tensors (B, heads, N, d) of several calls as one, less the axes of length 1 in front."""
    stacked = tensors[0].new_empty((len(tensors), *tensors[0].shape))
    for at, tensor in enumerate(tensors):
        stacked[at] = tensor
    while len(stacked) == 1 and stacked.ndim > 2:
        stacked = stacked[0]
    return stacked


def _npz(file: BinaryIO, arrays: Mapping[str, Any], tokens: Sequence[str] | None, said: str) -> None:
    plain = {name: _widened(x) for name, x in arrays.items()} | {readers.OWN: np.array(said)}
    if tokens is not None:
        plain["tokens"] = np.array(tokens, str)
    np.savez(file, allow_pickle=False, **plain)


def _widened(x: Any) -> np.ndarray:
    """As NumPy's: bfloat16, which it lacks, as float32."""
    if _is_bfloat16(x):
        x = x.float() if hasattr(x, "detach") else x.astype(np.float32)
    return x.numpy() if hasattr(x, "detach") else np.asarray(x)


def _is_bfloat16(x: Any) -> bool:
    return "bfloat16" in str(x.dtype)


def _safetensors(file: BinaryIO, arrays: Mapping[str, Any], tokens: Sequence[str] | None, said: str) -> None:
    """The format is 8 bytes that give the header's length, the header (JSON), then the numbers.

    Source: https://github.com/huggingface/safetensors#format
    """
    meta = {readers.OWN: said} | ({} if tokens is None else {"tokens": json.dumps(list(tokens))})
    header: dict[str, Any] = {"__metadata__": meta}
    data, end = [], 0
    for name, x in arrays.items():
        code, numbers = _coded(x)
        data.append(np.ascontiguousarray(numbers))
        header[name] = {"dtype": code, "shape": list(numbers.shape), "data_offsets": [end, end + numbers.nbytes]}
        end += numbers.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for numbers in data:
        file.write(numbers.tobytes())


def _coded(x: Any) -> tuple[str, np.ndarray]:
    """A type's name in the format, and the numbers: bfloat16 as its bits, half of a float32's; truth as 0 or 1."""
    array = _widened(x)
    if _is_bfloat16(x):
        return "BF16", (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)
    array = array.astype(np.uint8) if array.dtype == bool else array
    return next(code for code, kind in readers.SAFETENSORS.items() if np.dtype(kind) == array.dtype), array
