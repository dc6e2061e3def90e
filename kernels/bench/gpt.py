"""A small GPT, a character at a time, whose attention is an argument: the rest of it is the same for every one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backends import Attention


class Architecture(NamedTuple):
    """`layers` blocks of `heads` heads of `head` numbers each, for sequences of up to n of `signs` characters."""

    layers: int
    heads: int
    head: int
    n: int
    signs: int

    @property
    def width(self) -> int:
        return self.heads * self.head


class Block(nn.Module):  # type: ignore[misc] # torch is not read
    """Attention, then a perceptron, each added to what came in (pre-norm, as GPT-2)."""

    def __init__(self, shape: Architecture, attention: Attention) -> None:
        super().__init__()
        self.shape, self.attention = shape, attention
        self.norm_1, self.norm_2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.qkv, self.out = nn.Linear(shape.width, 3 * shape.width), nn.Linear(shape.width, shape.width)
        self.up, self.down = nn.Linear(shape.width, 4 * shape.width), nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:  # (batch, n, width)
        batch, n, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(batch, n, 3, self.shape.heads, self.shape.head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, n, head) each
        x = x + self.out(self.attention(q, k, v).transpose(1, 2).reshape(batch, n, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):  # type: ignore[misc]
    """The loss of the next character: `model(x, y)` for x and y of (batch, n)."""

    def __init__(self, shape: Architecture, attention: Attention) -> None:
        super().__init__()
        self.signs, self.places = nn.Embedding(shape.signs, shape.width), nn.Embedding(shape.n, shape.width)
        self.blocks = nn.ModuleList(Block(shape, attention) for _ in range(shape.layers))
        self.norm, self.head = nn.LayerNorm(shape.width), nn.Linear(shape.width, shape.signs, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = (2 * shape.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1
                nn.init.normal_(weight, std=0.02 * deep)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.signs(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        loss: Tensor = F.cross_entropy(self.head(self.norm(h)).flatten(0, 1), y.flatten())
        return loss
