"""Phantoms: made-up heads with known truth, so that everything can be tried without a data set.

Hundreds of subjects with their own anatomy, a few slices each, in four classes of severity whose ventricles widen,
cortex thins, sulci gape and hippocampi shrink by overlapping amounts. Not a model of any disease: a task with the
structure of the real one (many slices a head, few heads, ordered and unequal classes), where the regions are known.
"""

from __future__ import annotations

import csv
import json
import numbers
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import _core
from ..._shared import Channels, check_images_fit, check_path, read_table, some, suggests_names
from .._classes import SEVERITY
from .._dataset import Dataset
from .._folder import check_root
from .._images import decode, read_images
from .._require import labels_of, masks_of, subjects_of
from ._anatomy import draw_anatomy
from ._render import LEVELS_MM, render

MANIFEST = "phantoms.json"


REGIONS = {"cortex": 1, "ventricles": 2, "hippocampus": 4, "head": 8}
"""Regions and their bits in the mask images."""


PROPORTIONS = (0.50, 0.35, 0.14, 0.01)
"""Of subjects by class: those of the Alzheimer MRI data set (100, 70, 28 and 2 of 200)."""


@suggests_names
def phantoms(
    *,
    seed: int = 0,
    n_subjects: int = 200,
    slices: int = 8,
    image_size: int = 128,
    proportions: Sequence[float] = PROPORTIONS,
    task: str = "4class",
    channels: Channels = 1,
) -> Dataset:
    """Makes axial brain-like slices.

    Parameters
    ----------
    seed : int
        The same seed gives the same images with one version of NumPy; another may move one pixel of 100,000 by a gray
        level. A subject's anatomy depends on the seed, its class and its number only.
    n_subjects : int
    slices : int
        For each subject, evenly spaced from the hippocampi to the top of the ventricles (42 mm).
    image_size : int
        Rows and columns in pixels; 224 mm across.
    proportions : sequence of 4 floats
        Share of subjects by class. From 8 subjects on, each class with a share has at least 2.
    task : {"4class", "3class", "cdr0"}
        See `Dataset.with_task`.
    channels : {1, 3}

    Returns
    -------
    Dataset
        With `masks` for "cortex", "ventricles", "hippocampus" and "head".

    Examples
    --------
    >>> ds = phantoms(n_subjects=8, slices=2, image_size=32)
    >>> ds.images.shape, ds.n_subjects
    ((16, 32, 32, 1), 8)
    """
    _check(seed, n_subjects, slices, image_size, channels)
    check_images_fit(n_subjects * slices, image_size, image_size, channels + len(REGIONS))
    severities = _deal(n_subjects, proportions, seed)
    heights = _heights(slices)
    n = n_subjects * slices
    images = np.empty((n, image_size, image_size), np.uint8)
    masks = {region: np.empty((n, image_size, image_size), bool) for region in REGIONS}
    for i, severity in enumerate(severities):
        rng = np.random.default_rng([seed, i])
        here = slice(i * slices, (i + 1) * slices)
        images[here], found = render(draw_anatomy(rng, int(severity)), heights, image_size, rng)
        for region, mask in found.items():
            masks[region][here] = mask
    labels = np.repeat(severities, slices)
    levels = np.tile(np.arange(1, slices + 1), n_subjects)
    subjects = np.repeat([f"sub-{i + 1:04d}" for i in range(n_subjects)], slices)
    files = [
        f"{SEVERITY[label]}/{subject}_slice-{k:02d}.png"
        for label, subject, k in zip(labels, subjects, levels, strict=True)
    ]
    images = np.repeat(images[..., None], channels, axis=3)
    ds = Dataset(
        images,
        labels,
        SEVERITY,
        subjects,
        files,
        name=f"phantoms (seed {seed})",
        masks=masks,
        slices=levels,
        copy=False,
    )
    return ds.with_task(task)


def _heights(slices: int) -> np.ndarray:
    """Heights of the slices in mm; a single one is taken at the level of the nuclei, where most is to be seen."""
    return np.linspace(*LEVELS_MM, slices) if slices > 1 else np.array([6.0])


def _check(seed: int, n_subjects: int, slices: int, image_size: int, channels: int) -> None:
    least = {"seed": 0, "n_subjects": 1, "slices": 1, "image_size": 16}
    for (name, low), value in zip(least.items(), (seed, n_subjects, slices, image_size), strict=True):
        if not isinstance(value, numbers.Integral) or value < low:
            raise ValueError(f"{name}: expected a whole number of at least {low}, got {value!r}")
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 (gray) or 3 (RGB), got {channels}")


def _deal(n_subjects: int, proportions: Sequence[float], seed: int) -> np.ndarray:
    """The class of each subject, shuffled, so that any first few subjects are a mixture."""
    shares = np.asarray(proportions, float)
    if shares.shape != (len(SEVERITY),) or shares.min() < 0 or not shares.sum() > 0:
        raise ValueError(f"proportions: expected {len(SEVERITY)} shares of at least 0, got {tuple(proportions)}")
    exact = shares / shares.sum() * n_subjects
    counts = np.floor(exact + 1e-9).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n_subjects - counts.sum()]] += 1
    if n_subjects >= 2 * len(SEVERITY):
        for c in np.flatnonzero((shares > 0) & (counts < 2)):
            counts[np.argmax(counts)] -= 2 - counts[c]
            counts[c] = 2
    return np.random.default_rng([seed, 2**32 - 1]).permutation(np.repeat(np.arange(len(SEVERITY)), counts))


