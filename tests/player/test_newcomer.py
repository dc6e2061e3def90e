"""What someone new meets: an end that says why, signs that are explained, arrows that are theirs, a way back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

import flashsteps as fs
from flashsteps.player import page as view
from flashsteps.player.ending import ending
from flashsteps.player.pack import pack
from flashsteps.runs import record as run
from flashsteps.trace.trace import Trace
from flashsteps.units import size_of
from tests.player.browser import VIOLATIONS, browser, opened, tab
from tests.problems import ALL, Problem


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


def sample(algorithm: str = "flash-forward", **options) -> Trace:
    qkv = fs.load_qkv("sample")
    return fs.record(algorithm, *qkv, tokens=qkv.tokens, source=qkv.source, **{"block_q": 4, "block_k": 4} | options)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The addresses of a few pages, by name."""
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((4, 8, 8)), rng.standard_normal((2, 8, 8))
    runs = {
        "first": (sample(),),
        "second": (sample("flash2-forward", mask="causal"),),
        "plain": (sample("flash2-forward"),),
        "pair": (sample(), sample("flash2-forward", block_q=8)),
        "heads": (fs.record("flash2-forward", q, k, k, block_q=4, block_k=4),),
        "large": (fs.record("flash2-forward", *fs.load_qkv("random:32,16"), block_q=16, block_k=16),),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "VALUES_LIMIT", 0)
        runs["bare"] = (Problem("flash2-backward", 9, 9, 4, 4, 3, "causal").record(),)
    for name, traces in runs.items():
        view.write(folder / f"{name}.html", *traces)
    return {name: (folder / f"{name}.html").as_uri() for name in runs}


def at(page: Page, which: int = 0) -> int:
    return int(page.evaluate("which => window.flashsteps.views[which].step", which))


# ---- the end


def test_the_end_says_what_was_moved_and_why(chromium, pages):
    trace = sample()
    own, standard = (fs.count(name, n=16, d=32, block_q=4, block_k=4).total
                     for name in ("flash-forward", "standard-forward"))  # fmt: skip
    with opened(chromium, f"{pages['first']}#step={len(trace) - 2}") as page:
        card = page.get_by_role("region", name="what this run came to")
        expect(card).not_to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(card).to_be_visible()
        text = card.inner_text()
        assert f"{size_of(own)} moved: {own / standard:.2f}× what standard attention moves at this size" in text
        assert "Its tile is 4×4, so Q, O, ℓ and m come in 4 times." in text
        page.keyboard.press("ArrowLeft")
        expect(card).not_to_be_visible()


def test_where_it_crosses_over_is_where_the_counts_do():
    found = ending(sample("flash2-forward"))

    def moved(name: str, b: int, n: int = 16, d: int = 32) -> int:
        return fs.count(name, n=n, d=d, block_q=b, block_k=b).total

    def first(n: int, d: int, sizes: range) -> int:
        level = moved("standard-forward", 1, n, d)
        return next(b for b in sizes if moved("flash2-forward", b, n, d) < level)

    assert found["crossover"] == first(16, 32, range(1, 17))
    assert found["real"]["crossover"] == first(4096, 64, range(1, 64))
    assert found["real"]["own"] == moved("flash2-forward", 128, 4096, 64)


@pytest.mark.parametrize("algorithm", ALL)
def test_how_far_it_is_from_exact_attention(algorithm):
    trace = Problem(algorithm, 12, 12, 4, 4, 4, "causal", "float32").record()
    error = ending(trace)["error"]
    if "sparse" in algorithm or "paged" in algorithm:
        assert error is None  # standard attention has no such mask, and no pages
        return
    assert 0 < error["own"] < 1e-5
    assert ending(Problem(algorithm, 12, 12, 4, 4, 4, "causal", "float64").record())["error"]["own"] < 1e-12


def test_a_strangers_mask_is_not_opened(tmp_path):
    path = tmp_path / "mask.npy"
    np.save(path, np.ones((16, 16), bool))
    trace = sample("flash2-forward", mask=f"file:{path}")
    trace.meta["mask"] = f"file:{path}"
    path.unlink()
    assert ending(trace)["error"] is None


