"""`simclr-mri help`: the commands, or the options of one."""

from __future__ import annotations

import argparse

from ._format import full_help


def help(args: argparse.Namespace) -> int:
    """Print the list of commands, or the options of one."""
    parser = args.root
    if args.topic is None:
        if args.all:
            raise ValueError("--all: expected the name of a command before it, such as simclr-mri help pretrain --all")
        print(parser.format_help(), end="")
        return 0
    command = parser.commands[args.topic]
    print(full_help(command) if args.all else command.format_help(), end="")
    return 0
