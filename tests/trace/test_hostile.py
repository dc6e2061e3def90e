"""Strangers' traces: whatever a file holds, it is shown as text, or refused in one line, soon and in little memory.

`test_save_load.py` has what `load` refuses and why; here every command that reads a trace is held to it.
"""

import json
import os
import re
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.runs.stepper import Stepper
from flashsteps.trace import document as trace_json
from tests.hostile.damage import ANYTHING, attacked
from tests.problems import Problem

ROOT = Path(fs.__file__).parents[1]
RUN = Problem("flash2-forward", 8, 8, 4, 4, 4, mask="causal").record(tokens=list("abcdefgh"))
same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: all that reads a trace; `view` is tested with the player
COMMANDS = (
    ("show", "run.npz"),
    ("show", "run.npz", "--step", "6"),
    ("show", "run.npz", "--events", "all"),
    ("show", "run.npz", "--json"),
    ("step", "run.npz"),
    ("step", "run.npz", "-o", "a.svg", "--at", "6"),
    ("export", "run.npz", "--to", "perfetto", "-o", "a.json"),
    ("export", "run.npz", "--to", "json", "-o", "b.json"),
    ("export", "run.npz", "--to", "csv", "-o", "a.csv"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def columns(tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("run") / "run.npz"
    RUN.save(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def write(columns: dict[str, Any], **change: Any) -> None:
    """A file like RUN's, with other columns and another meta."""
    if isinstance(meta := change.get("meta"), dict):
        change["meta"] = np.array(json.dumps(RUN.meta | meta))
    np.savez("run.npz", **columns | change)


def ended(*command: str) -> tuple[int, str]:
    """A command's exit code and what it says on standard error: none of it has a traceback, or more than a line."""
    result = CliRunner().invoke(main, command)
    assert result.exit_code in (0, 2), (command, result.exception)
    assert result.exit_code == 0 or (result.stderr.startswith("flashsteps: error: ") and result.stderr.count("\n") == 1)
    for text in (result.stdout, result.stderr):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
    return result.exit_code, result.stderr


# ---- refused


def bomb(columns: dict[str, Any]) -> None:
    np.savez_compressed("run.npz", **columns | {"initial.Z": np.zeros((20_000, 1_000), np.float16)})


def overlapping(columns: dict[str, Any]) -> None:
    """A list of members that says of one that it has 4 GB."""
    write(columns)
    data = bytearray(Path("run.npz").read_bytes())
    at = data.rfind(b"PK\1\2")
    data[at + 20 : at + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    Path("run.npz").write_bytes(data)


def header(shape: str, descr: str = "<f2") -> Callable[[dict[str, Any]], None]:
    """One array's header is another."""

    def make(columns: dict[str, Any]) -> None:
        write(columns)
        text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        plain = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
        with zipfile.ZipFile("run.npz") as old, zipfile.ZipFile("new.npz", "w") as new:
            for member in old.namelist():
                new.writestr(member, plain + b"\0" * 64 if member == "initial.K.npy" else old.read(member))
        os.replace("new.npz", "run.npz")

    return make


def members(columns: dict[str, Any]) -> None:
    with zipfile.ZipFile("run.npz", "w") as file:
        for n in range(3000):
            file.writestr(f"initial.{'x' * 40}{n}.npy", b"")


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "nothing": lambda c: Path("run.npz").write_bytes(b""),
    "no zip": lambda c: Path("run.npz").write_bytes(b"\x00" * 100_000),
    "a newer version": lambda c: write(c, format=np.array(2)),
    "a version of text": lambda c: write(c, format=np.array("1")),
    "many versions": lambda c: write(c, format=np.arange(9)),
    "a bomb": bomb,
    "sizes that lie": overlapping,
    "many members": members,
    "a huge shape": header("(1099511627776, 4)"),
    "a shape past all": header("(9223372036854775807, 9223372036854775807)"),
    "a negative shape": header("(-8, 4)"),
    "a deep header": header("(" * 60 + ")" * 60),
    "objects": header("(8, 4)", "|O"),
    "long texts": lambda c: write(c, slot=c["slot"].astype("U20000")),
    "a long name": lambda c: write(c, slot=np.where(c["slot"] == "q", "q" * 65, c["slot"])),
    "a tensor's long name": lambda c: write(c, **{f"initial.{'a' * 300}": np.ones(3, np.float16)}),
    "a tensor of markup": lambda c: write(c, **{"initial.<b>": np.ones(3, np.float16)}),
    "a slot of escapes": lambda c: write(c, slot=np.where(c["slot"] == "q", "\x1b[2J", c["slot"])),
    "an op of markup": lambda c: write(c, op=np.where(c["op"] == "skip", "[red]", c["op"])),
    "loops and no indices": lambda c: write(c, loop=np.full(len(RUN), "i j k l")),
    "events that point nowhere": lambda c: write(c, stop=c["stop"] * 0 + 99),
    "no such tensor": lambda c: write(c, tensor=np.where(c["tensor"] == "K", "KK", c["tensor"])),
    "negative counts": lambda c: write(c, nbytes=-c["nbytes"]),
    "huge counts": lambda c: write(c, nbytes=c["nbytes"] + (1 << 62)),
    "negative work": lambda c: write(c, work=c["work"] - 1),
    "a negative program": lambda c: write(c, program=c["program"] - 1),
    "line 0": lambda c: write(c, line=c["line"] * 0),
    "queries without end": lambda c: write(c, meta={"queries": 10**18, "tokens": None}),
    "a d without end": lambda c: write(c, meta={"d": 10**18}),
    "heads without end": lambda c: write(c, meta={"heads": 10**18, "kv_heads": 10**18}),
    "a number of 5,000 digits": lambda c: write(c, meta=np.array('{"z":' + "9" * 5000 + "}")),
    "a number of 70 bits": lambda c: write(c, meta={"input": {"z": 1 << 70}}),
    "deep data": lambda c: write(c, meta={"input": json.loads('{"a":' * 99 + "1" + "}" * 99)}),
    "deeper data": lambda c: write(c, meta=np.array("[" * 100_000)),
    "data that is no object": lambda c: write(c, meta=np.array("[1]")),
    "long code": lambda c: write(c, meta={"code": "x\n" * 100_000}),
    "many rules": lambda c: write(c, meta={"mask": "+".join(["causal"] * 1000)}),
    "an infinite scale": lambda c: write(c, meta=np.array(json.dumps(RUN.meta | {"scale": 1e400}))),
    "escapes": lambda c: write(c, meta={"tokens": ["\x1b]0;x\x07"] * 8}),
    "text that turns around": lambda c: write(c, meta={"algorithm": "\u202eflash"}),
    "half a sign": lambda c: write(c, meta={"tokens": ["\ud800"] * 8}),
    "NaN for queries": lambda c: write(c, **{"initial.Q": c["initial.Q"] * np.float16("nan")}),
    "values of text": lambda c: write(c, **{"values.float16": c["values.float16"].astype("U9")}),
    "values too many": lambda c: write(c, **{"values.float16": np.ones(9999, np.float16)}),
    "values of another order": lambda c: write(c, **{"values.float32": c["values.float32"].astype(">f4")}),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_trace_is_refused_soon_in_one_line_and_little_memory(wrong, columns):
    WRONG[wrong](columns)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ValueError, match=r"'run\.npz' is not a flashsteps trace: ") as error:
        fs.load("run.npz")
    taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 260
    assert taken < 1
    assert peak < 4_000_000 + 3 * os.path.getsize("run.npz")


def test_a_run_that_names_slots_without_end_is_refused():
    """Viewers keep something for each slot: what they need is to grow with steps alone."""
    run = Problem("flash2-forward", 64, 64, 1, 8, 4).record()
    run.save("run.npz")
    with np.load("run.npz", allow_pickle=False) as file:
        columns = dict(file)
    slots = columns["slot"].astype("U9")
    many = np.flatnonzero((slots == "S") | (slots == "P"))
    for n, here in ((100, True), (len(many), False)):
        slots[many[:n]] = [f"s{at}" for at in range(n)]
        np.savez("run.npz", **columns | {"slot": slots})
        if here:
            assert len({event.slot for event in fs.load("run.npz")}) > 100
        else:
            with pytest.raises(ValueError, match="names more than 256 slots and loops$"):
                fs.load("run.npz")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_refuses_it_with_exit_code_2(command, columns):
    for wrong in ("a newer version", "a slot of escapes", "events that point nowhere", "nothing"):
        WRONG[wrong](columns)
        code, said = ended(*command)
        assert code == 2
        assert "'run.npz' is not a flashsteps trace: " in said
    assert [path.name for path in Path().iterdir()] == ["run.npz"]


def test_it_holds_in_a_process_with_little_memory(columns):
    """Beyond what Python itself counts: the address space is bounded from without."""
    code = "import flashsteps as fs\ntry:\n    fs.load('run.npz')\nexcept ValueError as e:\n    print(e)"
    for wrong in ("a bomb", "a huge shape", "sizes that lie", "many members", "deeper data"):
        WRONG[wrong](columns)

        def bound() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

        env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, preexec_fn=bound)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("'run.npz' is not a flashsteps trace: ")
        assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("cut", [1, 4, 22, 100, 5_000])
def test_a_file_cut_short_is_refused_by_every_command(cut, columns):
    write(columns)
    Path("run.npz").write_bytes(Path("run.npz").read_bytes()[:-cut])
    for command in COMMANDS:
        assert ended(*command)[0] == 2


# ---- taken, and shown as it is

LINES = "\n" * 99
ODD: dict[str, Callable[[dict[str, Any]], object]] = {
    "markup": lambda c: write(c, meta={"algorithm": "[bold red]<script>alert(1)</script>", "tokens": ["[/]"] * 8}),
    "formulas": lambda c: write(c, meta={"algorithm": "=cmd|x!A1", "tokens": ["=1+1"] * 8}),
    "an unknown algorithm": lambda c: write(c, meta={"algorithm": ""}),
    "code that is none": lambda c: write(c, meta={"code": "((( \n" * 99}),
    "code to break a parser": lambda c: write(c, meta={"code": "def attend():\n x=" + "-" * 60_000 + "1" + "\n" * 99}),
    "a line of many names": lambda c: write(c, meta={"code": f"def attend():\n {'a=' * 9000}f({'a,' * 9000}){LINES}"}),
    "code that would run": lambda c: write(c, meta={"code": "import os\nos.mkdir('ran')\n" + "\n" * 99}),
    "other data": lambda c: write(c, meta={"input": {"kind": [{"a": None}], "x": "[b]"}, "splits": {}}),
    "an input with no kind": lambda c: write(c, meta={"input": {}}),
    "work without end": lambda c: write(c, work=c["work"] * 0 + ((1 << 63) - 1)),
    "a peak without end": lambda c: write(c, peak=np.full(3, (1 << 63) - 1)),
    "indices without end": lambda c: write(c, index=np.where(c["index"] >= 0, (1 << 63) - 1, -1)),
    "a small SRAM": lambda c: write(c, meta={"sram": 1}),
    "Python's own names": lambda c: write(c, slot=np.where(c["slot"] == "q", "__class__", c["slot"])),
    "another tensor": lambda c: write(c, **{"initial.__init__": np.ones(3, "f2"), "initial.ℓ": np.ones(3, "f4")}),
    "values of −∞ and NaN": lambda c: write(c, **{"values.float32": c["values.float32"] * np.float32("nan")}),
    "no events": lambda c: write(c, **{
        name: data[:0] for name, data in c.items()
        if name.split(".")[0] not in ("format", "meta", "peak", "initial", "outputs")
    }),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_trace_is_shown_as_text_by_every_command(odd, columns):
    ODD[odd](columns)
    trace = fs.load("run.npz")
    for command in COMMANDS:
        code, said = ended(*command)
        assert code == 0 or (odd == "no events" and ("outside this run" in said or "--at" in said)), said
    assert not Path("ran").exists()
    stepper = Stepper(trace)
    while stepper.next():
        assert stepper.state.step == stepper.step
    if odd != "no events":
        assert fs.load("b.json") == trace
        svg = Path("a.svg").read_text(encoding="utf-8")
        assert "<script" not in svg
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", svg)


# ---- at random


def loaded(path: str) -> fs.Trace | None:
    """The run in a file, if it is one that can be replayed; else what `load` says of it is one line."""
    try:
        trace = fs.load(path)
    except ValueError as error:
        said = str(error)
    else:
        for _ in trace.states():
            pass
        return trace
    assert said.isprintable()
    return None


@given(st.data())
@settings(parent=same_folder, max_examples=100)
def test_damaged_json_is_a_run_or_one_line(folder, data):
    Path("run.json").write_bytes(attacked(data, "\n".join(trace_json.lines(RUN)).encode()))
    if trace := loaded("run.json"):
        assert len(list(trace_json.lines(trace))) > 3


@given(st.data())
@settings(parent=same_folder, max_examples=100)
def test_a_document_with_anything_in_any_place_is_a_run_or_one_line(folder, data):
    document = json.loads("\n".join(trace_json.lines(RUN)))
    part: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.integers(0, 3)) == 0:
            part[key] = data.draw(ANYTHING)
            break
        part = part[key]
    Path("run.json").write_text(json.dumps(document))
    if loaded("run.json"):
        for command in COMMANDS[:5]:
            ended(*(word.replace(".npz", ".json") for word in command))


@given(st.data())
@settings(parent=same_folder, max_examples=80)
def test_damaged_zips_are_a_run_or_one_line(folder, columns, data):
    write(columns)
    Path("run.npz").write_bytes(attacked(data, Path("run.npz").read_bytes()))
    loaded("run.npz")
