"""The training step: SAM, statistics by group, errors and interruptions that change nothing, state in and out."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

import numpy as np
import pytest

from reference.settled import settle
from simclr_mri import _core

SGD = {"lr": 0.05, "momentum": 0.9, "seed": 3}
SIMCLR = {**SGD, "temperature": 0.5}


def images(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, 1)).astype(np.float32)


def labels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, n).astype(np.int32)


def tiny(**options) -> _core.Network:
    return _core.Network(18, **{"image_size": 32, "head": [(4, 0.0, False)], "n_threads": 1, **options})


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def everything(network: _core.Network, trainer: _core.Trainer) -> dict[str, np.ndarray]:
    return {**network.state(), **trainer.state()}


def test_loss_falls():
    network = tiny(head=[(64, 0.1, True), (16, 0.0, False)], head_name="projection")
    trainer = _core.Trainer(network, batch=16, bn_groups=2)
    losses = [trainer.simclr_step(images(16), **SIMCLR, step=i)["loss"] for i in range(12)]
    assert abs(losses[0] - np.log(15)) < 0.5 and min(losses[-3:]) < 0.7 * losses[0]
    assert trainer.output().shape == (16, 16)


def test_finite_differences():
    """The gradient of a whole network along itself: (loss(w + h g) - loss(w - h g)) / 2h = |g|^2."""
    network = tiny(features="flatten", image_size=64)
    trainer = _core.Trainer(network, batch=4)
    x, y = images(4, 64), labels(4)
    # Small residual branches: a freshly drawn network is so curved that no h is both above rounding and below it.
    network.load({k: v * np.float32(0.2) if k.endswith("bn2.weight") else v for k, v in network.state().items()})

    def loss() -> float:
        return trainer.supervised_step(x, y, lr=0.0, momentum=0.0, seed=0, step=0)["loss"]

    loss()
    state, gradients = network.state(), trainer.gradients()
    square = sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values())
    h = 5e-4 / np.sqrt(square)
    losses = []
    for sign in (1, -1):
        network.load({k: v + np.float32(sign * h) * gradients[k] if k in gradients else v for k, v in state.items()})
        losses.append(loss())
    assert abs((losses[0] - losses[1]) / (2 * h) / square - 1) < 1e-2


@pytest.mark.parametrize("sharpness", ["sam", "asam", "asam-authors"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rho_0_is_the_base_optimizer(sharpness, optimizer):
    results = []
    for kind in ("none", sharpness):
        network = tiny(head=[(8, 0.5, False)])
        trainer = _core.Trainer(network, batch=4, optimizer=optimizer, sharpness=kind, weight_decay=0.1)
        losses = [trainer.simclr_step(images(4), **SIMCLR, step=i)["loss"] for i in range(2)]
        results.append({**everything(network, trainer), "losses": np.array(losses)})
    assert same(*results)


def scale_of(name: str, w: np.ndarray, sharpness: str) -> np.ndarray:
    """T_w of Kwon et al. (ICML 2021): |w| of every tensor, or |w| + 0.01 of weights and 1 of biases."""
    if sharpness == "asam":
        return np.abs(w.astype(np.float64))
    return np.abs(w.astype(np.float64)) + 0.01 if name.endswith("weight") else np.ones(w.shape)


def asam_errors(seed: int, sharpness: str) -> dict[str, float]:
    """Relative distance, by tensor, of one ASAM step's change from the one computed by hand: the plain gradients at
    w + rho / |T g| * T^2 g, with the same dropout masks; running statistics come from the first pass."""
    head = [(16, 0.5, True), (4, 0.0, False)]
    x, y, step = images(6), labels(6), {"lr": 0.1, "momentum": 0.0, "seed": seed, "step": 5}
    network, plain = tiny(head=head), tiny(head=head)
    start = network.state()
    result = _core.Trainer(network, batch=6, sharpness=sharpness).supervised_step(x, y, **step, rho=0.5)
    trainer = _core.Trainer(plain, batch=6)
    trainer.supervised_step(x, y, **{**step, "lr": 0.0})
    first, statistics = trainer.gradients(), plain.state()
    scales = {k: scale_of(k, start[k], sharpness) for k in first}
    norm = np.sqrt(sum(((scales[k] * g) ** 2).sum() for k, g in first.items()))
    assert result["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    moved = {k: start[k] + (0.5 / norm * scales[k] ** 2 * g).astype(np.float32) for k, g in first.items()}
    plain.load({**start, **moved})
    trainer.supervised_step(x, y, **{**step, "lr": 0.0})
    second, after = trainer.gradients(), network.state()
    for name in statistics:
        if "running" in name:
            assert np.array_equal(after[name], statistics[name]), name
    return {
        name: np.linalg.norm((after[name] - start[name]) / -0.1 - gradient) / (np.linalg.norm(gradient) + 1e-6)
        for name, gradient in second.items()
    }


@pytest.mark.parametrize("sharpness", ["asam", "asam-authors"])
def test_sam_by_hand(sharpness):
    """Rounding of the perturbed weights grows to about 1e-4, and to 1e-2 where an activation crosses zero for it,
    which one mask in ten meets: the median over masks must be below 1e-3, and a wrong step differs for all."""
    errors = [asam_errors(seed, sharpness) for seed in range(1, 6)]
    for name in errors[0]:
        assert np.median([e[name] for e in errors]) <= 1e-3, name


def test_two_groups_are_two_passes():
    """Batch statistics apart: outputs and statistics of one pass with two groups equal those of two passes.

    The statistics bit for bit, with batches of 8 and more: below that a convolution may take another method for half as
    many images. The outputs pass through a linear layer, where some BLAS sums differently for another number of rows.
    """
    head = [(8, 0.0, False)]
    x, step = images(16), {**SIMCLR, "lr": 0.0, "momentum": 0.0}
    joint, apart = tiny(head=head), tiny(head=head)
    trainer = _core.Trainer(joint, batch=16, bn_groups=2)
    trainer.simclr_step(x, **step, step=0)
    halves = _core.Trainer(apart, batch=8)
    outputs = []
    for half in (x[:8], x[8:]):
        halves.simclr_step(half, **step, step=0)
        outputs.append(halves.output())
    np.testing.assert_allclose(trainer.output(), np.concatenate(outputs), rtol=0, atol=1e-5)
    assert same(joint.state(), apart.state())
    mixed = _core.Trainer(tiny(head=head), batch=16)
    mixed.simclr_step(x, **step, step=0)
    assert np.abs(mixed.output() - trainer.output()).max() > 1e-2


def test_gradients_of_two_groups_are_the_mean_of_two_passes(isa):
    """ResNet-50, whose convolutions sum up for the norms around them, in chunks that reach across the groups: here the
    two are equal to rounding only."""
    x, y = images(14, 64), labels(14)

    def gradients(rows: slice, **options) -> dict[str, np.ndarray]:
        network = _core.Network(50, image_size=64, head=[(4, 0.0, False)], n_threads=2)
        settle(network)
        trainer = _core.Trainer(network, batch=14, **options)
        trainer.supervised_step(x[rows], y[rows], lr=0.0, momentum=0.0, seed=0, step=0)
        return trainer.gradients()

    joint, halves = gradients(slice(0, 14), bn_groups=2), [gradients(slice(0, 7)), gradients(slice(7, 14))]
    means = {name: (halves[0][name] + halves[1][name]) / 2 for name in joint}
    floor = 1e-5 * np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in means.values()))
    errors = {name: np.linalg.norm(joint[name] - g) / max(np.linalg.norm(g), floor) for name, g in means.items()}
    assert max(errors.values()) < 1e-3, max(errors.items(), key=lambda item: item[1])


def test_same_bits_with_any_number_of_threads(isa):
    results = []
    for n_threads in (1, 2, 3):
        network = tiny(head=[(32, 0.5, True), (16, 0.5, False)], n_threads=n_threads, image_size=40)
        trainer = _core.Trainer(network, batch=4, bn_groups=2, sharpness="asam", weight_decay=1e-4)
        trainer.simclr_step(images(4, 40), **SIMCLR, step=0, rho=0.5)
        results.append({**everything(network, trainer), **{"g/" + k: g for k, g in trainer.gradients().items()}})
    assert same(results[0], results[1]) and same(results[0], results[2])


def test_smaller_batches_in_a_larger_trainer():
    """A last batch of an epoch: the same as in a trainer made for it."""
    results = []
    for batch in (10, 4):
        network = tiny()
        trainer = _core.Trainer(network, batch=batch)
        trainer.supervised_step(images(4), labels(4), **SGD, step=0)
        results.append(everything(network, trainer))
    assert same(*results)


@pytest.mark.parametrize(("n", "precision"), [(5, "fp32"), (31, "bf16")])
def test_last_batches_of_a_resnet50(n, precision):
    """With 5 images stage 4 is too small for Winograd's method; 31 are cut into more parts than 32 at stage 2."""
    found = []
    for batch in (32, n):
        network = _core.Network(50, image_size=128, head=[(4, 0.0, False)])
        trainer = _core.Trainer(network, batch=batch, precision=precision)
        trainer.supervised_step(images(n, 128), labels(n), **SGD, step=0)
        found.append(trainer.gradients())
    assert same(*found)


