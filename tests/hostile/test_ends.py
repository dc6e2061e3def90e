"""Ended at any moment, by any signal: what a command leaves is whole, or is what was there before."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from tests.cli.commands import program
from tests.hostile.trial import often

#: commands that write a file, each in a second or two
WRITERS = (
    ("record", "flash2-forward", "-o", "a.npz", "--input", "random:16,8"),
    ("view", "run.npz", "-o", "a.html"),
    ("step", "run.npz", "-o", "a.svg", "--at", "5"),
    ("export", "run.npz", "--to", "json", "-o", "a.json"),
    ("render", "standard", "-o", "a.png", "--at", "3", "--size", "788x444"),
    ("io", "--n", "1K", "--plot", "a.svg"),
    ("explore", "-o", "a.html"),
)


def written(command: tuple[str, ...]) -> str:
    return next(word for word in command if word.startswith("a."))


def run() -> None:
    q = np.random.default_rng(0).standard_normal((3, 8, 4), np.float32)
    fs.record("flash2-forward", *q, block_q=4, block_k=4).save("run.npz")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run()


#: how many commands are ended in one example
EACH = 4
ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


#: a command, how it is ended, and after how many seconds
ENDED = st.tuples(st.sampled_from(WRITERS), st.sampled_from(ENDS), st.floats(0, 1.5))


@given(st.lists(ENDED, min_size=EACH, max_size=EACH))
@settings(max_examples=often(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ended_at_any_moment_the_older_file_or_the_new_one_is_there_whole(tmp_path: Path, ended: list[Any]) -> None:
    """The moment is drawn; where it falls in the command's work is up to the machine, and any of them will do."""
    for command, number, moment in ended:
        name, heed = written(command), lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
        Path(name).write_text("older")
        with program(*command, preexec_fn=heed, env={"TMPDIR": str(tmp_path)}) as process:
            time.sleep(moment)
            process.send_signal(number)
            _, err = process.communicate(timeout=120)
        left = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("run.npz", name))
        if number == signal.SIGKILL:  # a file has a name of its own for a moment before it takes the older one's place
            left = [one for one in left if not (one.startswith(".") and (tmp_path / one).stat().st_size > 3000)]
        told = (command, number, moment, process.returncode, err, left)
        whole = Path(name).read_bytes() != b"older"
        # where Python itself had not begun the program, it says so in its own way
        begun = b"Fatal Python error: init" not in err and (b"KeyboardInterrupt" not in err or b"/cli/" in err)
        assert process.returncode in (0, 128 + number, -number) or not begun, told
        assert not whole or len(Path(name).read_bytes()) > 3000, told
        assert whole or process.returncode != 0, told
        assert left == [], told
        for path in tmp_path.iterdir():
            if path.name != "run.npz":
                path.unlink()
