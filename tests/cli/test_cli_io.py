"""`flashsteps io` and `flashsteps blocks`: tables, data and plots, and what they refuse."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flashsteps import theme
from flashsteps.cli import main
from flashsteps.machine import devices, dtypes
from flashsteps.plots import chart, curves
from flashsteps.plots import traffic_plot as plot
from flashsteps.runs import counting
from flashsteps.traffic import blocks, report
from flashsteps.units import short, size_of
from tests.cli.test_cli import flashsteps, program, there
from tests.cli.test_cli_errors import refused

SMALL = ("--n", "64", "--d", "16", "--block-q", "8", "--block-k", "8", "--algorithms", "flash2-forward")
OPTIONS: dict[str, tuple[str, str, Any]] = {
    "sizes": ("--n", "96,1K", (96, 1024)),
    "d": ("--d", "32", 32),
    "d_v": ("--d-v", "48", 48),
    "heads": ("--heads", "3", 3),
    "batch": ("--batch", "5", 5),
    "names": ("--algorithms", "flash-forward,standard-forward", ("flash-forward", "standard-forward")),
    "block_q": ("--block-q", "24", 24),
    "block_k": ("--block-k", "40", 40),
    "mask": ("--mask", "causal", "causal"),
    "dtype": ("--dtype", "float32", "float32"),
    "device": ("--device", "t4", "t4"),
    "rule": ("--rule", "fa1-figure-2", "fa1-figure-2"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def as_words() -> list[str]:
    return [word for name, text, _ in OPTIONS.values() for word in (name, text)]


# ---- the table


def test_without_options_the_table_is_the_report_row_by_row():
    lines = flashsteps("io")
    rows = report.rows()
    start = next(n for n, line in enumerate(lines) if line.split()[:1] == ["N"]) + 1
    assert lines[0].startswith(
        f"one head, d = {report.D}, tiles of {report.BLOCK}×{report.BLOCK}, {dtypes.DEFAULT}, no mask"
    )
    for row, line in zip(rows, lines[start:], strict=False):
        found = cells(line)
        found = found[1:] if found[0] == short(row.keys) else found
        assert found[:3] == [row.algorithm, size_of(row.read), size_of(row.written)]
        assert size_of(row.footprint) in found
        assert found[-2:] == [row.bound_by, f"{row.ratio:.2f}×"]
    assert lines[start + len(rows)] == ""
    assert [cells(line)[0] for line in lines[start : start + len(rows)] if not line.startswith("    ")][:1] == ["1K"]


def test_the_table_says_what_its_times_are():
    text = " ".join(
        flashsteps("io", "--n", "1K", "--device", "h100", "--heads", "16", "--batch", "64", "--mask", "causal")
    )
    for words in (
        "16 heads × 64 sequences",
        "mask causal",
        "3.35 TB/s and 989 TFLOP/s",
        "a bound",
        "not a prediction",
        "without L2",
    ):
        assert words in text


def test_the_size_of_values_is_said_where_it_is_another():
    assert flashsteps("io", "--n", "1K", "--d-v", "32")[0].startswith("one head, d = 64, v 32 wide, tiles of ")
    assert flashsteps("io", "--n", "1K", "--d-v", "64") == flashsteps("io", "--n", "1K")


def test_what_does_not_fit_is_said():
    text = "\n".join(flashsteps("io", "--n", "8K,1M", "--block-q", "512"))
    assert re.search(r"^more than the 80 GB of memory: standard-forward at 1M", text, re.MULTILINE)
    assert re.search(r"^more on chip than there is: flash-forward, flash2-forward", text, re.MULTILINE)
    assert "more " not in "\n".join(flashsteps("io", "--n", "8K", "--block-q", "64", "--block-k", "64"))


def test_a_ratio_near_nothing_is_not_rounded_to_it():
    lines = flashsteps("io", "--n", "1M", "--block-q", "1024", "--block-k", "1024", "--d", "8")
    (line,) = (line for line in lines if "flash2-forward  " in line)
    assert re.search(r" 0\.00\d×$", line)


def test_a_rule_is_named_below_the_table():
    lines = flashsteps("io", "--rule", "fa1-figure-2", "--n", "1K")
    assert [cells(line)[-1] for line in lines if "standard-forward" in line and "×" in line] == ["1.00×"]
    assert any(line.startswith("flash-forward by the rule fa1-figure-2: FA1, Figure 2: ") for line in lines)
    assert not any("flash2-forward" in line for line in lines)


def test_a_million_is_counted_in_the_time_of_a_toy():
    assert any("8.8 TB" in line or "4.4 TB" in line for line in flashsteps("io", "--n", "1M"))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_terminal_will_do(encoding):
    with program("io", "--n", "1K", env={"PYTHONIOENCODING": encoding}) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert ("4.37 us" if encoding == "ascii" else "4.37 µs") in out.decode(encoding)


# ---- as data


def test_each_option_reaches_the_report():
    found = json.loads("\n".join(flashsteps("io", "--json", *as_words())))
    expected = report.rows(**{name: value for name, (_, _, value) in OPTIONS.items()})
    assert found == [row.data() for row in expected]
    assert {row["rule"] for row in found} == {"all", "fa1-figure-2"}


def test_a_block_mask_reaches_the_algorithm_that_takes_one():
    names = "block-sparse-forward,flash-forward"
    found = json.loads("\n".join(flashsteps("io", "--json", "--algorithms", names, "--block-mask", "butterfly")))
    assert found == [row.data() for row in report.rows(names.split(","), block_mask="butterfly")]


@pytest.mark.parametrize("name", ["split-kv-decode", "paged-decode", "block-sparse-forward", "flash2-backward"])
def test_every_kind_of_algorithm_can_be_plotted(name, folder):
    extra = ("--block-mask", "local:1") if name.startswith("block-sparse") else ()
    flashsteps("io", *SMALL, "--plot", "a.png", "--algorithms", name, *extra)
    with Image.open("a.png") as image:
        assert image.size == (chart.WIDTH, chart.HEIGHT)


def test_json_and_csv_hold_every_number_of_every_row():
    rows = [row.data() for row in report.rows()]
    assert json.loads("\n".join(flashsteps("io", "--json"))) == rows
    lines = flashsteps("io", "--csv")
    read = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert [int(row["read"]) + int(row["written"]) for row in read] == [row["read"] + row["written"] for row in rows]


# ---- the plot


@pytest.mark.parametrize("ending", chart.ENDINGS)
def test_a_plot_is_drawn_and_the_same_each_time(ending, folder):
    (line,) = flashsteps("io", *SMALL, "--plot", f"a{ending}")
    flashsteps("io", *SMALL, "--plot", f"b{ending}")
    data = (folder / f"a{ending}").read_bytes()
    assert line == f"a{ending}   {size_of(len(data))}"
    assert data == (folder / f"b{ending}").read_bytes()
    assert there(folder) == [f"a{ending}", f"b{ending}"]


@pytest.mark.parametrize(
    ("options", "name"), [((), chart.THEME), (("--theme", "dark"), "dark"), (("--theme", "light"), "light")]
)
def test_a_picture_has_the_colours_of_its_theme(options, name, folder):
    flashsteps("io", *SMALL, "--plot", "a.png", *options)
    with Image.open("a.png") as image:
        assert image.size == (chart.WIDTH, chart.HEIGHT)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3) @ (1 << 16, 1 << 8, 1)
    colours = theme.THEMES[name]
    seen = {f"#{packed:06x}" for packed in np.unique(pixels)}
    assert f"#{pixels[0]:06x}" == colours.bg
    assert {colours.accent, colours.dim, colours.ink, colours.line} <= seen


def test_an_svg_needs_no_font_and_nothing_from_outside(folder):
    flashsteps("io", *SMALL, "--plot", "a.svg")
    root = ElementTree.parse("a.svg").getroot()
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "path" in tags
    assert not tags & {"text", "image", "script", "style"} - {"style"}
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("}href")]
    assert [link for link in links if not link.startswith("#")] == []


def test_what_a_user_has_set_in_matplotlib_changes_nothing(folder, monkeypatch):
    import matplotlib

    flashsteps("io", *SMALL, "--plot", "a.svg")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "lines.linewidth": 9, "savefig.dpi": 30}):
        flashsteps("io", *SMALL, "--plot", "b.svg")
        assert matplotlib.rcParams["font.size"] == 30
    assert (folder / "a.svg").read_bytes() == (folder / "b.svg").read_bytes()


def test_each_option_reaches_the_plot(monkeypatch):
    asked: dict = {}

    def spy(path, **options):
        asked.update(options, path=path)
        Path(path).write_bytes(b"a plot")

    monkeypatch.setattr(plot, "plot", spy)
    flashsteps("io", "--plot", "a.svg", "--theme", "dark", *as_words())
    expected = {name: value for name, (_, _, value) in OPTIONS.items()}
    assert asked == expected | {"path": Path("a.svg"), "theme_name": "dark"}


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_a_plot_appears_whole_or_not_at_all(problem, folder, monkeypatch):
    def fail(*args, **options):
        raise problem

    monkeypatch.setattr(curves, "by_tile", fail)
    result = CliRunner().invoke(main, ["io", *SMALL, "--plot", "a.svg"])
    assert result.exit_code == (130 if isinstance(problem, KeyboardInterrupt) else 2)
    assert there(folder) == []


def test_without_matplotlib_it_is_said_what_to_type(folder):
    with program("io", *SMALL, "--plot", "a.svg", code="sys.modules['matplotlib'] = None") as process:
        out, err = process.communicate()
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1)
    assert "a plot needs matplotlib, but matplotlib is not installed: pip install 'flashsteps[plot]'" in err.decode()
    assert there(folder) == []


def test_the_table_needs_no_matplotlib():
    with program("io", "--n", "1K", code="sys.modules['matplotlib'] = None") as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


# ---- what the plot shows

SHAPE: dict[str, Any] = {"d": 16, "block_q": 16, "block_k": 8, "mask": None, "dtype": "float16"}


@pytest.mark.parametrize(("mask", "d_v"), [(None, None), ("causal", None), (None, 40)])
@pytest.mark.parametrize("name", report.default_algorithms())
def test_recorded_runs_lie_on_the_counted_curve(name, mask, d_v):
    shape = SHAPE | {"mask": mask, "d_v": d_v}
    curve = curves.by_size(name, 64, "all", 3, shape)
    assert [n for n, _ in curve.recorded] == [16, 32, 64]
    assert set(curve.recorded) <= set(curve.points)
    assert [n for n, _ in curve.points] == list(range(8, 65))
    for n, nbytes in curve.points[::16]:
        (row,) = report.rows([name], [n], **shape, heads=3)
        assert row.total == nbytes


def test_beside_a_step_of_decoding_standard_attention_has_one_query_too(monkeypatch):
    drawn = []
    monkeypatch.setattr(plot, "_lines", lambda axes, found, inks, colours: drawn.append(found))
    plot.plot("a.svg", ["split-kv-decode"], [256])
    standard = dict(drawn[0][0].points)
    assert standard[256] == counting.count("standard-forward", n=1, n_keys=256, d=report.D).total
    assert dict(drawn[0][0].recorded).items() <= standard.items()


def test_small_tiles_and_many_are_not_recorded():
    curve = curves.by_size("flash2-forward", 1 << 20, "all", 1, SHAPE | {"block_q": 1, "block_k": 1})
    assert [n for n, _ in curve.recorded] == []
    assert (curve.points[0][0], curve.points[-1][0]) == (curves.FIRST, 1 << 20)


@pytest.mark.parametrize(
    ("name", "d_v", "level"),
    [
        ("flash-forward", None, 0.75 * 64 + 2),
        ("flash2-forward", None, 64 / 2),
        ("flash-forward", 32, (64 + 2 * 32) / 4 + 2),
        ("flash2-forward", 32, (64 + 32) / 4),
    ],
)
def test_the_level_is_where_the_closed_forms_have_it(name, d_v, level):
    shape = SHAPE | {"d": 64, "d_v": d_v}
    curve = curves.by_tile(name, curves.TILE_N, "all", 1, shape, devices.DEVICES["a100-80gb"])
    assert curve.level == level


@pytest.mark.parametrize(
    ("d_v", "levels"), [(None, {"¾d + 2 = 50", "d/2 = 32"}), (64, {"¾d + 2 = 50", "d/2 = 32"}), (32, {"34", "24"})]
)
def test_a_plot_names_a_closed_form_where_it_holds(d_v, levels, folder, monkeypatch):
    said = []
    monkeypatch.setattr("matplotlib.axes.Axes.annotate", lambda axes, text, *where, **how: said.append(text))
    plot.plot("a.svg", d=64, d_v=d_v)
    assert set(said) == levels


def test_the_last_tile_that_fits_is_known():
    gpu = devices.DEVICES["h100"]
    curve = curves.by_tile("flash2-forward", 1 << 13, "all", 1, SHAPE | {"d": 64}, gpu)
    assert curve.fits
    fits = []
    for tile in (curve.fits, curve.fits + 1):
        (row,) = report.rows(["flash2-forward"], [1 << 13], d=64, block_q=tile, block_k=tile, device="h100")
        fits.append(row.fits)
    assert fits == [True, False]
    assert curves.by_tile("standard-forward", 1 << 13, "all", 1, SHAPE, gpu).fits is None


# ---- blocks


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ("--d 128 --device h100", {"d": 128, "device": "h100"}),
        (
            "--d 64 --device t4 --algorithm flash-forward --n 64K --dtype float32 --mask causal",
            {"d": 64, "device": "t4", "algorithm": "flash-forward", "n": 1 << 16, "dtype": "float32", "mask": "causal"},
        ),
    ],
)
def test_blocks_are_listed_best_first(options, given):
    lines = flashsteps("blocks", *options.split())
    found, gpu = blocks.fitting(**given), devices.DEVICES[given["device"]]
    assert (
        f"{given.get('algorithm', blocks.ALGORITHM)} at N = {short(given.get('n', blocks.N))}, d = {given['d']}"
        in lines[0]
    )
    assert lines[0].endswith(f"on {gpu.title}: {len(found)} of 36 tiles fit")
    for b, line in zip(found, lines[3:], strict=False):
        shares = f"{b.shared / gpu.shared_per_block / 1024:.0%}", f"{b.registers / gpu.registers_per_sm / 1024:.0%}"
        assert cells(line) == [
            str(b.block_q), str(b.block_k), f"{b.shared:,} B", shares[0], f"{b.registers:,} B", shares[1],
            size_of(b.total), f"{b.ratio:.2f}×",
        ]  # fmt: skip
    block_q, block_k, sram = blocks.papers(given["d"], given["device"], given.get("dtype", dtypes.DEFAULT))
    assert f"⌈M/4d⌉ = {block_k:,} keys" in lines[-2]
    assert f"= {block_q:,} queries" in lines[-2]
    assert lines[-1].startswith(f"{sram:,} elements of shared memory")


def test_blocks_of_values_of_another_size_are_said_to_be_and_the_paper_is_not():
    lines = flashsteps("blocks", "--d", "64", "--d-v", "32", "--device", "h100")
    best = blocks.fitting(d=64, d_v=32, device="h100")[0]
    assert "d = 64, v 32 wide, on NVIDIA H100" in lines[0]
    assert cells(lines[3])[:3] == [str(best.block_q), str(best.block_k), f"{best.shared:,} B"]
    assert lines[-1] == "FA1's Algorithm 1 says which tile it takes where v is as wide as k, and nothing of v 32 wide"
    assert flashsteps("blocks", "--d", "64", "--d-v", "64") == flashsteps("blocks", "--d", "64")


def test_where_nothing_fits_it_is_said():
    lines = flashsteps("blocks", "--d", "16K", "--device", "t4")
    assert lines[0].endswith("none of 36 tiles fits: choose a smaller d or dtype")


# ---- wrong input


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("io --n 0", ("--n '0'", "1K,8K,1M")),
        ("io --n 1K,", ("--n '1K,'", "1K,8K,1M")),
        ("io --n 1G", ("--n '1G'", "1K is 1,024")),
        ("io --n -4", ("--n '-4'", "give how many")),
        ("io --n 9999999M", ("give at most",)),
        ("io --d 1.5", ("--d '1.5'", "give how many")),
        ("io --d-v 0", ("--d-v '0'", "give how many")),
        ("blocks --d 64 --d-v wide", ("--d-v 'wide'", "give how many")),
        ("io --heads 0", ("--heads '0'", "1 or more")),
        ("io --batch two", ("--batch 'two'", "whole number")),
        ("io --block-q 0", ("--block-q '0'", "1 or more")),
        ("io --algorithms flash3-forward", ("'flash3-forward'", "did you mean")),
        ("io --algorithms flash-forward,", ("algorithm ''", "known are")),
        ("io --mask casual", ("mask 'casual'", "did you mean 'causal'")),
        ("io --dtype float8", ("dtype 'float8'", "float16")),
        ("io --device a100", ("device 'a100'", "'a100-40gb' or 'a100-80gb'")),
        ("io --rule fig2", ("rule 'fig2'", "fa1-figure-2")),
        ("io --rule fa1-figure-2 --algorithms flash2-forward", ("not for flash2-forward", "use --rule all")),
        ("io --block-mask local:1", ("--block-mask local:1", "is for block-sparse-forward")),
        ("io --algorithms block-sparse-forward", ("block_mask", "butterfly")),
        ("io --csv --json", ("--csv and --json", "give one of them")),
        ("io --csv --plot a.svg", ("--csv and --plot", "give one of them")),
        ("io --theme dark", ("--theme dark", "give --plot FILE")),
        ("io --plot a.svg --theme drak", ("theme 'drak'", "did you mean 'dark'")),
        ("io --plot a.pdf", ("'a.pdf'", "use .svg or .png")),
        ("io --plot nowhere/a.svg", ("nowhere", "make it first")),
        ("io --plot a.svg --n 8", ("n is 8", "begins with 16")),
        ("io --plot a.svg --algorithms flash-forward --rule fig", ("rule 'fig'", "fa1-figure-2")),
        ("io --plott a.svg", ("'--plott'", "--plot")),
        ("io 1K", ("1K", "flashsteps io --help")),
        ("blocks", ("--d N is missing", "flashsteps blocks --help")),
        ("blocks --d 64 --device a100", ("device 'a100'", "'a100-40gb' or 'a100-80gb'")),
        ("blocks --d 64 --algorithm standard-forward", ("standard-forward", "name another algorithm")),
        ("blocks --d 64 --n 1T", ("--n '1T'", "give how many")),
        ("blocks --d 64 --mask no", ("mask 'no'", "causal")),
    ],
)
def test_wrong_input_is_refused_in_one_line_that_helps(command, words):
    line = refused(command.split())
    assert [word for word in words if word not in line] == [], line