def test_weight_decay_spares_biases_and_norms():
    for decay_all in (False, True):
        network = tiny()
        state = network.state()
        state["bn1.bias"] += 1.0
        network.load(state)
        trainer = _core.Trainer(network, batch=4, weight_decay=0.5, decay_all=decay_all)
        trainer.supervised_step(images(4), labels(4), lr=0.1, momentum=0.0, seed=0, step=0)
        gradients, after = trainer.gradients(), network.state()
        for name, shape, is_buffer, decays in network.table:
            if is_buffer:
                continue
            decay = 0.5 * state[name] if decays or decay_all else 0.0
            np.testing.assert_allclose(after[name], state[name] - 0.1 * (gradients[name] + decay), rtol=1e-5, atol=1e-6)
            assert decays == (len(shape) > 1)


def test_dropout_masks_follow_seed_and_step():
    network = tiny(head=[(16, 0.5, False)])
    trainer = _core.Trainer(network, batch=4)
    options = {**SIMCLR, "lr": 0.0}

    def loss(**change) -> float:
        return trainer.simclr_step(images(4), **{**options, "step": 0, **change})["loss"]

    assert loss() == loss()
    assert len({loss(), loss(step=1), loss(seed=4)}) == 3


def test_not_a_number_changes_nothing():
    network = tiny()
    trainer = _core.Trainer(network, batch=4, sharpness="sam")
    trainer.supervised_step(images(4), labels(4), **SGD, step=0)
    before = everything(network, trainer)
    bad = images(4)
    bad[2, 5, 5] = np.nan
    with pytest.raises(FloatingPointError, match="loss is nan in step 1"):
        trainer.supervised_step(bad, labels(4), **SGD, step=1)
    assert same(before, everything(network, trainer))
    with pytest.raises(FloatingPointError, match="loss is nan in step 7"):
        trainer.simclr_step(bad, **SIMCLR, step=7)
    # A radius that leaves the finite numbers: the second pass fails, and the weights come back.
    with pytest.raises(FloatingPointError, match="step 2"):
        trainer.supervised_step(images(4), labels(4), **SGD, step=2, rho=1e38)
    assert same(before, everything(network, trainer))
    trainer.supervised_step(images(4), labels(4), **SGD, step=1)


