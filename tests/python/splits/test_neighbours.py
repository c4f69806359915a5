"""The search by cells finds what comparing all with all finds, but for unlike pairs."""

from __future__ import annotations

import numpy as np

from simclr_mri.splits import Cells


def rows_of(n_groups: int, size: int, seed: int = 0) -> np.ndarray:
    """Unit rows in chains, each row like the next of its chain."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n_groups, size + 3, 40))
    rows = sum(steps[:, i : i + size] for i in range(4)).reshape(-1, 40)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_rows_are_those_of_all_pairs():
    rows = rows_of(60, 20)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -2)
    expected = likeness.argmax(axis=1)
    found, values = Cells(rows).nearest(rows, 5, np.arange(len(rows)))
    assert (found[:, 0] == expected).mean() > 0.97
    assert np.allclose(values, np.take_along_axis(likeness, found, 1), atol=1e-6)
    assert (np.diff(values, axis=1) <= 0).all() and not (found == np.arange(len(rows))[:, None]).any()
    again, _ = Cells(rows).nearest(rows, 5, np.arange(len(rows)))
    assert np.array_equal(found, again)


def test_other_rows_may_ask_and_few_rows_give_few_neighbours():
    rows = rows_of(1, 3)
    found, values = Cells(rows).nearest(rows[:2], 4)
    assert found[:, 0].tolist() == [0, 1] and np.allclose(values[:, 0], 1) and (values[:, 3] == -2).all()
    alone, none = Cells(rows[:1]).nearest(rows[:1], 2, np.array([0]))
    assert alone.shape == (1, 2) and (none == -2).all()
