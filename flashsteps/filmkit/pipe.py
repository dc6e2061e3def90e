"""Frames on their way from the thread that draws to the one that encodes: what may have changed, and what has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from math import ceil
from queue import SimpleQueue
from threading import Event
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .formats import Size

#: a picture: (height, width, 4), C-contiguous, bytes in the order R, G, B, A; A is ignored, unless it is to be
#: transparent: then colours hold their share of it already (premultiplied), as cairo has them
Frame: TypeAlias = NDArray[np.uint8]


class Drawn(NamedTuple):
    """A frame, and in which whole bands of rows (`bands_of`) alone it may differ from the one before."""

    pixels: Frame
    rows: list[slice]


#: what may have changed: which rows, and what they are now
Patch: TypeAlias = tuple[slice, Frame]

BAND = 8  # rows, at least, that are compared and converted together; even, since yuv420p has one chroma row for two
AHEAD = 3  # frames that are drawn and wait for the encoder


class Pipe:
    """Frames on their way from one thread to the other, a few at a time.

    Iterating, in the encoder's thread, gives two things for each frame: the picture, (height, width, 4), opaque unless
    it is to be transparent, to be read until the next is asked for; and the bands of rows in which it differs from the
    frame before, if it does.
    """

    def __init__(self, size: Size, fps: int, loop: int, transparent: bool, keys: float) -> None:
        self.size, self.fps, self.loop, self.transparent, self.keys = size, fps, loop, transparent, keys
        self.full: SimpleQueue[list[Patch] | Literal["same", "end"]] = SimpleQueue()
        self.room: SimpleQueue[bool] = SimpleQueue()  # for one more each; False: the encoder is gone
        self.started, self.stopped = False, Event()
        for _ in range(AHEAD):
            self.room.put(True)

    def put(self, frame: Frame | Drawn | None) -> bool:
        """Send a copy of a frame (None: the same again), when there is room; False if the encoder is gone."""
        if frame is None:
            if not self.started:
                raise ValueError("the first frame is None, the same again, but there is none before it")
            self.full.put("same")
            return True
        everywhere = [slice(0, self.size[1])]
        pixels, rows = frame if isinstance(frame, Drawn) else (frame, everywhere)
        check_frame(pixels, self.size)
        if not self.room.get():
            return False
        opaque, colors = 0 if self.transparent else 0xFF000000, pixels.view("<u4")
        copies = ((part, colors[part] | np.uint32(opaque)) for part in (rows if self.started else everywhere))
        self.full.put([(part, copy.view(np.uint8)) for part, copy in copies])
        self.started = True
        return True

    def end(self) -> None:
        """All frames are sent."""
        if not self.started:
            raise ValueError("there are no frames to write")
        self.full.put("end")

    def stop(self) -> None:
        """What was sent is of no use any more."""
        self.stopped.set()
        self.full.put("end")

    def check(self) -> None:
        """To be called by the encoder now and then: raises if its work is of no use any more."""
        if self.stopped.is_set():
            raise CancelledError

    def __iter__(self) -> Iterator[tuple[Frame, list[slice]]]:
        picture: Frame | None = None
        while True:
            item = self.full.get()
            self.check()
            if item == "end":
                return
            bands: list[slice] = []
            for rows, pixels in item if isinstance(item, list) else ():
                if picture is None:  # the first one is whole
                    picture, bands = pixels, [rows]
                    break
                for band in changed(picture[rows], pixels):
                    bands.append(slice(rows.start + band.start, rows.start + band.stop))
                    picture[bands[-1]] = pixels[band]
            assert picture is not None
            yield picture, bands
            if item != "same":
                self.room.put(True)


def check_frame(frame: Frame, size: Size) -> None:
    shape = (size[1], size[0], 4)
    if frame.shape != shape or frame.dtype != np.uint8 or not frame.flags.c_contiguous:
        raise ValueError(f"a frame is {frame.dtype} {frame.shape}: it must be uint8 {shape} and C-contiguous")


def changed(before: Frame, frame: Frame) -> list[slice]:
    """The rows in which a frame, or a part of one, differs from what was there before."""
    height = len(frame)
    rows = (frame.reshape(height, -1).view(np.uint32) != before.reshape(height, -1).view(np.uint32)).any(axis=1)
    return _bands(np.logical_or.reduceat(rows, _starts(height)), height)


def bands_of(height: int, spans: Iterable[tuple[float, float]]) -> list[slice]:
    """The bands of a picture of that height in which any rows from top to bottom, for each span, lie."""
    marks = np.zeros(len(_starts(height)), bool)
    for top, bottom in spans:
        marks[min(max(0, int(top)) // BAND, len(marks) - 1) : max(0, ceil(bottom / BAND))] = True
    return _bands(marks, height)


def _starts(height: int) -> NDArray[np.int64]:
    """Where bands begin: the last one has what is left, too, and so all have even starts and rows enough."""
    return np.arange(0, max(height - BAND, 0) + 1, BAND)


def _bands(marks: NDArray[np.bool_], height: int) -> list[slice]:
    """Those that are marked, as slices; neighbours as one."""
    edges = np.append(_starts(height), height)[np.diff(marks, prepend=False, append=False)]
    return [slice(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]
