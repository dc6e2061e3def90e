"""The same run drawn the ordinary way, to compare speed with: a manim `Scene`, a `Square` a cell, a `play` a step.

It shows flash-forward on the bundled sample (16 × 32 matrices, 4 × 4 blocks): Q, K, V and O in HBM, 2,048 squares;
slots in SRAM; the score tile; a counter of bytes; a caption. Each of 72 steps is one `play`: a tile of Q, K, V or O is
loaded (a copy of it moves into its slot), a tile is computed (the scores fade in, o turns into the new one), O's tile
is stored (it moves back). ℓ and m only count bytes; numbers, map, opening and coda are left out. It tells
the run in as many beats as a film of it.

Nothing here is slow on purpose, and nothing is clever: manim's own defaults for encoder, cache and renderer (cairo).

    python tests/filmkit/ordinary.py WIDTH HEIGHT FPS FOLDER [SECONDS]     prints: frames seconds
"""

from __future__ import annotations

import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import av
import manimpango
import numpy as np
from manim import (
    LEFT,
    RIGHT,
    UP,
    ChangeDecimalToValue,
    FadeIn,
    Integer,
    ManimColor,
    Rectangle,
    Scene,
    Square,
    Text,
    Transform,
    VGroup,
    VMobject,
    interpolate_color,
    tempconfig,
)

import flashsteps as fs
from flashsteps import theme
from flashsteps.machine.events import Event
from flashsteps.runs.arguments import small_block
from flashsteps.trace.trace import Trace

LASTS, HOLD = 24.0, 2.0  # seconds: the whole, and its last picture
CELL = 0.085  # in manim's units: a picture is 8 high
COLORS = theme.theme(theme.DEFAULT)
TENSORS = {"Q": (-4.9, 1.5, 0), "K": (-1.9, 1.5, 0), "V": (-4.9, -0.9, 0), "O": (-1.9, -0.9, 0)}
SLOTS = {"q": (4.0, 2.2, 0), "k": (4.0, 1.2, 0), "v": (4.0, 0.2, 0), "o": (4.0, -1.9, 0)}
SCORES, CAPTION = (4.0, -0.8, 0), (4.0, -3.5, 0)


class Ordinary(Scene):
    """The first `seconds` of the film; all of it where that is None. `began` is when the first `play` did."""

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__()
        self.seconds, self.began = seconds, 0.0

    def construct(self) -> None:
        qkv = fs.load_qkv("sample")
        N, d = qkv.q.shape
        trace = fs.record("flash-forward", *qkv, block_q=small_block(N), block_k=small_block(N))
        set_up, *steps = steps_of(trace)  # first O, ℓ and m are set to 0, 0 and −∞
        run_time = (LASTS - HOLD) / len(steps)

        hbm = Rectangle(width=6.6, height=6.0, color=COLORS.line).move_to((-3.4, 0.3, 0))
        sram = Rectangle(width=4.4, height=6.0, color=COLORS.sram_line).move_to((4.0, 0.3, 0))
        self.add(hbm, Text("HBM", font_size=28).next_to(hbm, UP), sram, Text("SRAM", font_size=28).next_to(sram, UP))
        matrices = {}
        for name, place in TENSORS.items():
            matrices[name] = cells(np.nan_to_num(trace.initial[name]), name).move_to(place)
            self.add(matrices[name], Text(name, font_size=24).next_to(matrices[name], UP))
        for name, place in SLOTS.items():
            empty = Rectangle(width=d * CELL, height=small_block(N) * CELL, color=COLORS.faint).move_to(place)
            self.add(empty, Text(name, font_size=24).next_to(empty, LEFT))
        moved = sum(event.nbytes for event in set_up)
        label = Text("bytes moved", font_size=24).move_to((-5.4, -3.5, 0))
        counter = Integer(moved, font_size=30, mob_class=Text).next_to(label, RIGHT)
        caption = Text("start", font_size=24).move_to(CAPTION)
        self.add(label, counter, caption)

        on_chip: dict[str, VMobject] = {}
        self.began = time.perf_counter()
        for step in steps:
            event, slot, tile = step[0], step[0].slot, step[0].tile
            self.remove(caption)
            caption = Text(f"{event.op} {tile or 'S, P, o'}", font_size=24).move_to(CAPTION)
            self.add(caption)
            moved += sum(event.nbytes for event in step)
            count = ChangeDecimalToValue(counter, moved)
            if tile is None:
                values = {event.slot: trace.values[event.step] for event in step}
                scores = cells(values["S"], "S", 2 * CELL).move_to(SCORES)
                self.remove(on_chip.pop("S", scores))
                on_chip["S"] = scores
                made = cells(values["o"], "O").move_to(SLOTS["o"])
                self.play(FadeIn(scores), Transform(on_chip["o"], made), run_time=run_time)
            elif event.op == "load":
                arriving = matrices[tile.tensor][tile.start * d : tile.stop * d].copy()
                self.remove(on_chip.pop(slot, arriving))
                on_chip[slot] = arriving
                self.play(arriving.animate.move_to(SLOTS[slot]), count, run_time=run_time)
            else:
                leaving, rows = on_chip.pop(slot), matrices[tile.tensor][tile.start * d : tile.stop * d]
                self.play(leaving.animate.move_to(rows), count, run_time=run_time)
                for cell, stored in zip(rows, leaving, strict=True):
                    cell.set_fill(stored.get_fill_color())
                self.remove(leaving)
            if self.seconds is not None and self.renderer.time >= self.seconds:
                return
        self.wait(HOLD)


