"""Runs that somebody edited: what `load` takes, every viewer shows, or says in one line why it is no film."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from tests.hostile.damage import ANYTHING
from tests.hostile.trial import held, often

Q = np.random.default_rng(0).standard_normal((4, 8, 4))
BLOCKS: dict[str, Any] = {"block_q": 4, "block_k": 4}

#: runs of every kind that there are films of, and others
RUNS = {
    "flash2-forward": lambda: fs.record("flash2-forward", *Q[:3], **BLOCKS, mask="causal", tokens=list("abcdefgh")),
    "flash-forward": lambda: fs.record("flash-forward", *Q[:3], **BLOCKS),
    "standard": lambda: fs.record("standard-forward", *Q[:3], **BLOCKS, mask="window:2,0"),
    "backward": lambda: fs.record("flash2-backward", *Q[:3], do=Q[3], **BLOCKS),
    "decode": lambda: fs.record("paged-decode", Q[0][:1], Q[1], Q[2], block_k=4),
    "heads": lambda: fs.record("flash2-forward", Q, Q[:2], Q[2:], **BLOCKS),
}

VIEWERS = (
    ("show", "run.npz"),
    ("show", "run.npz", "--step", "5"),
    ("show", "run.npz", "--events", "all"),
    ("view", "run.npz", "-o", "a.html"),
    ("step", "run.npz", "-o", "a.svg", "--at", "5"),
    ("export", "run.npz", "--to", "perfetto", "-o", "a.json"),
    ("export", "run.npz", "--to", "csv", "-o", "a.csv"),
)

WORDS = (
    "",
    "q",
    "k",
    "S",
    "P",
    "O",
    "K",
    "i",
    "j",
    "i j",
    "load",
    "store",
    "compute",
    "skip",
    "m_i",
    "x",
    "__class__",
    "\u2113",
)


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name, make in RUNS.items():
        make().save(folder / f"{name}.npz")
        with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
            found[name] = dict(file)
    return found


def edited(draw: Any, run: dict[str, Any]) -> dict[str, Any]:
    """One to three numbers, names or properties that are others now."""
    run = {name: column.copy() for name, column in run.items()}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(run)))
        column = run[name]
        if name == "meta":
            meta = json.loads(str(column))
            key = draw(st.sampled_from(sorted(meta)))
            if key == "code" and draw(st.booleans()):
                lines = meta["code"].split("\n")
                at = draw(st.integers(0, len(lines) - 1))
                lines[at] = draw(
                    st.sampled_from(["", "x = (", "    k = sram.load(Z[j])", lines[at - 1], "\t", lines[at] * 2])
                )
                meta["code"] = "\n".join(lines)
            else:
                meta[key] = draw(ANYTHING)
            run["meta"] = np.array(json.dumps(meta))
        elif column.size:
            at = draw(st.integers(0, column.size - 1))
            if column.dtype.kind == "U":
                column = column.astype("U16")
                column.reshape(-1)[at] = draw(st.sampled_from(WORDS))
                run[name] = column
            elif column.dtype.kind == "f":
                column.reshape(-1)[at] = draw(st.sampled_from([0, -1, 1e4, np.nan, np.inf, -np.inf]))
            else:
                column.reshape(-1)[at] = draw(st.integers(-2, 12) | st.integers(-(1 << 62), 1 << 62))
            if draw(st.integers(0, 9)) == 0:
                run[name] = np.roll(run[name], 1, axis=0) if run[name].ndim else run[name]
    return run


def film_of(run: str) -> tuple[str, ...]:
    film = {"heads": "flash2-forward"}.get(run, run)
    return ("render", film, "--trace", "run.npz", "-o", "a.png", "--at", "20")


COUNT = itertools.count()


@given(st.data())
@settings(max_examples=often(10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_loaded_is_shown_by_every_viewer(
    columns: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    folder = tmp_path / str(next(COUNT))
    folder.mkdir()
    monkeypatch.chdir(folder)
    name = data.draw(st.sampled_from(sorted(RUNS)))
    np.savez("run.npz", **edited(data.draw, columns[name]))
    loads = held("show", "run.npz").code == 0
    for command in VIEWERS if loads else VIEWERS[1:5:3]:
        ending = held(*command)
        outside = "--at" in ending.err or "outside this run" in ending.err  # a run of fewer steps
        assert ending.code == (0 if loads else 2) or outside, (name, command, ending)
    held(*film_of(name))
