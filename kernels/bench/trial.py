"""One backend on one set of inputs: made ready, checked, called and weighed; what goes wrong becomes plain words."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from . import exact
from .backends import Attention, Backend, Unavailable, out_of_memory, reason
from .machine import Machine, plain

T = TypeVar("T")

PASSES = ("forward", "backward")

#: sets of inputs that take turns
SETS = 3


class Failed(Exception):
    """A backend did not make it: `status` is "not available", "out of memory" or "wrong", `why` one line."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(f"{status}: {why}")
        self.status, self.why = status, why


class Lost(Exception):
    """The machine can do no more: after some errors a GPU answers nothing in this process."""


class Inputs(NamedTuple):
    """Sets of q, k, v and dO, (B, H, N, d) each, and what the first set has to become, how exactly."""

    sets: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]
    causal: bool
    reference: exact.Outputs
    bound: dict[str, float]

    @property
    def nbytes(self) -> int:
        """Of q, k and v of one set."""
        return sum(x.nbytes for x in self.sets[0][:3])


def inputs(
    shape: tuple[int, int, int, int], *, causal: bool, dtype: torch.dtype, device: torch.device, seed: int
) -> Inputs:
    """Normal random inputs of shape (B, H, N, d), the same for the same seed and device."""
    random = torch.Generator(device).manual_seed(seed)

    def tensor() -> Tensor:
        return torch.randn(shape, generator=random, device=device, dtype=dtype)

    sets = tuple((tensor(), tensor(), tensor(), tensor()) for _ in range(SETS))
    wide = torch.float64 if dtype == torch.float32 else torch.float32
    reference = exact.outputs(*sets[0], causal=causal, dtype=wide)
    standard = exact.outputs(*sets[0], causal=causal, dtype=dtype)
    return Inputs(sets, causal, reference, exact.bounds(reference, standard))


def guarded(machine: Machine, work: Callable[[], T]) -> T:
    """What `work` gives, once the machine has done it. Raises Failed, and Lost where nothing more can be done."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            done = work()
            machine.wait()
            return done
        except Failed as error:
            failed = Failed(error.status, error.why)
        except Unavailable as error:
            failed = Failed("not available", plain(error))
        except Exception as error:
            short = out_of_memory(error)
            failed = Failed(*(("out of memory", plain(error)) if short else ("not available", reason(error, heard))))
    machine.release()  # only now: what was raised held on to the tensors of where it was raised
    settled(machine)
    raise failed


def or_failed(
    machine: Machine, name: str, work: Callable[[], T], failed: dict[str, tuple[str, str]]
) -> tuple[T] | None:
    """What `work` gives, guarded, in a tuple; None where it failed, and then `failed` says how. Raises Lost."""

    def begun() -> T:
        machine.about_to(name)
        return work()

    try:
        return (guarded(machine, begun),)
    except Failed as failure:
        failed[name] = failure.status, failure.why
        return None
    except Lost as error:
        raise Lost(f"in {name}, {error}") from None


def or_out_of_memory(name: str, work: Callable[[], T], failed: dict[str, tuple[str, str]]) -> tuple[T] | None:
    """The same for what has worked before, and without waiting for the machine: only memory can be lacking now."""
    try:
        return (work(),)
    except Exception as error:
        if not out_of_memory(error):
            raise Lost(f"in {name}, {plain(error)}") from None
        failed[name] = "out of memory", plain(error)
        return None


def settled(machine: Machine) -> None:
    """Wait until all is done. Raises Lost where something went wrong meanwhile."""
    try:
        machine.wait()
    except Exception as error:
        raise Lost(plain(error)) from None


def ready(machine: Machine, name: str, backend: Backend, given: Inputs, passes: tuple[str, ...]) -> Attention:
    """The backend of this name, once it has made the right outputs, and with a backward pass to come right gradients.

    Raises Failed: also before it is tried, where what it needs is known to be more than there is.
    """
    q, k, v, do = given.sets[0]
    batch, heads, n, _ = q.shape
    needed, room = backend.matrices * batch * heads * n * n * q.itemsize, machine.room()
    if room is not None and needed > room:
        raise Failed("out of memory", f"it would take {needed / 1e9:.1f} GB, and {room / 1e9:.1f} GB are free")

    def work() -> Attention:
        machine.about_to(name)
        attention = backend.make(n, given.causal, q.device)
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        out = attention(*leaves)
        found = {"O": out.detach()}
        if "backward" in passes:
            found |= zip(("dQ", "dK", "dV"), torch.autograd.grad(out, leaves, do), strict=True)
        if wrong := exact.refusal(found, given.reference, given.bound):
            raise Failed("wrong", wrong)
        return attention

    return guarded(machine, work)


def once(
    machine: Machine, attention: Attention, backend: Backend, given: Inputs, which: str, turn: int
) -> tuple[Any, Any]:
    """One pass on one of the sets, with a flushed cache: the marks before and after it, to be read after `wait`.

    Before a backward pass the forward pass that it belongs to runs, outside the marks. What is compiled keeps what
    gradients need in its forward pass too: one compilation serves both.
    """
    q, k, v, do = given.sets[turn % SETS]
    grads = which == "backward" or backend.compiled
    leaves = [x.detach().requires_grad_(grads) for x in (q, k, v)]
    with nullcontext() if grads else torch.no_grad():
        if which == "forward":
            machine.flush()
            start = machine.mark()
            attention(*leaves)
        else:
            out = attention(*leaves)
            machine.flush()
            start = machine.mark()
            torch.autograd.grad(out, leaves, do)
        return start, machine.mark()


def peak(machine: Machine, attention: Attention, backend: Backend, given: Inputs, which: str) -> int | None:
    """The most bytes that a pass holds at one time, q, k and v with it; backward: a forward and a backward pass."""
    q, k, v, do = given.sets[0]
    grads = which == "backward" or backend.compiled
    leaves = [x.detach().requires_grad_(grads) for x in (q, k, v)]

    def work() -> object:
        with nullcontext() if grads else torch.no_grad():
            out = attention(*leaves)
            return torch.autograd.grad(out, leaves, do) if which == "backward" else out

    most = machine.peak(work)
    return None if most is None else most + given.nbytes + (do.nbytes if which == "backward" else 0)
