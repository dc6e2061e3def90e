"""What the host leaves out of a call that it has seen: nothing that the call's outcome depends on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashsteps.kernels import attention
from flashsteps.kernels.targets.target import Target, pretend


def test_what_reaches_the_launcher_is_what_triton_gives_it() -> None:
    """Where Triton is no interpreter, and so in a process of its own (relaunched.py)."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("relaunched.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["past Triton"] > 200
    assert told["launches"] - told["past Triton"] > 200


#: tensors that differ in one thing that a call is judged by
Q = torch.zeros(2, 4, 6, 8)
TENSORS = [
    Q, Q.half(), Q.double(), Q[0], Q[:, :2], Q[:, :, :3], Q.transpose(1, 2), Q.transpose(2, 3), Q[..., ::2], Q.int(),
    Q.to("meta"), torch.nn.Parameter(Q), Q.to_sparse(), torch.zeros(2, 4, 6, 300), Q.expand(2, 4, 6, 8)[:1],
    torch.nested.nested_tensor([Q[0], Q[1]]),
]  # fmt: skip
OPTIONS: dict[str, list[Any]] = {
    "dropout_p": [0, False, 0.5, "none"],
    "is_causal": [True, 1, None],
    "scale": [0.5, 1, 1.0, True, 0, -1.0, float("nan"), torch.tensor(0.5), "none"],
    "enable_gqa": [True, 1],
    "causal": [True, 1, 1.0],
    "window": [(1, 1), (True, 1), (1.0, 1), [1, 1], (-1, 0), (1, (1,)), 1],
    "softcap": [1, 1.0, True, 20.0],
    "return_lse": [True, 1, 0],
    "attn_mask": [torch.ones(6, 6, dtype=torch.bool)],
    "sinks": [torch.zeros(4)],
}
#: q, k and v, of which one may be another; options, of which most are as they are where nobody names them; and where
CALLS: Any = st.tuples(
    st.sampled_from([(at, one) for at in range(4) for one in TENSORS]),
    st.one_of([st.just({})] + [st.sampled_from([{name: one} for one in given]) for name, given in OPTIONS.items()]),
    st.sampled_from([None, None, torch.bfloat16, torch.float16]),
    st.booleans(),
)


def outcome(call: Any) -> Any:
    """What `flash_attention` asks of the kernels, or refuses, or leaves to torch."""
    (at, other), options, cast, pretended = call
    tensors = [other if at in (number, 3) else Q for number in range(3)]
    asked: list[Any] = []

    def kernels(problem: Any, *given: Any) -> Any:
        same = [any(one is x for x in (*tensors, None)) for one in (*given, None, None)[:5]]
        asked.extend((problem, [*map(type, problem)], same))
        return torch.zeros(problem.batch, problem.heads, problem.n, problem.d_v), torch.zeros(given[0].shape[:3])

    autocast = torch.autocast("cpu", cast) if cast else nullcontext()
    with (
        mock.patch.object(attention, "attention", kernels),
        mock.patch.object(attention, "_warn", asked.append),
        pretend(Target("cuda", 90)) if pretended else nullcontext(),
        autocast,
    ):
        try:
            found = attention.flash_attention(*tensors, **options)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            return [*asked, type(error), str(error)]
    return [*asked, type(found)]


@settings(max_examples=150)
@example([((0, Q), options, None, False) for options in ({}, {"is_causal": True}, {"is_causal": 1})])
@given(st.lists(CALLS, min_size=1, max_size=8))
def test_a_call_is_judged_as_if_it_were_the_first(calls: list[Any]) -> None:
    attention._answered.clear()
    for call in (*calls, *calls):
        after = outcome(call)
        known = dict(attention._answered)
        attention._answered.clear()
        assert after == outcome(call)
        attention._answered.update(known)
