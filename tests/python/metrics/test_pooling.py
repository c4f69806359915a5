"""Figures over several runs of an arm: of one, what metrics gives; of several, their mean; subjects are drawn once."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri.metrics import (
    Repetition,
    evaluate_predictions,
    join,
    paired_difference,
    pooled_difference,
    pooled_metrics,
)

N, K = 60, 3
RNG = np.random.default_rng(0)
SUBJECTS = np.repeat([f"s{i:02d}" for i in range(20)], 3)
LABELS = np.repeat(np.arange(20) % K, 3)


def answers(seed: int, skill: float = 1.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(size=(N, K)) + skill * np.eye(K)[LABELS]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


ALL = np.arange(N)


@pytest.mark.parametrize("level", ["slice", "subject"])
def test_one_run_is_what_metrics_says(level: str) -> None:
    found = pooled_metrics(LABELS, [Repetition(ALL, answers(1))], SUBJECTS, level=level, n_bootstrap=100)
    expected = evaluate_predictions(LABELS, answers(1), ("a", "b", "c"), SUBJECTS, n_bootstrap=100).levels[level]
    for name, estimate in expected.metrics.items():
        np.testing.assert_allclose(found[name]._all(), estimate._all(), rtol=1e-12)


@pytest.mark.parametrize("level", ["slice", "subject"])
def test_one_pair_is_what_paired_difference_says(level: str) -> None:
    a, b = answers(1, 0.5), answers(2, 1.5)
    found = pooled_difference(
        LABELS, [Repetition(ALL, a)], [Repetition(ALL, b)], SUBJECTS, "auc", level=level, n_bootstrap=200
    )
    expected = paired_difference(LABELS, a, b, SUBJECTS, "auc", level=level, n_bootstrap=200)
    assert (found.a, found.b, found.p) == (expected.a, expected.b, expected.p)
    np.testing.assert_allclose(found.difference._all(), expected.difference._all(), rtol=1e-12)


def test_folds_join_to_everyone_once() -> None:
    folds = np.arange(N) // 3 % 4
    runs = [Repetition(np.flatnonzero(folds == k), answers(seed)[folds == k]) for seed in (1, 2) for k in (2, 0, 3, 1)]
    parts = join(runs)
    assert [len(part.rows) for part in parts] == [N, N]
    assert sorted(parts[1].rows) == list(range(N))
    whole = [Repetition(ALL, answers(seed)) for seed in (1, 2)]
    one, two = (pooled_metrics(LABELS, p, SUBJECTS, level="subject", n_bootstrap=50) for p in (parts, whole))
    for name in one.metrics:
        np.testing.assert_allclose(one[name]._all(), two[name]._all(), rtol=1e-9)


def test_the_mean_over_repetitions() -> None:
    parts = [Repetition(ALL, answers(seed)) for seed in (1, 2, 3)]
    together = pooled_metrics(LABELS, parts, SUBJECTS, level="subject", n_bootstrap=200)
    apart = [pooled_metrics(LABELS, [part], SUBJECTS, level="subject", n_bootstrap=200) for part in parts]
    for name in ("accuracy", "auc", "kappa"):
        assert together[name].value == pytest.approx(np.mean([part[name].value for part in apart]))
        np.testing.assert_allclose(together.drawn[name], np.mean([part.drawn[name] for part in apart], axis=0))
        assert together[name].low < together[name].value < together[name].high


def test_more_repetitions_of_the_same_subjects_are_no_more_subjects() -> None:
    once, twice = ([Repetition(ALL, answers(1))] * n for n in (1, 2))
    found = [pooled_metrics(LABELS, parts, SUBJECTS, level="subject")["auc"]._all() for parts in (once, twice)]
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_subjects_that_only_some_repetitions_test() -> None:
    parts = [Repetition(np.arange(30), answers(1)[:30]), Repetition(np.arange(15, N), answers(2)[15:])]
    assert len(join(parts)) == 2
    found = pooled_metrics(LABELS, parts, SUBJECTS, level="subject", n_bootstrap=50)
    assert found.n_units == 20 and not np.isnan(found.drawn["balanced_accuracy"]).any()


def test_an_arm_against_itself_is_no_difference() -> None:
    parts = [Repetition(ALL, answers(1)), Repetition(ALL, answers(2))]
    found = pooled_difference(LABELS, parts, parts, SUBJECTS, level="subject", n_bootstrap=100)
    assert found.difference._all() == (0.0, 0.0, 0.0) and found.p == 1.0


def test_refusals() -> None:
    part = Repetition(ALL, answers(1))
    with pytest.raises(ValueError, match="level: expected 'slice'"):
        pooled_metrics(LABELS, [part], None, level="subject")
    with pytest.raises(ValueError, match="at least one"):
        pooled_metrics(LABELS, [], SUBJECTS)
    with pytest.raises(ValueError, match="on the same images"):
        pooled_difference(LABELS, [part], [Repetition(ALL[:30], answers(1)[:30])], SUBJECTS)
