"""Playing a scene by manim, in this process, for its frames: nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashsteps.filmkit.painter import Painter
from flashsteps.filmkit.script import Script


def played(scene: type, folder: Path, size: tuple[int, int] = (854, 480), fps: int = 10, **options: Any) -> np.ndarray:
    """The frames (count, height, width, 3) that manim makes of a scene, by its ordinary renderer and camera."""
    from manim import tempconfig
    from manim.renderer.cairo_renderer import CairoRenderer

    frames: list[np.ndarray] = []

    def keep(self: Any, frame: np.ndarray, num_frames: int = 1) -> None:
        if not self.skip_animations:
            self.time += num_frames / self.camera.frame_rate
            assert (frame[..., 3] == 255).all()
            frames.extend([frame[..., :3].copy()] * num_frames)

    settings = {
        "pixel_width": size[0], "pixel_height": size[1], "frame_rate": fps, "media_dir": str(folder), "dry_run": True,
        "disable_caching": True, "verbosity": "ERROR", "progress_bar": "none", "output_file": str(folder / "out.mp4"),
    }  # fmt: skip
    with tempconfig(settings), pytest.MonkeyPatch.context() as patch:
        patch.setattr(CairoRenderer, "add_frame", keep)
        scene(**options).render()
    return np.array(frames)


def drawn(script: Script, t: float, size: tuple[int, int], theme: str = "dark", **options: Any) -> np.ndarray:
    """The picture at t, without manim: RGB."""
    painter = Painter(script, *size, theme, **options)
    painter.paint(t)
    return painter.pixels[..., :3].copy()
