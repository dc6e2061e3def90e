"""Results of `bench` as files: they come back as they were, and what is no results is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flashsteps import results, theme
from flashsteps.plots import axes, chart, speed_plot, train_plot

TIME = {"median": 0.002, "min": 0.001, "max": 0.004}


def speed_row(**changes: Any) -> dict[str, Any]:
    row = {"pass": "forward", "n": 512, "d": 64, "causal": False, "batch": 2, "heads": 4, "backend": "flash",
           "status": "ok", "why": None, "seconds": TIME, "runs": 9, "tflops": 1.5, "peak_bytes": 4096}  # fmt: skip
    return row | changes


def train_row(**changes: Any) -> dict[str, Any]:
    row = {"attention": "standard", "n": 512, "batch": 2, "status": "ok", "why": None, "losses": [4.5, 3.25, 3.0],
           "seconds": TIME, "runs": 9, "peak_bytes": 4096}  # fmt: skip
    return row | changes


def some(kind: str, rows: list[dict[str, Any]], **changes: Any) -> results.Results:
    machine = {"kind": "cuda", "name": "A GPU", "driver": "1.2"}
    settings = {
        "speed": {"hidden": 2048, "tokens": 16384, "dtype": "bfloat16", "flops": "4·N²·d"},
        "tune": {"dtype": "bfloat16", "n": 16384},
        "train": {"corpus": "a text", "layers": 2, "heads": 4, "head": 64, "parameters": 1000, "steps": 3,
                  "arithmetic": "float32", "time": "a median"},
    }[kind]  # fmt: skip
    made = results.begin(kind, machine, {"torch": "2.13.0", "cuda": None}, settings)
    return made._replace(rows=rows, finished=True)._replace(**changes)


SPEED = some("speed", [
    speed_row(),
    speed_row(n=1024, tflops=2.5),
    speed_row(backend="standard", n=1024, status="out of memory", why="of it", seconds=None, runs=None, tflops=None,
              peak_bytes=None),
    speed_row(backend="standard", peak_bytes=1 << 30),
    speed_row(**{"pass": "backward"}),
])  # fmt: skip
TRAIN = some(
    "train", [train_row(), train_row(attention="sdpa"), train_row(n=1024), train_row(attention="sdpa", n=1024)]
)


@pytest.mark.parametrize("made", [SPEED, TRAIN, some("speed", [], finished=False)], ids=["speed", "train", "none"])
def test_what_is_written_is_what_is_read(made, tmp_path):
    results.write(tmp_path / "a.json", made)
    assert results.read(tmp_path / "a.json") == made
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text)["rows"] == made.rows
    assert sum(line.startswith("    {") for line in text.splitlines()) == len(made.rows)  # a row a line


def test_a_result_that_is_no_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write(tmp_path / "a.json", some("speed", [speed_row(tflops=float("nan"))]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: "[]", "not results"),
        (lambda data: "no json", "not results"),
        (lambda data: "[" * 100_000, "not results"),
        (lambda data: data | {"format": "x"}, "not results"),
        (lambda data: data | {"version": 2}, "format 2, and this program reads 1"),
        (lambda data: data | {"kind": "speeed"}, "unknown kind"),
        (lambda data: data | {"rows": {}}, "no rows"),
        (lambda data: data | {"machine": {}}, "no machine's name"),
        (lambda data: data | {"finished": 1}, "no finished"),
        (lambda data: data | {"settings": {}}, "no setting dtype"),
        (lambda data: data | {"rows": [speed_row(), {}]}, "row 1: other columns"),
        (lambda data: data | {"rows": [speed_row(n="512")]}, "row 0: n is '512'"),
        (lambda data: data | {"rows": [speed_row(n=True)]}, "row 0: n is 'True'"),
        (lambda data: data | {"rows": [speed_row(tflops=float("inf"))]}, "row 0: tflops is 'inf'"),
        (lambda data: data | {"rows": [speed_row(status="fine")]}, "row 0: status is 'fine'"),
        (lambda data: data | {"rows": [speed_row(seconds={"median": 1})]}, "row 0: seconds are not"),
        (lambda data: data | {"rows": [speed_row(seconds=TIME | {"min": 0})]}, "row 0: seconds are not"),
        (lambda data: data | {"rows": [speed_row(seconds=None)]}, "row 0: no seconds"),
        (lambda data: data | TRAIN._asdict() | {"rows": [train_row(losses=["x"])]}, "row 0: losses are not numbers"),
    ],
)
def test_what_is_no_results_is_refused_in_one_line(change, words, tmp_path):
    changed = change(json.loads(results.text(SPEED)))
    path = tmp_path / "a.json"
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(ValueError, match=r"^'.*a\.json': .*: give a file that `flashsteps bench` has made$") as refused:
        results.read(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.json': no such file"):
        results.read(tmp_path / "a.json")
    with pytest.raises(ValueError, match="this is a folder: give a file in it"):
        results.read(tmp_path)


def test_files_are_named_by_the_machine():
    assert results.default_path("speed", "NVIDIA H200") == Path("renders/data/nvidia-h200-speed.json")
    assert results.default_path("train", "¿?") == Path("renders/data/machine-train.json")


# ---- plots


@pytest.mark.parametrize(
    ("draw", "made", "name"),
    [
        (speed_plot.speed, SPEED, "dark"),
        (speed_plot.memory, SPEED, "light"),
        (train_plot.training, TRAIN, "dark"),
        (train_plot.training, TRAIN, "light"),
    ],
)
def test_a_plot_has_the_colours_of_its_theme(draw, made, name, tmp_path):
    draw(tmp_path / "a.png", made, name)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (chart.WIDTH, chart.HEIGHT)
        found = image.convert("RGB").getcolors(1 << 24)
    colours = theme.THEMES[name]
    seen = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in found or ()}  # type: ignore[misc]
    assert {colours.bg, colours.Q, colours.dim, colours.ink, colours.line} <= seen


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("a.svg", "b.svg"):
        speed_plot.speed(tmp_path / name, SPEED)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_lines_are_what_was_measured(tmp_path, monkeypatch):
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(speed_plot, "panel", lambda f, c, b, told, lines, *a, **o: drawn.update({told: lines}))
    told: dict[str, str] = {}
    monkeypatch.setattr(speed_plot, "legend", lambda f, c, y, labels, inks: told.update(labels))
    speed_plot.speed(tmp_path / "a.svg", SPEED)
    assert drawn["forward, d = 64, full"] == {"flash": [(512, 1.5), (1024, 2.5)], "standard": [(512, 1.5)]}
    assert drawn["backward, d = 64, full"] == {"flash": [(512, 1.5)], "standard": []}
    assert told["standard"].endswith("out of memory from 1K")
    assert told["flash"] == "SDPA flash"
    on_a_cpu = SPEED._replace(machine={"kind": "cpu", "name": "A CPU"})
    speed_plot.speed(tmp_path / "a.svg", on_a_cpu)
    assert drawn["forward, d = 64, full"]["flash"] == [(512, 1500), (1024, 2500)]  # GFLOP/s


def test_every_backend_has_a_name_and_a_line_of_its_own():
    from flashsteps.kernels.bench import backends, train

    assert list(speed_plot.TITLES) == list(backends.BACKENDS)
    assert set(train_plot.TITLES) == set(train.ATTENTIONS)
    for name in theme.THEMES:
        inks = speed_plot._inks(theme.THEMES[name])
        assert len({(ink.colour, ink.dashes) for ink in inks.values()}) == len(speed_plot.TITLES)


@pytest.mark.parametrize("draw", [speed_plot.speed, speed_plot.memory, train_plot.training])
def test_where_nothing_was_measured_nothing_is_drawn(draw, tmp_path):
    kind = "train" if draw is train_plot.training else "speed"
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path / "a.svg", some(kind, []))
    assert list(tmp_path.iterdir()) == []


@given(st.floats(1e-3, 1e15))
def test_numbers_up_an_axis_are_few_round_and_from_nothing_to_nearly_all(high):
    found = axes.steps(high)
    assert found[0] == 0
    assert 2 <= len(found) <= 7
    assert found[-1] <= high * (1 + 1e-6) < found[-1] + 1.001 * found[1]


@given(st.lists(st.floats(1e-9, 1e15), min_size=1))
def test_an_axis_in_powers_of_ten_holds_all_there_is(values):
    low, high = axes.span(values, log=True)
    assert low <= min(values) * (1 + 1e-9)
    assert high >= max(values) * (1 - 1e-9)
    assert high > low
