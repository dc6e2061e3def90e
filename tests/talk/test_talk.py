"""A talk: what it says and in which order, as PDF and PowerPoint's file, and that it is refused in one line."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from pptx import Presentation
from pptx.opc.constants import RELATIONSHIP_TYPE

import flashsteps as fs
from flashsteps.filmkit import films
from flashsteps.filmkit.presets import Preset
from flashsteps.filmkit.storyboard import CUTS
from flashsteps.talk import make
from flashsteps.talk import plan as plan_of
from flashsteps.talk.plan import LINKS, Card, Chapter, chapters, plan
from flashsteps.talk.words import words
from tests.cli.commands import refused, run, there

NAMES, LOOK = ("problem", "race"), Preset(800, 450, 5)
FILMS = ["--films", ",".join(NAMES), "--cut", "short", "--size", "800x450"]
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deck") / "talk.pptx"
    return make.Talk(path, NAMES, LOOK, "light", "short").write(jobs=2)


# ---- what it is


def test_the_order_of_films_has_all_of_them_once():
    folder = Path(import_module("flashsteps.scenes").__path__[0])
    files = [path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")]
    assert sorted(films.names()) == sorted(files)
    assert films.OTHERS not in films.sections()
    assert films.names()[:3] == ("problem", "memory-hierarchy", "roofline")
    assert films.section("race") == "The algorithm"
    ours = list(films.sections())
    paper = ["The problem", "The hardware", "Standard attention", "The method", "The algorithm", "Complexity"]
    paper += ["Sparse attention", "Experiments", "Limitations"]
    assert [section for section in ours if section in paper] == paper
    assert set(ours) - set(paper) == {"Recomputation", "Applications", "A kernel"}


def test_a_talk_is_a_column_for_each_film_with_what_its_chapters_say():
    columns = plan(NAMES, "wide", "dark", "short")
    assert [column[0].name for column in columns] == ["FlashAttention", "The problem", "Race", "Read on"]
    film = fs.film("race", cut="short")
    (told,) = [column for column in columns if column[0].name == "Race"]
    assert [slide.name for slide in told[1:]] == [f"Race: {chapter.name}" for chapter in film.chapters]
    assert all(caption.name in told[1].notes for caption in film.captions)
    assert films.summary("race") in told[0].notes
    assert isinstance(columns[-1][0], Card)
    assert columns[-1][0].links == LINKS
    assert [link.address for link in LINKS if "arXiv" in link.words] == [
        f"https://arxiv.org/abs/{link.words.removeprefix('arXiv:')}" for link in LINKS if "arXiv" in link.words
    ]


def test_it_ends_once_with_links_that_can_be_clicked():
    """The film of limits ends so itself, with the same addresses, which there are only to be read."""
    columns = plan(["limits"], "wide")
    assert [slide.name for column in columns for slide in column if "Read on" in slide.name] == ["Read on"]
    assert columns[-1][0].name == "Read on"
    shown = import_module("flashsteps.scenes.limits").LINKS
    assert [name for name, words in shown if not any(f"//{words}" in link.address for link in LINKS)] == []
    assert all(link.address.startswith("https://") for link in LINKS)
    chapters = fs.film("limits").chapters
    assert f"{len(chapters) - 1} chapters play {chapters[-1].start:.0f} seconds in all." in columns[1][0].notes


# ---- what there is to say


@pytest.fixture(scope="module")
def told() -> list[Chapter]:
    """Each chapter of each film, of the whole and of the short cut."""
    return [chapter for cut in CUTS for chapter in chapters(plan(films.names(), "wide", "dark", cut))]


def test_a_chapters_notes_have_what_the_picture_does_not_say(told):
    for chapter in told:
        own, *rest = chapter.notes.split("\n\n")
        lines = words()[chapter.film.name, chapter.span.name]
        assert own in [line.words for line in lines.say], chapter.name
        assert own.casefold() not in chapter.words.casefold(), chapter.name
        assert not any(caption in own for caption in chapter.said), chapter.name
        assert rest[0].startswith("Point at "), chapter.name
        assert f"On the slide: {chapter.words}" in rest, chapter.name
        assert rest[-1] == f"Plays {chapter.span.stop - chapter.span.start:g} seconds, then stands.", chapter.name
        assert not re.search(r"[\^_]\{|\}", chapter.notes), chapter.name


def test_a_chapters_notes_have_the_small_print_of_its_own_picture(told):
    notes = {
        (chapter.film.name, chapter.span.name): chapter.notes
        for chapter in told
        if not chapter.film.told.chosen.get("cut")
    }
    sources = {key: text.partition("In small print: ")[2] for key, text in notes.items()}
    assert "FA1, Figure 2, A100; N = 1K" in sources["problem", "Where the time goes"]
    assert "Figure 1" not in sources["problem", "Where the time goes"]
    assert "Tables 1 (BERT) and 2 (GPT-2" in sources["experiments", "Training time, published"]
    assert "measured here" in sources["experiments", "Speed, measured here"]
    assert "published" not in sources["experiments", "Speed, measured here"].partition("measured here")[0]
    assert "differ by 10⁻⁶" in sources["decode", "The same answer"]
    assert sources["standard", "Softmax"] == ""


def test_the_speakers_words_are_of_chapters_that_there_are_and_no_figure_is_among_them(told):
    assert set(words()) == {(chapter.film.name, chapter.span.name) for chapter in told}
    points = [line for lines in words().values() for line in lines.point]
    says = [line for lines in words().values() for line in lines.say]
    assert Path(plan_of.__file__).with_name("words.md").read_text(encoding="utf-8").count("→") == len(points) + 1
    hues = r"\b(red|orange|yellow|green|blue|violet|purple|pink)\b"  # which are the theme's
    for line in (*says, *points):
        assert not re.search(rf"\d|{hues}", line.words.replace("FlashAttention-2", "")), line
    assert all(line.words.endswith((".", "?")) for line in says)
    assert not any(line.words.endswith(".") for line in points)


def test_a_films_card_says_what_its_algorithm_is_and_what_its_lines_do():
    (_, column, *_) = plan(["flash2-forward"], "wide")
    notes = column[0].notes
    assert "flash2-forward: FlashAttention-2 forward: one program for each block of queries" in notes
    assert "2Nd + 2·Tr·Md + N" in notes
    assert "Keys and values stream past, block by block. One tile of scores, made on chip." in notes
    assert "A sink comes in" not in notes  # a line that did not run
    film = fs.film("flash2-forward")
    assert f"{len(film.chapters)} chapters play {film.duration:.0f} seconds in all." in notes


# ---- as PowerPoint's file


def media(slide) -> dict[str, bytes]:
    """What belongs to a slide, by its type."""
    inner = [rel.target_part for rel in slide.part.rels.values() if not rel.is_external]
    return {part.content_type: part.blob for part in inner}


def test_a_deck_has_a_slide_for_each_chapter_with_its_film_its_picture_and_its_notes(deck):
    slides = list(Presentation(str(deck)).slides)
    columns = plan(NAMES, "wide", "light", "short")
    plain = [slide for column in columns for slide in column]
    assert [slide.shapes.title.text_frame.text for slide in slides] == [slide.name for slide in plain]
    assert [slide.notes_slide.notes_text_frame.text for slide in slides] == [slide.notes for slide in plain]
    for slide, told in zip(slides, plain, strict=True):
        kinds = media(slide)
        assert ("video/mp4" in kinds, "image/png" in kinds) == (not isinstance(told, Card),) * 2
        timing = slide._element.find(f"{P}timing")
        assert (timing is not None) == (not isinstance(told, Card))
        if timing is not None:
            (movie,) = [shape for shape in slide.shapes if shape.shape_type == 16]
            assert {target.get("spid") for target in timing.iter(f"{P}spTgt")} == {str(movie.shape_id)}
            assert [command.get("cmd") for command in timing.iter(f"{P}cmd")] == ["playFrom(0.0)"]
            assert (movie.left, movie.top, movie.width, movie.height) == (0, 0, 12_192_000, 6_858_000)
    frames = [shape.text_frame for shape in slides[-1].shapes if shape.has_text_frame]
    runs = [run for frame in frames for paragraph in frame.paragraphs for run in paragraph.runs]
    links = [run.hyperlink.address for run in runs if run.hyperlink.address]
    assert links == [link.address for link in LINKS]
    theme = slides[0].slide_layout.slide_master.part.part_related_by(RELATIONSHIP_TYPE.THEME)
    ElementTree.fromstring(theme.blob)  # in which links got their colour


def test_a_chapters_film_is_what_players_play_and_ends_on_its_picture(deck):
    slide = next(slide for slide in Presentation(str(deck)).slides if slide._element.find(f"{P}timing") is not None)
    parts = media(slide)
    film, still = parts["video/mp4"], parts["image/png"]
    assert film.index(b"moov") < film.index(b"mdat")  # plays before all of it is there
    frames, picture = decoded(film), decoded(still)[0]
    span = chapters(plan(NAMES[:1], "wide", "light", "short"))[0].span
    assert len(frames) == round((span.stop - span.start) * LOOK.fps)
    assert np.abs(frames[-1].astype(int) - picture).mean() < 2 < np.abs(frames[0].astype(int) - picture).mean()


def test_a_talk_has_the_same_bytes_in_however_many_processes(deck, tmp_path):
    again = make.Talk(tmp_path / "again.pptx", NAMES, LOOK, "light", "short").write(jobs=3)
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(deck) as other:
        assert [name for name in one.namelist() if one.read(name) != other.read(name)] == []
    assert again.read_bytes() == deck.read_bytes()


def decoded(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data), "r") as film:
        stream = film.streams.video[0]
        if stream.codec_context.name == "h264":
            assert (stream.codec_context.profile, stream.codec_context.pix_fmt) == ("High", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


# ---- as a PDF


def test_a_pdf_has_a_page_for_each_slide_in_outlines_and_a_table_of_contents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (line,) = run("talk", "-o", "talk.pdf", *FILMS).decode().splitlines()
    data = Path("talk.pdf").read_bytes()
    slides = [slide for column in plan(NAMES, "wide", "dark", "short") for slide in column]
    assert line.endswith(f"{len(slides)} slides, 800×450")
    assert data.count(b"/Type /Page ") == len(slides)
    assert data.count(b"/MediaBox [ 0 0 800 450 ]") == len(slides)
    assert [word for word in (b"/Subtype /Image", b"/Font", b"CreationDate") if word in data] == []
    entries = re.findall(rb"/Title \(([^)]*)\)\n", data)
    assert {b"The problem", b"Race", b"Read on"} <= set(entries)
    assert re.findall(rb"/URI \(([^)]*)\)", data) == [link.address.encode() for link in LINKS]
    run("talk", "-o", "again.pdf", *FILMS)
    assert Path("again.pdf").read_bytes() == data


# ---- refusals


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-o", "talk.mov"], "use .html, .pptx or .pdf"),
        (["-o", "talk.html", "--films", "problm"], "did you mean 'problem'"),
        (["-o", "talk.html", "--films", "race,problem,race"], "'race' is named twice"),
        (["-o", "talk.html", "--films", ""], "unknown film ''"),
        (["-o", "talk.pdf", "--fps", "30"], "--fps is for films"),
        (["-o", "talk.html", "--size", "801x451"], "both sides"),
        (["-o", "no/talk.html"], "mkdir -p no"),
        ([], "-o FILE is missing"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_left(args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused("talk", *args)
    assert there() == []


def test_who_stops_it_finds_what_was_there_before(tmp_path, monkeypatch):
    def stop(more: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "talk.html").write_text("the one before")
    with pytest.raises(KeyboardInterrupt):
        make.Talk(tmp_path / "talk.html", NAMES, LOOK, "dark", "short").write(jobs=2, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["talk.html"]
    assert (tmp_path / "talk.html").read_text() == "the one before"


def test_without_python_pptx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(make, "find_spec", lambda name: None)
    assert "pip install 'flashsteps[talk]'" in refused("talk", "-o", "talk.pptx", *FILMS)
    assert there() == []
