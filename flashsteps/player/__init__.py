"""The player: one ES module and one style sheet, for the HTML page and for the notebook. Here they become text.

The module is written in several files that import each other, so that an editor understands them; joined, they are one
file without imports: there is no build step, and nothing is fetched. `pack.py` says what the module is given.

The fonts are subsets of those in flashsteps/fonts (see there for their licence): Latin, Greek, arrows, operators.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from .. import theme

FOLDER = Path(__file__).parent

#: in the order in which they need each other
MODULES = (
    "run.js", "words.js", "explain.js", "draw.js", "stage.js", "source.js", "sums.js", "cards.js", "ending.js",
    "search.js", "positions.js", "help.js", "address.js", "view.js", "player.js", "mount.js",
)  # fmt: skip

FONTS = {
    ("Inter", 400): "Inter-Regular.woff2",
    ("Inter", 600): "Inter-SemiBold.woff2",
    ("JetBrains Mono", 400): "JetBrainsMono-Regular.woff2",
    ("JetBrains Mono", 600): "JetBrainsMono-SemiBold.woff2",
}


def module() -> str:
    """The ES module: it exports `mount`, and by default what anywidget asks for."""
    return joined() + "\nexport default { render };\nexport { mount };\n"


def joined() -> str:
    """All of its files as one text, without imports and exports."""
    joined = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in MODULES)
    joined = re.sub(r"^import [^;]*;\n", "", joined, flags=re.MULTILINE)
    return re.sub(r"^export ", "", joined, flags=re.MULTILINE)


def style() -> str:
    """The style sheet, with the colours of both themes; without fonts."""
    return colours() + (FOLDER / "player.css").read_text(encoding="utf-8")


def colours(of: str = ".flashsteps") -> str:
    """Both themes as CSS variables of an element: as the system has it, or as its `data-theme` says."""
    dark, light = (
        "".join(f"--{name.replace('_', '-')}:{colour};" for name, colour in theme.THEMES[name]._asdict().items())
        for name in ("dark", "light")
    )
    return (
        f"{of}{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{{of}{{color-scheme:dark;{dark}}}}}\n"
        f"{of}[data-theme=light]{{color-scheme:light;{light}}}\n"
        f"{of}[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def fonts() -> str:
    """The fonts as @font-face rules that hold them."""
    faces = []
    for (family, weight), name in FONTS.items():
        data = base64.b64encode((FOLDER / name).read_bytes()).decode()
        source = f"url(data:font/woff2;base64,{data}) format('woff2')"
        faces.append(f"@font-face{{font-family:'{family}';font-weight:{weight};src:{source}}}\n")
    return "".join(faces)
