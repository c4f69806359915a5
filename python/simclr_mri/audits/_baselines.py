"""What a classifier reaches that has understood nothing: the floor for everything else.

Naming the largest class; the nearest neighbour on raw 64 x 64 pixels; ridge regression on 24 x 24 pixels; one number,
the share of the head that is dark, and the class whose mean is nearest. Each is cross-validated in five folds, by image
and by subject, with true labels and with labels shuffled among the subjects. One shuffle is noise, so there are 20, and
their mean has the range in which one more would lie. A nearest neighbour that is right by image with shuffled labels
recognises subjects. Fluid is dark in T1-weighted slices, so the one number is a crude measure of how
wide ventricles and furrows are: a network should see more than that.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve
from scipy.stats import t
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, recall_score
from threadpoolctl import threadpool_limits

from .. import _core
from .._shared import By, Record
from ..datasets import Dataset, DataWarning, dark_share, labels_of, subjects_of
from ..splits import LeakageWarning, kfold

N_FOLDS = 5


MAX_IMAGES = 12_000
"""Above, whole subjects are drawn until there are so many: the matrix of distances then takes 0.6 GB."""


N_SHUFFLES = 20

RIDGE_ALPHA = 1000.0
"""Penalty on standardised pixels. On the Alzheimer MRI set 100 to 3,000 give .331 to .346 balanced by subject."""


@dataclass(frozen=True)
class Baseline(Record):
    """One row of the table of baselines.

    Attributes
    ----------
    method, by : str
    shuffled : bool
    accuracy, balanced_accuracy : float
        Of shuffled labels, the mean of `n_shuffles`.
    accuracy_range, balanced_accuracy_range : tuple of float, or None
        Of shuffled labels: where one more shuffle lies with 95 % (Student's t).
    n_shuffles : int
    """

    method: str
    by: str
    shuffled: bool
    accuracy: float
    balanced_accuracy: float
    accuracy_range: tuple[float, float] | None = None
    balanced_accuracy_range: tuple[float, float] | None = None
    n_shuffles: int = 0


def run_baselines(ds: Dataset, *, seed: int = 0) -> list[Baseline]:
    """All baselines of a labelled data set.

    Parameters
    ----------
    ds : Dataset
        Split by subject too where it has subjects.
    seed : int

    Returns
    -------
    list of Baseline
    """
    ds = at_most(ds, MAX_IMAGES, seed)
    y, k = labels_of(ds), len(ds.classes)
    shuffles = np.stack([shuffle_labels(ds, seed, i) for i in range(N_SHUFFLES)])
    rows = []
    largest = np.full(len(ds), np.bincount(y).argmax())
    preference = _preferences(ds.images)
    pixels = _standard(_core.resize(ds.images, 24))
    dark = dark_share(ds.images)
    for by in ("image", "subject") if ds.subjects is not None else ("image",):
        folds = folds_of(ds, by, seed)
        if folds is None:
            continue
        rows.append(_score("largest class", by, False, y, largest, k))
        nearest = _nearest(preference, folds)
        rows.append(_score("nearest neighbour", by, False, y, y[nearest], k))
        rows.append(_score("ridge regression", by, False, y, _ridge(pixels, y, folds), k))
        rows.append(_score("CSF fraction", by, False, y, _nearest_mean(dark, y, folds), k))
        with threadpool_limits(1):  # 20 times 5 small products and factorisations, which threads slow down
            by_ridge = _ridge_of_shuffles(pixels, shuffles, folds)
        guesses = {
            "nearest neighbour": shuffles[:, nearest],
            "ridge regression": by_ridge,
            "CSF fraction": np.stack([_nearest_mean(dark, labels, folds) for labels in shuffles]),
        }
        rows += [_score_shuffles(method, by, shuffles, found, k) for method, found in guesses.items()]
    return rows


def shuffle_labels(ds: Dataset, seed: int, i: int = 0) -> np.ndarray:
    """Labels that mean nothing: each subject gets another's for all its images; by image if subjects are unknown."""
    rng = np.random.default_rng([seed, 1, i] if i else [seed, 1])
    if ds.subjects is None:
        return rng.permutation(labels_of(ds))
    _, first, members = np.unique(ds.subjects, return_index=True, return_inverse=True)
    return rng.permutation(labels_of(ds)[first])[members]


def at_most(ds: Dataset, n: int, seed: int) -> Dataset:
    """Whole subjects, drawn until there are about `n` images."""
    if len(ds) <= n:
        return ds
    units = ds.subjects if ds.subjects is not None else np.arange(len(ds))
    _, members = np.unique(units, return_inverse=True)
    rank = np.random.default_rng([seed, 2]).permutation(members.max() + 1)[members]
    return ds[np.sort(np.argsort(rank, kind="stable")[:n])]


def folds_of(ds: Dataset, by: By, seed: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Train and test indices; None when there are too few subjects."""
    n = len(ds) if by == "image" else len(np.unique(subjects_of(ds)))
    if n < 4:
        return None
    sizes = np.bincount(labels_of(ds)) if by == "image" else ds.counts().subjects
    stratify = sizes is not None and bool(sizes.min() >= 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        warnings.simplefilter("ignore", LeakageWarning)
        parts = kfold(ds, n_splits=min(N_FOLDS, n), by=by, seed=seed, stratify=stratify)
        return [(part.indices["train"], part.indices["test"]) for part in parts]


def _preferences(images: np.ndarray) -> np.ndarray:
    """ndarray of shape (N, N): the larger, the nearer column is to row in squared distance of 64 x 64 pixels."""
    flat = _core.resize(images, min(64, images.shape[1])).reshape(len(images), -1).astype(np.float32) / 255
    flat -= flat.mean(axis=0)
    matrix = flat @ flat.T
    squares = np.diag(matrix).copy()
    matrix *= 2
    matrix -= squares
    return matrix


def _nearest(preference: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The nearest training image of each image when it is tested."""
    nearest = np.empty(len(preference), np.int64)
    for train, test in folds:
        nearest[test] = train[preference[np.ix_(test, train)].argmax(axis=1)]
    return nearest


def _standard(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    return (flat - flat.mean(axis=0)) / (flat.std(axis=0) + 1)


def _ridge(pixels: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    guess = np.empty(len(labels), np.int64)
    for train, test in folds:
        present = np.unique(labels[train])
        if len(present) < 2:
            guess[test] = present[0]
            continue
        model = RidgeClassifier(alpha=RIDGE_ALPHA, class_weight="balanced", solver="cholesky")
        with threadpool_limits(1):  # small factorisations, which threads slow down
            guess[test] = model.fit(pixels[train], labels[train]).predict(pixels[test])
    return guess


def _ridge_of_shuffles(
    pixels: np.ndarray, shuffles: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """What `_ridge` answers for each row of labels (S, N), in one go.

    Its normal equations need the products of pixels, summed over the images of each class. Their sum over all classes
    is the same for every shuffle, so that only the smaller classes are summed anew: half the work or less.
    """
    guesses = np.empty_like(shuffles)
    for train, test in folds:
        x, of_test = np.ascontiguousarray(pixels[train]), pixels[test]
        of_all, sum_of_all = x.T @ x, x.sum(axis=0)
        for labels, guess in zip(shuffles, guesses, strict=True):
            y = labels[train]
            present, members, n = np.unique(y, return_inverse=True, return_counts=True)
            weights = (len(y) / (len(present) * n)).astype(np.float32)
            largest = int(n.argmax())
            gram, total = weights[largest] * of_all, weights[largest] * sum_of_all
            sums = np.empty((len(present), x.shape[1]), np.float32)
            for c in range(len(present)):
                if c == largest:
                    continue
                mine = x[members == c]
                sums[c] = mine.sum(axis=0)
                gram += (weights[c] - weights[largest]) * (mine.T @ mine)
                total += (weights[c] - weights[largest]) * sums[c]
            sums[largest] = sum_of_all - np.delete(sums, largest, axis=0).sum(axis=0)
            # Weighted, all classes are of the same size: targets are 1 for the own class and -1 for the others.
            mean = total / len(y)
            targets = 2 * weights[:, None] * sums - total
            level = (2 - len(present)) / len(present)
            right = (targets - level * len(y) * mean).T
            gram -= np.float32(len(y)) * np.outer(mean, mean)
            gram[np.diag_indices_from(gram)] += np.float32(RIDGE_ALPHA)
            slopes = solve(gram, right, assume_a="pos", overwrite_a=True, check_finite=False)
            guess[test] = present[((of_test - mean) @ slopes).argmax(axis=1)]
    return guesses


def _nearest_mean(value: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The class whose mean is nearest, whatever its size: the line between two classes is midway."""
    guess = np.empty(len(labels), np.int64)
    for train, test in folds:
        present = np.unique(labels[train])
        means = np.array([value[train][labels[train] == c].mean() for c in present])
        guess[test] = present[np.abs(value[test, None] - means).argmin(axis=1)]
    return guess


def _score(method: str, by: str, shuffled: bool, labels: np.ndarray, guess: np.ndarray, k: int) -> Baseline:
    present = np.unique(labels)
    recall = recall_score(labels, guess, labels=present, average="macro", zero_division=0)
    return Baseline(method, by, shuffled, float(accuracy_score(labels, guess)), float(recall))


def _score_shuffles(method: str, by: str, shuffles: np.ndarray, guesses: np.ndarray, k: int) -> Baseline:
    found = [_score(method, by, True, labels, guess, k) for labels, guess in zip(shuffles, guesses, strict=True)]
    accuracy, balanced = (np.array([getattr(row, name) for row in found]) for name in ("accuracy", "balanced_accuracy"))
    return Baseline(
        method,
        by,
        True,
        float(accuracy.mean()),
        float(balanced.mean()),
        _range_of_one_more(accuracy),
        _range_of_one_more(balanced),
        len(found),
    )


def _range_of_one_more(values: np.ndarray) -> tuple[float, float]:
    """Where one more value of the same kind lies with 95 %."""
    n = len(values)
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n)
    return float(max(values.mean() - half, 0)), float(min(values.mean() + half, 1))
