"""The player in a real browser: its replay is the trace's, and each control, key, link and card does what it says."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

import flashsteps as fs
from flashsteps import player, theme
from flashsteps.machine.events import Event, Tile
from flashsteps.player import page as view
from flashsteps.player.pack import Packed, pack
from flashsteps.runs import record as run
from flashsteps.story.captions import captions
from flashsteps.trace.trace import Trace
from tests.player.browser import LAID_OUT, browser, opened, tab
from tests.problems import ALL, Problem, problems

SIZES = ((360, 740), (800, 1000), (1440, 900), (3840, 2160))


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


def sample(algorithm: str = "flash-forward", **options) -> Trace:
    qkv = fs.load_qkv("sample")
    return fs.record(algorithm, *qkv, tokens=qkv.tokens, source=qkv.source, **{"block_q": 4, "block_k": 4} | options)


def written(folder: Path, *traces: Trace) -> str:
    """The address of a page with these runs."""
    path = folder / f"{len(list(folder.iterdir()))}.html"
    view.write(path, *traces)
    return path.as_uri()


@pytest.fixture(scope="module")
def first(folder) -> tuple[Trace, str]:
    """FA1 on the sample, whose tiles are loaded, changed and stored again and again."""
    trace = sample()
    return trace, written(folder, trace)


@pytest.fixture(scope="module")
def second(folder) -> tuple[Trace, str]:
    """FA2 on the sample, causal: programs, skipped tiles, keys that are loaded more or less often."""
    trace = sample("flash2-forward", mask="causal")
    return trace, written(folder, trace)


def at(page: Page, which: int = 0) -> int:
    return int(page.evaluate("which => window.flashsteps.views[which].step", which))


def go(page: Page, step: int) -> None:
    page.evaluate("step => { const p = window.flashsteps; p.pause(); p.go(p.find(0, step)); }", step)


def steps_of(trace: Trace, wanted) -> list[int]:
    return [event.step for event in trace if wanted(event)]


def after(steps: list[int], step: int) -> int:
    return next((one for one in steps if one > step), step)


def before(steps: list[int], step: int) -> int:
    return next((one for one in reversed(steps) if one < step), step)


def visits(trace: Trace) -> list[int]:
    """The first step of each round of both loops."""
    firsts, was = [], None
    for event in trace:
        now = (event.program, *event.loop.items()) if {"i", "j"} <= event.loop.keys() else None
        if now and now != was:
            firsts.append(event.step)
        was = now
    return firsts


# ---- the replay


STATES = """async function states([header, data, values, steps]) {
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const run = await unpack({ header, data: bytes(data), values: bytes(values) });
  return steps.map((step) => state(run, step));
}
function state(run, step) {
  const sram = run.slots.flatMap((slot, n) => {
    const made = run.holder(n, step);
    return made < 0 ? [] : [[slot.name, Array.from(run.slotValue(made).data)]];
  });
  return {
    hbm: run.tensors.map((one, n) => [one.name, Array.from(run.rowsAt(n, 0, one.shape[0], step))]),
    sram, moved: run.movedBy(step), onChip: run.onChip(step).reduce((sum, [, bytes]) => sum + bytes, 0),
  };
}"""


@pytest.fixture(scope="module")
def replayed(chromium):
    """What the player's replay has after each of some steps."""
    page = chromium.new_page()
    page.add_script_tag(content=player.module() + "window.unpack = unpack;", type="module")
    page.wait_for_function("() => window.unpack")

    def states(packed: Packed, steps: list[int]) -> list[dict[str, Any]]:
        texts = [base64.b64encode(part).decode() for part in packed[1:]]
        found: list[dict[str, Any]] = page.evaluate(
            f"async (given) => {{ {STATES} return states(given); }}", [packed.header, *texts, steps]
        )
        return found

    yield states
    page.close()


def check_replay(trace: Trace, step: int, state: dict[str, Any]) -> None:
    truth = trace.at(step)
    for mine, theirs in ((truth.hbm, dict(state["hbm"])), (truth.sram, dict(state["sram"]))):
        assert mine.keys() == theirs.keys()
        for name, data in mine.items():
            there = np.array(theirs[name], float)
            np.testing.assert_array_equal(there, np.asarray(data, float).ravel(), err_msg=f"{name} after {step}")
    assert state["moved"] == sum(event.nbytes for event in trace[: step + 1])


@settings(max_examples=40)
@given(problem=problems(more=True), share=st.floats(0, 1))
def test_the_replay_is_that_of_the_trace(replayed, problem: Problem, share: float):
    trace = problem.record()
    steps = [-1, round(share * (len(trace) - 1)), len(trace) - 1]
    for step, state in zip(steps, replayed(pack(trace), steps), strict=True):
        check_replay(trace, step, state)


@pytest.mark.parametrize("algorithm", ["flash-forward", "standard-backward", "flash2-forward"])
def test_each_step_of_a_run_is_replayed(replayed, algorithm):
    trace = Problem(algorithm, 5, 7, 3, 2, 3, "causal").record()
    states = replayed(pack(trace), list(range(-1, len(trace))))
    for step, state in enumerate(states, -1):
        check_replay(trace, step, state)
    assert max(state["onChip"] for state in states) == trace.peak.total