@suggests_names
def write_phantoms(
    root: str | Path,
    *,
    seed: int = 0,
    n_subjects: int = 200,
    slices: int = 8,
    image_size: int = 128,
    proportions: Sequence[float] = PROPORTIONS,
) -> Dataset:
    """Makes phantoms and writes them as PNG class folders.

    `root/<class>/<subject>_slice-<nn>.png`, `root/subjects.csv` (file, class, subject, slice), the masks with one bit a
    region in `root/_masks`, and `root/phantoms.json`. `ImageFolder(root, groups="subjects.csv:subject")` reads the
    images; `load_phantoms` and `open_dataset` restore the masks too.

    Parameters
    ----------
    root : path
        Made if it is not there. Phantoms that are there already are kept if they are the same, else it is an error.
    seed, n_subjects, slices, image_size, proportions
        As for `phantoms`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(root, n_subjects=8, slices=1, image_size=32)
    ...     load_phantoms(root).fingerprint() == made.fingerprint()
    True
    """
    root = check_path(root, "root").expanduser()
    about = {
        "format": "simclr_mri phantoms",
        "version": 1,
        "seed": seed,
        "n_subjects": n_subjects,
        "slices": slices,
        "image_size": image_size,
        "proportions": list(map(float, proportions)),
        "classes": list(SEVERITY),
        "regions": REGIONS,
    }
    if (root / MANIFEST).is_file():
        if json.loads((root / MANIFEST).read_text(encoding="utf-8")) == about:
            return load_phantoms(root)
        raise FileExistsError(f"{root}: holds other phantoms; choose an empty folder")
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root}: not empty; phantoms are written into an empty folder")
    ds = phantoms(seed=seed, n_subjects=n_subjects, slices=slices, image_size=image_size, proportions=proportions)
    for name in np.unique([os.path.dirname(f) for f in ds.files]):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / "_masks" / name).mkdir(parents=True, exist_ok=True)
    masks, labels, subjects = masks_of(ds), labels_of(ds), subjects_of(ds)
    bits = np.zeros(ds.images.shape[:3], np.uint8)
    for region, bit in REGIONS.items():
        bits |= masks[region] * np.uint8(bit)
    for i, name in enumerate(ds.files):
        (root / name).write_bytes(_core.encode_png(ds.images[i]))
        (root / "_masks" / name).write_bytes(_core.encode_png(bits[i][..., None]))
    with open(root / "subjects.csv", "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "class", "subject", "slice"])
        for i, name in enumerate(ds.files):
            table.writerow([name, SEVERITY[labels[i]], subjects[i], i % slices + 1])
    # The manifest comes last: a folder with it is whole.
    temporary = root / (MANIFEST + ".part")
    temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, root / MANIFEST)
    return ds


def load_phantoms(
    root: str | Path, *, image_size: int | None = None, channels: Channels = 1, n_jobs: int | None = None
) -> Dataset:
    """Reads a folder that `write_phantoms` made, with its masks.

    Parameters
    ----------
    root : path
    image_size : int or None
        Resize to this many pixels; a mask is then set where it covers half of a pixel.
    channels : {1, 3}
    n_jobs : int or None

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     made = write_phantoms(root, n_subjects=8, slices=1, image_size=32)
    ...     load_phantoms(root, image_size=16).image_size
    16
    """
    root = check_root(root)
    try:
        about = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        _, rows = read_table(root / "subjects.csv")
    except (OSError, ValueError) as error:
        raise ValueError(f"{root}: not a folder of phantoms ({error})") from None
    files = [row["file"] for row in rows]
    missing = [name for name in files if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{root}: {len(missing):,} of {len(files):,} phantoms are missing: {some(missing)}")
    images, _ = read_images(root, files, image_size=image_size, channels=channels, n_jobs=n_jobs)
    masks = None
    if all((root / "_masks" / name).is_file() for name in files):
        bits = decode(root / "_masks", files, n_jobs=n_jobs, intensity="full").images[..., 0]
        masks = {region: _resized(bits & bit > 0, image_size) for region, bit in about["regions"].items()}
    classes = about["classes"]
    labels = [classes.index(row["class"]) for row in rows]
    name = f"phantoms (seed {about['seed']})"
    subjects, levels = [row["subject"] for row in rows], [int(row["slice"]) for row in rows]
    more: dict[str, Any] = {"masks": masks, "slices": levels, "sources": [str(root / file) for file in files]}
    return Dataset(images, labels, classes, subjects, files, name=name, **more, copy=False)


def _resized(masks: np.ndarray, image_size: int | None) -> np.ndarray:
    if image_size is None or masks.shape[1:] == (image_size, image_size):
        return masks
    soft = _core.resize(masks[..., None].astype(np.uint8) * np.uint8(255), image_size)
    return soft[..., 0] >= 128
