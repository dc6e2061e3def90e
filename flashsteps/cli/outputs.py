"""Files that commands write: -o - is standard output, and what is read is never what is written."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click

STANDARD, _KEY = Path("-"), "flashsteps.standard-output"

#: what goes to standard output, or what tells it from a command's options; None: nothing can
Ending = str | Callable[[Mapping[str, Any]], str] | None


class Output(click.Path):
    """A file to write."""

    def __init__(self, ending: Ending = None) -> None:
        super().__init__(path_type=Path)
        self.ending = ending

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if self.ending and _leads_elsewhere(value):
            to = "" if value == "/dev/stdout" else f" > {shlex.quote(value)}"
            raise ValueError(f"{value!r} is no plain file: write to standard output, with: -o -{to}")
        return super().convert(value, param, ctx)


def _leads_elsewhere(path: str) -> bool:
    """Is there something that bytes can be sent to, and that is no file?"""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def placed(ctx: click.Context) -> Iterator[None]:
    """While this lasts, a command may write to the files that its options name. Raises ValueError where it may not."""
    outputs = [param for param in ctx.command.params if isinstance(param.type, Output)]
    for param in outputs:
        _check_not_read(ctx, param)
    for param in outputs:
        name, ending = param.name or "", param.type.ending  # type: ignore[attr-defined]  # it is an Output
        if ending and ctx.params[name] == STANDARD:
            with _standard_output(ctx, name, ending(ctx.params) if callable(ending) else ending):
                yield
            return
    yield


def _check_not_read(ctx: click.Context, param: click.Parameter) -> None:
    path = ctx.params[param.name or ""]
    if path is None or not os.path.exists(path):
        return
    for other in ctx.command.params:
        if isinstance(other.type, Output):
            continue
        for given in _files(ctx.params.get(other.name or "")):
            if os.path.samefile(given, path):
                what = other.opts[0] if isinstance(other, click.Option) else "this command"
                raise ValueError(f"'{path}' is what {what} reads: choose another file for {param.opts[0]}")


def _files(value: Any) -> Iterable[str | Path]:
    """The files that an option's value names: x.npz, or file:x.npz in a mask."""
    if isinstance(value, tuple):
        for one in value:
            yield from _files(one)
    if isinstance(value, str | Path) and str(value):
        for name in (value, str(value).rpartition("file:")[2]):
            if "\0" not in str(name) and os.path.isfile(name):
                yield name


def to_standard_output() -> bool:
    """Does what the command writes go to standard output?"""
    return _KEY in click.get_current_context().meta


@contextmanager
def _standard_output(ctx: click.Context, name: str, ending: str) -> Iterator[None]:
    """What the command writes goes to standard output, whole, and nothing else does."""
    stream = sys.stdout
    if stream.isatty():
        raise ValueError("-o - is for other programs, and standard output is a terminal: add > FILE, or name one")
    with tempfile.TemporaryDirectory(prefix="flashsteps-") as folder:
        path = Path(folder) / f"-{ending}"
        ctx.params[name] = path
        ctx.meta[_KEY] = True
        try:
            with redirect_stdout(io.StringIO()):
                yield
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "-")) from error
        stream.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, stream.buffer)
        stream.buffer.flush()
