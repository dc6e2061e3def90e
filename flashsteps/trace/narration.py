"""What an algorithm's source says: each line's caption, and which slots it reads.

The comment on a line, or above it, is that step's caption; a line without one goes on with the caption before it. Names
are followed through the source, so that a viewer knows what `acc = … p @ v` was made from. The source is an algorithm's
file, with its function `attend`, or, where a Triton kernel was recorded, the functions that ran.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

#: characters of code that are worth parsing: what an algorithm takes, ten times over
MOST_CODE = 1 << 16


@dataclass(frozen=True)
class Line:
    """A line of an algorithm: its code without the comment, its caption ("" where it has none), the slots it reads."""

    number: int
    code: str
    caption: str
    reads: frozenset[str]


def of(meta: Mapping[str, Any]) -> dict[int, Line]:
    """The lines of a trace's code, by number, from its meta: those of `body`, all others with no caption."""
    plain = {n: Line(n, text.rstrip(), "", frozenset()) for n, text in enumerate(meta["code"].split("\n"), 1)}
    return plain | body(meta)


def body(meta: Mapping[str, Any]) -> dict[int, Line]:
    """The lines that `read` finds in a trace's code; none where it is no code that can be read.

    A stranger's trace may hold any text as its code. It is parsed at most, never run.
    """
    if len(meta["code"]) > MOST_CODE:
        return {}
    try:
        return read(meta["code"], tuple(meta.get("slots", {}).items()))
    except Exception:  # no function, no Python, or made to break the parser
        return {}


@lru_cache(maxsize=16)
def read(source: str, named: tuple[tuple[str, str], ...] = ()) -> dict[int, Line]:
    """The lines of `attend` below its docstring, by line number (from 1); of all functions where none has that name.

    `named` are variables that stand for a slot, whatever they are given: those of a kernel.
    """
    found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    functions = [node for node in found if node.name == "attend"] or found
    comments = {
        token.start[0]: (token.start[1], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = {}
    text = source.splitlines()
    for function in functions:
        reads, above = _reads(function, dict(named)), ""
        body = function.body[ast.get_docstring(function) is not None :]
        for number in range(body[0].lineno if body else 1, (function.end_lineno or 0) + 1):
            column, caption = comments.get(number, (None, ""))
            code = text[number - 1][:column].rstrip()
            lines[number] = Line(number, code, (caption or above) if code else "", frozenset(reads.get(number, ())))
            above = "" if code else caption
    return lines


def _reads(function: ast.FunctionDef, named: Mapping[str, str]) -> dict[int, set[str]]:
    """Line → slots read there. A variable stands for a slot, or for all slots of the expression it was made from."""
    slots = {variable: {slot} for variable, slot in named.items()}
    reads: dict[int, set[str]] = {}
    assignments = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    for node in sorted(assignments, key=lambda node: node.lineno):
        used = {name for name in _names(node.value) if name in slots}
        reads.setdefault(node.lineno, set()).update(*(slots[name] for name in used))
        slot = _slot_written(node)
        pairs = list(_pairs(node))
        values = {id(value): value for _, value in pairs}  # a = b = x has one for both
        made = {
            at: {slot} if slot else set().union(*(slots.get(n, set()) for n in set(_names(value))))
            for at, value in values.items()
        }
        for variable, value in pairs:
            if variable not in named:
                slots[variable] = made[id(value)]
    return reads


def _slot_written(node: ast.Assign) -> str | None:
    """`… = sram["S"] = …` writes S; `q = sram.load(Q[i])` and `k = sram.gather(K, …)` write q and k."""
    for target in node.targets:
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            return str(target.slice.value)
    call = node.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in ("load", "gather"):
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and isinstance(call.args[1].value, str):
            return call.args[1].value
        return next(iter(_names(call.args[0]))).lower()
    return None


def _pairs(node: ast.Assign) -> list[tuple[str, ast.expr]]:
    """The variables that an assignment binds, each with the expression it gets: `a, b = x, y` is two."""
    pairs = []
    for target in node.targets:
        if isinstance(target, ast.Name):
            pairs.append((target.id, node.value))
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for part, value in zip(target.elts, node.value.elts, strict=True):
                if isinstance(part, ast.Name):
                    pairs.append((part.id, value))
    return pairs


def _names(node: ast.expr) -> list[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
