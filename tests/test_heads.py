"""Grouped queries: all heads together give what each gives alone, and a group shares its tiles of keys and values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import formulas, heads
from tests.problems import ALL, SPARSE, Problem, mask_names, problems

GROUPED = "flash2-forward"


@st.composite
def grouped(draw):
    """A problem, its q (heads, n, d), k and v (kv_heads, n_keys, d)."""
    problem = draw(problems((GROUPED,), largest=12))
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(problem.seed)
    q = rng.standard_normal((kv_heads * group, problem.n, problem.d))
    k, v = rng.standard_normal((2, kv_heads, problem.n_keys, problem.d))
    return problem, q, k, v


@given(grouped())
@settings(deadline=None)
def test_all_heads_together_give_what_each_gives_alone(case):
    problem, q, k, v = case
    outputs = fs.record(GROUPED, q, k, v, **problem.options()).outputs
    for head in range(len(q)):
        alone = fs.record(GROUPED, q, k, v, head=head, **problem.options()).outputs
        for name in ("O", "LSE"):
            together = outputs[name][head] if len(q) > 1 else outputs[name]
            np.testing.assert_allclose(together.astype(float), alone[name].astype(float), rtol=1e-5, atol=1e-5)


@given(grouped())
@settings(deadline=None)
def test_all_heads_are_counted_as_they_are_recorded(case):
    problem, q, k, v = case
    sizes = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "heads": len(q), "kv_heads": len(k)}
    assert fs.count(GROUPED, **sizes, **problem.options()) == fs.record(GROUPED, q, k, v, **problem.options()).io()


@given(problems((GROUPED,), largest=60, masks=(None, "causal"), dtype_names=("float16",)), st.integers(1, 4))
def test_a_group_saves_the_keys_and_values_of_all_heads_but_one(problem, group):
    sizes = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "heads": 2 * group}
    shared, own = (fs.count(GROUPED, **sizes, kv_heads=n, **problem.options()).by_tensor for n in (2, 2 * group))
    for name in ("Q", "O", "LSE"):
        assert shared[name] == own[name]
    if "K" in own:
        assert own["K"].read == group * shared["K"].read
        assert own["V"].read == group * shared["V"].read
    blocks = min(problem.block_q, problem.n), min(problem.block_k, problem.n_keys)
    form = formulas.grouped_forward(
        problem.n, problem.n_keys, problem.d, *blocks, 2 * group, 2, problem.mask == "causal"
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
@settings(deadline=None, max_examples=20)
def test_a_trace_of_several_heads_replays_and_is_saved(tmp_path_factory, case):
    problem, q, k, v = case
    trace = fs.record(GROUPED, q, k, v, **problem.options())
    path = tmp_path_factory.mktemp("heads") / "t.npz"
    trace.save(path)
    assert fs.load(path) == trace
    last = trace.at(len(trace) - 1).hbm["O"]
    if len(q) > 1:
        last = heads.unpack(last, len(q), len(q) // len(k))
        assert (trace.meta["heads"], trace.meta["kv_heads"]) == (len(q), len(k))
    assert np.array_equal(last, trace.outputs["O"], equal_nan=True)


@given(st.data())
@settings(deadline=None)
def test_a_mask_of_a_group_repeats_its_rows(data):
    n, n_keys, group = (data.draw(st.integers(1, 9)) for _ in range(3))
    name = data.draw(mask_names(n, n_keys))
    from dataclasses import replace

    from flashsteps import masks
    from flashsteps.memory import Blocks

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


@pytest.mark.parametrize("algorithm", [name for name in ALL if name != GROUPED])
def test_others_take_one_head_at_a_time(algorithm):
    with pytest.raises(
        ValueError, match=rf"^{algorithm} takes one head at a time: multiply by 4 heads, or use flash2-"
    ):
        fs.count(algorithm, n=4, d=2, heads=4, block_mask="butterfly" if algorithm == SPARSE else None)
    q = np.ones((4, 3, 2))
    with pytest.raises(ValueError, match="choose one matrix, from head=0 to head=3"):
        fs.record(algorithm, q, q, q)


def test_a_million_tokens_of_many_heads():
    io = fs.count(GROUPED, n=1 << 20, d=128, heads=64, kv_heads=8, block_q=16, mask="causal")
    one = Problem(GROUPED, 1, 1, 128, 1, 1).count()
    assert io.by_tensor["Q"].read == 64 * (1 << 20) * one.by_tensor["Q"].read