def test_heads_that_share_keys_are_replayed(replayed):
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((4, 6, 3)), rng.standard_normal((2, 6, 3))
    trace = fs.record("flash2-forward", q, k, k, block_q=2, block_k=3)
    steps = [0, len(trace) // 2, len(trace) - 1]
    for step, state in zip(steps, replayed(pack(trace), steps), strict=True):
        check_replay(trace, step, state)


def test_what_was_stored_last_is_what_stands(replayed):
    """Blocks of O, ℓ and m are stored over the whole of them, and here the whole over its blocks, too."""
    trace = Problem("flash-forward", 4, 4, 2, 2, 2).record()
    again = [event._replace(step=len(trace) + n) for n, event in enumerate(trace[:3])]
    longer = replace(trace, events=(*trace, *again), values=(*trace.values, *trace.values[:3]))
    steps = [len(trace) - 1, len(longer) - 1]
    for step, state in zip(steps, replayed(pack(longer), steps), strict=True):
        check_replay(longer, step, state)


# ---- what is shown


@pytest.mark.parametrize("algorithm", ALL)
def test_every_algorithm_can_be_stepped_through(chromium, folder, algorithm):
    trace = Problem(algorithm, 5, 5, 2, 3, 2, "causal").record()
    with opened(chromium, written(folder, trace)) as page:
        page.evaluate("() => { const p = window.flashsteps; for (let at = 0; at <= p.last; at++) p.go(at); }")
        status = page.locator(".status").inner_text()
        assert f"step {len(trace) - 1} of {len(trace) - 1}" in status
        assert f"{trace.io().total:,} B moved so far" in status
        assert page.locator(".meter b").first.inner_text().count(" of ") == 1


def test_slots_show_the_numbers_of_the_step(chromium, first):
    trace, address = first
    step = next(event.step for event in trace if event.slot == "P" and event.loop == {"j": 2, "i": 1})
    with opened(chromium, f"{address}#step={step}", width=1920) as page:
        for slot in ("S", "P", "m_ij"):
            cells = page.locator(f"table[aria-label={slot}] tbody td").all_inner_texts()
            shown = np.array([float(cell.replace("−", "-")) for cell in cells])
            np.testing.assert_allclose(shown, trace.at(step).sram[slot].ravel(), atol=0.0051)
        sides = page.locator("table[aria-label=S] tbody th").all_inner_texts()
        heads = page.locator("table[aria-label=S] thead th").all_inner_texts()
        assert (sides, heads) == (trace.meta["tokens"][4:8], trace.meta["tokens"][8:12])
        assert page.locator(".code .on").inner_text() == 'p = sram["P"] = exp_sub(s, m_ij[:, None])'
        assert page.locator(".caption").inner_text() == captions(trace)[step + 1]
        assert page.locator(".slot.made .name").all_inner_texts() == ["P"]
        assert sorted(page.locator(".slot.read .name").all_inner_texts()) == ["S", "mij"]


def test_the_line_that_runs_is_in_sight(chromium, folder):
    """Even where SRAM is so tall that it goes on below the controls."""
    trace = Problem("flash2-backward", 32, 32, 16, 16, 16).record()
    address = written(folder, trace)
    seen = """() => {
      const [list, line] = [".code", ".code .on"].map((one) => document.querySelector(one).getBoundingClientRect());
      const dock = document.querySelector(".dock").getBoundingClientRect();
      return list.top <= line.top && line.bottom <= Math.min(list.bottom, dock.top);
    }"""
    for step in (5, len(trace) // 2, len(trace) - 1):
        with opened(chromium, f"{address}#step={step}") as page:
            page.evaluate("document.fonts.ready")
            page.wait_for_function(seen)


def test_the_caption_tells_of_a_max_that_moves(chromium, first):
    trace, address = first
    step = next(e.step for e in trace if e.slot == "alpha" and e.loop == {"j": 2, "i": 1})
    with opened(chromium, f"{address}#step={step}") as page:
        expect(page.locator(".caption")).to_have_text(
            "“street” beats the old max of “cross”: its old sum and output shrink by α = 0.36."
        )


def test_hbm_has_the_colours_of_its_values(chromium, first):
    trace, address = first
    read = """() => {
      const { columns } = window.flashsteps.views[0].hbm, at = columns.findIndex(({ one }) => one.name === "O");
      const { width, height } = columns[at].texture.canvas;
      return Array.from(columns[at].texture.context.getImageData(0, 0, width, height).data);
    }"""
    with opened(chromium, f"{address}#step={len(trace) - 1}", color_scheme="dark") as page:
        pixels = np.array(page.evaluate(read)).reshape(16, 32, 4)
        order = np.argsort(trace.outputs["O"].astype(float), axis=None)
        assert (np.diff(pixels[..., 0].ravel()[order]) >= 0).all()  # a larger value is nearer to the hue
        assert (pixels[..., 3] == 255).all()


def test_what_was_not_written_yet_is_left_clear(chromium, second):
    _, address = second
    read = """() => {
      const found = window.flashsteps.views[0].hbm.columns.find(({ one }) => one.name === "O").texture;
      return Math.max(...found.context.getImageData(0, 0, 32, 16).data);
    }"""
    with opened(chromium, address) as page:
        assert page.evaluate(read) == 0


# ---- controls and keys


BUTTONS = {
    "to the start": lambda trace, step: -1,
    "back": lambda trace, step: step - 1,
    "step": lambda trace, step: step + 1,
    "to the end": lambda trace, step: len(trace) - 1,
    "next load": lambda trace, step: after(steps_of(trace, lambda e: e.op == "load"), step),
    "next store": lambda trace, step: after(steps_of(trace, lambda e: e.op == "store"), step),
    "next tile of S": lambda trace, step: after(visits(trace), step),
    "next program": lambda trace, step: after(
        [e.step for e, was in zip(trace, (None, *trace), strict=False) if was is None or e.program != was.program], step
    ),
}


def touched(trace: Trace, step: int) -> list[int]:
    """All moves of the tile that moved last."""
    last = next(event.tile for event in reversed(trace[: step + 1]) if event.op in ("load", "store") and event.tile)
    return steps_of(trace, lambda e: e.op in ("load", "store") and e.tile.tensor == last.tensor
                    and e.tile.start < last.stop and last.start < e.tile.stop)  # fmt: skip


def test_buttons(chromium, second):
    trace, address = second
    with opened(chromium, address) as page:
        for name, goes_to in BUTTONS.items():
            go(page, 30)
            page.get_by_role("button", name=name, exact=True).click()
            assert at(page) == goes_to(trace, 30), name


def test_the_button_of_the_tile_goes_to_its_next_move(chromium, second):
    trace, address = second
    step = next(event.step for event in trace if event.tile == Tile("K", 0, 4) and event.op == "load")
    with opened(chromium, f"{address}#step={step}") as page:
        page.get_by_role("button", name="next K[0:4]", exact=True).click()
        assert at(page) == after(touched(trace, step), step) > step


KEYS = {
    "ArrowRight": BUTTONS["step"], ".": BUTTONS["step"], "ArrowLeft": BUTTONS["back"], ",": BUTTONS["back"],
    "Home": BUTTONS["to the start"], "End": BUTTONS["to the end"], "l": BUTTONS["next load"],
    "s": BUTTONS["next store"], "n": BUTTONS["next tile of S"], "p": BUTTONS["next program"],
    "Shift+L": lambda trace, step: before(steps_of(trace, lambda e: e.op == "load"), step),
    "Shift+S": lambda trace, step: before(steps_of(trace, lambda e: e.op == "store"), step),
    "Shift+N": lambda trace, step: before(visits(trace), step),
    "t": lambda trace, step: after(touched(trace, step), step),
    "Shift+T": lambda trace, step: before(touched(trace, step), step),
}  # fmt: skip


def test_keys(chromium, second):
    trace, address = second
    with opened(chromium, f"{address}#step=30") as page:
        for key, wanted in KEYS.items():
            go(page, 60)
            page.keyboard.press(key)
            assert (key, at(page)) == (key, wanted(trace, 60))


def test_keys_that_move_nothing(chromium, first):
    _, address = first
    with opened(chromium, f"{address}#step=30") as page:
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.get_by_label("speed").input_value() == "4"
        page.keyboard.press("-")
        assert page.get_by_label("speed").input_value() == "2"
        page.keyboard.press("m")
        expect(page.locator(".map [role=grid]")).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("l")  # the player waits while its keys are read
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).not_to_be_visible()
        page.keyboard.press("Control+ArrowRight")
        assert at(page) == 30


def test_every_key_that_works_is_told(chromium, first):
    _, address = first
    with opened(chromium, address) as page:
        page.get_by_role("button", name="keys").click()
        told = " ".join(page.locator("dialog dt").all_inner_texts()).lower().split()
        page.get_by_role("button", name="close").click()
    working = {"→", "←", "space", "home", "end", "shift", "esc", "?", "−", "+", *"lsnptwmfcd"}
    assert working <= set(told)


def test_it_plays_pauses_and_ends(chromium, folder):
    trace = Problem("flash2-forward", 4, 4, 2, 2, 2).record()
    with opened(chromium, written(folder, trace)) as page:
        page.get_by_label("speed").select_option("16")
        play = page.locator("button.main")
        play.click()
        expect(play).to_have_text("pause")
        page.wait_for_function("() => window.flashsteps.step > 1")
        page.keyboard.press(" ")  # a button that has the focus is pressed by the space bar
        expect(play).to_have_text("play")
        paused = at(page)
        page.wait_for_timeout(200)
        assert at(page) == paused > 0
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(" ")
        page.wait_for_function("last => window.flashsteps.step === last", arg=len(trace) - 1)
        expect(play).to_have_text("play")


def test_the_scrubber_goes_anywhere(chromium, first):
    trace, address = first
    with opened(chromium, address) as page:
        slider = page.get_by_role("slider", name="step")
        slider.fill("100")
        assert at(page) == 99  # its 0 is the start
        assert slider.get_attribute("aria-valuetext") == f"step 99 of {len(trace) - 1}"
        box = slider.bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert abs(at(page) - len(trace) / 2) < 5


def test_the_scrubber_marks_the_outer_loop(chromium, first):
    trace, address = first
    firsts = [next(event.step for event in trace if event.loop.get("j") == j) for j in range(4)]
    with opened(chromium, address) as page:
        assert page.locator(".marks span").all_inner_texts() == [f"j = {j}" for j in range(4)]
        for wider in (0, 40):  # what stands beside the slider may get another width
            page.evaluate("wide => { window.flashsteps.views[0].map.element.style.paddingRight = `${wide}px`; }", wider)
            page.evaluate(LAID_OUT)
            room = page.evaluate("window.flashsteps.slider.clientWidth - 20")
            lefts = page.locator(".marks i").evaluate_all("all => all.map((mark) => parseFloat(mark.style.left))")
            np.testing.assert_allclose(lefts, [room * (step + 1) / len(trace) for step in firsts], atol=1)


def test_a_click_in_the_map_goes_to_the_tile(chromium, second):
    trace, address = second
    wanted = next(event.step for event in trace if event.loop == {"i": 2, "j": 1})
    with opened(chromium, address) as page:
        box = page.locator(".map [role=grid]").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] * 1.5 / 4, box["y"] + box["height"] * 2.5 / 4)
        assert at(page) == wanted
        page.locator(".map [role=grid]").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert at(page) == next(event.step for event in trace if event.loop == {"i": 3, "j": 1})
        expect(page.locator(".map [role=gridcell]")).to_contain_text("tile i = 3, j = 1. queries 12–15; keys 4–7")


