"""The audit: what a data set would let a careless study claim.

It reads the files, counts, looks for copies, works out which images show the same subject, checks a proposed split, and
runs classifiers that cannot know anything about a disease. When those do well, the split is to blame.

References
----------
Yagis et al., Scientific Reports 11:22544, 2021: random labels reach 96 % when slices are split at random.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from .. import _core
from .._shared import counted, some, suggests_names
from ..datasets import (
    Dataset,
    DataWarning,
    FilesLeftOut,
    SeveralSizes,
    check_dataset,
    check_root,
    open_dataset,
    part_of,
    subjects_of,
)
from ..splits import BLANK, Copies, Split, describe_overlap, find_copies, given_split
from ._baselines import Baseline, run_baselines
from ._duplicates import report_copies
from ._record import Audit, Finding, percent
from ._shortcut_report import judge_shortcuts, report_shortcuts
from ._shortcuts import ShortcutSearch, find_shortcuts
from ._subjects import Groups, infer_groups

MANY_BLANK = 0.05
"""Share of blank images from which a set is not fit for use as it is."""


@suggests_names
def audit(
    data: Dataset | str | Path,
    *,
    split: Split | None = None,
    groups: Any = None,
    task: str | None = None,
    reading: Mapping[str, Any] | None = None,
    baselines: bool = True,
    copies: bool = True,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Audit:
    """Examines a data set.

    Parameters
    ----------
    data : Dataset or path
        A folder is read even when files in it are corrupt: they are listed. A folder with `train` and `test` in it is a
        proposed split, whose parts are compared.
    split : Split or None
        A proposed split of `data`.
    groups : str, tuple, callable or None
        Subjects of a folder, see `ImageFolder`.
    task : {"4class", "3class", "cdr0"} or None
        Join a folder's classes, see `Dataset.with_task`.
    reading : dict or None
        Further arguments of `open_dataset` for a folder, such as {"layout": "part/class", "labels": "table.csv:dx"}.
    baselines : bool
        False leaves out the classifiers.
    copies : bool
        False looks for equal pixels only, which is quicker; the audit then says so.
    seed : int
    progress : callable or None
        Told what is being done.

    Returns
    -------
    Audit

    Examples
    --------
    >>> from simclr_mri.datasets import phantoms
    >>> print(audit(phantoms(n_subjects=20, slices=8, image_size=32)))  # doctest: +SKIP
    """
    try:
        options = {"groups": groups, "task": task, **(reading or {})}
        return _examine(data, split, options, baselines, copies, seed, progress or _silent)
    except KeyboardInterrupt:
        # from None: a notebook takes half a second to print the frames of scikit-learn and its imports
        raise KeyboardInterrupt("audit: stopped before it was done") from None


def _silent(text: str) -> None:
    pass


def _examine(
    data: Dataset | str | Path,
    split: Split | None,
    options: dict[str, Any],
    baselines: bool,
    edited: bool,
    seed: int,
    tell: Callable[[str], None],
) -> Audit:
    start = time.monotonic()
    findings: list[Finding] = []
    if isinstance(data, (str, Path)):
        tell("reading files")
        data, found_split = _read(Path(data), options, findings)
        split = split or found_split
    else:
        check_dataset(data, "data")
        ways = {"groups": "give a Dataset its subjects with with_subjects", "task": "join its classes with with_task"}
        for name, value in options.items():
            if value is not None:
                raise ValueError(f"{name}: for a folder; {ways.get(name, 'a Dataset has been read already')}")
    _count(data, findings)
    _odd_pictures(data, findings)
    tell("looking for images of the same subject")
    inferred = infer_groups(data.images)
    tell("looking for copies")
    copies = find_copies(data.images, edited=edited, seed=seed)
    report_copies(data, copies, findings, edited)
    inferred = inferred.joined(copies.pairs)
    agreement, grouped, source = _compare_groups(data, inferred, findings)
    if split is not None:
        _check_split(split, grouped, copies, source, inferred, findings)
    rows: list[Baseline] = []
    shortcuts = ShortcutSearch(not_seen="baselines=False")
    if data.labels is None or len(np.unique(data.labels)) < 2:
        shortcuts = ShortcutSearch(not_seen="there are no two classes to tell apart")
    elif baselines:
        tell("looking for shortcuts")
        shortcuts = find_shortcuts(grouped, seed=seed)
        tell("running classifiers that know nothing")
        rows = run_baselines(grouped, seed=seed)
    report_shortcuts(shortcuts, findings)
    verdict = _judge(grouped, source, rows, shortcuts, findings)
    seconds = time.monotonic() - start
    pairs = tuple(map(tuple, copies.pairs.tolist()))
    results = (tuple(findings), inferred, agreement, tuple(rows), source, verdict, seconds, pairs, copies, shortcuts)
    return Audit(data, *results)


def _read(root: Path, options: dict[str, Any], findings: list[Finding]) -> tuple[Dataset, Split | None]:
    """Opens a folder in spite of faulty files, and says what is wrong with them; and the split that it comes with."""
    ds = _open(root, options, findings)
    if ds.parts is None or not {"train", "test"} <= {part_of(name) for name in ds.parts.tolist()}:
        return ds, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the findings say what the parts share
        return ds, given_split(ds)


def _open(root: Path, options: dict[str, Any], findings: list[Finding]) -> Dataset:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        try:
            ds = open_dataset(root, **options)
        except (_core.DecodeError, OSError):
            check_root(root)
            ds = open_dataset(root, **{**options, "errors": "warn"})
        except SeveralSizes as error:
            findings.append(Finding("image sizes", f"{error}. Resized to 128 x 128 for this audit", "note"))
            ds = open_dataset(root, **{**options, "errors": "warn", "image_size": 128})
    messages = [w for w in told if issubclass(w.category, DataWarning)]
    for warning in messages:
        level = "bad" if issubclass(warning.category, FilesLeftOut) else "note"
        findings.append(Finding("files", " ".join(str(warning.message).split()), level))
    if not messages:
        findings.append(Finding("files", f"{len(ds):,} images, all readable", "good"))
    return ds


def _count(ds: Dataset, findings: list[Finding]) -> None:
    counts = ds.counts()
    who = "" if counts.subjects is None else " of subjects " + " : ".join(f"{n:,}" for n in counts.subjects)
    text = ", ".join(f"{c} {n:,}" for c, n in zip(counts.classes, counts.images, strict=True))
    present = counts.images[counts.images > 0]
    ratio = present.max() / present.min()
    uneven = f"; the largest class is {ratio:.0f} times the smallest" if ratio >= 2 else ""
    findings.append(Finding("classes", text + who + uneven, "note" if ratio >= 10 else "good"))
    if counts.subjects is not None and counts.subjects.min() < 3:
        few = [f"{c} ({n})" for c, n in zip(counts.classes, counts.subjects, strict=True) if n < 3]
        text = f"{', '.join(few)}: too few for training, validation and test. Join classes"
        findings.append(Finding("subjects by class", text, "bad" if counts.subjects.min() < 2 else "note"))


def _odd_pictures(ds: Dataset, findings: list[Finding]) -> None:
    """Blank pictures, and brightness far from that of the others (robust z above 8)."""
    mean, spread = _mean_and_deviation(ds)
    blank = np.flatnonzero(spread < BLANK)
    scale = 1.4826 * np.median(np.abs(mean - np.median(mean))) + 1
    odd = np.setdiff1d(np.flatnonzero(np.abs(mean - np.median(mean)) > 8 * scale), blank)
    share = len(blank) / len(ds)
    if share == 1:
        findings.append(Finding("blank images", f"all {len(ds):,}: there is nothing to see in any of them", "bad"))
    elif len(blank):
        text = f"{len(blank):,} ({percent(share)}) of one grey: {some([ds.files[i] for i in blank], 3)}"
        findings.append(Finding("blank images", text, "bad" if share > MANY_BLANK else "note"))
    else:
        findings.append(Finding("blank images", "none", "good"))
    if len(odd):
        findings.append(Finding("odd brightness", f"{len(odd):,}: {some([ds.files[i] for i in odd], 3)}", "note"))


def _mean_and_deviation(ds: Dataset) -> tuple[np.ndarray, np.ndarray]:
    flat = _core.resize(ds.images, min(32, ds.image_size)).reshape(len(ds), -1).astype(np.float32)
    return flat.mean(axis=1), flat.std(axis=1)


def _compare_groups(ds: Dataset, groups: Groups, findings: list[Finding]) -> tuple[float | None, Dataset, str]:
    """What the pixels tell about subjects: the agreement, the data set with subjects given or inferred, and which."""
    sizes = np.bincount(groups.labels)
    seen = {
        "clear": f"by the pixels {groups.n_groups:,} subjects, {np.median(sizes):.0f} images each (median)",
        "uncertain": f"by the pixels {groups.n_groups:,} groups of images of one subject; not all could be linked",
        "none": "by the pixels no two images show the same subject",
    }[groups.found]
    blank = bool((_mean_and_deviation(ds)[1] < BLANK).all())
    if blank:
        seen = "the pixels show nothing"
    if ds.subjects is None:
        good = groups.found == "none" and not blank
        findings.append(Finding("subjects", f"unknown; {seen}", "good" if good else "note"))
        if groups.found == "none":
            return None, ds, "unknown"
        return None, ds.with_subjects(groups.names()), "pixels"
    agreement = float(adjusted_rand_score(ds.subjects, groups.labels))
    text = f"{ds.n_subjects:,} given; {seen}"
    if groups.found == "clear":
        text += f"; adjusted Rand index {agreement:.3f}"
    findings.append(Finding("subjects", text, "note" if blank else "good"))
    strange = (ds.subjects != ds.subjects[groups.neighbours]) & (groups.similarities > groups.threshold)
    if groups.found == "clear" and strange.any():
        i = int(np.flatnonzero(strange)[0])
        text = (
            f"{strange.sum():,} images look like an image of another subject, such as {ds.files[i]} "
            f"({ds.subjects[i]}) and {ds.files[groups.neighbours[i]]} ({ds.subjects[groups.neighbours[i]]})"
        )
        findings.append(Finding("subjects against pixels", text, "bad" if strange.mean() > 0.02 else "note"))
    mixed = _mixed_labels(ds)
    if mixed:
        findings.append(Finding("labels of subjects", f"{mixed:,} subjects have images of several classes", "note"))
    return agreement, ds, "given"


def _mixed_labels(ds: Dataset) -> int:
    if ds.labels is None:
        return 0
    pairs = set(zip(subjects_of(ds).tolist(), ds.labels.tolist(), strict=True))
    return sum(n > 1 for n in Counter(subject for subject, _ in pairs).values())


def _check_split(
    split: Split, grouped: Dataset, copies: Copies, source: str, groups: Groups, findings: list[Finding]
) -> None:
    """Overlap of the parts: subjects (given or inferred) and pictures."""
    if len(split.dataset) != len(grouped):
        raise ValueError(f"split: made from {len(split.dataset):,} images, the data set has {len(grouped):,}")
    judged = Split(grouped, split.indices, split.by, split.seed)
    part = np.full(len(grouped), -1)
    for i, index in enumerate(split.indices.values()):
        part[index] = i
    a, b = copies.pairs.T
    across = int(((part[a] != part[b]) & (part[a] >= 0) & (part[b] >= 0)).sum())
    bad = [describe_overlap(o) for o in judged.overlaps(edited=False) if o]
    if across:
        i = int(np.flatnonzero((part[a] != part[b]) & (part[a] >= 0) & (part[b] >= 0))[0])
        pair = f"{grouped.files[a[i]]} and {grouped.files[b[i]]} ({copies.edit(i)})"
        bad.append(f"{counted(across, 'pair')} of copies in different parts, such as {pair}")
    if bad:
        findings.append(Finding("proposed split", "; ".join(bad), "bad"))
        return
    n = len(split.indices)
    text, level = {
        "given": (f"the {n} parts share no subject and no picture", "good"),
        "pixels": (
            f"the {n} parts share no picture, and no subject that the pixels show"
            + (
                ""
                if groups.found == "clear"
                else "; not all images of a subject could be linked, so they may share one"
            ),
            "good" if groups.found == "clear" else "note",
        ),
        "unknown": (
            f"the {n} parts share no picture. Whether they share a subject is not known: none are given, and the "
            "pixels link no two images",
            "note",
        ),
    }[source]
    findings.append(Finding("proposed split", f"{text} (what was looked for: see edited copies)", level))


def _judge_neighbour(
    image: Baseline, shuffled: Baseline, subject: Baseline | None, largest: Baseline, findings: list[Finding]
) -> str:
    """What a nearest neighbour on pixels gains where the data set is split by image."""
    if subject is None:
        return (
            f"A nearest neighbour on raw pixels is right for {percent(image.accuracy)}, with shuffled labels for "
            f"{percent(shuffled.accuracy)}; naming the largest class always, for {percent(largest.accuracy)}."
        )
    if image.balanced_accuracy - subject.balanced_accuracy <= 0.1:
        return (
            f"Split by image a nearest neighbour on raw pixels is right for {percent(image.accuracy)}, by subject for "
            f"{percent(subject.accuracy)}: images of one subject give little away here. Split by subject all the same."
        )
    inflated = f"takes a nearest neighbour on pixels from {percent(subject.accuracy)} to {percent(image.accuracy)}"
    findings.append(Finding("splitting by image", inflated, "note"))
    return (
        f"Do not split this data set by image. Split so, a nearest neighbour on raw pixels, which knows nothing of "
        f"the disease, is right for {percent(image.accuracy)} of the images, and for {percent(shuffled.accuracy)} "
        f"when the labels are shuffled among the subjects: it recognises them. Split by subject it is right for "
        f"{percent(subject.accuracy)} (balanced {percent(subject.balanced_accuracy)}); naming the largest class "
        f"always, for {percent(largest.accuracy)} (balanced {percent(largest.balanced_accuracy)})."
    )


def _judge(ds: Dataset, source: str, rows: list[Baseline], shortcuts: ShortcutSearch, findings: list[Finding]) -> str:
    """The plain words at the end, from the figures."""
    found = {(b.method, b.by, b.shuffled): b for b in rows}
    text = []
    image = found.get(("nearest neighbour", "image", False))
    if image is not None:
        shuffled, largest = found["nearest neighbour", "image", True], found["largest class", "image", False]
        subject = found.get(("nearest neighbour", "subject", False))
        text.append(_judge_neighbour(image, shuffled, subject, largest, findings))
    if source == "pixels":
        text.append(
            "The subjects were inferred from the pixels. Better give them: groups= when reading the folder; or use "
            "ds.with_subjects(audit.groups.names())."
        )
    text += judge_shortcuts(shortcuts)
    left_out = f" (without {', '.join(shortcuts.left_out)})" if shortcuts.left_out else ""
    rivals = [(b.balanced_accuracy, b.method) for b in rows if b.by == "subject" and not b.shuffled]
    predicts = [s for s in shortcuts.found if s.predicts and s.split_by == "subject"]
    rivals += [(s.balanced_accuracy.value, s.name + left_out) for s in predicts]
    if rows and rivals:
        value, name = max(rivals)
        text.append(
            f"Whatever is claimed for new patients should beat a balanced accuracy of {percent(value)} by subject, "
            f"which {name} reaches."
        )
    bad = [f.check for f in findings if f.level == "bad"]
    if bad:
        text.append(f"To be mended or explained: {', '.join(dict.fromkeys(bad))}.")
    return " ".join(text) or "No classifiers were run: the checks above are all there is."
