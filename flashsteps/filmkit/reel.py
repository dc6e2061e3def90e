"""A film in Python, `fs.film("flash-forward", mask="causal")`: look at a moment of it, write it to a file, play it."""

from __future__ import annotations

import base64
import html
import importlib
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import unknown
from . import films, formats
from .boxes import shape_of
from .presets import look_of
from .script import Script, Span
from .storyboard import Storyboard

if TYPE_CHECKING:
    from .scene import Picture

Progress = Callable[[int, int], None]


class Reel:
    """A film that is ready to be shown. Its chapters, captions and duration are those of the wide shape."""

    def __init__(self, name: str, film: Storyboard, duration: float | None = None) -> None:
        self.name, self.told, self._duration = name, film, duration
        self._scripts: dict[str, Script] = {}
        self._warned = False
        self.script()  # what can't be told is refused here

    def __reduce__(self) -> tuple[Any, ...]:
        """To tell a film again is cheaper than to send it. What was read and recorded for it goes along: elsewhere
        there may be no such file."""
        chosen = {name: value for name, value in self.told.chosen.items() if name not in ("input", "trace")}
        given = {name: "given" for name in self.told.chosen if name not in chosen}
        options = {"theme": self.told.theme, **chosen, **given}
        return _again, (self.name, options, self._duration, self.told.made, drawing().fonts_for(self.told.words))

    def __repr__(self) -> str:
        return f"<film {self.name!r}: {self.title}, {len(self.chapters)} chapters, {self.duration:g} s>"

    # ---- what it is

    @property
    def title(self) -> str:
        return self.told.title

    @property
    def summary(self) -> str:
        return films.summary(self.name)

    @property
    def theme(self) -> str:
        return self.told.theme

    def script(self, shape: str = "wide") -> Script:
        """All that is shown, as data, for the shape "wide", "square" or "tall"."""
        if shape not in self._scripts:
            self._scripts[shape] = self.told.script(shape).lasting(self._duration)
        return self._scripts[shape]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.script().duration

    @property
    def chapters(self) -> tuple[Span, ...]:
        return self.script().chapters

    @property
    def captions(self) -> tuple[Span, ...]:
        return self.script().captions

    # ---- what it looks like

    def frame(self, t: float, *, width: int = 1920, height: int = 1080, theme: str | None = None) -> np.ndarray:
        """The picture at t seconds, as RGBA (height, width, 4). Raises ValueError for a time or a size that is none."""
        self._warn()
        script = self.script(shape_of(width, height))
        pixels: np.ndarray = drawing().picture(script, t, (width, height), theme or self.theme)
        return pixels

    def still(
        self,
        path: str | os.PathLike[str],
        t: float,
        *,
        width: int = 1920,
        height: int = 1080,
        theme: str | None = None,
        transparent: bool = False,
    ) -> Path:
        """Write the picture at t seconds as .png, .svg or .pdf, whole or not at all; the last two are outlines, for
        papers. Raises ValueError where that can't be, as `frame` does."""
        self._warn()
        script = self.script(shape_of(width, height))
        drawing().still(path, script, t, (width, height), theme or self.theme, transparent)
        return Path(path)

    def render(
        self,
        path: str | os.PathLike[str],
        *,
        preset: str | None = None,
        size: tuple[int, int] | None = None,
        fps: int | None = None,
        theme: str | None = None,
        loop: int = 0,
        transparent: bool = False,
        jobs: int | None = None,
        cluster: str | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Write the film to a file, whole or not at all; the path's ending says as what.

        `preset` is "readme", "slides" or "4k" (the ending's own unless given), `size` and `fps` go before it; a GIF
        or WebP is played `loop` times (0: for ever), WebM and WebP may be `transparent`. `jobs` is how many processes
        draw (one a core unless given); instead, `cluster` is the address of a Dask scheduler whose workers do. Neither
        changes a byte. Raises ValueError where that can't be.
        """
        self._warn()
        looks = look_of(path, preset, size, fps)
        tell = partial(self.script, shape_of(*looks[:2]))
        look = drawing().Look(tell, looks[:2], looks.fps, theme or self.theme, transparent)
        drawing().write(path, look, loop=loop, jobs=jobs, cluster=cluster, progress=progress)
        return Path(path)

    def picture(self, shape: str = "wide", **options: Any) -> Picture:
        """The film as a mobject, for any scene of manim: place it, scale it, and play it with `Play`."""
        from . import Picture

        return Picture(self.script(shape), theme=self.theme, **options)

    def _warn(self) -> None:
        """Of characters that no font here has: once."""
        if not self._warned and (advice := drawing().advice(self.told.words)):
            warnings.warn(advice, stacklevel=3)
        self._warned = True

    # ---- in a notebook

    @cached_property
    def _gif(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return self.render(Path(folder) / "film.gif").read_bytes()

    def _repr_html_(self) -> str | None:
        """It plays; what is too long for that is only named."""
        if self.duration > formats.LONGEST_LOOP:
            return None
        data, title = base64.b64encode(self._gif).decode(), html.escape(self.title)
        return f'<img src="data:image/gif;base64,{data}" alt="{title}" title="{title}" style="max-width: 100%">'


def drawing() -> Any:
    """What draws and encodes, imported late. Raises ValueError, one line, where a package that it takes is missing."""
    try:
        return importlib.import_module("flashsteps.filmkit.rendering")
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"drawing needs {missing.name}, which is not installed: pip install 'flashsteps[render]'"
        ) from None


def _again(name: str, options: dict[str, Any], duration: float | None, made: dict[Any, Any], fonts: str) -> Reel:
    """Raises ValueError where the system's fonts, if any of the words takes one, are others than they were."""
    told = _told(name, options)
    told.again(made)
    if drawing().fonts_for(told.words) != fonts:
        raise ValueError("words of this film take a font of the system, and here are others: install the same")
    return Reel(name, told, duration)


def _told(name: str, options: dict[str, Any]) -> Storyboard:
    if name == films.LECTURE:
        from .lecture import Lecture  # late: its titles know what draws letters, and that may be missing

        return Lecture(**options)
    if name in films.names():
        return films.load(name)(**options)
    if name not in films.shown():
        raise ValueError(unknown("film", name, films.shown()))
    from .any_run import AnyRun

    return AnyRun(name, **options)


def film(name: str, *, duration: float | None = None, **options: Any) -> Reel:
    """A film by its name (`flashsteps list films`), of the input and with the options that are given; by the name of an
    algorithm that has no film of its own, the film of its run, told from that alone.

        fs.film("flash-forward", input="head.safetensors", mask="causal", block_q=4, theme="light")

    It lasts as long as its captions take to read, unless `duration` (seconds) is given. Options are those of
    `flashsteps render`: input (also a QKV, or q, k and v), head, layout, rows, block_q, block_k, mask, dtype, sram,
    device, trace, kernel, code, cut, theme; and, for an algorithm's run, block_mask, splits, softcap, alibi, dropout
    and seed, where it takes them. Raises ValueError for a name that isn't known, an option that this film has
    no use for, and where something makes no sense or is too large to draw.
    """
    return Reel(name, _told(name, options), duration)


def render(name: str, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write a film to a file, in one line: options are those of `film`, and those of `Reel.render`.

    fs.render("flash-forward", "x.gif", theme="light")
    """
    names = ("preset", "size", "fps", "loop", "transparent", "jobs", "cluster", "progress")
    of_file = {name: options.pop(name) for name in names if name in options}
    return film(name, **options).render(path, **of_file)
