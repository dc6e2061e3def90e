"""A run for other programs: JSON comes back whole and is as its schema says, Perfetto's slices meet, CSV adds up."""

import csv
import io
import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps import units
from flashsteps.cli import event_table, main
from flashsteps.machine import devices
from flashsteps.trace import document as trace_json
from flashsteps.trace import exports, perfetto
from flashsteps.trace.sram import on_chip
from tests.problems import ALL, Problem, problems

KEPT = Path(__file__).parent / "kept"
SCHEMA = json.loads(trace_json.schema())
VALID = jsonschema.Draft202012Validator(SCHEMA)
TOY = Problem("flash2-forward", 8, 8, 4, 4, 4, mask="causal").record(
    tokens=["[b]x", "<i>", "é", "漢", "a", "b", "c", "d"]
)
same_folder = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flashsteps(*args: str) -> str:
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


# ---- JSON


@given(problems(more=True), st.booleans())
@same_folder
def test_json_comes_back_bit_for_bit_and_is_as_the_schema_says(tmp_path, problem, values):
    trace = problem.record()
    fs.export(trace, tmp_path / "run.json", to="json", values=values)
    VALID.validate(json.loads((tmp_path / "run.json").read_text(encoding="utf-8")))
    back = fs.load(tmp_path / "run.json")
    assert back == (trace if values else replace(trace, values=()))
    back.save(tmp_path / "again.npz")
    assert fs.load(tmp_path / "again.npz") == back


def test_the_schema_is_one_and_refuses_what_is_not_a_run():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["version"]["const"] == trace_json.VERSION
    assert json.loads(flashsteps("schema")) == SCHEMA
    document = json.loads("\n".join(trace_json.lines(TOY)))
    changes: tuple[dict[str, Any], ...] = ({"version": 2}, {"events": [{}]}, {"extra": 1}, {"peak": {}})
    for change in changes:
        assert not VALID.is_valid(document | change)
    assert not VALID.is_valid({name: part for name, part in document.items() if name != "meta"})
    assert VALID.is_valid(document)


def test_each_event_stands_on_a_line_of_its_own():
    lines = list(trace_json.lines(TOY))
    events = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"step"')]
    assert [event["step"] for event in events] == list(range(len(TOY)))


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_a_file_of_version_1_stays_readable(ending):
    """The promise: these were written by the first version, and give the same run for ever."""
    trace = fs.load(KEPT / f"run-v1.{ending}")
    assert (trace.meta["algorithm"], len(trace), trace.io().total) == ("flash2-forward", 43, 152)
    assert str(trace[12]) == "12  i=0 j=0  compute  acc   4×2   80 FLOPs"
    assert trace == fs.load(KEPT / "run-v1.npz")
    assert trace.at(len(trace) - 1).hbm["O"].tolist() == trace.outputs["O"].tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d | {"version": 2}, "its version is 2, and this flashsteps reads 1: upgrade it"),
        (lambda d: d | {"version": True}, "its version is True"),
        (lambda d: d | {"format": "x"}, "its format is not 'flashsteps run'"),
        (lambda d: [d], "its format is not 'flashsteps run'"),
        (lambda d: d | {"more": 1}, "a part of it has not the fields meta, peak"),
        (lambda d: d | {"totals": d["totals"] | {"read": 1}}, "its totals are not what its events add up to"),
        (lambda d: d | {"events": d["events"][1:]}, "step 0 is out of order"),
        (lambda d: d | {"events": [d["events"][0] | {"nbytes": 1 << 70}]}, "is no whole number of 64 bits"),
        (lambda d: d | {"events": [d["events"][0] | {"nbytes": 32.0}]}, "32.0 is no whole number of 64 bits"),
        (
            lambda d: d | {"events": [d["events"][0] | {"value": [1] * 16}]},
            "step 0, a load, has a value that it ",
        ),
        (lambda d: d | {"events": [d["events"][0] | {"shape": [1] * 9}]}, "a shape is impossible"),
        (lambda d: d | {"events": [d["events"][0] | {"loop": [1]}]}, "a loop is no object"),
        (lambda d: d | {"events": [d["events"][0], {**d["events"][1], "value": [1e999]}]}, ""),
        (lambda d: d | {"tensors": [*d["tensors"], d["tensors"][0]]}, "two of its arrays have one name"),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"dtype": "object"}]}, "unknown dtype 'object'"),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"shape": [1 << 62]}]}, "32 numbers where a shape needs"),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"shape": [1 << 62], "data": None}]}, "tensor 'Q' is too large"),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"data": ["x"] * 32}]}, ""),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"data": [None] * 32}]}, "something other than numbers"),
        (lambda d: d | {"tensors": [d["tensors"][0] | {"data": [True] * 32}]}, "something other than numbers"),
    ],
)
def test_a_document_that_is_no_run_is_refused_in_one_line(change, said, tmp_path):
    document = json.loads("\n".join(trace_json.lines(TOY)))
    (tmp_path / "run.json").write_text(json.dumps(change(document)))
    with pytest.raises(ValueError, match=r"run\.json' is not a flashsteps trace: ") as error:
        fs.load(tmp_path / "run.json")
    assert said in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":1,"a":2}', "NaN", "\x00", '{"format": Infinity}', "9" * 9999]
)
def test_what_is_no_json_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json' is not a flashsteps trace: ") as error:
        fs.load(tmp_path / "run.json")
    assert str(error.value).isprintable()