def test_the_map_leads_through_each_visit_of_a_tile(chromium, folder):
    """The backward pass makes each tile twice: for dK and dV, and for dQ."""
    trace = Problem("flash2-backward", 4, 4, 2, 2, 2).record()
    firsts = [step for step in visits(trace) if trace[step].loop == {"i": 1, "j": 0}]
    with opened(chromium, written(folder, trace)) as page:
        box = page.locator(".map [role=grid]").bounding_box()
        assert box
        seen = []
        for _ in range(3):
            page.mouse.click(box["x"] + 5, box["y"] + box["height"] - 5)
            seen.append(at(page))
    assert seen == [*firsts, firsts[0]]


# ---- links


def test_a_link_opens_at_its_step_and_the_address_follows(chromium, first):
    _, address = first
    with opened(chromium, f"{address}#step=40") as page:
        assert at(page) == 40
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => location.hash === '#step=41'")
        page.evaluate("location.hash = '#step=7'")
        page.wait_for_function("() => window.flashsteps.step === 7")


@pytest.mark.parametrize(
    ("hash", "step"), [("#step=-1", -1), ("#step=99999", 266), ("#step=x", -1), ("#step=1e9", -1), ("#<b>", -1)]
)
def test_a_link_to_nowhere_does_no_harm(chromium, first, hash, step):
    _, address = first
    with opened(chromium, address + hash) as page:
        assert at(page) == step


