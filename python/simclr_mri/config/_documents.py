"""The "Parameters" section of an estimator's docstring, from the same descriptions that `--help` shows."""

from __future__ import annotations

import inspect
import textwrap
import typing
from typing import Any, TypeVar

from ._mappings import takes_mapping
from ._options import hints, option_fields

T = TypeVar("T")


def _type_of(kind: Any, choices: Any) -> str:
    none = " or None" if type(None) in typing.get_args(kind) else ""
    if takes_mapping(kind):
        return f"dict{''.join(f', {word!r}' for word in choices or ())}{none}"
    if choices is not None:
        more = " or callable" if "Callable" in str(kind) else ""
        return "{" + ", ".join(map(repr, choices)) + "}" + more + none
    if kind is Any:
        return "str, path or estimator"
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return text.replace("typing.", "").replace(" | ", " or ").replace("NoneType", "None")


def _range_of(metadata: Any) -> str:
    words = {"at_least": "at least", "at_most": "at most", "below": "below"}
    said = [f"{word} {metadata[key]}" for key, word in words.items() if metadata[key] is not None]
    return f" {' and '.join(said).capitalize()}." if said else ""


def parameters_section(cls: type) -> str:
    """numpydoc's section for a class whose arguments are options: name, type, default, meaning and range."""
    lines = ["Parameters", "----------"]
    for field in option_fields(cls):
        kind = _type_of(hints(cls)[field.name], field.metadata["choices"])
        lines.append(f"{field.name} : {kind}, default={field.default!r}")
        text = field.metadata["help"].rstrip(".").replace("(none", "(None")
        text = f"{text[0].upper()}{text[1:]}.{_range_of(field.metadata)}"
        lines += textwrap.wrap(text, 112, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def documents_options(cls: type[T]) -> type[T]:
    """Class decorator: puts the section in front of "Attributes"."""
    # From Python 3.13 on docstrings come without their indentation.
    before, heading, after = inspect.cleandoc(cls.__doc__ or "").partition("Attributes\n----------\n")
    cls.__doc__ = f"{before}{parameters_section(cls)}\n\n{heading}{after}"
    return cls
