"""The explorer in a real browser: it agrees with Python, changes at once, is linked, embedded, read out and stepped."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from click.testing import CliRunner
from playwright.sync_api import Page, expect

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.explorer import component
from flashsteps.explorer import page as view
from flashsteps.units import size_of
from tests.player.browser import VIOLATIONS, browser, opened, tab
from tests.player.firefox import firefox


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    view.write(path)
    return path.as_uri()


def agrees(page: Page) -> None:
    page.wait_for_function("() => window.flashsteps.agrees !== undefined")
    assert page.evaluate("window.flashsteps.agrees") is True


def test_it_is_one_small_file_that_reaches_out_to_nothing():
    text = view.page()
    assert len(text.encode()) < 500_000
    assert text == view.page()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]


def test_it_holds_itself_against_python_and_refuses_where_it_differs(chromium, address, tmp_path):
    events = len(fs.record("flash2-forward", *fs.load_qkv("sample"), block_q=4, block_k=4, mask="causal"))
    with opened(chromium, address) as page:
        agrees(page)
        expect(page.locator(".check")).to_have_text(
            f"checked when opened, on one run: same as Python, {events} of {events} events"
        )
    wrong = view.page()
    broken = tmp_path / "broken.html"
    broken.write_text(re.sub(r'script-src [^;]+;', "script-src 'unsafe-inline';", wrong).replace(
        "meter.matmul += 2 * m * n * k;", "meter.matmul += 2 * m * n * k + 1;"), encoding="utf-8")  # fmt: skip
    with opened(chromium, broken.as_uri()) as page:
        page.wait_for_function("() => window.flashsteps.agrees === false")
        expect(page.locator(".check")).to_contain_text("not as Python has it")
        expect(page.locator("main")).not_to_be_visible()


def shown(page: Page) -> dict[str, str]:
    """What the meters say, by run."""
    rows = page.locator(".part-meters .rows > div").all_inner_texts()
    return {row.split("\n")[0]: row.split("\n")[-1] for row in rows}


def set_slider(page: Page, name: str, value: int) -> None:
    page.evaluate(
        """([name, value]) => {
          const { input, values } = window.flashsteps.bar[name];
          input.value = String(values().indexOf(value));
          input.dispatchEvent(new Event("input"));
        }""",
        [name, value],
    )


def test_dragging_a_block_redraws_all_of_it_at_once(chromium, address):
    with opened(chromium, address) as page:
        page.get_by_label("input").select_option("0")
        set_slider(page, "n", 64)
        for block in (2, 16, 64):
            set_slider(page, "bq", block)
            own = fs.count("flash2-forward", n=64, d=32, block_q=block, block_k=4)
            standard = fs.count("standard-forward", n=64, d=32, block_q=block, block_k=4)
            expect(page.locator(".headline")).to_contain_text(f"tiles of {block}×4")
            expect(page.locator(".headline")).to_contain_text(f"{own.total / standard.total:.2f}×")
            said = page.locator(".part-map h2 small").inner_text()
            assert said == f"{64 // block * 16} of {64 // block * 16} visited"
            assert (
                f"{own.peak.total:,} B of" in page.locator(".part-sram .verdict").inner_text()
                or own.peak.total >= 16384
            )
        set_slider(page, "bq", 16)
        page.get_by_label("mask").select_option("causal")
        expect(page.locator(".part-map h2 small")).to_contain_text("skipped")
        masked = fs.count("flash2-forward", n=64, d=32, block_q=16, block_k=4, mask="causal").total
        assert shown(page)["this run"] == size_of(masked)


def test_what_is_kept_is_a(chromium, address):
    with opened(chromium, address) as page:
        page.get_by_role("button", name="keep this as A").click()
        page.get_by_label("algorithm").select_option("flash-forward")
        first, second = (fs.count(name, n=16, d=32, block_q=4, block_k=4).total
                         for name in ("flash2-forward", "flash-forward"))  # fmt: skip
        assert shown(page) == {"A": size_of(first), "B": size_of(second), "standard": "6,144 B"}
        expect(page.locator(".part-meters .ratio")).to_contain_text(f"{second / first:.2f}× what A moves")


def test_what_does_not_fit_is_an_answer(chromium, address):
    need = fs.count("flash2-forward", n=16, d=32, block_q=16, block_k=16).peak.total
    with opened(chromium, f"{address}#bq=16&bk=16&on=2048") as page:
        expect(page.locator(".part-sram .verdict")).to_have_text(
            f"Does not fit: it needs {need:,} B, there are 2,048 B."
        )
        expect(page.locator(".part-sram .gauge u")).to_have_text("2,048 B")
        expect(page.locator(".headline")).to_contain_text(f"does not fit on chip: it needs {need:,} B of toy SRAM")
        expect(page.locator(".headline")).not_to_contain_text("×.")
        page.get_by_role("tab", name="Step").click()
        with pytest.raises(ValueError, match="this toy SRAM holds 2,048 bytes") as refused:
            fs.record("flash2-forward", *fs.load_qkv("sample"), block_q=16, block_k=16, sram=2048)
        expect(page.locator(".answer p")).to_have_text(f"Does not fit: {refused.value}.")
        page.get_by_role("button", name="take a toy that grows with the run").click()
        expect(page.locator(".stepping .status")).to_contain_text("start")


def test_a_device_is_what_it_is_in_python(chromium, address):
    with opened(chromium, f"{address}#n=4096&d=128&bq=128&bk=128&on=t4&in=0") as page:
        peak = fs.count("flash2-forward", n=4096, d=128, block_q=128, block_k=128).peak
        assert peak.shared > 64 * 1024
        said = page.locator(".part-sram .verdict")
        expect(said.nth(0)).to_have_text(
            f"Does not fit: shared memory would hold {peak.shared // 1024} KiB, there are 64 KiB."
        )
        expect(said.nth(1)).to_contain_text(f"registers: {peak.registers // 1024} KiB of 256 KiB")
        expect(said.nth(1)).not_to_have_class(re.compile("over"))


@pytest.mark.parametrize(
    "state",
    ["n=65536&d=64&bq=128&bk=64&in=0&on=a100-80gb", "a=flash&n=48&bq=8&in=0", "a=flash2-backward&n=16&on=h100"],
)
def test_each_memory_holds_what_is_listed_under_it(chromium, address, state):
    """Its slots add up to what is said, and that is the engine's own peak of this memory."""
    with opened(chromium, f"{address}#{state}") as page:
        listed = page.evaluate(
            """() => [...document.querySelectorAll(".part-sram .gauge")].map((gauge) => [
              gauge.nextElementSibling.textContent,
              [...gauge.nextElementSibling.nextElementSibling.querySelectorAll("b")].map((one) => one.textContent)])"""
        )
        size = lambda text: float(text.split()[0].replace(",", "")) * {"B": 1, "KiB": 1024}[text.split()[1]]  # noqa: E731
        for said, slots in listed:
            used = re.search(r"(?:^|: )([\d.,]+ \w+) of", said)
            assert used, said
            assert sum(map(size, slots)) == pytest.approx(size(used[1]), abs=52 * len(slots))
        assert len(listed) == (2 if "00" in state.split("on=")[-1] else 1)


