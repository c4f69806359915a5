"""Messages speak the language of the place, and what they tell to type works there, in Python and in the shell."""

from __future__ import annotations

import json
import re
import shutil
import warnings

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import datasets
from simclr_mri._shared import ARCHS, STORED, did_you_mean, for_the_shell, option_text
from simclr_mri.cli import COMMANDS, build_parser, main
from simclr_mri.config import SECTIONS, option_fields
from simclr_mri.config._options import check_value
from simclr_mri.learning import prune, read_checkpoint, spare_bytes

SMALL = "--arch resnet18 --epochs 1 --batch-size 8 --verbose 0".split()
PYTHON = re.compile(r"(?<![-\w./:'\"])[a-z_]+=['\"\d(\[TFN]")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    datasets.write_phantoms(root / "known", n_subjects=24, slices=2, image_size=32)
    for number, path in enumerate(sorted((root / "known").glob("*/*.png"))):  # numbers tell no subjects
        place = root / "plain" / path.parent.name / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    ds = datasets.ImageFolder(root / "known")
    kept = {str(s) for c in range(4) for s in list(dict.fromkeys(ds.subjects[ds.labels == c]))[: 1 if c == 3 else 6]}
    for path, subject in zip(ds.files, ds.subjects, strict=True):
        if str(subject) in kept:
            place = root / "rare" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "known" / path, place)
    return root


