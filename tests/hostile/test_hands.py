"""Clumsy hands: bad values for every option of every command, as the program itself lists them.

A command that is added has to get a line in BASE; its options are then covered by themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.cli import main
from tests.hostile.trial import held, often

#: each command as it works, quickly: what is changed here and there
BASE: dict[str, tuple[str, ...]] = {
    "render": ("flash-forward", "-o", "a.png", "--at", "1", "--size", "788x444"),
    "talk": ("-o", "a.html", "--films", "problem", "--cut", "short", "--fps", "1", "--size", "96x54", "--jobs", "1"),
    "gallery": ("folder", "--check", "--films", "limits"),
    "list": (),
    "record": ("flash2-forward", "-o", "a.npz", "--input", "random:8,4"),
    "show": ("run.npz",),
    "view": ("flash2-forward", "-o", "a.html", "--input", "random:8,4"),
    "explore": ("-o", "a.html"),
    "embed": ("flash-forward",),
    "step": ("flash2-forward", "--input", "random:8,4"),
    "export": ("flash2-forward", "--to", "json", "-o", "a.json", "--input", "random:8,4"),
    "schema": (),
    "count": ("flash2-forward", "--n", "16", "--d", "8"),
    "io": ("--n", "1K"),
    "blocks": ("--d", "64"),
    "validate": ("--kernel", "merge", "--shapes", "1,1,4,4"),
    "bench": ("--from", "points.json"),
    "capture": ("folder", "--text", "a b"),
    "doctor": (),
    "completion": ("bash",),
}

#: what somebody may type, or a script that went wrong may give
PLAIN = re.findall(
    r"\S+",
    """
    0 -1 1 3 1.5 1e9 1e400 nan inf -inf 0x10 1_0 2147483648 -9223372036854775809 1/2 4x4 320x 0x0 99999x99999 1,2, ,
    a None True [] {} %s {0} a=b ' " \\ . .. / ./ a/b folder missing missing.npz fifo fifo.npz /dev/zero /dev/full
    run.npz points.json q.npy q.npz frame%04d.png a.txt A.NPZ .npz - -- -o --help
    causal causal+ + causal+none window:1 window:-2,0 prefix:0 prefix:99 document:1,1 keys:0 keys:9
    file: file:missing.npy file:fifo file:q.npy file:/dev/zero random: random:0,4 random:8,4,-1 random:8,4,5,6
    random:99999999,99999999 sample sample,sample h100 float64 2048B all 5:3 : 1:2:3 last full short lecture
    flash2-backward paged-decode local:0 random:2,0 bhsd
""",
)
ODD = ("", " ", "\uff14", "\u0663", "9" * 25, "9" * 400, "x" * 300, "\u202eb", "\x1b[2J", "a\nb", "a\tb", "\U0001f4a5")

TEXTS = st.sampled_from([*PLAIN, *ODD]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9
)
NUMBERS = st.integers().map(str) | st.floats().map(str) | st.integers(-2, 20).map(str)


@contextlib.contextmanager
def somewhere(folder: Path) -> Any:
    """A folder with a run, arrays, and what is no plain file."""
    folder.mkdir()
    with contextlib.chdir(folder):
        Path("folder").mkdir()
        os.mkfifo("fifo")
        os.mkfifo("fifo.npz")
        q = np.random.default_rng(0).standard_normal((3, 8, 4), np.float32)
        fs.record("flash2-forward", *q, block_q=4, block_k=4).save("run.npz")
        np.save("q.npy", q)
        np.savez("q.npz", q=q[0], k=q[1], v=q[2])
        Path("points.json").write_text("{}")
        yield


def test_every_command_is_covered() -> None:
    assert set(BASE) == set(main.commands)


@pytest.mark.parametrize("command", [name for name in BASE if name not in ("talk", "validate", "bench")])
def test_as_it_stands_each_works(command: str, tmp_path: Path) -> None:
    with somewhere(tmp_path / "here"):
        assert held(command, *BASE[command]).code == {"gallery": 1, "capture": 2}.get(command, 0)  # no model is there


def changed(draw: Any, command: str) -> tuple[str, ...]:
    """A command with one to three options, or an argument, as they ought not to be."""
    words = list(BASE[command])
    params = [param for param in main.commands[command].params if "--help" not in param.opts]
    for param in draw(st.lists(st.sampled_from(params), min_size=1, max_size=3)) if params else []:
        value = draw(TEXTS | NUMBERS)
        if isinstance(param, click.Argument):
            words[:1] = [value]
        elif getattr(param, "is_flag", False):
            words.append(param.opts[-1])
        else:
            words += [param.opts[-1], value]
    if draw(st.integers(0, 9)) == 0:
        words.append(draw(TEXTS))
    return (command, *words)


@given(st.data())
@settings(max_examples=often(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_option_is_given_it_works_or_says_why_not_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    command = data.draw(st.sampled_from([name for name in BASE if name not in ("validate", "bench", "talk")]))
    folder = tmp_path / str(len(os.listdir(tmp_path)))
    with somewhere(folder):
        held(*changed(data.draw, command))
