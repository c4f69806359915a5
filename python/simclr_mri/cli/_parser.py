"""The parser: mistakes end in one line that names what was meant."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from .._shared import did_you_mean
from ..config import DEMO_CHOICES, RECIPES, SECTIONS, new_name, recipe_values
from ._arguments import PLAIN_PLACEHOLDERS, add_arguments, flag, not_empty, with_values
from ._format import Formatter, full_help, of_command, short_help
from ._table import COMMANDS, PLACEHOLDERS

SHELLS = ("bash", "zsh", "fish")
NO_DEVICES = ("device", "devices", "gpu", "gpus", "cuda", "use-gpu", "accelerator")  # options of other programs


class Parser(argparse.ArgumentParser):
    """Mistakes end in one line that names what was meant, not in a page of usage."""

    refused: Mapping[str, str] = MappingProxyType({})  # why, by option
    common: Sequence[str] | None = None  # the options of --help; None is all of them
    is_command = False
    commands: Mapping[str, Any] = MappingProxyType({})  # of the root

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.places: list[argparse.Action] = []  # the arguments without a name
        self.standing_options: list[argparse.Action] = []  # those that every command has
        self.option_groups: dict[str, list[argparse.Action]] = {}  # those of the sections, by title

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: error: {self._nearest(message)} See {self.prog} --help\n")

    def _nearest(self, message: str) -> str:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        if found is None:
            return message.removeprefix("argument ") + "."
        known = ["none" if word == "None" else word for word in re.findall(r"[\w.-]+", found[2])]
        what = message[: found.start()].removeprefix("argument ").removesuffix(": ")
        if what == "COMMAND":
            return f"there is no command '{found[1]}'.{did_you_mean(found[1], known)}"
        return f"{what} '{found[1]}' is unknown.{did_you_mean(found[1], known)}"

    def unknown(self, words: Sequence[str], line: Sequence[str] = ()) -> NoReturn:
        """Exit with 2 for what no option and no argument took; `line` is all that was typed."""
        known = [name for action in self._actions for name in action.option_strings]
        option = words[0].split("=")[0]
        if not option.startswith("-"):
            self.error(f"unexpected '{' '.join(words)}'{self._why_unexpected(words[0], line)}")
        if option.lstrip("-").rpartition(".")[2] in NO_DEVICES:
            self.error(f"there is no option {option}: all is computed on the processor, and --n-jobs is its threads")
        if option.replace("--no-", "--") in self.refused:
            self.error(f"{option} is not used here: {self.refused[option.replace('--no-', '--')]}")
        near = did_you_mean(option, known)
        self.exit(
            2, f"{self.prog}: error: unknown option {option}.{near if 'mean' in near else ''} See {self.prog} --help\n"
        )

    def _why_unexpected(self, word: str, line: Sequence[str]) -> str:
        before = list(line[: line.index(word)]) if word in line else []
        named = [text for text in before if text in self._option_string_actions]
        if len(before) >= 2 and named and before[-2] == named[-1]:
            if self._option_string_actions[named[-1]].nargs is None:
                return f": {named[-1]} takes one value"
        if self.prog.endswith(" runs"):
            return f": a folder is named by --under {shlex.quote(word)}"
        return ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; a switch does not swallow the argument behind it."""
        words = None if args is None else with_values(list(args), self._option_string_actions)
        return super().parse_known_args(words, namespace)

    # ---- help --------------------------------------------------------------------------------------------------------

    def format_help(self) -> str:
        """The common options of a command; `full_help` has all."""
        return short_help(self) if self.is_command else super().format_help()

    def all_options(self) -> list[argparse.Action]:
        """Those of the sections."""
        return [action for group in self.option_groups.values() for action in group]

    def all_actions(self) -> list[argparse.Action]:
        """Arguments and options."""
        return self._actions


class _HelpAll(argparse.Action):
    def __call__(self, parser: Any, *_: Any) -> None:
        print(full_help(parser), end="")
        parser.exit()


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="simclr-mri",
        description="SimCLR pretraining, fine-tuning and heat maps for brain MRI slices, on a CPU.",
        epilog="Start with: simclr-mri demo. Options of a command: simclr-mri help COMMAND.\n"
        "A research tool, not a medical device.",
        usage="simclr-mri COMMAND ...",
        formatter_class=Formatter,
    )
    parser.add_argument(
        "-V", "--version", action="store_true", help="print versions, processor and libraries, and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", prog=parser.prog)
    for name, about in COMMANDS.items():
        _add_command(commands, name, about)
    parser.commands = commands.choices
    parser.set_defaults(root=parser)
    return parser