def test_a_link_can_be_copied(chromium, first):
    _, address = first
    with opened(chromium, f"{address}#step=12") as page:
        page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="link").click()
        assert page.url.endswith("#step=13")


# ---- what is pointed at


def hover(page: Page, locator: str, row: int, rows: int, column: int, columns: int) -> list[str]:
    box = page.locator(f"{locator} [role=grid]").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * (column + 0.5) / columns, box["y"] + box["height"] * (row + 0.5) / rows)
    return page.locator(".tip > *").all_inner_texts()


def test_a_tip_tells_who_made_a_value_and_who_read_it(chromium, first):
    trace, address = first
    made = next(event.step for event in trace if event.slot == "S" and event.loop == {"j": 2, "i": 1})
    value = float(trace.at(made).sram["S"][2, 0])
    q, k = trace.initial["Q"][6].astype(float), trace.initial["K"][8].astype(float)
    with opened(chromium, f"{address}#step={made + 3}") as page:
        assert hover(page, '.slot:has(.name:text-is("S"))', 2, 4, 0, 4) == [
            f"S[cross, street] = {value:.5g}",
            "query 6, key 8",
            f"S = q·k / √d = {np.dot(q, k):.1f} / {32**0.5:.2f} = {value:.2f}",
            f"made at step {made} from k, q",
            f"read at steps {made + 1}, {made + 2}",
        ]
        page.keyboard.press("w")
        assert at(page) == made


def test_a_tip_in_hbm_tells_of_the_tile(chromium, first):
    trace, address = first
    tile = [event for event in trace if event.tile == Tile("O", 4, 8)]
    moves = {op: [event.step for event in tile if event.op == op] for op in ("load", "store")}
    with opened(chromium, f"{address}#step={moves['store'][0]}") as page:
        tip = hover(page, '.tensor:has(.name:text-is("O"))', 6, 16, 3, 32)
        value = float(trace.at(moves["store"][0]).hbm["O"][6, 3])
        assert tip[0] == f"O[cross, 3] = {value:.5g}".replace("-", "−")
        assert tip[2] == f"stored at step {moves['store'][0]}"
        assert tip[3] == f"O[4:8]: loaded 4 times, at {', '.join(map(str, moves['load']))}"
        page.mouse.move(0, 0)
        expect(page.locator(".tip")).not_to_be_visible()


