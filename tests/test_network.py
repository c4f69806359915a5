"""The network: its table against torchvision's published sizes, weights in and out, bad arguments."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import _core

# Numbers of parameters that torchvision documents for its classification networks (3 channels, 1000 classes).
TORCHVISION_SIZES = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}


def images(n: int, size: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, channels)).astype(np.float32)


@pytest.mark.parametrize("depth", TORCHVISION_SIZES)
def test_number_of_parameters(depth):
    network = _core.Network(depth, image_size=32, in_channels=3, head=[(1000, 0.0, False)])
    assert network.n_parameters == TORCHVISION_SIZES[depth]
