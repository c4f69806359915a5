"""The network: its table against torchvision's sizes, weights in and out, inference, memory, bad arguments."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from simclr_mri import _core

# Numbers of parameters that torchvision documents for its classification networks (3 channels, 1000 classes).
TORCHVISION_SIZES = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}


def images(n: int, size: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, size, size, channels)).astype(np.float32)


def tiny_of(depth: int, **options) -> _core.Network:
    return _core.Network(depth, **{"image_size": 32, "head": [(4, 0.0, False)], "n_threads": 1, **options})


def tiny(**options) -> _core.Network:
    return tiny_of(18, **options)


@pytest.mark.parametrize("depth", TORCHVISION_SIZES)
def test_number_of_parameters(depth):
    network = _core.Network(depth, image_size=32, in_channels=3, head=[(1000, 0.0, False)])
    assert network.n_parameters == TORCHVISION_SIZES[depth]


def test_table_is_torchvisions():
    torch = pytest.importorskip("torch")
    from reference.resnet_torch import ResNet

    for depth in (34, 101):
        options = {"image_size": 64, "in_channels": 3, "head": [(8, 0.0, True), (4, 0.0, False)], "head_name": "head"}
        table = _core.Network(depth, **options).table
        with torch.device("meta"):
            model = ResNet(depth, **options)
        parameters = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        assert [(name, shape) for name, shape, is_buffer, _ in table if not is_buffer] == parameters
        buffers = [(name, tuple(b.shape)) for name, b in model.named_buffers() if "num_batches" not in name]
        assert [(name, shape) for name, shape, is_buffer, _ in table if is_buffer] == buffers
        for name, shape, is_buffer, decays in table:
            assert decays == (not is_buffer and len(shape) > 1), name


def test_initial_weights():
    network = _core.Network(50, image_size=32, head=[(64, 0.0, False)], seed=7)
    state = network.state()
    for name, shape, _, _ in network.table:
        values = state[name].astype(np.float64)
        if len(shape) == 4:
            deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            error = deviation / math.sqrt(values.size)
            assert abs(values.mean()) < 5 * error, name
            assert abs(values.std() / deviation - 1) < 5 / math.sqrt(2 * values.size), name
        elif name.startswith("fc"):
            bound = 1 / math.sqrt(2048)
            assert np.abs(values).max() <= bound and np.abs(values).max() > 0.9 * bound, name
        else:
            assert np.all(values == (1.0 if name.endswith((".weight", "running_var")) else 0.0)), name
    assert not np.array_equal(state["layer1.0.conv1.weight"], state["layer1.1.conv1.weight"][:, :64])
    again = _core.Network(50, image_size=32, head=[(64, 0.0, False)], seed=7, n_threads=1).state()
    other = _core.Network(50, image_size=32, head=[(64, 0.0, False)], seed=8).state()
    assert all(np.array_equal(state[name], again[name]) for name in state)
    assert not np.array_equal(state["conv1.weight"], other["conv1.weight"])


def test_without_a_seed_the_weights_are_zeros_until_others_are_loaded():
    drawn, empty = tiny_of(18, seed=3), tiny_of(18, seed=None)
    assert not any(array.any() for array in empty.state().values())
    empty.load(drawn.state())
    for name, array in drawn.state().items():
        np.testing.assert_array_equal(empty.tensor(name), array)
    for wrong in ("3", 1.5, -1):
        with pytest.raises((TypeError, OverflowError)):
            tiny_of(18, seed=wrong)


@pytest.mark.parametrize("features", ["avgpool", "flatten"])
def test_state_and_load_round_trip(features):
    options = {"image_size": 64, "features": features, "head": [(5, 0.0, True), (3, 0.0, False)], "head_name": "h"}
    source, target = tiny(seed=1, **options), tiny(seed=2, **options)
    x = images(3, 64)
    assert not np.array_equal(source.forward(x), target.forward(x))
    state = source.state()
    state["bn1.num_batches_tracked"] = np.zeros((), np.int64)
    assert target.load(state) == ([], [])
    assert np.array_equal(source.forward(x), target.forward(x))
    state, again = source.state(), target.state()
    assert all(np.array_equal(again[name], state[name]) for name in state)
    for name, shape, *_ in source.table:
        one = source.tensor(name)
        assert one.shape == shape and one.dtype == np.float32 and np.array_equal(one, state[name]), name


def test_a_tensor_that_is_not_there_is_named():
    for name in ("conv1", "conv1.weight ", ""):
        with pytest.raises(KeyError, match=f"the network has no '{name}'"):
            tiny().tensor(name)
    with pytest.raises(TypeError):
        tiny().tensor(3)


def test_load_is_all_or_nothing():
    network = tiny()
    before = network.state()

    def unchanged() -> bool:
        now = network.state()
        return all(np.array_equal(before[name], now[name]) for name in before)

    other = tiny(seed=5).state()
    missing = {name: value for name, value in other.items() if name != "bn1.bias"}
    with pytest.raises(ValueError, match=r"missing \['bn1.bias'\], unexpected \['extra'\]"):
        network.load({**missing, "extra": np.zeros(1, np.float32)})
    assert unchanged()
    wrong = {**other, "layer4.1.conv2.weight": np.zeros((512, 512, 1, 1), np.float32)}
    for strict in (True, False):
        with pytest.raises(
            ValueError, match=r"layer4.1.conv2.weight: expected shape \(512, 512, 3, 3\), got \(512, 512, 1, 1\)"
        ):
            network.load(wrong, strict=strict)
        assert unchanged()
    with pytest.raises(TypeError, match=r"fc\.weight: expected dtype float32, got float64"):
        network.load({**other, "fc.weight": other["fc.weight"].astype(np.float64)})
    with pytest.raises(TypeError, match=r"fc\.bias: expected a numpy array"):
        network.load({**other, "fc.bias": [0.0] * 4})
    assert unchanged()
    assert network.load({**missing, "extra": np.zeros(1, np.float32)}, strict=False) == (["bn1.bias"], ["extra"])
    assert np.array_equal(network.state()["conv1.weight"], other["conv1.weight"])


def test_rgb_stem_into_gray():
    rgb, gray = tiny(in_channels=3, seed=3), tiny()
    gray.load(rgb.state())
    x = images(2)
    expected = rgb.forward(np.repeat(x, 3, axis=3))
    np.testing.assert_allclose(gray.forward(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"conv1.weight: expected shape \(64, 3, 7, 7\), got \(64, 1, 7, 7\)"):
        rgb.load(gray.state())


def test_forward_in_batches():
    network = tiny()
    x = images(7)
    whole = network.forward(x)
    assert whole.shape == (7, 4) and whole.dtype == np.float32
    for batch_size in (1, 3, 7, 100):
        np.testing.assert_allclose(network.forward(x, batch_size=batch_size), whole, rtol=1e-5, atol=1e-6)
    assert network.forward(x[:0]).shape == (0, 4)
    features = network.forward(x, output="features")
    state = network.state()
    np.testing.assert_allclose(features @ state["fc.weight"].T + state["fc.bias"], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_stage_runs_over_parts_of_a_batch(depth, precision):
    """The stem and layer1 take 4 MiB of activations at a time, and the last part of a batch is smaller."""
    network = tiny_of(depth, image_size=128, n_threads=2)
    bytes_each = (64 * 64 * 64 if depth == 18 else 32 * 32 * 256) * (4 if precision == "fp32" else 2)
    n = 2 * (4 * 2**20 // bytes_each) + 1
    x = images(n, 128) * np.linspace(0.2, 4, n, dtype=np.float32)[:, None, None, None]
    alone = network.forward(x, batch_size=1, precision=precision)
    near = (1e-4 if precision == "fp32" else 0.02) * np.abs(alone).max()
    assert np.ptp(alone, axis=0).max() > 10 * near
    np.testing.assert_allclose(network.forward(x, batch_size=n, precision=precision), alone, rtol=0, atol=near)
    np.testing.assert_allclose(
        network.forward(x[:-2], batch_size=n, precision=precision), alone[:-2], rtol=0, atol=near
    )


def test_flattened_features_are_channels_first():
    network = tiny(features="flatten", image_size=64)
    x = images(2, 64)
    features, logits = network.forward(x, output="features"), network.forward(x)
    state = network.state()
    np.testing.assert_allclose(features @ state["fc.weight"].T + state["fc.bias"], logits, rtol=1e-4, atol=1e-4)
    headless = tiny(features="flatten", image_size=64, head=[])
    headless.load({k: v for k, v in state.items() if not k.startswith("fc.")})
    assert np.array_equal(headless.forward(x), features)


def test_odd_image_sizes():
    for size in (33, 47, 50):
        assert tiny(image_size=size).forward(images(1, size)).shape == (1, 4)


def test_same_bits_with_any_number_of_threads(isa):
    x = images(3, 64)
    one = tiny(image_size=64)
    for n_threads in (2, 3):
        many = tiny(image_size=64, n_threads=n_threads)
        assert np.array_equal(one.forward(x), many.forward(x))
        for a, b in zip(one.explain(x, None, stage="layer2"), many.explain(x, None, stage="layer2"), strict=True):
            assert np.array_equal(a, b)


def test_explain():
    network = tiny(image_size=64)
    x = images(5, 64)
    shapes = {"stem": (16, 64), "layer1": (16, 64), "layer2": (8, 128), "layer3": (4, 256), "layer4": (2, 512)}
    for stage, (side, channels) in shapes.items():
        activations, gradients, outputs = network.explain(x, None, stage=stage, batch_size=2)
        assert activations.shape == gradients.shape == (5, side, side, channels)
        np.testing.assert_allclose(outputs, network.forward(x), rtol=1e-5, atol=1e-6)
        chosen = network.explain(x, outputs.argmax(1), stage=stage)
        np.testing.assert_allclose(chosen[1], gradients, rtol=1e-4, atol=1e-6)
    # Behind layer4 is a mean and a linear layer: the gradient is the weight over the number of pixels.
    targets = np.array([3, 0, 1, 2, 3])
    gradients = network.explain(x, targets)[1]
    expected = network.state()["fc.weight"][targets] / 4
    assert np.array_equal(gradients, np.broadcast_to(expected[:, None, None], gradients.shape))


RESIDENT = """
import psutil
from simclr_mri import _core
network = _core.Network(18, image_size=128, head=[(4, 0.0, False)], n_threads=1)
before = psutil.Process().memory_info().rss
trainer = _core.Trainer(network, batch=16, sharpness="sam")
print(psutil.Process().memory_info().rss - before, trainer.memory_bytes)
print(network.memory_bytes("train", 16), network.memory_bytes("explain", 16), network.memory_bytes("infer", 16))
"""


def test_memory_is_as_measured():
    """What a plan says it needs is what the process gains; in a process of its own, where no freed memory is reused."""
    pytest.importorskip("psutil")
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    gained, said, train, explain, infer = map(int, done.stdout.split())
    assert abs(gained / said - 1) < 0.05
    assert infer < explain < train < said


def test_training_memory_is_near_the_floor():
    """Kept from forward to backward: convolution outputs, block outputs, maxima; beside them what one layer needs."""
    network = _core.Network(50, image_size=128, head=[(4, 0.0, False)])
    batch = 32
    kept = 64 * 64 * 64 * batch * 4 + 32 * 32 * 64 * batch  # the stem, and the places of its maxima
    side, channels = 32, 64
    for stage, n_blocks in enumerate((3, 4, 6, 3)):
        for block in range(n_blocks):
            width, before = 64 << stage, side
            side = side // 2 if stage > 0 and block == 0 else side
            kept += 4 * batch * (before**2 * width + side**2 * (width + 4 * width))  # conv1, conv2 and conv3
            kept += 4 * batch * side**2 * 4 * width * (2 if block == 0 else 1)  # the block's output, the shortcut
            channels = 4 * width
    assert channels == 2048 and side == 4
    assert kept < network.memory_bytes("train", batch) < 1.1 * kept
    assert network.memory_bytes("infer", batch) < 0.2 * kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth: expected 18, 34, 50 or 101, got 20"),
        ({"in_channels": 2}, "in_channels: expected 1 or 3, got 2"),
        ({"image_size": 31}, "image_size: expected at least 32 pixels, got 31"),
        ({"image_size": -1}, "expected a number of 0 or more"),
        ({"features": "mean"}, "features: expected 'avgpool' or 'flatten', got 'mean'"),
        ({"head": [(0, 0.0, False)]}, "head layer 0: expected at least 1 output feature"),
        ({"head": [(4, 0.0, True), (4, 1.0, False)]}, r"head layer 1: expected dropout in \[0, 1\), got 1"),
        ({"head": [(4, float("nan"), False)]}, r"expected dropout in \[0, 1\), got nan"),
        ({"head": [(4, 0.0, False)] * 5}, "head: expected at most 4 layers, got 5"),
        ({"head_name": ""}, "head_name"),
        ({"head_name": "a.b"}, "head_name"),
        ({"head_name": "x" * 16}, "head_name"),
        ({"n_threads": 1000}, "n_threads: expected at most 256"),
    ],
)
def test_bad_configurations(options, message):
    with pytest.raises(ValueError, match=message):
        _core.Network(**{"depth": 18, "image_size": 32, **options})


def test_sizes_that_no_machine_has():
    with pytest.raises(MemoryError):
        _core.Network(18, image_size=32, head=[(2**61, 0.0, False)])
    with pytest.raises(MemoryError):
        _core.Network(18, image_size=2**40)
    with pytest.raises(MemoryError):
        tiny().memory_bytes("train", 2**50)
    with pytest.raises(MemoryError):
        _core.Trainer(tiny(), batch=2**40)


def test_bad_arguments():
    network = tiny()
    with pytest.raises(TypeError, match="image_size"):
        _core.Network(18)
    with pytest.raises(TypeError, match="images: expected dtype float32, got float64"):
        network.forward(np.zeros((1, 32, 32, 1)))
    with pytest.raises(ValueError, match=r"images: expected shape \('any', 32, 32, 1\), got \(1, 32, 32, 3\)"):
        network.forward(np.zeros((1, 32, 32, 3), np.float32))
    with pytest.raises(ValueError, match="output: expected 'head' or 'features', got 'logits'"):
        network.forward(images(1), output="logits")
    with pytest.raises(ValueError, match="batch_size"):
        network.forward(images(1), batch_size=0)
    with pytest.raises(ValueError, match="stage: expected"):
        network.explain(images(1), None, stage="layer5")
    with pytest.raises(ValueError, match=r"targets: expected numbers in \[0, 4\), got 4 at 1"):
        network.explain(images(2), np.array([0, 4]))
    with pytest.raises(ValueError, match="targets: expected shape"):
        network.explain(images(2), np.array([0]))
    with pytest.raises(ValueError, match="a network with a head"):
        tiny(head=[]).explain(images(1), None)
    with pytest.raises(ValueError, match="kind: expected"):
        network.memory_bytes("both", 1)
    with pytest.raises(ValueError, match="bn_groups: expected a divisor of the batch 4, got 3"):
        network.memory_bytes("train", 4, 3)


def test_measuring_lets_other_threads_run():
    """memory_bytes writes a whole plan, milliseconds for a large batch: not under the interpreter's lock."""
    network = _core.Network(18, image_size=32, head=[(4, 0.0, False)], n_threads=1)
    beats = []
    done = threading.Event()

    def beat() -> None:
        while not done.is_set():
            beats.append(time.monotonic())
            time.sleep(0.002)

    thread = threading.Thread(target=beat)
    thread.start()
    started = time.monotonic()
    while time.monotonic() - started < 0.5:
        network.memory_bytes("train", 2_000)
    took = time.monotonic() - started
    done.set()
    thread.join()
    assert len([b for b in beats if started < b < started + took]) > 0.1 * took / 0.002
