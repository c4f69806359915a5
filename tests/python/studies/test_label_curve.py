"""label_curve: probes against plain formulas, intervals that cover, runs that go on, and what users meet."""

from __future__ import annotations

import json
import re
import shutil
import warnings

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import simclr_mri as sm
from simclr_mri.cli import main
from simclr_mri.datasets import dark_share
from simclr_mri.splits import units_of
from simclr_mri.studies import LabelCurve, Start, label_curve_report
from simclr_mri.studies._curve_scores import FoldScores, Scores, auc_and_parts, recall_and_parts
from simclr_mri.studies._probes import TEMPERATURE, Gram, neighbour_scores, ridge_scores
from simclr_mri.studies._starts import LEVEL_DEVIATION, MEAN_LEVEL, Extractor, same_intensities

SSL = {"arch": "resnet18", "epochs": 1, "batch_size": 8, "verbose": 0}


@pytest.fixture(scope="module")
def phantoms():
    return sm.datasets.phantoms(seed=1, n_subjects=30, slices=2, image_size=32, task="cdr0")


def features_and_draws(seed, n_draws=4):
    """Of 20 training subjects of three classes, draws of 4, 3 and 2."""
    rng = np.random.default_rng(seed)
    train, test = rng.normal(3, 2, (20, 5)), rng.normal(3, 2, (7, 5))
    labels = np.arange(20) % 3
    parts = [[rng.permutation(np.flatnonzero(labels == c))[: 4 - c] for c in range(3)] for _ in range(n_draws)]
    return train, test, labels, np.array([np.concatenate(part) for part in parts])


def standardised(train, test):
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return [(x - mean) / deviation / np.sqrt(x.shape[1]) for x in (train, test)]


# ---- probes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
def test_ridge_is_the_weighted_ridge_of_the_primal(penalty):
    train, test, labels, draws = features_and_draws(0)
    found = ridge_scores(Gram.of(train, test), labels, draws, 3, penalty)
    a, b = standardised(train, test)
    for draw, scores in zip(draws, found, strict=True):
        x, y = a[draw], np.eye(3)[labels[draw]]
        weights = 1 / (3 * y.sum(axis=0)[labels[draw]])
        one = np.column_stack([x, np.ones(len(x))])  # the intercept is not penalised
        normal = one.T @ (len(x) * weights[:, None] * one) + penalty * np.diag([1.0] * x.shape[1] + [0.0])
        solution = np.linalg.solve(normal, one.T @ (len(x) * weights[:, None] * y))
        np.testing.assert_allclose(scores, np.column_stack([b, np.ones(len(b))]) @ solution, atol=1e-9)


def test_neighbours_by_hand():
    train, test, labels, draws = features_and_draws(1)
    found = neighbour_scores(Gram.of(train, test), labels, draws, 3)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in standardised(train, test))
    for draw, scores in zip(draws, found, strict=True):
        for t in range(len(test)):
            similar = a[draw] @ b[t]
            votes = np.zeros(3)
            for i in np.argsort(-similar)[:3]:  # the root of 9
                c = labels[draw[i]]
                votes[c] += np.exp((similar[i] - 1) / TEMPERATURE) / (labels[draw] == c).sum()
            np.testing.assert_allclose(scores[t], votes / votes.sum(), atol=1e-9)


def test_probes_do_not_depend_on_chunks(monkeypatch):
    from simclr_mri.studies import _probes

    train, test, labels, draws = features_and_draws(2, n_draws=7)
    gram = Gram.of(train, test)
    whole = ridge_scores(gram, labels, draws, 3)
    monkeypatch.setattr(_probes, "CHUNK_BYTES", 1)
    assert (ridge_scores(gram, labels, draws, 3) == whole).all()


def test_a_class_without_a_label_is_never_answered():
    train, test, labels, _ = features_and_draws(3)
    draws = np.flatnonzero(labels < 2)[None, :6]
    for probe in (ridge_scores, neighbour_scores):
        scores = probe(Gram.of(train, test), labels, draws, 3)
        assert np.isneginf(scores[:, :, 2]).all() and np.isfinite(scores[:, :, :2]).all()


def test_constant_features_count_as_nothing():
    train, test, labels, draws = features_and_draws(4)
    more = [np.column_stack([x, np.full(len(x), 0.1)]) for x in (train, test)]
    assert np.isfinite(ridge_scores(Gram.of(*more), labels, draws, 3)).all()


