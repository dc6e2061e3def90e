"""`flashsteps bench --all`: tune, validate, measure, train and draw, each in a process of its own, within a time.

What breaks or hangs in one does not harm the others, and each leaves whole files, cut off or not.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .. import results, theme
from ..files import whole

#: seconds beyond its share after which a process is ended
GRACE = 25.0

#: of its share, what a process is told that it may take: the rest is for its start and its end
TOLD = 0.85

ASK = "import json; from flashsteps.kernels.bench import machine; print(json.dumps(machine.this().about()))"

#: runs a command for at most so many seconds, and gives its exit code; None: it took longer
Runner = Callable[[Sequence[str], float, Path | None], int | None]


class Phase(NamedTuple):
    """A command of flashsteps, and its share of the time; `printed`: the file that keeps what it prints.

    `timed`: it takes --minutes. What has no share takes seconds, and is done even when the time is over.
    """

    name: str
    command: tuple[str, ...]
    share: float
    timed: bool = True
    printed: Path | None = None


def phases(machine: str, *, gpu: bool, quick: bool = False) -> list[Phase]:
    """What there is to do on a machine of that name: tiles are tuned on a GPU alone."""
    fast = ("--quick",) if quick else ()
    speed, train, tune, proof = (results.default_path(kind, machine) for kind in ("speed", "train", "tune", "validate"))
    found = [
        Phase("validate", ("validate", "--json"), 1, timed=False, printed=proof),
        Phase("speed", ("bench", *fast, "-o", str(speed)), 5),
        *_drawn(speed),
        Phase("train", ("bench", "--train", *fast, "-o", str(train)), 2),
        *_drawn(train),
    ]
    return [Phase("tune", ("bench", "--tune", *fast, "-o", str(tune)), 3), *found] if gpu else found


def _drawn(file: Path) -> list[Phase]:
    """Its plots, in each theme: as the gallery names them."""
    ends = {name: "" if name == theme.DEFAULT else f"-{name}" for name in theme.THEMES}
    return [
        Phase(
            f"plot {file.stem}{end}",
            ("bench", "--from", str(file), "--plot", str(file.with_name(f"{file.stem}{end}.svg")), "--theme", name),
            0,
            timed=False,
        )
        for name, end in ends.items()
    ]


def run(
    minutes: float,
    *,
    quick: bool,
    say: Callable[[str], None],
    runner: Runner | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Do all of it, and say how each went: exit code 0, or 1 if anything failed. Raises ValueError without torch."""
    runner = runner or _run
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"bench needs torch, and it did not start ({last}): pip install 'flashsteps[kernels]'")
    about = json.loads(asked.stdout)
    todo, end = phases(about["name"], gpu=about["kind"] == "cuda", quick=quick), clock() + 60 * minutes
    Path(results.FOLDER).mkdir(parents=True, exist_ok=True)
    said = []
    for at, phase in enumerate(todo):
        left = end - clock()
        share = left * phase.share / (sum(one.share for one in todo[at:]) or 1)
        if left <= 0 and phase.share:
            said.append(f"{phase.name}: not run, the time was over")
            continue
        told = ("--minutes", f"{TOLD * share / 60:.3g}") if phase.timed else ()
        say(f"==> flashsteps {' '.join(phase.command)}")
        limit = max(0.0, share) + GRACE
        code = runner([sys.executable, "-m", "flashsteps", *phase.command, *told], limit, phase.printed)
        if code:
            said.append(f"{phase.name}: failed, exit code {code}")
        elif code is None:
            said.append(f"{phase.name}: ended, it took longer than {limit:.0f} s")
    for line in said or ["all done"]:
        say(line)
    return 1 if said else 0


def _run(command: Sequence[str], seconds: float, printed: Path | None) -> int | None:
    """Run a command; what it prints goes where this prints, or to a file, whole or not at all.

    One that takes too long is stopped as Ctrl-C would stop it, so that it ends its own processes too.
    """
    out = subprocess.PIPE if printed else None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out) as process:
        try:
            text, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=GRACE / 2)
            except subprocess.TimeoutExpired:
                process.kill()
            return None
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE / 2)
            process.kill()
            raise
    if printed and text:
        with whole(printed) as aside:
            aside.write_bytes(text)
    return process.returncode
