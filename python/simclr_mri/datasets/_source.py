"""The files that a cache was made of: their names, sizes and times, so that it is noticed when they change."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from .._shared import some
from ._walk import is_hidden


@dataclass(frozen=True, eq=False)
class SourceFiles:
    """Files below a folder.

    Attributes
    ----------
    names : list of str
        Relative to the folder, sorted; tables elsewhere by their whole path.
    sizes, times : ndarray of shape (N,), int64
        Bytes, and nanoseconds of the last change; -1 for what cannot be asked.
    """

    names: list[str]
    sizes: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, source: Path, tables: Iterable[Path] = ()) -> SourceFiles:
        """The files below a folder, or one file, and tables that may lie elsewhere."""
        rows = _below(source) if source.is_dir() else [(source.name, *_about(source))]
        known = {os.path.realpath(source / name) for name, *_ in rows} if tables else set()
        rows += [(str(path.absolute()), *_about(path)) for path in tables if os.path.realpath(path) not in known]
        rows.sort(key=itemgetter(0))
        names, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(list(names), np.array(sizes, np.int64), np.array(times, np.int64))

    @property
    def elsewhere(self) -> list[Path]:
        """The tables that have their whole path."""
        if os.sep != "/":
            return [Path(name) for name in self.names if os.path.isabs(name)]
        first, stop = (bisect.bisect_left(self.names, mark) for mark in "/0")  # "0" comes after "/"
        return [Path(name) for name in self.names[first:stop]]

    def changes(self, now: SourceFiles) -> str:
        """What is different now, in words: "2 files changed (a.png, b.png); 1 is gone (c.png)". "" for nothing."""
        if self.names == now.names and np.array_equal(self.sizes, now.sizes) and np.array_equal(self.times, now.times):
            return ""
        before, after = self.by_name(), now.by_name()
        changed = [name for name in before if name in after and before[name] != after[name]]
        gone, new = [n for n in before if n not in after], [n for n in after if n not in before]
        said = []
        for names, one, many in (
            (changed, "file changed", "files changed"),
            (gone, "is gone", "are gone"),
            (new, "is new", "are new"),
        ):
            if names:
                said.append(f"{len(names):,} {one if len(names) == 1 else many} ({some(names, 3)})")
        return "; ".join(said)

    def by_name(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file."""
        return dict(zip(self.names, zip(self.sizes.tolist(), self.times.tolist(), strict=True), strict=True))


def _about(path: Path | str | os.DirEntry[str]) -> tuple[int, int]:
    try:
        about = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)
    except OSError:
        return -1, -1
    return about.st_size, about.st_mtime_ns


def _below(root: Path) -> list[tuple[str, int, int]]:
    """Every file that readers would see: links to folders are followed, hidden names passed over."""
    start = len(os.path.join(root, ""))
    left = [(str(root), frozenset([os.path.realpath(root)]))]
    rows = []
    while left:
        folder, above = left.pop()
        inside = os.path.join(folder, "")
        below = inside[start:]
        with contextlib.suppress(OSError), _entries(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] in "._" and is_hidden(name):
                    continue
                if not entry.is_symlink():  # then its kind is known, and only a file is asked for more
                    if entry.is_dir():
                        left.append((inside + name, above))
                    else:
                        rows.append((below + name, *_about(entry)))
                elif not os.path.isdir(inside + name):  # entry.is_dir raises for links in a circle
                    rows.append((below + name, *_about(inside + name)))
                elif (real := os.path.realpath(inside + name)) not in above:
                    left.append((inside + name, above | {real}))
    return rows


@contextlib.contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What is in a folder, by its descriptor where the system has these: a sixth of the time is finding the folder."""
    opened = os.open(folder, os.O_RDONLY) if os.scandir in os.supports_fd else None
    try:
        with os.scandir(folder if opened is None else opened) as entries:
            yield entries
    finally:
        if opened is not None:
            os.close(opened)
