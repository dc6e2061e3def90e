"""Text: what fits where, and which pixels are inked."""

from __future__ import annotations

import re
from importlib import resources
from itertools import pairwise

import cairo
import numpy as np
import pytest
import uharfbuzz as hb
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flashsteps.filmkit import fonts
from flashsteps.filmkit import text as txt
from flashsteps.filmkit.text import Style

SANS, MONO = Style("sans", 500, 28), Style("mono", 600, 28)
STYLES = pytest.mark.parametrize("style", [SANS, MONO, Style("sans", 400, 11.67), Style("mono", 400, 13.3)], ids=str)
PRINTABLE = "".join(map(chr, range(32, 127)))
UNKNOWN = "\uffff"  # not a character, so no font has it

ascii_text = st.text(PRINTABLE, max_size=30)
shares = st.floats(0, 1.2)  # of a text's width: the room it gets
# Each is one character to a reader: composed, joined, a flag, outside the BMP, right to left, ignorable, a control.
graphemes = st.sampled_from(
    ["a", " ", "W", "e\u0301", "o\u0323\u0302", "👨\u200d👩\u200d👧", "🇫🇷", "한", "漢", "𝛼", "ק", "\u2060", "\n"]
)


def ink(
    text: str, style: Style = SANS, x: float = 20, y: float = 60, scale: float = 1, move: tuple[float, float] = (0, 0)
) -> NDArray[np.uint8]:
    """The coverage of each pixel of a 100×400 surface after drawing the text."""
    surface = cairo.ImageSurface(cairo.FORMAT_A8, 400, 100)
    ctx = cairo.Context(surface)
    ctx.translate(*move)
    ctx.scale(scale, scale)
    txt.draw(ctx, x, y, text, style, (1, 1, 1))
    surface.flush()
    return np.ndarray((100, 400), np.uint8, bytes(surface.get_data()), strides=(surface.get_stride(), 1))