def test_cells_are_read_with_the_keyboard_alone(chromium, first):
    _, address = first
    with opened(chromium, f"{address}#step=41") as page:
        grid = page.locator('.slot:has(.name:text-is("S")) [role=grid]')
        page.locator(".code").focus()  # from there, tab leads on to what is focusable
        grid.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert at(page) == 41  # the arrows went from cell to cell
        cell = grid.locator("[role=gridcell]")
        expect(cell).to_contain_text("S[because, the]")
        assert grid.get_attribute("aria-activedescendant") == cell.get_attribute("id")
        expect(page.locator("[aria-live]")).to_contain_text("S[because, the]")
        page.keyboard.press("Escape")
        page.keyboard.press("l")
        assert at(page) > 41


def test_touch_shows_a_tip_and_keeps_a_tile(chromium, first):
    _, address = first
    with opened(chromium, address, width=360, height=740, has_touch=True) as page:
        page.locator('.tensor:has(.name:text-is("K")) [role=grid]').tap(position={"x": 10, "y": 5})
        expect(page.locator(".tip")).to_contain_text("K[[CLS], ")
        expect(page.locator(".card h3").nth(1)).to_have_text("K[0:4]: when it moves")


# ---- what a newcomer asks


def test_which_tile_was_loaded_most_often(chromium, second):
    trace, address = second
    loads: dict[str, int] = {}
    for event in trace:
        if event.op == "load":
            loads[str(event.tile)] = loads.get(str(event.tile), 0) + 1
    most = [tile for tile, n in loads.items() if n == max(loads.values())]
    with opened(chromium, address) as page:
        card = page.get_by_role("region", name="Which tiles move most often")
        expect(card.locator("p")).to_have_text(f"{', '.join(most)}: {max(loads.values())} times each.")
        assert card.locator("tbody tr").first.inner_text().split("\t")[:2] == [most[0], f"0 of {loads[most[0]]}"]


def test_what_m_and_l_were_before_and_after_a_tile(chromium, first):
    trace, address = first
    steps = [event.step for event in trace if event.loop == {"j": 1, "i": 2}]
    start, end = trace.at(steps[0] - 1).hbm, trace.at(steps[-1]).hbm
    with opened(chromium, address) as page:
        box = page.locator(".map [role=grid]").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] * 1.5 / 4, box["y"] + box["height"] * 2.5 / 4)
        card = page.get_by_role("region", name="This tile of S: before and after")
        expect(card.locator("h3")).to_have_text("Tile of S at i = 2, j = 1: before and after")
        rows = [row.split("\t") for row in card.locator("tbody tr").all_inner_texts()]
        alpha = trace.at(steps[-1]).sram["alpha"]
        for n, row in enumerate(rows):
            numbers = [start["m"][8 + n], end["m"][8 + n], alpha[n], start["l"][8 + n], end["l"][8 + n]]
            assert row == [trace.meta["tokens"][8 + n], *(f"{number:.2f}" for number in numbers)]


def test_when_a_block_was_stored_and_how_many_bytes_had_moved(chromium, first):
    trace, address = first
    moves = steps_of(trace, lambda e: e.op in ("load", "store") and e.tile.tensor == "O" and e.tile.start < 8
                     and e.tile.stop > 4)  # fmt: skip
    with opened(chromium, address) as page:
        page.locator('.tensor:has(.name:text-is("O")) [role=grid]').click(position={"x": 10, "y": 120})
        card = page.get_by_role("region", name="One tile of HBM: when it moves")
        expect(card.locator("h3")).to_have_text("O[4:8]: when it moves")
        expect(card.locator("p")).to_contain_text("2nd of 4 blocks of O")
        told = [row.split("\t") for row in card.locator("tbody tr").all_inner_texts()]
        sums = np.cumsum([event.nbytes for event in trace])
        assert [row[0] for row in told] == [f"{step}" for step in moves]
        assert [row[2] for row in told] == [f"{sums[step]:,} B" for step in moves]
        assert [row[1] for row in told][-1] == "store o → O[4:8]"
        card.get_by_role("button", name=f"go to step {moves[-1]}").click()
        assert at(page) == moves[-1]
        card.get_by_role("button", name="follow").click()
        expect(card.locator("h3")).to_have_text("O[4:8]: when it moves")  # it moves right now
        page.keyboard.press("l")
        expect(card.locator("h3")).not_to_have_text("O[4:8]: when it moves")


def test_bytes_by_tensor_add_up(chromium, second):
    trace, address = second
    io = trace.io()
    with opened(chromium, f"{address}#step={len(trace) - 1}") as page:
        rows = page.get_by_role("region", name="Traffic by tensor").locator("tbody tr").all_inner_texts()
        told = {name: (read, wrote) for name, read, wrote in (row.split("\t") for row in rows)}
        assert told == {name: (f"{both.read:,} B", f"{both.written:,} B") for name, both in io.by_tensor.items()}
        standard = fs.count("standard-forward", n=16, d=32, block_q=4, block_k=4).total
        expect(page.locator(".meter")).to_contain_text(f"{standard:,} B")


# ---- two runs


@pytest.fixture(scope="module")
def pair(folder) -> tuple[tuple[Trace, Trace], str]:
    traces = sample("flash-forward"), sample("flash2-forward")
    return traces, written(folder, *traces)


