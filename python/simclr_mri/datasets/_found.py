"""Files and what is known of each before a pixel is read, and what the caller asks to know."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ._subjects import Groups, find_table, table_and_column


@dataclass(eq=False)
class Found:
    """Files and what is known of each; all lists are in the same order.

    Attributes
    ----------
    root : Path
    files : list of str
        Relative to `root`.
    labels : ndarray of shape (N,), int, or None
        Index into `classes`.
    classes : list of str
    parts, subjects : ndarray of shape (N,), str, or None
    slices : ndarray of shape (N,), int, or None
    reading : str
        How the folder was understood, in one line.
    notes : list of str or Warning
        What the user should know before believing a result.
    others : dict of str to str
        Files that are not read, and why.
    """

    root: Path
    files: list[str]
    labels: np.ndarray | None = None
    classes: list[str] = field(default_factory=list)
    parts: np.ndarray | None = None
    subjects: np.ndarray | None = None
    slices: np.ndarray | None = None
    reading: str = ""
    notes: list[str | Warning] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What the caller wants of the files; see `ImageFolder`."""

    groups: Groups = None
    labels: Any = None
    layout: str | None = None
    merge: Any = None
    class_order: Sequence[str] | str | None = None
    labelled: bool | None = True

    def options(self) -> dict[str, Any]:
        """By name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def tables(self, root: Path) -> list[Path]:
        """Those that name subjects or classes, as far as they are there."""
        found = []
        for argument in ("groups", "labels"):
            given = getattr(self, argument)
            named = None if given is None or callable(given) else table_and_column(given)
            if named is not None:
                with contextlib.suppress(FileNotFoundError):
                    found.append(find_table(named[0], root, argument))
        return found
