"""What comes out of a backward pass are the gradients: against the definition, finite differences and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine import dtypes
from flashsteps.traffic import formulas
from tests.problems import ALL, BACKWARD, Problem, attention, gradients, problems

NAMES = ("dQ", "dK", "dV")


def error(problem: Problem) -> dict[str, float]:
    """The largest difference between a run's gradients and those in float64 of what the run had stored."""
    exact, found = gradients(problem), problem.record().outputs
    return {name: float(np.abs(found[name] - exact[name]).max()) for name in NAMES}


def like(problem: Problem, algorithm: str) -> Problem:
    return Problem(**vars(problem) | {"algorithm": algorithm})


@given(problems(BACKWARD, dtype_names=("float64",), more=True), st.none() | st.floats(-3, 3))
@settings(deadline=None)
def test_float64_agrees_to_1e_11(problem, scale):
    outputs = problem.record(scale=scale).outputs
    assert list(outputs) == list(NAMES)
    for name, exact in gradients(problem, scale).items():
        np.testing.assert_allclose(outputs[name], exact, rtol=1e-11, atol=1e-11)


@given(problems(BACKWARD, dtype_names=("float32",)))
@settings(deadline=None)
def test_float32_agrees_to_1e_4(problem):
    assert max(error(problem).values()) <= 1e-4


@given(problems(BACKWARD, largest=4, dtype_names=("float64",), more=True))
@settings(deadline=None, max_examples=12)
def test_finite_differences_agree(problem):
    """Each number of q, k and v moved a little: the change of Σ dO∘O is its gradient."""
    inputs, do, found = [x.copy() for x in problem.inputs()], problem.gradient(), problem.record().outputs
    forward = like(problem, "flash2-forward")

    def loss() -> float:
        return float((do * fs.record("flash2-forward", *inputs, **forward.options()).outputs["O"]).sum())

    for name, x in zip(NAMES, inputs, strict=True):
        for at in np.ndindex(*x.shape):
            kept = x[at]
            x[at] = kept + 1e-5
            up = loss()
            x[at] = kept - 1e-5
            down = loss()
            x[at] = kept
            assert found[name][at] == pytest.approx((up - down) / 2e-5, abs=1e-6)


@given(problems(BACKWARD, dtype_names=("float64",)))
@settings(deadline=None)
def test_torchs_autograd_agrees(problem):
    q, k, v = (torch.from_numpy(x).requires_grad_() for x in problem.inputs())
    kept = torch.from_numpy(problem.kept())
    scores = (q @ k.T * problem.d**-0.5).masked_fill(~kept, -torch.inf)
    seeing = kept.any(dim=1)  # rows without a key give 0, and no gradient
    (torch.softmax(scores[seeing], dim=1) @ v).backward(torch.from_numpy(problem.gradient())[seeing])
    for name, x in zip(NAMES, (q, k, v), strict=True):
        theirs = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        np.testing.assert_allclose(problem.record().outputs[name], theirs, rtol=0, atol=1e-11)


@given(problems(("flash2-backward",), largest=40, dtype_names=("float16",)))
@settings(deadline=None, max_examples=50)
def test_flash2_in_float16_is_as_exact_as_the_field_asks(problem):
    """flash-attn's own rule: at most twice the error of standard attention in the same type, and a little.

    That little is here one rounding of O to fp16, from which D is made and standard attention's is not.
    """
    standard, ours = error(like(problem, "standard-backward")), error(problem)
    do, (q, k, _) = problem.gradient().astype(float), (np.abs(x.astype(float)) for x in problem.inputs())
    D = 2**-11 * (np.abs(do) * np.abs(attention(problem)[0])).sum(axis=1).max() * problem.d**-0.5
    allowed = {"dQ": D * k.max(), "dK": D * q.max() * problem.n, "dV": 0}
    for name in NAMES:
        assert ours[name] <= 2 * standard[name] + allowed[name] + 1e-5


