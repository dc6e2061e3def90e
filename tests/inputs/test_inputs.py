"""Getting q, k and v: the sample, random input, each format's round trip, heads, and what is wrong with arrays."""

import hashlib
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flashsteps.inputs import layouts
from flashsteps.inputs import qkv as inputs
from flashsteps.inputs.qkv import QKV, SAMPLE, check_qkv, load_qkv
from flashsteps.inputs.readers import MAX_BYTES
from tests.inputs.input_files import WORDS, K, Q, V, one_line, peak_below, refused, with_value


def same(got: QKV, *wanted: Any) -> None:
    """The numbers and the types that are wanted; whole numbers become float32, all else is as it was."""
    for one, other in zip(got, wanted, strict=True):
        name = other.dtype.name
        dtype = name if "float" in name and name != "longdouble" else "float32"
        assert one.dtype.name == dtype
        assert one.flags.c_contiguous
        assert one.flags.writeable
        np.testing.assert_array_equal(one.astype("f8"), other.astype(one.dtype).astype("f8"))


# ---- the sample, and random input


def test_the_sample_is_what_its_provenance_says() -> None:
    qkv = load_qkv("sample")
    q, k, _ = (x.astype(np.float64) for x in qkv)
    assert [(a.shape, a.dtype.name) for a in qkv] == [((16, 32), "float16")] * 3
    assert qkv.tokens is not None
    assert "".join(qkv.tokens[1:-1]) == str(qkv.source["sentence"]).lower().replace(" ", "")
    scores = q @ k.T / np.sqrt(32)
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert weights[qkv.tokens.index("it"), qkv.tokens.index("animal")] == pytest.approx(0.68, abs=0.005)
    with np.load(SAMPLE) as stored:
        assert (qkv.source["layer"], qkv.source["head"]) == (stored["layer"], stored["head"])
    assert qkv.source["licence"] == "Apache-2.0"
    assert json.loads(json.dumps(qkv.source)) == qkv.source
    assert refused("sample", head=1) == "head=1, but q of shape (16, 32) has one head only: leave head out"


def test_loading_twice_gives_separate_provenance() -> None:
    load_qkv("sample").source["kind"] = "changed"
    assert load_qkv("sample").source["kind"] == "sample"


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 10**18 - 1))
def test_random_is_standard_normal_from_its_seed(n: int, d: int, seed: int) -> None:
    qkv = load_qkv(f"random:{n},{d},{seed}")
    same(qkv, *np.random.default_rng(seed).standard_normal((3, n, d), dtype=np.float32).astype(np.float16))
    assert qkv.source == {"kind": "random", "spec": f"random:{n},{d},{seed}"}
    assert qkv.tokens is None


def test_random_has_seed_0_unless_told() -> None:
    same(load_qkv("random:6,3"), *load_qkv("random:6,3,0"))
    assert load_qkv("random:6,3").source == load_qkv("random:6,3,0").source


@pytest.mark.parametrize(
    "spec",
    ["random", "random:", "random:4", "random:4,x", "random:4,4,-1", "random:4,4,1,2", "random:-4,4", "random:٤,4"],
)
def test_a_bad_random_spec_is_shown_the_form(spec: str) -> None:
    assert refused(spec).startswith(f"{spec!r} is not of the form random:N,d or random:N,d,seed")


def test_random_sizes_have_bounds() -> None:
    assert "at least 1" in refused("random:0,8")
    assert f"the limit is {MAX_BYTES:,}" in refused(f"random:{MAX_BYTES // 12 // 8 + 1},8")
    assert f"the limit is {MAX_BYTES:,}" in refused(f"random:{'9' * 18},{'9' * 18}")


# ---- each format gives back what was saved in it by the format's own library


def save_npz(path: Path, tokens: Any = None, save: Any = np.savez, **arrays: Any) -> None:
    with path.open("wb") as file:
        save(file, **arrays, **({} if tokens is None else {"tokens": np.array(tokens)}))


