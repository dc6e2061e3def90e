"""The three films of a run hold for any run: whatever the input, the mask and the blocks, they are told, and truly."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit.actors.fit import Fit
from flashsteps.filmkit.actors.rescale import Rescale
from flashsteps.filmkit.painter import Painter
from flashsteps.units import size_of
from tests.problems import problems

FILMS = {"standard": "standard-forward", "flash-forward": "flash-forward", "flash2-forward": "flash2-forward"}
SIZES = {"wide": (800, 450), "square": (600, 600), "tall": (540, 960)}
SHAPES = st.sampled_from([*SIZES])


@pytest.mark.parametrize("name", FILMS)
def test_it_is_told_of_any_run_and_says_what_it_moved(name):
    @settings(max_examples=12)
    @given(problems((FILMS[name],), largest=14, more=True), SHAPES, st.sampled_from(["full", "short"]), st.booleans())
    def holds(problem, shape, cut, code):
        q, k, v = problem.inputs()
        asked = {"mask": problem.mask, "dtype": problem.dtype, "block_q": problem.block_q, "block_k": problem.block_k}
        trace = problem.record()
        added = problem.biased or problem.sink is not None  # which a film has no options for, but shows
        asked = {"trace": trace} if added else {"input": (q, k, v)} | asked
        film = partial(fs.film, name, cut=cut, code=code, **asked)
        if not any(event.slot == "S" for event in trace):
            with pytest.raises(ValueError, match="hides every tile"):
                film()
            return
        script = film().script(shape)
        said = " ".join(caption.name for caption in script.captions)
        assert size_of(trace.io().total) in said or name == "flash2-forward" and trace.meta["mask"]
        assert set(script.steps) >= set(range(len(trace)))  # each step of the run can be asked for
        painter = Painter(script, *SIZES[shape])
        for share in (0.15, 0.5, 0.85, 1):
            painter.paint(share * script.duration)

    holds()


def test_a_max_that_moves_and_one_that_stays_are_told_of_the_sample():
    """Against exponentials of the sample's own scores, in float64."""
    script, (q, k, _) = fs.film("flash-forward").script(), (x.astype(np.float64) for x in fs.load_qkv("sample"))
    S = q @ k.T / np.sqrt(q.shape[1])
    moved, stays = [c for c in script.captions if "α =" in c.name or "β =" in c.name]
    assert moved.name == "Key block 3: “street” beats the old max of “cross”: its old sum counts α = 0.365."
    assert stays.name == "“the_{2}” keeps its max: this tile’s sum counts β = 0.09."
    for caption, row in ((moved, 6), (stays, 7)):
        times = np.linspace(caption.start + 0.5, caption.stop - 0.5, 40)  # the factors are there when they are said
        told = [one.actor for t in times for one in script.at(t) if isinstance(one.actor, Rescale)]
        assert {one.step for one in told if one.step == int(one.step)} == {0, 1, 2}
        old, tile = S[row, :8], S[row, 8:12]
        m = old.max(), tile.max(), S[row, :12].max()
        l = tuple(np.exp(some - its).sum() for some, its in zip((old, tile, S[row, :12]), m, strict=True))
        assert told[0].m == pytest.approx(m, abs=2e-3)
        assert told[0].l == pytest.approx(l, abs=2e-3)
        assert told[0].factors == pytest.approx((np.exp(m[0] - m[2]), np.exp(m[1] - m[2])), abs=2e-3)


def test_what_larger_blocks_need_is_the_sum_of_what_is_said_beside_it():
    script = fs.film("flash-forward").script()
    (fit,) = {one.actor for one in script.at(script.time("All tiles") - 0.1) if isinstance(one.actor, Fit)}
    assert fit.note == "loaded tiles float16, all else float32"
    for (name, nbytes), b in zip(fit.sizes, (4, 8), strict=True):
        Q_K_V, O, S_P, statistics = 3 * b * 32 * 2, b * 32 * 4, 2 * b * b * 4, 8 * b * 4
        assert (name, nbytes) == (f"{b}×{b}", Q_K_V + O + S_P + statistics)


def test_what_a_mask_hides_is_told():
    captions = [c.name for c in fs.film("flash-forward", mask="causal").script().captions]
    assert "These queries may not see these keys: the tile is skipped, and nothing moves." in captions
    assert not any("skipped" in c.name for c in fs.film("flash-forward").script().captions)


def test_a_mask_that_hides_everything_is_refused_in_one_line():
    with pytest.raises(ValueError, match="hides every tile: there is nothing to show"):
        fs.film("flash-forward", mask=np.zeros((16, 16), bool))
