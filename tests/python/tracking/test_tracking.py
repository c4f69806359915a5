"""Trackers against the real libraries: what a run logged is read back from their own files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from simclr_mri import Callback, Classifier, MLflow, TensorBoard, TrainingInterrupted, WandB, datasets
from simclr_mri.cli import main
from simclr_mri.tracking import Tracker

SMALL = {"arch": "resnet18", "epochs": 2, "batch_size": 8, "verbose": 0, "lr": 0.001}


@pytest.fixture(scope="module")
def ds():
    return datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")


def fitted(ds, tracker, folder, **more):
    return Classifier(**SMALL).fit(ds, ds, checkpoint=folder, callbacks=[tracker, *more.get("callbacks", ())])


def same_weights(path, clf):
    stored, mine = load_file(path), clf.network_.state()
    return all(np.array_equal(stored[name], mine[name]) for name in mine)


def test_tensorboard(ds, tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    clf = fitted(ds, TensorBoard(every=1), tmp_path / "run")
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0}).Reload()
    losses = found.Scalars("epoch/loss")
    assert [e.value for e in losses] == pytest.approx(clf.history_.column("loss"), rel=1e-6)
    assert [e.step for e in losses] == [2, 4] and [e.step for e in found.Scalars("step/loss")] == [1, 2, 3, 4]
    assert found.Scalars("epoch/val_balanced_accuracy")[-1].value == pytest.approx(
        clf.history_[-1]["val_balanced_accuracy"]
    )
    picture = found.Images("history")[0]
    assert picture.encoded_image_string.startswith(b"\x89PNG") and picture.width > 200
    content = HParamsPluginData.FromString(found.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    assert content.session_start_info.hparams["lr"].number_value == 0.001
    assert content.session_start_info.hparams["arch"].string_value == "resnet18"
    assert same_weights(tmp_path / "run" / "tensorboard" / "model.safetensors", clf)
    card = (tmp_path / "run" / "tensorboard" / "model_card.md").read_text()
    assert card.startswith("# Model card:") and "lr 0.001" in card
    assert found.Tensors("model card")[0].tensor_proto.string_val[0].decode() == card
    events = sorted((tmp_path / "run" / "tensorboard").iterdir())
    with pytest.warns(UserWarning, match=r"so there is nothing new for TensorBoard\. .*never"):
        again = fitted(ds, TensorBoard(every=1), tmp_path / "run")
    assert np.array_equal(again.predict_proba(ds), clf.predict_proba(ds))
    assert sorted((tmp_path / "run" / "tensorboard").iterdir()) == events


class Stop(Callback):
    def on_epoch_end(self, run):
        if run.row["epoch"] == 1:
            raise KeyboardInterrupt


def test_mlflow_and_a_run_that_goes_on(ds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where it puts artefacts
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow: pip install 'simclr_mri[tracking]'")
    pytest.importorskip("sqlalchemy", reason="needs mlflow's database")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.warns(TrainingInterrupted):
        fitted(ds, MLflow(uri, experiment="brains", every=1), tmp_path / "run", callbacks=[Stop()])
    client = mlflow.MlflowClient(tracking_uri=uri)
    name = json.loads((tmp_path / "run" / "tracking.json").read_text())["mlflow"]
    assert client.get_run(name).info.status == "KILLED"
    clf = fitted(ds, MLflow(uri, experiment="brains", every=1), tmp_path / "run")
    runs = client.search_runs([client.get_experiment_by_name("brains").experiment_id])
    assert [run.info.run_id for run in runs] == [name] and runs[0].info.status == "FINISHED"
    assert runs[0].data.params["lr"] == "0.001" and runs[0].data.params["kind"] == "classifier"
    losses = client.get_metric_history(name, "epoch/loss")
    assert [m.value for m in sorted(losses, key=lambda m: m.step)] == pytest.approx(clf.history_.column("loss"))
    assert {item.path for item in client.list_artifacts(name)} >= {"history.png", "model"}
    assert same_weights(client.download_artifacts(name, "model/model.safetensors", str(tmp_path)), clf)
    with open(client.download_artifacts(name, "model/model_card.md", str(tmp_path))) as card:
        assert card.readline().startswith("# Model card:")


def records_of(path):
    """The records of a .wandb file: LevelDB's log format, 7 bytes of its own before blocks of 32 KiB.

    W&B's own reader is a program without a way in from Python; the records are read by its own classes.
    """
    data, at, parts = path.read_bytes(), 7, []
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        assert 1 <= kind <= 4 and at + 7 + size <= len(data), f"a broken record at byte {at}"
        parts.append(data[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []
    assert at == len(data) and not parts


def read_back(run):
    """What the offline runs in a run folder hold: rows by name, config, files of artefacts, ids, exit codes."""
    wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="needs wandb")
    found = {"rows": {}, "config": {}, "files": {}, "ids": [], "exits": []}
    for path in sorted(run.rglob("*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        for data in records_of(path):
            record = wandb_internal_pb2.Record.FromString(data)
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                found["rows"].setdefault(name, []).append(json.loads(item.value_json))
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            found["ids"] += [record.run.run_id] if record.HasField("run") else []
            found["exits"] += [record.exit.exit_code] if record.HasField("exit") else []
            for artefact in (record.artifact, record.request.log_artifact.artifact):
                assert not artefact.name or artefact.type == "model"
                found["files"] |= {item.path: item.local_path for item in artefact.manifest.contents}
    return found


def test_wandb_offline_and_a_run_that_goes_on(ds, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs wandb: pip install 'simclr_mri[tracking]'")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "home"))
    run = tmp_path / "run"
    with pytest.warns(TrainingInterrupted):
        fitted(ds, WandB("brains", every=1), run, callbacks=[Stop()])
    clf = fitted(ds, WandB("brains", every=1), run)
    found = read_back(run)
    rows = found["rows"]
    assert set(found["ids"]) == {json.loads((run / "tracking.json").read_text())["wandb"]}
    assert found["exits"] == [0, 0] and len(list(run.rglob("*.wandb"))) == 2
    assert rows["epoch/loss"] == pytest.approx(clf.history_.column("loss"))
    assert rows["epoch/val_balanced_accuracy"] == pytest.approx(clf.history_.column("val_balanced_accuracy"))
    assert len(rows["step/loss"]) == 4 and sorted(set(rows["_step"])) == [1, 2, 3, 4]
    assert found["config"]["lr"] == 0.001 and found["config"]["kind"] == "classifier"
    png = next(run.rglob(rows["history/path"][-1])).read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) == rows["history/size"][-1] and rows["history/width"][-1] > 200
    assert set(found["files"]) == {"model.safetensors", "model_card.md"}
    assert same_weights(found["files"]["model.safetensors"], clf)
    with open(found["files"]["model_card.md"]) as card:
        assert card.readline().startswith("# Model card:")
    assert all(run in Path(path).parents for path in found["files"].values()), "in the run folder, nowhere else"
    assert not list((tmp_path / "home").rglob("*.safetensors")) and not list((tmp_path / "home").rglob("tmp*"))


# ---- mistakes ------------------------------------------------------------------------------------------------------


def test_a_library_that_is_not_there(monkeypatch, capsys, tmp_path):
    import importlib

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    for tracker in (TensorBoard, MLflow, WandB):
        with pytest.raises(ImportError, match=r"pip install 'simclr_mri\[tracking\]'"):
            tracker()


def test_a_tracker_that_fails_is_a_warning_and_training_goes_on(ds):
    class Away(Tracker):
        package, title = "json", "Away"
        calls = 0

        def begin(self, run, parameters):
            pass

        def scalars(self, values, step):
            Away.calls += 1
            raise OSError("the server is away")

    with pytest.warns(UserWarning, match="Away: the server is away. Training goes on without it"):
        clf = Classifier(**SMALL).fit(ds, callbacks=[Away(every=1)])
    assert clf.position_.finished and Away.calls == 1


def test_the_shell(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    pytest.importorskip("wandb", reason="needs wandb: pip install 'simclr_mri[tracking]'")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    datasets.write_phantoms(tmp_path / "d", n_subjects=20, slices=1, image_size=32)
    small = "--task cdr0 --arch resnet18 --epochs 1 --batch-size 8 --verbose 0".split()
    line = ["finetune", str(tmp_path / "d"), *small]
    run = tmp_path / "run"
    assert main([*line, "--out", str(run), "--track", "tensorboard", "--track-to", str(tmp_path / "tb")]) == 0
    assert list((tmp_path / "tb").glob("events.*")) and not (run / "tensorboard").exists()
    assert main([*line, "--out", str(tmp_path / "w"), "--track", "wandb"]) == 0
    found = read_back(tmp_path / "w")
    assert found["config"]["arch"] == "resnet18" and len(found["rows"]["epoch/loss"]) == 1
    assert main([*line, "--out", str(tmp_path / "b"), "--track-to", "x"]) == 1
    assert "--track-to: expected one --track beside it" in capsys.readouterr().err
