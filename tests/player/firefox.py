"""A real Firefox for the tests, driven by WebDriver BiDi, which it speaks itself: no driver program is needed."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import websocket

NAMES = ("firefox-esr", "firefox")
MAC = "/Applications/Firefox.app/Contents/MacOS/firefox"


def executable() -> str:
    """Where it is: as FIREFOX says, on the path, or where macOS has it."""
    found = [os.environ.get("FIREFOX"), *map(shutil.which, NAMES), MAC if Path(MAC).exists() else None]
    there = next(filter(None, found), None)
    if there is None:
        raise RuntimeError("no Firefox: install one (`make test` does), or say where: FIREFOX=/path")
    return there


class Tab:
    """One page of it, as large as is asked for."""

    def __init__(self, channel: websocket.WebSocket) -> None:
        self.channel, self.sent = channel, 0
        self.context = self.send("browsingContext.create", type="tab")["context"]

    def send(self, method: str, **parameters: Any) -> Any:
        self.sent += 1
        self.channel.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.channel.recv())
            if answer.get("id") == self.sent:
                if answer["type"] == "error":
                    raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
                return answer["result"]

    def open(self, url: str, width: int = 1440, height: int = 900) -> None:
        self.send("browsingContext.setViewport", context=self.context, viewport={"width": width, "height": height})
        for address in ("about:blank", url):  # never the page of before
            self.send("browsingContext.navigate", context=self.context, url=address, wait="complete")
        for _ in range(100):
            if self.evaluate("Boolean(window.flashsteps)"):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{url} did not open in Firefox")

    def evaluate(self, expression: str) -> Any:
        """What an expression comes to, as JSON has it."""
        script = f"(async () => JSON.stringify(await ({expression})))()"
        found = self.send("script.evaluate", expression=script, target={"context": self.context}, awaitPromise=True)
        if found["type"] == "exception":
            raise RuntimeError(found["exceptionDetails"]["text"])
        text = found["result"].get("value")
        return None if text is None else json.loads(text)

    def press(self, key: str) -> None:
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self.send("input.performActions", context=self.context, actions=[source])

    def click(self, selector: str, share: tuple[float, float] = (0.5, 0.5)) -> None:
        """A click at this share of the width and height of the first element that is found."""
        box = self.evaluate(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        at = {"x": round(box["x"] + box["width"] * share[0]), "y": round(box["y"] + box["height"] * share[1])}
        pressed = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        source = {"type": "pointer", "id": "mouse", "actions": [{"type": "pointerMove", **at}, *pressed]}
        self.send("input.performActions", context=self.context, actions=[source])

    def screenshot(self) -> bytes:
        return base64.b64decode(self.send("browsingContext.captureScreenshot", context=self.context)["data"])


@contextmanager
def firefox() -> Iterator[Tab]:
    """A tab of a Firefox without a window, with a profile of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [executable(), "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile]
        environment = os.environ | {"HOME": profile, "MOZ_DISABLE_CONTENT_SANDBOX": "1"}
        said = Path(profile) / "said.txt"
        with said.open("w") as log:
            running = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            with closing(
                websocket.create_connection(f"{_address(running, said)}/session", timeout=60, suppress_origin=True)
            ) as channel:
                channel.send(json.dumps({"id": 0, "method": "session.new", "params": {"capabilities": {}}}))
                json.loads(channel.recv())
                yield Tab(channel)
        finally:
            running.terminate()
            running.wait(30)


def _address(running: subprocess.Popen[bytes], said: Path) -> str:
    for _ in range(600):
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", said.read_text())
        if found:
            return found[1]
        if running.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"Firefox did not start: {said.read_text()[-2000:]}")
