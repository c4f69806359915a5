"""Every plot draws on the Axes it is given, or on new ones, and leaves the user's style alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from simclr_mri import History, datasets, evaluate_predictions, plot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    DS = datasets.phantoms(seed=0, n_subjects=12, slices=2, image_size=32)
RNG = np.random.default_rng(0)
PROBABILITIES = RNG.dirichlet(np.ones(4), len(DS))
EVALUATION = evaluate_predictions(DS.labels, PROBABILITIES, DS.classes, DS.subjects, n_bootstrap=20)
ROWS = [
    {"init": init, "label_fraction": f, "seed": s, "balanced_accuracy": 0.3 + f / 2, "balanced_accuracy_low": 0.2}
    for init in ("random", "simclr")
    for f in (0.1, 1.0)
    for s in (0, 1)
]
HISTORY = History([{"epoch": e, "loss": 4 / e, "knn_accuracy": 0.5 if e % 2 else None} for e in range(1, 5)])

PLOTS = {
    "montage": lambda ax: plot.montage(DS, per_class=3, ax=ax),
    "montage without labels": lambda ax: plot.montage(DS.unlabelled(), per_class=3, ax=ax),
    "views": lambda ax: plot.views(DS, n=2, n_views=2, ax=ax),
    "history": lambda ax: plot.history(HISTORY, batch_size=8, ax=ax),
    "empty history": lambda ax: plot.history(History(), ax=ax),
    "confusion": lambda ax: plot.confusion(EVALUATION, level="subject", ax=ax),
    "confusion of an array": lambda ax: plot.confusion([[3, 1], [0, 2]], ["a", "b"], title="t", ax=ax),
    "roc": lambda ax: plot.roc(EVALUATION, ax=ax),
    "roc of several": lambda ax: plot.roc({"random": EVALUATION, "SimCLR": EVALUATION}, level="slice", ax=ax),
    "precision_recall": lambda ax: plot.precision_recall(EVALUATION, ax=ax),
    "reliability": lambda ax: plot.reliability(EVALUATION, ax=ax),
    "label_fractions": lambda ax: plot.label_fractions(ROWS, chance=0.25, ax=ax),
    "cam": lambda ax: plot.cam(DS.images[:3], RNG.random((3, 32, 32)), ax=ax),
    "embedding pca": lambda ax: plot.embedding(RNG.normal(size=(24, 5)), DS.labels, DS.classes, ax=ax),
    "embedding tsne": lambda ax: plot.embedding(RNG.normal(size=(24, 5)), DS.labels, DS.classes, method="tsne", ax=ax),
}


@pytest.mark.parametrize("name", PLOTS)
def test_axes_in_axes_out(name):
    before = dict(matplotlib.rcParams)
    figure, ax = plt.subplots()
    assert PLOTS[name](ax) is ax and PLOTS[name](ax).figure is figure
    new = PLOTS[name](None)
    assert new.figure is not figure
    new.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def test_overlay_keeps_what_is_cold():
    image = RNG.integers(0, 256, (8, 8, 1)).astype(np.uint8)
    heat = np.zeros((8, 8))
    heat[2, 2] = 1
    over = plot.overlay(image, heat)
    cold = heat == 0
    np.testing.assert_array_equal(over[cold], np.repeat(image, 3, axis=2)[cold])
    assert not np.array_equal(over[2, 2], image[2, 2].repeat(3))


def contrast(one: str, two: Sequence[float]) -> float:
    """Ratio of relative luminances, from the standard's formula."""
    light = []
    for colour in (matplotlib.colors.to_rgb(one), two[:3]):
        rgb = np.array(colour)
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(light) / min(light)


def test_numbers_can_be_read_in_every_cell():
    steps = np.linspace(0, 100, 26).astype(int)
    for share in steps:
        ax = plot.confusion([[share, 100 - share], [0, 1]], ["a", "b"])
        (cells,) = ax.images
        for text in ax.texts:
            column, row = text.get_position()
            background = cells.to_rgba(cells.get_array()[row, column])
            assert contrast(text.get_color(), background) >= 4.5, share
        plt.close(ax.figure)


