"""What the page says of the algorithms: their code, captions, names and hues, each from where Python has it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from .. import algorithms, theme
from ..story.telling import LEAST, SKIPPED
from ..trace import narration


def words(name: str) -> dict[str, Any]:
    """An algorithm's lines [number, code, slots read], its captions by line, and its names: label, hue and place."""
    source, declared = algorithms.source(name), algorithms.algorithm(name)
    lines = narration.read(source)
    shown = list(lines.values())
    while shown and not shown[-1].code.strip():
        shown.pop()
    return {
        "title": declared.title,
        "direction": declared.direction,
        "code": [[line.number, line.code, sorted(line.reads)] for line in shown],
        "captions": {line.number: line.caption for line in lines.values() if line.caption},
        "names": {one: _named(one) for one in sorted(_names(source, declared.parameters))},
        "skipped": SKIPPED,
        "least": LEAST,
    }


def _names(source: str, parameters: Mapping[str, Any]) -> set[str]:
    """Whatever can be a tensor or a slot there: names in quotes, tensors that are found, and their lower case."""
    quoted = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    names = {one for one in quoted if isinstance(one, str) and one.isidentifier()} | set(parameters)
    return names | {one.lower() for one in names}


def _named(name: str) -> dict[str, Any]:
    """Its label on screen (`m_{new}`: a subscript), its hue, and its place among tensors."""
    base, _, below = name.partition("_")
    label = theme.label(base) + (f"_{{{below}}}" if below else "")
    plain = base[1:] if base[:1] == "d" else base
    return {"label": label, "hue": theme.hue(name), "place": [int(base != plain), theme.rank(plain)]}
