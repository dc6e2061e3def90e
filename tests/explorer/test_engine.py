"""The page's engine in Node: Python's events, bytes and FLOPs exactly, its values but for rounding, counts to 2^20."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import algorithms, explorer
from flashsteps.explorer.translate import javascript
from flashsteps.explorer.words import words
from flashsteps.machine import block_masks, masks
from flashsteps.player.pack import pack
from flashsteps.story.captions import captions
from flashsteps.story.labels import opening
from flashsteps.story.rounds import rounds
from flashsteps.trace.trace import Trace
from tests.problems import SPARSE, Problem

RUNS, COUNTS = 300, 300
HERE = Path(__file__).parent


def draw(rng: random.Random) -> tuple[Problem, dict[str, Any]]:
    """A small problem at random, and options that change its scores and weights."""
    name = rng.choice(algorithms.names())
    n, d = rng.randint(1, 20), rng.randint(1, 8)
    n_keys = rng.choice((n, rng.randint(1, 20)))
    blocks = rng.randint(1, 20), rng.randint(1, 20)
    dtype = rng.choice(("float16", "float16", "bfloat16", "float32", "float64"))
    mask = rng.choice((None, "causal", a_mask(rng, n, n_keys)))
    block_mask = rng.choice(("butterfly", "local:1", "strided:2", "random:0.5,3"))
    problem = Problem(name, n, n_keys, d, *blocks, mask, dtype, rng.randint(0, 999), block_mask, rng.randint(1, 6))
    extra: dict[str, Any] = {}
    takes = algorithms.algorithm(name).parameters
    if rng.random() < 0.2 and "softcap" in takes:
        extra["softcap"] = rng.choice((2.0, 5.0))
    if rng.random() < 0.2 and "dropout" in takes:
        extra |= {"dropout": 0.25, "seed": rng.randint(0, 2**40)}
    if rng.random() < 0.2:
        extra["scale"] = 0.5
    if rng.random() < 0.1:
        extra["sram"] = rng.choice((200, 600, 2000))
    return problem, extra


def a_mask(rng: random.Random, n: int, n_keys: int) -> str:
    parts = [
        "causal",
        f"window:{rng.randint(-1, 9)},{rng.randint(-1, 9)}",
        f"prefix:{rng.randint(1, n_keys)}",
    ]
    if n == n_keys and n > 1:
        cut = rng.randint(0, n - 1)
        parts.append(f"document:{cut},{n - cut}")
    return "+".join(rng.sample(parts, rng.choice((1, 1, 2))))


def numbers(array: np.ndarray) -> list[float]:
    return [float(x) for x in np.asarray(array, np.float64).ravel()]


def given(problem: Problem, extra: dict[str, Any], trace: Trace | None) -> dict[str, Any]:
    """A problem as the engine takes it."""
    found = {"n": problem.n, "n_keys": problem.n_keys, "d": problem.d, "block_q": problem.block_q,
             "block_k": problem.block_k, "mask": problem.mask, "dtype": problem.dtype} | extra  # fmt: skip
    if problem.algorithm == "split-kv-decode":
        found["splits"] = problem.splits
    if problem.algorithm in SPARSE:
        q, k = min(problem.block_q, problem.n), min(problem.block_k, problem.n_keys)
        mask = masks.parse(problem.mask, problem.n, problem.n_keys)
        found["block_mask"] = block_masks.parse(problem.block_mask, mask, q, k).visited.tolist()
    if trace is not None:
        for name in ("Q", "K", "V", "dO", "table"):
            if name in trace.initial:
                found[name] = numbers(trace.initial[name])
    return found


def recorded(problem: Problem, extra: dict[str, Any]) -> Trace | str:
    try:
        return problem.record(**extra)
    except ValueError as error:
        return str(error)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, Any]:
    """All settings, what Python made of them, and what the engine made of them in one go."""
    rng, folder = random.Random(13), tmp_path_factory.mktemp("engine")
    problems = [draw(rng) for _ in range(RUNS)]
    traces = [recorded(problem, extra) for problem, extra in problems]
    without = {"sram": None}
    starts = [
        t if isinstance(t, Trace) else recorded(p, x | without) for (p, x), t in zip(problems, traces, strict=True)
    ]
    runs = [
        {
            "algorithm": p.algorithm,
            "given": given(p, x, start if isinstance(start, Trace) else None),
            "opening": opening(start) if isinstance(start, Trace) else "",
        }
        for (p, x), start in zip(problems, starts, strict=True)
    ]
    counted = [draw_count(rng) for _ in range(COUNTS)]
    (folder / "engine.js").write_text(explorer.engine(), encoding="utf-8")
    said = {name: words(name) for name in algorithms.names()}
    asked = {"words": said, "runs": runs, "counts": [{"algorithm": name, "given": sizes} for name, sizes in counted]}
    (folder / "settings.json").write_text(json.dumps(asked), encoding="utf-8")
    node = shutil.which("node")
    assert node, "no Node: install nodejs (`make test` does)"
    command = [node, str(HERE / "run_engine.mjs"), "engine.js", "settings.json", "out.json"]
    subprocess.run(command, cwd=folder, check=True)
    made = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {"problems": problems, "traces": traces, "counted": counted, **made}


def draw_count(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Sizes up to 2^20, with masks that are rules."""
    name = rng.choice([name for name in algorithms.names() if name not in (*SPARSE, "paged-decode")])
    n = rng.choice((rng.randint(1, 300), 2 ** rng.randint(4, 20), rng.randint(1, 2**20)))
    n_keys = rng.choice((n, n, rng.randint(1, 2**20)))
    sizes: dict[str, Any] = {"n": n, "n_keys": n_keys, "d": rng.choice((1, 32, 64, 128))}
    sizes |= {side: rng.choice((1, 7, 32, 64, 100, 128, 256)) for side in ("block_q", "block_k")}
    sizes |= {"mask": rng.choice((None, "causal", a_mask(rng, n, n_keys))), "dtype": rng.choice(("float16", "float32"))}
    if name == "split-kv-decode":
        sizes["splits"] = rng.randint(1, 9)
    return name, sizes


