"""To add an algorithm is to add a file: one more in a copy of the package runs everywhere, nothing else is touched."""

import json
from pathlib import Path

import numpy as np
import pytest

import flashsteps as fs
from flashsteps.units import size_of
from tests.contributing import commands, copy_of_the_package, example, flashsteps


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, and in `algorithms/` the file that CONTRIBUTING.md shows."""
    folder = copy_of_the_package(tmp_path_factory.mktemp("added"))
    file = folder / "flashsteps" / "algorithms" / "my_attention.py"
    file.write_text(example("Add an algorithm"), encoding="utf-8")
    return folder


@pytest.fixture
def run(added: Path):
    def run(*args: str) -> str:
        done = flashsteps(added, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_commands_beside_it_run(run):
    for command in commands("Add an algorithm"):
        run(*command.removeprefix("flashsteps ").split())


def test_it_is_listed(run):
    assert "my-attention" in run("list", "algorithms")
    assert "with all keys on chip" in run("list", "algorithms")


def test_it_runs_is_saved_and_is_attention(run, added):
    run("record", "my-attention", "-o", "run.npz", "--mask", "causal", "--dtype", "float32")
    trace, standard = fs.load(added / "run.npz"), fs.record("standard-forward", *fs.load_qkv("sample"), mask="causal",
                                                            dtype="float32")  # fmt: skip
    for name in ("O", "LSE"):
        np.testing.assert_allclose(trace.outputs[name], standard.outputs[name], atol=1e-5)


def test_it_is_counted_as_it_is_recorded(run, added):
    sizes = ("--block-q", "16", "--block-k", "16")
    run("record", "my-attention", "-o", "counted.npz", "--input", "random:40,8", *sizes)
    (row,) = json.loads(run("io", "--algorithms", "my-attention", "--n", "40", "--d", "8", *sizes, "--json"))
    recorded = fs.load(added / "counted.npz").io()
    assert (row["read"], row["written"]) == (recorded.read, recorded.written)
    assert f"{recorded.read:,} B" in run("count", "my-attention", "--n", "40", "--d", "8", *sizes)


def test_it_is_shown_stepped_through_and_viewed(run, added):
    assert "all keys and values come in" in run("step", "my-attention").lower()
    run("record", "my-attention", "-o", "shown.npz")
    assert "my-attention" in run("show", "shown.npz")
    run("view", "my-attention", "-o", "run.html")
    assert "All scores of these queries." in (added / "run.html").read_text(encoding="utf-8")


def test_its_saved_run_is_a_film_that_tells_its_lines_and_what_it_moved(run, added):
    run("record", "my-attention", "-o", "filmed.npz", "--block-q", "4")
    run("render", "my-attention", "--trace", "filmed.npz", "-o", "told.gif", "--fps", "2", "--captions")
    said, moved = (added / "told.vtt").read_text(encoding="utf-8"), fs.load(added / "filmed.npz").io()
    assert "All keys and values come in." in said
    assert "The output, and one number a row." in said
    assert size_of(moved.total) in said
    assert (added / "told.gif").read_bytes()[:6] == b"GIF89a"


def test_its_name_is_advised_to_who_mistypes_it(added):
    done = flashsteps(added, "render", "my-atention", "-o", "x.gif")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'my-attention'?" in done.stderr


def test_a_file_that_does_not_say_what_it_has_to_is_refused_in_one_line(added):
    (added / "flashsteps" / "algorithms" / "mute.py").write_text('"""Says nothing."""\n', encoding="utf-8")
    done = flashsteps(added, "count", "mute", "--n", "8", "--d", "4")
    (added / "flashsteps" / "algorithms" / "mute.py").unlink()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "algorithms/mute.py has no TITLE" in done.stderr
