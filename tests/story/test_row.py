"""One query's row: what is held after each tile is softmax's sums of what was seen, and parts merge in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import flashsteps as fs
from flashsteps.story.row import Sum, held, moving_most


def sums(S, V):
    """Another way to them: all at once, in float64."""
    P = np.exp(S.astype(np.float64) - S.max())
    return float(S.max()), P.sum(), P @ V


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_what_is_held_is_what_was_seen_so_far(n, m, block_q, block_k, seed):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(rows, 4)).astype(np.float32) for rows in (n, m, m))
    run = fs.record("flash2-forward", q, k, v, block_q=block_q, block_k=block_k, dtype="float32")
    query = moving_most(run)
    seen = np.zeros(0, np.float32)
    for tile in held(run, query):
        assert (tile.start, tile.stop) == (len(seen), min(len(seen) + block_k, m))
        seen = np.append(seen, np.array(tile.S, np.float32))
        assert seen == pytest.approx((q[query] @ k.T / 2)[: len(seen)], abs=1e-4)
        largest, total, acc = sums(seen, v[: len(seen)])
        assert tile.m == pytest.approx(largest)
        assert tile.l == pytest.approx(total, rel=1e-4)
        assert tile.acc == pytest.approx(acc, abs=1e-3)
    assert len(seen) == m


def test_the_sample_s_query_is_cross_whose_max_street_moves():
    qkv = fs.load_qkv("sample")
    tokens, run = qkv.tokens or (), fs.record("flash2-forward", *qkv, block_q=4, block_k=4)
    query = moving_most(run)
    tile = held(run, query)[2]
    assert tokens[query] == "cross"
    assert tokens[tile.start + int(np.argmax(tile.S))] == "street"
    assert tile.alpha == pytest.approx(0.365, abs=1e-3)


ROWS = arrays.arrays(np.float32, st.integers(2, 9), elements=st.floats(-8, 8, width=32))


@settings(max_examples=25)
@given(ROWS, st.integers(1, 8), st.integers(0, 9))
def test_two_parts_in_either_order_are_the_whole(S, cut, seed):
    cut = min(cut, len(S) - 1)
    V = np.random.default_rng(seed).normal(size=(len(S), 3)).astype(np.float32)
    one, two, whole = Sum.of(S[:cut], V[:cut]), Sum.of(S[cut:], V[cut:]), sums(S, V)
    for merged in (one.merged(two), two.merged(one), Sum.of(S, V)):
        assert merged.m == whole[0]
        assert float(merged.l) == pytest.approx(whole[1], rel=1e-5)
        assert merged.acc == pytest.approx(whole[2], abs=1e-4)
