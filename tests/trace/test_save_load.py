"""A trace in a file: what was saved comes back, and a stranger's file is only ever a trace or one line of error."""

import io
import json
import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.files import whole
from flashsteps.machine.arrays import Work
from flashsteps.machine.events import Tile
from flashsteps.runs import record as run
from tests.problems import ALL, Problem, problems

SMALL = Problem("flash2-forward", 5, 4, 3, 2, 2, mask="causal").record()
same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(path: Path) -> str:
    """What `load` says of a file that it refuses, after its name; one line."""
    with pytest.raises(ValueError, match="run.npz") as error:
        fs.load(path)
    start = f"{str(path)!r} is not a flashsteps trace: "
    assert str(error.value).startswith(start)
    assert str(error.value).isprintable()
    return str(error.value).removeprefix(start)


@pytest.fixture
def arrays(tmp_path) -> dict[str, Any]:
    """What is in SMALL's file, by name."""
    SMALL.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        return dict(file)


@given(problems(more=True))
@same_folder
def test_what_was_saved_comes_back(tmp_path, problem):
    trace = problem.record(tokens=[f"«{i}\u00ad😀" for i in range(max(problem.n, problem.n_keys))])
    trace.save(tmp_path / "run.npz")
    assert fs.load(tmp_path / "run.npz") == trace


@pytest.mark.parametrize("algorithm", ALL)
def test_values_may_not_have_been_kept(algorithm, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "VALUES_LIMIT", 10)
    trace = Problem(algorithm, 5, 4, 3, 2, 2).record()
    trace.save(tmp_path / "run.npz")
    assert not any("values" in name for name in np.load(tmp_path / "run.npz"))
    assert fs.load(tmp_path / "run.npz") == trace


@pytest.mark.parametrize("events", [0, 1, 5])
def test_the_start_of_a_run_is_a_trace_too(events, tmp_path):
    part = replace(SMALL, events=SMALL.events[:events], values=SMALL.values[:events])
    part.save(tmp_path / "run.npz")
    assert fs.load(tmp_path / "run.npz") == part


def test_loaded_values_are_read_only_and_numbers_are_pythons_own(tmp_path):
    SMALL.save(tmp_path / "run.npz")
    loaded = fs.load(str(tmp_path / "run.npz"))
    assert not any(value.flags.writeable for value in loaded.values if value is not None)
    event = loaded[0]
    assert {
        type(n) for n in (event.step, event.nbytes, event.line, *event.shape, *event.work, *event.loop.values())
    } == {int}
    assert loaded.at(len(loaded) - 1).hbm["O"].tolist() == SMALL.outputs["O"].tolist()


@pytest.mark.parametrize("algorithm", ALL)
def test_the_same_trace_gives_the_same_bytes(algorithm, tmp_path):
    for name in ("run.npz", "again.npz"):
        Problem(algorithm, 5, 4, 3, 2, 2).record().save(tmp_path / name)
    fs.load(tmp_path / "run.npz").save(tmp_path / "resaved.npz")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert os.stat(tmp_path / "run.npz").st_mode & 0o444 == 0o444
    with zipfile.ZipFile(tmp_path / "run.npz") as file:
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_file_is_plain_columns(arrays):
    assert {array.dtype.kind for array in arrays.values()} <= set("iUf")
    assert json.loads(str(arrays["meta"])) == SMALL.meta
    assert arrays["op"].tolist() == [event.op for event in SMALL]
    assert arrays["nbytes"].tolist() == [event.nbytes for event in SMALL]
    assert len(arrays) < 30  # not a member for each event


# ---- where it is written


@pytest.mark.parametrize("name", ["run.npy", "run", "run.npz.gz"])
def test_the_path_ends_in_npz(name, tmp_path):
    with pytest.raises(ValueError, match=r"its ending is to say what to make: use \.npz$"):
        SMALL.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_and_one_in_the_way(tmp_path):
    with pytest.raises(ValueError, match=r"run.npz': there is no folder '.*/none': make it with: mkdir -p "):
        SMALL.save(tmp_path / "none" / "run.npz")
    (tmp_path / "run.npz").mkdir()
    with pytest.raises(ValueError, match=r"run.npz' is a folder: name a file in it"):
        SMALL.save(tmp_path / "run.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError("full"), OSError(28, "No space left on device")])
def test_a_file_appears_whole_or_not_at_all(failure, tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"what was there before")

    def write() -> None:
        with whole(path) as aside:
            aside.write_bytes(b"half of it")
            raise failure

    with pytest.raises((KeyboardInterrupt, ValueError)):
        write()
    assert path.read_bytes() == b"what was there before"
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "run.npz").symlink_to(tmp_path / "there.npz")
    SMALL.save(tmp_path / "run.npz")
    assert (tmp_path / "run.npz").is_symlink()
    assert fs.load(tmp_path / "there.npz") == SMALL


