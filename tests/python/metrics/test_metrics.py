"""Metrics against scikit-learn and hand-computed cases; intervals, comparisons, calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from simclr_mri.metrics import METRICS, evaluate_predictions, paired_difference, temperature_scale
from simclr_mri.metrics._bootstrap import Sample, confusion_metrics, evaluate_sample

CLASSES = ("non", "very mild", "mild", "moderate")


def make(n: int = 240, k: int = 4, seed: int = 0, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and subjects: 8 slices of one label a subject."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(np.arange(n // 8) % k), 8)
    logits = rng.normal(size=(n, k)) + skill * np.eye(k)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities, np.repeat([f"s{i}" for i in range(n // 8)], 8)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_equals_scikit_learn(k: int) -> None:
    y, p, _ = make(k=k)
    found = evaluate_predictions(y, p, CLASSES[:k], n_bootstrap=0).slices
    guess = p.argmax(axis=1)
    one_hot = np.eye(k)[y]
    auc = sk.roc_auc_score(y, p[:, 1]) if k == 2 else sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
    expected = {
        "accuracy": sk.accuracy_score(y, guess),
        "balanced_accuracy": sk.balanced_accuracy_score(y, guess),
        "macro_f1": sk.f1_score(y, guess, average="macro"),
        "auc": auc,
        "kappa": sk.cohen_kappa_score(y, guess, weights="quadratic"),
        "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    if k == 2:
        assert found["brier"].value == pytest.approx(2 * sk.brier_score_loss(y, p[:, 1]), abs=1e-12)
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(y, guess))
    np.testing.assert_allclose([c.recall.value for c in found.by_class], sk.recall_score(y, guess, average=None))
    np.testing.assert_allclose([c.precision.value for c in found.by_class], sk.precision_score(y, guess, average=None))
    assert [c.n for c in found.by_class] == np.bincount(y).tolist()


@pytest.mark.parametrize("k", [2, 4])
def test_resamples_equal_scikit_learn_on_the_resampled_images(k: int) -> None:
    y, p, _ = make(96, k=k)
    p = np.round(p, 1) + 1e-3  # ties, which the rank statistic must count as halves
    p /= p.sum(axis=1, keepdims=True)
    weights = np.random.default_rng(1).multinomial(96, np.full(96, 1 / 96), size=5).astype(np.float32)
    weights = np.concatenate([np.ones((1, 96), np.float32), weights])
    drawn = confusion_metrics(Sample(y, p), weights)
    for b, w in enumerate(weights):
        again = np.repeat(np.arange(96), w.astype(int))
        expected = evaluate_sample(Sample(y[again], p[again]))
        for name in METRICS:
            assert drawn[name][b] == pytest.approx(expected[name], abs=1e-6), name
        np.testing.assert_allclose(drawn["recall"][b], expected["recall"], atol=1e-6)
        np.testing.assert_allclose(drawn["precision"][b], expected["precision"], atol=1e-6)


def test_intervals_are_spoken_of_where_there_are_some() -> None:
    y, p, subjects = make(k=3)
    for n, said in ((0, False), (20, True)):
        found = evaluate_predictions(y, p, CLASSES[:3], subjects, n_bootstrap=n)
        for text in (str(found), found._repr_html_()):
            assert (f"95 % intervals: {n} bootstrap samples of the subjects" in text) == ("bootstrap" in text) == said
    with pytest.raises(ValueError, match=r"n_bootstrap: expected 0 \(no intervals\) or more, got -1"):
        evaluate_predictions(y, p, CLASSES[:3], n_bootstrap=-1)


def test_calibration_error_by_hand() -> None:
    # Two bins: confidence .9 with 1 of 2 right, confidence .6 with 2 of 2 right: (|.5 - .9| + |1 - .6|) / 2.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    found = evaluate_predictions(np.array([0, 1, 0, 1]), p, ("a", "b"), n_bootstrap=0)
    assert found["ece"].value == pytest.approx(0.4)


def test_subjects_are_means_of_slices() -> None:
    y = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([[0.9, 0.1], [0.45, 0.55], [0.45, 0.55], [0.4, 0.6], [0.4, 0.6], [0.55, 0.45]])
    found = evaluate_predictions(y, p, ("a", "b"), ["s1"] * 3 + ["s2"] * 3, n_bootstrap=10)
    assert found["accuracy"].value == pytest.approx(3 / 6)
    assert found.subjects["accuracy"].value == 1.0
    assert found.subjects.n == 2
    assert found.subjects["brier"].value == pytest.approx(np.mean([2 * 0.4**2, 2 * 0.45**2]))


def test_intervals_are_over_subjects_and_reproducible() -> None:
    y, p, s = make(skill=1.5)
    rng = np.random.default_rng(3)
    p = np.repeat(p[::8], 8, axis=0) + 0.01 * rng.random((len(p), 1))  # all slices of a subject say the same
    p /= p.sum(axis=1, keepdims=True)
    by_subject = evaluate_predictions(y, p, CLASSES, s)
    by_image = evaluate_predictions(y, p, CLASSES)
    again = evaluate_predictions(y, p, CLASSES, s)
    assert by_subject.to_dict() == again.to_dict()
    wide, narrow = by_subject["accuracy"], by_image["accuracy"]
    assert wide.low <= wide.value <= wide.high
    # Eight copies of each subject: the interval over images is narrower by about sqrt(8).
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(np.sqrt(8), rel=0.25)


def test_absent_class_is_left_out_and_said() -> None:
    y, p, s = make()
    keep = y != 3
    found = evaluate_predictions(y[keep], p[keep], CLASSES, s[keep], n_bootstrap=50)
    recall = sk.recall_score(y[keep], p[keep].argmax(axis=1), labels=[0, 1, 2], average="macro")
    assert found["balanced_accuracy"].value == pytest.approx(recall)
    assert np.isnan(found.slices.by_class[3].recall.value)
    assert any("moderate" in note for note in found.notes)
    one = evaluate_predictions(np.zeros(4, int), np.full((4, 2), 0.5), ("a", "b"), n_bootstrap=5)
    assert np.isnan(one["auc"].value)
    assert "nan" not in json.dumps(found.to_dict()).lower()


def test_reads_well() -> None:
    y, p, s = make()
    found = evaluate_predictions(y, p, CLASSES, s, n_bootstrap=20)
    text, page = str(found), found._repr_html_()
    for word in ("balanced accuracy", "per subject", "largest class", "very mild"):
        assert word in text
    assert page.count("<tr>") == 1 + len(METRICS) + 4 + 1
    assert {row["level"] for row in found.table()} == {"slice", "subject"}
    assert f"{found['accuracy']:.2f}".startswith(f"{found['accuracy'].value:.2f} [")


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], np.full((2, 3), 1 / 3), "shape"),
        ([0, 2], np.full((2, 2), 0.5), "0 to 1"),
        ([0, 1], np.array([[0.5, 0.5], [np.nan, 1]]), "finite"),
        ([0, 1], np.array([[0.5, 0.5], [0.9, 0.9]]), "sum to 1"),
        ([0, 1, 1], np.full((2, 2), 0.5), "expected 2"),
        (np.zeros(0, int), np.zeros((0, 2)), "none"),
    ],
)
def test_refuses(labels: object, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(np.asarray(labels), probabilities, ("a", "b"))


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        evaluate_predictions(np.zeros(2, int), np.ones((2, 1)), ("a",))


def test_paired_difference() -> None:
    y, weak, s = make(skill=0.3)
    _, strong, _ = make(skill=3.0)
    found = paired_difference(y, weak, strong, s, n_bootstrap=300)
    assert found.difference.value == pytest.approx(found.b - found.a)
    assert found.difference.low > 0 and found.p < 0.02
    same = paired_difference(y, weak, weak, s, n_bootstrap=50)
    assert same.difference.value == 0 and same.p == 1.0
    swapped = paired_difference(y, strong, weak, s, "auc", level="subject", n_bootstrap=100)
    assert swapped.difference.high < 0
    assert "difference -" in str(swapped)
    with pytest.raises(ValueError, match="metric"):
        paired_difference(y, weak, weak, s, "recall")
    with pytest.raises(ValueError, match="level"):
        paired_difference(y, weak, weak, None, level="subject")


def test_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20000, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(0, 3)
    # Labels drawn from the probabilities: calibrated. Logits times 3 need temperature 3; standard error about 1 %.
    assert temperature_scale(logits, y) == pytest.approx(1, rel=0.05)
    assert temperature_scale(3 * logits, y) == pytest.approx(3, rel=0.05)
    grid = np.linspace(2, 4, 2001)

    def nll(t: float) -> float:
        z = 3 * logits[:500] / t
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(500), y[:500]]))

    best = grid[np.argmin([nll(t) for t in grid])]
    assert temperature_scale(3 * logits[:500], y[:500]) == pytest.approx(best, abs=2e-3)
    assert temperature_scale(np.zeros((3, 2)), [0, 1, 1]) == 1.0
    assert temperature_scale(np.array([[1.0, 0], [0, 1.0]]), [0, 1]) == 0.01  # all right: the sharper the better
    with pytest.raises(ValueError, match="finite"):
        temperature_scale(np.array([[np.inf, 0]]), [0])
