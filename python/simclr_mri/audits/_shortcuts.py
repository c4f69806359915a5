"""Shortcuts: properties of files and images that name the class without anything of the disease.

Each property alone, and those of a kind together, is cross-validated by subject: the class for which the value is most
frequent among training images. Values that are numbers are cut into ten bins of equal size. Labels shuffled among the
subjects show what chance gives; one property of many is the best by chance, so each is compared with the best of all
under the same shuffles (Westfall and Young), which keeps false alarms at 5 % of the audits of sound sets.

Two kinds. Properties of *files* (size, format, depth, JPEG tables, scanner) come from how a set was made; in a
sound set none predicts the class well. File size also says how much there is in a picture, so a weak one is a note.
Properties of *images* (brightness, background, where the head is) may be biology, so they are told and fail no set.

References
----------
Westfall and Young, Resampling-Based Multiple Testing, 1993, section 2.6 (maximum of the statistics).
DeGrave, Janizek and Lee, Nature Machine Intelligence 3:610, 2021 (shortcuts in radiographs).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .._shared import By
from ..datasets import Dataset, file_properties, labels_of, subjects_of
from ..metrics import Estimate, balanced_accuracy_interval
from ._baselines import MAX_IMAGES, at_most, folds_of, shuffle_labels
from ._image_properties import image_properties

N_SHUFFLES = 200
N_BINS = 10
MAX_VALUES = 24
"""Different values of a property that is no number; the rarer ones count as one."""

SEEN, SURE = 0.05, 0.01
"""Share of shuffles, at most, that do as well by chance: from there on a property is told, and called clear."""

CLEAR = 0.25
"""Share of the way from chance to always right from which a shortcut is clear."""

LEAST = 3
"""Subjects of a class that is judged: of one or two, luck decides."""

TOGETHER = "all of these together"


@dataclass(frozen=True)
class Shortcut:
    """How well one property names the class.

    Attributes
    ----------
    name : str
        Such as "file size"; `TOGETHER` for all of its kind.
    kind : {"file", "image"}
    balanced_accuracy : Estimate
        By image, split by subject, with its 95 % interval over subjects.
    by_chance : float
        Mean over shuffled labels.
    p : float
        Share of shuffles in which the best property of the kind does as well.
    values : tuple of str
        Of each class: the median with the 10th and 90th percentile, or the most frequent value with its share.
    split_by : {"subject", "image"}
    """

    name: str
    kind: str
    balanced_accuracy: Estimate
    by_chance: float
    p: float
    values: tuple[str, ...]
    split_by: str

    @property
    def predicts(self) -> bool:
        """Whether it names the class better than by chance."""
        return self.p <= SEEN

    @property
    def is_clear(self) -> bool:
        """Whether it does so beyond doubt, and by much."""
        return self.p <= SURE and self.balanced_accuracy.value >= self.by_chance + CLEAR * (1 - self.by_chance)


@dataclass(frozen=True)
class ShortcutSearch:
    """What was found, and what was looked at.

    Attributes
    ----------
    classes : tuple of str
        Whose values a `Shortcut` gives.
    found : tuple of Shortcut
        Best first, files before images.
    constant : tuple of str
        Properties of files that are the same in all.
    left_out : tuple of str
        Classes of fewer than `LEAST` subjects.
    not_seen : str
        Why the files were not looked at, or nothing was; "" if they were.
    """

    classes: tuple[str, ...] = ()
    found: tuple[Shortcut, ...] = ()
    constant: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    not_seen: str = ""

    def of_kind(self, kind: str) -> tuple[Shortcut, ...]:
        """Those of files, or of images."""
        return tuple(shortcut for shortcut in self.found if shortcut.kind == kind)


def find_shortcuts(ds: Dataset, *, seed: int = 0) -> ShortcutSearch:
    """Tries every property of files and images.

    Parameters
    ----------
    ds : Dataset
        With labels of at least two classes. Split by subject where it has subjects, by image otherwise.
    seed : int
        Of folds and shuffles.

    Returns
    -------
    ShortcutSearch
    """
    ds, left_out = _with_enough_subjects(at_most(ds, MAX_IMAGES, seed))
    by: By = "image" if ds.subjects is None else "subject"
    folds = folds_of(ds, by, seed) if len(ds.classes) > 1 else None
    if folds is None:
        return ShortcutSearch(left_out=left_out, not_seen=f"too few {by}s of two classes")
    columns: dict[str, dict[str, np.ndarray]] = {"file": {}, "image": image_properties(ds.images)}
    not_seen = ""
    if ds.sources:
        columns["file"] = file_properties(ds.sources)
        if not columns["file"]:
            not_seen = f"the files are no longer there, such as {ds.sources[0]}"
    else:
        not_seen = "the images came as arrays, without files. Audit the folder to include them"
    shuffles = np.stack([labels_of(ds), *(shuffle_labels(ds, seed, i) for i in range(N_SHUFFLES))])
    units = np.arange(len(ds)) if ds.subjects is None else np.unique(subjects_of(ds), return_inverse=True)[1]
    found: list[Shortcut] = []
    constant: list[str] = []
    for kind, of_kind in columns.items():
        codes = {name: _codes(column) for name, column in of_kind.items()}
        if kind == "file":
            constant = [name for name, code in codes.items() if not code.any()]
        codes = {name: code for name, code in codes.items() if code.any()}
        if codes:
            found += _judge(kind, codes, of_kind, ds, shuffles, folds, units, by)
    return ShortcutSearch(ds.classes, tuple(found), tuple(constant), left_out, not_seen)


def _with_enough_subjects(ds: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """The images of classes of at least `LEAST` subjects (or images), and the names of the other classes."""
    counts = ds.counts()
    enough = (counts.images if counts.subjects is None else counts.subjects) >= LEAST
    if enough.all():
        return ds, ()
    kept = np.flatnonzero(enough)
    ds = ds[np.isin(labels_of(ds), kept)]
    names = np.array(counts.classes, dtype=object)
    return ds.with_labels(np.searchsorted(kept, labels_of(ds)), names[kept].tolist()), tuple(names[~enough].tolist())


def _judge(
    kind: str,
    codes: dict[str, np.ndarray],
    columns: dict[str, np.ndarray],
    ds: Dataset,
    shuffles: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    units: np.ndarray,
    by: str,
) -> list[Shortcut]:
    """All properties of a kind; row 0 of `shuffles` holds the true labels."""
    k = len(ds.classes)
    guesses = guess_classes(list(codes.values()), shuffles, folds, k)
    names = [*codes, TOGETHER] if len(codes) > 1 else list(codes)
    guesses = guesses[: len(names)]
    scores = np.stack([_balanced_accuracy(shuffles, guess, k) for guess in guesses])
    p = best_of_many(scores)
    out = []
    for i, name in enumerate(names):
        score = balanced_accuracy_interval(shuffles[0], guesses[i, 0], units, k)
        values = tuple(_described(columns[name][shuffles[0] == c]) for c in range(k)) if name in columns else ()
        out.append(Shortcut(name, kind, score, float(scores[i, 1:].mean()), float(p[i]), values, by))
    return sorted(out, key=lambda s: (s.name == TOGETHER, -s.balanced_accuracy.value))


def best_of_many(scores: np.ndarray) -> np.ndarray:
    """p of each of M properties, ndarray of shape (M,), from scores (M, 1 + S) of true labels and of S shuffles."""
    mean, deviation = scores[:, 1:].mean(axis=1, keepdims=True), scores[:, 1:].std(axis=1, keepdims=True)
    standard = (scores - mean) / np.maximum(deviation, 1e-9)
    best = standard[:, 1:].max(axis=0)
    return (1 + (best[None] >= standard[:, :1] - 1e-9).sum(axis=1)) / (1 + len(best))


def _codes(column: np.ndarray) -> np.ndarray:
    """Values as small numbers: bins of equal size, or the more frequent values; 0 only if all are the same."""
    if column.dtype == object:
        common = [value for value, _ in Counter(column.tolist()).most_common(MAX_VALUES)]
        index = {value: i for i, value in enumerate(common)}
        return np.array([index.get(value, len(common)) for value in column.tolist()])
    known = column[~np.isnan(column)]
    values = np.unique(known)
    edges = values[1:] if len(values) <= N_BINS else np.unique(np.quantile(known, np.arange(1, N_BINS) / N_BINS))
    codes = np.searchsorted(edges, column, side="right")
    codes[np.isnan(column)] = len(edges) + 1 if len(known) else 0
    return codes


def guess_classes(
    codes: list[np.ndarray], shuffles: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], k: int
) -> np.ndarray:
    """The class for which a value is most frequent, of each property alone and of their product (naive Bayes).

    Parameters
    ----------
    codes : list of M ndarray of shape (N,), int from 0
    shuffles : ndarray of shape (S, N), int
        Labels; each row is judged by itself.
    folds : list of (train, test)
    k : int

    Returns
    -------
    ndarray of shape (M + 1, S, N), int
    """
    guesses = np.empty((len(codes) + 1, *shuffles.shape), np.int8)
    n_shuffles = len(shuffles)
    rows = k * np.arange(n_shuffles)[:, None]
    for train, test in folds:
        together = np.zeros((n_shuffles, len(test), k), np.float32)
        class_of = shuffles[:, train] + rows
        for m, code in enumerate(codes):
            n_values = int(code.max()) + 1
            counts = np.bincount((class_of * n_values + code[train]).ravel(), minlength=n_shuffles * k * n_values)
            counts = counts.reshape(n_shuffles, k, n_values)
            of_class, of_all = counts.sum(axis=2, keepdims=True), np.bincount(code[train], minlength=n_values)
            # One imagined image of each class, spread as all images are: a value that was not seen says nothing.
            frequency = (counts + of_all / len(train) + 1e-12) / (of_class + 1)
            log = np.where(of_class > 0, np.log(frequency), -np.inf).transpose(0, 2, 1).astype(np.float32)
            guesses[m][:, test] = log.argmax(axis=2)[:, code[test]]
            together += log[:, code[test]]
        guesses[-1][:, test] = together.argmax(axis=2)
    return guesses


def _balanced_accuracy(shuffles: np.ndarray, guesses: np.ndarray, k: int) -> np.ndarray:
    """ndarray of shape (S,): the mean over the classes that occur of the share that was named rightly."""
    right = guesses == shuffles
    shares = []
    for c in range(k):
        mine = shuffles == c
        n = mine.sum(axis=1)
        shares.append(np.where(n > 0, (right & mine).sum(axis=1) / np.maximum(n, 1), np.nan))
    return np.nanmean(shares, axis=0)


def _described(column: np.ndarray) -> str:
    """What one class has, in a few words."""
    if column.dtype == object:
        if not len(column):
            return "-"
        value, n = Counter(column.tolist()).most_common(1)[0]
        return f"{value}" if n == len(column) else f"{value} ({n / len(column):.0%})"
    known = column[~np.isnan(column)]
    if not len(known):
        return "-"
    low, middle, high = np.quantile(known, (0.1, 0.5, 0.9))
    digits = 0 if abs(middle) >= 100 else 1 if abs(middle) >= 10 else 2
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
