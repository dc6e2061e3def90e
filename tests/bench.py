"""`make bench`: how fast films, recordings and the command line are on this machine, beside what is wanted.

How fast attention itself is, on a GPU or a CPU, is what `flashsteps bench` measures.

Not a test: it only prints, and exits with 0. What is compared runs turn about and is compared pair by pair, so that a
busy moment hits both; shown is the middle one of the rounds. The encoder alone gets the very frames of the film from
memory, through the same code, and has to make the same file.

    python tests/bench.py [--only films|sizes|talk|core|player|host|4k] [--rounds N] [--films FILM,…] [--quick]
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
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import av
import numpy as np

import flashsteps as fs
from flashsteps import algorithms
from flashsteps.filmkit import encode, films, gallery, rendering
from flashsteps.filmkit.join import join
from flashsteps.filmkit.pipe import BAND, Drawn, bands_of
from flashsteps.filmkit.presets import PRESETS
from flashsteps.filmkit.processes import cores
from flashsteps.filmkit.reel import Reel
from flashsteps.filmkit.rendering import Look
from flashsteps.filmkit.storyboard import CUTS
from flashsteps.runs.arguments import takes
from flashsteps.talk import make


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
    Size("720p30", 1280, 720, 30, 5, 0.8, 24),
    Size("1080p60", 1920, 1080, 60, 3, 0.8, 10),
)
FILMS = ("flash-forward", "flash2-forward", "standard")  # of which the speed is measured: in their short cuts
TWO_CORES, COLD = 1.7, 4.0  # times as fast as one, at least; seconds for a first GIF, at most
GIF_BYTES = {"full": 2_000_000, "short": 1_000_000}
TALK, TALK_BYTES, GALLERY = 360, 60_000_000, 600  # seconds, bytes and seconds, at most, on two cores
HELP, RECORD, COUNT = 0.15, 0.3, 1.0  # seconds, at most
ORDINARY = Path(__file__).with_name("filmkit") / "ordinary.py"
HOST = Path(__file__).with_name("kernels") / "bench_host.py"

Patch = tuple[slice, slice, np.ndarray]  # rows, columns, and what they become
Changes = list[list[Patch] | None]  # one a frame; None where nothing changed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--only", choices=("films", "sizes", "talk", "core", "player", "host", "4k"), help="one part")
    options.add_argument("--films", default="", help="talk and gallery of these alone; for all it is computed")
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
        if given.only in (None, "talk"):
            bench_talk(Path(folder), tuple(filter(None, given.films.split(","))))
    if given.only in (None, "core"):
        bench_core()
    if given.only in (None, "player"):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from tests.player.bench_player import bench_explorer, bench_player

        bench_player()
        bench_explorer()
    if given.only in (None, "host") and sys.platform == "linux":  # there is no Triton elsewhere
        environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        subprocess.run([sys.executable, HOST], env=environment, check=False)
    if given.only in (None, "4k"):
        with tempfile.TemporaryDirectory() as folder:
            bench_4k(Path(folder))
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
    print("\nShort cuts to MP4, frames per second, without the set-up (the run and the script).")
    print(
        "Alone: the encoder, given the same pieces from memory, on one core. Ordinary manim: the run of flash-forward"
    )
    print("in tests/filmkit/ordinary.py, its first 2 seconds from the first play on, on all cores.\n")
    print("                         alone  one core  share   all cores  times one   ordinary  times ordinary")
    for size in SIZES[:1] if quick else SIZES:
        ready: dict[str, tuple[Look, Changes]] = {}
        for name in FILMS:
            reel = fs.film(name, cut="short")
            look = Look(reel.script, (size.width, size.height), size.fps, "dark")
            ready[name] = look, list(changes(rendering.frames(look)))
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ready}
        for turn in range(rounds or (1 if quick else size.rounds)):
            measured = {name: speeds(name, look, kept, folder, turn) for name, (look, kept) in ready.items()}
            ordinary = ordinary_fps(size, 2.0)
            for name, three in measured.items():
                found[name].append((*three, ordinary))
        for name, results in found.items():
            alone, one, every, ordinary = (median(column) for column in zip(*results, strict=True))
            share, times = median(o / a for a, o, _, _ in results), median(e / m for _, _, e, m in results)
            more = median(e / o for _, o, e, _ in results)
            print(
                f"{size.name:7}  {name:14} {alone:6.0f}  {one:8.0f}  {share:5.0%}  {every:10.0f}  {more:8.2f}×"
                f"  {ordinary:9.1f}  {times:13.1f}×"
            )
            if size.share and size.times:
                of_encoder = verdict(share >= size.share, f"≥ {size.share:.0%} of the encoder alone")
                print(f"{'':9}{of_encoder}; {verdict(times >= size.times, f'≥ {size.times:g}× ordinary manim')}")
                if os.cpu_count() == 2:
                    print(f"{'':9}{verdict(more >= TWO_CORES, f'two cores ≥ {TWO_CORES}× one')}")
        sys.stdout.flush()
    took = sorted(timed(start_up, *GIF_COMMAND, folder / "cold.gif") for _ in range(1 if quick else 3))
    print(f"\nflashsteps render flash-forward -o x.gif, from a cold start: {median(took):.2f} s", end=", ")
    print(verdict(median(took) < COLD, f"< {COLD:g} s"), flush=True)


GIF_COMMAND = (Path(sys.executable).with_name("flashsteps"), "render", "flash-forward", "-q", "-o")


def speeds(name: str, look: Look, kept: Changes, folder: Path, turn: int) -> tuple[float, float, float]:
    """Frames per second of the encoder alone and of the whole on one core, and of the whole on all of them."""
    alone, whole = folder / "alone.mp4", folder / "whole.mp4"
    runs: list[tuple[str, Callable[[], object]]] = [
        ("alone", lambda: on_one_core(lambda: encoded(kept, look, alone, folder))),
        ("one", lambda: on_one_core(lambda: rendering.write(whole, look, jobs=1))),
        ("all", lambda: rendering.write(whole, look)),
    ]
    fps = {which: len(kept) / timed(run) for which, run in (runs if turn % 2 == 0 else runs[::-1])}
    if alone.read_bytes() != whole.read_bytes():
        print(f"{name}: the encoder alone made another file, so these two can't be compared:")
    return fps["alone"], fps["one"], fps["all"]


def on_one_core(call: Callable[[], object]) -> None:
    """What is called has one core, where the system lets one say so."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if before:
        os.sched_setaffinity(0, {min(before)})
    try:
        call()
    finally:
        if before:
            os.sched_setaffinity(0, before)


