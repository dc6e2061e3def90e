"""One command, tried in a fork of this process, with bounds on its time and memory, and held to how each must end.

A fork has everything imported already, so that hundreds can be tried; what one of them breaks is broken for it alone.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import settings

from flashsteps.cli import main

#: seconds of a processor and bytes beyond what this process has already; those that import torch get more
SECONDS, BYTES = 5, 1 << 30
WITH_TORCH = 30, 12 << 30

#: commands whose exit code 1 says that something differs
MAY_DIFFER = ("validate", "gallery")


def often(few: int) -> int:
    """How many examples: so few in `make test`, ten times as many where it is looked for new ones."""
    return few * (10 if settings.get_current_profile_name() == "fuzz" else 1)


class Ending(NamedTuple):
    """How a command ended: its exit code (below 0: the signal that killed it), and what it said."""

    code: int
    out: str
    err: str


def trial(*args: str, bounds: tuple[int, int] | None = None) -> Ending:
    """`flashsteps ARGS` in this folder, in a process of its own; its bounds are seconds and bytes."""
    torch = args[0] in ("validate", "bench", "capture") or "--kernel" in args or any(".pt" in word for word in args)
    said, wrong = Path(f"../{os.getpid()}.out"), Path(f"../{os.getpid()}.err")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _run(args, said, wrong, *(bounds or (WITH_TORCH if torch else (SECONDS, BYTES))))
    _, status = os.waitpid(child, 0)
    texts = [path.read_bytes().decode() for path in (said, wrong)]
    return Ending(os.waitstatus_to_exitcode(status), *texts)


def _run(args: tuple[str, ...], said: Path, wrong: Path, seconds: int, nbytes: int) -> None:
    """The child: never returns."""
    code: Any = 70
    try:
        os.setsid()
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + nbytes, here + nbytes))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        for number, path in ((0, Path(os.devnull)), (1, said), (2, wrong)):
            file = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if number else 0), 0o600)
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = (open(n, "r" if n == 0 else "w", closefd=False) for n in range(3))  # noqa: SIM115
        main(list(args), prog_name="flashsteps")
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def listing() -> dict[str, bytes | None]:
    """What lies in this folder: the bytes of plain files."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in Path().iterdir()}


def held(*args: str) -> Ending:
    """A trial that ended as each must: exit code 0 or 2, in time and memory; if 2, one line and nothing changed."""
    before = listing()
    ending = trial(*args)
    told = (args, ending)
    assert ending.code in ((0, 1, 2) if args[0] in MAY_DIFFER else (0, 2)), told
    lines = ending.err.splitlines()
    assert all(line.startswith("flashsteps: ") and line.isprintable() for line in lines), told
    assert all(sign.isprintable() or sign in "\n" for sign in ending.out), told
    after = listing()
    if ending.code == 2:
        assert len(lines) == 1, told
        assert lines[0].startswith("flashsteps: error: "), told
        assert ending.out == "" or args[0] == "validate", told
        assert after == before, (told, sorted(after))
    assert not [name for name in after if name not in before and name.startswith(".")], (told, sorted(after))
    return ending