def test_standard_attention_makes_all_of_s_whatever_the_mask_hides(chromium, address):
    with opened(chromium, f"{address}#a=standard&mask=causal") as page:
        trace = fs.record("standard-forward", *fs.load_qkv("sample"), block_q=4, block_k=4, mask="causal")
        assert not [event for event in trace if event.op == "skip"]
        expect(page.locator(".part-map h2 small")).to_have_text("all of it, in 4 strips")
        expect(page.locator(".part-map")).not_to_contain_text("skipped")
        page.get_by_label("algorithm").select_option("flash-forward")
        expect(page.locator(".part-map h2 small")).to_have_text("10 of 16 visited, 6 skipped")


def test_kernels_are_told_in_their_order(chromium, address):
    with opened(chromium, f"{address}#a=standard") as page:
        heads = page.locator(".part-strip .kernel")
        assert heads.all_inner_texts() == [
            f"{n}, one program" for n in ("1: makes S", "2: makes P from S", "3: makes O from P")
        ]
        expect(page.locator(".part-strip h2 small")).to_have_text("in 3 kernels, one after another")
        page.get_by_label("algorithm").select_option("flash2-backward")
        assert heads.all_inner_texts() == [
            f"{n}, 4 programs side by side" for n in ("1: makes D", "2: makes dK and dV from D", "3: makes dQ from D")
        ]
        page.get_by_label("algorithm").select_option("flash2-forward")
        expect(heads).to_have_count(0)


