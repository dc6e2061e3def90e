"""What one call is to compute: its sizes and options, checked. Plain data."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Problem(NamedTuple):
    """Sizes and options of one call. `left` and `right` are keys beside the diagonal that a query sees, −1 for all."""

    batch: int
    heads: int
    kv_heads: int
    n: int
    m: int
    d: int
    left: int
    right: int
    scale: float
    softcap: float
    dtype: torch.dtype
    device: torch.device

    @property
    def group(self) -> int:
        """Heads that share keys and values."""
        return self.heads // self.kv_heads

    @property
    def parts(self) -> int:
        """What can be computed apart: batch entries times key-value heads."""
        return self.batch * self.kv_heads

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to compute: no query, or no key."""
        return not (self.batch and self.heads and self.n and self.m)