@pytest.fixture(scope="module")
def ssl(data, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "ssl"
    assert main(["pretrain", str(data / "known"), "--task", "3class", *SMALL, "--out", str(place)]) == 0
    return place


def run(capsys, *words):
    code = main([str(word) for word in words])
    found = capsys.readouterr()
    assert not PYTHON.search(found.out + found.err), found.out + found.err  # no Python in the shell
    assert "Errno" not in found.err
    return code, found.out + found.err


def test_another_run_in_the_folder(data, ssl, capsys, tmp_path):
    shutil.copytree(ssl, tmp_path / "ssl")
    line = ["pretrain", data / "known", "--task", "3class", *SMALL, "--out", tmp_path / "ssl"]
    code, text = run(capsys, *line, "--temperature", "0.3")
    assert code == 1 and "--temperature 0.2 (now 0.3)" in text and "--resume never" in text
    code, text = run(capsys, *line, "--epochs", "2")
    assert code == 1 and "--schedule constant" in text and f"--weights {tmp_path / 'ssl'}" in text
    assert run(capsys, *line, "--temperature", "0.3", "--resume", "never")[0] == 0
    longer = ["--weights", tmp_path / "ssl", "--out", tmp_path / "b", "--epochs", "0"]
    assert run(capsys, *line, *longer)[0] == 0


@pytest.mark.parametrize(
    ("line", "said", "way_out"),
    [
        ("finetune DATA/known --init resnet18", "--arch resnet18", "finetune DATA/known --arch resnet18"),
        ("finetune DATA/plain", "--by image", "finetune DATA/plain --by image"),
        ("finetune DATA/known --label-fraction 10", "(10 % is 0.1)", "finetune DATA/known --label-fraction 0.5"),
        ("pretrain DATA/known --batch-size 99", "choose at most 30", "pretrain DATA/known --batch-size 30"),
        ("pretrain DATA/known --micro-batch 3", "--micro-batch 3: expected a divisor of --batch-size 8", ""),
        ("data DATA/rare", "--merge Mild_Demented,Moderate_Demented=joined", "data DATA/rare WAY"),
        ("data DATA/known", "--merge Mild_Demented,Moderate_Demented=joined", "data DATA/known WAY"),
        ("data DATA/known", "--split 0.8 0.2", "data DATA/known WAY"),
        ("pretrain DATA/plain --by image --positives same_subject", "--groups", ""),
        ("finetune DATA/known --init SSL --channels 3", "--channels 1", "finetune DATA/known --init SSL WAY"),
        ("finetune DATA/known --task 3class --class-weight x", "--class-weight x is unknown", ""),
        (
            "finetune DATA/known --class-weight Mild_Dementd=2",
            "there is no class 'Mild_Dementd'. Did you mean 'Mild_Demented'?",
            "finetune DATA/known --class-weight Mild_Demented=2",
        ),
        (
            "finetune DATA/known --class-weight 2",
            "--class-weight 2 is unknown. Known: balanced. Or give NAME=NUMBER,NAME=NUMBER.",
            "",
        ),
        ("finetune DATA/known --freeze layer5", "Did you mean 'layer4'?", "finetune DATA/known --freeze layer4"),
        ("finetune DATA/known --layer-rates fc=9", "--layer-rates: there is no 'fc'", ""),
        ("finetune DATA/known --llrd 0.5", "Did you mean '--layer-decay'?", "finetune DATA/known --layer-decay 0.5"),
        ("study DATA/known --finetune.epochs -1", "--finetune.epochs -1: expected at least 0", ""),
        ("study DATA/known --pretrain.lr nan", "--pretrain.lr nan: expected a finite number", ""),
        ("evaluate SSL/nowhere", "SSL/nowhere", ""),
        ("runs --yes", "simclr-mri runs --prune --yes", ""),
    ],
)
def test_the_way_out_works(data, ssl, capsys, tmp_path, line, said, way_out):
    fill = {"DATA": str(data), "SSL": str(ssl)}

    def filled(text):
        for name, value in fill.items():
            text = text.replace(name, value)
        return text

    def complete(words):
        training = words[0] in ("pretrain", "finetune")
        more = [w for i in range(0, len(SMALL), 2) if SMALL[i] not in words for w in SMALL[i : i + 2]]
        return [*words, *(more if training else []), *(["--out", str(tmp_path / "out")] if training else [])]

    try:
        _, text = run(capsys, *complete(filled(line).split()))
    except SystemExit:
        text = capsys.readouterr().err
    assert filled(said) in text
    if way_out:
        again, after = run(capsys, *complete(filled(way_out.replace("WAY", said)).split()))
        assert again == 0 and filled(said) not in after


def test_python_hears_python(data):
    known = datasets.ImageFolder(data / "known")
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        sm.split(known)
    text = str(notes[0].message)
    way = re.search(r"(merge_classes\(.*?\}\))", text)[1]
    joined = eval(f"ds.{way}", {"ds": known})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sm.split(joined)
        sm.split(known, fractions=eval(re.search(r"fractions=(\(.*?\))", text)[1]))
    with pytest.raises(ValueError, match=r"by='subject': the subjects .* by='image'"):
        sm.split(datasets.ImageFolder(data / "plain"))
    assert "--" not in text


def test_a_file_and_its_cause_without_a_number(tmp_path, capsys):
    (tmp_path / "x.toml").mkdir()
    code, text = run(capsys, "data", tmp_path, "--config", tmp_path / "x.toml")
    assert code == 1 and f"{tmp_path / 'x.toml'}: Is a directory" in text


def test_the_language_of_the_place():
    assert option_text("resume", "never") == "resume='never'"
    with for_the_shell():
        assert option_text("resume", "never") == "--resume never" and option_text("lr", None) == "--lr none"
        assert option_text("nesterov", True) == "--nesterov" and option_text("nesterov", False) == "--no-nesterov"
    with pytest.raises(ValueError, match=r"^x.toml: epochs=-1: expected at least 0"):
        check_value(SECTIONS["pretrain"], "epochs", -1, "x.toml")


# ---- names of other libraries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("seed", "random_state"),
        ("learning_rate", "lr"),
        ("batch", "batch_size"),
        ("n_epochs", "epochs"),
        ("max_epochs", "epochs"),
        ("backbone", "arch"),
        ("num_workers", "n_jobs"),
        ("tau", "temperature"),
        ("augmentation", "views"),
    ],
)
def test_names_of_other_libraries(theirs, ours, capsys):
    with pytest.raises(TypeError, match=f"unknown argument '{theirs}'. Did you mean '{ours}'"):
        sm.SimCLR(**{theirs: 1})
    with pytest.raises(ValueError, match=f"unknown parameter '{theirs}'. Did you mean '{ours}'"):
        sm.SimCLR().set_params(**{theirs: 1})
    for command, prefix in (("pretrain", ""), ("study", "pretrain.")):
        with pytest.raises(SystemExit):
            main([command, "D", f"--{prefix}{theirs.replace('_', '-')}", "1"])
        assert f"Did you mean '--{prefix}{ours.replace('_', '-')}'?" in capsys.readouterr().err


