"""A pass over fewer images than its plan has room for: the bits of a plan made for just so many.

tests/test_parity_torch.py compares incomplete batches with PyTorch.
"""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import _core

STEP = {"lr": 0.01, "momentum": 0.9, "seed": 3}
SIZE = 64


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, SIZE, SIZE, 1)).astype(np.float32)


def network(depth: int, n_threads: int) -> _core.Network:
    head = [(8, 0.3, True), (4, 0.0, False)]
    return _core.Network(depth, image_size=SIZE, head=head, head_name="h", n_threads=n_threads)


def bits(net: _core.Network, trainer: _core.Trainer) -> dict[str, np.ndarray]:
    gradients = {f"gradient of {name}": value for name, value in trainer.gradients().items()}
    return {**net.state(), **trainer.state(), **gradients, "output": trainer.output()}


# With 4 images layer3 falls below six of Winograd's tiles and takes another method; 6 are cut into other parts than 8.
@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training(depth, precision):
    x, y = images(8), np.arange(8, dtype=np.int32) % 4
    large = network(depth, 2)
    trainer = _core.Trainer(large, batch=8, bn_groups=2, precision=precision)
    for n in (6, 4):
        small = network(depth, 1)
        small.load(large.state())
        exact = _core.Trainer(small, batch=n, bn_groups=2, precision=precision)
        exact.load(trainer.state())
        results = [t.supervised_step(x[:n], y[:n], **STEP, step=n) for t in (trainer, exact)]
        assert results[0] == results[1]
        found, expected = bits(large, trainer), bits(small, exact)
        assert found.keys() == expected.keys()
        assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_inference(precision):
    net, x = network(50, 2), images(40)
    for n in (1, 7, 33):
        whole = net.forward(x[: n + 40 % n], batch_size=n, precision=precision)
        assert np.array_equal(whole[:n], net.forward(x[:n], batch_size=n, precision=precision))
        rest = net.forward(x[n : n + 40 % n], batch_size=max(40 % n, 1), precision=precision)
        assert np.array_equal(whole[n:], rest)
