"""What the host leaves out of a call that it has seen: nothing that the call's outcome depends on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from hypothesis import given
from hypothesis import strategies as st

from flashsteps.kernels import attention, checks
from flashsteps.kernels.targets.target import Target, pretend


def test_what_reaches_the_launcher_is_what_triton_gives_it() -> None:
    """Where Triton is no interpreter, and so in a process of its own (relaunched.py)."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).with_name("relaunched.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    past = told["past Triton"]
    assert all(past[f"{name}_kernel"] > 5 for name in ("forward", "dkdv", "dq", "delta", "block_sparse"))
    assert all(past[f"{name}_kernel"] > 5 for name in ("hopper_forward", "hopper_backward", "rows", "round"))
    assert past["kernel"] > 200
    assert told["launches"] - sum(past.values()) > 200


Q = torch.zeros(2, 4, 6, 8)
#: what may be in the place of Q, and is other than it in one thing that a call is judged by
OTHERS = [
    Q.half(), Q.double(), Q[0], Q[:, :2], Q[:, :, :3], Q.transpose(1, 2), torch.zeros(2, 4, 8, 6).mT, Q[..., ::2],
    torch.zeros(2, 6, 4, 8).transpose(1, 2), Q.int(), Q.to("meta"), torch.nn.Parameter(Q), Q.to_sparse(), Q[:1],
    torch.zeros(2, 4, 6, 300), torch.zeros(1, 4, 6, 8).expand(2, 4, 6, 8), torch.nested.nested_tensor([*Q]),
]  # fmt: skip
OPTIONS: dict[str, list[Any]] = {
    "dropout_p": [0, False, 0.5, "none"],
    "is_causal": [True, 1, 0, None],
    "scale": [0.5, 1, 1.0, True, 0, -1.0, float("nan"), torch.tensor(0.5), "none"],
    "enable_gqa": [True, 1, 0],
    "causal": [True, 1, 1.0, 0],
    "window": [(1, 1), (True, 1), (1.0, 1), (1, True), [1, 1], (-1, 0), (1, (1,)), 1],
    "softcap": [1, 1.0, True, 20.0],
    "return_lse": [True, 1, 0],
    "attn_mask": [torch.ones(6, 6, dtype=torch.bool), None],
    "sinks": [torch.zeros(4), None],
}
CASTS = None, torch.bfloat16, torch.float16


class Call(NamedTuple):
    """q, k and v; options; what autocast makes of them; and whether there is a GPU, if only a pretended one."""

    tensors: tuple[Any, Any, Any] = (Q, Q, Q)
    options: dict[str, Any] = {}  # noqa: RUF012
    cast: torch.dtype | None = None
    gpu: bool = True


CHANGES: list[dict[str, Any]] = [
    *({"options": {name: one}} for name, pool in OPTIONS.items() for one in pool),
    *({"tensors": (one, Q, Q)} for one in OTHERS),
    *({"tensors": (Q, one, one)} for one in OTHERS),
    *({"tensors": (Q, Q, one)} for one in OTHERS),
    *({"tensors": (one, one, one)} for one in OTHERS),
    *({"tensors": (x, x, x), "cast": cast} for x in (Q, Q.half(), Q.bfloat16(), Q.double()) for cast in CASTS),
    *({"options": {"is_causal": True}, "gpu": gpu} for gpu in (True, False)),
    {"gpu": False},
    {},
]


def outcome(call: Call) -> list[Any]:
    """What `flash_attention` asks of the kernels, or refuses, or leaves to torch."""
    asked: list[Any] = []

    def kernels(problem: Any, *given: Any) -> Any:
        which = [[one is x for x in (*call.tensors, None)] for one in (*given, None, None)[:5]]
        asked.extend((problem, [*map(type, problem)], which))
        return torch.zeros(problem.batch, problem.heads, problem.n, problem.d_v), torch.zeros(given[0].shape[:3])

    with (
        mock.patch.multiple(attention, attention=kernels, _warn=asked.append, interpreted=lambda: False),
        mock.patch.object(checks, "interpreted", return_value=False),
        pretend(Target("cuda", 90)) if call.gpu else nullcontext(),
        torch.autocast("cpu", call.cast) if call.cast else nullcontext(),
    ):
        try:
            return [*asked, type(attention.flash_attention(*call.tensors, **call.options)), *asked]
        except (ValueError, RuntimeError, TypeError) as error:
            return [*asked, type(error), str(error)]


def judged(call: Call) -> list[Any]:
    """The same, which has to be what it would be if no call had been before."""
    after, known = outcome(call), dict(attention._answered)
    attention._answered.clear()
    assert after == outcome(call)
    attention._answered.update(known)
    return after


def test_a_call_is_judged_as_if_it_were_the_first() -> None:
    """Each change to each of some calls after all others, and in the other order."""
    for base in (Call(), Call(options={"is_causal": True}), Call(cast=torch.bfloat16)):
        attention._answered.clear()
        calls = [base._replace(**change) for change in CHANGES]
        assert [judged(call) for call in calls] == [judged(call) for call in reversed(calls)][::-1]
        assert len(attention._answered) >= 5


@given(st.lists(st.lists(st.sampled_from(CHANGES), max_size=3), min_size=1, max_size=8))
def test_nor_do_several_changes_make_it_one_that_was_before(sequence: list[list[dict[str, Any]]]) -> None:
    attention._answered.clear()
    for changes in sequence * 2:
        options = {name: one for change in changes for name, one in change.get("options", {}).items()}
        call = Call()._replace(**{name: one for change in changes for name, one in change.items()})
        judged(call._replace(options=options))
