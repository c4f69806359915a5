"""Other slices of a subject as positives and as no negatives, and views that keep sizes."""

from __future__ import annotations

import numpy as np
import pytest

from reference.loss import ntxent, ntxent_gradient, standardize
from simclr_mri import SimCLR, _core, datasets
from simclr_mri.datasets import Dataset
from simclr_mri.learning import read_checkpoint as load_checkpoint
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.views import Pairs, Preprocess, augmented_batch
from simclr_mri.views._batches import VIEWS
from simclr_mri.views._pairs import neighbours, stack_partners

TINY = {"arch": "resnet18", "verbose": 0, "batch_size": 8, "warmup_epochs": 0, "lr": 0.02, "knn_every": 0, "epochs": 1}


def stacks(n_subjects: int = 5, n_slices: int = 4, **options) -> Dataset:
    n = n_subjects * n_slices
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32), np.uint8)
    return Dataset(images, subjects=np.repeat([f"s{i}" for i in range(n_subjects)], n_slices), **options)


def test_neighbours_by_number():
    rng = np.random.default_rng(3)
    ds = stacks(slices=np.tile(np.arange(4), 5))[rng.permutation(20)]
    for i, (same, before, after) in enumerate(neighbours(ds)):
        assert same == i
        for j, step in ((before, -1), (after, 1)):
            level = ds.slices[i] + step
            if 0 <= level < 4:
                assert ds.subjects[j] == ds.subjects[i] and ds.slices[j] == level
            else:
                assert j == -1


def test_neighbours_by_file_name():
    ds = stacks(1, 3, files=["a/s_10.png", "a/s_9.png", "a/s_11.png"])
    assert neighbours(ds).tolist() == [[0, 1, 2], [1, -1, 0], [2, 0, -1]]


def test_a_slice_that_is_not_there_parts_its_neighbours():
    ds = stacks(1, 4, slices=[1, 2, 3, 4])[[0, 2, 3]]
    assert neighbours(ds).tolist() == [[0, -1, -1], [1, -1, 2], [2, 1, -1]]


def test_second_views_are_each_row_once_and_never_the_same():
    ds = stacks(slices=np.tile(np.arange(4), 5))
    pairs, table = Pairs(ds, "adjacent", False, 7), neighbours(ds)
    indices, seen = np.random.default_rng(1).permutation(20)[:16], []
    parts = pairs.second_views(indices, epoch=3)
    for view, rows, shown in parts:
        assert (shown == table[indices[rows], view - 1]).all() and (shown >= 0).all()
        seen += [(view, s) for s in shown]
    assert sorted(np.concatenate([rows for _, rows, _ in parts])) == list(range(16)) and len(set(seen)) == 16
    again = Pairs(ds, "adjacent", False, 7).second_views(indices, epoch=3)
    assert all((a[2] == b[2]).all() for a, b in zip(parts, again, strict=True))
    counts = np.zeros(3)
    for epoch in range(200):
        for view, rows, _ in pairs.second_views(np.arange(20), epoch):
            counts[view - 1] += len(rows)
    # 10 slices with two neighbours, 10 with one: 10 / 3 + 10 / 2 are themselves; 4 standard deviations of 4,000 draws.
    expected = np.array([10 / 3 + 5, 10 / 3 + 2.5, 10 / 3 + 2.5]) * 200
    assert (np.abs(counts - expected) < 4 * np.sqrt(1000)).all()


def test_partners_of_one_subject_are_any_of_its_slices():
    rng = np.random.default_rng(2)
    ds = stacks(slices=np.tile(np.arange(4), 5))[rng.permutation(20)[:17]]  # some stacks lack slices
    table = stack_partners(ds)
    for i, row in enumerate(table):
        mine = np.flatnonzero(ds.subjects == ds.subjects[i])
        assert row[0] == i and sorted(row[row >= 0]) == mine.tolist()
    for column in table.T:  # no two rows show the same view
        assert len(set(column[column >= 0])) == (column >= 0).sum()
    pairs, seen = Pairs(ds, "same_subject", True, 7), np.zeros(table.shape)
    for epoch in range(300):
        parts = pairs.second_views(np.arange(17), epoch)
        assert sorted(np.concatenate([rows for _, rows, _ in parts])) == list(range(17))
        for view, rows, shown in parts:
            assert (shown == table[rows, view - 1]).all()
            seen[rows, view - 1] += 1
    there = table >= 0
    expected = (300 / there.sum(axis=1))[:, None] * there
    assert (np.abs(seen - expected) < 4.5 * np.sqrt(300) / 2).all()


def test_simclr_learns_from_slices_of_one_subject():
    ds = datasets.phantoms(seed=1, n_subjects=8, slices=3, image_size=32)
    options = {**TINY, "positives": "same_subject", "exclude_same_subject": True, "views": "intensity"}
    first, second = (SimCLR(**options).fit(ds.unlabelled()).transform(ds) for _ in range(2))
    assert (first == second).all() and np.isfinite(first).all()


