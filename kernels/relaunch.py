"""A kernel is launched again without Triton's search for what it compiled, which takes most of the time of a launch.

Triton looks at each argument of each launch, at its type, whether its address is a multiple of 16, or a number is one,
or is 1, and by that finds the compiled kernel. Here what it found is kept by the same, told in fewer steps, and is
given to Triton's own launcher with what Triton gives it. Where a hook is set, or anything is not as it was in those
versions of Triton that this was held against, the launch is Triton's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import torch
import triton
from triton import knobs
from triton.compiler import CompiledKernel
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor
from triton.language import constexpr
from triton.runtime.driver import driver
from triton.tools.tensor_descriptor import TensorDescriptor

#: the versions of Triton whose `JITFunction.run` gives its launcher what this gives it
HELD_AGAINST = ("3.6.0", "3.7.1")

#: so many launches of one kind are kept: then it begins anew, for there is no end of strides
KEPT = 1024

_TENSORS = (torch.Tensor, torch.nn.Parameter)
_DESCRIPTORS = (TensorDescriptor, GluonDescriptor)
_NONE = type(None)

Values = tuple[Any, ...]
Getter = Callable[[Any], Values]


class _Found(NamedTuple):
    """What Triton compiled; the globals that this goes by: where each is, its name, the constexpr, and its value."""

    kernel: CompiledKernel
    globals: tuple[tuple[dict[str, Any], str, constexpr, Any], ...]
    layouts: tuple[Any, ...]  # kept, since the key has no more of them than where they are


class _Kind(NamedTuple):
    """How Triton looks at a kernel's arguments where they are of these types, and what it found so far.

    Of `exact` the value counts (of these, `tuples` hold numbers), of `counts` whether they need more than 32 bits, of
    `tensors` the type and the alignment, of `descriptors` type, block and layout; of all others the type alone.
    """

    exact: Getter
    tuples: Getter
    counts: Getter
    tensors: Getter
    descriptors: Getter
    found: dict[Any, _Found]


def _nothing(given: Any) -> Values:
    return ()


#: the kind of a launch that has an argument of which it isn't known here how Triton looks at it
LEFT_TO_TRITON = _Kind(_nothing, _nothing, _nothing, _nothing, _nothing, {})


class _Kernel(NamedTuple):
    """A kernel, how its arguments are put in order, and the kinds of its launches, by the types of all arguments.

    Kernels are known by where they are: a hash of one would be that of its source.
    """

    kernel: Any
    ordered: Getter
    kinds: dict[Values, _Kind]


_kernels: dict[int, _Kernel] = {}


def run(kernel: Any, grid: tuple[int, ...], options: dict[str, int], arguments: dict[str, Any]) -> None:
    """Do what `kernel[grid](**arguments, **options)` does, on the current device."""
    if torch.compiler.is_compiling() or not _as_usual(kernel) or len(arguments) != len(kernel.arg_names):
        kernel[grid](**arguments, **options)
        return
    known = _kernels.get(id(kernel)) or _kernels.setdefault(id(kernel), _Kernel(kernel, _getter(kernel.arg_names), {}))
    values = known.ordered(arguments)
    types = tuple(map(type, values))
    kind = known.kinds.get(types) or known.kinds.setdefault(types, _kind(kernel, types))
    device = driver.active.get_current_device()
    key = _key(kind, values, (device, kernel.debug, *options.items()))
    found = kind.found.get(key)
    if found and _unchanged(found):
        made, stream = found.kernel, driver.active.get_current_stream(device)
        made.run(*(*grid, 1, 1)[:3], stream, made.function, made.packed_metadata, None, None, None, *values)
        return
    made = kernel[grid](**arguments, **options)
    if key and (found := _to_keep(kernel, made, device, kind.descriptors(values))):
        if len(kind.found) >= KEPT:
            kind.found.clear()
        kind.found[key] = found


def _as_usual(kernel: Any) -> bool:
    """Whether a launch does nothing but launch: nobody has set a hook."""
    runtime = knobs.runtime
    return (
        triton.__version__ in HELD_AGAINST
        and getattr(runtime.launch_enter_hook, "calls", None) == []
        and getattr(runtime.launch_exit_hook, "calls", None) == []
        and not kernel.pre_run_hooks
        and runtime.add_stages_inspection_hook is None
    )


def _kind(kernel: Any, types: tuple[type, ...]) -> _Kind:
    """How Triton looks at arguments of these types."""
    places: dict[str, list[int]] = {name: [] for name in _Kind._fields[:-1]}
    for at, (parameter, given) in enumerate(zip(kernel.params, types, strict=True)):
        if parameter.is_constexpr and given in (bool, int, str, _NONE):
            places["exact"].append(at)
        elif parameter.annotation:
            return LEFT_TO_TRITON
        elif given in _TENSORS:
            places["tensors"].append(at)
        elif given in _DESCRIPTORS:
            places["descriptors"].append(at)
        elif given is int and parameter.do_not_specialize:
            places["counts"].append(at)
        elif given in (int, tuple):
            places["exact"].append(at)
            places["tuples"] += [at] if given is tuple else []
        elif given not in (bool, float, _NONE):
            return LEFT_TO_TRITON
    return _Kind(**{name: _getter(those) for name, those in places.items()}, found={})


def _getter(places: Iterable[Any]) -> Getter:
    """What takes these out of a tuple or a dictionary, as a tuple."""
    places = tuple(places)
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda values: (values[places[0]],)) if places else _nothing


def _key(kind: _Kind, values: Values, more: Values) -> Values | None:
    """All that Triton looks at in arguments of a kind; None where it looks further than this does."""
    if kind is LEFT_TO_TRITON:
        return None
    tuples, counts = kind.tuples(values), kind.counts(values)
    narrow = not counts or (min(counts) >= -(1 << 31) and max(counts) < 1 << 31)
    if not narrow or not _INT.issuperset(map(type, chain.from_iterable(tuples))):
        return None
    return (
        kind.exact(values),
        tuple([(x.dtype, x.data_ptr() % 16 == 0) for x in kind.tensors(values)]),
        tuple([(x.base.dtype, *x.block_shape, id(getattr(x, "layout", None))) for x in kind.descriptors(values)]),
        knobs.runtime.debug,
        knobs.compilation.instrumentation_mode,
        more,
    )


_INT = {int}


def _unchanged(found: _Found) -> bool:
    """Whether the kernel's globals are what they were; else Triton has to say that they are not."""
    return all(one.value is value and known.get(name) is one for known, name, one, value in found.globals)


def _to_keep(kernel: Any, made: Any, device: int, descriptors: Values) -> _Found | None:
    """What Triton compiled for a launch, if it did, and if it looks at the launches of this GPU as `_kind` has it."""
    used: list[Any] = [(known, name, known.get(name)) for (name, _), (_, known) in kernel.used_global_vals.items()]
    constants = tuple((known, name, one, one.value) for known, name, one in used if type(one) is constexpr)
    backend = kernel.device_caches[device][2].backend
    if type(made) is not CompiledKernel or backend != "cuda" or len(constants) < len(used):
        return None
    return _Found(made, constants, tuple(getattr(x, "layout", None) for x in descriptors))