def steps_of(trace: Trace) -> list[list[Event]]:
    """Each tile that moves, with the vectors that move after it; each tile that is computed, from its S to its o."""
    steps: list[list[Event]] = []
    for event in trace:
        vector = event.op != "compute" and len(event.shape) == 1
        if steps and (vector or event.op == steps[-1][0].op == "compute"):
            steps[-1].append(event)
        else:
            steps.append([event])
    return steps


def cells(values: Any, name: str, side: float = CELL) -> VGroup:
    """A matrix as a grid of squares, from dark (lowest value) to its hue."""
    values = np.asarray(values, float)
    low, high = values.min(), values.max()
    shares = (values - low) / max(high - low, 1e-9)
    dark, hue = ManimColor(COLORS.panel), ManimColor(getattr(COLORS, theme.hue(name)))
    colors = [interpolate_color(dark, hue, share) for share in shares.flat]
    style = {"stroke_width": 0.5, "stroke_color": COLORS.bg, "fill_opacity": 1}
    squares = VGroup(*[Square(side, fill_color=color, **style) for color in colors])
    squares.arrange_in_grid(rows=len(values), cols=values.shape[1], buff=0)
    return squares


def render(width: int, height: int, fps: int, folder: Path, seconds: float | None = None) -> tuple[int, float]:
    """Render the scene into a folder: how many frames it has, and how many seconds it took from the first `play` on.

    It changes manim's defaults, so it is to have a process of its own.
    """
    for font in (resources.files("flashsteps") / "fonts").iterdir():
        if font.name.endswith((".otf", ".ttf")):
            manimpango.register_font(str(font))
    Text.set_default(font="Inter")
    size = {"pixel_width": width, "pixel_height": height, "frame_rate": fps}
    with tempconfig(size | {"media_dir": str(folder), "progress_bar": "none", "verbosity": "WARNING"}):
        scene = Ordinary(seconds)
        scene.render()
        took = time.perf_counter() - scene.began
        with av.open(str(scene.renderer.file_writer.movie_file_path)) as film:
            return film.streams.video[0].frames, took


if __name__ == "__main__":
    width, height, fps = map(int, sys.argv[1:4])
    print(*render(width, height, fps, Path(sys.argv[4]), float(sys.argv[5]) if sys.argv[5:] else None))
