"""The recorder: what a Triton kernel itself loads, makes and stores, step by step, as Triton's interpreter runs it.

    with record(X=x, Y=y) as tape:
        kernel[grid](x, y, n)
    for program in tape.programs():
        print(program, *program.steps, sep="\\n")

It works for any kernel. Each load and store of the interpreter, by pointers or by descriptors, is looked up in the
tensors that were registered: an address becomes rows of a tensor in the order of its view's dimensions, so a view says
what a row is (`q.view(B, Hk, G, N, d).transpose(2, 3)` packs the heads of a group as rows). Lanes that are masked off
count for nothing. With `slots`, the kernel's own variables are watched, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any, NamedTuple

import numpy as np

from flashsteps.machine.arrays import Work

from .source import Source, is_kernel
from .tape import Refused, Registered, Slots, Tape, Vector

#: LSE or D, one number a row: `record(LSE=vector(lse))`; a tensor of one dimension needs no such word
vector = Vector


class Argument(NamedTuple):
    """A tensor that is not there yet: what a kernel is launched with as the argument `name`, as `view` has it."""

    name: str
    view: Callable[[Any], Any] = lambda given: given


#: a tensor that a function makes before it launches its kernel: `record(O=argument("out", lambda o: o.flatten(0, 2)))`
argument = Argument


@contextmanager
def record(
    *,
    slots: Slots | None = None,
    loops: Mapping[str, tuple[str, int]] | None = None,
    through: Iterable[str] = (),
    **tensors: Any,
) -> Iterator[Tape]:
    """Record what kernels do to `tensors` (torch, on the CPU) while this is open. Gives the tape.

    A tensor is a view (…, columns): its leading dimensions, in their order, count its rows; `vector(view)` has no
    columns; `argument(name, view)` is what a kernel is launched with.

        import torch, triton, triton.language as tl
        from flashsteps.kernels.recorder import record

        @triton.jit
        def scale(X, Y, n, factor, BLOCK: tl.constexpr):
            i = tl.program_id(0)
            at = i * BLOCK + tl.arange(0, BLOCK)
            x = tl.load(X + at, mask=at < n)
            y = x * factor
            tl.store(Y + at, y, mask=at < n)

        x, y = torch.arange(6.0), torch.empty(6)
        with record(X=x, Y=y, slots={"y": ("y", "x")}, loops={"i": ("i", 1)}) as tape:
            scale[(2,)](x, y, 6, 0.5, BLOCK=4)
        for program in tape.programs():
            print(program.index, *program.steps, sep=", ")

    It prints, with TRITON_INTERPRET=1 set, what each of the two programs did, the second of them with two numbers only:

        {'i': 0}, load X[0:4], compute y, store Y[0:4]
        {'i': 1}, load X[4:6], compute y, store Y[4:6]

    `slots` names the kernels' variables to watch (add.s for s in the function add), each with its slot and, if it is to
    be cut to what is in range, what its axes count, the rows of the tile in a slot or the columns of a tile, d:
    {"s": ("S", "q", "k"), "m_i": ("m_i", "q"), "acc": ("acc", "q", "d")}; "q|o" is the first of these that there is.
    `loops` names the variables, in the same way, that say which block a program or a round of a loop is about, each
    with the loop's name and by how much it grows: {"pid": ("i", 1), "start": ("j", 64)}; one that is set in a loop
    counts inside of it alone. What the functions named in `through` do is told at the line that calls them.

    Raises ValueError, here, where Triton's interpreter is off, a tensor cannot be registered or a slot is no tuple of
    words; where a kernel is launched, if it loads or stores anything outside of all tensors (with the nearest tensor,
    program and source line), something that is not a tile, or by an atomic operation; and, at the end, if no kernel
    that ran sets a variable of `slots`. Whatever happens, nothing stays wrapped.
    """
    interpreter = _interpreter()
    if not tensors:
        raise ValueError("record() got no tensor: name those that the kernel may touch, record(Q=q, K=k, O=o)")
    for variable, spec in (slots or {}).items():
        if not (isinstance(spec, tuple | list) and spec and all(isinstance(word, str) for word in spec)):
            slot = spec if isinstance(spec, str) else variable.rpartition(".")[2]
            raise ValueError(
                f"slots[{variable!r}] is {spec!r}: give (slot, axes…), as ({slot!r},) or ({slot!r}, 'q', 'd')"
            )
    awaited = {name: given for name, given in tensors.items() if isinstance(given, Argument)}
    tape = Tape(tensors, dict(slots or {}), dict(loops or {}), Source(through))
    for name, given in tensors.items():
        if name not in awaited:
            tape.register(_registered(name, given))
    with ExitStack() as wrapped:
        for owner, name, around in _wrappers(interpreter, tape, awaited):
            original = getattr(owner, name)
            wrapped.callback(setattr, owner, name, original)
            setattr(owner, name, around(original))
        yield tape
    for variable in tape.slots:
        _known(tape.source, variable)


def _known(source: Source, variable: str) -> None:
    """Raises ValueError where no kernel that ran sets a watched variable."""
    function, _, name = variable.rpartition(".")
    ran = source.variables()
    where = {function: ran[function]} if function in ran else ran
    if not ran or (function in where or not function) and any(name in names for names in where.values()):
        return
    known = ", ".join(f"{one}.{given}" if one != function else given for one in where for given in where[one])
    raise ValueError(f"slots has {variable!r}, which no kernel that ran sets: there are {known or 'no variables'}")


def _interpreter() -> Any:
    """Triton's interpreter. Raises ValueError where kernels are compiled instead."""
    try:
        import triton
        from triton.runtime import interpreter
    except ImportError as missing:
        raise ValueError(f"{missing.name} is missing: pip install 'flashsteps[kernels]'") from missing
    if not triton.knobs.runtime.interpret:
        raise ValueError("Triton's interpreter is off: set TRITON_INTERPRET=1 before triton is imported")
    return interpreter


