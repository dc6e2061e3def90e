"""The one command, rehearsed: every stage hangs or breaks once, on a clock of its own, and no line is lost.

The stages are the real list, begun by the real command with --quick; what stands in for their processes says its lines
at once, and time goes by only as they say. Nothing sleeps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from flashsteps import results
from flashsteps.kernels.bench import on_gpu, stages
from flashsteps.kernels.targets import tuned
from tests.cli.test_cli import flashsteps

NAMES = [*stages.STAGES]
WHAT = ("one", "two", "three")

#: seconds that go by before a line
TOOK = 0.02

#: what a process that hangs says instead of a line
HANGS = "hangs"


class Clock:
    """Seconds, of which more go by when somebody says so."""

    def __init__(self) -> None:
        self.now, self._lock = 1000.0, threading.Lock()

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


class Said(queue.Queue[Any]):
    """The lines of a process: waiting for one that hangs takes as long as is waited, but only on the clock."""

    clock: ClassVar[Clock]

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        said = super().get(timeout=10)  # not what is waited for: it is there at once, or never
        assert timeout is not None
        self.clock.spend(timeout if said == HANGS else TOOK)
        if said == HANGS:
            raise queue.Empty
        return said


class Process:
    """A stage's process: three things done, of which the stage that is told to hangs or breaks in the second."""

    ill: ClassVar[tuple[str, str]]
    folder: ClassVar[Path]
    begun: ClassVar[list[Process]]
    ended: ClassVar[list[int]]

    def __init__(self, command: list[str], *, stderr: Any, **options: Any) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("stage", choices=stages.STAGES)
        parser.add_argument("seconds", type=float)
        parser.add_argument("folder", type=Path)
        parser.add_argument("--quick", action="store_true")
        parser.add_argument("--share", type=int, nargs=2, default=(0, 1))
        parser.add_argument("--without", action="append", default=[])
        self.given = parser.parse_args(command[command.index("flashsteps.kernels.bench.stages") + 1 :])
        assert self.given.quick
        assert self.given.seconds > 0
        self.pid, self.code, self.said = -1 - len(self.begun), 0, list[str]()
        self.stderr = os.fdopen(os.dup(stderr.fileno()), "wb", buffering=0)  # a process has its own
        self.begun.append(self)
        self.stdout = self.lines()

    def lines(self) -> Iterator[str]:
        for line in self._lines():
            if line != HANGS:
                self.said.append(line)
            yield line

    def _lines(self) -> Iterator[str]:
        stage = next(one for one in itertools.chain(*on_gpu.ORDER) if one.name == self.given.stage)
        if stage.name == "machine":
            yield json.dumps({"machine": {"kind": "cuda", "name": "A GPU"}})
        kind = {"duel": "speed"}.get(stage.file, stage.file)
        if stage.file:
            yield json.dumps({"head": results.begin(kind, {"name": "A GPU"}, {}, settings(kind))._asdict()})
        for what in WHAT:
            if what in self.given.without:
                continue
            yield json.dumps({"doing": what})
            if what == "two" and self.given.stage == self.ill[0] and self.given.share[0] == 0:
                if self.ill[1] == "hangs":
                    yield HANGS
                else:
                    self.stderr.write(b"CUDA error: an illegal memory access\n")
                    self.code = 7
                return
            yield json.dumps({"row": row(kind, f"{self.given.stage} {what}")} if stage.file else {"found": what})
        yield json.dumps({"finished": True})

    def wait(self) -> int:
        """What was said until now is written down, whatever comes next."""
        written = (self.folder / "results.jsonl").read_text().splitlines()
        mine = [told(line) for line in written if json.loads(line)["stage"] == self.given.stage]
        assert all(mine.count(json.loads(line)) for line in self.said)
        return self.code

    def kill(self) -> None:
        self.ended.append(self.pid)
        self.stderr.close()


def told(line: str) -> dict[str, Any]:
    """A line as its stage said it."""
    return {name: one for name, one in json.loads(line).items() if name not in ("stage", "at")}


def settings(kind: str) -> dict[str, Any]:
    return {name: "x" if of is str else 8 for name, of in results.SETTINGS[kind].items()}


