"""A trace recorded from a kernel is a trace: it saves, replays, shows and films, and its values are the reference's."""

import numpy as np
import pytest
import torch

import flashsteps as fs
from flashsteps import film, narration, render
from flashsteps.kernels import standard, subjects
from flashsteps.kernels.cases import Case, Shape, cases
from flashsteps.trace import Trace

#: what the kernel's own value is, in units of the reference's: scores are scaled later, and exponents are of 2
UNITS = {"S": lambda meta: meta["scale"], "m_i": lambda meta: np.log(2)}


def both(case: Case) -> tuple[Trace, Trace]:
    """A kernel's trace and the reference's, of the same inputs."""
    given = subjects.tensors(case)
    reference = subjects.reference(case, given, case.block_q, case.block_k)
    return subjects.recorded(case, given, reference), reference


@pytest.mark.parametrize("case", cases()[1::2], ids=str)
def test_it_saves_and_replays(case, tmp_path):
    kernel, _ = both(case)
    kernel.save(tmp_path / "kernel.npz")
    assert fs.load(tmp_path / "kernel.npz") == kernel
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


def shot(trace: Trace, name: str = "flash2-forward", code: bool = False) -> film.Film:
    return film.film_of(name, trace, width=960, height=540, code=code)


def sample(**options) -> tuple[Trace, Trace]:
    """The kernel's trace of the bundled head, and the reference's, with its tokens."""
    q, k, v = qkv = fs.load_qkv("sample")
    case = Case("forward", Shape(1, 1, 1, *q.shape[:1] * 2, q.shape[1]), block_q=4, block_k=4, **options)
    given = standard.Tensors(*(torch.from_numpy(x).half()[None, None] for x in (q, k, v, q)))
    reference = fs.record("flash2-forward", q, k, v, block_q=4, block_k=4, mask=case.mask, tokens=qkv.tokens)
    return subjects.recorded(case, given, reference), reference


@pytest.mark.parametrize("causal", [False, True])
def test_it_films_as_the_references_does(causal):
    kernel, reference = map(shot, sample(causal=causal))
    seen = [{where for where, (_, how) in of.timeline.tiles.items() if how == "visited"} for of in (kernel, reference)]
    assert seen[0] == seen[1]
    assert kernel.timeline.pictures[-1].moved == reference.timeline.pictures[-1].moved
    said = {beat.caption for beat in kernel.timeline.beats}
    assert "Exponentials, taken against the max so far." in said
    assert any("“street” beats the old max" in words for words in said) or causal
    pictures = [render.picture(kernel, t) for t in (2.0, 9.0)]
    assert (pictures[0] != pictures[1]).any()


def test_the_code_pane_has_the_kernels_own_lines():
    made = shot(sample()[0], code=True)
    lines = made.trace.meta["code"].split("\n")
    told = [lines[event.line - 1].strip() for beat in made.timeline.beats if beat.told for event in beat.events]
    assert any(line.startswith("p = tl.math.exp2(") for line in told)
    assert render.picture(made, 6.0).shape == (540, 960, 4)


def test_a_film_takes_the_traces_that_it_can_draw():
    kernel, reference = sample()
    with pytest.raises(ValueError, match="shows flash-forward, and this is a trace of flash2-forward"):
        shot(kernel, "flash-forward")
    heads = both(Case("forward", Shape(1, 2, 1, 8, 8, 4), block_q=4, block_k=4))[0]
    with pytest.raises(ValueError, match="of 2 heads, and a film shows one"):
        shot(heads)
    bare = Trace(reference.meta, reference.events, reference.initial, (), reference.outputs, reference.peak)
    with pytest.raises(ValueError, match="holds no values"):
        shot(bare)
