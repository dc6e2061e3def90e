"""What is counted is what is recorded, to the byte; and both are what the papers say."""

import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.machine import dtypes
from flashsteps.machine.memory import HBM, SRAM
from flashsteps.runs.counting import walk
from flashsteps.trace import rules
from flashsteps.trace.rules import Tally
from flashsteps.traffic import formulas
from tests import published
from tests.problems import ALL, BACKWARD, PLAIN, SPARSE, Problem, problems

ONE_PASS = ("standard-forward", "flash-forward", "flash2-forward")

HEADS = 16 * 64  # GPT-2 medium at batch 64: N = 1024, d = 64


@given(problems(largest=40, more=True))
@example(Problem("flash2-forward", 4, 3, 1, 1, 2, "causal"))  # one that ends before the ragged tail has the peak
@settings(deadline=None)
def test_a_count_is_what_a_recording_moves_and_works(problem):
    assert problem.count() == problem.record().io()


@given(problems(largest=40, more=True), st.data())
@settings(deadline=None)
def test_a_count_is_what_a_recording_moves_under_every_rule(problem, data):
    theirs = [name for name, rule in rules.RULES.items() if problem.algorithm in (rule.algorithms or ALL)]
    rule = data.draw(st.sampled_from(theirs))
    assert problem.count(rule=rule) == problem.record().io(rule)


