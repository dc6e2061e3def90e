"""What a film can be written as: to standard output, once or for ever, on no ground, in outlines."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import av
import pytest

import flashsteps as fs
from tests.cli.commands import done, program, refused, run, there

FILM = ("render", "flash-forward", "--input", "random:8,4", "--size", "800x450", "--cut", "short", "--theme", "light")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("form", ["gif", "mp4", "webm", "webp", "png", "svg", "pdf"])
def test_a_film_or_a_picture_goes_to_standard_output_as_the_file_that_it_would_be(form):
    rate = ("--fps", "1") if form not in ("png", "svg", "pdf") else ()
    run(*FILM, *rate, "-o", f"a.{form}")
    assert run(*FILM, *rate, "-o", "-", "--format", form) == Path(f"a.{form}").read_bytes()


def test_what_standard_output_is_has_to_be_said_once():
    line = refused(*FILM, "-o", "-")
    found = re.search(r"add (--format \w+),", line)
    assert found
    assert run(*FILM, "--fps", "1", "-o", "-", *found[1].split()).startswith(b"GIF89a")
    assert "'a.mp4' is no gif: leave --format out" in refused(*FILM, "-o", "a.mp4", "--format", "gif")
    assert "did you mean 'gif'" in refused(*FILM, "-o", "-", "--format", "giff")
    assert "name a file with -o" in refused(*FILM, "-o", "-", "--format", "gif", "--captions")
    assert "'-': its ending is to say what to" in refused("io", "--plot", "-")


def test_a_film_is_played_once_where_it_can_say_so():
    run(*FILM, "--fps", "1", "-o", "a.gif", "--loop", "1")
    assert b"NETSCAPE2.0" not in Path("a.gif").read_bytes()
    run(*FILM, "--fps", "1", "-o", "a.gif")
    assert b"NETSCAPE2.0" in Path("a.gif").read_bytes()
    assert "use .gif or .webp" in refused(*FILM, "-o", "a.mp4", "--loop", "1")
    assert "--loop is for films: leave it out" in refused(*FILM, "-o", "a.svg", "--loop", "1")
    assert "--loop '0': give how many times, 1 or more" in refused(*FILM, "-o", "a.gif", "--loop", "0")


@pytest.mark.parametrize("name", ["a.webm", "a.webp", "a.png", "a.svg", "a.pdf"])
def test_a_transparent_file_is_another_one(name):
    rate = ("--fps", "1") if name in ("a.webm", "a.webp") else ()
    run(*FILM, *rate, "-o", name)
    opaque = Path(name).read_bytes()
    run(*FILM, *rate, "-o", name, "--transparent")
    assert Path(name).read_bytes() != opaque


def test_a_film_that_was_made_in_pieces_says_that_it_is_transparent():
    """Or a browser shows what lies under the alpha."""
    run(*FILM, "--fps", "2", "-o", "a.webm", "--transparent")
    with av.open("a.webm") as film:
        assert ("ALPHA_MODE", "1") in {(name.upper(), said) for name, said in film.streams.video[0].metadata.items()}
    codec: Any = av.CodecContext.create("libvpx-vp9", "r")
    with av.open("a.webm") as film:
        frames = [frame for packet in film.demux(video=0) if packet.size for frame in codec.decode(packet)]
    assert len(frames) == round(2 * fs.film("flash-forward", cut="short").duration)
    assert max(bytes(frame.planes[3])[0] for frame in frames) <= 2  # of 255: as VP9 keeps it


def test_what_cannot_be_transparent_says_what_can():
    for name in ("a.gif", "a.mp4"):
        assert "use .webm, .webp, .png, .svg or .pdf" in refused(*FILM, "-o", name, "--transparent")


def test_a_name_for_many_pictures_is_refused_and_the_film_that_it_offers_is_made():
    line = refused(*FILM, "-o", "frame%04d.png")
    found = re.search(r"such as (\S+)$", line.strip())
    assert found
    run(*FILM, "--fps", "1", "-o", found[1])
    assert there() == ["frame.webm"]


def test_characters_that_no_font_has_are_named_in_one_line_unless_nothing_is_to_be_said(monkeypatch):
    for name in ("HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, "/nowhere")
    fs.record("flash-forward", *fs.load_qkv("random:2,2"), tokens=("a", "\u4f60")).save("run.npz")
    command = ("render", "flash-forward", "--trace", "run.npz", "-o", "a.png")
    code, out, err = done(*command)
    assert (code, err.count(b"\n")) == (0, 1)
    assert out.startswith(b"a.png ")
    assert err.decode().startswith("flashsteps: no font here has \u4f60 (U+4F60): ")
    assert err.decode().strip().endswith("apt install fonts-noto-cjk")
    assert done(*command, "-q") == (0, b"", b"")


def until_drawing(process: Any) -> None:
    """Wait until a render is at work, which shows in its threads or its children where the system tells."""
    tasks = Path(f"/proc/{process.pid}/task")
    while tasks.exists() and process.poll() is None:
        if len(os.listdir(tasks)) > 1 or (tasks / str(process.pid) / "children").read_text():
            break
        time.sleep(0.05)
    time.sleep(0.5 if tasks.exists() else 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_whatever_ends_it_while_it_draws_nothing_is_left(ending, number):
    """No file, no part of one, no process of those that share the work."""
    Path("temporary").mkdir()
    large = ("--size", "3840x2160", "--fps", "50", "--captions", "--jobs", "2")
    how: dict[str, Any] = {
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored
        "start_new_session": True,
        "env": {"TMPDIR": "temporary"},
    }
    with program("render", "flash-forward", "-o", f"a{ending}", *large, **how) as process:
        until_drawing(process)
        assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, b"", b"stopped: nothing was written\n")
    assert there() == ["temporary"]
    assert not list(Path("temporary").iterdir())
    with pytest.raises(ProcessLookupError):  # a group that has nobody in it
        os.killpg(process.pid, 0)


def test_rendering_needs_no_manim_and_reads_nothing_of_its():
    Path("manim.cfg").write_text("[CLI]\npixel_width = abc\nno ini file")
    with program(*FILM, "--fps", "1", "-o", "a.gif", "-q", code="sys.modules['manim'] = None") as process:
        assert process.communicate() == (b"", b"")
    assert process.returncode == 0
