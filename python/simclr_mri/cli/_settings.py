"""The merged options of one command: recipe, model, file, command line."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
import warnings
from typing import Any

from .._shared import did_you_mean
from ..config import COMMAND_LINE, SECTIONS, check_names, merged, new_name, option_fields, read_toml, recipe_values
from ._arguments import flag, given_arguments, show_default
from ._table import COMMANDS
from ._unused import without_effect


class Settings:
    """The merged sections of one command: `settings.data`, `settings.pretrain`, ...

    Parameters
    ----------
    args : argparse.Namespace
    inherited : dict of str to dict
        What the model that is built upon was trained with: "recipe", and sections such as "data".
    """

    def __init__(self, args: argparse.Namespace, inherited: dict[str, Any] | None = None) -> None:
        about, inherited = COMMANDS[args.command], inherited or {}
        file = read_toml(args.config) if args.config else {}
        named = file.pop("recipe", None)
        if named is not None and not isinstance(named, str):
            raise ValueError(f"{args.config}: recipe: expected the name of a recipe, found {named!r}")
        check_sections(file, args.config)
        _note_refused(file, about, args.config)
        named = getattr(args, "recipe", None) or new_name("recipe", named, stacklevel=2)
        self.recipe: str = named or new_name("recipe", inherited.get("recipe")) or about.get("recipe", "default")
        self.sections: dict[str, Any] = {}
        self.sources: dict[str, str] = {}  # of what is not as by default: which option, and where it comes from
        typed: dict[str, set[str]] = {}
        for name, section in SECTIONS.items():
            given = given_arguments(args, section, f"{name}." if name in about.get("prefixed", ()) else "")
            if name not in about["bare"] and name not in about.get("prefixed", ()):
                given = {}
            typed[name] = set(given)
            sources = [
                (f"recipe {self.recipe}", recipe_values(self.recipe, name, section)),
                ("the model", inherited.get(name, {})),
                (str(args.config), file.get(name, {})),
                (COMMAND_LINE, given),
            ]
            if any(field.name == "recipe" for field in dataclasses.fields(section)):
                sources.append(("recipe", {"recipe": self.recipe}))
            self.sections[name] = merged(name, section, sources)
            self.sources |= {f"{name}.{key}": where for where, values in sources for key in values}
        if getattr(args, "loud", False):
            self._tell(about)
        for note in without_effect(self.sections, typed):
            warnings.warn(note, stacklevel=2)

    def _tell(self, about: dict[str, Any]) -> None:
        """Which options are in use, and where those come from that are not as by default."""
        plain = []
        print(f"recipe {self.recipe}", file=sys.stderr)
        for name in (*about["bare"], *about.get("prefixed", ())):
            for field in option_fields(SECTIONS[name]):
                if field.name in ("path", "recipe"):
                    continue
                value = show_default(getattr(self.sections[name], field.name))
                shown = flag(field.name, f"{name}." if name in about.get("prefixed", ()) else "")
                where = self.sources.get(f"{name}.{field.name}")
                if where is None:
                    plain.append(f"{shown} {value}")
                else:
                    print(f"{shown} {value}  ({where})", file=sys.stderr)
        print(textwrap.fill(f"by default: {', '.join(plain)}", 100, break_on_hyphens=False), file=sys.stderr)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["sections"][name]
        except KeyError:
            raise AttributeError(name) from None


def _note_refused(file: dict[str, Any], about: dict[str, Any], where: str) -> None:
    """A file may serve several commands, so what this one does not use is no mistake there, but it is said."""
    for option, why in about.get("refused", {}).items():
        section, _, name = option.rpartition(".")
        if any(name in file.get(table, {}) for table in ([section] if section else about["bare"])):
            warnings.warn(f"{where}: {name} is not used here: {why}", stacklevel=2)


def check_sections(file: dict[str, Any], where: str) -> None:
    """ValueError for a table that is no section, or an option outside of any."""
    for name, values in file.items():
        if name not in SECTIONS:
            raise ValueError(f"{where}: unknown table [{name}].{did_you_mean(name, SECTIONS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{where}: '{name}' is not in a table such as [pretrain]")
        check_names(SECTIONS[name], values, f"{where} [{name}]")