def _add_command(commands: Any, name: str, about: dict[str, Any]) -> None:
    examples = "\n".join(f"  {line}" for line in about["examples"])
    command = commands.add_parser(
        name,
        help=about["help"],
        description=f"{about['help'][0].upper()}{about['help'][1:]}.",
        add_help=False,
        epilog=f"examples:\n{examples}",
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    command.is_command, command.common = True, about.get("common")
    refused = about.get("refused", {})
    command.refused = {flag(name): why for name, why in refused.items()}
    _add_places(command, about)
    _add_standing_options(command, about)
    recipe = about.get("recipe", "default")
    for section, prefix in [(s, "") for s in about["bare"]] + [(s, f"{s}.") for s in about.get("prefixed", ())]:
        skip = ["path", "recipe", *(key.removeprefix(prefix) for key in refused)]
        defaults = recipe_values(recipe, section, SECTIONS[section])
        if name == "demo":
            defaults |= DEMO_CHOICES.get(section, {})
        if section == "run":
            defaults["out"] = about["out"]
        for title, actions in add_arguments(command, SECTIONS[section], prefix, skip, defaults).items():
            command.option_groups.setdefault(title, []).extend(actions)
    for action in command.all_options():
        if action.metavar in PLAIN_PLACEHOLDERS:
            action.metavar = of_command(PLACEHOLDERS, name, action.dest) or action.metavar


def _add_places(command: Parser, about: dict[str, Any]) -> None:
    """The arguments without a name, and the options of commands that have no sections."""

    def add(*names: str, **more: Any) -> None:
        action = command.add_argument(*names, **more)
        (command.standing_options if action.option_strings else command.places).append(action)

    if about.get("model"):
        add("model", metavar="MODEL", type=not_empty, help="run folder or checkpoint of a classifier")
    if about.get("data") == "required":
        what = about.get("data_help", "folder of images, a sub-folder for each class; or a table of paths")
        add("path", metavar="DATA", type=not_empty, help=what)
    elif about.get("data") == "optional":
        add(
            "path",
            metavar="DATA",
            type=not_empty,
            nargs="?",
            default=argparse.SUPPRESS,
            help="folder of images (default: the model's own)",
        )
    if "runs" in about.get("words", {}):
        add(
            "runs",
            metavar="RUN ...",
            type=not_empty,
            nargs="+",
            help="run folders; the others are compared with the first",
        )
    if "topic" in about.get("words", {}):
        names = [name for name in COMMANDS if name != "help"]
        add("topic", metavar="COMMAND", nargs="?", choices=names, help="whose options are wanted")
        add("--all", action="store_true", help="all options, not only the common ones")
    if "shell" in about.get("words", {}):
        add("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def _add_standing_options(command: Parser, about: dict[str, Any]) -> None:
    def add(*names: str, **more: Any) -> None:
        command.standing_options.append(command.add_argument(*names, **more))

    add("-h", "--help", action="help", help="show the common options")
    if about["bare"]:
        add("--help-all", action=_HelpAll, nargs=0, help="show all options")
    sections = {*about["bare"], *about.get("prefixed", ())}
    if sections & {"data", "pretrain", "finetune"}:
        add(
            "--recipe",
            type=lambda text: new_name("recipe", text, stacklevel=2),
            choices=RECIPES,
            metavar="{" + ",".join(RECIPES) + "}",
            default=argparse.SUPPRESS,
            help=f"named set of options (default: {about.get('recipe', 'default')})",
        )
    if about["bare"]:
        text = "TOML file of options: tables [data], [pretrain], ..."
        add("--config", metavar="FILE", type=not_empty, help=text)
        add("-v", dest="loud", action="store_true", help="also print which options are in use, and why")
        add("-q", "--quiet", action="store_true", help="print only results, notes and errors")
    add("--debug", action="store_true", help="show where an error happened")