# ---- symbols, lines, signs


def test_alpha_is_told_with_its_numbers(chromium, pages):
    for name, step in (("first", 162), ("plain", None)):
        with opened(chromium, f"{pages[name]}#step={step or 0}") as page:
            if step is None:
                page.get_by_label("find a step").fill("α < 1")
                page.keyboard.press("Enter")
            cell = page.evaluate("""() => {
              const { run, step, sram } = window.flashsteps.views[0], slot = run.columns.slot[step] - 1;
              const value = run.slotValue(step), row = [...value.data].findIndex((x) => x > 0.005 && x < 1);
              return sram.slots[slot].pointed.tell(row, 0).find((line) => line.startsWith("α = "));
            }""")
            told = re.fullmatch(r"α = e\^\((\S+) ([+−]) (\S+)\) = (\S+)", cell)
            assert told, cell
            old, new = float(told[1].replace("−", "-")), float(told[3]) * (1 if told[2] == "−" else -1)
            assert abs(np.exp(old - new) - float(told[4])) < 0.01


def test_a_formula_gives_its_number_or_is_not_shown(chromium, pages):
    every = """() => { const { run } = window.flashsteps.views[0]; const told = {};
      for (let step = 0; step < run.steps; step++) {
        if (run.columns.op[step] !== 2) continue;
        const name = run.slots[run.columns.slot[step] - 1].name;
        told[name] = (told[name] ?? 0) + Boolean(formula(run, step, 0, 0));
      } return told; }"""
    expose = "export { mount };\nwindow.formula = formula;"
    for name in ("first", "second"):
        trace = sample() if name == "first" else sample("flash2-forward", mask="causal")
        text = view.page(trace).replace("export { mount };", expose)
        with tab(chromium) as page:
            page.set_content(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text))
            page.wait_for_function("() => window.flashsteps")
            told = page.evaluate(every)
            wanted = {"S", "P", "alpha"} | (
                {"m_new", "l_new", "m_ij", "l_ij"} if name == "first" else {"l_i", "m_i", "LSE"}
            )
            assert {slot for slot, times in told.items() if times} >= wanted, told


def test_a_line_of_the_source_leads_to_its_next_step(chromium, pages):
    trace = sample()
    steps = [event.step for event in trace if event.slot == "alpha"]
    with opened(chromium, f"{pages['first']}#step={steps[3]}") as page:
        line = page.locator(".code li.on")
        line.hover()
        expect(page.locator(".tip")).to_contain_text(f"runs {len(steps)} times, 4 so far; click: next time")
        line.click()
        assert at(page) == steps[4]
        page.keyboard.press("ArrowRight")  # the click took no arrows away
        assert at(page) == steps[4] + 1
        code = page.locator(".code").inner_text()
        assert "if dropout" not in code
        assert "for i in" in code


def test_heads_are_named_in_rows(chromium, pages):
    with opened(chromium, f"{pages['heads']}#step=8") as page:
        rows = page.locator("table[aria-label=S] tbody th").all_inner_texts()
        assert rows[:4] == ["0 · h0", "0 · h1", "1 · h0", "1 · h1"]


def test_larger_tiles_show_their_numbers(chromium, pages):
    with opened(chromium, f"{pages['large']}#step=8") as page:
        assert page.locator("table[aria-label=S] tbody td").count() == 16 * 16
        fits = """() => [...document.querySelectorAll("table[aria-label=S] tbody td")]
          .every((cell) => cell.scrollWidth <= cell.clientWidth + 1)"""
        assert page.evaluate(fits)


def test_bytes_are_written_as_in_films(chromium, pages):
    trace, step = sample(), 40
    with opened(chromium, f"{pages['first']}#step={step}") as page:
        sofar, own = sum(event.nbytes for event in trace[: step + 1]), trace.io().total
        standard = fs.count("standard-forward", n=16, d=32, block_q=4, block_k=4).total
        figures = page.locator(".meter b").all_inner_texts()
        assert figures == [f"{size_of(sofar)} of {size_of(own)}", size_of(standard)]


