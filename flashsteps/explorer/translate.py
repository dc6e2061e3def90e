"""An algorithm's file as JavaScript: statement by statement, with the same names, in the same order, on the same lines.

Python stays the source. What an algorithm does is little: it loads and stores, names results and loops over blocks, in
NumPy's words. Each statement becomes one in JavaScript, told which line it is from; arithmetic becomes calls of what
`arrays.js` has, the machine is in `machine.js`. The small functions that it takes from `machine/arrays.py`, such as
`exp_sub`, are translated likewise. Anything else is refused, a ValueError: better no page than another algorithm.
"""

from __future__ import annotations

import ast
from pathlib import Path

from ..machine import arrays

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "matmul", ast.Pow: "pow"}

#: NumPy's functions that arrays.js has by the same name
_FUNCTIONS = ("exp", "log", "maximum", "tanh")

#: methods of SRAM that are told which line they are called from
_TOLD = ("gather", "load", "lookup", "loop", "programs", "store")

#: methods that are called as they are
_METHODS = (
    *("all", "below", "bias", "blocks", "bounds", "column", "empty", "empty_statistics", "entry", "full", "kept"),
    *("launch", "pieces", "row"),
)

#: what several values are called while they are shared out
_HELD = "held_"

_RESERVED = ("class", "const", "delete", "do", "export", "function", "new", "return", "switch", "this", "typeof", "var")


def javascript(source: str) -> str:
    """`attend` of an algorithm's source as a JavaScript function: (hbm, sram, arguments by name).

    Raises ValueError, one line, for what it cannot translate.
    """
    return _function(_find(source, "attend"), named=True)


def helpers(sources: list[str]) -> str:
    """The functions that these algorithms take from `machine/arrays.py`, each once."""
    wanted = sorted({name for source in sources for name in _taken(source)})
    text = Path(arrays.__file__).read_text(encoding="utf-8")
    return "\n".join(_function(_find(text, name)) for name in wanted)


def _taken(source: str) -> list[str]:
    """The functions that are imported from `machine/arrays.py`: all but the type."""
    froms = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    return [
        name.name for node in froms if node.module == "machine.arrays" for name in node.names if name.name != "Array"
    ]


def _find(source: str, name: str) -> ast.FunctionDef:
    return next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)


