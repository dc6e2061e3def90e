"""hopper_backward where there is no GPU: its own source, run as Python, against float64 and against the trace."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashsteps.kernels import checks, hopper_backward
from flashsteps.kernels.flash2_backward import backward
from flashsteps.kernels.targets import configs, tuned
from flashsteps.kernels.targets.configs import Config
from flashsteps.kernels.targets.target import Target, pretend
from tests.kernels.gluon_emulator import Fault, emulate
from tests.kernels.kernel_problems import Problem, attention, gradients, near

SM_90 = Target("cuda", 90)
PROBLEM = Problem(150, 333, 128, group=2, dtype=torch.float16, causal=True)


def config(d: int, stages: int = 2) -> Config:
    return Config(64 if d > 64 else 128, 128, 12, stages, descriptors=True, hopper=True)


class Run:
    """One backward pass: its gradients, D and what moved, program by program; all poisoned before."""

    def __init__(self, problem: Problem, stages: int = 2, module: Any = hopper_backward, late: int | None = None) -> None:
        q, k, v = problem.tensors()
        torch.manual_seed(problem.seed + 1)
        self.do = torch.randn(q.transpose(1, 2).shape).to(q.dtype).transpose(1, 2)
        self.dlse = torch.randn(q.shape[:3]) if problem.seed % 2 else torch.zeros(q.shape[:3])
        o, lse = attention(problem, (x.double() for x in (q, k, v)))
        self.delta = torch.full(q.shape[:3], torch.nan)
        with pretend(SM_90) as launches:
            sizes = checks.problem(q, k, v, causal=problem.causal, window=problem.window, scale=problem.scale)
            assert module.takes(sizes, q, k, v, self.do)
            self.made = module.backward(
                sizes, self.do, q, k, v, o.to(q.dtype), lse.float(), self.dlse, self.delta, config(problem.d, stages)
            )
        before, main, after = launches
        for x in (*self.made, before.arguments["Rows"], before.arguments["dQ"]):
            x.fill_(torch.nan)
        before.kernel[before.grid](**before.arguments, **before.options)
        self.programs = list(emulate(main, late))
        after.kernel[after.grid](**after.arguments, **after.options)


def right(problem: Problem, run: Run) -> bool:
    exact = gradients(problem, run.do, run.dlse, torch.float64)
    standard = gradients(problem, run.do, run.dlse, problem.dtype)
    return all(near(*one) for one in zip(run.made, exact, standard, strict=True))


@st.composite
def problems(draw: Any) -> Problem:
    """Ragged, masked and grouped; heads beside tokens, as a model has them."""
    bound = st.integers(-1, 200)
    return Problem(
        n=draw(st.integers(1, 300)),
        m=draw(st.integers(1, 400)),
        d=draw(st.sampled_from((40, 64, 80, 128))),
        batch=draw(st.integers(1, 2)),
        kv_heads=draw(st.integers(1, 2)),
        group=draw(st.sampled_from((1, 1, 2, 3))),
        dtype=draw(st.sampled_from((torch.float16, torch.bfloat16))),
        causal=draw(st.booleans()),
        window=draw(st.none() | st.tuples(bound, bound)),
        scale=draw(st.none() | st.just(0.3)),
        seed=draw(st.integers(0, 99)),
    )


@given(problems(), st.sampled_from((2, 3)), st.sampled_from((None, 0, -1)))
@settings(max_examples=8)
def test_it_is_the_gradient_of_attention(problem: Problem, stages: int, late: int | None) -> None:
    assert right(problem, Run(problem, stages, late=late))
