"""What a study may say: computed from intervals over subjects and seeds, on predictions that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import datasets
from simclr_mri.metrics import Difference, Estimate, evaluate_predictions
from simclr_mri.splits import kfold
from simclr_mri.studies import Arm, StudyResult
from simclr_mri.studies._conclusions import verdict


def made_up(n_subjects: int, seeds: int, gain: float) -> StudyResult:
    """Three folds; "simclr" answers by `gain` logits better than "random"."""
    ds = datasets.phantoms(seed=0, n_subjects=n_subjects, slices=1, image_size=32, task="cdr0")
    folds = list(kfold(ds, n_splits=3, seed=0))
    rows, evaluations = [], {}
    for k, fold in enumerate(folds):
        test = fold.test
        for seed in range(seeds):
            for name, skill in (("random", 0.3), ("simclr", 0.3 + gain)):
                rng = np.random.default_rng([k, seed, name == "simclr"])
                logits = rng.normal(size=(len(test), 2)) + skill * np.eye(2)[test.labels]
                p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                arm = Arm(name, 0.5, seed, k)
                evaluations[arm] = evaluate_predictions(test.labels, p, ds.classes, test.subjects, n_bootstrap=0)
                found = {m: e.value for m, e in evaluations[arm].subjects.metrics.items()}
                rows.append(vars(arm) | {"n_labelled": 1} | found)
    return StudyResult(rows, evaluations, {}, {}, {}, folds, n_bootstrap=200)


@pytest.mark.parametrize(
    ("seeds", "gain", "expected"),
    [
        (3, 2.5, "Pretraining helped with 50 % of the labels."),
        (3, -2.5, "Pretraining hurt with 50 % of the labels."),
        (1, 2.5, "One seed cannot show whether pretraining helps or hurts."),
        (3, 0.0, "No effect of pretraining was shown."),
    ],
)
def test_helped_needs_several_seeds(seeds: int, gain: float, expected: str) -> None:
    text = made_up(60, seeds, gain).conclusions()
    assert expected in text
    assert f"over 60 subjects {'and 3 seeds' if seeds == 3 else 'of one seed'}" in text
    assert "the smallest difference that they would show in four of five such studies is 0." in text
    assert ("ahead with this one seed; another was not tried" in text) == (seeds == 1)


def test_few_subjects_say_nothing() -> None:
    result = made_up(9, 2, 2.5)
    assert "too few test subjects to say whether pretraining helps" in result.conclusions()
    assert "(too few)" in result.to_markdown()


@pytest.mark.parametrize(
    ("low", "high", "seeds", "expected"),
    [
        (0.01, 0.2, 2, "it helped"),
        (-0.2, -0.01, 2, "it hurt"),
        (-0.01, 0.2, 5, "not distinguishable from zero"),
        (0.01, 0.2, 1, "ahead with this one seed"),
        (-0.2, -0.01, 1, "behind with this one seed"),
        (np.nan, np.nan, 3, "too few subjects"),
    ],
)
def test_verdict(low: float, high: float, seeds: int, expected: str) -> None:
    found = Difference("auc", "subject", 0.5, 0.6, Estimate(0.1, low, high), 0.5, 100, seeds)
    assert verdict(found).startswith(expected)
