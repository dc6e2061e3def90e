"""A film shows the frames that went in, for as long as they should be seen; its file is there whole, or not at all."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flashsteps.filmkit import alpha as alpha_of
from flashsteps.filmkit import encode, formats, pipe

FILMS = [".gif", ".mp4", ".webm", ".webp"]
SIZE = WIDTH, HEIGHT = 64, 50  # 50 rows: the last band is cut
COLOURS = [(13, 17, 23), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (86, 180, 233), (230, 159, 0)]


def pictures(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """A square that steps over a dark ground, changing colour: (height, width, 3) in RGB, in few enough for a GIF."""
    made = []
    for k in range(count):
        rgb = np.empty((size[1], size[0], 3), np.uint8)
        rgb[:] = COLOURS[0]
        rgb[4 * k % 32 : 4 * k % 32 + 16, 16:48] = COLOURS[1 + k % 6]
        made.append(rgb)
    return made


def drawn(rgbs: Sequence[np.ndarray | None]) -> Iterator[np.ndarray | None]:
    """The pictures as a producer gives them: RGBA with any alpha, all in one buffer that it goes on using."""
    buffer = np.empty((*next(rgb for rgb in rgbs if rgb is not None).shape[:2], 4), np.uint8)
    for k, rgb in enumerate(rgbs):
        if rgb is None:
            yield None
        else:
            buffer[..., :3], buffer[..., 3] = rgb, 37 * k % 256
            yield buffer
            buffer[:] = 77


def noise(count: int = 20) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (120, 160, 4), dtype=np.uint8)


def write(path: Path, rgbs: Sequence[np.ndarray | None], fps: int = 12, **more) -> bytes:
    height, width = next(rgb for rgb in rgbs if rgb is not None).shape[:2]
    count = encode.write(path, drawn(rgbs), fps=fps, size=(width, height), total=len(rgbs), **more)
    assert count == len(rgbs)
    return path.read_bytes()


def images(path: Path) -> list[tuple[np.ndarray, int]]:
    """What Pillow sees in a GIF or WebP: each picture in RGB, and how many milliseconds it stays."""
    with Image.open(path) as image:
        found = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            image.load()
            found.append((np.asarray(image.convert("RGB")), int(image.info.get("duration", 0))))
        return found


def rgb_of(frame: av.VideoFrame) -> np.ndarray:
    """yuv420p, limited range, to RGB by the formulas of ITU-R BT.709, in floats: no word from swscale."""
    y, u, v = (np.frombuffer(memoryview(p), np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes[:3])
    luma = (y - 16.0) * 255 / 219
    blue, red = ((c.repeat(2, axis=0).repeat(2, axis=1) - 128.0) * 255 / 224 for c in (u, v))
    kr, kb = 0.2126, 0.0722
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], axis=-1)


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [rgb_of(frame) for frame in film.decode(video=0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


# What is in the file


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_gif_and_webp_give_back_each_pixel(tmp_path, ending):
    rgbs = pictures(7)
    write(tmp_path / f"film{ending}", rgbs)
    seen = images(tmp_path / f"film{ending}")
    assert len(seen) == 7
    for (image, _), rgb in zip(seen, rgbs, strict=True):
        np.testing.assert_array_equal(image, rgb)


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_video_gives_back_each_picture(tmp_path, ending):
    rgbs = pictures(7)
    write(tmp_path / f"film{ending}", rgbs)
    seen = decoded(tmp_path / f"film{ending}")
    assert len(seen) == 7
    for image, rgb in zip(seen, rgbs, strict=True):
        assert image.shape == rgb.shape
        assert np.abs(image - rgb).mean() < 1.5


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=30, deadline=None)
def test_video_keeps_a_colour_and_says_how_it_is_coded(folder, ending, colour):
    rgb = np.full((32, 32, 3), colour, np.uint8)
    write(folder / f"colours{ending}", [rgb, None])
    for image in decoded(folder / f"colours{ending}"):
        assert np.abs(image.round() - rgb).max() <= 3
    with av.open(str(folder / f"colours{ending}")) as film:
        context = film.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_video_runs_at_its_rate_and_has_a_key_frame_every_two_seconds(tmp_path, ending):
    write(tmp_path / f"film{ending}", pictures(50), fps=10)
    with av.open(str(tmp_path / f"film{ending}")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, stream.codec_context.pix_fmt) == (*SIZE, "yuv420p")
        assert stream.average_rate == 10
        packets = [packet for packet in film.demux(stream) if packet.pts is not None]
        starts = [float((packet.pts or 0) * (packet.time_base or 0)) for packet in packets]
        assert starts == [k / 10 for k in range(50)]
        keys = [start for start, packet in zip(starts, packets, strict=True) if packet.is_keyframe]
        assert max(b - a for a, b in zip(keys, [*keys[1:], 5.0], strict=True)) <= 2
    with av.open(str(tmp_path / f"film{ending}")) as film:
        assert film.duration == pytest.approx(5e6, abs=1e3)


def test_mp4_can_be_played_before_it_is_all_there(tmp_path):
    data = write(tmp_path / "film.mp4", pictures(3))
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("ending", "tick"), [(".gif", 10), (".webp", 1)])
@given(fps=st.integers(1, 50), same=st.lists(st.booleans(), max_size=20))
@settings(max_examples=30, deadline=None)
def test_pictures_come_and_go_on_time(folder, ending, tick, fps, same):
    """To the nearest tick of the format (in ms), from the first frame to the end of the last; then round again."""
    frames = pictures(len(same) + 2)
    changes = [0] + [k for k, stay in enumerate(same, 1) if not stay] + [len(same) + 1]
    path = folder / f"timed{ending}"
    write(path, [rgb if k in changes else None for k, rgb in enumerate(frames)], fps=fps)
    seen = images(path)
    assert len(seen) == len(changes)
    starts = np.cumsum([0] + [duration for _, duration in seen])
    wanted = np.array([*changes, len(frames)]) * 1000 / fps
    assert np.abs(starts - wanted).max() <= tick / 2
    with Image.open(path) as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("loop", [0, 1, 2, 7, 65535])
@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_a_film_is_played_as_often_as_asked(tmp_path, ending, loop):
    """A GIF says how often again, after the first time (none: not again); a WebP how often in all. 0: for ever."""
    write(tmp_path / f"film{ending}", pictures(3), loop=loop)
    with Image.open(tmp_path / f"film{ending}") as image:
        said = image.info.get("loop")
    assert said == ((loop - 1 or None) if loop and ending == ".gif" else loop)
    assert [frame.tolist() for frame, _ in images(tmp_path / f"film{ending}")] == [p.tolist() for p in pictures(3)]


def test_what_cannot_say_how_often_it_is_played_is_told_what_can(tmp_path):
    for name in ("film.mp4", "film.webm"):
        with pytest.raises(ValueError, match=r"give no loop, or use \.gif or \.webp"):
            encode.write(tmp_path / name, noise(), fps=10, size=(160, 120), total=20, loop=1)
    for loop in (-1, 65536):
        with pytest.raises(ValueError, match=f"played {loop} times: use 1 to 65535, or 0"):
            encode.write(tmp_path / "film.gif", noise(), fps=10, size=(160, 120), total=20, loop=loop)


def test_gif_gives_a_colour_the_same_place_in_its_palette_everywhere(tmp_path):
    """No dither: where there are more colours than a GIF can hold, equal pixels stay equal."""
    rng = np.random.default_rng(0)
    paint = rng.integers(0, 256, (400, 3), dtype=np.uint8)
    rgbs = list(paint[rng.integers(0, 400, (3, HEIGHT, WIDTH))])
    write(tmp_path / "film.gif", rgbs)
    shown = [image for image, _ in images(tmp_path / "film.gif")]
    before, after = ((np.stack(film).astype(int) @ (65536, 256, 1)).ravel().tolist() for film in (rgbs, shown))
    assert (
        len(set(zip(before, after, strict=True)))
        == len(set(before))
        > encode.COLOURS
        >= len(set(after))
        > 0.8 * encode.COLOURS
    )


@pytest.mark.parametrize("ending", FILMS)
def test_none_is_the_same_picture_again(tmp_path, ending):
    a, b = pictures(2)
    said = write(tmp_path / f"said{ending}", [a, None, None, b, None])
    assert said == write(tmp_path / f"shown{ending}", [a, a, a, b, b])
    assert said != write(tmp_path / f"shorter{ending}", [a, None, None, b])


@pytest.mark.parametrize("ending", FILMS)
def test_same_frames_same_bytes_however_many_cores(tmp_path, ending):
    first = write(tmp_path / f"a{ending}", pictures(12))
    assert first == write(tmp_path / f"b{ending}", pictures(12))
    with one_core():
        assert first == write(tmp_path / f"c{ending}", pictures(12))


@contextmanager
def one_core() -> Iterator[None]:
    """Where the system can do so, what starts here runs on one core, and libraries that count the cores find one."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_changed_rows_are_all_that_is_needed(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    before = np.zeros((height, width, 4), np.uint8)
    after = before.copy()
    for _ in range(data.draw(st.integers(0, 4))):
        after[
            data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, 3))
        ] = 1
    bands = pipe.changed(before, after)
    assert bool(bands) == (after != before).any()
    assert all(rows.start % 2 == 0 and rows.stop - rows.start >= min(4, height) for rows in bands)  # for yuv420p
    patched = before.copy()
    for rows in bands:
        patched[rows] = after[rows]
    np.testing.assert_array_equal(patched, after)