# ---- Perfetto


def timeline(trace, device: str | None = None) -> Any:
    return json.loads("\n".join(perfetto.lines(trace, device)))


@pytest.mark.parametrize("algorithm", ALL)
def test_a_timeline_has_a_track_a_program_and_slices_that_meet(algorithm):
    trace = Problem(algorithm, 9, 7, 4, 4, 3, mask="causal").record()
    events = timeline(trace)["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert [event["args"]["step"] for event in slices] == [event.step for event in trace if event.op != "skip"]
    assert {event["tid"] for event in slices} <= {event.program + 1 for event in trace}
    ends: dict[int, int] = defaultdict(int)
    for event in slices:  # no slice lies within another: each begins where those before it on its track have ended
        assert type(event["ts"]) is int
        assert type(event["dur"]) is int
        assert event["dur"] >= 0
        assert event["ts"] >= ends[event["tid"]]
        ends[event["tid"]] = event["ts"] + event["dur"]
        step = trace[event["args"]["step"]]
        assert (event["cat"], event["tid"] - 1, event["args"]["bytes"]) == (step.op, step.program, step.nbytes)
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert set(names) == {event.program + 1 for event in trace}
    assert [e["args"]["step"] for e in events if e["ph"] == "i"] == [e.step for e in trace if e.op == "skip"]


def test_it_is_in_the_documented_form():
    """The Trace Event Format: what each phase has to have, in the types that it has to have them."""
    document = timeline(TOY)
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    needed = {"X": {"ts", "dur", "tid", "cat"}, "i": {"ts", "tid", "s"}, "C": {"ts"}, "M": {"tid"}}
    for event in document["traceEvents"]:
        assert {"name", "ph", "pid", "args", *needed[event["ph"]]} <= set(event)
        assert isinstance(event["name"], str)
        assert event["pid"] == 1
        if event["ph"] == "C":
            assert all(type(n) is int and n >= 0 for n in event["args"].values())
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")


@pytest.mark.parametrize("device", [None, "h100", "t4"])
def test_times_are_bytes_over_bandwidth_and_flops_over_peak(device):
    gpu = devices.device(device or devices.DEFAULT)
    document = timeline(TOY, device)
    slower = document["otherData"]["slowed_down"]
    io = TOY.io()
    whole = io.total / (gpu.bandwidth * 1e12) + io.work.total / (gpu.tflops * 1e12)
    last = max(e["ts"] + e.get("dur", 0) for e in document["traceEvents"] if "ts" in e)
    assert last == pytest.approx(whole * slower * 1e6, abs=1)
    taken = [e["dur"] for e in document["traceEvents"] if e["ph"] == "X" and e["args"]["bytes"] + e["args"]["FLOPs"]]
    assert min(taken) >= 1  # every step that takes time can be seen
    process = next(e for e in document["traceEvents"] if e["name"] == "process_name")["args"]["name"]
    assert process == f"flash2-forward on {gpu.title}, modelled, slowed down {slower:,} times"
    assert "model" in document["otherData"]["model"]


def test_counters_are_the_bytes_moved_and_on_chip():
    counters: dict[str, list] = defaultdict(list)
    for event in timeline(TOY)["traceEvents"]:
        if event["ph"] == "C":
            counters[event["name"]].append(event["args"])
    io = TOY.io()
    assert counters["HBM bytes"][-1] == {"read": io.read, "written": io.written}
    expected = [(p.shared, p.registers) for p, e in zip(on_chip(TOY), TOY, strict=True) if e.op != "skip"]
    assert [tuple(args.values()) for args in counters["SRAM bytes"]] == expected


# ---- CSV


@given(problems(more=True))
@same_folder
def test_csv_has_a_row_for_each_event_and_adds_up(tmp_path, problem):
    trace = problem.record()
    fs.export(trace, tmp_path / "run.csv", to="csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run.csv").read_text(encoding="utf-8"))))
    assert [int(row["step"]) for row in rows] == list(range(len(trace)))
    assert sum(int(row["nbytes"]) for row in rows if row["op"] == "load") == trace.io().read
    assert sum(int(row[kind]) for row in rows for kind in ("matmul", "exp", "other")) == trace.io().work.total
    for row, event in zip(rows, trace, strict=True):
        assert {k.removeprefix("loop_"): int(v) for k, v in row.items() if k.startswith("loop_") and v} == event.loop
        assert (row["op"], row["slot"], row["tensor"]) == (
            event.op,
            event.slot,
            event.tile.tensor if event.tile else "",
        )