@pytest.mark.parametrize(
    ("algorithm", "side", "d", "dtype"),
    [("flash2", "bq", 64, "float16"), ("flash", "bk", 64, "float16"), ("flash", "bk", 32, "float32")],
)
def test_the_side_that_counts_and_where_it_turns(chromium, address, algorithm, side, d, dtype):
    """The page's threshold is the first size at which Python counts less, and the formula beside it is near."""
    size = {"bq": "block_q", "bk": "block_k"}[side]
    n = 16384
    with opened(chromium, f"{address}#a={algorithm}&n={n}&d={d}&bq=8&bk=16&in=0&type={dtype}") as page:
        note = page.locator(".part-tiles > p")
        expect(note).to_contain_text(f"Only {size} counts.")
        found = re.search(r"From (\d+) (?:queries|keys) on .* = (\d+) (?:queries|keys)", note.inner_text())
        assert found
        level = fs.count("standard-forward", n=n, d=d, dtype=dtype).total
        first = int(found[1])
        tiles = [(b, 16) if side == "bq" else (8, b) for b in (first - 1, first)]
        less = [fs.count(f"{algorithm}-forward", n=n, d=d, dtype=dtype, block_q=q, block_k=k).total < level
                for q, k in tiles]  # fmt: skip
        assert less == [False, True]
        assert abs(int(found[1]) - int(found[2])) <= 1


def test_the_reader_is_on_the_curve(chromium, address):
    with opened(chromium, f"{address}#n=64&bq=6&bk=48&in=0&d=32") as page:
        for algorithm in ("flash2-forward", "flash-forward", "flash2-backward"):
            page.get_by_label("algorithm").select_option(algorithm)
            page.wait_for_timeout(50)
            at, points = page.evaluate(
                """() => {
                  const plot = document.querySelector(".part-tiles .plot"), { cx, cy } = plot.querySelector(".you");
                  const points = [...plot.querySelector(".own[points]").points].map(({ x, y }) => [x, y]);
                  return [[cx.baseVal.value, cy.baseVal.value], points];
                }"""
            )
            assert min(abs(at[0] - x) + abs(at[1] - y) for x, y in points) < 0.2


def test_a_total_is_written_the_same_wherever_it_stands(chromium, address):
    """Also where what it stands beside is far larger: each tensor's bytes as Python writes them."""
    for state in ("", "n=128&bq=128&in=0", "n=65536&d=64&bq=128&bk=64&in=0"):
        with opened(chromium, f"{address}#{state}") as page:
            own = shown(page)["this run"]
            expect(page.locator(".headline")).to_contain_text(f"moves {own}")
            expect(page.locator(".part-hbm h2 small")).to_have_text(f"{own} over the bus")
            now = page.evaluate("window.flashsteps.state")
            io = fs.count("flash2-forward", n=now["n"], d=now["d"], block_q=now["bq"], block_k=now["bk"])
            rows = [row.split("\t") for row in page.locator(".part-hbm tbody tr").all_inner_texts()]
            said = {name: tuple(cells) for name, _, *cells, _ in rows}
            assert said == {name: tuple(size_of(n) if n else "–" for n in (moved.read, moved.written))
                            for name, moved in io.by_tensor.items()}  # fmt: skip


def test_programs_too_many_to_draw_are_told(chromium, address):
    with opened(chromium, f"{address}#n=256&in=0") as page:
        expect(page.locator(".part-strip .strip > div")).to_have_count(24)
        set_slider(page, "n", 512)
        expect(page.locator(".part-strip .strip")).to_have_text(
            "They are drawn one by one for up to 256 tokens; with 512 there are too many."
        )


def test_a_link_followed_right_after_a_change_is_followed(chromium, address):
    with opened(chromium, address) as page:
        page.evaluate(
            "() => { flashsteps.change({ bq: 8 }); location.hash = 'mask=causal'; flashsteps.write('replaceState'); }"
        )
        page.wait_for_function("() => window.flashsteps.state.mask === 'causal'")
        assert page.evaluate("window.flashsteps.state.bq") == 4


def test_as_much_as_is_no_less(chromium, address):
    with opened(chromium, f"{address}#n=65536&d=64&bq=32&bk=64&in=0") as page:
        expect(page.locator(".headline")).to_contain_text("as much as the")
        expect(page.locator(".headline")).to_contain_text("1.00×")


