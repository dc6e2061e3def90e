"""Traces as one HTML file to step through: nothing is fetched, it opens from disk, and nothing in it comes to run.

What a trace holds, names and code and tokens, is data in the page (JSON, `<` escaped) and text on screen. A policy in
the page lets the player's own script run and no other, by its hash, and forbids all that would reach out.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from pathlib import Path

from . import files, player
from .player.pack import Packed, pack
from .trace import Trace

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="player"></div>
<noscript>This page needs JavaScript: the steps are in it, and nothing is fetched.</noscript>
{data}
<script type="module">{script}</script>
</body>
</html>
"""

#: the page around the player: two runs or one, at the width of the window
BODY = (
    "html{background:#fff}@media(prefers-color-scheme:dark){html{background:#0d1117}}"
    "body{margin:0}.flashsteps{min-height:calc(100vh / var(--zoom,1));display:flex;flex-direction:column}"
    ".flashsteps .dock{margin-top:auto}"
    "@media(min-width:2200px){.flashsteps{--zoom:1.6;zoom:1.6}}@media(min-width:3200px){.flashsteps{--zoom:2.4;zoom:2.4}}"
)

START = """
const packed = [...document.querySelectorAll("script[type='application/json']")].map((element) => {
  const { header, data } = JSON.parse(element.textContent), signs = atob(data), bytes = new Uint8Array(signs.length);
  for (let n = 0; n < signs.length; n++) bytes[n] = signs.charCodeAt(n);
  return { header, data: bytes };
});
const root = document.querySelector("#player");
window.flashsteps = await mount(root, packed, {
  hash: true,
  themed: (name) => { document.documentElement.style.background = name === "dark" ? "#0d1117" : "#fff"; },
});
"""


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a page. Raises ValueError where none can be written."""
    return files.check(path, (".html", ".htm"))


def page(*traces: Trace) -> str:
    """One trace, or two side by side, as the text of an HTML file."""
    packed = [pack(trace) for trace in traces]
    style = player.fonts() + player.style() + BODY
    script = player.module() + START
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; font-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    title = " and ".join(part.header["title"] for part in packed) + " · flashsteps"
    data = "\n".join(f'<script type="application/json">{_json(part)}</script>' for part in packed)
    return PAGE.format(policy=policy, title=html.escape(title), style=style, data=data, script=script)


def write(path: str | os.PathLike[str], *traces: Trace) -> None:
    """Write one trace, or two side by side, to an HTML file, whole or not at all. The same traces give the same bytes.

    Raises ValueError for another ending, and a path that cannot be written.
    """
    check_path(path)
    with files.whole(path) as aside:
        aside.write_text(page(*traces), encoding="utf-8", newline="\n")


def _json(packed: Packed) -> str:
    """As JSON that cannot end the element it stands in."""
    data = {"header": packed.header, "data": base64.b64encode(packed.data).decode()}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
