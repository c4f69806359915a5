"""Baselines with shuffled labels: many shuffles, in one go, as if each were done alone."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import audit, datasets
from simclr_mri.audits._baselines import N_SHUFFLES, _ridge, _ridge_of_shuffles, _standard, folds_of, run_baselines


@pytest.mark.parametrize("task", ["cdr0", "3class"])
def test_ridge_of_many_shuffles_is_ridge_of_each(task: str) -> None:
    ds = datasets.phantoms(seed=1, n_subjects=40, slices=2, image_size=32, task=task)
    pixels, folds = _standard(ds.images), folds_of(ds, "subject", 0)
    rng = np.random.default_rng(0)
    shuffles = np.stack([ds.labels, *(rng.permutation(ds.labels) for _ in range(2))])
    found = _ridge_of_shuffles(pixels, shuffles, folds)
    for labels, guess in zip(shuffles, found, strict=True):
        assert (
            guess == _ridge(pixels, labels, folds)
        ).mean() > 0.98  # float32: an image on the line may fall either way


def test_shuffled_labels_are_a_mean_with_a_range() -> None:
    ds = datasets.phantoms(seed=0, n_subjects=30, slices=2, image_size=32, task="cdr0")
    rows = run_baselines(ds)
    shuffled = [row for row in rows if row.shuffled]
    assert len(shuffled) == 6 and {row.n_shuffles for row in shuffled} == {N_SHUFFLES} and N_SHUFFLES >= 20
    for row in shuffled:
        low, high = row.balanced_accuracy_range
        assert 0 <= low < row.balanced_accuracy < high <= 1
        if row.by == "subject":
            assert low < 0.5 < high, row  # nothing can be learnt about a subject that was not seen
    assert all(row.balanced_accuracy_range is None for row in rows if not row.shuffled)
    found = audit(ds)
    with pytest.warns(FutureWarning, match="'dark share' is now called 'CSF fraction'"):
        assert found.baseline("dark share", "subject") == found.baseline("CSF fraction", "subject") is not None
    assert "in 95 % of shuffles)" in str(found) and f"{N_SHUFFLES} shuffles" in found.to_html()
