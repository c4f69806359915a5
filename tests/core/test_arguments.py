"""The extension's arguments: whatever is given, the answer is right or there is a Python exception, and nothing that
another array holds has changed. The package checks most of it again, in better words."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import _testing
from simclr_mri import _core

SHAPE = (1, 8, 8, 4, 8, 3, 3, 1, 1)
EXPECTED = (ValueError, TypeError, OverflowError, MemoryError, NotImplementedError, FloatingPointError)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- memory of others ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "backward_data", "backward_weights"])
def test_a_workspace_that_is_read_only_stays_as_it_is(direction):
    x, w = floats(1, 8, 8, 4), _core.conv2d_pack(floats(8, 4, 3, 3))
    dy = floats(1, 8, 8, 8)
    a, b = {"forward": (x, w), "backward_data": (dy, w), "backward_weights": (x, dy)}[direction]
    function = getattr(_core, f"conv2d_{direction}")
    data = bytes(max(needed for _, needed in _core.conv2d_plan(SHAPE, 1)) + 4096)
    with pytest.raises(ValueError, match="workspace: expected a writeable C-contiguous array"):
        function(SHAPE, a, b, n_threads=1, workspace=np.frombuffer(data, np.uint8))
    assert data.count(0) == len(data)
    with pytest.raises(ValueError, match=r"workspace: expected at least|shares memory"):
        function(SHAPE, a, b, n_threads=1, method="im2col", workspace=np.zeros(1, np.uint8))
    writeable = np.zeros(len(data), np.uint8)
    assert np.array_equal(function(SHAPE, a, b, n_threads=1, workspace=writeable), function(SHAPE, a, b, n_threads=1))


def overlapping(count: int, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    memory = floats(max(first, second) + count)
    return memory[first : first + count], memory[second : second + count]


@pytest.mark.parametrize("shift", [-3, -1, 1, 5])
def test_an_output_that_overlaps_an_input_is_refused(shift):
    match = "shares memory with another argument"
    x, out = overlapping(64, 10, 10 + shift)
    for call in (
        lambda: _testing.relu_forward(x, out=out),
        lambda: _testing.relu_backward(x, floats(64), out=out),
        lambda: _testing.relu_backward(floats(64), x, out=out),
        lambda: _testing.dropout(x.reshape(8, 8), 0.5, 1, out=out.reshape(8, 8)),
        lambda: _testing.sgd_step(x, None, out, 0.1),
        lambda: _testing.sgd_step(x, out, floats(64), 0.1, momentum=0.9),
        lambda: _testing.adamw_step(x, out, floats(64), floats(64), 0.1, 1),
        lambda: _testing.sam_perturb(x, out, 0.1, 1.0),
        lambda: _testing.sam_perturb(x, floats(64), 0.1, 1.0, copy=out),
        lambda: _testing.ntxent(x.reshape(8, 8), 0.5, out=out.reshape(8, 8)),
        lambda: _core.upsample(x.reshape(1, 8, 8), 8, 8, out=out.reshape(1, 8, 8)),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    for same in (
        lambda: _testing.sgd_step(x, x, floats(64), 0.1, momentum=0.9),
        lambda: _core.conv2d_forward(
            (1, 4, 4, 4, 4, 1, 1, 1, 0),
            x.reshape(1, 4, 4, 4),
            _core.conv2d_pack(floats(4, 4, 1, 1)),
            out=x.reshape(1, 4, 4, 4),
        ),
    ):
        with pytest.raises(ValueError, match=match):
            same()


def test_the_pixels_are_no_place_for_the_batch():
    memory = np.zeros(4 * 8 * 8 * 4, np.uint8)
    images, out = memory[: 4 * 64].reshape(4, 8, 8, 1), memory.view(np.float32)[: 4 * 64].reshape(4, 8, 8, 1)
    with pytest.raises(ValueError, match="out: expected memory of its own"):
        _core.gather_batch(images, np.arange(4), out=out)
    with pytest.raises(ValueError, match="out: expected memory of its own"):
        _core.augment_batch(images, np.arange(4), out=out)


# ---- numbers that do not fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, -(2**63), 2**32, 2**32 + 1, 2**64, 2**200, 1.5, "1", None])
def test_whole_numbers_do_not_wrap(value):
    images, x = np.zeros((2, 8, 8, 1), np.uint8), floats(2, 4)
    is_small = isinstance(value, int) and 0 <= value < 2**64
    calls = [
        lambda: _core.augment_batch(images, np.arange(2), epoch=value),
        lambda: _core.augment_batch(images, np.arange(2), view=value),
        lambda: _testing.augment_parameters(np.arange(2), 8, 8, epoch=value),
        lambda: _testing.augment_parameters(np.arange(2), 8, 8, view=value),
        lambda: _testing.dropout(x, 0.5, 1, step=value),
        lambda: _testing.dropout(x, 0.5, 1, layer=value),
        lambda: _testing.random_words(4, 1, epoch=value),
        lambda: _testing.random_words(4, 1, purpose=value),
    ]
    if not is_small:
        calls += [
            lambda: _core.augment_batch(images, np.arange(2), seed=value),
            lambda: _testing.augment_parameters(np.arange(2), 8, 8, seed=value),
            lambda: _testing.dropout(x, 0.5, value),
            lambda: _testing.random_words(4, value),
            lambda: _testing.adamw_step(*(floats(4) for _ in range(4)), 0.1, value),
            lambda: _core.cosine_rate(value, 10, 0.1),
            lambda: _core.cosine_rate(1, value, 0.1),
            lambda: _core.one_cycle_rate(value, 10, 0.1),
        ]
    if not is_small and value is not None:  # None: no weights are drawn
        calls.append(lambda: _core.Network(18, image_size=32, seed=value))
    for call in calls:
        with pytest.raises((ValueError, TypeError, OverflowError)):
            call()


NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("value", [*NOT_FINITE, -0.1, 1.0])
def test_rates_outside_their_ranges(value):
    arrays = [floats(4, seed=i) for i in range(4)]
    kept = [array.copy() for array in arrays]
    w, m, v, g = arrays
    calls = [
        lambda: _testing.sgd_step(w, m, g, 0.1, momentum=value),
        lambda: _testing.adamw_step(w, m, v, g, 0.1, 1, beta1=value),
        lambda: _testing.adamw_step(w, m, v, g, 0.1, 1, beta2=value),
    ]
    if value != 1.0:
        calls += [
            lambda: _testing.sgd_step(w, m, g, 0.1, weight_decay=value),
            lambda: _testing.adamw_step(w, m, v, g, 0.1, 1, eps=value),
            lambda: _testing.adamw_step(w, m, v, g, 0.1, 1, weight_decay=value),
            lambda: _testing.sam_perturb(w, g, value, 1.0),
            lambda: _testing.sam_perturb(w, g, 0.1, value),
            lambda: _testing.ntxent(floats(4, 4), value),
            lambda: _testing.cross_entropy(floats(2, 3), np.zeros(2, np.int32), np.array([1, 1, value], np.float32)),
        ]
    if not np.isfinite(value):
        calls += [lambda: _testing.sgd_step(w, m, g, value), lambda: _testing.adamw_step(w, m, v, g, value, 1)]
    for call in calls:
        with pytest.raises(ValueError, match="expected"):
            call()
    assert all(np.array_equal(a, b) for a, b in zip(arrays, kept, strict=True))


# ---- another thread that writes --------------------------------------------------------------------------------------


def test_what_another_thread_writes_meanwhile_does_no_harm():
    network = _core.Network(18, image_size=32, head=[(3, 0.0, False)], n_threads=1)
    trainer = _core.Trainer(network, batch=8)
    images = floats(8, 32, 32, 1)
    targets, labels = np.zeros(8, np.int64), np.zeros(8, np.int32)
    indices = np.zeros(5000, np.int64)
    pixels = np.zeros((4, 8, 8, 1), np.uint8)
    stop = threading.Event()

    def spoil() -> None:
        while not stop.is_set():
            for array in (targets, labels, indices):
                array[:] = 2**30
                array[:] = 0

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for _ in range(8):
            for call in (
                lambda: network.explain(images, targets, batch_size=2),
                lambda: trainer.supervised_step(images, labels, lr=0.0, momentum=0.0, seed=0, step=0),
                lambda: trainer.simclr_step(
                    images, lr=0.0, momentum=0.0, temperature=0.5, seed=0, step=0, groups=labels
                ),
                lambda: _core.gather_batch(pixels, indices),
                lambda: _core.augment_batch(pixels, indices),
                lambda: _testing.cross_entropy(images[:, 0, :3, 0], labels),
            ):
                try:
                    call()
                except ValueError:
                    pass  # the copy held what the other thread wrote
    finally:
        stop.set()
        thread.join()


# ---- anything --------------------------------------------------------------------------------------------------------

DTYPES = [np.float32, np.float64, np.uint16, np.uint8, np.int32, np.int64, np.dtype(">f4"), np.complex64, object]


@st.composite
def arrays(draw) -> object:
    if draw(st.integers(0, 15)) == 0:
        return draw(st.sampled_from([None, 3, "text", b"bytes", [1.0], np.float32(1)]))
    dtype = draw(st.sampled_from([np.float32, *DTYPES]))
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 8]), max_size=5)))
    array = (
        np.zeros(shape, dtype)
        if dtype is object
        else (np.arange(np.prod(shape, dtype=int)) % 7).reshape(shape).astype(dtype)
    )
    if draw(st.integers(0, 7)) == 0 and array.ndim:
        array = array[..., ::-1]
    if draw(st.integers(0, 7)) == 0:
        array.setflags(write=False)
    return array


NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 8, -1, 2**31, 2**32, 2**63, 2**64, 10**30, True, None, "x"]),
    st.floats(width=32),
    st.sampled_from([0.5, 1.0, 0.9]),
)
CALLS = {
    "relu_forward": ("a", ("out",), ("n_threads",)),
    "relu_backward": ("aa", ("out",), ("n_threads",)),
    "dropout": ("ann", ("out",), ("step", "layer", "n_threads")),
    "batchnorm_statistics": ("a", (), ("n_threads",)),
    "batchnorm_fold": ("aaaa", (), ("eps",)),
    "scale_shift_add_relu": ("aaa", ("residual", "out"), ("relu", "mask")),
    "maxpool_forward": ("annn", ("out",), ()),
    "maxpool_backward": ("aannnnn", ("out",), ()),
    "avgpool_forward": ("a", ("out",), ()),
    "avgpool_backward": ("an", ("out",), ()),
    "linear_forward": ("aaa", ("out",), ()),
    "ntxent": ("an", ("groups", "out"), ("standardize",)),
    "cross_entropy": ("aa", ("class_weights",), ("label_smoothing",)),
    "cam_map": ("aa", ("out",), ("normalise",)),
    "upsample": ("ann", ("out",), ()),
    "sgd_step": ("aaan", ("start",), ("momentum", "weight_decay")),
    "adamw_step": ("aaaann", ("start",), ("beta1", "eps")),
    "gradient_norm2": ("aa", (), ()),
    "sam_perturb": ("aann", ("copy",), ("adaptive",)),
    "gather_batch": ("aa", ("out",), ("mean", "std")),
    "augment_batch": (
        "aa",
        ("samples", "out"),
        ("seed", "epoch", "view", "size", "rotation_deg", "blur_p", "noise_sd"),
    ),
    "augment_parameters": ("ann", (), ("seed", "epoch", "view", "shift", "scale")),
    "resize": ("an", (), ()),
    "encode_png": ("a", (), ("compression",)),
    "conv2d_pack": ("a", (), ()),
    "bf16_from_float": ("a", (), ()),
    "bf16_to_float": ("a", (), ()),
    "xxh64": ("a", (), ()),
    "cosine_rate": ("nnn", (), ("warmup_steps", "momentum")),
    "one_cycle_rate": ("nnn", (), ("pct_start", "div_factor")),
}
# Numbers that would only ask for much memory or time: these may be as large as the machine allows.
SMALL = st.sampled_from([0, 1, 2, 3, 8, -1, True, None, "x", 0.5, float("nan"), 2**40, 2**64])


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_anything_is_answered_or_refused(data):
    name = data.draw(st.sampled_from(sorted(CALLS)))
    positional, optional_arrays, optional_numbers = CALLS[name]
    pool = data.draw(st.lists(arrays(), min_size=1, max_size=3))
    array = st.one_of(st.sampled_from(pool), arrays())
    numbers = (
        SMALL
        if name in ("upsample", "resize", "avgpool_backward", "maxpool_backward", "augment_parameters")
        else NUMBERS
    )
    given_ = [data.draw(array if kind == "a" else numbers) for kind in positional]
    keywords = {key: data.draw(array) for key in optional_arrays if data.draw(st.booleans())}
    keywords |= {key: data.draw(NUMBERS) for key in optional_numbers if key != "n_threads" and data.draw(st.booleans())}
    frozen = [(a, a.copy()) for a in pool if isinstance(a, np.ndarray) and not a.flags.writeable]
    try:
        getattr(_core, name)(*given_, **keywords)
    except (*EXPECTED, BufferError, AttributeError):
        pass
    for array_, before in frozen:
        np.testing.assert_array_equal(array_, before)
