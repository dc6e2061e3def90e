"""`fs.film`: a film in Python; its options; its file, whatever the number of processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit.processes import in_order
from tests.filmkit.talks import film


def test_a_film_knows_what_it_is():
    reel = film()
    assert (reel.title, reel.duration, [c.name for c in reel.chapters]) == (
        "A toy",
        10.0,
        ["It grows", "Another comes"],
    )
    assert "2 chapters, 10 s" in repr(reel)
    assert [c.name for c in reel.captions] == [
        "A bar, and a run of 160 steps.",
        "The other one comes, moves, and goes.",
    ]
    assert film(cut="short").duration == 6.0
    assert reel.frame(1.0, width=800, height=450).shape == (450, 800, 4)
    assert "data:image/gif;base64,R0lG" in (film(cut="short")._repr_html_() or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 3}, "the film 'A toy' doesn't take block=3: leave it out"),
        ({"device": "h100"}, "doesn't take device='h100'"),
        ({"cut": "shrt"}, "cut='shrt': give full or short"),
        ({"theme": "drak"}, "did you mean 'dark'"),
        ({"input": "random:99,4"}, "99 queries are too many to draw, 64 is the most"),
        ({"input": fs.load_qkv("sample"), "head": 1}, "head=1: the input that is given is one head already"),
        ({"trace": fs.record("flash-forward", *fs.load_qkv("sample"))}, "this film shows flash2-forward"),
        (
            {"trace": fs.record("flash2-forward", *fs.load_qkv("sample")), "mask": "causal"},
            "mask='causal' is for a new run, and this film is of a saved one",
        ),
    ],
)
def test_what_a_film_has_no_use_for_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        film(**options)


def test_none_and_false_are_as_good_as_not_given_and_a_saved_run_stands_for_a_new_one():
    run = fs.record("flash2-forward", *fs.load_qkv("random:8,4"), block_q=2, block_k=2)
    assert film(mask=None, kernel=False, code=False).captions == film().captions
    assert film(trace=run).captions[0].name == f"A bar, and a run of {len(run)} steps."


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
def test_a_file_is_the_same_whatever_the_number_of_processes(ending, tmp_path):
    told: list[int] = []
    for jobs in (1, 3):
        film().render(
            tmp_path / f"{jobs}{ending}", preset="readme", fps=4, jobs=jobs, progress=lambda done, _: told.append(done)
        )
    assert (tmp_path / f"1{ending}").read_bytes() == (tmp_path / f"3{ending}").read_bytes()
    assert told[-1] == 40
    with av.open(str(tmp_path / f"3{ending}")) as file:
        shown = {round(float(frame.time), 2): frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)}
    if ending != ".gif":  # which leaves out frames in which nothing changes
        assert sorted(shown) == [round(k / 4, 2) for k in range(40)]
    for t in (1.0, 4.0, 5.0):
        wanted = film().frame(t, width=800, height=450)[..., :3].astype(int)
        assert np.abs(shown[max(time for time in shown if time <= t + 0.01)] - wanted).mean() < 3, t


LEFT = """
import gc
import av, numpy as np
from flashsteps.filmkit import encode
from flashsteps.filmkit.processes import in_order

gc.disable()
graph = encode._filter("palettegen", "stats_mode=full", (640, 360))
graph.push(encode._timed(av.VideoFrame.from_ndarray(np.zeros((360, 640, 4), np.uint8), "rgba"), 0, 100))
circle = [graph]
circle.append(circle)
del circle, graph
print(*in_order(lambda n, told: n + 0 * gc.collect(), 4, 2, print))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are no forks")
def test_what_waits_to_be_freed_does_not_hold_up_a_process():
    """A filter that an error left behind has threads, which a fork has not, and would wait for them to end."""
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["0", "1", "2", "3"], "")


def test_work_comes_back_in_order_and_what_it_raises_is_raised_here():
    def task(n: int, told) -> int:
        if n == 5:
            raise ValueError(f"no {n}")
        told(1)
        return n * n

    for jobs in (1, 2, 3):
        count: list[int] = []
        assert list(in_order(task, 5, jobs, count.append)) == [0, 1, 4, 9, 16]
        assert sum(count) == 5
        with pytest.raises(ValueError, match="no 5"):
            list(in_order(task, 9, jobs, count.append))


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(ValueError, match="was killed: give --jobs 1"):
        list(in_order(lambda n, told: os.kill(os.getpid(), 9), 2, 2, lambda _: None))


def test_an_interrupt_ends_all_processes_at_once_and_leaves_nothing(tmp_path):
    code = """if True:
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from tests.filmkit.talks import film
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job is born without
        def stop(done, total):
            print(*(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()))
            sys.stdout.flush(); os.kill(os.getpid(), signal.SIGINT)
        film().render("x.mp4", fps=30, jobs=2, progress=stop)
    """
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    assert list(tmp_path.iterdir()) == []
    children = done.stdout.split()
    assert len(children) >= 2
    deadline = time.monotonic() + 5
    while (left := [child for child in children if Path(f"/proc/{child}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_flashsteps_renders_without_manim(tmp_path):
    code = """if True:
        import sys
        sys.modules["manim"] = None
        import flashsteps as fs
        print(fs.film("standard", cut="short").still("x.png", 1.0))
        try:
            fs.film("standard").picture()
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "x.png"
    assert "pip install 'flashsteps[render]'" in done.stdout