def test_it_makes_the_same_events(both):
    """Operation, program, loops, slot, tile, shape, bytes, FLOPs of each kind, source line, row: each exactly."""
    told = 0
    for (problem, extra), trace, mine in zip(both["problems"], both["traces"], both["runs"], strict=True):
        if isinstance(trace, str):
            continue
        assert "error" not in mine, (problem, extra, mine)
        events = [
            [e.op, e.program, [[name, at] for name, at in e.loop.items()], e.slot, list(e.tile[:3]) if e.tile else None,
             list(e.shape), e.nbytes, list(e.work), e.line, e.row] for e in trace
        ]  # fmt: skip
        assert mine["events"] == events, (problem, extra)
        assert mine["peak"] == list(trace.peak), (problem, extra)
        told += len(events)
    assert told > 12_000


def test_it_says_and_names_the_same(both):
    """What the player is given is what pack.py gives it: names, hues, captions, ranges, rounds, code."""
    keys = ("title", "queries", "keys", "d", "blockQ", "blockK", "computing", "slots", "tensors", "loops", "code",
            "room", "direction", "dtype", "subtitle")  # fmt: skip
    for (problem, extra), trace, mine in list(zip(both["problems"], both["traces"], both["runs"], strict=True))[::5]:
        if isinstance(trace, str):
            continue
        header, wanted = mine["header"], json.loads(json.dumps(pack(trace).header))
        for one in (*header["slots"], *header["tensors"]):
            assert one.pop("range") is not None
        for one in (*wanted["slots"], *wanted["tensors"]):
            one.pop("range")
        for key in keys:
            if key == "subtitle" and problem.algorithm in (*SPARSE, "split-kv-decode"):
                continue  # what they are given besides has no words there
            assert header[key] == wanted[key], (key, problem, extra)
        assert [header["captions"][n] for n in header["caption"]] == captions(trace)
        assert header["round"] == rounds(trace)


def test_what_does_not_fit_is_refused_in_the_same_words(both):
    refused = [
        (trace, mine) for trace, mine in zip(both["traces"], both["runs"], strict=True) if isinstance(trace, str)
    ]
    assert len(refused) > 10
    for said, mine in refused:
        assert mine.get("error") == said