@pytest.mark.parametrize(
    "change",
    [
        {"meta": SMALL.meta | {"input": {"a": (1, 2)}}},
        {"meta": SMALL.meta | {"scale": float("nan")}},
        {"meta": {}},
        {"events": SMALL.events[1:]},
        {"values": SMALL.values[1:]},
        {"outputs": {}},
        {"initial": {}},
    ],
    ids=str,
)
def test_a_trace_that_could_not_come_back_is_not_saved(change, tmp_path):
    with pytest.raises(ValueError, match=r"^this trace cannot be saved \("):
        replace(SMALL, **change).save(tmp_path / "run.npz")
    assert not list(tmp_path.iterdir())


# ---- a stranger's file


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "is no such file: give a trace's .npz"),
        (Path.mkdir, "is no plain file: give a trace's .npz"),
        (lambda path: os.mkfifo(path), "is no plain file: give a trace's .npz"),
        (lambda path: path.write_text("not a zip"), "is not a flashsteps trace: it is no .npz file, or a damaged one"),
        (lambda path: np.savez(path, q=np.ones(3)), "is not a flashsteps trace: it has no 'format'"),
    ],
    ids=["nothing", "folder", "pipe", "text", "another npz"],
)
def test_what_is_no_trace_is_told_in_one_line(make, said, tmp_path):
    make(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="run.npz") as error:
        fs.load(tmp_path / "run.npz")
    assert said in str(error.value)
    assert str(error.value).isprintable()


@given(st.data())
@same_folder
def test_damaged_bytes_give_a_trace_or_one_line(tmp_path, data):
    SMALL.save(tmp_path / "run.npz")
    damaged = bytearray((tmp_path / "run.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged)) | st.just(len(damaged))) :]
    (tmp_path / "run.npz").write_bytes(damaged)
    load_or_one_line(tmp_path / "run.npz")


def load_or_one_line(path: Path) -> None:
    """A file is refused, or what it gives can be read, replayed and totalled."""
    trace, said = None, ""
    try:
        trace = fs.load(path)
    except ValueError as error:
        said = str(error)
    assert said.isprintable()
    if trace is None:
        return
    assert [str(event) for event in trace]
    assert trace.io().total >= 0
    if trace.values:
        for _ in trace.states():
            pass


NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 5, 1 << 40, -(1 << 63), (1 << 63) - 1])
TEXTS = st.sampled_from(
    ["", "K", "O", "LSE", "q", "S", "load", "store", "compute", "skip", "i", "i j", "\x1b[2J\n", "\u202e"]
)


