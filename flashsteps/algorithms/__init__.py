"""The algorithms, one file each: `flash2_forward.py` is `flash2-forward`.

Each file has a function `attend` that reads like its paper, the first line of its docstring is what `flashsteps list`
says of it, and the comments of its lines are the captions of its film. To add an algorithm is to add a file.

Its signature says what it takes: the tensors that it finds in HBM, then its options. A file may also set SAVED_BY, the
forward pass whose tensors a backward pass finds; NEEDS, the tensors that it finds only with an option, and which; and
IDEAL_PRODUCTS, where the capacity of SRAM is not held against it. Where several heads share keys and values, its Q is
theirs, packed as rows (`flashsteps.machine.heads`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from .. import catalog

FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """All algorithms, by the name that users type. Imports none of them."""
    return catalog.names(FOLDER)


def source(name: str) -> str:
    """The text of an algorithm's file. Raises ValueError for a name that isn't known."""
    return catalog.source(FOLDER, "algorithm", name)


def summary(name: str) -> str:
    """The first line of an algorithm's docstring, without importing it."""
    return catalog.summary(source(name))


def module(name: str) -> ModuleType:
    """An algorithm's module, with `attend`. Raises ValueError for a name that isn't known."""
    source(name)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
