"""The gallery: what it holds, what is found to be out of date, what alone is made anew; and what to paste elsewhere."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av
import cairo
import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps import theme
from flashsteps.cli import main
from flashsteps.filmkit import alike, board, embedding, encode, films, gallery, text
from flashsteps.filmkit.actors.cards import Text
from flashsteps.filmkit.presets import PRESETS
from flashsteps.filmkit.script import unmarked
from flashsteps.filmkit.storyboard import CUTS
from flashsteps.units import size_of
from tests.player.browser import browser

FILM = "limits"  # one that is soon drawn


def said(*words: str) -> list[str]:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of one film, made by two processes."""
    made = tmp_path_factory.mktemp("made") / "site"
    gallery.make(made, gallery.pieces([FILM]), jobs=2)
    return made


def test_it_holds_each_film_whole_and_short_in_each_theme_with_a_still_and_captions(folder: Path) -> None:
    stems = [FILM + cut + colours for cut in ("", "-short") for colours in ("", "-light")]
    expected = {f"{stem}.gif" for stem in stems} | {f"{FILM}.png", f"{FILM}-light.png"}
    expected |= {f"{FILM}.vtt", f"{FILM}-short.vtt", "gallery.json", "README.md"}
    assert {path.name for path in folder.iterdir()} == expected
    kept = json.loads((folder / "gallery.json").read_text())
    assert set(kept) == expected - {"gallery.json", "README.md"}
    for name, entry in kept.items():
        data = (folder / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        if name.endswith(".gif"):
            with av.open(str(folder / name)) as film:
                stream = film.streams.video[0]
                assert (stream.width, stream.height) == (entry["width"], entry["height"])
                assert film.duration
                assert film.duration / 1e6 == pytest.approx(entry["seconds"], abs=0.2)
    assert (folder / f"{FILM}.vtt").read_text().startswith("WEBVTT")
    assert [len(gallery.pieces()), len(films.names())] == [4 * len(films.names()), 16]
    assert len(CUTS) * len(theme.THEMES) == 4


def test_the_command_beside_a_film_makes_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = json.loads((folder / "gallery.json").read_text())
    words = kept[f"{FILM}-short-light.gif"]["command"].split()
    assert words[0] == "flashsteps"
    before = (folder / f"{FILM}-short-light.gif").read_bytes()
    said(*words[1:])
    assert (folder / f"{FILM}-short-light.gif").read_bytes() == before


def test_the_page_has_each_film_with_its_sentence_and_links_that_lead_somewhere(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert films.summary(FILM) in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == 7
    assert len(files(text)) == 4
    assert all((folder / file).is_file() for file in (*links, *files(text)))
    assert "\n".join(embedding.lines(FILM, folder=".", width=400)).replace("./", "") in text


def test_nothing_is_made_where_all_is_as_it_would_be(folder: Path) -> None:
    before = {
        path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix in (".gif", ".png", ".vtt")
    }
    assert said("gallery", str(folder), "--films", FILM)[0].startswith("0 of 4 films were made anew")
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    assert said("gallery", str(folder), "--films", FILM, "--check") == [
        "4 films are what they would be if they were made now"
    ]


@pytest.mark.parametrize("harm", ["a caption", "a picture", "a file", "bytes", "no manifest", "another film"])
def test_what_is_out_of_date_is_found_and_made_anew(
    folder: Path, tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    short = f"{FILM}-short.gif"
    why = "it says something else now"
    if harm == "a caption":
        kept = json.loads((tmp_path / "gallery.json").read_text())
        kept[short]["says"] = gallery.digest(gallery.Piece(FILM, "full", "dark"))
        (tmp_path / "gallery.json").write_text(json.dumps(kept))
    elif harm == "a picture":  # a card's title moves by a few pixels
        why = "it shows something else now"
        kept = json.loads((tmp_path / "gallery.json").read_text())
        moved = _moved((tmp_path / short), kept[short]["width"], kept[short]["height"])
        kept[short]["sha256"] = hashlib.sha256(moved).hexdigest()
        (tmp_path / "gallery.json").write_text(json.dumps(kept))
    elif harm == "a file":
        (tmp_path / short).unlink()
    elif harm == "bytes":
        (tmp_path / short).write_bytes(b"GIF89a")
    elif harm == "no manifest":
        (tmp_path / "gallery.json").unlink()
    else:
        kept = json.loads((tmp_path / "gallery.json").read_text())
        kept["gone.gif"] = kept[short]
        (tmp_path / "gallery.json").write_text(json.dumps(kept))
        (tmp_path / "gone.gif").write_bytes(b"GIF89a")
    done = CliRunner().invoke(main, ["gallery", str(tmp_path), "--films", FILM, "--check"])
    assert done.exit_code == 1
    late = 4 if harm == "no manifest" else 1
    assert f"{late} of 4 are out of date: make them by `flashsteps gallery {tmp_path}`" in done.stdout
    if harm in ("a caption", "a picture"):
        assert f"{short}: {why}" in done.stdout
    monkeypatch.undo()
    if harm == "another film":
        said("gallery", str(tmp_path), "--films", FILM)
        assert not (tmp_path / "gone.gif").exists()
        assert "gone.gif" not in json.loads((tmp_path / "gallery.json").read_text())


def _moved(path: Path, width: int, height: int) -> bytes:
    """Write the GIF anew with what it shows in its middle four pixels further to the right."""
    with av.open(str(path)) as film:
        frames = [(round(float(f.time or 0) * 12), f.to_ndarray(format="rgba")) for f in film.decode(video=0)]

    def every() -> Iterator[np.ndarray]:
        for (k, picture), (after, _) in pairwise([*frames, (frames[-1][0] + 1, frames[-1][1])]):
            middle = picture[height // 3 : height // 2].copy()
            picture[height // 3 : height // 2, 4:] = middle[:, :-4]
            yield from [np.ascontiguousarray(picture)] * (after - k)

    pictures = list(every())
    encode.write(path, pictures, fps=12, size=(width, height), total=len(pictures))
    return path.read_bytes()


def test_what_differs_by_rounding_is_alike_and_what_anybody_would_see_is_not() -> None:
    """A shade off, and a bar that ends a pixel further; but not another digit, another place, another colour."""
    shown = fs.film(FILM, cut="short")
    picture = shown.frame(shown.duration - 0.1, width=800, height=450)[..., :3].copy()
    noise = np.random.default_rng(0).integers(-3, 4, picture.shape)
    assert alike.alike(picture, np.clip(picture + noise, 0, 255).astype(np.uint8))
    edge, bar = picture.copy(), picture.copy()
    edge[100:140, 200:300], bar[100:140, 200:301] = 255, 255
    assert alike.alike(edge, bar)
    assert not alike.alike(edge, picture)
    assert not alike.alike(np.roll(picture, 3, axis=1), picture)
    pale = picture.copy()
    pale[64:128, 64:128] = np.clip(pale[64:128, 64:128].astype(int) + 60, 0, 255)
    assert not alike.alike(pale, picture)
    assert not alike.alike(picture[:-1], picture)


def test_another_digit_is_seen() -> None:
    """In a figure, as small as it is at the gallery's size."""
    size = theme.LABEL * PRESETS["readme"].width / 1920

    def number(words: str) -> np.ndarray:
        surface = cairo.ImageSurface(cairo.FORMAT_RGB24, 160, 48)
        ctx = cairo.Context(surface)
        ctx.set_source_rgb(0.08, 0.1, 0.13)
        ctx.paint()
        text.draw(ctx, 10, 36, words, text.Style("mono", 600, size), (0.9, 0.93, 0.95))
        surface.flush()
        return np.ndarray((48, 160, 4), np.uint8, surface.get_data())[..., :3].copy()

    for one, other in combinations("0123456789", 2):
        assert not alike.alike(number(f"1.6{one}"), number(f"1.6{other}")), (one, other)


def test_a_gifs_pictures_are_found_by_their_frames(folder: Path) -> None:
    """Each is that of the film at this frame, also where nothing moved for a while, and the last."""
    shown = fs.film(FILM, cut="short")
    frames = [0, 1, 7, *alike.moments(shown.chapters, 12), round(shown.duration * 12) - 1]
    frames = sorted(set(frames))
    for k, picture in zip(frames, alike.kept(folder / f"{FILM}-short.gif", frames, 12), strict=True):
        assert alike.alike(picture, shown.frame(k / 12, width=800, height=450)[..., :3]), k


def test_a_digest_is_of_what_is_said_for_how_long_and_in_which_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = gallery.Piece(FILM, "short", "dark")
    before = gallery.digest(piece)
    assert gallery.digest(piece) == before
    assert gallery.digest(piece._replace(theme="light")) != before
    with monkeypatch.context() as patch:
        dark = theme.THEMES["dark"]
        patch.setitem(theme.THEMES, "dark", dark._replace(ink="#fefefe"))
        assert gallery.digest(piece) != before
    with monkeypatch.context() as patch:
        patch.setattr(board, "HOLD", board.HOLD + 1)
        assert gallery.digest(piece) != before


def test_the_lecture_is_no_piece_of_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["gallery", str(tmp_path / "x"), "--films", "lecture"])
    assert done.exit_code == 2
    assert "the lecture is all films as one: name a film" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_folder_with_a_page_of_its_own_keeps_it(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_text(f"# Mine\n\n{gallery.BEGIN}\nold\n{gallery.END}\n\nand more\n")
    said("gallery", str(tmp_path), "--films", FILM)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Mine\n")
    assert text.endswith("\n\nand more\n")
    assert "old" not in text
    assert films.summary(FILM) in text
    (tmp_path / "README.md").write_text("# Mine\n")
    done = CliRunner().invoke(main, ["gallery", str(tmp_path), "--films", FILM])
    assert done.exit_code == 2
    assert f"put the lines {gallery.BEGIN} and {gallery.END}" in done.stderr
    (tmp_path / "gallery.json").write_text("[1]")
    done = CliRunner().invoke(main, ["gallery", str(tmp_path), "--films", FILM, "--check"])
    assert done.exit_code == 2
    assert "is no manifest of a gallery: delete it" in done.stderr


# ---- what to paste


PICTURES = [form for form in embedding.FORMS if form != "rst"]
STILLS_THEN_FILMS = ["race-light.png", "race.png", "race-short-light.gif", "race-short.gif"]


def files(text: str) -> list[str]:
    """Where the files of a picture lie, as a browser reads it."""
    found = [html.unescape(file) for file in re.findall(r'src(?:set)?="([^"]+)"', text)]
    return [re.sub(r"^\{\{ '/(.*)' \| relative_url \}\}$", r"\1", file) for file in found]


@pytest.mark.parametrize("form", PICTURES)
def test_a_film_is_put_with_both_themes_a_still_of_each_and_words(form: str) -> None:
    text = "\n".join(said("embed", "race", "--for", form, "--folder", "films/", "--width", "640"))
    assert files(text) == [f"films/{name}" for name in STILLS_THEN_FILMS]
    assert set(STILLS_THEN_FILMS) < {name for piece in gallery.pieces(["race"]) for name in piece.names}
    assert 'width="640"' in text
    assert [html.unescape(words) for words in re.findall(r'alt="([^"]+)"', text)] == [embedding.alt("race", "short")]
    assert ("<section>" in text) == (form == "reveal")
    assert text.startswith(".. raw:: html\n\n   <picture>") == (form == "sphinx")


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("calm", [False, True])
def test_a_reader_gets_the_file_of_what_they_like(light: bool, calm: bool, chromium: Any, tmp_path: Path) -> None:
    """A browser chooses among files with a blank and an & in their folder's name."""
    (tmp_path / "my films & co").mkdir()
    for name in STILLS_THEN_FILMS:
        with av.open(str(tmp_path / "my films & co" / name), "w", format="gif") as made:
            stream = made.add_stream("gif", rate=1, width=16, height=16, pix_fmt="rgb8")
            made.mux(stream.encode(av.VideoFrame(16, 16, "rgb8")))
            made.mux(stream.encode(None))
    page = tmp_path / "page.html"
    page.write_text("\n".join(said("embed", "race", "--folder", "my films & co")), encoding="utf-8")
    likes = {"color_scheme": "light" if light else "dark", "reduced_motion": "reduce" if calm else "no-preference"}
    there = chromium.new_page(**likes)
    there.goto(page.as_uri())
    shown = there.evaluate("() => { const i = document.images[0]; return [i.currentSrc, i.naturalWidth]; }")
    there.close()
    expected = "race" + "-short" * (not calm) + "-light" * light + (".png" if calm else ".gif")
    assert (unquote(shown[0]).rpartition("/")[2], shown[1]) == (expected, 16)


def test_restructuredtext_has_an_image_that_needs_nothing_raw() -> None:
    """GitHub (rest2html) and PyPI (readme_renderer) run docutils with raw_enabled off."""
    lines = said("embed", "race", "--for", "rst", "--folder", "https://example.org/my films", "--width", "640")
    assert lines == [
        ".. image:: https://example.org/my%20films/race-short.gif",
        "   :width: 640",
        f"   :alt: {embedding.alt('race', 'short')}",
    ]


@pytest.mark.parametrize("form", PICTURES)
def test_a_url_stays_one(form: str) -> None:
    text = "\n".join(said("embed", "race", "--for", form, "--folder", "https://example.org/my%20films/"))
    assert files(text) == [f"https://example.org/my%20films/{name}" for name in STILLS_THEN_FILMS]
    assert "relative_url" not in text


#: what of a run its words don't say
ALSO: dict[tuple[str, str], dict[str, Any]] = {
    ("causal", "flash2-forward"): {"mask": "causal"},
    ("block-sparse", "block-sparse-forward"): {"block_mask": "butterfly"},
    ("decode", "split-kv-decode"): {"splits": 4},
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", films.names())
def test_who_does_not_see_a_film_reads_what_runs_and_how_large_it_is(name: str, cut: str) -> None:
    """Bytes are counted anew, without data; the figures of a film in which nothing runs are those that it says."""
    words = embedding.alt(name, cut)
    assert words.startswith(films.summary(name))
    more = words.removeprefix(films.summary(name))
    assert re.search(r"\d", more)
    assert not re.search(r"[{}]", more)
    runs = re.findall(
        r"A run of (\S+) on (\d+) quer(?:y|ies) and (\d+) keys of (\d+) numbers in (\w+), "
        r"in blocks of (\d+) and (\d+), moves ([\d,.]+ \w+)\.",
        more,
    )
    assert len(runs) == more.count("A run of")
    for algorithm, *sizes, moved in runs:
        n, n_keys, d, dtype, block_q, block_k = (int(one) if one.isdecimal() else one for one in sizes)
        how: dict[str, Any] = {"n": n, "n_keys": n_keys, "d": d, "dtype": dtype, "block_q": block_q, "block_k": block_k}
        assert moved == size_of(fs.count(algorithm, **how, **ALSO.get((name, algorithm), {})).total)
    if not runs:
        script = fs.film(name, cut=cut).script()
        texts = [part.actor.words for part in script.parts if isinstance(part.actor, Text)]
        known = " ".join(unmarked(str(words)) for words in (*texts, *(c.name for c in script.captions)))
        assert [figure for figure in re.findall(r"\d[\d.,]*", more) if figure.strip(".,") not in known] == []


def test_marks_become_what_stands_above_and_below_a_line() -> None:
    assert unmarked("S = QK^{T}, 2·10^{−6}, the_{1}, H_{2}O, e^{s}") == "S = QKᵀ, 2·10⁻⁶, the₁, H₂O, eˢ"
    assert unmarked("e^{4.03 − 4.22} and x_{q}, {as} it^is") == "e^(4.03 − 4.22) and x_(q), {as} it^is"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ([], "give a film's name, or --explore"),
        (["race", "--explore"], "give a film's name, or --explore"),
        (["race", "--part", "map"], "--part is not for a film: leave it out"),
        (["--explore", "--for", "rst"], "--for is not for --explore: leave it out"),
        (["rase"], "race"),
        (["lecture"], "the lecture is all films as one: name a film"),
        (["race", "--for", "word"], "markdown"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words: list[str], advice: str) -> None:
    done = CliRunner().invoke(main, ["embed", *words])
    assert done.exit_code == 2
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