def test_a_confusion_matrix_says_how_many_it_counts():
    assert plot.confusion([[1200, 3], [6, 12]], ["a", "b"], title="val").get_title(loc="left") == "val (n = 1,221)"
    assert plot.confusion(EVALUATION, level="subject").get_title(loc="left") == "n = 12 subjects"


def test_words_of_heat_maps_lie_beside_the_pictures_and_a_bar_says_what_is_hot():
    captions = ["Non 52%", "Mild 40%\n(is Non)"]
    result = SimpleNamespace(maps=RNG.random((2, 32, 32)), images=DS.images[:2], captions=lambda: captions)
    ax = plot.cam(result)
    ax.figure.canvas.draw()
    canvas = ax.images[0].get_array()
    for text, caption in zip(ax.texts, captions, strict=True):
        box = text.get_window_extent().transformed(ax.transData.inverted())
        rows, columns = sorted((box.y0, box.y1)), sorted((box.x0, box.x1))
        assert text.get_text() == caption and rows[0] >= -1
        assert (canvas[: int(rows[1]), int(columns[0]) : int(columns[1])] == 255).all()
    bar = ax.figure.axes[1]
    assert "heat" in bar.get_ylabel() and list(bar.get_yticks()) == [0, 0.5, 1]


def test_saved_figures_hold_their_fonts_and_are_the_same_each_time(tmp_path, all_figures):
    for name in ("one", "two"):
        matplotlib.rcParams["pdf.fonttype"] = 3  # what a user may have
        written = plot.save(plot.confusion([[3, 1], [0, 2]], ["a", "b"]), tmp_path / name)
        assert [path.suffix for path in written] == [".png", ".pdf", ".svg"]
    for suffix in (".png", ".pdf", ".svg"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes(), suffix
    text = (tmp_path / "one.pdf").read_bytes()
    assert b"/FontFile2" in text and b"/Type3" not in text
    assert [path.name for path in plot.save(plt.figure(), tmp_path / "a.b.pdf")] == ["a.b.pdf"]
    with pytest.raises(ValueError, match="format='jpg' is unknown"):
        plot.save(plt.figure(), tmp_path / "a.jpg")


def test_fewer_formats_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_MRI_FIGURES", "png, SVG")
    figure = plot.confusion([[3, 1], [0, 2]], ["a", "b"]).figure
    engine = figure.get_layout_engine()
    assert [path.name for path in plot.save(figure, tmp_path / "a")] == ["a.png", "a.svg"]
    assert figure.get_layout_engine() is engine
    monkeypatch.setenv("SIMCLR_MRI_FIGURES", "jpg")
    with pytest.raises(ValueError, match=r"SIMCLR_MRI_FIGURES='jpg' is unknown.*png"):
        plot.save(figure, tmp_path / "b")


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"expected an Evaluation, got ndarray.*evaluate_predictions"):
        plot.roc(np.eye(2))
    with pytest.raises(ValueError, match="Did you mean 'tsne'"):
        plot.embedding(np.zeros((4, 2)), np.zeros(4, int), ["a"], method="t-sne")
    with pytest.raises(ValueError, match="level='head' is unknown"):
        plot.confusion(EVALUATION, level="head")


def test_more_lines_than_colours_differ():
    n = 20
    values = np.linspace(0.4, 0.9, 2 * n).reshape(n, 2)
    names = tuple(f"start {i}" for i in range(n))
    ax = plot.label_curve((4, 8), names, values, np.stack([values - 0.1, values + 0.1], axis=-1), ylabel="", chance=0.5)
    lines = [line for line in ax.lines if line.get_label() in names]
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == n
    plt.close(ax.figure)