def test_functions_too():
    for call in (sm.split, datasets.phantoms, sm.check_cams, sm.evaluate_predictions, datasets.write_phantoms):
        with pytest.raises(TypeError, match=r"unknown argument 'random_state'. Did you mean 'seed'\?"):
            call(random_state=0)
    with pytest.raises(TypeError, match="Did you mean 'image_size'"):
        datasets.phantoms(img_size=32)


def test_a_synonym_is_never_an_option_beside_its_like():
    """Otherwise "did you mean" would send people from one option to another that means something else."""
    for command in COMMANDS:
        known = [name for action in build_parser().commands[command].all_options() for name in action.option_strings]
        assert all(did_you_mean(f"{name}x", known) for name in known)
    for section in SECTIONS.values():
        names = [field.name for field in option_fields(section)]
        assert all(name in did_you_mean(f"{name}_", names) for name in names if len(name) > 3)


# ---- disk ----------------------------------------------------------------------------------------------------------


def test_the_stored_numbers_are_the_networks():
    from simclr_mri import _core

    for arch in ARCHS:
        network = _core.Network(int(arch[6:]), image_size=32, in_channels=3, head=[(2, 0.0, False)])
        n = sum(int(np.prod(shape)) for name, shape, *_ in network.table if not name.startswith("fc."))
        assert STORED[arch] == n, arch


def test_pruning_leaves_the_model_to_the_bit(tmp_path, capsys, monkeypatch):
    ds = datasets.phantoms(n_subjects=16, slices=1, image_size=32, task="cdr0")
    options = {"arch": "resnet18", "epochs": 2, "batch_size": 8, "verbose": 0, "schedule": "constant"}
    clf = sm.Classifier(**options).fit(ds, ds, checkpoint=tmp_path / "runs" / "long")
    sm.Classifier(**{**options, "schedule": "cosine", "epochs": 0}).fit(ds, checkpoint=tmp_path / "runs" / "short")
    before = clf.predict_proba(ds)
    size = (tmp_path / "runs" / "long" / "checkpoint.safetensors").stat().st_size
    spare = spare_bytes(tmp_path / "runs" / "long")
    assert spare > size / 2 and spare_bytes(tmp_path / "runs" / "short") == 0
    told = clf.estimate(ds, ds).disk_bytes
    assert abs(told - size) < 0.02 * size
    monkeypatch.chdir(tmp_path)
    code, text = run(capsys, "runs", "--prune")
    assert code == 0 and "nothing was changed. To free it: simclr-mri runs --under runs --prune --yes" in text
    assert spare_bytes(tmp_path / "runs" / "long") == spare
    code, text = run(capsys, "runs", "--under", "runs", "--prune", "--yes")
    assert code == 0 and f"{spare / 1e6:.0f} MB were freed" in text and "short" not in text.split("only needed")[1]
    np.testing.assert_array_equal(sm.Classifier.load(tmp_path / "runs" / "long").predict_proba(ds), before)
    assert not read_checkpoint(tmp_path / "runs" / "long").optimizer
    assert "nothing to prune" in run(capsys, "runs", "--prune")[1]
    with pytest.raises(ValueError, match="without the state of its optimizer"):
        sm.Classifier(**{**options, "epochs": 3}).fit(ds, ds, checkpoint=tmp_path / "runs" / "long")


def test_an_unfinished_run_is_not_pruned(tmp_path, ssl):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(ssl / "checkpoint.safetensors", framework="numpy") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    metadata = {k: v for k, v in metadata.items() if not k.startswith("digest")}
    metadata |= {"progress": json.dumps({**json.loads(metadata["progress"]), "finished": False})}
    arrays["optimizer/x"] = np.zeros(10, np.float32)
    save_file(arrays, tmp_path / "checkpoint.safetensors", metadata=metadata)
    assert spare_bytes(tmp_path) == 0 == prune(tmp_path)


def test_what_a_run_takes_and_leaves_out_is_told(data, tmp_path, capsys):
    line = ["pretrain", data / "known", "--task", "3class", *SMALL[:-2], "--batch-size", "10"]
    text = run(capsys, *line, "--out", tmp_path / "a")[1]
    assert "MB on disk. Results go to" in text and re.search(r"leaves out [1-9] images of \d+", text)
