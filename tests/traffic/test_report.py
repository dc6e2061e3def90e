"""Reports: rows of counts, footprints and bounds; and which tiles fit on a GPU."""

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.inputs.types import STORAGE
from flashsteps.machine import devices, dtypes
from flashsteps.trace import rules
from flashsteps.traffic import blocks, footprint, formulas, report, standard
from tests.problems import BACKWARD, DECODE, PLAIN, Problem, problems

MASKS = (None, "causal", "window:2,-1", "prefix:1+causal")
FORWARD = ("standard-forward", "flash-forward", "flash2-forward")
WIDTHS = st.none() | st.integers(1, 12)


def one(name: str = "flash2-forward", n: int = 256, **options) -> report.Row:
    (row,) = report.rows([name], [n], **options)
    return row


@given(
    problems(report.default_algorithms(), largest=40, masks=MASKS),
    st.sampled_from(tuple(devices.DEVICES)),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 3),
    WIDTHS,
)
def test_a_row_is_what_is_counted_and_allocated_for_all_heads(problem, device, batch, kv_heads, group, d_v):
    problem = replace(problem, n_keys=problem.n, d_v=d_v)
    several = {"batch": batch, "heads": kv_heads * group, "kv_heads": kv_heads}
    row = one(problem.algorithm, problem.n, d=problem.d, d_v=d_v, device=device, **several, **problem.options())
    io = problem.count(heads=group, kv_heads=1)
    held = footprint.footprint(problem.algorithm, **problem.sizes(), heads=group, kv_heads=1, **problem.options())
    times, gpu = batch * kv_heads, devices.DEVICES[device]
    assert (row.read, row.written, row.total) == (io.read * times, io.written * times, io.total * times)
    assert (row.matmul, row.exp, row.other) == tuple(work * times for work in io.work)
    assert row.footprint == held.total * times
    assert (row.shared, row.registers) == (io.peak.shared, io.peak.registers)
    assert row.intensity * io.total == pytest.approx(io.work.matmul)
    seconds = {"bandwidth": row.total / gpu.bandwidth / 1e12, "peak": row.matmul / gpu.tflops / 1e12}
    assert row.bound_seconds == pytest.approx(max(seconds.values()))
    assert seconds[row.bound_by] == max(seconds.values())
    assert (row.block_q, row.block_k) == (min(problem.block_q, problem.n), min(problem.block_k, problem.n))


@given(problems(PLAIN + BACKWARD, largest=20, masks=MASKS), WIDTHS)
@settings(deadline=None)
def test_a_row_is_what_a_recorded_run_moved_whatever_the_size_of_values(problem, d_v):
    n = 1 if problem.algorithm in DECODE else problem.n
    mask = problem.mask if n == problem.n else None
    problem = replace(problem, n=n, n_keys=problem.n, d_v=d_v, mask=mask, splits=8)  # a report has the default
    options = {name: value for name, value in problem.options().items() if name != "splits"}
    row, trace = one(problem.algorithm, problem.n_keys, d=problem.d, d_v=d_v, **options), problem.record()
    io, level = trace.io(), standard.beside_run(trace)
    assert (row.d, row.d_v) == (problem.d, problem.width)
    assert (row.read, row.written) == (io.read, io.written)
    assert (row.matmul, row.exp, row.other) == tuple(io.work)
    assert (row.shared, row.registers) == (io.peak.shared, io.peak.registers)
    assert row.ratio == io.total / level.total


@pytest.mark.parametrize(
    ("n", "d", "tile", "ratios"),
    [
        (16, 32, 4, (1, 2.69, 1.68)),  # the bundled sample: at this size both flash algorithms move more
        (16, 8, 4, (1, 1.63, 0.85)),
        (32, 4, 8, (1, 0.67, 0.29)),
        (1 << 20, 64, 128, (1, (6 * 64 + 16) / (8 * 128), 64 / (2 * 128))),  # as N grows, (6d + 16) / 8Bc and d / 2Br
    ],
)
def test_the_ratio_to_standard_is_the_known_one(n, d, tile, ratios):
    found = report.rows(FORWARD, [n], d=d, block_q=tile, block_k=tile)
    assert [row.ratio for row in found] == pytest.approx(ratios, abs=0.005)


@pytest.mark.parametrize("mask", [None, "causal"])
def test_every_algorithm_that_is_reported_by_default_can_be(mask):
    found = report.rows(mask=mask)
    assert {row.algorithm for row in found} == set(report.default_algorithms()) >= set(FORWARD)
    assert [row.keys for row in found] == sorted(n for n in report.SIZES for _ in report.default_algorithms())
    for row in found:
        direction = row.algorithm.rpartition("-")[2]
        level = next(r for r in found if r.keys == row.keys and r.algorithm == f"standard-{direction}")
        assert row.ratio == pytest.approx(row.total / level.total)
        assert (row.training_footprint is not None) == (
            f"{row.algorithm.rpartition('-')[0]}-backward" in algorithms.names()
        )
        assert (row.fits is None) == row.algorithm.startswith("standard-")


