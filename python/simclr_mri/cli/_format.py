"""What `--help` and `--help-all` show: the common options of a command on a screen, and all of them."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._arguments import Switch
from ._table import BRIEFLY, SHORT_HELP

WIDTH = 100  # longer lines are hard to read
N_EXAMPLES = 2  # in --help; --help-all has all


class Formatter(argparse.RawDescriptionHelpFormatter):
    """The width of the terminal, up to 100 columns; a switch is `--[no-]name`."""

    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, WIDTH)
        super().__init__(prog, max_help_position=28, width=max(columns - 2, 40))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, Switch):
            before, _, name = action.option_strings[0].removeprefix("--").rpartition(".")
            return f"--{before + '.' if before else ''}[no-]{name}"
        if action.nargs == "+" and isinstance(action.metavar, str):
            return f"{', '.join(action.option_strings)} {action.metavar} ..."
        if action.option_strings and action.nargs != 0:  # "-o, --out NAME", not "-o NAME, --out NAME"
            return f"{', '.join(action.option_strings)} {self._format_args(action, str(action.metavar))}"
        return super()._format_action_invocation(action)

    def paragraph(self, actions: Sequence[argparse.Action]) -> str:
        """What every command has, in three lines: each option, and in brackets what it does."""
        parts = []
        for action in actions:
            default = re.search(r"default: (\w+)", action.help or "")
            about = f"default: {default[1]}" if default else BRIEFLY.get(action.dest, action.help or "")
            parts.append(self._format_action_invocation(action) + (f" [{about}]" if about else ""))
        text = f"always: {', '.join(parts)}"
        return textwrap.fill(text, self._width, subsequent_indent="  ", break_on_hyphens=False)


def of_command(words: Mapping[str, str], command: str, name: str) -> str | None:
    """What a table says of a command's option: of this command's by itself, else of every command's."""
    return words.get(f"{command}.{name}", words.get(name))


def short_help(parser: Any) -> str:
    """Usage, what the command does, its arguments, common options and examples."""
    shown = {action.dest: action for action in parser.all_options()}
    common = [shown[name] for name in parser.common or shown if name in shown]
    rest = [action for action in shown.values() if action not in common]
    examples = "\n".join(parser.epilog.splitlines()[: 1 + N_EXAMPLES])
    with _short_words(common, parser.prog.split()[-1]):
        formatter = _head(parser)
        _section(formatter, "common options" if rest else "options", common)
        more = f"{len(rest)} more options: {parser.prog} --help-all\n" if rest else ""
        always = Formatter(parser.prog).paragraph(parser.standing_options)
        return f"{formatter.format_help()}\n{always}\n{more}\n{examples}\n"


def full_help(parser: Any) -> str:
    """Everything, in groups."""
    formatter = _head(parser)
    _section(formatter, "always", parser.standing_options)
    for title, actions in parser.option_groups.items():
        _section(formatter, title, actions)
    return f"{formatter.format_help()}\n{parser.epilog}\n"


def _head(parser: Any) -> Formatter:
    formatter = Formatter(parser.prog)
    places = [action.metavar if action.nargs != "?" else f"[{action.metavar}]" for action in parser.places]
    formatter.add_usage(" ".join([parser.prog, *places, "[options]"]), [], [])
    formatter.add_text(parser.description)
    if len(parser.places) == 1:
        formatter.add_text(f"{parser.places[0].metavar}: {parser.places[0].help}")
    else:
        _section(formatter, "arguments", parser.places)
    return formatter


def _section(formatter: Formatter, title: str | None, actions: Iterable[argparse.Action]) -> None:
    formatter.start_section(title)
    formatter.add_arguments(actions)
    formatter.end_section()


class _short_words:
    """Within it, options have their short texts, and say only defaults that are something."""

    def __init__(self, actions: Sequence[argparse.Action], command: str) -> None:
        self.command = command
        self.long = [(action, action.help or "") for action in actions]

    def __enter__(self) -> None:
        for action, text in self.long:
            long, _, default = text.rpartition(" (default: ")
            short = of_command(SHORT_HELP, self.command, action.dest) or long
            if "(default:" in short or default == "none)" or (isinstance(action, Switch) and default == "no)"):
                action.help = short
            else:
                action.help = f"{short} (default: {default}"

    def __exit__(self, *_: Any) -> None:
        for action, text in self.long:
            action.help = text