@given(st.integers(1, 60), st.lists(st.tuples(st.floats(-9, 70), st.floats(0, 30)), max_size=4))
def test_bands_cover_what_was_drawn_and_are_those_that_are_compared(height, drawn):
    bands = pipe.bands_of(height, [(top, top + high) for top, high in drawn])
    seen = {row for rows in bands for row in range(rows.start, rows.stop)}
    assert {row for top, high in drawn for row in range(height) if top < row + 1 and row < top + high} <= seen
    whole = pipe.changed(np.zeros((height, 1, 4), np.uint8), np.ones((height, 1, 4), np.uint8) * (np.isin(
        np.arange(height), sorted(seen))[:, None, None]).astype(np.uint8))  # fmt: skip
    assert bands == whole


@pytest.mark.parametrize("ending", FILMS)
def test_encoding_where_it_was_drawn_is_encoding_all(tmp_path, ending):
    rng, (wide, high) = np.random.default_rng(0), SIZE
    frame, frames, drawn = rng.integers(0, 256, (high, wide, 4), dtype=np.uint8), [], []
    for _ in range(9):
        top = int(rng.integers(high - 9))
        frame = frame.copy()
        frame[top + 2 : top + 5, ::2] ^= 255
        frames.append(frame)
        drawn.append(pipe.Drawn(frame, pipe.bands_of(high, [(top, top + 9)])))  # and more than has changed
    for name, each in (("all", frames), ("drawn", drawn)):
        encode.write(tmp_path / f"{name}{ending}", each, fps=10, size=SIZE, total=9)
    assert (tmp_path / f"all{ending}").read_bytes() == (tmp_path / f"drawn{ending}").read_bytes()


