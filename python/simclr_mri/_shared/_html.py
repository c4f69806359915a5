"""Small pieces of HTML: a table, and a line picture inside text.

Pictures are SVG in data URIs, which web pages that show notebooks let through."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+(e[-+]?\d+)?( ?(%|x|s|px))?")

WIDE = 3
"""Columns from which a table does not fit a phone."""


def html_table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A plain table; cells are escaped.

    The first cell of a row names it (`scope="row"`). Columns of nothing but numbers have the class "n". In a table of
    three columns and more each cell also bears the name of its column, which a phone shows beside it.

    Examples
    --------
    >>> html_table(["", ""], [["images", 4]])
    '<table><tbody><tr><th scope="row">images</th><td class="n">4</td></tr></tbody></table>'
    """
    names = [str(cell) for cell in head]
    lines = [[str(cell) for cell in row] for row in rows]
    kinds = [' class="n"' if i and _is_numeric(line[i : i + 1] for line in lines) else "" for i in range(len(names))]
    top = "".join(f'<th scope="col"{kind}>{html.escape(name)}</th>' for name, kind in zip(names, kinds, strict=True))
    top = f"<thead><tr>{top}</tr></thead>" if any(names) else ""
    if len(names) >= WIDE and top:
        marks = (f' data-head="{html.escape(name, quote=True)}"' if name else "" for name in names)
        kinds = [kind + mark for kind, mark in zip(kinds, marks, strict=True)]
    body = "".join(_row(line, kinds) for line in lines)
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _row(cells: Sequence[str], kinds: Sequence[str]) -> str:
    first = "".join(f'<th scope="row"{kinds[0]}>{html.escape(cell)}</th>' for cell in cells[:1])
    rest = zip(cells[1:], kinds[1:], strict=False)
    return f"<tr>{first}{''.join(f'<td{kind}>{html.escape(cell)}</td>' for cell, kind in rest)}</tr>"


def _is_numeric(cells: Iterable[Sequence[str]]) -> bool:
    """Whether all of a column's cells are numbers, but for those that are empty or a dash."""
    filled = [cell[0] for cell in cells if cell and cell[0] not in ("", "-")]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in filled)


def rows_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values for a two-column table; tuples read as lists."""
    return [(name, ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)) for name, v in values.items()]


BLUE = "#0072B2"


def sparkline(values: Sequence[float], *, width: int = 180, height: int = 32, label: str = "") -> str:
    """An <img> of values as a line, scaled to their range; "" where there are fewer than two.

    Examples
    --------
    >>> sparkline([3.0, 2.0, 1.5]).startswith('<img src="data:image/svg+xml;base64,')
    True
    >>> sparkline([3.0])
    ''
    """
    finite = [float(v) for v in values if math.isfinite(v)]
    if len(finite) < 2:
        return ""
    low, spread = min(finite), (max(finite) - min(finite)) or 1.0
    x_step = (width - 6) / (len(finite) - 1)
    points = [(3 + i * x_step, 3 + (height - 6) * (1 - (v - low) / spread)) for i, v in enumerate(finite)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
        f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.5" fill="{BLUE}"/></svg>'
    )
    alt = html.escape(label or f"from {finite[0]:.3g} to {finite[-1]:.3g}", quote=True)
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" width="{width}" height="{height}" alt="{alt}">'
