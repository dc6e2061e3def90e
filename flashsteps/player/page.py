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

from .. import files, player
from ..trace.trace import Trace
from .pack import Packed, pack

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
{body}
<noscript>This page needs JavaScript: the steps are in it, and nothing is fetched.</noscript>
{data}
<script type="module">{script}</script>
</body>
</html>
"""

#: the page around the player: its ground, and larger where the screen is
BODY = """
html { background: var(--bg); scroll-padding-bottom: 240px; }
@media (max-height: 560px) { html { scroll-padding-bottom: 80px; } }
body { margin: 0; }
.flashsteps { min-height: calc(100vh / var(--zoom, 1)); display: flex; flex-direction: column; }
.flashsteps .dock { margin-top: auto; }
@media (min-width: 2200px) { .flashsteps { --zoom: 1.6; zoom: 1.6; } }
@media (min-width: 3200px) { .flashsteps { --zoom: 2.4; zoom: 2.4; } }
"""

START = """
function bytes(element) {
  const text = element.textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const signs = atob(text), found = new Uint8Array(signs.length);
  for (let n = 0; n < signs.length; n++) found[n] = signs.charCodeAt(n);
  return found;
}
const packed = [...document.querySelectorAll("script[type='application/json']")].map((header) => {
  const data = header.nextElementSibling, values = data.nextElementSibling;
  return { header: JSON.parse(header.textContent), data: bytes(data), values: bytes(values) };
});
const root = document.querySelector("#player");
window.flashsteps = await mount(root, packed, {
  hash: true,
  themed: (name) => {
    if (name) document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
  },
});
"""


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a page. Raises ValueError where none can be written."""
    return files.check(path, (".html", ".htm"))


def page(*traces: Trace) -> str:
    """One trace, or two side by side, as the text of an HTML file."""
    packed = [pack(trace) for trace in traces]
    style = player.fonts() + player.colours("html") + player.style() + BODY
    title = " and ".join(part.header["title"] for part in packed) + " · flashsteps"
    return shell(title, style, player.module() + START, "\n".join(map(_embedded, packed)), '<div id="player"></div>')


def shell(title: str, style: str, script: str, data: str, body: str) -> str:
    """A page that lets this script run and no other, uses this style, holds this data, and reaches out to nothing."""
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; font-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return PAGE.format(policy=policy, title=html.escape(title), style=style, data=data, script=script, body=body)


def write(path: str | os.PathLike[str], *traces: Trace) -> None:
    """Write one trace, or two side by side, to an HTML file, whole or not at all. The same traces give the same bytes.

    Raises ValueError for another ending, and a path that cannot be written.
    """
    check_path(path)
    with files.whole(path) as aside:
        aside.write_text(page(*traces), encoding="utf-8", newline="\n")


def _embedded(packed: Packed) -> str:
    """A run as elements that nothing in it can end: JSON, then its two runs of bytes in base64."""
    header = json.dumps(packed.header, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    header = header.replace("<", "\\u003c")
    parts = [f'<script type="application/json">{header}</script>']
    for data in (packed.data, packed.values):
        parts.append(f'<script type="text/plain">{base64.b64encode(data).decode()}</script>')
    return "\n".join(parts)