def row(kind: str, what: str) -> dict[str, Any]:
    """A row of such results that is about this."""
    sample = {str: what, int: 8, bool: False, dict: {}, list: [1.0]}
    made = {name: sample.get(of) for name, of in results.ROWS[kind].items()}
    return made | {"status": "ok", "seconds": {"median": 1.0, "min": 1.0, "max": 1.0}, "runs": 3}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, and processes, that are only pretended."""
    made = Clock()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")
    tuned.PATH.write_text("[]")
    monkeypatch.setattr(Said, "clock", made, raising=False)
    for name, one in {"ill": ("", ""), "folder": tmp_path / "a", "begun": [], "ended": []}.items():
        monkeypatch.setattr(Process, name, one, raising=False)
    pretended = SimpleNamespace(Popen=Process, DEVNULL=subprocess.DEVNULL, PIPE=subprocess.PIPE)
    monkeypatch.setattr(on_gpu, "subprocess", pretended)
    monkeypatch.setattr(on_gpu, "queue", SimpleNamespace(Queue=Said, Empty=queue.Empty))

    def killed(pid: int, signal: int) -> None:
        raise ProcessLookupError  # none of these is a process

    monkeypatch.setattr(on_gpu.os, "killpg", killed)
    return made


def test_the_command_with_quick_goes_through_all_stages(clock: Clock) -> None:
    said = flashsteps("bench", "--on-gpu", "a", "--quick")
    assert said[-2:] == ["all done", str(Path("a", "a-gpu.tar"))]
    assert {one.given.stage for one in Process.begun} == set(NAMES)
    assert len(Process.begun) == sum(map(len, on_gpu.ORDER))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["hangs", "breaks"])
def test_whichever_stage_is_killed_once_nothing_that_was_said_is_lost(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    monkeypatch.setattr(Process, "ill", (name, how))
    said: list[str] = []
    begin, begun = partial(on_gpu.command, quick=True), clock()
    code = on_gpu.run(Path("a"), 480, say=said.append, command=begin, clock=clock, rehearsed=True)
    (stage, *_) = (one for one in itertools.chain(*on_gpu.ORDER) if one.name == name)
    why = f"said nothing for {stage.patience:.0f} s" if how == "hangs" else "ended its process, exit code 7: CUDA error"
    hung_to_its_end = how == "hangs" and stage.patience >= stage.most
    why = "was not done when its time was over" if hung_to_its_end else why
    assert code == 1
    assert [one for one in said if one.startswith(f"{name}: two {why}")]

    # all was begun, the one that was killed twice, the second time without what it was killed in
    again = [one for one in Process.begun if one.given.without]
    assert [(one.given.stage, one.given.without) for one in again] == [(name, ["two"])] * (not hung_to_its_end)
    assert len(Process.begun) == sum(map(len, on_gpu.ORDER)) + len(again)
    assert len(Process.ended) == len(Process.begun)
    assert clock() - begun < 480

    # every line is there, and of each process in its order
    written = Path("a", "results.jsonl").read_text().splitlines()
    lines = [told(line) for line in written]
    broke = [line for line in lines if "broke" in line]
    assert [(line["broke"], line["why"].startswith(why)) for line in broke] == [("two", True)]
    everything = [json.loads(line) for one in Process.begun for line in one.said]
    assert len(lines) == len(everything) + 1
    for one in Process.begun:
        rest = iter(told(line) for line in written if json.loads(line)["stage"] == one.given.stage)
        assert all(json.loads(line) in rest for line in one.said)

    # and so is one tar of it all, with whole results of each kind
    files = {path.name for path in Path("a").iterdir()} - {"a-gpu.tar"}
    kinds = {one.file for one in itertools.chain(*on_gpu.ORDER) if one.file}
    assert files == {"results.jsonl", "log.txt", "tuned.json", *(f"a-gpu-{kind}.json" for kind in kinds)}
    with tarfile.open(Path("a", "a-gpu.tar")) as tar:
        assert set(tar.getnames()) == files
        for member in files:
            kept = tar.extractfile(member)
            assert kept
            assert kept.read() == Path("a", member).read_bytes()
    for kind in kinds:
        made = results.read(Path("a", f"a-gpu-{kind}.json"))
        mine = [one.name for one in itertools.chain(*on_gpu.ORDER) if one.file == kind]
        lost = {f"{name} two"} | ({f"{name} three"} if hung_to_its_end else set())
        found = {next(iter(one.values())) for one in made.rows}
        assert found == {f"{of} {what}" for of in mine for what in WHAT} - lost
        assert made.finished == (not (hung_to_its_end and name in mine))