@pytest.mark.parametrize("ending", FILMS)
def test_encoding_what_changed_is_encoding_all(tmp_path, monkeypatch, ending):
    rgbs = [np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)]
    for k in range(1, 9):
        rgbs.append(rgbs[-1].copy())
        rgbs[-1][5 * k : 5 * k + 3, ::2] ^= 255
        rgbs[-1][(5 * k + 24) % HEIGHT] ^= 255
    some = write(tmp_path / f"some{ending}", rgbs)
    monkeypatch.setattr(pipe, "changed", lambda before, frame: [slice(0, len(frame))])
    assert some == write(tmp_path / f"all{ending}", rgbs)


def test_progress_is_told_of_each_frame_in_the_callers_thread(tmp_path):
    told = []
    rgbs = [*pictures(3), None]
    write(
        tmp_path / "film.mp4", rgbs, progress=lambda done, total: told.append((done, total, threading.current_thread()))
    )
    assert told == [(k, 4, threading.current_thread()) for k in (1, 2, 3, 4)]


def test_ending_may_be_in_capitals(tmp_path):
    assert write(tmp_path / "FILM.GIF", pictures(2)).startswith(b"GIF89a")


def test_still_is_a_png_in_rgb(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (33, 45, 3), dtype=np.uint8)
    frame = np.dstack([rgb, rgb[..., 0]])
    for name in ("a.png", "b.png"):
        encode.write_png(tmp_path / name, frame)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), rgb)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# Transparent


