"""Grouped queries: all heads together give what each gives alone, and a group shares its tiles of keys and values."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine import heads
from flashsteps.traffic import formulas
from tests.problems import ALL, BACKWARD, SPARSE, Problem, mask_names, problems

GROUPED = "flash2-forward"
OF_KEYS = ("dK", "dV")


@st.composite
def grouped(draw, dtype_names=("float16", "float32", "float64")):
    """A problem, its q (heads, n, d), k and v (kv_heads, n_keys, d), and options that only some algorithms take."""
    problem = draw(problems(largest=10, dtype_names=dtype_names))
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(problem.seed)
    q, do = rng.standard_normal((2, kv_heads * group, problem.n, problem.d))
    k, v = rng.standard_normal((2, kv_heads, problem.n_keys, problem.d))
    slopes = draw(st.none() | st.lists(st.sampled_from((0.0, 0.25, 1.0)), min_size=len(q), max_size=len(q)))
    changes = {"softcap": draw(st.none() | st.just(2.0)), "alibi": slopes}
    if len(q) > 1 and draw(st.booleans()):  # each its own, a matrix or padding
        changes["mask"] = rng.random((len(q), draw(st.sampled_from((1, problem.n))), problem.n_keys)) < 0.7
    return problem, q, k, v, problem.options() | changes, {"do": do} if problem.algorithm in BACKWARD else {}


@given(grouped(dtype_names=("float64",)))
@settings(deadline=None, max_examples=50)
def test_all_heads_together_give_what_each_gives_alone(case):
    """And the gradients of keys and values are the sums over the heads that share them."""
    problem, q, k, v, options, grad = case
    outputs, group = fs.record(problem.algorithm, q, k, v, **options, **grad).outputs, len(q) // len(k)
    sums = {name: np.zeros(k.shape) for name in OF_KEYS}
    for head in range(len(q)):
        own = options | {name: x[head] for name, x in grad.items()}
        own["alibi"] = options["alibi"] and options["alibi"][head]
        own["mask"] = options["mask"][head] if isinstance(options["mask"], np.ndarray) else options["mask"]
        alone = fs.record(problem.algorithm, q[head], k[head // group], v[head // group], **own).outputs
        for name, found in alone.items():
            if name in OF_KEYS:
                sums[name][head // group] += found
            else:
                np.testing.assert_allclose(outputs[name][head], found, rtol=1e-9, atol=1e-9)
    for name in OF_KEYS & outputs.keys():
        np.testing.assert_allclose(outputs[name], sums[name], rtol=1e-9, atol=1e-9)


@given(grouped())
@settings(deadline=None, max_examples=50)
def test_all_heads_are_counted_as_they_are_recorded(case):
    problem, q, k, v, options, grad = case
    sizes = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "heads": len(q), "kv_heads": len(k)}
    trace = fs.record(problem.algorithm, q, k, v, **options, **grad)
    assert fs.count(problem.algorithm, **sizes, **options) == trace.io()
    heads_of = {event.program: event.loop.get("h", 0) for event in trace}  # a program is about one head
    assert all(event.loop.get("h", 0) == heads_of[event.program] for event in trace)


@given(grouped(dtype_names=("float64",)), st.sampled_from((0.1, 0.5)))
@settings(deadline=None)
def test_the_backward_pass_drops_what_the_forward_pass_dropped(case, rate):
    """Σ dO∘O is linear in V: dV·V is that sum only if the same weights of the same heads were dropped."""
    problem, q, k, v, options, grad = case
    if problem.algorithm not in BACKWARD:
        return
    options |= {"dropout": rate, "seed": 3}
    forward = fs.record(problem.algorithm.replace("backward", "forward"), q, k, v, **options).outputs["O"]
    found = fs.record(problem.algorithm, q, k, v, **options, **grad).outputs["dV"].reshape(v.shape)
    np.testing.assert_allclose((found * v).sum(), (grad["do"] * forward).sum(), rtol=1e-9, atol=1e-9)


@given(
    problems((GROUPED,), largest=60, masks=(None, "causal"), dtype_names=("float16",)),
    st.integers(1, 4),
    st.none() | st.integers(1, 12),
)
def test_a_group_saves_the_keys_and_values_of_all_heads_but_one(problem, group, d_v):
    sizes = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "d_v": d_v, "heads": 2 * group}
    shared, own = (fs.count(GROUPED, **sizes, kv_heads=n, **problem.options()).by_tensor for n in (2, 2 * group))
    for name in ("Q", "O", "LSE"):
        assert shared[name] == own[name]
    if "K" in own:
        assert own["K"].read == group * shared["K"].read
        assert own["V"].read == group * shared["V"].read
    blocks = min(problem.block_q, problem.n), min(problem.block_k, problem.n_keys)
    form = formulas.grouped_forward(
        problem.n, problem.n_keys, problem.d, *blocks, 2 * group, 2, problem.mask == "causal", d_v
    )
    assert sum(map(sum, shared.values())) == form.nbytes()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_what_is_packed_can_be_unpacked(kv_heads, group, n, d):
    q = np.arange(kv_heads * group * n * d).reshape(kv_heads * group, n, d)
    rows = heads.pack(list(q), group)
    np.testing.assert_array_equal(heads.unpack(rows, len(q), group), q)
    one_token = rows[:group]  # the first token's queries of the first group lie together
    np.testing.assert_array_equal(one_token, q[:group, 0])


@given(grouped())
@settings(deadline=None, max_examples=40)
def test_a_trace_of_several_heads_replays_and_is_saved(tmp_path_factory, case):
    problem, q, k, v, options, grad = case
    trace = fs.record(problem.algorithm, q, k, v, **options, **grad)
    path = tmp_path_factory.mktemp("heads") / "t.npz"
    trace.save(path)
    assert fs.load(path) == trace
    name = "dQ" if problem.algorithm in BACKWARD else "O"
    last = trace.at(len(trace) - 1).hbm[name]
    last = heads.unpack(last, len(q), len(q) // len(k))
    if len(q) > 1:
        assert (trace.meta["heads"], trace.meta["kv_heads"]) == (len(q), len(k))
    assert np.array_equal(last, trace.outputs[name], equal_nan=True)


@given(st.data())
@settings(deadline=None)
def test_a_mask_of_a_group_repeats_its_rows(data):
    n, n_keys, group = (data.draw(st.integers(1, 9)) for _ in range(3))
    name = data.draw(mask_names(n, n_keys))
    from dataclasses import replace

    from flashsteps.machine import masks
    from flashsteps.machine.tiling import Blocks

    mask = masks.parse(name, n, n_keys)
    packed = replace(mask, group=group)
    kept = packed.keep(slice(0, n * group), slice(0, n_keys))
    np.testing.assert_array_equal(kept, mask.keep(slice(0, n), slice(0, n_keys)).repeat(group, axis=0))
    for i, rows in zip(Blocks(n, 2).runs(), Blocks(n * group, 2 * group).runs(), strict=True):
        for j in Blocks(n_keys, 3).runs():
            assert mask.kinds(i, j) == packed.kinds(rows, j)


def test_heads_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match=r"^heads=6 is no multiple of kv_heads=4: each group has equally many heads$"):
        fs.count(GROUPED, n=4, d=2, heads=6, kv_heads=4)
    q, k = np.ones((6, 4, 2)), np.ones((4, 4, 2))
    with pytest.raises(ValueError, match=r"^q has shape \(6, 4, 2\) and k \(4, 4, 2\): the heads of q must be"):
        fs.record(GROUPED, q, k, k)
    for name in ("heads", "kv_heads"):
        with pytest.raises(ValueError, match=rf"^{name} is 0: give a whole number, 1 or more$"):
            fs.count(**{"algorithm": GROUPED, "n": 4, "d": 2, name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ALL)
def test_heads_are_refused_where_they_do_not_fit(algorithm):
    q, k = np.ones((4, 3, 2)), np.ones((2, 3, 2))
    options: dict[str, Any] = {"block_mask": "butterfly" if algorithm in SPARSE else None}
    with pytest.raises(ValueError, match=r"^alibi has 3 slopes: give one for each of the 4 heads, or one for all$"):
        fs.record(algorithm, q, k, k, alibi=[1, 2, 3], **options)
    two = [np.stack([x, x]) for x in (q, k, k)]
    with pytest.raises(
        ValueError, match=r"2 sequences .*: give one of them, or choose .* head=\(0, 0\) to head=\(1, 3\)"
    ):
        fs.record(algorithm, *two, **options)
    own = options | ({"do": q[None]} if algorithm in BACKWARD else {})
    fs.record(algorithm, *(x[:1] for x in two), **own)
    own = options | ({"do": two[0]} if algorithm in BACKWARD else {})
    fs.record(algorithm, *two, head=(1, 3), **own)
    if algorithm in BACKWARD:
        for do, said in ((None, "needs do"), (q[0], r"do has shape \(3, 2\)"), (q[:2], r"do has shape \(2, 3, 2\)")):
            with pytest.raises(ValueError, match=rf"{said}.* \(4, 3, 2\)$"):
                fs.record(algorithm, q, k, k, do=do)


def test_a_run_of_too_many_steps_is_refused_before_it_begins():
    """Tiles are counted by the rows of packed heads, as blocks are: eight heads have as many tiles as one."""
    q, k = np.ones((8, 20_000, 1)), np.ones((1, 20_000, 1))
    with pytest.raises(ValueError, match=r"in such blocks has [\d,]+ steps, the most is 4,194,304: give larger blocks"):
        fs.record(GROUPED, q, k, k, block_q=16, block_k=16)


def test_a_million_tokens_of_many_heads():
    io = fs.count(GROUPED, n=1 << 20, d=128, heads=64, kv_heads=8, block_q=16, mask="causal")
    one = Problem(GROUPED, 1, 1, 128, 1, 1).count()
    assert io.by_tensor["Q"].read == 64 * (1 << 20) * one.by_tensor["Q"].read
