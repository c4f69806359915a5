"""Splits, folds and label fractions: disjoint, stratified, nested, seeded; leaks are caught."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from simclr_mri.datasets import Dataset, DataWarning
from simclr_mri.splits import (
    LeakageError,
    LeakageWarning,
    Split,
    check_overlap,
    find_overlap,
    kfold,
    label_fractions,
    seed_split,
    split,
)


def make(counts: tuple[int, ...] = (50, 35, 14, 4), slices: int = 6, seed: int = 0) -> Dataset:
    """Subjects by class, shuffled; pixels are random, so no two images are the same."""
    rng = np.random.default_rng(seed)
    of_subject = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    labels = np.repeat(of_subject, slices)
    images = rng.integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    subjects = np.repeat([f"s{i:03d}" for i in range(len(of_subject))], slices)
    return Dataset(images, labels, [f"class{c}" for c in range(len(counts))], subjects, name="made up")


def subjects_by_class(ds: Dataset) -> list[int]:
    return ds.counts().subjects.tolist()


@pytest.mark.parametrize("fractions", [(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.2)])
def test_by_subject_is_disjoint_and_stratified(fractions: tuple[float, ...]) -> None:
    ds = make()
    parts = split(ds, fractions=fractions)
    assert len(parts) == len(fractions)
    assert sorted(np.concatenate(list(parts.indices.values()))) == list(range(len(ds)))
    for a in parts.indices:
        for b in parts.indices:
            if a < b:
                check_overlap(ds[parts.indices[a]], ds[parts.indices[b]], edited=False)
    for part, fraction in zip(parts, fractions, strict=True):
        for found, total in zip(subjects_by_class(part), (50, 35, 14, 4), strict=True):
            assert abs(found - fraction * total) < 1.5 and found >= 1


def test_same_seed_same_split() -> None:
    ds = make()
    for by in ("subject", "image"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            a, b, c = split(ds, by=by, seed=1), split(ds, by=by, seed=1), split(ds, by=by, seed=2)
        assert all(np.array_equal(a.indices[k], b.indices[k]) for k in a.indices)
        assert not np.array_equal(a.indices["test"], c.indices["test"])


def test_by_image_warns_in_words() -> None:
    with pytest.warns(LeakageWarning, match=r"100\.0% of the test images .* how well subjects are remembered"):
        parts = split(make(), by="image")
    assert "are also in train (s" in str(parts) and "are also in train (s" in parts._repr_html_()


def test_seed_split_counts() -> None:
    ds = make((100, 70, 28, 2), slices=32)
    with pytest.warns(LeakageWarning):
        train, test = seed_split(ds)
    assert (len(train), len(test)) == (5120, 1280)


def test_a_leak_is_caught() -> None:
    ds = make()[:360]
    # Edited copies are looked for in test_copies.py; of these pictures of a few gray levels, all look alike.
    half = 6 * 51 + 1  # leaves 5 of 6 slices of a subject on the other side
    with pytest.raises(LeakageError, match="1 subject of test is also in train"):
        check_overlap(ds[:half], ds[half:], edited=False)
    unnamed = ds.with_subjects(None)
    check_overlap(unnamed[:half], unnamed[half:], edited=False)
    with pytest.raises(LeakageError, match="1 image of test is in train pixel by pixel"):
        check_overlap(unnamed[:half], unnamed[half - 1 :], edited=False)
    found = find_overlap(ds[:half], ds[half:], edited=False)
    assert found.n_images_of_shared_subjects == 5 and found.n_identical == 0 and bool(found)
    assert found.share == pytest.approx(5 / (len(ds) - half))
    leaking = Split(ds, {"train": np.arange(half), "test": np.arange(half, len(ds))}, "subject", 0)
    assert any(leaking.overlaps(edited=False))


def test_few_subjects() -> None:
    with pytest.warns(DataWarning, match="class class3 has 2 subjects for 3 sets: train and test get one each"):
        parts = split(make((20, 10, 5, 2)))
    assert [subjects_by_class(part)[3] for part in parts] == [1, 0, 1]
    with pytest.raises(ValueError, match="class class1 has one subject"):
        split(make((5, 1)))
    with pytest.raises(ValueError, match="class class1 has one subject"):
        next(kfold(make((5, 1)), n_splits=2))
    with pytest.raises(ValueError, match="the data set has one subject"):
        split(make((1,)), stratify=False)
    train, test = split(make((3, 3)), fractions=(0.7, 0.3))
    assert subjects_by_class(train) == [2, 2] and subjects_by_class(test) == [1, 1]


def test_subjects_of_several_classes_that_leave_one_to_a_class_are_told() -> None:
    """Each of 13 subjects got worse; all but one have fewer slices of the first grade than of the second."""
    ds = make((13,), slices=5)
    labels = np.ones(len(ds), np.int64)
    for i in range(13):
        labels[5 * i : 5 * i + (4 if i == 0 else 2)] = 0
    ds = Dataset(ds.images, labels, ["Non", "Mild"], ds.subjects, name="made up")
    told = r"class Non has one subject \(of its 13 subjects 12 have as many or more images in another class and count"
    for attempt in (lambda: split(ds), lambda: next(kfold(ds, n_splits=2))):
        with pytest.raises(ValueError, match=told) as error:
            attempt()
        assert "Leave it out; stratify=False" in str(error.value) and "--" not in str(error.value)


def test_refusals() -> None:
    ds = make()
    with pytest.raises(ValueError, match="subjects of this data set are unknown"):
        split(ds.with_subjects(None))
    with pytest.raises(ValueError, match="'subject' or 'image'"):
        split(ds, by="slice")
    for fractions in [(1.0,), (0.9, 0.2), (0.5, 0.5, 0.0)]:
        with pytest.raises(ValueError, match="fractions"):
            split(ds, fractions=fractions)
    with pytest.raises(ValueError, match="empty"):
        split(ds[:0])
    with pytest.raises(ValueError, match="n_splits"):
        kfold(ds, n_splits=1)


def test_unlabelled_splits_by_subject() -> None:
    train, val, test = split(make().unlabelled())
    assert not set(train.subjects) & set(val.subjects) | set(train.subjects) & set(test.subjects)


def test_kfold_tests_everyone_once_a_repeat() -> None:
    ds = make((50, 35, 14, 5))
    folds = list(kfold(ds, n_splits=5, repeats=2, seed=3))
    assert len(folds) == 10
    for repeat in (folds[:5], folds[5:]):
        assert sorted(np.concatenate([f.indices["test"] for f in repeat])) == list(range(len(ds)))
    for train, test in folds:
        check_overlap(train, test, edited=False)
        np.testing.assert_allclose(subjects_by_class(test), [10, 7, 2.8, 1], atol=0.81)
    sizes = [len(np.unique(f.test.subjects)) for f in folds]
    assert max(sizes) - min(sizes) <= 1
    assert not np.array_equal(folds[0].indices["test"], folds[5].indices["test"])
    with pytest.warns(DataWarning, match="only 2 of 5 folds"):
        kfold(make((20, 10, 5, 2)))


@pytest.mark.parametrize("by", ["subject", "image"])
def test_fractions_nest_and_keep_every_class(by: str) -> None:
    ds = make((50, 35, 14, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        chosen = label_fractions(ds, (1.0, 0.01, 0.2, 0.1, 0.5), by=by, seed=5)
    assert list(chosen) == [1.0, 0.01, 0.2, 0.1, 0.5]
    for small, large in [(0.01, 0.1), (0.1, 0.2), (0.2, 0.5), (0.5, 1.0)]:
        assert set(chosen[small]) < set(chosen[large])
    assert len(chosen[1.0]) == len(ds)
    for fraction, index in chosen.items():
        part = ds[index]
        assert set(part.labels) == {0, 1, 2, 3}
        n = part.n_subjects if by == "subject" else len(part)
        total = ds.n_subjects if by == "subject" else len(ds)
        assert n == max(4, round(fraction * total) if by == "subject" else int(np.ceil(fraction * total)))
        if by == "subject":
            whole = Counter(ds.subjects)
            assert all(whole[s] == k for s, k in Counter(part.subjects).items())
        if fraction >= 0.1:
            units = part.counts().subjects if by == "subject" else part.counts().images
            every = ds.counts().subjects if by == "subject" else ds.counts().images
            np.testing.assert_allclose(units, every * fraction, atol=1.6)
    again = label_fractions(ds, (0.1,), by=by, seed=5)[0.1]
    assert np.array_equal(again, chosen[0.1])
    assert not np.array_equal(label_fractions(ds, (0.1,), by=by, seed=6)[0.1], again)


def test_fractions_of_the_published_recipe() -> None:
    ds = make((100, 70, 28, 2), slices=32)
    with pytest.warns(LeakageWarning):
        train, _ = seed_split(ds)
    sizes = [len(index) for index in label_fractions(train, by="image").values()]
    assert sizes == [52, 512, 1024, 2560, 5120]


def test_fractions_warn_and_refuse() -> None:
    with pytest.warns(DataWarning, match=r"0\.01 of 103 subjects would be 1\.0: 4 are taken"):
        label_fractions(make(), (0.01,))
    with pytest.raises(ValueError, match="no labels"):
        label_fractions(make().unlabelled())
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        label_fractions(make(), (0.0,))


def test_kfold_keeps_some_for_validation() -> None:
    ds = make((20, 10, 2))
    with pytest.warns(DataWarning, match="only 2 of 5 folds test it"):
        folds, plain = (list(kfold(ds, n_splits=5, seed=1, val=share)) for share in (0.2, 0.0))
    for fold in folds:
        assert list(fold.indices) == ["train", "val", "test"] and not any(fold.overlaps(edited=False))
        assert sum(len(index) for index in fold.indices.values()) == len(ds)
        train, val, test = fold
        assert set(train.labels) == {0, 1, 2} and {0, 1} <= set(val.labels)
        left = train.n_subjects + val.n_subjects
        assert abs(val.n_subjects - 0.2 * left) <= 1
        if 2 in test.labels:  # the one that is left is for training
            assert 2 not in val.labels
    assert all((a.indices["test"] == b.indices["test"]).all() for a, b in zip(folds, plain, strict=True))
    with pytest.raises(ValueError, match="val: expected a share"):
        kfold(make((20, 10)), n_splits=5, val=1.0)
