"""Biases and sinks, and v of another width: what is refused, whose they are, and what comes in of them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine import dtypes
from tests.problems import ALL, BACKWARD, SPARSE, Problem, attention, problems

LOWEST = [np.finfo(np.float16).min, np.finfo(np.float32).min, np.finfo(np.float64).min, -3.3895313892515355e38]


def record(algorithm: str, q: Any, k: Any, v: Any, **options: Any):
    if algorithm in BACKWARD:
        options["do"] = np.ones((*np.shape(q)[:-1], np.shape(v)[-1]))
    if algorithm in SPARSE:
        options["block_mask"] = "local:9"
    return fs.record(algorithm, q, k, v, **options)


@given(problems(dtype_names=("float64",), largest=10, more=True), st.data())
@settings(deadline=None)
def test_a_float_mask_is_a_bias_in_any_of_its_shapes(problem, data):
    """And one of 0 and −∞ alone is a Boolean mask, of which no byte comes in."""
    bias = np.random.default_rng(problem.seed).standard_normal((problem.n, problem.n_keys))
    problem = Problem(**vars(problem) | {"biased": False, "mask": None})
    shape = data.draw(st.sampled_from((bias.shape, (1, 1, *bias.shape), (1, *bias.shape))))
    trace = problem.record(bias=bias)
    options = problem.options() | ({"do": problem.gradient()} if problem.algorithm in BACKWARD else {})
    options["mask"] = torch.from_numpy(bias.reshape(shape)) if data.draw(st.booleans()) else bias.reshape(shape)
    assert fs.record(problem.algorithm, *problem.inputs(), **options) == trace
    options["mask"] = np.where(bias > 0, 0, -np.inf)
    plain = fs.record(problem.algorithm, *problem.inputs(), **options)
    assert plain == fs.record(problem.algorithm, *problem.inputs(), **options | {"mask": bias > 0})
    assert "bias" not in plain.initial


@pytest.mark.parametrize("dtype", dtypes.STORAGE)
@pytest.mark.parametrize("lowest", LOWEST)
def test_the_lowest_number_of_any_type_is_the_lowest_of_this_one(dtype, lowest):
    """As Hugging Face's masks have it; a row of nothing else weighs all keys alike, as in torch."""
    problem = Problem("flash2-forward", 3, 4, 2, 2, 2, dtype="float64")
    q, k, v = problem.inputs()
    mask = np.where(np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]]), lowest, 0.0)
    mask[2] = lowest
    trace = fs.record("flash2-forward", q, k, v, mask=mask, dtype=dtype)
    assert trace.initial["bias"].min() == -dtypes.largest(dtypes.storage(dtype))
    with np.errstate(over="ignore"):
        scores = q @ k.T * 2**-0.5
    weights = np.exp(np.where(mask == 0, scores, -np.inf)[:2])
    exact = np.vstack([weights / weights.sum(axis=1, keepdims=True) @ v, v.mean(axis=0)])
    np.testing.assert_allclose(trace.outputs["O"].astype(float)[:2], exact[:2], atol=0.02)
    if dtype not in ("float16",):  # there scores are not lost beside -65504
        np.testing.assert_allclose(trace.outputs["O"].astype(float)[2], exact[2], atol=0.02)


@pytest.mark.parametrize("algorithm", ALL)
def test_ten_thousand_below_is_as_good_as_hidden(algorithm):
    q, k, v = Problem(algorithm, 4, 4, 2, 2, 2, dtype="float64").inputs()
    seen = np.tri(4, dtype=bool)
    outputs, hidden = (record(algorithm, q, k, v, mask=m).outputs for m in (np.where(seen, 0, -1e4), seen))
    for name, found in outputs.items():
        np.testing.assert_allclose(found.astype(float), hidden[name].astype(float), atol=4e-3)


@pytest.mark.parametrize("algorithm", ALL)
def test_hugging_faces_masks_of_a_left_padded_prompt(algorithm):
    """Whole numbers, Booleans, and -1e9 where float32 holds it; a row that is nothing else weighs all keys alike."""
    q, k, v = Problem(algorithm, 12, 12, 4, 4, 4, dtype="float64").inputs()
    seen = np.tri(12, dtype=bool) & (np.arange(12) >= 3)
    outputs = [record(algorithm, q, k, v, mask=mask, dtype="float32").outputs for mask in (seen.astype(int), seen)]
    added = record(algorithm, q, k, v, mask=np.where(seen, np.float32(0), np.float32(-1e9)), dtype="float32").outputs
    for name, found in outputs[0].items():
        np.testing.assert_array_equal(found, outputs[1][name])
    if algorithm not in BACKWARD:
        np.testing.assert_allclose(added["O"][3:], outputs[1]["O"][3:], atol=1e-5)
        np.testing.assert_array_equal(outputs[1]["O"][:3], 0)
        np.testing.assert_allclose(added["O"][:3], np.tile(v.mean(axis=0), (3, 1)), atol=1e-5)


