"""`simclr-mri completion`: a script with which bash, zsh or fish complete commands, options, choices and files."""

from __future__ import annotations

import argparse
from typing import Any

FOLDERS = (
    "model",
    "path",
    "out",
    "under",
    "weights",
    "init",
    "inits",
    "starts",
    "runs",
)  # or files; a shell shows both
FILES = (*FOLDERS, "config", "groups", "labels")


def completion(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise ImportError("completion needs shtab: pip install shtab") from None
    root = args.root
    for parser in (root, *root.commands.values()):
        _prepare(parser, shtab.FILE)
    print(shtab.complete(root, shell=args.shell))
    return 0


def _prepare(parser: Any, files: Any) -> None:
    """Say which arguments are files, and write choices as they are typed."""
    for action in parser.all_actions():
        if action.dest.rpartition(".")[2] in FILES:
            action.complete = files
        if action.choices is not None and not isinstance(action.choices, dict):
            action.choices = ["none" if choice is None else str(choice) for choice in action.choices]
