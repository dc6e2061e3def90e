"""Output files appear whole or not at all, and never in the place of what is no plain file; inputs are plain files."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import flashsteps
from flashsteps import files

ROOT = Path(flashsteps.__file__).parents[1]


@pytest.fixture(params=["nameless", "named"])
def system(request, monkeypatch):
    """One that writes files without a name, as Linux can, and one that cannot."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return request.param


def put(path: Path, text: str = "new") -> None:
    with files.whole(path) as aside:
        aside.write_text(text)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_appears_whole_when_all_is_written(tmp_path, system):
    with files.whole(tmp_path / "a") as aside:
        aside.write_text("new")
        assert not (tmp_path / "a").exists()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "new")]


def test_what_fails_leaves_what_was_there(tmp_path, system):
    (tmp_path / "a").write_text("old")

    def fail(path: Path) -> None:
        with files.whole(path) as aside:
            aside.write_text("half")
            raise RuntimeError

    for name in ("a", "b"):
        with pytest.raises(RuntimeError):
            fail(tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


@pytest.mark.parametrize("length", [1, 241, 242, 247, 255])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path, system, length):
    put(tmp_path / ("x" * length))
    put(tmp_path / ("x" * length), "newer")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["newer"]


def test_a_name_that_is_too_long_is_refused_and_quoted(tmp_path, system):
    name = "x" * 252 + ".npz"
    for refused in (put, lambda path: files.check(path, [".npz"])):
        with pytest.raises(ValueError, match=f"{name}': this name is too long"):
            refused(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_replaced_keeps_its_mode_and_a_new_one_has_what_the_umask_lets(tmp_path, system):
    umask = os.umask(0o027)
    try:
        put(tmp_path / "new")
        for old in (0o600, 0o755, 0o666):
            (tmp_path / "old").touch()
            (tmp_path / "old").chmod(old)
            put(tmp_path / "old")
            assert (mode(tmp_path / "old"), (tmp_path / "old").read_text()) == (old, "new")
    finally:
        os.umask(umask)
    assert mode(tmp_path / "new") == 0o640


def test_a_link_stays_one(tmp_path, system):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/a")
    put(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "a").read_text() == "new"


def test_what_is_read_only_is_not_replaced_until_its_mode_is_changed_as_it_says(tmp_path, system):
    path = tmp_path / "it is mine.npz"
    path.write_text("old")
    path.chmod(0o444)
    for refused in (put, lambda path: files.check(path, [".npz"])):
        with pytest.raises(ValueError, match="it is mine.npz' is read-only: .* run: chmod u\\+w ") as caught:
            refused(path)
    assert (path.read_text(), mode(path)) == ("old", 0o444)
    subprocess.run(str(caught.value).partition("run: ")[2], shell=True, check=True)
    put(path)
    assert path.read_text() == "new"


def test_what_is_no_plain_file_is_not_replaced(tmp_path, system):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    (tmp_path / "folder").mkdir()
    for name, kind in (("fifo", "a FIFO"), ("link", "a device"), ("socket", "a socket"), ("folder", "a folder")):
        before = (tmp_path / name).stat()
        for refused in (put, lambda path: files.check(path, [""])):
            with pytest.raises(ValueError, match=f"{name}' is {kind}.*: name a") as caught:
                refused(tmp_path / name)
            assert "\n" not in str(caught.value)
        assert (tmp_path / name).stat().st_ino == before.st_ino
        assert (tmp_path / name).stat().st_mode == before.st_mode
    assert Path("/dev/null").is_char_device()


def test_what_is_written_aside_can_be_written_by_another_process(tmp_path, system):
    with files.whole(tmp_path / "a") as aside:
        subprocess.run([sys.executable, "-c", f"open({str(aside)!r}, 'w').write('theirs')"], check=True)
    assert (tmp_path / "a").read_text() == "theirs"


WRITING = """
import sys, time
from flashsteps import files
while True:
    with files.whole("a") as aside, aside.open("w") as file:
        for _ in range(100):
            print(sys.argv[1] * 1000, file=file)
        print(flush=True)
        time.sleep(float(sys.argv[2]))
"""


def writing(letter: str, pause: float, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITING, letter, str(pause)]
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="where files must have names, one that is killed leaves one")
def test_one_that_is_killed_leaves_nothing(tmp_path):
    (tmp_path / "a").write_text("old")
    with writing("x", 60, tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_of_two_that_write_to_one_name_the_last_wins_whole(tmp_path):
    put(tmp_path / "a", ("z" * 1000 + "\n") * 100)
    with writing("x", 0, tmp_path) as one, writing("y", 0, tmp_path) as other:
        for process in (one, other, one, other):
            assert process.stdout
            process.stdout.readline()
            text = (tmp_path / "a").read_text()
            assert text == (text[0] * 1000 + "\n") * 100
        one.kill()
        other.kill()


def test_only_a_plain_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a").write_text("here")
    for path, says in ((tmp_path / "fifo", "no plain file"), ("/dev/zero", "no plain file"), (tmp_path, "a folder")):
        with pytest.raises(ValueError, match=f"this is {says}: "):
            files.opened(path)
    with files.opened(tmp_path / "a") as file:
        assert file.read() == b"here"
    with pytest.raises(FileNotFoundError):
        files.opened(tmp_path / "b")
