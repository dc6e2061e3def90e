"""`--cluster`: workers elsewhere make the same bytes, one that dies costs its piece, and what won't do is one line."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import distributed
import numpy as np
import pytest
from distributed.cli import dask_scheduler, dask_worker

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.filmkit import cluster, gallery, input, reel, worker
from flashsteps.filmkit.facts import difference, facts
from flashsteps.filmkit.presets import Preset
from flashsteps.talk.make import Talk
from tests.cli.commands import refused
from tests.filmkit import chores

SMALL: dict[str, Any] = {"size": (800, 450), "fps": 12}
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """Two workers, a process each. The tests that kill them come last."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as made:
        yield made


def at_work(two: Any) -> list[Any]:
    """The workers that have a piece to do."""
    return [nanny for nanny in two.workers.values() if two.scheduler.workers[nanny.worker_address].processing]


def kill(nanny: Any) -> None:
    """A worker is gone, and no other comes in its place."""
    nanny.close_gracefully()
    os.kill(nanny.pid, signal.SIGKILL)


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- the same bytes


@pytest.mark.parametrize("name", ["film.gif", "talk.html", "gallery"])
def test_whatever_is_drawn_in_processes_is_drawn_by_a_cluster(two: Any, tmp_path: Path, name: str) -> None:
    made: list[dict[str, bytes]] = []
    for how in ({"jobs": 1}, {"cluster": two.scheduler_address}):
        folder = tmp_path / "it"
        folder.mkdir()
        if name == "film.gif":
            fs.render("limits", folder / name, cut="short", loop=1, size=(800, 450), fps=2, **how)
        elif name == "talk.html":
            Talk(folder / name, ["limits"], Preset(800, 450, 1), cut="short").write(**how)
        else:
            assert gallery.make(folder, [gallery.Piece("limits", "short", "dark")], **how)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
        folder.rename(tmp_path / str(len(made)))
    assert made[0] == made[1]


