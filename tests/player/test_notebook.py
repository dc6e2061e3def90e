"""The player in a real JupyterLab: it runs, its step goes both ways, and where no widget can run its still is shown."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import traitlets
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import expect

import flashsteps as fs
from flashsteps.player.still import still
from tests.player.browser import browser
from tests.problems import ALL, Problem

ROOT = Path(fs.__file__).parents[1]

CELLS = (
    """import flashsteps as fs
qkv = fs.load_qkv("sample")
trace = fs.record("flash2-forward", *qkv, block_q=4, block_k=4, tokens=qkv.tokens)
player = trace.show(12)
player""",
    """seen = []
player.observe(lambda change: seen.append(change.new), "step")
player.step = 40""",
    """print("seen", seen, "now", player.step)""",
)


@pytest.fixture(scope="module")
def trace():
    qkv = fs.load_qkv("sample")
    return fs.record("flash2-forward", *qkv, block_q=4, block_k=4, tokens=qkv.tokens, source=qkv.source)


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves a folder, to this machine alone; its own settings lie there too."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with (folder / "log.txt").open("w") as log:
        env = os.environ | own | {"PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            if server.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{address}/api?token={token}").close()
                yield f"{address}/lab/tree/run.ipynb?token={token}"
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        pytest.fail((folder / "log.txt").read_text())
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its kernels, too: to be asked takes it as long as it likes
        server.wait()


def test_the_player_in_jupyterlab(tmp_path):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(cell) for cell in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "run.ipynb")
    with jupyter(tmp_path) as address, browser() as running:
        page = running.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
        first = page.locator(".jp-CodeCell .cm-content").first
        first.click()
        page.keyboard.press("Shift+Enter")
        status = page.locator(".flashsteps .status")
        expect(status).to_contain_text("step 12 of 159", timeout=120_000)  # as it was asked for, once the kernel is up
        page.keyboard.press("Shift+Enter")
        expect(status).to_contain_text("step 40 of 159")  # as Python set it
        page.get_by_role("button", name="step", exact=True).click()
        expect(status).to_contain_text("step 41 of 159")
        page.locator(".flashsteps").press("ArrowRight")  # a key of the player, once it has the focus
        expect(status).to_contain_text("step 42 of 159")
        page.locator(".jp-CodeCell .cm-content").nth(2).click()
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".jp-OutputArea-output").last).to_contain_text("seen [40, 41, 42] now 42")
        assert page.locator(".flashsteps").get_attribute("data-theme") == "light"  # as JupyterLab's own is
        expect(page.locator(".flashsteps-still")).to_have_count(1)
        expect(page.locator(".flashsteps-still")).not_to_be_visible()  # while the player runs
        there = page.locator(".jp-CodeCell").count()
        page.locator(".flashsteps .caption").click()
        page.keyboard.press("x")  # JupyterLab would cut the cell
        page.keyboard.press("d")
        page.keyboard.press("d")
        expect(page.locator(".jp-CodeCell")).to_have_count(there)
        page.locator(".flashsteps-still").filter(has_text="step 42 of 159").wait_for(state="attached")
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            page.screenshot(path=f"{folder}/jupyterlab.png")
        assert wrong == []
        page.keyboard.press("Control+s")
        page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
        saved = nbformat.read(tmp_path / "run.ipynb", as_version=4)
        told = words(HTMLExporter().from_notebook_node(saved)[0])
        assert "step 42 of 159" in told  # what was shown last, not what was asked for first
        without(address)
        page.reload()  # with another kernel, or none: the model is gone
        expect(page.locator(".flashsteps-still")).to_contain_text("step 42 of 159")
        expect(page.get_by_text("model not found")).not_to_be_visible()


def without(address: str) -> None:
    """No kernel runs any more."""
    base, token = address.partition("/lab/")[0], address.partition("token=")[2]

    def asked(path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{base}/api/{path}?token={token}", method=method)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    for session in json.loads(asked("sessions")):
        asked(f"sessions/{session['id']}", "DELETE")


def test_a_step_outside_the_run_is_refused(trace):
    player = trace.show(12)
    with pytest.raises(ValueError, match=r"step 160 is outside this run: give one from 0 to 159, or -1 for its start"):
        player.step = 160
    assert player.step == 12
    with pytest.raises(ValueError, match="step -2 is outside this run"):
        trace.show(-2)
    with pytest.raises(traitlets.TraitError):
        player.step = "x"


def test_steps_are_told_in_python_too(trace):
    player, seen = trace.show(), []
    player.observe(lambda change: seen.append(change.new), "step")
    player.step = 7
    assert (seen, repr(player)) == ([7], f"<player of {trace!r}, at step 7>")


class Words(HTMLParser):
    """The text of a page, its scripts and styles left out."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.silent = False

    def handle_starttag(self, tag, attrs):
        self.silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.words += data.split()


def words(page: str) -> str:
    parser = Words()
    parser.feed(page)
    return " ".join(parser.words)


def test_a_notebook_saved_without_its_widgets_shows_the_still(trace):
    bundle, _ = trace.show(6)._repr_mimebundle_()
    cell = new_code_cell("trace.show(6)", outputs=[new_output("execute_result", data=bundle, execution_count=1)])
    page, _ = HTMLExporter().from_notebook_node(new_notebook(cells=[cell]))
    told = words(page)
    assert "step 6 of 159: 6 i=0 j=0 compute S 4×4 1,040 FLOPs" in told
    assert "One tile of scores, made on chip. It never goes to HBM." in told
    assert f"{trace.at(6).sram['S'][0, 0]:.2f}" in told


@pytest.mark.parametrize("algorithm", ALL)
def test_the_still_has_what_moved_and_what_is_on_chip(algorithm):
    trace = Problem(algorithm, 5, 7, 3, 2, 3).record()
    for step in (-1, len(trace) // 2, None):
        text = words(still(trace, step))
        io = trace.io()
        if step is None:
            for name, both in io.by_tensor.items():
                assert f"{name} {both.read:,} B {both.written:,} B" in text
        assert re.search(r"^\S+ · (start|step \d+ of \d+)", text)
    assert trace._repr_html_() == still(trace)


def test_without_anywidget_one_line_says_what_to_install():
    code = """if True:
        import sys
        sys.modules["anywidget"] = None
        import flashsteps as fs
        trace = fs.record("flash2-forward", *fs.load_qkv("random:4,2"))
        assert trace._repr_html_()
        try:
            trace.show()
        except ImportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "to show a trace in a notebook needs anywidget: pip install 'flashsteps[notebook]'"
    ]
