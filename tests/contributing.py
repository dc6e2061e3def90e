"""What CONTRIBUTING.md shows: its examples and its commands, for the tests that try them as a newcomer would."""

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).resolve().parents[1]


def section(heading: str) -> str:
    """The text under a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def example(heading: str) -> str:
    """The Python file shown there."""
    (code,) = re.findall(r"```python\n(.*?)```", section(heading), re.S)
    return str(code)


def commands(heading: str) -> list[str]:
    """The commands shown there."""
    return re.findall(r"^\$ (.*)", section(heading), re.M)


def entries(heading: str, part: str) -> list[str]:
    """The lines shown there within the text, in backticks, which have this in them and end in a comma."""
    return [line for line in re.findall(r"`([^`\n]+,)`", section(heading)) if part in line]


def put(file: Path, after: str, text: str) -> None:
    """Put a text into a file, after another that is there once."""
    before, found, rest = file.read_text(encoding="utf-8").partition(after)
    assert found, after
    file.write_text(before + found + text + rest, encoding="utf-8")


def copy_of_the_package(folder: Path) -> Path:
    """A folder with the package as it is installed: a newcomer's clone, to add files to."""
    for source, home in (("flashsteps", ""), ("kernels", "kernels"), ("scenes", "scenes")):
        copytree(ROOT / source, folder / "flashsteps" / home, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return folder


def flashsteps(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line of that copy, in its folder."""
    return subprocess.run(
        [sys.executable, "-m", "flashsteps", *args], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
