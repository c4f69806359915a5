"""SGD, AdamW, SAM and ASAM over flat arrays."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
import reference.optimizer as reference
from reference.guard import guarded

EPS = float(np.finfo(np.float32).eps)
SIZES = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1000]
LARGE = 50_003


def arrays(n: int, count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, n])
    return [rng.standard_normal(n).astype(np.float32) for _ in range(count)]


def doubles(*given: np.ndarray) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in given]


@pytest.mark.parametrize("options", [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 1e-2},
    {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": True},
])  # fmt: skip
@pytest.mark.parametrize("n", SIZES)
def test_sgd(isa, n, options):
    w, m, g = (guarded(a) for a in arrays(n, 3))
    want_w, want_m = reference.sgd(*doubles(w, m, g), 0.1, **options)
    size = np.abs(w) + 0.1 * (3 * np.abs(m) + 3 * np.abs(g) + np.abs(w))
    _testing.sgd_step(w, m, g, 0.1, **options)
    assert (np.abs(w - want_w) <= 6 * EPS * size).all()
    if options.get("momentum"):
        assert (np.abs(m - want_m) <= 6 * EPS * size * 10).all()


def test_sgd_without_momentum_needs_no_buffer():
    w, g = arrays(20, 2)
    want = w - np.float32(0.5) * g
    _testing.sgd_step(w, None, g, 0.5)
    np.testing.assert_allclose(w, want, rtol=2 * EPS, atol=EPS)
    with pytest.raises(ValueError, match="momentum_buffer: expected an array"):
        _testing.sgd_step(w, None, g, 0.5, momentum=0.9)


@pytest.mark.parametrize("n", SIZES)
def test_adamw(isa, n):
    w, m, v, g = (guarded(a) for a in arrays(n, 4))
    np.abs(v, out=v)
    for step in (1, 2, 1000):
        options = {"beta1": 0.85, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.05}
        before = [a.copy() for a in (w, m, v)]
        want_w, want_m, want_v = reference.adamw(*doubles(w, m, v, g), 0.01, step, **options)
        _testing.adamw_step(w, m, v, g, 0.01, step, **options)
        np.testing.assert_allclose(m, want_m, rtol=4 * EPS, atol=4 * EPS * (np.abs(before[1]) + np.abs(g)).max())
        np.testing.assert_allclose(v, want_v, rtol=6 * EPS)
        move = np.abs(want_w - before[0]) + np.abs(before[0])
        assert (np.abs(w - want_w) <= 12 * EPS * (move + np.abs(before[1]).max())).all()


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adamw"])
def test_twenty_steps_as_in_pytorch(isa, name):
    torch = pytest.importorskip("torch")
    (w,) = arrays(300, 1)
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    m, v = np.zeros_like(w), np.zeros_like(w)
    if name == "adamw":
        peer = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=0.1)
    else:
        peer = torch.optim.SGD([parameter], lr=1e-2, momentum=0.9, weight_decay=1e-2, nesterov=name == "nesterov")
    for step in range(20):
        (g,) = arrays(300, 1, seed=step + 1)
        parameter.grad = torch.from_numpy(g)
        peer.step()
        if name == "adamw":
            _testing.adamw_step(w, m, v, g, 1e-2, step + 1, weight_decay=0.1)
        else:
            _testing.sgd_step(w, m, g, 1e-2, momentum=0.9, weight_decay=1e-2, nesterov=name == "nesterov")
    np.testing.assert_allclose(w, parameter.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize("n", [*SIZES, LARGE])
def test_gradient_norm(isa, n):
    g, w = (guarded(a) for a in arrays(n, 2))
    assert abs(_testing.gradient_norm2(g) / (g.astype(np.float64) ** 2).sum() - 1) < 1e-12
    want = ((g.astype(np.float64) * w) ** 2).sum()
    assert abs(_testing.gradient_norm2(g, w) / want - 1) < 1e-12
    want = ((g.astype(np.float64) * (np.abs(w) + np.float32(0.01))) ** 2).sum()
    assert abs(_testing.gradient_norm2(g, w, eta=0.01) / want - 1) < 1e-12


def test_gradient_norm_of_extremes(isa):
    assert _testing.gradient_norm2(np.zeros(0, np.float32)) == 0
    huge = np.full(100, 1e30, np.float32)
    assert abs(_testing.gradient_norm2(huge, huge) / 1e122 - 1) < 1e-5
    huge[77] = np.nan
    assert np.isnan(_testing.gradient_norm2(huge))


@pytest.mark.parametrize(("adaptive", "eta"), [(False, 0.0), (True, 0.0), (True, 0.01)])
@pytest.mark.parametrize("n", SIZES)
def test_perturb(isa, n, adaptive, eta):
    w, g = (guarded(a) for a in arrays(n, 2))
    before, copy = w.copy(), guarded(np.full(n, np.nan, np.float32))
    norm = np.sqrt(_testing.gradient_norm2(g, w if adaptive else None, eta=eta))
    want = reference.sam(*doubles(w, g), 0.5, adaptive, eta)
    _testing.sam_perturb(w, g, 0.5, norm, adaptive=adaptive, copy=copy, eta=eta)
    assert np.array_equal(copy, before)
    assert (np.abs(w - want) <= 6 * EPS * (np.abs(before) + np.abs(want - before))).all()
    other = before.copy()
    _testing.sam_perturb(other, g, 0.5, norm, adaptive=adaptive, eta=eta)
    assert np.array_equal(other, w)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_step_from_the_copy_is_the_step_from_the_weights(isa, name):
    """SAM's second move: perturbed weights, then a step that begins where the first one did."""
    w, m, g = arrays(200, 3)
    v = np.abs(m)
    plain, moments = w.copy(), [m.copy(), v.copy()]
    copy = np.empty_like(w)
    _testing.sam_perturb(w, g, 0.5, 1.0, copy=copy)
    if name == "sgd":
        _testing.sgd_step(w, m, g, 0.1, momentum=0.9, weight_decay=0.1, start=copy)
        _testing.sgd_step(plain, moments[0], g, 0.1, momentum=0.9, weight_decay=0.1)
    else:
        _testing.adamw_step(w, m, v, g, 0.1, 3, start=copy)
        _testing.adamw_step(plain, *moments, g, 0.1, 3)
    assert np.array_equal(w, plain) and np.array_equal(m, moments[0])


