"""Simulated studies of classifiers whose true metrics are known, and how often intervals cover them.

A population holds many subjects of each class with the probabilities that a classifier gives to their slices. A study
draws a few of them. The truth is the metric over the whole population with the study's shares of the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from simclr_mri.metrics import METRICS, evaluate_predictions, paired_difference
from simclr_mri.metrics._bootstrap import Sample, confusion_metrics

CLASSES = ("none", "mild", "severe", "worse")


@dataclass(frozen=True)
class Population:
    """Probabilities (K, M, slices, K) of M subjects of each class."""

    probabilities: np.ndarray

    def study(self, counts: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Labels (n,), probabilities (n, K) and subjects (n,) of the slices of so many subjects of each class."""
        k, m, slices, _ = self.probabilities.shape
        drawn = [self.probabilities[c, rng.integers(0, m, n)] for c, n in enumerate(counts)]
        labels = np.repeat(np.arange(k), counts)
        subjects = np.repeat([f"s{i:04d}" for i in range(sum(counts))], slices)
        return np.repeat(labels, slices), np.concatenate(drawn).reshape(-1, k), subjects

    def truth(self, counts: tuple[int, ...], level: str) -> dict[str, float]:
        """Every metric, "recall 0" and "precision 0" and so on, over the population."""
        found = self.probabilities if level == "slice" else self.probabilities.mean(axis=2, keepdims=True)
        k, m, slices, _ = found.shape
        labels = np.repeat(np.arange(k), m * slices)
        weights = (np.array(counts) / m)[labels][None]
        metrics = confusion_metrics(Sample(labels, found.reshape(-1, k)), weights)
        out = {name: float(metrics[name][0]) for name in METRICS}
        return out | {f"{name} {c}": float(metrics[name][0, c]) for name in ("recall", "precision") for c in range(k)}


def population(recalls: tuple[float, ...], *, m: int = 6000, slices: int = 1, seed: int = 0, sure: float = 2.0):
    """A classifier with these recalls by slice.

    Slices of a subject are right together (correlation .6 of a normal variable under it). What it answers stands out
    from even odds by `sure`, and scores scatter, so that ranks carry information beyond the answer.
    """
    rng = np.random.default_rng(seed)
    k = len(recalls)
    labels = np.repeat(np.arange(k), m)[:, None]
    shared = np.sqrt(0.6) * rng.normal(size=(k * m, 1)) + np.sqrt(0.4) * rng.normal(size=(k * m, slices))
    right = norm.cdf(shared) < np.array(recalls)[labels]
    answer = np.where(right, labels, (labels + rng.integers(1, k, (k * m, slices))) % k)
    logits = 0.5 * rng.normal(size=(k * m, slices, k)) + sure * np.eye(k)[answer]
    found = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return Population(found.reshape(k, m, slices, k))


def coverage(
    of: Population, counts: tuple[int, ...], level: str, n_studies: int, *, n_bootstrap: int = 400, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """By metric: the share of studies whose interval holds the truth, and the share that has an interval."""
    return coverages(of, counts, (level,), n_studies, n_bootstrap=n_bootstrap, seed=seed)[level]


def coverages(
    of: Population,
    counts: tuple[int, ...],
    levels: tuple[str, ...],
    n_studies: int,
    *,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> dict[str, dict[str, tuple[float, float]]]:
    """`coverage` by slice and by subject of the same studies."""
    rng = np.random.default_rng(seed)
    truths = {level: of.truth(counts, level) for level in levels}
    held: dict[str, dict[str, list[bool]]] = {level: {name: [] for name in truths[level]} for level in levels}
    for i in range(n_studies):
        labels, probabilities, subjects = of.study(counts, rng)
        if of.probabilities.shape[2] == 1 and levels == ("slice",):
            subjects = None
        found = evaluate_predictions(
            labels, probabilities, CLASSES[: len(counts)], subjects, n_bootstrap=n_bootstrap, seed=i
        )
        for level in levels:
            judged = found.levels[level]
            estimates = dict(judged.metrics)
            estimates |= {f"recall {c}": result.recall for c, result in enumerate(judged.by_class)}
            estimates |= {f"precision {c}": result.precision for c, result in enumerate(judged.by_class)}
            for name, e in estimates.items():
                if not np.isnan(e.low):
                    held[level][name].append(e.low - 1e-9 <= truths[level][name] <= e.high + 1e-9)
    return {
        level: {name: (float(np.mean(v)) if v else np.nan, len(v) / n_studies) for name, v in of_level.items()}
        for level, of_level in held.items()
    }


def paired_coverage(
    a: Population, b: Population, counts: tuple[int, ...], metric: str, n_studies: int, *, n_bootstrap: int = 400
) -> float:
    """The share of studies of two arms on the same subjects whose interval holds the true difference, by subject."""
    true = b.truth(counts, "subject")[metric] - a.truth(counts, "subject")[metric]
    held = []
    for i in range(n_studies):
        labels, first, subjects = a.study(counts, np.random.default_rng(i))
        _, second, _ = b.study(counts, np.random.default_rng(i))
        found = paired_difference(
            labels, first, second, subjects, metric, level="subject", n_bootstrap=n_bootstrap, seed=i
        ).difference
        held.append(np.isnan(found.low) or found.low - 1e-9 <= true <= found.high + 1e-9)
    return float(np.mean(held))


def delong(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Area under the curve and its standard error (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988)."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None]
    wins = (positive > negative) + (positive == negative) / 2
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / negative.size
    return float(wins.mean()), float(np.sqrt(variance))
