"""The command line: pretrain, finetune, evaluate, explain on a folder; mistakes end in one clear line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import warnings

import pytest

from simclr_mri import datasets
from simclr_mri.cli import COMMANDS, Settings, build_parser, main
from simclr_mri.learning._simclr_task import SimCLRTask
from simclr_mri.studies._looks import read_looks

SMALL = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "8", "--verbose", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms as any class folders: PNG files and a table of subjects, nothing that says what they are."""
    root = tmp_path_factory.mktemp("data") / "slices"
    datasets.write_phantoms(root, n_subjects=24, slices=2, image_size=32)
    (root / "phantoms.json").unlink()
    return root


@pytest.fixture(scope="module")
def options(folder):
    return ["--groups", f"{folder}/subjects.csv:subject", "--task", "3class"]


@pytest.fixture(scope="module")
def trained(folder, options, tmp_path_factory):
    """A folder with runs/ssl and runs/clf, made by the commands."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["pretrain", str(folder), *options, *SMALL, "--out", str(runs / "ssl")]) == 0
    line = [
        "finetune",
        str(folder),
        "--init",
        str(runs / "ssl"),
        *SMALL,
        "--label-fraction",
        "0.5",
        "--out",
        str(runs / "clf"),
    ]
    assert main(line) == 0
    return runs


def fails(capsys, line, code=1):
    assert main(line) == code
    captured = capsys.readouterr()
    lines = [text for text in captured.err.splitlines() if ": error: " in text]
    assert len(lines) == 1 and lines[0].startswith(f"simclr-mri {line[0]}: error: ") and "Traceback" not in captured.err
    return captured.err.split(": error: ", 1)[1]


def test_runs_leave_their_files(trained):
    for name in ("ssl", "clf"):
        found = {path.name for path in (trained / name).iterdir()}
        assert {"checkpoint.safetensors", "log.csv", "log.jsonl", "manifest.json", "history.png"} <= found
    manifest = json.loads((trained / "clf" / "manifest.json").read_text())
    assert manifest["data"]["options"]["task"] == "3class"  # taken over from the pretraining
    assert manifest["parameters"]["label_fraction"] == 0.5 and manifest["versions"]["simclr_mri"]
    assert manifest["peak_memory_bytes"] > 1e7 and len(manifest["data"]["fingerprint"]) == 64


def test_evaluate_remembers_data_and_split(trained, capsys):
    assert main(["evaluate", str(trained / "clf"), "--n-bootstrap", "20"]) == 0
    text = capsys.readouterr().out
    assert "per slice" in text and "per subject" in text and "balanced accuracy" in text
    out = trained / "clf" / "evaluation_test"
    assert json.loads((out / "evaluation.json").read_text())["classes"][0] == "Non_Demented"
    with open(out / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and {"file", "subject", "class", "predicted"} <= set(rows[0])
    assert (out / "confusion_by_subject.png").stat().st_size > 1000
    assert (
        main(["evaluate", str(trained / "clf"), "--on", "val", "--n-bootstrap", "0", "--out", str(trained / "x")]) == 0
    )
    assert (trained / "x" / "evaluation.json").exists()


def test_every_look_at_the_test_set_is_on_record(trained, capsys):
    before = len(read_looks(trained / "clf"))
    for _ in range(2):
        assert main(["evaluate", str(trained / "clf"), "--n-bootstrap", "0"]) == 0
    assert f"Access {before + 2} to this test set" in capsys.readouterr().out
    assert main(["evaluate", str(trained / "clf"), "--on", "val", "--n-bootstrap", "0"]) == 0
    looks = read_looks(trained / "clf")
    assert len(looks) == before + 2 and looks[-1]["purpose"] == "evaluate command" and looks[-1]["images"] == 6


def test_a_run_of_a_fold_is_evaluated_on_what_its_fold_tests(folder, options, tmp_path, capsys):
    small = ["--finetune.arch", "resnet18", "--finetune.epochs", "1", "--finetune.verbose", "0", "--n-bootstrap", "5"]
    line = ["study", str(folder), *options, *small, "--splits", "3", "--inits", "random", "--label-fractions", "1"]
    assert main([*line, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "on the test sets of 3 splits together" in text and "3 networks were trained" in text
    assert "Learning curves" in (tmp_path / "report.html").read_text()
    run = tmp_path / "split1" / "random" / "100pct_seed0"
    assert main(["evaluate", str(run), "--n-bootstrap", "0"]) == 0
    files = (run / "test_predictions.csv", run / "evaluation_test" / "predictions.csv")
    assert files[0].read_text() == files[1].read_text()
    assert [look["purpose"] for look in read_looks(tmp_path)] == ["judged"] * 3 + ["evaluate command"]
    assert "expected 0 to 2" in fails(capsys, ["data", str(folder), *options, "--folds", "3", "--fold", "3"])
    assert "--splits" in fails(capsys, [*line, "--folds", "3", "--out", str(tmp_path)])


def test_a_study_chooses_among_rates(folder, options, tmp_path, capsys):
    small = ["--finetune.arch", "resnet18", "--finetune.epochs", "1", "--finetune.verbose", "0", "--n-bootstrap", "5"]
    line = ["study", str(folder), *options, *small, "--inits", "random", "--label-fractions", "1", "--out"]
    assert main([*line, str(tmp_path / "a"), "--lrs", "1e-3", "1e-4"]) == 0
    printed = capsys.readouterr().out
    assert "tried the learning rates 0.0001 and 0.001 alike" in printed and "rates.csv" in printed
    assert len((tmp_path / "a" / "rates.csv").read_text().splitlines()) == 3
    assert "two or more to choose from" in fails(capsys, [*line, str(tmp_path / "b"), "--lrs", "1e-3"])


def test_explain(trained, capsys):
    line = ["explain", str(trained / "clf"), "--n-images", "4", "--layer", "layer2", "--method", "layercam"]
    assert main([*line, "--checks", "3", "--target", "Very_Mild_Demented"]) == 0
    printed = capsys.readouterr().out
    assert "black background" in printed and "area between insertion and deletion" in printed
    for name in ("layercam_layer2.png", "deletion_insertion.png", "class_maps.png", "checks.json"):
        assert (trained / "clf" / "heat_maps" / name).stat().st_size > 400
    assert (trained / "clf" / "heat_maps" / "regions.csv").read_text().startswith("region,heat,area")


def test_repeating_a_command_reads_the_finished_run(trained, folder, options, monkeypatch, capsys):

    monkeypatch.setattr(SimCLRTask, "step", lambda *_: pytest.fail("trained again"))
    line = ["pretrain", str(folder), *options, *SMALL, "--out", str(trained / "ssl")]
    assert main(line) == 0
    message = fails(capsys, [*line, "--temperature", "0.3"])
    assert "holds a run with --temperature 0.2 (now 0.3)" in message and "resume" in message


def test_another_split_than_the_pretrainings_is_said(trained, folder, tmp_path, capsys):
    line = ["finetune", "--init", str(trained / "ssl"), *SMALL, "--split-seed", "7", "--out", str(tmp_path / "clf")]
    assert main(line) == 0
    assert "pretrained on another split (split_seed differ)" in capsys.readouterr().err


@pytest.fixture
def plain_folder(folder, tmp_path):
    """The same images called by numbers, which tell no subjects."""
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        place = tmp_path / "plain" / path.parent.name / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return tmp_path / "plain"


def test_data_describes_a_folder(folder, plain_folder, options, tmp_path, capsys):
    assert main(["data", str(folder), *options, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "48 images" in text and "train" in text and (tmp_path / "montage.png").exists()
    assert main(["data", str(folder)]) == 0
    assert "subjects by their names (BIDS)" in capsys.readouterr().out
    assert main(["data", str(plain_folder)]) == 0
    assert "Subjects are unknown" in capsys.readouterr().out


def test_audit_writes_a_page(folder, tmp_path, capsys):
    line = ["audit", str(folder), "--task", "cdr0", "--baselines", "no"]
    assert main([*line, "--out", str(tmp_path / "audit")]) == 0
    printed = capsys.readouterr()
    assert "subjects" in printed.out and "looking for images of the same subject" in printed.err
    assert "<html" in (tmp_path / "audit" / "audit.html").read_text()
    assert (tmp_path / "audit" / "audit.json").stat().st_size > 400
    assert "Very_Mild_Demented" not in printed.out
    assert main(["audit", str(folder), "--task", "2class"]) == 1
    assert "task: expected one of 4class, 3class, cdr0, got '2class'" in capsys.readouterr().err


def test_bench_measures(tmp_path, capsys):
    line = ["bench", "--rows", "resnet18", "--rounds", "1", "--precision", "fp32", "bf16", "--layers"]
    assert main([*line, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "ResNet-18, 64 px, supervised step, batch 64, bf16" in text and "images/s" in text and "GFLOP/s" in text
    assert text.count("layer4.1.conv2.weight") == 2
    first, second = json.loads((tmp_path / "bench.json").read_text())
    assert (first["precision"], second["precision"]) == ("fp32", "bf16") and first["flops"] == second["flops"] > 1e9
    assert (tmp_path / "bench.png").stat().st_size > 4000


# ---- mistakes ------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named(capsys, tmp_path):
    assert "nowhere" in fails(capsys, ["pretrain", str(tmp_path / "nowhere")])


def test_an_empty_class_is_named(capsys, tmp_path, folder):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(next(folder.glob("Non_Demented/*.png")).read_bytes())
    assert "b" in fails(capsys, ["data", str(tmp_path)])


def test_a_corrupt_image_is_named(capsys, tmp_path, folder):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i, path in enumerate(sorted(folder.glob("Non_Demented/*.png"))[:4]):
            (tmp_path / name / f"{i}.png").write_bytes(path.read_bytes())
    (tmp_path / "b" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    assert "broken.jpg" in fails(capsys, ["data", str(tmp_path)])
    assert main(["data", str(tmp_path), "--errors", "warn"]) == 0
    captured = capsys.readouterr()
    assert "broken.jpg" in captured.err and "8 images" in captured.out


def test_subjects_of_images_that_are_not_there_are_named(capsys, tmp_path, folder):
    table = (folder / "subjects.csv").read_text().splitlines()
    (tmp_path / "subjects.csv").write_text("\n".join(table[:-3]) + "\nNon_Demented/ghost.png,Non_Demented,s999,1\n")
    message = fails(capsys, ["data", str(folder), "--groups", f"{tmp_path}/subjects.csv:subject"])
    assert ".png" in message


def test_unknown_subjects_are_not_split_by_subject(capsys, plain_folder):
    message = fails(capsys, ["pretrain", str(plain_folder), *SMALL])
    assert "subjects are unknown" in message and "--groups" in message and "--by image" in message


def test_a_class_with_one_subject_is_named(capsys, tmp_path, folder):
    for name, source, n in (("many", "Non_Demented", 8), ("one", "Mild_Demented", 2)):
        (tmp_path / name).mkdir()
        for path in sorted(folder.glob(f"{source}/*.png"))[:n]:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    line = ["data", str(tmp_path), "--groups", r"^\w+/(.+)_slice"]
    assert "class one has one subject" in fails(capsys, line)


@pytest.mark.parametrize("line", [["--version"], ["pretrain", "D"]])
def test_an_import_that_fails_ends_in_one_line(line):
    """The core is loaded after the arguments are read, and refuses what the environment says of it."""
    command = [sys.executable, "-m", "simclr_mri", *line]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SMRI_ISA": "foo"})
    prog = " ".join(["simclr-mri", *line[:1]]) if len(line) > 1 else "simclr-mri"
    assert done.returncode == 1 and done.stderr.startswith(f"{prog}: error: ") and done.stderr.count("\n") == 1
    assert "SMRI_ISA" in done.stderr and "foo" in done.stderr


@pytest.mark.parametrize("module", ["simclr_mri.cli", "simclr_mri.cli._data", "simclr_mri.learning._checkpoint"])
def test_ctrl_c_during_imports_ends_in_one_line(module):
    """As if it came while `module` is imported."""
    code = f"""
