"""What `--help` and `--help-all` show: the common options of a command on a screen, and all of them."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._arguments import Switch
from ._reflow import ESCAPES
from ._table import BRIEFLY, SHORT_HELP

WIDTH = 100  # longer lines are hard to read
HANG = "    "  # before what goes on from the line above
NARROWEST = 36  # columns, in which an option's name still stands on one line
N_EXAMPLES = 2  # in --help; --help-all has all


class Formatter(argparse.RawDescriptionHelpFormatter):
    """The width of the terminal, up to 100 columns; a switch is `--[no-]name`."""

    def __init__(self, prog: str) -> None:
        self.columns = max(min(shutil.get_terminal_size().columns, WIDTH) - 2, NARROWEST)
        super().__init__(prog, max_help_position=28, width=self.columns)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(wrapped(indent + line, width, hang="") for line in text.splitlines())

    def _format_usage(self, *args: Any, **kwargs: Any) -> str:
        return wrapped(super()._format_usage(*args, **kwargs).rstrip("\n"), self.columns) + "\n\n"

    def _format_action(self, action: argparse.Action) -> str:
        """The list of choices is the only part that argparse does not break."""
        return "".join(wrapped(line, self.columns) + "\n" for line in super()._format_action(action).splitlines())

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
        return textwrap.fill(text, self.columns, subsequent_indent="  ", break_on_hyphens=False)


def wrapped(line: str, width: int, hang: str = HANG) -> str:
    """A line in the width: broken behind a space or a comma; what follows is indented more."""
    if len(ESCAPES.sub("", line)) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return _broken(indent, re.findall(r"[^ ,]*(?:[ ,]+|$)", line.strip()), width, hang=hang)


def wrapped_example(line: str, width: int) -> str:
    """A command in the width, broken so that it can be pasted; a comment that does not fit stands below."""
    if len(line) <= width:
        return line
    command, hash_, comment = line.partition("  # ")
    words = re.findall(r"""(?:--\S+ +(?=[^\s-]))?(?:'[^']*'|"[^"]*"|[^\s'"])+\s*""", command.strip())
    text = _broken("  ", words, width, end=" \\")
    return text + (f"\n{wrapped('  # ' + comment.strip(), width)}" if hash_ else "")


def _broken(indent: str, words: Sequence[str], width: int, hang: str = HANG, end: str = "") -> str:
    lines = [indent]
    for word in words:
        if len(lines[-1]) + len(word.rstrip()) + len(end) > width and lines[-1].strip():
            lines.append(indent + hang)
        lines[-1] += word
    return f"{end}\n".join(line.rstrip() for line in lines)


def of_command(words: Mapping[str, str], command: str, name: str) -> str | None:
    """What a table says of a command's option: of this command's by itself, else of every command's."""
    return words.get(f"{command}.{name}", words.get(name))


def short_help(parser: Any) -> str:
    """Usage, what the command does, its arguments, common options and examples."""
    shown = {action.dest: action for action in parser.all_options()}
    common = [shown[name] for name in parser.common or shown if name in shown]
    rest = [action for action in shown.values() if action not in common]
    with _short_words(common, parser.prog.split()[-1]):
        formatter = _head(parser)
        _section(formatter, "common options" if rest else "options", common)
        more = f"{len(rest)} more options: {parser.prog} --help-all" if rest else ""
        more = f"{wrapped(more, formatter.columns)}\n" if more else ""
        always = Formatter(parser.prog).paragraph(parser.standing_options)
        return f"{formatter.format_help()}\n{always}\n{more}\n{_examples(parser, N_EXAMPLES)}\n"


def full_help(parser: Any) -> str:
    """Everything, in groups."""
    formatter = _head(parser)
    _section(formatter, "always", parser.standing_options)
    for title, actions in parser.option_groups.items():
        _section(formatter, title, actions)
    return f"{formatter.format_help()}\n{_examples(parser)}\n"


def _examples(parser: Any, n: int | None = None) -> str:
    title, *lines = parser.epilog.splitlines()
    width = Formatter(parser.prog).columns
    return "\n".join([title, *(wrapped_example(line, width) for line in lines[:n])])


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
