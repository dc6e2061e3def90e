"""How tests run the program: in a process of its own, or in theirs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main

ROOT = Path(fs.__file__).parents[1]


def program(*args: str, code: str = "", **settings) -> Any:
    """The program in a process of its own; `code` runs before it."""
    run = f"import sys; {code}\nfrom flashsteps.__main__ import run; run()"
    env = os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {})
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", run, *args], env=env, **pipes | settings)


def done(*args: str, **settings) -> tuple[int, bytes, bytes]:
    with program(*args, **settings) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def refused(*args: str) -> str:
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result
    return result.stderr


def there() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def run(*args: str) -> bytes:
    """A command in this process: what it writes to standard output."""
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout_bytes