def test_two_runs_go_in_step_by_bytes(chromium, pair):
    traces, address = pair
    sums = [np.cumsum([event.nbytes for event in trace]) for trace in traces]
    with opened(chromium, address) as page:
        page.get_by_label("in step by").select_option("bytes")
        for place in (1, 20, 57, 90):
            page.evaluate("at => window.flashsteps.go(at)", place)
            steps = [at(page, 0), at(page, 1)]
            moved = [int(sums[n][step]) if step >= 0 else 0 for n, step in enumerate(steps)]
            for n, step in enumerate(steps):  # neither could have gone on without passing what the other has moved
                assert step == len(traces[n]) - 1 or sums[n][step + 1] > max(moved)
        page.keyboard.press("End")
        assert [at(page, 0), at(page, 1)] == [len(trace) - 1 for trace in traces]
        page.wait_for_function("() => location.hash === `#by=bytes&at=${window.flashsteps.last}`")
        linked = page.url
    with opened(chromium, linked) as page:
        assert [at(page, 0), at(page, 1)] == [len(trace) - 1 for trace in traces]


def test_two_runs_go_in_step_by_tile(chromium, pair):
    traces, address = pair
    from flashsteps.story.rounds import rounds

    numbers = [rounds(trace) for trace in traces]
    with opened(chromium, address) as page:
        steps = page.evaluate("window.flashsteps.positions.map((steps) => Array.from(steps).slice(1))")
        assert [numbers[0][step] for step in steps[0]] == [numbers[1][step] for step in steps[1]]
        assert [max(one) for one in steps] == [len(trace) - 1 for trace in traces]
        page.keyboard.press("b")
        assert page.get_by_label("in step by").input_value() == "bytes"
        page.keyboard.press("b")
        page.keyboard.press("Home")
        page.keyboard.press("l")
        assert at(page, 1) == 0  # the first load of either


def test_two_runs_each_tell_of_themselves(chromium, pair):
    traces, address = pair
    with opened(chromium, address) as page:
        page.keyboard.press("End")
        for trace in traces:
            run = page.get_by_role("article", name=trace.meta["algorithm"], exact=True)
            expect(run.locator(".status")).to_contain_text(f"{trace.io().total:,} B moved so far")
        page.locator(".map [role=grid]").nth(1).click(position={"x": 3, "y": 3})
        assert at(page, 1) == visits(traces[1])[0]


# ---- for everyone


NAMELESS = """() => [...document.querySelectorAll("button, select, input, [tabindex], [role=grid], dialog, section")]
  .filter((one) => !one.classList.contains("flashsteps"))
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim()))
  .map((one) => one.outerHTML.slice(0, 120))"""


def test_every_control_has_a_name(chromium, second, pair):
    for _, address in (second, pair):
        with opened(chromium, address) as page:
            assert page.evaluate(NAMELESS) == []


def test_steps_and_captions_are_read_out(chromium, first):
    trace, address = first
    with opened(chromium, address) as page:
        live = page.locator("[aria-live=polite]")
        page.keyboard.press("ArrowRight")
        expect(live).to_have_text(f"step 0, store O[0:16]. {captions(trace)[1]}")
        page.keyboard.press("ArrowRight")
        expect(live).to_have_text("step 1, store ℓ[0:16].")  # the caption is the same


#: text that is hard to read: its contrast with what is behind it, where that is less than 4.5 : 1
PALE = """() => {
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => { const [r, g, b] = rgb.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const silent = ".unseen, script, style, noscript, option";
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const numbers = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), owner = walker.currentNode.parentElement;
    if (!text || !owner.checkVisibility({ visibilityProperty: true }) || owner.closest(silent)) continue;
    const layers = [];
    for (let one = owner; one; one = one.parentElement) layers.push(numbers(getComputedStyle(one).backgroundColor));
    let ground = [255, 255, 255];
    const over = (under, colour, share) => under.map((part, n) => part + (colour[n] - part) * share);
    for (const layer of layers.reverse()) ground = over(ground, layer, layer[3] / 255);
    let faded = 1;
    for (let one = owner; one; one = one.parentElement) faded *= Number(getComputedStyle(one).opacity);
    const ink = over(ground, numbers(getComputedStyle(owner).color), faded);
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) found.add(`${owner.className || owner.tagName} ${text.slice(0, 20)} ${contrast.toFixed(2)}`);
  }
  return [...found];
}"""


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_all_text_can_be_read(chromium, first, second, scheme):
    for _, address in (first, second):
        with opened(chromium, address, color_scheme=scheme) as page:
            for step in (-1, 44, 61, 118):
                go(page, step)
                assert (step, page.evaluate(PALE)) == (step, [])