# ---- the command, and what is shown


def test_the_command_exports_saved_and_new_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TOY.save("run.npz")
    said = flashsteps("export", "run.npz", "--to", "perfetto", "-o", "t.json", "--device", "h100")
    assert re.fullmatch(
        rf"t\.json   [\d.,]+ KB   {len(TOY)} steps, [\d.]+ ps by the model, shown 1,000,000,000 times slower\n", said
    )
    assert json.loads(Path("t.json").read_text())["otherData"]["device"] == "h100"
    flashsteps("export", "run.npz", "--to", "json", "-o", "run.json")
    assert fs.load("run.json") == TOY
    assert flashsteps("show", "run.json") == flashsteps("show", "run.npz")
    flashsteps("export", "run.json", "--to", "json", "--no-values", "-o", "less.json")
    assert fs.load("less.json").values == ()
    flashsteps("export", "flash-forward", "--to", "csv", "-o", "run.csv", "--block-q", "8", "--mask", "causal")
    assert Path("run.csv").read_text().startswith("step,op,program,loop_j,loop_i,slot,tensor,start,stop,shape,nbytes,")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("run.npz", "--to", "perfeto", "-o", "a.json"), "unknown kind of export 'perfeto': did you mean 'perfetto'?"),
        (("run.npz", "--to", "csv", "-o", "a.json"), "'a.json': its ending is to say what to make: use .csv"),
        (("run.npz", "--to", "csv", "-o", "a.csv", "--no-values"), "csv holds no values: --no-values is for json"),
        (("run.npz", "--to", "csv", "-o", "a.csv", "--device", "h100"), "--device is for an algorithm to run"),
        (("run.npz", "--to", "csv", "-o", "none/a.csv"), "there is no folder 'none'"),
        (("none.npz", "--to", "csv", "-o", "a.csv"), "'none.npz' is no such file"),
        (("run.npz", "-o", "a.csv"), "--to perfetto|json|csv is missing"),
    ],
)
def test_what_will_not_do_is_told_in_one_line(args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TOY.save("run.npz")
    result = CliRunner().invoke(main, ["export", *args])
    assert result.exit_code == 2
    assert said.lower() in result.stderr.lower()
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_export_in_python_refuses_what_is_not_for_a_kind(tmp_path):
    for options, said in (
        ({"to": "svg"}, "unknown kind of export 'svg'"),
        ({"to": "json", "device": "h100"}, "device='h100' is for perfetto"),
        ({"to": "perfetto", "values": False}, "perfetto holds no values"),
        ({"to": "perfetto", "device": "h1000"}, "unknown device 'h1000'"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            fs.export(TOY, tmp_path / "a.json", **options)
    assert not list(tmp_path.iterdir())


def test_show_as_json_says_what_show_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TOY.save("run.npz")
    summary = json.loads(flashsteps("show", "run.npz", "--json"))
    assert (summary["steps"], summary["meta"]["mask"], summary["totals"]["read"]) == (len(TOY), "causal", TOY.io().read)
    events = json.loads(flashsteps("show", "run.npz", "--json", "--events", "3:9"))
    assert events == [trace_json.plain(event) for event in TOY[3:9]]
    one = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], "$ref": "#/$defs/event"}
    for event in events:
        jsonschema.Draft202012Validator(one).validate(event)
    step = json.loads(flashsteps("show", "run.npz", "--json", "--step", "6"))
    assert step["event"] == trace_json.plain(TOY[6])
    state = TOY.at(6)
    assert {name: part["data"] for name, part in step["sram"].items()} == {
        name: trace_json.numbers(data) for name, data in state.sram.items()
    }
    assert step["hbm"]["O"]["data"][0] == "NaN"
    assert json.loads(flashsteps("show", "run.npz", "--json", "--step", "-1"))["event"] is None


def test_show_says_every_option_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flashsteps(
        "record",
        "flash2-forward",
        "-o",
        "a.npz",
        "--softcap",
        "20",
        "--alibi",
        "0.5",
        "--dropout",
        "0.1",
        "--seed",
        "3",
    )
    text = flashsteps("show", "a.npz")
    for line in ("softcap    20.0", "alibi      0.5", "dropout    0.1, from seed 3"):
        assert line in text
    flashsteps("record", "split-kv-decode", "-o", "b.npz", "--splits", "3")
    assert "splits     1, of the 3 asked for" in flashsteps("show", "b.npz")
    flashsteps("record", "split-kv-decode", "-o", "b.npz", "--splits", "3", "--block-k", "4", "--mask", "causal")
    assert "splits     2, of the 3 asked for" in flashsteps("show", "b.npz")
    flashsteps("record", "paged-decode", "-o", "c.npz", "--seed", "3", "--block-k", "4")
    assert f"table      {' '.join(map(str, fs.load('c.npz').initial['table']))}" in flashsteps("show", "c.npz")
    flashsteps("record", "block-sparse-forward", "-o", "d.npz", "--block-mask", "strided:1", "--block-k", "4")
    assert "block mask  strided:1" in flashsteps("show", "d.npz")


@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_events_are_a_table(colour, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    event_table.show(TOY, TOY.events, file, width=100)
    text = file.getvalue()
    assert ("\x1b[" in text) == colour
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert len(plain) == len(TOY) + 1
    assert plain[0].split() == ["step", "program", "i", "j", "what", "shape", "bytes", "FLOPs", "line"]
    for line, event in zip(plain[1:], TOY, strict=True):
        assert line.split()[0] == str(event.step)
        assert event.op in line
        assert str(event.tile or event.slot) in line


def test_times_are_read_by_people():
    assert [units.time_of(t) for t in (0, 3.4e-15, 1.25e-10, 2e-9, 1.2e-6, 0.0674, 4.31)] == [
        "0 fs", "3.4 fs", "125 ps", "2 ns", "1.2 µs", "67.4 ms", "4.31 s",
    ]  # fmt: skip


def test_the_kinds_are_those_that_are_told_of():
    assert list(exports.KINDS) == ["perfetto", "json", "csv"]
