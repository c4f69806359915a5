"""Volumes cut into PNG files, as a folder that `open_dataset` knows again with its subjects and slice numbers."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import _core
from .._shared import Fit, OnError, Plane, can_sync_all, sync_all
from ._folder import check_root
from ._gather import Asked
from ._images import Intensity, check_reading
from ._pillow import fitted
from ._subjects import Groups
from ._volumes import Cut, Found, find_volumes, iter_slices
from ._warnings import DataWarning

MANIFEST = "slices.json"
FORMAT = "simclr_mri slices"
TABLE = "subjects.csv"


def write_slices(
    root: str | Path,
    out: str | Path,
    *,
    plane: Plane = "axial",
    every: int = 2,
    range: Sequence[float] | None = None,
    groups: Groups = None,
    labels: Any = None,
    image_size: int | None = None,
    merge: Any = None,
    class_order: Sequence[str] | str | None = None,
    labelled: bool | None = None,
    layout: str | None = None,
    intensity: Intensity = None,
    fit: Fit = "pad",
    errors: OnError = "raise",
    progress: Callable[[str], None] | None = None,
) -> int:
    """Writes the slices of volumes as PNG files, one volume in memory at a time.

    The folder gets `class/volume_axial_087.png`, `subjects.csv` (file, class, subject, slice, number) and `slices.json`
    (how they were made). Names of patients and paths of the source are written nowhere. The folder appears when all is
    done, or not at all.

    Parameters
    ----------
    root : path
    out : path
        A folder that does not exist yet, or is empty.
    plane, every, range, groups, labels, image_size, merge, class_order, labelled, layout, intensity, fit, errors
        As for `Volumes`.
    progress : callable or None
        Told what is being done.

    Returns
    -------
    int
        The number of slices.

    Raises
    ------
    FileExistsError
        `out` holds something.

    Examples
    --------
    >>> write_slices("ds000030", "Dataset", plane="axial", every=4)  # doctest: +SKIP
    """
    check_reading(image_size, 1, errors, intensity, fit)
    cut = Cut(plane, every, range, intensity)
    root, out = check_root(root), Path(out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: exists and is not empty; slices go to a new folder")
    found, items = find_volumes(root, Asked(groups, labels, layout, merge, class_order, labelled))
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    draft = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.tmp")
    draft.mkdir()
    try:
        size = None if image_size is None else (int(image_size), int(image_size))
        rows = []
        for piece in iter_slices(found, items, cut, errors):
            image = piece.image[..., None] if size is None else fitted(piece.image[..., None], size, fit)
            path = draft / piece.file
            path.parent.mkdir(parents=True, exist_ok=True)
            _core.write_png(path, image, sync=not can_sync_all())
            rows.append(_row(found, piece))
            if progress is not None and piece.position == 1:
                progress(f"volume {piece.item + 1:,} of {len(items):,}")
        if not rows:
            raise ValueError(f"{root}: no slice lies in the range {cut.range} of any volume")
        _write_tables(draft, found, cut, rows)
        sync_all()
        if out.exists():
            out.rmdir()
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for note in found.notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return len(rows)


def _row(found: Found, piece: Any) -> dict[str, Any]:
    row = {
        "file": piece.file,
        "class": "" if found.labels is None else found.classes[found.labels[piece.item]],
        "subject": "" if found.subjects is None else str(found.subjects[piece.item]),
        "slice": piece.position,
        "number": piece.number,
    }
    return row if found.parts is None else {**row, "part": str(found.parts[piece.item])}


def _write_tables(folder: Path, found: Found, cut: Cut, rows: list[dict[str, Any]]) -> None:
    stream = io.StringIO()
    table = csv.DictWriter(stream, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    _core.replace_file(folder / TABLE, stream.getvalue().encode())
    about = {"format": FORMAT, "version": 1, "classes": found.classes, "plane": cut.plane, "every": int(cut.every)}
    about |= {"range": None if cut.range is None else list(cut.range), "n_slices": len(rows)}
    about["intensity"] = cut.intensity or "percentile"
    _core.replace_file(folder / MANIFEST, json.dumps(about, indent=1).encode())


def is_slices_folder(root: Path) -> bool:
    """Whether `write_slices` made the folder."""
    try:
        return json.loads((root / MANIFEST).read_text(encoding="utf-8")).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False
