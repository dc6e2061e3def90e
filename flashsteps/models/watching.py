"""Watching a model run: each call of attention is seen as it is made, and the module that makes it is known."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.attention import flex_attention as flex_module
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from . import reading
from .reading import Attention

Tensor = Any  # torch's, which is not read by mypy


class Where(NamedTuple):
    """The module that is running: its path in the outermost one that was called, and its class; None, "" for none."""

    module: Any = None
    path: str = ""
    kind: str = ""


#: told of each call, of what it gave, and of where
Note = Callable[[Attention, Tensor, Where], None]

#: told of each call, as what reads it, and of what it gave
Seen = Callable[[Callable[[], Attention], Tensor], None]

SOFTMAX = (F.softmax, torch.softmax, torch.Tensor.softmax)

#: operations that are called as such, by a program that torch.export made or by this package's kernels
OPERATIONS: dict[str, Callable[[Mapping[str, Any]], Attention]] = {
    "aten::scaled_dot_product_attention": lambda given: reading.sdpa(**given),
    "flashsteps::flash_attention": reading.ours,
}

#: flash-attn's modules, 2 and 3
FLASH = ("flash_attn.flash_attn_interface", "flash_attn_interface")


@contextmanager
def watching(note: Note, by_hand: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, `note` is told of each call of attention, and `by_hand` of each softmax that is none of its.

    What torch.compile made runs as it was written, and so does FlexAttention: what is compiled cannot be watched.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".*when there are global hooks on modules")  # those of _modules
        stack.enter_context(_as_written())
        stack.enter_context(_set(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True))
        where = stack.enter_context(_modules())

        def seen(read: Callable[[], Attention], out: Tensor) -> None:
            with torch.no_grad():  # or a backward pass would have more to it
                attention = reading.unpacked(read(), where().module)
                if any(map(torch._C._functorch.is_functorch_wrapped_tensor, attention[1:4])):
                    raise ValueError(
                        "attention was called inside a transform of torch.func (vmap, grad), where nobody can look at "
                        "its tensors: call the model without it"
                    )
                q, k, v = (x.to(out.dtype) for x in (attention.q, attention.k, attention.v))  # as autocast has them
                note(attention._replace(q=q, k=k, v=v), out, where())

        stack.enter_context(_flash_attn(seen))
        stack.enter_context(_Mode(seen, lambda: by_hand(where().path or where().kind)))
        yield


@contextmanager
def _as_written() -> Iterator[None]:
    """What torch.compile made, and makes, runs as it was written. What compiles is loaded only where it is used."""
    compile = torch.compile
    with ExitStack() as stack:

        def eager() -> None:
            stack.enter_context(torch.compiler.set_stance("force_eager"))

        @wraps(compile)
        def compiled(*args: Any, **kwargs: Any) -> Any:
            torch.compile = compile
            eager()
            return compile(*args, **kwargs)

        if "torch._dynamo" in sys.modules:
            eager()
        else:
            stack.enter_context(_set(torch, "compile", compiled))
        yield


class _Mode(TorchFunctionMode):  # type: ignore[misc]  # torch is not read
    """Sees each function of torch that is called, however it was imported; a backward pass is one, and not entered."""

    def __init__(self, seen: Seen, by_hand: Callable[[], None]) -> None:
        super().__init__()
        self.seen, self.by_hand = seen, by_hand

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multihead(*args, **kwargs)
        if func in SOFTMAX and args and args[0].dim() > 2:
            self.by_hand()
        out = func(*args, **kwargs)
        if func is torch._C._nn.scaled_dot_product_attention:  # F's name for it may be another's now
            self.seen(lambda: reading.sdpa(*args, **kwargs), out)
        elif func is flex_module.flex_attention_hop:
            self.seen(lambda: reading.flex(*args, **kwargs), out[0])
        elif (operation := _operation(func)) and operation.name() in OPERATIONS:
            names = [argument.name for argument in operation._schema.arguments]
            read, given = OPERATIONS[operation.name()], dict(zip(names, args, strict=False)) | kwargs
            self.seen(lambda: read(given), out[0] if isinstance(out, tuple) else out)
        return out

    def _multihead(self, *args: Any, **kwargs: Any) -> Any:
        """nn.MultiheadAttention, with this mode on inside it too: as it is, it would be off, and see nothing.

        A copy of the function is called, whose `has_torch_function` says no: or it would come here again, for ever.
        """
        function = F.multi_head_attention_forward
        scope = function.__globals__ | {"has_torch_function": lambda tensors: False}
        copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        copy.__kwdefaults__ = function.__kwdefaults__
        given = inspect.signature(function).bind(*args, **kwargs)
        given.apply_defaults()
        told = given.arguments
        inside: TorchFunctionMode = self
        if told["need_weights"]:
            inside = _ByHand(self.seen, told["num_heads"], told["dropout_p"] if told["training"] else 0.0)
        with inside:
            return copy(*args, **kwargs)


class _ByHand(TorchFunctionMode):  # type: ignore[misc]  # torch is not read
    """Sees the two products of nn.MultiheadAttention where it returns its weights, and so has to compute them."""

    def __init__(self, seen: Seen, heads: int, dropout: float) -> None:
        super().__init__()
        self.seen, self.heads, self.dropout = seen, heads, dropout
        self.scores: tuple[Tensor, Tensor, Tensor | None] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.baddbmm:
            self.scores = (args[1], args[2], args[0])
        elif func is torch.bmm and self.scores is None:
            self.scores = (*args, None)
        elif func is torch.bmm and self.scores:
            q, k, mask = self.scores
            self.seen(lambda: reading.by_hand(q, k, args[1], mask, self.heads, self.dropout), out)
        return out


def _operation(func: Any) -> Any:
    """The operation of torch.ops that is called, if it is one."""
    if isinstance(func, torch._ops.OpOverloadPacket):
        return getattr(func, "default", None)
    return func if isinstance(func, torch._ops.OpOverload) else None


# ---- which module it is


@contextmanager
def _modules() -> Iterator[Callable[[], Where]]:
    """What says, at any time, which module is running."""
    running: list[Any] = []
    names: dict[int, str] = {}

    def enters(module: Any, args: Any) -> None:
        if not running:
            names.clear()
            names.update({id(one): name for name, one in module.named_modules()})
        running.append(module)

    def leaves(module: Any, args: Any, out: Any) -> None:
        while running and running.pop() is not module:
            pass

    def where() -> Where:
        if not running:
            return Where()
        parts = names.get(id(running[-1]), "").split(".")
        return Where(running[-1], ".".join(part for part in parts if part != "_orig_mod"), type(running[-1]).__name__)

    before = hooks.register_module_forward_pre_hook(enters)
    after = hooks.register_module_forward_hook(leaves, always_call=True)
    try:
        yield where
    finally:
        before.remove()
        after.remove()


# ---- flash-attn


@contextmanager
def _flash_attn(seen: Seen) -> Iterator[None]:
    """flash-attn's functions, where it is installed, tell of their calls: wherever a module has one, it is wrapped."""
    wrapped: dict[int, Any] = {}
    for name in FLASH:
        with suppress(ImportError, OSError):  # or one that was built for another torch
            for function in vars(importlib.import_module(name)).values():
                if inspect.isfunction(function) and function.__name__.startswith("flash_attn") and \
                        function.__name__.endswith(("_func", "_with_kvcache")):  # fmt: skip
                    wrapped[id(function)] = _telling(function, seen)
    _replace(wrapped)
    try:
        yield
    finally:
        _replace({id(one): one.__wrapped__ for one in wrapped.values()})


def _telling(function: Any, seen: Seen) -> Any:
    signature = inspect.signature(function)

    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        out = function(*args, **kwargs)
        if torch._C._current_graph_task_id() == -1:  # a backward pass may compute once more what was forgotten
            given = signature.bind(*args, **kwargs)
            asked = [name for name, value in given.arguments.items() if not _default(signature.parameters[name], value)]
            given.apply_defaults()
            o = out[0] if isinstance(out, tuple) else out
            seen(lambda: reading.flash(function.__name__, given.arguments, asked), o)
        return out

    return told


def _default(parameter: inspect.Parameter, value: Any) -> bool:
    """Is an argument what it would be if it had not been given?"""
    default = parameter.default
    return value is default or (
        type(value) is type(default) and not isinstance(value, torch.Tensor) and value == default
    )


def _replace(others: Mapping[int, Any]) -> None:
    """Put these in the place of the functions of these ids, in all modules."""
    if not others:
        return
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in others:
                setattr(module, name, others[id(value)])


@contextmanager
def _set(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