def encoded(kept: Changes, look: Look, path: Path, folder: Path) -> None:
    """The film as `rendering.write` makes it, of frames that are drawn already."""
    spans, pieces = rendering.pieces(len(kept), look.fps), []
    frames = replayed(kept, look.size, {span.start for span in spans})
    for span in spans:
        pieces.append(folder / f"piece{span.start}.mp4")
        encode.write(pieces[-1], islice(frames, len(span)), fps=look.fps, size=look.size, total=len(span))
    join(path, pieces, "mp4", look.fps, look.tell().chapters)


def changes(frames: Iterable[Drawn | None], band: int = BAND) -> Iterator[list[Patch] | None]:
    """What each frame changes, as copies: a thousand whole frames of 1080p would take 8 GB."""
    before: np.ndarray | None = None
    for frame in frames:
        if frame is None:
            yield None
            continue
        now = frame.pixels.view(np.uint32)[..., 0]
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


def replayed(kept: Changes, size: tuple[int, int], starts: set[int]) -> Iterator[Drawn | None]:
    """The frames again, in one buffer, as `rendering.frames` gives them in pieces with these starts. It costs a copy of
    what changed, and no more."""
    canvas = np.empty((size[1], size[0], 4), np.uint8)
    pixels = canvas.view(np.uint32)[..., 0]
    for k, patches in enumerate(kept):
        for rows, columns, values in patches or ():
            pixels[rows, columns] = values
        spans = ((rows.start, min(rows.stop, size[1])) for rows, _, _ in patches or ())
        yield None if patches is None and k not in starts else Drawn(canvas, bands_of(size[1], spans))


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
    size = PRESETS["readme"]
    print(f"\nGIFs at {size.width}×{size.height}, {size.fps} frames per second\n")
    for name in films.names():
        for cut in ("full", "short"):
            try:
                reel = fs.film(name, cut=cut)
            except ValueError:
                continue  # there is no short cut of it
            path = folder / f"{name}.gif"
            took = timed(reel.render, path)
            nbytes, most = path.stat().st_size, GIF_BYTES[cut]
            wanted = verdict(nbytes < most, f"< {most / 1e6:g} MB")
            print(f"{name:18} {cut:5} {reel.duration:4.0f} s {nbytes:9,} B in {took:.1f} s, {wanted}")
            if cut == "full":
                print(f"{'':25}{dither(reel, path, size.fps)}", flush=True)


