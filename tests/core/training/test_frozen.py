"""Frozen stages, and learning rates by stage."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import _core

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
STEP = {"momentum": 0.9, "seed": 3, "step": 0}
X = np.random.default_rng(0).normal(size=(8, 32, 32, 1)).astype(np.float32)
Y = (np.arange(8) % 4).astype(np.int32)


def tiny(dropout: float = 0.3) -> _core.Network:
    """With running statistics that are not those of a new network, nor of these images."""
    network = _core.Network(18, image_size=32, head=[(4, dropout, False)], n_threads=2)
    trainer = _core.Trainer(network, batch=8, bn_momentum=1.0)
    trainer.supervised_step(0.5 * X + 0.3, Y, lr=0.0, **STEP)
    return network


def stage_of(name: str) -> str:
    first = name.partition(".")[0]
    return "head" if first == "fc" else first if first.startswith("layer") else "stem"


def stepped(lr: float = 0.05, rho: float = 0.0, **options) -> tuple[dict, dict, _core.Trainer]:
    """State before and after two steps."""
    network = tiny()
    before = network.state()
    trainer = _core.Trainer(network, batch=8, weight_decay=0.1, **options)
    for step in range(2):
        trainer.supervised_step(X, Y, lr=lr, rho=rho, **{**STEP, "step": step})
    return before, network.state(), trainer


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))  # bits: -0 is not 0


@pytest.mark.parametrize(
    ("n", "options"),
    [
        (1, {"optimizer": "adamw"}),
        (2, {"sharpness": "sam", "rho": 0.05}),
        (3, {"optimizer": "adamw", "sharpness": "asam-authors", "rho": 0.5, "bn_groups": 2}),
        (4, {"micro_batch": 4}),
        (5, {"precision": "bf16"}),
    ],
)
def test_frozen_stages_stay_as_they_are_and_the_others_learn(n, options):
    before, after, trainer = stepped(frozen_stages=n, **options)
    frozen = {name for name in before if stage_of(name) in STAGES[:n]}
    assert {name for name in before if same(before[name], after[name])} == frozen
    gradients = trainer.gradients()
    assert {name for name, gradient in gradients.items() if not gradient.any()} == frozen & gradients.keys()


def test_a_frozen_network_is_the_network_that_predicts():
    """Running statistics, whatever the batch."""
    network = tiny(dropout=0.0)
    expected = network.forward(X)
    trainer = _core.Trainer(network, batch=8, frozen_stages=5)
    trainer.supervised_step(X, Y, lr=0.0, **STEP)
    np.testing.assert_allclose(trainer.output(), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw"}, {"sharpness": "asam", "rho": 0.1}])
def test_a_stage_with_a_rate_moves_as_with_that_rate(options):
    """The first step's gradients are the same, so each stage's weights are those of a run with its rate, to the bit."""

    def one(lr: float, rates: list[float] | None) -> dict[str, np.ndarray]:
        network = tiny()
        rho = {"rho": options["rho"]} if "rho" in options else {}
        chosen = {name: value for name, value in options.items() if name != "rho"}
        trainer = _core.Trainer(network, batch=8, weight_decay=0.1, stage_rates=rates, **chosen)
        trainer.supervised_step(X, Y, lr=lr, **rho, **STEP)
        return network.state()

    rates = [0.0, 0.5, 0.5, 0.5, 1.0, 1.0]
    found = one(0.05, rates)
    for rate in sorted(set(rates)):
        expected = one(0.05 * rate, None) if rate else tiny().state()
        stages = {stage for stage, r in zip((*STAGES, "head"), rates, strict=True) if r == rate}
        names = [name for name in found if stage_of(name) in stages and "running" not in name]
        assert names and all(same(found[name], expected[name]) for name in names), rate
        plain = expected
    assert all(same(plain[name], array) for name, array in one(0.05, [1.0] * 6).items())
    assert all(same(plain[name], found[name]) for name in found if "running" in name)  # of the same first pass


def test_frozen_stages_take_less_memory():
    network = _core.Network(18, image_size=128, head=[(4, 0.0, False)])
    bytes_of = [network.memory_bytes("train", 8, frozen_stages=n) for n in range(6)]
    assert bytes_of == sorted(bytes_of, reverse=True) and bytes_of[4] < 0.6 * bytes_of[0]
    trainers = [_core.Trainer(network, batch=8, frozen_stages=n).memory_bytes for n in (0, 4)]
    assert trainers[0] - trainers[1] > 0.9 * (bytes_of[0] - bytes_of[4])  # the rates take a few bytes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frozen_stages": 6}, "frozen_stages: expected 0 to 5"),
        ({"stage_rates": [1.0] * 5}, "stage_rates: expected 6 numbers, got 5"),
        ({"stage_rates": [1.0] * 5 + [-1.0]}, "stage_rates: expected finite numbers of 0 or more, got -1"),
        ({"stage_rates": [float("nan")] * 6}, "stage_rates: expected finite numbers"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        _core.Trainer(tiny(), batch=8, **options)
    with pytest.raises(ValueError, match="and 0 outside training, got 1"):
        tiny().memory_bytes("infer", 8, frozen_stages=1)
