"""A film in manim: a picture that is a mobject like any other, an animation that plays it, and a scene of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from manim import Animation, ManimColor, Scene, config, linear
from manim.constants import RendererType
from manim.mobject.types.image_mobject import AbstractImageMobject
from PIL.Image import Resampling

from ..theme import DEFAULT
from ..theme import theme as theme_of
from .boxes import CANVASES, shape_of
from .painter import Painter
from .script import Script, Span, plain
from .storyboard import Storyboard


def frame() -> tuple[float, float]:
    """How large the camera's frame is. Its height follows from its width and the pixels, whatever config.frame_height
    says: 7.994 at 854×480, 14.2 at 1080×1080."""
    return config.frame_width, config.frame_width * config.pixel_height / config.pixel_width


class Picture(AbstractImageMobject):
    """A film as a mobject, at `t` seconds: place, scale, turn, fade, copy and group it as an ImageMobject.

    It fills the frame at first, or, if it is of another shape, stands in it as large as can be. It is drawn when the
    camera asks, in the pixels that it covers there. What lies in slots, manim neither hashes nor copies:
    for its cache a picture is what its chapter looks like, and how far that is.
    """

    __slots__ = ("painter", "script", "t")

    def __init__(self, script: Script, *, t: float = 0.0, theme: str = DEFAULT, **options: Any) -> None:
        refuse_opengl()
        self.painter: Painter | None = None
        self.script, self.theme, self.opacity = script, theme, 1.0
        self.seek(t)
        super().__init__(scale_to_resolution=0, **options)

    def seek(self, t: float) -> Self:
        """Turn to t seconds: what is outside of the film is its first or its last moment."""
        self.t = min(max(t, 0.0), self.script.duration)
        chapter = self.script.chapter(self.t)
        self.looks = self.script.looks(chapter), round(self.t - self.script.chapters[chapter].start, 6)
        return self

    # ---- what the camera asks for

    def get_pixel_array(self) -> np.ndarray:
        width, height = self._pixels()
        painter = self.painter
        if painter is None or painter.pixels.shape[:2] != (height, width):
            in_small = width < config.pixel_width - 1 and height < config.pixel_height - 1
            self.painter = painter = Painter(self.script, width, height, self.theme, all_text=in_small)
        painter.paint(self.t)
        painter.pixels[..., 3] = round(255 * self.opacity)
        return painter.pixels

    @property
    def resampling_algorithm(self) -> Resampling:
        """Where it stands upright it has the pixels of the screen, and they are taken as they are."""
        upright = abs(self.points[0, 1] - self.points[1, 1]) + abs(self.points[0, 0] - self.points[2, 0]) < 1e-9
        return Resampling.NEAREST if upright else Resampling.BICUBIC

    @resampling_algorithm.setter
    def resampling_algorithm(self, _: int) -> None:
        pass

    def _pixels(self) -> tuple[int, int]:
        right, down = (np.linalg.norm(self.points[n] - self.points[0]) for n in (1, 2))
        scale = config.pixel_width / config.frame_width
        return max(1, round(right * scale)), max(1, round(down * scale))

    # ---- what manim does to mobjects

    def reset_points(self) -> Self:
        width, height = frame()
        if shape_of(config.pixel_width, config.pixel_height) != self.script.shape:
            canvas = CANVASES[self.script.shape]
            width, height = min(width, height * canvas.w / canvas.h), min(height, width * canvas.h / canvas.w)
        x, y = width / 2, height / 2
        self.points = np.array([[-x, y, 0], [x, y, 0], [-x, -y, 0], [x, -y, 0]])
        return self

    def set_opacity(self, alpha: float, family: bool = True) -> Self:
        self.opacity = alpha
        return self

    def fade(self, darkness: float = 0.5, family: bool = True) -> Self:
        return self.set_opacity(1 - darkness)

    def set_color(self, *_: Any, **__: Any) -> Self:
        return self  # it keeps its own

    def interpolate_color(self, mobject1: Any, mobject2: Any, alpha: float) -> Self:
        self.opacity = mobject1.opacity + (mobject2.opacity - mobject1.opacity) * alpha
        return self.seek(mobject1.t + (mobject2.t - mobject1.t) * alpha)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy: Self = super().__deepcopy__(memo)
        copy.script, copy.painter, copy.t = self.script, None, self.t
        return copy


class Play(Animation):
    """Plays a picture to the end, to a chapter's end (by name), to a step of the run, or to so many seconds.

    As fast as the film is, unless `run_time` (seconds) says otherwise. Raises ValueError for a chapter or a step that
    the film doesn't have.
    """

    __slots__ = ("to",)

    def __init__(
        self,
        picture: Picture,
        to: str | float | None = None,
        *,
        step: Any = None,
        run_time: float | None = None,
        rate_func: Callable[[float], float] = linear,
        **options: Any,
    ) -> None:
        script, start = picture.script, picture.t
        self.to = script.time(to, step=step)
        times = [start + (self.to - start) * rate_func(k / 32) for k in range(32)]  # what it ends with is not shown
        chapters = range(script.chapter(min(times)), script.chapter(max(times)) + 1)
        self.looks = [script.looks(chapter) for chapter in chapters], round(self.to - start, 6)
        run_time = abs(self.to - start) if run_time is None else run_time
        super().__init__(picture, run_time=run_time, rate_func=rate_func, **options)

    def interpolate_mobject(self, alpha: float) -> None:
        picture: Any = self.mobject
        before: Any = self.starting_mobject
        picture.seek(before.t + (self.to - before.t) * self.rate_func(alpha))


class Film(Storyboard, Scene):
    """A film tells what happens in `storyboard`; as a scene it plays that, chapter by chapter.

    What is chosen for it (input, mask, theme, …) is given by keyword, or set in the body of a subclass. In a class that
    is a `manim_slides.Slide` as well, each chapter is a slide, with what is said as its notes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        refuse_opengl()
        of_scene = {name: options.pop(name) for name in _SCENE if name in options}
        self.choose(options)
        super(Storyboard, self).__init__(*arguments, **of_scene)

    def construct(self) -> None:
        script, fps = self.script(shape_of(config.pixel_width, config.pixel_height)), config.frame_rate
        camera: Any = self.camera
        camera.background_color = ManimColor(theme_of(self.theme).bg)
        camera.init_background()
        picture = Picture(script, theme=self.theme)
        self.add(picture)
        for chapter in script.chapters:
            said = [caption for caption in script.captions if chapter.start <= caption.start < chapter.stop]
            self.turn(chapter.name, said)
            for words, start, stop in said:
                self.add_subcaption(plain(words), stop - start, start - chapter.start)
            first, last = (round(t * fps) for t in chapter[1:])  # whole frames, the very ones that `flashsteps` draws
            self.play(Play(picture.seek(first / fps), last / fps, run_time=(last - first) / fps - 1e-9))

    def turn(self, chapter: str, said: list[Span]) -> None:
        """Before each chapter: a new section of the video, or a new slide."""
        if hasattr(self, "next_slide"):
            self.next_slide(notes="\n\n".join(plain(caption.name) for caption in said))
        else:
            self.next_section(chapter)


def refuse_opengl() -> None:
    if config.renderer == RendererType.OPENGL:
        raise SystemExit("flashsteps draws with cairo: leave --renderer=opengl out")


_SCENE = tuple(inspect.signature(Scene.__init__).parameters)[1:]
