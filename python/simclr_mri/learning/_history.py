"""The table of epochs: what a run measured, one row an epoch."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from .._shared import chief_columns, frame_of, html_table, text_table


class History(list):
    """One dictionary an epoch; prints as a table, shows as one in a notebook, plots itself.

    The table has five columns; `columns`, `to_frame` and `to_csv` have all.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 4.1}, {"epoch": 2, "loss": 3.9}])
    >>> history.column("loss")
    [4.1, 3.9]
    """

    def column(self, name: str) -> list[float]:
        """The values of one column, in order of epochs; epochs without it are left out."""
        return [row[name] for row in self if row.get(name) is not None]

    @property
    def columns(self) -> list[str]:
        """Names in the order in which they first appear."""
        return list(dict.fromkeys(key for row in self for key in row))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary an epoch."""
        return list(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame; ImportError says what to install."""
        return frame_of(self.rows(), "History", self.columns)

    def plot(self, ax: Any = None) -> Any:
        """The loss and the validation scores by epoch."""
        from .. import plot

        return plot.history(self, ax=ax)

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return text.getvalue()

    def __str__(self) -> str:
        names = chief_columns(self.columns)
        return text_table(names, ([_cell(row.get(name)) for name in names] for row in self))

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no epochs yet</p>"
        from .._shared import png_tag

        picture = png_tag(self.plot().figure, "loss and scores by epoch", dpi=80)
        table = self._table()
        return picture + (
            table if len(self) <= 12 else f"<details><summary>{len(self)} epochs</summary>{table}</details>"
        )

    def _table(self) -> str:
        names = chief_columns(self.columns)
        return html_table(names, ([_cell(row.get(name)) for name in names] for row in self))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)
