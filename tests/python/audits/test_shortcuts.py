"""Shortcuts: sets in which one class was made differently are named with the right property, and sound ones are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from simclr_mri.audits import audit
from simclr_mri.audits._image_properties import image_properties
from simclr_mri.audits._shortcuts import TOGETHER, best_of_many, find_shortcuts, guess_classes
from simclr_mri.datasets import Dataset, ImageFolder, file_properties

Saver = Callable[[Image.Image, Path, bool], None]


@pytest.fixture(scope="module")
def sound() -> Dataset:
    """40 subjects of two classes that do not differ: smooth noise, whose level and strength vary by subject."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48] - 23.5
    head = np.hypot(y, x)[None] < rng.uniform(15, 19, (40, 1, 1))
    levels = rng.uniform(70, 140, (40, 1, 1, 1)) + rng.normal(0, 8, (40, 3, 1, 1))
    noise = rng.normal(0, rng.uniform(5, 20, (40, 1, 1, 1)), (40, 3, 48, 48))
    images = np.clip((levels + noise) * head[:, None], 0, 255).astype(np.uint8).reshape(-1, 48, 48)
    labels = np.repeat(rng.permutation(40) % 2, 3)
    return Dataset(images, labels, ("well", "ill"), np.repeat([f"s{i:02d}" for i in range(40)], 3))


def saved(ds: Dataset, root: Path, save: Saver) -> Path:
    """A folder in which `save` writes each picture, told whether it is of the second class."""
    for i, (image, label, subject) in enumerate(zip(ds.images[..., 0], ds.labels, ds.subjects, strict=True)):
        path = root / ds.classes[label] / f"{subject}_{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(Image.fromarray(image), path, bool(label))
    return root


def as_jpeg(image: Image.Image, path: Path, ill: bool) -> None:
    image.save(path.with_suffix(".jpg"), quality=80)


def at_another_quality(image: Image.Image, path: Path, ill: bool) -> None:
    image.save(path.with_suffix(".jpg"), quality=90 if ill else 80)


def of_another_size(image: Image.Image, path: Path, ill: bool) -> None:
    (image.resize((64, 64)) if ill else image).save(path.with_suffix(".png"))


def of_another_depth(image: Image.Image, path: Path, ill: bool) -> None:
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if ill else image
    deep.save(path.with_suffix(".png"))


def of_another_format(image: Image.Image, path: Path, ill: bool) -> None:
    image.save(path.with_suffix(".bmp" if ill else ".png"))


def in_colour(image: Image.Image, path: Path, ill: bool) -> None:
    image.convert("RGB" if ill else "L").save(path.with_suffix(".png"))


def by_another_program(image: Image.Image, path: Path, ill: bool) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "scanner B" if ill else "scanner A")
    image.save(path.with_suffix(".png"), pnginfo=info)


