"""Own data in the shell: options of reading, slices, pretraining without labels; and every piece of advice works.

Advice is what a message tells to type: an option of the shell, an argument in Python. It is taken from the message as
it stands and tried on the same data.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reference.making import head, nifti, picture, pictures, table
from simclr_mri import datasets
from simclr_mri.cli import main
from simclr_mri.datasets import open_dataset

SEVERAL = {"class-order", "intensity"}  # options that take several values


def python_advice(text: str) -> list[dict[str, Any]]:
    """Arguments such as layout='part/class' in a message, each with the longest value that is one."""
    found = []
    for match in re.finditer(r"\b(layout|image_size|labels|merge|class_order|labelled|errors|intensity|groups)=", text):
        rest = text[match.end() :].split("\n")[0]
        for end in range(len(rest), 0, -1):
            try:
                found.append({match[1]: ast.literal_eval(rest[:end])})
                break
            except (SyntaxError, ValueError):
                continue
    return found


def shell_advice(text: str) -> list[list[str]]:
    """Options such as --layout part/class in a message."""
    found = []
    for match in re.finditer(r"--([a-z-]+) ([^\n]*)", text):
        words = [word.rstrip(".,;)") for word in shlex.split(match[2].replace("it's", "its"))]
        take = 1
        while match[1] in SEVERAL and take < len(words) and not words[take].startswith("-"):
            take += 1
        if match[1] not in ("help", "unlabelled", "out", "groups", "by"):
            found.append([f"--{match[1]}", *words[:take]])
    return found


def _two_sizes(root: Path) -> None:
    picture(root / "A" / "9.png", shape=(20, 12))


def _few_levels(root: Path) -> None:
    for i, path in enumerate(sorted(root.glob("*/*.png"))):
        Image.fromarray((np.arange(144).reshape(12, 12) % 9 + i % 3).astype(np.uint8)).save(path)


def _broken(root: Path) -> None:
    (root / "A" / "9.png").write_bytes(b"no picture")


def _two_readings(root: Path) -> None:
    for name in ("A", "B"):
        (root / name).rename(root / f"_{name}")
    pictures(root, "alpha/x/[1-2].png alpha/y/[1-2].png beta/x/[1-2].png beta/y/[1-2].png")


def _subjects_only(root: Path) -> None:
    for old, new in (("A", "sub-01"), ("B", "sub-02")):
        (root / old).rename(root / new)


def _labels(root: Path) -> None:
    table(root.parent / "t.csv", "file,stage\nA/1.png,s\nA/2.png,t\nB/1.png,s\nB/2.png,t")


def nothing(root: Path) -> None:
    pass


# What is wrong, what was asked for in Python and in the shell, and what must be said.
ADVICE: list[tuple[str, Callable[[Path], None], dict[str, Any], str, str]] = [
    ("several sizes", _two_sizes, {}, "", "several sizes"),
    ("few levels", _few_levels, {}, "", "To spread them"),
    ("a broken file", _broken, {}, "", "To leave them out"),
    ("two readings", _two_readings, {}, "", "two ways"),
    ("subjects only", _subjects_only, {}, "", "called like subjects"),
    ("a table without usual names", _labels, {"labels": "t.csv"}, "--labels t.csv", "say which one"),
    ("a column that is not there", _labels, {"labels": "t.csv:stge"}, "--labels t.csv:stge", "not 'stge'"),
    ("merge without a name", nothing, {"merge": "A,B"}, "--merge A,B", "expected old,old=new"),
    ("an order that lacks a class", nothing, {"class_order": ["B"]}, "--class-order B", "each once"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pictures(tmp_path / "root", "A/[1-2].png B/[1-2].png")


@pytest.mark.parametrize(
    ("make", "options", "words", "said"), [row[1:] for row in ADVICE], ids=[row[0] for row in ADVICE]
)
def test_advice_in_python(root: Path, make: Callable[[Path], None], options: dict, words: str, said: str) -> None:
    make(root)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            open_dataset(root, **options)
            text = "\n".join(str(w.message) for w in told)
        except ValueError as error:
            text = str(error)
    assert said in text
    advice = python_advice(text)
    assert advice, text
    for more in advice:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(open_dataset(root, **{**options, **more})) >= 4
    for call in re.findall(r"datasets\.\w+\(.*?\)(?=$|[.;\s])", text):
        assert len(eval(call, {"datasets": datasets})) >= 4


@pytest.mark.parametrize(
    ("make", "options", "words", "said"), [row[1:] for row in ADVICE], ids=[row[0] for row in ADVICE]
)
def test_advice_in_the_shell(capsys, root: Path, make, options: dict, words: str, said: str) -> None:
    make(root)
    line = ["data", str(root), "--by", "image", "--split", "0.5", "0.5", *shlex.split(words)]
    main(line)
    text = capsys.readouterr().err
    assert said in text and not python_advice(text.replace("old=new", ""))
    advice = shell_advice(text)
    assert advice, text
    for more in advice:
        assert main([*line, *more]) == 0, (more, capsys.readouterr().err)
    for command in re.findall(r"simclr-mri (pretrain .*?--unlabelled)", text):
        assert main(["data", *shlex.split(command)[1:]]) == 0


def test_advice_about_volumes(capsys, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("nibabel", reason="reads volumes")
    root = pictures(tmp_path / "root", "A/[1-2].png")
    nifti(root / "B" / "1.nii.gz", head((8, 8, 8)))
    assert main(["data", str(root)]) == 1
    command = re.search(r"simclr-mri (slices .*)", capsys.readouterr().err)
    assert command is not None and main(shlex.split(command[1])) == 0
    said = re.search(r"next: simclr-mri (data \S+)", capsys.readouterr().out)
    assert said is not None and main([*shlex.split(said[1].rstrip(",")), "--by", "image"]) in (0, 1)
    with pytest.raises(ValueError, match="Cut volumes into slices first") as raised:
        open_dataset(root)
    call = re.search(r"datasets\.write_slices\(.*\)", str(raised.value))
    monkeypatch.chdir(tmp_path)
    assert call is not None and eval(call[0].replace("root_B_slices", "again"), {"datasets": datasets}) > 0


def test_subjects_that_the_names_may_tell(capsys, tmp_path: Path) -> None:
    for cls in ("AD", "CN"):
        pictures(tmp_path / "root", " ".join(f"{cls}/{cls}{p}x_[1-2].png" for p in range(4)))
    line = ["data", str(tmp_path / "root"), "--split", "0.5", "0.5"]
    assert main(line) == 0
    found = re.search(r"--groups ('.*?'|\S+)", capsys.readouterr().out.rpartition("may tell")[2])
    assert found is not None
    assert main([*line, "--groups", *shlex.split(found[1])]) == 0
    assert "8 subjects" in capsys.readouterr().out


def test_a_split_that_is_given(capsys, tmp_path: Path) -> None:
    root = pictures(
        tmp_path / "root", " ".join(f"{part}/{c}/{part}[1-2].png" for part in ("train", "test") for c in "AB")
    )
    assert main(["data", str(root), "--by", "image"]) == 0
    said = capsys.readouterr()
    assert "joined and split anew" in said.err and "parts test 4, train 4" in said.out
    assert main(["data", str(root), "--split", "given"]) == 0
    out = capsys.readouterr().out
    assert "split as given" in out and re.search(r"train +4 images", out) and re.search(r"test +4 images", out)
    assert main(["data", str(root), "--split", "given", "--folds", "3"]) == 1
    assert "--split given: has no folds" in capsys.readouterr().err


def test_reading_options_reach_the_audit_and_the_run(capsys, tmp_path: Path) -> None:
    root = pictures(
        tmp_path / "root", "alpha/x/[1-4].png alpha/y/[1-4].png beta/x/[1-4].png beta/y/[1-4].png", shape=(40, 32)
    )
    options = ["--layout", "part/class", "--image-size", "32", "--merge", "x=one", "--class-order", "y", "one"]
    assert main(["audit", str(root), *options, "--baselines", "no", "--out", str(tmp_path / "audit")]) == 0
    assert "y 8, one 8" in capsys.readouterr().out
    run = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "4", "--verbose", "0"]
    line = ["finetune", str(root), *options, "--by", "image", *run, "--out", str(tmp_path / "run"), "--fit", "crop"]
    assert main(line) == 0
    remembered = json.loads((tmp_path / "run" / "manifest.json").read_text())
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--n-bootstrap", "10"]) == 0
    assert "classes x 8, y 8" in capsys.readouterr().out and "crop" in json.dumps(remembered)


def test_pretraining_without_labels(capsys, tmp_path: Path) -> None:
    root = pictures(tmp_path / "flat", "[1-5].png deep/[1-4].png", shape=(32, 32))
    run = ["--arch", "resnet18", "--epochs", "1", "--batch-size", "4", "--verbose", "0", "--out", str(tmp_path / "run")]
    assert main(["pretrain", str(root), "--unlabelled", *run]) == 0
    assert "all 9 images are used, without labels" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["finetune", str(root), "--unlabelled"])
    assert "--unlabelled is not used here" in capsys.readouterr().err
    labelled = pictures(tmp_path / "labelled", "A/[1-3].png B/[1-3].png", shape=(32, 32))
    line = ["finetune", str(labelled), "--init", str(tmp_path / "run"), "--by", "image", "--arch", "resnet18"]
    assert main([*line, "--epochs", "0", "--verbose", "0", "--out", str(tmp_path / "clf")]) == 0


def test_slices_of_the_shell(capsys, tmp_path: Path) -> None:
    pytest.importorskip("nibabel", reason="reads volumes")
    for cls, names in (("AD", (1, 2)), ("CN", (3, 4))):
        for n in names:
            nifti(tmp_path / "v" / cls / f"sub-{n}_T1w.nii", head((8 + n, 9, 8)))
    line = ["slices", str(tmp_path / "v"), "--plane", "axial", "--every", "2", "--out", str(tmp_path / "Dataset")]
    assert main([*line, "--image-size", "32", "--range", "0.2", "0.8"]) == 0
    assert "axial slices in" in capsys.readouterr().out
    ds = open_dataset(tmp_path / "Dataset")
    assert ds.classes == ("CN", "AD") and ds.n_subjects == 4 and ds.images.shape[1:] == (32, 32, 1)
    assert main(line) == 1 and "exists and is not empty" in capsys.readouterr().err
    assert main(["data", str(tmp_path / "v"), "--image-size", "32", "--split", "0.5", "0.5"]) == 0
    with pytest.raises(SystemExit):
        main([*line, "--channels", "3"])
    assert "slices are gray" in capsys.readouterr().err


def test_an_all_black_folder_is_a_bad_finding(capsys, tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / "black" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("L", (32, 32)).save(tmp_path / "black" / name / f"{i}.png")
    assert main(["audit", str(tmp_path / "black"), "--baselines", "no", "--out", str(tmp_path / "audit")]) == 0
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert not found["ok"] and any(f["check"] == "blank images" and f["level"] == "bad" for f in found["findings"])
