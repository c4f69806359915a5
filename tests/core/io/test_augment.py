"""Augmented views: geometry and photometrics against NumPy, draws by their statistics, independence of all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import _testing
from reference import augment as ref
from reference.guard import guarded
from simclr_mri import _core

ALL: dict[str, Any] = {
    "scale": (0.5, 1.0),
    "ratio": (0.9, 1.1),
    "flip_horizontal": 0.5,
    "flip_vertical": 0.3,
    "rotation_deg": 10.0,
    "shift": 0.05,
    "brightness": (0.8, 1.2),
    "contrast": (0.8, 1.2),
    "gamma": (0.7, 1.4),
    "blur_p": 0.5,
    "blur_sigma": (0.3, 1.5),
    "noise_sd": 0.02,
    "mean": 0.2,
    "std": 0.3,
}

# Coordinates reach 2^7 in float32, steps add up over 2^7 pixels: 2^7 eps per step of a pixel's full contrast, twice.
SAMPLING_TOLERANCE = 2**8 * 2**-23
# log2 up to 8 in size, rounded, times ln 2 and the exponent: 8 eps; a handful of roundings of values below 1 beside it.
PHOTOMETRIC_TOLERANCE = 32 * 2**-23


def cache(m: int = 5, h: int = 33, w: int = 29, c: int = 1) -> np.ndarray:
    return np.random.default_rng(m * h + w).integers(0, 256, (m, h, w, c), dtype=np.uint8)


def row(parameters: dict[str, np.ndarray], i: int) -> dict[str, Any]:
    return {name: column[i].item() for name, column in parameters.items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_identity_is_the_pixels(isa, channels):
    images, indices = cache(c=channels), np.array([3, 0, 3])
    expected = (images[indices] / np.float32(255)).astype(np.float32)
    assert np.array_equal(_core.augment_batch(images, indices), expected)
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.25, 2], np.float32)
    normalised = (expected - mean[:channels]) / std[:channels]
    assert np.array_equal(_core.augment_batch(images, indices, mean=mean, std=std), normalised)
    assert np.array_equal(_core.gather_batch(images, indices, mean=mean, std=std), normalised)


def test_same_bits_for_any_threads_order_and_isa(isa):
    images = cache(c=3)
    indices = np.array([4, 1, 1, 0, 2, 3], np.int64)
    _testing.set_isa("ref")
    expected = _core.augment_batch(images, indices, seed=7, epoch=2, view=1, n_threads=1, **ALL)
    _testing.set_isa(isa)
    for n_threads in (1, 3):
        views = _core.augment_batch(images, indices, seed=7, epoch=2, view=1, n_threads=n_threads, **ALL)
        assert np.array_equal(views, expected)
        order = indices[::-1].copy()
        backwards = _core.augment_batch(images, order, seed=7, epoch=2, view=1, n_threads=n_threads, **ALL)
        assert np.array_equal(backwards[::-1], expected)


def test_a_view_is_named_by_its_sample():
    images = cache()
    whole = _core.augment_batch(images, np.arange(5), seed=1, **ALL)
    part = _core.augment_batch(images[2:], np.array([0, 2]), samples=np.array([2, 4]), seed=1, **ALL)
    assert np.array_equal(part, whole[[2, 4]])
    for other in ({"seed": 2}, {"seed": 1, "epoch": 1}, {"seed": 1, "view": 1}):
        assert not np.array_equal(_core.augment_batch(images, np.arange(5), **{**ALL, **other}), whole)


@pytest.mark.parametrize("height, width", [(128, 128), (40, 64), (97, 31)])
def test_draws_follow_the_definition(height, width):
    samples = np.array([0, 1, 5, 2**40 + 3, *range(10, 40)])
    for options in (ALL, {}, {"scale": (0.1, 0.4), "ratio": (2, 5)}, {"scale": (0.9, 0.99), "ratio": (0.9, 1.1)}):
        drawn = _testing.augment_parameters(samples, height, width, seed=3, epoch=4, view=1, **options)
        for i, sample in enumerate(samples):
            words = _testing.random_words(32, 3, epoch=4, sample=int(sample), view=1, purpose=2)
            expected = ref.draw(words, height, width, options)
            for name, value in row(drawn, i).items():
                assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-6), (name, sample)


def test_draws_have_their_distributions():
    n = 20_000
    drawn = _testing.augment_parameters(
        np.arange(n), 1000, 1000, seed=9, **{**ALL, "scale": (0.2, 0.45), "ratio": (0.5, 2)}
    )
    area, ratio = drawn["height"] * drawn["width"] / 1e6, drawn["width"] / drawn["height"]
    uniforms = {
        "area": (area, 0.2, 0.45),  # no crop of these ratios is too wide, so none is rejected
        "log ratio": (np.log(ratio), -np.log(2), np.log(2)),
        "top": (drawn["top"] / (1000 - drawn["height"] + 1), 0, 1),
        "left": (drawn["left"] / (1000 - drawn["width"] + 1), 0, 1),
        "rotation": (drawn["rotation_deg"], -10, 10),
        "shift x": (drawn["shift_x"], -0.05, 0.05),
        "shift y": (drawn["shift_y"], -0.05, 0.05),
        "brightness": (drawn["brightness"], 0.8, 1.2),
        "contrast": (drawn["contrast"], 0.8, 1.2),
        "gamma": (drawn["gamma"], 0.7, 1.4),
        "sigma": (drawn["blur_sigma"][drawn["blur_sigma"] > 0], 0.3, 1.5),
    }
    columns = []
    for name, (values, low, high) in uniforms.items():
        ranks = np.sort((values - low) / (high - low))
        distance = np.abs(ranks - (np.arange(ranks.size) + 0.5) / ranks.size).max()
        # Kolmogorov and Smirnov: 2.2 / sqrt(n) is passed by chance once in 8,000; rounding to pixels adds 1 / 400.
        assert distance < 2.2 / np.sqrt(ranks.size) + 0.0025, name
        if ranks.size == n:
            columns.append(values)
    for name, p in (("flip_horizontal", 0.5), ("flip_vertical", 0.3)):
        assert abs(drawn[name].mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
        columns.append(drawn[name].astype(float))
    assert abs((drawn["blur_sigma"] > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(n)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("mean", "std", "ratio", "noise_sd")])
def test_switching_one_off_leaves_the_others(name):
    samples = np.arange(50)
    full = _testing.augment_parameters(samples, 64, 64, seed=1, **ALL)
    without = _testing.augment_parameters(samples, 64, 64, seed=1, **{**ALL, name: ref.IDENTITY[name]})
    own = {
        "scale": {"top", "left", "height", "width"},
        "shift": {"shift_x", "shift_y"},
        "blur_p": {"blur_sigma"},
    }.get(name, {name})
    assert {column for column in full if not np.array_equal(full[column], without[column])} == own


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "height, width, rows, cols", [(33, 29, 33, 29), (33, 29, 16, 15), (20, 24, 47, 50), (64, 64, 17, 64)]
)
def test_crop_is_the_antialiased_resize_of_the_box(isa, channels, height, width, rows, cols):
    images, indices = cache(h=height, w=width, c=channels), np.arange(5)
    options = {"scale": (0.2, 0.9), "ratio": (0.7, 1.4), "flip_horizontal": 0.5, "flip_vertical": 0.5}
    views = _core.augment_batch(images, indices, seed=5, size=(rows, cols), **options)
    drawn = _testing.augment_parameters(indices, height, width, seed=5, **options)
    for i in indices:
        expected = ref.geometry(images[i], row(drawn, i), rows, cols)
        # Weights and products are rounded to float32: taps + 2 roundings an axis of values below 1.
        assert np.abs(views[i] - expected).max() < 40 * 2**-24


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "height, width, rows, cols", [(33, 29, 33, 29), (33, 29, 16, 15), (20, 24, 47, 50), (64, 64, 17, 64)]
)
def test_affine_sampling(isa, channels, height, width, rows, cols):
    images, indices = cache(h=height, w=width, c=channels), np.arange(5)
    options = {"scale": (0.4, 1.0), "ratio": (0.8, 1.2), "rotation_deg": 30, "shift": 0.2, "flip_horizontal": 0.5}
    views = _core.augment_batch(images, indices, seed=6, size=(rows, cols), **options)
    drawn = _testing.augment_parameters(indices, height, width, seed=6, **options)
    zeros = 0
    for i in indices:
        view = row(drawn, i)
        expected = ref.geometry(images[i], view, rows, cols)
        zeros += (expected == 0).sum()
        different = np.abs(views[i] - expected).max(axis=2) > SAMPLING_TOLERANCE
        # A point within rounding of the image's outline may fall on either side of it.
        assert different.sum() <= 1
    assert zeros > 0


def test_geometry_turns_and_shifts_the_right_way():
    image = np.zeros((1, 65, 65, 1), np.uint8)
    image[0, 32, 60] = 255  # right of the centre
    found = None
    for seed in range(200):
        drawn = _testing.augment_parameters(np.array([0]), 65, 65, seed=seed, rotation_deg=90)
        if drawn["rotation_deg"][0] > 60:
            found = seed, np.deg2rad(drawn["rotation_deg"][0])
            break
    assert found is not None
    view = _core.augment_batch(image, np.array([0]), seed=found[0], rotation_deg=90)[0, :, :, 0]
    y, x = np.unravel_index(view.argmax(), view.shape)
    # Counter-clockwise as seen: what was at the right goes up.
    assert abs(x - (32 + 28 * np.cos(found[1]))) < 1 and abs(y - (32 - 28 * np.sin(found[1]))) < 1

    image = np.roll(image, -28, axis=2)  # to the centre, from where no shift loses it
    shifts = _testing.augment_parameters(np.array([0]), 65, 65, seed=3, shift=0.3)
    view = _core.augment_batch(image, np.array([0]), seed=3, shift=0.3)[0, :, :, 0]
    y, x = np.unravel_index(view.argmax(), view.shape)
    assert abs(x - (32 - 65 * shifts["shift_x"][0])) < 1 and abs(y - (32 - 65 * shifts["shift_y"][0])) < 1


@pytest.mark.parametrize("options", [{}, {"scale": (0.3, 0.8)}, {"rotation_deg": 20, "shift": 0.1}])
def test_flips_mirror_exactly(isa, options):
    images, indices = cache(c=3), np.arange(5)
    plain = _core.augment_batch(images, indices, **options)
    assert np.array_equal(_core.augment_batch(images, indices, flip_horizontal=1, **options), plain[:, :, ::-1])
    assert np.array_equal(_core.augment_batch(images, indices, flip_vertical=1, **options), plain[:, ::-1])


@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 15, 16, 17, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"brightness": (0.5, 1.8)},
        {"contrast": (0.2, 2)},
        {"gamma": (0.3, 3)},
        {"gamma": (2.2, 2.2)},
        {"blur_p": 1, "blur_sigma": (0.2, 3)},
        {
            "brightness": (0.8, 1.2),
            "contrast": (0.8, 1.2),
            "gamma": (0.7, 1.4),
            "blur_p": 0.5,
            "blur_sigma": (0.3, 1.5),
        },
    ],
)
def test_photometrics(isa, options, width):
    images, indices = cache(h=19, w=width), np.arange(5)
    views = _core.augment_batch(images, indices, seed=8, **options)
    drawn = _testing.augment_parameters(indices, 19, width, seed=8, **options)
    for i in indices:
        expected = ref.photometry(images[i].astype(np.float64) / 255, row(drawn, i))
        assert np.abs(views[i] - expected).max() < PHOTOMETRIC_TOLERANCE


@pytest.mark.parametrize("width", [1, 3, 17, 63, 64, 65, 70, 130])
def test_noise_is_the_stream_of_the_sample(isa, width):
    images, indices = np.zeros((2, 1, width, 1), np.uint8), np.array([1])
    views = _core.augment_batch(images, indices, seed=8, epoch=3, view=1, noise_sd=1)
    expected = ref.noise(width, lambda n: _testing.random_words(n, 8, epoch=3, sample=1, view=1, purpose=4))
    # Radius up to 5.8 from a logarithm up to 24: a few roundings of each.
    assert np.abs(views.ravel() - expected).max() < 16 * 2**-23 * 5.8


def test_noise_is_normal():
    z = _core.augment_batch(np.zeros((4, 256, 256, 1), np.uint8), np.arange(4), noise_sd=1).ravel().astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    lags = [np.mean(z[k:] * z[:-k]) for k in (1, 16, 64, 256)]
    assert np.abs(lags).max() < 4 / np.sqrt(n)


def test_the_whole_chain(isa):
    images, indices = cache(h=40, w=40), np.arange(5)
    views = _core.augment_batch(images, indices, seed=2, size=24, **ALL)
    drawn = _testing.augment_parameters(indices, 40, 40, seed=2, **ALL)
    for i in indices:
        expected = ref.photometry(ref.geometry(images[i], row(drawn, i), 24, 24), row(drawn, i))
        z = ref.noise(24 * 24, lambda n, i=i: _testing.random_words(n, 2, sample=int(i), purpose=4))
        expected = (expected + 0.02 * z.reshape(24, 24, 1) - 0.2) / 0.3
        assert np.quantile(np.abs(views[i] - expected), 0.99) < 4 * SAMPLING_TOLERANCE / 0.3


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [5, 16, 33])
def test_nothing_is_read_or_written_outside(isa, side, channels, at):
    images = guarded(cache(m=2, h=side, w=side, c=channels), at=at)
    for options in ({}, {"scale": (0.3, 1)}, {**ALL, "blur_p": 1}, {"size": 2 * side}, {**ALL, "size": 3}):
        size = options.get("size", side)
        out = guarded(np.full((2, size, size, channels), np.nan, np.float32), at=at)
        result = _core.augment_batch(images, np.array([0, 1]), seed=4, out=out, **options)
        assert result is out and np.isfinite(out).all()
    out = guarded(np.empty((2, side, side, channels), np.float32), at=at)
    assert _core.gather_batch(images, np.array([1, 0]), mean=0.5, std=0.1, out=out) is out


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scale": (0, 1)}, r"scale: expected 1e-06 <= low <= high <= 1, got \(0, 1\)"),
        ({"scale": (0.8, 0.5)}, "scale: expected"),
        ({"ratio": (-1, 1)}, "ratio: expected"),
        ({"gamma": (0, 1)}, "gamma: expected"),
        ({"gamma": (float("nan"), 1)}, "gamma: expected"),
        ({"brightness": (1,)}, "brightness: expected 2 numbers"),
        ({"flip_horizontal": 1.5}, "flip_horizontal: expected 0 to 1, got 1.5"),
        ({"rotation_deg": float("inf")}, "rotation_deg: expected"),
        ({"blur_sigma": (0.1, 1e9)}, "blur_sigma: expected"),
        ({"noise_sd": -1}, "noise_sd: expected"),
        ({"std": 0}, "std: expected"),
        ({"mean": [1, 2]}, "mean: expected 3 numbers"),
        ({"size": 0}, "size: expected positive sides"),
        ({"size": (3, 4, 5)}, r"size: expected an integer or \(rows, columns\)"),
        ({"size": 1 << 20}, "size: expected 1 to 32768"),
        ({"view": 256}, "view: expected 0 to 255"),
        ({"n_threads": -1}, "n_threads: expected >= 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        _core.augment_batch(cache(), np.arange(5), **options)


def test_wrong_arguments_are_named():
    images = cache()
    with pytest.raises(ValueError, match=r"indices\[1\]: expected at least 0 and below 5, got 5"):
        _core.augment_batch(images, np.array([0, 5]))
    with pytest.raises(ValueError, match=r"indices\[0\]: .* got -1"):
        _core.gather_batch(images, np.array([-1]))
    with pytest.raises(ValueError, match=r"samples\[0\]: expected 0 to 2\*\*48 - 1"):
        _core.augment_batch(images, np.array([0]), samples=np.array([1 << 48]))
    with pytest.raises(TypeError, match="indices: expected dtype int64"):
        _core.augment_batch(images, np.array([0], np.int32))
    with pytest.raises(TypeError, match="images: expected dtype uint8"):
        _core.augment_batch(images.astype(np.float32), np.array([0]))
    with pytest.raises(ValueError, match="images: expected 1 or 3 channels, got 2"):
        _core.augment_batch(np.zeros((1, 4, 4, 2), np.uint8), np.array([0]))
    with pytest.raises(ValueError, match=r"out: expected shape \(1, 33, 29, 1\)"):
        _core.augment_batch(images, np.array([0]), out=np.empty((1, 2, 2, 1), np.float32))
    with pytest.raises(TypeError, match="out: expected a writable C-contiguous float32 array"):
        _core.augment_batch(images, np.array([0]), out=np.empty((1, 33, 29, 1)))
    with pytest.raises(TypeError, match="rotaton"):
        _core.augment_batch(images, np.array([0]), rotaton=3)
    assert _core.augment_batch(images, np.zeros(0, np.int64), size=7).shape == (0, 7, 7, 1)