def _registered(name: str, given: Any) -> Registered:
    """A tensor's memory as an array. Raises ValueError, with its name, where that can't be."""
    view = given.view if isinstance(given, Vector) else given
    if not hasattr(view, "data_ptr"):
        raise ValueError(f"{name} is {type(view).__name__}: give a torch tensor, or vector(tensor)")
    if view.device.type != "cpu":
        raise ValueError(f"{name} is on {view.device}: the interpreter's kernels are recorded on the CPU")
    array = _memory(view.detach())
    extents = sorted((stride, size) for size, stride in zip(array.shape, array.strides, strict=True) if size > 1)
    room = array.itemsize
    for stride, size in extents:
        if stride < room:
            raise ValueError(f"{name} has strides {tuple(view.stride())}: some of its elements share one address")
        room = stride * size
    leading = array.ndim if isinstance(given, Vector) or array.ndim < 2 else array.ndim - 1
    return Registered(name, array, leading)


def _memory(tensor: Any) -> np.ndarray:
    """An array over a tensor's memory, with its strides."""
    import torch

    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        array: np.ndarray = tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = tensor.numpy()
    return array[None] if array.ndim == 0 else array


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

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def _wrappers(interpreter: Any, tape: Tape, awaited: Mapping[str, Argument]) -> list[tuple[Any, str, Wrapper]]:
    """What is wrapped while recording: (owner, name, what makes the wrapper of the original)."""

    def load(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(builder: Any, ptrs: Any, mask: Any, *rest: Any, **options: Any) -> Any:
            steps = tape.moved("load", builder.grid_idx, ptrs.data, _data(mask))
            result = original(builder, ptrs, mask, *rest, **options)
            tape.loaded(steps, result.data)
            return result

        return wrapper

    def store(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(builder: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
            steps = tape.moved("store", builder.grid_idx, ptrs.data, _data(mask))
            result = original(builder, ptrs, value, mask, *rest, **options)
            tape.stored(steps)
            return result

        return wrapper

    def atomic(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(builder: Any, *rest: Any, **options: Any) -> Any:
            where = tape.source.quote(tape.source.frame(sys._getframe(1)))
            raise Refused(f"program {builder.grid_idx} does an atomic operation, for which there is no step: {where}")

        return wrapper

    def dot(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(builder: Any, a: Any, b: Any, *rest: Any, **options: Any) -> Any:
            tape.computed(builder.grid_idx, Work(matmul=2 * prod(a.data.shape) * b.data.shape[-1]))
            return original(builder, a, b, *rest, **options)

        return wrapper

    def each(one: Work) -> Wrapper:
        def elementwise(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(builder: Any, *rest: Any, **options: Any) -> Any:
                result = original(builder, *rest, **options)
                tape.computed(builder.grid_idx, Work().plus(one, result.data.size))
                return result

            return wrapper

        return elementwise

    def reduction(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(ops: Any, given: Any, *rest: Any, **options: Any) -> Any:
            result = original(ops, given, *rest, **options)
            if given.dtype.is_floating():
                length = given.handle.data.size if ops.axis is None else given.handle.data.shape[ops.axis]
                folds = given.handle.data.size // length * (length - 1)
                tape.computed(interpreter.interpreter_builder.grid_idx, Work(other=folds))
            return result

        return wrapper

    def launch(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(executor: Any, *args: Any, **options: Any) -> Any:
            tape.launched(executor.fn.__name__)
            given = dict(zip(executor.arg_names, args, strict=False)) | options
            for name, of in awaited.items():
                if of.name in given:
                    tensor = getattr(given[of.name], "base", given[of.name])  # of a descriptor
                    tape.register(_registered(name, of.view(tensor)))
            before = sys.gettrace()
            try:
                if tape.slots:
                    sys.settrace(_watch(interpreter.interpreter_builder, tape))
                return original(executor, *args, **options)
            except interpreter.InterpreterError as error:
                refused = _cause(error)
                if refused is None:
                    raise
            finally:
                sys.settrace(before)
            raise refused from None

        return wrapper

    builder = interpreter.InterpreterBuilder
    return [
        (builder, "create_masked_load", load),
        (builder, "create_masked_store", store),
        (builder, "create_atomic_rmw", atomic),
        (builder, "create_atomic_cas", atomic),
        (builder, "create_dot", dot),
        *((builder, f"create_{name}", each(work)) for work, names in ELEMENTWISE.items() for name in names),
        *((interpreter.ReduceOps, name, reduction) for name in ("sum", "min_max")),
        *((interpreter.ScanOps, name, reduction) for name in ("cumsum", "cumprod")),
        (interpreter.GridExecutor, "__call__", launch),
    ]


def _data(mask: Any) -> Any:
    """A mask's array: of a handle, or given as such."""
    return mask if isinstance(mask, np.ndarray) else getattr(mask, "data", None)


def _cause(error: BaseException | None) -> Refused | None:
    """What the interpreter wrapped in errors of its own, if it is ours."""
    while error is not None and not isinstance(error, Refused):
        error = error.__cause__
    return error


def _watch(builder: Any, tape: Tape) -> Callable[..., Any]:
    """A tracer for `sys.settrace`: after each line of a kernel, the watched variables that the line gave a value."""

    def enter(frame: Any, event: str, _: Any) -> Any:
        if not is_kernel(frame.f_code) or frame.f_code.co_name in tape.source.through:
            return None
        ran: list[int] = []

        def local(frame: Any, event: str, _: Any) -> Any:
            code = frame.f_code
            if event == "line" and ran and tape.source.line(code, frame.f_lineno) == tape.source.line(code, ran[0]):
                return local  # another line of the same statement, which is not done yet
            if event in ("line", "return") and ran:
                line = ran.pop()
                for name in tape.source.assigned(code, line):
                    data = getattr(getattr(frame.f_locals.get(name), "handle", None), "data", None)
                    if isinstance(data, np.ndarray) and tape.watched(code, name):
                        tape.bound(builder.grid_idx, frame, line, name, data)
            if event == "line":
                ran.append(frame.f_lineno)
            return local

        return local

    return enter
