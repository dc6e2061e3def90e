"""Each algorithm is one file that reads like its paper and brings its own captions; a new one has to pass this too."""

import io
import re
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.machine.memory import SRAM
from tests.problems import ALL, BACKWARD, SPARSE, Problem, problems

#: what stands on the line of an event
MARKS = {
    "load": (".load(", ".gather(", ".lookup("),
    "store": (".store(",),
    "compute": ("sram[",),
    "skip": (".loop(",),
}


def code_lines(source: str) -> dict[int, str]:
    """The lines of a source by number, without comments."""
    lines = dict(enumerate(source.splitlines(), 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0]] = lines[token.start[0]][: token.start[1]]
    return lines


def test_the_algorithms_are_the_files_of_the_folder():
    files = {path.stem for path in Path(algorithms.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in ALL} == files
    assert set(ALL) >= {"standard-forward", "flash-forward", "flash2-forward"}


@pytest.mark.parametrize("name", ALL)
def test_an_algorithm_says_what_it_is_and_from_where(name):
    about = algorithms.algorithm(name)
    assert about.attend.__doc__
    assert about.title
    assert name.endswith("decode" if about.decodes else about.direction)  # which nothing else reads off the name
    first = str(sys.modules[about.attend.__module__].__doc__).splitlines()[0]
    assert algorithms.summary(name) == first
    assert re.search(r"\((FA\d, Algorithm \d|Flash-Decoding|PagedAttention)\)\.$", first)


@pytest.mark.parametrize("name", ALL)
def test_captions_are_plain_sentences_of_at_most_90_characters(name):
    source = algorithms.source(name)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    captions = [token.string for token in tokens if token.type == tokenize.COMMENT]
    assert len(captions) >= 5
    for caption in captions:
        assert re.fullmatch(r"# [^a-z\s].*[.!?]", caption), caption
        assert len(caption.removeprefix("# ")) <= 90, caption


@given(problems(more=True))
@settings(deadline=None)
def test_each_event_is_on_a_line_that_does_it(problem):
    trace = problem.record()
    lines = code_lines(trace.meta["code"])
    for event in trace:
        assert any(mark in lines[event.line] for mark in MARKS[event.op]), (event, lines[event.line])
        if event.op == "compute":
            assert f'sram["{event.slot}"] = ' in lines[event.line]


@given(problems(more=True))
@settings(deadline=None)
def test_work_belongs_to_the_step_that_names_its_result(problem):
    """Whatever is computed is named before anything else happens, so loads, stores and skips do no work."""
    trace = problem.record()
    assert all(event.work.total == 0 for event in trace if event.op != "compute")
    assert all(event.nbytes == 0 for event in trace if event.op in ("compute", "skip"))
    products = [event for event in trace if event.work.matmul]
    assert {event.slot for event in products} <= {"S", "acc", "o", "O", "dP", "dq", "dk", "dv"}


@given(problems(masks=("causal",)))
@settings(deadline=None)
def test_a_tile_is_skipped_where_all_of_it_is_hidden_and_only_there(problem):
    trace = problem.record()
    visited = {(queries.start, keys.start) for queries, keys in problem.tiles()}
    rows, cols = range(0, problem.n, problem.block_q), range(0, problem.n_keys, problem.block_k)
    skipped = [event for event in trace if event.op == "skip"]
    if problem.algorithm == "flash2-backward":  # each of its two kernels passes the same tiles over
        kernel = next(event.program for event in trace if event.slot == "dq")
        assert sum(event.program >= kernel for event in skipped) * 2 == len(skipped)
        skipped = [event for event in skipped if event.program >= kernel]
    assert all(event.tile.tensor == "K" for event in skipped)
    found = [(rows[event.loop["i"]], event.tile.start) for event in skipped]
    assert [event.loop["j"] for event in skipped] == [cols.index(start) for _, start in found]
    if problem.algorithm.startswith("standard"):  # a mask saves it nothing
        assert not skipped
    else:
        assert sorted(found) == sorted({(i, j) for i in rows for j in cols} - visited)
        made = {(rows[event.loop["i"]], cols[event.loop["j"]]) for event in trace if event.slot == "P"}
        assert made == visited


@pytest.mark.parametrize("name", ALL)
def test_a_forgotten_store_shows(name, monkeypatch):
    """What is to be written starts as NaN, so that a store left out cannot go unseen."""
    store, made = SRAM.store, "dQ" if name in BACKWARD else "O"

    def forgetful(sram, view, value):
        if view.tensor.name != made or view.start != 2 or isinstance(value, float):
            store(sram, view, value)

    problem = Problem(name, 4, 4, 2, 2, 4, dtype="float64")
    whole = problem.record()
    monkeypatch.setattr(SRAM, "store", forgetful)
    partial = problem.record()
    assert not np.array_equal(partial.outputs[made][2:], whole.outputs[made][2:])
    if name not in ("flash-forward", "flash-backward", "block-sparse-forward"):  # which write zeros first
        assert np.isnan(partial.outputs[made][2:]).all()


@pytest.mark.parametrize("name", ALL)
def test_programs_share_nothing_on_chip(name):
    trace = Problem(name, 6, 6, 2, 2, 3).record()
    programs = [event.program for event in trace]
    assert programs == sorted(programs)
    expected = {
        "standard-forward": 3,
        "flash-forward": 1,
        "flash2-forward": 3,
        "standard-backward": 5,
        "flash-backward": 1,
        "flash2-backward": 3 + 2 + 3,
        "block-sparse-forward": 1,
        "flash2-block-sparse-forward": 3,
        "split-kv-decode": 3 * 2 + 3,
        "paged-decode": 3,
    }
    assert len(set(programs)) == expected[name]
    for event, before in zip(trace, [None, *trace], strict=False):
        if before is not None and event.program != before.program:
            assert set(trace.at(event.step).sram) == {event.slot}


@pytest.mark.parametrize("name", ALL)
def test_a_block_larger_than_the_matrix_is_cut_to_it(name):
    q = np.ones((3, 2))
    do, tiles = q if name in BACKWARD else None, "butterfly" if name in SPARSE else None
    large, cut = (fs.record(name, q, q, q, do=do, block_mask=tiles, block_q=size, block_k=size) for size in (64, 3))
    assert large == cut
    assert (large.meta["block_q"], large.meta["block_k"]) == (3, 3)


def test_what_is_stored_has_to_be_named_and_of_the_right_shape():
    from flashsteps.machine.memory import HBM

    class Nobody:
        def step(self, event, value, times):
            pass

    hbm = HBM(np.dtype("float16"), np.dtype("float32"), counting=False)
    sram = SRAM(hbm, Nobody())
    O = hbm.empty("O", (4, 2))
    with pytest.raises(ValueError, match=r"^what is stored to O is in no slot: name it first, sram\[...\] = value$"):
        sram.store(O.all, sram.full((4, 2), 0.0))
    sram["acc"] = acc = sram.full((3, 2), 0.0)
    with pytest.raises(ValueError, match=r"^O has \(4, 2\) at rows 0:4, not \(3, 2\)$"):
        sram.store(O.all, acc)
    with pytest.raises(TypeError, match="not changed in place: write a = a \\+ b"):
        acc += 1
    with pytest.raises(ValueError, match="read-only"):
        acc[0] = 1
    with pytest.raises(ValueError, match=r"^O\[0:4\] is loaded before all of it was stored$"):
        sram.load(O.all)
