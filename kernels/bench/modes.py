"""What `flashsteps bench` runs: from options to results, which come again and again, with more rows each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from flashsteps import results
from flashsteps.errors import unknown
from flashsteps.results import Results

from . import backends, corpus, speed, train
from .machine import Machine, this, versions
from .schedule import LEAST, Deadline
from .trial import PASSES, SETS

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class Sizes(NamedTuple):
    """What is measured unless something else is asked for: `tokens` in a batch, `hidden` = heads · d."""

    sizes: tuple[int, ...]
    dims: tuple[int, ...]
    tokens: int
    hidden: int
    dtype: str


#: by the kind of machine, and whether it is only to see that all works
DEFAULTS = {
    ("cuda", False): Sizes(tuple(512 << k for k in range(7)), (128, 64), 16 << 10, 2048, "bfloat16"),
    ("cuda", True): Sizes((1 << 10, 16 << 10), (128,), 16 << 10, 2048, "bfloat16"),
    ("cpu", False): Sizes((256, 512, 1 << 10, 2 << 10), (64,), 2 << 10, 256, "float32"),
    ("cpu", True): Sizes((128, 256), (64,), 256, 128, "float32"),
}

#: heads that are tuned, too, after those
WIDE = (256,)


def speed_results(
    *,
    passes: Sequence[str] = PASSES,
    sizes: Sequence[int] | None = None,
    dims: Sequence[int] | None = None,
    masks: Sequence[bool] = (False, True),
    names: Sequence[str] | None = None,
    dtype: str | None = None,
    least: int = LEAST,
    quick: bool = False,
    minutes: float | None = None,
    machine: Machine | None = None,
) -> Iterator[Results]:
    """Speed and memory of backends, with the rows of one more point each time; the first have none yet.

    What is not given is as DEFAULTS has it for this machine. Raises ValueError for names and sizes that won't do.
    """
    for which in passes:
        if which not in PASSES:
            raise ValueError(unknown("pass", which, PASSES))
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(unknown("dtype", dtype, DTYPES))
    machine = machine or this()
    usual = DEFAULTS[machine.kind, quick]
    dtype = dtype or usual.dtype
    tokens, hidden = usual.tokens, usual.hidden
    todo = speed.points(sizes or usual.sizes, dims or usual.dims, masks, tokens, hidden)
    wanted = backends.chosen(names if names is not None else backends.BACKENDS)
    budget = speed.BUDGET / 4 if quick else speed.BUDGET
    settings = {
        "dtype": dtype,
        "tokens": tokens,
        "hidden": hidden,
        "batch": "max(1, tokens / N)",
        "flops": speed.RULE,
        "time": "median of runs that take turns, the cache flushed before each; the marks are "
        + ("the GPU's events" if machine.kind == "cuda" else "the wall's clock"),
        "inputs": f"normal random, {SETS} sets in turn",
        "seconds_a_backend": budget,
        "runs_at_least": least,
        "peak_bytes": "the most held at one time, with q, k and v; backward: a forward and a backward pass, with dO",
        "check": "each backend's O, dQ, dK and dV against wider arithmetic, before it is timed (exact.py)",
    }
    made = results.begin("speed", machine.about(), versions(), settings)
    yield made
    order = tuple(which for which in PASSES if which in passes)
    for rows in speed.run(
        machine, wanted, todo, passes=order, dtype=DTYPES[dtype], deadline=Deadline(minutes), budget=budget, least=least
    ):
        made = made._replace(rows=made.rows + rows)
        yield made
    yield made._replace(finished=all(row["status"] != "not run" for row in made.rows))


def train_results(
    *,
    sizes: Sequence[int] | None = None,
    steps: int | None = None,
    quick: bool = False,
    minutes: float | None = None,
    machine: Machine | None = None,
) -> Iterator[Results]:
    """Losses, time a step and memory of a small GPT with each attention, with the rows of one more N each time.

    Raises ValueError for sizes that the text is too short for, and too few steps to time any.
    """
    machine = machine or this()
    plan = train.PLANS[machine.kind, quick]
    plan = plan._replace(sizes=tuple(sizes or plan.sizes), steps=steps or plan.steps)
    if plan.steps <= train.WARM + 1:
        raise ValueError(f"steps is {plan.steps}, and the first {train.WARM + 1} are not timed: give more")
    text = corpus.encoded(corpus.text())
    if max(plan.sizes) >= len(text):
        raise ValueError(f"n is {max(plan.sizes):,}, and the text has {len(text):,} characters: give a smaller one")
    settings = {
        "corpus": corpus.about(text),
        "layers": plan.layers,
        "heads": plan.heads,
        "head": plan.head,
        "parameters": train.parameters(plan, max(plan.sizes)),
        "steps": plan.steps,
        "tokens": plan.tokens,
        "arithmetic": "bfloat16 autocast" if machine.kind == "cuda" else "float32",
        "optimiser": f"AdamW, rate {train.RATE:g} after {train.RISE} steps, gradients clipped at 1",
        "time": f"median of the steps after the first {train.WARM + 1}",
        "peak_bytes": "what a step holds at most, beyond the weights and the optimiser's state",
    }
    made = results.begin("train", machine.about(), versions(), settings)
    yield made
    for rows in train.run(machine, plan, text, deadline=Deadline(minutes)):
        made = made._replace(rows=made.rows + rows)
        yield made
    yield made._replace(finished=all(row["status"] != "not run" for row in made.rows))


def tune_results(
    *,
    dims: Sequence[int] | None = None,
    masks: Sequence[bool] = (False, True),
    dtype: str | None = None,
    quick: bool = False,
    minutes: float | None = None,
    machine: Machine | None = None,
    kernels: Sequence[str] | None = None,
    prepare: Callable[..., dict[Any, str]] | None = None,
) -> Iterator[Results]:
    """The time of each candidate tile, with the rows of one kernel, d and mask more each time.

    The best are written down in `tuned.PATH`, where the kernels find them; `prepare` is in the place of
    `tune.compile_all`. Raises ValueError without a GPU.
    """
    machine = machine or this()
    if machine.kind != "cuda":
        raise ValueError("--tune times tiles on a GPU, and torch sees none here: leave it out, or run it on one")
    from ..targets import tuned
    from . import tune  # which needs triton

    if dtype is not None and dtype not in DTYPES:
        raise ValueError(unknown("dtype", dtype, DTYPES))
    usual = DEFAULTS[machine.kind, quick]
    dtype, hidden, n = dtype or usual.dtype, usual.hidden, usual.tokens
    dims = dims or (usual.dims if quick else (*usual.dims, *WIDE))
    speed.points([n], dims, masks, n, hidden)  # refuses what is wrong
    todo = tune.all_candidates(dims, masks, torch.device(machine.kind), kernels or tuple(tune.MAKES))
    settings = {"dtype": dtype, "n": n, "hidden": hidden, "seconds_a_candidate": tune.BUDGET}
    settings |= {"time": "median of runs that take turns, the cache flushed before each; dkdv and dq: a whole backward"}
    about = machine.about()
    made = results.begin("tune", about, versions(), settings)
    yield made
    options = {"n": n, "hidden": hidden, "dtype": DTYPES[dtype], "prepare": prepare}
    for rows in tune.run(machine, todo, deadline=Deadline(minutes), **options):
        tuned.keep(about["name"], 8 * DTYPES[dtype].itemsize, rows)
        made = made._replace(rows=made.rows + rows)
        yield made
    yield made._replace(finished=all(row["status"] != "not run" for row in made.rows))
