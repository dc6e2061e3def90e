"""A film of somebody's saved run: its steps are those of its algorithm, or one line says which are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit import proof
from flashsteps.machine.masks import for_any_size
from flashsteps.trace.trace import Trace

FILMS = {"standard": "standard-forward", "flash-forward": "flash-forward", "flash2-forward": "flash2-forward"}
RNG = np.random.default_rng(0)
QKV = [RNG.standard_normal((8, 4)) for _ in range(3)]


def recorded(algorithm: str, **options: Any) -> Trace:
    return fs.record(algorithm, *QKV, block_q=4, block_k=4, **options)


RUNS = {name: recorded(name, mask="causal") for name in FILMS.values()}


@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize(
    "options",
    [{}, {"mask": "window:3,1"}, {"scale": 0.3, "dtype": "float32"}, {"softcap": 4.0}, {"dropout": 0.3, "seed": 2}],
)
def test_a_run_that_was_saved_is_what_its_algorithm_does(film: str, options: dict[str, Any], tmp_path: Path) -> None:
    run = recorded(FILMS[film], **options)
    run.save(tmp_path / "run.npz")
    assert proof.can_be_proven(run)
    proof.check(fs.load(tmp_path / "run.npz"))


def edited(run: Trace, what: str, at: int, number: int) -> Trace:
    events, values = list(run), list(run.values)
    event = events[at]
    match what:
        case "gone":
            del events[at], values[at]
        case "twice":
            events.insert(at, event)
            values.insert(at, values[at])
        case "swapped":
            other = (at + 1 + number) % len(events)
            events[at], events[other] = events[other], events[at]
            values[at], values[other] = values[other], values[at]
        case "program":
            events[at] = event._replace(program=event.program + 1 + number)
        case "loop":
            events[at] = event._replace(loop={**event.loop, "j": number + 7})
        case "slot":
            events[at] = event._replace(slot="other")
        case "bytes":
            events[at] = event._replace(nbytes=event.nbytes + 1 + number)
        case "op":
            events[at] = event._replace(op="skip" if event.op != "skip" else "load")
        case "value":
            made = values[at]
            values[at] = np.zeros((3, 3), np.float32) if made is None or made.shape != (3, 3) else None
    events = [one._replace(step=step) for step, one in enumerate(events)]
    return replace(run, events=tuple(events), values=tuple(values))


EDITS = ("gone", "twice", "swapped", "program", "loop", "slot", "bytes", "op", "value")


@given(st.sampled_from(list(FILMS)), st.sampled_from(EDITS), st.integers(0, 10**6), st.integers(0, 5))
@settings(max_examples=60)
def test_whatever_step_is_edited_it_is_refused_in_one_line(film: str, what: str, at: int, number: int) -> None:
    run = RUNS[FILMS[film]]
    other = edited(run, what, at % len(run), number)
    if [proof._seen(one) for one in other] == [proof._seen(one) for one in run] and what != "value":
        return  # two steps that are alike changed places
    with pytest.raises(ValueError, match="record it anew") as refused:
        fs.film(film, trace=other)
    assert "\n" not in str(refused.value)


def test_numbers_are_the_files_own() -> None:
    """Another input gives another film: what was computed is not held against anything."""
    run = RUNS["flash2-forward"]
    values = [None if one is None else one * np.float32(0.5) for one in run.values]
    proof.check(replace(run, values=tuple(values)))


def test_what_a_run_was_called_with_has_to_fit_it() -> None:
    run = RUNS["flash2-forward"]
    with pytest.raises(ValueError, match="cannot be what flash2-forward does"):
        proof.check(replace(run, meta={**run.meta, "mask": "diagonal"}))
    with pytest.raises(ValueError, match="record it anew"):
        proof.check(replace(run, meta={**run.meta, "block_q": 2}))


def test_a_mask_that_came_as_an_array_has_its_film_all_the_same(tmp_path: Path) -> None:
    keep = np.tril(np.ones((8, 8), bool))
    keep[5, 2] = False
    for film, algorithm in FILMS.items():
        run = recorded(algorithm, mask=keep)
        run.save(tmp_path / f"{film}.npz")
        assert fs.film(film, trace=tmp_path / f"{film}.npz").duration > 10
    run = recorded("flash2-forward", mask=keep)
    broken = run
    while scores := [event.step for event in broken if event.slot == "S"]:
        broken = edited(broken, "gone", scores[0], 0)
    with pytest.raises(ValueError, match="not as its algorithm leaves it"):
        fs.film("flash2-forward", trace=broken)


def test_a_mask_for_one_input_is_none_for_another_size() -> None:
    assert for_any_size("causal+window:4,0") == "causal+window:4,0"
    for mask in ("document:5,11", "array", "causal+file:mask.npy", None):
        assert for_any_size(mask) is None