def disc(colour: tuple[int, int, int], at: float, alpha: float = 1.0) -> np.ndarray:
    """A disc with soft edges on nothing, premultiplied: as cairo has it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    cover = np.clip(14 - np.hypot(x - at, y - 25), 0, 1) * alpha
    return (np.dstack([*(cover * channel for channel in colour), cover * 255]) + 0.5).astype(np.uint8)


def on(ground: int, pixels: np.ndarray) -> np.ndarray:
    """Pixels, (…, 4) and straight, put on a grey ground: (…, 3)."""
    alpha = pixels[..., 3:] / 255.0
    return pixels[..., :3] * alpha + ground * (1 - alpha)


def clear_pixels(path: Path) -> list[np.ndarray]:
    """The pictures of a transparent file, as straight RGBA."""
    if path.suffix != ".webm":
        with Image.open(path) as image:
            found = []
            for k in range(getattr(image, "n_frames", 1)):
                image.seek(k)
                found.append(np.asarray(image.convert("RGBA")).astype(float))
            return found
    codec = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder leaves alpha out
    with av.open(str(path)) as film:
        assert film.streams.video[0].metadata["alpha_mode"] == "1"
        frames = [frame for packet in film.demux(video=0) if packet.size for frame in codec.decode(packet)]
    return [
        np.dstack([rgb_of(frame), np.frombuffer(memoryview(frame.planes[3]), np.uint8).reshape(HEIGHT, -1)[:, :WIDTH]])
        for frame in frames
    ]


COLOUR = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize(("ending", "worst", "mean"), [(".png", 1.01, 0.5), (".webp", 1.01, 0.5), (".webm", 45, 2)])
@given(colour=COLOUR, ground=st.integers(0, 255), alpha=st.sampled_from([1.0, 0.5]))
@settings(max_examples=25, deadline=None)
def test_what_is_transparent_looks_right_on_any_ground_at_its_edges_too(
    folder, ending, worst, mean, colour, ground, alpha
):
    path = folder / f"clear{ending}"
    frames = [disc(colour, at, alpha) for at in (20.0, 20.5, 31.0)]
    if ending == ".png":
        frames = frames[:1]
        encode.write_png(path, frames[0], transparent=True)
    else:
        encode.write(path, frames, fps=10, size=SIZE, total=3, transparent=True)
    for found, frame in zip(clear_pixels(path), frames, strict=True):
        wrong = np.abs(on(ground, found) - (frame[..., :3] + ground * (1 - frame[..., 3:] / 255.0)))
        assert wrong.max() <= worst
        assert wrong.mean() <= mean


@given(colour=COLOUR, size=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_what_is_clear_has_the_colour_of_what_it_touches(colour, size, seed):
    """Or a program that scales the picture, or halves its colours, would mix another into the edge."""
    rng = np.random.default_rng(seed)
    alpha = rng.integers(128, 256, size) * (rng.random(size) < 0.3)
    frame = np.dstack([*((alpha * channel + 127) // 255 for channel in colour), alpha]).astype(np.uint8)
    found = alpha_of.straight(frame)
    np.testing.assert_array_equal(found[..., 3], alpha)
    for top in range(0, size[0], 2):
        for left in range(0, size[1], 2):
            cell = np.s_[top : top + 2, left : left + 2]
            if alpha[cell].any():
                assert np.abs(found[cell][..., :3].astype(int) - colour).max() <= 2


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_rows_may_be_made_straight_in_parts(seed, width, blocks):
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (8 * blocks + 3, width, 4), dtype=np.uint8)
    frame[rng.random(frame.shape[:2]) < 0.5] = 0
    frame[..., :3] = np.minimum(frame[..., :3], frame[..., 3:])
    parts = [alpha_of.straight(frame[:8]), alpha_of.straight(frame[8:])]
    np.testing.assert_array_equal(np.concatenate(parts), alpha_of.straight(frame))


def test_a_film_that_cannot_be_transparent_is_told_what_can(tmp_path):
    for name in ("film.gif", "film.mp4"):
        with pytest.raises(ValueError, match=r"cannot be transparent: use \.webm, \.webp, \.png, \.svg or \.pdf"):
            encode.write(tmp_path / name, noise(), fps=10, size=(160, 120), total=20, transparent=True)


@pytest.mark.parametrize("ending", [".webm", ".webp"])
def test_encoding_what_changed_is_encoding_all_where_it_is_transparent(tmp_path, monkeypatch, ending):
    frames = [disc((200, 80, 20), 20 + k) for k in range(5)]
    encode.write(tmp_path / f"some{ending}", frames, fps=10, size=SIZE, total=5, transparent=True)
    monkeypatch.setattr(pipe, "changed", lambda before, frame: [slice(0, len(frame))])
    encode.write(tmp_path / f"all{ending}", frames, fps=10, size=SIZE, total=5, transparent=True)
    assert (tmp_path / f"some{ending}").read_bytes() == (tmp_path / f"all{ending}").read_bytes()


# Whole, or not at all


class Stop(BaseException):
    """As KeyboardInterrupt is, no Exception."""


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError, Stop])
@pytest.mark.parametrize("after", [0, 1, 12])
@pytest.mark.parametrize("ending", FILMS)
def test_a_producer_that_fails_leaves_everything_as_it_was(tmp_path, ending, after, trouble):
    def failing() -> Iterator[np.ndarray]:
        yield from noise(after)
        raise trouble("in the middle")

    (tmp_path / f"old{ending}").write_bytes(b"old")
    threads = threading.active_count()
    for name in ("old", "new"):
        with pytest.raises(trouble, match="in the middle"):
            encode.write(tmp_path / f"{name}{ending}", failing(), fps=10, size=(160, 120), total=40)
    assert [path.name for path in tmp_path.iterdir()] == [f"old{ending}"]
    assert (tmp_path / f"old{ending}").read_bytes() == b"old"
    assert threading.active_count() == threads


@pytest.mark.parametrize("ending", FILMS)
def test_progress_that_fails_leaves_everything_as_it_was(tmp_path, ending):
    def failing(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt("at the last moment")

    with pytest.raises(KeyboardInterrupt, match="at the last moment"):
        encode.write(tmp_path / f"film{ending}", noise(5), fps=10, size=(160, 120), total=5, progress=failing)
    assert not list(tmp_path.iterdir())


def test_after_ctrl_c_there_is_no_second_pass(tmp_path, monkeypatch):
    def interrupted() -> Iterator[np.ndarray]:
        yield from noise(3)
        raise KeyboardInterrupt

    called: list[bytes] = []
    monkeypatch.setattr("zlib.decompress", called.append)
    with pytest.raises(KeyboardInterrupt):
        encode.write(tmp_path / "film.gif", interrupted(), fps=10, size=(160, 120), total=40)
    assert not called


@pytest.mark.parametrize("ending", FILMS)
def test_a_full_disk_is_told_in_one_line_and_leaves_everything_as_it_was(tmp_path, ending):
    (tmp_path / f"film{ending}").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (20_000, hard)
    )  # no file may grow larger: as near to full as a test can go
    try:
        with pytest.raises(ValueError, match=f"film{ending}'.*File too large") as caught:
            encode.write(
                tmp_path / f"film{ending}", noise(12 if ending == ".gif" else 60), fps=10, size=(160, 120), total=40
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [f"film{ending}"]
    assert (tmp_path / f"film{ending}").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["film.gif", "film.mp4", "film.webm", "film.webp", "still.png"])
def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path, name):
    path = tmp_path / name
    umask = os.umask(0o027)
    try:
        if path.suffix == ".png":
            encode.write_png(path, next(noise()))
        else:
            write(path, pictures(2))
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o640


# What can't be written, and what to do about it


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("film.avi", r"film\.avi': .* use \.gif, \.mp4, \.webm, \.webp, \.png, \.svg or \.pdf"),
        ("film", r"film': .* use \.gif"),
        (
            "no such/folder/film.gif",
            r"there is no folder '.*no such/folder': make it with: mkdir -p '.*no such/folder'",
        ),
        ("file.gif/film.gif", r"file\.gif' is a file, not a folder"),
        ("folder.gif", r"folder\.gif' is a folder: name a file in it, such as '.*folder\.gif/folder\.gif'"),
    ],
)
def test_a_path_that_will_not_do(tmp_path, name, says):
    (tmp_path / "file.gif").touch()
    (tmp_path / "folder.gif").mkdir()
    for refused in (formats.check_path, lambda path: encode.write(path, noise(), fps=1, size=(160, 120), total=40)):
        with pytest.raises(ValueError, match=says) as caught:
            refused(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.gif", "folder.gif"]


@pytest.mark.parametrize(
    ("name", "instead"), [("frame%04d.png", "frame.webm"), ("a-%d.svg", "a.webm"), ("%05d.png", "film.webm")]
)
def test_a_name_for_many_pictures_is_refused_with_one_for_a_film(tmp_path, name, instead):
    with pytest.raises(ValueError, match=f"{name}' names a file for each picture: .* such as {instead}$"):
        formats.check_path(tmp_path / name)
    for taken in (instead, "100%.png"):
        assert formats.check_path(tmp_path / taken)


def test_a_path_that_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("film.gif", "film.MP4", tmp_path / "still.png"):
        assert formats.check_path(name) == Path(name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write anywhere, so a mode would not do
    with pytest.raises(ValueError, match=r"film\.gif': .*Permission denied.*: choose another folder"):
        formats.check_path(tmp_path / "film.gif")


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("film.mp4", (1281, 720), "1281x720: .* even: use 1282x720"),
        ("film.webm", (1280, 719), "1280x719: .* even: use 1280x720"),
        ("film.webp", (16384, 100), "16384x100: .* 1 to 16383"),
        ("film.gif", (0, 100), "0x100: .* 1 to 65535"),
    ],
)
def test_a_size_that_will_not_do(tmp_path, name, size, says):
    with pytest.raises(ValueError, match=says):
        formats.check_size(name, size)
    with pytest.raises(ValueError, match=says):
        encode.write(tmp_path / name, noise(), fps=10, size=size, total=40)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png"])
def test_other_formats_take_odd_sizes(tmp_path, ending):
    (rgb,) = pictures(1, size=(37, 31))
    formats.check_size(f"a{ending}", (37, 31))
    if ending == ".png":
        encode.write_png(tmp_path / "a.png", np.dstack([rgb, rgb[..., 0]]))
    else:
        write(tmp_path / f"a{ending}", [rgb])
    np.testing.assert_array_equal(images(tmp_path / f"a{ending}")[0][0], rgb)


def test_a_rate_that_will_not_do(tmp_path):
    formats.check_film("film.gif", SIZE, 50)
    formats.check_film("film.mp4", SIZE, 240)
    for name, fps, says in (
        ("film.gif", 60, "60 frames a second: .* use 50 or less"),
        ("film.mp4", 0, "use 1 to 240"),
        ("film.webp", 2**31, "2147483648 frames a second: use 1 to 240"),
    ):
        with pytest.raises(ValueError, match=says):
            formats.check_film(name, SIZE, fps)
        with pytest.raises(ValueError, match=says):
            encode.write(tmp_path / name, noise(), fps=fps, size=(160, 120), total=40)


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "no frames"),
        ([None], "first frame is None"),
        ([np.zeros((120, 160, 3), np.uint8)], r"uint8 \(120, 160, 3\): it must be uint8 \(120, 160, 4\)"),
        ([np.zeros((120, 160, 4))], r"float64"),
        ([np.zeros((160, 120, 4), np.uint8)], r"\(160, 120, 4\)"),
        ([np.zeros((120, 320, 4), np.uint8)[:, ::2]], "C-contiguous"),
    ],
)
@pytest.mark.parametrize("ending", FILMS)
def test_frames_that_will_not_do(tmp_path, ending, frames, says):
    with pytest.raises(ValueError, match=says):
        encode.write(tmp_path / f"film{ending}", frames, fps=10, size=(160, 120), total=1)
    assert not list(tmp_path.iterdir())


def test_a_film_is_no_still_and_a_still_no_film(tmp_path):
    with pytest.raises(ValueError, match=r"\.png' holds a still: for a film use \.gif, \.mp4, \.webm, \.webp"):
        encode.write(tmp_path / "film.png", noise(), fps=10, size=(160, 120), total=40)
    with pytest.raises(ValueError, match=r"a picture is a \.png"):
        encode.write_png(tmp_path / "film.gif", next(noise()))


def test_what_lies_in_memory_changes_no_byte(tmp_path):
    """glibc fills what is allocated with what it is told: an encoder that reads what nobody has written shows."""
    code = (
        "import sys, numpy as np; from flashsteps.filmkit import encode\n"
        "picture = np.full((450, 800, 4), 255, np.uint8)\n"
        "def frames():\n"
        "    for k in range(14):\n"
        "        picture[40 + 20 * k :, 30 : 90 + 40 * k, 0] = 16 * k\n"
        "        yield picture\n"
        "encode.write(sys.argv[1], frames(), fps=1, size=(800, 450), total=14)\n"
    )
    made = []
    for fill in ("1", "3", "170"):
        path = tmp_path / f"{fill}.mp4"
        subprocess.run([sys.executable, "-c", code, path], check=True, env={**os.environ, "MALLOC_PERTURB_": fill})
        made.append(path.read_bytes())
    assert made[0] == made[1] == made[2]
