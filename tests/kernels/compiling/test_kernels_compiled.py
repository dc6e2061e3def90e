"""The kernels compiled for GPUs that are not there: they fit, spill no more than is said, move as the trace does."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import triton

import flashsteps as fs
from flashsteps import kernels
from flashsteps.kernels.targets import tuned
from flashsteps.kernels.targets.configs import Config
from flashsteps.machine.devices import DEVICES
from flashsteps.machine.events import Event

HERE = Path(__file__).parent

#: whose shared memory a program has to fit into
GPUS = {"80": "a100-80gb", "90": "h200", "100": "b200", "gfx942": "mi300x"}

#: what is compiled of Hopper's own kernels
HOPPER = ("hopper", "hopper_backward", "hopper_wide")

#: what compile_kernels.py said of the kernels as they are now: to hear it again takes minutes
KEPT = HERE / "kept.json"

#: the Triton that is here, and the one with which the H100 and the H200 were measured (renders/data)
HERE_NOW, MEASURED = triton.__version__, "3.6.0"

#: what is compiled with each of them
VERSIONS = {MEASURED: ("90", *HOPPER)} | {HERE_NOW: (*GPUS, *HOPPER)}

#: bytes a thread that builds for sm_90 spill at most with that one; all others, and all with the pinned one, nothing
SPILLED = {
    "dkdv d=128 bf16": 8,
    "dkdv d=128 bf16 causal": 8,
    "dkdv d=64 bf16 causal mask of scores": 44,
    "dkdv d=128 bf16 causal mask of scores": 8,
    "dq d=128 fp32 causal mask of scores": 16,
}


@functools.cache
def compiled(what: str, version: str = HERE_NOW) -> Any:
    """What compile_kernels.py says: kept, if it was said of these very kernels, or compiled now."""
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    said = kept["said"].get(version, {}) if kept.get("of") == digest() else {}
    if what not in said and version != HERE_NOW:
        pytest.skip("what is kept was not said of these kernels")  # which is another test's failure
    return said[what] if what in said else compile_now(what)


def compile_now(what: str, version: str = HERE_NOW) -> Any:
    """The same, in a process of its own, where Triton is no interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if version != HERE_NOW:
        environment["PYTHONPATH"] = str(other(version))
    command = [sys.executable, str(HERE / "compile_kernels.py"), what]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@functools.cache
def other(version: str) -> Path:
    """Where another Triton is: in the folder that OTHER_TRITON names, or fetched now, beside what is here."""
    folder = Path(os.environ.get("OTHER_TRITON") or tempfile.mkdtemp())
    if not (folder / "triton").exists():
        words = ["install", "--quiet", "--no-deps", "--target", str(folder), f"triton=={version}"]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return folder


def digest() -> str:
    """Of all that decides what the compiler makes: the kernels' code without its comments, tiles, and the compiler."""
    folder = Path(str(kernels.__file__)).parent
    rooms = [folder, folder / "targets", folder / "compiling"]
    files = sorted(path for room in rooms for path in room.glob("*.py")) + [HERE / "compile_kernels.py"]
    found = hashlib.sha256(repr((triton.__version__, platform.machine())).encode())
    for path in files:
        found.update(ast.dump(ast.parse(path.read_text("utf-8"))).encode())
    for path in sorted((folder / "targets").glob("*.json")):
        found.update(path.read_bytes())
    return found.hexdigest()


