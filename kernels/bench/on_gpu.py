"""`flashsteps bench --on-gpu`: all that is worth knowing of a GPU that is there for minutes, what matters most first.

Each stage is a process of its own (`stages`). What it finds is in the folder at once, a line each; what hangs or breaks
is ended, named, and left out when the stage begins again. After each stage there is one tar of everything.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from flashsteps import files, results
from flashsteps.errors import unknown
from flashsteps.results import Results

from ..targets import tuned

#: seconds that are kept for the end; of its time, what a stage is told that it may take: the rest is for its start
RESERVE, TOLD = 5.0, 0.85

#: how often a stage is begun again
AGAIN = 6


class Stage(NamedTuple):
    """A stage by its name in `stages`, the most seconds that it may take, and which file keeps what it measures.

    `patience`: seconds without a word after which it is taken to hang. `share`: which part of it this is, of how many.
    """

    name: str
    most: float
    file: str = ""
    patience: float = 30.0
    share: tuple[int, int] = (0, 1)


#: in how many processes at one time what is only checked is done: most of its time goes into compiling
SHARES = 8


def _shared(stage: Stage) -> tuple[Stage, ...]:
    return tuple(stage._replace(share=(part, SHARES)) for part in range(SHARES))


#: what is done one after another, what matters most first; those beside each other at one time
ORDER: tuple[tuple[Stage, ...], ...] = (
    (Stage("machine", 30),),
    (Stage("compile", 90, patience=90), Stage("baselines", 60)),
    _shared(Stage("check", 90)),
    _shared(Stage("calls", 60)),
    (Stage("tune", 90, "tune"),),
    (Stage("duel", 75, "duel"),),
    (Stage("schedule", 30),),
    (Stage("grouped", 30),),
    (Stage("beside", 45, "beside"),),
    (Stage("tune-others", 60, "tune"),),
    (Stage("tune-wide", 45, "tune"),),
    _shared(Stage("validate", 75)),
    (Stage("profile", 60, patience=60),),
    (Stage("train", 140, "train", patience=90),),
    (Stage("table", 240, "speed", patience=60),),
)


def chosen(names: Sequence[str] | None) -> tuple[tuple[Stage, ...], ...]:
    """The stages of these names, in their own order; all of them unless some are given.

    Raises ValueError for a name that is none.
    """
    known = list(dict.fromkeys(stage.name for beside in ORDER for stage in beside))
    for name in names or ():
        if name not in known:
            raise ValueError(unknown("stage", name, known))
    wanted = ([stage for stage in beside if stage.name in (names or known)] for beside in ORDER)
    return tuple(tuple(beside) for beside in wanted if beside)


#: the command of a stage: which, seconds, folder, and what it must not do
Command = Callable[[Stage, float, Path, Sequence[str]], Sequence[str]]


def command(stage: Stage, seconds: float, folder: Path, without: Sequence[str], *, quick: bool = False) -> list[str]:
    """How a stage is begun. `-P`: a torch.py in this folder is not torch."""
    left_out = [word for what in without for word in ("--without", what)]
    share = ["--share", *map(str, stage.share)] if stage.share[1] > 1 else []
    module = [sys.executable, "-P", "-u", "-m", f"{__package__}.stages", stage.name, f"{seconds:.1f}", str(folder)]
    return [*module, *["--quick"] * quick, *share, *left_out]


class Run:
    """One run: the folder, its end, and what has been heard so far, by the file that keeps it."""

    def __init__(
        self, folder: Path, seconds: float, gpu: bool, say: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self.folder, self.gpu, self.say, self.clock = folder, gpu, say, clock
        self.begun = clock()
        self.end = self.begun + seconds
        self.name = "gpu"
        self.harmful: list[str] = []
        self.heard: dict[str, Results] = {}
        self.unfinished: dict[str, set[str]] = {}
        self._lock, self._lines = threading.Lock(), (folder / "results.jsonl").open("a", encoding="utf-8")

    def left(self) -> float:
        return self.end - self.clock()

    def hear(self, stage: Stage, line: Mapping[str, Any]) -> None:
        """Write a line down, and keep what belongs to a file."""
        with self._lock:
            self._lines.write(
                json.dumps({"stage": stage.name, "at": round(self.clock() - self.begun, 1)} | dict(line)) + "\n"
            )
            self._lines.flush()
            if "machine" in line:
                self.name = results.default_path("", line["machine"]["name"]).stem.rstrip("-")
            if "harmful" in line:
                self.harmful.append(line["harmful"])
            if stage.file and "head" in line:
                self.heard.setdefault(stage.file, Results(**line["head"]))
                self.unfinished.setdefault(stage.file, set()).add(stage.name)
            if stage.file and line.get("finished"):
                self.unfinished[stage.file].discard(stage.name)
            if stage.file and "row" in line:
                self.heard[stage.file].rows.append(line["row"])

    def save(self, stage: Stage) -> None:
        """The stage's rows as results, and one tar of all that there is."""
        if made := self.heard.get(stage.file):
            rows = _last(made)
            finished = not self.unfinished[stage.file]
            results.write(self.folder / f"{self.name}-{stage.file}.json", made._replace(rows=rows, finished=finished))
        if tuned.PATH.exists():
            (self.folder / tuned.PATH.name).write_bytes(tuned.PATH.read_bytes())
        with files.whole(self.folder / f"{self.name}.tar") as aside, tarfile.open(aside, "w") as tar:
            for path in sorted(self.folder.iterdir()):
                if path.suffix != ".tar" and path.is_file():
                    tar.add(path, path.name)


