"""Grouped queries: the heads that share keys and values, packed as rows, so that they share each tile of them.

A tensor of several heads has its rows in this order: key-value head, token, head of the group. So a tile of so many
tokens is one piece, with all heads of its group. Source: Ainslie et al., arXiv:2305.13245; packing as in flash-attn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def group_of(heads: int, kv_heads: int) -> int:
    """How many heads share one key-value head. Raises ValueError where they can't be shared out."""
    if heads % kv_heads:
        raise ValueError(f"heads={heads} is no multiple of kv_heads={kv_heads}: each group has equally many heads")
    return heads // kv_heads


def pack(heads: Sequence[np.ndarray], group: int) -> np.ndarray:
    """Matrices (N, d), one a head, as rows (heads · N, d)."""
    stacked = np.stack(heads)
    n, d = stacked.shape[1:]
    return stacked.reshape(-1, group, n, d).swapaxes(1, 2).reshape(-1, d)


def unpack(rows: np.ndarray, heads: int, group: int) -> np.ndarray:
    """Rows (heads · N, …) as (heads, N, …)."""
    n, rest = len(rows) // heads, rows.shape[1:]
    return rows.reshape(heads // group, n, group, *rest).swapaxes(1, 2).reshape(heads, n, *rest).copy()