@pytest.mark.parametrize(
    "hash",
    ["#a=flash2&bq=4&bk=8&mask=causal&n=32&in=0&pin=flash,4,4&tab=step&step=64", "#tab=story&card=3",
     "#tab=story&card=3&bq=2&pin=none", "#tab=story&card=4&mask=none", "#tab=story&card=2&n=1048576"],
)  # fmt: skip
def test_a_link_holds_everything(chromium, address, hash):
    with opened(chromium, address + hash) as page:
        state = page.evaluate("window.flashsteps.state")
        page.wait_for_timeout(300)
        linked = page.url
    with opened(chromium, linked) as page:
        assert page.evaluate("window.flashsteps.state") == state
        if "bq=2" in hash:
            assert (state["bq"], state["pin"]) == (2, None)
            expect(page.locator(".story .off")).to_contain_text("You have changed block_q and A: this card speaks of")
        if "step=64" in hash:
            assert (state["bk"], state["mask"], state["pin"]["a"], state["step"]) == (8, "causal", "flash-forward", 64)
            expect(page.locator(".stepping .status")).to_contain_text("step 64 of")


#: what no link may say
NONSENSE = ("mask=foo", "algorithm=flash", "bq=0", "bk=4.5", "n=1", "n=99999999", "d=257", "a=<b>", "in=pasted",
            "pin=a,b", "pin=flash,4,0", "on=32", "type=fp16", "card=99", "step=1e9", "tab=__proto__",
            "constructor=1")  # fmt: skip

BLOCKS, MASKS = (1, 4, 7, 64, 256), ("none", "causal", "window", "prefix", "documents")


def a_tile(rng: random.Random) -> dict[str, Any]:
    return {"a": rng.choice(view.chosen()), "bq": rng.choice(BLOCKS), "bk": rng.choice(BLOCKS),
            "mask": rng.choice(MASKS)}  # fmt: skip


def a_link(rng: random.Random) -> dict[str, Any]:
    """Some of a state: with blocks larger than N, and with more tokens and other widths than the sample has."""
    every = a_tile(rng) | {
        "n": rng.choice((2, 5, 16, 17, 64, 300, 4096, 1 << 20)), "d": rng.choice((1, 32, 64, 200)),
        "type": rng.choice(("float16", "bfloat16", "float32", "float64")), "in": rng.choice(("sample", "0", "7")),
        "on": rng.choice(("toy", "4096", "t4", "h100")), "pin": rng.choice((None, a_tile(rng))),
        "tab": rng.choice(("explore", "step")),
    }  # fmt: skip
    return {name: value for name, value in every.items() if rng.random() < 0.5}


def parts_of(state: dict[str, Any]) -> list[str]:
    """As a link has it."""
    pin = lambda x: ",".join(map(str, x.values())) if x else "none"  # noqa: E731
    return [f"{name}={pin(value) if name == 'pin' else value}" for name, value in state.items()]


#: sets the controls one after another, as a reader would who wants what a link says
BY_HAND = """(said) => {
  const page = window.flashsteps, { first, inputs } = page, { pin, in: wanted, ...others } = said;
  page.change({ ...first, ...inputs.asked(first.in) });
  if (wanted) page.change(inputs.asked(wanted));
  if (pin) { page.change(pin); page.keep(); page.change({ a: first.a, bq: first.bq, bk: first.bk, mask: first.mask }); }
  for (const [name, value] of Object.entries(others)) page.change({ [name]: value });
  return page.state;
}"""

FOLLOWED = """(hash) => new Promise((done) => {
  addEventListener("hashchange", () => done(window.flashsteps.state), { once: true });
  location.hash = hash;
})"""


def masked(kind: str, n: int) -> str | None:
    half, quarter = n // 2, max(1, n // 4)
    return {"none": None, "causal": "causal", "window": f"window:{quarter},0", "prefix": f"prefix:{quarter}",
            "documents": f"document:{half},{n - half}"}[kind]  # fmt: skip


def test_a_link_leads_to_what_the_controls_lead_to(chromium, address):
    """And to nothing else, whatever it says; what is said there of bytes is Python's count."""
    rng = random.Random(11)
    read = "(name) => document.querySelector(name).textContent"
    with opened(chromium, address) as page:
        for n in range(40):
            said = a_link(rng) | {"theme": ("dark", "light")[n % 2]}
            parts = parts_of(said)
            known = {part.split("=")[0] for part in parts}
            wrong = [part for part in rng.sample(NONSENSE, rng.choice((0, 1, 2, 5))) if part.split("=")[0] not in known]
            state = page.evaluate(FOLLOWED, "&".join([*wrong, *parts]))
            assert page.locator(".left").is_visible() == bool(wrong), parts
            if wrong:
                more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
                told = f"Not understood, and left out: {', '.join(wrong[:3])}{more}."
                assert page.evaluate(read, ".left") == told
            swapped = page.evaluate(read, ".swapped")
            agrees_with_python(page, state)
            by_hand = page.evaluate(BY_HAND, said)
            assert {**by_hand, "step": -1} == {**state, "step": -1}, parts
            assert page.evaluate(read, ".swapped") == swapped, parts


