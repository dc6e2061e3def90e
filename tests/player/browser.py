"""A real browser for the tests: the Chromium, or Chrome, that is on this machine, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = "Contents/MacOS"
PLACES = (f"/Applications/Google Chrome.app/{MAC}/Google Chrome", f"/Applications/Chromium.app/{MAC}/Chromium")

#: it opens pages, in one process, and does nothing else: no updates, no first run, nothing fetched
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--renderer-process-limit=1",
)  # fmt: skip

#: what axe finds wrong, once its script is in the page, and nothing of what it finds right
VIOLATIONS = """axe.run({ resultTypes: ["violations"] })
  .then((all) => all.violations.map((one) => [one.id, one.nodes[0].html]))"""

#: its letters are there, and all that follows from how wide they are
LAID_OUT = """document.fonts.ready.then(() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(() => done()))))"""

expect.set_options(timeout=30_000)  # others may be at work, too


def executable() -> str:
    """Where the browser is: as CHROMIUM says, on the path, or where macOS has it."""
    found = [
        os.environ.get("CHROMIUM"),
        *map(shutil.which, NAMES),
        *(place for place in PLACES if Path(place).exists()),
    ]
    there = next(filter(None, found), None)
    if there is None:
        raise RuntimeError("no Chromium and no Chrome: install one (`make test` does), or say where: CHROMIUM=/path")
    return there


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
        try:
            yield running
        finally:
            running.close()


#: what a page can be told of who looks at it, without a profile of its own
MEDIA = ("color_scheme", "reduced_motion", "forced_colors")

#: the profiles of a browser, by their settings: to make one costs as much as to open a page in it, so pages share them
_profiles: WeakKeyDictionary[Browser, dict[frozenset[Any], BrowserContext]] = WeakKeyDictionary()


@contextmanager
def tab(running: Browser, width: int = 1440, height: int = 900, **settings) -> Iterator[Page]:
    """A page with nothing in it yet; what it stores is forgotten with it."""
    media = {name: settings.pop(name) for name in MEDIA if name in settings}
    profiles, of = _profiles.setdefault(running, {}), frozenset(settings.items())
    if of not in profiles:
        profiles[of] = running.new_context(**settings)
        profiles[of].new_page().goto(Path(__file__).parent.as_uri())  # it keeps the process that draws pages of files
    page = profiles[of].new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(**media)
    page.set_default_timeout(30_000)
    try:
        yield page
    finally:
        if page.url.startswith("file:"):
            page.evaluate("localStorage.clear()")
        page.close()


@contextmanager
def opened(running: Browser, url: str, width: int = 1440, height: int = 900, **settings) -> Iterator[Page]:
    """A page; when it is left, nothing may have gone wrong in it, and nothing may have been asked for but itself."""
    wrong: list[str] = []
    asked: list[str] = []
    with tab(running, width, height, **settings) as page:
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
        page.goto(url)
        page.wait_for_function("() => window.flashsteps")
        page.evaluate(LAID_OUT)
        yield page
    assert wrong == []
    assert [address for address in asked if address != url.partition("#")[0] and not address.startswith("data:")] == []
