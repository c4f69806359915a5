"""Micro-batches: the loss and gradients of a large batch from parts of it, one in memory at a time."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import SimCLR, _core, datasets

STEP = {"lr": 0.05, "momentum": 0.9, "seed": 3}
SIMCLR = {**STEP, "temperature": 0.3}
HEAD = [(24, 0.5, True), (16, 0.3, False)]


def images(n: int, seed: int = 0, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, 1)).astype(np.float32)


def tiny(**options) -> _core.Network:
    return _core.Network(18, **{"image_size": 32, "head": HEAD, "head_name": "projection", "n_threads": 1, **options})


def everything(network: _core.Network, trainer: _core.Trainer) -> dict[str, np.ndarray]:
    gradients = {"gradient/" + name: value for name, value in trainer.gradients().items()}
    return {**network.state(), **trainer.state(), **gradients, "output": trainer.output()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Of all arrays together, relative to their length."""
    square = sum(float(((a[k].astype(np.float64) - b[k]) ** 2).sum()) for k in a)
    return np.sqrt(square / sum(float((b[k].astype(np.float64) ** 2).sum()) for k in b))


def one_step(sharpness: str = "none", simclr: bool = True, **options) -> tuple[dict, _core.Network, _core.Trainer]:
    network = tiny(image_size=64)
    trainer = _core.Trainer(network, batch=12, sharpness=sharpness, **options)
    more = {"rho": 0.02 if sharpness == "sam" else 0.5} if sharpness != "none" else {}
    if simclr:
        groups = np.tile([0, 1, 1, 2, 3, 0], 2).astype(np.int32)
        result = trainer.simclr_step(images(12, size=64), **SIMCLR, step=2, groups=groups, **more)
    else:
        labels = (np.arange(12) % 16).astype(np.int32)
        result = trainer.supervised_step(images(12, size=64), labels, **STEP, step=2, **more)
    return result, network, trainer


