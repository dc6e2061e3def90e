"""`make bench`: how fast films, recordings and the command line are on this machine, beside what is wanted.

How fast attention itself is, on a GPU or a CPU, is what `flashsteps bench` measures.

Not a test: it only prints, and exits with 0. What is compared runs turn about and is compared pair by pair, so that a
busy moment hits both; shown is the middle one of the rounds. The encoder alone gets the very frames of the film from
memory, through the same code, and has to make the same file.

    python tests/bench.py [--only films|sizes|core|player] [--rounds N] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import av
import numpy as np

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.filmkit import encode, films, render
from flashsteps.filmkit.film import DEFAULT_DURATION, Film, film
from flashsteps.filmkit.timeline import SHORTEST
from flashsteps.runs.arguments import takes


class Size(NamedTuple):
    """A size and a rate, how often they are measured, and what is wanted of them."""

    name: str
    width: int
    height: int
    fps: int
    rounds: int
    share: float | None  # of the encoder alone, at least
    times: float | None  # ordinary manim, at least


SIZES = (
    Size("480p15", 854, 480, 15, 3, None, None),
    Size("720p30", 1280, 720, 30, 2, 0.75, 12),
    Size("1080p60", 1920, 1080, 60, 2, 0.75, 8),
)
GIF_BYTES, GIF_SECONDS = 1_500_000, 20
HELP, RECORD, COUNT = 0.15, 0.3, 1.0  # seconds, at most
ORDINARY = Path(__file__).with_name("filmkit") / "ordinary.py"

Patch = tuple[slice, slice, np.ndarray]  # rows, columns, and what they become
Changes = list[list[Patch] | None]  # one a frame; None where nothing changed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", choices=("films", "sizes", "core", "player"), help="one of the four parts")
    options.add_argument("--rounds", type=int, help="how often each pair runs")
    options.add_argument("--quick", action="store_true", help="short films, one round: only to see that all works")
    given = options.parse_args()
    began = time.perf_counter()
    print(f"{machine()}\nload average {load()}: others at work slow all of it down", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.only in (None, "films"):
            bench_films(Path(folder), given.quick, given.rounds)
        if given.only in (None, "sizes"):
            bench_sizes(Path(folder))
    if given.only in (None, "core"):
        bench_core()
    if given.only in (None, "player"):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from tests.player.bench_player import bench_player

        bench_player()
    print(f"\nAll this took {time.perf_counter() - began:.0f} s; load average now {load()}")


def machine() -> str:
    packages = ("numpy", "manim", "av", "pycairo", "pillow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    cpu = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({cpu}), {platform.system()}, Python {platform.python_version()}, {versions}"


def load() -> str:
    return " ".join(f"{x:.1f}" for x in os.getloadavg())


def verdict(good: bool, wanted: str) -> str:
    return f"wanted {wanted}: {'ok' if good else 'SHORT'}"


def timed(call: Callable[..., object], *arguments: Any, **options: Any) -> float:
    """How many seconds a call takes."""
    start = time.perf_counter()
    call(*arguments, **options)
    return time.perf_counter() - start


# ---- films


def bench_films(folder: Path, quick: bool, rounds: int | None) -> None:
    duration, seconds = (SHORTEST, 1.0) if quick else (DEFAULT_DURATION, 2.0)
    print(f"\nFilms of {duration:g} s to MP4, frames per second, without the set-up (the run and its layout).")
    print("Ordinary manim: the run of flash-forward in tests/filmkit/ordinary.py, from the first play on.\n")
    print("                          set-up  whole  (best)  encoder alone  whole / alone  ordinary  whole / ordinary")
    qkv = fs.load_qkv("sample")
    render.picture(film("standard", qkv, width=854, height=480), 0.0)  # now all is imported
    for size in SIZES:
        ready: dict[str, tuple[Film, float, Changes]] = {}
        for name in films.names():
            start = time.perf_counter()
            made = film(name, qkv, width=size.width, height=size.height, duration=duration)
            ready[name] = made, time.perf_counter() - start, list(changes(render.frames(made, size.fps)))
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ready}
        for turn in range(rounds or (1 if quick else size.rounds)):
            pairs = {name: alone_and_whole(made, size, kept, folder, turn) for name, (made, _, kept) in ready.items()}
            ordinary = ordinary_fps(size, seconds)
            for name, pair in pairs.items():
                found[name].append((*pair, ordinary))
        for name, results in found.items():
            alone, whole, ordinary = (median(column) for column in zip(*results, strict=True))
            share, times = median(w / a for a, w, _ in results), median(w / o for _, w, o in results)
            print(
                f"{size.name:7}  {name:14} {ready[name][1]:6.2f} s {whole:6.0f} {max(w for _, w, _ in results):7.0f}"
                f"  {alone:13.0f}  {share:13.0%}  {ordinary:8.1f}  {times:15.1f}×"
            )
            if size.share and size.times:
                of_encoder = verdict(share >= size.share, f"≥ {size.share:.0%} of the encoder alone")
                print(f"{'':9}{of_encoder}; {verdict(times >= size.times, f'≥ {size.times:g}× ordinary manim')}")
        sys.stdout.flush()


def alone_and_whole(made: Film, size: Size, kept: Changes, folder: Path, turn: int) -> tuple[float, float]:
    """Frames per second of the encoder alone, and of the whole render; every other turn the other way round."""
    alone, whole, pixels = folder / "alone.mp4", folder / "whole.mp4", (size.width, size.height)
    runs: list[tuple[str, Callable[[], int]]] = [
        ("alone", lambda: encode.write(alone, replayed(kept, pixels), fps=size.fps, size=pixels, total=len(kept))),
        ("whole", lambda: render.render(made, whole, fps=size.fps)),
    ]
    fps = {which: len(kept) / timed(run) for which, run in (runs if turn % 2 == 0 else runs[::-1])}
    if alone.read_bytes() != whole.read_bytes():
        print(f"{made.name} at {size.name}: the encoder alone made another file, so these two can't be compared:")
    return fps["alone"], fps["whole"]


def changes(frames: Iterable[np.ndarray | None], band: int = 8) -> Iterator[list[Patch] | None]:
    """What each frame changes, as copies: a thousand whole frames of 1080p would take 8 GB."""
    before: np.ndarray | None = None
    for frame in frames:
        if frame is None:
            yield None
            continue
        now = frame.view(np.uint32)[..., 0]
        before = ~now if before is None else before
        patches: list[Patch] = []
        for top in range(0, len(now), band):
            rows = slice(top, top + band)
            columns = np.flatnonzero((now[rows] != before[rows]).any(axis=0))
            if columns.size:
                where = rows, slice(int(columns[0]), int(columns[-1]) + 1)
                before[where] = now[where]
                patches.append((*where, now[where].copy()))
        yield patches


def replayed(kept: Changes, size: tuple[int, int]) -> Iterator[np.ndarray | None]:
    """The frames again, in one buffer, as `render.frames` gives them. It costs a copy of what changed, and no more."""
    canvas = np.empty((size[1], size[0], 4), np.uint8)
    pixels = canvas.view(np.uint32)[..., 0]
    for patches in kept:
        for rows, columns, values in patches or ():
            pixels[rows, columns] = values
        yield None if patches is None else canvas


def ordinary_fps(size: Size, seconds: float) -> float:
    """Frames per second of the ordinary scene, in a process of its own; NaN if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(x) for x in (ORDINARY, size.width, size.height, size.fps, folder, seconds)]
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        print(f"{ORDINARY.name} failed: {done.stderr.splitlines()[-1:]}")
        return float("nan")
    frames, took = done.stdout.split()[-2:]
    return int(frames) / float(took)