def test_what_was_read_and_recorded_travels_with_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an input of which a window is shown, the window alone."""
    run = fs.record("flash2-forward", *fs.load_qkv("random:8,4"), block_q=2, block_k=2)
    run.save(tmp_path / "run.npz")
    saved, many = fs.film("flash2-forward", trace=tmp_path / "run.npz"), fs.load_qkv("random:60000,4")
    monkeypatch.setattr(input, "_twin", lambda run: run)  # it takes long to run a kernel
    window = fs.film("flash-forward", input=many, rows=(100, 108), block_q=4)
    films = [saved, window, fs.film("flash2-forward", input="random:4,2", kernel=True)]
    sent = [pickle.dumps(film) for film in films]
    (tmp_path / "run.npz").unlink()
    for name in ("_read", "_record", "_twin"):
        monkeypatch.setattr(input, name, lambda *_: pytest.fail("it was read or recorded anew"))
    for film, packed in zip(films, sent, strict=True):
        assert len(packed) < 1e6
        again = pickle.loads(packed)
        assert again.captions == film.captions
        shown, shown_again = (one.frame(film.duration / 2, width=800, height=450) for one in (film, again))
        assert np.array_equal(shown, shown_again)


def test_a_film_whose_words_take_the_system_s_fonts_is_for_machines_that_have_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, strange = (
        fs.film("flash2-forward", trace=fs.record("flash2-forward", *fs.load_qkv("random:2,2"), tokens=("a", word)))
        for word in ("b", "\u4f60")
    )
    sent = [pickle.dumps(film) for film in (plain, strange)]
    assert [pickle.loads(packed).duration for packed in sent] == [plain.duration, strange.duration]
    fonts = reel.drawing().fonts_for.__globals__
    monkeypatch.setitem(fonts, "_files", lambda bold: (Path(__file__),))
    assert pickle.loads(sent[0]).duration == plain.duration
    with pytest.raises(ValueError, match="take a font of the system, and here are others: install the same"):
        pickle.loads(sent[1])


# ---- what goes wrong


def test_ctrl_c_ends_what_workers_do_and_leaves_nothing(two: Any, tmp_path: Path) -> None:
    def stop(more: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), cluster.connected(two.scheduler_address) as share:
        list(share(chores.linger, 3, tmp_path, stop))
    assert list(tmp_path.iterdir()) == []
    with distributed.Client(two, set_as_default=False) as client:
        until(lambda: not any(client.run(chores.left).values()))


def test_what_fails_on_a_worker_says_so_in_one_line(two: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"^worker tcp://[\d.:]+: .*No space left on device$"),
        cluster.connected(two.scheduler_address) as share,
    ):
        list(share(chores.fail, 1, tmp_path, lambda more: None))


def test_a_worker_that_would_make_other_bytes_is_refused_whenever_it_comes(
    two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = facts() | {"av": "0.1"}
    monkeypatch.setattr(worker, "facts", lambda: here)
    command = ("render", "limits", "-o", "a.mp4", "--cluster", two.scheduler_address, "--cut", "short")
    line = rf"worker tcp://[\d.:]+:? has av {facts()['av']}, and this machine 0\.1, .*: install the same"
    assert re.search(line, refused(*command))
    monkeypatch.setattr(cluster, "_check", lambda client, address: None)  # as if none had been there yet
    assert re.search(line, refused(*command))
    assert list(tmp_path.iterdir()) == []


def test_two_machines_are_one_where_all_is_the_same_that_a_film_may_take() -> None:
    here = facts()
    assert difference(here, here) == ""
    for name in here:
        assert difference(here, here | {name: "other"}).startswith(f"{name} other, and this machine ")
        lacking = {fact: value for fact, value in here.items() if fact != name}
        assert bool(difference(here, lacking)) == (name not in ("torch", "triton"))
        assert difference(lacking, here) == ""
    assert worker.fault(here | {"threads": "1"}, here | {"threads": "8"}).endswith(worker.start())


def test_what_is_no_cluster_is_one_line_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, two: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wrong = {
            "nonsense": "missing port number",
            "tcp://127.0.0.1:1": "no Dask scheduler answers there",
            f"tcp://127.0.0.1:{silent.getsockname()[1]}": "no Dask scheduler answers there",
            next(iter(two.scheduler.workers)): "a worker answers there, and no scheduler",
        }
        for address, why in wrong.items():
            line = refused("gallery", "g", "--films", "limits", "--cluster", address)
            assert f"--cluster {address}: " in line
            assert why in line
            assert "give the address that `dask scheduler` prints" in line
    assert [path.name for path in tmp_path.rglob("*")] == ["g"]


def test_a_cluster_without_workers_says_how_to_start_some(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        status = "running"

        def run(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {}

        def scheduler_info(self) -> dict[str, Any]:
            return {"workers": {}}

    monkeypatch.setattr(cluster, "NOBODY", 0.5)
    for call in (
        lambda c: cluster._check(c, "tcp://h:1"),
        lambda c: cluster._next(c, "tcp://h:1", SimpleQueue()),
    ):
        with pytest.raises(ValueError, match="has no worker.*: start some with: dask worker tcp://h:1 --nw"):
            call(Nobody())


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refused("render", "limits", "-o", "a.mp4", "--cluster", "tcp://127.0.0.1:1")
    assert "a cluster needs distributed, which is not installed: pip install 'flashsteps[cluster]'" in line


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("render limits -o a.mp4 --jobs 2", "--jobs 2 is for processes of this machine, and --cluster tcp://h:1 has"),
        ("render limits -o a.png", "--cluster is for films: leave it out"),
        ("talk -o a.pdf", "--cluster is for films: leave it out"),
    ],
)
def test_what_makes_no_sense_beside_it_is_refused(
    words: str, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert advice in refused(*words.split(), "--cluster", "tcp://h:1")


# ---- workers that die


def test_a_stranger_s_film_is_the_same_though_a_worker_is_killed_and_nobody_else_has_the_file(
    two: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.npz", q=np.eye(70, 4), k=np.eye(70, 4), v=np.eye(70, 4))
    np.save(tmp_path / "mask.npy", np.tri(8, dtype=bool))
    own, mask = tmp_path / "own.npz", f"file:{tmp_path / 'mask.npy'}"
    film = fs.film("flash2-forward", input=own, rows="2:10", mask=mask, cut="short")
    for path in list(tmp_path.iterdir()):
        path.unlink()
    killed: list[Any] = []
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        heard.append(done)
        if not killed and (busy := at_work(two)):
            killed.append(busy[0])
            kill(busy[0])

    film.render(tmp_path / "there.mp4", cluster=two.scheduler_address, progress=progress, **SMALL)
    film.render(tmp_path / "here.mp4", jobs=1, **SMALL)
    assert (tmp_path / "there.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()
    assert heard == sorted(set(heard))  # what is done twice counts once
    assert heard[-1] == film.duration * SMALL["fps"]
    assert len(two.scheduler.workers) == 1
    assert len(list(tmp_path.iterdir())) == 2
    assert not any(key.startswith("flashsteps") for key in two.scheduler.tasks)


def test_a_piece_that_kills_its_workers_is_one_line(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two.scheduler, "allowed_failures", 0)  # Dask's own is 3
    with (
        pytest.raises(ValueError, match=r"^piece 1 of 1 was tried 1 times, .*: give workers more memory \(dask worker"),
        cluster.connected(two.scheduler_address) as share,
    ):
        list(share(chores.die, 1, tmp_path, lambda more: None))


# ---- what the README says


def test_its_commands_are_what_dask_and_flashsteps_take() -> None:
    text = README.read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(\$ dask scheduler\n.*?)```", text, re.DOTALL)
    scheduler, workers, film = (shlex.split(line[2:]) for line in block.splitlines() if line.startswith("$ "))
    dask_scheduler.main.make_context("scheduler", scheduler[2:])
    taken = dask_worker.main.make_context("worker", workers[2:]).params
    assert (taken["scheduler"], taken["nthreads"], taken["n_workers"]) == ("tcp://host:8786", 1, "-1")
    assert " ".join(workers) == worker.start(taken["scheduler"])
    command = main.get_command(None, film[1])  # type: ignore[arg-type]
    assert command
    assert command.make_context(film[1], film[2:]).params["cluster"] == taken["scheduler"]


def test_its_cost_is_of_all_films_as_long_as_they_are() -> None:
    text = re.sub(r"\s+", " ", README.read_text(encoding="utf-8"))
    films = [entry for name, entry in gallery.manifest(README.with_name("renders")).items() if name.endswith(".gif")]
    seconds = sum(film["seconds"] for film in films if (film["cut"], film["theme"]) == ("full", "dark"))
    found = re.search(r"last ([\d,]+) s, ([\d,]+) frames at 4k", text)
    cost = re.search(
        r"(\d+) frames a second .* (\d+) minutes of a core: (\d+) minutes on .* of 2 cores, .* (\d+) on eight", text
    )
    assert found
    assert cost
    assert [int(number.replace(",", "")) for number in found.groups()] == [seconds, 60 * seconds]
    rate, *minutes = map(int, cost.groups())
    assert minutes == [round(seconds * 60 / rate / 60 / cores) for cores in (1, 2, 16)]
