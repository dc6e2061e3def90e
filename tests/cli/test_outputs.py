"""What commands write where: to standard output, never over their input; and how they end when they are told to."""

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from tests.cli.commands import ROOT, done, program, refused, run, there

TINY = ("--input", "random:8,4", "--block-q", "4", "--block-k", "4")
RUN = ("flash2-forward", *TINY)

#: a command for each kind of file that is written, but for its -o
WRITES: dict[str, tuple[str, ...]] = {
    ".npz": ("record", *RUN),
    ".html": ("view", *RUN),
    ".csv": ("export", *RUN, "--to", "csv"),
    ".json": ("export", *RUN, "--to", "perfetto"),
    ".svg": ("step", *RUN),
    ".htm": ("explore", "--input", "random:8,4"),
}
each = pytest.mark.parametrize("ending", WRITES)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- standard output


@each
def test_a_dash_writes_the_same_bytes_to_standard_output_and_nothing_else(ending):
    run(*WRITES[ending], "-o", f"a{ending}")
    os.mkdir("temporary")
    code, out, err = done(*WRITES[ending], "-o", "-", env={"TMPDIR": "temporary"})
    assert (code, err) == (0, b"")
    assert out == Path(f"a{ending}").read_bytes()
    assert there() == [f"a{ending}", "temporary"]
    assert not os.listdir("temporary")


def test_results_go_to_standard_output_too():
    path = next((ROOT / "renders" / "data").glob("*-speed.json"))
    assert done("bench", "--from", str(path), "-o", "-")[1] == path.read_bytes()


def test_on_a_terminal_it_is_refused():
    ours, theirs = pty.openpty()
    code, _, err = done("record", *RUN, "-o", "-", stdout=theirs)
    os.close(theirs)
    assert (code, err.count(b"\n")) == (2, 1)
    assert b"standard output is a terminal" in err
    with pytest.raises(OSError, match="Input/output error"):  # nothing was written there
        os.read(ours, 1)
    os.close(ours)


def test_what_is_wrong_is_said_of_the_dash():
    line = refused("step", *RUN, "-o", "-", "--size", "1x1")
    assert "--size 1x1" in line
    line = refused("record", *RUN, "-o", "-", "--sram", "1")
    assert "/" not in line


def test_a_reader_that_leaves_early_is_no_error():
    with program("view", *RUN, "-o", "-") as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_fifo_is_refused_and_filled_as_the_refusal_says():
    os.mkfifo("a.npz")
    line = refused("record", *RUN, "-o", "a.npz")
    assert "'a.npz' is no plain file" in line
    given = re.search(r"with: -o (.*)", line)
    assert given
    run("record", *RUN, "-o", "b.npz")
    command = f"{sys.executable} -m flashsteps record {' '.join(RUN)} -o {given[1]}"
    with subprocess.Popen(command, shell=True, env=os.environ | {"PYTHONPATH": str(ROOT)}):
        assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    assert Path("a.npz").is_fifo()


@each
def test_what_is_no_plain_file_stays_what_it_is(ending):
    path = Path(f"a{ending}")
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/null"), path.mkdir, listen(path)):
        make()
        before = looks(path)
        assert f"'a{ending}' is " in refused(*WRITES[ending], "-o", str(path))
        assert looks(path) == before
        path.rmdir() if path.is_dir() else path.unlink()


def looks(path: Path) -> tuple[int, ...]:
    """All of `lstat` but the time of reading: following a link to see where it leads is allowed, and sets it."""
    seen = path.lstat()
    return seen.st_mode, seen.st_ino, seen.st_dev, seen.st_nlink, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def listen(path: Path):
    def make() -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))

    return make


# ---- inputs


READS = [
    ("record", "flash2-forward", "--input", "a.npz", "-o", "b.npz"),
    ("record", "flash2-forward", "--input", "random:8,4", "--mask", "causal+file:a.npz", "-o", "b.npz"),
    ("record", "flash2-block-sparse-forward", "--input", "random:8,4", "--block-mask", "file:a.npz", "-o", "b.npz"),
    ("record", "flash2-backward", "--input", "random:8,4", "--do", "a.npz", "-o", "b.npz"),
    ("export", "a.json", "--to", "json", "-o", "b.json"),
    ("bench", "--from", "a.json", "-o", "b.json"),
]


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_what_is_read_is_not_written(command):
    """By whatever name: the same, one with a folder in it, a link, a hard link."""
    read, written = (name for part in command for name in re.findall(r"[ab]\.\w+", part))
    Path(read).write_text("read")
    Path("link").mkdir()
    Path("link", written).symlink_to(f"../{read}")
    Path("hard").mkdir()
    Path("hard", written).hardlink_to(read)
    for name in (read, f"./{read}", f"link/{written}", f"hard/{written}"):
        line = refused(*command[:-1], name)
        assert f"'{Path(name)}' is what " in line
        assert "choose another file for -o" in line
    assert Path(read).read_text() == "read"


