"""What a run writes beside its weights: a table of epochs, a stream of events, and a manifest to repeat it by; and the
lock that keeps two runs out of one folder.

log.csv and history are one row an epoch; log.jsonl is one event a line with the time; manifest.json holds
configuration, versions, data fingerprint, seeds, wall time and peak memory.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import fcntl
import html
import io
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from .checkpoint import atomic_writer

PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib", "safetensors", "tqdm")


def versions() -> dict[str, str]:
    """Versions of this package, Python, the packages that it stands on, and what the core runs on."""
    from . import __version__, _core

    found = {"simclr_mri": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {key: str(value) for key, value in _core.cpu_info().items()}


def peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def sole_writer(folder: str | Path | None) -> Iterator[None]:
    """Keeps other runs out of `folder`, which is made if need be and goes again if left empty. None keeps nothing.

    The system lets go of the lock when a process ends, however it ends.

    Raises
    ------
    BlockingIOError
        A run of this process or of another is at it.
    """
    if folder is None:
        yield
        return
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"{folder}: another run is writing there; wait until it is done, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_json(path: str | Path, value: Any) -> None:
    with atomic_writer(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


class History(list):
    """One dictionary an epoch; prints as a table, shows as one in a notebook, plots itself.

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

    def to_frame(self) -> Any:
        """A pandas DataFrame; ImportError says what to install."""
        try:
            import pandas
        except ImportError:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from None
        return pandas.DataFrame(list(self), columns=self.columns)

    def plot(self, ax: Any = None) -> Any:
        """The loss and the validation scores by epoch."""
        from . import plot

        return plot.history(self, ax=ax)

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return text.getvalue()

    def __str__(self) -> str:
        rows = [self.columns, *([_cell(row.get(name)) for name in self.columns] for row in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no epochs yet</p>"
        from .report import png_tag

        picture = png_tag(self.plot().figure, "loss and scores by epoch", dpi=80)
        table = self._table()
        return picture + (
            table if len(self) <= 12 else f"<details><summary>{len(self)} epochs</summary>{table}</details>"
        )

    def _table(self) -> str:
        return html_table(self.columns, ([_cell(row.get(name)) for name in self.columns] for row in self))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


def html_table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A plain table; cells are escaped."""
    top = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


class RunLog:
    """The log files of one run folder; without a folder it does nothing."""

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._start_s = time.monotonic()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def event(self, what: str, **facts: Any) -> None:
        """Append a line to log.jsonl."""
        if self.folder is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"time": now, "event": what, **facts}) + "\n")

    def history(self, history: History) -> None:
        """Rewrite log.csv, which so agrees with the history also after a run was taken up again."""
        if self.folder is None:
            return
        with atomic_writer(self.folder / "log.csv") as file:
            file.write(history.to_csv().encode())

    def manifest(self, **facts: Any) -> dict[str, Any]:
        """Write manifest.json: the given facts, versions, command line, wall time of this process, peak memory."""
        full = {
            **facts,
            "versions": versions(),
            "command": sys.argv,
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "wall_s": round(time.monotonic() - self._start_s, 1),
            "peak_memory_bytes": peak_memory_bytes(),
            "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        if self.folder is not None:
            write_json(self.folder / "manifest.json", full)
        return full
