"""One screen of the stepper as an SVG, drawn without a terminal."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import theme as themes
from ..trace.trace import Trace
from .app import StepApp


def svg(trace: Trace, width: int, height: int, *, theme: str = themes.DEFAULT, at: int = -1) -> str:
    """One screen of the stepper as an SVG; the same trace, step and size give the same text."""
    drawn: list[str] = []

    async def pilot(pilot: Any) -> None:
        while len(drawn) < 2 or drawn[-1] != drawn[-2]:  # on a busy machine, one pause may not be enough
            await pilot.pause()
            drawn.append(pilot.app.export_screenshot(title=f"flashsteps step {trace.meta['algorithm']}"))
        if not pilot.app.return_code:  # it has not failed
            pilot.app.exit()

    with _colours(), _endings_after():
        app = StepApp(trace, theme=theme, rich=True, at=at)
        app.run(headless=True, size=(width, height), auto_pilot=pilot)
    if app.return_code:  # it has said why: a picture of half of it would be none
        raise RuntimeError("the stepper could not be drawn")
    return _framed(_own_font(drawn[-1]), themes.theme(theme))


@contextmanager
def _endings_after() -> Iterator[None]:
    """A signal that would end this does so afterwards: in the midst of it Textual would wait for half a minute."""
    came: list[int] = []
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in ending if here}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    for one in came:
        signal.raise_signal(one)


@contextmanager
def _colours() -> Iterator[None]:
    """Without NO_COLOR, which is about terminals, and not about files."""
    told = os.environ.pop("NO_COLOR", None)
    try:
        yield
    finally:
        if told is not None:
            os.environ["NO_COLOR"] = told


def _own_font(drawn: str) -> str:
    """The picture without a font that it would fetch from elsewhere."""
    own = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    return own.replace("Fira Code", "JetBrains Mono, Menlo, Consolas")


#: what Rich draws a window with, whatever is in it: ground, edge, and letters
_GROUND, _EDGE, _LETTERS = 'fill="#292929"', 'stroke="rgba(255,255,255,0.35)"', "#c5c8c6"


def _framed(drawn: str, theme: themes.Theme) -> str:
    """The picture with a window that suits its theme."""
    own = drawn.replace(_GROUND, f'fill="{theme.bg}"', 1).replace(_EDGE, f'stroke="{theme.line}"', 1)
    return own.replace(_LETTERS, theme.ink)
