"""A talk → file: chapters are drawn once, in as many processes as there are cores; the ending says for whom."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..filmkit import films, formats, reel
from ..filmkit.boxes import shape_of, unit_of
from ..filmkit.presets import Preset
from ..theme import DEFAULT
from .plan import Column, chapters, opening_of, plan

if TYPE_CHECKING:
    from ..filmkit.clips import Clip

PRESET = "talk"
ENDINGS = (".html", ".pptx", ".pdf")
Progress = Callable[[int], None]


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a talk. Raises ValueError where none can be written, or a package is missing that it takes."""
    target = files.check(path, ENDINGS)
    if target.suffix.lower() == ".pptx" and find_spec("pptx") is None:
        raise ValueError(f"'{path}' needs python-pptx, which is not installed: pip install 'flashsteps[talk]'")
    reel.drawing()
    return target


def check_films(names: Sequence[str]) -> None:
    """Raises ValueError for a film that isn't known, or is named twice."""
    for n, name in enumerate(names):
        films.section(name)
        if name in names[:n]:
            raise ValueError(f"the film {name!r} is named twice: name it once")


class Talk:
    """A talk that is ready to be written: told, and checked."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str] | None,
        look: Preset,
        theme: str | None = None,
        cut: str | None = None,
        *,
        title: str | None = None,
        by: str | None = None,
        **options: Any,
    ) -> None:
        """Each film is told of what it has a use for of the options: those of `fs.film` of an input and of a run."""
        self.path, self.look, self.theme = check_path(path), look, theme or DEFAULT
        self.size = look.width, look.height
        unit_of(*self.size)
        if not self.is_pdf:
            formats.check_film("talk.mp4", self.size, look.fps)
        names = films.names() if names is None else names
        check_films(names)
        self.columns: list[Column] = plan(names, shape_of(*self.size), self.theme, cut, title=title, by=by, **options)
        if advice := reel.drawing().advice(self.words):
            warnings.warn(advice, stacklevel=2)

    @property
    def is_pdf(self) -> bool:
        return self.path.suffix.lower() == ".pdf"

    @property
    def words(self) -> str:
        """What strangers wrote that may be on a slide."""
        opens, films = opening_of(self.columns), dict.fromkeys(chapter.film for chapter in chapters(self.columns))
        return "".join([opens.title, opens.by, *(film.told.words for film in films)])

    @property
    def slides(self) -> int:
        return sum(map(len, self.columns))

    @property
    def seconds(self) -> float:
        return sum(chapter.span.stop - chapter.span.start for chapter in chapters(self.columns))

    @property
    def steps(self) -> int:
        """What progress counts: frames, or pages."""
        return self.slides if self.is_pdf else round(self.seconds * self.look.fps)

    def write(self, jobs: int | None = None, cluster: str | None = None, progress: Progress | None = None) -> Path:
        """Write it, whole or not at all. `progress(more)` is called now and then. The same talk gives the same bytes,
        in however many `jobs` it is drawn, or on whatever `cluster` (the address of a Dask scheduler)."""
        told = progress or (lambda more: None)
        if self.is_pdf:
            from . import pdf

            pdf.write(self.path, self.columns, self.size, self.theme, told)
            return self.path
        with self._media(jobs, cluster, told) as media:
            if self.path.suffix.lower() == ".pptx":
                from . import powerpoint

                powerpoint.write(self.path, self.columns, media, self.size, self.theme)
            else:
                from . import page

                page.write(self.path, self.columns, media, self.size, self.theme)
        return self.path

    @contextmanager
    def _media(self, jobs: int | None, cluster: str | None, told: Progress) -> Iterator[list[Clip]]:
        """The film and the last picture of each chapter, as long as this lasts."""
        from ..filmkit import clips
        from ..filmkit.rendering import Look
        from ..filmkit.share import shared

        shape, todo = shape_of(*self.size), chapters(self.columns)
        work = [(Look(partial(c.film.script, shape), self.size, self.look.fps, self.theme), c.span) for c in todo]
        with (
            shared(jobs, cluster) as share,
            tempfile.TemporaryDirectory(prefix="flashsteps-") as folder,
        ):
            yield list(clips.cut(work, Path(folder), share, told))
