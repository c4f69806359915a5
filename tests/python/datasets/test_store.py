"""A data set does not change, its subsets share its pixels, and what is asked of it costs what it needs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from simclr_mri import datasets, split
from simclr_mri.datasets import Dataset
from simclr_mri.views import Preprocess, augmented_batch, plain_batch


@pytest.fixture
def ds() -> Dataset:
    return datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")


def test_arrays_of_the_caller_may_change_afterwards():
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 0, 1, 1])
    subjects, slices = np.array(["a", "a", "b", "b"]), np.arange(4)
    masks = {"head": np.zeros((4, 8, 8), bool)}
    ds = Dataset(images, labels, ("x", "y"), subjects, masks=masks, slices=slices)
    before = ds.fingerprint()
    images[:], labels[:], subjects[:], slices[:], masks["head"][:] = 7, 0, "z", 9, True
    fresh = ds[np.arange(4)]
    assert fresh.fingerprint() == before and ds.images.max() == 0 and ds.labels.tolist() == [0, 0, 1, 1]
    assert list(ds.subjects) == ["a", "a", "b", "b"] and ds.slices.tolist() == [0, 1, 2, 3]
    assert not ds.masks["head"].any()


@pytest.mark.parametrize("name", ["labels", "classes", "subjects", "slices"])
@pytest.mark.parametrize("of", ["whole", "subset"])
def test_what_a_split_was_made_of_cannot_be_reassigned(ds, name, of):
    target = ds if of == "whole" else ds[:4]
    with pytest.raises(AttributeError, match="does not change"):
        setattr(target, name, None)
    if name != "classes":
        with pytest.raises(ValueError, match="read-only"):
            getattr(target, name)[0] = getattr(target, name)[0]
    with pytest.raises(ValueError, match="read-only"):
        target.images[0] = 0


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda x: np.array(x, dtype=object)])
def test_files_in_any_container(make):
    assert Dataset(np.zeros((2, 4, 4), np.uint8), files=make(["a.png", "b.png"])).files == ("a.png", "b.png")


def test_files_as_a_column_of_a_frame():
    pandas = pytest.importorskip("pandas", reason="a column of a table")
    frame = pandas.DataFrame({"file": ["a.png", "b.png"], "label": [0, 1]}, index=[7, 9])
    ds = Dataset(np.zeros((2, 4, 4), np.uint8), frame["label"], ("x", "y"), files=frame["file"])
    assert ds.files == ("a.png", "b.png") and ds.labels.tolist() == [0, 1]


def test_a_pickled_subset_carries_its_own_images(ds):
    big = Dataset(np.random.default_rng(0).integers(0, 255, (500, 32, 32), dtype=np.uint8))
    assert len(pickle.dumps(big[:1])) < 10_000
    chosen = [3, 1, 8]
    again = pickle.loads(pickle.dumps(ds[chosen]))
    assert again.fingerprint() == ds[chosen].fingerprint() and np.array_equal(again.images, ds.images[chosen])
    assert all(np.array_equal(again.masks[k], ds.masks[k][chosen]) for k in ds.masks)
    assert again[1:].files == ds[chosen][1:].files


def test_a_pickled_subset_of_a_memory_map_carries_its_path(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (300, 32, 32, 1), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", images)
    ds = Dataset(np.load(tmp_path / "pixels.npy", mmap_mode="r"), copy=False)
    assert ds.fingerprint() == Dataset(images).fingerprint()
    sent = pickle.dumps(ds[[5, 2]])
    assert len(sent) < 10_000 and np.array_equal(pickle.loads(sent).images, images[[5, 2]])
    assert len(pickle.dumps(ds)) < 10_000 and pickle.loads(pickle.dumps(ds)).fingerprint() == ds.fingerprint()


def test_parts_of_a_split_are_made_once_and_share_the_pixels(ds):
    parts = split(ds)
    assert parts.train is parts.train and parts["test"] is parts.test and next(iter(parts)) is parts.train
    assert parts.train[:3]._store is ds._store
    with pytest.raises(KeyError, match="train, val, test"):
        parts["training"]


def test_splits_compare_by_value(ds):
    assert split(ds, seed=1) == split(ds, seed=1)
    assert split(ds, seed=1) != split(ds, seed=2) and split(ds) != 3


@pytest.mark.parametrize("channels", [1, 3])
def test_views_of_a_subset_are_those_of_its_images(channels):
    ds = datasets.phantoms(n_subjects=12, slices=2, image_size=32)
    if channels == 3:
        ds = Dataset(np.repeat(ds.images, 3, axis=3), ds.labels, ds.classes, ds.subjects)
    subset = ds[[5, 3, 9, 14, 2]]
    preprocess = Preprocess.of(subset, True)
    assert preprocess == Preprocess.of(subset.images, True)
    pixels = subset.images / 255.0
    assert np.allclose(preprocess.mean, pixels.mean(axis=(0, 1, 2))) and np.allclose(
        preprocess.std, pixels.std(axis=(0, 1, 2))
    )
    rows = np.array([4, 0, 2])
    assert np.array_equal(plain_batch(subset, rows, preprocess), plain_batch(subset.images, rows, preprocess))
    options = {"seed": 3, "epoch": 2, "view": 1}
    ours = augmented_batch(subset, rows, "mri", preprocess, **options)
    assert np.array_equal(ours, augmented_batch(subset.images, rows, "mri", preprocess, **options))
    assert np.array_equal(subset.take(rows), subset.images[rows])


def test_going_over_a_subset_in_chunks(monkeypatch):
    from simclr_mri.datasets import _store

    images = np.random.default_rng(1).integers(0, 255, (50, 16, 16, 1), dtype=np.uint8)
    images[7] = 3
    whole, rows = Dataset(images), np.array([9, 7, 7, 30, 2])
    expected = (whole[rows].fingerprint(), whole.histogram(), Dataset(images[rows]).image_keys())
    monkeypatch.setattr(_store, "CHUNK_BYTES", 600)  # two images
    again = Dataset(images)
    keys, is_flat = again[rows].image_keys()
    assert again[rows].fingerprint() == expected[0] and np.array_equal(again.histogram(), expected[1])
    assert np.array_equal(keys, expected[2][0]) and is_flat.tolist() == [False, True, True, False, False]