# ---- sizes


def bench_sizes(folder: Path) -> None:
    preset, qkv = render.PRESETS["readme"], fs.load_qkv("sample")
    print(f"\nGIFs of {DEFAULT_DURATION:g} s at {preset.width}×{preset.height}, {preset.fps} frames per second\n")
    for name in films.names():
        made = film(name, qkv, width=preset.width, height=preset.height)
        path = folder / f"{name}.gif"
        took = timed(render.render, made, path, fps=preset.fps)
        nbytes = path.stat().st_size
        share = nbytes * GIF_SECONDS / DEFAULT_DURATION
        wanted = verdict(share < GIF_BYTES, f"< {GIF_BYTES / 1e6:g} MB")
        print(f"{name:16} {nbytes:9,} B in {took:.1f} s; {share / 1e6:.2f} MB for {GIF_SECONDS} s, {wanted}")
        print(f"{'':17}{dither(made, path, preset.fps)}", flush=True)


def dither(made: Film, path: Path, fps: int, every: int = 2) -> str:
    """Without dither one colour of the film is one colour of the GIF, everywhere: looked at every few seconds."""
    with av.open(str(path)) as gif:
        shown = [(float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in gif.decode(video=0)]
    pairs, drawn = np.empty(0, np.uint64), np.empty(0)  # colours of the film, each with the one it became
    for k, frame in enumerate(render.frames(made, fps)):
        drawn = drawn if frame is None else frame
        if k % (every * fps) == 0:
            picture = next(pixels for at, pixels in reversed(shown) if at <= k / fps + 0.005)
            red, green, blue = picture.reshape(-1, 3).T.astype(np.uint64)
            before = drawn.view(np.uint32).ravel().astype(np.uint64) & 0xFFFFFF
            pairs = np.union1d(pairs, before << 24 | red << 16 | green << 8 | blue)
    colours, palette = len(np.unique(pairs >> 24)), len(np.unique(pairs & 0xFFFFFF))
    return f"{colours:,} colours became {palette}; {verdict(len(pairs) == colours, 'none dithered')}"


# ---- core


def bench_core() -> None:
    print("\nStart-up, the middle of 10 starts\n")
    helps, nothing = [], []
    for _ in range(10):
        helps.append(timed(start_up, Path(sys.executable).with_name("flashsteps"), "--help"))
        nothing.append(timed(start_up, sys.executable, "-c", "pass"))
    wanted = verdict(median(helps) < HELP, f"< {HELP} s")
    print(f"flashsteps --help {median(helps):.3f} s, {wanted}; python -c pass {median(nothing):.3f} s")

    n, d, block = 1024, 64, 128
    print(f"\nRecording N = {n:,}, d = {d} at {block}×{block}, the best of 5\n")
    q, k, v = fs.load_qkv(f"random:{n},{d}")
    for name in algorithms.names():
        options: dict[str, Any] = {"block_q": block, "block_k": block}
        if takes(name, "do"):
            options["do"] = v
        if takes(name, "block_mask"):
            options["block_mask"] = "local:2"
        events = len(fs.record(name, q, k, v, **options))
        took = min(timed(fs.record, name, q, k, v, **options) for _ in range(5))
        wanted = verdict(took < RECORD, f"< {RECORD} s")
        print(f"{name:27} {took:.3f} s, {wanted}; {events:,} events, {events / took:,.0f} a second")

    n, d, block_q, block_k = 1 << 20, 128, 128, 64
    print(f"\nCounting N = {n:,}, d = {d} at {block_q}×{block_k}, the best of 3\n")
    for name in algorithms.names():
        tiles = {"block_mask": "local:2"} if takes(name, "block_mask") else {}
        for mask in (None, "causal"):
            sizes: dict[str, Any] = {"n": n, "d": d, "block_q": block_q, "block_k": block_k, "mask": mask, **tiles}
            took = min(timed(fs.count, name, **sizes) for _ in range(3))
            print(f"{name:27} {mask or '':6} {took:.3f} s, {verdict(took < COUNT, f'< {COUNT:g} s')}", flush=True)


def start_up(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{command[0]} failed: {done.stderr.splitlines()[-1:]}")


if __name__ == "__main__":
    main()
