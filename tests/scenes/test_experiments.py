"""What the film experiments claims: the published figures as they are printed, and the files under renders/data."""

import json
from pathlib import Path

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import results
from flashsteps.filmkit.actors.bars import Bars, Legend
from flashsteps.filmkit.actors.cards import Card, Text
from flashsteps.filmkit.actors.columns import Columns
from flashsteps.filmkit.actors.curve import Curve
from tests.scenes.seen import Told, actor, actors, said

DATA = Path(fs.__file__).parents[1] / "renders" / "data"
SCRIPT = Told("experiments")


def rows(name: str) -> list[dict]:
    """Of the H100: what was measured."""
    (path,) = DATA.glob(f"nvidia-h100-*-{name}.json")
    return [row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if row["status"] == "ok"]


def stands(causal: bool) -> float:
    """A time at which the speeds stand, those with the causal mask or those without."""
    found = next(caption for caption in SCRIPT.captions if caption.name.startswith("Causal"))
    before = SCRIPT.captions[SCRIPT.captions.index(found) - 1]
    return float((found if causal else before).stop - 0.6)


def test_training_times_are_those_of_the_paper():
    small, medium, bert = actors(SCRIPT, "Training time, published", Bars)
    assert [bar.value for bar in small.bars] == [9.5, 4.7, 2.7]
    assert [bar.value for bar in medium.bars] == [21.0, 11.5, 6.9]
    assert [(bar.value, bar.error) for bar in bert.bars] == [(20.0, 1.5), (17.4, 1.4)]
    assert f"{21.0 / 6.9:.1f} to {9.5 / 2.7:.1f} times as fast" in said(SCRIPT)
    assert [bar.note for bar in small.bars] == ["perplexity 18.2"] * 3
    assert [bar.note for bar in medium.bars] == [f"perplexity {one}" for one in (14.2, 14.3, 14.3)]
    assert f"perplexity is the same to {14.3 - 14.2:.1f}." in said(SCRIPT)


def test_what_is_published_besides_is_as_printed():
    standard, flash = actor(SCRIPT, "Attention alone, published", Bars).bars
    assert (standard.value, flash.value) == (41.7, 7.3)
    path_x, arena = actors(SCRIPT, "Attention alone, published", Card)
    assert path_x.figures == (("right", "61.4%"), ("by guessing", "50%"))
    assert arena.figures == (("as fast", "2.4×"),)
    assert "On an A100 41.7 ms became 7.3" in said(SCRIPT)
    (words,) = (str(text.words) for text in actors(SCRIPT, "Attention alone, published", Text))
    assert words.startswith("published")
    assert "Figure 2" in words
    assert [card.words.rpartition("; ")[2] for card in (path_x, arena)] == ["FA1, Table 6", "FA1, Table 3"]


@pytest.mark.parametrize("causal", [False, True])
def test_speeds_are_those_of_the_duel(causal):
    speeds = {(r["pass"], r["n"], r["backend"]): r["tflops"] for r in rows("duel") if r["causal"] == causal}
    assert {r["d"] for r in rows("duel")} == {128}
    t = stands(causal)
    charts = actors(SCRIPT, t, Columns)
    for way, chart in zip(("forward", "backward"), charts, strict=True):
        assert way in chart.title
        assert ("causal" in chart.title) == causal
        assert [name for name, _ in chart.kinds] == ["flashsteps (ours)", "cuDNN", "PyTorch’s FlashAttention-2"]
        for group, n in zip(chart.groups, (4096, 8192, 16384, 32768), strict=True):
            assert group.values == tuple(speeds[way, n, one] for one in ("flashsteps", "cudnn", "flash"))
    words = next(c.name for c in SCRIPT.captions if c.name.startswith("Causal" if causal else "Our kernels"))
    each = [x / speeds[way, n, "cudnn"] for (way, n, who), x in speeds.items() if who == "flashsteps"]
    assert len(each) == 8
    assert f"{min(each):.2f} to {max(each):.2f} times cuDNN’s speed" in words
    assert any("H100" in str(x.words) and "2026" in str(x.words) for x in actors(SCRIPT, t, Text))


def test_a_colour_means_one_thing():
    """Whose a bar or a line is decides its hue, in every chart, and the first chapter says which."""
    found: dict[str, set[str]] = {}
    for caption in SCRIPT.captions:
        t = caption.stop - 0.6
        for chart in actors(SCRIPT, t, Bars):
            for bar in chart.bars:
                found.setdefault(bar.hue, set()).add(bar.name)
        for chart in actors(SCRIPT, t, Columns):
            for name, hue in chart.kinds:
                found.setdefault(hue, set()).add(name)
        if actors(SCRIPT, t, Curve):
            for piece in actor(SCRIPT, t, Legend).pieces:
                found.setdefault(piece.hue, set()).add(piece.name)
    legend = {piece.hue for piece in actor(SCRIPT, "Two kinds of figures", Legend).pieces}
    assert legend == set(found)
    assert found["accent"] == {"flashsteps (ours)"}
    assert found["ink"] == {"FlashAttention", "PyTorch’s FlashAttention-2"}
    assert "standard" in found["dim"]
    assert not any("Flash" in name for name in found["dim"])


