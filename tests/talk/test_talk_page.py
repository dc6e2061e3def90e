"""The talk in a real browser, with the network off: a chapter a click, back to its end, all at once, and its notes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flashsteps.filmkit.presets import Preset
from flashsteps.talk import make
from flashsteps.talk.page import write
from flashsteps.talk.plan import LONGEST, plan
from tests.player.browser import browser, opened

NAMES = ("problem", "race")
SLIDES: list[Any] = [slide for column in plan(NAMES, "wide", "dark", "short") for slide in column]


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "talk.html"
    return make.Talk(path, NAMES, Preset(800, 450, 4), "dark", "short").write()


def here(page: Page) -> str:
    return str(page.evaluate("Reveal.getCurrentSlide().ariaLabel"))


def video(page: Page, what: str):
    return page.evaluate(f"Reveal.getCurrentSlide().querySelector('video').{what}")


def seen(page: Page) -> str:
    """What is to be seen of a chapter: its film (video), or its picture (img)."""
    visible = "(part) => getComputedStyle(part).visibility === 'visible'"
    parts = "[...Reveal.getCurrentSlide().querySelectorAll('img, video')]"
    return str(page.evaluate(f"{parts}.filter({visible}).map((part) => part.localName).join()"))


def test_it_is_one_file_that_asks_for_nothing(talk):
    text = talk.read_text(encoding="utf-8")
    elements = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    addresses = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', elements)
    assert addresses == [link.address for link in SLIDES[-1].links]
    assert text.count("</script>") == 3
    assert "<!--" not in text  # within which a script would not end where it does
    assert text.count('data-src="data:video/mp4;base64,') == sum(hasattr(slide, "span") for slide in SLIDES)


def test_arrows_go_on_and_back_and_a_chapter_plays_to_its_end_and_stands(chromium, talk):
    with opened(chromium, talk.as_uri(), offline=True) as page:
        expect(page.locator(".keys")).to_be_visible()
        for slide in SLIDES[:3]:
            assert here(page) == slide.name
            if slide != SLIDES[2]:
                page.keyboard.press("ArrowRight")
        page.wait_for_function("() => Reveal.getCurrentSlide().querySelector('video').currentTime > 0")
        assert seen(page) == "video"
        page.evaluate("Reveal.getCurrentSlide().querySelector('video').playbackRate = 8")
        page.wait_for_function("() => Reveal.getCurrentSlide().querySelector('video').ended")
        assert (seen(page), here(page)) == ("video", SLIDES[2].name)
        page.mouse.click(600, 400)
        assert here(page) == SLIDES[3].name
        page.keyboard.press("ArrowLeft")
        assert (here(page), seen(page), video(page, "paused")) == (SLIDES[2].name, "img", True)
        page.keyboard.press("r")
        page.wait_for_function("() => !Reveal.getCurrentSlide().querySelector('video').paused")
        assert seen(page) == "video"
        page.keyboard.press("End")
        assert here(page) == "Read on"


def test_all_slides_are_seen_together_with_how_chapters_end(chromium, talk):
    with opened(chromium, talk.as_uri() + "#/1/1", offline=True) as page:
        page.wait_for_function("() => Reveal.getCurrentSlide().classList.contains('playing')")
        page.keyboard.press("o")
        assert page.evaluate("Reveal.isOverview()") is True
        assert seen(page) == "img"
        expect(page.locator(".chapter img").nth(1)).to_be_visible()
        page.locator("section.card", has_text="Race").click()
        assert (page.evaluate("Reveal.isOverview()"), here(page)) == (False, "Race")


def test_the_overview_has_all_slides_in_the_window_from_wherever_one_comes(chromium, tmp_path):
    names = ["problem", "standard", "online-softmax", "flash-forward", "race", "limits"]
    path = make.Talk(tmp_path / "talk.html", names, Preset(800, 450, 1), "dark", "short").write()
    every = (
        "[...document.querySelectorAll('.slides section section')].map((one) => one.getBoundingClientRect().toJSON())"
    )
    with opened(chromium, path.as_uri(), offline=True) as page:
        for key, at in (("Home", "first"), ("End", "last")):
            page.keyboard.press(key)
            page.keyboard.press("o")
            boxes = page.evaluate(f"{every}.map((box) => [box.left, box.right, box.top, box.bottom])")
            assert len(boxes) == page.evaluate("Reveal.getTotalSlides()")
            for left, right, top, bottom in boxes:
                assert 0 <= left < right <= 1440, at
                assert 0 <= top < bottom <= 900, at
            assert max(right for _, right, *_ in boxes) - min(left for left, *_ in boxes) > 1200
            page.set_viewport_size({"width": 700, "height": 900})
            page.wait_for_function(f"() => {every}.every((box) => box.right <= 700)")
            page.set_viewport_size({"width": 1440, "height": 900})
            page.keyboard.press("o")
            page.wait_for_function("() => Reveal.getCurrentSlide().getBoundingClientRect().width > 1400")


def test_notes_are_shown_in_a_window_of_their_own_and_follow(chromium, talk):
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto(talk.as_uri() + "#/1/1")
    page.wait_for_function("() => window.flashsteps")
    with context.expect_page() as popup:
        page.keyboard.press("s")
    notes = popup.value.locator(".speaker-controls-notes .value")
    expect(notes).to_have_text(re.compile(re.escape(SLIDES[2].said[-1])))
    page.keyboard.press("ArrowRight")
    expect(notes).to_have_text(re.compile(re.escape(SLIDES[3].said[-1])))
    context.close()


def test_who_asked_for_less_motion_sees_how_chapters_end(chromium, talk):
    with opened(chromium, talk.as_uri() + "#/1/1", offline=True, reduced_motion="reduce") as page:
        assert (seen(page), video(page, "paused")) == ("img", True)
        page.keyboard.press("ArrowRight")
        assert (seen(page), here(page)) == ("img", SLIDES[3].name)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1280, 720), "W"),
        ((1080, 1080), "W"),
        ((800, 450), "<script>document.title = '\"'</script> & so on, "),
        ((1280, 720), "快速注意力"),
        ((1080, 1080), "快速注意力"),
    ],
)
def test_its_first_slide_has_room_for_any_title_and_name(chromium, tmp_path, size, words):
    """And what is written in them is never run. Without a word of a film there is little to make."""
    words = (words * LONGEST)[:LONGEST].strip()
    first = plan([], "wide", title=words, by=words)[0]
    path = tmp_path / "talk.html"
    write(path, [first], [], size, "light")
    with opened(chromium, path.as_uri(), offline=True, width=size[0], height=size[1]) as page:
        title, who = page.locator(".opening h2"), page.locator(".opening .by")
        assert [title.inner_text(), who.inner_text(), page.title()] == [words] * 3
        assert page.locator("meta[name=author]").get_attribute("content") == words
        boxes = [one.bounding_box() for one in page.locator(".opening > div > :is(h2, p)").all()]
        assert len(boxes) == 4
        below = 0.0
        for box in boxes:
            assert box
            assert box["y"] >= below
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            below = box["y"] + box["height"]
        assert below <= size[1]


def test_it_is_printed_a_page_a_slide(chromium, talk):
    with opened(chromium, talk.as_uri() + "?print-pdf", offline=True) as page:
        expect(page.locator(".pdf-page")).to_have_count(len(SLIDES))
        expect(page.locator(".keys")).to_be_hidden()
        printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type /Page\b", printed)) == len(SLIDES)
