"""Batch normalisation against float64, PyTorch and itself with other threads."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import _testing
import reference.batchnorm2d as reference
from reference import bf16
from reference.differences import gradient
from reference.guard import guarded

EPS = float(np.finfo(np.float32).eps)
CHANNELS = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 256, 257, 520]


def case(groups: int, rows: int, channels: int, *, mean: float = 0.5, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, groups, rows, channels])
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return {
        "x": f(groups, rows, channels) + np.float32(mean) * f(channels),
        "dy": f(groups, rows, channels),
        "gamma": 1 + 0.3 * f(channels),
        "beta": 0.5 * f(channels),
    }


def scale_and_shift(c: dict[str, np.ndarray], eps: float = 1e-5):
    mean, var = _testing.batchnorm_statistics(c["x"])
    return mean, var, *_testing.batchnorm_fold(c["gamma"], c["beta"], mean, var, eps)


def backward(c, *, relu=False, eps=1e-5, **options):
    mean, var, scale, shift = scale_and_shift(c, eps)
    return _testing.batchnorm_backward(
        c["dy"], c["x"], c["gamma"], mean, var, scale, shift, eps=eps, relu=relu, **options
    )


def test_the_reference_gradient_is_right():
    rng = np.random.default_rng(3)
    x, dy, gamma, beta = (
        rng.standard_normal((2, 5, 3)),
        rng.standard_normal((2, 5, 3)),
        np.array([1.2, -0.7, 0.4]),
        np.array([0.1, 0.2, -0.3]),
    )
    for relu in (False, True):
        dx, dgamma, dbeta = reference.backward(dy, x, gamma, beta, 1e-3, relu)

        def loss(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, relu: bool = relu) -> float:
            return float((dy * reference.forward(x, gamma, beta, 1e-3, relu)).sum())

        np.testing.assert_allclose(dx, gradient(partial(loss, gamma=gamma, beta=beta), x), atol=1e-8)
        np.testing.assert_allclose(dgamma, gradient(partial(loss, x, beta=beta), gamma), atol=1e-8)
        np.testing.assert_allclose(dbeta, gradient(partial(loss, x, gamma), beta), atol=1e-8)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 50, 300])
def test_statistics(isa, rows, channels):
    x = case(2, rows, channels)["x"]
    mean, var = _testing.batchnorm_statistics(guarded(x))
    want_mean, want_var = reference.statistics(x)
    # Eight rows are added in fp32, three levels of a tree, everything else in double; then one rounding.
    np.testing.assert_allclose(mean, want_mean, rtol=EPS, atol=4 * EPS * np.abs(x).max())
    np.testing.assert_allclose(var, want_var, rtol=16 * EPS, atol=EPS * (4 * EPS * np.abs(x).max()) ** 2)
    for part_rows in (1, 7, 24, 1000):  # parts that end with a group, reach into the next, or hold everything
        mean, var = _testing.batchnorm_statistics(guarded(x), part_rows=part_rows)
        np.testing.assert_allclose(mean, want_mean, rtol=EPS, atol=4 * EPS * np.abs(x).max())
        np.testing.assert_allclose(var, want_var, rtol=16 * EPS, atol=EPS * (4 * EPS * np.abs(x).max()) ** 2)


@pytest.mark.parametrize("offset", [0.0, 1e2, -1e4, 1e6])
def test_variance_far_from_zero(isa, offset):
    """A mean 10^6 standard deviations from zero: E[x^2] - E[x]^2 in fp32 would have no digit left."""
    x = (np.random.default_rng(1).standard_normal((1, 4000, 24)) + offset).astype(np.float32)
    mean, var = _testing.batchnorm_statistics(x)
    want_mean, want_var = reference.statistics(x)
    np.testing.assert_allclose(mean, want_mean, rtol=EPS, atol=4 * EPS)
    np.testing.assert_allclose(var, want_var, rtol=16 * EPS)


def test_variance_with_an_outlier_in_the_first_rows(isa):
    """The deviations are taken from the first rows: a corner that is nothing like the rest must not cost digits."""
    x = np.random.default_rng(2).standard_normal((1, 5000, 16)).astype(np.float32)
    x[0, 0] = 1e4
    mean, var = _testing.batchnorm_statistics(x)
    want_mean, want_var = reference.statistics(x)
    np.testing.assert_allclose(mean, want_mean, rtol=1e-5)
    np.testing.assert_allclose(var, want_var, rtol=1e-5)


def test_constant_and_non_finite_columns(isa):
    x = np.ones((1, 40, 5), np.float32) * np.float32(0.1)
    x[0, 7, 1], x[0, 33, 2] = np.nan, np.inf
    mean, var = _testing.batchnorm_statistics(x)
    assert mean[0, 0] == np.float32(0.1)
    assert var[0, 0] == 0
    assert np.isnan(mean[0, 1]) and np.isnan(var[0, 1])
    assert not np.isfinite(mean[0, 2]) and np.isnan(var[0, 2])
    assert np.isfinite(mean[0, 3:]).all()


def test_running_statistics_as_in_pytorch():
    torch = pytest.importorskip("torch")
    x = case(1, 12, 6)["x"]
    layer = torch.nn.BatchNorm1d(6, momentum=0.1)
    layer(torch.from_numpy(x[0]))
    running_mean, running_var = np.zeros(6, np.float32), np.ones(6, np.float32)
    mean, var = _testing.batchnorm_statistics(x)
    _testing.batchnorm_update_running(running_mean, running_var, mean, var, 0.1, 12)
    np.testing.assert_allclose(running_mean, layer.running_mean.numpy(), rtol=4 * EPS, atol=EPS)
    np.testing.assert_allclose(running_var, layer.running_var.numpy(), rtol=4 * EPS)


def test_running_statistics_take_the_groups_in_turn():
    x = case(2, 12, 6)["x"]
    mean, var = _testing.batchnorm_statistics(x)
    both, one = [np.zeros(6, np.float32), np.ones(6, np.float32)], [np.zeros(6, np.float32), np.ones(6, np.float32)]
    _testing.batchnorm_update_running(*both, mean, var, 0.1, 12)
    for g in range(2):
        _testing.batchnorm_update_running(*one, mean[g : g + 1], var[g : g + 1], 0.1, 12)
    assert np.array_equal(both[0], one[0]) and np.array_equal(both[1], one[1])


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("residual", ["none", "plain", "affine"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_affine(isa, channels, residual, relu):
    rng = np.random.default_rng(channels)
    f = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    x, scale, shift = f(2, 9, channels), f(2, channels), f(2, channels)
    other, other_scale, other_shift = f(2, 9, channels), f(2, channels), f(2, channels)
    options, want, size = (
        {},
        scale[:, None].astype(np.float64) * x + shift[:, None],
        np.abs(scale[:, None] * x) + np.abs(shift[:, None]),
    )
    if residual == "plain":
        options, want, size = {"residual": guarded(other)}, want + other, size + np.abs(other)
    if residual == "affine":
        options = {"residual": guarded(other), "residual_scale": other_scale, "residual_shift": guarded(other_shift)}
        want = want + other_scale[:, None].astype(np.float64) * other + other_shift[:, None]
        size = size + np.abs(other_scale[:, None] * other) + np.abs(other_shift[:, None])
    out = guarded(np.full_like(x, np.nan))
    y = _testing.scale_shift_add_relu(guarded(x), guarded(scale), guarded(shift), relu=relu, out=out, **options)
    assert y is out
    want = np.maximum(want, 0) if relu else want
    assert (np.abs(y - want) <= 4 * EPS * size).all()  # at most four roundings
    for rows in (1, 7, 18):  # parts that end with a group, reach into the next, or hold everything
        kept, made = guarded(np.full_like(x, np.nan)), guarded(np.full_like(x, np.nan))
        _testing.scale_shift_add_relu(x, scale, shift, relu=relu, out=kept, made=made, made_rows=rows, **options)
        assert np.array_equal(kept, y) and np.array_equal(made, y)
    for aliased in [x.copy()] + ([other.copy()] if residual != "none" else []):
        inputs = {"x": x, **options} if aliased.tobytes() == x.tobytes() else {"x": x, **options, "residual": aliased}
        first = inputs.pop("x") if "residual" in inputs and inputs["residual"] is aliased else aliased
        inputs.pop("x", None)
        assert np.array_equal(_testing.scale_shift_add_relu(first, scale, shift, relu=relu, out=aliased, **inputs), y)


def test_affine_keeps_nan_behind_relu(isa):
    x = np.full((1, 3, 19), np.nan, np.float32)
    one, zero = np.ones((1, 19), np.float32), np.zeros((1, 19), np.float32)
    assert np.isnan(_testing.scale_shift_add_relu(x, one, zero, relu=True)).all()


def gradient_tolerance(c, eps=1e-5):
    """Bounds of |error| of dx, dgamma and dbeta: a dozen roundings of the terms, and the half ulp of the stored mean,
    which moves every x - mean of its channel."""
    rows = c["x"].shape[1]
    mean, var = reference.statistics(c["x"])
    spread = 1 / np.sqrt(var + eps)
    dy, apart = np.abs(c["dy"]), np.abs(c["x"] - mean[:, None])
    moved = 0.5 * EPS * np.abs(mean) * spread
    dbeta, dgamma = dy.sum(axis=1), (dy * apart).sum(axis=1) * spread
    dgamma_error = 12 * EPS * dgamma + moved * dbeta
    xhat = apart * spread[:, None]
    dx_error = 12 * EPS * (dy + dbeta[:, None] / rows + xhat * dgamma[:, None] / rows)
    dx_error += (moved[:, None] * dgamma[:, None] + (xhat + moved[:, None]) * dgamma_error[:, None]) / rows
    factor = (np.abs(c["gamma"]) * spread)[:, None]
    return factor * dx_error, dgamma_error.sum(axis=0), 12 * EPS * dbeta.sum(axis=0)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rows", [2, 9, 50])
def test_backward(isa, rows, channels, relu):
    c = case(2, rows, channels)
    c = {name: guarded(value) for name, value in c.items()}
    if relu:  # keep clear of the kink, where the mask may differ by rounding
        y = reference.forward(c["x"], c["gamma"], c["beta"], 1e-5)
        c["dy"][np.abs(y) < 1e-4] = 0
    out = guarded(np.full_like(c["x"], np.nan))
    dx, dgamma, dbeta = backward(c, relu=relu, out=out)
    want = reference.backward(c["dy"], c["x"], c["gamma"], c["beta"], 1e-5, relu)
    for got, expected, bound in zip((dx, dgamma, dbeta), want, gradient_tolerance(c), strict=True):
        assert (np.abs(got - expected) <= bound + 1e-30).all()
    in_place = c["dy"].copy()
    mean, var, scale, shift = scale_and_shift(c)
    again = _testing.batchnorm_backward(in_place, c["x"], c["gamma"], mean, var, scale, shift, relu=relu, out=in_place)
    assert np.array_equal(again[0], dx)
    for rows in (1, 7, 100):
        kept, made = guarded(np.full_like(out, np.nan)), guarded(np.full_like(out, np.nan))
        again = backward(c, relu=relu, out=kept, made=made, made_rows=rows)
        assert all(np.array_equal(a, b) for a, b in zip(again, (dx, dgamma, dbeta), strict=True))
        assert np.array_equal(made, dx)
    for part_rows in (1, 7, 24, 1000):  # parts that end with a group, reach into the next, or hold everything
        for got, expected, bound in zip(
            backward(c, relu=relu, part_rows=part_rows), want, gradient_tolerance(c), strict=True
        ):
            assert (np.abs(got - expected) <= bound + 1e-30).all(), part_rows


@pytest.mark.parametrize("relu", [False, True])
def test_backward_with_fixed_statistics(isa, relu):
    c = case(1, 30, 37)
    mean, var, scale, shift = scale_and_shift(c)
    dx, dgamma, dbeta = _testing.batchnorm_backward(
        c["dy"], c["x"], c["gamma"], mean, var, scale, shift, relu=relu, fixed=True
    )
    x, dy = c["x"].astype(np.float64), c["dy"].astype(np.float64)
    if relu:
        dy = dy * (scale[:, None].astype(np.float64) * x + shift[:, None] > 0)
    xhat = (x - mean[:, None]) / np.sqrt(var[:, None].astype(np.float64) + 1e-5)
    np.testing.assert_allclose(dx, dy * scale[:, None], rtol=2 * EPS)
    np.testing.assert_allclose(
        dgamma, (dy * xhat).sum(axis=(0, 1)), atol=8 * EPS * np.abs(dy * xhat).sum(axis=(0, 1)).max()
    )
    np.testing.assert_allclose(dbeta, dy.sum(axis=(0, 1)), atol=8 * EPS * np.abs(dy).sum(axis=(0, 1)).max())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_mask_of_a_block(isa_bf16, channels, precision):
    """The bits that the forward pass leaves, and backward by them: as if dy had been masked beforehand, to the bit."""
    c = case(2, 50, channels)
    other = case(2, 50, channels, seed=1)["x"]
    if precision == "bf16":
        c |= {"x": bf16.narrow(c["x"]), "dy": bf16.narrow(c["dy"])}
        other = bf16.narrow(other)
    mean, var, scale, shift = scale_and_shift(c)
    x, dy, out = guarded(c["x"]), guarded(c["dy"]), guarded(np.zeros_like(other))
    y, mask = _testing.scale_shift_add_relu(x, scale, shift, guarded(other), relu=True, mask=True, out=out)
    assert np.array_equal(y, _testing.scale_shift_add_relu(x, scale, shift, other, relu=True))
    kept = (bf16.widen(y) if precision == "bf16" else y) > 0
    assert np.array_equal(mask, np.packbits(kept, axis=2, bitorder="little"))
    for rows in (1, 13, 100):
        made = guarded(np.zeros_like(y))
        again = _testing.scale_shift_add_relu(x, scale, shift, other, relu=True, mask=True, made=made, made_rows=rows)
        assert np.array_equal(again[0], y) and np.array_equal(again[1], mask) and np.array_equal(made, y)
    masked = np.where(kept, dy, 0).astype(dy.dtype)
    arguments = (x, c["gamma"], mean, var, scale, shift)
    want = [*_testing.batchnorm_backward(masked, *arguments), masked]
    got = _testing.batchnorm_backward(dy, *arguments, mask=guarded(mask), ds=guarded(np.ones_like(dy)))
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
    for part_rows in (7, 24):
        want_in_parts = [*_testing.batchnorm_backward(masked, *arguments, part_rows=part_rows), masked]
        got = _testing.batchnorm_backward(dy, *arguments, mask=mask, part_rows=part_rows)
        assert all(np.array_equal(a, b) for a, b in zip(got, want_in_parts, strict=True))
        made = guarded(np.zeros_like(dy))
        got = _testing.batchnorm_backward(
            dy, *arguments, mask=mask, part_rows=part_rows, made=made, made_rows=part_rows
        )
        assert all(np.array_equal(a, b) for a, b in zip(got, want_in_parts, strict=True))
        assert np.array_equal(made, got[0])
    got = _testing.batchnorm_backward(dy, *arguments, mask=mask, ds=dy)
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True)) and got[3] is dy
    arguments = (x[:1], c["gamma"], mean[:1], var[:1], scale[:1], shift[:1])
    want = [*_testing.batchnorm_backward(masked[:1], *arguments, fixed=True), masked[:1]]
    got = _testing.batchnorm_backward(np.ascontiguousarray(c["dy"][:1]), *arguments, mask=mask[:1], fixed=True)
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_parts_of_large_arrays(isa_bf16):
    """8 MiB and more: what is kept of the parts goes past the caches, and the parts do not."""
    c = case(2, 4100, 512)
    other = case(2, 4100, 512, seed=1)["x"]
    mean, var, scale, shift = scale_and_shift(c)
    y, made = _testing.scale_shift_add_relu(c["x"], scale, shift, other, relu=True), np.zeros_like(other)
    assert np.array_equal(
        _testing.scale_shift_add_relu(c["x"], scale, shift, other, relu=True, made=made, made_rows=96), y
    )
    assert np.array_equal(made, y)
    arguments = (c["dy"], c["x"], c["gamma"], mean, var, scale, shift)
    dx = _testing.batchnorm_backward(*arguments)[0]
    assert np.array_equal(_testing.batchnorm_backward(*arguments, made=made, made_rows=96)[0], dx)
    assert np.array_equal(made, dx)


def test_same_as_pytorch(isa):
    torch = pytest.importorskip("torch")
    c = case(1, 60, 40)
    x = torch.from_numpy(c["x"][0]).requires_grad_()
    gamma, beta = (torch.from_numpy(c[name]).requires_grad_() for name in ("gamma", "beta"))
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
    y.backward(torch.from_numpy(c["dy"][0]))
    _, _, scale, shift = scale_and_shift(c)
    np.testing.assert_allclose(_testing.scale_shift_add_relu(c["x"], scale, shift)[0], y.detach().numpy(), atol=2e-6)
    dx, dgamma, dbeta = backward(c)
    np.testing.assert_allclose(dx[0], x.grad.numpy(), atol=2e-6)
    np.testing.assert_allclose(dgamma, gamma.grad.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dbeta, beta.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 11000, 3), (1, 2500, 64), (2, 300, 520)])
def test_same_bits_with_any_number_of_threads(isa, shape):
    c = case(*shape)
    *_, scale, shift = scale_and_shift(c)

    def passes(n_threads):
        y, mask = _testing.scale_shift_add_relu(c["x"], scale, shift, relu=True, mask=True, n_threads=n_threads)
        return [
            *_testing.batchnorm_statistics(c["x"], n_threads=n_threads),
            *(y, mask),
            *backward(c, relu=True, n_threads=n_threads),
            *backward(c, mask=mask, n_threads=n_threads),
        ]

    want = passes(1)
    for n_threads in (2, 3):
        got = passes(n_threads)
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_large_panels_against_float64(isa):
    """Several tiles of rows and of columns."""
    for shape in [(2, 11000, 3), (1, 2500, 64), (2, 300, 520)]:
        c = case(*shape)
        mean, var = _testing.batchnorm_statistics(c["x"])
        want_mean, want_var = reference.statistics(c["x"])
        np.testing.assert_allclose(mean, want_mean, rtol=EPS, atol=4 * EPS)
        np.testing.assert_allclose(var, want_var, rtol=16 * EPS)
        got, want = backward(c), reference.backward(c["dy"], c["x"], c["gamma"], c["beta"], 1e-5)
        for value, expected, bound in zip(got, want, gradient_tolerance(c), strict=True):
            assert (np.abs(value - expected) <= bound).all()


def test_errors_name_the_argument():
    x, one = np.zeros((1, 4, 3), np.float32), np.ones((1, 3), np.float32)
    with pytest.raises(TypeError, match="x: expected dtype float32, got float64"):
        _testing.batchnorm_statistics(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"scale: expected shape \(1, 3\), got \(1, 4\)"):
        _testing.scale_shift_add_relu(x, np.ones((1, 4), np.float32), one)
    with pytest.raises(ValueError, match="mask: there is one with relu only"):
        _testing.scale_shift_add_relu(x, one, one, mask=True)
    with pytest.raises(TypeError, match="residual: expected dtype float32, got uint16"):
        _testing.scale_shift_add_relu(x, one, one, x.astype(np.uint16))
    with pytest.raises(ValueError, match="x: expected no empty dimension"):
        _testing.batchnorm_statistics(x[:, :0])
    with pytest.raises(ValueError, match="out: expected a writeable"):
        _testing.scale_shift_add_relu(x, one, one, out=np.zeros((1, 3, 4), np.float32).transpose(0, 2, 1))


@pytest.mark.parametrize("offset", [0, 1])
def test_large_outputs_past_the_caches(isa, offset):
    """From 8 MiB on outputs are streamed where alignment allows; the values are those of small pieces."""
    rows, channels = 33_000, 64
    c = case(1, rows, channels)
    mean, var, scale, shift = scale_and_shift(c)
    memory = np.full(rows * channels + 32, np.nan, np.float32)
    start = -memory.ctypes.data % 64 // 4 + offset
    out = memory[start : start + rows * channels].reshape(1, rows, channels)
    for n_threads in (1, 2):
        y = _testing.scale_shift_add_relu(c["x"], scale, shift, relu=True, n_threads=n_threads, out=out)
        for first in (0, 32_000):
            piece = np.ascontiguousarray(c["x"][:, first : first + 1000])
            assert np.array_equal(
                y[:, first : first + 1000], _testing.scale_shift_add_relu(piece, scale, shift, relu=True)
            )
        dx, *_ = backward(c, n_threads=n_threads, out=out)
        in_place = c["dy"].copy()
        again, *_ = _testing.batchnorm_backward(
            in_place, c["x"], c["gamma"], mean, var, scale, shift, n_threads=n_threads, out=in_place
        )
        assert np.array_equal(dx, again)
    assert np.isnan(memory[:start]).all() and np.isnan(memory[start + rows * channels :]).all()