def test_a_published_figure_comes_out():
    """FA1, Figure 2, middle: GPT-2 medium, batch 64, 16 heads, N = 1024, d = 64, Bc = 256."""
    row = one("flash-forward", 1024, d=64, block_k=256, rule="fa1-figure-2", batch=64, heads=16)
    assert row.total / 1e9 == pytest.approx(1.745, abs=0.0005)
    standard = one("standard-forward", 1024, d=64, rule="fa1-figure-2", batch=64, heads=16)
    assert (standard.rule, round(standard.total / 1e9, 3)) == ("all", 9.127)
    assert row.ratio == pytest.approx(row.total / standard.total)


def test_a_rule_is_reported_for_the_algorithms_that_it_is_for():
    assert report.default_algorithms("fa1-figure-2") == ("standard-forward", "flash-forward")
    assert set(report.default_algorithms()) >= set(FORWARD)
    with pytest.raises(ValueError, match="is for flash-forward, not for flash2-forward"):
        one("flash2-forward", rule="fa1-figure-2")


def test_what_bounds_a_run_changes_with_the_tile():
    """The roofline's ridge: a wide tile does enough work for each byte."""
    slow, fast = (one(n=1 << 14, block_q=tile, device="a100-80gb") for tile in (16, 512))
    gpu = devices.DEVICES["a100-80gb"]
    ridge = gpu.tflops / gpu.bandwidth
    assert (slow.bound_by, fast.bound_by) == ("bandwidth", "peak")
    assert slow.intensity < ridge < fast.intensity


def test_what_does_not_fit_on_chip_or_in_memory_is_known():
    assert one(block_q=64, block_k=64).fits
    assert not one(n=1024, block_q=512, block_k=512).fits
    found = report.rows(FORWARD, [1 << 13, 1 << 20], device="a100-80gb")
    assert [(row.algorithm, row.keys) for row in report.too_large(found)] == [("standard-forward", 1 << 20)]


def test_every_algorithm_that_there_is_can_be_reported():
    found = report.rows(algorithms.names(), [1 << 16], block_mask="local:2")
    assert [row.algorithm for row in found] == list(algorithms.names())
    assert {row.queries for row in found if row.algorithm.endswith("-decode")} == {1}
    assert next(row for row in found if row.algorithm == "paged-decode").block_k == 16
    for row in found:
        if "sparse" not in row.algorithm:
            plain = one(row.algorithm, 1 << 16)
            assert row == plain


def test_a_block_mask_saves_in_proportion():
    sparse, dense = (one("block-sparse-forward", 1 << 14, block_mask=mask) for mask in ("local:2", "local:1000"))
    assert sparse.total < dense.total / 8
    assert dense.total == one("flash-forward", 1 << 14).total


@pytest.mark.parametrize("name", STORAGE)
def test_wider_numbers_take_more(name):
    assert (
        one(dtype=name).footprint
        == dtypes.storage(name).itemsize * 4 * 256 * 64 + 256 * dtypes.computing(name).itemsize
    )