def save_npz_small(path: Path, tokens: Any = None, **arrays: Any) -> None:
    save_npz(path, tokens, np.savez_compressed, **arrays)


def save_safetensors(path: Path, tokens: Any = None, **arrays: Any) -> None:
    whole = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    safetensors.numpy.save_file(whole, path, None if tokens is None else {"tokens": json.dumps(tokens)})


def save_pt(path: Path, tokens: Any = None, **arrays: Any) -> None:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    torch.save(tensors | ({} if tokens is None else {"tokens": tokens}), path)


SAVERS: dict[str, Callable[..., None]] = {
    "a.npz": save_npz,
    "b.NPZ": save_npz_small,
    "c.safetensors": save_safetensors,
    "d.pt": save_pt,
    "e.pth": save_pt,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Any], tuple[int, ...]]:
    """q, k, v of one type, with up to two leading axes, k and v with as many heads as q or fewer; and a head."""
    n_queries, n_keys, d, group = (draw(st.integers(1, 6)) for _ in range(4))
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    q_lead = [*lead[:-1], lead[-1] * group] if lead else []
    dtype = draw(st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int32", "int64"]))
    order: Any = draw(st.sampled_from("CF"))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shapes = (*q_lead, n_queries, d), (*lead, n_keys, d), (*lead, n_keys, d)
    arrays = [np.asarray(rng.standard_normal(shape) * 30).astype(dtype).copy(order) for shape in shapes]
    return arrays, tuple(draw(st.integers(0, n - 1)) for n in q_lead)


@pytest.mark.parametrize("name", SAVERS)
@settings(deadline=None)
@given(case=cases(), with_tokens=st.booleans())
def test_a_file_gives_back_the_head_that_was_saved(folder: Path, name: str, case: Any, with_tokens: bool) -> None:
    (q, k, v), head = case
    count = max(q.shape[-2], k.shape[-2])
    tokens = [f"t{i}猫" for i in range(count)] if with_tokens else None
    SAVERS[name](folder / name, q=q, k=k, v=v, tokens=tokens)
    group = q.shape[-3] // k.shape[-3] if head else 1
    kv_head = (*head[:-1], head[-1] // group) if head else ()
    from_file = load_qkv(folder / name, head=head or None)
    for got in (from_file, check_qkv(q, k, v, tokens, head)):
        same(got, q[head], k[kv_head], v[kv_head])
        assert got.tokens == (tuple(tokens) if tokens else None)
        assert got.source.get("head", []) == list(head)
    short = tuple(i for i, n in zip(head, q.shape, strict=False) if n > 1)  # axes of length 1 left out
    same(load_qkv(folder / name, head=short[0] if len(short) == 1 else short), q[head], k[kv_head], v[kv_head])
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert from_file.source == {"kind": "file", "file": name, "sha256": digest} | ({"head": [*head]} if head else {})


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "longdouble", "i2"])
def test_one_stacked_array_is_q_k_v(tmp_path: Path, dtype: str, order: Any) -> None:
    stacked = np.asarray(np.random.default_rng(1).standard_normal((3, 2, 5, 4)) * 9).astype(dtype).copy(order)
    np.save(tmp_path / "a.npy", stacked)
    wanted = stacked.astype(np.float64) if dtype == "longdouble" else stacked
    same(load_qkv(tmp_path / "a.npy", head=1), *wanted[:, 1])
    if dtype not in (">f4", "longdouble"):
        torch.save(torch.from_numpy(np.ascontiguousarray(stacked)), tmp_path / "a.pt")
        same(load_qkv(tmp_path / "a.pt", head=1), *stacked[:, 1])


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    q, k, v = (a.astype(ml_dtypes.bfloat16) for a in (Q, K, V))
    save_safetensors(tmp_path / "a.safetensors", q=q, k=k, v=v)
    same(load_qkv(tmp_path / "a.safetensors"), q, k, v)
    torch.save(
        {name: torch.from_numpy(a).bfloat16() for name, a in zip("qkv", (Q, K, V), strict=True)}, tmp_path / "a.pt"
    )
    same(load_qkv(tmp_path / "a.pt"), q, k, v)
    same(check_qkv(q, k, v), q, k, v)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_float8_is_read_exactly_as_data(tmp_path: Path, dtype: str) -> None:
    """All numbers of a type, from a file that names no storage class; uint16 is saved in the same way."""
    every = torch.arange(256, dtype=torch.uint8).view(getattr(torch, dtype))
    every = every[every.float().isfinite()][:, None].expand(-1, 2).contiguous()
    for tensor in (every, every.view(torch.uint8).to(torch.uint16)):
        torch.save(dict.fromkeys("qkv", tensor), tmp_path / "a.pt")
        got = load_qkv(tmp_path / "a.pt").q
        assert got.dtype == (np.float16 if tensor is every else np.float32)
        np.testing.assert_array_equal(got, tensor.float().numpy())


