"""Triton's interpreter in half the time: what it does again and again to no end is done once, or not at all.

Whenever a kernel calls a function, the interpreter looks through all of triton.language for what to patch, though all
was patched when the kernel was launched. And each sum of integers is made again in int64, to see that it did not wrap:
these tests' tensors are far too small for that, and no GPU looks.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from triton.runtime import interpreter

_launch: Callable[..., None] = interpreter.GridExecutor.__call__
_patch: Callable[[Any], Any] = interpreter._patch_lang
_patched: set[frozenset[int]] = set()


def launch(executor: Any, *args: Any, **options: Any) -> None:
    _patched.clear()
    _launch(executor, *args, **options)


def patch(fn: Any) -> Any:
    """Patch the modules that a function knows the language by, unless this launch did so for another."""
    core = interpreter.tl.core
    modules = frozenset(id(one) for one in fn.__globals__.values() if one is interpreter.tl or one is core)
    if modules in _patched:
        return None
    _patched.add(modules)
    return _patch(fn)


interpreter.GridExecutor.__call__ = launch
interpreter._patch_lang = patch
interpreter.interpreter_builder.options = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
