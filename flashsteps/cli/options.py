"""What options take: each text is read here, and refused with what to give instead; names complete in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import algorithms, theme
from ..errors import shorten, unknown
from ..filmkit import films
from ..machine import devices
from . import typed
from .outputs import Ending, Output

#: an option's help, or what gives it when it is shown: facts may be owned by modules that take long to import
Help = str | Callable[[], str]


class Option(click.Option):
    """An option whose help may be a function."""

    def __init__(self, *names: Any, help: Help | None = None, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._help = help

    @property
    def help(self) -> str | None:
        return self._help() if callable(self._help) else self._help

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text


def option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """click's, with the help of `Option`."""
    return click.option(*names, cls=Option, **settings)


# ---- what several helps say


def mask_help() -> str:
    from ..machine.masks import HELP

    return f"{HELP}  [default: none]"


def block_mask_help() -> str:
    from ..machine.block_masks import HELP

    return f"For block-sparse-forward: {HELP}"


def layout_help() -> str:
    return (
        f"How a file's axes lie: {', '.join(_layouts())} (b batch, h heads, s tokens)  [default: …, heads, tokens, d]"
    )


def dtype_help() -> str:
    from ..machine.dtypes import DEFAULT

    return f"What q, k, v and O are stored as  [default: {DEFAULT}]"


def own_dtype_help() -> str:
    from ..machine.dtypes import DEFAULT

    return f"What q, k, v and O are stored as  [default: as the input is; sample and random: {DEFAULT}]"


def run_blocks() -> str:
    """How large blocks are unless given, in a run that is not to be looked at."""
    from ..runs.arguments import BLOCK

    return f"{BLOCK}, cut to their number"


def _rule_help() -> str:
    from ..trace.rules import DEFAULT

    return f"Which bytes count: all, or as a published figure does  [default: {DEFAULT}]"


def plot_theme_help() -> str:
    from ..plots.chart import THEME

    return f"The plots' colours  [default: {THEME}]"


DEVICE_DEFAULT, THEME_DEFAULT = f"[default: {devices.DEFAULT}]", f"[default: {theme.DEFAULT}]"


# ---- types


class Name(click.ParamType[str]):
    """One of the names that another module knows."""

    def __init__(self, what: str, names: Callable[[], Iterable[str]]) -> None:
        self.name, self.names = what, names

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        if value not in self.names():
            raise ValueError(unknown(self.name, value, self.names()))
        return value

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        if isinstance(param, click.Argument):
            return None
        names = list(self.names())
        return "|".join(names) if len(names) < 5 else "NAME"

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


class Text(click.ParamType[Any]):
    """A text that a function can read; else `advice` says what to give."""

    def __init__(self, name: str, read: Callable[[str], Any], advice: str) -> None:
        self.name, self.read, self.advice = name, read, advice

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: Any) -> Any:
        name = param.opts[-1] if param else self.name
        try:
            return self.read(value)
        except typed.TooLarge as error:
            raise ValueError(f"{name} {shorten(value, 40)!r} is too large: give at most {error.most:,}") from None
        except ValueError:
            raise ValueError(f"{name} {shorten(value, 40)!r}: {self.advice}") from None


class Source(click.ParamType[str]):
    """An input: a name, or a file."""

    name = "source"

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name) for name in ("sample", "random:") if incomplete and name.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]


class _Layout(Name):
    """A layout, whose names the help lists."""

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        return "LAYOUT"


def _masks() -> Iterable[str]:
    from ..machine.masks import NAMES

    return NAMES


class _Mask(Name):
    """A mask's name, whose form may hold numbers or a path."""

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        from ..machine import masks

        masks.names(value)
        return value

    def get_metavar(self, param: click.Parameter, ctx: Any = None) -> str | None:
        return "MASK"


def _layouts() -> Iterable[str]:
    from ..inputs.layouts import LAYOUTS

    return LAYOUTS


def _biases() -> Iterable[str]:
    from ..machine.mask_arrays import BIASES

    return BIASES


def _dtypes() -> Iterable[str]:
    from ..inputs.types import STORAGE

    return STORAGE


def _rules() -> Iterable[str]:
    from ..trace.rules import RULES

    return RULES


def _presets() -> Iterable[str]:
    from ..filmkit.presets import PRESETS

    return PRESETS


def _cuts() -> Iterable[str]:
    from ..filmkit.storyboard import CUTS

    return CUTS


def _formats() -> Iterable[str]:
    from ..filmkit.formats import ENDINGS

    return [ending[1:] for ending in ENDINGS]


FILM, ALGORITHM = Name("film", lambda: (*films.names(), films.LECTURE)), Name("algorithm", algorithms.names)
SHOWN = Name("film", films.shown)
MASK, DTYPE, PRESET = _Mask("mask", _masks), Name("dtype", _dtypes), Name("preset", _presets)
LAYOUT = _Layout("layout", _layouts)
FORMAT = Name("format", _formats)
BIAS = Name("bias", _biases)
CUT = Name("cut", _cuts)
DEVICE, THEME = Name("device", lambda: devices.DEVICES), Name("theme", lambda: theme.THEMES)
RULE = Name("counting rule", _rules)