# ---- arrows, letters, jumps


def test_a_click_never_takes_the_arrows_away(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60") as page:
        for where in (".tensor .hit", ".slot .hit", ".map .hit", ".code li.runs", "select", ".numbers button"):
            page.locator(where).first.click(position={"x": 4, "y": 4})
            was = at(page)
            page.keyboard.press("Escape")  # a menu that is open is closed first
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowRight")
            assert (where, at(page)) == (where, was + 2)


def test_single_letters_can_be_switched_off(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60") as page:
        page.get_by_role("button", name="keys").click()
        page.get_by_label("single letters").uncheck()
        page.get_by_role("button", name="close").click()
        page.keyboard.press("l")
        assert at(page) == 60
        page.keyboard.press("ArrowRight")
        assert at(page) == 61


def test_back_undoes_a_jump(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60") as page:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("n")
        assert at(page) > 61
        page.go_back()
        page.wait_for_function("() => window.flashsteps.step === 61")
        page.keyboard.press("End")
        page.keyboard.press("u")
        assert at(page) == 61


def test_a_link_keeps_the_tile_and_the_theme(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60", color_scheme="dark") as page:
        page.locator('.tensor:has(.name:text-is("O")) .hit').click(position={"x": 10, "y": 120})
        page.keyboard.press("d")
        page.wait_for_function("() => location.hash.includes('theme=light') && location.hash.includes('keep=O')")
        linked = page.url
    with opened(chromium, linked, color_scheme="dark") as page:
        assert page.locator(".flashsteps").get_attribute("data-theme") == "light"
        expect(page.get_by_role("region", name="One tile of HBM")).to_contain_text("O[4:8]: when it moves")


FOUND = {
    "store O[4:8]": lambda e, x: e.op == "store" and e.tile.tensor == "O" and e.tile.start < 8 and e.tile.stop > 4,
    "next α < 1": lambda e, x: e.slot == "alpha" and bool(((x > 0.005) & (x < 1)).any()),
    "compute P": lambda e, x: e.op == "compute" and e.slot == "P",
    "step 200": lambda e, x: e.step == 200,
}


def test_a_step_is_found(chromium, pages):
    trace = sample()
    with opened(chromium, f"{pages['first']}#step=60") as page:
        for question, wanted in FOUND.items():
            steps = [e.step for e, x in zip(trace, trace.values, strict=True) if wanted(e, x)]
            page.evaluate("window.flashsteps.go(61)")
            page.locator(".flashsteps").focus()
            page.keyboard.press("/")
            page.locator(".find").fill("")
            page.keyboard.type(question)
            page.keyboard.press("Enter")
            assert at(page) == next((step for step in steps if step > 60), steps[0])
            expect(page.locator(".found")).to_contain_text(f"of {len(steps)} such")


def test_nothing_found_says_what_can_be(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60") as page:
        for question in ("store Z[4:8]", "<b>", "load K[99999:3]", "step 9999", "alpha << 3"):
            page.get_by_label("find a step").fill(question)
            page.keyboard.press("Enter")
            expect(page.locator(".found")).to_contain_text("try α < 1")
            assert at(page) == 60


# ---- room


def test_where_height_is_short_the_controls_are_one_row(chromium, pages):
    for width, height in ((720, 450), (740, 360), (320, 256)):
        with opened(chromium, f"{pages['second']}#step=30", width, height) as page:
            dock = page.locator(".dock").bounding_box()
            assert dock
            assert dock["height"] <= 76
            page.wait_for_timeout(100)
            lit = page.locator(".slot.made, .frame.now:not([hidden])").first.bounding_box()
            assert lit
            assert -1 <= lit["y"] < dock["y"]  # what moves is in sight


MOVES = """() => {
  const player = window.flashsteps, panels = [...document.querySelectorAll(".panel:not(.ending), .sums, .code li")];
  const tops = () => panels.map((one) => one.getBoundingClientRect().top);
  let was = tops(), worst = 0;
  for (let at = 1; at < player.last; at++) {
    player.go(at, 0);
    const now = tops();
    now.forEach((top, n) => { worst = Math.max(worst, Math.abs(top - was[n])); });
    was = now;
  }
  return worst;
}"""


@pytest.mark.parametrize(("name", "width", "height"), [("first", 1440, 900), ("second", 360, 740), ("pair", 360, 740)])
def test_no_panel_jumps(chromium, pages, name, width, height):
    with opened(chromium, pages[name], width, height) as page:
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(100)
        assert page.evaluate(MOVES) <= 24


def test_two_runs_are_on_one_screen_and_end_together(chromium, pages):
    with opened(chromium, pages["pair"]) as page:
        dock = page.locator(".dock").bounding_box()
        assert dock
        for part in (".stage", ".meter", ".map"):
            for one in page.locator(part).all():
                box = one.bounding_box()
                assert box
                assert box["y"] + box["height"] <= dock["y"] + 1, part
        scales = page.evaluate("window.flashsteps.views.map((view) => view.meter.scale)")
        assert scales[0] == scales[1]
        page.evaluate("window.flashsteps.go(window.flashsteps.last - 1)")
        lasts = page.evaluate("window.flashsteps.runs.map((run) => run.last)")
        assert all(lasts[n] - 8 <= at(page, n) <= lasts[n] for n in (0, 1))


# ---- for everyone


@pytest.mark.parametrize(
    ("name", "widths"),
    [("first", (1440, 360)), ("pair", (1440, 360)), ("second", (360,)), ("heads", (1440,)), ("bare", (360,))],
)
def test_axe_finds_nothing(chromium, pages, name, widths):
    """In the middle of a run where there is room, at its end where there is little."""
    address = f"{pages[name]}#{'at' if name == 'pair' else 'step'}=30"
    with opened(chromium, address, 360, 800, bypass_csp=True) as page:
        page.evaluate(AXE_SCRIPT)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            page.evaluate("end => end && window.flashsteps.go(window.flashsteps.last)", width == 360)
            found = page.evaluate(VIOLATIONS)
            assert (width, found) == (width, [])


def test_the_controls_are_one_tab_away(chromium, pages):
    with opened(chromium, pages["first"]) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="to the controls")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("button.main")).to_be_focused()


def test_targets_are_large_enough(chromium, pages):
    small = """() => [...document.querySelectorAll("button, select, input")].filter((one) => one.checkVisibility()
      && !one.matches(".skip, [type=checkbox]")).filter((one) => {
        const box = one.getBoundingClientRect(); return box.width < 24 || box.height < 24; })
      .map((one) => one.outerHTML)"""
    for name in ("first", "pair"):
        with opened(chromium, pages[name]) as page:
            assert page.evaluate(small) == []


def test_forced_colours_keep_frames_and_meter(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60", forced_colors="active") as page:
        hues = "[...document.querySelectorAll('.meter .bar i')].map((one) => getComputedStyle(one).backgroundColor)"
        assert len(set(page.evaluate(hues))) > 3
        frame = "getComputedStyle(document.querySelector('.frame:not([hidden])')).borderTopStyle"
        assert page.evaluate(frame) == "solid"
        framed = """[...document.querySelectorAll(".slot .matrix")].filter((one) => {
          const { display, borderTopColor } = getComputedStyle(one, "::before");
          return display !== "none" && borderTopColor !== "rgba(0, 0, 0, 0)"; }).length"""
        assert page.evaluate(framed) == page.locator(".slot.read, .slot.made").count() > 0


def test_paper_is_light_and_without_controls(chromium, pages):
    with opened(chromium, f"{pages['first']}#step=60", color_scheme="dark") as page:
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.flashsteps')).backgroundColor")
            == "rgb(255, 255, 255)"
        )
        expect(page.locator(".buttons").first).not_to_be_visible()
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator(".flashsteps").get_attribute("data-theme") is None


def test_the_card_of_programs_adds_up():
    trace = sample("flash2-forward")
    header = pack(trace).header
    assert header["ending"]["own"] == trace.io().total