@given(problems(("flash-backward",), largest=40, dtype_names=("float16",)))
@settings(deadline=None, max_examples=50)
def test_flash_in_float16_rounds_dq_once_a_block_of_keys(problem):
    """FA1 keeps dQ in fp16 in HBM: its bound grows with Tc, by half a unit of the largest dQ on the way each time."""
    trace = problem.record()
    stored = [v for event, v in zip(trace, trace.values, strict=True) if event.tile and event.tile.tensor == "dQ"]
    largest = max(float(np.abs(value).max()) for value in stored if value is not None)
    Tc = -(-problem.n_keys // problem.block_k)
    allowed = error(like(problem, "flash2-backward"))["dQ"] + Tc * 2**-11 * (largest + 1)
    _, k, v = problem.inputs()
    of_o = Tc * 2**-11 * np.abs(v).max() * np.abs(problem.gradient()).sum(axis=1).max() * np.abs(k).max()
    assert error(problem)["dQ"] <= 2 * allowed + float(of_o) + 1e-5


@given(problems(BACKWARD, masks=("causal", "window:0,0")).filter(lambda problem: problem.n > problem.n_keys))
@settings(deadline=None)
def test_queries_that_see_no_key_have_no_gradient_and_there_is_no_nan_anywhere(problem):
    trace = problem.record()
    blind = ~problem.kept().any(axis=1)
    assert blind.any()
    assert (trace.outputs["dQ"][blind] == 0).all()
    assert not any(np.isnan(array).any() for array in (*trace.outputs.values(), *trace.values) if array is not None)


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_what_the_forward_pass_saved_is_there_and_none_of_its_steps(algorithm):
    problem = Problem(algorithm, 6, 5, 4, 4, 2, "causal")
    trace = problem.record()
    forward = like(problem, algorithm.replace("backward", "forward")).record()
    last = forward.at(len(forward) - 1).hbm
    for name in {"O", "LSE", "l", "m", "P"} & set(trace.initial):
        np.testing.assert_array_equal(trace.initial[name], last[name])
    assert {event.tile.tensor for event in trace if event.op == "store" and event.tile} >= set(NAMES)
    assert not {"O", "LSE", "l", "m", "P", "S"} & {e.tile.tensor for e in trace if e.op == "store" and e.tile}


@given(problems(("flash2-backward",), largest=60, masks=(None, "causal")))
@settings(deadline=None)
def test_the_two_kernels_of_flash2_are_its_closed_form(problem):
    sizes = (
        problem.n,
        problem.n_keys,
        problem.d,
        min(problem.block_q, problem.n),
        min(problem.block_k, problem.n_keys),
    )
    form = formulas.flash2_backward(*sizes, problem.mask == "causal")
    size = dtypes.storage(problem.dtype).itemsize
    assert problem.count(rule="no-statistics").total == form.matrices * size
    if problem.n == problem.n_keys and problem.mask is None:
        N, _, d, block_q, block_k = sizes
        Tr, Tc = -(-N // block_q), -(-N // block_k)
        assert form == (9 * N * d + 2 * Tc * N * d + 2 * Tr * N * d, 3 * N + 2 * Tc * N)


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_a_backward_pass_needs_do(algorithm):
    q, k, v = Problem(algorithm, 4, 3, 2, 2, 2).inputs()
    for do, said in (
        (None, r"^a backward pass needs do, the gradient of O: give an array of shape \(4, 2\)$"),
        (np.ones((3, 2)), r"^do has shape \(3, 2\): give one of O's shape, \(4, 2\)$"),
        (np.full((4, 2), np.nan), r"^do\[0, 0\] is nan: all numbers must be finite$"),
        ([["a"]], "^do holds"),
    ):
        with pytest.raises(ValueError, match=said):
            fs.record(algorithm, q, k, v, do=do)


@pytest.mark.parametrize("algorithm", [name for name in ALL if name not in BACKWARD])
def test_a_forward_pass_takes_no_do(algorithm):
    q = np.ones((2, 2))
    with pytest.raises(ValueError, match=rf"^{algorithm} takes no do: leave it out, or use flash-backward, "):
        fs.record(algorithm, q, q, q, do=q)