#: which columns say what a row is of: of two such rows, of a stage that began again, one counts
_KEY = {
    "speed": ("pass", "n", "d", "causal", "backend"),
    "tune": ("kernel", "d", "causal", "config"),
    "train": ("attention", "n"),
    "beside": ("what", "pass", "backend"),
}


def _last(made: Results) -> list[dict[str, Any]]:
    """One row of each thing: the last that was measured, or, where none was, the last that says why."""
    found: dict[str, dict[str, Any]] = {}
    for row in made.rows:
        key = json.dumps({name: row[name] for name in _KEY[made.kind]})
        if row["status"] == "ok" or found.get(key, row)["status"] != "ok":
            found[key] = row
    return list(found.values())


def run(
    folder: Path,
    seconds: float,
    *,
    say: Callable[[str], None],
    gpu: bool | None = None,
    order: Sequence[Sequence[Stage]] = ORDER,
    command: Command = command,
    clock: Callable[[], float] = time.monotonic,
    rehearsed: bool = False,
) -> int:
    """All stages, within so many seconds: exit code 0, or 1 if one of them was not done, or something broke.

    Raises ValueError where the folder is not a new one or cannot be written, and without a GPU, unless `rehearsed`:
    then a CPU will do, with Triton's interpreter.
    """
    gpu = torch.cuda.is_available() if gpu is None else gpu
    if not (gpu or rehearsed):
        raise ValueError("torch sees no GPU here: run it where there is one, or rehearse it with --quick")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"'{folder}' is not empty: name a new folder, or empty it")
    except OSError as error:
        raise ValueError(f"'{folder}': {error.strerror}: name a folder that can be written") from None
    going, failed = Run(folder, seconds, gpu, say, clock), []
    with ThreadPoolExecutor() as pool:
        for beside in order:
            done = list(pool.map(lambda stage: perform(going, stage, command), beside))
            for stage, why in zip(beside, done, strict=True):
                going.save(stage)
                if why:
                    failed.append(f"{stage.name}: {why}")
    for line in failed or ["all done"]:
        say(line)
    say(str(folder / f"{going.name}.tar"))
    return 1 if failed else 0


def perform(going: Run, stage: Stage, command: Command) -> str:
    """Do one stage, again and again without what hangs or breaks; what became of it, or "" if all went well."""
    end = min(going.clock() + stage.most, going.end - RESERVE)
    without, broken = list(going.harmful), ""
    for _ in range(AGAIN):
        left = end - going.clock()
        if left <= 1:
            break
        going.say(f"==> {stage.name}, at most {left:.0f} s of {going.left():.0f}")
        doing, ended = _once(going, stage, command(stage, TOLD * left, going.folder, without), end)
        if not ended:
            return broken
        broken = f"{doing or 'it'} {ended}"
        going.hear(stage, {"broke": doing, "why": ended})
        going.say(f"{stage.name}: {broken}")
        if not doing or doing in without:
            return broken
        without.append(doing)
    return broken or "not run, the time was over"


def _once(going: Run, stage: Stage, command: Sequence[str], end: float) -> tuple[str, str]:
    """Begin a stage and hear it to its end: what it did last, and how it broke, or "" if it did not."""
    doing, said = "", queue.Queue[str | None]()
    env = os.environ | ({} if going.gpu else {"TRITON_INTERPRET": "1"})
    with (going.folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=env,
        )
    reader = threading.Thread(target=_read, args=(process, said), daemon=True)
    reader.start()
    try:
        while True:
            left = end - going.clock()
            try:
                text = said.get(timeout=max(0.0, min(stage.patience, left)))
            except queue.Empty:
                hangs = left > stage.patience
                return (
                    doing,
                    f"said nothing for {stage.patience:.0f} s" if hangs else "was not done when its time was over",
                )
            if text is None:
                code = process.wait()
                return doing, "" if code == 0 else f"ended its process, exit code {code}: {_last_line(going.folder)}"
            line = _parsed(text)
            if "doing" in line:
                doing = line["doing"]
            going.hear(stage, line)
    finally:
        _end(process)


def _read(process: subprocess.Popen[str], said: queue.Queue[str | None]) -> None:
    assert process.stdout
    for text in process.stdout:
        said.put(text)
    said.put(None)


def _parsed(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"said": text.rstrip()}


def _last_line(folder: Path) -> str:
    """The last line on standard error."""
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][-200:] if lines else "no reason given"


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has begun, whatever it waits for."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
