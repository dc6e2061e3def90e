"""A text to train on that every machine has: the modules of Python's own standard library, as characters."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

#: ASCII
SIGNS = 128

#: characters that are read: enough for a short training, and soon read
MOST = 4 << 20


def text(folder: Path | None = None, most: int = MOST) -> str:
    """The modules at the top of the standard library, in the order of their names, at most so many characters."""
    where = folder or Path(sysconfig.get_path("stdlib"))
    parts, size = [], 0
    for file in sorted(where.glob("*.py")):
        part = file.read_text(encoding="utf-8", errors="replace")
        parts.append(part)
        size += len(part)
        if size >= most:
            break
    if not size:
        raise ValueError(f"there is no text to train on: Python's standard library has no .py files in '{where}'")
    return "".join(parts)[:most]


def encoded(said: str) -> Tensor:
    """A number below SIGNS for each character, uint8: its code, or that of "?"."""
    return torch.frombuffer(bytearray(said.encode("ascii", errors="replace")), dtype=torch.uint8)


def about(tokens: Tensor) -> str:
    """Which text it was: another Python has another one."""
    digest = hashlib.sha256(tokens.numpy().tobytes()).hexdigest()[:12]
    return f"the standard library of Python {platform.python_version()}, {len(tokens):,} characters, sha256 {digest}…"


def batches(tokens: Tensor, n: int, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (x, y), int64 of (batch, n): characters at random places, and the ones that follow them.

    The same in the same order for the same seed. Raises ValueError for a text that is too short.
    """
    if len(tokens) <= n:
        raise ValueError(f"n is {n:,}, and the text has {len(tokens):,} characters: give a smaller one")
    random = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(tokens) - n, (batch, 1), generator=random)
        rows = tokens[starts.to(tokens.device) + torch.arange(n + 1, device=tokens.device)].long()
        yield rows[:, :-1], rows[:, 1:]
