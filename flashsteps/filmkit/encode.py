"""Frames become a file: a film (GIF, MP4, WebM, animated WebP) or a picture (PNG), whole or not at all.

The same frames give the same bytes, whatever the number of cores: thread counts are fixed, colours are converted by
bit-exact routines, and no date or version is written into the container.

Drawing and encoding overlap: frames are taken from the iterator in the caller's thread and encoded in another one. From
one frame to the next such a film changes in a few places, so only the bands of rows that changed are converted or kept;
who draws may say which rows those are at most.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..files import whole
from .alpha import straight
from .formats import PathLike, Size, check_film, check_path, check_size
from .pipe import Drawn, Frame, Pipe, check_frame

if TYPE_CHECKING:
    import av

KEYS = 2.0  # seconds from one key frame to the next
THREADS = 1  # an encoder's: fixed, since its bytes depend on it; other cores have pieces of their own to encode


# Writing


def write(
    path: PathLike,
    frames: Iterable[Frame | Drawn | None],
    *,
    fps: int,
    size: Size,
    total: int,
    loop: int = 0,
    transparent: bool = False,
    keys: float = KEYS,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a film in the format that the path's ending names, and return the number of its frames.

    A GIF or WebP is played `loop` times, 0: for ever; WebM and WebP may be `transparent`. An MP4 or WebM has a key
    frame every `keys` seconds, where a player can go to at once.

    A frame may reuse the memory of the one before it; None is the same picture again. `progress(done, total)` is called
    in the caller's thread after each frame. Raises ValueError where the path, size or rate won't do, a frame is not of
    this size, there are none, or the disk is full. What else `frames` and `progress` raise is passed on, Ctrl-C too. In
    all these cases no file is left behind, and one that was there before stays as it was.
    """
    target = check_path(path)
    ending = target.suffix.lower()
    if ending not in _ENCODERS:
        raise ValueError(f"'{target}' holds a still: for a film use {', '.join(_ENCODERS)}")
    check_film(target, size, fps, loop, transparent)
    pipe, done = Pipe(size, fps, loop, transparent, keys), 0
    with whole(target) as aside, ThreadPoolExecutor(1) as thread:
        encoder = thread.submit(_encode, _ENCODERS[ending], aside, pipe)
        try:
            for frame in frames:
                if not pipe.put(frame):
                    break  # the encoder has given up: result() raises why
                done += 1
                if progress:
                    progress(done, total)
            pipe.end()
            encoder.result()
        except BaseException:
            pipe.stop()
            raise
    return done


def write_png(path: PathLike, frame: Frame, *, transparent: bool = False) -> None:
    """Write a picture as PNG, in RGB, or RGBA. Raises ValueError where the path or the frame won't do."""
    import av

    target = check_path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"'{target}': a picture is a .png")
    height, width = frame.shape[:2]
    check_size(target, (width, height))
    check_frame(frame, (width, height))
    codec: Any = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.time_base = width, height, Fraction(1)
    codec.pix_fmt = "rgba" if transparent else "rgb24"
    codec.thread_count, codec.options = 1, {"pred": "mixed"}
    picture = av.VideoFrame.from_ndarray(straight(frame) if transparent else frame, "rgba")
    picture = picture.reformat(format=codec.pix_fmt, threads=1)
    with whole(target) as aside:
        aside.write_bytes(b"".join(bytes(packet) for packet in (*codec.encode(picture), *codec.encode(None))))


_Encoder: TypeAlias = Callable[[Path, Pipe], None]


def _encode(encoder: _Encoder, aside: Path, pipe: Pipe) -> None:
    try:
        encoder(aside, pipe)
    finally:
        pipe.room.put(False)  # nobody should wait for an encoder that is gone


# MP4 and WebM


#: all that x264 may use of a processor that has AVX-512, but that: its macroblock trees read on past the end of a row
#: there, and bytes come to depend on what lies behind. Without it they are those of every other processor
NO_AVX512 = "MMX2,SSE2Fast,LZCNT,SSSE3,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2"


def _asm() -> str:
    """What x264 is told of the processor, if anything."""
    try:
        features: Any = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return ""
    return f":asm={NO_AVX512}" if features.get("AVX512F") else ""