def box(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the ink, the last two exclusive."""
    rows, columns = np.nonzero(pixels.any(axis=1))[0], np.nonzero(pixels.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# Fonts


def test_every_font_is_used_and_ships_with_its_own_copyright_and_licence() -> None:
    folder = resources.files("flashsteps") / "fonts"
    licences = {"sans": "OFL-Inter.txt", "mono": "OFL-JetBrainsMono.txt"}
    assert {f.name for f in folder.iterdir()} == {
        *licences.values(),
        *(name for files in fonts.FILES.values() for name in files.values()),
    }
    for family, files in fonts.FILES.items():
        licence = (folder / licences[family]).read_text(encoding="utf-8")
        assert "SIL OPEN FONT LICENSE Version 1.1" in licence
        for name in files.values():
            face = hb.Face((folder / name).read_bytes())
            assert face.get_name(hb.OTNameIdPredefined.COPYRIGHT) in licence


@pytest.mark.parametrize("family", ["sans", "mono"])
@pytest.mark.parametrize("character", "ℓα·√∞−→←…≤²“”")
def test_characters_the_films_use_are_in_both_families(family: fonts.Family, character: str) -> None:
    for weight in fonts.FILES[family]:
        style = Style(family, weight, 28)
        assert ink(character, style).any()
        assert not np.array_equal(ink(character, style), ink(UNKNOWN, style))


@STYLES
def test_an_unknown_character_is_a_hollow_box(style: Style) -> None:
    pixels = ink(UNKNOWN, style)
    left, top, right, bottom = box(pixels)
    assert pixels[(top + bottom) // 2, (left + right) // 2] == 0
    for row, column in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)):
        assert pixels[row, column] > 0
    assert txt.width(UNKNOWN, style) == pytest.approx(0.6 * style.size)
    assert np.array_equal(pixels, ink("漢", style))


def test_what_one_family_lacks_comes_from_the_other() -> None:
    for style, lacking in ((SANS, ["⊤", "∘", "⊤\u0302"]), (MONO, ["ᵢ", "ⱼ"])):
        for character in lacking:
            other = Style("mono" if style.family == "sans" else "sans", style.weight, style.size)
            assert np.array_equal(ink(character, style), ink(character, other))
            assert not np.array_equal(ink(character, style), ink(UNKNOWN, style))


fillers = "\u115f\u1160\u3164\uffa0"  # letters that are blank by definition


@given(st.characters(categories=["L", "N", "P", "S", "Co"], exclude_characters=fillers), st.sampled_from([SANS, MONO]))
def test_no_letter_digit_or_sign_is_drawn_as_nothing(character: str, style: Style) -> None:
    assert ink(character, style).any()


@given(st.text(st.characters(exclude_categories=[]), max_size=20), st.sampled_from([SANS, MONO]), shares)
def test_no_text_raises(text: str, style: Style, share: float) -> None:
    ink(txt.literal(text), style)
    room = share * txt.width(text, style)
    ink(txt.elide(text, style, room), style)
    txt.wrap(text, style, room)


@pytest.mark.parametrize("style", [Style("serif", 400, 28), Style("sans", 400, 0), Style("sans", 400, float("nan"))])  # type: ignore[arg-type]
def test_a_style_that_is_none_is_quoted(style: Style) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(style))):
        txt.width("a", style)


# Widths


@STYLES
def test_digits_share_one_width_and_mono_all_of_ascii(style: Style) -> None:
    characters, em = (PRINTABLE, 0.6) if style.family == "mono" else ("0123456789", txt.width("0", style) / style.size)
    for c in characters:
        assert txt.width(c * 5, style) == pytest.approx(5 * em * style.size, rel=0.002), c


# The mono has another grave accent after capitals, and no more such rules in ASCII.
@given(st.sampled_from([400, 600]), st.text(PRINTABLE.replace("{", "").replace("`", ""), max_size=16))
@example(400, "-> != <= :: www")
def test_mono_text_is_its_characters_side_by_side(weight: int, text: str) -> None:
    style = Style("mono", weight, 20)  # 12 px each, so every character starts on a whole pixel
    assert txt.width(text, style) == pytest.approx(12 * len(text))
    apart = sum((ink(c, style, x=20 + 12 * i).astype(int) for i, c in enumerate(text)), np.zeros((100, 400), int))
    assert np.abs(ink(text, style) - np.minimum(apart, 255)).max() <= 2


def test_no_two_characters_become_an_arrow() -> None:
    assert txt.width("->", SANS) == pytest.approx(txt.width("-", SANS) + txt.width(">", SANS), rel=0.1)
    assert not np.array_equal(ink("->"), ink("→"))


@STYLES
def test_scripts_are_smaller_and_shifted(style: Style) -> None:
    assert txt.width("K^{T}x", style) == pytest.approx(txt.width("Kx", style) + 0.68 * txt.width("T", style), rel=0.01)
    base, up, down = (box(ink(t, style)) for t in ("H", "^{H}", "_{H}"))
    assert up[1] < base[1]
    assert up[3] < base[3]
    assert down[1] > base[1]
    assert down[3] > base[3]
    assert up[3] - up[1] < base[3] - base[1]


@pytest.mark.parametrize("text", ["a^b", "x_1", "snake_case", "^{open", "a}b", "{a}", "_{a{b}}"])
def test_other_carets_underscores_and_braces_are_themselves(text: str) -> None:
    assert txt.width(text, MONO) == pytest.approx(0.6 * 28 * len(text))


@given(st.text("^_{}ab", max_size=12))
def test_literal_text_has_no_scripts(text: str) -> None:
    assert txt.width(txt.literal(text), MONO) == pytest.approx(0.6 * 28 * len(text))


# Fitting


@given(ascii_text.filter(lambda t: "{" not in t), st.sampled_from([SANS, MONO]), shares)
def test_elided_text_is_the_longest_start_that_fits(text: str, style: Style, share: float) -> None:
    room = share * txt.width(text, style)
    fits = [s for s in (text[:n] for n in range(len(text))) if txt.width(s.rstrip(" ") + "…", style) <= room]
    whole = txt.width(text, style) <= room
    assert txt.elide(text, style, room) == (text if whole else fits[-1].rstrip(" ") + "…" if fits else "")


@given(st.lists(graphemes, max_size=12), st.sampled_from([SANS, MONO]), shares)
def test_eliding_never_splits_what_reads_as_one(parts: list[str], style: Style, share: float) -> None:
    text = "".join(parts)
    room = share * txt.width(text, style)
    fits = [s for n in range(len(parts)) if txt.width(s := "".join(parts[:n]).rstrip(" ") + "…", style) <= room]
    whole = txt.width(text, style) <= room
    assert txt.elide(text, style, room) == (text if whole else fits[-1] if fits else "")


runs = st.sampled_from([("", "S = "), ("^", "T"), ("_", "new"), ("_", "i, j"), ("", " / √d "), ("", "}")])


@given(st.lists(runs, max_size=6), st.sampled_from([SANS, MONO]), shares)
def test_a_script_that_is_cut_stays_a_script(parts: list[tuple[str, str]], style: Style, share: float) -> None:
    def start(n: int) -> str:
        """The first n characters that show, as markup."""
        written = ""
        for kind, text in parts:
            shown, n = text[:n], max(0, n - len(text))
            written += f"{kind}{{{shown}}}" if kind and shown else shown
        return written

    length = sum(len(text) for _, text in parts)
    text = start(length)
    room = share * txt.width(text, style)
    fits = [s for s in (start(n).rstrip(" ") + "…" for n in range(length)) if txt.width(s, style) <= room]
    whole = txt.width(text, style) <= room
    assert txt.elide(text, style, room) == (text if whole else fits[-1] if fits else "")


@given(st.lists(st.text(PRINTABLE.strip().replace("{", ""), min_size=1, max_size=12), max_size=12), st.floats(0, 500))
def test_wrapped_lines_fit_and_take_each_word_that_fits(words: list[str], room: float) -> None:
    lines = txt.wrap(" ".join(words), SANS, room)
    assert all(txt.width(line, SANS) <= room for line in lines)
    assert " ".join(lines).split() == [short for word in words if (short := txt.elide(word, SANS, room))]
    for line, following in pairwise(lines):
        word = following.split()[0]
        assert word.endswith("…") or txt.width(f"{line} {word}", SANS) > room


def test_the_spaces_of_a_script_break_no_line() -> None:
    assert txt.wrap(" Q\n S_{i, j} ", SANS, txt.width("S_{i, j}", SANS)) == ["Q", "S_{i, j}"]


# Pixels


@given(st.text(PRINTABLE + "ℓα√“”", min_size=1, max_size=8), st.sampled_from([SANS, MONO]))
def test_ink_is_where_the_text_is(text: str, style: Style) -> None:
    pixels = ink(text, style)
    if pixels.any():
        left, top, right, bottom = box(pixels)
        assert 20 - 0.15 * style.size <= left
        assert right <= 20 + txt.width(text, style) + 0.15 * style.size
        assert 60 - style.size <= top
        assert bottom <= 60 + 0.4 * style.size


@STYLES
def test_a_capital_is_as_tall_as_it_says_and_stands_on_its_baseline(style: Style) -> None:
    _, top, _, bottom = box(ink("H", style))
    assert bottom == 60
    assert bottom - top == pytest.approx(txt.cap_height(style), abs=1)


@pytest.mark.parametrize("family", ["sans", "mono"])
def test_heavier_is_heavier_and_the_nearest_weight_is_used(family: fonts.Family) -> None:
    weights = sorted(fonts.FILES[family])
    drawn = {w: ink("HBM", Style(family, w, 28)) for w in (100, 420, *weights, 900)}
    coverage = [int(drawn[w].sum()) for w in weights]
    assert coverage == sorted(set(coverage))
    assert np.array_equal(drawn[100], drawn[400])
    assert np.array_equal(drawn[420], drawn[400])
    assert np.array_equal(drawn[900], drawn[weights[-1]])


@pytest.mark.parametrize("family", ["sans", "mono"])
def test_a_mark_stands_over_its_letter(family: fonts.Family) -> None:
    style = Style(family, 500, 50)
    letter, both = ink("H", style), ink("H\u0304", style)
    left, top, right, bottom = box(letter)
    mark = box(both[: top - 1])
    assert np.array_equal(both[top:], letter[top:])
    assert mark[0] + mark[2] == pytest.approx(left + right, abs=3)


@given(st.floats(0, 100), st.floats(0, 20), st.floats(0, 50), st.floats(0, 10))
def test_the_same_text_is_the_same_pixels_wherever_it_stands(x: float, y: float, mx: float, my: float) -> None:
    first = ink("ℓ = 0.36", x=20, y=60)
    second = ink("ℓ = 0.36", x=20 + x, y=60 + y, move=(mx, my))
    shift = np.array(box(second)) - np.array(box(first))
    assert np.array_equal(np.roll(first, (shift[1], shift[0]), axis=(0, 1)), second)
    assert np.abs(shift[:2] - (x + mx, y + my)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("text", ["“cross”", "K^{T} 漢"])
def test_kept_masks_and_filled_outlines_agree(text: str) -> None:
    kept, filled = ink(text, SANS), ink(text, SANS._replace(size=14), x=10, y=30, scale=2)
    assert np.abs(kept.astype(int) - filled).max() <= 6


def test_long_text_is_drawn_where_it_shows() -> None:
    assert np.array_equal(ink("a" * 30), ink("a" * 30 + "b" * 9000))


def test_text_is_aligned_by_its_width() -> None:
    surface = cairo.ImageSurface(cairo.FORMAT_A8, 400, 100)
    ctx = cairo.Context(surface)
    size = txt.width("HBM", MONO)
    for x, align in ((20.0, "left"), (20 + size / 2, "center"), (20 + size, "right")):
        assert txt.draw(ctx, x, 60, "HBM", MONO, (1, 1, 1), align=align, alpha=0.5) == size  # type: ignore[arg-type]
    pixels = np.ndarray((100, 400), np.uint8, bytes(surface.get_data()), strides=(surface.get_stride(), 1))
    assert box(pixels) == box(ink("HBM", MONO))
    assert pixels.max() == pytest.approx(255 * (1 - 0.5**3), abs=2)
