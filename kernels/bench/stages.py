"""What is measured on a GPU, in stages: each is a process of its own, and says line by line what it does and finds.

    python -m flashsteps.kernels.bench.stages STAGE SECONDS FOLDER [--quick] [--share K N] [--without WHAT] …

A line is a JSON object on standard output: {"doing": what} before anything that might never end, and what was found as
soon as it is. `on_gpu` starts the stages one after another, and ends those that hang.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from flashsteps import files, results
from flashsteps.results import Results

from .. import trace_log
from ..flash2_forward import empty_log, forward
from ..validation.cases import cases
from ..validation.validate import document, validate
from . import beside, calls, machine, modes, numbers, speed, trial, tune
from .backends import BACKENDS, sdpa
from .machine import Machine, this, versions
from .schedule import Deadline
from .trial import PASSES, Failed, Inputs

Line = dict[str, Any]
T = TypeVar("T")

#: all that are tuned
KERNELS = tuple(tune.MAKES)

#: the head that the aims are about, those that are tuned after it, and those that are tuned last
FIRST, OTHERS, WIDE = 128, (64,), modes.WIDE

#: of the last only whole passes are tuned: Hopper's own is held against the two plain kernels as they are shipped
PASSES_ALONE = ("forward", "backward")

#: how often what is held against each other is timed
TURNS = 30

#: who is held against whom
DUEL = ("flashsteps", "cudnn", "flash")

#: query heads that share a head of keys, in `grouped`
GROUP = 4


class Asked(NamedTuple):
    """What a stage may take, in seconds, where it may leave a file, and whether it is only to see that all works.

    `share`: which part of what is to be done this process does, of how many that do it at one time.
    """

    machine: Machine
    seconds: float
    folder: Path
    quick: bool
    share: tuple[int, int] = (0, 1)

    @property
    def gpu(self) -> bool:
        return self.machine.kind == "cuda"

    @property
    def n(self) -> int:
        return modes.DEFAULTS[self.machine.kind, self.quick].tokens if self.gpu else 32

    @property
    def hidden(self) -> int:
        return modes.DEFAULTS[self.machine.kind, self.quick].hidden

    @property
    def d(self) -> int:
        return FIRST if self.gpu else 16

    @property
    def minutes(self) -> float:
        return self.seconds / 60

    def part(self, todo: Sequence[T]) -> Sequence[T]:
        """What this process does of it."""
        return todo[self.share[0] :: self.share[1]]


# ---- the stages


def about(asked: Asked) -> Iterator[Line]:
    """Which GPU this is, at which clocks, and its two ceilings, measured: bytes copied and products done a second."""
    yield {"machine": asked.machine.about(), "versions": versions(), "clocks": clocks()}
    if asked.gpu:
        x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
        y, out = torch.randn_like(x), torch.empty_like(x)
        there = torch.empty(1 << 31, device="cuda", dtype=torch.int8)
        here = torch.empty_like(there)
        calls = {"matmul": lambda: torch.mm(x, y, out=out), "copy": lambda: there.copy_(here)}
        marked = {name: partial(_marked, asked.machine, call) for name, call in calls.items()}
        seconds = speed.timed(asked.machine, marked, {}, speed.BUDGET, tune.LEAST)
        took = {name: median(each) for name, each in seconds.items()}
        yield {
            "ceilings": {
                "bf16_matmul_tflops": speed.digits(2 * 8192**3 / took["matmul"] / 1e12),
                "copy_tb_per_s": speed.digits(2 * (1 << 31) / took["copy"] / 1e12),
            }
        }
    yield {"clocks": clocks()}


def compiling(asked: Asked) -> Iterator[Line]:
    """Every candidate, compiled and run once, in as many processes as there are cores; which must not be run again."""
    if not asked.gpu:
        return
    todo = _candidates()
    harmful = tune.compile_all(todo, asked.hidden, torch.bfloat16, Deadline(2 * asked.minutes))
    yield {"compiled": len(todo)}
    for one, why in harmful.items():
        yield {"harmful": str(one), "why": why}


def baselines(asked: Asked) -> Iterator[Line]:
    """The others alone, twice: how far one run is from the next."""
    for _ in range(2):
        names = ("cudnn", "flash", "efficient")
        yield from _told(_speed(asked, names=names, minutes=asked.minutes / 2))


def check(asked: Asked) -> Iterator[Line]:
    """The kernels' numbers at sizes that are and are not multiples of their tiles, outputs poisoned beforehand."""
    kind = asked.machine.kind
    if not asked.gpu:
        return _checked(asked, numbers.problems(kind, (asked.d,), numbers.SMALL), numbers.errors)
    todo = numbers.problems(kind, (FIRST, *OTHERS), numbers.SIZES)
    todo += numbers.problems(kind, WIDE, numbers.SIZES[:1])  # after all others, and at one size
    return _checked(asked, todo, numbers.errors)


