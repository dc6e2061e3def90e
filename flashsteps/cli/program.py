"""The program as such: its commands, how it prints, and how it ends: what is wrong is said in one line, exit code 2."""

from __future__ import annotations

import codecs
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import click

from ..errors import unknown
from . import outputs

#: what the signs that are printed here become on a terminal that lacks them
PLAIN = {
    "→": "->",
    "×": "x",
    "…": "...",
    "−": "-",
    "∞": "inf",
    "ℓ": "l",
    "α": "alpha",
    "·": "?",
    "“": '"',
    "”": '"',
    "’": "'",
    "µ": "u",
    "⌈": "ceil(",
    "⌉": ")",
}


# ---- printing


def say(text: str = "") -> None:
    """Print one line. Text may come from a stranger's file: what cannot be seen is shown as ·."""
    click.echo(printable(text), file=sys.stdout)


def printable(text: str) -> str:
    """A text as one line with nothing but signs to be seen."""
    return "".join(sign if sign.isprintable() else "·" for sign in re.sub(r"\s*\n\s*", " ", text))


def table(rows: Iterable[tuple[str, ...]], right: str = "") -> Iterator[str]:
    """Rows as lines with their columns aligned: to the left, or to the right where `right` has an r."""
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = [f"{'>' if right[n : n + 1] == 'r' else '<'}{width}" for n, width in enumerate(widths)]
    for row in cells:
        yield "  ".join(f"{cell:{side}}" for cell, side in zip(row, sides, strict=True)).rstrip()


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The nearest that a terminal without Unicode can show."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def _open_streams() -> None:
    """A standard stream that whoever started this has closed is as good as /dev/null."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


codecs.register_error("flashsteps.plain", _plain)


def _warned(message: Warning | str, *where: Any, **more: Any) -> None:
    """What is worth knowing, in one line; where in the source it was said is not."""
    click.echo(f"flashsteps: {printable(str(message))}", file=sys.stderr)


# ---- ending


class Refused(click.ClickException):
    """What was given won't do."""

    exit_code: ClassVar[int] = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"flashsteps: error: {printable(self.message)}", file=sys.stderr)


class Ended(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP: all that cleans up after the first does so after the others, too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Stopped(click.ClickException):
    """Ctrl-C, or what `Ended` is for; the message says what there is now."""

    def __init__(self, message: str, by: KeyboardInterrupt) -> None:
        super().__init__(message)
        number = by.number if isinstance(by, Ended) else signal.SIGINT
        self.exit_code = 128 + number  # type: ignore[misc]  # as a shell has it

    def show(self, file: Any = None) -> None:
        over = "\r" if sys.stderr.isatty() else ""  # the ^C that the terminal shows
        with suppress(OSError):  # of a terminal that was closed
            click.echo(f"{over}stopped: {printable(self.message)}", file=sys.stderr)


@contextmanager
def _endings_heeded() -> Iterator[list[int]]:
    """SIGTERM, SIGHUP and SIGINT raise `Ended`, unless somebody else handles them, or `nohup` has them ignored.

    Gives a list with the number of what came. (Python's own handler of SIGINT would do, but what runs an event loop
    puts another in its place, which ends less than all.) After the first, Ctrl-C does what it does in any Python.
    """
    came: list[int] = []

    def end(number: int, frame: Any) -> None:
        came.append(number)
        for other in heeded:  # while all is cleaned up
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_IGN)
        raise Ended(number)

    heeded = {}
    if threading.current_thread() is threading.main_thread():
        usual = {
            signal.SIGTERM: signal.SIG_DFL,
            signal.SIGHUP: signal.SIG_DFL,
            signal.SIGINT: signal.default_int_handler,
        }
        heeded = {number: handler for number, handler in usual.items() if signal.getsignal(number) == handler}
    for number in heeded:
        signal.signal(number, end)
    try:
        yield came
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


@contextmanager
def _in_one_line(command: click.Command) -> Iterator[None]:
    """Whatever goes wrong with what was given becomes a Refused."""
    try:
        yield
    except click.UsageError as error:
        raise Refused(_usage(error, command)) from error
    except BrokenPipeError:
        raise  # click ends silently
    except OSError as error:
        where = f"{error.filename!r}: " if error.filename else ""
        raise Refused(f"{where}{error.strerror or error}: see that it may be used, and that there is room") from error
    except ImportError as error:
        raise Refused(f"{error}: `flashsteps doctor` says what is missing") from error
    except MemoryError as error:
        raise Refused(f"this takes more memory than there is: give a smaller input ({error})") from error
    except ValueError as error:
        raise Refused(_as_options(str(error), command)) from error
    except KeyboardInterrupt as stop:
        raise Stopped("nothing was written", stop) from None


def _usage(error: click.UsageError, command: click.Command) -> str:
    """What click has to say of the arguments, and where to read on."""
    message = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        near = " or ".join(map(repr, error.possibilities or ()))
        message = f"unknown option {error.option_name!r}" + (f": did you mean {near}?" if near else "")
    if isinstance(error, click.MissingParameter) and error.param and error.ctx:
        option = f"{error.param.opts[0]} " if isinstance(error.param, click.Option) else ""
        message = f"{option}{error.param.make_metavar(error.ctx)} is missing"
    path = error.ctx.command_path if error.ctx else f"flashsteps {command.name}"
    return f"{message}{'' if message.endswith('?') else ':'} see `{path} --help`"


def _as_options(message: str, command: click.Command) -> str:
    """A message that speaks of Python's arguments (`dtype='float32'`) in the command's words (`--dtype float32`)."""
    options = {param.name: param for param in command.params if isinstance(param, click.Option)}
    options |= {param.opts[-1].strip("-").replace("-", "_"): param for param in options.values()}  # --input: source
    names = {name: param.opts[-1] for name, param in options.items()}

    def option(found: re.Match[str]) -> str:
        if not found[1]:
            return found[0]
        name, value = names[found[1]], (found[2] or "").strip("'(),").replace(" ", "")
        if value == "True" and options[found[1]].is_flag:
            return name
        return f"no {name}" if value == "None" else f"{name} {value}".rstrip()

    quoted = r"(?<!\w)'[^']*'|\"[^\"]*\""  # is as it was given, whatever it looks like; no "doesn't" begins it
    pattern = rf"(?<![^\s])({'|'.join(names)})=('[^']*'|\([-\d, ]*\)|[-\w.]+)?|{quoted}"
    return re.sub(pattern, option, message) if names else message


# ---- commands


class Command(click.Command):
    """A command whose errors are one line."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _in_one_line(self):
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line(self), outputs.placed(ctx):
            return super().invoke(ctx)


class Program(Command, click.Group):
    """The commands, in the order in which they were added."""

    command_class = Command

    def main(self, *args: Any, **options: Any) -> Any:
        _open_streams()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="flashsteps.plain")
        with _endings_heeded() as came, warnings.catch_warnings():
            warnings.showwarning = _warned
            try:
                return super().main(*args, **options)
            except SystemExit as end:
                if came and end.code == 1:  # it came where click itself was at work, which calls that "Aborted!"
                    raise SystemExit(128 + came[0]) from None
                raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise ValueError(unknown("command", args[0], self.commands))
        return super().resolve_command(ctx, args)
