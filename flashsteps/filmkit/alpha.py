"""Transparent pictures: cairo's colours hold their share of alpha already, files want them without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

#: px a side of the blocks in which what is clear takes its colour from what is not
BLOCK = 8


def straight(pixels: Pixels) -> Pixels:
    """Premultiplied RGBA (height, width, 4) with the alpha taken out of its colours.

    What is clear gets the mean colour of its 2 × 2 px, or else of its block: a codec that halves or blurs colours, or a
    program that scales them, would mix any other into the edges. Rows may be given in several parts, each beginning at
    a multiple of BLOCK.
    """
    height, width = pixels.shape[:2]
    padded = np.zeros((-(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK, 4), np.uint8)
    padded[:height, :width] = pixels
    made, seen = padded.copy(), padded[..., 3] > 0
    partly = seen & (padded[..., 3] < 255)
    made[partly] = _divided(padded[partly].astype(np.uint32))

    edges = _each_block(np.any, seen) & ~_each_block(np.all, seen)  # blocks that are clear in part
    found = _blocks(padded)[edges].astype(np.uint32)
    near, far = _mean(found, 2), _mean(found, BLOCK)
    colours = np.where(near[..., 3:] > 0, near, far) * np.array([1, 1, 1, 0], np.uint32)
    _blocks(made)[edges] = np.where(found[..., 3:] > 0, _blocks(made)[edges], colours)
    return np.ascontiguousarray(made[:height, :width])


def _blocks(padded: Pixels) -> Pixels:
    """A view of it, (tall, wide, BLOCK, BLOCK, 4)."""
    return padded.reshape(len(padded) // BLOCK, BLOCK, -1, BLOCK, 4).swapaxes(1, 2)


def _each_block(of: Callable[..., Any], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows = of(seen.reshape(len(seen) // BLOCK, BLOCK, -1), axis=1)
    each: NDArray[np.bool_] = of(rows.reshape(len(rows), -1, BLOCK), axis=2)
    return each


def _mean(found: NDArray[np.uint32], side: int) -> NDArray[np.uint32]:
    """Blocks (n, BLOCK, BLOCK, 4) with each `side` × `side` in its mean colour; of alpha 0 where all is clear."""
    parts = BLOCK // side
    sums = found.reshape(len(found), parts, side, parts, side, 4).sum(axis=(2, 4), dtype=np.uint32)
    return _divided(sums).repeat(side, axis=1).repeat(side, axis=2)


def _divided(found: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Colours divided by their alpha."""
    alpha = found[..., 3:]
    colours = (found[..., :3] * np.uint32(255) + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([colours, alpha], axis=-1)
