"""`bench --on-gpu`: what hangs or breaks is named and left out, and every line that was said is there."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from flashsteps import results
from flashsteps.kernels.bench import beside, calls, machine, modes, numbers, on_gpu, stages, tune
from flashsteps.kernels.bench.on_gpu import Stage
from flashsteps.kernels.bench.stages import Asked
from flashsteps.kernels.bench.trial import Failed
from flashsteps.kernels.targets import configs, tuned
from flashsteps.kernels.targets.target import Target
from flashsteps.kernels.validation import standard
from tests.cli.test_cli_errors import refused
from tests.kernels.bench.bench_machine import FakeMachine

#: a process that does three things, and breaks in the second in the way that it is told
PROCESS = """
import json, os, signal, subprocess, sys, time
name, how, *without = sys.argv[1:]
def say(**line):
    print(json.dumps(line), flush=True)
if name == "machine":
    say(machine={"kind": "cuda", "name": "A GPU 80GB"})
head = {"kind": "tune", "date": "2026-01-01", "machine": {"name": "A GPU 80GB"}, "versions": {}, "rows": [],
        "settings": {"dtype": "bfloat16", "n": 8}, "finished": False}
say(head=head)
for at, what in enumerate(("one", "two", "three")):
    if what in without:
        say(left_out=what)
        continue
    say(doing=what)
    if what == "two" and how == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("child", "w").write(str(child.pid))
        time.sleep(600)
    if what == "two" and how == "breaks":
        print("CUDA error: an illegal memory access", file=sys.stderr)
        os._exit(7)
    if what == "two" and how == "talks":
        print("not a line of ours")
    row = {"kernel": what, "n": 8, "d": 64, "causal": False, "dtype": "bfloat16", "config": {}, "status": "ok",
           "why": None, "seconds": {"median": 1.0 + at, "min": 1.0, "max": 4.0}, "runs": 3, "best": False}
    say(row=row)
