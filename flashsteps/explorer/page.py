"""The explorer as one HTML file: engine, player, what Python knows of the algorithms, and a run that it recorded."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from .. import algorithms, files, player
from ..inputs.qkv import QKV, Heads, load_qkv
from ..machine.devices import DEVICES
from ..player import page as pages
from ..player.pack import pack
from ..runs.arguments import takes
from ..runs.record import record
from ..story.labels import opening
from ..trace.trace import Trace
from . import FOLDER, engine, performed, plain
from .words import words

#: in the order in which they need each other
APP = ("state.js", "inputs.js", "model.js", "parts.js", "chart.js", "bar.js", "story.js", "app.js")

#: options that the page has no control for
_WITHOUT = ("block_mask", "splits", "table")

#: the state that the page opens with; `same` is the run that it holds itself against
FIRST: dict[str, Any] = {
    "a": "flash2-forward", "bq": 4, "bk": 4, "mask": "none", "n": 16, "d": 32, "type": "float16", "on": "toy",
    "in": "sample", "pin": None, "tab": "explore", "card": 0, "step": -1, "theme": None,
}  # fmt: skip

_ONLY = "the explorer performs runs without a mask or with the causal one, and nothing else that changes scores"

#: the most tokens of an input that is embedded: as many as a run is performed for
MOST_TOKENS, MOST_WIDTH = 64, 256

START = """
function bytes(text) {
  const signs = atob(text), found = new Uint8Array(signs.length);
  for (let n = 0; n < signs.length; n++) found[n] = signs.charCodeAt(n);
  return found;
}
const held = JSON.parse(document.querySelector("#data").textContent), { header, data, values, state } = held.check;
for (const input of Object.values(held.inputs)) {
  for (const name of ["Q", "K", "V"]) input[name] = new Float32Array(bytes(input[name]).buffer);
}
window.flashsteps = new Explorer(document.querySelector("#explorer"), held);
window.flashsteps.agrees = await window.flashsteps.same({ header, data: bytes(data), values: bytes(values) }, state);
"""


def chosen() -> tuple[str, ...]:
    """What can be chosen: those performed that need no more than Q, K and V (and dO), forward passes first."""
    found = [name for name in performed() if not any(takes(name, option) for option in _WITHOUT)]
    order = {"standard": 0, "flash": 1, "flash2": 2}
    return tuple(sorted(found, key=lambda n: (algorithms.algorithm(n).backward, order.get(n.partition("-")[0], 3), n)))


def page(qkv: QKV | None = None, first: dict[str, Any] | None = None) -> str:
    """The page as text; with an input of one's own beside the sample, and another state to open with.

    Raises ValueError for an input that has more tokens, or is wider, than the page performs.
    """
    sample = load_qkv("sample")
    inputs = {"sample": _input(sample, "the sample, a real head")}
    start = dict(FIRST)
    if qkv is not None:
        inputs["file"] = _input(qkv, "your own")
        start |= {"in": "file", "n": len(qkv.q), "d": qkv.q.shape[1], "type": Heads.of(qkv).kept, **_own(qkv)}
    start |= first or {}
    state = {"a": "flash2-forward", "bq": 4, "bk": 4, "mask": "causal", "n": 16, "d": 32, "in": "sample", "on": "toy"}
    checked = record("flash2-forward", *sample, tokens=sample.tokens, source=sample.source, block_q=4, block_k=4,
                     mask="causal")  # fmt: skip
    packed = pack(checked)
    data = {
        "words": {name: words(name) for name in chosen()},
        "devices": {name: {"title": gpu.title, "shared": gpu.shared_per_block * 1024,
                           "registers": gpu.registers_per_sm * 1024} for name, gpu in DEVICES.items()},
        "inputs": inputs,
        "first": start,
        "check": {"header": packed.header, "data": _text(packed.data), "values": _text(packed.values),
                  "state": state | {"type": "float16"}},
    }  # fmt: skip
    style = player.fonts() + player.colours("html") + player.style() + (FOLDER / "explorer.css").read_text("utf-8")
    return pages.shell(
        "FlashAttention, explored", style, _script(), _data(data), '<div id="explorer" class="page-root"></div>'
    )


def write(path: str | os.PathLike[str], qkv: QKV | None = None, first: dict[str, Any] | None = None) -> None:
    """Write the page to a file, whole or not at all. Raises ValueError as `page` does, and for a path that won't do."""
    pages.check_path(path)
    text = page(qkv, first)
    with files.whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def of_trace(trace: Trace) -> str:
    """The page on the input and the settings of a run. Raises ValueError for a run that the page cannot perform."""
    meta = trace.meta
    algorithm, mask = meta["algorithm"], meta["mask"]
    if algorithm not in chosen() or "kernel" in meta or meta.get("heads", 1) > 1 or meta["queries"] != meta["keys"]:
        raise ValueError(f"the explorer performs one head of {', '.join(chosen())}, with as many queries as keys")
    changes = ("softcap", "dropout", "alibi", "bias", "sinks")
    if mask not in (None, "causal") or any(meta.get(name) for name in changes):
        raise ValueError(_ONLY)
    q, k, v = (trace.initial[name].astype(np.float32) for name in "QKV")
    first = {
        "a": algorithm,
        "bq": meta["block_q"],
        "bk": meta["block_k"],
        "mask": mask or "none",
        "type": meta["dtype"],
    }
    if meta["device"] or meta["sram"]:
        first["on"] = meta["device"] or str(meta["sram"])
    qkv = QKV(q, k, v, tokens=None if meta["tokens"] is None else tuple(meta["tokens"]), source=meta["input"])
    return page(qkv, first)