FIFOS = [
    ("record", "flash2-forward", "--input", "a.npz", "-o", "b.npz"),
    ("count", "flash2-forward", "--n", "8", "--d", "4", "--mask", "file:a.npy"),
    ("count", "flash2-block-sparse-forward", "--n", "8", "--d", "4", "--block-mask", "file:a.npz"),
    ("io", "--n", "8", "--algorithms", "flash2-block-sparse-forward", "--block-mask", "file:a.npy"),
    ("record", "flash2-backward", "--input", "random:8,4", "--do", "a.npy", "-o", "b.npz"),
    ("view", "flash2-forward", "--mask", "file:a.npy", "-o", "b.html"),
    ("bench", "--from", "a.json"),
    ("show", "a.npz"),
    ("step", "a.json"),
    ("export", "a.npz", "--to", "csv", "-o", "b.csv"),
    ("render", "flash-forward", "--trace", "a.npz", "-o", "b.gif"),
    ("render", "flash-forward", "--mask", "file:a.npy", "-o", "b.gif"),
]


@pytest.mark.parametrize("command", FIFOS, ids=" ".join)
def test_what_might_never_end_is_not_read(command):
    (name,) = (name for part in command for name in re.findall(r"a\.\w+", part))
    os.mkfifo(name)
    assert "no plain file" in refused(*command)
    os.unlink(name)
    Path(name).symlink_to("/dev/zero")
    assert "no plain file" in refused(*command)
    assert there() == [name]


# ---- ends


IN_THE_MIDDLE = """
import time
from flashsteps import files
from pathlib import Path
def slow(path, text="", **how):
    if path.suffix == ".html":
        return
    path.write_bytes(text.encode()[:100])
    print("begun", file=sys.stderr, flush=True)
    for _ in range(600):  # a signal that comes just before one long sleep would not end it
        time.sleep(0.1)
Path.write_text = slow
"""


@pytest.mark.parametrize(
    ("names", "number"),
    [("nameless", signal.SIGINT), ("nameless", signal.SIGTERM), ("nameless", signal.SIGHUP), ("named", signal.SIGTERM)],
)
def test_whatever_ends_it_nothing_is_left_behind(number, names):
    Path("a.html").write_text("old")
    Path("temporary").mkdir()
    code = ("import os; vars(os).pop('O_TMPFILE', 0)" if names == "named" else "") + IN_THE_MIDDLE
    for output in ("a.html", "b.html", "-"):
        heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
        with program("view", *RUN, "-o", output, code=code, env={"TMPDIR": "temporary"}, **heed) as process:
            assert process.stderr.readline() == b"begun\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (128 + number, b"", b"stopped: nothing was written\n")
    assert there() == ["a.html", "temporary"]
    assert Path("a.html").read_text() == "old"
    assert not os.listdir("temporary")


def test_a_second_signal_does_not_stop_the_cleaning_up():
    with program("view", *RUN, "-o", "a.html", code=IN_THE_MIDDLE) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=20)
    heeded = (signal.SIGHUP, signal.SIGTERM)  # by a shell's number, or, once all is cleaned up, as any program heeds it
    assert process.returncode in [end for number in heeded for end in (128 + number, -number)]
    assert there() == []


def test_what_nohup_ignores_stays_ignored():
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with program("view", *RUN, "-o", "a.html", code=IN_THE_MIDDLE.replace("600", "5"), **ignored) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=20)
    assert (process.returncode, there()) == (0, ["a.html"])


def test_a_library_that_is_used_leaves_signals_alone():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    CliRunner().invoke(main, ["list"])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


# ---- streams and surroundings


COMMANDS: list[tuple[str, ...]] = [
    ("list",),
    ("show", "run.npz", "--events", "all"),
    ("step", "run.npz"),
    *((*command, "-o", f"a{ending}") for ending, command in WRITES.items()),
]
CLOSED = [(command, (0, 1, 2)) for command in COMMANDS] + [(("show", "run.npz"), (n,)) for n in range(3)]


