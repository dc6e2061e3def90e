"""Wrong input: exit code 2, one line that quotes what was given and says what to do next, and nothing left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.filmkit import encode, rendering, vector
from flashsteps.filmkit.boxes import LARGEST_SCALE
from flashsteps.filmkit.input import MOST_COLUMNS, MOST_ROWS
from flashsteps.filmkit.script import LONGEST
from flashsteps.runs import counting
from flashsteps.runs import record as run
from tests.inputs.input_files import describe, npy_with

RENDER = "render flash-forward -o a.gif"
RECORD = "record flash2-forward -o a.npz"

WRONG = [
    # commands and options
    ("rendr", "'rendr'", "did you mean 'render'"),
    ("--colour", "'--colour'", "flashsteps --help"),
    ("render", "FILM is missing", "flashsteps render --help"),
    ("render flash-forward", "-o FILE is missing", "flashsteps render --help"),
    ("render flash-forward -o", "'-o'", "flashsteps render --help"),
    (f"{RENDER} b.gif", "b.gif", "flashsteps render --help"),
    (f"{RENDER} --them dark", "'--them'", "'--theme'"),
    ("count flash-forward --n 64", "--d N is missing", "flashsteps count --help"),
    ("list film", "'film'", "did you mean 'films'"),
    ("completion tcsh", "'tcsh'", "bash, zsh, fish"),
    # names
    ("render flash-foward -o a.gif", "film 'flash-foward'", "did you mean 'flash-forward'"),
    ("record flash-forwrd -o a.npz", "algorithm 'flash-forwrd'", "did you mean 'flash-forward'"),
    (f"{RENDER} --mask casual", "mask 'casual'", "did you mean 'causal'"),
    (f"{RENDER} --dtype float8", "dtype 'float8'", "float16"),
    (f"{RENDER} --device a100", "device 'a100'", "'a100-40gb' or 'a100-80gb'"),
    (f"{RENDER} --theme drak", "theme 'drak'", "did you mean 'dark'"),
    (f"{RENDER} --preset slide", "preset 'slide'", "did you mean 'slides'"),
    ("count flash-forward --n 64 --d 8 --rule fig2", "rule 'fig2'", "fa1-figure-2"),
    ("count flash2-forward --n 64 --d 8 --rule fa1-figure-2", "not for flash2-forward", "use --rule all"),
    # what a film doesn't take, as it was typed
    ("render limits -o a.gif --code", "doesn't take --code: leave it out", ""),
    ("render problem -o a.gif --mask window:2,0", "doesn't take --mask window:2,0: leave it out", ""),
    ("render limits -o a.gif --dtype float16", "doesn't take --dtype float16: leave it out", ""),
    # numbers
    (f"{RENDER} --fps 0", "--fps '0'", "1 or more"),
    (f"{RENDER} --fps 12.5", "--fps '12.5'", "whole number"),
    (f"{RENDER} --fps 60", "60 frames a second", "50 or less"),
    (f"{RENDER} --block-q 0", "--block-q '0'", "1 or more"),
    (f"{RENDER} --duration long", "--duration 'long'", "such as 24"),
    (f"{RENDER} --duration nan", "--duration 'nan'", "such as 24"),
    (f"{RENDER} --duration 3", "--duration 3", f"to {LONGEST:g} seconds"),
    (f"{RENDER} --duration 9999", "--duration 9999", f"to {LONGEST:g} seconds"),
    (f"{RENDER} --size huge", "--size 'huge'", "1080x1080"),
    (f"{RENDER} --size 0x0", "--size '0x0'", "1080x1080"),
    (f"{RENDER} --size 40x30", "size 40x30", "choose one"),
    (f"{RENDER} --size 99999x99999", "size 99999x99999", "65535"),
    (f"{RENDER} --size 60000x60000", "size 60000x60000", f"{1080 * LARGEST_SCALE:.0f}"),
    ("render standard -o a.mp4 --size 801x451", "size 801x451", "use 802x452"),
    (f"{RENDER} --sram 2.3", "--sram '2.3'", "2KiB"),
    (f"{RENDER} --sram 2GHz", "--sram '2GHz'", "2KiB"),
    (f"{RENDER} --head one", "--head 'one'", "0,3"),
    (f"{RECORD} --scale inf", "--scale 'inf'", "0.125"),
    ("show run.npz --events 5:2", "--events 5:2 are no steps", "rising"),
    ("step run.npz --theme light", "--theme light is for a screen", "leave it out"),
    ("step run.npz --size 10x5 -o a.svg", "--size 10x5 is too small", "80x24 or more"),
    ("record flash-forward -o a.npz --input random:100000,64", "has 39,090,633 steps", "flashsteps count"),
    (f"{RENDER} --trace run.npz --mask causal", "--mask causal is for a new run", "leave it out"),
    (f"{RENDER} --trace run.npz --head 1", "--head 1 is for a new run", "leave it out"),
    (f"{RENDER} --trace run.npz --kernel", "no kernel of flash-forward", "flash2-forward"),
    ("render standard -o a.png --kernel", "no kernel of standard-forward", "paged-decode"),
    (f"{RENDER} --trace none.npz", "none.npz", "give a trace's .npz"),
    ("record standard-forward -o a.npz --kernel", "no kernel of standard-forward", "paged-decode"),
    (f"{RECORD} --kernel --alibi 1", "no kernel takes alibi", "record it without"),
    (f"{RECORD} --alibi 1,x", "--alibi '1,x'", "0.5,0.25"),
    (f"{RECORD} --alibi 1,2", "alibi has 2 slopes", "or one for all"),
    (f"{RECORD} --table 1,2", "takes no", "use paged-decode"),
    ("record paged-decode -o a.npz --table 1,x", "--table '1,x'", "3,0,2"),
    ("record paged-decode -o a.npz --table 9", "points to page 9", "from 0 to 1"),
    ("record paged-decode -o a.npz --block-k 8 --table 1,1", "names a page twice", "its own"),
    (f"{RECORD} --head 0 --all-heads", "--head and --all-heads", "give one"),
    (f"{RECORD} --all-heads", "'sample' is one head", "(heads, N, d)"),
    ("count flash-forward --n 4 --d 2 --heads 6 --kv-heads 4", "6 is no multiple", "equally many"),
    ("io --n 1K --heads 6 --kv-heads 4", "6 is no multiple", "equally many"),
    ("count flash-forward --n 1G --d 64", "--n '1G'", "1M"),
    (f"{RENDER} --fps 2147483648", "2147483648 frames a second", "use 1 to 240"),
    # the output
    ("render flash-forward -o a.avi", "'a.avi'", ".gif, .mp4, .webm, .webp, .png, .svg or .pdf"),
    ("render flash-forward -o a", "'a'", ".gif, .mp4, .webm, .webp, .png, .svg or .pdf"),
    ("render flash-forward -o nowhere/a.gif", "'nowhere'", "mkdir -p nowhere"),
    ("render flash-forward -o words.txt/a.gif", "'words.txt'", "choose another place"),
    ("render flash-forward -o folder.gif", "'folder.gif'", "name a file in it"),
    ("render flash-forward -o folder.mp4 --captions", "'folder.vtt' is a folder", "name a file in it"),
    ("record flash-forward -o a.txt", "'a.txt'", ".npz"),
    ("record flash-forward -o nowhere/a.npz", "'nowhere/a.npz'", "mkdir -p"),
    ("render standard -o a%04d.png", "'a%04d.png'", "such as a.webm"),
    # options that don't go together
    ("render standard -o a.mp4 --loop 1", "a .mp4 is played", "use .gif or .webp"),
    ("render standard -o a.svg --jobs 2", "'a.svg' is a picture", "--jobs is for films: leave it out"),
    ("render standard -o a.gif --transparent", "'a.gif' cannot be transparent", ".webm"),
    ("render standard -o a.mp4 --format gif", "'a.mp4' is no gif", "leave --format out"),
    (f"{RENDER} --at 3", "'a.gif'", "--at is for pictures"),
    ("render standard -o a.png --captions", "'a.png'", "--captions is for films"),
    ("render standard -o a.png --fps 12", "'a.png'", "--fps is for films"),
    ("render standard -o a.png --at 1024.5", "--at 1024.5", "give 0 to ", "seconds, or last"),
    ("render standard -o a.png --at -1", "--at -1", "or last"),
    ("render standard -o a.png --at end", "--at 'end'", "or last"),
    (f"{RECORD} --device h100 --sram 2KiB", "--device h100", "--sram 2048", "give one of them"),
    # the input
    (f"{RENDER} --input nothing.npz", "'nothing.npz'", "no such file"),
    (f"{RENDER} --input sampel", "'sampel'", "did you mean 'sample'"),
    (f"{RENDER} --input words.txt", "'words.txt'", ".safetensors"),
    (f"{RENDER} --input .", "'.'", "folder"),
    (f"{RENDER} --input random:8", "'random:8'", "random:16,8"),
    (f"{RENDER} --input random:0,4", "'random:0,4'", "at least 1"),
    (f"{RENDER} --input random:999999999,9999", "'random:999999999,9999'", "the limit is"),
    (f"{RENDER} --input broken.npz", "'broken.npz'"),
    (f"{RENDER} --input cut.npz", "'cut.npz'"),
    (f"{RENDER} --input huge.npy", "'huge.npy'"),
    (f"{RENDER} --input pickle.npy", "'pickle.npy'"),
    (f"{RENDER} --input words.npz", "'words.npz'", "real numbers"),
    (f"{RENDER} --input no_v.npz", "'no_v.npz'"),
    (f"{RENDER} --input flat.npz", "'flat.npz'", "(rows, d)"),
    (f"{RENDER} --input unfit.npz", "'unfit.npz'", "same d"),
    (f"{RENDER} --input nan.npz", "'nan.npz'", "q[1, 2] is nan", "finite"),
    (f"{RENDER} --input inf.npz", "'inf.npz'", "k[0, 0] is inf", "finite"),
    (f"{RENDER} --input large.npz --dtype float16", "past the largest float16", "use --dtype float32"),
    (f"{RENDER} --input tiny.npz --dtype float16", "Q: 100 % of its numbers", "become 0", "use --dtype float32"),
    (f"{RENDER} --input heads.npz", "'heads.npz'", "no --head", "from --head 0,0 to --head 1,2"),
    (f"{RENDER} --input heads.npz --head 2,0", "--head 2,0", "to --head 1,2"),
    (f"{RENDER} --head 1", "--head 1", "leave head out"),
    # what is too large
    (f"{RENDER} --input random:{MOST_ROWS + 1},4", "queries", f"{MOST_ROWS} is the most: give --rows 0:{MOST_ROWS}"),
    (f"{RENDER} --input random:4,{MOST_COLUMNS + 1}", f"d = {MOST_COLUMNS + 1}", f"{MOST_COLUMNS} is the most"),
    (f"{RENDER} --rows 4:17", "--rows 4:17: there are 16 tokens, give two numbers from 0 to 16, rising"),
    (f"{RENDER} --rows 4:4", "--rows 4:4: there are 16 tokens"),
    (f"{RENDER} --rows 4", "--rows 4: give the first token and the one after the last, such as 0:64"),
    (f"{RENDER} --trace run.npz --rows 0:4", "--rows 0:4 is for a new run"),
    (f"{RENDER} --layout hds", "unknown layout 'hds'", "known are sd, hsd, shd, bhsd, bshd, sbhd"),
    (f"{RENDER} --layout bshd", "q has shape (16, 32), which --layout bshd does not fit: give sd, or leave it out"),
    (f"{RECORD} --input heads.npz --head 0,1 --alibi .5,.2", "alibi has 2 slopes: give one for each of the 3 heads"),
    (f"{RENDER} --sram 200", "200 bytes", "choose smaller blocks"),
    (f"{RECORD} --input random:256,1024 --device t4 --block-q 128", "65,536 bytes", "choose smaller blocks"),
    ("count flash2-forward --n 1M --d 1024 --device t4", "65,536 bytes", "choose smaller blocks"),
    # traces
    ("show nothing.npz", "'nothing.npz'", "no such file"),
    ("show broken.npz", "'broken.npz'", "not a flashsteps trace"),
    ("show large.npz", "'large.npz'", "not a flashsteps trace"),
    ("show .", "'.'", "give a trace's .npz"),
    ("show run.npz --step 999", "999", "give one from 0 to"),
    ("show run.npz --step two", "--step 'two'", "whole number"),
    ("show run.npz --events 5", "--events '5'", "20:60"),
    ("show run.npz --events=-3:", "--events '-3:'", "20:60"),
    ("show run.npz --step 1 --events all", "--step 1 and --events", "give one of them"),
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a saved run and with files that are wrong, each in its own way."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 4, 3)).astype(np.float32)

    def put(name: str, **arrays: np.ndarray) -> None:
        np.savez(folder / f"{name}.npz", **{"q": q, "k": k, "v": v} | arrays)

    def with_one(array: np.ndarray, i: int, j: int, value: float) -> np.ndarray:
        changed = array.copy()
        changed[i, j] = value
        return changed

    put("nan", q=with_one(q, 1, 2, np.nan))
    put("inf", k=with_one(k, 0, 0, np.inf))
    put("large", q=with_one(q, 0, 0, 1e6))
    put("tiny", q=q * 1e-9)
    put("unfit", k=np.ones((4, 5)), v=np.ones((4, 5)))
    put("flat", q=np.ones(12))
    put("words", q=np.array([["a", "b", "c"]] * 4))
    put("heads", **{name: rng.standard_normal((2, 3, 4, 3)) for name in "qkv"})
    np.savez(folder / "no_v.npz", q=q, k=k)
    (folder / "broken.npz").write_bytes(b"no zip")
    (folder / "cut.npz").write_bytes((folder / "heads.npz").read_bytes()[:-200])
    (folder / "huge.npy").write_bytes(npy_with(describe("(3, 99999999999, 64)")))
    np.save(folder / "pickle.npy", np.array([{}, {}, {}], object), allow_pickle=True)
    (folder / "words.txt").write_text("words")
    (folder / "folder.gif").mkdir()
    (folder / "folder.vtt").mkdir()
    run.record("flash-forward", q, k, v, block_q=2, block_k=2).save(folder / "run.npz")
    return folder


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch) -> None:
    """What can be refused is refused before any drawing."""

    def never(*args, **options):
        raise AssertionError("something was drawn")

    for module, name in ((rendering, "frames"), (rendering, "picture"), (vector, "write"), (encode, "write")):
        monkeypatch.setattr(module, name, never)


def refused(args: list[str]) -> str:
    """The one line that a command ends with; nothing in the folder changes."""
    before = sorted(Path().rglob("*"))
    result = CliRunner().invoke(main, args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (2, "")
    assert sorted(Path().rglob("*")) == before
    assert result.stderr.endswith("\n")
    line = result.stderr[:-1]
    assert line.isprintable(), "more than one line, or signs that a terminal obeys"
    assert line.startswith("flashsteps: error: ")
    return line.removeprefix("flashsteps: error: ")


@pytest.mark.parametrize(("command", "words"), [(row[0], row[1:]) for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_input_is_refused_in_one_line_that_helps(files, monkeypatch, command, words):
    monkeypatch.chdir(files)
    line = refused(command.split())
    assert [word for word in words if word not in line] == [], line


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    folder = Path("/proc") if os.geteuid() == 0 and Path("/proc/self").exists() else closed
    assert f"'{folder}'" in refused(["render", "standard", "-o", str(folder / "a.gif")])


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "a.npz"), "'a.npz': Permission denied"),
        (MemoryError("Unable to allocate 9 TiB"), "9 TiB"),
        (ImportError("libcairo.so.2: cannot open"), "flashsteps doctor"),
        (ValueError("two\nlines and \x1b[31mred"), "two lines and ·[31mred"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line_too(tmp_path, monkeypatch, problem, words):
    def fail(*args, **options):
        raise problem

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "record_heads", fail)
    assert words in refused(RECORD.split())


def test_a_bug_is_not_dressed_up_as_wrong_input(monkeypatch):
    def fail(*args, **options):
        raise KeyError("a bug")

    monkeypatch.setattr(counting, "count", fail)
    result = CliRunner().invoke(main, ["count", "flash-forward", "--n", "4", "--d", "2"])
    assert isinstance(result.exception, KeyError)
    assert "a bug" not in result.stderr


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    assert "'a.npz' cannot be written: No space left on device" in refused(RECORD.split())


@pytest.mark.parametrize("number", ["4_0", "４", "٣", "", "0x10", "4.", "1e2", "--4", "four"])
@pytest.mark.parametrize("option", ["--block-q", "--seed", "--splits", "--table", "--head"])
def test_a_whole_number_is_of_plain_digits(files, monkeypatch, option, number):
    monkeypatch.chdir(files)
    line = refused(["record", "paged-decode", "-o", "a.npz", f"{option}={number}"])
    assert f"{option} {number!r}: give " in line


@pytest.mark.parametrize("number", ["1_0", "４.5", "nan", "inf", "-inf", "", "1e999", "0x1p3", "1e"])
@pytest.mark.parametrize("option", ["--scale", "--softcap", "--dropout", "--alibi"])
def test_a_number_is_of_plain_digits(files, monkeypatch, option, number):
    monkeypatch.chdir(files)
    line = refused(["record", "flash2-forward", "-o", "a.npz", f"{option}={number}"])
    assert f"{option} {number!r}: give " in line


@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize(
    "command",
    [
        "count flash2-forward --d 64 --n", "count flash2-forward --n 64 --d",
        "count flash2-forward --n 8 --d 8 --kv-heads",
        "io --n 64 --d", "io --heads", "io --n", "blocks --d", "blocks --d 64 --n", "step run.npz --at",
        "record split-kv-decode -o a.npz --splits", "record flash2-forward -o a.npz --dropout 0.1 --seed",
        "record flash2-forward -o a.npz --sram", f"{RENDER} --fps", f"{RENDER} --sram", f"{RENDER} --jobs",
        "show run.npz --step",
    ],
)  # fmt: skip
def test_a_number_that_is_too_large_is_refused_with_its_option_before_any_work(files, monkeypatch, command, digits):
    monkeypatch.chdir(files)
    *_, option = command.split()
    line = refused([*command.split(), "9" * digits])
    assert f"{option} '9999" in line
    assert "is too large: give at most " in line
    assert len(line) < 200


@pytest.mark.parametrize("name", ["b head=3 mask=x.npz", 'it\'s "head=3".npz', "mask='x' .npz"])
def test_a_name_is_quoted_as_it_was_given(files, monkeypatch, name):
    monkeypatch.chdir(files)
    for command in ("view", "step", "show", "record flash2-forward -o a.npz --input"):
        more = ["-o", "a.html"] if command == "view" else []
        assert repr(name) in refused([*command.split(), name, *more])


def test_a_saved_run_with_blocks_of_its_own_is_shown_and_one_that_is_another_is_refused_in_words(tmp_path, monkeypatch):
    """Where a film's blocks are not to be chosen, any will do."""

    def told(words):
        result = CliRunner().invoke(main, words.split())
        return result.exit_code, result.output + result.stderr

    monkeypatch.chdir(tmp_path)
    made = "record flash2-forward --input random:12,4 --block-q 3 --block-k 4"
    assert told(f"{made} -o own.npz")[0] == told(f"{made} --mask causal -o masked.npz")[0] == 0
    assert fs.film("online-softmax", trace="own.npz").duration > 30
    code, said = told("render online-softmax --trace masked.npz -o b.png")
    assert code == 2
    assert "a run with no --mask, and this trace is of one with --mask causal: record one so" in said
    code, said = told("render causal --trace own.npz -o b.png")
    assert code == 2
    assert "a run with --mask causal, and this trace is of one with no --mask" in said
