"""A course: transfers in order, and what is over when so many bytes have moved."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.traffic.course import Course, counted

ALGORITHMS = ["standard-forward", "flash-forward", "flash2-forward"]


@pytest.fixture(scope="module")
def runs():
    return {name: fs.record(name, *fs.load_qkv("sample"), block_q=4, block_k=4) for name in ALGORITHMS}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_is_the_run_s_bytes_in_the_run_s_order(name, runs):
    course = Course(name, runs[name])
    assert [(t.nbytes, t.tensor) for t in course.transfers] == [
        (event.nbytes, event.tile.tensor) for event in runs[name] if event.nbytes
    ]
    assert course.total == runs[name].io().total == course.kernels[-1]
    assert sum(course.rounds, ()) == tuple(course.transfers)  # rounds follow each other


def test_what_is_over_in_the_toy_when_standard_attention_is(runs):
    at = runs["standard-forward"].io().total
    flash, flash2 = (Course(name, runs[name]) for name in ALGORITHMS[1:])
    assert flash.done(at)[1:3] == (4, 0)
    assert flash2.done(at)[1:3] == (9, 2)
    assert flash.whole[1:3] == flash2.whole[1:3] == (16, 4)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(ALGORITHMS), st.floats(0, 1))
def test_a_transfer_is_over_when_all_its_bytes_have_moved(runs, name, share):
    course = Course(name, runs[name])
    at = round(share * course.total)
    done = course.done(at).transfers
    before = sum(t.nbytes for t in course.transfers[:done])
    assert before <= at
    assert done == len(course.transfers) or before + course.transfers[done].nbytes > at


@pytest.mark.parametrize("name", ALGORITHMS[1:])
def test_rounds_that_are_alike_come_to_the_same_as_all_of_them(name):
    """Gone through once for all, and, as a mask that hides nothing makes it, one by one."""
    short, long = counted(name, 64, 8, 16), counted(name, 64, 8, 16, mask="window:64,64")
    assert [t[:3] for t in short.transfers] == [t[:3] for t in long.transfers]
    for at in range(0, short.total, 997):
        assert short.done(at)[:3] == long.done(at)[:3]
    assert tuple(map(len, short.rounds)) == tuple(map(len, long.rounds))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_total_is_what_is_counted(name):
    for mask in (None, "causal"):
        assert (
            counted(name, 256, 16, 64, mask).total
            == fs.count(name, n=256, d=16, block_q=64, block_k=64, mask=mask).total
        )
