"""What the bundled fonts lack comes from the system's, the same one each time; what nobody has is named."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import cairo
import numpy as np
import pytest
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import newTable
from fontTools.ttLib.tables.sbixGlyph import Glyph as SbixGlyph
from fontTools.ttLib.tables.sbixStrike import Strike
from numpy.typing import NDArray
from PIL import Image

import flashsteps as fs
from flashsteps.filmkit import fonts
from flashsteps.filmkit import text as txt
from flashsteps.filmkit.text import Style

SANS, STRONG = Style("sans", 400, 40), Style("sans", 600, 40)
CJK, ARABIC, EMOJI = "你好", "مرحبا", "🙂"


def font(path: Path, signs: str, height: int = 500, ligatures: str = "", pictures: str = "", empty: str = "") -> None:
    """A font whose characters are all alike, squares `height`/1000 of an em high; two in `ligatures` become one,
    `pictures` are orange, and `empty` ones show nothing."""
    names = {ord(sign): f"u{ord(sign):04X}" for sign in signs}
    order = [".notdef", "both", *names.values()]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, height), (900, height), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, nothing = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(names)
    blank = [names[ord(sign)] for sign in pictures + empty]
    builder.setupGlyf({name: nothing if name in blank else square for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupOS2()
    builder.setupPost()
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    if ligatures:
        first, second = (names[ord(sign)] for sign in ligatures)
        addOpenTypeFeaturesFromString(builder.font, f"feature ccmp {{ sub {first} {second} by both; }} ccmp;")
    if pictures:
        builder.font["sbix"] = table = newTable("sbix")
        table.strikes[100] = strike = Strike(ppem=100)
        for name in order:
            strike.glyphs[name] = SbixGlyph(glyphName=name, graphicType="png ", imageData=orange()) if name in blank \
                else SbixGlyph(glyphName=name)  # fmt: skip
    path.parent.mkdir(exist_ok=True, parents=True)
    builder.save(path)


def orange() -> bytes:
    """A PNG of 100 × 100 px, orange."""
    file = io.BytesIO()
    Image.new("RGBA", (100, 100), (255, 128, 0, 255)).save(file, "PNG")
    return file.getvalue()


def forget() -> None:
    for kept in (fonts._files, fonts.system, txt._line, txt._mask, txt.elide):
        kept.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the system's fonts lie: there are none yet."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("sys.platform", "linux")
    forget()
    yield tmp_path / "XDG_DATA_DIRS" / "fonts"
    forget()


def ink(text: str, style: Style = SANS, outlines: bool = False) -> NDArray[np.uint8]:
    """The pixels of a text, (120, 400, 4), as cairo has them: B, G, R, A."""
    surface = cairo.ImageSurface(cairo.FORMAT_ARGB32, 400, 120)
    txt.draw(cairo.Context(surface), 20, 80, text, style, (1, 1, 1), outlines=outlines)
    surface.flush()
    return np.ndarray((120, 400, 4), np.uint8, bytes(surface.get_data()), strides=(surface.get_stride(), 4, 1))


def rows(text: str, style: Style = SANS) -> int:
    """How many rows have ink."""
    return int(ink(text, style)[..., 3].any(axis=1).sum())


def test_without_a_font_of_the_system_there_are_boxes(folder: Path) -> None:
    assert txt.width(CJK, SANS) == pytest.approx(2 * 0.6 * 40)
    assert np.array_equal(ink("你"), ink("好"))
    assert fonts.lacking(f"a{CJK}é\u200d\n{CJK}") == CJK


@pytest.mark.parametrize("where", ["XDG_DATA_DIRS/fonts/noto", "XDG_DATA_HOME/fonts", "HOME/.fonts"])
def test_a_font_of_the_system_or_the_user_is_found_and_used(folder: Path, where: str) -> None:
    font(folder.parents[1] / where / "Some.ttf", CJK)
    assert fonts.lacking(CJK) == ""
    assert txt.width(CJK, SANS) == pytest.approx(2 * 40)
    assert rows(CJK) == 20
    assert not np.array_equal(ink("a"), ink("你"))


def test_characters_of_the_bundled_fonts_look_as_without_it(folder: Path) -> None:
    text = "S = Q K^{T} ⊤ ᵢ é 0.36 → ∞"
    before = ink(text)
    font(folder / "NotoSans-Regular.ttf", "".join(map(chr, range(32, 0x2300))))
    forget()
    np.testing.assert_array_equal(ink(text), before)


def test_which_font_is_used_depends_on_names_alone(folder: Path) -> None:
    """Noto first, then what is plain, then by name; in bold what is bold: however the system lists them."""
    heights = {
        "zzz/NotoSansCJK-Regular.ttf": 300, "NotoSerifCJK-Regular.ttf": 400, "AAA.ttf": 500, "B-Italic.ttf": 600,
        "NotoSansCJK-Bold.ttf": 700,
    }  # fmt: skip
    for name, height in heights.items():
        font(folder / name, CJK, height)
    for name in ("AdobeBlank.ttf", "LastResort.otf", "AAAA-unifont.ttf"):
        font(folder / name, CJK, 100)
    (folder / "NotoSans-Broken.ttf").write_bytes(b"no font")
    (folder / "NotoSans-Empty.ttf").touch()
    os.mkfifo(folder / "NotoSans-Fifo.ttf")
    found = []
    while heights:
        forget()
        found.append(rows(CJK) * 25)
        (gone,) = (name for name, height in heights.items() if height == found[-1])
        (folder / gone).unlink()
        del heights[gone]
    assert found == [300, 700, 400, 500, 600]


def test_bold_text_is_bold_where_there_is_such_a_font(folder: Path) -> None:
    font(folder / "NotoSansCJK-Regular.ttf", CJK, 300)
    font(folder / "NotoSansCJK-Bold.ttf", CJK, 700)
    assert (rows(CJK, SANS), rows(CJK, STRONG)) == (12, 28)


def test_a_font_that_draws_nothing_for_a_character_does_not_count(folder: Path) -> None:
    font(folder / "NotoSansBlank.ttf", EMOJI, empty=EMOJI)
    assert fonts.lacking(EMOJI) == EMOJI
    font(folder / "Other.ttf", EMOJI, 500)
    forget()
    assert rows(EMOJI) == 20


def test_a_stretch_is_shaped_as_a_whole(folder: Path) -> None:
    font(folder / "NotoSans.ttf", CJK, ligatures=CJK)
    assert txt.width(CJK, SANS) == pytest.approx(40)
    assert txt.width(CJK[::-1], SANS) == pytest.approx(80)
    assert txt.width(f"a{CJK}b", SANS) == pytest.approx(txt.width("a", SANS) + 40 + txt.width("b", SANS), rel=0.01)


def test_one_font_is_used_for_a_stretch_if_one_has_it_all_else_each_character_has_its_own(folder: Path) -> None:
    font(folder / "NotoSansA.ttf", "你", 300)
    font(folder / "Whole.ttf", CJK, 700)
    assert rows(CJK) == 28
    assert rows("你") == 12
    (folder / "Whole.ttf").unlink()
    font(folder / "Half.ttf", "好", 500)
    forget()
    assert rows(CJK) == 20
    assert txt.width(CJK + "本", SANS) == pytest.approx(40 + 40 + 0.6 * 40)
    assert fonts.lacking(CJK + "本") == "本"


def test_text_from_right_to_left_stays_so_when_it_comes_from_several_fonts(folder: Path) -> None:
    font(folder / "NotoSansA.ttf", "ש", 300)
    font(folder / "NotoSansB.ttf", "ל", 900)
    high = ink("של")[80 - 30, :, 3].nonzero()[0]  # where only the second letter reaches
    assert high.max() < 20 + 40
    assert high.min() >= 20


def test_a_picture_is_shown_in_its_colours(folder: Path) -> None:
    font(folder / "Emoji.ttf", EMOJI, pictures=EMOJI)
    assert fonts.lacking(EMOJI) == ""
    shown, outlined = ink(EMOJI), ink(EMOJI, outlines=True)
    (y, x) = (int(axis.mean()) for axis in shown[..., 3].nonzero())
    np.testing.assert_allclose(shown[y, x], (255, 128, 0, 255), atol=2)  # as pixels are kept: R, G, B
    np.testing.assert_allclose(outlined[y, x], (0, 128, 255, 255), atol=2)  # as cairo has it: B, G, R
    area = (shown[..., 3] > 127).sum()
    assert area == pytest.approx(40 * 40, rel=0.1)
    assert txt.width(EMOJI, SANS) == pytest.approx(40)


def test_what_is_lacking_is_named_once_with_what_to_install(folder: Path) -> None:
    assert fonts.advice("S = QK ⊤, é, \n\u2060") == ""
    line = fonts.advice(f"{CJK} a {ARABIC} {EMOJI} 日本語 한국어 \x1b")
    assert line.isprintable()
    assert line.startswith("no font here has 你 (U+4F60), 好 (U+597D), م (U+0645), ")
    assert " and 8 more: " in line
    assert line.endswith("apt install fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core")
    assert fonts.advice("म").endswith("apt install fonts-noto-core")
    font(folder / "A.ttf", CJK + ARABIC + EMOJI + "日本語한국어")
    forget()
    assert fonts.advice(f"{CJK} a {ARABIC} {EMOJI} 日本語 한국어 \x1b") == ""


def test_a_film_says_once_which_of_its_tokens_are_boxes(folder: Path, tmp_path: Path) -> None:
    q, k, v = fs.load_qkv("random:4,2")
    fs.record("flash-forward", q, k, v, tokens=("a", "你", "🙂", "é")).save(tmp_path / "run.npz")
    for given in ("run.npz", None):
        trace = tmp_path / given if given else fs.load(tmp_path / "run.npz")
        film = fs.film("flash-forward", trace=trace)
        with pytest.warns(UserWarning, match="你 .*, 🙂 .*: boxes stand for them"):
            film.frame(1, width=800, height=450)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            film.frame(2, width=800, height=450)
