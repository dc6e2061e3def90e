"""A talk of another head, under another title: what its films take, what its notes say of it, what is refused."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pptx import Presentation

import flashsteps as fs
from flashsteps.filmkit import fonts
from flashsteps.filmkit.boxes import CANVASES
from flashsteps.filmkit.presets import Preset
from flashsteps.filmkit.script import Script
from flashsteps.filmkit.text import Style, width
from flashsteps.inputs.qkv import QKV
from flashsteps.talk import make, opening, pdf, powerpoint
from flashsteps.talk.plan import LONGEST, Chapter, chapters, check, plan
from flashsteps.talk.words import Line, words
from tests.cli.commands import refused, run, there

RNG = np.random.default_rng(0)


def head(n: int, keys: int, d: int = 8) -> tuple[np.ndarray, ...]:
    return tuple(RNG.standard_normal((rows, d)).astype(np.float32) for rows in (n, keys, keys))


FLAT = (np.zeros((8, 8), np.float32), *head(8, 8)[1:])  # no max moves
HEADS: dict[str, dict[str, Any]] = {
    "the bundled one": {},
    "a window of it": {"rows": "0:8"},
    "at random": {"input": "random:16,32"},
    "no max moves": {"input": FLAT},
    "one query": {"input": head(1, 20)},
    "large tiles": {"input": "random:16,8", "block_q": 16, "block_k": 8, "sram": 1 << 20},
}
TOLD = ("problem", "online-softmax", "flash-forward", "flash2-forward", "race", "backward")


# ---- what its films take

OPTIONS: list[tuple[str, Any]] = [
    ("input", "random:8,8"),
    ("rows", "0:8"),
    ("mask", "causal"),
    ("block_q", 2),
    ("dtype", "float32"),
]
OPTIONS += [("device", "h100"), ("sram", 1 << 20), ("cut", "short"), ("thing", 3)]


@pytest.mark.parametrize("names", [("limits", "problem"), ("standard", "roofline"), ("limits", "experiments")])
def test_an_option_goes_to_the_films_that_take_it_and_one_that_none_takes_is_refused(names):
    def alone(name: str, **options: Any) -> Script | None:
        with suppress(ValueError):
            return fs.film(name, **options).script()
        return None

    for option, value in OPTIONS:
        one: dict[str, Any] = {option: value}
        takes = {name: alone(name, **one) for name in names}
        if not any(takes.values()):
            with pytest.raises(ValueError, match=f"^none of these films takes {option}=.*: leave it out$"):
                plan(names, "wide", **one)
            continue
        told = {chapter.film.name: chapter.script for chapter in chapters(plan(names, "wide", **one))}
        for name, script in takes.items():
            assert told[name].captions == (script or fs.film(name).script()).captions


@pytest.mark.parametrize(
    ("films", "source", "why"),
    [
        ("limits,block-sparse,problem", "random:1,8", "the film 'block-sparse' can't be told: "),
        ("problem,online-softmax,limits", "random:1,8", "'online-softmax' can't be told: this run has 1 key"),
        ("limits,problem,standard", "random:65,8", "give --rows 0:64 for a window of them"),
    ],
)
def test_a_film_that_cannot_be_told_so_is_named_with_the_films_that_can(films, source, why, tmp_path, monkeypatch):
    """Where others would be of it."""
    monkeypatch.chdir(tmp_path)
    line = refused("talk", "-o", "talk.pdf", "--cut", "short", "--films", films, "--input", source)
    assert why in line
    assert there() == []
    if rest := re.findall(r"; or leave it out: --films (\S+)$", line):
        assert plan(rest[0].split(","), "wide", cut="short", input=source)
    else:
        assert plan(films.split(","), "wide", cut="short", input=source, rows="0:64")


def test_a_head_with_a_mask_of_its_own_is_shown_without_it_where_that_is_asked_for():
    q, k, v = head(8, 8)
    own = QKV(q, k, v, None, {}, own={"mask": "causal"})
    with pytest.raises(
        ValueError, match="'problem' can't be told: .* give mask none to see it without, .*: films=race$"
    ):
        plan(["problem", "race"], "wide", input=own)
    told = chapters(plan(["problem", "race"], "wide", input=own, mask="none"))
    assert {run.meta["mask"] for slide in told for run in slide.film.told.runs} == {None}


def test_films_that_show_a_head_without_the_mask_that_was_asked_for_are_named():
    names = ["online-softmax", "flash2-forward", "causal", "roofline"]
    with pytest.warns(UserWarning, match="^these films have no mask, and show the head without it: online-softmax$"):
        told = plan(names, "wide", cut="short", mask="causal", input="random:8,8")
    masks = {slide.film.name: [run.meta["mask"] for run in slide.film.told.runs] for slide in chapters(told)}
    bare = [name for name, each in masks.items() if each and not any(each)]
    assert bare == ["online-softmax"]
    with warnings.catch_warnings(action="error"):
        plan(names[:2], "wide", cut="short", mask="none", input="random:8,8")
        plan(names[1:2], "wide", cut="short", mask="causal", input="random:8,8")


# ---- what its notes say


@pytest.fixture(scope="module")
def told() -> dict[str, list[Chapter]]:
    """Each head's chapters; one film's short cut has a condition, too."""
    talks = (TOLD, None), (("online-softmax", "flash2-forward"), "short")
    return {
        of: [chapter for names, cut in talks for chapter in chapters(plan(names, "wide", cut=cut, **options))]
        for of, options in HEADS.items()
    }


def test_words_of_the_bundled_head_are_said_of_no_other(told):
    of_it = r"sentence|pronoun|\bnoun\b|bundled|trained model"
    for of, slides in told.items():
        own = " ".join(slide.notes for slide in slides)
        assert bool(re.search(of_it, own)) == (of in ("the bundled one", "a window of it")), of
        assert ("pronoun" in own) == (of == "the bundled one")


def test_a_line_on_a_condition_is_said_of_some_heads_and_not_of_others(told):
    slides = [slide for of in told.values() for slide in of]
    for (film, name), lines in words().items():
        for line in (*lines.say, *lines.point):
            if line in (lines.say[0], lines.point[0]) or film not in TOLD:
                assert (line.sample, line.phrase) == ("", "") or film not in TOLD
                continue
            said = [line.words in slide.notes for slide in slides if (slide.film.name, slide.span.name) == (film, name)]
            assert any(said), line
            assert not all(said), line


def test_notes_bear_out_what_runs_moved(told):
    """Against runs that no film has recorded."""
    for of in HEADS:
        slides = {(slide.film.name, slide.span.name): slide for slide in told[of]}
        race, back = slides["race", "Who is first"], slides["backward", "The same gradients"]
        meta = race.film.told.runs[0].meta
        how = {name: meta[name] for name in ("block_q", "block_k", "dtype", "mask")}
        sizes = {"n": meta["queries"], "n_keys": meta["keys"], "d": meta["d"]}
        moved = [fs.count(f"{name}-forward", **sizes, **how).total for name in ("standard", "flash", "flash2")]
        assert ("The wrong one wins" in race.notes) == (moved[0] < min(moved[1:])), of
        run = next(run.meta for run in back.film.told.runs if run.meta["algorithm"] == "flash2-backward")
        both = [
            fs.count(f"{name}-backward", **sizes, **{one: run[one] for one in ("block_q", "block_k", "dtype")}).total
            for name in ("flash2", "standard")
        ]
        assert ("too small to win" in back.notes) == (both[0] > both[1]), of
        lanes = meta["queries"] > meta["block_q"]
        assert ("the lanes, a program each" in slides["flash2-forward", "Programs"].notes) == lanes, of
        shrinks = ("online-softmax", "The max moves") in slides
        assert ("as it jumps" in slides["online-softmax", "In short"].notes) == shrinks, of


def test_a_line_holds_where_all_of_its_phrase_is_on_the_slide():
    line = Line("sample", "“it” gives … “animal”", "")
    assert line.holds("“it” gives 0.68 of its weight to “animal”.", True)
    assert not line.holds("“it” gives 0.68 of its weight to “animal”.", False)
    assert not line.holds("“it” gives 0.68 of its weight to “street”.", True)


# ---- its title, and who gives it

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=LONGEST)


@settings(max_examples=25)
@given(st.sampled_from([*CANVASES]), TEXTS | st.text("W快ﷺ🚀 ^{}_-", min_size=1, max_size=LONGEST))
def test_a_title_is_whole_and_within_its_slide_however_long(shape, text):
    try:
        text = check("title", text)
    except ValueError:
        return
    script = opening.script(shape, text, "films", text)
    for of, weight in ((opening.title(text, shape), 700), (opening.name(text, shape), 500)):
        assert "".join("".join(of.lines).replace("\u2060", "").split()) == "".join(text.replace("\u2060", "").split())
        assert all(width(line, Style("sans", weight, of.size)) <= opening.ROOM[shape] for line in of.lines)
    canvas, below = CANVASES[shape], 0.0
    for shown in script.at(0.0):
        assert shown.box.y >= below
        assert shown.box.right <= canvas.w
        below = shown.box.y
    assert below <= canvas.h - 60


def test_a_file_says_its_title_and_who_gives_it(tmp_path):
    """In what a program reads of it, too; and the slide holds it."""
    for title, by in (('FlashAttention <at> our "lab"', "Ada & Bob"), ("快速注意力 " * 16, "李四 " * 30)):
        columns = plan([], "wide", title=title, by=by)[:1]
        powerpoint.write(tmp_path / "talk.pptx", columns, [], (1280, 720), "dark")
        deck: Any = Presentation(str(tmp_path / "talk.pptx"))
        about, (slide,) = deck.core_properties, deck.slides
        assert (about.title, about.author) == (title.strip(), by.strip())
        assert slide.shapes.title.text_frame.text == title.strip()
        assert any(by.strip() in shape.text_frame.text for shape in slide.shapes)
        assert all(shape.top >= 0 and shape.left + shape.width <= deck.slide_width for shape in slide.shapes)
        pdf.write(tmp_path / "talk.pdf", columns, (1280, 720), "dark", lambda more: None)
        data = (tmp_path / "talk.pdf").read_bytes()
        for entry, text in ((b"/Title", title.strip()), (b"/Author", by.strip())):
            written = b"(" + text.encode() + b")" if text.isascii() else text.encode("utf-16-be").hex().encode()
            assert written in data[data.rindex(entry) :][: 4 * LONGEST + 40].replace(b"\n", b"").lower() or (
                written in data
            )


def test_the_same_command_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    q, k, v = head(40, 40)
    np.savez("head.npz", q=q, k=k, v=v)
    given = ["--films", "standard", "--cut", "short", "--input", "head.npz", "--rows", "8:16", "--mask", "causal"]
    given += ["--block-q", "4", "--device", "h100", "--title", 'Our "head"', "--by", "Ada, ICML"]
    for name in ("one.pdf", "two.pdf"):
        run("talk", "-o", name, "--size", "800x450", *given)
    assert Path("one.pdf").read_bytes() == Path("two.pdf").read_bytes()


@pytest.mark.parametrize("option", ["--title", "--by"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb", "control character, U+000A: leave that out"),
        ("a\x1b[1m", "control character, U+001B"),
        ("\u202eab", "U+202E"),
        ("a\udcffb", "U+DCFF"),
        ("  ", "it is empty: give words, or leave it out"),
        ("x" * (LONGEST + 1), f"{LONGEST + 1} characters: give at most {LONGEST}"),
    ],
)
def test_what_is_no_line_of_words_is_refused(option, text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("talk", "-o", "talk.html", "--films", "limits", option, text)
    assert words in line
    assert line.removeprefix("flashsteps: error: ").startswith(option.strip("-"))
    assert there() == []
    mended = "".join(sign for sign in text if sign.isprintable()).strip()[:LONGEST]
    given: dict[str, Any] = {option.strip("-"): mended}
    assert not mended or plan([], "wide", **given)


def test_characters_that_no_font_has_are_named(tmp_path):
    sign = next(sign for sign in "\U00012000\U00013000\U00016a70\ue000" if fonts.lacking(sign))
    for one in ("title", "by"):
        with pytest.warns(UserWarning, match=re.escape(f"no font here has {sign}")):
            make.Talk(tmp_path / "talk.pdf", ["limits"], Preset(800, 450, 5), **{one: f"Our {sign}"})
