"""The algorithms, one file each: `flash2_forward.py` is `flash2-forward`.

Each file has a function `attend` that reads like its paper, the first line of its docstring is what `flashsteps list`
says of it, and the comments of its lines are the captions of its film. To add an algorithm is to add a file.

Its signature says what it takes: the tensors that it finds in HBM, then its options. A file may also set SAVED_BY, the
forward pass whose tensors a backward pass finds; GROUPS, where heads may come packed as rows; and IDEAL_PRODUCTS, where
the capacity of SRAM is not held against it.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from types import ModuleType

from ..errors import unknown

FOLDER = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """All algorithms, by the name that users type. Imports none of them."""
    return tuple(sorted(file.stem.replace("_", "-") for file in FOLDER.glob("[a-z]*.py")))


def source(name: str) -> str:
    """The text of an algorithm's file. Raises ValueError for a name that isn't known."""
    if name not in names():
        raise ValueError(unknown("algorithm", name, names()))
    return (FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """The first line of an algorithm's docstring, without importing it."""
    found = re.match(r'"""(.*)', source(name))
    return found[1].removesuffix('"""') if found else ""


def module(name: str) -> ModuleType:
    """An algorithm's module, with `attend`. Raises ValueError for a name that isn't known."""
    source(name)
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