PLANTED = {
    "JPEG quality": at_another_quality,
    "image size": of_another_size,
    "bit depth": of_another_depth,
    "file format": of_another_format,
    "channels": in_colour,
    "embedded metadata": by_another_program,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_class_whose_files_were_made_differently(sound: Dataset, tmp_path: Path, name: str) -> None:
    root = saved(sound, tmp_path / "set", PLANTED[name])
    options = {"image_size": 48} if name == "image size" else {}
    found = find_shortcuts(ImageFolder(root, groups=r"/(s\d+)_", **options))
    clear = {s.name: s for s in found.of_kind("file") if s.is_clear}
    assert clear[name].balanced_accuracy.value == 1 and clear[name].balanced_accuracy.low > 0.9
    assert clear[name].by_chance == pytest.approx(0.5, abs=0.06) and clear[name].p < 0.01
    assert len(set(clear[name].values)) == 2


def test_the_audit_names_it_and_fails_the_set(sound: Dataset, tmp_path: Path) -> None:
    root = saved(sound, tmp_path / "set", at_another_quality)
    found = audit(root, groups=r"/(s\d+)_", copies=False)
    by_check = {f.check: f for f in found.findings}
    assert not found.ok and by_check["file shortcuts"].level == "bad"
    text = by_check["file shortcuts"].result
    assert text.startswith("JPEG quality alone names the class with a balanced accuracy of 1.00 (95 % CI 0.9")
    assert "by class: ill 90; well 80" in text and "by chance), split by subject" in text
    assert "The files give the class away: JPEG quality alone" in found.verdict
    assert "JPEG quality               file   subject     1.000" in str(found)
    page = found.to_html()
    assert ">Shortcuts</h2>" in page and "JPEG quality" in page
    row = found.to_dict()["shortcuts"]["found"][0]
    assert row["name"] == "JPEG quality" and row["values"] == {"ill": "90", "well": "80"} and row["is_clear"]


def test_a_sound_set_is_not_accused(sound: Dataset, tmp_path: Path) -> None:
    found = audit(saved(sound, tmp_path / "set", as_jpeg), groups=r"/(s\d+)_", copies=False)
    assert found.ok and not [s.name for s in found.shortcuts.found if s.predicts]
    by_check = {f.check: f for f in found.findings}
    assert by_check["file shortcuts"].result.startswith("none: file size does not name the class better than by chance")
    assert "The same in all: file format" in by_check["file shortcuts"].result
    assert by_check["image shortcuts"].level == "good"
    assert "give the class away" not in found.verdict and "alone names" not in found.verdict


PIXELS = {
    "mean intensity": lambda image: np.minimum(image * 0.7, 255),
    "background level": lambda image: np.maximum(image, 12),
    "head column": lambda image: np.roll(image, 5, axis=2),
    "sharpness": lambda image: (image + np.roll(image, 1, axis=1) + np.roll(image, 1, axis=2)) / 3,
    "grey levels": lambda image: image // 8 * 8,
}


@pytest.mark.parametrize("name", PIXELS)
def test_a_class_whose_images_look_different_is_told_and_not_failed(sound: Dataset, name: str) -> None:
    images, ill = sound.images[..., 0].astype(float), sound.labels == 1
    images[ill] = PIXELS[name](images[ill])
    planted = Dataset(images.astype(np.uint8), sound.labels, sound.classes, sound.subjects)
    if name != "mean intensity":
        found = find_shortcuts(planted)
        assert name in [s.name for s in found.of_kind("image") if s.is_clear]
        return
    whole = audit(planted, copies=False)
    by_check = {f.check: f for f in whole.findings}
    assert by_check["image shortcuts"].level == "note" and whole.ok
    assert "mean intensity" in by_check["image shortcuts"].result
    assert by_check["file shortcuts"].result.startswith("not looked for: the images came as arrays")
    assert "may be biology" in whole.verdict


def test_classes_of_few_subjects_and_small_sets(sound: Dataset) -> None:
    third = sound.labels.copy()
    third[sound.subjects == sound.subjects[0]] = 2
    found = find_shortcuts(Dataset(sound.images, third, ("well", "ill", "odd"), sound.subjects))
    assert found.classes == ("well", "ill") and found.left_out == ("odd",)
    assert find_shortcuts(sound[:12]).not_seen.startswith("too few subjects")
    unknown = find_shortcuts(sound.with_subjects(None))
    assert {s.split_by for s in unknown.found} == {"image"} and unknown.of_kind("image")
    gone = Dataset(sound.images, sound.labels, sound.classes, sound.subjects, sources=["/nowhere/a.png"] * 120)
    assert "no longer there, such as /nowhere/a.png" in find_shortcuts(gone).not_seen
    assert audit(sound, baselines=False, copies=False).shortcuts.not_seen == "baselines=False"


def test_a_bar_over_fewer_classes_names_those_left_out(sound: Dataset) -> None:
    third = sound.labels.copy()
    third[sound.subjects == sound.subjects[0]] = 2
    images = sound.images // 2 + 100 * (sound.labels == 1).astype(np.uint8)[:, None, None, None]
    told = audit(Dataset(images, third, ("well", "ill", "odd"), sound.subjects), copies=False)
    assert re.search(r"which [a-z ]+ \(without odd\) reaches", told.verdict)


def test_guesses_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    labels, codes = rng.integers(0, 3, (2, 60)), [rng.integers(0, 4, 60), rng.integers(0, 5, 60)]
    folds = [(np.arange(60) % 3 != i, np.arange(60) % 3 == i) for i in range(3)]
    folds = [(np.flatnonzero(a), np.flatnonzero(b)) for a, b in folds]
    found = guess_classes(codes, labels, folds, 3)
    for s, y in enumerate(labels):
        for train, test in folds:
            log = np.zeros((2, len(test), 3))
            for m, code in enumerate(codes):
                prior = np.bincount(code[train], minlength=9) / len(train)
                for c in range(3):
                    mine = code[train][y[train] == c]
                    share = (np.bincount(mine, minlength=9) + prior) / (len(mine) + 1)
                    log[m, :, c] = np.log(share[code[test]] + 1e-12)
            for guess, expected in zip(found[:, s, test], (*log, log.sum(axis=0)), strict=True):
                assert (guess == expected.argmax(axis=1)).mean() > 0.98  # ties may fall either way


def test_the_best_of_many_is_judged_as_such() -> None:
    """Of 20 properties that say nothing, one has p below .05 in about 5 % of the sets, not in 64 %."""
    rng = np.random.default_rng(0)
    alarms = [best_of_many(rng.normal(0.5, 0.1, (20, 101))).min() <= 0.05 for _ in range(400)]
    assert 0.02 <= np.mean(alarms) <= 0.08
    assert best_of_many(np.vstack([np.full(101, 0.5), rng.normal(0.5, 0.1, 101)]))[0] > 0.5  # says the same of all


def test_properties_of_pixels_and_files(tmp_path: Path) -> None:
    images = np.zeros((2, 64, 64, 1), np.uint8)
    images[1, 16:48, 8:40] = 200
    found = {name: column[1] for name, column in image_properties(images).items()}
    assert found["mean intensity"] == pytest.approx(50) and found["contrast"] == pytest.approx(50 * np.sqrt(3))
    assert found["grey levels"] == 2 and found["background level"] == 0
    assert found["head size"] == pytest.approx(0.25, abs=0.07)  # of 32 x 32 pixels, and edges count
    assert (found["head row"], found["head column"]) == pytest.approx((0.5, 0.375), abs=0.01)
    assert np.isnan(image_properties(images)["head row"][0])
    rgb = np.repeat(images, 3, axis=3)
    assert image_properties(rgb)["mean intensity"] == pytest.approx(image_properties(images)["mean intensity"])
    paths = []
    for quality in (30, 60, 75, 95):
        paths.append(str(tmp_path / f"{quality}.jpg"))
        Image.fromarray(images[1, ..., 0]).save(paths[-1], quality=quality)
    Image.fromarray(images[1, ..., 0]).save(tmp_path / "own.jpg", qtables=[list(range(1, 65))])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files = file_properties([*paths, str(tmp_path / "own.jpg"), str(tmp_path / "broken.png"), str(tmp_path / "gone")])
    assert files["JPEG quality"].tolist()[:4] == ["30", "60", "75", "95"]
    assert files["JPEG quality"][4].startswith("about ") and files["JPEG quality"][5] == "none"
    assert files["file format"].tolist() == ["JPEG"] * 5 + ["header not readable", "none"]
    assert files["file size"][0] == Path(paths[0]).stat().st_size and np.isnan(files["file size"][-1])
    assert files["image size"][0] == "64 x 64"


def test_properties_of_volumes(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1, 1, 2, 1]))
    nibabel.save(volume, tmp_path / "a.nii.gz")
    found = file_properties([str(tmp_path / "a.nii.gz")] * 3)
    assert {name: column[2] for name, column in found.items() if name != "file size"} == {
        "file format": ".nii.gz",
        "volume size": "4 x 5 x 6",
        "voxel size": "1 x 1 x 2",
        "bit depth": "int16",
    }


def test_together_is_the_product_of_what_each_says(sound: Dataset) -> None:
    found = {s.name: s for s in find_shortcuts(sound).of_kind("image")}
    assert TOGETHER in found and found[TOGETHER].values == ()
