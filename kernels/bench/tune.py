"""The fastest tile of each kernel on this GPU: every candidate compiled, checked, and timed turn about with the others.

Compiling takes most of the time, and takes place in many processes at once: what they have compiled, Triton keeps in
its cache on disk, where the process that measures finds it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..flash2_backward import backward
from ..flash2_forward import forward
from ..problem import Problem
from ..targets import configs
from ..targets.configs import Config
from ..targets.target import target
from . import exact, trial
from .machine import Machine, plain
from .schedule import Deadline
from .speed import Point, summary, timed
from .trial import Failed, Inputs, Lost

#: seconds that one candidate is timed, about, and how often at least
BUDGET, LEAST = 0.05, 20

#: processes that compile at one time, at most: each holds a GPU's context
PROCESSES = 14

#: tokens with which a kernel is compiled: no fewer than the largest tile
SMALL = 512

#: which outputs each kernel makes; `backward` is Hopper's own whole pass, held against the other two together
MAKES = {"forward": ("O",), "dkdv": ("dK", "dV"), "dq": ("dQ",), "backward": ("dQ", "dK", "dV")}

Row = dict[str, Any]
Set = tuple[Tensor, Tensor, Tensor, Tensor]


class Candidate(NamedTuple):
    """A tile for one kernel, for heads of d, causal or not; None is what stands in its place where none is faster."""

    kernel: str
    d: int
    causal: bool
    config: Config | None

    def __str__(self) -> str:
        return f"{self.kernel} d={self.d}{' causal' * self.causal} {self.config or 'plain'}"


def all_candidates(
    dims: Sequence[int], masks: Sequence[bool], device: torch.device, kernels: Sequence[str] = tuple(MAKES)
) -> list[Candidate]:
    """All that is tried on this GPU, in the order to try it: a `backward` is held against the best dkdv and dq."""
    found = []
    for d in dims:
        for kernel in kernels:
            for causal in masks:
                mine = configs.candidates(kernel, d, target(device), causal=causal)
                found += [Candidate(kernel, d, causal, config) for config in mine]
                if kernel == "backward" and mine:
                    found.append(Candidate(kernel, d, causal, None))
    return found


def run(
    machine: Machine,
    todo: Sequence[Candidate],
    *,
    n: int,
    hidden: int,
    dtype: torch.dtype,
    deadline: Deadline,
    prepare: Callable[..., dict[Candidate, str]] | None = None,
) -> Iterator[list[Row]]:
    """The rows of one kernel, d and mask after the other, by d as they come; the best of them is marked."""
    harmful = (prepare or compile_all)(todo, hidden, dtype, deadline)
    lost = ""
    groups = list(dict.fromkeys((one.d, one.causal, one.kernel) for one in todo))
    dims = list(dict.fromkeys(one.d for one in todo))
    given: tuple[tuple[int, bool], Inputs] | None = None
    for d, causal, kernel in sorted(groups, key=lambda group: (dims.index(group[0]), group[1])):
        mine = [one for one in todo if (one.d, one.causal, one.kernel) == (d, causal, kernel)]
        failed = {str(one): ("not available", harmful[one]) for one in mine if one in harmful}
        seconds: dict[str, list[float]] = {}
        if lost or deadline.over:
            failed = dict.fromkeys(map(str, mine), ("not run", lost or "the time was over"))
        else:
            try:
                if given is None or given[0] != (d, causal):
                    given = None  # before the next are made
                    point = Point(n, d, causal, 1, hidden // d)
                    given = (d, causal), trial.guarded(machine, partial(inputs, machine, point, dtype))
                seconds = _group(machine, mine, given[1], failed, deadline)
            except Failed as failure:
                failed |= dict.fromkeys(map(str, mine), (failure.status, failure.why))
            except Lost as error:
                lost = f"the machine failed: {error}"
                failed |= dict.fromkeys(map(str, mine), ("not run", lost))
        yield _rows(mine, n, dtype, seconds, failed)


def inputs(machine: Machine, point: Point, dtype: torch.dtype) -> Inputs:
    """What the kernels are tried on, and what has to come of it."""
    shape, device = (point.batch, point.heads, point.n, point.d), torch.device(machine.kind)
    return trial.inputs(shape, causal=point.causal, dtype=dtype, device=device, seed=0)


def _group(
    machine: Machine,
    mine: Sequence[Candidate],
    given: Inputs,
    failed: dict[str, tuple[str, str]],
    deadline: Deadline,
) -> dict[str, list[float]]:
    """Seconds of the candidates of one kernel that make the right outputs, by name. Raises Lost and Failed."""
    causal = mine[0].causal
    before = [trial.guarded(machine, partial(_before, one, causal)) for one in given.sets]
    calls: dict[str, Callable[[int], tuple[Any, Any]]] = {}
    for one in mine:
        name = str(one)
        if name in failed:
            continue
        if deadline.over:
            failed[name] = "not run", "the time was over"
        elif trial.or_failed(machine, name, partial(_checked, one, given, before[0]), failed):
            calls[name] = partial(_marked, machine, one, given.sets, before)
    return timed(machine, calls, failed, BUDGET, LEAST)


def _before(one: Set, causal: bool) -> tuple[Tensor, Tensor]:
    """O and LSE, which a backward pass starts from."""
    q, k, v, _ = one
    return forward(q, k, v, causal=causal)


def call(one: Candidate, given: Set, before: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Run a candidate's kernel, and what else its pass has, as shipped: the outputs that are its own."""
    q, k, v, do = given
    if one.kernel == "forward":
        return {"O": forward(q, k, v, causal=one.causal, config=one.config)[0]}
    if one.config and one.config.hopper:
        made = backward(do, q, k, v, *before, causal=one.causal, config=one.config)
    else:
        with using(one.kernel, one.config):
            made = backward(do, q, k, v, *before, causal=one.causal, deterministic=True)
    return {name: x for name, x in zip(("dQ", "dK", "dV"), made, strict=True) if name in MAKES[one.kernel]}


