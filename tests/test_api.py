"""The public API, as the README shows it to people in a notebook."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import flashsteps as fs

SESSION = """
import flashsteps as fs
qkv = fs.load_qkv("sample")
q, k, v = qkv; qkv.tokens
trace = fs.record("flash2-forward", q, k, v, block_q=4, block_k=4,
                  mask=None, dtype="float16", scale=None, tokens=qkv.tokens)
trace.outputs["O"], trace.outputs["LSE"]
for event in trace: print(event)
event.step, event.op, event.program, event.loop, event.slot, event.tile, event.shape
event.nbytes, event.flops, event.line
event.tile.tensor, event.tile.start, event.tile.stop
io = trace.io(); io.read, io.written, io.total
io.by_tensor["K"].read
state = trace.at(12); state.hbm["O"], state.sram["S"]
trace.save("run.npz"); fs.load("run.npz")
assert fs.load("run.npz") == trace
assert (event.op, event.tile.tensor, event.tile.start, event.tile.stop) == ("store", "LSE", 12, 16)
assert io.by_tensor["K"].read == 4 * 16 * 32 * 2 and io.total == 10_304
fs.count("flash2-forward", n=1 << 20, d=128, n_keys=None, block_q=128, block_k=64, mask="causal")
"""


def python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints, in a folder."""
    env = os.environ | {"PYTHONPATH": str(Path(fs.__file__).parents[1]), "PYTHONIOENCODING": "utf8"}
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=folder, env=env, check=True)
    return ran.stdout.decode()


def test_a_session_in_python_works_as_it_is_shown(tmp_path):
    printed = python(SESSION, tmp_path)
    lines = printed.splitlines()
    assert len(lines) == 160
    assert lines[12] == "12  i=0 j=1  load  K[4:8] → k   256 B   HBM→SRAM"
    assert lines[6] == "6  i=0 j=0  compute  S   4×4   1,040 FLOPs"
    assert lines[-1] == "159  i=3  store  LSE → LSE[12:16]   16 B   SRAM→HBM"
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize(
    ("algorithm", "mask", "step", "line"),
    [
        ("flash-forward", None, 0, "0  store  O[0:16]   1,024 B   SRAM→HBM"),
        ("flash-forward", None, 3, "3  j=0  load  K[0:4] → k   256 B   HBM→SRAM"),
        ("flash2-forward", "causal", 13, "13  i=0 j=1  skip  K[4:8]"),
    ],
)
def test_an_event_is_one_line_to_read(algorithm, mask, step, line):
    trace = fs.record(algorithm, *fs.load_qkv("sample"), block_q=4, block_k=4, mask=mask)
    assert str(trace[step]) == line


def test_importing_flashsteps_imports_neither_numpy_nor_manim(tmp_path):
    code = """
    import sys, flashsteps
    assert {"load_qkv", "record", "count", "load"} <= set(dir(flashsteps))
    print(sorted({"numpy", "manim", "torch", "click"} & set(sys.modules)))
    flashsteps.count("flash2-forward", n=8, d=4), flashsteps.capture
    print(sorted({"manim", "torch", "click"} & set(sys.modules)))
    """
    assert python(textwrap.dedent(code), tmp_path) == "[]\n[]\n"


def test_each_public_name_is_there_and_documented():
    for name in fs.__all__:
        assert getattr(fs, name) is not None
        assert name == "__version__" or getattr(fs, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'lod': it has QKV, "):
        _ = fs.lod
