"""Tensors as people have them: what is stored, what belongs to a head, which axes come out, and any kind of number."""

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.inputs.layouts import LAYOUTS
from flashsteps.machine.memory import MOST_LOST
from flashsteps.player.ending import ending
from tests.problems import BACKWARD, Problem, problems

RNG = np.random.default_rng(0)
Q, K, V = RNG.standard_normal((3, 6, 4))

#: types by the names that NumPy and torch both have, and what numbers of that type are stored as
KEPT = {"float16": "float16", "bfloat16": "bfloat16", "float32": "float32", "float64": "float64", "int32": "float32",
        "int64": "float32", "float8_e4m3fn": "float16", "float8_e5m2": "float16"}  # fmt: skip


def of_type(array: np.ndarray, name: str) -> Any:
    """The array in that type, NumPy's or ml_dtypes'."""
    return (array * 3).astype(getattr(ml_dtypes, name, None) or name)


# ---- the storage type


@pytest.mark.parametrize("name", KEPT)
def test_arrays_are_stored_as_what_they_are(name: str) -> None:
    own = [of_type(x, name) for x in (Q, K, V)]
    tensors = [torch.from_numpy(x * 3).to(getattr(torch, name)) for x in (Q, K, V)]
    for given_arrays in (own, tensors):
        trace = fs.record("flash2-forward", *given_arrays)
        assert (trace.meta["dtype"], trace.outputs["O"].dtype.name) == (KEPT[name], KEPT[name])
        plain = [np.asarray(x, np.float64) for x in own]
        for stored, exact in zip("QKV", plain, strict=True):
            np.testing.assert_array_equal(trace.initial[stored].astype(np.float64), exact)  # nothing was rounded
    assert fs.record("flash2-forward", *own, dtype="float32").meta["dtype"] == "float32"


@given(st.lists(st.sampled_from(list(KEPT)), min_size=4, max_size=4))
@settings(deadline=None, max_examples=30)
def test_mixed_types_are_stored_as_the_one_that_holds_all(names: list[str]) -> None:
    q, k, v, do = (of_type(x, name) for x, name in zip((Q, K, V, V), names, strict=True))
    trace = fs.record("standard-backward", q, k, v, do=do)
    for name, array in zip(("Q", "K", "V", "dO"), (q, k, v, do), strict=True):
        np.testing.assert_array_equal(trace.initial[name].astype(np.float64), array.astype(np.float64))
    wide = {KEPT[name] for name in names}
    assert trace.meta["dtype"] == (wide.pop() if len(wide) == 1 else "float64" if "float64" in wide else "float32")


def test_the_sample_and_random_numbers_are_in_float16() -> None:
    for source in ("sample", "random:5,4"):
        assert fs.record("flash2-forward", *fs.load_qkv(source)).meta["dtype"] == "float16"
    assert fs.record("flash2-forward", [[1.0]], [[2.0]], [[3.0]]).meta["dtype"] == "float64"  # Python's own


@pytest.mark.parametrize("dtype", [torch.float32, np.float32, np.dtype("float32"), np.dtype("f4"), "float32"])
def test_a_type_may_be_named_as_numpy_and_torch_name_it(dtype: Any) -> None:
    assert fs.record("flash2-forward", Q, K, V, dtype=dtype).meta["dtype"] == "float32"
    assert fs.count("flash2-forward", n=6, d=4, dtype=dtype) == fs.count("flash2-forward", n=6, d=4, dtype="float32")
    assert fs.film("flash2-forward", input=(Q, K, V), dtype=dtype).duration


@pytest.mark.parametrize("dtype", [torch.int8, np.complex64, "float31", int, object, 3])
def test_other_types_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"^unknown dtype '.*known are float16, bfloat16, float32, float64$"):
        fs.record("flash2-forward", Q, K, V, dtype=dtype)


# ---- what rounding would lose


@pytest.mark.parametrize("name", ["q", "k", "v", "do"])
@pytest.mark.parametrize(("small", "dtype", "instead"), [(1e-9, "float16", "float32"), (1e-60, "float32", "float64"),
                                                         (1e-60, "float16", "float64")])  # fmt: skip
def test_what_rounds_to_zero_is_refused_with_the_type_that_would_do(
    name: str, small: float, dtype: str, instead: str
) -> None:
    arrays: dict[str, Any] = {"q": Q, "k": K, "v": V, "do": V}
    arrays[name] = np.where(RNG.random(Q.shape) < 0.5, 1.0, small) * (Q > -1)  # what is 0 already is not lost
    stored = "dO" if name == "do" else name.upper()
    said = rf"^{stored}: [\d.]+ % of its numbers that are not 0 become 0 in {dtype}: use dtype='{instead}'$"
    with pytest.raises(ValueError, match=said):
        fs.record("flash2-backward", **arrays, dtype=dtype)
    fs.record("flash2-backward", **arrays, dtype=instead)
    fs.record("flash2-backward", **arrays)


