"""`flashsteps bench` as users have it: tables, files, plots, refusals, and what a run that is cut off leaves behind."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flashsteps import results
from flashsteps.cli import main
from flashsteps.cli.bench_tables import milliseconds
from flashsteps.kernels.bench import machine, modes, train
from flashsteps.kernels.targets import tuned
from flashsteps.plots import speed_plot
from flashsteps.units import short, size_of
from tests.cli.test_cli import flashsteps, program, there
from tests.cli.test_cli_errors import refused
from tests.test_bench_results import SPEED, TRAIN, some, speed_row

ROOT = Path(__file__).parents[2]
SMALL = ("--n", "32,64", "--quick", "--backends", "flash,standard,cudnn")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def speed_of(**options: Any) -> list[results.Results]:
    return list(modes.speed_results(quick=True, sizes=(16,), dims=(64,), masks=(True,), names=("standard",), **options))


# ---- what is measured


def test_a_table_and_a_file_of_every_point():
    lines = flashsteps("bench", *SMALL)
    name = machine.Cpu().about()["name"]
    path = results.default_path("speed", name)
    made = results.read(path)
    assert made.finished
    assert lines[0].startswith(f"CPU: {name}, torch ")
    assert "GFLOP/s" in lines[1]
    assert lines[3].split() == ["pass", "mask", "d", "N", "flash", "cudnn", "standard"]
    assert [line.split()[:4] for line in lines[4:12]] == [
        [which, mask, "64", n] for n in ("64", "32") for mask in ("full", "causal") for which in ("forward", "backward")
    ]
    for line in lines[4:12]:
        assert line.count("*") == 1
        assert line.split()[5] == "-"
    assert "-  cudnn: not available: torch has it for GPUs alone" in lines
    assert lines[-1].startswith(str(path))
    assert len(made.rows) == 2 * 2 * 2 * 3
    assert all(row["peak_bytes"] > 0 and row["seconds"]["min"] > 0 for row in made.rows if row["status"] == "ok")


def test_results_have_no_names_of_hosts_people_or_folders(folder):
    import getpass
    import platform

    text = results.text(speed_of()[-1])
    for word in (platform.node(), str(Path.home()), str(folder), getpass.getuser()):
        assert not word or f'"{word}' not in text
    made = results.begin("speed", machine.Cpu().about(), machine.versions(), {})
    assert made.versions.keys() >= {"python", "torch", "triton", "cuda", "numpy", "flashsteps"}
    assert "/" not in results.text(made).replace("n/a", "")


def test_settings_say_how_it_was_measured():
    settings = speed_of()[-1].settings
    assert settings.keys() >= {"dtype", "tokens", "hidden", "batch", "flops", "time", "inputs", "peak_bytes", "check"}
    assert settings["flops"].startswith("4·N²·d FLOPs a head forward, half when causal, 2.5 times that backward")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--passes backward", {"passes": ("backward",)}),
        ("--n 64,1K --d 32,64", {"sizes": (64, 1024), "dims": (32, 64)}),
        ("--causal", {"masks": (True,)}),
        ("--full", {"masks": (False,)}),
        ("--backends flash,standard --dtype float16", {"names": ("flash", "standard"), "dtype": "float16"}),
        ("--quick --minutes 0.5", {"quick": True, "minutes": 0.5}),
        ("--train --n 64 --steps 30", {"sizes": (64,), "steps": 30}),
        ("--tune --d 64 --causal --dtype float16", {"dims": (64,), "masks": (True,), "dtype": "float16"}),
    ],
)
def test_each_option_reaches_what_measures(options, expected, monkeypatch):
    kind = options.split()[0].removeprefix("--") if options.startswith(("--train", "--tune")) else "speed"
    asked: dict[str, Any] = {}

    def spy(**given):
        asked.update(given)
        yield (TRAIN if kind == "train" else SPEED)

    monkeypatch.setattr(modes, f"{kind}_results", spy)
    flashsteps("bench", *options.split(), "-o", "a.json")
    assert asked == {"quick": False, "minutes": 8.0} | expected


def test_the_same_as_json(folder):
    small = ("--quick", "--n", "16", "--backends", "standard", "--full")
    text = "\n".join(flashsteps("bench", *small, "--json"))
    made = json.loads(text)
    assert made["kind"] == "speed"
    assert made["finished"]
    assert there(folder) == []
    flashsteps("bench", *small, "--json", "-o", "a.json")
    assert there(folder) == ["a.json"]


def test_a_training_is_a_table_a_file_and_a_plot(folder, monkeypatch):
    monkeypatch.setitem(train.PLANS, ("cpu", True), train.Plan((16,), 32, 1, 2, 8, 12))
    lines = flashsteps("bench", "--train", "--quick", "-o", "a.json", "--plot", "a.svg")
    made = results.read("a.json")
    assert [(row["attention"], row["status"]) for row in made.rows] == [
        ("standard", "ok"), ("sdpa", "ok"), ("flashsteps", "not available"),
    ]  # fmt: skip
    assert made.settings["corpus"].startswith("the standard library of Python 3.")
    assert [line.split()[:2] for line in lines if line.startswith("  16")] == [
        ["16", name] for name in train.ATTENTIONS
    ]
    assert any(line.startswith("sdpa: no loss is further than ") for line in lines)
    assert there(folder) == ["a.json", "a.svg"]


# ---- what was measured before


def test_what_was_measured_before_is_shown_and_drawn(folder):
    results.write("a.json", SPEED)
    lines = flashsteps("bench", "--from", "a.json")
    assert lines[0] == "A GPU, driver 1.2, torch 2.13.0"
    assert ["forward", "full", "64", "1K", "2.5*", "oom"] in [line.split() for line in lines]
    assert "oom  standard from N = 1K: out of memory" in lines
    assert [line.split()[0] for line in flashsteps("bench", "--from", "a.json", "--plot", "b.svg")] == [
        "b.svg", "b-memory.svg",
    ]  # fmt: skip
    assert json.loads("\n".join(flashsteps("bench", "--from", "a.json", "--json"))) == json.loads(results.text(SPEED))
    results.write("t.json", TRAIN)
    flashsteps("bench", "--from", "t.json", "--plot", "t.svg", "--theme", "dark")
    assert there(folder) == ["a.json", "b-memory.svg", "b.svg", "t.json", "t.svg"]


def test_showing_needs_no_torch():
    results.write("a.json", SPEED)
    with program("bench", "--from", "a.json", "--plot", "a.svg", code="sys.modules['torch'] = None") as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


# ---- what goes wrong


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--n 0", ("--n '0'", "1K,8K")),
        ("--d x", ("--d 'x'", "64,128")),
        ("--d 48", ("d is 48", "give a divisor")),
        ("--passes forwards", ("pass 'forwards'", "did you mean 'forward'")),
        ("--backends flsh", ("backend 'flsh'", "did you mean 'flash'")),
        ("--dtype float8", ("dtype 'float8'", "known are bfloat16")),
        ("--minutes 0", ("--minutes '0'", "such as 8")),
        ("--causal --full", ("--causal and --full", "give one of them")),
        ("--tune --train", ("--tune and --train", "give one of them")),
        ("--train --d 64", ("--d is not for --train", "leave it out")),
        ("--steps 10", ("--steps is not for measuring speed", "leave it out")),
        ("--on-gpu out --plot a.svg", ("--plot is not for --on-gpu", "leave it out")),
        ("--from a.json --n 64", ("--n is not for --from", "leave it out")),
        ("--from a.json", ("'a.json': no such file",)),
        ("--from words.json", ("'words.json': not results", "bench")),
        ("--from tune.json --plot a.svg", ("no plot of results of the kind tune", "leave --plot out")),
        ("--theme dark", ("--theme dark", "give --plot FILE")),
        ("--plot a.pdf", ("'a.pdf'", "use .svg or .png")),
        ("-o a.txt", ("'a.txt'", "use .json")),
        ("-o nowhere/a.json", ("'nowhere'", "mkdir -p nowhere")),
        ("--train --steps 3", ("steps is 3", "give more")),
        ("--train --n 8M", ("n is 8,388,608", "give a smaller one")),
        ("--tune", ("--tune times tiles on a GPU", "torch sees none")),
    ],
)
def test_wrong_input_is_refused_in_one_line_that_helps(command, words):
    Path("words.json").write_text("words")
    results.write("tune.json", some("tune", []))
    line = refused(["bench", *command.split()])
    assert [word for word in words if word not in line] == [], line


def test_without_torch_it_is_said_what_to_type(folder):
    with program("bench", code="sys.modules['torch'] = None") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert err.decode() == (
        "flashsteps: error: bench needs torch, and it is not installed: pip install 'flashsteps[kernels]'\n"
    )
    assert there(folder) == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_is_cut_off_leaves_a_whole_file(end, monkeypatch, folder):
    rows = SPEED.rows

    def cut_off(**given):
        yield SPEED._replace(rows=[], finished=False)
        yield SPEED._replace(rows=rows[:2], finished=False)
        raise end("cut off")

    monkeypatch.setattr(modes, "speed_results", cut_off)
    done = CliRunner().invoke(main, ["bench", "-o", "a.json"])
    assert results.read("a.json") == SPEED._replace(rows=rows[:2], finished=False)
    assert there(folder) == ["a.json"]
    if end is KeyboardInterrupt:
        assert (done.exit_code, done.stderr.strip()) == (130, "stopped: a.json has what was measured until now")
    else:
        assert isinstance(done.exception, RuntimeError)  # a bug is not dressed up
    lines = flashsteps("bench", "--from", "a.json")
    assert "cut off: not all was measured" in lines


def test_a_wrong_backend_is_said_in_the_table():
    wrong = speed_row(
        backend="flex", status="wrong", why="O is 0.5 off", seconds=None, runs=None, tflops=None, peak_bytes=None
    )
    results.write("a.json", some("speed", [speed_row(), wrong]))
    lines = flashsteps("bench", "--from", "a.json")
    assert "wrong  flex: wrong: O is 0.5 off" in lines


def test_help_says_what_make_bench_is_instead():
    text = " ".join(" ".join(flashsteps("bench", "--help")).split())
    assert "`make bench` is something else" in text
    assert "--on-gpu" in text


def test_the_command_line_starts_without_torch():
    code = "import sys; from flashsteps.cli import main; print({'torch', 'numpy', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


# ---- what is in the repository


def measured() -> list[Path]:
    return sorted((ROOT / results.FOLDER).glob("*.json"))


def memory_table() -> str:
    """Of the README: the peaks of a forward and a backward pass on the CPU, without a mask."""
    found = [results.read(path) for path in measured() if path.stem.endswith("-speed")]
    (made,) = (one for one in found if one.machine["kind"] == "cpu")
    rows = [row for row in made.rows if row["pass"] == "backward" and not row["causal"]]
    names = ["flash", "math", "standard", "numpy"]
    lines = [f"| N | {' | '.join(speed_plot.TITLES[name] for name in names)} |", "|---:" * (len(names) + 1) + "|"]
    for n in sorted({row["n"] for row in rows}):
        peaks = {row["backend"]: row["peak_bytes"] for row in rows if row["n"] == n}
        lines.append(f"| {short(n)} | {' | '.join(size_of(peaks[name]) for name in names)} |")
    return "\n".join(lines)


def gpu(kind: str, name: str = "h100") -> results.Results:
    """What was measured on a GPU: "duel" is of the kind "speed", our kernel against the fastest others."""
    (found,) = (results.read(path) for path in measured() if path.stem.endswith(f"-{kind}") and name in path.stem)
    return found


def duel_table(name: str = "h100") -> str:
    """Of the README: how fast our kernel is on a GPU, and the others, at one size."""
    rows, names = gpu("duel", name).rows, ("flashsteps", "cudnn", "flash")
    lines = [
        f"| 16K tokens | {' | '.join(speed_plot.TITLES[name] for name in names)} | ours ÷ cuDNN |",
        "|---|" + "---:|" * 4,
    ]
    for which, causal in product(("forward", "backward"), (False, True)):
        here = {row["backend"]: row["tflops"] for row in rows
                if (row["pass"], row["n"], row["causal"]) == (which, 16 << 10, causal)}  # fmt: skip
        cells = [f"{here[name]:.0f}" for name in names] + [f"{here['flashsteps'] / here['cudnn']:.2f}"]
        lines.append(f"| {which}{', causal' * causal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios() -> str:
    """Of the README: the same on an H200, in parts of cuDNN's."""
    lines = duel_table("h200").splitlines()[2:]
    return ", ".join(f"{line.rsplit('|', 2)[1].strip()} ({line.split('|')[1].strip()})" for line in lines)