def test_a_row_is_plain_data():
    row = one(mask="causal")
    assert json.loads(json.dumps(row.data())) == row.data()
    assert report.Row(**row.data()) == row


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": ["flash3-forward"]}, "unknown algorithm 'flash3-forward': did you mean "),
        ({"sizes": [0]}, "n is 0: give a whole number, 1 or more"),
        ({"sizes": [1 << 41]}, f"n is {1 << 41}: give at most {1 << 40}"),
        ({"d": 10**400}, "d is 1000"),
        ({"d_v": 0}, "d_v is 0: give a whole number, 1 or more"),
        ({"d_v": 1 << 41}, f"d_v is {1 << 41}: give at most {1 << 40}"),
        ({"heads": 0}, "heads is 0: give a whole number, 1 or more"),
        ({"heads": 6, "kv_heads": 4}, "heads=6 is no multiple of kv_heads=4: "),
        ({"batch": -1}, "batch is -1: give a whole number, 1 or more"),
        ({"device": "a100"}, "unknown device 'a100': did you mean 'a100-40gb' or 'a100-80gb'? "),
        ({"rule": "fig2"}, "unknown counting rule 'fig2': "),
        (
            {"block_mask": "local:1"},
            "block_mask='local:1' is for block-sparse-forward, flash2-block-sparse-forward: name ",
        ),
        ({"block_q": 0}, "block_q is 0: give a whole number, 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(ValueError, match=r".") as error:
        report.rows(**options)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


# ---- blocks


@pytest.mark.parametrize("device", devices.DEVICES)
@pytest.mark.parametrize("algorithm", [name for name in FORWARD if name != "standard-forward"])
def test_each_tile_that_is_said_to_fit_does_and_no_other(algorithm, device):
    sizes: dict[str, Any] = {"n": 1 << 13, "d": 128}
    found = blocks.fitting(algorithm, device=device, **sizes)
    fit = {(b.block_q, b.block_k) for b in found}
    assert fit
    for block_q in blocks.SIDES:
        for block_k in blocks.SIDES:
            refused = pytest.raises(ValueError, match="choose smaller blocks")
            with nullcontext() if (block_q, block_k) in fit else refused:
                fs.count(algorithm, **sizes, block_q=block_q, block_k=block_k, device=device)
    assert blocks.tried(algorithm, 1 << 13) == len(blocks.SIDES) ** 2


def test_tiles_come_by_traffic_then_by_what_they_take():
    found = blocks.fitting(d=128, device="h100", mask="causal")
    assert [(b.total, b.shared + b.registers) for b in found] == sorted(
        (b.total, b.shared + b.registers) for b in found
    )
    best = found[0]
    io = fs.count("flash2-forward", n=blocks.N, d=128, block_q=best.block_q, block_k=best.block_k, mask="causal")
    assert (best.shared, best.registers, best.total) == (io.peak.shared, io.peak.registers, io.total)


@given(
    st.sampled_from(("flash-forward", "flash2-forward", "flash-backward", "flash2-backward")),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(tuple(STORAGE)),
)
@settings(deadline=None, max_examples=20)
def test_tiles_move_and_take_what_recorded_runs_do_whatever_the_size_of_values(algorithm, n, d, d_v, dtype):
    found = blocks.fitting(algorithm, d=d, d_v=d_v, n=n, device="h100", dtype=dtype)
    assert len(found) == blocks.tried(algorithm, n)
    for tile in (found[0], found[-1]):
        trace = Problem(algorithm, n, n, d, tile.block_q, tile.block_k, dtype=dtype, d_v=d_v).record()
        io = trace.io()
        assert (tile.total, tile.shared, tile.registers) == (io.total, io.peak.shared, io.peak.registers)
        assert tile.ratio == io.total / standard.beside_run(trace).total


def test_wide_values_leave_room_for_fewer_tiles():
    """What is on chip of one program of FA2: K and V come, by hand: 128·(64 + 512) numbers of 2 bytes do not fit."""
    narrow, wide = (
        {(b.block_q, b.block_k) for b in blocks.fitting(d=64, d_v=d_v, device="a100-80gb")} for d_v in (64, 512)
    )
    assert wide < narrow
    assert (128, 128) in narrow - wide


def test_a_tile_that_is_shipped_is_among_them():
    """FlashAttention-2 at d = 128 on an A100: 128 × 64, 65,536 B loaded and 132,096 B computed (and α, 512 B)."""
    found = {(b.block_q, b.block_k): b for b in blocks.fitting(d=128, device="a100-80gb")}
    assert (found[128, 64].shared, found[128, 64].registers) == (65_536, 132_096 + 1024)


def test_sides_stop_at_the_rows_there_are():
    assert {(b.block_q, b.block_k) for b in blocks.fitting(d=16, n=40)} <= {
        (q, k) for q in (16, 32, 40) for k in (16, 32, 40)
    }
    assert blocks.tried("flash2-forward", 40) == 9


def test_the_papers_blocks_are_noted():
    sram = 227 * 1024 // 2
    assert blocks.papers(128, "h100") == (128, -(-sram // 512), sram)
    assert blocks.papers(64, "t4", "float32")[:2] == formulas.flash_blocks(16 * 1024, 64)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algorithm": "standard-forward"}, "standard-forward has ideal matrix products, so no tile has to fit: "),
        ({"device": "a100"}, "unknown device 'a100'"),
        ({"d": 0}, "d is 0: give a whole number"),
        ({"d_v": 0}, "d_v is 0: give a whole number"),
        ({"n": 0}, "n is 0: give a whole number"),
        ({"algorithm": "flash"}, "unknown algorithm 'flash'"),
    ],
)
def test_what_has_no_tiles_is_refused(options, said):
    with pytest.raises(ValueError, match=r".") as error:
        blocks.fitting(**{"d": 64} | options)
    assert str(error.value).startswith(said)


def test_nothing_fits_where_a_row_is_too_long():
    assert blocks.fitting(d=1 << 14, device="t4") == []


@pytest.mark.parametrize("rule", rules.RULES)
def test_no_rule_counts_more_than_all(rule):
    level = {row.algorithm: row.total for row in report.rows(sizes=[256])}
    found = report.rows(sizes=[256], rule=rule)
    assert len(found) > 1
    assert [row for row in found if row.total > level[row.algorithm]] == []


def test_tiles_that_fit_are_those_of_packed_heads():
    found = blocks.fitting("flash2-forward", d=64, n=1024, heads=8, kv_heads=2, device="h100")
    alone = {(b.block_q, b.block_k) for b in blocks.fitting("flash2-forward", d=64, n=1024, device="h100")}
    assert {(b.block_q, b.block_k) for b in found} < alone
    gpu = devices.DEVICES["h100"]
    for tile in found:
        sides: dict[str, Any] = {"block_q": tile.block_q, "block_k": tile.block_k}
        io = fs.count("flash2-forward", n=1024, d=64, heads=8, kv_heads=2, **sides)
        assert (io.total, io.peak.shared, io.peak.registers) == (tile.total, tile.shared, tile.registers)
        assert report.fits("flash2-forward", io, gpu)
