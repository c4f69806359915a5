"""NT-Xent and softmax cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest

import _testing
import reference.loss as reference
from reference.differences import gradient
from reference.guard import guarded

EPS = float(np.finfo(np.float32).eps)


def embeddings(pairs: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, pairs, dim])
    first = rng.standard_normal((pairs, dim))
    return np.concatenate([first, first + 0.5 * rng.standard_normal((pairs, dim))]).astype(np.float32)


def check(z: np.ndarray, temperature: float, groups: np.ndarray | None = None) -> None:
    loss, dz = _testing.ntxent(guarded(z), temperature, groups=groups, out=guarded(np.full_like(z, np.nan)))
    want, want_dz = reference.ntxent(z, temperature, groups), reference.ntxent_gradient(z, temperature, groups)
    # A similarity is a sum of D products of fp32 numbers, of size 1 / temperature: its rounding is the loss's.
    similarity_error = 4 * EPS * np.sqrt(z.shape[1]) / temperature
    assert abs(loss - want) <= similarity_error + 8 * EPS * abs(want)
    size = 2 / (temperature * len(z)) * len(z) ** 0.5
    norm = np.maximum(np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True), 1e-12)
    assert (np.abs(dz - want_dz) * norm <= size * (similarity_error + 16 * EPS)).all()


@pytest.mark.parametrize("groups", [None, np.array([0, 1, 0, 2, 0, 1, 0, 2], np.int32)])
def test_the_reference_gradient_is_right(groups):
    z = embeddings(4, 5).astype(np.float64)
    want = gradient(lambda v: reference.ntxent(v, 0.3, groups), z)
    np.testing.assert_allclose(reference.ntxent_gradient(z, 0.3, groups), want, atol=1e-8)


@pytest.mark.parametrize("dim", [2, 3, 8, 17, 128])
@pytest.mark.parametrize("pairs", [1, 2, 3, 8, 9, 32, 33, 70])
def test_ntxent(isa, pairs, dim):
    check(embeddings(pairs, dim), 0.5)


def standardized_ntxent(z: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
    y = reference.standardize(z)
    dz = reference.standardize_gradient(z, reference.ntxent_gradient(y, temperature))
    return reference.ntxent(y, temperature), dz


def test_the_reference_gradient_of_standardized_columns_is_right():
    z = embeddings(4, 5).astype(np.float64)
    want = gradient(lambda v: reference.ntxent(reference.standardize(v), 0.3), z)
    np.testing.assert_allclose(standardized_ntxent(z, 0.3)[1], want, atol=1e-8)


@pytest.mark.parametrize("dim", [2, 31, 32, 33, 128])
@pytest.mark.parametrize("pairs", [2, 9, 33])
def test_ntxent_of_standardized_columns(isa, pairs, dim):
    z = embeddings(pairs, dim) + np.float32(3)  # a common part, as a projection head gives it
    loss, dz = _testing.ntxent(guarded(z), 0.2, out=guarded(np.full_like(z, np.nan)), standardize=True)
    want, want_dz = standardized_ntxent(z, 0.2)
    # Columns are rounded once, to eps of numbers of size 1; the rest is as in `check`.
    error = 8 * EPS * np.sqrt(dim) / 0.2
    assert abs(loss - want) <= error + 8 * EPS * abs(want)
    assert np.abs(dz - want_dz).max() <= 2 / (0.2 * len(z) ** 0.5) * (error + 16 * EPS)
    again = _testing.ntxent(z, 0.2, n_threads=3, standardize=True)
    assert again[0] == loss and (again[1] == dz).all()


def test_equal_embeddings_cannot_be_reached_when_columns_are_standardized(isa):
    z = embeddings(8, 6)
    near = np.ones_like(z) + np.float32(0.05) * z  # all almost one point
    assert abs(_testing.ntxent(near, 0.5)[0] - np.log(15)) < 0.01
    far = _testing.ntxent(z, 0.5, standardize=True)[0]
    assert abs(_testing.ntxent(near, 0.5, standardize=True)[0] - far) < 0.05
    loss, dz = _testing.ntxent(np.ones_like(z), 0.5, standardize=True)  # no variance at all: no division by zero
    assert abs(loss - np.log(15)) < 1e-6 and np.isfinite(dz).all()


@pytest.mark.parametrize("temperature", [0.02, 0.05, 0.1, 2.0])
def test_ntxent_temperatures(isa, temperature):
    check(embeddings(20, 64), temperature)


def test_ntxent_large():
    z = embeddings(1024, 2048)
    loss, dz = _testing.ntxent(z, 0.1, n_threads=2)
    u = z / np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
    s = u @ u.T / 0.1
    np.fill_diagonal(s, -np.inf)
    positive = s[np.arange(2048), (np.arange(2048) + 1024) % 2048]
    want = (np.log(np.exp(s - 10).sum(axis=1)) + 10 - positive).mean()
    assert abs(loss - want) < 1e-5
    assert np.isfinite(dz).all()
    np.testing.assert_allclose((dz.astype(np.float64) * z).sum(axis=1), 0, atol=1e-7)  # no pull along the row


def test_ntxent_of_one_pair_is_zero(isa):
    loss, dz = _testing.ntxent(embeddings(1, 4), 0.1)
    assert abs(loss) < 1e-6 and np.abs(dz).max() < 1e-6


def test_ntxent_of_equal_rows_is_the_logarithm_of_their_number(isa):
    loss, _ = _testing.ntxent(np.ones((16, 6), np.float32), 0.5)
    assert abs(loss - np.log(15)) < 1e-6


@pytest.mark.parametrize("scale", [1e-10, 1e18, 3e37])
def test_ntxent_does_not_depend_on_the_length(isa, scale):
    z = embeddings(6, 10)
    loss, dz = _testing.ntxent((z / np.abs(z).max() * np.float32(scale)).astype(np.float32), 0.2)
    want, _ = _testing.ntxent(z, 0.2)
    assert abs(loss - want) < 1e-5 and np.isfinite(dz).all()


def test_ntxent_with_a_zero_row(isa):
    z = embeddings(5, 7)
    z[3] = 0
    loss, dz = _testing.ntxent(z, 0.5)
    want = reference.ntxent_gradient(z, 0.5)
    assert abs(loss - reference.ntxent(z, 0.5)) < 1e-6
    np.testing.assert_allclose(dz[3], want[3], rtol=1e-4, atol=1e-5 * np.abs(want[3]).max())
    np.testing.assert_allclose(np.delete(dz, 3, 0), np.delete(want, 3, 0), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ntxent_tells_of_non_finite_embeddings(isa, bad):
    z = embeddings(20, 7)
    z[33, 2] = bad
    loss, _ = _testing.ntxent(z, 0.5)
    assert np.isnan(loss)


@pytest.mark.parametrize("pairs", [2, 9, 40])
def test_ntxent_without_negatives_of_the_same_subject(isa, pairs):
    z = embeddings(pairs, 12)
    subjects = np.random.default_rng(1).integers(0, max(2, pairs // 3), pairs)
    groups = np.concatenate([subjects, subjects]).astype(np.int32)
    check(z, 0.2, groups)
    different = np.arange(2 * pairs, dtype=np.int32)
    assert _testing.ntxent(z, 0.2, groups=different)[0] == _testing.ntxent(z, 0.2)[0]
    alone, _ = _testing.ntxent(z, 0.2, groups=np.zeros(2 * pairs, np.int32))
    assert abs(alone) < 1e-6  # nothing left but the positives


def test_ntxent_with_threads(isa):
    z = embeddings(100, 96)
    want = _testing.ntxent(z, 0.1)
    for n_threads in (2, 3):
        loss, dz = _testing.ntxent(z, 0.1, n_threads=n_threads)
        assert loss == want[0] and np.array_equal(dz, want[1])


def test_ntxent_errors():
    z = embeddings(2, 3)
    with pytest.raises(ValueError, match="temperature: expected a value above 0, got 0"):
        _testing.ntxent(z, 0.0)
    with pytest.raises(ValueError, match="even number of rows"):
        _testing.ntxent(z[:3], 0.5)
    with pytest.raises(ValueError, match="at least one pair"):
        _testing.ntxent(z[:0], 0.5)
    with pytest.raises(
        ValueError, match=r"groups: expected shape \(4\), got \(3\)|groups: expected shape \(4,\), got \(3,\)"
    ):
        _testing.ntxent(z, 0.5, groups=np.zeros(3, np.int32))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (5, 4), (33, 10)])
def test_cross_entropy(shape, weighted, smoothing):
    smoothing = float(np.float32(smoothing))  # as the core stores it
    rng = np.random.default_rng(shape)
    logits = (3 * rng.standard_normal(shape)).astype(np.float32)
    labels = rng.integers(0, shape[1], shape[0]).astype(np.int32)
    weights = rng.uniform(0.1, 2, shape[1]).astype(np.float32) if weighted else None
    loss, correct, dlogits = _testing.cross_entropy(logits, labels, weights, smoothing)
    assert abs(loss - reference.cross_entropy(logits, labels, weights, smoothing)) < 1e-12 * max(1, loss)
    assert correct == (logits.argmax(axis=1) == labels).sum()
    want = gradient(lambda v: reference.cross_entropy(v, labels, weights, smoothing), logits)
    np.testing.assert_allclose(dlogits, want, rtol=EPS, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_as_in_pytorch(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((12, 4)).astype(np.float32)
    labels, weights = rng.integers(0, 4, 12).astype(np.int32), rng.uniform(0.2, 3, 4).astype(np.float32)
    tensor = torch.from_numpy(logits).double().requires_grad_()
    layer = torch.nn.CrossEntropyLoss(torch.from_numpy(weights).double(), label_smoothing=smoothing)
    want = layer(tensor, torch.from_numpy(labels).long())
    want.backward()
    loss, _, dlogits = _testing.cross_entropy(logits, labels, weights, smoothing)
    assert abs(loss - want.item()) < 1e-7  # the smoothing is a float32 here
    np.testing.assert_allclose(dlogits, tensor.grad.numpy(), rtol=4 * EPS, atol=1e-8)


def test_cross_entropy_of_extremes():
    logits = np.array([[1e30, -1e30, 0], [0, 0, 0], [np.nan, 0, 0]], np.float32)
    loss, correct, dlogits = _testing.cross_entropy(logits[:2], np.array([0, 0], np.int32))
    assert abs(loss - np.log(3) / 2) < 1e-12 and correct == 2  # ties go to the first
    assert np.isfinite(dlogits).all()
    assert np.isnan(_testing.cross_entropy(logits, np.array([0, 0, 1], np.int32))[0])


def test_cross_entropy_errors():
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="labels: expected classes from 0 to 2, got 3 in row 1"):
        _testing.cross_entropy(logits, np.array([0, 3], np.int32))
    with pytest.raises(ValueError, match=r"label_smoothing: expected a value in \[0, 1\), got 1"):
        _testing.cross_entropy(logits, np.array([0, 1], np.int32), None, 1.0)
    with pytest.raises(ValueError, match="class_weights: expected a positive sum"):
        _testing.cross_entropy(logits, np.array([0, 0], np.int32), np.array([0, 1, 1], np.float32))