@given(st.data())
@settings(parent=same_folder, max_examples=80)
def test_changed_columns_give_a_trace_or_one_line(tmp_path, arrays, data):
    """Past the zip's checksums: any entry may be anything, any column of another type, or gone."""
    arrays = {name: array.copy() for name, array in arrays.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        how = data.draw(st.sampled_from(["entry", "entry", "entry", "gone", "shorter", "axis", "type", "renamed"]))
        if how == "entry" and array.size and array.dtype.kind in "iUf" and name != "meta":
            entry = data.draw(
                TEXTS if array.dtype.kind == "U" else NUMBERS if array.dtype.kind == "i" else st.floats(width=16)
            )
            arrays[name] = array = array.astype("U20") if array.dtype.kind == "U" else array
            array.flat[data.draw(st.integers(0, array.size - 1))] = entry
        elif how == "gone":
            del arrays[name]
        elif how == "shorter" and array.ndim:
            arrays[name] = array[data.draw(st.integers(0, len(array))) :]
        elif how == "axis":
            arrays[name] = array[None]
        elif how == "type":
            arrays[name] = np.zeros(array.shape, data.draw(st.sampled_from(["U9", "S9", "V9", "c16", "f4"])))
        elif how == "renamed":
            arrays[data.draw(st.sampled_from(["initial.X", "values.float64", "outputs.m", "initial.\n"]))] = array
    np.savez(tmp_path / "run.npz", **arrays)
    load_or_one_line(tmp_path / "run.npz")


@given(st.sampled_from(sorted(SMALL.meta)), st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
@settings(parent=same_folder, max_examples=100)
def test_a_changed_meta_gives_a_trace_or_one_line(tmp_path, arrays, name, changed):
    meta = np.array(json.dumps(SMALL.meta | {name: changed}))
    np.savez(tmp_path / "run.npz", **arrays | {"meta": meta})
    load_or_one_line(tmp_path / "run.npz")


def first(op: str, tensor: str = "") -> int:
    """The step of the first event of that kind (and tensor)."""
    return next(e.step for e in SMALL if e.op == op and (not tensor or (e.tile and e.tile.tensor == tensor)))


#: the second program's first step, which loads q
second = next(event.step for event in SMALL if event.program == 1)


@pytest.mark.parametrize(
    ("column", "step", "entry", "said"),
    [
        ("stop", first("load"), 9, "step 0, a load, is about Q[0:9], but Q has 5 rows"),
        ("start", first("load"), -1, "step 0, a load, is about Q[-1:2], but Q has 5 rows"),
        ("tensor", first("load"), "X", "step 0, a load, is about no tensor of this run"),
        ("stop", first("load"), 1, "step 0, a load, has shape (2, 3) for Q[0:1]"),
        ("nbytes", first("load"), 13, "step 0, a load, moves 13 bytes, not 12"),
        ("row", first("load"), 2, "step 0, a load, lands at row 2 of 'q', which does not hold as much"),
        (
            "slot",
            first("store"),
            "x",
            f"step {first('store')}, a store, stores 'x', which is not on chip, or not of that",
        ),
        (
            "slot",
            first("compute"),
            "",
            f"step {first('compute')}, a compute, makes nothing that has a slot and a shape",
        ),
        ("line", 3, 10_000, "step 3 is out of order, or of a line that the code does not have"),
        ("program", 3, 1, "step 4 is out of order, or of a line that the code does not have"),
        ("op", 0, "move", "step 0, a move, is no load, store, compute or skip"),
        ("peak", 0, -1, "its peak is no number of bytes"),
    ],
)
def test_steps_that_cannot_be_replayed_are_refused(column, step, entry, said, arrays, tmp_path):
    arrays[column][step] = entry
    np.savez(tmp_path / "run.npz", **arrays)
    assert refusal(tmp_path / "run.npz").startswith(said)


@pytest.mark.parametrize(
    ("step", "change", "said"),
    [
        (second, {"row": 1}, "lands at row 1 of 'q', which does not hold as much"),  # it holds the last program's
        (first("load", "K"), {"slot": "m_i", "row": 1}, "lands at row 1 of 'm_i', which does not hold as much"),
        (first("store", "O"), {"slot": "m_i"}, "stores 'm_i', which is not on chip, or not of that shape"),
        (first("skip"), {"row": 1}, "lands in a slot, as only loads do"),
        (first("skip"), {"slot": "k"}, "has a slot, but moves nothing"),
        (first("compute"), {"work": Work(-1)}, "has impossible work"),
        (first("compute"), {"loop": {"i": -1}}, "has an impossible loop"),
        (first("compute"), {"shape": (3,)}, "has a value of float32 (2,), not float32 (3,)"),
    ],
)
def test_slots_hold_what_the_program_put_there(step, change, said, tmp_path):
    events = [event._replace(**change) if event.step == step else event for event in SMALL]
    with pytest.raises(ValueError, match=r"^this trace cannot be saved") as error:
        replace(SMALL, events=tuple(events)).save(tmp_path / "run.npz")
    assert str(error.value) == f"this trace cannot be saved (step {step}, a {SMALL[step].op}, {said})"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": np.array(2)}, "its format is 2, and this flashsteps reads 1"),
        ({"format": np.array("1")}, "its 'format' is of the wrong type"),
        ({"values.float16": np.ones(99, np.float16)}, "it has values that belong to no step"),
        ({"values.float16": np.ones(1, np.float16)}, "cannot reshape array"),
        ({"initial.Q": np.ones((5, 3), np.float32)}, "its Q, K and V are not what its meta says"),
        ({"outputs.LSE": np.ones(4, np.float32)}, "its outputs are not what its meta says"),
        ({"meta": np.array("[1]")}, "its meta is not plain JSON data"),
        ({"meta": np.array("{" * 100_000)}, ""),
        ({"meta": np.array(json.dumps(SMALL.meta | {"tokens": ["\x1b[2J"] * 5}))}, "its meta holds control characters"),
        ({"meta": np.array(json.dumps(SMALL.meta | {"tokens": ["a"]}))}, "it has 1 tokens"),
        ({"meta": np.array(json.dumps(SMALL.meta | {"block_q": 6}))}, "its blocks are larger than its matrices"),
        ({"meta": np.array(json.dumps(SMALL.meta | {"dtype": "float64"}))}, "it computes float64 in float32"),
    ],
    ids=range(12),
)
def test_parts_that_do_not_fit_are_refused(change, said, arrays, tmp_path):
    np.savez(tmp_path / "run.npz", **arrays | change)
    assert refusal(tmp_path / "run.npz").startswith(said)


def test_nothing_in_a_file_is_run(arrays, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(tmp_path / "run.npz", **arrays | {"slot": np.array([Bomb()], object)})
    assert refusal(tmp_path / "run.npz").startswith("slot: it holds Python objects, which are never loaded")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["op", "initial.Q", "values.float32"])
def test_a_huge_header_does_not_take_the_memory(name, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    SMALL.save(tmp_path / "small.npz")
    with zipfile.ZipFile(tmp_path / "small.npz") as old, zipfile.ZipFile(tmp_path / "run.npz", "w") as new:
        for member in old.namelist():
            new.writestr(member, header.getvalue() if member == f"{name}.npy" else old.read(member))
    assert peak_of(lambda: refusal(tmp_path / "run.npz")) < 1_000_000


def test_a_file_that_unpacks_to_more_than_it_is_does_not_take_the_memory(arrays, tmp_path):
    np.savez_compressed(tmp_path / "run.npz", **arrays | {"initial.Z": np.zeros((10_000, 1_000))})
    assert peak_of(lambda: refusal(tmp_path / "run.npz")) < 1_000_000
    assert refusal(tmp_path / "run.npz") == "its arrays are larger than the file: save it uncompressed, as it was"


def peak_of(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_tile_prints_as_in_the_papers():
    assert str(Tile("K", 4, 8)) == "K[4:8]"