def test_what_is_kept_was_said_of_these_kernels(request: pytest.FixtureRequest) -> None:
    """Where this fails, `pytest --regenerate tests/kernels/compiling` compiles them all and keeps what is said.

    For the other Triton it is fetched, unless OTHER_TRITON names a folder where it was unpacked.
    """
    if request.config.getoption("--regenerate"):
        said = {of: {what: compile_now(what, of) for what in all_of} for of, all_of in VERSIONS.items()}
        KEPT.write_text(json.dumps({"of": digest(), "said": said}).replace('{"build"', '\n{"build"') + "\n", "utf-8")
    kept = json.loads(KEPT.read_text("utf-8"))
    assert kept["of"] == digest()
    assert {of: tuple(said) for of, said in kept["said"].items()} == VERSIONS
    rows = [(gpu, row) for gpu in GPUS for row in kept["said"][HERE_NOW][gpu]]
    gpu, row = rows[int(digest()[:8], 16) % len(rows)]  # one of them is compiled anew, another with each change
    assert row in compile_now(f"{gpu} {row['build']}")


def runs(kernel: str, mask: bool) -> list[Event]:
    """The reference's events of that program of a kernel which has most of them; with a number for each score."""
    algorithm, first_tile = {
        "forward": ("flash2-forward", "Q"),
        "delta": ("flash2-backward", "O"),
        "dkdv": ("flash2-backward", "K"),
        "dq": ("flash2-backward", "Q"),
        "block_sparse": ("flash2-block-sparse-forward", "Q"),
        "split_kv": ("split-kv-decode", "Q"),
        "merge": ("split-kv-decode", "O_s"),
        "paged": ("paged-decode", "Q"),
    }[kernel]
    q, k, v, do = np.random.default_rng(0).standard_normal((4, 16, 8))
    options: dict[str, Any] = {"do": do} if algorithm == "flash2-backward" else {}
    if kernel == "block_sparse":
        options["block_mask"] = "local:9"
    if mask:
        options["bias"] = np.zeros((16, 16))
    trace = fs.record(algorithm, q, k, v, block_q=4, block_k=4, **options)
    programs: dict[int, list[Event]] = {}
    for event in trace.events:
        programs.setdefault(event.program, []).append(event)
    begun = [events for events in programs.values() if events[0].op == "load" or kernel == "merge"]
    with_tile = [
        events
        for events in begun
        if next(str(event.tile.tensor) for event in events if event.op == "load" and event.tile) == first_tile
    ]
    return max(with_tile, key=len)


def moves(kernel: str, mask: bool) -> tuple[list[Any], int]:
    """Loads and stores of a program, one round of its loop as a list; and how many products that round has."""
    events = runs(kernel, mask)
    depth = max(len(event.loop) for event in events)
    rounds = [event.loop for event in events if len(event.loop) == depth]
    looped = len({len(event.loop) for event in events}) > 1
    found: list[Any] = []
    inner: list[Any] = []
    products = 0
    for event in events:
        inside = looped and len(event.loop) == depth
        if inside and not inner:
            found.append(inner)
        if inside and event.loop != rounds[0]:
            continue
        if event.op in ("load", "store") and event.tile:
            (inner if inside else found).append([event.op, event.tile.tensor])
        products += inside and event.work.matmul > 0
    return found, products


@pytest.mark.parametrize(("version", "gpu"), [(of, what) for of in VERSIONS for what in VERSIONS[of] if what in GPUS])
def test_what_is_shipped_fits_spills_no_more_than_is_said_and_moves_as_the_trace_does(version: str, gpu: str) -> None:
    """With the Triton that is pinned nothing is spilled."""
    room = DEVICES[GPUS[gpu]].shared_per_block * 1024
    rows, spilled = compiled(gpu, version), SPILLED if (version, gpu) == (MEASURED, "90") else {}
    assert {*spilled} <= {row["build"] for row in rows}
    for row in rows:
        assert row["registers"] > 0, row
        assert row["spilled"] <= spilled.get(row["build"], 0), row
        assert 0 < row["shared"] <= room, row
        expected, products = moves(row["kernel"], "mask of" in row["build"])
        body = next((one for one in expected if isinstance(one[0], list)), None)
        found = [_renamed(one) for one in row["moves"]]
        loops = [one for one in found if isinstance(one[0], list) or "dot" in one]
        # up to three loops, one for each way that tiles are cut, stand where the trace has one
        outside = [one for one in found if one not in loops]
        assert outside == [one for one in expected if one is not body], row
        for loop in loops:
            assert [one for one in loop if one != "dot"] == body, row
            assert loop.count("dot") == products, row
        assert [one in loops for one in found].index(True) == expected.index(body) if body else not loops, row