def _function(node: ast.FunctionDef, named: bool = False) -> str:
    """A function; `named`: all arguments after the first two come as one object, with their defaults."""
    body = node.body[ast.get_docstring(node) is not None :]
    names = sorted(
        {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    )
    given = node.args
    all_given = [*given.args, *given.kwonlyargs]
    if named:
        tail = len(given.args) - len(given.defaults)
        defaults = dict(zip([one.arg for one in given.args[tail:]], given.defaults, strict=True))
        defaults |= {one.arg: d for one, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None}
        parts = [_name(a.arg) + (f" = {_of(defaults[a.arg])}" if a.arg in defaults else "") for a in all_given[2:]]
        heading = f"(hbm, sram, {{ {', '.join(parts)} }})"
    else:
        heading = f"({', '.join(_name(one.arg) for one in all_given)})"
    declared = [f"  let {', '.join([*map(_name, names), _HELD])};"]
    return "\n".join([f"function {node.name}{heading} {{", *declared, *_block(body, "  "), "}"])


def _block(body: list[ast.stmt], indent: str) -> list[str]:
    return [line for node in body for line in _statement(node, indent)]


def _statement(node: ast.stmt, indent: str) -> list[str]:
    match node:
        case ast.Assign(targets=targets, value=value) if any(map(_names_slots, targets)):
            lines = [f"{indent}{_HELD} = {_of(value)};"]  # o, lse = sram["O"], sram["LSE"] = …
            for target in targets:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                lines += [f"{indent}{_assigned(part, f'{_HELD}[{n}]')};" for n, part in enumerate(parts)]
            return lines
        case ast.Assign(targets=targets, value=value):
            text = _of(value)
            for target in reversed(targets):
                text = _assigned(target, text)
            return [f"{indent}{text};"]
        case ast.For(target=ast.Name(id=name), iter=many, body=body, orelse=[]):
            return [f"{indent}for ({_name(name)} of {_of(many)}) {{", *_block(body, indent + "  "), f"{indent}}}"]
        case ast.If(test=test, body=body, orelse=other):
            lines = [f"{indent}if ({_of(test)}) {{", *_block(body, indent + "  "), f"{indent}}}"]
            return (
                [*lines[:-1], f"{indent}}} else {{", *_block(other, indent + "  "), f"{indent}}}"] if other else lines
            )
        case ast.Expr(value=ast.Call() as call):
            return [f"{indent}{_of(call)};"]
        case ast.Return(value=value) if value:
            return [f"{indent}return {_of(value)};"]
    raise _unknown(node)


def _names_slots(target: ast.expr) -> bool:
    """Whether several results are named at once."""
    return isinstance(target, ast.Tuple) and any(isinstance(part, ast.Subscript) for part in target.elts)


def _assigned(target: ast.expr, value: str) -> str:
    """`name = …`, `[a, b] = …`, or `sram.set("S", …)`."""
    match target:
        case ast.Name(id=name):
            return f"{_name(name)} = {value}"
        case ast.Tuple(elts=parts):
            return f"{_pattern(target)} = {value}" if parts else value
        case ast.Subscript(value=ast.Name(id="sram"), slice=ast.Constant(value=str(slot))):
            return f'sram.set({target.lineno}, "{slot}", {value})'
    raise _unknown(target)


def _pattern(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return _name(name)
        case ast.Tuple(elts=parts):
            return f"[{', '.join(map(_pattern, parts))}]"
    raise _unknown(node)


def _of(node: ast.expr) -> str:
    """An expression."""
    match node:
        case ast.Constant(value=None):
            return "null"
        case ast.Constant(value=bool(value)):
            return str(value).lower()
        case ast.Constant(value=str(value)):
            return f'"{value}"'
        case ast.Constant(value=int() | float()):
            return repr(node.value)
        case ast.Name(id=name):
            return _name(name)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return f"[{', '.join(map(_of, parts))}]"
        case ast.Dict(keys=keys, values=values):
            return f"{{ {', '.join(f'{_of(k)}: {_of(v)}' for k, v in zip(keys, values, strict=True) if k)} }}"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return f"{_BINARY[type(op)]}({_of(left)}, {_of(right)})"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"sub(0, {_of(operand)})"
        case ast.BoolOp(op=op, values=values):
            return f" {'&&' if isinstance(op, ast.And) else '||'} ".join(map(_of, values))
        case ast.Attribute(value=ast.Name(id="np"), attr="inf"):
            return "Infinity"
        case ast.Attribute(value=value, attr="T"):
            return f"transposed({_of(value)})"
        case ast.Attribute(value=value, attr=name):
            return f"{_of(value)}.{name}"
        case ast.Subscript(value=value, slice=ast.Tuple(elts=[ast.Slice(), ast.Constant(value=None)])):
            return f"column({_of(value)})"  # x[:, None]
        case ast.Subscript(value=ast.Attribute(attr="shape") as shape, slice=ast.Constant(value=int(n))):
            return f"{_of(shape)}[{n}]"
        case ast.Subscript(
            value=ast.Attribute(attr="shape") as shape, slice=ast.Slice(lower=None, upper=ast.Constant(value=int(n)))
        ):
            return f"{_of(shape)}.slice(0, {n})"
        case ast.Subscript(value=value, slice=ast.Tuple(elts=[ast.Name() as rows, ast.Name() as columns])):
            return f"{_of(value)}.at({_of(rows)}, {_of(columns)})"  # the same, of some columns
        case ast.Subscript(value=value, slice=ast.Name() | ast.Call() as index):
            return f"{_of(value)}.at({_of(index)})"  # the address of a tile
        case ast.Call():
            return _call(node)
    raise _unknown(node)


def _call(node: ast.Call) -> str:
    given = [_of(part) for part in node.args]
    named = {part.arg: _of(part.value) for part in node.keywords}
    match node.func:
        case ast.Attribute(value=ast.Name(id="np"), attr="finfo") if not named:
            return f"finfo({', '.join(given)})"
        case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in _FUNCTIONS and not named:
            return f"{name}({', '.join(given)})"
        case ast.Attribute(value=value, attr="max" | "sum" as name) if not given and named.keys() == {"axis"}:
            return f"{name}({_of(value)}, {named['axis']})"
        case ast.Attribute(value=value, attr="append") if not named:
            return f"{_of(value)}.push({', '.join(given)})"
        case ast.Attribute(value=ast.Name(id="sram"), attr=name) if name in _TOLD and not named:
            return f"sram.{name}({', '.join([str(node.lineno), *given])})"
        case ast.Attribute(value=value, attr=name) if name in _METHODS and not named:
            return f"{_of(value)}.{name}({', '.join(given)})"
        case ast.Name(id="Blocks") if not named:
            return f"new Blocks({', '.join(given)})"
        case ast.Name(id=name) if not named and (name == "len" or hasattr(arrays, name)):
            return f"{name}({', '.join(given)})"
    raise _unknown(node)


def _name(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


def _unknown(node: ast.AST) -> ValueError:
    return ValueError(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)!r:.60} has no JavaScript here")