def called(asked: Asked) -> Iterator[Line]:
    """What people call, with all that it takes."""
    todo = calls.all_calls(*(calls.LARGE if asked.gpu else calls.SMALL))
    return _checked(asked, todo[:: 12 if asked.quick else 1], calls.errors)


def tuning(asked: Asked, dims: tuple[int, ...] = (FIRST,), kernels: Sequence[str] = KERNELS) -> Iterator[Line]:
    """The fastest tile of each kernel; the kernels take it from then on."""
    if not asked.gpu:
        return
    yield from _told(
        modes.tune_results(
            dims=dims,
            kernels=kernels,
            minutes=asked.minutes,
            machine=asked.machine,
            quick=asked.quick,
            prepare=lambda *given: {},
        )
    )


def duel(asked: Asked) -> Iterator[Line]:
    """This package's kernel and the fastest others in turn, thirty times each, at 16K tokens and around it."""
    sizes = (16 << 10, 4 << 10, 8 << 10, 32 << 10) if not asked.quick else None
    yield from _told(_speed(asked, names=DUEL, sizes=sizes, least=TURNS))


def grouped(asked: Asked) -> Iterator[Line]:
    """The same where four query heads share a head of keys."""
    for causal in (False, True):
        yield from _grouped(asked, causal)


def others(asked: Asked) -> Iterator[Line]:
    """Masks, packed sequences and decoding beside what torch has for them."""
    settings = {"dtype": "bfloat16", "runs_at_least": beside.TURNS}
    yield {"head": results.begin("beside", asked.machine.about(), versions(), settings)._asdict()}
    for one in beside.subjects(asked.machine.kind, beside.FULL if asked.gpu else beside.QUICK):
        yield from ({"row": row} for row in beside.compared(asked.machine, one))
    yield {"finished": True}


def proof(asked: Asked) -> Iterator[Line]:
    """All kernels against the reference, case by case, and the tiles that the plain forward kernel's own log has."""
    device = asked.machine.kind
    for case in asked.part(cases((), (), device)[: 2 if asked.quick else None]):
        try:
            asked.machine.about_to(str(case))
        except Failed:
            continue
        yield {"validated": document(list(validate([case], device)), device)}


