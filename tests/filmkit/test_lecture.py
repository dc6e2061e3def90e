"""The lecture: films that follow each other as one, with a title before each, and marks that a player finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.filmkit.chain import chained
from tests.cli.commands import refused, run

NAMES = ("problem", "race")


@pytest.fixture(autouse=True)
def two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(films, "sections", lambda: {"The problem": NAMES[:1], "The method": NAMES[1:]})


def test_it_is_the_films_one_after_another_with_titles_between():
    lecture, told = fs.film("lecture", cut="short"), [fs.film(name, cut="short") for name in NAMES]
    names = [name for film in told for name in (film.title, *(f"{film.title}: {c.name}" for c in film.chapters))]
    assert [chapter.name for chapter in lecture.chapters] == names
    assert all(a.stop == b.start for a, b in zip(lecture.chapters, lecture.chapters[1:], strict=False))
    assert lecture.chapters[-1].stop == lecture.duration
    start = lecture.duration - told[-1].duration
    for t in (0.0, 3.5, told[-1].duration):
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


def test_an_option_that_a_film_has_no_use_for_is_refused():
    assert "doesn't take" in refused("render", "lecture", "-o", "lecture.mp4", "--code")
