"""Films that follow each other become one, as they are: packets are taken over, nothing is encoded anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from .script import Span, unmarked

MUXER = {"mp4": {"movflags": "+faststart"}}


def join(path: Path, pieces: Iterable[Path], format: str, fps: int, chapters: Sequence[Span] = ()) -> None:
    """Write the pieces, of one size, rate and encoder, one after another to `path`; each is gone when it was read.

    Players list the `chapters`, and jump to them, where there are some.
    """
    import av

    marks: Any = [
        {"id": n, "start": round(1000 * start), "end": round(1000 * stop), "time_base": Fraction(1, 1000),
         "metadata": {"title": unmarked(name)}}
        for n, (name, start, stop) in enumerate(chapters)
    ]  # fmt: skip

    with av.open(str(path), "w", format=format, options={"fflags": "+bitexact", **MUXER.get(format, {})}) as film:
        if len(marks) > 1:
            film.set_chapters(marks)
        stream: Any = None
        frames = 0
        for name in pieces:
            with av.open(str(name)) as piece:
                source = piece.streams.video[0]
                if stream is None:
                    stream = film.add_stream_from_template(source)
                    stream.time_base = source.time_base
                    if clear := source.metadata.get("alpha_mode"):  # without which its alpha is not looked at
                        stream.metadata["alpha_mode"] = clear
                assert source.time_base
                start = round(Fraction(frames, fps) / source.time_base)
                for packet in piece.demux(source):
                    if packet.dts is None or packet.pts is None:  # the end
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + start, packet.dts + start, stream
                    film.mux(packet)
                    frames += 1
            name.unlink()
