"""The command line: what each command makes and says, in the folder that it is run in."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps import algorithms, theme
from flashsteps.cli import main, typed
from flashsteps.cli.list import GROUPS
from flashsteps.cli.options import Name
from flashsteps.cli.program import printable, table
from flashsteps.filmkit import doctor, films, formats
from flashsteps.filmkit.presets import PRESETS
from flashsteps.machine import devices
from flashsteps.trace import rules
from flashsteps.units import size_of
from tests.problems import DECODE

ROOT = Path(fs.__file__).parents[1]
DO = (
    np.random.default_rng(0).standard_normal((6, 4), dtype=np.float32).astype(np.float16)
)  # as `record` draws it unless told otherwise


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flashsteps(*args: str) -> list[str]:
    """What a command prints; it succeeds, with nothing on standard error."""
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()


def program(*args: str, code: str = "", **settings) -> Any:
    """The program in a process of its own; `code` runs before it."""
    run = f"import sys; {code}\nfrom flashsteps.cli import main; main()"
    env = os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # as from a terminal, even where a shell in the background has Ctrl-C ignored
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen([sys.executable, "-c", run, *args], env=env, **pipes | heed | settings)


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- list


def test_all_that_there_is_is_listed_one_line_each():
    lines = flashsteps("list")
    owners = {
        "films": (*films.names(), films.LECTURE), "algorithms": algorithms.names(), "devices": devices.DEVICES,
        "themes": theme.THEMES, "presets": PRESETS,
    }  # fmt: skip
    assert [line for line in lines if line and not line.startswith(" ")] == list(GROUPS)
    for group, names in owners.items():
        start = lines.index(group) + 1
        assert [line.split()[0] for line in lines[start : lines.index("", start)]] == list(names)
    for name in films.names():
        assert any(line.split() == [name, *films.summary(name).split()] for line in lines)


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_is_listed_alone(group):
    lines = flashsteps("list", group)
    assert lines
    assert [f"  {line}" for line in lines] == [
        line for line in flashsteps("list") if line[2:] in lines and line.strip()
    ]


def test_each_input_that_is_listed_by_name_is_one():
    names = [line.split()[0] for line in flashsteps("list", "inputs")]
    assert names[0] == "sample"
    assert names[1] == "random:N,d[,seed]"
    assert fs.load_qkv("sample").q.shape == (16, 32)


# ---- record, show, count


def test_record_saves_the_run_that_the_library_makes(folder):
    options = "--input random:6,4 --block-q 4 --block-k 3 --mask causal --dtype float32 --scale 0.25 --sram 2KiB"
    (line,) = flashsteps("record", "flash-forward", "-o", "run.npz", *options.split())
    q, k, v = fs.load_qkv("random:6,4")
    source = fs.load_qkv("random:6,4").source
    expected = fs.record(
        "flash-forward", q, k, v, block_q=4, block_k=3, mask="causal", dtype="float32", scale=0.25, sram=2048,
        source=source,
    )  # fmt: skip
    assert fs.load("run.npz") == expected
    io = expected.io()
    for words in (
        f"{len(expected)} steps over 6 tokens, d 4, float32: ",
        f"{io.read:,} B read",
        f"{io.written:,} B written",
        "run.npz   ",
    ):
        assert words in line


@pytest.fixture
def trace() -> fs.Trace:
    """A small run, saved as run.npz."""
    flashsteps("record", "flash2-forward", "-o", "run.npz", "--input", "random:5,3", "--block-q", "2", "--block-k", "2")
    return fs.load("run.npz")


@pytest.mark.parametrize(
    ("algorithm", "options", "expected"),
    [
        ("block-sparse-forward", "--block-mask local:1", {"block_mask": "local:1"}),
        ("split-kv-decode", "--splits 2 --mask window:2,1", {"splits": 2, "mask": "window:2,1"}),
        ("paged-decode", "--seed 3", {"seed": 3}),
        ("paged-decode", "--table 5,0,3", {"table": [5, 0, 3]}),
        ("standard-backward", "--softcap 3", {"softcap": 3.0, "do": DO}),
        ("flash2-block-sparse-forward", "--block-mask local:1", {"block_mask": "local:1"}),
        ("flash2-forward", "--softcap 2 --alibi .5 --dropout .5 --seed 4 --dtype bfloat16",
         {"softcap": 2.0, "alibi": 0.5, "dropout": 0.5, "seed": 4, "dtype": "bfloat16"}),
    ],
)  # fmt: skip
def test_record_takes_what_the_library_takes(folder, algorithm, options, expected):
    command = f"{algorithm} -o run.npz --input random:6,4 --block-q 2 --block-k 2 {options}"
    flashsteps("record", *command.split())
    qkv = fs.load_qkv("random:6,4")
    q = qkv.q[-1:] if algorithm in DECODE else qkv.q
    blocks: dict[str, Any] = {"block_q": 2, "block_k": 2}
    assert fs.load("run.npz") == fs.record(algorithm, q, qkv.k, qkv.v, **blocks, source=qkv.source, **expected)


@pytest.mark.parametrize("algorithm", DECODE)
def test_decoding_has_one_query_unless_told_otherwise(folder, algorithm):
    """The last; of a file, all that are in it."""
    for options, expected in (((), 1), (("--queries", "3"), 3), (("--input", "random:8,4"), 1)):
        flashsteps("record", algorithm, "-o", "run.npz", *options)
        trace = fs.load("run.npz")
        q = fs.load_qkv("random:8,4" if "--input" in options else "sample").q
        assert trace.meta["queries"] == expected
        np.testing.assert_array_equal(trace.initial["Q"], q[-expected:].astype(np.float16))
    np.savez("own.npz", q=np.ones((5, 4)), k=np.ones((7, 4)), v=np.ones((7, 3)))
    flashsteps("record", algorithm, "-o", "run.npz", "--input", "own.npz")
    assert (fs.load("run.npz").meta["queries"], fs.load("run.npz").meta["d_v"]) == (5, 3)
    failed = CliRunner().invoke(main, ["record", algorithm, "-o", "run.npz", "--input", "own.npz", "--queries", "6"])
    assert (failed.exit_code, failed.output) == (
        2,
        "flashsteps: error: --queries 6: there are 5, give at most as many\n",
    )


def test_record_and_count_take_biases_and_sinks(folder):
    np.save("b.npy", np.arange(36.0).reshape(6, 6))
    np.save("padding.npy", np.array([[0, 0, 1, 1, 1, 1]]))
    given = ("--input", "random:6,4", "--bias", "file:b.npy", "--sinks", ".5", "--mask", "file:padding.npy")
    flashsteps("record", "flash2-forward", "-o", "run.npz", *given)
    qkv, padding = fs.load_qkv("random:6,4"), np.load("padding.npy")
    trace, expected = (
        fs.load("run.npz"),
        fs.record("flash2-forward", *qkv, bias=np.load("b.npy"), sinks=0.5, mask=padding),
    )
    assert trace.events == expected.events
    np.testing.assert_array_equal(trace.outputs["O"], expected.outputs["O"])
    assert (trace.meta["bias"], trace.meta["mask"]) == ("file:b.npy", "file:padding.npy")
    said = flashsteps("count", "flash2-forward", "--n", "64", "--d", "24", "--d-v", "16", "--bias", "heads", "--sinks")
    counted = fs.count("flash2-forward", n=64, d=24, d_v=16, bias="heads", sinks=True)
    assert f"moved: {size_of(counted.total)}" in said


def test_record_takes_all_heads_of_a_file(folder):
    rng = np.random.default_rng(3)
    q, (k, v) = rng.standard_normal((4, 6, 2)), rng.standard_normal((2, 2, 5, 2))
    np.savez("heads.npz", q=q, k=k, v=v)
    flashsteps(
        "record", "flash2-backward", "-o", "run.npz", "--input", "heads.npz", "--all-heads", "--alibi", "1,.5,.2,0"
    )
    do = np.random.default_rng(0).standard_normal(q.shape, dtype=np.float32).astype(q.dtype)
    expected = fs.record("flash2-backward", q, k, v, do=do, alibi=(1, 0.5, 0.2, 0))
    assert fs.load("run.npz").events == expected.events
    assert fs.load("run.npz").meta["alibi"] == [1, 0.5, 0.2, 0]


@pytest.mark.parametrize("layout", [None, "bshd"])
def test_record_takes_with_a_head_what_belongs_to_it(folder, layout):
    """dO of all heads, or its own; its slope; what dropout drops of it. The line says how the file was understood."""
    rng = np.random.default_rng(3)
    q, do, k, v = rng.standard_normal((4, 1, 6, 3, 5, 2))[:, :, :, 0].astype(np.float32)
    arrays = {"q": q, "do": do, "k": k[:, :3], "v": v[:, :3]}
    arrays = {name: x.swapaxes(1, 2) if layout else x for name, x in arrays.items()}
    np.savez("heads.npz", **{name: arrays[name] for name in "qkv"})
    how: dict[str, Any] = {"alibi": [1, 0.5, 0.2, 0.1, 0, 3], "dropout": 0.4, "seed": 2, "layout": layout}
    options = ["--alibi", "1,.5,.2,.1,0,3", "--dropout", ".4", "--seed", "2", *(["--layout", layout] if layout else [])]
    expected = fs.record("flash2-backward", **arrays, **how, head=4)
    for given in (arrays["do"], do[0, 4]):
        np.save("do.npy", given)
        command = "record", "flash2-backward", "-o", "run.npz", "--input", "heads.npz", "--head", "4", "--do", "do.npy"
        (line,) = flashsteps(*command, *options)
        assert " steps over 5 tokens, d 2, float32: " in line
        assert all(np.array_equal(fs.load("run.npz").outputs[name], x) for name, x in expected.outputs.items())
    np.save("do.npy", arrays["do"])
    every = "record", "flash2-backward", "-o", "run.npz", "--input", "heads.npz", "--all-heads", "--do", "do.npy"
    (line,) = flashsteps(*every, *options)
    assert " steps over 6 heads (3 of keys) of 5 tokens, d 2, float32: " in line
    outputs = fs.load("run.npz").outputs
    assert {name: x.shape for name, x in outputs.items()} == {f"d{name.upper()}": arrays[name].shape for name in "qkv"}
    mine = outputs["dQ"][0, :, 4] if layout else outputs["dQ"][0, 4]
    np.testing.assert_array_equal(mine, expected.outputs["dQ"])
    shown = "\n".join(flashsteps("show", "run.npz"))
    assert re.search(
        rf"given +q of shape {'×'.join(map(str, arrays['q'].shape))}{', layout bshd' if layout else ''}\n", shown
    )


def test_full_is_no_mask(folder):
    for mask in ("full", "none"):
        flashsteps("record", "flash2-forward", "-o", f"{mask}.npz", "--input", "random:5,3", "--mask", mask)
    assert fs.load("full.npz") == fs.load("none.npz")
    said = [flashsteps(*f"io --n 1K --mask {mask}".split()) for mask in ("full", "none")]
    assert said[0] == said[1]


@pytest.mark.parametrize("do", ["", "--do random:7", "--do do.npy"])
def test_record_takes_the_gradient_of_o(folder, do):
    rng = {"": 0, "--do random:7": 7}.get(do, 9)
    gradient = np.random.default_rng(rng).standard_normal((6, 4), dtype=np.float32)
    gradient = gradient if rng == 9 else gradient.astype(np.float16)  # at random it is of q's type
    np.save("do.npy", gradient)
    flashsteps("record", *f"flash2-backward -o run.npz --input random:6,4 {do}".split())
    qkv = fs.load_qkv("random:6,4")
    assert fs.load("run.npz") == fs.record("flash2-backward", *qkv, do=gradient, source=qkv.source)


def test_count_takes_heads(folder):
    options = "--n 16 --d 8 --heads 4 --kv-heads 2 --mask prefix:3"
    lines = flashsteps("count", "flash2-forward", *options.split())
    assert (
        f"moved: {size_of(fs.count('flash2-forward', n=16, d=8, heads=4, kv_heads=2, mask='prefix:3').total)}" in lines
    )


def test_show_tells_what_ran_what_moved_and_how_it_starts(trace):
    lines = flashsteps("show", "run.npz")
    text = "\n".join(lines)
    for words in ("flash2-forward", "random:5,3,0", "5 queries, 5 keys, d = 3", "2 queries × 2 keys", "float16 in HBM"):
        assert words in text
    assert f"all  {trace.io().read} B  {trace.io().written} B" in re.sub(" +", "  ", text).replace("  B", " B")
    assert lines[-21:-1] == [str(event) for event in trace[:20]]
    assert lines[-1] == f"… {len(trace) - 20} more: --events 20:40, or --events all"


@pytest.mark.parametrize(
    ("given", "part"),
    [("all", slice(None)), ("3:7", slice(3, 7)), ("20:", slice(20, None)), (":2", slice(2)), ("7:7", slice(0))],
)
def test_show_lists_the_events_asked_for_and_nothing_else(trace, given, part):
    assert flashsteps("show", "run.npz", "--events", given) == [str(event) for event in trace[part]]


@pytest.mark.parametrize("algorithm", algorithms.names())
def test_each_step_can_be_shown_and_what_is_on_chip_adds_up(algorithm):
    options = "--input random:3,2 --block-q 2 --block-k 2 --mask causal"
    options += " --block-mask butterfly" if "sparse" in algorithm else ""
    flashsteps("record", algorithm, "-o", "run.npz", *options.split())
    run, most = fs.load("run.npz"), 0
    for event in run:
        lines = flashsteps("show", "run.npz", "--step", str(event.step))
        assert lines[0] == str(event)
        assert lines[1].startswith(f"line {event.line}: ")
        (total,) = (int(line.split()[2].replace(",", "")) for line in lines if line.startswith("on chip, "))
        state, start = run.at(event.step), lines.index("in HBM") + 1
        assert [line.split()[0] for line in lines[start : start + len(state.hbm)]] == list(state.hbm)
        most = max(most, total)
    assert most == run.peak.total
    assert all("all there" in line for line in lines[start : start + len(state.hbm)])


def test_a_step_shows_its_caption_and_the_numbers_it_made(trace):
    step = next(event.step for event in trace if event.slot == "S")
    text = "\n".join(flashsteps("show", "run.npz", "--step", str(step)))
    assert "S =" in text
    assert f"{trace.values[step][0, 0]:.4f}".rstrip("0") in text
    assert "One tile of scores, made on chip" in text
    assert "O    5×3  0 of 5 rows" in text


def test_the_start_of_a_run_can_be_shown(trace):
    assert flashsteps("show", "run.npz", "--step", "-1")[:2] == ["on chip, 0 B", "in HBM"]


def test_a_strangers_code_is_shown_but_need_not_make_sense(trace):
    lines = [f"((( {n}" for n in range(trace.meta["code"].count("\n"))]
    replace(trace, meta=trace.meta | {"code": "\n".join([*lines, ""])}).save("odd.npz")
    assert flashsteps("show", "odd.npz", "--step", "0")[1] == f"line {trace[0].line}: ((( {trace[0].line - 1}"


@pytest.mark.parametrize(
    "options",
    [
        {"n": "1K", "d": "64"},
        {"n": "1M", "d": "128", "block_q": "128", "mask": "causal", "device": "a100-80gb"},
        {"n": "100", "d": "8", "n_keys": "70", "dtype": "float64", "block_k": "16", "sram": "1 MB"},
    ],
)
def test_count_says_what_the_library_counts(options):
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    numbers = {
        name: typed.nbytes(value) if name == "sram" else typed.tokens(value)
        for name, value in options.items()
        if value[0].isdigit()
    }
    io = fs.count("flash2-forward", **{**options, **numbers})
    rows = [re.split(r"\s{2,}", line) for line in flashsteps("count", "flash2-forward", *given)]
    for tensor, moved in io.by_tensor.items():
        assert [tensor, f"{moved.read:,} B", f"{moved.written:,} B", f"{sum(moved):,} B"] in rows
    assert ["all", f"{io.read:,} B", f"{io.written:,} B", f"{io.total:,} B"] in rows


def test_count_takes_a_published_rule():
    lines = flashsteps(
        "count", "flash-forward", *["--n", "1K", "--d", "64", "--block-k", "256"], "--rule", "fa1-figure-2"
    )
    total = int(next(line for line in lines if line.startswith("all")).split()[-2].replace(",", ""))
    assert total * 1024 == pytest.approx(1.745e9, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2048", 2048), ("2KiB", 2048), ("2 KiB", 2048), ("1.5kib", 1536), ("2 KB", 2000), ("1MiB", 1 << 20), ("7 B", 7)],
)
def test_bytes_are_read_as_people_write_them(text, expected):
    assert typed.nbytes(text) == expected


# ---- doctor


def test_doctor_knows_each_package_of_the_project_and_says_that_films_can_be_made():
    lines = flashsteps("doctor")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in ("all", "test")}
    for required in (*project["dependencies"], *(line for lines in extras.values() for line in lines)):
        name = re.match(r"[\w.-]+", required)
        assert name
        assert any(re.match(rf"  {name[0]} +[\d.]+", line) for line in lines), required
    assert [line for line in lines if line.endswith(": works")] == [
        f"{ending}: works" for ending in sorted(formats.ENDINGS, key=lambda ending: ending != ".png")
    ]
    assert lines[-1] == "films can be made here"


def test_doctor_says_what_to_type_for_what_is_missing(monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("manim", "av") else version(name))
    monkeypatch.setattr(doctor, "trials", lambda: iter([doctor.Trial(".png", "drawing needs manim")]))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert re.search(r"^missing av, manim: .*: pip install 'flashsteps\[render\]'$", result.stdout, re.MULTILINE)
    assert result.stdout.splitlines()[-2:] == [".png: drawing needs manim", "films cannot be made here"]


WITHOUT_CAIRO = "sys.modules['cairo'] = None"
TO_TYPE = "drawing needs cairo, which is not installed: pip install 'flashsteps[render]'"


def test_without_what_draws_doctor_runs_and_says_so():
    with program("doctor", code=WITHOUT_CAIRO) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (1, b"")
    assert out.decode().count(TO_TYPE) == 1


def test_without_what_draws_nothing_is_rendered_and_it_is_said_what_to_type(folder):
    with program("render", "standard", "-o", "a.gif", "--captions", code=WITHOUT_CAIRO) as process:
        out, err = process.communicate()
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1)
    assert TO_TYPE in err.decode()
    assert there(folder) == []


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_this_program(shell):
    text = "\n".join(flashsteps("completion", shell))
    assert f"_FLASHSTEPS_COMPLETE={shell}_complete" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("re", ["render", "record"]),
        ("render flash2-f", ["flash2-forward"]),
        ("render flash2-ba", ["flash2-backward"]),
        ("render x --device h", ["h100", "h200"]),
        ("render x --theme ", list(theme.THEMES)),
        ("render x --input sam", ["sample"]),
        ("record standard-f", ["standard-forward"]),
        ("count x --rule fa1-f", ["fa1-figure-2"]),
        ("list d", ["devices"]),
        ("completion z", ["zsh"]),
    ],
)
def test_words_complete(words, expected):
    env = {
        "_FLASHSTEPS_COMPLETE": "bash_complete",
        "COMP_WORDS": f"flashsteps {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    result = CliRunner().invoke(main, env=env, prog_name="flashsteps")
    assert result.stdout.splitlines() == [f"plain,{word}" for word in expected]


# ---- help


def commands(group: click.Group = main) -> dict[str, click.Command]:
    return {name: group.commands[name] for name in group.list_commands(click.Context(group))}


def test_every_command_and_option_says_what_it_is_for():
    for name, command in {"flashsteps": main, **commands()}.items():
        assert command.help, name
        assert command.epilog, name
        for param in command.get_params(click.Context(command)):
            assert param.help, (name, param.name)
            assert "{" not in param.help
        assert "flashsteps " in command.epilog
        assert flashsteps(*([] if command is main else [name]), "--help")[0].startswith("Usage: flashsteps")


def test_each_command_fits_on_its_line_of_the_help():
    text = "\n".join(flashsteps())
    assert "..." not in text.partition("Commands:")[2].partition("\n\n")[0]
    assert flashsteps("--help") == flashsteps()


def test_each_example_is_one_that_can_be_typed():
    seen = set()
    for command in (main, *commands().values()):
        for line in re.findall(r"^ *flashsteps (.*)$", command.epilog or "", re.MULTILINE):
            name, *args = shlex.split(re.split(r"&&|[|>]", line)[0])
            commands()[name].make_context(name, args)
            seen.add(name)
    assert seen >= {"render", "list", "record", "show", "count", "doctor"}


def test_help_names_what_others_own():
    text = re.sub(r"\s+", " ", " ".join(flashsteps("render", "--help")))
    names = [*formats.ENDINGS, *PRESETS, *theme.THEMES, devices.DEFAULT]
    assert [name for name in names if name not in text] == []
    for param in commands()["count"].params:
        if isinstance(param.type, Name) and param.name == "rule":
            assert list(param.type.names()) == list(rules.RULES)


def test_version():
    assert flashsteps("--version") == [f"flashsteps {fs.__version__}"]


@pytest.mark.parametrize("args", [["--help"], ["list", "--help"], ["--version"], ["completion", "zsh"]])
def test_what_needs_no_numbers_imports_no_numpy(args):
    code = (
        "import atexit; atexit.register(lambda: print(*{'numpy', 'manim', 'av'} & set(sys.modules), file=sys.stderr))"
    )
    with program(*args, code=code) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, b"\n")


# ---- terminals, pipes, Ctrl-C


def test_lines_hold_nothing_that_a_terminal_obeys():
    assert printable("a\x1b[31mb\x07\u202ec\n  d") == "a·[31mb··c d"
    assert list(table([("a\n", "1"), ("long", "22")], right="lr")) == ["a      1", "long  22"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_terminal_will_do(trace, encoding):
    with program("show", "run.npz", "--events", "0:1", env={"PYTHONIOENCODING": encoding}) as process:
        out, err = process.communicate()
    arrow = "→" if encoding == "utf-8" else "->"
    assert (process.returncode, err) == (0, b"")
    assert out.decode(encoding) == f"0  i=0  load  Q[0:2] {arrow} q   12 B   HBM{arrow}SRAM\n"


def test_a_reader_that_leaves_early_is_no_error():
    with program("list") as process:
        process.stdout.close()
        assert process.stderr.read() == b""
