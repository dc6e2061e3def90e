"""Which tiles a block mask has; keys in pieces and in pages give what keys in one piece give."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import Tile
from flashsteps.machine import block_masks, masks
from tests.problems import DECODE, SPARSE, Problem, attention, problems


def tiles(name: object, rows: int, columns: int) -> list[str]:
    found = block_masks.parse(name, masks.parse(None, rows, columns), 1, 1).visited
    return ["".join("01"[x] for x in row) for row in found.astype(int)]


@pytest.mark.parametrize(
    ("name", "shape", "rows"),
    [
        ("butterfly", (4, 4), ["1110", "1101", "1011", "0111"]),
        ("butterfly", (1, 3), ["111"]),
        ("butterfly", (5, 5), ["11101", "11010", "10110", "01110", "10001"]),
        ("local:0", (3, 3), ["100", "010", "001"]),
        ("local:1", (3, 3), ["110", "111", "011"]),
        ("local:0", (2, 4), ["1100", "0011"]),
        ("strided:2", (4, 4), ["1010", "0101", "1010", "0101"]),
        ("strided:1", (2, 3), ["111", "111"]),
        ("random:1,7", (2, 2), ["11", "11"]),
    ],
)
def test_a_pattern_has_these_tiles(name, shape, rows):
    assert tiles(name, *shape) == rows


@given(st.integers(1, 40))
def test_a_butterfly_has_log_n_tiles_a_row(log):
    n = 1 << log % 7
    assert {row.count("1") for row in tiles("butterfly", n, n)} == {1 + log % 7}


def test_random_tiles_come_from_the_seed_alone():
    assert tiles("random:.5,3", 20, 20) == tiles("random:0.5,3", 20, 20) != tiles("random:0.5,4", 20, 20)
    density = sum(row.count("1") for row in tiles("random:0.25,0", 200, 200)) / 200**2
    assert density == pytest.approx(0.25, abs=0.01)


@given(problems(("block-sparse-forward",)))
@settings(deadline=None)
def test_tiles_are_loaded_where_the_block_mask_has_them_and_keys_for_every_block(problem):
    trace = problem.record()
    blocks = -(-problem.n_keys // problem.block_k)
    assert sum(event.op == "load" and event.slot == "k" for event in trace) == blocks
    found = [(event.loop["i"], event.loop["j"]) for event in trace if event.op == "load" and event.slot == "q"]
    assert len(found) == len(set(found))
    expected = {(i.start // problem.block_q, j.start // problem.block_k) for i, j in problem.tiles()}
    assert set(found) == expected


@given(problems(("flash2-block-sparse-forward",)))
@settings(deadline=None)
def test_a_list_says_which_tiles_come_next(problem):
    """Each program reads where its part of the list begins and ends, and follows it, entry by entry."""
    trace = problem.record()
    starts, columns = (trace.initial[name] for name in ("starts", "columns"))
    expected = sorted({(i.start // problem.block_q, j.start // problem.block_k) for i, j in problem.tiles()})
    listed = [(row, int(columns[n])) for row, (a, b) in enumerate(pairwise(starts)) for n in range(a, b)]
    assert listed == expected
    bounds = [event.tile for event in trace if event.slot == "listed"]
    assert bounds == [Tile("starts", row, row + 2) for row in range(len(starts) - 1)]
    entries = [event for event in trace if event.slot == "column"]
    assert [event.tile.start for event in entries if event.tile] == list(range(len(columns)))
    assert [(event.loop["i"], event.loop["j"]) for event in entries] == expected
    keys = [event.tile.start // problem.block_k for event in trace if event.op == "load" and event.slot == "k"]
    assert keys == columns.tolist()


@given(problems(("flash2-block-sparse-forward",), dtype_names=("float64",)))
@settings(deadline=None)
def test_either_order_gives_the_same(problem):
    ours = problem.record().outputs
    theirs = Problem(**vars(problem) | {"algorithm": "block-sparse-forward"}).record().outputs
    for name, found in ours.items():
        np.testing.assert_allclose(found, theirs[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("algorithm", SPARSE)
@pytest.mark.parametrize("ending", ["array", "npy", "npz"])
def test_a_block_mask_may_be_an_array_or_a_file(ending, algorithm, tmp_path):
    grid = np.array([[True, False], [False, True], [True, True]])
    np.save(tmp_path / "m.npy", grid)
    np.savez(tmp_path / "m.npz", m=grid)
    given_mask = grid if ending == "array" else f"file:{tmp_path}/m.{ending}"
    q, k = np.ones((5, 2)), np.ones((4, 2))
    trace = fs.record(algorithm, q, k, k, block_mask=given_mask, block_q=2, block_k=2)
    assert {(e.loop["i"], e.loop["j"]) for e in trace if e.slot == "P"} == {(0, 0), (1, 1), (2, 0), (2, 1)}
    assert trace.meta["block_mask"] == ("array" if ending == "array" else f"file:m.{ending}")
    assert fs.count(algorithm, n=5, n_keys=4, d=2, block_mask=given_mask, block_q=2, block_k=2) == trace.io()


@pytest.mark.parametrize(
    ("given_mask", "said"),
    [
        (
            None,
            "a block-sparse run needs block_mask: butterfly, local:W, strided:S, random:DENSITY,SEED, file:PATH, or",
        ),
        ("buterfly", "unknown block mask 'buterfly': did you mean 'butterfly'? known are "),
        ("local:-1", "block mask 'local:-1' makes no sense: W is 0 or more, "),
        ("strided:0", "block mask 'strided:0' makes no sense"),
        ("random:1.5,0", "block mask 'random:1.5,0' makes no sense"),
        ("random:0,0", "block mask 'random:0,0' makes no sense"),
        ("butterfly:2", "block mask 'butterfly:2' makes no sense"),
        (np.ones((2, 3), bool), "block_mask has shape (2, 3): query blocks × key blocks are (2, 2)"),
        (np.ones((2, 2)), "block_mask holds float64: give True"),
    ],
)
def test_a_block_mask_that_makes_no_sense_is_refused(given_mask, said):
    q = np.ones((4, 2))
    for run in (
        lambda: fs.record(SPARSE[0], q, q, q, block_q=2, block_k=2, block_mask=given_mask),
        lambda: fs.count(SPARSE[0], n=4, d=2, block_q=2, block_k=2, block_mask=given_mask),
    ):
        with pytest.raises(ValueError, match="block") as error:
            run()
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


# ---- decoding


@given(problems(("split-kv-decode",), largest=40), st.integers(1, 50))
@settings(deadline=None)
def test_there_are_as_many_pieces_as_ceil_division_makes(problem, splits):
    trace = Problem(**vars(problem) | {"splits": splits}).record()
    blocks = -(-problem.n_keys // min(problem.block_k, problem.n_keys))
    pieces = -(-blocks // -(-blocks // splits))
    assert pieces <= splits
    assert trace.initial["O_s"].shape == (pieces * problem.n, problem.d)
    assert trace.initial["O_s"].dtype == trace.meta["computing"]
    d, size = problem.d, np.dtype(trace.meta["computing"]).itemsize
    moved = trace.io().by_tensor
    extra = sum(sum(moved[name]) for name in ("O_s", "LSE_s"))
    assert extra == 2 * pieces * problem.n * (d + 1) * size
    assert moved["Q"].read == pieces * problem.n * d * trace.initial["Q"].dtype.itemsize


@given(problems(("split-kv-decode",)))
@settings(deadline=None)
def test_each_piece_is_attention_over_its_own_keys(problem):
    problem = Problem(**vars(problem) | {"dtype": "float64"})
    trace = problem.record()
    hbm = trace.at(len(trace) - 1).hbm
    q, k, v = problem.inputs()
    block_k = min(problem.block_k, problem.n_keys)
    blocks = -(-problem.n_keys // block_k)
    size = -(-blocks // problem.splits) * block_k
    for s in range(-(-problem.n_keys // size)):
        kept = problem.kept() & ((np.arange(problem.n_keys) // size) == s)
        alone = fs.record("standard-forward", q, k, v, mask=kept, dtype="float64").outputs
        rows = slice(s * problem.n, (s + 1) * problem.n)
        np.testing.assert_allclose(hbm["O_s"][rows], alone["O"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(hbm["LSE_s"][rows], alone["LSE"], rtol=1e-12, atol=1e-12)


@given(problems(("paged-decode",), largest=60), st.integers(0, 99))
@settings(deadline=None)
def test_pages_may_lie_anywhere(problem, seed):
    """Wherever they lie, the same comes out; and each page is read where the table says, with the rows in use alone."""
    problem = Problem(**vars(problem) | {"dtype": "float64", "mask": None})
    trace = problem.record(seed=seed)
    np.testing.assert_allclose(trace.outputs["O"], attention(problem)[0], rtol=0, atol=1e-12)
    page = trace.meta["block_k"]
    for event in trace:
        if event.op == "load" and event.slot in "kv":
            j = event.loop["j"]
            start = int(trace.initial["table"][j]) * page
            assert (event.tile.start, event.tile.stop) == (start, start + min(page, problem.n_keys - j * page))


def test_a_table_may_be_given_and_pages_are_of_16_unless_told_otherwise():
    q, k, v = Problem("paged-decode", 1, 40, 4, 1, 16).inputs()
    trace = fs.record("paged-decode", q, k, v, table=[5, 0, 2])
    assert [str(event.tile) for event in trace if event.slot == "k"] == ["K[80:96]", "K[0:16]", "K[32:40]"]
    assert trace.io().by_tensor["table"] == (3 * 4, 0)
    assert trace.io() == fs.count("paged-decode", n=1, n_keys=40, d=4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": [0, 1, 6]}, "table points to page 6, outside the pool: give pages from 0 to 5"),
        ({"table": [0, 1, -1]}, "table points to page -1, outside the pool"),
        ({"table": [0, 1]}, "table has int64 (2,): give whole numbers (3,), a page for each 16 keys"),
        ({"table": [0, 1, 2.5]}, "table has float64 (3,): give whole numbers"),
        ({"table": [0, 1, 1]}, "table names a page twice"),
        ({"table": [[0], [1, 2]]}, "table is no array ("),
        ({"table": [0, 1, 2], "seed": 1}, "table and seed=1 both say where pages lie: give one of them"),
        ({"seed": -1}, "seed is -1: give a whole number, 0 or more"),
        ({"splits": 2}, "paged-decode takes no splits: leave it out, or use split-kv-decode"),
        ({"block_mask": "local:1"}, "paged-decode takes no block_mask: leave it out, or use block-sparse-forward"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    q, k, v = Problem("paged-decode", 1, 40, 4, 1, 16).inputs()
    with pytest.raises(ValueError, match="^") as error:
        fs.record("paged-decode", q, k, v, **options)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("splits", [0, -1, 1.5, True])
def test_splits_are_1_or_more(splits):
    with pytest.raises(ValueError, match=r"^splits is .*: give a whole number, 1 or more$"):
        fs.count("split-kv-decode", n=1, n_keys=9, d=2, splits=splits)


@pytest.mark.parametrize("algorithm", DECODE)
def test_decoding_n_keys_is_one_query_that_looks_at_them(algorithm):
    assert fs.count(algorithm, n=64, d=8) == fs.count(algorithm, n=1, n_keys=64, d=8)
    assert fs.count(algorithm, n=64, d=8) != fs.count(algorithm, n=64, n_keys=64, d=8)


# ---- a pool of one's own


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.booleans(), st.data())
@settings(deadline=None)
def test_a_pool_of_ones_own_is_read_where_its_table_says(kv_heads, group, page, pages, as_torch, data):
    """As flash-attn has it, (pages, page, kv_heads, d), or of one head; what others hold in it is not looked at."""
    rng = np.random.default_rng(page)
    there = data.draw(st.permutations(range(pages + 2)))[:pages]
    n_keys = data.draw(st.integers(1, pages * page))
    one = kv_heads == group == 1 and data.draw(st.booleans())
    q = rng.standard_normal((1, 4) if one else (kv_heads * group, 1, 4))
    k, v = (rng.standard_normal((pages + 2, page, *(() if one else (kv_heads,)), width)) for width in (4, 3))
    k[sorted(set(range(pages + 2)) - set(there))] = np.nan
    held = [x[there].reshape(-1, *x.shape[2:])[:n_keys] for x in (k, v)]
    plain = held if one else [x.swapaxes(0, 1) for x in held]
    given_ = [torch.from_numpy(x) for x in (k, v)] if as_torch else (k, v)
    table = np.array([[*there, -1]]) if data.draw(st.booleans()) and n_keys <= pages * page else there
    trace = fs.record("paged-decode", q, *given_, table=table, n_keys=n_keys, dtype="float64")
    expected = fs.record("standard-forward", q, *plain, dtype="float64").outputs
    for name in expected:
        np.testing.assert_allclose(trace.outputs[name], expected[name], rtol=1e-12, atol=1e-12)
    sizes = {"n": 1, "n_keys": n_keys, "d": 4, "d_v": 3, "block_k": page, "heads": kv_heads * group}
    assert trace.io() == fs.count("paged-decode", **sizes, kv_heads=kv_heads, dtype="float64")
    loaded = [event.tile for event in trace if event.slot == "k" and not event.loop.get("h")]
    assert [tile.start // page for tile in loaded if tile] == there[: -(-n_keys // page)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": [9]}, "table points to page 9, outside the pool: give pages from 0 to 8"),
        ({"table": [1, 1]}, "table names a page twice"),
        ({}, "k has shape (9, 16, 2), a pool of pages: give table, too, the pages of this sequence in order"),
        ({"table": [1], "n_keys": 17}, "n_keys is 17: the table's pages, 1 of 16 keys, hold 1 to 16"),
        ({"table": [1], "n_keys": 0}, "n_keys is 0: give a whole number, 1 or more"),
        ({"table": [1], "block_k": 8}, "block_k is 8, and the pool has pages of 16: leave it out"),
        ({"table": [1.5]}, "table has float64 (1,): give whole numbers (1,)"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(options, said):
    pool = np.ones((9, 16, 2))
    with pytest.raises(ValueError, match="^") as error:
        fs.record("paged-decode", np.ones((1, 2)), pool, pool, **options)
    assert str(error.value).startswith(said)
    with pytest.raises(ValueError, match=r"^n_keys=5 is for a pool of pages: leave it out, or give mask='keys:5'$"):
        fs.record("paged-decode", np.ones((1, 2)), pool[0], pool[0], n_keys=5)


def test_a_run_from_a_pool_is_saved(tmp_path):
    pool = np.ones((3, 16, 2))
    trace = fs.record("paged-decode", np.ones((1, 2)), pool, pool, table=[1], n_keys=5)
    trace.save(tmp_path / "t.npz")
    assert fs.load(tmp_path / "t.npz") == trace
    assert (trace.meta["pool"], trace.initial["K"].shape) == (3, (48, 2))
