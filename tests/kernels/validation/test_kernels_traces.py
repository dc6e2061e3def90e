"""A trace recorded from a kernel is a trace: it saves, replays, shows and films, and its values are the reference's."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.filmkit.actors.code import Code
from flashsteps.filmkit.actors.scores import remark
from flashsteps.kernels import twin
from flashsteps.kernels.validation import compare, subjects
from flashsteps.kernels.validation.cases import TWINS, Case, Shape, cases
from flashsteps.trace import narration
from flashsteps.trace import strangers as trace_check
from flashsteps.trace.trace import Trace
from tests.scenes.seen import actor

ROOT = Path(__file__).parents[3]

#: what the kernel's own value is, in units of the reference's: scores are scaled later, and exponents are of 2
UNITS = {"S": lambda meta: meta["scale"], "m_i": lambda meta: np.log(2)}


def both(case: Case) -> tuple[Trace, Trace]:
    """A kernel's trace and the reference's, of the same inputs."""
    given = subjects.tensors(case)
    reference = subjects.reference(case, given, case.block_q, case.block_k)
    return subjects.recorded(case, given, reference), reference


@pytest.mark.parametrize("case", {case.kernel: case for case in cases()}.values(), ids=str)
def test_it_saves_and_replays(case, tmp_path):
    kernel, _ = both(case)
    kernel.save(tmp_path / "kernel.npz")
    assert fs.load(tmp_path / "kernel.npz") == kernel
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "kernel.npz")]).output
    assert re.search(rf"^recorded from  +the Triton kernel {case.kernel}, in the interpreter$", shown, re.MULTILINE)
    told = CliRunner().invoke(main, ["show", str(tmp_path / "kernel.npz"), "--step", "6"])
    assert told.exit_code == 0
    code = kernel.meta["code"].splitlines()[kernel[6].line - 1].partition("#")[0].strip()
    assert f"line {kernel[6].line}: {code}" in told.output
    *_, last = kernel.states()
    written = {event.tile.tensor for event in kernel if event.op == "store" and event.tile}
    assert written >= set(kernel.outputs)
    assert not any(np.isnan(last.hbm[name]).any() for name in written)
    lines = narration.of(kernel.meta)
    assert all(lines[event.line].code for event in kernel)


@pytest.mark.parametrize(
    "case",
    [
        Case("forward", Shape(1, 4, 2, 21, 37, 24), "float32", causal=True, block_q=5, block_k=8),
        Case("forward", Shape(1, 1, 1, 19, 11, 8), "float32", causal=True, block_q=4, block_k=4),  # rows without a key
        Case("block-sparse", Shape(1, 2, 1, 33, 40, 16), "float32", window=(9, 3), block_k=8),
        Case("paged-decode", Shape(1, 4, 2, 2, 27, 16), "float32", causal=True, block_k=8),
        Case("split-kv-decode", Shape(1, 2, 1, 3, 40, 16), "float32", block_k=8),
    ],
    ids=str,
)
def test_its_values_are_the_references_own(case):
    kernel, reference = both(case)
    ours, theirs = (
        {(event.program, tuple(event.loop.items()), event.slot): value
         for event, value in zip(trace, trace.values, strict=True) if event.op == "compute"}
        for trace in (kernel, reference)
    )  # fmt: skip
    shared = set(ours) & set(theirs)
    assert {slot for *_, slot in shared} >= {"S", "P", "m_i", "l_i", "alpha", "acc"}
    for key in shared:
        unit = UNITS.get(key[-1], lambda meta: 1)(reference.meta)
        if case.kernel == "split-kv-decode" and "j" not in dict(key[1]):
            continue  # the second kernel is of another base
        assert np.allclose(np.asarray(ours[key]) * unit, np.asarray(theirs[key]), rtol=1e-4, atol=1e-5), key


def sample(**options) -> tuple[Trace, Trace]:
    """The kernel's trace of the bundled head, and the reference's, with its tokens."""
    qkv = fs.load_qkv("sample")
    reference = fs.record("flash2-forward", *qkv, block_q=4, block_k=4, tokens=qkv.tokens, **options)
    return twin(reference), reference


@pytest.mark.parametrize("name", TWINS.values())
def test_a_run_has_its_twin(name):
    rng = np.random.default_rng(0)
    shapes = (9, 4, 8), (13, 2, 8), (13, 2, 8), (9, 4, 8)  # of tokens, heads and d
    q, k, v, do = (rng.standard_normal(shape).astype(np.float16) for shape in shapes)
    options: dict[str, Any] = {"do": do} if name == "flash2-backward" else {}
    options |= {"block_mask": rng.random((3, 4)) < 0.5} if name == "flash2-block-sparse-forward" else {}
    options |= {"splits": 2} if name == "split-kv-decode" else {}
    options |= {"table": [3, 7, 0, 5]} if name == "paged-decode" else {}
    options |= {"block_q": 3, "block_k": 4, "mask": "causal+window:5,-1", "softcap": 4, "scale": 0.5}
    reference = fs.record(name, q, k, v, layout="shd", **options)
    kernel = twin(reference)
    assert compare.first_move(kernel, reference) == ""
    trace_check.check_trace(kernel)
    for output, values in reference.outputs.items():
        assert np.allclose(kernel.outputs[output], values, atol=4e-3), output
        assert (kernel.outputs[output].shape, kernel.outputs[output].dtype) == (values.shape, values.dtype)


@pytest.mark.parametrize(("mask", "heads"), [(None, (1, 1)), ("causal", (4, 2))])
@pytest.mark.parametrize("name", TWINS.values())
def test_each_load_and_store_is_of_the_same_round_of_the_same_loops(name, mask, heads):
    rng = np.random.default_rng(0)
    H, Hk = heads
    shapes = (H, 9, 8), (Hk, 13, 8), (Hk, 13, 8), (H, 9, 8)
    q, k, v, do = (rng.standard_normal(shape, np.float32) for shape in shapes)
    options: dict[str, Any] = {"do": do} if name == "flash2-backward" else {}
    options |= {"block_mask": rng.random((3, 4)) < 0.5} if name == "flash2-block-sparse-forward" else {}
    options |= {"splits": 2} if name == "split-kv-decode" else {}
    if mask:
        v, options = v[..., :5], options | ({"do": do[..., :5]} if "do" in options else {})
        options |= (
            {"bias": rng.standard_normal((H, 9, 13))} if name.startswith("flash2-") and "sparse" not in name else {}
        )
        options |= {"sinks": rng.standard_normal(H)} if name == "flash2-forward" else {}
    reference = fs.record(name, q, k, v, block_q=3, block_k=4, mask=mask, **options)
    moves = [
        [(event.op, event.tile, event.loop) for event in trace if event.op in ("load", "store")]
        for trace in (twin(reference), reference)
    ]
    assert moves[0] == moves[1]


def test_what_the_forward_kernel_computes_is_counted_tile_by_tile():
    m, n, d = 16, 8, 16
    reference = fs.record("flash2-forward", *np.ones((3, 32, d)), block_q=m, block_k=n, dtype="float32")
    kernel = twin(reference)
    ours, theirs = kernel.io().work, reference.io().work
    assert (ours.matmul, ours.exp) == (theirs.matmul, theirs.exp)
    events = [event for event in kernel if event.loop == {"i": 1, "j": 2} and event.op == "compute"]
    done = {slot: [event.work for event in events if event.slot == slot] for slot in ("S", "m_i", "P", "alpha", "acc")}
    assert sum(work.exp for work in done["P"] + done["alpha"]) == m * n + m
    assert sum(event.work.matmul for event in events) == 4 * m * n * d
    # s · factor and − m, 0 · x and its sum, the folds of max and sum, α on the output; by row: factor, max, m_i − m,
    # α · l_i and its sum
    rest = sum(event.work.other for event in events) - (4 * m * n + 2 * m * (n - 1) + m * d + 5 * m)
    assert rest in (0, 1)  # factor is one number, made once a tile or once a program


def test_a_run_of_one_tile_has_its_twin_whatever_its_size():
    q, k, v = (np.random.default_rng(0).standard_normal((5, 3), np.float32) for _ in range(3))
    reference = fs.record("flash2-forward", q, k, v, dtype="float32")
    assert compare.first_move(twin(reference), reference) == ""


@pytest.mark.parametrize(
    ("algorithm", "options", "words"),
    [
        ("flash-forward", {}, "there is no kernel of flash-forward: there are flash2-forward, "),
        (
            "flash2-forward",
            {"dtype": "float64"},
            "^no kernel takes float64: use dtype='float32'$",
        ),
        ("flash2-forward", {"dropout": 0.5}, "no kernel takes dropout"),
        ("flash2-forward", {"alibi": 0.5}, "no kernel takes alibi"),
        ("paged-decode", {"bias": np.zeros((5, 5))}, "the kernel of paged-decode takes no bias: record it without"),
        ("flash2-forward", {"mask": "prefix:2"}, "no kernel has the mask 'prefix:2'"),
        ("flash2-forward", {"block_k": 3}, "block_k is 3: give a power of two"),
    ],
)
def test_what_has_no_twin_is_refused(algorithm, options, words):
    q, k, v = (np.ones((5, 3), np.float32) for _ in range(3))
    with pytest.raises(ValueError, match=words):
        twin(fs.record(algorithm, q, k, v, **options))


@pytest.mark.parametrize("mask", [None, "causal"])
def test_it_films_as_the_references_does(mask):
    kernel, reference = (fs.film("flash2-forward", trace=trace) for trace in sample(mask=mask))
    assert [chapter.name for chapter in kernel.chapters] == [chapter.name for chapter in reference.chapters]
    told, right = (" ".join(caption.name for caption in of.captions) for of in (kernel, reference))
    assert "Triton kernel" in told
    assert "Triton kernel" not in right
    sizes = [re.findall(r"[\d.,]+ [KM]?B\b", words) for words in (told, right)]
    assert sizes[0] == sizes[1] != []
    pictures = [kernel.frame(t, width=800, height=450) for t in (2.0, kernel.duration - 20)]
    assert (pictures[0] != pictures[1]).any()


def test_the_code_pane_has_the_kernels_own_lines():
    kernel, _ = sample()
    with_code = fs.film("flash2-forward", trace=kernel, code=True)
    assert "p = tl.math.exp2(x) if CUT or MASK else tl.math.exp2(x) + lost(x)" in kernel.meta["code"]
    pictures = [of.frame(12.0, width=800, height=450) for of in (with_code, fs.film("flash2-forward", trace=kernel))]
    assert (pictures[0] != pictures[1]).any()


def test_a_film_says_that_a_kernels_m_is_in_base_2():
    """As UNITS has it, which the values are held against."""
    assert [remark(trace) for trace in sample()] == ["m in base 2", "float32"]


def test_lines_run_in_the_gallerys_picture_of_a_kernel():
    commands = (ROOT / "renders" / "README.md").read_text(encoding="utf-8")
    moments = set(re.findall(r"kernel-run\S* .*--at (\d+)", commands))
    assert len(moments) == 1
    script = fs.film("flash2-forward", kernel=True, code=True).script()
    assert actor(script, float(moments.pop()), Code).seen()


def test_a_film_takes_the_traces_that_it_can_draw():
    kernel, reference = sample()
    with pytest.raises(ValueError, match="shows flash-forward, and this is a trace of flash2-forward"):
        fs.film("flash-forward", trace=kernel)
    heads = both(Case("forward", Shape(1, 2, 1, 8, 8, 4), block_q=4, block_k=4))[0]
    with pytest.raises(ValueError, match="of 2 heads, and a film shows one"):
        fs.film("flash2-forward", trace=heads)
    bare = Trace(reference.meta, reference.events, reference.initial, (), reference.outputs, reference.peak)
    with pytest.raises(ValueError, match="holds no values"):
        fs.film("flash2-forward", trace=bare)