say(finished=True)
"""

ORDER = ((Stage("machine", 20),), (Stage("compile", 20), Stage("baselines", 20)), (Stage("tune", 20, "tune"),))


def command(how: dict[str, str]) -> on_gpu.Command:
    def made(stage: Stage, seconds: float, folder: Path, without: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", PROCESS, stage.name, how.get(stage.name, ""), *without]

    return made


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")


def done(folder: Path, how: dict[str, str], patience: float = 20.0, **options: Any) -> tuple[int, list[str]]:
    order = [[stage._replace(patience=patience) for stage in together] for together in ORDER]
    said: list[str] = []
    return on_gpu.run(folder, 60, say=said.append, gpu=True, order=order, command=command(how), **options), said


def test_all_lines_are_there_and_one_tar_of_everything(tmp_path: Path) -> None:
    tuned.PATH.write_text("[]")
    code, said = done(tmp_path / "a", {"baselines": "talks"})
    assert (code, said[-2:]) == (0, ["all done", str(tmp_path / "a" / "a-gpu-80gb.tar")])
    found = lines(tmp_path / "a")
    for together in ORDER:
        for stage in together:
            assert [one["row"]["kernel"] for one in found if one["stage"] == stage.name and "row" in one] == [
                "one", "two", "three",
            ]  # fmt: skip
    assert [one["said"] for one in found if "said" in one] == ["not a line of ours"]
    made = results.read(tmp_path / "a" / "a-gpu-80gb-tune.json")
    assert (made.finished, [row["kernel"] for row in made.rows]) == (True, ["one", "two", "three"])
    with tarfile.open(tmp_path / "a" / "a-gpu-80gb.tar") as tar:
        assert sorted(tar.getnames()) == ["a-gpu-80gb-tune.json", "log.txt", "results.jsonl", "tuned.json"]
        kept = tar.extractfile("results.jsonl")
        assert kept
        assert kept.read() == (tmp_path / "a" / "results.jsonl").read_bytes()


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":  # ended, and nobody has asked how
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("stage", ["compile", "baselines", "tune"])
@pytest.mark.parametrize("how", ["hangs", "breaks"])
def test_what_hangs_or_breaks_is_left_out_and_all_else_is_done(tmp_path: Path, stage: str, how: str) -> None:
    code, said = done(tmp_path / "a", {stage: how}, patience=1.5 if how == "hangs" else 20.0)
    assert code == 1
    why = "said nothing for 2 s" if how == "hangs" else "exit code 7: CUDA error: an illegal memory access"
    assert any(text.startswith(f"{stage}: two ") and why in text for text in said)
    found = [one for one in lines(tmp_path / "a") if one["stage"] == stage]
    assert [one["broke"] for one in found if "broke" in one] == ["two"]
    kernels = [one["row"]["kernel"] for one in found if "row" in one]
    assert kernels == ["one", "one", "three"]
    assert [one["left_out"] for one in found if "left_out" in one] == ["two"]
    others = [one["row"]["kernel"] for one in lines(tmp_path / "a") if "row" in one and one["stage"] != stage]
    assert sorted(others) == sorted(["one", "two", "three"] * 3)
    made = results.read(tmp_path / "a" / "a-gpu-80gb-tune.json")
    rows = made.rows
    assert made.finished
    assert [row["kernel"] for row in rows] == (["one", "three"] if stage == "tune" else ["one", "two", "three"])
    if how == "hangs":  # with all that it began
        assert gone(int(Path("child").read_text()))


def test_what_a_stage_calls_harmful_is_done_by_none_after_it(tmp_path: Path) -> None:
    def made(stage: Stage, seconds: float, folder: Path, without: Sequence[str]) -> list[str]:
        code = "import json, sys; print(json.dumps({sys.argv[1]: 'two', 'without': sys.argv[2:]}))"
        return [sys.executable, "-c", code, "harmful" if stage.name == "compile" else "found", *without]

    order = ((Stage("compile", 20),), (Stage("check", 20),))
    on_gpu.run(tmp_path / "a", 60, say=lambda text: None, gpu=True, order=order, command=made)
    assert [one["without"] for one in lines(tmp_path / "a")] == [[], ["two"]]


def test_the_time_that_is_over_ends_a_stage_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not done when the time is over, and what never began."""
    monkeypatch.setattr(on_gpu, "RESERVE", 0.0)
    order = [[stage._replace(patience=100) for stage in together] for together in ORDER]
    said: list[str] = []
    how = command({"machine": "hangs"})
    assert on_gpu.run(tmp_path / "a", 3, say=said.append, gpu=True, order=order, command=how) == 1
    assert "machine: two was not done when its time was over" in said
    assert "tune: not run, the time was over" in said
    assert [one["row"]["kernel"] for one in lines(tmp_path / "a") if "row" in one] == ["one"]


def test_what_was_cut_off_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "RESERVE", 0.0)
    how = command({"tune": "hangs"})
    order = ((Stage("machine", 20),), (Stage("tune", 20, "tune", patience=100),))
    on_gpu.run(tmp_path / "a", 3, say=lambda text: None, gpu=True, order=order, command=how)
    made = results.read(tmp_path / "a" / "a-gpu-80gb-tune.json")
    assert (made.finished, [row["kernel"] for row in made.rows]) == (False, ["one"])


def test_what_was_measured_stays_where_a_second_try_could_not(tmp_path: Path) -> None:
    """A stage that began again without what hung says of it that it was not run: what it took before is not lost."""
    rows = [{"attention": name, "n": 8, "status": status, "why": why} for name, status, why in (
        ("a", "ok", "1"), ("b", "ok", "1"), ("a", "not run", "2"), ("b", "ok", "2"), ("c", "wrong", "1"),
        ("c", "not run", "2"),
    )]  # fmt: skip
    made = results.begin("train", {"name": "x"}, {}, {})._replace(rows=rows)
    assert [(row["attention"], row["why"]) for row in on_gpu._last(made)] == [("a", "1"), ("b", "2"), ("c", "2")]


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()
    with pytest.raises(ValueError, match="is not empty: name a new folder"):
        done(tmp_path / "a", {})
    (tmp_path / "c").touch()
    with pytest.raises(ValueError, match="name a folder that can be written"):
        done(tmp_path / "c", {})


def test_without_a_gpu_it_is_refused_and_says_how_to_rehearse(tmp_path: Path) -> None:
    line = refused(["bench", "--on-gpu", str(tmp_path / "a")])
    assert "torch sees no GPU here" in line
    assert "--quick" in line


