"""The command line: `simclr-mri COMMAND`; `_table.py` lists the commands.

Options are those of config.py, with the same names in Python, TOML and shell. They are merged in this order: defaults,
recipe, what the model was trained with, the file given by --config, the command line. A mistake ends in one line on
stderr; --debug shows where it happened.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._shared import for_the_shell
from ._parser import build_parser


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        return
    print(f"simclr-mri: note: {message}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        print("simclr-mri: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    args, left = parser.parse_known_args(argv)
    if left:
        (args.parser if args.command else parser).unknown(left)
    if args.version:
        return _run(_version, args)
    if args.command is None:
        parser.print_help()
        return 2
    _expand_home(args)
    with _without_display(), for_the_shell(), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        return _run(_command, args)


def _expand_home(args: argparse.Namespace) -> None:
    """`~` in any option: the shell leaves it alone in --out=~/runs and in a quoted "~/table.csv:subject"."""
    for name, value in vars(args).items():
        if isinstance(value, str) and value.startswith("~"):
            setattr(args, name, os.path.expanduser(value))
        elif isinstance(value, list):
            setattr(args, name, [os.path.expanduser(v) if isinstance(v, str) else v for v in value])


@contextlib.contextmanager
def _without_display() -> Iterator[None]:
    """Pictures go to files. The caller's environment is as it was afterwards: processes started later inherit it."""
    if "MPLBACKEND" in os.environ:
        yield
        return
    os.environ["MPLBACKEND"] = "agg"  # read when matplotlib is first imported, which here is later
    try:
        yield
    finally:
        os.environ.pop("MPLBACKEND", None)


def _version(_: argparse.Namespace) -> int:
    from ._versions import show_versions

    show_versions()
    return 0


def _command(args: argparse.Namespace) -> int:
    name = args.command.replace("-", "_")
    module = importlib.import_module(f"._{name}", __package__)  # each imports only what it needs
    return getattr(module, name)(args) or 0


def _run(work: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The exit code of `work`, whose imports may fail too: the core refuses an unknown SMRI_ISA when it is loaded."""
    try:
        return work(args)
    except BrokenPipeError:  # the reader of our output, such as head, went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, MemoryError, ArithmeticError, ImportError) as error:
        if getattr(args, "debug", False):
            raise
        print(f"{' '.join(['simclr-mri', *filter(None, [args.command])])}: error: {error}", file=sys.stderr)
        return 1
