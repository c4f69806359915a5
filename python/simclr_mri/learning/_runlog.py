"""What a run writes beside its weights: a table of epochs, a stream of events, and a manifest to repeat it by; and the
lock that keeps two runs out of one folder.

log.csv and history are one row an epoch; log.jsonl is one event a line with the time; manifest.json holds
configuration, versions, data fingerprint, seeds, wall time and peak memory.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path
from typing import Any

from .._shared import atomic_writer, peak_memory_bytes, to_json, versions, write_json
from ._history import History


class RunLog:
    """The log files of one run folder; without a folder it does nothing."""

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self._start_s = time.monotonic()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def event(self, what: str, **facts: Any) -> None:
        """Append a line to log.jsonl."""
        if self.folder is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(to_json({"time": now, "event": what, **facts}) + "\n")

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
