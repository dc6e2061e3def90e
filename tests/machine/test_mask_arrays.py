"""Masks as arrays: of any of the shapes and kinds that people have, the head that is run gets its own."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.attention.flex_attention import create_block_mask, create_mask

import flashsteps as fs
from flashsteps.machine import masks
from flashsteps.machine.mask_arrays import Of
from flashsteps.machine.tiling import Blocks
from tests.machine.test_masks import looked_at, seen
from tests.problems import Problem, brute_force, mask_names

size = st.integers(1, 9)

#: a Boolean mask, as others have it
KINDS = {
    "bool": lambda kept: kept,
    "0 and 1": lambda kept: kept.astype(np.int64),
    "additive": lambda kept: np.where(kept, np.float32(0), np.float32(-np.inf)),
    "torch": torch.from_numpy,
    "torch, 0 and 1": lambda kept: torch.from_numpy(kept).long(),
    "torch, additive": lambda kept: torch.zeros(kept.shape, dtype=torch.bfloat16).masked_fill(
        ~torch.from_numpy(kept), -torch.inf
    ),
}


@st.composite
def arrays(draw):
    """An array for (B, H, N, M), shorter by leading axes of 1; the axes of 1 stand for all."""
    whole = B, H, N, M = tuple(draw(size) for _ in range(4))
    shape = [draw(st.sampled_from((1, n))) for n in (B, H, N)] + [draw(st.sampled_from((M, M, 1)))]
    padding = shape[2:] == [1, M] and draw(st.booleans())
    if padding:
        ends = sorted(draw(st.tuples(st.integers(0, M), st.integers(0, M))))
        shape[1] = 1
        kept = np.broadcast_to((np.arange(M) >= ends[0]) & (np.arange(M) < ends[1]), shape).copy()
    else:
        kept = np.random.default_rng(draw(st.integers(0, 99))).random(shape) < 0.6
    given = kept
    while given.ndim > 1 and given.shape[0] == 1 and draw(st.booleans()):
        given = given[0]
    assume(not (given.shape == (N, M) and N == B > 1))  # a row for each query, or for each sequence
    return whole, kept, given


@given(arrays(), st.sampled_from(sorted(KINDS)), st.data())
def test_each_head_gets_its_own(case, kind, data):
    (B, H, N, M), kept, array = case
    head = data.draw(st.integers(0, B * H - 1))
    mask = masks.parse(KINDS[kind](array), N, M, of=Of(N, M, H, B, head))
    np.testing.assert_array_equal(seen(mask), np.broadcast_to(kept, (B, H, N, M))[divmod(head, H)])
    for i in Blocks(N, 2).runs():
        for j in Blocks(M, 3).runs():
            assert mask.kinds(i, j) == looked_at(mask, i, j)


@given(size, size, st.booleans(), st.data())
def test_padding_is_a_rule_also_with_others(n, n_keys, on_the_left, data):
    """So it is counted by arithmetic, at any size."""
    length = data.draw(st.integers(0, n_keys))
    row = np.arange(n_keys) >= n_keys - length if on_the_left else np.arange(n_keys) < length
    mask = masks.parse(row[None].astype(int), n, n_keys)
    assert mask.by_rule
    np.testing.assert_array_equal(seen(mask), np.broadcast_to(row, (n, n_keys)))
    assert masks.parse(np.ones((1, 1 << 20), int), 1 << 20, 1 << 20).kinds(*[next(Blocks(1 << 20, 64).runs())] * 2)


@given(size, size, size, size, st.data())
def test_padding_in_a_file_goes_with_rules_and_stays_one(tmp_path_factory, n, n_keys, block_q, block_k, data):
    ends = sorted(data.draw(st.tuples(st.integers(0, n_keys), st.integers(0, n_keys))))
    row = (np.arange(n_keys) >= ends[0]) & (np.arange(n_keys) < ends[1])
    path = tmp_path_factory.mktemp("masks") / "row.npy"
    np.save(path, row)
    rules = data.draw(mask_names(n, n_keys))
    mask = masks.parse(f"{rules or 'none'}+file:{path}", n, n_keys)
    assert mask.by_rule
    np.testing.assert_array_equal(seen(mask), brute_force(rules, n, n_keys) & row)
    for i in Blocks(n, block_q).runs():
        for j in Blocks(n_keys, block_k).runs():
            assert mask.kinds(i, j) == looked_at(mask, i, j)


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 4, 5), (2, 1, 1, 5), (2, 3, 4, 5), (1, 3, 1, 5), (3, 4, 5), (5,)])
def test_record_picks_what_belongs_to_its_head(shape):
    rng = np.random.default_rng(0)
    (q, k, v), kept = (rng.standard_normal((2, 3, n, 2)) for n in (4, 5, 5)), rng.random(shape) < 0.6
    whole = np.broadcast_to(kept[:, None, None] if shape == (2, 5) else kept, (2, 3, 4, 5))
    for at in ((0, 0), (1, 2)):
        own = fs.record("flash2-forward", q[at], k[at], v[at], mask=whole[at])
        found = fs.record("flash2-forward", q, k, v, head=at, mask=kept)
        np.testing.assert_array_equal(found.outputs["O"], own.outputs["O"])


def test_as_many_queries_as_sequences_may_mean_two_things():
    q = np.ones((2, 1, 2, 2))
    with pytest.raises(ValueError, match=r"^mask has shape \(2, 2\), a row for each query or for each sequence: give"):
        fs.record("flash2-forward", q, q, q, head=(0, 0), mask=np.eye(2, dtype=bool))
    for shape in ((1, 1, 2, 2), (2, 1, 1, 2)):
        assert fs.record("flash2-forward", q, q, q, head=(0, 0), mask=np.eye(2, dtype=bool).reshape(shape))


def test_a_shape_that_does_not_fit_says_which_do():
    q = np.ones((2, 3, 4, 2))
    with pytest.raises(
        ValueError,
        match=r"^mask has shape \(3, 4\): give queries × keys, \(4, 4\), or keys, \(4,\), or, one a head, "
        r"\(3, 4, 4\), or, one a sequence, \(2, 4\), \(2, 1, 4, 4\); an axis of length 1 is for all$",
    ):
        fs.record("flash2-forward", q, q, q, head=(0, 0), mask=np.ones((3, 4), bool))
    for shape in ((4, 4), (4,), (3, 4, 4), (2, 4), (2, 1, 4, 4), (1, 4), (1, 1, 4, 4)):
        assert fs.record("flash2-forward", q, q, q, head=(0, 0), mask=np.ones(shape, bool))


@pytest.mark.parametrize("shape", [(4, 1), (1, 1), (1, 3, 1, 1), (2, 1, 4, 1)])
def test_one_number_may_stand_for_all_keys_of_a_query(shape):
    q, rng = np.random.default_rng(0).standard_normal((2, 3, 4, 2)), np.random.default_rng(1)
    for short in ({"mask": rng.random(shape) < 0.6}, {"bias": rng.standard_normal(shape)}):
        whole = {name: np.broadcast_to(array, (2, 3, 4, 4)) for name, array in short.items()}
        found, own = (fs.record("flash2-forward", q, q, q, head=(1, 2), **how).outputs["O"] for how in (short, whole))
        np.testing.assert_array_equal(found, own)


def test_a_masked_array_is_refused_where_it_masks_something():
    q = np.random.default_rng(0).standard_normal((4, 2))
    masked = np.ma.masked_greater(q, 0.5)
    with pytest.raises(
        ValueError, match=r"^k is a masked array, and nothing here leaves numbers out: give k.filled\(0\)"
    ):
        fs.record("flash2-forward", q, masked, q)
    with pytest.raises(ValueError, match=r"^bias is a masked array, .*: give bias.filled\(0\)"):
        fs.record("flash2-forward", q, q, q, bias=np.ma.masked_greater(q @ q.T, 0.5))
    for fit in (masked.filled(0), np.ma.array(q)):
        assert fs.record("flash2-forward", q, fit, q)


def test_hugging_faces_padding_from_the_left():
    """As its tokenizers give it, int64 (1, M), left-padded: the keys that are padding weigh nothing."""
    problem = Problem("flash2-forward", 6, 6, 4, 2, 2, dtype="float64")
    padding = np.array([[0, 0, 1, 1, 1, 1]])
    q, k, v = problem.inputs()
    found = fs.record("flash2-forward", q, k, v, mask=padding, dtype="float64")
    own = fs.record("flash2-forward", q, k[2:], v[2:], dtype="float64")
    np.testing.assert_allclose(found.outputs["O"], own.outputs["O"], rtol=1e-12)


@pytest.mark.parametrize(("bias", "name"), [(causal_upper_left, "causal-top-left"), (causal_lower_right, "causal")])
def test_torchs_causal_biases_are_masks_by_name(bias, name):
    """No number lies in such a tensor, only in which corner it begins."""
    assert masks.parse(bias(4, 7), 4, 7) == masks.parse(name, 4, 7)
    with pytest.raises(ValueError, match=r"^mask is a CausalBias of 4 queries and 7 keys, not 5 and 7$"):
        masks.parse(bias(4, 7), 5, 7)
    q, k = np.ones((4, 2)), np.ones((7, 2))
    with pytest.raises(ValueError, match=r"^bias is torch's CausalBias, which holds no numbers: give it as mask=$"):
        fs.record("flash2-forward", q, k, k, bias=bias(4, 7))


def test_what_flex_attention_takes_is_refused_with_what_makes_an_array_of_it():
    def causal(b, h, i, j):
        return i >= j

    block = create_block_mask(causal, None, None, 8, 8, device="cpu", BLOCK_SIZE=4)
    x = np.random.default_rng(0).standard_normal((8, 2))
    sizes: dict[str, Any] = {"block_q": 4, "block_k": 4}
    for given_mask, mod in ((causal, "mask_mod"), (block, "block_mask.mask_mod")):
        with pytest.raises(ValueError, match=rf"\.create_mask\({mod}, 1, 1, queries, keys, device='cpu'\)$"):
            fs.record("flash2-forward", x, x, x, mask=given_mask)
    instead = create_mask(block.mask_mod, 1, 1, 8, 8, device="cpu")
    expected = fs.record("flash2-forward", x, x, x, mask="causal", **sizes).outputs["O"]
    assert (fs.record("flash2-forward", x, x, x, mask=instead, **sizes).outputs["O"] == expected).all()
    with pytest.raises(ValueError, match=r"^block_mask is a .*, block_mask.to_dense\(\)\[0, 0\].bool\(\)$"):
        fs.record("block-sparse-forward", x, x, x, mask="causal", block_mask=block, **sizes)
    tiles = block.to_dense()[0, 0].bool()
    O = fs.record("block-sparse-forward", x, x, x, mask="causal", block_mask=tiles, **sizes).outputs["O"]
    np.testing.assert_allclose(O, expected, atol=1e-6)
