"""A progress bar, where standard error is a terminal: how much is done, and the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time

import click


@contextmanager
def progress(label: str, total: int, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """What is to be called with how much is done, and of how much."""
    hidden = quiet or not sys.stderr.isatty()
    with click.progressbar(length=total, label=label, show_pos=True, hidden=hidden, file=sys.stderr) as bar:

        def advance(done: int, total: int) -> None:
            if not bar.pos:  # the first ones took long, and say nothing of the others
                bar.start = bar.last_eta = time()
            bar.update(done - bar.pos)

        yield advance