def test_every_stage_is_begun_once_and_can_be(tmp_path: Path) -> None:
    names = [together[0].name for together in on_gpu.ORDER] + ["baselines"]
    assert sorted(names) == sorted(stages.STAGES)
    words = on_gpu.command(Stage("check", 3), 3, tmp_path, ["a b", "c"], quick=True)
    assert words[1] == "-P"
    assert words[-5:] == ["--quick", "--without", "a b", "--without", "c"]
    assert {stage.file for together in on_gpu.ORDER for stage in together} == {
        "", "tune", "duel", "train", "speed", "beside",
    }  # fmt: skip


def test_what_is_shared_out_is_done_once_each(tmp_path: Path) -> None:
    todo = list(range(19))
    for together in on_gpu.ORDER:
        if len({stage.name for stage in together}) == 1:  # parts of one
            parts = [Asked(machine.Cpu(), 1, tmp_path, True, stage.share).part(todo) for stage in together]
            assert sorted(one for part in parts for one in part) == todo
            words = [on_gpu.command(stage, 3, tmp_path, []) for stage in together]
            assert len(set(map(tuple, words))) == len(together)


def test_some_stages_alone_are_in_the_order_of_all(tmp_path: Path) -> None:
    assert on_gpu.chosen(None) == on_gpu.ORDER
    assert [together[0].name for together in on_gpu.chosen(["table", "baselines", "calls"])] == [
        "baselines", "calls", "table",
    ]  # fmt: skip
    assert refused(["bench", "--on-gpu", str(tmp_path / "a"), "--stages", "duell"]).count("'duel'")
    assert "--stages is not for" in refused(["bench", "--stages", "duel"])


# ---- the stages themselves


def asked(**without: str) -> Asked:
    def about_to(what: str) -> None:
        if any(word in what for word in without.values()):
            raise Failed("not run", "it hung")

    return Asked(machine.Cpu(about_to), 60, Path(), True)


def test_numbers_are_checked_and_wrong_ones_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [line["check"] for line in stages.check(asked(hung="backward"))]
    assert [one["holds"] for one in found] == ["forward" in one["what"] for one in found]
    assert {one["why"] for one in found if not one["holds"]} == {"it hung"}
    right = numbers.forward

    def wrong(*given: Any, **options: Any) -> Any:
        o, lse = right(*given, **options)
        o[..., -1, -1] = torch.nan  # one number that was never written
        return o, lse

    monkeypatch.setattr(numbers, "forward", wrong)
    found = [line["check"] for line in stages.check(asked(hung="backward")) if "forward" in line["check"]["what"]]
    assert found
    assert {(one["holds"], one["errors"]["O"][0]) for one in found} == {(False, 1e30)}


def test_what_people_call_is_held_against_float64_and_what_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    todo = {one.name: one for one in calls.all_calls(*calls.SMALL)}
    chosen = [
        todo[name]
        for name in (
            "flash_attention: sinks, causal, shared keys",
            "flash_attention: queries that see nothing",
            "flash_attention_varlen: causal, shared keys",
            "flash_attention_with_kvcache: pages, new keys, shared out",
        )
    ]
    assert all(calls.errors(machine.Cpu(), one)["holds"] for one in chosen)
    right = standard.attention

    def wrong(*given: Any, **options: Any) -> Any:  # the same as a kernel that is a little off
        found = right(*given, **options)
        return found | {"O": found["O"] + 0.5}

    monkeypatch.setattr(standard, "attention", wrong)
    assert not any(calls.errors(machine.Cpu(), one)["holds"] for one in chosen)


def test_what_is_timed_beside_torch_gives_the_same_and_is_told_way_by_way() -> None:
    for one in beside.subjects("cpu", beside.QUICK):
        ours, torchs = (one.ways.get(name) for name in ("flashsteps", "math"))
        assert ours
        if torchs and "16 ×" not in one.name:
            made = ours()
            there = torchs().transpose(1, 2) if "decoding" in one.name else torchs()
            torch.testing.assert_close(made, there, atol=0.02, rtol=0.02)
    few = beside.Subject(
        "x", {"flashsteps": lambda: torch.ones(1), "flash": lambda: torch.ones(1) @ torch.ones(2)}, (), 8
    )
    said = list(beside.compared(machine.Cpu(), few))
    assert [(row["backend"], row["status"]) for row in said] == [("flashsteps", "ok"), ("flash", "not available")]
    assert said[0]["tb_per_s"] > 0


