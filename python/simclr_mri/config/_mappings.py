"""Options that are numbers by name: a dict in Python, a table in a TOML file, NAME=X,NAME=X in the shell."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any


def takes_mapping(kind: Any) -> bool:
    """Whether an annotation such as `ClassWeight | dict[str, float] | None` allows a dict."""
    return any(typing.get_origin(part) is dict for part in (kind, *typing.get_args(kind)))


def parse_mapping(text: str) -> dict[str, float]:
    """The shell's form.

    Examples
    --------
    >>> parse_mapping("Mild=2,Moderate=5.5")
    {'Mild': 2.0, 'Moderate': 5.5}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise ValueError(f"expected NAME=NUMBER, several joined by commas, got {part!r}")
        if name.strip() in found:
            raise ValueError(f"{name.strip()!r} is given twice")
        found[name.strip()] = value
    return found


def check_mapping(given: Mapping[Any, Any], said: str) -> dict[str, float]:
    """Names as text and numbers as float; ValueError with what was `said` for other keys, and numbers not above 0."""
    found: dict[str, float] = {}
    for name, value in given.items():
        if not isinstance(name, (str, Real)):
            raise ValueError(f"{said}: expected names or numbers as keys, got {name!r}")
        key = str(int(name)) if isinstance(name, Integral) and not isinstance(name, bool) else str(name)
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise ValueError(f"{said}: expected a finite number above 0 for {key!r}, got {value!r}")
        if key in found:
            raise ValueError(f"{said}: {key!r} is given twice")
        found[key] = float(value)
    if not found:
        raise ValueError(f"{said}: expected at least one name, got none")
    return found
