"""`flashsteps render`: what it asks for, what it makes, and what it says."""

import os
import pty
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.filmkit import films, formats, reel
from flashsteps.filmkit.presets import PRESETS, preset_for
from flashsteps.units import size_of
from tests.cli.commands import program, refused, run, there

SMALL = ("--input", "random:8,4", "--size", "800x450")
TINY = (*SMALL, "--cut", "short", "--fps", "1")
MAGIC = {
    ".gif": b"GIF89a", ".mp4": b"\0\0\0", ".webm": b"\x1aE\xdf\xa3", ".webp": b"RIFF", ".png": b"\x89PNG",
    ".svg": b"<?xml", ".pdf": b"%PDF",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*args: str) -> list[str]:
    return run(*args).decode().splitlines()


def tiny_film(**options) -> reel.Reel:
    return fs.film("flash-forward", input="random:8,4", cut="short", **options)


@pytest.mark.parametrize("name", films.names())
def test_each_film_is_one_that_can_be_rendered(name):
    (line,) = said("render", name, "-o", "a.png", "--size", "800x450", "--at", "1")
    assert line == f"a.png   {size_of(Path('a.png').stat().st_size)}   800×450, at 1.0 s"
    assert there() == ["a.png"]


def test_the_file_is_named_with_what_it_holds():
    (line,) = said("render", "flash-forward", "-o", "a.gif", *TINY)
    size, duration = size_of(Path("a.gif").stat().st_size), tiny_film().duration
    assert line == f"a.gif   {size}   800×450, {duration:.1f} s, 1 fps"
    assert there() == ["a.gif"]


