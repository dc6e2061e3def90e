"""The algorithms, one file each: `flash2_forward.py` is `flash2-forward`. To add an algorithm is to add a file.

Each file has a function `attend` that reads like its paper, the first line of its docstring is what `flashsteps list`
says of it, and the comments of its lines are the captions of its film. The signature of `attend` says what it takes:
the tensors that it finds in HBM, then its options. Where several heads share keys and values, its Q is theirs, packed
as rows (`flashsteps.machine.heads`).

A file declares TITLE, what people call it, and DIRECTION, "forward" or "backward"; and, where it is so, DECODES = True
(few queries look at all keys, one unless told otherwise), IDEAL_PRODUCTS = True (the capacity of SRAM is not held
against it), SAVED_BY, the forward pass whose tensors a backward pass finds, and NEEDS, the tensors that it finds only
with an option, and with which.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from .. import catalog

FOLDER = Path(__file__).parent

Direction = Literal["forward", "backward"]


@dataclass(frozen=True)
class Algorithm:
    """What a file declares, and its function `attend`."""

    name: str
    title: str
    direction: Direction
    attend: Callable[..., dict[str, Any]]
    decodes: bool = False
    ideal_products: bool = False
    saved_by: str | None = None
    needs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Those of `attend`: HBM and SRAM, the tensors that it finds, then, by keyword alone, its options."""
        return inspect.signature(self.attend).parameters

    @property
    def options(self) -> list[str]:
        """Those of its parameters that are no tensors."""
        return [name for name, one in self.parameters.items() if one.kind is one.KEYWORD_ONLY]

    def tensors(self, options: Mapping[str, Any]) -> list[str]:
        """The tensors that it finds in HBM, by name; one that NEEDS an option only where that is given."""
        found = [name for name, one in self.parameters.items() if one.kind is not one.KEYWORD_ONLY][2:]
        return [name for name in found if name not in self.needs or options.get(self.needs[name]) is not None]

    @property
    def backward(self) -> bool:
        """Whether it takes the gradient of O, and gives those of Q, K and V."""
        return self.direction == "backward"

    @property
    def standard(self) -> str:
        """The standard algorithm of the same direction: what it is measured by."""
        return f"standard-{self.direction}"


def names() -> tuple[str, ...]:
    """All algorithms, by the name that users type. Imports none of them."""
    return catalog.names(FOLDER)


def source(name: str) -> str:
    """The text of an algorithm's file. Raises ValueError for a name that isn't known."""
    return catalog.source(FOLDER, "algorithm", name)


def summary(name: str) -> str:
    """The first line of an algorithm's docstring, without importing it."""
    return catalog.summary(source(name))


@cache
def algorithm(name: str) -> Algorithm:
    """An algorithm as its file declares it.

    Raises ValueError for a name that isn't known, and for a file that does not say what it has to.
    """
    source(name)
    file = f"{name.replace('-', '_')}.py"
    module = importlib.import_module(f"{__name__}.{file.removesuffix('.py')}")
    for declared in ("TITLE", "DIRECTION", "attend"):
        if not hasattr(module, declared):
            raise ValueError(f"algorithms/{file} has no {declared}: add it, as the other files do")
    if module.DIRECTION not in ("forward", "backward"):
        raise ValueError(f"algorithms/{file} has DIRECTION {module.DIRECTION!r}: give 'forward' or 'backward'")
    more = {option.lower(): getattr(module, option) for option in _OPTIONAL if hasattr(module, option)}
    return Algorithm(name, module.TITLE, module.DIRECTION, module.attend, **more)


_OPTIONAL = ("DECODES", "IDEAL_PRODUCTS", "SAVED_BY", "NEEDS")