def test_a_few_numbers_may_become_zero() -> None:
    for lost, fine in ((1, True), (2, False)):
        q = np.ones((25, 4))
        q.flat[:lost] = 1e-9
        assert (lost / q.size > MOST_LOST) is not fine
        if fine:
            fs.record("flash2-forward", q, q, q, dtype="float16")
        else:
            with pytest.raises(ValueError, match=r"^Q: 2 % of its numbers that are not 0 become 0 in float16: "):
                fs.record("flash2-forward", q, q, q, dtype="float16")


def test_what_is_too_large_is_refused_with_the_type_that_would_do() -> None:
    for large, instead in ((1e5, "float32"), (1e300, "float64")):
        v = V * 0 + large
        with pytest.raises(
            ValueError, match=rf"^V holds 1[0e+,]*.*, past the largest float16 .*: use dtype='{instead}'$"
        ):
            fs.record("flash2-forward", Q, K, v, dtype="float16")
        fs.record("flash2-forward", Q, K, v, dtype=instead)


@pytest.mark.parametrize("algorithm", BACKWARD)
def test_gradients_that_would_vanish_are_refused(algorithm: str) -> None:
    """As those of a real loss, a mean over many tokens: dO is large enough for float16, what follows from it is not."""
    do, said = V * 1e-4, r"^d\w+ loses [\d.]+ % of what it holds when it is rounded to float16: use dtype='float32'$"
    with pytest.raises(ValueError, match=said):
        fs.record(algorithm, Q, K, V * 1e-4, do=do, dtype="float16")
    found = fs.record(algorithm, Q, K, V * 1e-4, do=do, dtype="float32").outputs["dQ"]
    exact = fs.record(algorithm, Q, K, V * 1e-4, do=do).outputs["dQ"]
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())


@pytest.mark.parametrize("algorithm", ["standard-forward", "standard-backward", "flash2-backward"])
def test_weights_that_softmax_leaves_at_nothing_are_no_loss(algorithm: str) -> None:
    q = np.eye(6, 4) * 6
    trace = fs.record(algorithm, q, q, V, dtype="float16", scale=1.0, **({"do": V} if "back" in algorithm else {}))
    assert trace.meta["dtype"] == "float16"
    if algorithm == "standard-forward":
        assert (trace.at(len(trace) - 1).hbm["P"] == 0).mean() > MOST_LOST


# ---- what belongs to a head, and the axes that come out


@st.composite
def laid(draw: st.DrawFn) -> Any:
    """A problem; q, k, v and dO of its heads (b, h, s, d), with b = 1; a layout that has them, or None; and options."""
    problem = draw(problems(largest=8, dtype_names=("float64",)))
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    rng = np.random.default_rng(problem.seed)
    q, do = rng.standard_normal((2, 1, kv_heads * group, problem.n, problem.d))
    k, v = rng.standard_normal((2, 1, kv_heads, problem.n_keys, problem.d))
    layout = draw(st.sampled_from((*LAYOUTS[1:], None)))
    options = problem.options()
    options["alibi"] = list(range(q.shape[1])) if draw(st.booleans()) else 0.5
    if problem.algorithm not in ("split-kv-decode", "paged-decode"):
        options |= {"dropout": draw(st.sampled_from((None, 0.4)))}
        options |= {"seed": 7} if options["dropout"] else {}
    grad = {"do": do} if problem.algorithm in BACKWARD else {}
    return problem, {"q": q, "k": k, "v": v, **grad}, layout, options


def turned(layout: str | None, array: np.ndarray) -> Any:
    """(b, h, s, d) with the axes of a layout; a batch of one may be left out."""
    return np.einsum(f"bhsd->{layout or 'hsd'}", array)