@pytest.mark.parametrize("ending", formats.ENDINGS)
def test_the_ending_says_what_is_made(ending):
    said("render", "flash-forward", "-o", f"a{ending}", *(SMALL if ending in formats.STILLS else TINY))
    assert Path(f"a{ending}").read_bytes().startswith(MAGIC[ending])
    if ending in (".mp4", ".webm"):
        with av.open(f"a{ending}") as made:
            assert len(list(made.decode(video=0))) == round(tiny_film().duration)


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_the_same_command_gives_the_same_bytes_however_many_draw(ending):
    for name, jobs in (("a", "1"), ("b", "2")):
        said("render", "flash-forward", "-o", f"{name}{ending}", *TINY, "--theme", "light", "-q", "--jobs", jobs)
    assert Path(f"a{ending}").read_bytes() == Path(f"b{ending}").read_bytes()


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What the film and the file were asked for, with nothing drawn."""
    found: dict = {}
    film_of = reel.film

    def film(name, **options):
        found.update(options, name=name)
        return film_of(name, **options)

    def render(self, path, **options):
        found.update({name: value for name, value in options.items() if name != "progress"})
        Path(path).write_bytes(b"a film")

    monkeypatch.setattr(reel, "film", film)
    monkeypatch.setattr(reel.Reel, "render", render)
    return found


def test_without_options_a_film_has_the_defaults_of_those_who_own_them(asked):
    said("render", "standard", "-o", "a.gif")
    size = PRESETS["readme"]
    assert asked == {
        "name": "standard", "input": None, "code": False, "kernel": False,
        "size": size[:2], "fps": size.fps, "jobs": None, "cluster": None,
        "loop": 0, "transparent": False,
    }  # fmt: skip


def test_each_option_reaches_the_film(asked):
    options = "--input random:6,4,1 --block-q 3 --block-k 2 --mask causal --dtype float64 --device h100 --theme light"
    more = "--duration 60 --code --transparent --jobs 3"
    said("render", "flash-forward", "-o", "a.webm", *options.split(), "--sram", "8 KiB", *more.split())
    size = PRESETS["slides"]
    assert asked == {
        "name": "flash-forward", "input": "random:6,4,1", "block_q": 3, "block_k": 2, "mask": "causal",
        "dtype": "float64", "device": "h100", "theme": "light", "sram": 8192, "duration": 60.0, "code": True,
        "kernel": False, "size": size[:2], "fps": size.fps, "jobs": 3,
        "cluster": None, "loop": 0, "transparent": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        *((f"a{ending}", "", PRESETS[preset_for(f"a{ending}")]) for ending in MAGIC if ending not in formats.STILLS),
        *(("a.webp", f"--preset {name}", size) for name, size in PRESETS.items()),
        ("a.gif", "--size 600x900", (600, 900, 12)),
        ("a.gif", "--preset slides --fps 20", (1920, 1080, 20)),
    ],
)
def test_size_and_rate_are_the_endings_unless_given(asked, file, options, expected):
    said("render", "flash-forward", "-o", file, *options.split())
    assert (*asked["size"], asked["fps"]) == tuple(expected)


def test_a_picture_is_of_the_moment_asked_for_or_the_last():
    film = fs.film("flash-forward", input="random:8,4")
    last = film.duration - 1 / PRESETS["slides"].fps
    for n, (at, t) in enumerate({"2.5": 2.5, "last": last, "": last}.items()):
        (line,) = said("render", "flash-forward", "-o", f"{n}.png", *SMALL, *(("--at", at) if at else ()))
        film.still("expected.png", t, width=800, height=450)
        assert Path(f"{n}.png").read_bytes() == Path("expected.png").read_bytes()
        assert line.endswith(f"800×450, at {t:.1f} s")


def test_captions_come_beside_the_film():
    lines = said("render", "flash-forward", "-o", "a.webm", *TINY, "--captions")
    assert [line.split()[0] for line in lines] == there()[::-1] == ["a.webm", "a.vtt"]
    assert Path("a.vtt").read_text(encoding="utf-8") == tiny_film().script().vtt()


@pytest.mark.parametrize("problem", [ValueError("no"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_captions_do_not_come_without_the_film(monkeypatch, problem):
    def fail(*args, **options):
        raise problem

    monkeypatch.setattr(reel.Reel, "render", fail)
    result = CliRunner().invoke(main, ["render", "standard", "-o", "a.gif", "--captions"])
    assert result.exit_code == (130 if isinstance(problem, KeyboardInterrupt) else 2)
    assert there() == []


def on_a_terminal(*args: str) -> str:
    """What a command shows on standard error, where that is a terminal."""
    terminal, end = pty.openpty()
    with program(*args, stderr=end) as process:
        os.close(end)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # Linux's way to say that the other end is closed
            pass
        os.close(terminal)
    assert process.returncode == 0
    return shown.decode()


def test_on_a_terminal_there_is_a_bar_with_the_frames_and_elsewhere_none():
    frames = round(tiny_film().duration)
    shown = on_a_terminal("render", "flash-forward", "-o", "a.gif", *TINY)
    assert f" 1/{frames}" in shown
    assert f" {frames}/{frames}" in shown
    assert on_a_terminal("render", "flash-forward", "-o", "a.gif", *TINY, "--quiet") == ""


def test_a_saved_run_can_be_drawn():
    """It is the film of the run that was saved, the Triton kernel's too."""
    small = ("--size", "800x450", "--at", "3", "-q")
    blocks = ("--input", "random:4,2", "--block-q", "2", "--block-k", "2")
    for kernel in ((), ("--kernel",)):
        said("record", "flash2-forward", "-o", "run.npz", *blocks, *kernel)
        said("render", "flash2-forward", "-o", "saved.png", "--trace", "run.npz", *small)
        assert ("kernel" in fs.load("run.npz").meta) == bool(kernel)
        said("render", "flash2-forward", "-o", "new.png", *blocks, *small, *kernel)
        assert Path("saved.png").read_bytes() == Path("new.png").read_bytes()
    assert "this film shows standard-forward" in refused("render", "standard", "-o", "a.png", "--trace", "run.npz")


def test_a_saved_run_whose_code_is_no_code_can_be_drawn_or_is_refused_in_one_line():
    run_of = fs.record("flash2-forward", *fs.load_qkv("random:8,4"), block_q=2, block_k=2)
    for code in ("def f(:\n  ((", "", "x", "\0"):
        run_of.meta["code"] = code
        Path("run.npz").unlink(missing_ok=True)
        try:
            run_of.save("run.npz")
        except ValueError:
            continue  # such a run cannot be
        for options in ((), ("--code",)):
            result = CliRunner().invoke(
                main, ["render", "flash2-forward", "-o", "a.png", "--trace", "run.npz", *options]
            )
            assert result.exit_code in (0, 2), result.exception
            assert result.exit_code == 0 or (result.stderr.count("\n") == 1 and "run.npz" in result.stderr)
