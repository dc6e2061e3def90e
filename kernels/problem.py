"""What one call is to compute: its sizes and options, checked. Plain data."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Problem(NamedTuple):
    """Sizes and options of one call. `left` and `right` are keys beside the diagonal that a query sees, −1 for all.

    `d_v` is how wide values are, and the output. `mask` says whether there is a tensor of one number for each score, or
    for each key, and what it says: `tile.BOOLEAN`, `ADDED`, `BOOLEAN_BY_KEY` or `ADDED_BY_KEY`. With `sinks`
    each head has one more score, of a key without a value. `packed` is how many tokens are packed without a batch, if
    they are: then a batch entry is a sequence of them, and n and m are those of the longest. With `mask_in_tiles` TMA
    can fetch tiles of the mask that is there (`checks.with_mask`).
    """

    batch: int
    heads: int
    kv_heads: int
    n: int
    m: int
    d: int
    d_v: int
    left: int
    right: int
    scale: float
    softcap: float
    dtype: torch.dtype
    device: torch.device
    mask: int = 0
    sinks: bool = False
    packed: int = 0
    mask_in_tiles: bool = False

    @property
    def group(self) -> int:
        """Heads that share keys and values."""
        return self.heads // self.kv_heads

    @property
    def parts(self) -> int:
        """What can be computed apart: batch entries times key-value heads."""
        return self.batch * self.kv_heads

    @property
    def usual(self) -> bool:
        """Whether it is no more than softmax(q kᵀ) v with values as wide as keys, but for causal masks and windows."""
        return self.d == self.d_v and not (self.softcap or self.mask or self.sinks or self.packed)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to compute: no query, or no key (which packed queries may lack)."""
        return not (self.batch and self.heads and self.n and (self.m or self.packed))
