"""What comes out is attention: softmax(QKᵀ · scale)V, to the last digit that the number type allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from tests.problems import ALL, BACKWARD, FORWARD, PLAIN, SPARSE, Problem, attention, problems

HALF = ("float16", "bfloat16")


def error(problem: Problem) -> float:
    """The largest difference between a run's output and attention in float64 of what the run had stored."""
    return float(np.abs(problem.record().outputs["O"] - attention(problem)[0]).max())


def like(problem: Problem, algorithm: str) -> Problem:
    return Problem(algorithm, *list(vars(problem).values())[1:])


@given(problems(FORWARD, dtype_names=("float64",), more=True), st.none() | st.floats(-3, 3))
@settings(deadline=None)
def test_float64_agrees_to_1e_12(problem, scale):
    outputs = problem.record(scale=scale).outputs
    O, LSE = attention(problem, scale)
    np.testing.assert_allclose(outputs["O"], O, rtol=0, atol=1e-12)
    np.testing.assert_allclose(outputs["LSE"], LSE, rtol=1e-12, atol=1e-12)


@given(problems(FORWARD, dtype_names=("float32",)))
@settings(deadline=None)
def test_float32_agrees_to_1e_5(problem):
    outputs = problem.record().outputs
    O, LSE = attention(problem)
    np.testing.assert_allclose(outputs["O"], O, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs["LSE"], LSE, rtol=1e-5, atol=1e-5)


@given(problems(names=("flash2-forward", "split-kv-decode", "paged-decode"), largest=40, dtype_names=HALF))
@settings(deadline=None)
def test_flash2_in_16_bits_is_as_exact_as_the_field_asks(problem):
    """flash-attn's own rule: at most twice the error of standard attention in the same type, and 1e-5."""
    assert error(problem) <= 2 * error(like(problem, "standard-forward")) + 1e-5


