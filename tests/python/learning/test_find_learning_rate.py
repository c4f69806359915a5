"""The learning-rate range test."""

from __future__ import annotations

import math

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

from simclr_mri import Classifier, LearningRates, SimCLR, datasets, find_learning_rate

TINY = {"arch": "resnet18", "batch_size": 8, "verbose": 0}


@pytest.fixture(scope="module")
def ds() -> datasets.Dataset:
    return datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")


@pytest.fixture(scope="module")
def found(ds) -> LearningRates:
    return find_learning_rate(Classifier(**TINY, optimizer="sgd"), ds, lowest=1e-4, highest=1e4, n_steps=40)


def test_the_rates_rise_by_a_factor_until_the_loss_does(found):
    np.testing.assert_allclose(found.lrs, np.geomspace(1e-4, 1e4, 40)[: len(found.lrs)])
    assert found.diverged and len(found.lrs) < 40
    assert 1e-4 < found.suggestion < 1 and found.suggestion < found.steepest * 10
    assert len(found.losses) == len(found.smoothed) == len(found.lrs) == len(found.rows())


def test_the_average_is_that_of_the_paper_of_adam(found):
    average = 0.0
    for step, loss in enumerate(found.losses):
        average = 0.9 * average + 0.1 * loss
        assert found.smoothed[step] == pytest.approx(average / (1 - 0.9 ** (step + 1)))


def test_its_steps_are_those_of_fit_and_the_same_each_time(ds):
    """The first step's loss is that of the network that `fit` begins with; the estimator stays as it is."""
    ssl = SimCLR(**TINY)
    once, again = (find_learning_rate(ssl, ds, n_steps=10, highest=1e-2) for _ in range(2))
    assert once == again and not once.diverged and "model_" not in vars(ssl)
    losses = []

    class Watch:
        def on_step_end(self, run):
            losses.append(run.result["loss"])

    SimCLR(**TINY, epochs=1).fit(ds, callbacks=[Watch()])
    assert once.losses[0] == losses[0]


def test_it_shows_itself(found):
    ax = found.plot()
    assert ax.get_xscale() == "log" and "suggested" in ax.get_legend().get_texts()[-1].get_text()
    assert str(found).startswith(f"lr={found.suggestion:g}, a tenth of ")
    flat = LearningRates(np.geomspace(1e-3, 1, 4), np.arange(4.0), np.arange(4.0), False)
    assert math.isnan(flat.suggestion) and "the loss did not fall between 0.001 and 1" in str(flat)
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 5}, "n_steps: expected a whole number of at least 10, got 5"),
        ({"lowest": 0.0}, "lowest, highest: expected rising numbers above 0"),
        ({"lowest": 1.0, "highest": 0.1}, "lowest, highest: expected rising numbers above 0"),
    ],
)
def test_mistakes_are_named(ds, options, message):
    with pytest.raises(ValueError, match=message):
        find_learning_rate(SimCLR(**TINY), ds, **options)
    with pytest.raises(TypeError, match="expected a SimCLR or a Classifier, got str"):
        find_learning_rate("resnet18", ds)
