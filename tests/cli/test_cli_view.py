"""`flashsteps view`: from a saved run or an algorithm to a page, and one line where that cannot be."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.player import page as view
from tests.problems import ALL, DECODE, SPARSE


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flashsteps(*args: str) -> str:
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refused(*args: str) -> str:
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert [path for path in Path().iterdir() if path.suffix == ".html"] == []
    return result.stderr.removeprefix("flashsteps: error: ").strip()


def headers(path: str) -> list[dict]:
    text = Path(path).read_text(encoding="utf-8")
    return [json.loads(part) for part in re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)]


@pytest.mark.parametrize("algorithm", ALL)
def test_any_algorithm_is_run_in_blocks_small_enough_to_look_at(algorithm):
    sparse = ["--block-mask", "strided:2"] if algorithm in SPARSE else []
    said = flashsteps("view", algorithm, "-o", "run.html", "--input", "random:12,4", *sparse)
    (header,) = headers("run.html")
    one = algorithm in DECODE  # query, unless told otherwise
    assert (header["title"], header["blockQ"], header["blockK"]) == (algorithm, 1 if one else 4, 4)
    assert header["queries"] == (1 if one else 12)
    assert said.startswith("run.html   ")
    over = "1 query and 12 keys" if one else "12 tokens"
    assert said.rstrip().endswith(f"{algorithm} {header['steps']:,} steps over {over}, d 4, float16")


def test_a_saved_run_is_shown_as_it_was_recorded():
    flashsteps("record", "flash2-forward", "-o", "run.npz", "--block-q", "4", "--block-k", "8")
    flashsteps("view", "run.npz", "-o", "run.html")
    assert Path("run.html").read_text(encoding="utf-8") == view.page(fs.load("run.npz"))


def test_options_are_those_of_record():
    options = ("--input", "random:8,4", "--block-q", "2", "--block-k", "4", "--mask", "causal", "--dtype", "float32")
    flashsteps("record", "flash2-forward", "-o", "run.npz", *options)
    flashsteps("view", "flash2-forward", "-o", "run.html", *options)
    assert Path("run.html").read_text(encoding="utf-8") == view.page(fs.load("run.npz"))


def test_two_runs_stand_side_by_side_and_each_takes_the_options_that_it_knows():
    flashsteps("record", "flash-forward", "-o", "run.npz", "--block-q", "4", "--block-k", "4")
    flashsteps("view", "run.npz", "split-kv-decode", "-o", "two.html", "--splits", "2")
    assert [header["title"] for header in headers("two.html")] == ["flash-forward", "split-kv-decode"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nothing"], "unknown algorithm 'nothing'"),
        (["flash2-forwrad"], "flash2-forward"),
        (["no.npz"], "'no.npz' is no such file"),
        (["standard-forward", "flash-forward", "flash2-forward"], "3 runs were given: give one, or two"),
        (["flash-forward", "--splits", "2"], "flash-forward takes no splits: leave it out, or use split-kv-decode"),
        (
            ["run.npz", "--mask", "causal"],
            "'run.npz' is a saved run, and --mask is for an algorithm to run: leave it out",
        ),
        (["run.npz", "--input", "random:4,4"], "--input is for an algorithm to run"),
        (["bad.npz"], "'bad.npz' is not a flashsteps trace"),
        (["cut.npz"], "'cut.npz' is not a flashsteps trace"),
        ([], "is missing"),
    ],
)
def test_what_cannot_be_shown_gets_one_line(args, words):
    flashsteps("record", "flash-forward", "-o", "run.npz", "--input", "random:4,2")
    np.savez("bad.npz", np.zeros(3))
    Path("cut.npz").write_bytes(Path("run.npz").read_bytes()[:2000])
    assert words in refused("view", *args, "-o", "run.html")


@pytest.mark.parametrize(
    ("path", "words"), [("run.txt", "use .html or .htm"), ("none/run.html", "make it with: mkdir")]
)
def test_a_place_where_no_page_can_be_gets_one_line(path, words):
    assert words in refused("view", "flash-forward", "-o", path)