@given(laid(), st.data())
@settings(deadline=None, max_examples=60)
def test_a_head_alone_gives_what_it_gives_among_all_and_outputs_have_the_axes_of_the_input(
    tmp_path_factory: pytest.TempPathFactory, case: Any, data: st.DataObject
) -> None:
    problem, arrays, layout, options = case
    given_arrays: dict[str, Any] = {name: turned(layout, x) for name, x in arrays.items()}
    heads, kv_heads = arrays["q"].shape[1], arrays["k"].shape[1]
    head = data.draw(st.integers(0, heads - 1))
    whole = fs.record(problem.algorithm, **given_arrays, layout=layout, **options)
    alone = fs.record(problem.algorithm, **given_arrays, layout=layout, head=head, **options)
    for trace in (whole, alone):
        path = tmp_path_factory.mktemp("as_given") / "t.npz"
        trace.save(path)
        assert fs.load(path) == trace
    for name, found in whole.outputs.items():
        like = {"dK": "k", "dV": "v"}.get(name, "q")
        if name == "LSE":
            assert found.shape == (*(1 for axis in layout or "" if axis == "b"), heads, problem.n)
            np.testing.assert_allclose(alone.outputs[name], found.reshape(heads, -1)[head], rtol=1e-9)
            continue
        assert found.shape == given_arrays[like].shape
        if like == "q":
            where = (layout or "hsd").index("h")
            mine = np.take(found, head, axis=where).reshape(problem.n, problem.d)
            np.testing.assert_allclose(alone.outputs[name], mine, rtol=1e-9, atol=1e-12)
    if heads == kv_heads == 1 and "dV" in whole.outputs:
        np.testing.assert_array_equal(alone.outputs["dV"], whole.outputs["dV"].reshape(alone.outputs["dV"].shape))


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("batch", [(), (1,)])
def test_the_output_has_the_rank_of_the_input(heads: int, batch: tuple[int, ...]) -> None:
    q, do = RNG.standard_normal((2, *batch, heads, 5, 4))
    shapes = {name: x.shape for name, x in fs.record("flash2-forward", q, q, q).outputs.items()}
    assert shapes == {"O": q.shape, "LSE": q.shape[:-1]}
    gradients = fs.record("flash-backward", q, q, q, do=do).outputs
    assert [x.shape for x in gradients.values()] == [q.shape] * 3
    one = fs.record("flash2-forward", q, q, q, head=0).outputs
    assert (one["O"].shape, one["LSE"].shape) == ((5, 4), (5,))
    run = fs.stepping("flash2-forward", q, q, q)
    assert list(run)
    assert run.trace.outputs["O"].shape == q.shape


def test_a_page_of_one_head_knows_its_error_with_its_own_dropout() -> None:
    q = RNG.standard_normal((3, 8, 4))
    for head, layout in ((2, None), (None, None), (1, "hsd"), (None, "shd")):
        x = q.swapaxes(0, 1) if layout == "shd" else q
        run = fs.record("flash2-backward", x, x, x, do=x, head=head, layout=layout, dropout=0.5, alibi=[0.1, 0.2, 0.3])
        assert ending(run)["error"]["own"] < 1e-12


def test_what_was_given_for_another_number_of_heads_is_refused_by_its_own_name() -> None:
    q = RNG.standard_normal((3, 5, 4))
    with pytest.raises(ValueError, match=r"^alibi has 2 slopes: give one for each of the 3 heads, or one for all$"):
        fs.record("flash2-forward", q, q, q, head=2, alibi=[0.5, 0.25])
    with pytest.raises(ValueError, match=r"^alibi has 2 rows: give one row of slopes, one for each of the 3 heads$"):
        fs.record("flash2-forward", q, q, q, head=2, alibi=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^alibi has 3 slopes: give one for each of the 1 heads, or one for all$"):
        fs.record("flash2-forward", *q, alibi=[0.5, 0.25, 0.1])
    for do in (q[:2], q[..., :3], q[0, 0]):
        said = re.escape(f"do has shape {do.shape}: give one of O's shape, (3, 5, 4), or (5, 4) for the one head")
        with pytest.raises(ValueError, match=f"^{said}$"):
            fs.record("flash2-backward", q, q, q, head=1, do=do)
    for right in (q, q[1]):
        assert fs.record("flash2-backward", q, q, q, head=1, do=right)
    with pytest.raises(ValueError, match=r"^do\[0, 1\] is nan: all numbers must be finite$"):
        fs.record("flash2-backward", q, q, q, head=1, do=np.where(q == q[1, 0, 1], np.nan, q))
    with pytest.raises(ValueError, match=r"^do is a nested tensor"):
        fs.record("flash2-backward", *q, do=torch.nested.nested_tensor([torch.ones(5, 4)]))


def test_a_mask_tells_which_way_round_axes_lie() -> None:
    q = RNG.standard_normal((6, 4, 8))
    for mask in (np.tril(np.ones((6, 6), bool)), "document:2,4"):
        with pytest.raises(ValueError, match=r", or, for 4 heads of 6 tokens, layout='shd'$"):
            fs.record("flash2-forward", q, q, q, mask=mask)
        trace = fs.record("flash2-forward", q, q, q, mask=mask, layout="shd")
        assert trace.outputs["O"].shape == (6, 4, 8)
        with pytest.raises(ValueError, match=r"^mask (?!.*layout)"):
            fs.record("flash2-forward", q[:, :3], q[:, :3], q[:, :3], mask=np.ones((9, 9), bool))


# ---- numbers


WHOLE = [3, np.int64(3), np.array(3), np.uint8(3), torch.tensor(3)]
HALF = [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5, requires_grad=True),
        np.float16(0.5), ml_dtypes.bfloat16(0.5), torch.tensor(0.5, dtype=torch.bfloat16)]  # fmt: skip


