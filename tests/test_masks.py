"""Masks: what a query sees, and that tiles are sorted as if each had been looked at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import masks
from flashsteps.memory import Block, Blocks
from tests.problems import Problem

size = st.integers(1, 30)
mask = st.builds(masks.Mask, st.booleans(), size, size)


def seen(mask: masks.Mask) -> np.ndarray:
    return mask.keep(slice(0, mask.n_queries), slice(0, mask.n_keys))


def looked_at(mask: masks.Mask, i: Block, j: Block) -> dict[str, int]:
    """Each of the tiles that two runs of blocks stand for, sorted by what is in it."""
    kept, found = seen(mask), {"full": 0, "cut": 0, "hidden": 0}
    for row in range(i.start, i.start + i.times * len(i), len(i)):
        for col in range(j.start, j.start + j.times * len(j), len(j)):
            tile = kept[row : row + len(i), col : col + len(j)]
            found["full" if tile.all() else "cut" if tile.any() else "hidden"] += 1
    return found


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((2, 5), ["11110", "11111"]),
        ((5, 2), ["00", "00", "00", "10", "11"]),
        ((3, 3), ["100", "110", "111"]),
    ],
)
def test_causal_is_aligned_to_the_bottom_right(shape, rows):
    kept = seen(masks.parse("causal", *shape))
    assert ["".join("01"[x] for x in row) for row in kept.astype(int)] == rows


@given(size, size)
def test_causal_keeps_the_lower_triangle_that_ends_in_the_last_corner(n, n_keys):
    expected = [[key <= query + n_keys - n for key in range(n_keys)] for query in range(n)]
    np.testing.assert_array_equal(seen(masks.parse("causal", n, n_keys)), expected)


@pytest.mark.parametrize("name", [None, "none"])
def test_without_a_mask_all_is_seen(name):
    assert seen(masks.parse(name, 3, 4)).all()


def test_none_and_its_name_are_the_same():
    problem = Problem("flash-forward", 5, 6, 2, 2, 2)
    assert fs.record(problem.algorithm, *problem.inputs(), mask="none") == fs.record(
        problem.algorithm, *problem.inputs()
    )
    assert fs.count(problem.algorithm, n=5, d=2, mask="none") == fs.count(problem.algorithm, n=5, d=2)


@given(mask, st.data())
def test_the_bias_of_a_tile_is_0_where_seen_and_minus_infinity_elsewhere(mask, data):
    rows = sorted(data.draw(st.tuples(st.integers(0, mask.n_queries), st.integers(0, mask.n_queries))))
    keys = sorted(data.draw(st.tuples(st.integers(0, mask.n_keys), st.integers(0, mask.n_keys))))
    bias = mask.bias(slice(*rows), slice(*keys))
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, np.where(seen(mask)[slice(*rows), slice(*keys)], 0, -np.inf))


@given(mask, size, size)
def test_runs_of_tiles_are_sorted_as_if_each_had_been_looked_at(mask, block_q, block_k):
    rows, cols = Blocks(mask.n_queries, block_q), Blocks(mask.n_keys, block_k)
    for of_rows, of_cols in (
        (rows.runs, cols.runs),
        (rows.each, cols.runs),
        (rows.runs, cols.each),
        (rows.each, cols.each),
    ):
        for i in of_rows():
            for j in of_cols():
                assert mask.kinds(i, j) == mask.row(i).kinds(j) == mask.column(j).kinds(i) == looked_at(mask, i, j)


@given(size, size)
def test_runs_of_blocks_are_the_blocks_and_the_first_stands_alone(n, block):
    blocks = Blocks(n, min(block, n))
    apart = [
        (run.start + k * len(run), run.stop + k * len(run), run.index + k)
        for run in blocks.runs()
        for k in range(run.times)
    ]
    assert apart == [(block.start, block.stop, block.index) for block in blocks.each()]
    assert next(iter(blocks.runs())).times == 1
    assert len(list(blocks.runs())) <= 3


def test_an_unknown_mask_is_refused():
    with pytest.raises(ValueError, match=r"^unknown mask 'top-left': known are none, causal$"):
        masks.parse("top-left", 2, 2)