#: how far apart neighbours of 1 are in a type, or, in those that are computed in, some sums' worth of it
STEP = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-20, "float64": 2**-45}


def test_its_values_are_as_close_as_rounding_lets_them_be(both):
    """What each step made or stored is Python's, but for a rounding or two of the type that it went through HBM in."""
    same, told = 0, 0
    for (problem, extra), trace, mine in zip(both["problems"], both["traces"], both["runs"], strict=True):
        if isinstance(trace, str):
            continue
        step = 4 * STEP[problem.dtype]
        for event, wanted, made in zip(trace, trace.values, mine["values"], strict=True):
            if wanted is None:
                assert made is None
                continue
            a, b = np.array(made, object).astype(float), np.asarray(wanted, float).ravel()
            finite = np.isfinite(b)
            np.testing.assert_array_equal(a[~finite], b[~finite])
            far = np.abs(a[finite] - b[finite]) / np.maximum(1, np.abs(b[finite]))
            assert (far <= step).all(), (problem, extra, event, float(far.max()))
            same, told = same + int((a == b).sum()), told + len(a)
    assert same > 0.6 * told


def test_it_counts_the_same(both):
    for (name, sizes), mine in zip(both["counted"], both["counts"], strict=True):
        io = fs.count(name, **sizes)
        assert {one: tuple(moved) for one, moved in mine["by_tensor"].items()} == {
            one: tuple(moved) for one, moved in io.by_tensor.items()
        }, (name, sizes)
        assert mine["total"] == io.total
        assert [mine["work"][kind] for kind in ("matmul", "exp", "other")] == list(io.work), (name, sizes)
        assert mine["peak"] == list(io.peak), (name, sizes)
        assert [sum(nbytes for _, nbytes, _ in held) for held in mine["fullest"]] == list(io.peak), (name, sizes)


@pytest.mark.parametrize(
    "line",
    ["x = [a for a in b]", "x = open('a')", "x = __import__('os')", "while True: pass", "x = a if b else c", "x += 1",
     "x = np.random.rand(3)", "x = lambda: 0", "x = sram.secret(1)", "del x"],
)  # fmt: skip
def test_what_it_cannot_translate_is_refused(line):
    with pytest.raises(ValueError, match="has no JavaScript here"):
        javascript(f"def attend(hbm, sram, Q, *, block_q):\n    '''Nothing.'''\n    {line}\n")


def test_all_algorithms_are_performed():
    assert explorer.performed() == algorithms.names()


def test_several_results_are_named_in_one_line():
    """As in CONTRIBUTING.md: all are made, then each is named, in Python's order."""
    source = (
        'def attend(hbm, sram, Q, *, block_q):\n    """Two at once."""\n'
        '    o, lse = sram["O"], sram["LSE"] = p @ v, m\n    return {"O": o}\n'
    )
    assert javascript(source).splitlines()[2:7] == [
        "  held_ = [matmul(p, v), m];",
        "  o = held_[0];",
        "  lse = held_[1];",
        '  sram.set(3, "O", held_[0]);',
        '  sram.set(3, "LSE", held_[1]);',
    ]


def test_an_algorithm_that_is_added_is_performed_too(tmp_path):
    """Whatever a file of ten lines does, it is translated from there: no list names the algorithms."""
    source = (
        'def attend(hbm, sram, Q, *, block_q):\n    """Doubles Q."""\n    N, d = Q.shape\n'
        '    O = hbm.empty("O", (N, d))\n'
        '    for i in sram.programs("i", Q.blocks(block_q)):\n        q = sram.load(Q[i])\n'
        '        o = sram["O"] = q * 2\n        sram.store(O[i], o)\n    return {"O": O.data}\n'
    )
    assert javascript(source).splitlines()[4:8] == [
        '  for (i of sram.programs(5, "i", Q.blocks(block_q))) {',
        "    q = sram.load(6, Q.at(i));",
        '    o = sram.set(7, "O", mul(q, 2));',
        "    sram.store(8, O.at(i), o);",
    ]
