"""The pictures of the player that the README shows: what `flashsteps view` makes, in a browser, dark and light.

python tests/player/player_pictures.py DARK.png LIGHT.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import flashsteps as fs
from flashsteps import files
from flashsteps.player import page as view

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.player.browser import browser, opened  # noqa: E402

#: the step at which “street” beats the old max of “cross”, with a value pointed at
WHERE = {"j": 2, "i": 1}


def main() -> None:
    qkv = fs.load_qkv("sample")
    trace = fs.record("flash-forward", *qkv, block_q=4, block_k=4, tokens=qkv.tokens, source=qkv.source)
    step = next(event.step for event in trace if event.slot == "alpha" and event.loop == WHERE)
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        page_file = Path(folder) / "run.html"
        view.write(page_file, trace)
        for target, scheme in zip(sys.argv[1:], ("dark", "light"), strict=True):
            address = f"{page_file.as_uri()}#step={step}"
            settings = {"color_scheme": scheme, "device_scale_factor": 1.25}
            with opened(running, address, 1280, 750, **settings) as page:
                cell = page.locator('.slot:has(.name:text-is("S")) [role=grid]').bounding_box()
                assert cell
                page.mouse.move(cell["x"] + cell["width"] / 8, cell["y"] + cell["height"] * 5 / 8)
                with files.whole(target) as aside:
                    aside.write_bytes(page.screenshot())


if __name__ == "__main__":
    main()
