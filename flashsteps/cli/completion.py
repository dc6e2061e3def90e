"""`flashsteps completion`: what makes a shell complete commands, options and names."""

from __future__ import annotations

import click

from .options import Name
from .program import Command

EXAMPLES = """\b
To have it in every new shell:
  bash   echo 'eval "$(flashsteps completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(flashsteps completion zsh)"' >> ~/.zshrc
  fish   flashsteps completion fish > ~/.config/fish/completions/flashsteps.fish
"""

SHELL = Name("shell", lambda: ("bash", "zsh", "fish"))


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("shell", type=SHELL, help="bash, zsh or fish.")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete what you type.

    It completes commands, options, and the names of films, algorithms, devices, themes and so on."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "flashsteps", "_FLASHSTEPS_COMPLETE").source(), nl=False)