@given(problems(names=("flash-forward",), largest=40, dtype_names=("float16",)))
@settings(deadline=None)
def test_flash_in_float16_errs_by_one_rounding_a_block_of_keys(problem):
    """FA1 as printed rounds O to fp16 once for each block of keys; each time at most half a unit of the largest value.

    So its bound grows with Tc, and the factor 2 of the field's rule is not kept for many blocks (see the next test).
    """
    Tc = -(-problem.n_keys // problem.block_k)
    assert error(problem) <= Tc * 2**-11 * np.abs(problem.inputs()[2]).max() + 1e-5


def test_flash_in_float16_breaks_the_fields_rule_where_key_blocks_are_many_and_flash2_does_not():
    flash = Problem("flash-forward", 512, 512, 64, 64, 4, seed=2)
    allowed = 2 * error(like(flash, "standard-forward")) + 1e-5
    assert error(flash) > allowed
    assert error(like(flash, "flash2-forward")) <= allowed


@given(problems(FORWARD, dtype_names=("float16",)))
@settings(deadline=None)
def test_the_lse_is_a_natural_logarithm(problem):
    LSE = attention(problem)[1]
    largest = np.abs(LSE[np.isfinite(LSE)]).max(initial=0) + 10
    rounding = 2**-11 * largest if problem.algorithm == "standard-forward" else 0  # it stores S in fp16
    np.testing.assert_allclose(problem.record().outputs["LSE"], LSE, rtol=1e-5, atol=1e-5 + rounding)


@given(problems(FORWARD, masks=("causal",)).filter(lambda problem: problem.n > problem.n_keys))
@settings(deadline=None)
def test_queries_that_see_no_key_give_0_and_minus_infinity_and_no_nan_anywhere(problem):
    trace = problem.record()
    blind = ~problem.kept().any(axis=1)
    assert blind.any()
    assert (trace.outputs["O"][blind] == 0).all()
    assert (trace.outputs["LSE"][blind] == -np.inf).all()
    assert np.isfinite(trace.outputs["LSE"][~blind]).all()
    assert not any(np.isnan(array).any() for array in (*trace.outputs.values(), *trace.values) if array is not None)


@pytest.mark.parametrize("algorithm", PLAIN)
def test_no_exponential_overflows_however_large_the_scores(algorithm):
    q = np.array([[200.0, 0], [0, -200]])
    trace = fs.record(algorithm, q, q, np.eye(2), block_q=1, block_k=1, scale=1, dtype="float32")
    np.testing.assert_array_equal(trace.outputs["O"], np.eye(2))
    np.testing.assert_array_equal(trace.outputs["LSE"], [40_000, 40_000])


@pytest.mark.parametrize("algorithm", PLAIN)
@pytest.mark.parametrize(
    ("size", "dtype", "said"),
    [
        (1e5, "float16", r"^Q holds 100,000, past the largest float16 \(65,504\): use dtype='float32'$"),
        (
            1e30,
            "float32",
            r"^S grew past the largest float32 \(3.4e\+38\): use dtype='float64', or scale q, k and v down$",
        ),
        (1e200, "float64", r"^S grew past the largest float64 \(1.8e\+308\): scale q, k and v down$"),
    ],
)
def test_numbers_that_grow_too_large_are_refused_not_turned_into_nan(algorithm, size, dtype, said):
    """Nor are they taken for hidden, where all scores are far below 0; what comes of +∞ − ∞ is refused likewise."""
    q = np.array([[size, size], [-size, size]])
    for k in (q, -np.abs(q), np.abs(q), np.array([[size, -size]])):
        with pytest.raises(ValueError, match=said):
            fs.record(algorithm, np.abs(q), k, k, dtype=dtype, mask="causal")


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_wider_type_that_is_offered_will_do(algorithm, sign):
    q, k = np.full((2, 4), 1e20), np.outer([1, 2], np.full(4, sign * 1e20))
    options = {"do": q} if algorithm in BACKWARD else {"block_mask": "local:1"} if algorithm in SPARSE else {}
    with pytest.raises(ValueError, match=r"^S grew past the largest float32 \(3.4e\+38\): use dtype='float64', or"):
        fs.record(algorithm, q, k, k, dtype="float32", **options)
    outputs = fs.record(algorithm, q, k, k, dtype="float64", **options).outputs
    if algorithm not in BACKWARD:
        np.testing.assert_array_equal(outputs["O"], np.tile(k[0 if sign < 0 else 1], (2, 1)))
        np.testing.assert_allclose(outputs["LSE"], -2e40 if sign < 0 else 4e40)


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_a_gradient_that_overflows_names_do_too(algorithm):
    q, do = np.eye(4), np.full((4, 4), 1e30)
    with pytest.raises(ValueError, match=r"^\w+ grew past .*, or scale q, k, v and dO down$"):
        fs.record(algorithm, 1e10 * q, q, 1e10 * q, do=do, dtype="float32")
    fs.record(algorithm, 1e10 * q, q, 1e10 * q, do=do * 1e-30, dtype="float32")


@pytest.mark.parametrize("sign", [1, -1])
def test_values_whose_sum_overflows_are_refused_too(sign):
    q, v = np.zeros((2, 1)), np.full((2, 1), sign * 3e38)
    with pytest.raises(ValueError, match=r"^acc grew past the largest float32"):
        fs.record("flash2-forward", q, q, v, block_k=1, dtype="float32")


def test_what_alibi_lowers_too_far_is_refused_not_hidden():
    q = np.ones((3, 1))
    with pytest.raises(ValueError, match=r"^what ALiBi lowers scores by holds -4e\+38, past the largest float32"):
        fs.record("flash2-forward", q, q, q, alibi=2e38, dtype="float32")
    with pytest.raises(ValueError, match=r"^S grew past the largest float32"):
        fs.record("flash2-forward", np.full((3, 1), 1e19), np.full((3, 1), -2e19), q, alibi=1.6e38, dtype="float32")
    for scale in (1.0, 1e-20):
        assert fs.record("flash2-forward", q, q, q, alibi=2e38, scale=scale, dtype="float64")


@pytest.mark.parametrize("algorithm", FORWARD)
def test_the_scale_is_one_over_root_d_unless_given(algorithm):
    problem = Problem(algorithm, 5, 7, 4, 2, 3)
    assert problem.record() == problem.record(scale=0.5)
    assert problem.record() != problem.record(scale=0.25)


@pytest.mark.parametrize("scale", [np.nan, np.inf, "1", 10**400])
def test_a_scale_that_is_no_finite_number_is_refused(scale):
    with pytest.raises(ValueError, match=r"^scale is .*: give a finite number, or None for 1/√d$"):
        Problem("flash2-forward", 2, 2, 2, 2, 2).record(scale=scale)


def test_one_head_of_many_is_picked():
    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 4, 6, 3)).astype(np.float32)
    whole = fs.record("flash2-forward", q, k, v, head=(1, 2))
    part = fs.record("flash2-forward", q[1, 2], k[1, 2], v[1, 2])
    np.testing.assert_array_equal(whole.outputs["O"], part.outputs["O"])
    assert whole.meta["input"] == {"kind": "arrays", "head": [1, 2]}
