"""Intervals hold the truth as often as they say. tests/bench/bench_coverage.py does it at full size."""

from __future__ import annotations

import numpy as np
import pytest

from reference.studies import CLASSES, coverage, delong, paired_coverage, population
from simclr_mri.metrics import METRICS, Repetition, evaluate_predictions, paired_difference, pooled_difference
from simclr_mri.metrics._resampling import draw_resamples

WITH_INTERVAL = [name for name in METRICS if name != "ece"]


@pytest.mark.parametrize(
    ("counts", "recalls", "slices", "level"),
    [
        ((12, 9, 3), (0.8, 0.7, 0.7), 1, "slice"),
        ((12, 9, 3), (0.8, 0.8, 0.1), 4, "subject"),
        ((30, 20, 10), (0.7, 0.7, 0.7), 4, "slice"),
        ((40, 25), (0.9, 0.6), 1, "slice"),
    ],
)
def test_intervals_cover(counts: tuple[int, ...], recalls: tuple[float, ...], slices: int, level: str) -> None:
    found = coverage(population(recalls, slices=slices, m=3000), counts, level, 80, n_bootstrap=200)
    # 95 %, less three standard errors of so few studies (2.4 % each). Percentiles of a plain bootstrap give .80.
    for name in WITH_INTERVAL:
        share, has = found[name]
        assert has == 1 and share >= 0.88, (name, share)
    assert found["ece"][1] == 0
    for c, size in enumerate(counts):
        share, has = found[f"recall {c}"]
        assert (has == 1) == (size >= 10), c
        assert np.isnan(share) or share >= 0.88, (c, share)


def test_a_difference_covers() -> None:
    a, b = (population((recall,) * 3, slices=2, m=3000) for recall in (0.6, 0.8))
    for metric in ("balanced_accuracy", "auc"):
        assert 0.88 <= paired_coverage(a, b, (12, 9, 3), metric, 60, n_bootstrap=200) <= 1


def test_a_class_that_is_missed_is_not_left_out() -> None:
    """Resamples without a class used to average over the others: .333 [.333, .500] for a constant answer."""
    labels = np.repeat([0, 1, 2], (12, 9, 3))
    always = evaluate_predictions(labels, np.tile([0.5, 0.3, 0.2], (24, 1)), CLASSES[:3])["balanced_accuracy"]
    assert always.value == pytest.approx(1 / 3) and always.low < 1 / 3 < always.high < 0.6
    blind = evaluate_predictions(labels, np.eye(3)[np.minimum(labels, 1)], CLASSES[:3])["balanced_accuracy"]
    assert blind.value == pytest.approx(2 / 3) and blind.low < 2 / 3 < blind.high < 0.9


def test_all_right_is_not_certain() -> None:
    labels = np.repeat([0, 1], 12)
    found = evaluate_predictions(labels, np.eye(2)[labels], CLASSES[:2])
    for name in WITH_INTERVAL:
        best = 0 if name == "brier" else 1
        assert found[name].value == best and found[name].high - found[name].low > 0.05, name


def test_too_few_says_so() -> None:
    labels = np.repeat([0, 1, 2], (12, 9, 2))
    found = evaluate_predictions(labels, np.eye(3)[labels], CLASSES[:3])
    assert str(found["balanced_accuracy"]) == "1.000 (too few)"
    assert found["accuracy"].low < 1
    assert [str(c.recall).endswith("(too few)") for c in found.slices.by_class] == [False, True, True]
    assert "an interval needs 10 images, and 3 of each class" in str(found)
    assert found.to_dict()["slice"]["metrics"]["auc"] == {"value": 1.0, "low": None, "high": None, "note": "too few"}
    small = evaluate_predictions([0, 1] * 4, np.eye(2)[[0, 1] * 4], CLASSES[:2])
    assert all(np.isnan(e.low) for e in small.slices.estimates)
    difference = paired_difference(labels, np.eye(3)[labels], np.eye(3)[labels[::-1]])
    assert difference.difference.note == "too few" and np.isnan(difference.p) and np.isnan(difference.detectable)


@pytest.mark.parametrize(("counts", "sure"), [((30, 30), 0.6), ((100, 60), 1.0)])
def test_area_under_the_curve_as_delong_has_it(counts: tuple[int, ...], sure: float) -> None:
    labels, probabilities, _ = population((0.7, 0.75), sure=sure).study(counts, np.random.default_rng(3))
    found = evaluate_predictions(labels, probabilities, CLASSES[:2], n_bootstrap=4000)["auc"]
    value, error = delong(labels, probabilities[:, 1])
    assert found.value == pytest.approx(value)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.12)
    assert (found.high + found.low) / 2 == pytest.approx(value, abs=0.5 * error)


def test_resamples_keep_the_size_of_each_class() -> None:
    strata = np.repeat([0, 2], (5, 7))
    found = draw_resamples(strata, 3, 50, seed=1)
    for c, n in ((0, 5), (1, 0), (2, 7)):
        total = found.weights[:, strata == c].sum(axis=1) + found.imagined[:, c].sum(axis=(1, 2))
        np.testing.assert_allclose(total, n, rtol=1e-5)
    assert found.weights.min() >= 0 and found.imagined.min() >= 0


def test_seeds_widen_the_interval() -> None:
    of = population((0.7, 0.7, 0.7), m=3000)
    labels, good, _ = of.study((30, 20, 10), np.random.default_rng(0))
    _, other, _ = of.study((30, 20, 10), np.random.default_rng(1))
    _, third, _ = of.study((30, 20, 10), np.random.default_rng(2))
    even = np.full_like(good, 1 / 3)
    rows = np.arange(len(labels))

    def compared(*arms: np.ndarray):
        runs = [Repetition(rows, arm) for arm in arms]
        return pooled_difference(labels, [Repetition(rows, even)] * len(arms), runs, n_bootstrap=400)

    once, alike, apart = compared(good), compared(good, good, good), compared(good, other, third)
    assert (once.n_seeds, alike.n_seeds) == (1, 3)
    assert once.difference == alike.difference
    width = once.difference.high - once.difference.low
    assert once.detectable == pytest.approx(1.43 * width / 2, rel=0.01)
    spread = np.std([compared(arm).difference.value for arm in (good, other, third)], ddof=1) / np.sqrt(3)
    assert apart.difference.high - apart.difference.low > 2 * 1.96 * spread
