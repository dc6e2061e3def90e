"""`flashsteps step` on a terminal, held by Textual's pilot: every key, the mouse, sizes, colours, strangers' texts."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from textual.binding import Binding

import flashsteps as fs
from flashsteps import theme
from flashsteps.cli import main
from flashsteps.runs.stepper import Stepper
from flashsteps.terminal import panes
from flashsteps.terminal.app import StepApp
from flashsteps.terminal.paint import Paint, binned, shares
from flashsteps.terminal.picture import svg
from flashsteps.terminal.view import View
from flashsteps.theme import ink_on, mix
from flashsteps.trace.trace import Trace
from flashsteps.units import number
from tests.problems import ALL, Problem

QKV = fs.load_qkv("sample")
TRACE = fs.record("flash2-forward", *QKV, block_q=4, block_k=4, mask="causal", tokens=QKV.tokens)
LAST = len(TRACE) - 1
ROOT = Path(fs.__file__).parents[1]


class Held(StepApp):
    """The app, and the text that was on screen last."""

    last = ""


def held(
    work: Callable, trace: Trace = TRACE, size: tuple[int, int] = (80, 24), kind: type[Held] = Held, **options
) -> Held:
    """Run the app without a terminal, and let `work(app, pilot)` hold it."""
    app = kind(trace, **options)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await work(app, pilot)

    asyncio.run(run())
    return app


def shown(app: StepApp) -> str:
    """The text on screen, without colours."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def keys(*pressed: str, **options) -> Held:
    async def work(app, pilot):
        await pilot.press(*pressed)
        await pilot.pause()
        app.last = shown(app)

    return held(work, **options)


def expected(move: Callable[[Stepper], object], at: int) -> int:
    stepper = Stepper(TRACE)
    stepper.seek(at)
    move(stepper)
    return stepper.step


MOVES = {
    "right": Stepper.next,
    "n": Stepper.next,
    "down": Stepper.next,
    "left": Stepper.back,
    "b": Stepper.back,
    "up": Stepper.back,
    "l": lambda s: s.until(op="load"),
    "L": lambda s: s.until(op="load", reverse=True),
    "s": lambda s: s.until(op="store"),
    "S": lambda s: s.until(op="store", reverse=True),
    "p": Stepper.program,
    "P": lambda s: s.program(reverse=True),
    "t": Stepper.touched,
    "T": lambda s: s.touched(reverse=True),
    "home": lambda s: s.seek(-1),
    "end": lambda s: s.seek(LAST),
    "pagedown": lambda s: s.seek(s.step + 12),
    "pageup": lambda s: s.seek(s.step - 12),
}


@pytest.mark.parametrize("at", [45, 60])
def test_each_key_moves_as_the_stepper_does(at):
    async def work(app, pilot):
        for key, move in MOVES.items():
            app.view.stepper.seek(at)
            await pilot.press(key)
            assert app.view.stepper.step == expected(move, at), key

    held(work)


def test_where_there_is_nowhere_to_go_it_says_so_and_stays():
    app = keys("right", at=LAST)
    assert app.view.stepper.step == LAST
    assert "No step after this: the run is through." in app.last
    assert "No load after this." in keys("l", at=LAST).last
    assert keys("left", "left").view.stepper.step == -1


def test_it_shows_what_the_trace_holds():
    step = next(e.step for e in TRACE if e.slot == "S" and e.loop == {"i": 2, "j": 1})
    app = keys(at=step)
    stepper = Stepper(TRACE)
    stepper.seek(step)
    text = app.last
    assert f"step {step} of {LAST}" in text
    assert "i=2 j=1" in text
    assert stepper.caption in text
    assert f"SRAM  {stepper.on_chip[step].total:,} of 2,048 B" in text
    assert f"moved {stepper.io().total:,} B of {TRACE.io().total:,} B" in text
    assert "standard 6,144 B" in text
    assert "5 of 10 tiles" in text
    assert "6 passed over" in text
    assert f"▶ {stepper.line} s = sram" in text
    for row in stepper.sram["S"]:
        assert re.search(r"\s+".join(re.escape(number(x)) for x in row), text)


