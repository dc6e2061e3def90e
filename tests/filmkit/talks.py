"""Scenes as people who know manim write them, with a film in them: `test_scene.py` plays each and looks at it."""

# ruff: noqa: F403, F405  # as manim's own examples begin
from pathlib import Path
from typing import Any

from manim import *

from flashsteps.filmkit import Picture, Play, films, values
from flashsteps.filmkit.reel import Reel

SHEET = "#ff0000"


def film(**options: Any) -> Reel:
    """The toy, as `fs.film("toy", …)` would give it if it were one of the films."""
    return Reel("toy", films.read(Path(__file__).with_name("toy.py"))(**options))


class Ordinary(Scene):
    def construct(self):
        self.play(Play(film().picture()))
        self.wait(0.5)


class Placed(Scene):
    def construct(self):
        picture = film().picture(t=0.8).scale(0.5).to_corner(UL, buff=0)
        self.play(FadeIn(picture))
        self.play(Play(picture, to=1.5, run_time=1))
        self.play(picture.animate.shift(RIGHT * 3))
        self.play(FadeOut(picture))
        self.wait(0.5)


class Over(Scene):
    def construct(self):
        picture = film().picture(t=2)
        self.add(picture)
        self.play(Create(Square(2, color=SHEET, fill_opacity=1)))
        self.play(Play(picture, to=3))


class During(Scene):
    def construct(self):
        picture, note = film().picture(), Square(2, color=SHEET, fill_opacity=1)
        self.play(Play(picture, to=5), Succession(Wait(1), FadeIn(note), Wait(1), FadeOut(note)))


class Grouped(Scene):
    def construct(self):
        picture = film().picture(t=2)
        both = Group(picture, Square(2)).scale(0.5)
        self.play(FadeIn(both))
        self.play(both.animate.shift(UP))
        self.play(FadeOut(Group(*self.mobjects)))


class Behind(Scene):
    def construct(self):
        sheet = Square(3, fill_opacity=1, color=SHEET)
        picture = film().picture(t=2)
        self.add(sheet, picture)
        self.wait(0.5)
        self.bring_to_front(sheet)
        self.wait(0.5)
        self.remove(picture)
        self.wait(0.5)


class Parts(Scene):
    def construct(self):
        picture = film().picture()
        self.play(Play(picture, "It grows", run_time=1))
        self.play(Play(picture, step=1, run_time=2, rate_func=values.smooth))
        self.play(Play(picture, 0, run_time=1))


class Tracked(Scene):
    def construct(self):
        picture, t = film().picture(), ValueTracker(0)
        picture.add_updater(lambda p: p.seek(t.get_value()))
        self.add(picture)
        self.play(t.animate.set_value(3), rate_func=linear)
        self.wait(0.5)
        self.play(t.animate.set_value(6), rate_func=linear)


class Zoomed(MovingCameraScene):
    camera: MovingCamera

    def construct(self):
        picture = film().picture(t=2)
        self.add(picture, Circle())
        self.play(Play(picture, to=3), self.camera.frame.animate.scale(0.5))
        self.wait(0.5)


class Shaped(Scene):
    def construct(self):
        self.play(Play(film().picture("square"), to=1))


class Two(Scene):
    def construct(self):
        one, other = film(theme="light").picture(t=1).scale(0.48), film(block_q=2).picture(t=4).scale(0.48)
        Group(one, other).arrange(RIGHT)
        self.play(Play(one, to=3, run_time=1), Play(other, to=6, run_time=1))


class Changed(Scene):
    def construct(self):
        picture = film().picture(t=2).scale(0.5)
        self.add(picture)
        picture.save_state()
        self.play(Rotate(picture, PI / 6), run_time=0.5)
        self.play(Transform(picture, film().picture(t=6).scale(0.4).shift(UP)), run_time=0.5)
        self.play(Restore(picture), run_time=0.5)
        self.play(Indicate(picture), picture.animate.set_opacity(0.3), run_time=0.5)
        copy = picture.copy().set_opacity(1).shift(RIGHT)
        self.play(ReplacementTransform(picture, copy), run_time=0.5)
        copy.become(film().picture(t=5)).set_z_index(-1).set(height=5).next_to(ORIGIN, UP)
        self.wait(0.2)


class Turned(ThreeDScene):
    def construct(self):
        picture: Picture = film().picture(t=0.8).scale(0.6)
        self.set_camera_orientation(phi=PI / 4, theta=-PI / 3)
        self.add(picture)
        self.play(Play(picture, to=1.5, run_time=0.5))