NUMBER = Text("N", typed.positive, "give a whole number, 1 or more")
INDEX = Text("N", typed.index, "give a whole number, from 0")
LOOPS = Text("N", typed.positive, "give how many times, 1 or more")
INTEGER = Text("N", typed.integer, "give a whole number")
REAL = Text("X", typed.finite, "give a number, such as 0.125")
SECONDS = Text("SECONDS", typed.finite, "give seconds, such as 24 or 12.5")
MOMENT = Text("SECONDS|last", typed.moment, "give seconds, such as 9.5, or last")
HEAD = Text("INDEX", typed.indices, "give an index, from 0, or one for each leading axis: 0,3")
PAGES = Text("PAGE,…", typed.indices, "give the page of each block of keys, from 0, with commas between: 3,0,2")
LOGITS = Text("X,…", typed.slopes, "give a logit, or one a head: 0.5, or 0.5,-1")
SLOPES = Text("X,…", typed.slopes, "give a slope, or one a head: 0.5, or 0.5,0.25")
SIZE = Text("WxH", typed.size, "give the width and the height in pixels: 1080x1080")
BYTES = Text("BYTES", typed.nbytes, "give whole bytes: 2048, 2KiB or 2 KB")
TOKENS = Text("N", typed.tokens, "give how many: 4096, 4K or 1M (in binary: 1K is 1,024)")
STEPS = Text("A:B|all", typed.steps, "give the first and the one after the last, 20:60, or all")


# ---- options that several commands have


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given: the others have their defaults where they are used."""
    return {name: value for name, value in options.items() if value is not None}


def output(metavar: str, help: str, ending: Ending, required: bool = True) -> Callable[[Any], Any]:
    """-o, --output: the file to write; `ending` as `Output` has it."""
    return option("-o", "--output", type=Output(ending), required=required, metavar=metavar, help=help)


def input_options(command: Any) -> Any:
    """--input, --head and --layout: where q, k and v come from."""
    where = "Where q, k and v come from: sample, a file, or random:N,d[,seed]  [default: sample]"
    source = option("--input", "source", type=Source(), default="sample", metavar="SOURCE", help=where)
    head = option("--head", type=HEAD, help="Which matrix of a file that has several: 3, or batch and head, 0,3.")
    layout = option("--layout", type=LAYOUT, help=layout_help)
    return source(head(layout(command)))


def block_options(default: Help, of_input: bool = False) -> Callable[[Any], Any]:
    """--block-q, --block-k, --mask and --dtype; `default` says how large blocks are unless given, and `of_input`,
    whether there is an input, which has a type of its own."""

    def stands() -> str:
        return f"[default: {default() if callable(default) else default}]"

    def add(command: Any) -> Any:
        block_q = option("--block-q", type=NUMBER, help=lambda: f"Queries in a block  {stands()}")
        block_k = option("--block-k", type=NUMBER, help=lambda: f"Keys in a block  {stands()}")
        mask = option("--mask", type=MASK, help=mask_help)
        dtype = option("--dtype", type=DTYPE, help=own_dtype_help if of_input else dtype_help)
        return block_q(block_k(mask(dtype(command))))

    return add


#: blocks of a run to be looked at (`runs.arguments.small_block`)
SMALL_BLOCK = "a quarter of them, rounded up to a power of two"


def film_options(command: Any) -> Any:
    """Of what a film is: its input, how it runs, and on what."""
    rows = option("--rows", metavar="A:B", help="A window of the tokens: the first, and the one after the last, 0:64.")
    blocks = block_options(SMALL_BLOCK, of_input=True)
    named = f"The GPU that panels name  [default: the film's own, mostly {devices.DEFAULT}]"
    device = option("--device", type=DEVICE, help=named)
    sram = option("--sram", type=BYTES, help="The toy's SRAM, in which the run has to fit  [default: what it takes]")
    return input_options(rows(blocks(device(sram(command)))))


def d_v_option(command: Any) -> Any:
    """--d-v, where there is no data to say how wide a value is."""
    return option("--d-v", type=TOKENS, help="The size of a value  [default: that of a head]")(command)


def heads_options(command: Any) -> Any:
    """--heads and --kv-heads, where there is no data to say how many there are."""
    heads = option("--heads", type=NUMBER, help="How many heads  [default: 1]")
    kv_heads = option(
        "--kv-heads", type=NUMBER, help="How many heads of keys and values they share  [default: as many]"
    )
    return heads(kv_heads(command))


def work_options(what: str) -> Callable[[Any], Any]:
    """--jobs and --cluster: who draws `what`."""

    def add(command: Any) -> Any:
        jobs = f"How many processes draw {what}; no byte depends on it  [default: one a core]"
        cluster = "Have it drawn by the workers of a Dask cluster instead: its scheduler's address, tcp://host:8786."
        command = option("--cluster", metavar="ADDRESS", help=cluster)(command)
        return option("--jobs", type=NUMBER, help=jobs)(command)

    return add


def rule_option(command: Any) -> Any:
    """--rule: which bytes count."""
    return option("--rule", type=RULE, help=_rule_help)(command)


def change_options(command: Any) -> Any:
    """--block-mask, --splits, --softcap, --alibi and --dropout, for the algorithms that take them."""
    adds = (
        option("--block-mask", metavar="MASK", help=block_mask_help),
        option(
            "--splits",
            type=NUMBER,
            help="For split-kv-decode: into how many pieces keys are shared out, at most  [default: 8]",
        ),
        option("--softcap", type=REAL, help="Make scores cap·tanh(s/cap)  [default: no]"),
        option(
            "--alibi", type=SLOPES, help="Lower scores by this (or one a head) a step from query to key  [default: no]"
        ),
        option("--dropout", type=REAL, help="The probability with which a weight is dropped  [default: 0]"),
    )
    for add in reversed(adds):
        command = add(command)
    return command


def capacity_options(command: Any) -> Any:
    """--device and --sram, where they say what has to fit."""
    device = option("--device", type=DEVICE, help="A GPU on which the run has to fit (`flashsteps list devices`).")
    sram = option("--sram", type=BYTES, help="A toy's SRAM, in which it has to fit: 2048, 2KiB.")
    return device(sram(command))