@pytest.mark.parametrize("algorithm", ALL)
def test_every_algorithm_can_be_gone_through_at_any_size(algorithm):
    """An ordinary window and a tiny one for each; for one also larger ones, and one between."""
    trace = Problem(algorithm, 9, 7, 4, 4, 3, mask="causal").record()
    last = len(trace) - 1
    visits = {(80, 24): last // 2, (20, 6): last}
    if algorithm == "flash2-forward":
        visits |= {(120, 36): 0, (200, 60): -1, (40, 12): last // 3}

    async def work(app, pilot):
        for size, step in visits.items():
            app.view.stepper.seek(step)
            await pilot.resize_terminal(*size)
            await pilot.pause()
            lines = shown(app).split("\n")
            assert len(lines) == size[1]
            assert {cell_len(line) for line in lines} == {size[0]}

    held(work, trace)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
def test_nothing_is_cut_off_where_it_ought_to_fit(size):
    app = keys(at=60, size=size)
    for word in ("HBM", "SRAM", "source", "tiles", "step 60", "moved", "Quit", "LSE", "animal", "alpha"):
        assert word in app.last, word


def test_a_resize_is_laid_out_at_once():
    async def work(app, pilot):
        for size in ((120, 36), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            app.draw()
            wanted = shown(app)  # once more, with nothing else having changed
            await pilot.resize_terminal(70, 20)
            await pilot.pause()
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert shown(app) == wanted

    held(work, at=60)


def test_too_small_a_window_says_so():
    async def work(app, pilot):
        await pilot.resize_terminal(44, 12)
        await pilot.pause()
        assert "This window has 44×12: it takes 60×16 to step." in " ".join(shown(app).split())
        assert "HBM" not in shown(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "HBM" in shown(app)

    held(work, at=60)


def test_80_columns_keep_the_names_of_rows():
    for algorithm in ("flash2-forward", "flash-forward"):
        trace = fs.record(algorithm, *QKV, block_q=4, block_k=4, tokens=QKV.tokens)
        step = next(event.step for event in trace if event.slot == "P" and event.loop == {"i": 1, "j": 1})

        async def work(app, pilot):
            await pilot.pause()
            app.last = shown(app)

        app = held(work, trace, at=step, size=(80, 24))
        for token in (QKV.tokens or ())[4:8]:
            assert len(re.findall(rf"(?<!\w){re.escape(token[:4])}", app.last)) >= 2, (algorithm, token)


def test_a_dumb_terminal_gets_lines(monkeypatch):
    for stream in (sys.stdout, sys.stdin):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert flashsteps("step", "flash-forward", "--at", "0")[0].startswith("0  store  O[0:16]")


class Clocked(Held):
    """The app with a clock that only `tick` moves on: how fast the machine is makes no difference to what is seen."""

    every = 0.0  # seconds between its ticks, 0 while it stands

    def set_interval(self, *given: Any, **more: Any) -> Any:
        self.every, self.tick = given
        return SimpleNamespace(stop=partial(setattr, self, "every", 0.0))


def test_it_plays_pauses_and_changes_its_speed():
    async def work(app, pilot):
        await pilot.press("plus", "plus", "plus", "plus", "plus", "plus")
        assert app.speed == 50
        assert app.every == 0
        await pilot.press("space")
        assert app.playing
        assert app.every == 1 / 50
        for _ in range(4):
            app.tick()
        assert app.view.stepper.step == 3
        await pilot.press("minus")
        assert app.playing
        assert (app.speed, app.every) == (25, 1 / 25)
        await pilot.pause()
        assert "playing, 25 a second" in shown(app)
        await pilot.press("space")
        assert not app.playing
        assert app.every == 0
        assert app.view.stepper.step == 3
        await pilot.press("end", "space")  # from the end it starts again
        assert app.view.stepper.step == -1
        await pilot.press("right")
        assert not app.playing
        assert app.every == 0

    held(work, kind=Clocked)


def test_playing_goes_by_the_clock_and_ends_with_the_run():
    async def work(app, pilot):
        app.speed = 50
        await pilot.press("space")
        while app.playing:
            await pilot.pause(0.02)
        assert app.view.stepper.step == LAST

    held(work, at=LAST - 3)


def test_a_tile_is_chosen_in_the_map_with_keys_or_the_mouse():
    first = Stepper(TRACE)
    first.tile(2, 1)
    assert keys("m", "down", "down", "right", "enter").view.stepper.step == first.step
    assert keys("m", "down", "escape", "right").view.stepper.step == 0

    async def click(app, pilot):
        await pilot.click("#map", offset=(2 + 2, 1 + 2))  # inside its frame: two signs a tile
        await pilot.pause()

    assert held(click).view.stepper.step == first.step


def test_the_line_of_the_run_and_the_slots_can_be_clicked():
    async def work(app, pilot):
        width = app.query_one("#scrubber").content_size.width
        await pilot.click("#scrubber", offset=(1 + (width - 1) // 2, 0))
        assert abs(app.view.stepper.step - LAST / 2) < LAST / 30
        await pilot.click("#slots", offset=(3, 1))
        await pilot.pause()
        assert app.slot == list(app.view.slots)[1] == "m_i"
        await pilot.press("right")
        assert app.slot == "m_i"
        await pilot.press("tab")
        assert app.slot == "l_i"
        await pilot.press("shift+tab", "escape")
        assert app.held == ""

    held(work)


def test_a_step_or_a_tile_is_typed():
    stepper = Stepper(TRACE)
    stepper.tile(2, 1)
    tile, names = stepper.step, {" ": "space", "-": "minus", ",": "comma"}
    asked = {"57": 57, "-1": -1, "2,1": tile, "2 1": tile, " 3 ": 3, "999": 5, "x": 5, "": 5}

    async def work(app, pilot):
        for typed, step in asked.items():
            app.view.stepper.seek(5)
            await pilot.press("g", *(names.get(sign, sign) for sign in typed), "enter")
            await pilot.pause()
            assert app.view.stepper.step == step, typed
            if typed in ("999", "x"):
                said = f"'{typed}' is no step and no tile: give 0 to {LAST}, or a tile: 2,1."
                assert said in shown(app)
            await pilot.press("escape")

    held(work)


def test_help_names_every_key_and_fits_on_a_small_terminal():
    app = keys("question_mark")
    for binding in StepApp.BINDINGS:
        assert isinstance(binding, Binding)
        assert binding.tooltip in app.last, binding
    assert "click a tile" in app.last
    assert "keys" in app.last
    assert "keys" not in keys("question_mark", "escape").last.replace("? is help", "")
    assert keys("question_mark", "question_mark").view.stepper.step == -1


def test_all_values_of_a_slot_and_who_made_and_read_each():
    made = next(e.step for e in TRACE if e.slot == "S" and e.loop == {"i": 2, "j": 1})
    app = keys("v", "down", "right", at=made, size=(160, 40))
    x = TRACE.at(made).sram["S"][1, 1]
    assert f"S[1, 1] (because × t) = {float(x):.6g}   made at step {made}, read at {made + 1}" in app.last
    load = next(e.step for e in TRACE if e.slot == "k" and e.loop == {"i": 2, "j": 1})
    assert f"loaded at step {load} from K[4:8], read at {made}" in keys("v", at=load, size=(160, 40)).last


def test_colours_change_and_both_themes_are_those_of_the_films():
    app = keys("c")
    assert app.look == "light"
    assert app.current_theme.background == theme.THEMES["light"].bg
    assert keys("c", "c").look == "dark"


@pytest.mark.parametrize("look", list(theme.THEMES))
def test_text_can_be_read_on_its_ground(look):
    """4.5:1 at least, as the design has it; in 16 colours 3:1, which is what these have."""

    def light(color: str) -> float:
        parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(a: str, b: str) -> float:
        high, low = sorted((light(a), light(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for colors, least in ((theme.THEMES[look], 4.5), (theme.SIXTEEN[look], 2.9)):
        for ground in (colors.bg, colors.panel, colors.sram):
            for ink in (colors.ink, colors.dim, colors.accent):
                assert contrast(ink, ground) >= least, (ink, ground)
        for share in np.linspace(0, 1, 20):
            for hue in (colors.Q, colors.K, colors.V, colors.O, colors.S, colors.stat):
                color = mix(colors.sram, hue, round(share, 2))
                assert contrast(ink_on(color), color) >= 4.5


@pytest.mark.parametrize("paint", [Paint(theme.THEMES["dark"], True), Paint(theme.SIXTEEN["dark"], False)])
def test_without_many_colours_signs_say_it(paint):
    view = View(TRACE)
    view.stepper.seek(60)
    hbm = panes.hbm(view, paint, 40, 18)
    text = hbm.plain
    assert ("░" in text) != paint.rich
    assert "·" in text  # O is not all there
    assert "│" in text
    assert "╱" in panes.tile_map(view, paint, 20, 4, None).plain


def test_a_shade_and_a_number_say_the_value():
    assert [number(x) for x in (1.234, -12.34, -0.001, 123456.0, -1e-7, np.nan, -np.inf, 1e30)] == [
        "1.23", "−12.3", "0.00", "1e5", "0.00", "", "−∞", "1e30",
    ]  # fmt: skip
    values = np.array([[0.0, 1.0], [np.nan, -np.inf], [2.0, 4.0]])
    part = shares(values, 0, 4)
    assert part[0].tolist() == [0, 0.25]
    whole = binned(part, 1, 2)
    assert whole[0].tolist() == [0.25, 0.625]
    assert np.isnan(binned(np.full((4, 4), np.nan), 2, 2)).all()
    assert np.isneginf(binned(np.full((4, 4), -np.inf), 2, 2)).all()


HOSTILE = (
    "[bold red]x[/]", "<script>", "[/]", "[@click=app.quit]q[/]", "漢字漢字漢字", "👩‍👩‍👧", "e\u0301" * 9, "\u200b",
    "%s{0}\\", "=1+1", "a" * 500, "[",
)  # fmt: skip


def test_a_strangers_texts_are_shown_as_they_are_and_change_no_width(tmp_path):
    tokens = [HOSTILE[n % len(HOSTILE)] for n in range(16)]
    meta = TRACE.meta | {"tokens": tokens, "algorithm": "[red]flash[/red]" * 9, "input": {"kind": "[b]"}}
    replace(TRACE, meta=meta).save(tmp_path / "run.npz")
    trace = fs.load(tmp_path / "run.npz")

    async def work(app, pilot):
        for key in ("end", "l", "v", "escape", "m"):
            await pilot.press(key)
            await pilot.pause()
            assert {cell_len(line) for line in shown(app).split("\n")} == {app.size.width}
        app.view.stepper.seek(60)
        app.draw()
        await pilot.pause()
        assert "[red]flash" in shown(app)
        assert "[bold re…" in shown(app) or "[bold red" in shown(app)

    held(work, trace, (80, 24))
    held(work, trace, (200, 60))


def test_a_run_without_values_is_shown_without_numbers():
    app = keys("l", "s", at=20, trace=replace(TRACE, values=()))
    assert "no values are kept" in app.last
    assert "step" in app.last


# ---- the command


def flashsteps(*args: str) -> list[str]:
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_without_a_terminal_the_steps_are_lines(tmp_path):
    TRACE.save(tmp_path / "run.npz")
    lines = flashsteps("step", str(tmp_path / "run.npz"))
    assert [line.partition("   ")[0] for line in lines] == [str(event).partition("   ")[0] for event in TRACE]
    assert len(flashsteps("step", str(tmp_path / "run.npz"), "--at", "100")) == len(TRACE) - 100
    again = flashsteps("step", "flash2-forward", "--mask", "causal")
    assert again == lines  # blocks small enough to be looked at, as in a film


def test_one_screen_is_drawn_to_a_file_and_is_the_same_each_time(tmp_path):
    path = tmp_path / "step.svg"
    said = flashsteps("step", "flash2-forward", "--at", "60", "--mask", "causal", "-o", str(path), "--size", "100x30")
    assert re.fullmatch(rf"{re.escape(str(path))}   [\d.,]+ K?B   step 60, 100×30", said[0])
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "http" not in text.replace("http://www.w3.org", "").replace("https://www.textualize.io", "")
    assert "step&#160;60&#160;of&#160;121" in text
    assert svg(TRACE, 100, 30, at=60) == text


@pytest.mark.parametrize("look", ["dark", "light"])
def test_the_window_suits_its_theme(look):
    drawn, colors = svg(TRACE, 100, 30, theme=look, at=60), theme.theme(look)
    frame = re.search(r'<rect fill="(.*?)" stroke="(.*?)".*?<text class="\S*-title" fill="(.*?)"', drawn)
    assert frame
    assert frame.groups() == (colors.bg, colors.line, colors.ink)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("run.npz",), "'run.npz' is no such file"),
        (("flsh",), "unknown algorithm 'flsh': did you mean"),
        (("flash-forward", "--at", "9999"), "--at 9999 is outside this run: give 0 to "),
        (("flash-forward", "--size", "80x24"), "--size is for a picture: leave it out, or name a file with -o"),
        (("flash-forward", "-o", "x.png"), "'x.png': its ending is to say what to make: use .svg"),
        (("{saved}", "--mask", "causal"), "is a saved run, and --mask is for an algorithm to run: leave it out"),
    ],
)
def test_what_will_not_do_is_told_in_one_line(args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TRACE.save("saved.npz")
    result = CliRunner().invoke(main, ["step", *(arg.format(saved="saved.npz") for arg in args)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_textual_it_says_what_to_type(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("flashsteps.terminal")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    result = CliRunner().invoke(main, ["step", "flash-forward", "-o", str(tmp_path / "a.svg")])
    assert result.exit_code == 2
    said = "stepping in a terminal needs textual: pip install 'flashsteps[terminal]'"
    assert result.stderr == f"flashsteps: error: {said}\n"
    assert flashsteps("step", "flash-forward", "--at", "0")[0].startswith("0  store  O[0:16]")


@pytest.mark.parametrize("term", ["xterm", "xterm-256color", "linux"])
def test_on_a_real_terminal_it_starts_is_drawn_and_quits(term):
    """Through a pseudo-terminal of 80 × 24, as over ssh."""
    command = [sys.executable, "-m", "flashsteps", "step", "flash2-forward"]
    env = {k: v for k, v in os.environ.items() if k not in ("COLORTERM", "NO_COLOR")} | {
        "TERM": term, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "LINES": "24",
    }  # fmt: skip
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    seen, asked, end = b"", False, time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
        if not asked and b"standard" in seen and b"Quit" in seen:
            os.write(ours, b"q")
            asked = True
    assert process.wait(10) == 0
    os.close(ours)
    colours = set(re.findall(rb"\x1b\[([\d;]+)m", seen))
    assert any(b"38;5" in c or b"48;5" in c for c in colours) == (term == "xterm-256color")
    assert not any(b"38;2" in c or b"48;2" in c for c in colours)


@pytest.mark.parametrize(("name", "look"), [("step", "dark"), ("step-light", "light")])
def test_the_pictures_of_the_readme_are_what_it_draws(name, look):
    trace = fs.record("flash2-forward", *QKV, block_q=4, block_k=4, tokens=QKV.tokens)
    kept = (ROOT / "renders" / f"{name}.svg").read_text(encoding="utf-8")
    assert svg(trace, 120, 36, theme=look, at=64) == kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_the_terminal_as_it_was(number):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "flashsteps", "step", "flash2-forward", "--input", "random:8,4"]
    env = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        shown = b""
        while b"SRAM" not in shown:
            shown += os.read(ours, 65536)
        assert termios.tcgetattr(theirs) != before
        process.send_signal(number)
        while not shown.endswith(b"\x1b[?25h") and process.poll() is None:
            shown += os.read(ours, 65536) if select.select([ours], [], [], 0.1)[0] else b""
    while select.select([ours], [], [], 0)[0]:
        shown += os.read(ours, 65536)
    assert process.returncode == 128 + number
    assert termios.tcgetattr(theirs) == before
    assert b"\x1b[?1049l" in shown  # back from the screen of its own
    assert b"Traceback" not in shown
    os.close(theirs)
    os.close(ours)
