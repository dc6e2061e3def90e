"""The gallery: what it holds, what is found to be out of date, what alone is made anew; and what to paste elsewhere."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import av
import cairo
import numpy as np
import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps import theme
from flashsteps.cli import main
from flashsteps.filmkit import alike, board, embedding, encode, films, gallery, text
from flashsteps.filmkit.presets import PRESETS
from flashsteps.filmkit.storyboard import CUTS

FILM = "limits"  # one that is soon drawn


def said(*words: str) -> list[str]:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


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
    links = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text)
    assert len(links) == 8
    assert all((folder / (one or other)).is_file() for one, other in links)


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


@pytest.mark.parametrize("form", list(embedding.FORMS))
def test_a_film_is_put_with_both_themes_a_still_and_words(form: str) -> None:
    text = "\n".join(said("embed", "race", "--for", form, "--folder", "films/", "--width", "640"))
    files = re.findall(r'src(?:set)?="([^"]+)"', text)
    names = [re.sub(r"^\{\{ '/(.*)' \| relative_url \}\}$", r"\1", file) for file in files]
    assert names == ["films/race.png", "films/race-short-light.gif", "films/race-short.gif"]
    known = {name for piece in gallery.pieces(["race"]) for name in piece.names}
    assert all(name.removeprefix("films/") in known for name in names)
    assert 'width="640"' in text
    (words,) = re.findall(r'alt="([^"]+)"', text)
    totals = [fs.count(name, n=16, d=32, block_q=4, block_k=4).total for name in ("standard-forward", "flash2-forward")]
    assert totals == [6144, 10304]
    for part in ("16 queries and 16 keys of 32 numbers", "moves 6,144 B", "moves 10.3 KB", films.summary("race")):
        assert html.escape(part) in words
    assert ("<section>" in text) == (form == "reveal")
    assert text.startswith(".. raw:: html\n\n   <picture>") == (form == "rst")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ([], "give a film's name, or --explore"),
        (["race", "--explore"], "give a film's name, or --explore"),
        (["race", "--part", "map"], "--part is not for a film: leave it out"),
        (["--explore", "--for", "rst"], "--for is not for --explore: leave it out"),
        (["rase"], "race"),
        (["race", "--for", "word"], "markdown"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words: list[str], advice: str) -> None:
    done = CliRunner().invoke(main, ["embed", *words])
    assert done.exit_code == 2
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