def test_padding_stays_zero(isa):
    w, m, v, g, copy = (np.zeros(40, np.float32) for _ in range(5))
    _testing.sam_perturb(w, g, 2.0, 0.0, adaptive=True, copy=copy)
    _testing.sgd_step(w, m, g, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    _testing.adamw_step(w, m, v, g, 0.1, 1, weight_decay=0.1)
    assert not any(a.any() for a in (w, m, v, copy))


def test_same_bits_with_any_number_of_threads(isa):
    def run(n_threads: int) -> list[np.ndarray]:
        w, m, v, g = arrays(LARGE, 4)
        np.abs(v, out=v)
        copy = np.empty_like(w)
        norm2 = _testing.gradient_norm2(g, w, n_threads=n_threads)
        _testing.sam_perturb(w, g, 0.1, np.sqrt(norm2), adaptive=True, copy=copy, n_threads=n_threads)
        _testing.sgd_step(w, m, g, 0.1, momentum=0.9, start=copy, n_threads=n_threads)
        _testing.adamw_step(w, m, v, g, 0.1, 5, n_threads=n_threads)
        return [w, m, v, copy, np.array(norm2)]

    want = run(1)
    for n_threads in (2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(run(n_threads), want, strict=True))


@pytest.mark.parametrize("offset", [0, 1])
def test_large_outputs_past_the_caches(isa, offset):
    """From 8 MiB on the copy and the step from it are streamed where alignment allows."""
    n = (1 << 21) + 5
    w, m, g = arrays(n, 3)
    memory = np.full((2, n + 32), np.nan, np.float32)
    copy, perturbed = (row[-row.ctypes.data % 64 // 4 + offset :][:n] for row in memory)
    perturbed[:] = w
    _testing.sam_perturb(perturbed, g, 0.5, 1.0, copy=copy, n_threads=2)
    assert np.array_equal(copy, w)
    want, want_m, v = w.copy(), m.copy(), np.abs(m)
    _testing.sgd_step(perturbed, m, g, 0.1, momentum=0.9, start=copy, n_threads=2)
    _testing.sgd_step(want, want_m, g, 0.1, momentum=0.9)
    assert np.array_equal(perturbed, want)
    want[:], want_v = w, v.copy()
    _testing.adamw_step(perturbed, m, v, g, 0.1, 3, start=copy, n_threads=2)
    _testing.adamw_step(want, want_m, want_v, g, 0.1, 3)
    assert np.array_equal(perturbed, want)
    assert np.isnan(memory).sum() == 64
