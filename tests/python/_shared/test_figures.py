"""Figures that the package made are closed once they are saved; those of the user stay open."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import pyplot

import simclr_mri as sm
from simclr_mri._shared import png_tag, save_figure

HISTORY = sm.History([{"epoch": 1, "loss": 4.1}, {"epoch": 2, "loss": 3.2}])


@pytest.fixture
def users():
    figure, ax = pyplot.subplots()
    yield ax
    assert pyplot.fignum_exists(figure.number), "the user's figure was closed"
    assert pyplot.get_fignums() == [figure.number], "a figure was left open"


def test_what_shows_and_saves_closes_only_what_it_made(users, tmp_path):
    HISTORY._repr_html_()
    report = sm.Report("a").figure(sm.plot.history(HISTORY)).figure(users)
    report.figures([(sm.plot.confusion([[1, 2], [3, 4]], ["a", "b"]), "one")]).write(tmp_path / "a.html")
    save_figure(sm.plot.collapse([]).figure, tmp_path / "a.png", dpi=50)
    save_figure(users.figure, tmp_path / "b.png", dpi=50)
    assert png_tag(sm.plot.history(HISTORY, ax=users).figure, "drawn into the user's axes").startswith("<img")
    assert all(Path(tmp_path / name).stat().st_size > 500 for name in ("a.html", "a.png", "b.png"))


def test_an_audit_and_its_page(users, tmp_path):
    ds = sm.datasets.phantoms(n_subjects=16, slices=2, image_size=32, task="cdr0")
    sm.audit(ds, baselines=False).to_html(tmp_path / "audit.html")