def _renamed(one: Any) -> Any:
    """Tensors by the trace's names."""
    if one == "dot":
        return one
    if one and not isinstance(one[0], str):
        return [_renamed(each) for each in one]
    return (
        [one[0], {"D_": "D"}.get(one[1], one[1])] if len(one) == 2 and one[0] != "dot" else [_renamed(x) for x in one]
    )


def test_without_its_switch_the_code_is_the_same() -> None:
    """The forward kernel with TRACE off is, instruction for instruction, the one whose source has no such switch."""
    code = compiled("untraced")
    assert not any(word in code["source"] for word in ("TRACE", "stamp(", "CLOCK"))
    assert code["off"] == code["without"]
    assert "%globaltimer" in code["on"]
    assert "%smid" in code["on"]
    assert "%globaltimer" not in code["off"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", HOPPER)
def test_hoppers_kernels_fetch_tiles_in_the_traces_order_and_make_all_its_products(what: str, version: str) -> None:
    """One partition fetches; two others multiply, by turns or each a half, and store what comes of it."""
    for row in compiled(what, version):
        expected, products = moves({"backward": "dkdv"}.get(row["kernel"], row["kernel"]), mask=False)
        *makers, fetching = row["moves"]
        (body,), (fetched,) = _loops(expected), _loops(fetching)
        assert _tensors(fetching, "load") == _tensors(expected, "load"), row["build"]
        assert _tensors(fetched, "load") == _tensors(body, "load"), row["build"]
        stored = [tensor for one in makers for tensor in _tensors(one, "store")]
        assert sorted(set(stored)) == sorted(_tensors(expected, "store")), row["build"]
        made = [[loop.count("dot") for loop in _loops(one)] for one in makers]
        match row["kernel"]:
            case "dkdv":  # two of them each
                assert made == [[products // 2]] * 2, row["build"]
            case "backward":  # and dQ, of each half of the keys
                assert made == [[products + 2]] * 2, row["build"]
                assert all(["add", "dQ"] in loop for one in makers for loop in _loops(one)), row["build"]
            case _:
                assert all(set(each) == {products} for each in made), row["build"]


def test_each_of_hoppers_tiles_that_some_gpu_runs_is_compiled() -> None:
    """All that are in tuned.json; of heads of 256 the backward pass is two kernels."""
    rows = [row for what in HOPPER for row in compiled(what)]
    found = {(row["kernel"], row["d"], row["causal"], Config(*row["config"])) for row in rows}
    lines = json.loads(tuned.PATH.read_text("utf-8"))
    hoppers = [line for line in lines if line["hopper"]]
    assert any(line["in_turn"] for line in hoppers)
    for line in hoppers:
        config = Config(**{name: line[name] for name in Config._fields})
        wide = line["kernel"] == "backward" and line["d"] == 256
        for kernel in ("dkdv", "dq") if wide else (line["kernel"],):
            assert (kernel, line["d"], line["causal"], config) in found, line


def _loops(one: list[Any]) -> list[list[Any]]:
    return [each for each in one if isinstance(each, list) and each[0] not in ("load", "store", "add")]


def _tensors(one: list[Any], what: str) -> list[str]:
    """What is moved, but numbers a row, each half for the whole."""
    named = (each[1] for each in one if each[0] == what)
    return list(dict.fromkeys(name for name in named if name not in ("Rows", "LSE", "D")))


@pytest.mark.parametrize("version", VERSIONS)
def test_hoppers_exponentials_are_taken_while_the_last_output_is_still_being_made(version: str) -> None:
    """hopper_forward spills nothing, and ptxas has left the order of each of its loops."""
    for row in compiled("hopper", version):
        assert row["registers"] == 168, row["build"]
        assert row["spilled"] == 0, row["build"]
        assert row["shared"] <= DEVICES["h200"].shared_per_block * 1024, row["build"]
        runs = [(one, len(list(equal))) for one, equal in groupby(row["order"])]
        begun = [at for at, (one, _) in enumerate(runs) if one == "wait 1"]
        assert len(begun) >= 2, row["build"]  # at least one loop, in each of two warpgroups
        for at in begun:
            exponentials = row["keys"] // 2 + 2  # a thread's: 64 rows of 128 threads, and α of its two rows
            assert runs[at - 1][0] == "HGMMA", row["build"]
            assert runs[at + 1] == ("MUFU.EX2", exponentials), row["build"]
            assert runs[at + 2][0] == "wait 0", row["build"]
            assert runs[at + 3][0] == "HGMMA", row["build"]


@pytest.mark.parametrize("version", VERSIONS)
def test_hoppers_backward_pass_keeps_its_tiles_in_registers(version: str) -> None:
    """hopper_backward spills a few addresses at most, beside a window some more, and its order is as it is meant."""
    for row in compiled("hopper_backward", version):
        assert row["registers"] == 168, row["build"]
        assert row["spilled"] <= (160 if "window" in row["build"] else 128), row["build"]
        assert row["shared"] <= DEVICES["h200"].shared_per_block * 1024, row["build"]
        waits = [one for one in row["order"] if one.startswith("wait")]
        # S; then a tile: dP, dV and dK, dQ, S of the next; for each of two warpgroups
        assert waits == ["wait 0", "wait 1", "wait 2", "wait 1", "wait 0"] * 2, row["build"]
        halves = "".join({"HGMMA": "H", "MUFU.EX2": "E"}.get(one, "|") for one in row["order"]).split("|")
        for first in (1, 6):
            assert "H" in halves[first], row["build"]
            assert "E" in halves[first], row["build"]  # exponentials are taken while dP is being made
            assert not any("E" in one for one in halves[first + 1 : first + 5]), row["build"]


@pytest.mark.parametrize("version", VERSIONS)
def test_hoppers_backward_pass_of_wide_heads_spills_nothing(version: str) -> None:
    """hopper_backward_wide and hopper_dq keep all in registers (with an older Triton, beside a window, all but two
    addresses), and their order is as it is meant."""
    rows = compiled("hopper_wide", version)
    assert {row["kernel"] for row in rows} == {"dkdv", "dq"}
    for row in rows:
        assert row["registers"] == 168, row["build"]
        assert row["spilled"] <= (8 if version == MEASURED and "window" in row["build"] else 0), row["build"]
        assert row["shared"] <= DEVICES["h200"].shared_per_block * 1024, row["build"]
        waits = [one for one in row["order"] if one.startswith("wait")]
        parts = "".join({"HGMMA": "H", "MUFU.EX2": "E"}.get(one, "|") for one in row["order"]).split("|")
        if row["kernel"] == "dkdv":  # dP; then a tile: dK and the next dP. S; then a tile: dV and the next S
            assert waits == ["wait 0", "wait 1", "wait 0"] * 2, row["build"]
            assert parts == ["H" * 16, "H" * 20, "", "H" * 16, "E" * 32 + "H" * 20, "", ""], row["build"]
        else:  # S; then a tile: dP, dQ and the next S; for each of two warpgroups
            assert waits == ["wait 0", "wait 0", "wait 1", "wait 0"] * 2, row["build"]
            assert [part.count("H") for part in parts] == [16, 16, 20, 0] * 2 + [0], row["build"]
            for beside, after in (parts[1:3], parts[5:7]):
                assert beside.count("E") >= 24, row["build"]  # most exponentials are taken while dP is being made
                assert after == "E" * (32 - beside.count("E")) + "H" * 20, row["build"]
