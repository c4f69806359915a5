"""Answers about new pictures: the table is what `predict_proba` says, whatever the folder and its size."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import datasets
from simclr_mri.cli import main
from simclr_mri.datasets import _stream


@pytest.fixture(scope="module")
def clf(tmp_path_factory):
    ds = datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    found = sm.Classifier(arch="resnet18", epochs=1, batch_size=8, verbose=0).fit(ds)
    found.save(tmp_path_factory.mktemp("run"))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Flat PNG files of another size than the model's, with the subject in their names."""
    made = tmp_path_factory.mktemp("made")
    datasets.write_phantoms(made, n_subjects=6, slices=3, image_size=48, seed=3)
    flat = tmp_path_factory.mktemp("new")
    for path in made.glob("*/*.png"):
        if path.parent.name[0] != "_":
            shutil.copy(path, flat / path.name)
    return flat


@pytest.mark.parametrize("piece", [4, 256])
def test_the_table_is_predict_proba(clf, folder, monkeypatch, piece):
    monkeypatch.setattr(_stream, "PIECE", piece)
    table = clf.predict_table(folder, groups=r"(sub-\d+)")
    ds = datasets.ImageFolder(folder, image_size=32, labelled=False, groups=r"(sub-\d+)")
    assert table.files == tuple(ds.files) and len(table) == 18
    np.testing.assert_allclose(table.probabilities, clf.predict_proba(ds), atol=1e-6)
    for row in table.rows("subject"):
        mine = table.probabilities[table.subjects == row["subject"]]
        assert row["n_slices"] == len(mine) == 3
        np.testing.assert_allclose([row[name] for name in clf.classes_], mine.mean(axis=0))
        assert row["predicted"] == clf.classes_[mine.mean(axis=0).argmax()]
    again = clf.predict_table(ds)
    assert again.files == table.files and (again.subjects == table.subjects).all()
    np.testing.assert_allclose(again.probabilities, table.probabilities, atol=1e-6)


def test_saved_and_read_again(clf, folder, tmp_path):
    table = clf.predict_table(folder, groups=r"(sub-\d+)")
    assert [path.name for path in table.save(tmp_path / "a.csv")] == ["a.csv", "a_by_subject.csv"]
    with open(tmp_path / "a.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "subject", "predicted", *clf.classes_]
    assert rows[0]["predicted"] == table.predicted[0]
    assert sum(float(rows[0][name]) for name in clf.classes_) == pytest.approx(1, abs=2e-6)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="reads and writes .parquet")
    table.save(tmp_path / "a.parquet")
    for level, name in (("slice", "a"), ("subject", "a_by_subject")):
        pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / f"{name}.parquet"), table.to_frame(level))
    with pytest.raises(ValueError, match=r"a\.xlsx: expected a file name that ends in \.csv or \.parquet"):
        table.save(tmp_path / "a.xlsx")


def test_a_class_named_as_a_column(clf, folder):
    odd = sm.learning.PredictionTable(("a",), np.array([[0.4, 0.6]]), ("file", "predicted"))
    assert odd.rows() == [{"file": "a", "predicted": "predicted", "p_file": 0.4, "p_predicted": 0.6}]
    with pytest.raises(ValueError, match="the subjects are unknown: give groups="):
        odd.rows("subject")


def test_damaged_files_are_named_or_left_out(clf, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_stream, "PIECE", 1)
    shutil.copytree(folder, tmp_path / "some")
    (tmp_path / "some" / "zz.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"zz\.png"):
        clf.predict_table(tmp_path / "some")
    with pytest.warns(datasets.DataWarning, match=r"(?s)zz\.png.*left out"):
        assert len(clf.predict_table(tmp_path / "some", errors="warn")) == 18


def test_not_a_number_is_no_answer(clf, folder, monkeypatch):
    monkeypatch.setattr(sm.Classifier, "predict_proba", lambda self, data: np.full((len(data), 2), np.nan))
    with pytest.raises(FloatingPointError, match=r"sub-0001.*\.png: the probabilities are not finite"):
        clf.predict_table(folder)


def test_command(clf, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    clf.save(tmp_path / "run")
    assert main(["predict", str(tmp_path / "run"), str(folder), "--groups", r"(sub-\d+)", "--out", "~/b.csv"]) == 0
    said = capsys.readouterr().out
    assert "18 pictures" in said and "predicted by subject" in said and str(tmp_path / "b_by_subject.csv") in said
    assert (tmp_path / "b.csv").exists()
    assert main(["predict", "~/run", str(folder)]) == 0
    assert (tmp_path / "run" / f"answers_{folder.name}.csv").exists()
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(folder), "--out", "b.txt"]) == 1
    assert "b.txt: expected a file name that ends in .csv or .parquet" in capsys.readouterr().err
