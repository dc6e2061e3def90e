"""Softcap, ALiBi and dropout: what they do to scores and weights, forward and backward, and that none moves a byte."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.machine import dtypes
from flashsteps.machine.dropout import Dropout
from tests.problems import ALL, DECODE, FORWARD, SPARSE, Problem, keys_there, problems


def takes(option: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if f"{option}: " in algorithms.source(name)]


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "softcap": st.sampled_from((0.5, 2.0, 30.0)),
        "alibi": st.sampled_from((0.0, 0.25, 1.0)),
        "dropout": st.sampled_from((0.0, 0.1, 0.5, 0.9)),
    },
)


@st.composite
def changed(draw, /, names=ALL, dtype_names=("float64",), **options):
    problem = draw(problems(names, dtype_names=dtype_names, largest=12, more=True, **options))
    change = draw(CHANGES)
    for option in ("softcap", "dropout"):
        if problem.algorithm not in takes(option, ALL):
            change.pop(option, None)
    return problem, change


def by_torch(problem: Problem, change: dict[str, float], seed: int = 0):
    """O and the gradients of Σ dO∘O, by torch, from the definitions."""
    q, k, v = (torch.from_numpy(x).requires_grad_() for x in problem.inputs())
    scores = q @ k.T * problem.d**-0.5
    if softcap := change.get("softcap"):
        scores = softcap * torch.tanh(scores / softcap)
    if (added := problem.bias()) is not None:
        scores = scores + torch.from_numpy(added)
    i, j = np.ogrid[: problem.n, : problem.n_keys]
    scores = scores - change.get("alibi", 0) * torch.from_numpy(
        np.abs(i + keys_there(problem.mask, problem.n_keys) - problem.n - j)
    )
    scores = scores.masked_fill(~torch.from_numpy(problem.kept()), -torch.inf)
    seeing = (scores > -torch.inf).any(dim=1)
    sink = torch.full((int(seeing.sum()), 1), -torch.inf if problem.sink is None else problem.sink, dtype=scores.dtype)
    weights = torch.softmax(torch.hstack([scores[seeing], sink]), dim=1)[:, :-1]
    if rate := change.get("dropout"):
        z = Dropout(rate, seed).kept(slice(0, problem.n), slice(0, problem.n_keys))
        weights = weights * torch.from_numpy(z)[seeing]
    O = weights @ v
    O.backward(torch.from_numpy(problem.gradient())[seeing])
    whole = np.zeros((problem.n, problem.width))
    whole[seeing.numpy()] = O.detach().numpy()
    zeros = [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in (q, k, v)]
    return {"O": whole, "dQ": zeros[0], "dK": zeros[1], "dV": zeros[2]}


@given(changed())
@settings(deadline=None, max_examples=60)
def test_torch_gives_the_same_output_and_gradients(case):
    problem, change = case
    expected = by_torch(problem, change)
    for name, found in problem.record(**change).outputs.items():
        if name != "LSE":
            np.testing.assert_allclose(found, expected[name], rtol=1e-10, atol=1e-10)


@given(changed(dtype_names=("float16", "float32")))
@settings(deadline=None, max_examples=60)
def test_what_is_counted_is_what_is_recorded_and_no_byte_more(case):
    problem, change = case
    io, plain = problem.count(**change), problem.count()
    assert io == problem.record(**change).io()
    moved = dict(io.by_tensor)
    if problem.algorithm == "standard-backward" and "softcap" in change:  # its derivative needs the scores
        assert moved.pop("S") == (problem.n * problem.n_keys * dtypes.storage(problem.dtype).itemsize, 0)
    assert moved == plain.by_tensor
    assert io.work.matmul == plain.work.matmul


@given(changed(names=takes("dropout", FORWARD)))
@settings(deadline=None)
def test_dropout_comes_after_the_sum(case):
    problem, change = case
    dropped = problem.record(**change | {"dropout": 0.5}).outputs["LSE"]
    change.pop("dropout", None)
    np.testing.assert_array_equal(problem.record(**change).outputs["LSE"], dropped)


@pytest.mark.parametrize("algorithm", takes("dropout", ALL))
def test_the_seed_alone_decides_what_is_dropped(algorithm):
    problem = Problem(algorithm, 8, 8, 4, 2, 4, dtype="float64")
    first = problem.record(dropout=0.5, seed=1)
    assert first == problem.record(dropout=0.5, seed=1) != problem.record(dropout=0.5, seed=2)
    assert (first.meta["dropout"], first.meta["seed"]) == (0.5, 1)
    whole = Problem(algorithm, 8, 8, 4, 8, 8, dtype="float64").record(dropout=0.5, seed=1)
    for name, found in first.outputs.items():  # whatever the blocks
        np.testing.assert_allclose(found, whole.outputs[name], atol=1e-12)
    assert "Z" not in first.initial


def test_dropout_drops_as_many_as_it_says_and_keeps_the_mean():
    z = Dropout(0.3, 7).kept(slice(0, 500), slice(0, 500))
    assert (z == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert z.mean() == pytest.approx(1, abs=0.01)
    part = Dropout(0.3, 7).kept(slice(100, 110), slice(40, 60))
    np.testing.assert_array_equal(part, z[100:110, 40:60])
    for other in (
        Dropout(0.3, 8).kept(slice(0, 500), slice(0, 500)),
        Dropout(0.3, 7).kept(slice(0, 500), slice(0, 500), 1),
    ):
        assert ((z == 0) & (other == 0)).mean() == pytest.approx(0.09, abs=0.01)
    neighbours = ((z[1:] == 0) & (z[:-1] == 0)).mean(), ((z[:, 1:] == 0) & (z[:, :-1] == 0)).mean()
    assert neighbours == pytest.approx((0.09, 0.09), abs=0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dropout": 1.0}, "dropout is 1.0: give a probability from 0 to less than 1"),
        ({"dropout": -0.1}, "dropout is -0.1: give a probability"),
        ({"dropout": np.nan}, "dropout is nan: give a finite number"),
        ({"dropout": "0.1"}, "dropout is '0.1': give a finite number"),
        ({"softcap": 0}, "softcap is 0.0: give a number above 0"),
        ({"softcap": np.inf}, "softcap is inf: give a finite number"),
        ({"alibi": -1}, "alibi is -1.0: give a slope, 0 or more"),
        ({"seed": 1}, "seed=1 is for dropout: give dropout, too, or leave it out"),
        ({"dropout": 0.1, "seed": 1.5}, "seed is 1.5: give a whole number, 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(ValueError, match="^[a-z]+") as error:
        Problem("flash2-forward", 4, 4, 2, 2, 2).record(**options)
    assert str(error.value).startswith(said)


def test_all_take_a_softcap_and_all_but_decoding_dropout():
    assert takes("softcap", ALL) == list(ALL)
    assert [name for name in ALL if name not in takes("dropout", ALL)] == list(DECODE)
    for name in DECODE:
        for run in (Problem(name, 4, 4, 2, 2, 2).record, Problem(name, 4, 4, 2, 2, 2).count):
            with pytest.raises(ValueError, match=rf"^{name} takes no dropout: leave it out, or use "):
                run(dropout=0.5)


def test_alibi_is_made_from_indices_in_every_algorithm():
    """Aligned to the bottom right, as masks are."""
    q, v = np.zeros((2, 1)), np.eye(3)[:, :1]
    for name in FORWARD:
        tiles = "strided:1" if name in SPARSE else None
        trace = fs.record(name, q, np.zeros((3, 1)), v, alibi=1.0, block_mask=tiles, dtype="float64")
        weights = np.exp([[-1, 0, -1], [-2, -1, 0]])
        np.testing.assert_allclose(trace.outputs["O"][:, 0], weights[:, 0] / weights.sum(axis=1))