# ---- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_are_scikit_learns(n_classes):
    rng = np.random.default_rng(n_classes)
    labels, scores = np.arange(24) % n_classes, rng.normal(size=(5, 24, n_classes)).round(1)
    area, parts = auc_and_parts(scores, labels, n_classes)
    for s, found in zip(scores, area, strict=True):
        each = [roc_auc_score(labels == c, s[:, c]) for c in ([1] if n_classes == 2 else range(n_classes))]
        assert found == pytest.approx(np.mean(each))
    balanced, shares = recall_and_parts(scores, labels, n_classes)
    assert balanced == pytest.approx([balanced_accuracy_score(labels, s.argmax(axis=1)) for s in scores])
    assert shares == pytest.approx((scores.argmax(axis=2) == labels).mean(axis=0))
    if n_classes == 2:  # each subject's share of pairs in the right order
        assert parts[labels == 1].mean() == pytest.approx(area.mean())
        assert parts[labels == 0].mean() == pytest.approx(area.mean())


LUCK = 0.5  # of a draw: the deviation of its distance between the classes


def simulated(rng, counts, shifts, n_draws=20):
    """A curve of normal scores: starts share half of the variance of subjects, each draw has luck of its own."""
    labels = np.repeat(np.arange(len(counts)), counts)
    scores = Scores(len(shifts), (4,), 1, n_draws, labels, len(counts))
    common = rng.normal(size=len(labels))
    for start, shift in enumerate(shifts):
        mine = (common + rng.normal(size=len(labels))) / np.sqrt(2)
        distance = shift + LUCK * rng.normal(size=(n_draws, 1))
        values = mine + distance * (labels - 0.5)
        two = np.stack([-values, values], axis=2)
        fold = FoldScores(np.arange(len(labels)), labels, 2)
        fold.add(0, "linear", two)
        fold.add(0, "knn", two)
        scores.add(start, 0, fold)
    about = {"n_splits": 1, "repeats": 1, "draws": n_draws, "data": "simulated", "penalty": 1.0}
    return LabelCurve(tuple("abcd"[: len(shifts)]), (4,), scores, ("well", "sick"), labels, about, ["a"])


@pytest.mark.parametrize("counts", [(20, 20), (100, 30)])
def test_intervals_cover_the_truth(counts):
    rng = np.random.default_rng(0)
    shifts = np.array([0.6, 1.2])
    # The mean of a normal distribution function over a normal distance is one of a wider deviation.
    truth = {
        "auc": stats.norm.cdf(shifts / np.sqrt(2 + LUCK**2)),
        "balanced_accuracy": stats.norm.cdf(shifts / np.sqrt(4 + LUCK**2)),
    }
    hits = {(metric, what): 0 for metric in truth for what in ("a", "b", "difference")}
    n = 500
    for _ in range(n):
        curve = simulated(rng, counts, shifts)
        for metric, values in truth.items():
            limits = curve.interval(metric)[:, 0]
            for i, name in enumerate("ab"):
                hits[metric, name] += limits[i, 0] <= values[i] <= limits[i, 1]
            d = curve.difference("a", "b", 4, metric)
            hits[metric, "difference"] += d.low <= values[1] - values[0] <= d.high
    for key, hit in hits.items():
        assert 0.92 <= hit / n <= 0.98, (key, hit / n)


def test_csf_is_one_number_an_image_and_a_reference(phantoms):
    start = Start("csf")
    assert start.name == "CSF fraction" and start.is_reference and not start.has_network
    extractor = Extractor(start, phantoms, sm.SimCLR(**SSL), None, "", {})
    features = extractor.features(0, 0, np.arange(len(phantoms)))
    share, (names, _, members) = dark_share(phantoms.images), units_of(phantoms, "subject")
    by_subject = np.array([share[members == i].mean() for i in range(len(names))])
    np.testing.assert_allclose(features, by_subject[:, None], rtol=1e-6)


