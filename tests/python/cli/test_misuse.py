"""Mistakes of users: each is answered by one line in the shell's words that says what to type, and nothing is made."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from simclr_mri import datasets
from simclr_mri.cli import main
from simclr_mri.cli._arguments import flag

SMALL = "--arch resnet18 --epochs 0 --batch-size 8 --task cdr0 --verbose 0 --quiet"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which d holds images, and runs/ssl and runs/clf are runs."""
    root = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        datasets.write_phantoms("d", n_subjects=24, slices=1, image_size=32)
        assert main(shlex.split(f"pretrain d {SMALL} --out runs/ssl")) == 0
        assert main(shlex.split(f"finetune d {SMALL} --out runs/clf")) == 0
        yield root


def said(capsys, line):
    try:
        code = main(shlex.split(line))
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


MISTAKES = {
    # values of another kind
    "pretrain d --epochs three": "--epochs: expected a whole number, got 'three'",
    "pretrain d --lr fast": "--lr: expected a number, got 'fast'",
    "finetune d --label-fraction 50%": "--label-fraction: expected a number, got '50%' (50% is 0.5)",
    "finetune d --label-fraction 0": "--label-fraction: expected above 0",
    "pretrain d --out ''": "--out: nothing was given",
    "pretrain ''": "DATA: nothing was given",
    "predict runs/clf ''": "DATA: nothing was given",
    "evaluate ''": "MODEL: nothing was given",
    "data d --split 0.8 0.3": "--split: expected 2 or 3 positive sizes",
    "data d --layout foo": "--layout foo: expected the levels",
    "data d --task 5class": "--task: expected one of",
    "data d --merge A,B": "--merge: expected old,old=new",
    "data d --class-order a b": "--class-order: expected the classes",
    "data d --labels nowhere.csv:class": "--labels: no table nowhere.csv",
    "data d --max-pixels 10": "raise --max-pixels",
    "study d --task cdr0 --workers 0": "--workers: expected a number of processes",
    "study d --task cdr0 --inits nowhere": "--inits: expected 'random'",
    "pretrain d --task cdr0 --batch-size 8 --n-jobs 0 --out x": "--n-jobs 0: expected 1 to 256 threads, or --n-jobs -1",
    "export runs/clf --out model.pt": "--out model.pt: expected a file name that ends in .safetensors or .onnx",
    "study d --task cdr0 --splits 50": "--splits: expected 2 to 24 (the number of subjects), got 50",
    "pretrain d --config nowhere.toml": "--config nowhere.toml: no such file",
    "data d --groups 'zzz(\\d+)'": "--groups: 'zzz(\\d+)' does not match 24 of 24 files",
    # places in which nothing can be made, also for who may write everywhere
    "pretrain d --task cdr0 --arch resnet18 --batch-size 8 --out /proc/x": "--out /proc/x: cannot be written: ",
    "data d --cache /proc/c": "--cache /proc/c: cannot be written: ",
    # words too many, and options of other programs
    "pretrain d --views mri crop": "unexpected 'crop': --views takes one value",
    "runs elsewhere": "unexpected 'elsewhere': a folder is named by --under elsewhere",
    "pretrain d --device cuda": "all is computed on the processor",
    "pretrain d --gpus=2": "all is computed on the processor",
    "compare runs/clf runs/ssl --metric acc": "Did you mean 'accuracy'?",
    # what is ignored elsewhere
    "finetune d --init runs/ssl --arch resnet50": "--arch resnet50: runs/ssl is a resnet18",
    # folders that are another thing
    "evaluate runs": "runs is a folder of runs. Name one of them: runs/clf, runs/ssl",
    "finetune d --init runs": "--init runs is a folder of runs. Name one of them: runs/clf, runs/ssl",
    "compare runs/clf runs/nowhere": "runs/nowhere: no such run",
    "compare runs/clf runs/ssl": "runs/ssl: a pretraining, which has no scores",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_named_in_one_line(place, capsys, monkeypatch, line):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    code, error = said(capsys, line)
    last = error.strip().split("error: ")[-1]
    assert code in (1, 2) and MISTAKES[line] in last, error
    assert "Traceback" not in error and not re.search(r"(?<![-\w])[a-z]+_[a-z_]+[:=]", last), last
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("finetune runs/ssl", "simclr-mri finetune --init runs/ssl"),
        ("pretrain runs/ssl", "simclr-mri pretrain {place}/d --weights runs/ssl --arch resnet18"),
        ("data runs/ssl", "simclr-mri data {place}/d"),
        ("predict d runs/clf", "simclr-mri predict runs/clf d"),
        ("explain runs/ssl", "simclr-mri finetune --init runs/ssl"),
        ("predict runs/ssl d", "simclr-mri finetune --init runs/ssl"),
        ("data d --groups subjects.csv:nobody", "--groups d/subjects.csv:subject"),
        ("data d --groups subjects.csv:subjct", "--groups d/subjects.csv:subject"),
        ("slices d", "simclr-mri data d"),
    ],
)
def test_what_a_mistake_suggests_works_when_typed(place, capsys, monkeypatch, tmp_path, line, way_out):
    monkeypatch.chdir(place)
    want = way_out.format(place=place)
    code, error = said(capsys, line)
    assert code == 1 and want in error
    words = want.removeprefix("simclr-mri ") if want.startswith("simclr-mri ") else f"data d {want}"
    if words.split()[0] in ("pretrain", "finetune"):
        words += f" --epochs 0 --batch-size 8 --verbose 0 --task cdr0 --out {tmp_path / 'out'}"
    assert main(shlex.split(words)) == 0


def test_one_picture_and_one_class(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    picture = next(place.glob("d/*/*.png")).relative_to(place)
    code, error = said(capsys, f"predict runs/clf {picture}")
    assert code == 1 and error.rstrip().endswith(f"To take the pictures of its folder: {picture.parent}")
    code, error = said(capsys, f"finetune d --labels '(sub)' {SMALL.replace('--task cdr0', '')} --out x")
    assert code == 1 and "are of sub. simclr-mri pretrain needs no classes" in error and not (place / "x").exists()


def test_names_that_are_no_text(place, monkeypatch, tmp_path):
    """Old archives hold names in other encodings; what is written about them has their bytes."""
    monkeypatch.chdir(place)
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/pictures \xe9")
    os.mkdir(folder)
    for i, path in enumerate(sorted((place / "d").glob("*/*.png"))[:4]):
        shutil.copy(path, os.path.join(folder, os.fsdecode(b"sub-%d_\xe9.png" % i)))
    out = tmp_path / "answers.csv"
    command = [sys.executable, "-m", "simclr_mri", "predict", "runs/clf", folder, "--out", str(out)]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"}, capture_output=True)
    assert done.returncode == 0 and done.stderr == b"" and os.fsencode(folder) in done.stdout, done.stderr
    assert b"sub-3_\xe9.png" in out.read_bytes()


def test_a_whole_number_may_be_written_as_files_have_it(place, capsys, monkeypatch):
    from simclr_mri.cli import build_parser

    assert build_parser().parse_args(["pretrain", "d", "--epochs", "1e3"]).epochs == 1000
    assert flag("batch_size") == "--batch-size"
    assert "expected a whole number" in said(capsys, "pretrain d --epochs 2.5")[1]
