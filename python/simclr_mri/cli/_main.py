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
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .._shared import for_the_shell, quietly
from ._arguments import flag
from ._parser import build_parser
from ._reflow import reflowed
from ._table import COMMANDS

WRITTEN = ("out", "cache", "track_to")  # options that name a place for results
ALSO_CALLED = {"n_splits": ("splits", "folds")}  # arguments of Python whose option has another name


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        return
    print(f"simclr-mri: {_coloured('note', 33)}: {message}", file=sys.stderr, flush=True)


def _coloured(word: str, code: int) -> str:
    """In a terminal, unless NO_COLOR is set (no-color.org)."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return word if is_plain else f"\x1b[{code}m{word}\x1b[0m"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    with reflowed():
        try:
            return _main(argv)
        except KeyboardInterrupt:
            print("simclr-mri: stopped; the same command goes on from here", file=sys.stderr)
            return 130


def _main(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    argv = list(sys.argv[1:] if argv is None else argv)
    args, left = parser.parse_known_args(argv)
    left = _late_data(args, left)
    if left:
        (args.parser if args.command else parser).unknown(left, argv)
    if args.version:
        return _run(_version, args)
    if args.command is None:
        parser.print_help()
        return 2
    if getattr(args, "loud", False) and args.quiet:
        args.parser.error("-v and --quiet contradict each other")
    _expand_home(args)
    prefixed = COMMANDS[args.command].get("prefixed", ())
    quiet = quietly(getattr(args, "quiet", False))
    with _without_display(), for_the_shell(prefixed), quiet, warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        return _run(_command, args)


def _late_data(args: argparse.Namespace, left: list[str]) -> list[str]:
    """DATA behind options, as in `evaluate RUN --on test Other/`: argparse has closed an optional argument by then."""
    if args.command is None or COMMANDS[args.command].get("data") != "optional" or hasattr(args, "path"):
        return left
    if len(left) == 1 and not left[0].startswith("-"):
        args.path = left[0]
        return []
    return left


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
    from .._shared import n_launched  # loads the core, whose complaints are a line as others are
    from ._places import check_places

    check_places(args)
    if n_launched() == 1:
        return getattr(module, name)(args) or 0
    from ._ranks import at_every_rank

    return at_every_rank(getattr(module, name), args)


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
        prog = " ".join(["simclr-mri", *filter(None, [args.command])])
        print(f"{prog}: {_coloured('error', 31)}: {_as_options(_reason(error, args), args)}", file=sys.stderr)
        return 1


def _reason(error: Exception, args: argparse.Namespace) -> str:
    """File and cause, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        for option in WRITTEN:
            place = getattr(args, option, None)
            if isinstance(place, str) and any(_is_at(Path(name), Path(place)) for name in names):
                return f"{flag(option)} {place}: cannot be written: {error.strerror}. Choose another place"
        return ": ".join([*names, error.strerror])
    return str(error) or type(error).__name__


def _is_at(file: Path, place: Path) -> bool:
    """Whether a file is a place or in it, or the one beside it that is given its name in the end."""
    file, place = file.absolute(), place.absolute()
    return place in (file, *file.parents) or (file.parent == place.parent and file.name.startswith(f".{place.name}"))


def _as_options(text: str, args: argparse.Namespace) -> str:
    """`merge: expected ...`, said by a function of Python of its argument, as `--merge: expected ...`."""
    text = text.replace("raise max_pixels", "raise --max-pixels")  # the core's words
    said = re.match(r"([a-z][a-z_]*)(?:='([^']*)'|=(\S+))?: ", text)
    parser = getattr(args, "parser", None)
    if said is None or parser is None:
        return text
    known = {action.dest for action in parser.all_options()}
    name = next((name for name in (said[1], *ALSO_CALLED.get(said[1], ())) if name in known), None)
    value = said[2] or said[3]
    return text if name is None else f"{flag(name)}{' ' + value if value else ''}: {text[said.end() :]}"