@pytest.mark.parametrize("simclr", [True, False])
@pytest.mark.parametrize("micro_batch", [3, 6])
def test_equal_to_the_whole_batch(simclr, micro_batch):
    """Dropout, same-subject groups and all. The whole batch has the micro-batches' statistics by bn_groups.

    What is left is rounding: gradients are added in another order, and convolutions cut small batches differently. At
    32 pixels the last batch norms see micro_batch values each and amplify it a thousandfold, hence 64.
    """
    parts, whole = (
        one_step(simclr=simclr, **options)
        for options in ({"micro_batch": micro_batch}, {"bn_groups": 12 // micro_batch})
    )
    assert parts[0]["loss"] == pytest.approx(whole[0]["loss"], rel=1e-6)
    assert parts[0]["gradient_norm"] == pytest.approx(whole[0]["gradient_norm"], rel=1e-5)
    np.testing.assert_allclose(parts[2].output(), whole[2].output(), atol=1e-5)
    assert distance(parts[2].gradients(), whole[2].gradients()) < 1e-5
    for name, value in whole[1].state().items():
        np.testing.assert_allclose(parts[1].state()[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("sharpness", ["sam", "asam"])
def test_equal_to_the_whole_batch_with_sam(sharpness):
    parts, whole = (one_step(sharpness, **options) for options in ({"micro_batch": 6}, {"bn_groups": 2}))
    assert parts[0]["gradient_norm"] == pytest.approx(whole[0]["gradient_norm"], rel=1e-5)
    # The second pass starts from weights that differ by rounding; one weight in a hundred an ulp away moves these
    # gradients by 9e-3, where a ReLU or a maximum flips. The first pass's are much farther off.
    assert distance(parts[2].gradients(), whole[2].gradients()) < 2e-2
    assert distance(one_step(micro_batch=6)[2].gradients(), whole[2].gradients()) > 0.05
    before, after = whole[1].state(), parts[1].state()
    assert all(np.allclose(before[k], after[k], rtol=1e-5, atol=1e-6) for k in before if "running" in k)


def test_it_is_not_the_batch_in_pieces():
    """Negatives are those of the whole batch: adding up the gradients of small batches is something else."""
    _, _, trainer = one_step(micro_batch=6)
    network, pieces = tiny(image_size=64), []
    small = _core.Trainer(network, batch=6)
    for i in (0, 3):
        views = images(12, size=64)[[i, i + 1, i + 2, i + 6, i + 7, i + 8]]
        small.simclr_step(views, **{**SIMCLR, "lr": 0.0, "momentum": 0.0}, step=2)
        pieces.append(small.gradients())
    summed = {name: (pieces[0][name] + pieces[1][name]) / 2 for name in pieces[0]}
    assert distance(trainer.gradients(), summed) > 0.1


def test_a_micro_batch_of_everything_is_the_plain_step():
    _, *plain = one_step()
    _, *parts = one_step(micro_batch=12)
    assert same(everything(*plain), everything(*parts))


def test_same_bits_with_any_number_of_threads():
    results = []
    for n_threads in (1, 2, 3):
        network = tiny(n_threads=n_threads)
        trainer = _core.Trainer(network, batch=8, micro_batch=2, sharpness="asam", weight_decay=1e-4)
        for step in range(2):
            trainer.simclr_step(images(8, step), **SIMCLR, step=step, rho=0.5)
        results.append(everything(network, trainer))
    assert same(results[0], results[1]) and same(results[0], results[2])


@pytest.mark.parametrize("sharpness", ["none", "sam"])
def test_a_step_that_fails_changes_nothing(sharpness):
    network = tiny()
    trainer = _core.Trainer(network, batch=8, micro_batch=4, sharpness=sharpness)
    trainer.simclr_step(images(8), **SIMCLR, step=0)
    before = {**network.state(), **trainer.state()}
    bad = images(8)
    bad[6, 5, 5] = np.nan  # in the last part: the statistics of the first have reached the running ones by then
    with pytest.raises(FloatingPointError, match="loss is nan in step 1"):
        trainer.simclr_step(bad, **SIMCLR, step=1)
    if sharpness == "sam":
        with pytest.raises(FloatingPointError, match="step 2"):
            trainer.simclr_step(images(8), **SIMCLR, step=2, rho=1e38)
    assert same(before, {**network.state(), **trainer.state()})


def test_memory_falls_with_the_micro_batch():
    network = tiny(image_size=64)
    whole, parts = (_core.Trainer(network, batch=64, **options).memory_bytes for options in ({}, {"micro_batch": 8}))
    spared = network.memory_bytes("train", 64) - network.memory_bytes("train", 8)
    # A tree over eight parts holds three sums beside its result; rows of the parameter table are padded a little.
    assert abs(whole - parts - (spared - 3 * 4 * network.n_parameters)) < 1e-3 * whole


def test_bad_sizes_are_named():
    network = tiny()
    for options, message in (
        ({"batch": 12, "micro_batch": 24}, "micro_batch: expected at most the batch, 12, got 24"),
        ({"batch": 12, "micro_batch": 4, "bn_groups": 2}, "bn_groups: expected 1 with micro-batches"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.Trainer(network, **options)
    trainer = _core.Trainer(network, batch=12, micro_batch=4)
    with pytest.raises(ValueError, match="images: expected 1 to 12, a multiple of 4, got 6"):
        trainer.simclr_step(images(6), **SIMCLR, step=0)
    trainer.simclr_step(images(8), **SIMCLR, step=0)  # a smaller batch of whole parts
    assert trainer.output().shape == (8, 16)


def test_a_batch_that_is_no_multiple_comes_in_even_parts():
    """Seven images by three are 3, 2 and 2: none is alone, whose batch norm would have no variance."""
    labels = (np.arange(7) % 16).astype(np.int32)
    summed: dict[str, np.ndarray] = {}
    for begin, end in ((0, 3), (3, 5), (5, 7)):
        alone = _core.Trainer(tiny(image_size=64, head=[(16, 0.0, False)]), batch=8)
        alone.supervised_step(images(7, size=64)[begin:end], labels[begin:end], **{**STEP, "lr": 0.0}, step=2)
        for name, gradient in alone.gradients().items():
            summed[name] = summed.get(name, 0) + gradient * (end - begin) / 7
    trainer = _core.Trainer(tiny(image_size=64, head=[(16, 0.0, False)]), batch=8, micro_batch=3)
    trainer.supervised_step(images(7, size=64), labels, **STEP, step=2)
    assert distance(trainer.gradients(), summed) < 1e-5


def test_simclr_with_micro_batches():
    """One view at a time is the paper recipe's "batch statistics for each view apart"."""
    ds = datasets.phantoms(seed=0, n_subjects=8, slices=2, image_size=32)
    options = {"arch": "resnet18", "batch_size": 8, "epochs": 1, "verbose": 0, "lr": 0.01, "knn_every": 0, "n_jobs": 1}
    apart = SimCLR(**options, separate_views=True).fit(ds).history_[0]["loss"]
    parts = SimCLR(**options, micro_batch=8).fit(ds)
    assert parts.history_[0]["loss"] == pytest.approx(apart, rel=1e-4)
    again = SimCLR(**options, micro_batch=8, separate_views=True).fit(ds)
    assert again.history_[0]["loss"] == parts.history_[0]["loss"]
    with pytest.raises(ValueError, match="micro_batch=3: expected a divisor of batch_size=8"):
        SimCLR(**options, micro_batch=3).fit(ds)