def schedule(asked: Asked) -> Iterator[Line]:
    """Which SM worked on which tile when, as the plain forward kernel wrote it down: full and causal."""
    if not asked.gpu:
        return
    heads, n = 8, 4096
    q, k, v = (torch.randn(1, heads, n, FIRST, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    kept: dict[str, Any] = {"gpu": asked.machine.about()["name"], "heads": heads, "n": n, "d": FIRST}
    for name, causal in (("full", False), ("causal", True)):
        log = empty_log(q, k, v, causal=causal)
        for _ in range(3):  # the last of them finds all compiled, and the clocks up
            forward(q, k, v, causal=causal, trace=log)
            asked.machine.wait()
        visits = trace_log.read(log)
        tiles = visits[np.lexsort((visits["time"], visits["sm"]))]
        kept |= {f"{name}_{column}": tiles[column].astype(np.int32) for column in ("program", "tile", "sm")}
        kept[f"{name}_time"] = (tiles["time"] - tiles["time"].min()).astype(np.int32)
        yield {"schedule": name, "visits": len(tiles), "microseconds": int(kept[f"{name}_time"].max()) / 1000}

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **kept)

    _keep(asked, "schedule.npz", save)


def training(asked: Asked) -> Iterator[Line]:
    """A small GPT, with one attention or another."""
    yield from _told(modes.train_results(minutes=asked.minutes, quick=asked.quick, machine=asked.machine))


def table(asked: Asked) -> Iterator[Line]:
    """All backends at all sizes."""
    yield from _told(modes.speed_results(minutes=asked.minutes, quick=asked.quick, machine=asked.machine))


def profile(asked: Asked) -> Iterator[Line]:
    """What the GPU's own counters say of our kernels, where Nsight Compute is there to read them."""
    ncu = shutil.which("ncu")
    if not ncu or not asked.gpu:
        yield {"profile": None, "why": "there is no Nsight Compute (ncu) here"}
        return
    calls = "forward(q, k, v, causal=c)", "backward(do, q, k, v, *forward(q, k, v, causal=c), causal=c)"
    program = (
        "import torch; from flashsteps.kernels import forward, backward\n"
        f"q, k, v, do = (torch.randn(1, 16, 8192, {FIRST}, device='cuda', dtype=torch.bfloat16) for _ in range(4))\n"
        f"for c in (False, True): {'; '.join(calls)}\n"
    )
    sections = [x for name in ("SpeedOfLight", "WarpStateStats", "Occupancy") for x in ("--section", name)]
    command = [ncu, "--clock-control", "none", *sections, "--csv", "-k", "regex:hopper|forward_kernel|dkdv|dq_"]
    ran = subprocess.run(
        [*command, sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=asked.seconds
    )
    _keep(asked, "profile.csv", lambda path: path.write_text(ran.stdout))
    yield {"profile": ran.returncode, "lines": ran.stdout.count("\n"), "why": machine.plain(ran.stderr)}


STAGES: dict[str, Callable[[Asked], Iterator[Line]]] = {
    "machine": about,
    "compile": compiling,
    "baselines": baselines,
    "check": check,
    "calls": called,
    "tune": tuning,
    "duel": duel,
    "grouped": grouped,
    "beside": others,
    "validate": proof,
    "schedule": schedule,
    "tune-others": partial(tuning, dims=OTHERS),
    "tune-wide": partial(tuning, dims=WIDE, kernels=PASSES_ALONE),
    "train": training,
    "table": table,
    "profile": profile,
}


# ---- what they share


def _told(coming: Iterator[Results]) -> Iterator[Line]:
    """Results as lines: once of what they are, then each row once, and whether nothing is left to do."""
    said, finished = None, False
    for made in coming:
        if said is None:
            yield {"head": made._asdict() | {"rows": []}}
        yield from ({"row": row} for row in made.rows[said or 0 :])
        said, finished = len(made.rows), made.finished
    yield {"finished": finished}


def _checked(asked: Asked, todo: Sequence[T], errors: Callable[[Machine, T], Line]) -> Iterator[Line]:
    """One after the other: how far off its outputs are and may be, or what came in the way."""
    for one in asked.part(todo):
        found: Line = {"what": str(one)}
        try:
            asked.machine.about_to(str(one))
            found |= errors(asked.machine, one)
        except Failed as failed:
            found |= {"holds": False, "why": failed.why}
        except Exception as error:
            found |= {"holds": False, "why": machine.plain(error)}
            asked.machine.wait()  # which raises where the GPU answers no more
        yield {"check": found}


def _speed(asked: Asked, **options: Any) -> Iterator[Results]:
    given = {"minutes": asked.minutes, "sizes": None, **options}
    sizes = given.pop("sizes") or (asked.n,)
    return modes.speed_results(dims=(asked.d,), sizes=sizes, quick=asked.quick, machine=asked.machine, **given)


def _candidates() -> list[tune.Candidate]:
    gpu, masks = torch.device("cuda"), (False, True)
    found = tune.all_candidates((FIRST, *OTHERS), masks, gpu) + tune.all_candidates(WIDE, masks, gpu, PASSES_ALONE)
    return sorted(found, key=lambda one: not (one.config and one.config.hopper))  # what may hang is begun first


def _marked(machine: Machine, call: Callable[[], object], turn: int) -> tuple[Any, Any]:
    start = machine.mark()
    call()
    return start, machine.mark()


def clocks() -> dict[str, str]:
    """What nvidia-smi says of clocks, power and heat; nothing where it is not there."""
    asked = (
        "clocks.sm",
        "clocks.mem",
        "clocks.max.sm",
        "clocks.max.mem",
        "power.draw",
        "power.limit",
        "temperature.gpu",
    )
    command = ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(asked, (part.strip() for part in said.splitlines()[0].split(",")), strict=False))


def _keep(asked: Asked, name: str, write: Callable[[Path], object]) -> None:
    """A file beside the results, named after the machine, whole or not at all."""
    path = asked.folder / results.default_path(name.partition(".")[0], asked.machine.about()["name"]).name
    with files.whole(path.with_suffix(f".{name.partition('.')[2]}")) as aside:
        write(aside)


# ---- heads that share keys


def _grouped(asked: Asked, causal: bool) -> Iterator[Line]:
    n, d, heads = asked.n, asked.d, asked.hidden // asked.d
    point = speed.Point(n, d, causal, 1, heads)
    kind, dtype = torch.device(asked.machine.kind), torch.bfloat16 if asked.gpu else torch.float32
    shapes = [(1, heads, n, d), (1, heads // GROUP, n, d), (1, heads // GROUP, n, d), (1, heads, n, d)]
    sets = tuple(tuple(torch.randn(shape, device=kind, dtype=dtype) for shape in shapes) for _ in range(trial.SETS))
    given = Inputs(sets, causal, {}, {})
    who = {
        "flashsteps": BACKENDS["flashsteps"].make,
        "cudnn": sdpa("cudnn", shared=True),
        "flash": sdpa("flash", shared=True),
    }
    for which in PASSES:
        failed: dict[str, tuple[str, str]] = {}
        calls = {}
        for name, make in who.items():
            if made := trial.or_failed(asked.machine, f"{name} {which}", partial(make, n, causal, kind), failed):
                calls[f"{name} {which}"] = partial(trial.once, asked.machine, made[0], BACKENDS[name], given, which)
        seconds = speed.timed(asked.machine, calls, failed, speed.BUDGET, TURNS)
        for name, each in seconds.items():
            tflops = speed.digits(point.flops(which) / median(each) / 1e12)
            found = {"pass": which, "causal": causal, "n": n, "d": d, "heads": heads, "group": GROUP}
            yield {"grouped": found | {"backend": name.split()[0], "tflops": tflops, "seconds": speed.summary(each)}}
        for name, (status, why) in failed.items():
            yield {
                "grouped": {"pass": which, "causal": causal, "backend": name.split()[0], "status": status, "why": why}
            }


# ---- a process


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m flashsteps.kernels.bench.stages")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1))
    parser.add_argument("--without", action="append", default=[])
    given = parser.parse_args()
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print is no line of ours

    def say(line: Line) -> None:
        lines.write(json.dumps(line, allow_nan=False) + "\n")

    def about_to(what: str) -> None:
        if what in given.without:
            raise Failed("not run", "it did not end, or broke what it ran on")
        say({"doing": what})

    asked = Asked(this(about_to), given.seconds, given.folder, given.quick, tuple(given.share))
    for line in STAGES[given.stage](asked):
        say(line)


if __name__ == "__main__":
    main()
