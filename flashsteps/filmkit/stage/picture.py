"""The whole stage as one manim mobject, and the camera that takes its picture.

What never changes is drawn once. Each part is drawn anew only when its key changes, tiles on their way go on top. So a
frame costs what changed in it, and still depends on nothing but t: a still, a range of frames and a whole film agree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import cairo
import numpy as np
from manim import Animation, Camera, Mobject, config

from ..film import Film
from ..pen import Pen
from . import coda, flight, parts
from .moment import Moment, moment
from .part import Part


class Layer:
    """A picture that grows from a background and parts, and is kept up to date."""

    def __init__(self, film: Film, draw_background: Any, members: Iterable[Part]) -> None:
        place = film.layout
        self.film, self.parts = film, list(members)
        self.keys: list[Hashable] = [_NOTHING] * len(self.parts)
        self.base = cairo.ImageSurface(cairo.FORMAT_RGB24, place.width, place.height)
        draw_background(Pen(cairo.Context(self.base), film.theme, place.unit))
        self.picture = cairo.ImageSurface(cairo.FORMAT_RGB24, place.width, place.height)
        self.ctx = cairo.Context(self.picture)
        self.pen = Pen(self.ctx, film.theme, place.unit)
        _copy(self.ctx, self.base)

    def update(self, m: Moment) -> bool:
        """Bring every part up to the moment. Did anything change?"""
        changed = False
        for n, part in enumerate(self.parts):
            key = part.key(m)
            if key == self.keys[n]:
                continue
            self.keys[n], changed = key, True
            self.ctx.save()
            self.ctx.rectangle(*part.box)
            self.ctx.clip()
            _copy(self.ctx, self.base)
            part.draw(self.pen, m)
            self.ctx.restore()
        return changed


_NOTHING = object()


def _copy(ctx: cairo.Context[Any], surface: cairo.ImageSurface) -> None:
    ctx.set_source_surface(surface, 0, 0)
    ctx.set_operator(cairo.OPERATOR_SOURCE)
    ctx.paint()
    ctx.set_operator(cairo.OPERATOR_OVER)


class Stage(Mobject):
    """A film as a mobject: `seek(t)` turns it to a time, `StageCamera` shows it."""

    def __init__(self, film: Film, **options: Any) -> None:
        super().__init__(**options)
        x, y = config.frame_x_radius, config.frame_y_radius
        self.points = np.array([[-x, -y, 0], [x, y, 0]])  # all of the frame; manim passes over what has no points
        self.film = film
        self.t = 0.0
        self._run = Layer(film, lambda pen: parts.background(pen, film), parts.parts(film))
        self._coda: Layer | None = None
        self._on_top = True  # something was drawn over the layers

    def seek(self, t: float) -> Stage:
        """Turn to t seconds: 0 is the first frame, `film.timeline.duration` just after the last."""
        self.t = t
        return self

    def draw_on(self, pixels: np.ndarray, blank: bool = False) -> bool:
        """Draw onto RGBA pixels (height, width, 4) that hold what was drawn last, or are blank. Did anything change?"""
        m = moment(self.film, self.t)
        line = self.film.timeline
        after = self.t - line.coda
        coming = min(1.0, max(0.0, after / coda.FADE))
        changed = self._run.update(m)
        if after >= 0:
            if self._coda is None:
                self._coda = Layer(self.film, coda.background(self.film), coda.parts(self.film))
            changed = self._coda.update(m) or changed
        on_top = flight.flying(m) or 0 < coming < 1
        if not (changed or on_top or self._on_top or blank):
            return False
        height, width = pixels.shape[:2]
        target = cairo.ImageSurface.create_for_data(memoryview(pixels), cairo.FORMAT_RGB24, width, height)  # type: ignore[arg-type]
        ctx = cairo.Context(target)
        _copy(ctx, self._run.picture if after < 0 or self._coda is None else self._coda.picture)
        if after >= 0 and coming < 1:
            ctx.set_source_surface(self._run.picture, 0, 0)
            ctx.paint_with_alpha(1 - coming)
        if flight.flying(m):
            flight.draw(Pen(ctx, self.film.theme, self.film.layout.unit), m)
        target.flush()
        self._on_top = on_top
        return True


class StageCamera(Camera):
    """Manim's camera for a stage: the stage draws straight onto its pixels, other mobjects as ever on top of that.

    `changed` says whether the last picture differs from the one before.
    """

    def __init__(self, **options: Any) -> None:
        self.changed = self._blank = True
        super().__init__(**options)

    def reset(self) -> StageCamera:
        self._blank = True
        super().reset()
        return self

    def set_frame_to_background(self, background: Any) -> None:
        self._blank = True
        super().set_frame_to_background(background)

    def capture_mobjects(self, mobjects: Iterable[Mobject], **options: Any) -> None:
        stages = [mobject for mobject in mobjects if isinstance(mobject, Stage)]
        others = [mobject for mobject in mobjects if not isinstance(mobject, Stage)]
        drawn = [stage.draw_on(self.pixel_array, self._blank) for stage in stages]
        self._blank = False
        self.changed = any(drawn) or bool(others)
        if others:
            super().capture_mobjects(others, **options)


class Play(Animation):
    """A whole film as one manim animation: `self.play(Play(Stage(film)))`, in a scene with a StageCamera."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        from manim import linear

        super().__init__(stage, run_time=stage.film.timeline.duration, rate_func=linear, **options)

    def begin(self) -> None:
        self.starting_mobject = self.mobject  # no copy: the stage is a function of time
        self.interpolate(0)

    def interpolate_mobject(self, alpha: float) -> None:
        stage = self.mobject
        assert isinstance(stage, Stage)
        stage.seek(alpha * stage.film.timeline.duration)


def camera(film: Film) -> StageCamera:
    """A camera whose pixels are the film's."""
    return StageCamera(pixel_width=film.layout.width, pixel_height=film.layout.height, frame_rate=1)


__all__ = ["Play", "Stage", "StageCamera", "camera"]