import runpy, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
sys.argv = ["simclr-mri", "data", "nowhere"]
runpy.run_module("simclr_mri", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr.startswith("simclr-mri: stopped") and done.stderr.count("\n") == 1


def test_a_batch_larger_than_the_data_is_named(capsys, folder, options, tmp_path):
    line = ["pretrain", str(folder), *options, *SMALL, "--batch-size", "999", "--out", str(tmp_path / "o")]
    assert "--batch-size 999 is larger than the" in fails(capsys, line)


def test_a_truncated_checkpoint_is_named(capsys, trained, tmp_path):
    whole = (trained / "clf" / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(whole[: len(whole) // 2])
    message = fails(capsys, ["evaluate", str(tmp_path)])
    assert "checkpoint.safetensors" in message and "not a whole safetensors file" in message


def test_a_full_disk_is_named(capsys, folder, options, tmp_path):
    (tmp_path / "file").write_text("")
    line = ["pretrain", str(folder), *options, *SMALL, "--out", str(tmp_path / "file" / "run")]
    assert str(tmp_path / "file") in fails(capsys, line)  # a folder that cannot be made: the same road as a full disk


def test_wrong_classes_are_named(capsys, trained):
    assert "the model knows the classes" in fails(capsys, ["evaluate", str(trained / "clf"), "--task", "4class"])


def test_typing_mistakes_are_usage_errors(capsys):
    for line in (
        ["pretrain"],
        ["pretrain", "D", "--epochs", "x"],
        ["pretrian", "D"],
        ["pretrain", "D", "--epoch", "3"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(line)
        assert stop.value.code == 2
    assert main([]) == 2 and "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pretrian D", "there is no command 'pretrian'. Did you mean 'pretrain'?"),
        ("pretrain D --epoch 3", "unknown option --epoch. Did you mean '--epochs'?"),
        ("study D --finetune.epoch=3", "unknown option --finetune.epoch. Did you mean '--finetune.epochs'?"),
        ("pretrain D --arch resnet20", "--arch 'resnet20' is unknown. Did you mean 'resnet50'?"),
        ("pretrain D E", "unexpected 'E'"),
        ("pretrain D --lr fast", "--lr: expected a number, got 'fast'"),
        ("demo --data.image-size 48", "--data.image-size is not used here: the size of the phantoms is --image-size."),
        ("demo --data.folds=5", "--data.folds is not used here: the number of folds is --splits."),
        ("demo --data.groups foo", "--data.groups is not used here: the phantoms' subjects are known."),
        ("demo --finetune.label-fraction 0.1", "is not used here: the shares of the labels are those of --label-fr"),
        ("study D --finetune.init nope", "--finetune.init is not used here: the starts are those of --inits."),
        ("study D --fold 2", "--fold is not used here: all folds of --splits are tested."),
    ],
)
def test_typing_mistakes_end_in_one_line_that_helps(line, said, capsys):
    with pytest.raises(SystemExit):
        main(line.split())
    text = capsys.readouterr().err
    assert said in text and text.count("\n") == 1


def test_a_file_for_several_commands_says_what_one_does_not_use(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_text("[data]\nfold = 2\n[finetune]\ninit = 'runs/ssl'\nepochs = 3\n")
    args = build_parser().parse_args(["study", "D", "--config", str(file)])
    with pytest.warns(UserWarning) as notes:
        assert Settings(args).finetune.epochs == 3
    assert [str(note.message) for note in notes] == [
        f"{file}: init is not used here: the starts are those of --inits",
        f"{file}: fold is not used here: all folds of --splits are tested",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Settings(build_parser().parse_args(["finetune", "D", "--config", str(file)]))


def test_a_missing_start_is_found_before_anything_is_timed(folder, capsys, monkeypatch):
    monkeypatch.setattr("simclr_mri.learning._task.Task.measure", None)
    assert "--init nowhere" in fails(capsys, ["finetune", str(folder), "--by", "image", "--init", "nowhere"])
    assert "(10 % is 0.1)" in fails(capsys, ["finetune", str(folder), "--label-fraction", "10"])


def test_a_place_that_cannot_be_written_is_found_first(folder, options, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("simclr_mri.SimCLR.fit", None)
    (tmp_path / "file").touch()
    line = ["pretrain", str(folder), *options, *SMALL, "--out", str(tmp_path / "file" / "run")]
    assert "expected a folder" in fails(capsys, line) and "is a file" in fails(capsys, line)


def test_a_run_that_is_there_is_announced(trained, folder, capsys):
    line = ["finetune", str(folder), "--init", str(trained / "ssl"), *SMALL, "--label-fraction", "0.5"]
    assert main([*line, "--verbose", "1", "--out", str(trained / "clf")]) == 0
    assert f"{trained / 'clf'}/ holds a finished run\n" in capsys.readouterr().out


def test_the_environment_is_left_as_it_was(tmp_path, monkeypatch, capsys):
    """A notebook that calls main and then starts another kernel must not hand on a backend without pictures."""
    monkeypatch.delenv("MPLBACKEND", raising=False)
    fails(capsys, ["data", str(tmp_path / "nowhere")])
    assert "MPLBACKEND" not in os.environ


def test_debug_shows_where(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["data", str(tmp_path / "nowhere"), "--debug"])


def test_help_and_import_are_fast_and_light():
    """Neither may load what takes a second."""
    heavy = ("sklearn", "matplotlib", "scipy")
    code = f"import sys, simclr_mri.cli as c; c.build_parser(); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    commands = {"demo", "data", "audit", "pretrain", "finetune", "predict", "evaluate", "explain"}
    commands |= {"export", "runs", "slices", "study", "label-curve", "bench", "help", "completion", "compare"}
    assert set(COMMANDS) == commands
    assert main(["--version"]) == 0
