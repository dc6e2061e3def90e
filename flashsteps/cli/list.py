"""`flashsteps list`: what there is, one line each."""

from __future__ import annotations

from collections.abc import Callable

import click

from .options import Name
from .program import Command, say, table

Rows = list[tuple[str, ...]]

EXAMPLES = """\b
Examples:
  flashsteps list
  flashsteps list devices | grep -i nvidia
"""


def _films() -> Rows:
    from ..filmkit import films

    return [(name, films.summary(name)) for name in (*films.names(), films.LECTURE)]


def _algorithms() -> Rows:
    from .. import algorithms

    return [(name, algorithms.summary(name)) for name in algorithms.names()]


def _inputs() -> Rows:
    from ..inputs.qkv import RANDOM_FORM, SAMPLE_SOURCE, load_qkv
    from ..inputs.readers import READERS

    q = load_qkv("sample").q
    sample = "“{sentence}” in {model}, layer {layer}, head {head}".format(**SAMPLE_SOURCE)
    return [
        ("sample", f"{q.shape[0]} tokens, d = {q.shape[1]}: {sample}"),
        ("random:N,d[,seed]", f"standard normal numbers: {RANDOM_FORM}"),
        ("a file", f"with q, k and v: {', '.join(READERS)}"),
    ]


def _devices() -> Rows:
    from ..machine.devices import DEFAULT, DEVICES

    return [
        (
            name,
            gpu.title,
            f"{gpu.multiprocessors} SMs",
            f"{gpu.shared_per_block} KiB shared memory a block",
            f"{gpu.registers_per_sm} KiB registers",
            f"{gpu.memory} GB {gpu.memory_kind}, {gpu.bandwidth:g} TB/s",
            "(default)" if name == DEFAULT else "",
        )
        for name, gpu in DEVICES.items()
    ]


def _themes() -> Rows:
    from ..theme import DEFAULT, THEMES

    return [(name, f"on {theme.bg}", "(default)" if name == DEFAULT else "") for name, theme in THEMES.items()]


def _presets() -> Rows:
    from ..filmkit.formats import ENDINGS
    from ..filmkit.presets import PRESETS, preset_for

    def default_for(name: str) -> str:
        endings = [ending for ending in ENDINGS if preset_for(f"film{ending}") == name]
        return f"(default for {', '.join(endings)})" if endings else ""

    return [(name, f"{p.width}×{p.height}", f"{p.fps} fps", default_for(name)) for name, p in PRESETS.items()]


GROUPS: dict[str, Callable[[], Rows]] = {
    "films": _films,
    "algorithms": _algorithms,
    "inputs": _inputs,
    "devices": _devices,
    "themes": _themes,
    "presets": _presets,
}


@click.command("list", cls=Command, epilog=EXAMPLES)
@click.argument(
    "group", type=Name("group", lambda: GROUPS), required=False, help=f"One of {', '.join(GROUPS)}; all unless given."
)
def list_(group: str | None) -> None:
    """Say what there is to choose from, one line each."""
    if group:
        for line in table(GROUPS[group]()):
            say(line)
        return
    for name, rows in GROUPS.items():
        say(name)
        for line in table(rows()):
            say(f"  {line}")
        say()
