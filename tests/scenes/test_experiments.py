"""What the film experiments claims: the published figures as they are printed, and the files under renders/data."""

import json
from pathlib import Path

import numpy as np
import pytest

import flashsteps as fs
from flashsteps import results
from flashsteps.filmkit.actors.bars import Bars
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.actors.columns import Columns
from flashsteps.filmkit.actors.curve import Curve
from tests.scenes.seen import Told, actor, actors, said

DATA = Path(fs.__file__).parents[1] / "renders" / "data"
SCRIPT = Told("experiments")


def rows(kind: str) -> list[dict]:
    (path,) = DATA.glob(f"*-{kind}.json")
    return [row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if row["status"] == "ok"]


def test_training_times_are_those_of_the_paper():
    small, medium, bert = actors(SCRIPT, "Training time", Bars)
    assert [bar.value for bar in small.bars] == [9.5, 4.7, 2.7]
    assert [bar.value for bar in medium.bars] == [21.0, 11.5, 6.9]
    assert [(bar.value, bar.error) for bar in bert.bars] == [(20.0, 1.5), (17.4, 1.4)]
    assert f"{21.0 / 6.9:.1f} to {9.5 / 2.7:.1f} times as fast" in said(SCRIPT)


def test_memory_is_what_was_measured():
    held = {
        (row["n"], row["backend"]): row["peak_bytes"] / 1e6
        for row in rows("speed")
        if row["pass"] == "backward" and not row["causal"]
    }
    groups = actor(SCRIPT, "Measured here", Columns).groups
    assert [group.name for group in groups] == ["256", "512", "1K", "2K"]
    for group, n in zip(groups, (256, 512, 1024, 2048), strict=True):
        assert group.values == pytest.approx((held[n, "standard"], held[n, "flash"]))


def test_losses_lie_on_each_other():
    losses = {(row["attention"], row["n"]): np.array(row["losses"]) for row in rows("train")}
    drawn = [np.array(line.points)[:, 1] for line in actor(SCRIPT, "Measured here", Curve).lines]
    np.testing.assert_array_equal(drawn, [losses["standard", 512], losses["sdpa", 512]])
    apart = max(np.abs(losses["standard", n] - losses["sdpa", n]).max() for _, n in losses)
    assert f"losses {apart:.6f} apart" in "".join(str(text.words) for text in actors(SCRIPT, "Measured here", Text))


def test_published_and_measured_figures_are_in_no_chart_together():
    assert not actors(SCRIPT, "Training time", Columns)
    assert not actors(SCRIPT, "Measured here", Bars)
    sources = [str(text.words) for text in actors(SCRIPT, "Training time", Text)]
    assert any("published" in words for words in sources)


def test_where_nothing_was_measured_it_says_so(monkeypatch):
    monkeypatch.setattr(results, "kept", lambda kind: None)
    script = fs.film("experiments").script()
    assert "Measured here" not in [chapter.name for chapter in script.chapters]
    assert "Nothing measured comes with this film" in said(script)
