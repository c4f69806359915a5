"""The record of every look at a test set.

A test set answers once without bias; each further look, and above all a choice made on it, wears it out. So a study,
and `simclr-mri evaluate`, write a line before they look: test_looks.jsonl in the study's folder, or beside the model.
A line is written first and the answer computed after, so that a look whose result was lost is counted too.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import atomic_writer
from ..datasets import Dataset

LOOKS_FILE = "test_looks.jsonl"


def record_look(folder: str | Path, purpose: str, ds: Dataset, **facts: Any) -> int:
    """Append a line; how many looks at this test set the record then has.

    Examples
    --------
    >>> import tempfile
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [record_look(folder, "a try", ds) for _ in range(2)]
    [1, 2]
    """
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = {"time": now, "purpose": purpose, **facts, "images": len(ds), "test_set": ds.fingerprint()[:16]}
    with open(folder / LOOKS_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return sum(other["test_set"] == line["test_set"] for other in read_looks(folder))


def read_looks(folder: str | Path) -> list[dict[str, Any]]:
    """All looks of a folder, oldest first; a line that a kill cut short is left out."""
    path = Path(folder).expanduser() / LOOKS_FILE
    if not path.exists():
        return []
    looks = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            looks.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return looks


def collect_looks(folder: Path, runs: Iterable[Path]) -> None:
    """Moves the looks that workers wrote down in the folders of their runs into the record of the study, in order."""
    theirs = [path for run in dict.fromkeys(runs) if (path := run / LOOKS_FILE).is_file()]
    if not theirs:
        return
    mine = folder / LOOKS_FILE
    lines = mine.read_text(encoding="utf-8").splitlines() if mine.exists() else []
    for path in theirs:  # a line that is there already was moved by a process that was killed before it was done
        lines += [line for line in path.read_text(encoding="utf-8").splitlines() if line not in lines]
    with atomic_writer(mine) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    for path in theirs:
        path.unlink()


def record_of(path: str | Path) -> Path:
    """The folder that keeps the record for a model: the nearest one above that has one, else the model's own."""
    folder = Path(path).expanduser()
    folder = folder if folder.is_dir() else folder.parent
    return next((above for above in [folder, *folder.resolve().parents] if (above / LOOKS_FILE).exists()), folder)


def model_digest(estimator: Any) -> str:
    """Names the weights of a fitted estimator: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    state = estimator.network_.state()
    for name in sorted(state):
        digest.update(np.ascontiguousarray(state[name]).data)
    return digest.hexdigest()[:16]
