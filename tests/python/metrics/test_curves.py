"""Curves and their areas: scikit-learn's values, weights as copies, intervals that cover, and honest shares."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from reference.studies import CLASSES, population
from simclr_mri.metrics import curves, evaluate_predictions
from simclr_mri.metrics._bootstrap import Sample, weighted_auc

RNG = np.random.default_rng(0)


def rounded(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with many ties."""
    labels = RNG.integers(0, k, n)
    found = np.round(RNG.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[labels], 1)
    return labels, found / found.sum(axis=1, keepdims=True)


def test_a_weight_is_worth_as_many_copies():
    labels, probabilities = rounded(60, 3)
    sample, times = Sample(labels, probabilities), RNG.integers(0, 4, 60)
    copied = np.repeat(np.arange(60), times)
    for c in range(3):
        truth, scores = labels[copied] == c, probabilities[copied, c]
        assert weighted_auc(sample, c, times[None])[0] == pytest.approx(sk.roc_auc_score(truth, scores))


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kind", ["roc", "precision_recall"])
def test_areas_are_scikit_learns_and_lie_in_their_intervals(k, kind):
    labels, probabilities = rounded(120, k)
    found = evaluate_predictions(labels, probabilities, CLASSES[:k], n_bootstrap=200)
    found = curves(found, kind)
    assert [curve.name for curve in found] == list(CLASSES[:k] if k > 2 else CLASSES[1:2])
    for curve in found:
        c = CLASSES.index(curve.name)
        score = sk.roc_auc_score if kind == "roc" else sk.average_precision_score
        assert curve.area.value == pytest.approx(score(labels == c, probabilities[:, c]))
        assert curve.area.low < curve.area.value < curve.area.high
        assert curve.n == np.sum(labels == c) and curve.share == pytest.approx(curve.n / 120)


def test_by_subject_each_counts_once():
    labels, probabilities = np.repeat(np.arange(40) % 2, 3), np.repeat(rounded(40, 2)[1], 3, axis=0)
    found = evaluate_predictions(labels, probabilities, CLASSES[:2], np.repeat(np.arange(40), 3), n_bootstrap=50)
    (by_subject,), (by_slice,) = curves(found, "roc"), curves(found, "roc", "slice")
    assert by_subject.n == 20 and by_slice.n == 60 and by_subject.area.value == pytest.approx(by_slice.area.value)
    assert by_subject.area.low == pytest.approx(by_slice.area.low, abs=0.02)  # resampled by subject in both
    (bins,), (dependent,) = curves(found, "reliability"), curves(found, "reliability", "slice")
    assert dependent.low is None and bins.low is not None
    assert bins.y.mean() == pytest.approx(0.5) and (bins.low <= bins.y).all() and (bins.y <= bins.high).all()


def test_few_subjects_have_no_interval_and_an_absent_class_no_curve():
    labels, probabilities = np.array([0, 0, 1, 1, 0, 1]), np.eye(3)[[0, 0, 1, 1, 0, 1]] * 0.9 + 0.1 / 3
    found = evaluate_predictions(labels, probabilities, CLASSES[:3], n_bootstrap=20)
    assert [curve.name for curve in curves(found, "roc")] == ["none", "mild"]
    assert all(curve.area.note == "too few" for curve in curves(found, "roc"))
    with pytest.raises(ValueError, match="kind='RoC': expected one of 'roc', 'precision_recall', 'reliability'"):
        curves(found, "RoC")
    with pytest.raises(ValueError, match="level='subject'"):
        curves(found, "roc", "subject")


def test_intervals_of_single_areas_cover_the_truth():
    of, counts = population((0.8, 0.6, 0.5), seed=3), (30, 20, 12)
    truth = of.study((4000, 2667, 1600), np.random.default_rng(99))[:2]
    scores = {"roc": sk.roc_auc_score, "precision_recall": sk.average_precision_score}
    true = {kind: [score(truth[0] == c, truth[1][:, c]) for c in range(3)] for kind, score in scores.items()}
    held: dict[str, list[bool]] = {kind: [] for kind in scores}
    for i in range(60):
        labels, probabilities, _ = of.study(counts, np.random.default_rng(i))
        evaluation = evaluate_predictions(labels, probabilities, CLASSES[:3], n_bootstrap=100, seed=i)
        for kind in scores:
            for c, curve in enumerate(curves(evaluation, kind)):
                held[kind].append(curve.area.low <= true[kind][c] <= curve.area.high)
    assert all(0.9 < np.mean(found) <= 1 for found in held.values()), held
