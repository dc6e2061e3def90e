"""The explorer: a page that performs the run itself, so that it changes under the reader's hand.

The machine is a small port, in JavaScript, of `machine/` and `runs/`; the algorithms are translated from their own
files (`translate.py`), so there is no second version of them to keep. `page.py` makes the page.
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import cache
from pathlib import Path

from .. import algorithms
from .translate import helpers, javascript

FOLDER = Path(__file__).parent

#: the engine's files, in the order in which they need each other
ENGINE = ("arrays.js", "machine.js", "masks.js", "record.js", "as_run.js")


def engine() -> str:
    """The engine as the text of a JavaScript expression: an object with `record`, `count` and `DoesNotFit`."""
    parts = {name: plain((FOLDER / name).read_text(encoding="utf-8")) for name in ENGINE}
    body = "\n".join([*parts.values(), _algorithms()])
    return f"(() => {{\n{body}\nreturn {{ record, count, programs, asRun, parseMask, DoesNotFit, ALGORITHMS }};\n}})()"


@cache
def performed() -> tuple[str, ...]:
    """The algorithms that the engine performs: all whose files translate."""
    found = []
    for name in algorithms.names():
        with contextlib.suppress(ValueError):
            javascript(algorithms.source(name))
            helpers([algorithms.source(name)])
            found.append(name)
    return tuple(found)


def plain(module: str) -> str:
    """A module's text without imports and exports, to be joined with others."""
    module = re.sub(r"^import [^;]*;.*\n", "", module, flags=re.MULTILINE)
    return re.sub(r"^export (?!default)", "", module, flags=re.MULTILINE)


def _algorithms() -> str:
    """All of these as functions, with what their files declare, by name."""
    sources = {name: algorithms.source(name) for name in performed()}
    found = [helpers(list(sources.values())), "const ALGORITHMS = {"]
    for name, source in sources.items():
        declared = algorithms.algorithm(name)
        keyword = [one.name for one in declared.parameters.values() if one.kind is one.KEYWORD_ONLY]
        tensors = [one for one in declared.parameters if one not in keyword][2:]
        said = {
            "title": declared.title,
            "direction": declared.direction,
            "ideal_products": declared.ideal_products,
            "saved_by": declared.saved_by,
            "needs": dict(declared.needs),
            "tensors": tensors,
            "takes": keyword,
        }
        function = javascript(source).replace("function attend", "function", 1)
        found.append(f"{json.dumps(name)}: {{ ...{json.dumps(said)},\nattend: {function} }},")
    return "\n".join([*found, "};"])
