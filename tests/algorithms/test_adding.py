"""To add an algorithm is to add a file: one more in a copy of the package runs everywhere, nothing else is touched."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest

import flashsteps as fs

ROOT = Path(__file__).resolve().parents[2]

SCRATCH = '''"""Attention in one kernel, with all keys on chip: one block of queries after another (scratch)."""

import numpy as np

TITLE, DIRECTION = "all keys at once", "forward"


def attend(hbm, sram, Q, K, V, *, block_q, block_k, mask, scale):
    O, LSE = hbm.empty("O", Q.shape), hbm.empty_statistics("LSE", Q.shape[:1])
    for i in sram.programs("i", Q.blocks(block_q)):
        q, k, v = sram.load(Q[i]), sram.gather(K, block_k), sram.gather(V, block_k)  # All keys and values come in.
        s = sram["S"] = q @ k.T * scale + sram.bias(mask, i, K.all)  # All scores of these queries.
        m = sram["m_i"] = s.max(axis=1)
        p = sram["P"] = np.exp(s - m[:, None])
        l = sram["l_i"] = p.sum(axis=1)
        o, lse = sram["O"], sram["LSE"] = p @ v / l[:, None], m + np.log(l)  # The output, and one number a row.
        sram.store(O[i], o)
        sram.store(LSE[i], lse)
    return {"O": O.data, "LSE": LSE.data}
'''


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is installed, and one more file in `algorithms/`."""
    folder = tmp_path_factory.mktemp("added")
    for source, home in (("flashsteps", ""), ("kernels", "kernels"), ("scenes", "scenes")):
        copytree(ROOT / source, folder / "flashsteps" / home, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (folder / "flashsteps" / "algorithms" / "scratch.py").write_text(SCRATCH, encoding="utf-8")
    return folder


@pytest.fixture
def run(added: Path):
    def run(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flashsteps", *args], cwd=added, capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(added)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_listed(run):
    assert "scratch" in run("list", "algorithms")
    assert "with all keys on chip" in run("list", "algorithms")


def test_it_runs_is_saved_and_is_attention(run, added):
    run("record", "scratch", "-o", "run.npz", "--mask", "causal", "--dtype", "float32")
    trace, standard = fs.load(added / "run.npz"), fs.record("standard-forward", *fs.load_qkv("sample"), mask="causal",
                                                            dtype="float32")  # fmt: skip
    for name in ("O", "LSE"):
        np.testing.assert_allclose(trace.outputs[name], standard.outputs[name], atol=1e-5)


def test_it_is_counted_as_it_is_recorded(run, added):
    sizes = ("--block-q", "16", "--block-k", "16")
    run("record", "scratch", "-o", "counted.npz", "--input", "random:40,8", *sizes)
    (row,) = json.loads(run("io", "--algorithms", "scratch", "--n", "40", "--d", "8", *sizes, "--json"))
    recorded = fs.load(added / "counted.npz").io()
    assert (row["read"], row["written"]) == (recorded.read, recorded.written)
    assert f"{recorded.read:,} B" in run("count", "scratch", "--n", "40", "--d", "8", *sizes)


def test_it_is_shown_stepped_through_and_viewed(run, added):
    assert "all keys and values come in" in run("step", "scratch").lower()
    run("record", "scratch", "-o", "shown.npz")
    assert "scratch" in run("show", "shown.npz")
    run("view", "scratch", "-o", "run.html")
    assert "All scores of these queries." in (added / "run.html").read_text(encoding="utf-8")


def test_a_file_that_does_not_say_what_it_has_to_is_refused_in_one_line(added):
    (added / "flashsteps" / "algorithms" / "mute.py").write_text('"""Says nothing."""\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "flashsteps", "count", "mute", "--n", "8", "--d", "4"], cwd=added, capture_output=True,
        text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(added)},
    )  # fmt: skip
    (added / "flashsteps" / "algorithms" / "mute.py").unlink()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "algorithms/mute.py has no TITLE" in done.stderr
