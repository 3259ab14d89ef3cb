"""Print the completion script for a shell

The script completes commands and options, and what is in the repository: snapshots, tags, worktrees, plans of
collections and the names of settings. It is made from the commands of this installation.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import UsageError

RAISES = (UsageError,)
SEE_ALSO = ("jvs(1)", "jvs-list-snapshots(1)", "bash(1)", "zsh(1)", "fish(1)")
EXAMPLES = (
    ('eval "$(jvs completion bash)"', "in ~/.bashrc"),
    ('eval "$(jvs completion zsh)"', "in ~/.zshrc, after compinit"),
    ("jvs completion fish > ~/.config/fish/completions/jvs.fish", "for fish"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("completion", __doc__)
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Read every parser and write the script."""
    import importlib

    from jvs.cli import commands, completion, completion_bash, completion_fish

    shapes = []
    for name in commands.COMMANDS:
        module = importlib.import_module(commands.module_of(name))
        shapes.append(completion.shape_of(name, module.build_parser()))
    make = {"bash": completion_bash.bash, "zsh": completion_bash.zsh, "fish": completion_fish.fish}[args.shell]
    text = make(shapes)
    return cli.Result({"shell": args.shell, "script": text}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