def slower() -> str:
    """Of the README: where cuDNN is faster on both GPUs, from which N on, and by how much at most."""
    found, sizes = list[str](), [4 << 10, 8 << 10, 16 << 10, 32 << 10]
    for which, causal in product(("forward", "backward"), (False, True)):
        behind = []
        for name in ("h100", "h200"):
            speeds = {(row["n"], row["backend"]): row["tflops"] for row in gpu("duel", name).rows
                      if (row["pass"], row["causal"]) == (which, causal)}  # fmt: skip
            assert sorted({n for n, _ in speeds}) == sizes
            behind.append({n: 1 - speeds[n, "flashsteps"] / speeds[n, "cudnn"] for n in sizes})
        of = [n for n in sizes if max(each[n] for each in behind) > 0]
        assert of == sizes[len(sizes) - len(of) :]
        if of:
            most = [f"{max(each.values()):.0%}".replace("%", " %") for each in behind]
            on = [" on the H100", " on the H200"] if not found else ["", ""]
            since = f" from {short(of[0])} tokens on" if of != sizes else ""
            words = f"a {'causal' if causal else 'full'} {which} pass{since}"
            found.append(f"{words}, by up to {most[0]}{on[0]} and {most[1]}{on[1]}")
    return f"Where this package is slower than cuDNN: {'; '.join(found)}."


