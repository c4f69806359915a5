"""LARS (You et al., arXiv:1708.03888, equation 6) against NumPy in float64, written from the paper."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import SimCLR, _core, datasets

X = np.random.default_rng(0).normal(size=(8, 32, 32, 1)).astype(np.float32)
RATES = {"layer2": 0.5, "layer3": 0.5, "fc": 2.0}
Y = (np.arange(8) % 4).astype(np.int32)


def reference(w, g, m, lr, momentum, decay, adapts):
    w, g, m = (a.astype(np.float64) for a in (w, g, m))
    of_w, of_g = np.linalg.norm(w), np.linalg.norm(g)
    rate = 0.001 * of_w / (of_g + decay * of_w) if adapts and of_w > 0 and of_g > 0 else 1.0
    m = momentum * m + rate * (g + (decay if adapts else 0.0) * w)
    return w - lr * m, m


def stepped(n_threads: int = 1, **options) -> tuple[_core.Network, _core.Trainer, list]:
    """Two steps: the second has momentum. [(weights before, gradients, momentum before)] of each."""
    network = _core.Network(18, image_size=32, head=[(4, 0.0, False)], n_threads=n_threads)
    trainer = _core.Trainer(network, batch=8, optimizer="lars", weight_decay=0.01, **options)
    rho = {"rho": 0.05} if "sharpness" in options else {}
    seen = []
    for step in range(2):
        before, moments = network.state(), trainer.state()
        trainer.supervised_step(X, Y, lr=0.5, momentum=0.9, seed=0, step=step, **rho)
        seen.append((before, trainer.gradients(), moments))
    return network, trainer, seen


@pytest.mark.parametrize("options", [{}, {"sharpness": "sam"}, {"stage_rates": [1.0, 1.0, 0.5, 0.5, 1.0, 2.0]}])
def test_a_step_is_that_of_the_paper(options):
    network, trainer, seen = stepped(**options)
    before, gradients, moments = seen[-1]
    after, now = network.state(), trainer.state()
    decays = {name: d for name, _, is_buffer, d in network.table if not is_buffer}
    for name, adapts in decays.items():
        factor = (
            {"layer2": 0.5, "layer3": 0.5, "fc": 2.0}.get(name.split(".")[0], 1.0) if "stage_rates" in options else 1.0
        )
        momentum = moments[f"momentum/{name}"]
        w, m = reference(before[name], gradients[name], momentum, 0.5 * factor, 0.9, 0.01, adapts)
        np.testing.assert_allclose(after[name], w, rtol=2e-6, atol=2e-7 * np.abs(w).max() + 1e-9, err_msg=name)
        np.testing.assert_allclose(
            now[f"momentum/{name}"], m, rtol=1e-5, atol=1e-6 * np.abs(m).max() + 1e-12, err_msg=name
        )


def test_the_same_bits_with_any_number_of_threads():
    one, two = (stepped(n)[0].state() for n in (1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_weight_that_is_zero_takes_the_plain_step():
    network = _core.Network(18, image_size=32, head=[(4, 0.0, False)])
    network.load({**network.state(), "fc.weight": np.zeros((4, 512), np.float32)})
    trainer = _core.Trainer(network, batch=8, optimizer="lars")
    trainer.supervised_step(X, Y, lr=0.5, momentum=0.9, seed=0, step=0)
    np.testing.assert_allclose(network.tensor("fc.weight"), -0.5 * trainer.gradients()["fc.weight"], rtol=1e-6)


def test_simclr_with_lars_learns_and_goes_on():
    ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32)
    options = {"optimizer": "lars", "epochs": 4, "batch_size": 16, "warmup_epochs": 1, "verbose": 0}
    ssl = SimCLR("resnet18", **options)
    assert ssl.effective_lr() == pytest.approx(0.075 * 4)
    assert ssl.fit(ds).history_[-1]["loss"] < ssl.history_[0]["loss"]
