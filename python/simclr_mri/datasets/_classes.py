"""The classes of the Alzheimer MRI data set, how tasks join them, and counts by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._shared import ArrayRecord

SEVERITY = ("Non_Demented", "Very_Mild_Demented", "Mild_Demented", "Moderate_Demented")
"""The classes of the Alzheimer MRI data set, by clinical dementia rating 0, 0.5, 1 and 2."""


TASKS: dict[str, dict[str, tuple[str, ...]]] = {
    "4class": {name: (name,) for name in SEVERITY},
    "3class": {
        "Non_Demented": SEVERITY[:1],
        "Very_Mild_Demented": SEVERITY[1:2],
        "Mild_or_Moderate_Demented": SEVERITY[2:],
    },
    "cdr0": {"CDR_0": SEVERITY[:1], "CDR_above_0": SEVERITY[1:]},
}
"""How each task joins the four classes: two subjects of the rarest class cannot fill three sets."""


@dataclass(frozen=True, eq=False)
class ClassCounts(ArrayRecord):
    """Images and subjects by class; prints as a table.

    Examples
    --------
    >>> print(ClassCounts(("well", "sick"), np.array([1200, 30]), None))
    class   images
    well     1,200
    sick        30
    """

    classes: tuple[str, ...]
    images: np.ndarray
    subjects: np.ndarray | None

    def rows(self) -> list[dict[str, object]]:
        """One dictionary a class, for `pandas.DataFrame(counts.rows())`."""
        rows = []
        for i, name in enumerate(self.classes):
            row: dict[str, object] = {"class": name, "images": int(self.images[i])}
            if self.subjects is not None:
                row["subjects"] = int(self.subjects[i])
            rows.append(row)
        return rows

    def __str__(self) -> str:
        width = max([len("class"), *map(len, self.classes)])
        head = f"{'class':<{width}}  {'images':>7}" + ("" if self.subjects is None else f"  {'subjects':>8}")
        lines = [head]
        for row in self.rows():
            line = f"{row['class']:<{width}}  {row['images']:>7,}"
            lines.append(line + ("" if self.subjects is None else f"  {row['subjects']:>8,}"))
        return "\n".join(lines)

    __repr__ = __str__