@pytest.mark.parametrize("name", SAVERS)
def test_names_may_be_spelled_out_and_in_any_case(tmp_path: Path, name: str) -> None:
    SAVERS[name](tmp_path / name, Query=Q, KEY=K, value=V, other=Q)
    same(load_qkv(tmp_path / name), Q, K, V)
    SAVERS[name](tmp_path / name, Q=V, q=Q, key=V, K=K, v=V)  # the nearest spelling wins
    same(load_qkv(str(tmp_path / name)), Q, K, V)


def test_only_the_head_is_read_from_a_large_file(tmp_path: Path) -> None:
    heads = np.zeros((3, 64, 128, 64), np.float32)
    heads[:, 63] = 1
    np.save(tmp_path / "a.npy", heads)
    safetensors.numpy.save_file(dict(zip("qkv", heads, strict=True)), tmp_path / "a.safetensors")
    for ending in ("npy", "safetensors"):
        with peak_below(1 << 20):  # of 6 MiB
            same(load_qkv(tmp_path / f"a.{ending}", head=63), *heads[:, 63])


@pytest.mark.parametrize("name", SAVERS)
def test_what_was_read_no_longer_hangs_on_the_file(tmp_path: Path, name: str) -> None:
    SAVERS[name](tmp_path / name, q=Q, k=K, v=V)
    qkv = load_qkv(tmp_path / name)
    with (tmp_path / name).open("r+b") as file:
        file.write(bytes((tmp_path / name).stat().st_size))
    same(qkv, Q, K, V)


# ---- arrays given in Python


def test_torch_tensors_of_any_float_type_are_taken() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.int64):
        tensors = [torch.from_numpy(a * 3).to(dtype) for a in (Q, K, V)]
        kept = {torch.float8_e4m3fn: "f2", torch.int64: "f4", torch.bfloat16: ml_dtypes.bfloat16}
        wanted = [t.double().numpy().astype(kept.get(dtype, str(dtype)[6:])) for t in tensors]
        if dtype.is_floating_point:
            tensors[0].requires_grad_()
        same(check_qkv(*tensors), *wanted)
    same(
        check_qkv(torch.nn.Parameter(torch.from_numpy(Q)).T.contiguous().T, K[:, ::-1], np.asfortranarray(V)),
        Q,
        K[:, ::-1],
        V,
    )
    same(
        check_qkv(torch.ones(1, 6, 5, 4), torch.ones(1, 2, 7, 4), torch.ones(1, 2, 7, 4), head=5),
        Q * 0 + 1,
        *[np.ones((7, 4))[:].astype("f4")] * 2,
    )


def test_torch_is_never_imported_for_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    same(check_qkv(torch.from_numpy(Q), K.tolist(), V), Q, K.astype(np.float64), V)