def test_csf_tells_wide_ventricles_from_narrow():
    rng, labels = np.random.default_rng(0), np.arange(24) % 2
    images = np.zeros((24, 32, 32, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:28, 4:28] = rng.integers(120, 220)  # how bright a scan is says nothing
        half = 3 + 2 * label + int(rng.integers(2))
        image[16 - half : 16 + half, 16 - half : 16 + half] = 20
    ds = sm.Dataset(images, labels, classes=["well", "ill"], subjects=[f"s{i}" for i in range(24)])
    curve = sm.label_curve(ds, ["csf", "pixels"], [8], draws=20, repeats=2, n_splits=3)
    assert curve.references == ("CSF fraction", "pixels 16 x 16")
    assert curve.mean("auc")[0, 0] > 0.95


def test_the_page_opens_with_the_start_that_matters():
    def opening(skills, references):
        curve = simulated(np.random.default_rng(0), (40, 40), skills)
        curve.references = references
        return label_curve_report(curve).to_html().split("</div>")[0]

    text = opening((0.3, 2.0), ("a", "b"))
    assert re.search(r"The highest is b with 0\.\d+: higher than a by 0\.\d+ \(0\.\d+ to 0\.\d+\)\.", text)
    assert re.search(r"(?<!The highest is )b with 0\.\d+: higher than a by", opening((0.3, 2.0), ("a",)))
    assert "not distinguishable from a" in opening((0.5, 0.5), ("a",))


def test_many_pairs_are_a_table():
    curve = simulated(np.random.default_rng(0), (40, 40), (0.3, 0.5, 2.0, 0.4))
    curve.references = ("a", "b")
    head, rows = curve.pairs_table()
    assert [row[:2] for row in rows] == [["b", "a"], ["c", "a"], ["c", "b"], ["d", "a"], ["d", "b"]]
    d = curve.difference("a", "c")
    assert rows[1][2] == str(d) and rows[1][3] == "4" and rows[1][4] == "-" and rows[1][5] == f"{d.smallest:.3f}"
    assert "c, less\n  a  +0." in str(curve) and "higher: 4" in str(curve)
    page = label_curve_report(curve).to_html()
    assert ">higher with</th>" in page and len(head) == 6


def test_too_few_subjects_get_no_interval():
    curve = simulated(np.random.default_rng(0), (12, 3), (0.5, 0.5))
    d = curve.difference("a", "b", 4)
    assert np.isnan(d.low) and d.verdict == "too few: sick has 3 subjects" and "no interval" in str(d)
    assert "too few" in str(curve) and "NaN" not in label_curve_report(curve).to_html()


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_label_curve_is_the_same_again_and_goes_on(phantoms, tmp_path, all_figures):
    starts = {"pixels": "pixels", "again": Start("pixels"), "ssl": sm.SimCLR(**SSL)}
    options = {"n_labelled": [4, 8], "draws": 6, "n_splits": 3, "seed": 3}
    plain = sm.label_curve(phantoms, starts, **options)
    kept = sm.label_curve(phantoms, starts, **options, out=tmp_path)
    assert plain.about["repeats"] == 1 and plain.references == ("pixels", "again")
    for probe in ("linear", "knn"):
        assert (plain.mean("auc", probe) == kept.mean("auc", probe)).all()
    d = plain.difference("pixels", "again", 4)
    assert (d.difference, d.low, d.high) == (0, 0, 0)  # the same draws, folds and test subjects

    features = sorted((tmp_path / "features").iterdir())
    assert len(features) == 4  # pixels once, and a pretraining a fold
    assert len(list((tmp_path / "pretraining").iterdir())) == 3
    features[0].unlink()
    shutil.rmtree(tmp_path / "pretraining")
    told = []
    again = sm.label_curve(phantoms, {**starts, "random": "random"}, **options, out=tmp_path, progress=told.append)
    assert (again.mean()[:3] == plain.mean()).all() and told
    assert {p.name for p in tmp_path.iterdir()} >= {
        "label_curve.csv", "differences.csv", "label_curve.json", "report.html",
        "label_curve.png", "label_curve.pdf", "label_curve.svg",
    }  # fmt: skip
    rows = json.loads((tmp_path / "label_curve.json").read_text())["scores"]
    assert len(rows) == 4 * 2 * 2 * 2 and rows[0]["mean"] == pytest.approx(float(plain.mean()[0, 0]))


def test_one_pretraining_serves_all_layers(phantoms, monkeypatch):
    """With and without a folder; whether intensities are normalised is another pretraining."""
    fitted, fit = [], sm.SimCLR.fit
    monkeypatch.setattr(sm.SimCLR, "fit", lambda self, ds, **kw: fitted.append(self.epochs) or fit(self, ds, **kw))
    ssl, told = sm.SimCLR(**SSL), []
    starts = [Start(ssl, layer=layer, intensities=i) for i in ("as_is", "subject") for layer in ("layer3", "layer4")]
    options = {"n_labelled": [4], "draws": 2, "n_splits": 2}
    curve = sm.label_curve(phantoms, starts, **options, progress=told.append)
    assert fitted == [1] * 4  # two folds and two networks
    assert sum("2 pretrainings" in text for text in told) == 2
    alone = sm.label_curve(phantoms, starts[1:2], **options)
    assert curve.mean()[1] == alone.mean()[0] != curve.mean()[0]


def test_labels_of_test_subjects_are_not_used(phantoms):
    """Features that name the subject but not the class score as guesses do."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 255, (30, 16, 16), np.uint8), 2, axis=0)
    ds = sm.Dataset(images, phantoms.labels, phantoms.classes, phantoms.subjects)
    curve = sm.label_curve(ds, ["pixels"], [16], draws=5, repeats=20, n_splits=5)
    assert abs(curve.mean()[0, 0] - 0.5) < 0.12 and curve.interval()[0, 0, 0] < 0.5


def test_four_classes_and_given_weights(tmp_path):
    ds = sm.datasets.phantoms(seed=2, n_subjects=40, slices=1, image_size=32)
    ssl = sm.SimCLR(**SSL).fit(ds[:20].unlabelled())
    ssl.save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curve = sm.label_curve(ds, ["random", str(tmp_path)], [4, 16], draws=3, repeats=1, n_splits=2)
    assert "pretraining" in curve.notes[tmp_path.name] or "training set" in curve.notes[tmp_path.name]
    assert np.isfinite(curve.mean()).all() and np.isfinite(curve.mean("balanced_accuracy", "knn")).all()


def test_same_intensities(phantoms):
    dark = sm.Dataset((phantoms.images * 0.5).astype(np.uint8), phantoms.labels, phantoms.classes, phantoms.subjects)
    one, two = same_intensities(phantoms).images, same_intensities(dark).images
    assert np.abs(one.astype(int) - two).max() <= 6  # what halving rounds off
    mine = one[phantoms.subjects == phantoms.subjects[0]]
    assert mine.mean() == pytest.approx(MEAN_LEVEL, abs=4) and mine.std() == pytest.approx(LEVEL_DEVIATION, abs=6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_labelled": [4, 30]}, r"n_labelled=30: expected 2 .* to 20"),
        ({"n_labelled": [1]}, r"n_labelled=1: expected 2"),
        ({"draws": 0}, r"draws: expected .* got 0"),
        ({"penalty": 0.0}, r"penalty: expected a number above 0"),
        ({"starts": []}, r"starts: expected at least one"),
        ({"starts": ["pixels", "pixels"]}, r"two are called 'pixels 16 x 16'"),
        ({"starts": [Start("random", layer="layer4", grid=2)]}, r"grid=2: layer4 has 1 x 1 places"),
        ({"starts": [3]}, r"starts: expected 'pixels'"),
    ],
)
def test_mistakes_are_named(phantoms, options, message):
    with pytest.raises(ValueError, match=message):
        sm.label_curve(phantoms, **{"starts": ["pixels"], "n_splits": 3, "repeats": 1, "draws": 2, **options})


def test_what_else_is_refused(phantoms, tmp_path):
    with pytest.raises(ValueError, match="the subjects are unknown"):
        sm.label_curve(phantoms.with_subjects(None), ["pixels"])
    with pytest.raises(FileNotFoundError, match="no such run or file"):
        sm.label_curve(phantoms, [str(tmp_path / "nothing")])
    knows = sm.Classifier(arch="resnet18", epochs=1, batch_size=16, verbose=0).fit(phantoms)
    with pytest.raises(ValueError, match="has learned from labels of these images"):
        sm.label_curve(phantoms, [knows])
    with pytest.raises(ValueError, match="must be fitted"):
        sm.label_curve(phantoms, [sm.Classifier(arch="resnet18")])


def test_transform_of_a_stage(phantoms):
    ssl = sm.SimCLR(**{**SSL, "epochs": 0}).fit(phantoms)
    whole, quarters = ssl.transform(phantoms, layer="layer3"), ssl.transform(phantoms, layer="layer3", grid=2)
    np.testing.assert_allclose(quarters.reshape(len(phantoms), 4, -1).mean(axis=1), whole, rtol=1e-4, atol=1e-5)
    maps = ssl.transform(phantoms), ssl.model_.region_means(phantoms, "layer4", 1)
    np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-5)


def test_command(tmp_path, capsys):
    sm.datasets.write_phantoms(tmp_path / "data", n_subjects=24, slices=2, image_size=32)
    words = ["label-curve", str(tmp_path / "data"), "--task", "cdr0", "--starts", "pixels", "csf", "random", "--out"]
    more = ["--n-labelled", "4", "8", "--draws", "5", "--repeats", "2", "--splits", "3", "--slices", "1"]
    more += ["--intensities", "as_is", "subject", "--layer", "layer4", "layer3"]
    assert main([*words, str(tmp_path / "out"), *more]) == 0
    text = capsys.readouterr().out
    assert "24 images" in text and "random weights, less\n  pixels 16 x 16" in text and "report.html" in text
    assert all(name in text for name in ("random weights, layer3", "pixels 16 x 16, normalised", "CSF fraction"))
    assert "CSF fraction, layer3" not in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<table") >= 5 and "<img" in page
    assert main([*words, str(tmp_path / "out"), "--starts", "pixel"]) == 1
    assert "starts are pixels, csf, random, simclr or a path" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, str(tmp_path / "out"), "--folds", "3"])
    assert "the number of folds is --splits" in capsys.readouterr().err