def test_it_says_where_ours_is_slower():
    speeds = {(r["pass"], r["causal"], r["n"], r["backend"]): r["tflops"] for r in rows("duel")}
    ratios = [x / speeds[*key, "cudnn"] for (*key, who), x in speeds.items() if who == "flashsteps"]
    assert min(ratios) < 1
    assert f"{min(ratios):.2f} to" in said(SCRIPT)
    older = [x / speeds[*key, "flash"] for (*key, who), x in speeds.items() if who == "flashsteps" and key[1]]
    assert f"{min(older):.2f} to {max(older):.2f} times FlashAttention-2’s." in said(SCRIPT)


def test_memory_is_what_was_measured():
    held = {
        (row["n"], row["backend"]): row["peak_bytes"] / 1e9
        for row in rows("speed")
        if row["pass"] == "backward" and not row["causal"] and row["d"] == 128
    }
    groups = actor(SCRIPT, "Memory, measured here", Columns).groups
    assert [group.name for group in groups] == ["8K", "16K"]
    for group, n in zip(groups, (8192, 16384), strict=True):
        assert group.values == pytest.approx([held[n, one] for one in ("standard", "flash", "flashsteps")])


def test_losses_lie_on_each_other_and_it_shows_how_far_they_do_not():
    """At the N where ours is furthest from standard's; no caption says less than any N has."""
    who = ("standard", "sdpa", "flashsteps")
    losses = {(row["attention"], row["n"]): np.array(row["losses"]) for row in rows("train")}
    off = {(one, n): np.abs(losses[one, n] - losses["standard", n]) for one, n in losses}
    curves, differences = actors(SCRIPT, "Loss, measured here", Curve)
    drawn = [np.array(line.points)[:, 1] for line in curves.lines]
    np.testing.assert_array_equal(drawn, [losses[one, 512] for one in who])
    drawn = [np.array(line.points)[:, 1] for line in differences.lines]
    np.testing.assert_array_equal(drawn, [off[one, 512] for one in who[1:]])
    most = {one: max(off[one, n].max() for n in (512, 1024, 2048, 4096)) for one in who[1:]}
    words = f"ours differs from standard’s by {most['flashsteps']:.3f} at most, PyTorch’s by {most['sdpa']:.3f}."
    assert words in said(SCRIPT)
    (rule,) = differences.rules
    assert rule.at == np.median(np.abs(np.diff(losses["standard", 512])))
    assert f"{rule.at:.3f} a step (median)" in rule.words
    assert differences.y.high > max(*most.values(), rule.at)
    assert "no larger at N = 1K, 2K, 4K" in differences.title


def test_each_line_of_a_loss_has_a_name_by_its_hue():
    legend = {piece.hue: piece.name for piece in actor(SCRIPT, "Loss, measured here", Legend).pieces}
    curves, differences = actors(SCRIPT, "Loss, measured here", Curve)
    assert [legend[line.hue] for line in curves.lines] == [
        "standard",
        "PyTorch’s SDPA, backend of its choice",
        "flashsteps (ours)",
    ]
    assert [line.hue for line in differences.lines] == [line.hue for line in curves.lines][1:]


def test_published_and_measured_figures_are_in_no_chart_together():
    assert not actors(SCRIPT, "Training time, published", Columns)
    for chapter in ("Speed, measured here", "Memory, measured here", "Loss, measured here"):
        assert not actors(SCRIPT, chapter, Bars)
        assert any("measured here" in str(text.words) for text in actors(SCRIPT, chapter, Text))
    sources = [str(text.words) for text in actors(SCRIPT, "Training time, published", Text)]
    assert any("published" in words for words in sources)


def test_with_a_cpus_figures_alone_it_shows_those(monkeypatch):
    found = {kind: results.read(DATA / f"amd-epyc-{kind}.json") for kind in ("speed", "train")}
    monkeypatch.setattr(results, "kept", found.get)
    script = fs.film("experiments").script()
    assert "Speed, measured here" not in [chapter.name for chapter in script.chapters]
    assert [group.name for group in actor(script, "Memory, measured here", Columns).groups] == [
        "256",
        "512",
        "1K",
        "2K",
    ]
    assert "The losses of training are the same to 0.00000" in said(script)
    assert "no figure of ours is from a GPU yet" in said(script)


def test_where_nothing_was_measured_it_says_so(monkeypatch):
    monkeypatch.setattr(results, "kept", lambda kind: None)
    script = fs.film("experiments").script()
    assert not any("measured here" in chapter.name for chapter in script.chapters)
    assert "Nothing measured comes with this film" in said(script)
