"""The lecture: films that follow each other as one, with a title before each, and marks that a player finds."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import flashsteps as fs
from flashsteps.filmkit import films, formats
from flashsteps.filmkit import input as input_of
from flashsteps.filmkit.chain import chained
from flashsteps.inputs import qkv
from tests.cli.commands import refused, run, there

NAMES = ("problem", "race")


@pytest.fixture(autouse=True)
def two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(films, "sections", lambda: {"The problem": NAMES[:1], "The method": NAMES[1:]})


def test_it_is_the_films_one_after_another_with_titles_between():
    lecture, told = fs.film("lecture", cut="short"), [fs.film(name, cut="short") for name in NAMES]
    names = [name for film in told for name in (film.title, *(f"{film.title}: {c.name}" for c in film.chapters))]
    assert [chapter.name for chapter in lecture.chapters] == ["FlashAttention", *names, "The end"]
    assert all(a.stop == b.start for a, b in zip(lecture.chapters, lecture.chapters[1:], strict=False))
    assert lecture.chapters[-1].stop == lecture.duration
    start = lecture.chapters[-1].start - told[-1].duration
    for t in (0.0, 3.5, told[-1].duration - 0.1):
        ours, own = lecture.script().at(start + t), told[-1].script().at(t)
        assert [s[1:] for s in ours] == [s[1:] for s in own]
    assert [c.name for c in lecture.captions] == [c.name for film in told for c in film.captions]


def test_no_part_of_one_film_is_taken_for_one_of_another():
    toys = [fs.film(name, cut="short").script() for name in NAMES]
    chain = chained("both", toys)
    before, after = chain.at(toys[0].duration - 0.1), chain.at(toys[0].duration)
    assert not {s.part for s in before} & {s.part for s in after}
    assert chain.looks(len(toys[0].chapters)) != chain.looks(0)


def test_its_file_has_a_mark_for_each_chapter_and_captions_beside_it():
    run("render", "lecture", "-o", "lecture.mp4", "--cut", "short", "--size", "800x450", "--fps", "2", "--captions")
    lecture = fs.film("lecture", cut="short")
    with av.open("lecture.mp4") as film:
        found: list[Any] = list(film.chapters())
        assert film.streams.video[0].frames == lecture.duration * 2
    marks = [(m["metadata"]["title"], m["start"] * m["time_base"], m["end"] * m["time_base"]) for m in found]
    assert marks == [tuple(chapter) for chapter in lecture.chapters]
    assert Path("lecture.vtt").read_text(encoding="utf-8").count("-->") == len(lecture.captions)


def test_what_was_recorded_for_its_films_goes_along_to_who_draws_it(monkeypatch):
    lecture = fs.film("lecture", cut="short")
    assert [run.meta["algorithm"] for run in lecture.told.runs] == [
        run.meta["algorithm"] for name in NAMES for run in fs.film(name, cut="short").told.runs
    ]
    assert "animal" in lecture.told.words
    data = pickle.dumps(lecture)

    def never(*_: Any) -> None:
        raise AssertionError("read or recorded anew")

    for name in ("_record", "_read", "_twin"):
        monkeypatch.setattr(input_of, name, never)
    again = pickle.loads(data)
    assert (again.chapters, again.captions) == (lecture.chapters, lecture.captions)
    assert np.array_equal(again.frame(40, width=800, height=450), lecture.frame(40, width=800, height=450))
    assert again.script("tall").duration > 0
    with pytest.raises(AssertionError, match="anew"):
        fs.film("lecture", cut="short")


def test_a_gif_of_a_quarter_of_an_hour_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(formats, "LONGEST_LOOP", 30)  # as two short films are to all of them
    for ending in ("gif", "webp"):
        said = refused("render", "lecture", "-o", f"lecture.{ending}", "--cut", "short", "--captions")
        assert "can't be stopped, nor wound: use .mp4, or one film, or --cut short" in said
    assert there() == []
    assert fs.film("lecture", cut="short")._repr_html_() is None


# ---- of another head


def test_each_film_is_told_of_the_options_that_it_has_a_use_for(monkeypatch):
    """And the input is read once, for all of them; who draws it reads none."""
    reads, read = list[str](), qkv.load_qkv

    def counted(source: str, **where: Any) -> qkv.QKV:
        reads.append(source)
        return read(source, **where)

    monkeypatch.setattr(qkv, "load_qkv", counted)
    np.savez("head.npz", **dict(zip("qkv", np.random.default_rng(0).standard_normal((3, 40, 8)), strict=True)))
    options: dict[str, Any] = {"input": "head.npz", "rows": "8:16", "mask": "causal", "device": "h100", "block_q": 2}
    lecture = fs.film("lecture", cut="short", **options)
    assert reads == ["head.npz"]
    of = {"problem": ("input", "rows", "device"), "race": ("input", "rows", "mask", "block_q")}
    each = [fs.film(name, cut="short", **{option: options[option] for option in of[name]}) for name in NAMES]
    assert [c.name for c in lecture.captions] == [c.name for film in each for c in film.captions]
    monkeypatch.setattr(input_of, "_read", lambda *what: pytest.fail("read anew"))
    again = pickle.loads(pickle.dumps(lecture))
    assert (again.captions, again.script("tall").captions) == (lecture.captions, lecture.script("tall").captions)
    one, other = (film.frame(30, width=800, height=450) for film in (again, lecture))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("given", [["--code"], ["--sram", "2KiB"], ["--code", "--mask", "causal"]])
def test_an_option_that_none_of_its_films_has_a_use_for_is_refused(given):
    line = refused("render", "lecture", "-o", "lecture.mp4", *given)
    assert f"none of the lecture’s films takes {given[0]}" in line
    assert "leave it out" in line
    assert there() == []


def test_a_film_that_an_option_does_not_suit_is_named():
    line = refused("render", "lecture", "-o", "lecture.mp4", "--input", "random:65,8")
    assert "the film 'problem' can't be told: 65 queries are too many to draw" in line
    assert "`flashsteps talk --films` can leave it out" in line
    assert "--rows 0:64" in line
    assert fs.film("lecture", input="random:65,8", rows="0:64", cut="short")
    with pytest.raises(ValueError, match="^'no.npz': no such file"):
        fs.film("lecture", input="no.npz")