def pages() -> str:
    """Of the README: decoding from pages, beside decoding from one piece."""
    took = {row["backend"]: row["seconds"]["median"] for row in gpu("beside", "h200").rows
            if row["what"].startswith("decoding, 16 ×") and row["seconds"]}  # fmt: skip
    in_pages, in_one = (f"{1000 * took[name]:.2f}" for name in ("flashsteps, pages", "flashsteps"))
    return f"16 queries on the H200: {in_pages} ms, where one piece takes {in_one}"


def beside_table() -> str:
    """Of the README: what else is called, on an H200."""
    rows = {(row["what"], row["pass"], row["backend"]): row["seconds"] for row in gpu("beside", "h200").rows}
    names = ("flashsteps", "cudnn", "flash", "efficient")
    lines = [f"| | {' | '.join(speed_plot.TITLES[name] for name in names)} |", "|---" + "|---:" * len(names) + "|"]
    for what, which in dict.fromkeys((what, which) for what, which, _ in rows):
        took = [rows.get((what, which, name)) for name in names]
        cells = [milliseconds(each["median"]) if each else "–" for each in took]
        lines.append(f"| {what}{', backward' * (which == 'backward')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def steps() -> str:
    """Of the README: the time of a training step at the smallest N."""
    rows = {row["attention"]: row for row in gpu("train").rows if row["n"] == 512}
    took = [f"{1000 * rows[name]['seconds']['median']:.0f} ms" for name in ("flashsteps", "sdpa", "standard")]
    return f"{took[0]} with it, {took[1]} with SDPA and {took[2]} with standard attention (N = 512)"


@pytest.mark.parametrize("path", measured(), ids=lambda path: path.stem)
def test_what_was_measured_can_be_read_and_shown(path):
    made = results.read(path)
    lines = flashsteps("bench", "--from", str(path))
    assert lines[0].startswith("CPU: ") == (made.machine["kind"] == "cpu")
    assert ("cut off" in " ".join(lines)) == (not made.finished)
    if made.kind not in ("tune", "beside") and (made.finished or made.kind == "train"):
        assert path.with_suffix(".svg").is_file()
    kind = path.stem.rpartition("-")[2]
    assert path == ROOT / results.default_path(kind, made.machine["name"])
    assert made.kind == {"duel": "speed"}.get(kind, kind)


@pytest.mark.parametrize(("name", "many"), [("h100", 18), ("h200", 9)])
def test_the_tiles_that_are_used_are_those_that_were_measured_to_be_the_fastest(name, many):
    made = gpu("tune", name)
    best = {
        (row["kernel"], row["d"], row["causal"]): row["config"] for row in made.rows if row["best"] and row["config"]
    }
    assert {key: tuned.best(made.machine["name"], *key, 16) for key in best} == best
    assert len(best) == many


def test_what_was_not_tuned_on_a_gpu_is_as_it_was_on_one_of_the_same_chip():
    """Where both were tuned, the passes that are used are the same kernels, with the same tiles."""
    for name, twin in tuned.TWINS.items():
        assert tuned.best(name, "backward", 64, True, 16) == tuned.best(twin, "backward", 64, True, 16)
        assert tuned.best(name, "forward", 256, False, 16)["hopper"]
        for which, causal in product(("forward", "backward"), (False, True)):
            ours, theirs = (tuned.best(one, which, 128, causal, 16) for one in (name, twin))
            assert ours | {"in_turn": False} == theirs | {"in_turn": False}
    assert tuned.best("NVIDIA X", "forward", 128, False, 16) is None


def test_hoppers_kernels_are_used_where_the_readme_says_so():
    """With heads of 128 as tuned on both; of 64, backward, and 256, forward, on an H200 as an H100 has them."""
    used = {name: {key[1:3] for key, tile in tuned.found().items() if key[0] == name and tile["hopper"]}
            for name in ("NVIDIA H200", "NVIDIA H100 80GB HBM3")}  # fmt: skip
    assert [*used.values()] == [
        {("forward", 128), ("backward", 128)},
        {("forward", 128), ("backward", 128), ("forward", 256), ("backward", 64)},
    ]


def test_the_readme_shows_what_was_measured():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for part in (memory_table(), duel_table(), ratios(), slower(), pages(), beside_table(), steps()):
        assert " ".join(part.split()) in " ".join(text.split()), part


def test_make_says_what_it_measures():
    script = (ROOT / ".ci/bench-gpu.sh").read_text(encoding="utf-8")
    lines = [line.rpartition("flashsteps ")[2] for line in script.splitlines() if "flashsteps bench --on-gpu " in line]
    for line in lines:
        line = line.replace("[--stages STAGES]", "--stages duel").replace(
            '${stages:+--stages "$stages"}', "--stages duel"
        )
        words = line.replace('"$folder"', "results").replace('"$minutes"', "8").replace("MINUTES", "8").split()
        main.commands["bench"].make_context("bench", words[1:])
    assert len(lines) == 3
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "make bench-gpu  on a GPU" in said
