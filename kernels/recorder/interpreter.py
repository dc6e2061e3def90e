"""Triton's interpreter with a tape in it: each load, store, product and launch tells the tape what it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import numpy as np

from flashsteps.machine.arrays import Work

from .tape import KernelTape, Refused
from .tensors import Argument, registered
from .watch import watcher

#: what the interpreter does with each floating-point number, by the work that it is; integers and masks are none, and
#: other reductions than of sums and extremes come down to these
ELEMENTWISE: dict[Work, tuple[str, ...]] = {
    Work(exp=1): ("exp", "exp2", "log", "log2"),
    Work(other=1): (
        *("fadd", "fsub", "fmul", "fdiv", "frem", "precise_divf", "minimumf", "minnumf", "maximumf", "maxnumf"),
        *("fabs", "floor", "ceil", "sqrt", "precise_sqrt", "rsqrt", "sin", "cos", "erf"),
    ),
    Work(other=2): ("fma", "clampf"),
}

#: a method of the interpreter, and what is put in its place: what makes a wrapper of the original
Method = Callable[..., Any]
Wrapper = Callable[[Method], Method]


def there() -> Any:
    """Triton's interpreter. Raises ValueError where kernels are compiled instead."""
    try:
        import triton
        from triton.runtime import interpreter
    except ImportError as missing:
        raise ValueError(f"{missing.name} is missing: pip install 'flashsteps[kernels]'") from missing
    if not triton.knobs.runtime.interpret:
        raise ValueError("Triton's interpreter is off: set TRITON_INTERPRET=1 before triton is imported")
    return interpreter


@contextmanager
def telling(interpreter: Any, tape: KernelTape, awaited: Mapping[str, Argument]) -> Iterator[None]:
    """While this is open, the interpreter tells the tape what it does. Whatever happens, nothing stays wrapped."""
    with ExitStack() as wrapped:
        for owner, name, around in _wrappers(interpreter, tape, awaited):
            original = getattr(owner, name)
            wrapped.callback(setattr, owner, name, original)
            setattr(owner, name, around(original))
        yield


def _wrappers(interpreter: Any, tape: KernelTape, awaited: Mapping[str, Argument]) -> list[tuple[Any, str, Wrapper]]:
    """What is wrapped: (owner, name, what makes the wrapper of the original)."""
    builder = interpreter.InterpreterBuilder
    folded = _reduction(interpreter, tape)
    return [
        (builder, "create_masked_load", _load(tape)),
        (builder, "create_masked_store", _store(tape)),
        *((builder, f"create_atomic_{name}", _atomic(tape)) for name in ("rmw", "cas")),
        (builder, "create_dot", _dot(tape)),
        *((builder, f"create_{name}", _each(tape, work)) for work, names in ELEMENTWISE.items() for name in names),
        *((interpreter.ReduceOps, name, folded) for name in ("sum", "min_max")),
        *((interpreter.ScanOps, name, folded) for name in ("cumsum", "cumprod")),
        (interpreter.GridExecutor, "__call__", _launch(interpreter, tape, awaited)),
    ]


# ---- what moves


def _load(tape: KernelTape) -> Wrapper:
    def around(original: Method) -> Method:
        def load(builder: Any, ptrs: Any, mask: Any, *rest: Any, **options: Any) -> Any:
            steps = tape.moved("load", builder.grid_idx, ptrs.data, _data(mask))
            result = original(builder, ptrs, mask, *rest, **options)
            tape.loaded(steps, result.data)
            return result

        return load

    return around


def _store(tape: KernelTape) -> Wrapper:
    def around(original: Method) -> Method:
        def store(builder: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
            steps = tape.moved("store", builder.grid_idx, ptrs.data, _data(mask))
            result = original(builder, ptrs, value, mask, *rest, **options)
            tape.stored(steps)
            return result

        return store

    return around


def _atomic(tape: KernelTape) -> Wrapper:
    def around(original: Method) -> Method:
        def atomic(builder: Any, *rest: Any, **options: Any) -> Any:
            where = tape.source.quote(tape.source.frame(sys._getframe(1)))
            raise Refused(f"program {builder.grid_idx} does an atomic operation, for which there is no step: {where}")

        return atomic

    return around


def _data(mask: Any) -> Any:
    """A mask's array: of a handle, or given as such."""
    return mask if isinstance(mask, np.ndarray) else getattr(mask, "data", None)


# ---- what is computed


def _dot(tape: KernelTape) -> Wrapper:
    def around(original: Method) -> Method:
        def dot(builder: Any, a: Any, b: Any, *rest: Any, **options: Any) -> Any:
            tape.computed(builder.grid_idx, Work(matmul=2 * prod(a.data.shape) * b.data.shape[-1]))
            return original(builder, a, b, *rest, **options)

        return dot

    return around


def _each(tape: KernelTape, one: Work) -> Wrapper:
    def around(original: Method) -> Method:
        def elementwise(builder: Any, *rest: Any, **options: Any) -> Any:
            result = original(builder, *rest, **options)
            tape.computed(builder.grid_idx, Work().plus(one, result.data.size))
            return result

        return elementwise

    return around


def _reduction(interpreter: Any, tape: KernelTape) -> Wrapper:
    def around(original: Method) -> Method:
        def reduction(ops: Any, given: Any, *rest: Any, **options: Any) -> Any:
            result = original(ops, given, *rest, **options)
            if given.dtype.is_floating():
                length = given.handle.data.size if ops.axis is None else given.handle.data.shape[ops.axis]
                folds = given.handle.data.size // length * (length - 1)
                tape.computed(interpreter.interpreter_builder.grid_idx, Work(other=folds))
            return result

        return reduction

    return around


# ---- a launch


def _launch(interpreter: Any, tape: KernelTape, awaited: Mapping[str, Argument]) -> Wrapper:
    def around(original: Method) -> Method:
        def launch(executor: Any, *args: Any, **options: Any) -> Any:
            tape.launched(executor.fn.__name__)
            given = dict(zip(executor.arg_names, args, strict=False)) | options
            for name, of in awaited.items():
                if of.name in given:
                    tensor = getattr(given[of.name], "base", given[of.name])  # of a descriptor
                    tape.register(registered(name, of.view(tensor)))
            before = sys.gettrace()
            try:
                if tape.slots:
                    sys.settrace(watcher(interpreter.interpreter_builder, tape))
                return original(executor, *args, **options)
            except interpreter.InterpreterError as error:
                refused = _cause(error)
                if refused is None:
                    raise
            finally:
                sys.settrace(before)
            raise refused from None

        return launch

    return around


def _cause(error: BaseException | None) -> Refused | None:
    """What the interpreter wrapped in errors of its own, if it is ours."""
    while error is not None and not isinstance(error, Refused):
        error = error.__cause__
    return error
