"""The command line: `flashsteps`, or `python -m flashsteps`. Ctrl-C ends it while it is imported, too."""

from __future__ import annotations

import sys


def run() -> None:
    """Begin."""
    try:
        from .cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
