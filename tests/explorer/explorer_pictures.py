"""The pictures of the explorer that the README shows: what `flashsteps explore` makes, in a browser, dark and light.

python tests/explorer/explorer_pictures.py DARK.png LIGHT.png
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flashsteps import files

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.player.browser import browser  # noqa: E402

#: causal, with tiles of 8 × 4
STATE = "a=flash2-forward&bq=8&bk=4&mask=causal"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        page_file = Path(folder) / "explorer.html"
        subprocess.run(
            [sys.executable, "-m", "flashsteps", "explore", "-o", page_file], check=True, capture_output=True
        )
        for target, scheme in zip(sys.argv[1:], ("dark", "light"), strict=True):
            settings: dict[str, Any] = {"viewport": {"width": 1280, "height": 1050}, "color_scheme": scheme}
            context = running.new_context(**settings)
            page = context.new_page()
            page.goto(f"{page_file.as_uri()}#{STATE}")
            page.get_by_text("same as Python").wait_for()
            with files.whole(target) as aside:
                aside.write_bytes(page.screenshot())
            context.close()


if __name__ == "__main__":
    main()
