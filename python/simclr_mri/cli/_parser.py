"""The parser: mistakes end in one line that names what was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from .._shared import did_you_mean
from ..config import DEMO_CHOICES, RECIPES, SECTIONS, recipe_values
from ._arguments import add_arguments
from ._table import COMMANDS


class Parser(argparse.ArgumentParser):
    """Mistakes end in one line that names what was meant, not in a page of usage."""

    refused: Mapping[str, str] = MappingProxyType({})  # why, by option

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: error: {self._nearest(message)} See {self.prog} --help\n")

    def _nearest(self, message: str) -> str:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        if found is None:
            return message + "."
        known = ["none" if word == "None" else word for word in re.findall(r"[\w.-]+", found[2])]
        what = message[: found.start()].removeprefix("argument ").removesuffix(": ")
        if what == "COMMAND":
            return f"there is no command '{found[1]}'.{did_you_mean(found[1], known)}"
        return f"{what} '{found[1]}' is unknown.{did_you_mean(found[1], known)}"

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Exit with 2 for what no option and no argument took."""
        known = [name for action in self._actions for name in action.option_strings]
        option = words[0].split("=")[0]
        if not option.startswith("-"):
            self.error(f"unexpected '{' '.join(words)}'")
        if option in self.refused:
            self.error(f"{option} is not used here: {self.refused[option]}")
        near = did_you_mean(option, known)
        self.exit(
            2, f"{self.prog}: error: unknown option {option}.{near if 'mean' in near else ''} See {self.prog} --help\n"
        )


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="simclr-mri",
        description="SimCLR pretraining, fine-tuning and heat maps for brain MRI slices, on a CPU.",
        epilog="Start with: simclr-mri demo. Each command has its own --help. A research tool, not a medical device.",
    )
    parser.add_argument("--version", action="store_true", help="print versions, processor and libraries, and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, about in COMMANDS.items():
        _add_command(commands, name, about)
    return parser


def _add_command(commands: Any, name: str, about: dict[str, Any]) -> None:
    examples = "\n".join(f"  {line}" for line in about["examples"])
    command = commands.add_parser(
        name,
        help=about["help"],
        description=f"{about['help'][0].upper()}{about['help'][1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    refused = about.get("refused", {})
    command.refused = {_flag(name): why for name, why in refused.items()}
    if about.get("model"):
        command.add_argument("model", metavar="MODEL", help="run folder or checkpoint of a classifier")
    if about.get("data") == "required":
        what = about.get("data_help", "folder with one sub-folder of images a class")
        command.add_argument("path", metavar="DATA", help=what)
    elif about.get("data") == "optional":
        command.add_argument(
            "path",
            metavar="DATA",
            nargs="?",
            default=argparse.SUPPRESS,
            help="folder of images (default: the model's own)",
        )
    command.add_argument(
        "--recipe",
        choices=RECIPES,
        default=argparse.SUPPRESS,
        help=f"named set of options (default: {about.get('recipe', 'default')})",
    )
    command.add_argument("--config", metavar="FILE", help="TOML file with tables [data], [pretrain], ... of options")
    command.add_argument("--debug", action="store_true", help="show where an error happened")
    recipe = about.get("recipe", "default")
    for section, prefix in [(s, "") for s in about["bare"]] + [(s, f"{s}.") for s in about.get("prefixed", ())]:
        skip = ["path", "recipe", *(key.removeprefix(prefix) for key in refused)]
        defaults = recipe_values(recipe, section, SECTIONS[section])
        if name == "demo":
            defaults |= DEMO_CHOICES.get(section, {})
        add_arguments(command, SECTIONS[section], prefix, skip, defaults)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