def test_interruption_changes_nothing():
    network = _core.Network(50, image_size=128, head=[(8, 0.0, False)])
    trainer = _core.Trainer(network, batch=16, sharpness="sam")
    before = everything(network, trainer)
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    for delay in (0.05, 0.6):
        timer = threading.Timer(delay, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            for i in range(100):
                trainer.simclr_step(images(16, 128), **{**SIMCLR, "lr": 0.0, "momentum": 0.0}, step=i, rho=0.1)
                before = everything(network, trainer)
        assert time.monotonic() - sent[-1] < 3.0  # the step that runs alone takes longer
        timer.join()
        assert same(before, everything(network, trainer))


def test_two_threads_take_turns():
    network = tiny()
    trainer = _core.Trainer(network, batch=4)
    x, outputs = images(4), []
    expected = network.forward(x)
    still = {**SGD, "lr": 0.0}
    threads = [threading.Thread(target=lambda: outputs.append(network.forward(x))) for _ in range(3)]
    threads += [
        threading.Thread(target=lambda i=i: trainer.supervised_step(x, labels(4), **still, step=i)) for i in (0, 1)
    ]
    buffers = {k: v for k, v in network.state().items() if "running" in k}
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 3 and not same(buffers, {k: v for k, v in network.state().items() if "running" in k})
    network.load({**network.state(), **buffers})
    assert np.array_equal(network.forward(x), expected)


def test_a_signal_handler_cannot_enter_its_own_step():
    network = _core.Network(50, image_size=64, head=[(4, 0.0, False)])
    trainer = _core.Trainer(network, batch=16)
    seen: list[Exception] = []

    def handler(*_) -> None:
        try:
            network.state()
        except RuntimeError as error:
            seen.append(error)

    old = signal.signal(signal.SIGUSR1, handler)
    try:
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            trainer.supervised_step(images(16, 64), labels(16), **SGD, step=0)
            if not timer.is_alive():
                timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
                timer.start()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert "already in use by this thread" in str(seen[0])


def test_no_memory_is_taken_in_a_step():
    psutil = pytest.importorskip("psutil")
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # what other tests have freed could be taken unseen
    network = tiny(image_size=64, head=[(32, 0.5, True), (16, 0.0, False)], n_threads=2)
    trainer = _core.Trainer(network, batch=8, bn_groups=2, sharpness="asam")
    x = images(8, 64)
    step = {**SIMCLR, "rho": 0.5}
    for i in range(2):
        trainer.simclr_step(x, **step, step=i)
    before, taken = psutil.Process().memory_info().rss, []
    for i in range(6):
        trainer.simclr_step(x, **step, step=i)
        taken.append(psutil.Process().memory_info().rss - before)
    assert max(taken) <= 64 << 10, taken


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_state_round_trip_continues_to_the_same_bits(optimizer):
    x, y = images(4), labels(4)
    network = tiny(head=[(4, 0.5, False)])
    trainer = _core.Trainer(network, batch=4, optimizer=optimizer, weight_decay=0.01)
    trainer.supervised_step(x, y, **SGD, step=1)
    weights, state = network.state(), trainer.state()
    names = {"sgd": ["momentum"], "adamw": ["exp_avg", "exp_avg_sq"]}[optimizer]
    trained = [name for name, _, is_buffer, _ in network.table if not is_buffer]
    assert list(state) == [f"{kind}/{name}" for kind in names for name in trained] + ["step"]
    assert [name for name, _ in trainer.table] == list(state)[:-1]
    for name, shape in trainer.table:
        assert trainer.tensor(name).shape == shape and np.array_equal(trainer.tensor(name), state[name]), name
    for name in ("momentu/fc.bias", "exp_av/fc.bias", "bn1.weight", f"{names[0]}/bn1.running_mean", "step", ""):
        with pytest.raises(KeyError, match=f"the optimizer has no '{name}'"):
            trainer.tensor(name)
    assert state["step"].shape == () and state["step"].dtype == np.int64 and state["step"] == 1
    trainer.supervised_step(x, y, **SGD, step=2)
    other = tiny(head=[(4, 0.5, False)], seed=9)
    other.load(weights)
    resumed = _core.Trainer(other, batch=4, optimizer=optimizer, weight_decay=0.01)
    resumed.load(state)
    resumed.supervised_step(x, y, **SGD, step=2)
    assert same(everything(network, trainer), everything(other, resumed))


def test_load_is_all_or_nothing():
    network = tiny()
    trainer = _core.Trainer(network, batch=4)
    trainer.supervised_step(images(4), labels(4), **SGD, step=0)
    state = trainer.state()
    changed = {name: value + 1 for name, value in state.items()}
    del changed["momentum/fc.bias"]
    with pytest.raises(ValueError, match=r"momentum/fc\.bias is missing"):
        trainer.load(changed)
    with pytest.raises(ValueError, match=r"momentum/fc.bias: expected shape \(4,\), got \(5,\)"):
        trainer.load({**changed, "momentum/fc.bias": np.zeros(5, np.float32)})
    with pytest.raises(ValueError, match="step is missing"):
        trainer.load({**{k: v for k, v in state.items() if k != "step"}, "other": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="saved with another optimizer"):
        trainer.load({**state, "exp_avg/fc.bias": np.zeros(4, np.float32)})
    assert same(state, trainer.state())


def test_profile_names_every_operation():
    network = _core.Network(50, image_size=32, head=[(4, 0.0, False)])
    trainer = _core.Trainer(network, batch=2)
    trainer.supervised_step(images(2), labels(2), **SGD, step=0)
    rows = trainer.profile()
    assert sum(op.startswith("conv") for op, *_ in rows) == 3 * 53 - 1  # no gradient of the images
    assert all(seconds > 0 for _, _, seconds, _ in rows)
    flops = {(op, layer): flops for op, layer, _, flops in rows}
    assert flops["conv forward", "conv1.weight"] == 2 * 2 * 16 * 16 * 64 * 49


def test_bad_arguments():
    network = tiny()
    trainer = _core.Trainer(network, batch=4, bn_groups=2)
    x, y = images(4), labels(4)
    ok = {**SGD, "step": 0}
    before = everything(network, trainer)
    for change, message in (
        ({"lr": float("nan")}, "lr: expected a finite number"),
        ({"momentum": 1.0}, r"momentum: expected a number in \[0, 1\)"),
        ({"rho": -1.0}, "rho: expected"),
        ({"rho": 0.5}, "rho: expected 0 in a trainer without SAM"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"step": 2**32}, "step: expected"),
        ({"class_weights": np.ones(3, np.float32)}, r"class_weights: expected shape \(4,\), got \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.supervised_step(x, y, **{**ok, **change})
    with pytest.raises(ValueError, match=r"labels: expected numbers in \[0, 4\), got -1 at 3"):
        trainer.supervised_step(x, np.array([0, 1, 2, -1], np.int32), **ok)
    with pytest.raises(ValueError, match=r"labels: expected shape \(4,\), got \(3,\)"):
        trainer.supervised_step(x, y[:3], **ok)
    with pytest.raises(TypeError, match="labels: expected dtype int32"):
        trainer.supervised_step(x, y.astype(np.int64), **ok)
    with pytest.raises(TypeError, match="'lr'"):
        trainer.supervised_step(x, y, momentum=0.0, seed=0, step=0)
    for n in (0, 3, 6):
        with pytest.raises(ValueError, match=f"images: expected 1 to 4, a multiple of 2, got {n}"):
            trainer.supervised_step(images(n), labels(n), **ok)
    with pytest.raises(ValueError, match="views: expected an even number of images"):
        trainer.simclr_step(images(3), **SIMCLR, step=0)
    with pytest.raises(ValueError, match="views: expected 1 to 2 pairs, got 3"):
        trainer.simclr_step(images(6), **SIMCLR, step=0)
    with pytest.raises(ValueError, match="temperature: expected a positive number, got 0"):
        trainer.simclr_step(x, **{**SIMCLR, "temperature": 0.0}, step=0)
    assert same(before, everything(network, trainer))
    for options, message in (
        ({"optimizer": "adam"}, "optimizer: expected one of 'sgd', 'adamw', 'lars', got 'adam'"),
        ({"sharpness": "gsam"}, "sharpness: expected"),
        ({"batch": 0}, "batch: expected at least 1"),
        ({"bn_groups": 3}, "bn_groups: expected a divisor"),
        ({"weight_decay": -1.0}, "weight_decay: expected"),
        ({"bn_momentum": 2.0}, "bn_momentum: expected"),
        ({"optimizer": "adamw", "beta2": 1.0}, "beta2: expected"),
        ({"optimizer": "adamw", "eps": 0.0}, "eps: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.Trainer(network, **{"batch": 4, **options})
    with pytest.raises(TypeError):
        _core.Trainer(None, batch=4)


@pytest.mark.parametrize(
    "batch,micro_batch", [(2**40 + 1, 1), (2**61, 1), (2**62, 1), (2**63 - 1, 1), (2**59, 0), (2**62, 0)]
)
def test_a_batch_beyond_the_address_range_is_refused(batch, micro_batch):
    """Sizes are products of the batch: none may wrap around to a small allocation that a step then overruns."""
    network = tiny()
    with pytest.raises(MemoryError):
        _core.Trainer(network, batch=batch, micro_batch=micro_batch)


@pytest.mark.parametrize("n", [0, 2])
def test_a_batch_size_beyond_the_address_range_is_the_number_of_images(n):
    network = tiny()
    targets = np.zeros(n, np.int64)
    assert network.forward(images(n), batch_size=2**62).shape == (n, 4)
    assert network.explain(images(n), targets, batch_size=2**62)[2].shape == (n, 4)


@pytest.mark.parametrize("beta1,beta2", [(0.9, 0.999), (0.95, 0.9999)])
def test_adamw_has_its_constants_in_double(beta1, beta2):
    """After one step m = (1 - beta1) g and v = (1 - beta2) g^2; with beta2 as a float v is off by 5e-5 of itself."""
    network = tiny()
    trainer = _core.Trainer(network, batch=4, optimizer="adamw", beta2=beta2)
    trainer.supervised_step(images(4), labels(4), lr=1e-3, momentum=beta1, seed=0, step=0)
    state, gradients = trainer.state(), trainer.gradients()
    for name in ("conv1.weight", "layer4.1.bn2.weight", "fc.weight"):
        g = gradients[name].astype(np.float64)
        np.testing.assert_allclose(state[f"exp_avg/{name}"], (1 - beta1) * g, rtol=2e-7, atol=1e-30)
        np.testing.assert_allclose(state[f"exp_avg_sq/{name}"], (1 - beta2) * g * g, rtol=4e-7, atol=1e-38)
