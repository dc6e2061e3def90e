"""Films of heads that are not like the sample: values of another width, a bias, sinks, another scale, a mask."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flashsteps as fs
from flashsteps.filmkit.board import Board
from flashsteps.filmkit.input import Input
from flashsteps.filmkit.reel import Reel
from flashsteps.inputs.qkv import QKV, check_qkv
from tests.scenes.looking import Looker
from tests.scenes.seen import said


def head(n: int = 6, n_keys: int = 6, d: int = 8, d_v: int = 8, seed: int = 0, **own: Any) -> QKV:
    """A head, and what its model did besides."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, d), (n_keys, d), (n_keys, d_v)))
    one = check_qkv(q, k, v)
    return QKV(one.q, one.k, one.v, one.tokens, one.source, own=own)


def words(film: Reel) -> str:
    """All that is written in the middle and at the end of each chapter."""
    looker, found = Looker(film.script(), (1280, 720), "dark"), list[str]()
    for _, start, stop in film.chapters:
        for t in ((start + stop) / 2, stop - 0.1):
            looker.look(t)
            found += [text.words for text in looker.written]
    return "\n".join(found)


OWN = st.fixed_dictionaries(
    {},
    optional={
        "bias": st.just(np.random.default_rng(1).standard_normal((6, 6))),
        "sinks": st.just(0.5),
        "softcap": st.just(3.0),
        "scale": st.just(0.7),
    },
)


@settings(max_examples=12)
@given(st.sampled_from(["flash-forward", "flash2-forward"]), st.sampled_from([3, 8, 40]), OWN)
def test_the_verdict_on_a_toy_is_that_of_its_own_bytes(name: str, d_v: int, own: dict[str, Any]) -> None:
    one = head(d_v=d_v, **own)
    film = fs.film(name, input=one)
    standard, run = (fs.record(way, *one, **one.options, block_q=2, block_k=2) for way in ("standard-forward", name))
    ratio = run.io().total / standard.io().total
    assert f"{ratio:.2f}× standard’s" in said(film.script())
    larger = fs.record(name, *one, **one.options, block_q=4, block_k=4).peak.total
    for shown in re.findall(r"4×4 would not fit: ([0-9,]+) B", said(film.script())):
        assert int(shown.replace(",", "")) == larger
    if d_v != 8 or own.keys() & {"bias", "sinks"}:
        assert re.search(r"with v as wide as k|without (bias|sink|what is its own)", said(film.script()))


@pytest.mark.parametrize("own", [{}, {"scale": 5.0}, {"scale": 5.0, "mask": "causal"}])
def test_decoding_asks_what_the_model_asked(own: dict[str, Any]) -> None:
    """Of a causal head the last query, which sees all keys."""
    one = head(n=9, n_keys=9, **own)
    decoding = importlib.import_module("flashsteps.filmkit.pictures.decoding")
    toy = decoding.toy_of(Board("wide", "", options={"input": one}, source=Input()))
    s = one.q.astype(float) @ one.k.T.astype(float) * own.get("scale", 8**-0.5)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    O = p / p.sum(axis=1, keepdims=True) @ one.v
    row = 8 if "mask" in own else int((p / p.sum(axis=1, keepdims=True)).max(axis=1).argmax())
    for run in (toy.whole, toy.split, toy.paged):
        np.testing.assert_allclose(run.trace.outputs["O"][0], O[row], atol=1e-5)


@pytest.mark.parametrize("own", [{"softcap": 2.0}, {"bias": np.ones((6, 6))}, {"alibi": 0.5}, {"sinks": 1.0}])
def test_decoding_of_what_it_does_not_tell_is_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"only scaled, and this head has {[*own][0]}: choose .*flash2-forward"):
        fs.film("decode", input=head(**own))
    fs.film("flash2-forward", input=head(**own))


def test_a_sink_is_in_the_sums_from_the_start() -> None:
    one = head(sinks=0.5)
    assert "at first 0, 1 and the sink." in said(fs.film("flash-forward", input=one).script())
    assert "at first 0, 0, −∞." in said(fs.film("flash-forward", input=head()).script())
    with pytest.raises(ValueError, match="a softmax without sinks, and this run has one: choose flash2-forward"):
        fs.film("online-softmax", input=one)
    assert "of a row, with that of its sink, add up to 1" in words(fs.film("problem", input=one))


@pytest.mark.parametrize("film", ["problem", "standard", "backward", "flash-forward"])
def test_a_formula_has_the_factor_that_scores_were_multiplied_by(film: str) -> None:
    for scale, factor, other in ((5.0, "· 5", "/ √d"), (None, "/ √d", "· ")):
        own: dict[str, Any] = {} if scale is None else {"scale": scale}
        formulas = [
            line for line in words(fs.film(film, input=head(**own))).splitlines() if re.search("Q ?K.*|dS.*Q", line)
        ]
        formulas = [line for line in formulas if "=" in line and ("S =" in line or line.startswith("d"))]
        assert any(factor in line for line in formulas)
        assert not any(other in line for line in formulas)


@pytest.mark.parametrize("film", ["problem", "online-softmax", "backward", "block-sparse"])
def test_a_film_without_a_mask_is_shown_of_a_masked_head_where_that_is_asked_for(film: str) -> None:
    """It is said all the time then; and where there is no mask to leave out, nobody need ask."""
    one = head(mask="causal")
    with pytest.raises(
        ValueError, match="this head has the mask causal: give mask none to see it without, or choose a"
    ):
        fs.film(film, input=one)
    assert "without its model’s mask" in words(fs.film(film, input=one, mask="none"))
    assert "without its model’s mask" not in words(fs.film("causal", input=one))
    with pytest.raises(ValueError, match="this film shows runs with mask"):
        fs.film(film, input=one, mask="window:1,0")