def bad(**changed: Any) -> dict[str, Any]:
    return {"q": Q, "k": K, "v": V} | changed


ONES = np.ones((2, 3, 5, 4))
WRONG_ARRAYS = [
    (bad(q=with_value(Q, 3, 2, np.nan)), "q[3, 2] is nan"),
    (bad(k=with_value(K, 4, 0, -np.inf)), "k[4, 0] is -inf"),
    (bad(v=np.full((5, 4), 1e30, ml_dtypes.bfloat16).astype("O")), "v holds object: real numbers"),
    (bad(v=torch.full((5, 4), torch.inf)), "v[0, 0] is inf"),
    (bad(q=Q > 0), "q holds bool: real numbers are needed"),
    (bad(q=torch.from_numpy(Q > 0)), "q holds bool: real numbers are needed"),
    (bad(k=K * 1j), "k holds complex64"),
    (bad(k=torch.from_numpy(K * 1j)), "k holds complex64"),
    (bad(v=V.astype(str)), "v holds str"),
    (bad(v="values"), "v holds str"),
    (bad(q=Q.astype("m8[s]")), "q holds timedelta64"),
    (bad(q=[[1.0, 2.0], [1.0]]), "q is no array"),
    (bad(q=None), "q holds object"),
    (bad(q=torch.empty(5, 4, device="meta")), "q cannot be made a NumPy array"),
    (bad(q=torch.from_numpy(Q).to_sparse()), "q cannot be made a NumPy array"),
    (bad(q=io.TextIOWrapper(io.BytesIO())), "q is no array"),
    (bad(q=Q[0]), "q has shape (4,): a matrix (rows, d) is needed"),
    (bad(q=1.0), "q has shape (): a matrix"),
    (bad(q=Q[:0]), "q has shape (0, 4): at least one row and one column"),
    (dict(zip("qkv", [Q[:, :0]] * 3, strict=True)), "q has shape (5, 0): at least one"),
    (bad(q=Q[:, :3]), "q has d = 3 and k 4: they must have the same d"),
    (bad(v=V[:4]), "k has shape (5, 4) and v (4, 4): each key needs one value"),
    (bad(q=Q[None], head=0), "must have equally many axes, not shapes (1, 5, 4), (5, 4) and (5, 4)"),
    (bad(head=0), "head=0, but q of shape (5, 4) has one head only: leave head out"),
    (
        {"q": ONES, "k": ONES, "v": ONES},
        "head=None, but q has shape (2, 3, 5, 4): choose one matrix, from head=(0, 0) to head=(1, 2)",
    ),
    ({"q": ONES, "k": ONES, "v": ONES, "head": (1, 3)}, "head=(1, 3), but q has shape"),
    ({"q": ONES, "k": ONES, "v": ONES, "head": 1}, "head=1, but q has shape"),
    ({"q": ONES[:1], "k": ONES[:1], "v": ONES[:1], "head": -1}, "from head=0 to head=2"),
    ({"q": ONES, "k": ONES, "v": ONES, "head": "01"}, "head='01' is not an int or a tuple of ints"),
    ({"q": ONES, "k": ONES, "v": ONES, "head": 0.0}, "head=0.0 is not an int"),
    (
        {"q": ONES, "k": ONES[:, :2], "v": ONES[:, :2], "head": (0, 0)},
        "the heads of q must be those of k, or a multiple",
    ),
    (
        {"q": ONES, "k": ONES[:1], "v": ONES[:1], "head": (0, 0)},
        "each sequence needs keys of its own, so expand k",
    ),
    ({"q": ONES, "k": ONES, "v": ONES[:, :1], "head": (0, 0)}, "each key needs one value"),
    (bad(tokens=WORDS[:4]), "4 tokens for 5 keys: give one for each"),
    (bad(q=np.ones((7, 4)), tokens=WORDS), "5 tokens for 7 queries"),
    (bad(tokens="words"), "1 tokens for 5 keys"),
    (bad(tokens=5), "tokens[0] is of type int: each must be a str"),
    (bad(tokens=[*WORDS[:4], b"sat"]), "tokens[4] is of type bytes"),
]