def agrees_with_python(page: Page, state: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"n": state["n"], "d": state["d"], "block_q": state["bq"], "block_k": state["bk"],
                             "mask": masked(state["mask"], state["n"]), "dtype": state["type"]}  # fmt: skip
    total = fs.count(state["a"], **sizes).total
    assert page.evaluate("state => window.flashsteps.endingOf(state).own", state) == total, state
    if state["tab"] == "explore":
        assert page.locator(".part-hbm h2 small").inner_text() == f"{size_of(total)} over the bus"


@pytest.mark.parametrize(
    ("width", "hash"),
    [(1440, "#a=flash2&bq=8&n=64"), (1440, "#d=64"), (390, "#n=64&tab=step"), (390, "#tab=story&card=1&n=64")],
)
def test_a_link_invents_no_tokens(chromium, address, width, hash):
    """The sample has 16: with more, numbers are random, as with the slider, and that is told, also on a phone."""
    with opened(chromium, address + hash, width) as page:
        assert page.evaluate("window.flashsteps.state.in") == "0"
        expect(page.locator(".swapped")).to_have_text(
            "Random numbers now: “the sample, a real head” has 16 tokens, 32 wide."
        )
        expect(page.locator(".swapped")).to_be_visible()
        if "step" in hash:
            expect(page.locator(".caption").first).to_contain_text("at random: 64 tokens")


def test_back_is_where_one_was(chromium, address):
    """Also where numbers were pasted, and after a link was left for a control."""
    with opened(chromium, f"{address}#n=64&mask=foo") as page:
        expect(page.locator(".left")).to_have_text("Not understood, and left out: mask=foo.")
        page.get_by_label("mask").select_option("causal")
        expect(page.locator(".left")).not_to_be_visible()
        page.get_by_label("input").select_option("paste")
        page.get_by_label("numbers, a row a line").fill("1 0\n0 1")
        page.get_by_role("button", name="use it").click()
        page.get_by_role("tab", name="Step").click()
        page.wait_for_timeout(250)
        pasted = page.evaluate("window.flashsteps.state")
        page.evaluate("location.hash = '#n=32'")
        page.wait_for_function("() => window.flashsteps.state.n === 32 && window.flashsteps.state.in === '0'")
        page.go_back()
        page.wait_for_function("() => window.flashsteps.state.n === 2")
        assert page.evaluate("window.flashsteps.state") == pasted


def test_a_frame_says_what_it_does_not_know(chromium, address):
    with opened(chromium, f"{address}?embed=zzz#n=64&tab=step&mask=foo") as page:
        expect(page.locator(".left")).to_have_text("Not understood, and left out: embed=zzz, mask=foo.")
        expect(page.locator(".part-map")).to_be_visible()
        expect(page.locator(".swapped")).to_contain_text("Random numbers now")


def test_each_card_and_each_question_is_answered(chromium, address):
    with opened(chromium, f"{address}#tab=story") as page:
        cards, questions = 8, 6
        for n in range(cards):
            text = page.locator(".story .text").inner_text()
            assert 80 < len(text) < 620
            assert not re.search(r"NaN|undefined|null|\[|\]", text), text
            assert page.locator(".story mark").count() >= (0 if n == 2 else 1)
            page.get_by_role("button", name="next card").click()
        for _ in range(questions):
            page.locator(".choices button").first.click()
            expect(page.locator(".choices .right")).to_have_count(1)
            said = page.locator(".story .text").inner_text()
            assert re.match(r"(Yes|No: .+)\. .*\d", said), said
            if page.get_by_role("button", name="next card").is_enabled():
                page.get_by_role("button", name="next card").click()


def test_words_light_up_parts_and_parts_words(chromium, address):
    with opened(chromium, f"{address}#tab=story&card=0") as page:
        page.locator("mark[data-word=sram]").hover()
        expect(page.locator(".part-sram")).to_have_class(re.compile(r"\blit\b"))
        page.locator(".part-map").hover()
        expect(page.locator("mark[data-word=map]")).to_have_class(re.compile(r"\blit\b"))
        expect(page.locator(".part-sram")).not_to_have_class(re.compile(r"\blit\b"))