@pytest.mark.parametrize(("system", "other"), [("dark", "light"), ("light", "dark")])
def test_the_theme_follows_the_system_and_can_be_switched(chromium, first, system, other):
    _, address = first

    def ground() -> list[str]:
        read = "[...document.querySelectorAll('html, .flashsteps')].map((one) => getComputedStyle(one).backgroundColor)"
        return list(page.evaluate(read))

    def rgb(name: str) -> str:
        return f"rgb({', '.join(str(int(theme.THEMES[name].bg[n : n + 2], 16)) for n in (1, 3, 5))})"

    def slot() -> Any:
        return page.evaluate("window.flashsteps.views[0].hbm.columns[0].texture.canvas.toDataURL()")

    with opened(chromium, address, color_scheme=system) as page:
        assert ground() == [rgb(system)] * 2
        drawn = slot()
        page.get_by_role("button", name="theme").click()
        assert ground() == [rgb(other)] * 2
        assert slot() != drawn  # what is drawn has changed its colours, too
        page.keyboard.press("d")
        assert ground() == [rgb(system)] * 2
        assert slot() == drawn


@pytest.mark.parametrize("still", [True, False])
def test_tiles_cross_the_bus_unless_less_motion_was_asked_for(chromium, first, still):
    _, address = first
    with opened(chromium, f"{address}#step=2", reduced_motion="reduce" if still else "no-preference") as page:
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.getAnimations().length") == (0 if still else 1)


OUTSIDE = """() => [document.documentElement.scrollWidth - innerWidth,
  ...[...document.querySelectorAll(".dock button, .dock select, .dock input, .panel, header button")]
    .filter((one) => one.checkVisibility() && !one.closest(".jumps"))
    .filter((one) => { const box = one.getBoundingClientRect(); return box.left < -1 || box.right > innerWidth + 1; })
    .map((one) => one.outerHTML.slice(0, 80))]"""


def test_it_fits_every_width(chromium, second, pair, folder):
    wide = written(folder, Problem("standard-backward", 20, 20, 8, 20, 20).record())
    for address, sizes in ((second[1], SIZES), (pair[1], SIZES), (wide, SIZES[:1])):
        with opened(chromium, f"{address}#step=20", *sizes[0]) as page:
            for width, height in sizes:
                page.set_viewport_size({"width": width, "height": height})
                assert (width, page.evaluate(OUTSIDE)) == (width, [0])
                slider = page.get_by_role("slider", name="step").bounding_box()
                assert slider
                assert slider["y"] + slider["height"] <= height  # without scrolling
                page.get_by_role("button", name="step", exact=True).click()


SIGHT = """() => { const lit = document.querySelector(".slot.made").getBoundingClientRect();
  return [scrollY, lit.top, document.querySelector(".dock").getBoundingClientRect().top - lit.bottom]; }"""


def test_a_link_to_a_step_brings_it_into_sight_and_scrolls_no_further(chromium, folder):
    trace = sample(block_q=4, block_k=4)
    step = next(event.step for event in trace if event.slot == "alpha" and event.loop == {"j": 2, "i": 1})
    address = written(folder, trace)
    for height in (600, 720, 1000):
        with opened(chromium, f"{address}#step={step}", 1280, height) as page:
            scrolled, above, below = page.evaluate(SIGHT)
            assert above >= -1
            assert below >= -1
            assert scrolled < 1 or below <= 2, height  # as far as it had to


# ---- from strangers


EVIL = '"><img src=x onerror="window.hit=1"><script>window.hit=1</script><b>'


def hostile() -> Trace:
    """A trace whose every text is markup that would run, if it were ever taken for markup."""
    trace = Problem("flash2-forward", 4, 4, 2, 2, 2).record()
    meta = trace.meta | {
        "tokens": [f"</script>{EVIL}"] * 4,
        "algorithm": f"</title></script>{EVIL}",
        "code": "\n".join(f"</script><!-- {EVIL} ]]>" for _ in range(trace.meta["code"].count("\n") + 1)),
        "input": {"kind": "file", "file": EVIL, "model": EVIL},
    }

    def event(one: Event) -> Event:
        tile = one.tile and one.tile._replace(tensor="constructor" if one.tile.tensor == "LSE" else one.tile.tensor)
        return one._replace(slot={"S": "__proto__", "m_i": "toString"}.get(one.slot, one.slot), tile=tile)

    initial = {"constructor" if name == "LSE" else name: data for name, data in trace.initial.items()}
    return replace(trace, meta=meta, events=tuple(map(event, trace)), initial=initial)


def test_a_strangers_text_is_text(chromium, folder, tmp_path):
    trace = hostile()
    trace.save(tmp_path / "evil.npz")  # it is a trace that loads
    address = written(folder, fs.load(tmp_path / "evil.npz"), trace)
    with opened(chromium, address) as page:
        page.evaluate("() => { const p = window.flashsteps; for (let at = p.last; at >= 0; at--) p.go(at); }")
        page.locator(".map [role=grid]").first.focus()
        page.keyboard.press("ArrowDown")
        page.locator(".slot [role=grid]").nth(3).focus()
        page.wait_for_timeout(50)
        assert page.evaluate("window.hit") is None
        assert page.locator("img").count() == 0
        assert page.locator(".title h2").nth(1).inner_text() == f"</title></script>{EVIL}"
        assert page.title() == f"{trace.meta['algorithm']} and {trace.meta['algorithm']} · flashsteps"
        assert page.locator("script").count() == 7  # the player, and three for the data of each run


