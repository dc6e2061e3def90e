"""Training with one attention or another, all else alike: losses that lie on each other, time a step, peak memory.

The same model, seed, text, order and optimiser; only the attention differs. The first steps, in which things are
compiled and found out, are not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import backends, corpus, trial
from .backends import Attention
from .gpt import GPT, Architecture
from .machine import Machine
from .schedule import Deadline
from .speed import digits, summary
from .trial import Lost

#: steps that are not timed; then comes one whose memory is measured
WARM = 5

#: the learning rate, and in how many steps it is reached
RATE, RISE = 1e-3, 20

#: who is compared: standard attention written out, torch's as it chooses, and this package's kernel
ATTENTIONS = ("standard", "sdpa", "flashsteps")

Row = dict[str, Any]


class Plan(NamedTuple):
    """What is trained: at each N, `tokens` characters a step (one sequence at least), for so many steps."""

    sizes: tuple[int, ...]
    tokens: int
    layers: int
    heads: int
    head: int
    steps: int

    def batch(self, n: int) -> int:
        return max(1, self.tokens // n)

    def architecture(self, n: int) -> Architecture:
        return Architecture(self.layers, self.heads, self.head, n, corpus.SIGNS)


#: by the kind of machine, and whether it is only to see that all works
PLANS = {
    ("cuda", False): Plan((512, 1 << 10, 2 << 10, 4 << 10, 8 << 10), 16 << 10, 6, 8, 64, 150),
    ("cuda", True): Plan((1 << 10,), 16 << 10, 2, 8, 64, 20),
    ("cpu", False): Plan((64, 128, 256, 512), 512, 2, 2, 32, 60),
    ("cpu", True): Plan((64,), 128, 2, 2, 16, 10),
}


class Training(NamedTuple):
    """One that goes on: a step of it, the losses so far, and the marks around each step that is timed."""

    step: Callable[[Tensor, Tensor], object]
    losses: list[Tensor]
    marks: list[tuple[Any, Any]]


def run(
    machine: Machine, plan: Plan, text: Tensor, *, deadline: Deadline, names: Sequence[str] = ATTENTIONS, seed: int = 0
) -> Iterator[list[Row]]:
    """The rows of one N after the other, the smallest first, one for each attention, whatever came of it."""
    text, lost = text.to(machine.kind), ""
    for n in sorted(plan.sizes):
        found: dict[str, Row] = {}
        failed: dict[str, tuple[str, str]] = dict.fromkeys(names, ("not run", lost or "the time was over"))
        if not lost and not deadline.over:
            failed = {}
            try:
                found = together(machine, plan, names, n, text, failed, seed=seed, deadline=deadline)
            except Lost as error:
                lost = f"the machine failed: {error}"
                failed = dict.fromkeys(names, ("not run", lost))
        machine.release()
        yield [_row(plan, n, name, failed.get(name, ("ok", None))) | found.get(name, {}) for name in names]


def together(
    machine: Machine,
    plan: Plan,
    names: Sequence[str],
    n: int,
    text: Tensor,
    failed: dict[str, tuple[str, str]],
    *,
    seed: int,
    deadline: Deadline,
) -> dict[str, Row]:
    """Losses, times and the peak of each training, a step of each in turn; one that fails goes to `failed`.

    Raises Lost.
    """
    going: dict[str, Training] = {}
    peaks: dict[str, int | None] = {}
    for name in names:
        if begun := trial.or_failed(machine, name, partial(begin, machine, plan, name, n, seed), failed):
            going[name] = begun[0]
    for at, (x, y) in enumerate(islice(corpus.batches(text, n, plan.batch(n), seed), plan.steps)):
        if deadline.over:
            failed |= dict.fromkeys(going, ("not run", f"the time was over after {at} steps"))
            return {}
        turn = at % max(1, len(going))
        for name in [*list(going)[turn:], *list(going)[:turn]]:
            training = going[name]
            if at < WARM:
                done: object = trial.or_failed(machine, name, partial(training.step, x, y), failed)
            elif at == WARM:
                done = trial.or_failed(machine, name, partial(machine.peak, partial(training.step, x, y)), failed)
                peaks[name] = done[0] if isinstance(done, tuple) else None
            else:
                done = trial.or_out_of_memory(name, partial(_marked, machine, training, x, y), failed)
            if done is None:
                del going[name]
    trial.settled(machine)
    return {name: row for name in going if (row := _result(machine, name, going[name], peaks[name], failed))}


def begin(machine: Machine, plan: Plan, name: str, n: int, seed: int) -> Training:
    """A training of which no step is done yet. Raises Unavailable."""
    device, losses = torch.device(machine.kind), list[Tensor]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the CPU, where weights are made: the same on every machine
        model = GPT(plan.architecture(n), attention(name, n, device)).to(device)
    weights = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.95), fused=machine.kind == "cuda")
    half = torch.autocast(machine.kind, torch.bfloat16, enabled=machine.kind == "cuda")

    def step(x: Tensor, y: Tensor) -> None:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (len(losses) + 1) / RISE)
        with half:
            loss = model(x, y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        losses.append(loss.detach())

    return Training(step, losses, [])


def _marked(machine: Machine, training: Training, x: Tensor, y: Tensor) -> None:
    start = machine.mark()
    training.step(x, y)
    training.marks.append((start, machine.mark()))


def _result(
    machine: Machine, name: str, training: Training, peak: int | None, failed: dict[str, tuple[str, str]]
) -> Row | None:
    curve = torch.stack(training.losses).tolist()
    if wild := [x for x in curve if not isfinite(x)]:
        failed[name] = "wrong", f"a loss on the way is {wild[0]}"
        return None
    seconds = [machine.seconds(*pair) for pair in training.marks]
    return {
        "losses": [digits(x, 7) for x in curve],
        "seconds": summary(seconds),
        "runs": len(seconds),
        "peak_bytes": peak,
    }


def _row(plan: Plan, n: int, name: str, became: tuple[str, str | None]) -> Row:
    blank: Row = {"attention": name, "n": n, "batch": plan.batch(n), "status": became[0], "why": became[1]}
    return blank | {"losses": [], "seconds": None, "runs": None, "peak_bytes": None}


def attention(name: str, n: int, device: torch.device) -> Attention:
    """Causal attention of N queries and keys, by name. Raises Unavailable."""
    if name == "sdpa":
        return partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True)
    return backends.BACKENDS[name].make(n, True, device)


def parameters(plan: Plan, n: int) -> int:
    """How many weights the model for N has."""
    with torch.device("meta"):
        return sum(x.numel() for x in GPT(plan.architecture(n), lambda q, k, v: v).parameters())