def test_a_phrase_brings_its_part_onto_a_phone(chromium, address):
    with opened(chromium, f"{address}#tab=story&card=1", width=390, height=844, has_touch=True) as page:
        expect(page.locator(".part-sram")).not_to_be_in_viewport()
        page.locator("mark[data-word=sram]").tap()
        expect(page.locator(".part-sram")).to_be_in_viewport()
        expect(page.locator(".part-sram")).to_have_class(re.compile(r"\blit\b"))


def test_on_a_phone_the_story_stands_before_the_controls(chromium, address):
    with opened(chromium, f"{address}#tab=story&card=1", width=390, height=844) as page:
        expect(page.locator(".story .text")).to_be_in_viewport(ratio=1)
        expect(page.get_by_label("algorithm")).not_to_be_visible()
        page.locator(".fold").click()
        expect(page.get_by_label("algorithm")).to_be_visible()
        page.get_by_role("tab", name="Step").click()
        cut = page.evaluate(
            """() => [...document.querySelectorAll(".saying .status span")].filter((one) => {
              const box = one.getBoundingClientRect(), home = one.parentNode.getBoundingClientRect();
              return box.right > innerWidth || box.bottom > home.bottom + 1; }).map((one) => one.textContent)"""
        )
        assert cut == []
        page.get_by_role("button", name="keys").click()
        expect(page.get_by_role("button", name="close")).to_be_in_viewport(ratio=1)


def test_a_card_says_when_the_run_is_another(chromium, address):
    with opened(chromium, f"{address}#tab=story&card=3") as page:
        off = page.locator(".story .off")
        expect(off).not_to_be_visible()
        page.get_by_role("button", name="let A go").click()
        expect(off).to_contain_text(
            "You have changed A: this card speaks of FlashAttention-2, 4×4, no mask, N 16, d 32, beside A"
        )
        page.get_by_role("button", name="back to the card's run").click()
        expect(off).not_to_be_visible()
        assert set(shown(page)) == {"A", "B", "standard"}
        page.get_by_label("mask").select_option("window")
        expect(off).to_be_visible()


def test_random_numbers_in_place_of_the_sample_are_told(chromium, address):
    with opened(chromium, address) as page:
        expect(page.locator(".swap")).not_to_be_visible()
        set_slider(page, "n", 32)
        expect(page.locator(".swapped")).to_have_text(
            "Random numbers now: “the sample, a real head” has 16 tokens, 32 wide."
        )
        page.get_by_role("button", name="back to the sample, a real head").click()
        expect(page.locator(".swap")).not_to_be_visible()
        assert page.evaluate("[window.flashsteps.state.n, window.flashsteps.state.in]") == [16, "sample"]


def test_a_toy_that_grows_can_be_fixed(chromium, address):
    with opened(chromium, address) as page:
        page.get_by_role("button", name="fix it at 2,048 B").click()
        set_slider(page, "bq", 16)
        expect(page.locator(".headline")).to_contain_text("does not fit on chip")


def test_no_choice_is_cut(chromium, address):
    with opened(chromium, f"{address}#a=flash2-backward", width=1280) as page:
        cut = page.evaluate(
            """() => [...document.querySelectorAll(".knobs select")].filter((one) => {
              const text = document.createElement("span");
              text.textContent = one.selectedOptions[0].textContent;
              text.style.font = getComputedStyle(one).font;
              document.body.append(text);
              const wide = text.getBoundingClientRect().width;
              text.remove();
              return wide + 38 > one.clientWidth;
            }).map((one) => one.ariaLabel)"""
        )
        assert cut == []


def test_each_slot_and_tensor_is_explained(chromium, address):
    with opened(chromium, address) as page:
        for algorithm in page.evaluate("window.flashsteps.algorithms"):
            page.get_by_label("algorithm").select_option(algorithm)
            bare = page.evaluate(
                """() => [...document.querySelectorAll(".slots-list li, .part-hbm tbody th span")]
                  .filter((one) => !/\\w{3}/.test(one.title.replace(/loaded|made on chip/, "")))
                  .map((one) => one.textContent)"""
            )
            assert bare == [], algorithm


