"""Masks: what a query sees, and that tiles are sorted as if each had been looked at."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine import masks
from flashsteps.machine.tiling import Block, Blocks
from tests.problems import ALL, Problem, brute_force, mask_names

size = st.integers(1, 30)


@st.composite
def mask(draw) -> masks.Mask:
    n, n_keys = draw(size), draw(size)
    n_keys = draw(st.sampled_from((n, n_keys)))
    return masks.parse(draw(mask_names(n, n_keys)), n, n_keys)


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
    ("name", "shape", "rows"),
    [
        ("causal", (2, 5), ["11110", "11111"]),
        ("causal", (5, 2), ["00", "00", "00", "10", "11"]),
        ("causal", (3, 3), ["100", "110", "111"]),
        ("window:1,0", (4, 4), ["1000", "1100", "0110", "0011"]),
        ("window:0,1", (2, 4), ["0011", "0001"]),
        ("window:-1,0", (3, 3), ["100", "110", "111"]),
        ("window:0,-1", (3, 3), ["111", "011", "001"]),
        ("window:1,1", (5, 2), ["00", "00", "10", "11", "11"]),
        ("prefix:2", (4, 4), ["1100", "1100", "1110", "1111"]),
        ("prefix:1", (4, 2), ["10", "10", "10", "11"]),
        ("document:2,1,2", (5, 5), ["11000", "11000", "00100", "00011", "00011"]),
        ("document:2,0,2,0", (4, 4), ["1100", "1100", "0011", "0011"]),
        ("cu_seqlens:0,0,2,2,4", (4, 4), ["1100", "1100", "0011", "0011"]),
        ("document:2,3+causal", (5, 5), ["10000", "11000", "00100", "00110", "00111"]),
        ("prefix:3+window:1,-1", (4, 4), ["1110", "1110", "0110", "0011"]),
        ("none+causal", (2, 2), ["10", "11"]),
        ("causal-top-left", (2, 5), ["10000", "11000"]),
        ("causal-top-left", (4, 2), ["10", "11", "11", "11"]),
        ("causal-top-left+window:0,-1", (2, 4), ["0000", "0000"]),
        ("keys:3", (2, 5), ["11100", "11100"]),
        ("keys:3+causal", (2, 5), ["11000", "11100"]),
        ("cu_seqlens:0,2,3,5", (5, 5), ["11000", "11000", "00100", "00011", "00011"]),
        (np.array([False, True, True]), (2, 3), ["011", "011"]),
        (np.array([[0, 0, 1, 1]]), (3, 4), ["0011", "0011", "0011"]),
    ],
)
def test_a_mask_sees_this(name, shape, rows):
    kept = seen(masks.parse(name, *shape))
    assert ["".join("01"[x] for x in row) for row in kept.astype(int)] == rows


@given(size, size, st.data())
def test_each_rule_is_what_its_definition_says_key_by_key(n, n_keys, data):
    name = data.draw(mask_names(n, n_keys))
    np.testing.assert_array_equal(seen(masks.parse(name, n, n_keys)), brute_force(name, n, n_keys))


@pytest.mark.parametrize("name", [None, "none"])
def test_without_a_mask_all_is_seen(name):
    assert seen(masks.parse(name, 3, 4)).all()
    assert masks.parse(name, 3, 4).name is None


def test_none_and_its_name_are_the_same():
    problem = Problem("flash-forward", 5, 6, 2, 2, 2)
    assert fs.record(problem.algorithm, *problem.inputs(), mask="none") == fs.record(
        problem.algorithm, *problem.inputs()
    )
    assert fs.count(problem.algorithm, n=5, d=2, mask="none") == fs.count(problem.algorithm, n=5, d=2)


@given(mask(), st.data())
def test_the_bias_of_a_tile_is_0_where_seen_and_minus_infinity_elsewhere(mask, data):
    rows = sorted(data.draw(st.tuples(st.integers(0, mask.n_queries), st.integers(0, mask.n_queries))))
    keys = sorted(data.draw(st.tuples(st.integers(0, mask.n_keys), st.integers(0, mask.n_keys))))
    bias = mask.bias(slice(*rows), slice(*keys))
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, np.where(seen(mask)[slice(*rows), slice(*keys)], 0, -np.inf))


@given(mask(), size, size)
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


@given(mask(), size, size, st.booleans(), st.booleans())
def test_all_tiles_at_once_are_sorted_as_one_by_one(mask, block_q, block_k, as_matrix, sloped):
    if as_matrix:
        mask = masks.parse(seen(mask), mask.n_queries, mask.n_keys)
    grid = replace(mask, slopes=(0.5,) if sloped else ()).grid(block_q, block_k)
    for i in Blocks(mask.n_queries, block_q).each():
        for j in Blocks(mask.n_keys, block_k).each():
            kind = next(kind for kind, tiles in looked_at(mask, i, j).items() if tiles)
            assert grid[i.index, j.index] == {"full": 1 if sloped else 2, "cut": 1, "hidden": 0}[kind]


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


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_matrix_is_any_mask(n, n_keys, block_q, block_k, data):
    matrix = np.array(data.draw(st.lists(st.booleans(), min_size=n * n_keys, max_size=n * n_keys))).reshape(n, n_keys)
    for algorithm in ("standard-forward", "flash-forward", "flash2-forward"):
        problem = Problem(algorithm, n, n_keys, 2, block_q, block_k)
        q, k, v = problem.inputs()
        options = {"block_q": block_q, "block_k": block_k, "mask": matrix}
        trace = fs.record(algorithm, q, k, v, **options)
        assert trace.meta["mask"] == "array"
        assert fs.count(algorithm, n=n, n_keys=n_keys, d=2, **options) == trace.io()
        assert (trace.outputs["LSE"] == -np.inf).tolist() == (~matrix.any(axis=1)).tolist()
        assert (trace.outputs["O"][~matrix.any(axis=1)] == 0).all()


@pytest.mark.parametrize("algorithm", ["standard-forward", "flash-forward", "flash2-forward"])
def test_a_rule_and_its_matrix_give_the_same(algorithm):
    q, k, v = Problem(algorithm, 9, 7, 3, 2, 2).inputs()
    rule, matrix = (
        fs.record(algorithm, q, k, v, block_q=2, block_k=3, mask=mask)
        for mask in ("prefix:3+window:4,2", brute_force("prefix:3+window:4,2", 9, 7))
    )
    assert rule.events == matrix.events
    np.testing.assert_array_equal(rule.outputs["O"], matrix.outputs["O"])


def test_a_matrix_may_lie_in_a_file_and_be_joined_with_rules(tmp_path):
    kept = np.eye(4, dtype=bool)[::-1]
    np.save(tmp_path / "m.npy", kept)
    np.savez(tmp_path / "m.npz", whatever=kept)
    for name in ("m.npy", "m.npz"):
        mask = masks.parse(f"file:{tmp_path / name}+causal", 4, 4)
        np.testing.assert_array_equal(seen(mask), kept & brute_force("causal", 4, 4))
        assert mask.name == f"file:{name}+causal"  # no word of the folder


@pytest.mark.parametrize("algorithm", ALL)
def test_a_trace_keeps_its_masks_name(algorithm, tmp_path):
    for mask in ("window:2,1+causal", np.eye(4, dtype=bool)):
        trace = Problem(algorithm, 4, 4, 2, 2, 2, mask=mask).record()  # type: ignore[arg-type]
        trace.save(tmp_path / "t.npz")
        assert fs.load(tmp_path / "t.npz") == trace


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("top-left", "unknown mask 'top-left': did you mean 'causal-top-left'? known are none, causal, "),
        ("keys:7", "mask 'keys:7': there are 6 keys, give a LENGTH from 1 to 6"),
        ("keys:", "mask 'keys:' is not of the form keys:LENGTH: give how many of the first keys are there"),
        ("keys:4+prefix:5", "mask 'prefix:5': there are 4 keys"),
        ("cu_seqlens:0", "mask 'cu_seqlens:0' is not of the form cu_seqlens:0,END,END,…"),
        ("cu_seqlens:1,6", "mask 'cu_seqlens:1,6' begins with 1: give 0, and where each packed sequence ends"),
        ("cu_seqlens:0,4,3,6", "mask 'cu_seqlens:0,4,3,6': its ends fall: give where each sequence ends"),
        ("causal+windw:1,2", "unknown mask 'windw:1,2': did you mean 'window:LEFT,RIGHT'? known are none, "),
        ("", "unknown mask '': known are none"),
        ("window:3", "mask 'window:3' is not of the form window:LEFT,RIGHT: give keys to the left and right"),
        ("window:-2,0", "mask 'window:-2,0' has the wrong sign: LEFT and RIGHT are 0 or more, or -1 for no bound"),
        ("prefix:0", "mask 'prefix:0': there are 6 keys, give a LENGTH from 1 to 6"),
        ("prefix:7", "mask 'prefix:7': there are 6 keys"),
        ("document:2,3", "mask 'document:2,3': its lengths add up to 5, not to N = 6"),
        ("document:7,-1", "mask 'document:7,-1': its lengths are 0 or more"),
        ("document:0,0", "mask 'document:0,0': its lengths add up to 0, not to N = 6"),
        ("document:", "mask 'document:' is not of the form document:LEN,LEN,…"),
        ("causal:2", "mask 'causal:2' takes no number"),
        ("file:", "mask 'file:' names no file"),
        ("file:/no/such.npy", "'/no/such.npy' cannot be read: No such file or directory"),
        ("file:a.txt", "'a.txt' cannot be read: "),
        (np.ones((6, 5), bool), "mask has shape (6, 5): give queries × keys, (6, 6), or keys, (6,); an axis of length"),
        (np.ones((2, 6, 6), bool), "mask has shape (2, 6, 6): give queries × keys, (6, 6), or keys, (6,); an axis"),
        (
            np.ones((6, 6), np.float32),
            "mask holds floats that are all 0 or 1, to add or to choose by: give Booleans, or bias=",
        ),
        (np.full((6, 6), 2), "mask holds int64 from 2 to 2: give 1 for seen, else 0"),
        (np.where(np.eye(6), np.nan, 0), "mask[0, 0] is nan: give finite numbers, or -inf where a key is hidden"),
        ([["a", None]], "mask "),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused_in_one_line(mask, said):
    for run in (
        lambda: fs.count("flash2-forward", n=6, d=2, mask=mask),
        lambda: fs.record("flash2-forward", *np.ones((3, 6, 2)), mask=mask),
    ):
        with pytest.raises(ValueError, match="^['mu]") as error:
            run()
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


def test_documents_are_of_as_many_queries_as_keys():
    with pytest.raises(ValueError, match=r"^mask 'document:2' is for as many queries as keys, not 2 and 3$"):
        masks.parse("document:2", 2, 3)


def test_a_file_is_only_data(tmp_path):
    np.save(tmp_path / "o.npy", np.array([[{}]]), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.ones(1), b=np.ones(1))
    for name, said in (("o.npy", "cannot be read"), ("two.npz", "it holds 2 arrays: one is needed")):
        with pytest.raises(ValueError, match=said):
            masks.parse(f"file:{tmp_path / name}", 1, 1)


@pytest.mark.parametrize("name", ["window:4096,0", "prefix:1000", "document:" + ",".join(["4096"] * 256) + "+causal"])
def test_a_million_rows_are_sorted_by_arithmetic(name):
    mask = masks.parse(name, 1 << 20, 1 << 20)
    runs = list(Blocks(1 << 20, 100).runs())
    kinds = [mask.kinds(i, j) for i in runs for j in runs]
    assert sum(sum(kind.values()) for kind in kinds) == (-(-(1 << 20) // 100)) ** 2
    row = Blocks(1 << 20, 100)
    some = [i for i in row.each() if i.index % 1000 == 7]
    for i in some:  # each block of queries alone, against its two rows
        first, stop = mask.first.line(i.start)[0], mask.stop.line(i.stop - 1)[0]
        touched = len({key // 100 for key in (*range(first, stop, 100), stop - 1)})
        assert sum(sum(mask.kinds(i, j).values()) - mask.kinds(i, j)["hidden"] for j in runs) == touched