def test_intensity_views_keep_sizes():
    """The view of a bright square on black is as large as the square, wherever it is turned and shifted."""
    assert "scale" not in VIEWS["intensity"] and "ratio" not in VIEWS["intensity"]
    image = np.zeros((1, 64, 64, 1), np.uint8)
    image[0, 22:42, 22:42] = 200
    plain = Preprocess((0.0,), (1.0,))
    for epoch in range(20):
        view = augmented_batch(image, np.array([0]), "intensity", plain, seed=1, epoch=epoch)[0, :, :, 0]
        area = (view > (view.max() + np.median(view)) / 2).sum()
        assert 360 <= area <= 440


def test_the_same_slice_is_one_part():
    pairs = Pairs(stacks(), "same_slice", False, 0)
    ((view, rows, shown),) = pairs.second_views(np.array([4, 2]), 0)
    assert view == 1 and rows.tolist() == [0, 1] and shown.tolist() == [4, 2] and pairs.groups(shown) is None


def test_unknown_subjects_are_named():
    ds = Dataset(np.zeros((8, 32, 32), np.uint8))
    for options, name in (
        ({"positives": "adjacent"}, "positives='adjacent'"),
        ({"positives": "same_subject"}, "positives='same_subject'"),
        ({"exclude_same_subject": True}, "exclude"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*subjects of the training images are unknown"):
            SimCLR(**TINY, **options).fit(ds)


def test_the_trainer_excludes_groups_as_the_reference_does():
    """Loss and its gradient: the last bias has the sum of the rows of d loss / d embedding."""
    rng = np.random.default_rng(0)
    network = _core.Network(18, image_size=32, head=[(12, 0.0, False)], head_name="projection", n_threads=1)
    trainer = _core.Trainer(network, batch=12)
    views = rng.normal(size=(12, 32, 32, 1)).astype(np.float32)
    groups = np.tile([0, 1, 1, 2, 0, 1], 2).astype(np.int32)
    step = {"lr": 0.0, "momentum": 0.0, "temperature": 0.2, "seed": 0, "step": 0}
    bias = next(name for name, shape, _, _ in network.table if name.startswith("projection") and len(shape) == 1)
    for chosen in (None, groups):
        loss = trainer.simclr_step(views, **step, groups=chosen)["loss"]
        z = trainer.output()
        assert loss == pytest.approx(ntxent(z, 0.2, chosen), rel=1e-5)
        want = ntxent_gradient(z, 0.2, chosen).sum(axis=0)
        np.testing.assert_allclose(trainer.gradients()[bias], want, atol=1e-5 * np.abs(want).max() + 1e-7)


def test_simclr_trains_on_neighbours_without_their_subjects_as_negatives(monkeypatch, tmp_path):
    ds = datasets.phantoms(seed=1, n_subjects=8, slices=4, image_size=32)
    seen = []
    plain = SimCLRTask.step

    def step(self, indices, epoch, number, lr, momentum):
        plain(self, indices, epoch, number, lr, momentum)
        seen.append((indices.copy(), self._views.copy(), self.result["loss"], self.trainer.output(), self.chance))

    monkeypatch.setattr(SimCLRTask, "step", step)
    options = {**TINY, "positives": "adjacent", "exclude_same_subject": True, "random_state": 5}
    ssl = SimCLR(**options).fit(ds, checkpoint=tmp_path)
    indices, views, loss, z, chance = seen[0]
    groups = np.tile(np.unique(ds.subjects, return_inverse=True)[1][indices], 2)
    assert loss == pytest.approx(ntxent(standardize(z), ssl.temperature, groups), rel=1e-5)
    kept = [2 + (groups != g).sum() - 1 for g in groups]  # the positive, and the others
    assert chance == pytest.approx(np.mean(np.log(kept)))
    table, preprocess = neighbours(ds), Preprocess.of(ds.images, True)
    drawn = [
        [
            augmented_batch(ds.images, table[[i], k], "mri", preprocess, seed=5, epoch=0, view=1 + k)[0]
            for k in range(3)
            if table[i, k] >= 0
        ]
        for i in indices
    ]
    choice = [[np.array_equal(view, views[8 + row]) for view in options] for row, options in enumerate(drawn)]
    assert all(sum(row) == 1 for row in choice) and len({row.index(True) for row in choice}) > 1
    assert load_checkpoint(tmp_path).config["positives"] == "adjacent"


def test_a_run_from_before_an_option_goes_on(tmp_path):
    """An option that a checkpoint does not know had its default."""
    ds = stacks()
    ssl = SimCLR(**TINY).fit(ds, checkpoint=tmp_path)
    del ssl._config["positives"]
    ssl.save(tmp_path)
    SimCLR(**TINY).fit(ds, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="positives='same_slice' \\(now 'adjacent'\\)"):
        SimCLR(**TINY, positives="adjacent").fit(ds, checkpoint=tmp_path)