def dither(reel: Reel, path: Path, fps: int, every: int = 2) -> str:
    """Without dither one colour of the film is one colour of the GIF, everywhere: looked at every few seconds."""
    with av.open(str(path)) as gif:
        shown = [(float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in gif.decode(video=0)]
    pairs = np.empty(0, np.uint64)  # colours of the film, each with the one it became
    for t in range(0, int(reel.duration), every):
        drawn = reel.frame(t, width=PRESETS["readme"].width, height=PRESETS["readme"].height)
        picture = next(pixels for at, pixels in reversed(shown) if at <= t + 0.005)
        red, green, blue = picture.reshape(-1, 3).T.astype(np.uint64)
        before = drawn.view(np.uint32).ravel().astype(np.uint64) & 0xFFFFFF
        pairs = np.union1d(pairs, before << 24 | red << 16 | green << 8 | blue)
    colours, palette = len(np.unique(pairs >> 24)), len(np.unique(pairs & 0xFFFFFF))
    return f"{colours:,} colours became {palette}; {verdict(len(pairs) == colours, 'none dithered')}"


# ---- talk and gallery


def bench_talk(folder: Path, some: tuple[str, ...]) -> None:
    """All of them, as one makes them. Of some films, what all would take goes by how long they last."""
    names, all_names = some or films.names(), films.names()
    lasts = {name: sum(fs.film(name, cut=cut).duration for cut in CUTS) for name in all_names}
    times = sum(lasts.values()) / sum(lasts[name] for name in names)
    print(f"\nTalk and gallery of {len(names)} of {len(all_names)} films, in {cores()} processes\n")
    path = folder / "talk.html"
    took = times * timed(lambda: make.Talk(path, names, PRESETS[make.PRESET]).write())
    nbytes = times * path.stat().st_size
    print(f"the talk:    {took:5.0f} s, {took / TALK:4.0%} of what it may; {verdict(took < TALK, f'< {TALK} s')}")
    wanted = verdict(nbytes < TALK_BYTES, f"< {TALK_BYTES / 1e6:g} MB")
    print(f"             {nbytes / 1e6:5.1f} MB, {nbytes / TALK_BYTES:3.0%} of what it may; {wanted}")
    took = times * timed(gallery.make, folder / "gallery", gallery.pieces(names))
    print(
        f"the gallery: {took:5.0f} s, {took / GALLERY:4.0%} of what it may; {verdict(took < GALLERY, f'< {GALLERY} s')}"
    )
    if times > 1:
        print(f"computed for all: these films last 1/{times:.1f} of what all do", flush=True)


# ---- 4k


def bench_4k(folder: Path) -> None:
    """What all films cost at 4k and 60 frames a second, from the piece in the middle of each. Measured is the time on
    a core (CPU seconds), which others at work change little; what more machines take is computed."""
    size = PRESETS["4k"]
    print(f"\nAll films at {size.width}×{size.height}, {size.fps} frames a second: a piece of each, on one core\n")
    count = frames = 0
    drawn, told = 0.0, time.process_time()
    reels = {name: fs.film(name) for name in films.names()}
    told = time.process_time() - told
    for name, reel in reels.items():
        look = Look(reel.script, size[:2], size.fps, "dark")
        spans = rendering.pieces(rendering.total(reel.script(), size.fps), size.fps)
        span, began = spans[len(spans) // 2], time.process_time()
        path = rendering.encoded(folder / "piece.mp4", look, span, rendering.frames(look, span), lambda more: None)
        each = (time.process_time() - began) / len(span)
        length = sum(map(len, spans))
        count, frames, drawn = count + len(spans), frames + length, drawn + each * length
        print(
            f"{name:18} {length:5} frames, {1 / each:4.1f} a second, a piece is {path.stat().st_size:9,} B", flush=True
        )
    cores = os.cpu_count() or 1
    print(
        f"\nAll: {frames:,} frames in {count} pieces, {frames / drawn:.1f} a second, {drawn / 60:.0f} minutes of a core"
    )
    for machines in (1, 8):
        took = clock(drawn / count, count, machines * cores) + told
        print(
            f"computed for {machines} of {cores} cores: {took / 60:.1f} minutes, {told:.0f} s of them to tell the films"
        )


def clock(piece: float, count: int, workers: int) -> float:
    """How long so many pieces take, each so many seconds, where each worker takes the next one when it is done."""
    return piece * -(-count // workers)


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
