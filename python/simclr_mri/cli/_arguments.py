"""Options as arguments of the shell: one `--name` for each, in its group, with its range and default."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import hints, option_fields, optional_type


def _parse_bool(text: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")


def _parser_of(kind: Any, may_be_none: bool, words: Sequence[str] = ()) -> Callable[[str], Any]:
    parsers: dict[Any, Callable[[str], Any]] = {bool: _parse_bool, int: int, float: float, str: str}
    plain = parsers[kind]

    def parse(text: str) -> Any:
        if text in words:
            return text
        return None if may_be_none and text.lower() == "none" else plain(text)

    parse.__name__ = kind.__name__  # argparse names the type in its error messages
    return parse


def _show_default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def add_arguments(
    parser: argparse.ArgumentParser,
    section: type,
    prefix: str = "",
    skip: Sequence[str] = (),
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:
    """One `--name` for each option of a section, in its groups; what is not given does not appear in the namespace.

    `defaults` are what the help shows in place of the section's own: those of a command's recipe.
    """
    groups: dict[str, Any] = {}
    for field in option_fields(section):
        if field.name in skip:
            continue
        title = field.metadata["group"] + (f" ({prefix.rstrip('.')})" if prefix else "")
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        kind, may_be_none = optional_type(hints(section)[field.name])
        is_tuple = typing.get_origin(kind) is tuple
        item = typing.get_args(kind)[0] if is_tuple else kind
        choices = field.metadata["choices"]
        metavar = {int: "N", float: "X", str: "NAME", bool: "yes|no"}[item]
        if choices is not None:
            metavar = "{" + ",".join([*map(str, choices), *(["none"] if may_be_none else [])]) + "}"
        default = _show_default(defaults.get(field.name, field.default))
        group.add_argument(
            f"--{prefix}{field.name.replace('_', '-')}",
            dest=f"{prefix}{field.name}",
            type=_parser_of(item, may_be_none, field.metadata["words"]),
            nargs="+" if is_tuple else ("?" if item is bool else None),
            const=True if item is bool else None,
            choices=choices if choices is None or not may_be_none else [*choices, None],
            metavar=metavar,
            default=argparse.SUPPRESS,
            help=f"{field.metadata['help']} (default: {default})".replace("%", "%%"),
        )


def given_arguments(namespace: argparse.Namespace, section: type, prefix: str = "") -> dict[str, Any]:
    """The options of a section that were given on the command line."""
    names = {f"{prefix}{field.name}": field.name for field in option_fields(section)}
    return {names[key]: value for key, value in vars(namespace).items() if key in names}
