"""Nothing that a page says is cut off, at any usual width, in both themes."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

import flashsteps as fs
from flashsteps.cli import main
from flashsteps.explorer import page as explorer
from flashsteps.player import page as player
from tests.player.browser import LAID_OUT, browser, opened

WIDTHS = (390, 800, 1024, 1280, 1440, 1920)

#: texts that reach out of the window, or of a box that hides what does (sideways also one that scrolls), and boxes that
#: would have to be scrolled sideways; the row of jumps on a phone says by its fading that there is more
CUT = """() => {
  const found = new Set(), spared = ".unseen, .skip, .jumps, .jumps *, option, script, style";
  const seen = (one) => !one.closest(spared) && one.checkVisibility({ visibilityProperty: true });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (texts.nextNode()) {
    const node = texts.currentNode, home = node.parentElement, said = node.data.trim().slice(0, 40);
    if (!said || !seen(home)) continue;
    range.selectNodeContents(node);
    for (const { left, right, top, bottom, width } of range.getClientRects()) {
      if (width && (right > innerWidth + 1 || left < -1)) found.add(`${said}: out of the window`);
      for (let box = home; width && box !== document.body; box = box.parentElement) {
        const { overflowX, overflowY, contain } = getComputedStyle(box), scrolls = /auto|scroll/.test(overflowY);
        if (overflowX === "visible" && overflowY === "visible" && !/strict|content|paint/.test(contain)) continue;
        const edge = box.getBoundingClientRect(), beside = right > edge.right + 1 || left < edge.left - 1;
        const above = !scrolls && (bottom > edge.bottom + 3 || top < edge.top - 3);
        if (beside || above) found.add(`${said}: out of ${box.className || box.tagName}`);
        if (scrolls) break;
      }
    }
  }
  for (const one of document.querySelectorAll("body *")) {
    const wider = one.scrollWidth - one.clientWidth > 1 && one.clientWidth && one.textContent.trim();
    if (!wider || getComputedStyle(one).overflowX === "visible" || !seen(one)) continue;
    found.add(`${one.className || one.tagName}: wider than it is`);
  }
  return [...found];
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The explorer, and the player with a run and a kernel's, whose scores are not scaled: they are longer."""
    folder = tmp_path_factory.mktemp("pages")
    explorer.write(folder / "explorer.html")
    for name, of in (("run", ()), ("kernel", ("--kernel",))):
        if name == "kernel" and sys.platform != "linux":
            continue
        command = ["record", "flash2-forward", "-o", f"{folder}/{name}.npz", "--block-q", "4", "--block-k", "4", *of]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        player.write(folder / f"{name}.html", fs.load(folder / f"{name}.npz"))
    return {path.stem: path.as_uri() for path in folder.glob("*.html")}


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(
    ("name", "hash"),
    [("explorer", ""), ("explorer", "#n=65536&bq=128&bk=64&d=128"), ("explorer", "#tab=story&card=3"),
     ("explorer", "#n=64&mask=foo&tab=step&step=60"), ("explorer", "#tab=step&step=116"),
     ("explorer", "#a=flash2-backward&tab=step&step=40"), ("run", "#step=60"), ("run", "#step=159"),
     ("kernel", "#step=60"), ("kernel", "#step=110"), ("kernel", "#step=175")],
)  # fmt: skip
def test_nothing_is_cut_off(chromium, pages, name, hash, scheme):
    if name not in pages:
        pytest.skip("kernels are interpreted on Linux only")
    with opened(chromium, pages[name] + hash, color_scheme=scheme) as page:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(LAID_OUT)
            assert (width, page.evaluate(CUT)) == (width, [])