def _checked(one: Candidate, given: Inputs, before: tuple[Tensor, Tensor]) -> None:
    if wrong := exact.refusal(call(one, given.sets[0], before), given.reference, given.bound):
        raise Failed("wrong", wrong)


def _marked(
    machine: Machine, one: Candidate, sets: Sequence[Set], before: Sequence[tuple[Tensor, Tensor]], turn: int
) -> tuple[Any, Any]:
    machine.flush()
    start = machine.mark()
    call(one, sets[turn % len(sets)], before[turn % len(sets)])
    return start, machine.mark()


@contextmanager
def using(name: str, config: Config | None) -> Iterator[None]:
    """Let one kernel have this tile, and all others their own."""
    shipped = configs.shipped

    def chosen(kernel: str, problem: Problem, **options: Any) -> Config:
        return config if config and kernel == name else shipped(kernel, problem, **options)

    configs.shipped = chosen
    try:
        yield
    finally:
        configs.shipped = shipped


def _rows(
    mine: Sequence[Candidate],
    n: int,
    dtype: torch.dtype,
    seconds: dict[str, list[float]],
    failed: dict[str, tuple[str, str]],
) -> list[Row]:
    found = {name: summary(each) for name, each in seconds.items()}
    first = min(found, key=lambda name: found[name]["median"], default=None)
    rows = []
    for one in mine:
        name = str(one)
        status, why = failed.get(name, ("ok", None))
        row = {"kernel": one.kernel, "n": n, "d": one.d, "causal": one.causal, "dtype": str(dtype).partition(".")[2]}
        row |= {"config": one.config._asdict() if one.config else {}, "status": status, "why": why}
        row |= {"seconds": found.get(name), "runs": len(seconds.get(name, ())) or None, "best": name == first}
        rows.append(row)
    return rows


# ---- compiling, in many processes


def compile_all(
    todo: Sequence[Candidate], hidden: int, dtype: torch.dtype, deadline: Deadline, processes: int | None = None
) -> dict[Candidate, str]:
    """Run each candidate once, on little, in processes of their own, for at most half of the time.

    Gives those that must not be run here, and why: what they did to a GPU would be the end of this process too. Other
    failures are found again, and told then.
    """
    many = processes or max(1, min(PROCESSES, (os.cpu_count() or 2) - 1))
    harmful: dict[Candidate, str] = {}
    pool = ProcessPoolExecutor(many, mp_context=multiprocessing.get_context("spawn"))
    try:
        waiting: dict[Future[str], Candidate] = {pool.submit(_tried, one, hidden, dtype): one for one in todo}
        limit = None if deadline.left() == float("inf") else max(0.0, deadline.left() / 2)
        for done in as_completed(waiting, timeout=limit):
            if done.exception() is None and (why := done.result()):
                harmful[waiting[done]] = why
    except TimeoutError:  # a wrong barrier would hang here, too: what has not ended once is not begun again
        late = (one for future, one in waiting.items() if one.config and one.config.hopper and not future.done())
        harmful |= dict.fromkeys(late, "it did not end in time")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()  # one that still compiles would keep this process from ending
    return harmful


_lost = False  # of a process that compiles: its GPU answers no more


def _tried(one: Candidate, hidden: int, dtype: torch.dtype) -> str:
    """Run a candidate once; what it did to the GPU, or "" if that is well, whether it ran or not."""
    global _lost
    if _lost:
        return ""
    try:
        shape = 1, hidden // one.d, SMALL, one.d
        q, k, v, do, o = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(5))
        call(one, (q, k, v, do), (o, torch.zeros(shape[:3], device="cuda")))
        torch.cuda.synchronize()
    except Exception as error:
        try:
            torch.cuda.synchronize()
        except Exception:
            _lost = True
            return plain(error)
    return ""