@pytest.mark.parametrize(("command", "closed"), CLOSED, ids=str)
def test_a_closed_stream_is_as_good_as_none(command, closed):
    fs.record("flash2-forward", *fs.load_qkv("random:8,4")).save("run.npz")
    expected = run(*command)
    made = {name: Path(name).read_bytes() for name in there()}
    for name in made.keys() - {"run.npz"}:
        Path(name).unlink()

    def close() -> None:
        for number in closed:
            os.close(number)

    code, out, err = done(*command, preexec_fn=close)
    assert (code, out, err) == (0, b"" if 1 in closed else expected, b"")
    assert {name: Path(name).read_bytes() for name in there()} == made


def test_what_is_wrong_has_its_exit_code_even_if_nobody_is_told():
    assert done("show", "none.npz", preexec_fn=lambda: os.close(2)) == (2, b"", b"")


NOWHERE = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), "/dev/null")
SETTINGS = [
    {"NO_COLOR": "1", "COLUMNS": "33", "LINES": "7", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    | NOWHERE | {"TEXTUAL_THEME": "nord", "TEXTUAL_ANIMATIONS": "none"},
    {"FORCE_COLOR": "1", "COLORTERM": "", "TERM": "dumb", "TEXTUAL_COLOR_SYSTEM": "standard", "TZ": "Asia/Tokyo"}
    | {"MPLBACKEND": "none", "MPLCONFIGDIR": "/nowhere", "LC_ALL": "xx_YY.utf8", "FLASHSTEPS_THEME": "x"},
]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [("step", *RUN, "-o", "a.svg"), ("io", "--n", "1K", "--algorithms", "flash2-forward", "--plot", "a.svg")],
    ids=" ".join,
)
def test_a_file_does_not_depend_on_what_is_set_around_it(command):
    run(*command)
    made = {Path("a.svg").read_bytes()}
    for env in SETTINGS:
        assert done(*command, env=env)[::2] == (0, b"")
        made.add(Path("a.svg").read_bytes())
    assert len(made) == 1


@pytest.mark.parametrize("home", ["/nowhere", "/proc", "/dev/null"])
def test_a_home_that_is_none_is_no_news(home):
    expected = done("record", *RUN, "-o", "a.npz")
    assert done("record", *RUN, "-o", "a.npz", env=dict.fromkeys(NOWHERE, home)) == expected


def test_a_full_disk_behind_standard_output_is_told():
    with open("/dev/full", "wb") as full:
        code, _, err = done("record", *RUN, "-o", "-", stdout=full)
    assert (code, err.count(b"\n")) == (2, 1)
    assert b"No space left on device" in err


def test_numbers_come_through_a_pipe_as_they_were():
    _, out, _ = done("record", *RUN, "-o", "-")
    with np.load(io.BytesIO(out)) as columns:
        assert json.loads(str(columns["meta"]))["algorithm"] == "flash2-forward"


# ---- what is saved can be shown


def test_a_mask_whose_file_has_a_plus_in_its_name_can_be_saved_and_read_again():
    np.save("a+b.npy", np.tri(8, dtype=bool))
    for mask in ("file:a+b.npy", "causal+file:a+b.npy", "file:a+b.npy+causal"):
        run("record", *RUN, "--mask", mask, "-o", "run.npz")
        assert fs.load("run.npz").meta["mask"] == mask


def test_a_run_in_which_no_tile_is_visited_is_shown_at_each_step():
    none = np.zeros((4, 4), bool)
    trace = fs.record("flash2-block-sparse-forward", *fs.load_qkv("random:8,4"), block_q=2, block_k=2, block_mask=none)
    trace.save("run.npz")
    for n in range(len(trace)):
        result = CliRunner().invoke(main, ["show", "run.npz", "--step", str(n)], catch_exceptions=False)
        assert (result.exit_code, result.stderr) == (0, "")
    for at in ("-1", "3"):
        run("step", "run.npz", "--at", at, "-o", "a.svg")


def test_a_screen_that_cannot_be_drawn_is_not_written(monkeypatch):
    from flashsteps.terminal import panes

    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(panes, "hbm", fail)
    result = CliRunner().invoke(main, ["step", *RUN, "-o", "a.svg"])
    assert result.exit_code
    assert there() == []
