"""The text of the kernels that ran: at which of its lines a frame is, what that line sets, which loops are around it.

The functions that ran are put one after another into one text, in the order in which they were met, whatever files they
are from. The interpreter runs them as Python, with the line numbers of those files.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any


@dataclass(frozen=True)
class Function:
    """A kernel, or a function that one called: its text, where in its file that begins, and where in all the text."""

    file: str
    first: int
    text: str
    begins: int
    statements: dict[int, ast.stmt]  # by line of the text, the innermost that the line is of
    loops: tuple[tuple[range, frozenset[str]], ...]  # the lines of each one's body, and the variables that it sets

    def line(self, number: int) -> int:
        """A line of the file as a line of this function's text, from 1: that at which its statement begins."""
        inside = number - self.first + 1
        return self.statements[inside].lineno if inside in self.statements else inside


class Source:
    """The functions that were met so far, as one text; those named in `through` are left out."""

    def __init__(self, through: Iterable[str] = ()) -> None:
        self.through = frozenset(through)
        self.functions: dict[CodeType, Function] = {}

    @property
    def text(self) -> str:
        return "\n\n\n".join(function.text for function in self.functions.values())

    def function(self, code: CodeType) -> Function:
        """A function that the interpreter runs as this code."""
        if code not in self.functions:
            lines = sum(function.text.count("\n") + 3 for function in self.functions.values())
            self.functions[code] = _function(code, 1 + lines)
        return self.functions[code]

    def line(self, code: CodeType, number: int) -> int:
        """The line of the whole text where the statement begins that is at this line of a function's file."""
        function = self.function(code)
        return function.begins + function.line(number) - 1

    def assigned(self, code: CodeType, number: int) -> list[str]:
        """The variables that the statement at this line gives a value."""
        function = self.function(code)
        statement = function.statements.get(function.line(number))
        if not isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
            return []
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]

    def variables(self) -> dict[str, list[str]]:
        """The variables that statements of the functions set, in whatever branch, by the function's name."""
        found: dict[str, list[str]] = {}
        for code, function in self.functions.items():
            names = [name for line in range(1, function.text.count("\n") + 2) if line in function.statements
                     for name in self.assigned(code, function.first + line - 1)]  # fmt: skip
            found[code.co_name] = list(dict.fromkeys([*found.get(code.co_name, ()), *names]))
        return found

    def counting(self, code: CodeType, number: int, variables: Iterable[str]) -> list[str]:
        """Those of these variables that count at this line: in the loops that set them, or, set in none, everywhere."""
        function = self.function(code)
        line, around, elsewhere = function.line(number), set[str](), set[str]()
        for body, names in function.loops:
            if line in body:
                around |= names
            else:
                elsewhere |= names
        return [name for name in variables if name in around or name not in elsewhere]

    def frame(self, frame: Any) -> Any:
        """The innermost frame of a kernel from here outwards, but for functions that are looked through."""
        while frame is not None and not (is_kernel(frame.f_code) and frame.f_code.co_name not in self.through):
            frame = frame.f_back
        return frame

    def quote(self, frame: Any) -> str:
        """Where a frame is, for a message: file, line and statement."""
        if frame is None:
            return "outside of any kernel"
        function = self.function(frame.f_code)
        line = function.line(frame.f_lineno)
        words = function.text.split("\n")[line - 1].partition("#")[0].strip()
        return f"{Path(function.file).name}, line {function.first + line - 1}: {words}"


def is_kernel(code: CodeType) -> bool:
    """Whether this is a function for a GPU that the interpreter runs, and none of Triton's own."""
    if id(code) not in _known:
        rewritten = sys.modules["triton.runtime.interpreter"].InterpretedFunction.rewritten_fn
        own = str(Path(sys.modules["triton"].__file__ or "").parent)
        found = (function for function, one in rewritten.items() if one.__code__ is code)
        _known[id(code)] = code, None if code.co_filename.startswith(own) else next(found, None)
    return _known[id(code)][1] is not None


#: code that ran, and the function that the interpreter made it from, None for all other code: so it is before it runs.
#: By identity: this is asked at each call that Python makes, and the hash of a code is made of all its parts.
_known: dict[int, tuple[CodeType, Any]] = {}


def _function(code: CodeType, begins: int) -> Function:
    lines, first = inspect.getsourcelines(_known[id(code)][1])
    text = textwrap.dedent("".join(lines)).rstrip("\n")
    tree = ast.parse(text)
    statements: dict[int, ast.stmt] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            statements |= dict.fromkeys(range(node.lineno, last + 1), node)
    loops = tuple(_loop(node) for node in ast.walk(tree) if isinstance(node, ast.For))
    return Function(code.co_filename, first, text, begins, statements, loops)


def _loop(loop: ast.For) -> tuple[range, frozenset[str]]:
    names = (node for node in ast.walk(loop) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return range(loop.body[0].lineno, (loop.end_lineno or 0) + 1), frozenset(node.id for node in names)