@pytest.mark.parametrize(("arrays", "words"), WRONG_ARRAYS, ids=[words for _, words in WRONG_ARRAYS])
def test_wrong_arrays_get_one_line(arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        check_qkv(**arrays)
    one_line(caught.value)


@given(st.lists(st.text(), min_size=5, max_size=5))
@example(["a\nb", "\x1b[31m", "\u202egip", "\ud800", "👩\u200d🔬"])
def test_tokens_can_be_drawn_on_one_line_and_keep_their_length(tokens: list[str]) -> None:
    shown = check_qkv(Q, K, V, np.array(tokens, object)).tokens
    assert shown is not None
    assert list(map(len, shown)) == list(map(len, tokens))
    "".join(shown).encode()
    assert len("".join(shown).splitlines()) <= 1
    assert all(
        new in (old, "·") for word, was in zip(shown, tokens, strict=True) for new, old in zip(word, was, strict=True)
    )
    assert [s for s, t in zip(shown, tokens, strict=True) if t.isprintable()] == [t for t in tokens if t.isprintable()]


@pytest.mark.parametrize("lead", [(), (1,)])
def test_all_heads_of_a_file_come_together(tmp_path, lead):
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((*lead, 6, 3, 2)), *rng.standard_normal((2, *lead, 2, 4, 2))
    np.savez(tmp_path / "h.npz", q=q, k=k, v=v, tokens=np.array(list("abcd")))
    heads = inputs.load_heads(tmp_path / "h.npz", every=True)
    for h, one in enumerate(heads.each):
        same(one, q.reshape(6, 3, 2)[h], k.reshape(2, 4, 2)[h // 3], v.reshape(2, 4, 2)[h // 3])
        assert one.tokens == tuple("abcd")
        assert "head" not in one.source
    assert (len(heads.each), heads.kv_heads, heads.group, heads.axes.q) == (6, 2, 3, (*lead, 6, 3, 2))


def test_all_heads_are_of_one_file_and_one_sequence(tmp_path):
    np.savez(tmp_path / "one.npz", q=np.ones((3, 2)), k=np.ones((3, 2)), v=np.ones((3, 2)))
    np.savez(tmp_path / "batch.npz", q=np.ones((2, 2, 3, 2)), k=np.ones((2, 2, 3, 2)), v=np.ones((2, 2, 3, 2)))
    np.savez(tmp_path / "odd.npz", q=np.ones((3, 5, 2)), k=np.ones((2, 5, 2)), v=np.ones((2, 5, 2)))
    for source, said in (
        ("sample", r"^'sample' is one head: give a file"),
        ("random:4,4", r"^'random:4,4' is one head: give a file"),
        (tmp_path / "one.npz", r"one\.npz': q has shape \(3, 2\): \(heads, N, d\) are needed"),
        (tmp_path / "batch.npz", r"batch\.npz': q has shape \(2, 2, 3, 2\), 2 sequences with heads of their own"),
        (tmp_path / "odd.npz", r"odd\.npz': q has shape .*: the heads of q must be those of k, or a multiple"),
        (tmp_path / "none.npz", r"none\.npz': no such file"),
    ):
        with pytest.raises(ValueError, match=said):
            inputs.load_heads(source, every=True)


# ---- layouts


def laid_out(layout: str, array: Any) -> Any:
    """(b, h, s, d) with the axes in another order, those that it has not left out."""
    return np.einsum(f"bhsd->{layout}", array)  # what is left out has length 1


@st.composite
def laid(draw: st.DrawFn) -> tuple[str, int, Any, Any, Any]:
    """A layout, a number of heads, and q, k and v as (b, h, s, d)."""
    layout = draw(st.sampled_from(layouts.LAYOUTS))
    batch = draw(st.integers(1, 2)) if "b" in layout else 1
    kv_heads, group = (draw(st.integers(1, 3)) if "h" in layout else 1 for _ in range(2))
    n, m, d = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(0)
    shapes = (batch, kv_heads * group, n, d), (batch, kv_heads, m, d), (batch, kv_heads, m, d)
    q, k, v = (rng.standard_normal(shape) for shape in shapes)
    return layout, group, q, k, v


@given(laid(), st.data())
@settings(deadline=None)
def test_a_layout_says_which_axis_is_which(folder: Path, case: Any, data: st.DataObject) -> None:
    layout, group, *arrays = case
    given = dict(zip("qkv", (laid_out(layout, x) for x in arrays), strict=True))
    where = tuple(data.draw(st.integers(0, n - 1)) for n in arrays[0].shape[:2])
    head = tuple(i for i, axis in zip(where, "bh", strict=True) if axis in layout) or None
    wanted = arrays[0][where], *(x[where[0], where[1] // group] for x in arrays[1:])
    same(check_qkv(**given, head=head, layout=layout), *wanted)
    same(check_qkv(**{name: torch.from_numpy(x) for name, x in given.items()}, head=head, layout=layout), *wanted)
    for name in ("l.npz", "l.safetensors", "l.pt"):
        {".npz": save_npz, ".safetensors": save_safetensors, ".pt": save_pt}[Path(name).suffix](folder / name, **given)
        same(load_qkv(folder / name, head, layout), *wanted)


def test_a_layout_that_is_not_there_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    q = np.ones((6, 4, 8))
    np.savez(tmp_path / "q.npz", q=q, k=q, v=q)
    wrong: list[tuple[Any, str]] = [
        ("thd", "unknown layout 'thd': did you mean 'shd'? known are sd, hsd, shd, bhsd, bshd, sbhd"),
        (3, "unknown layout 3: known are sd, hsd"),
        ("bshd", "q has shape (6, 4, 8), which layout='bshd' does not fit: give hsd or shd, or leave it out"),
    ]
    for layout, said in wrong:
        with pytest.raises(ValueError, match=re.escape(said)):
            check_qkv(q, q, q, layout=layout)
        with pytest.raises(ValueError, match=re.escape(said)):
            load_qkv(tmp_path / "q.npz", layout=layout)
    for layout in ("hsd", "shd", None):
        check_qkv(q, q, q, head=1, layout=layout)


def test_what_lies_the_other_way_round_is_told_by_its_tokens() -> None:
    q, words = np.ones((6, 4, 8)), list("abcdef")
    said = "6 tokens for 4 keys: give one for each, or, for 4 heads of 6 tokens, layout='shd'"
    with pytest.raises(ValueError, match=f"^{said}$"):
        check_qkv(q, q, q, words, head=0)
    assert check_qkv(q, q, q, words, head=0, layout="shd").tokens == tuple(words)
    with pytest.raises(ValueError, match=r"^4 tokens for 6 keys: .*, or, for 6 heads of 4 tokens, layout='hsd'$"):
        check_qkv(q, q, q, words[:4], head=0, layout="shd")
    with pytest.raises(ValueError, match=r"^5 tokens for 4 keys: give one for each$"):
        check_qkv(q, q, q, words[:5], head=0)


def test_a_nested_tensor_is_refused_with_what_to_give() -> None:
    x = torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(5, 4)], layout=torch.jagged)
    y = torch.nested.nested_tensor([torch.ones(3, 4)])
    for nested in (x, y):
        said = "q is a nested tensor, sequences of several lengths: give one of them, such as q.unbind()[0]"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            check_qkv(nested, nested, nested)
        same(check_qkv(*[nested.unbind()[0]] * 3), *[np.ones((3, 4), "f4")] * 3)
