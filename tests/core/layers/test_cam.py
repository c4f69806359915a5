"""Class activation maps and their enlargement."""

from __future__ import annotations

import numpy as np
import pytest

import reference.cam as reference
from simclr_mri import _core


def stage(n: int = 3, rows: int = 5, cols: int = 4, channels: int = 21) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([rows, cols, channels])
    activations = np.maximum(rng.standard_normal((n, rows, cols, channels)), 0)
    gradients = rng.standard_normal(activations.shape) * (rng.random(activations.shape) > 0.2)
    return activations.astype(np.float32), gradients.astype(np.float32)


@pytest.mark.parametrize("method", reference.METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 4, 64), (5, 4, 21), (3, 7, 2)])
def test_maps(method, shape):
    activations, gradients = stage(3, *shape)
    maps = _core.cam_map(activations, gradients, method)
    for a, g, got in zip(activations.astype(np.float64), gradients.astype(np.float64), maps, strict=True):
        want = reference.METHODS[method](a, g)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * max(1e-30, np.abs(want).max()))
    for n_threads in (2, 3):
        assert np.array_equal(_core.cam_map(activations, gradients, method, n_threads=n_threads), maps)


@pytest.mark.parametrize("method", reference.METHODS)
def test_normalised_maps(method):
    activations, gradients = stage()
    plain, scaled = (_core.cam_map(activations, gradients, method, normalise=flag) for flag in (False, True))
    low, high = plain.min(axis=(1, 2), keepdims=True), plain.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(scaled, (plain - low) / (high - low), atol=1e-6)
    assert scaled.min() == 0 and abs(scaled.max() - 1) < 1e-6
    zero = np.zeros_like(activations)
    assert not _core.cam_map(zero, zero, method, normalise=True).any()
    assert (_core.cam_map(activations, -np.ones_like(gradients), "gradcam", normalise=True) == 0).all()


def test_one_channel_that_matters():
    """A score that is the mean of one channel: every gradient method shows that channel and nothing else."""
    activations, gradients = stage()
    gradients[:] = 0
    gradients[..., 5] = 1 / 20
    for method in ("gradcam", "hirescam", "layercam"):
        np.testing.assert_allclose(_core.cam_map(activations, gradients, method), activations[..., 5] / 20, rtol=1e-6)


def test_eigencam_of_a_rank_one_stage_and_of_negative_activations():
    place, channel = np.arange(1, 13, dtype=np.float32).reshape(3, 4), np.linspace(0.1, 1, 9, dtype=np.float32)
    activations = (place[..., None] * channel)[None]
    for signed in (activations, -activations):
        got = _core.cam_map(signed, None, "eigencam")
        np.testing.assert_allclose(got[0], place * np.linalg.norm(channel), rtol=1e-6)


@pytest.mark.parametrize(
    "size", [(4, 4, 128, 128), (8, 8, 128, 128), (4, 5, 9, 7), (1, 1, 6, 6), (7, 7, 7, 7), (8, 6, 4, 3)]
)
def test_upsample(size):
    rows, cols, out_rows, out_cols = size
    maps = np.random.default_rng(size).standard_normal((2, rows, cols)).astype(np.float32)
    got = _core.upsample(maps, out_rows, out_cols, n_threads=2)
    np.testing.assert_allclose(got, reference.upsample(maps, out_rows, out_cols), atol=1e-6)


@pytest.mark.parametrize("size", [(4, 4, 128, 128), (4, 5, 9, 7), (8, 6, 4, 3)])
def test_upsample_as_in_pytorch(size):
    torch = pytest.importorskip("torch")
    rows, cols, out_rows, out_cols = size
    maps = np.random.default_rng(size).standard_normal((2, rows, cols)).astype(np.float32)
    want = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], (out_rows, out_cols), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(_core.upsample(maps, out_rows, out_cols), want[:, 0].numpy(), atol=1e-6)


def test_errors():
    activations, gradients = stage()
    with pytest.raises(ValueError, match="unknown method 'scorecam': expected gradcam, gradcam"):
        _core.cam_map(activations, gradients, "scorecam")
    with pytest.raises(ValueError, match="gradients: expected an array for layercam, got None"):
        _core.cam_map(activations, None, "layercam")
    with pytest.raises(ValueError, match="gradients: expected shape"):
        _core.cam_map(activations, gradients[:, :2])