def test_what_is_checked_on_a_gpu_is_of_every_kind_and_the_first_of_it_of_both_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numbers, "target", lambda device: Target("cuda", 90))
    checks = numbers.problems("cuda", (128, 64), numbers.SIZES)
    assert len(set(map(str, checks))) == len(checks)
    own = {(one.name, one.options["d"], one.config) for one in checks if one.config}
    assert own == {
        (name, d, config)
        for name in ("forward", "backward")
        for d in (128, 64)
        for config in configs.tried(name, d, Target("cuda", 90))
        if config.hopper
    }
    assert {(one.name, one.options["d"]) for one in checks[:16]} == {
        (a, d) for a in ("forward", "backward") for d in (128, 64)
    }
    for part in ("window", "group", "dtype"):
        assert {one.name for one in checks if part in one.options} == {"forward", "backward"}


def test_heads_of_256_are_checked_and_tuned_with_hoppers_own_passes_after_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hopper, gpu, tuned_now = Target("cuda", 90), FakeMachine(), list[list[tune.Candidate]]()
    gpu.kind = "cuda"
    for module in (numbers, tune):
        monkeypatch.setattr(module, "target", lambda device: hopper)
    monkeypatch.setattr(numbers, "errors", lambda machine, check: {"d": check.options["d"], "check": check})

    def run(machine: Any, todo: list[tune.Candidate], **given: Any) -> Iterator[Any]:
        tuned_now.append(todo)
        return iter(())

    monkeypatch.setattr(tune, "run", run)
    monkeypatch.setattr(tune, "compile_all", lambda todo, *given: dict(run(None, todo)))
    whole = Asked(gpu, 60, Path(), False)
    own = {name: {one for one in configs.tried(name, 256, hopper) if one.hopper} for name in ("forward", "backward")}
    assert all(own.values())

    checked = [line["check"] for line in stages.check(whole)]
    dims = [one["d"] for one in checked]
    assert dims[dims.index(256) :] == [256] * dims.count(256)
    assert set(dims) == {64, 128, 256}
    for name, tiles in own.items():
        mine = [one["check"] for one in checked if one["d"] == 256 and one["check"].name == name]
        for causal in (False, True):
            plain = [one.config for one in mine if one.options == {"d": 256, "n": 1100, "m": 1100, "causal": causal}]
            assert set(plain) == tiles | {None}

    list(stages.STAGES["compile"](whole))
    list(stages.STAGES["tune-wide"](whole))
    list(modes.tune_results(machine=gpu))
    for todo in tuned_now:
        for name, tiles in own.items():
            for causal in (False, True):
                of_all = {one.config for one in todo if one[:3] == (name, 256, causal)}
                assert of_all >= tiles | ({None} if name == "backward" else set())
    assert [one.d for one in tuned_now[2]] == sorted([one.d for one in tuned_now[2]], key=[128, 64, 256].index)


class Allocated(TorchDispatchMode):  # type: ignore[misc]
    """Hears of every tensor that is made, and keeps what it held, but not the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[weakref.ref[torch.Tensor], torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.made.append((weakref.ref(made), made.clone()))
        return made


def test_memory_that_outputs_are_made_of_holds_no_zeros() -> None:
    """Tensors of those shapes, several of each, were full of NaN when they were given back; and they were."""
    like = [torch.zeros(10, 4), torch.zeros(1000, dtype=torch.bfloat16)]
    with Allocated() as allocated:
        numbers.poison(*like)
    for one in like:
        mine = [held for _, held in allocated.made if (held.shape, held.dtype) == (one.shape, one.dtype)]
        assert len(mine) >= 3  # dQ, dK and dV may be of one shape
        assert all(held.isnan().all() for held in mine)
        assert not one.any()
    assert all(made() is None for made, _ in allocated.made)


def test_a_row_is_said_once() -> None:
    made = results.begin("train", {"name": "x"}, {}, {})
    coming = [made, made._replace(rows=[{"n": 1}]), made._replace(rows=[{"n": 1}, {"n": 2}])]
    said = list(stages._told(iter(coming)))
    assert said == [{"head": made._asdict() | {"rows": []}}, {"row": {"n": 1}}, {"row": {"n": 2}}, {"finished": False}]
    assert list(stages._told(iter([made._replace(finished=True)])))[-1] == {"finished": True}
