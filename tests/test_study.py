"""The study: every arm, one table, and the same table after it was stopped."""

from __future__ import annotations

import warnings

import matplotlib

matplotlib.use("agg")

import pytest

from simclr_mri import Classifier, SimCLR, datasets, split, study, study_report
from simclr_mri.studies import Arm, spread_examples

SSL = {"arch": "resnet18", "epochs": 1, "batch_size": 8, "verbose": 0}
CLF = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0}


@pytest.fixture(scope="module")
def data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=24, slices=2, image_size=32, task="3class")
        return ds, split(ds, seed=0)


def run(data, out, **more):
    ds, parts = data
    options = {"fractions": (0.3, 1.0), "n_bootstrap": 20, "split": parts, "pretrain": SSL, "finetune": CLF, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return study(ds, out=out, **options)


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return run(data, out), out


def test_one_row_an_arm_and_the_files(done):
    result, out = done
    assert [(row["init"], row["label_fraction"]) for row in result.rows] == [
        ("random", 0.3), ("random", 1.0), ("simclr", 0.3), ("simclr", 1.0),
    ]  # fmt: skip
    assert result.rows[0]["n_labelled"] < result.rows[1]["n_labelled"]
    for name in ("study.csv", "study.md", "study.png", "manifest.json", "log.jsonl"):
        assert (out / name).stat().st_size > 0
    assert (
        (out / "random" / "30pct_seed0" / "test_predictions.csv").read_text().startswith("file,subject,class,predicted")
    )
    head, lines = result.table()
    assert head == ["labels", "images", "random", "simclr"] and [line[0] for line in lines] == ["30 %", "100 %"]
    assert "| 30 % |" in result.to_markdown() and "<table>" in result._repr_html_()
    assert result.level == "subject" and len(result.differences("random", "simclr")) == 2


def test_repeating_it_trains_nothing_and_gives_the_same_table(done, data, monkeypatch):
    result, out = done
    csv = (out / "study.csv").read_bytes()
    for cls in (SimCLR, Classifier):
        monkeypatch.setattr(cls, "_step", lambda *_: pytest.fail("trained again"))
    assert run(data, out).rows == result.rows
    assert (out / "study.csv").read_bytes() == csv


@pytest.mark.parametrize("n", [2, 6])
def test_a_stopped_study_goes_on_to_the_same_table(done, data, tmp_path, monkeypatch, n):
    class Stop(Exception):
        pass

    count = [0]
    with monkeypatch.context() as patch:
        for cls in (SimCLR, Classifier):
            plain = cls._step

            def step(self, *args, plain=plain):
                count[0] += 1
                if count[0] > n:
                    raise Stop
                return plain(self, *args)

            patch.setattr(cls, "_step", step)
        with pytest.raises(Stop):
            run(data, tmp_path)
    run(data, tmp_path)
    assert (tmp_path / "study.csv").read_bytes() == (done[1] / "study.csv").read_bytes()


def test_another_study_in_the_same_folder_is_refused(done, data):
    with pytest.raises(ValueError, match="holds a run with epochs=1"):
        run(data, done[1], finetune={**CLF, "epochs": 2})


def test_examples_are_spread_over_classes_and_subjects(data):
    chosen = spread_examples(data[0], 9)
    assert len(chosen) == 9 and set(chosen.labels) == {0, 1, 2}
    assert len(set(chosen.subjects)) == 9
    assert len(spread_examples(data[0][:4], 9)) == 4


def test_the_report_of_a_study(done, tmp_path):
    result, _ = done
    report = study_report(result, title="A <study>", intro="What & why.", pretrain_batch_size=8)
    text = report.write(tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64") >= 8
    for words in ("A &lt;study&gt;", "What &amp; why.", "Confusion matrices", "ventricles", "difference", "images/s"):
        assert words in text
    assert text.count("not a medical device") == 1
    assert "http://" not in text and "https://" not in text and 'src="data:' in text
    assert Arm("a/b.safetensors", 0.01, 2).folder == "b_safetensors/1pct_seed2"