def test_the_story_shows_the_alpha_of_the_run(chromium, address):
    qkv = fs.load_qkv("sample")
    tokens = qkv.tokens or ()
    trace = fs.record("flash2-forward", *qkv, block_q=4, block_k=4)
    values = {e.step: np.asarray(trace.values[e.step]) for e in trace if e.slot == "alpha"}
    step = next(step for step, x in values.items() if ((x > 0.005) & (x < 1)).any())
    with opened(chromium, f"{address}#tab=story&card=2") as page:
        alpha = values[step]
        told = alpha[(alpha > 0.005) & (alpha < 1)].min()
        expect(page.locator(".story .text")).to_contain_text(f"= {told:.2f}")
        event, row = trace[step], int(np.flatnonzero(alpha == told)[0])
        scores = next(trace.values[e.step] for e in reversed(trace[:step]) if e.slot == "S")
        query, key = event.loop["i"] * 4 + row, event.loop["j"] * 4 + int(np.argmax(np.asarray(scores)[row]))
        expect(page.locator(".story .text")).to_contain_text(
            f"query {query} (“{tokens[query]}”) against key {key} (“{tokens[key]}”)"
        )
        expect(page.locator(".part-map")).to_contain_text(f"Framed: query {query}, key {key}.")
        page.get_by_role("button", name="see that step").click()
        expect(page.locator(".stepping .status")).to_contain_text(f"step {step} of {len(trace) - 1}")


def test_a_tile_of_the_map_leads_to_its_step(chromium, address):
    trace = fs.record("flash2-forward", *fs.load_qkv("sample"), block_q=4, block_k=4)
    wanted = next(event.step for event in trace if event.loop == {"i": 2, "j": 1})
    with opened(chromium, address) as page:
        box = page.locator(".part-map canvas").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] * 1.5 / 4, box["y"] + box["height"] * 2.5 / 4)
        expect(page.locator(".stepping .status")).to_contain_text(f"step {wanted} of")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".stepping .status")).to_contain_text(f"step {wanted + 1} of")


def test_numbers_of_ones_own_are_performed(chromium, address):
    with opened(chromium, address) as page:
        page.get_by_label("input").select_option("paste")
        page.get_by_label("numbers, a row a line").fill("1 0\n0 1")
        page.get_by_role("button", name="use it").click()
        page.get_by_role("tab", name="Step").click()
        page.keyboard.press("End")
        q = np.eye(2, dtype=np.float32)
        O = fs.record("flash2-forward", q, q, q, block_q=4, block_k=4).outputs["O"]
        run = "window.flashsteps.player.runs[0]"
        mine = page.evaluate(
            f"Array.from({run}.rowsAt({run}.tensors.findIndex((one) => one.name === 'O'), 0, 2, {run}.last))"
        )
        np.testing.assert_allclose(mine, O.astype(float).ravel(), atol=1e-3)


def test_numbers_pasted_anew_are_those_that_are_shown(chromium, address):
    """A second matrix of the same size: its weights, its run, and, where the size is another, its name."""
    with opened(chromium, address) as page:
        for rows in ([[1, 0], [0, 1]], [[3, 0], [0, 3]], [[1, 0], [0, 1], [1, 1]]):
            page.get_by_label("input").select_option("paste")
            page.get_by_label("numbers, a row a line").fill("\n".join(" ".join(map(str, row)) for row in rows))
            page.get_by_role("button", name="use it").click()
            q = np.array(rows, dtype=np.float32)
            weights = page.evaluate("Array.from(window.flashsteps.weightsOf(window.flashsteps.state))")
            e = np.exp(q @ q.T / np.sqrt(2))
            np.testing.assert_allclose(weights, (e / e.sum(axis=1, keepdims=True)).ravel(), rtol=1e-5)
            expect(page.get_by_label("input").locator("option:checked")).to_have_text(f"pasted, {len(rows)} × 2")


@pytest.mark.parametrize("text", ["", "1 2", "1 2\n3", "1 2\n3 four", "\n".join("1" for _ in range(65))])
def test_what_is_no_matrix_is_not_taken(text, chromium, address):
    with opened(chromium, address) as page:
        page.get_by_label("input").select_option("paste")
        page.get_by_label("numbers, a row a line").fill(text)
        page.get_by_role("button", name="use it").click()
        expect(page.locator("dialog [role=status]")).to_have_text(re.compile("^Give 2 to 64 rows of numbers"))
        page.get_by_role("button", name="cancel").click()
        expect(page.get_by_label("input")).to_have_value("sample")