def _own(qkv: QKV) -> dict[str, Any]:
    """The mask and the type of the model that an input is from. Raises ValueError where the page lacks what it did."""
    own, d = qkv.own, qkv.q.shape[1]
    if not own:
        return {}
    mask, scale = own.get("mask"), own.get("scale", d**-0.5)
    others = own.keys() - {"mask", "scale", "dtype"}
    if not (mask is None or np.array_equal(mask, "causal")) or not np.isclose(scale, d**-0.5) or others:
        raise ValueError(
            f"{_ONLY}, and this head has more: step through it with `flashsteps view` or `flashsteps step`"
        )
    return {"mask": mask or "none"}


def _input(qkv: QKV, title: str) -> dict[str, Any]:
    n, d = qkv.q.shape
    if qkv.v.shape[1] != d:
        raise ValueError(f"the explorer takes values as wide as keys, not v {qkv.v.shape[1]} wide and d = {d}")
    if len(qkv.k) != n:
        raise ValueError(f"the explorer takes as many queries as keys, not {n} and {len(qkv.k)}")
    if n > MOST_TOKENS or d > MOST_WIDTH:
        raise ValueError(f"the explorer performs up to {MOST_TOKENS} tokens, up to {MOST_WIDTH} wide, not {n} × {d}")
    small = record("flash2-forward", *qkv, tokens=qkv.tokens, source=qkv.source, block_q=n, block_k=n)
    said = opening(small)
    arrays = {name: _text(np.ascontiguousarray(x, "<f4").tobytes()) for name, x in zip("QKV", qkv, strict=True)}
    return {"title": title, "short": said.split(":")[0].rstrip("."), "opening": said, "n": n, "d": d,
            "tokens": None if qkv.tokens is None else list(qkv.tokens), **arrays}  # fmt: skip


def _script() -> str:
    app = "\n".join(plain((FOLDER / name).read_text(encoding="utf-8")) for name in APP)
    return _small(f"{player.joined()}\nconst engine = {engine()};\n{{\n{app}\n{START}\n}}\n")


def _small(script: str) -> str:
    """Without the comments that stand on lines of their own, and without indentation."""
    lines = re.sub(r"^[ \t]*/\*\*.*?\*/[ \t]*\n", "", script, flags=re.MULTILINE | re.DOTALL).split("\n")
    return "\n".join(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("//"))


def _data(data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>'


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def escape(text: str) -> str:
    """A page as the value of an attribute: srcdoc."""
    return html.escape(text, quote=True)


def path_of(path: str | os.PathLike[str]) -> Path:
    """The path, checked."""
    return pages.check_path(path)