def test_a_page_refuses_scripts_that_are_not_its_own(chromium, first):
    _, address = first
    with tab(chromium) as page:
        page.goto(address)
        ways = (
            "document.body.innerHTML = '<img src=x onerror=hit()>'",
            "document.body.append(Object.assign(document.createElement('script'), { text: 'window.hit = 1' }))",
            "document.body.setAttribute('onclick', 'window.hit = 1')",
        )
        for way in ways:
            refused = page.evaluate(f"() => {{ try {{ {way}; }} catch {{ return true; }} return false; }}")
            page.evaluate("document.body.click()")
            assert refused or page.evaluate("window.hit === undefined"), way


def test_the_still_escapes_what_it_is_given():
    text = hostile()._repr_html_()
    assert set(re.findall(r"<(\w+)", text)) <= {"div", "b", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert re.findall(r"<[^>]*\bon\w+=", text) == []


def test_a_run_without_values_shows_what_moved(chromium, folder, monkeypatch):
    monkeypatch.setattr(run, "VALUES_LIMIT", 0)
    trace = sample("flash-forward")
    assert trace.values == ()
    with opened(chromium, written(folder, trace)) as page:
        expect(page.locator("header strong")).to_have_text("movement only: this file holds no values")
        for step in range(-1, len(trace), 7):
            go(page, step)
        page.keyboard.press("End")
        expect(page.locator(".status")).to_contain_text(f"{trace.io().total:,} B moved so far")
        assert hover(page, '.tensor:has(.name:text-is("O"))', 1, 16, 1, 32)[0] == "O[the, 1] = value not kept"


# ---- the file


@pytest.mark.parametrize(
    ("algorithm", "source", "block"), [("flash2-forward", "random:64,8", 4), ("flash-forward", "random:256,64", 32)]
)
def test_a_page_is_not_much_larger_than_the_values(algorithm, source, block):
    trace = fs.record(algorithm, *fs.load_qkv(source), block_q=block, block_k=block)
    values = sum(value.nbytes for value in trace.values if value is not None)
    assert len(view.page(trace).encode()) < 1.5 * values + 500_000


def test_the_same_trace_gives_the_same_page(first):
    trace, _ = first
    assert view.page(trace) == view.page(sample())


def test_captions_are_short(first, second):
    for trace, _ in (first, second):
        said = captions(trace)
        assert len(said) == len(trace) + 1
        assert all(0 < len(words) <= 90 for words in said)


def test_a_page_says_what_may_run_and_nothing_else():
    text = view.page(sample())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    rules = dict(part.strip().partition(" ")[::2] for part in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert all("unsafe" not in rule and "http" not in rule for rule in rules.values())
    assert re.findall(r"(?:src|href)=", text.split("<script")[0]) == []


def test_a_page_is_whole_or_not_there(tmp_path):
    with pytest.raises(ValueError, match="use .html or .htm"):
        view.write(tmp_path / "run.txt", sample())
    assert list(tmp_path.iterdir()) == []


def test_what_a_header_holds_is_plain_data(first):
    trace, _ = first
    header = pack(trace).header
    assert json.loads(json.dumps(header, allow_nan=False))["steps"] == len(trace)


def test_reprs_say_what_they_are(first):
    trace, _ = first
    assert repr(trace) == "<trace of flash-forward, 16×16, d = 32, tiles 4×4: 267 steps, 16,512 B moved>"
    assert repr(trace[3]) == "<event 3  j=0  load  K[0:4] → k   256 B   HBM→SRAM>"
    assert (
        repr(trace.at(3)) == "<state after step 3; HBM: Q 16×32, K 16×32, V 16×32, O 16×32, l 16, m 16; SRAM: k 4×32>"
    )


def test_a_run_says_what_it_was_given_besides_its_sizes():
    said = pack(sample("flash2-forward", softcap=5.0, scale=0.5, dropout=0.25, seed=1)).header
    for words in ("scale 0.5", "softcap 5", "dropout 0.25"):
        assert words in said["subtitle"].split(", ")
    plain = pack(sample("flash2-forward")).header
    assert not any(word in plain["subtitle"] for word in ("scale", "softcap", "dropout"))
    assert plain["note"] == ""


def test_a_tile_of_a_bias_is_framed_by_its_columns_and_kept_by_a_link(chromium, tmp_path):
    trace = Problem("flash2-forward", 8, 8, 4, 4, 4, biased=True, sink=0.5, d_v=2).record()
    view.write(tmp_path / "bias.html", trace)
    step = next(event.step for event in trace if event.tile and str(event.tile) == "bias[0:4, 4:8]")
    with opened(chromium, f"file://{tmp_path / 'bias.html'}#step={step}&keep=bias,0,4%3B0%3A4") as page:
        assert "load B[0:4, 4:8] → B" in page.locator("body").inner_text()
        boxes = page.evaluate("""() => Object.fromEntries(['.matrix', '.frame.now', '.frame.kept'].map((one) => {
          const column = [...document.querySelectorAll('.frame.now')].find((frame) => !frame.hidden).parentElement;
          const box = (column.querySelector(one) ?? column).getBoundingClientRect();
          return [one, [box.left, box.right]]; }))""")
        left, right = boxes[".frame.kept"]
        assert left < right <= boxes[".frame.now"][0] + 8 < boxes[".frame.now"][1]
        assert page.evaluate("location.hash").endswith("keep=bias,0,4%3B0%3A4")