@given(problems((*ONE_PASS, *BACKWARD), largest=200, masks=(None, "causal"), more=True))
@settings(deadline=None)
def test_a_count_is_the_closed_form(problem):
    sizes = (problem.n, problem.n_keys, problem.d)
    blocks = (min(problem.block_q, problem.n), min(problem.block_k, problem.n_keys))
    causal, d_v = problem.mask == "causal", problem.d_v
    elements = {
        "standard-forward": lambda: formulas.standard_forward(*sizes, d_v),
        "flash-forward": lambda: formulas.flash_forward(*sizes, *blocks, causal, d_v),
        "flash2-forward": lambda: formulas.flash2_forward(*sizes, *blocks, causal, d_v),
        "standard-backward": lambda: formulas.standard_backward(*sizes, d_v),
        "flash-backward": lambda: formulas.flash_backward(*sizes, *blocks, causal, d_v),
        "flash2-backward": lambda: formulas.flash2_backward(*sizes, *blocks, causal, d_v),
    }[problem.algorithm]()
    itemsizes = (dtypes.storage(problem.dtype).itemsize, dtypes.computing(problem.dtype).itemsize)
    times = {"standard-backward": 0, "flash2-backward": 2}.get(problem.algorithm, 1)
    hidden = causal and not problem.algorithm.startswith("standard")
    more = times * formulas.bias(*sizes[:2], *blocks, hidden) if problem.biased else 0
    if problem.sink is not None and problem.algorithm not in BACKWARD:  # one a program, or a block of queries
        more += -(-problem.n // blocks[0])
    assert problem.count().total == elements.nbytes(*itemsizes) + more * itemsizes[0]


@given(problems((*SPARSE, "split-kv-decode", "paged-decode"), largest=200, masks=(None,), more=True))
@settings(deadline=None)
def test_a_sparse_or_decoding_count_is_the_closed_form(problem):
    N, M, d = problem.n, problem.n_keys, problem.d
    block_q, block_k = min(problem.block_q, N), min(problem.block_k, M)
    table = 0
    if problem.algorithm in SPARSE:
        tiles = problem.visited()[::block_q, ::block_k].tolist()
        form = formulas.block_sparse_forward(N, M, d, block_q, tiles, problem.d_v)
        if problem.algorithm.startswith("flash2"):
            form, table = formulas.flash2_block_sparse_forward(N, M, d, block_k, tiles, problem.d_v)
    elif problem.algorithm == "paged-decode":
        form, table = formulas.paged_decode(N, M, d, block_q, block_k, problem.d_v)
    else:
        form = formulas.split_kv_decode(N, M, d, block_q, block_k, problem.splits, problem.d_v)
    itemsizes = (dtypes.storage(problem.dtype).itemsize, dtypes.computing(problem.dtype).itemsize)
    more = int(problem.kept().sum()) if problem.biased else 0
    more += -(-N // block_q) if problem.sink is not None else 0
    assert problem.count().total == form.nbytes(*itemsizes) + 4 * table + more * itemsizes[0]


@given(problems(ONE_PASS, largest=40))
@settings(deadline=None)
def test_a_count_is_what_plain_loops_add_up_to_by_tensor(problem):
    d, tiles = problem.d, problem.tiles()
    storage, statistic = dtypes.storage(problem.dtype).itemsize, dtypes.computing(problem.dtype).itemsize
    read, written = Counter[str](), Counter[str]()
    if problem.algorithm == "standard-forward":
        read.update(Q=problem.n * d, K=problem.n_keys * d, V=problem.n_keys * d)
        read.update(S=problem.n * problem.n_keys, P=problem.n * problem.n_keys)
        written.update(S=problem.n * problem.n_keys, P=problem.n * problem.n_keys, O=problem.n * d)
    if problem.algorithm == "flash-forward":
        read.update(K=problem.n_keys * d, V=problem.n_keys * d)
        written.update(O=problem.n * d, l=problem.n, m=problem.n)
        for queries, _ in tiles:
            read.update(Q=len(queries) * d, O=len(queries) * d, l=len(queries), m=len(queries))
            written.update(O=len(queries) * d, l=len(queries), m=len(queries))
    if problem.algorithm == "flash2-forward":
        read.update(Q=problem.n * d)
        written.update(O=problem.n * d, LSE=problem.n)
        for _, keys in tiles:
            read.update(K=len(keys) * d, V=len(keys) * d)
    size = dict.fromkeys(("l", "m", "LSE"), statistic)
    found = problem.count().by_tensor
    assert {name: moved.read for name, moved in found.items() if moved.read} == {
        name: n * size.get(name, storage) for name, n in read.items() if n
    }
    assert {name: moved.written for name, moved in found.items() if moved.written} == {
        name: n * size.get(name, storage) for name, n in written.items()
    }


@given(problems(largest=40, more=True))
@settings(deadline=None)
def test_matrix_products_are_of_the_tiles_that_are_seen(problem):
    seen = sum(len(queries) * len(keys) for queries, keys in problem.tiles())
    if problem.algorithm.startswith("standard"):
        seen = problem.n * problem.n_keys
    backward = {  # S (and once more), dQ, dK over d; dP (and once more), dV over d_v
        "standard-backward": ("dQ dK", "dP dV"),
        "flash-backward": ("S dQ dK", "dP dV"),
        "flash2-backward": ("S S dQ dK", "dP dP dV"),
    }
    of_keys, of_values = (len(names.split()) for names in backward.get(problem.algorithm, ("S", "O")))
    found = problem.count().work.matmul
    assert found == 2 * seen * (of_keys * problem.d + of_values * problem.width)
    if problem.mask is None and problem.algorithm not in SPARSE:
        sizes, d_v = (problem.n, problem.n_keys, problem.d), problem.d_v
        of_a_tile = of_keys + of_values
        if problem.algorithm in BACKWARD:
            assert found == formulas.backward_flops(*sizes, of_a_tile, d_v)
        else:
            assert found == formulas.forward_flops(*sizes, d_v)


def test_a_backward_pass_is_two_and_a_half_forward_passes_of_products():
    assert formulas.backward_flops(7, 9, 4) == 2.5 * formulas.forward_flops(7, 9, 4)


def test_one_tile_of_flash2_is_this_much_work():
    """Counted by hand for one tile: 2 queries, 3 keys, d = 4."""
    work = fs.count("flash2-forward", n=2, n_keys=3, d=4).work
    assert work.matmul == 2 * (2 * 3 * 4) * 2
    assert work.exp == 2 * 3 + 2 + 2  # P, α, and ln ℓ
    maxima, alpha, p = 2 * (3 - 1) + 2, 2 + 2, 2 + 2 * 3
    sums, output, end = 2 + 2 * (3 - 1) + 2, 2 * 4 + 2 * 4, 2 + 2 * 4 + 2
    assert work.other == 2 * 3 + maxima + alpha + p + sums + output + end  # 2 * 3: the scale
    assert work.total == work.matmul + work.exp + work.other


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_loops_multiply(sizes, blocks):
    """Three loops around a load, as no algorithm here has them: counted, and run."""
    totals = []
    for counting in (True, False):
        tally = Tally(rules.RULES["all"])
        hbm = HBM(np.dtype("float16"), np.dtype("float32"), counting)
        sram = SRAM(hbm, tally)
        tensors = zip("ABC", sizes, strict=True)
        A, B, C = (hbm.tensor(name, (n,), None if counting else np.ones(n)) for name, n in tensors)
        for _ in sram.loop("a", A.blocks(blocks[0])):
            for j in sram.loop("b", B.blocks(blocks[1])):
                for i in sram.loop("c", C.blocks(blocks[2])):
                    sram.load(C[i])
                sram.load(B[j])
        totals.append(tally.io("ABC", sram.peak).by_tensor)
    assert totals[0] == totals[1]
    outer, middle = (-(-n // block) for n, block in zip(sizes[:2], blocks[:2], strict=True))
    assert totals[0] == {"B": (2 * sizes[1] * outer, 0), "C": (2 * sizes[2] * outer * middle, 0)}


# ---- figures from the papers, and of toys


@pytest.mark.parametrize(
    ("n", "d", "block", "moved"),
    [
        (16, 32, 4, {"standard-forward": 6_144, "flash-forward": 16_512, "flash2-forward": 10_304}),
        (16, 8, 4, {"standard-forward": 3_072, "flash-forward": 4_992, "flash2-forward": 2_624}),
        (32, 4, 8, {"standard-forward": 9_216, "flash-forward": 6_144, "flash2-forward": 2_688}),
    ],
    ids=["the sample: 2.69x and 1.68x", "1.63x and 0.85x", "0.67x and 0.29x"],
)
def test_toys_move_this_much(n, d, block, moved):
    assert {name: fs.count(name, n=n, d=d, block_q=block, block_k=block).total for name in ONE_PASS} == moved


@pytest.mark.parametrize(
    ("block_k", "gigabytes", "published"),
    [(64, 6.577, 6.578), (128, 3.355, 3.356), (256, 1.745, 1.744), (512, 0.940, 0.939)],
)
def test_figure_2_of_fa1_comes_out_of_the_count(block_k, gigabytes, published):
    moved = fs.count("flash-forward", n=1024, d=64, block_k=block_k, rule="fa1-figure-2").total * HEADS
    assert round(moved / 1e9, 3) == gigabytes
    assert moved == formulas.figure_2_middle(1024, 64, block_k).nbytes() * HEADS
    assert moved / 1e9 == pytest.approx(published, abs=0.0015)  # read off the plot


def test_figure_2_left_of_fa1_comes_out_of_the_count():
    sizes: dict[str, Any] = {"n": 1024, "d": 64, "block_k": 256}
    forward = fs.count("flash-forward", **sizes, rule="fa1-figure-2").total * HEADS
    backward = published.kernel_of_2022(**sizes).total * HEADS
    assert round((forward + backward) / 1e9, 3) == 4.429
    assert forward + backward == published.figure_2_left(1024, 64, 256).nbytes() * HEADS
    assert round(formulas.figure_2_left_standard(1024, 64).nbytes() * HEADS / 1e9, 2) == 40.27


def test_without_statistics_the_sums_are_those_that_fa1_writes():
    N, d = 64, 8
    assert fs.count("flash-forward", n=N, d=d, block_k=16, rule="no-statistics").total == 2 * (2 + 3 * 4 + 1) * N * d
    assert fs.count("flash-backward", n=N, d=d, block_k=16, rule="no-statistics").total == 2 * (4 + 5 * 4 + 3) * N * d


def test_standard_attention_alone_moves_9_127_gigabytes():
    assert round(fs.count("standard-forward", n=1024, d=64).total * HEADS / 1e9, 3) == 9.127


def test_the_gain_of_fa2_is_not_less_traffic():
    """N = 4096, d = 64 and FA1's tile for 98,304 elements of SRAM, in units of Nd, of Q, K, V and O alone."""
    block_q, block_k = formulas.flash_blocks(98_304, 64)
    assert (block_q, block_k) == (64, 384)

    def moved(algorithm: str, block_q: int, block_k: int) -> int:
        by_tensor = fs.count(algorithm, n=4096, d=64, block_q=block_q, block_k=block_k).by_tensor
        return sum(sum(by_tensor[name]) for name in "QKVO") // (4096 * 64 * 2)

    set_up = 1
    assert moved("flash-forward", block_q, block_k) == 35 + set_up
    assert moved("flash2-forward", block_q, block_k) == 130
    assert moved("flash2-forward", 384, 64) == 24


@pytest.mark.parametrize("d", [32, 64, 128])
def test_the_level_is_the_papers_where_values_are_as_wide_as_keys(d):
    assert (formulas.flash_level(d), formulas.flash2_level(d)) == (0.75 * d + 2, d / 2)


@pytest.mark.parametrize(("d", "d_v"), [(32, None), (64, None), (128, None), (64, 32), (32, 128), (192, 128)])
def test_the_tile_decides_who_wins(d, d_v):
    """At the level tile, flash and standard attention move the same as N grows; with a larger one flash moves less."""
    n, level, level2 = 1 << 24, formulas.flash_level(d, d_v=d_v), formulas.flash2_level(d, d_v)
    standard = fs.count("standard-forward", n=n, d=d, d_v=d_v).total
    for larger in (1, 2):
        block_k, block_q = larger * int(level), larger * int(level2)
        flash = fs.count("flash-forward", n=n, d=d, d_v=d_v, block_k=block_k).total
        flash2 = fs.count("flash2-forward", n=n, d=d, d_v=d_v, block_q=block_q).total
        assert flash / standard == pytest.approx(1 / larger, rel=1e-4)
        assert flash2 / standard == pytest.approx(1 / larger, rel=1e-4)


@pytest.mark.parametrize("sram", [1 << 12, 1 << 14, 1 << 16, 1 << 20])
def test_traffic_grows_as_theorem_2_says(sram):
    """The constants under its Θ: 4 for standard attention, and 12 for FA1 with the paper's blocks (and Nd, once)."""
    N, d = 1 << 15, 64
    block_q, block_k = formulas.flash_blocks(sram, d)
    standard, flash = formulas.theorem_2(N, d, sram)
    assert fs.count("standard-forward", n=N, d=d).total / 2 == 4 * standard
    moved = fs.count("flash-forward", n=N, d=d, block_q=block_q, block_k=block_k, rule="fa1-figure-2").total / 2
    assert moved == 12 * flash + N * d


@pytest.mark.parametrize("sram", [63, 1024 * 64 + 1])
def test_theorem_2_is_for_an_sram_between_d_and_nd(sram):
    with pytest.raises(ValueError, match=r"^an SRAM of [\d,]+ elements is outside d … Nd = 64 … 65,536: Theorem 2"):
        formulas.theorem_2(1024, 64, sram)


# ---- rules, sizes, names


def test_a_figure_is_under_all_bytes_unless_another_rule_is_named():
    assert fs.count("flash-forward", n=64, d=8) == fs.count("flash-forward", n=64, d=8, rule="all")
    figure_2 = fs.count("flash-forward", n=64, d=8, block_k=16, rule="fa1-figure-2")
    assert set(figure_2.by_tensor) == {"Q", "K", "V", "O"}
    assert figure_2.by_tensor["O"] == (3 * 64 * 8 * 2, 4 * 64 * 8 * 2)


@pytest.mark.parametrize(
    ("algorithm", "rule", "said"),
    [
        (
            "flash-forward",
            "fa1-figure2",
            "unknown counting rule 'fa1-figure2': did you mean 'fa1-figure-2'? known are all, ",
        ),
        (
            "flash-forward",
            None,
            "unknown counting rule None: known are all, fa1-figure-2, no-statistics",
        ),
        (
            "flash2-forward",
            "fa1-figure-2",
            "counting rule 'fa1-figure-2' is for flash-forward, not for flash2-forward: ",
        ),
        ("standard-forward", "fa1-figure-2", "counting rule 'fa1-figure-2' is for flash-forward, not for standard"),
    ],
)
def test_a_rule_that_is_not_known_or_not_for_this_algorithm_is_refused(algorithm, rule, said):
    for run in (
        lambda: fs.count(algorithm, n=4, d=2, rule=rule),
        lambda: Problem(algorithm, 4, 4, 2, 2, 2).record().io(rule),
    ):
        with pytest.raises(ValueError, match="counting rule") as error:
            run()
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("mask", [None, "causal", "window:4096,0+document:" + ",".join(["4096"] * 256)])
@pytest.mark.parametrize("algorithm", [*PLAIN, *BACKWARD])
def test_a_million_keys_are_counted_without_their_memory(algorithm, mask):
    fs.count(algorithm, n=64, d=4)  # imports
    tracemalloc.start()
    io = fs.count(algorithm, n=1 << 20, n_keys=1 << 20, d=128, block_q=128, block_k=64, mask=mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert (mask or "").startswith("window") or io.work.matmul >= formulas.forward_flops(1 << 20, 1 << 20, 128) // 2


@pytest.mark.parametrize("algorithm", [*PLAIN, *BACKWARD])
def test_sizes_may_be_numpys_integers_and_of_any_size(algorithm):
    sizes: dict[str, Any] = {"n": 1 << 40, "n_keys": (1 << 41) + 1, "d": 64, "block_q": 96, "block_k": 100}
    plain = fs.count(algorithm, **sizes, mask="causal")
    numpys: dict[str, Any] = {name: np.int64(size) for name, size in sizes.items()}
    assert fs.count(algorithm, **numpys, mask="causal") == plain
    assert plain.total > 1 << 63 or algorithm.startswith("standard")


@pytest.mark.parametrize("name", ["n", "d", "n_keys", "block_q", "block_k", "sram"])
@pytest.mark.parametrize("given_size", [0, -1, 2.0, True, "8"])
def test_a_size_that_is_no_whole_number_above_0_is_refused(name, given_size):
    with pytest.raises(ValueError, match=rf"^{name} is {given_size!r}: give a whole number, 1 or more$"):
        fs.count("flash2-forward", **{"n": 8, "d": 4, name: given_size})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"algorithm": "flash2forward"},
            "unknown algorithm 'flash2forward': did you mean 'flash2-forward'? known are ",
        ),
        ({"mask": "casual"}, "unknown mask 'casual': did you mean 'causal'? known are none, causal"),
        (
            {"dtype": "bfloat61"},
            "unknown dtype 'bfloat61': did you mean 'bfloat16'? known are float16, bfloat16, float32, float64",
        ),
        ({"device": "a100"}, "unknown device 'a100': did you mean 'a100-40gb' or 'a100-80gb'? known are t4, "),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_an_unknown_name_is_refused_with_the_nearest(options, said):
    with pytest.raises(ValueError, match="^unknown") as error:
        fs.count(**{"algorithm": "flash2-forward", "n": 8, "d": 4} | options)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@given(problems(largest=20, more=True))
@settings(deadline=None)
def test_a_walk_takes_what_a_count_takes_and_leaves_out_the_same(problem):
    tally = Tally(rules.RULES["all"])
    given = {name: value for name, value in (problem.sizes() | problem.options()).items() if value is not None}
    hbm, memory = walk(problem.algorithm, tally, **given)
    assert tally.io(hbm.tensors, memory.peak) == problem.count()


@pytest.mark.parametrize("given", [{"n": 8, "d": 4, "rule": "all"}, {"n": 8, "d": 4, "blok_q": 4}, {"n": 8}])
def test_a_walk_takes_nothing_else_and_no_less(given):
    with pytest.raises(TypeError, match=r"unexpected keyword argument '(rule|blok_q)'|missing a required .*'d'"):
        walk("flash2-forward", Tally(rules.RULES["all"]), **given)
