"""Options as arguments of the shell: one `--name` for each, in its group, with its range and default."""

from __future__ import annotations

import argparse
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import hints, new_name, option_fields, optional_type, takes_mapping

PLAIN_PLACEHOLDERS = ("N", "X", "NAME")
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _parse_bool(text: str) -> bool:
    if text.lower() in YES + NO:
        return text.lower() in YES
    raise argparse.ArgumentTypeError(f"expected yes or no, got '{text}'")


class Switch(argparse.Action):
    """`--name`, `--no-name`, or `--name yes|no`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if option == self.option_strings[-1] and values is not None:
            parser.error(f"{option} takes no value")
        setattr(namespace, self.dest, (values is None and option == self.option_strings[0]) or bool(values))


def with_values(words: Sequence[str], actions: Mapping[str, argparse.Action]) -> list[str]:
    """The command line, in which a switch does not take the word behind it for its value: `--rgb-stem runs/clf`."""
    found, end = list(words), words.index("--") if "--" in words else len(words)
    for i in range(end):
        action = actions.get(found[i])
        following = found[i + 1].lower() if i + 1 < end else ""
        if isinstance(action, Switch) and following not in YES + NO:
            yes, no = action.option_strings[0], action.option_strings[-1]
            found[i] = f"{yes}={'no' if found[i] == no else 'yes'}"
    return found


def _whole(text: str) -> int:
    """12, and 1e3 as files of options may have it."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value) if "e" in text.lower() or "." in text else int(text)


def not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("nothing was given (a variable of the shell that is empty?)")
    return text


def _parser_of(kind: Any, may_be_none: bool, words: Sequence[str] = (), name: str = "") -> Callable[[str], Any]:
    parsers: dict[Any, Callable[[str], Any]] = {bool: _parse_bool, int: _whole, float: float, str: not_empty}
    plain = parsers[kind]
    expected = {int: "a whole number", float: "a number"}

    def parse(text: str) -> Any:
        if text in words:
            return text
        try:
            value = None if may_be_none and text.lower() == "none" else plain(text)
        except (ValueError, OverflowError):
            share = re.fullmatch(r"([\d.]+) ?%", text)
            hint = f" ({text} is {float(share[1]) / 100:g})" if share and kind is float else ""
            raise argparse.ArgumentTypeError(f"expected {expected[kind]}, got '{text}'{hint}") from None
        return new_name(name, value, stacklevel=2)

    parse.__name__ = kind.__name__  # argparse names the type in its error messages
    return parse


def show_default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={number:g}" for key, number in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def flag(name: str, prefix: str = "") -> str:
    return f"--{prefix}{name.replace('_', '-')}"


def add_arguments(
    parser: argparse.ArgumentParser,
    section: type,
    prefix: str = "",
    skip: Sequence[str] = (),
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
) -> dict[str, list[argparse.Action]]:
    """One `--name` for each option of a section, by groups; what is not given does not appear in the namespace.

    `defaults` are what the help shows in place of the section's own: those of a command's recipe.
    """
    groups: dict[str, list[argparse.Action]] = {}
    for field in option_fields(section):
        if field.name in skip:
            continue
        title = field.metadata["group"] + (f" ({prefix.rstrip('.')})" if prefix else "")
        kind, may_be_none = optional_type(hints(section)[field.name])
        by_name = takes_mapping(hints(section)[field.name])  # parsed where it is checked
        kind = str if by_name else kind
        is_tuple = typing.get_origin(kind) is tuple
        item = optional_type(typing.get_args(kind)[0])[0] if is_tuple else kind
        choices = field.metadata["choices"]
        metavar = {int: "N", float: "X", str: "NAME", bool: "yes|no"}[item]  # _table.py has better ones
        if choices is not None or by_name:
            more_words = ["NAME=X"] if by_name else []
            metavar = "{" + ",".join([*map(str, choices or ()), *more_words, *(["none"] if may_be_none else [])]) + "}"
        choices = None if by_name else choices
        default = show_default(defaults.get(field.name, field.default))
        parse = _parser_of(item, may_be_none, field.metadata["words"], field.name)
        names: list[str] = [flag(field.name, prefix)]
        more: dict[str, Any] = {}
        if item is bool and not is_tuple:
            names, more = [*names, flag(f"no_{field.name}", prefix)], {"action": Switch}
        action = parser.add_argument(
            *names,
            dest=f"{prefix}{field.name}",
            type=str if field.default == "" else parse,
            nargs="+" if is_tuple else ("?" if item is bool else None),
            choices=choices if choices is None or not may_be_none else [*choices, None],
            metavar=metavar,
            default=argparse.SUPPRESS,
            help=f"{field.metadata['help']} (default: {default})".replace("%", "%%"),
            **more,
        )
        groups.setdefault(title, []).append(action)
    return groups


def given_arguments(namespace: argparse.Namespace, section: type, prefix: str = "") -> dict[str, Any]:
    """The options of a section that were given on the command line."""
    names = {f"{prefix}{field.name}": field.name for field in option_fields(section)}
    return {names[key]: value for key, value in vars(namespace).items() if key in names}