def _mp4(aside: Path, pipe: Pipe) -> None:
    # For drawings, where sharp edges and true colours count: edges get their share of bits (aq-mode), flat parts none
    # to look like film grain (psy), chroma gets more (chroma-qp-offset), what stays on screen most (mbtree), nothing is
    # smoothed (deblock). Against `veryfast` as it comes: 3 dB better in two thirds of the time, for 30 % more bytes.
    tuning = "aq-mode=0:psy=0:chroma-qp-offset=-4:no-deblock=1:bframes=0:mbtree=1:rc-lookahead=10"
    codec = {"preset": "superfast", "crf": "20", "x264-params": tuning + _asm()}
    _video(aside, pipe, "mp4", "libx264", codec, {"movflags": "+faststart"})


def _webm(aside: Path, pipe: Pipe) -> None:
    speed = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "tile-columns": "1"}
    codec = speed | {"crf": "24", "b": "0", "tune-content": "screen"}
    _video(aside, pipe, "webm", "libvpx-vp9", codec, {})


def _video(aside: Path, pipe: Pipe, format: str, codec: str, options: dict[str, str], muxer: dict[str, str]) -> None:
    import av
    from av.codec.context import Flags
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

    # AREA makes a chroma sample of its own 2×2 pixels only, so a band by itself becomes what it is in the whole picture
    # (but for a band of two rows, of which swscale takes one: pipe.changed makes none)
    exact = Interpolation.AREA | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    (width, height), fps = pipe.size, pipe.fps
    form, planes = ("yuva420p", (1, 2, 2, 1)) if pipe.transparent else ("yuv420p", (1, 2, 2))  # rows of pixels in one
    with av.open(str(aside), "w", format=format, options={"fflags": "+bitexact", **muxer}) as film:
        stream: Any = film.add_stream(codec, rate=fps, options={"g": str(round(pipe.keys * fps)), **options})
        stream.width, stream.height, stream.pix_fmt = width, height, form
        context = stream.codec_context
        context.thread_count, context.thread_type = THREADS, "FRAME"  # slices would cost quality
        context.flags |= Flags.bitexact
        context.colorspace, context.color_range = 1, ColorRange.MPEG  # 1: BT.709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        yuv = av.VideoFrame(width, height, form)
        yuv.time_base = Fraction(1, fps)
        reformatter = VideoReformatter()
        for k, (picture, bands) in enumerate(pipe):
            for rows in bands:
                pixels = straight(picture[rows]) if pipe.transparent else picture[rows]
                band = reformatter.reformat(
                    av.VideoFrame.from_numpy_buffer(pixels, "rgba"),
                    format=form,
                    src_colorspace=Colorspace.ITU709,
                    dst_colorspace=Colorspace.ITU709,
                    src_color_range=ColorRange.JPEG,
                    dst_color_range=ColorRange.MPEG,
                    interpolation=exact,
                    threads=1,
                )
                for whole_plane, plane, rows_each in zip(_planes(yuv), _planes(band), planes, strict=True):
                    whole_plane[rows.start // rows_each : rows.stop // rows_each] = plane
            yuv.pts = k
            film.mux(stream.encode(yuv))  # which copies the picture
        film.mux(stream.encode(None))


def _planes(picture: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """Views of a picture's planes, (rows, columns) each."""
    return [np.frombuffer(memoryview(p), np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in picture.planes]


# GIF


#: of a GIF: as many as its pictures need to look the same, and 6 % fewer bytes than with 256
COLOURS = 160


def _gif(aside: Path, pipe: Pipe) -> None:
    """One palette for the whole film and no dither, which would shimmer, and make the file several times larger.

    The palette is known when all frames were seen. So their changes are kept, compressed, and played a second time.
    """
    import av

    (width, height), fps = pipe.size, pipe.fps
    kept: list[tuple[int, list[tuple[slice, bytes]]]] = []  # when in 1/100 s, and what changes then
    frames = 0
    # Mode `diff` would spend the colours on what moves, to the loss of what stands still and is looked at the longest.
    palettegen = _filter("palettegen", f"stats_mode=full:reserve_transparent=0:max_colors={COLOURS}", pipe.size)
    for picture, bands in pipe:
        if bands:
            kept.append((ticks(frames, fps, 100), [(rows, zlib.compress(picture[rows].data, 1)) for rows in bands]))
            palettegen.push(_timed(av.VideoFrame.from_ndarray(picture, "rgba"), len(kept), 100))
            with suppress(BlockingIOError):
                palettegen.vpull()  # nothing yet, but now the picture is counted, and its memory free
        frames += 1
    palettegen.push(None)
    palette = palettegen.vpull()

    paletteuse = _filter("paletteuse", "dither=none:diff_mode=rectangle", pipe.size, palette)
    hold = ticks(frames, fps, 100) - kept[-1][0]
    again = pipe.loop - 1 if pipe.loop else 0  # as the format has it: how often after the first time, 0: for ever
    muxer = {"fflags": "+bitexact", "loop": str(again or -1 if pipe.loop else 0), "final_delay": str(hold)}
    with av.open(str(aside), "w", format="gif", options=muxer) as film:
        stream: Any = film.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base, stream.codec_context.thread_count = Fraction(1, 100), 1
        canvas = np.empty((height, width, 4), np.uint8)
        for time, changes in kept:
            pipe.check()
            for rows, data in changes:
                canvas[rows] = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, width, 4)
            paletteuse.push(_timed(av.VideoFrame.from_ndarray(canvas, "rgba"), time, 100), at=0)
            film.mux(stream.encode(paletteuse.vpull()))
        film.mux(stream.encode(None))


def _filter(name: str, options: str, size: Size, palette: av.VideoFrame | None = None) -> av.filter.Graph:
    """A graph of one filter, to be fed with pictures timed in 1/100 s; it already has the palette, if there is one."""
    import av

    graph, time_base = av.filter.Graph(), Fraction(1, 100)
    source = graph.add_buffer(width=size[0], height=size[1], format=av.VideoFormat("rgba"), time_base=time_base)
    filter, sink = graph.add(name, options), graph.add("buffersink")
    source.link_to(filter)
    filter.link_to(sink)
    if palette:
        other = graph.add_buffer(width=palette.width, height=palette.height, format=palette.format, time_base=time_base)
        other.link_to(filter, 0, 1)
    graph.configure()
    if palette:
        graph.push(_timed(palette, 0, 100), at=1)
        graph.push(None, at=1)
    return graph


def _timed(picture: av.VideoFrame, ticks: int, rate: int) -> av.VideoFrame:
    """The picture, marked to be shown from ticks/rate seconds on."""
    picture.pts, picture.time_base = ticks, Fraction(1, rate)
    return picture


def ticks(frame: int, fps: int, rate: int) -> int:
    """When a frame starts, in the nearest 1/rate s: what is rounded is the time, so the film's length stays true."""
    return (2 * frame * rate + fps) // (2 * fps)


# Animated WebP


def _webp(aside: Path, pipe: Pipe) -> None:
    """Lossless: for drawings that is smaller than lossy, and much smaller than a GIF."""
    import av

    codec: Any = av.CodecContext.create("libwebp_anim", "w")
    codec.width, codec.height = pipe.size
    codec.pix_fmt, codec.time_base, codec.thread_count = "bgra", Fraction(1, 1000), 1
    codec.options = {"lossless": "1", "compression_level": "2", "quality": "75"}
    frames, start, fps = 0, 0, pipe.fps
    for picture, bands in pipe:
        if bands:
            start = ticks(frames, fps, 1000)
            pixels = straight(picture) if pipe.transparent else picture
            swapped = np.ascontiguousarray(pixels[..., [2, 1, 0, 3]])  # libwebp takes no RGBA
            codec.encode(_timed(av.VideoFrame.from_ndarray(swapped, "bgra"), start, 1000))
        frames += 1
    film = bytearray(b"".join(bytes(packet) for packet in codec.encode(None)))
    _finish(film, ticks(frames, fps, 1000) - start, pipe.loop)
    aside.write_bytes(film)


def _finish(webp: bytearray, milliseconds: int, loop: int) -> None:
    """Write into an animated WebP how long its last picture stays, which the encoder only guesses, and how often it is
    played, 0: for ever.

    Source: WebP Container Specification (RFC 9649), 2.7.1.1 ANIM and 2.7.1.2 ANMF.
    """
    chunk, last = 12, None  # after "RIFF", size, "WEBP"
    while chunk < len(webp):
        if webp[chunk : chunk + 4] == b"ANMF":
            last = chunk
        if webp[chunk : chunk + 4] == b"ANIM":
            webp[chunk + 12 : chunk + 14] = loop.to_bytes(2, "little")  # after the background's colour
        size = int.from_bytes(webp[chunk + 4 : chunk + 8], "little")
        chunk += 8 + size + size % 2
    if last is not None:  # None: a single picture, which is no animation
        webp[last + 20 : last + 23] = milliseconds.to_bytes(3, "little")  # after x, y, width, height, 3 bytes each


_ENCODERS: dict[str, _Encoder] = {".gif": _gif, ".mp4": _mp4, ".webm": _webm, ".webp": _webp}
