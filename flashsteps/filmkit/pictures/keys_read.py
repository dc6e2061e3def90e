"""How much of K and V comes in under the causal mask, of what comes in without it, as a bar."""

from __future__ import annotations

from typing import Any

from ...runs.counting import count
from ...units import size_of
from ..actors.bars import Bar, Piece
from ..values import Made


def keys_read(sizes: dict[str, Any], mask: str | None, dtype: str) -> int:
    """Bytes of K and V that FlashAttention-2 reads."""
    moved = count("flash2-forward", **sizes, mask=mask, dtype=dtype).by_tensor
    return moved["K"].read + moved["V"].read


def share(sizes: dict[str, Any], dtype: str) -> float:
    return keys_read(sizes, "causal", dtype) / keys_read(sizes, None, dtype)


def bar(name: str, sizes: dict[str, Any], grown: Any, dtype: str) -> Bar:
    """What comes in of K and V, as a share of what would without the mask."""
    part = share(sizes, dtype)
    said = f"{size_of(keys_read(sizes, 'causal', dtype))} of {size_of(keys_read(sizes, None, dtype))}"
    halves = Piece(part / 2, "K", name="K"), Piece(part / 2, "V", name="V")
    return Bar(name, Made(lambda u: part * u, grown), pieces=halves, note=said, whole=1.0, figure=False)