@st.composite
def several(draw):
    """An algorithm, heads that share keys, v of another width, and a bias for all or one a head, and sinks."""
    problem = draw(problems(largest=8, more=True))
    parts, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    H, n, m, d_v = parts * group, problem.n, problem.n_keys, problem.width
    rng = np.random.default_rng(problem.seed)
    q, k, v = rng.standard_normal((H, n, problem.d)), *(rng.standard_normal((parts, m, w)) for w in (problem.d, d_v))
    options = problem.options()
    options["bias"] = rng.standard_normal(draw(st.sampled_from(((n, m), (H, n, m), (1, H, 1, m), (1, 1, n, m)))))
    options["sinks"] = rng.standard_normal(H)
    grad = {"do": rng.standard_normal((H, n, d_v))} if problem.algorithm in BACKWARD else {}
    sizes = {"n": n, "n_keys": m, "d": problem.d, "d_v": d_v, "heads": H, "kv_heads": parts}
    return problem, (q, k, v), options, grad, sizes


@given(several())
@settings(deadline=None, max_examples=60)
def test_each_head_has_its_own_bias_and_sink_alone_and_together(case):
    problem, (q, k, v), options, grad, _ = case
    H, group = len(q), len(q) // len(k)
    options |= {"dtype": "float64"}
    bias = np.broadcast_to(options["bias"].reshape((1,) * (4 - options["bias"].ndim) + options["bias"].shape),
                           (1, H, problem.n, problem.n_keys))[0]  # fmt: skip
    together = fs.record(problem.algorithm, q, k, v, **options, **grad).outputs
    sums = {"dK": np.zeros(k.shape), "dV": np.zeros(v.shape)}
    for head in range(H):
        own = options | {name: x[head] for name, x in grad.items()}
        own |= {"bias": bias[head], "sinks": options["sinks"][head]}
        alone = fs.record(problem.algorithm, q[head], k[head // group], v[head // group], **own).outputs
        for name, found in alone.items():
            if name in sums:
                sums[name][head // group] += found
            else:
                whole = together[name][head] if H > 1 else together[name]
                np.testing.assert_allclose(whole, found, rtol=1e-9, atol=1e-9)
        if problem.algorithm not in BACKWARD and H > 1:
            at = own | {"head": head} | {name: options[name] for name in ("bias", "sinks")}
            every = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
            run = fs.record(problem.algorithm, q, *every, **at)
            np.testing.assert_array_equal(run.outputs["O"], alone["O"])
    for name in sums.keys() & together.keys():
        np.testing.assert_allclose(together[name].reshape(sums[name].shape), sums[name], rtol=1e-9, atol=1e-9)


@given(several())
@settings(deadline=None, max_examples=60)
def test_all_of_it_is_counted_saved_and_replayed(tmp_path_factory, case):
    """By names alone, too: a count has no data. What all heads share comes in once for the heads of a group."""
    problem, (q, k, v), options, grad, sizes = case
    trace = fs.record(problem.algorithm, q, k, v, **options, **grad)
    assert fs.count(problem.algorithm, **sizes, **options) == trace.io()
    bias = options["bias"]
    by_head = bias.ndim > 2 and bias.shape[-3] > 1
    named = options | {"bias": "heads" if by_head else "shared", "sinks": True}
    assert fs.count(problem.algorithm, **sizes, **named) == trace.io()
    folder = tmp_path_factory.mktemp("added")
    trace.save(folder / "t.npz")
    fs.export(trace, folder / "t.json", to="json")
    assert fs.load(folder / "t.npz") == trace == fs.load(folder / "t.json")
    trace.at(len(trace) - 1)


def test_a_tile_of_the_bias_comes_in_just_before_its_use():
    trace = Problem("flash2-forward", 8, 6, 4, 4, 3, biased=True).record()
    loads = [event for event in trace if event.slot == "bias"]
    assert [str(event.tile) for event in loads[:3]] == ["bias[0:4, 0:3]", "bias[0:4, 3:6]", "bias[4:8, 0:3]"]
    assert all((trace[event.step - 1].slot, trace[event.step + 1].slot) == ("S", "S") for event in loads)
    stepper = fs.Stepper(trace)
    stepper.until(tile="bias[4:8, 3:6]")
    assert stepper.event == loads[3]
    np.testing.assert_array_equal(stepper.sram["bias"], trace.initial["bias"][4:8, 3:6].astype(np.float32))
    with pytest.raises(ValueError, match=r"^tile is bias\[0:4, 3:7\], but bias has 6 columns: give some of these"):
        stepper.until(tile="bias[0:4, 3:7]")


def test_a_row_that_sees_no_key_gives_its_sink_alone():
    q, k, v = Problem("flash2-forward", 4, 2, 3, 2, 2, dtype="float64").inputs()
    for algorithm in ("standard-forward", "flash-forward", "flash2-forward", "split-kv-decode", "paged-decode"):
        outputs = fs.record(algorithm, q, k, v, mask="causal", sinks=0.5, dtype="float64").outputs
        np.testing.assert_array_equal(outputs["O"][:2], 0)
        np.testing.assert_allclose(outputs["LSE"][:2], 0.5)


def test_the_gradient_of_a_sink_follows_from_what_the_run_stored():
    """As its docstring says: −Σ e^(sink − LSE)·D."""
    problem = Problem("flash2-backward", 7, 5, 4, 3, 2, "causal", "float64", sink=0.5)
    trace = problem.record()
    lse, D = trace.initial["LSE"], trace.at(len(trace) - 1).hbm["D"]
    losses = []
    for sink in (0.5 + 1e-6, 0.5 - 1e-6):
        moved = Problem(**vars(problem) | {"sink": sink})
        losses.append((moved.gradient() * attention(moved)[0]).sum())
    assert -(np.exp(0.5 - lse) * D).sum() == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)


def test_values_may_be_narrower_than_keys_as_in_mla():
    """It is what padding v with zeros and cutting O gives; in the films' and papers' order of bytes, too."""
    problem = Problem("flash2-forward", 6, 6, 24, 4, 4, dtype="float64", d_v=16)
    q, k, v = problem.inputs()
    found = problem.record()
    padded = fs.record("flash2-forward", q, k, np.pad(v, ((0, 0), (0, 8))), dtype="float64", block_q=4, block_k=4)
    np.testing.assert_array_equal(found.outputs["O"], padded.outputs["O"][:, :16])
    assert found.meta["d_v"] == 16
    assert "d_v" not in padded.meta
    assert fs.count("flash2-forward", n=4096, d=192, d_v=128).by_tensor["V"].read * 192 == (
        fs.count("flash2-forward", n=4096, d=192, d_v=128).by_tensor["K"].read * 128
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bias": np.ones((3, 4), bool)}, "bias holds bool: give it as a mask, or numbers to add to scores"),
        ({"bias": np.ones((4, 3))}, "bias has shape (4, 3): give queries × keys, (3, 4), or keys, (4,); an axis of"),
        ({"bias": np.full((3, 4), np.nan)}, "bias[0, 0] is nan: give finite numbers, or -inf where a key is hidden"),
        ({"bias": np.full((3, 4), np.inf)}, "bias[0, 0] is inf: give finite numbers"),
        ({"bias": np.full((3, 4), -1e9)}, "bias holds -1e+09, past the largest float16 (65,504): use dtype='float32'"),
        ({"bias": "b.npy"}, "bias is 'b.npy': give file:PATH, an .npy or .npz, or, to count with, shared or heads"),
        ({"bias": "file:no.npy"}, "'no.npy' cannot be read: No such file or directory"),
        ({"bias": "shared"}, "bias is given by name, to count with: give an array, or file:PATH"),
        ({"bias": np.ones((3, 4)), "mask": np.full((3, 4), 0.5)}, "mask holds numbers to add to scores, and there is"),
        ({"sinks": [1.0, 2.0]}, "sinks have shape (2,) of float64: give one number a head, (1,)"),
        ({"sinks": np.inf}, "sinks hold inf: all numbers must be finite"),
        ({"sinks": True}, "sinks are given by name, to count with: give a number a head"),
        ({"sinks": "a"}, "'a' cannot be read: "),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    q, k, v = Problem("flash2-forward", 3, 4, 2, 2, 2).inputs()
    with pytest.raises(ValueError, match="^") as error:
        fs.record("flash2-forward", q, k, v, **options)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_a_type_that_is_offered_for_a_bias_will_do():
    q, k, v = Problem("flash2-forward", 3, 4, 2, 2, 2).inputs()
    assert fs.record("flash2-forward", q, k, v, bias=np.full((3, 4), -1e9), dtype="float32")


def test_a_bias_may_lie_in_a_file(tmp_path):
    q, k, v = Problem("flash2-forward", 3, 4, 2, 2, 2).inputs()
    bias = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "b.npy", bias)
    ways: list[dict[str, Any]] = [{"bias": f"file:{tmp_path / 'b.npy'}"}, {"mask": f"causal+file:{tmp_path / 'b.npy'}"}]
    for how in ways:
        trace = fs.record("flash2-forward", q, k, v, **how)
        np.testing.assert_array_equal(trace.initial["bias"], bias)
        assert trace.meta["mask"] == ("causal" if "mask" in how else None)
