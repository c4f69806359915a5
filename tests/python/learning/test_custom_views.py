"""Views of your own, in the place of an augmentation's name."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from simclr_mri import Classifier, SimCLR, TrainingInterrupted, datasets, plot
from simclr_mri.views import Preprocess, augmented_batch, plain_batch

TINY = {"arch": "resnet18", "epochs": 2, "batch_size": 6, "verbose": 0}


@pytest.fixture(scope="module")
def ds() -> datasets.Dataset:
    return datasets.phantoms(n_subjects=12, slices=1, image_size=32, task="cdr0")


def plain(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return images / np.float32(255)


def noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    assert images.dtype == np.uint8 and images.ndim == 4
    images[:] = images // 2  # a function may write to what it is given
    return images / 255 + rng.normal(0, 0.05, images.shape)


def test_what_a_callable_gives_is_normalised_as_other_views_are(ds):
    preprocess, rows = Preprocess.of(ds, True), np.array([3, 1, 7])
    found = augmented_batch(ds, rows, plain, preprocess, seed=0, epoch=0)
    np.testing.assert_allclose(found, plain_batch(ds, rows, preprocess), atol=1e-6)
    out = np.empty_like(found)
    assert augmented_batch(ds, rows, plain, preprocess, seed=0, epoch=0, out=out) is out
    assert np.array_equal(out, found) and found.dtype == np.float32
    drawn = [augmented_batch(ds, rows, noisy, preprocess, seed=s, epoch=e, view=v) for s, e, v in np.eye(3, dtype=int)]
    assert all(not np.array_equal(drawn[i], drawn[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    before = ds.images.copy()
    assert np.array_equal(ds.images, before)


@pytest.mark.parametrize("estimator", [SimCLR, Classifier])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(ds, tmp_path, estimator):
    whole = estimator(**TINY, views=noisy).fit(ds)
    assert not np.array_equal(whole.transform(ds), estimator(**TINY, views=plain).fit(ds).transform(ds))

    class Stop:
        def on_step_end(self, run):
            if run.step == 3:
                raise KeyboardInterrupt

    with pytest.warns(TrainingInterrupted):
        estimator(**TINY, views=noisy).fit(ds, checkpoint=tmp_path / "run", callbacks=[Stop()])
    with pytest.raises(ValueError, match=r"views='custom: \S*test_custom_views.noisy' .now 'custom: \S*plain'"):
        estimator(**TINY, views=plain).fit(ds, checkpoint=tmp_path / "run")
    loaded = estimator.load(tmp_path / "run")
    loaded.transform(ds)
    with pytest.raises(ValueError, match=r"a checkpoint holds its name alone.* set_params\(views=noisy\)"):
        loaded.fit(ds, checkpoint=tmp_path / "run")
    loaded.set_params(views=noisy, verbose=0).fit(ds, checkpoint=tmp_path / "run")
    assert np.array_equal(loaded.transform(ds), whole.transform(ds))
    assert clone(whole).views is noisy


@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        (lambda images: images, TypeError, r"expected a callable \(images, rng\)"),
        (lambda images, rng: images, ValueError, r"<lambda> gave uint8 \(6, 32, 32, 1\); expected float32"),
        (lambda images, rng: images[:2] / 255, ValueError, r"gave float64 \(2, 32, 32, 1\); expected float32 \(6, 32,"),
        (lambda images, rng: images * 1.0, ValueError, r"gave values up to 2\d\d; expected finite ones around"),
        (lambda images, rng: images * np.nan, ValueError, "gave values up to nan"),
        (lambda images, rng: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_mistakes_are_named(ds, views, error, message):
    with pytest.raises(error, match=message) as found:
        SimCLR(**TINY, views=views).fit(ds)
    if error is ZeroDivisionError:
        assert "In the views" in found.value.__notes__[0]
    else:
        assert str(found.value).startswith("views: ")


def test_they_can_be_drawn(ds):
    assert plot.views(ds, kind=noisy, n=1, n_views=2).get_title(loc="left") == 'image, and views "noisy"'
