"""The monitors of pretraining: alignment, uniformity, spread, chance loss, and the linear probe."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import reference.monitor as reference
from reference.loss import ntxent
from simclr_mri import SimCLR, datasets, plot, split
from simclr_mri.learning import read_checkpoint
from simclr_mri.learning._monitor import Collapse, CollapseWarning, chance_loss, probe_balanced_accuracy

TINY = {"arch": "resnet18", "verbose": 0, "batch_size": 8, "warmup_epochs": 0, "lr": 0.02, "knn_every": 1}


@pytest.fixture(scope="module")
def parts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=16, slices=2, image_size=32, task="cdr0")
        return list(split(ds, by="subject", seed=0))


@pytest.fixture(scope="module")
def ssl(parts):
    return SimCLR(**TINY, epochs=2).fit(parts[0], parts[1])


@pytest.mark.parametrize("pairs", [2, 3, 20])
def test_collapse_equals_its_definition(pairs):
    z = np.random.default_rng(pairs).normal(size=(2 * pairs, 16)).astype(np.float32)
    found = Collapse.of(z)
    u = reference.unit(z)
    # float32 rows of 16 numbers: an error of 16 eps in a squared distance.
    assert found.alignment == pytest.approx(reference.alignment(z), rel=16 * 1.2e-7)
    mean = (reference.uniformity(z[:pairs]) + reference.uniformity(z[pairs:])) / 2
    assert found.uniformity == pytest.approx(mean, abs=32 * 1.2e-7)
    assert found.spread == pytest.approx(np.mean(u.std(axis=0)) * 4, rel=1e-5)


def test_collapse_at_its_ends():
    n, d = 600, 128  # more rows of a view than uniformity looks at
    even = np.random.default_rng(0).normal(size=(n, d))
    good = Collapse.of(np.concatenate([even, even]))
    assert (
        good.alignment == 0
        and good.uniformity == pytest.approx(-4, abs=0.1)
        and good.spread == pytest.approx(1, abs=0.01)
    )
    assert not good.is_collapsed
    point = Collapse.of(np.ones((64, d)) + 1e-3 * np.random.default_rng(0).normal(size=(64, d)))
    assert point.is_collapsed and point.uniformity == pytest.approx(0, abs=1e-3)
    assert Collapse.of(np.zeros((4, 8))).is_collapsed  # no division by zero
    assert Collapse.of(np.eye(2, 8)).uniformity == 0  # one pair has no other image


def test_chance_is_the_loss_of_equal_embeddings():
    assert chance_loss(9) == pytest.approx(ntxent(np.ones((18, 5)), 0.3))
    groups = np.tile([0, 1, 1, 2, 2, 2, 3], 2)
    assert chance_loss(7, groups) == pytest.approx(ntxent(np.ones((14, 5)), 0.3, groups))


def test_the_probe_tells_what_can_be_told():
    rng = np.random.default_rng(0)
    labels = (np.arange(300) % 10 == 0).astype(np.int64)  # one in ten: balance matters
    points = rng.normal(size=(300, 20)) + 3 * labels[:, None]
    assert probe_balanced_accuracy(points[:200], labels[:200], points[200:], labels[200:]) > 0.95
    noise = rng.normal(size=(300, 20))
    assert abs(probe_balanced_accuracy(noise[:200], labels[:200], noise[200:], labels[200:]) - 0.5) < 0.25
    assert np.isnan(probe_balanced_accuracy(points, np.zeros(300, int), points, labels))


def test_history_tells_of_collapse_and_chance(ssl):
    for row in ssl.history_:
        assert row["chance_loss"] == pytest.approx(np.log(15), abs=1e-4)
        assert 0 < row["spread"] < 1.1 and 0 <= row["alignment"] <= 4 and -5 < row["uniformity"] <= 0
        assert 0 <= row["knn_accuracy"] <= 1 and 0 <= row["probe_balanced_accuracy"] <= 1


def test_the_monitor_survives_a_checkpoint(ssl, tmp_path):
    again = SimCLR.load(ssl.save(tmp_path / "ssl"))
    twice = [read_checkpoint(one.save(tmp_path / "again")).extra for one in (again, ssl)]
    assert twice[0]["collapse"] == twice[1]["collapse"] and twice[0]["chance"] == twice[1]["chance"]


def test_a_collapse_is_said_aloud(parts, monkeypatch):

    monkeypatch.setattr(Collapse, "of", classmethod(lambda cls, z: cls(0.01, 0.0, -0.001)))
    with pytest.warns(CollapseWarning, match=r"epoch 1: the embeddings have collapsed .*spread 0\.010"):
        SimCLR(**{**TINY, "knn_every": 0}, epochs=1).fit(parts[0])


def test_pictures(ssl):
    ax = plot.collapse(ssl.history_)
    assert [line.get_label().split()[0] for line in ax.lines] == ["spread", "alignment"]
    assert plot.collapse([{"epoch": 1, "loss": 1.0}]).get_title(loc="left") == "no embeddings were measured"
    ax = plot.history(ssl.history_)
    assert any("chance" in str(text.get_text()) for text in ax.get_legend().get_texts())
    assert any("linear probe" in str(text.get_text()) for text in ax.get_legend().get_texts())
