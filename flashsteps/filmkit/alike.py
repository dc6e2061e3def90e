"""Does a GIF show what its film would show if it were made now? A few of its pictures are held against drawn ones.

They are not the same to the bit. A GIF has fewer colours than a film; and the last bits of a number depend on the
processor, which takes exponentials and sums products in a way of its own: so a colour may be a shade off, and an edge
that lies between two pixels may fall to either. What anybody would see is more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .encode import ticks
from .script import Span

if TYPE_CHECKING:
    import av

Picture = NDArray[np.uint8]  # (height, width, 3)

#: levels of 255 by which a pixel is another: further than a GIF's colours are from those that they stand for
FAR = 85

#: levels by which a square of so many pixels is of another shade, on the whole
SHADE, SQUARE = 48, 16


def moments(chapters: Sequence[Span], fps: int) -> list[int]:
    """The frames that are looked at: in the middle and at the end of each chapter."""
    return sorted({int(t * fps) for _, start, stop in chapters for t in ((start + stop) / 2, stop - 1 / fps)})


def kept(path: Path, frames: Sequence[int], fps: int) -> Iterator[Picture]:
    """The pictures of these frames, rising, in a GIF, which has each for as long as nothing changes."""
    import av

    ahead, last = list(frames), None
    with av.open(str(path)) as film:
        for picture in film.decode(video=0):
            began = round(float(picture.time or 0) * 100)
            while last is not None and ahead and ticks(ahead[0], fps, 100) < began:
                del ahead[0]
                yield _pixels(last)
            last = picture
        if last is not None:
            yield from (_pixels(last) for _ in ahead)


def _pixels(picture: av.VideoFrame) -> Picture:
    return np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def alike(one: Picture, other: Picture) -> bool:
    """Would anybody take one for the other? Not if two pixels that meet at a corner are others, as they are in another
    digit and not in an edge that moved by one, or a square is of another shade."""
    if one.shape != other.shape:
        return False
    apart = (np.maximum(one, other) - np.minimum(one, other)).max(axis=2)
    far = apart > FAR
    if (far[1:, 1:] & far[:-1, :-1]).any() or (far[1:, :-1] & far[:-1, 1:]).any():
        return False
    height, width = (side - side % SQUARE for side in apart.shape)
    squares = apart[:height, :width].reshape(height // SQUARE, SQUARE, width // SQUARE, SQUARE)
    return bool(squares.mean(axis=(1, 3)).max(initial=0) < SHADE)
