"""Phantoms: reproducible, imbalanced, graded by class with overlap, with masks that fit."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri.datasets import phantoms
from simclr_mri.datasets._phantoms._generate import REGIONS

SMALL = {"n_subjects": 8, "slices": 3, "image_size": 48}


def test_shapes_and_imbalance() -> None:
    ds = phantoms(n_subjects=200, slices=1, image_size=16)
    assert ds.images.shape == (200, 16, 16, 1) and ds.images.dtype == np.uint8
    assert ds.counts().subjects.tolist() == [100, 70, 28, 2]
    assert len(set(ds.labels[:10])) > 1
    assert phantoms(n_subjects=9, slices=1, image_size=16).counts().subjects.min() == 2
    rgb = phantoms(n_subjects=2, slices=1, image_size=16, channels=3)
    assert rgb.images.shape == (2, 16, 16, 3) and np.array_equal(rgb.images[..., 0], rgb.images[..., 2])
    assert phantoms(**SMALL, task="cdr0").classes == ("CDR_0", "CDR_above_0")


def test_the_seed_decides() -> None:
    a, b, c = phantoms(seed=1, **SMALL), phantoms(seed=1, **SMALL), phantoms(seed=2, **SMALL)
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert all(np.array_equal(a.masks[k], b.masks[k]) for k in REGIONS)


def test_masks_lie_where_they_should() -> None:
    ds = phantoms(seed=0, n_subjects=6, slices=8, image_size=96, proportions=(1, 1, 1, 1))
    masks, pixels = ds.masks, ds.images[..., 0].astype(float)
    assert set(masks) == {"cortex", "ventricles", "hippocampus", "head"}
    for name in ("cortex", "ventricles", "hippocampus"):
        assert not np.any(masks[name] & ~masks["head"]), name
    assert not np.any(masks["ventricles"] & masks["hippocampus"])
    assert not np.any(masks["ventricles"] & masks["cortex"])
    assert masks["head"].mean() > 0.3 and pixels[~masks["head"]].mean() < 12
    assert pixels[masks["ventricles"]].mean() < 0.6 * pixels[masks["cortex"]].mean()
    edge = np.concatenate([masks["head"][:, 0], masks["head"][:, -1], masks["head"][:, :, 0], masks["head"][:, :, -1]])
    assert not edge.any(), "the head is cut off"
    level = np.tile(np.arange(8), 6)
    by_level = [masks["hippocampus"][level == k].sum() for k in range(8)]
    assert by_level[0] > 0 and sum(by_level[4:]) == 0
    assert all(masks["ventricles"][level == k].any() for k in range(8))


def test_signs_grow_with_the_class_and_overlap() -> None:
    ds = phantoms(seed=0, n_subjects=80, slices=5, image_size=48, proportions=(1, 1, 1, 1))
    head = ds.masks["head"].reshape(80, -1).sum(axis=1)
    labels = ds.labels[::5]
    for name, sign in (("ventricles", 1), ("hippocampus", -1)):
        share = ds.masks[name].reshape(80, -1).sum(axis=1) / head
        means = np.array([share[labels == c].mean() for c in range(4)])
        assert np.all(np.diff(sign * means) > 0), name
        for c in range(3):
            lower, upper = sign * share[labels == c], sign * share[labels == c + 1]
            assert lower.max() > upper.min(), f"{name}: classes {c} and {c + 1} do not overlap"


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_subjects": 0},
        {"n_subjects": 3.5},
        {"slices": 0},
        {"image_size": 8},
        {"channels": 2},
        {"proportions": (1, 1)},
        {"seed": -1},
    ],
)
def test_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        phantoms(**{**SMALL, **wrong})