@pytest.mark.parametrize("three", WHOLE, ids=lambda x: type(x).__name__)
def test_a_whole_number_may_be_of_any_library(three: Any) -> None:
    arrays = Q, K, V
    how: dict[str, Any] = {"block_q": 3, "block_k": 3, "dropout": 0.5, "seed": 3, "sram": 1 << 16}
    others = how | dict.fromkeys(("block_q", "block_k", "seed"), three) | {"sram": np.int64(1 << 16)}
    assert fs.record("flash2-forward", *arrays, **others) == fs.record("flash2-forward", *arrays, **how)
    assert fs.record("split-kv-decode", *arrays, splits=three) == fs.record("split-kv-decode", *arrays, splits=3)
    sizes = "n", "d", "n_keys", "heads", "kv_heads", "block_q", "block_k"
    plain: dict[str, Any] = dict.fromkeys(sizes, 3)
    assert fs.count("flash2-forward", **dict.fromkeys(sizes, three)) == fs.count("flash2-forward", **plain)
    q = RNG.standard_normal((4, 5, 4))
    assert fs.record("flash2-forward", q, q, q, head=three).meta["head"] == [3]
    assert fs.film("flash2-forward", input=(Q, K, V), block_q=three, block_k=three).duration


@pytest.mark.parametrize("half", HALF, ids=lambda x: type(x).__name__)
def test_a_number_may_be_of_any_library(half: Any) -> None:
    options: dict[str, Any]
    for options in ({"scale": half}, {"softcap": half}, {"alibi": half}, {"dropout": half}, {"alibi": [half]}):
        plain: dict[str, Any] = dict.fromkeys(options, 0.5)
        assert fs.record("flash2-forward", Q, K, V, **options) == fs.record("flash2-forward", Q, K, V, **plain)


def test_slopes_may_be_a_tensor() -> None:
    q, slopes = RNG.standard_normal((2, 5, 4)), [0.5, 0.25]
    plain = fs.record("flash2-forward", q, q, q, alibi=slopes)
    for given_slopes in (torch.tensor(slopes, requires_grad=True), np.array(slopes), tuple(slopes),
                         [torch.tensor(x, requires_grad=True) for x in slopes]):  # fmt: skip
        assert fs.record("flash2-forward", q, q, q, alibi=given_slopes) == plain


@pytest.mark.parametrize("wrong", [True, np.True_, "3", 2.5, np.array([3]), torch.tensor([3]), torch.tensor(2.5), None,
                                   torch.empty((), device="meta"), [3], 0])  # fmt: skip
def test_what_is_no_whole_number_is_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^n is .*: give a whole number, 1 or more$"):
        fs.count("flash2-forward", n=wrong, d=4)
    if wrong is not None:
        with pytest.raises(ValueError, match=r"^block_q is .*: give a whole number, 1 or more$"):
            fs.record("flash2-forward", Q, K, V, block_q=wrong)


@pytest.mark.parametrize("wrong", [True, "3", np.array([3.0]), torch.tensor([3.0]), np.nan, torch.tensor(np.inf), 1j,
                                   torch.empty((), device="meta")])  # fmt: skip
def test_what_is_no_number_is_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^scale is .*: give a finite number, or None for 1/√d$"):
        fs.record("flash2-forward", Q, K, V, scale=wrong)
    with pytest.raises(ValueError, match=r"^alibi "):
        fs.record("flash2-forward", Q, K, V, alibi=[wrong])


@pytest.mark.parametrize("mask", ["full", "none", "full+none", None])
def test_full_is_no_mask(mask: str | None) -> None:
    problem = Problem("flash2-forward", 6, 6, 4, 2, 2)
    trace = problem.record() if mask is None else fs.record(
        "flash2-forward", *problem.inputs(), **problem.options() | {"mask": mask})  # fmt: skip
    assert trace == problem.record()
    assert trace.meta["mask"] is None
    causal = fs.count("flash2-forward", n=9, d=4, mask="causal")
    assert fs.count("flash2-forward", n=9, d=4, mask=f"{mask or 'full'}+causal") == causal