def test_a_file_of_ones_own_is_embedded(chromium, tmp_path):
    path, q = tmp_path / "mine.npz", np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    np.savez(path, q=q, k=q, v=q)
    done = CliRunner().invoke(main, ["explore", "-o", str(tmp_path / "mine.html"), "--input", str(path)])
    assert done.exit_code == 0, done.output
    with opened(chromium, (tmp_path / "mine.html").as_uri()) as page:
        agrees(page)
        expect(page.locator(".headline")).to_contain_text("tiles of 4×4")
        assert page.evaluate("[window.flashsteps.state.n, window.flashsteps.state.d]") == [12, 8]
    with opened(chromium, (tmp_path / "mine.html").as_uri() + "#in=sample") as page:
        expect(page.locator(".swap")).not_to_be_visible()
        state = page.evaluate("window.flashsteps.state")
        assert (state["in"], state["n"], state["d"]) == ("sample", 16, 32)


@pytest.mark.parametrize(
    ("args", "said"),
    [(["explore", "-o", "x.txt"], "use .html or .htm"),
     (["explore", "-o", "x.html", "--input", "random:80,4"], "up to 64"),
     (["embed", "--explore", "--at", "<b>"], "no state of the explorer")],
)  # fmt: skip
def test_what_will_not_do_is_told_in_one_line(args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_trace_explores_itself(chromium, tmp_path):
    trace = fs.record("flash-forward", *fs.load_qkv("sample"), block_q=8, block_k=2, mask="causal")
    text = trace.explore()._repr_html_()
    assert text.startswith("<iframe srcdoc=")
    (tmp_path / "note.html").write_text(f"<!doctype html><meta charset=utf-8>{text}", encoding="utf-8")
    with tab(chromium, 1300) as page:
        page.goto((tmp_path / "note.html").as_uri())
        expect(page.frame_locator("iframe").locator(".headline")).to_contain_text("tiles of 8×2")
    with pytest.raises(ValueError, match="one head of"):
        fs.record("split-kv-decode", *fs.load_qkv("random:4,2")).explore()


def test_a_part_stands_in_a_frame_and_tells_its_height(chromium, address, tmp_path):
    for part in ("map", "sram", "chart", "story"):
        lines = component.lines(part, "a=flash2&bq=8&n=64", address)
        host = tmp_path / f"{part}.html"
        host.write_text(f'<!doctype html><body style="margin:0;width:480px">{"".join(lines)}', encoding="utf-8")
        with tab(chromium, 480) as page:
            page.goto(host.as_uri())
            frame = page.frame_locator("iframe")
            wanted = {"chart": ".part-tokens", "story": ".story", "sram": ".part-sram", "map": ".part-map"}[part]
            expect(frame.locator(wanted)).to_be_visible()
            page.wait_for_function("() => document.querySelector('iframe').style.height !== '480px'")
            inside = page.frames[1]
            assert inside.evaluate("document.documentElement.scrollWidth") <= 480
            page.wait_for_timeout(150)
            high = page.evaluate("document.querySelector('iframe').getBoundingClientRect().height")
            assert abs(inside.evaluate("document.querySelector('#explorer').getBoundingClientRect().height") - high) < 3


@pytest.mark.parametrize("hash", ["", "#tab=story&card=3", "#tab=step&step=30"])
def test_axe_finds_nothing(chromium, address, hash):
    with opened(chromium, address + hash, 360, bypass_csp=True) as page:
        agrees(page)
        page.evaluate(AXE_SCRIPT)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            found = page.evaluate(VIOLATIONS)
            outside = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert (width, found, outside) == (width, [], 0)


def test_it_is_the_same_in_firefox(address):
    with firefox() as tab:
        tab.open(address)
        assert tab.evaluate("new Promise((done) => { const wait = () => window.flashsteps.agrees === undefined ? "
                            "setTimeout(wait, 50) : done(window.flashsteps.agrees); wait(); })") is True  # fmt: skip
        tab.evaluate("window.flashsteps.change({ n: 64, bq: 8, mask: 'causal' })")
        own = fs.count("flash2-forward", n=64, d=32, block_q=8, block_k=4, mask="causal").total
        assert size_of(own) in tab.evaluate("document.querySelector('.headline').textContent")
        tab.evaluate("window.flashsteps.change({ tab: 'step', step: 12 })")
        assert "step 12 of" in tab.evaluate("document.querySelector('.stepping .status').textContent")
