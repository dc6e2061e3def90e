"""`python -m flashsteps` is the command line."""

from .cli import main

main()
