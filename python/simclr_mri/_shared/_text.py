"""Words for messages: durations, sizes, counts, lists, and the name that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any


def seconds_text(seconds: float) -> str:
    """'48 s', '3 min 20 s', '2 h 05 min'."""
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds} s"
    if seconds < 6000:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def bytes_text(n_bytes: float) -> str:
    """'812 MB', '1.2 GB'."""
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def counted(n: int, noun: str) -> str:
    """'1 epoch', '1,200 epochs'."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the nearest known name, or the list of them if none is near."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(known)}."


def choose(argument: str, value: Any, known: Sequence[Any]) -> Any:
    """`value` if it is one of `known`, else a ValueError that helps."""
    if value not in known:
        raise ValueError(f"{argument}={value!r} is unknown.{did_you_mean(str(value), map(str, known))}")
    return value


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "right") -> str:
    """Rows of text under a head, in columns as wide as they need.

    Examples
    --------
    >>> print(text_table(["labels", "random"], [["1 %", "0.31"], ["100 %", "0.62"]]))
    labels  random
       1 %    0.31
     100 %    0.62
    """
    table = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(c.rjust(w) if align == "right" else c.ljust(w) for c, w in cells).rstrip())
    return "\n".join(lines)


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Sorts `non_2.jpg` before `non_10.jpg`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]


def some(names: Sequence[str], n: int = 5) -> str:
    """The first few names."""
    return ", ".join(names[:n]) + (f" and {len(names) - n:,} more" if len(names) > n else "")


def short(name: str) -> str:
    """A class name for small places: "Very_Mild_Demented" becomes "Very Mild"."""
    return name.replace("_Demented", "").replace("_", " ")
