"""Data sets: views, class folders, subjects, tasks, and everything that can be wrong with a folder."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simclr_mri import _core
from simclr_mri.datasets import (
    SEVERITY,
    AlzheimerMRI,
    Dataset,
    DataWarning,
    ImageFolder,
    load_phantoms,
    open_dataset,
    phantoms,
    write_phantoms,
)
from simclr_mri.datasets._alzheimer import alzheimer_mri_subjects


def make_folder(root: Path, classes: tuple[str, ...] = ("sick", "well"), n: int = 4, size: int = 16) -> Path:
    """`n` images a class named p<subject>_<slice>.png, two slices a subject."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (size, size), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"p{name[0]}{i // 2}_{i % 2}.png")
    return root


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with open(path, "w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


# -- the view


def make() -> Dataset:
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    return Dataset(images, [0, 0, 1, 1, 2, 2], "abc", list("uuvvww"), masks={"head": images > 40})


def test_subsets_are_views() -> None:
    ds = make()
    assert (len(ds), ds.image_size, ds.n_channels, ds.n_subjects) == (6, 4, 1, 3)
    assert np.shares_memory(ds[2:5].images, ds.images) and np.shares_memory(ds[[2, 3]].images, ds.images)
    part = ds[ds.labels > 0][[3, 0]]
    assert part.labels.tolist() == [2, 1] and part.subjects.tolist() == ["w", "v"]
    np.testing.assert_array_equal(part.images, ds.images[[5, 2]])
    np.testing.assert_array_equal(part.masks["head"], ds.masks["head"][[5, 2]])
    assert part.files == (ds.files[5], ds.files[2])
    assert ds.select([1]).files == ds[1].files == ds[-5].files
    assert len(ds[[]]) == 0 and ds[[]].images.shape == (0, 4, 4, 1)
    for wrong in (6, np.zeros(5, bool)):
        with pytest.raises(IndexError):
            ds[wrong]


def test_it_cannot_be_changed() -> None:
    ds = make()
    for array in (ds.images, ds.labels, ds.subjects, ds[[0, 3]].images):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_fingerprint_sees_pixels_labels_and_subjects() -> None:
    ds = make()
    assert ds.fingerprint() == make().fingerprint() and len(ds.fingerprint()) == 64
    others = [ds[1:], ds[::-1], ds.unlabelled(), ds.with_subjects(None), ds.merge_classes({"a": ["a", "b"], "c": "c"})]
    assert len({ds.fingerprint(), *(other.fingerprint() for other in others)}) == 6


def test_merging_classes() -> None:
    ds = make().merge_classes({"late": ["c", "b"], "early": "a"})
    assert ds.classes == ("late", "early") and ds.labels.tolist() == [1, 1, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="not named: c"):
        make().merge_classes({"x": ["a", "b"]})
    with pytest.raises(ValueError, match="unknown: d"):
        make().merge_classes({"x": ["a", "b"], "y": ["c", "d"]})
    with pytest.raises(ValueError, match="merge_classes"):
        make().with_task("cdr0")
    with pytest.raises(ValueError, match="no labels"):
        make().unlabelled().merge_classes({"x": "abc"})


def test_tasks() -> None:
    ds = Dataset(np.zeros((4, 2, 2), np.uint8), [0, 1, 2, 3], SEVERITY)
    assert ds.with_task("4class") is ds
    assert ds.with_task("3class").labels.tolist() == [0, 1, 2, 2]
    assert ds.with_task("cdr0").labels.tolist() == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="expected one of 4class, 3class, cdr0"):
        ds.with_task("2class")


def test_descriptions() -> None:
    ds = make()
    assert repr(ds) == "<Dataset 'images': 6 images of 4 x 4 px, gray, 3 subjects, 3 classes>"
    assert ds.counts().rows()[1] == {"class": "b", "images": 2, "subjects": 1}
    assert str(ds.counts()).splitlines()[0].split() == ["class", "images", "subjects"]
    page = ds._repr_html_()
    assert page.count("<img") == 6 and "data:image/png;base64," in page and "<td>b</td>" in page
    assert "(unlabelled)" in ds.unlabelled()._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 4, 4), np.float32),), "expected uint8"),
        ((np.zeros((2, 4, 4, 2), np.uint8),), "expected uint8"),
        ((np.zeros((2, 4, 4), np.uint8), [0, 1], ("a",)), "0 to 0 for 1 classes"),
        (
            (np.zeros((2, 4, 4), np.uint8), [0.5, 1]),
            "labels: expected classes, as whole numbers or names, got continuous",
        ),
        ((np.zeros((2, 4, 4), np.uint8), [0, 0], ("a",), ["s"]), "expected 2 names"),
        ((np.zeros((2, 4, 4), np.uint8), [0, 0], ("a",), None, ["x"]), "expected 2 names"),
    ],
)
def test_wrong_arrays(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(*arguments)


# -- folders


def test_image_folder(folder: Path) -> None:
    ds = ImageFolder(folder, groups=r"/(p\w\d+)_")
    assert ds.classes == ("sick", "well") and ds.labels.tolist() == [0] * 4 + [1] * 4
    assert ds.files[0] == "sick/ps0_0.png" and ds.name == "data"
    assert ds.subjects.tolist() == ["ps0", "ps0", "ps1", "ps1", "pw0", "pw0", "pw1", "pw1"]
    for i, name in enumerate(ds.files):
        np.testing.assert_array_equal(ds.images[i, ..., 0], np.asarray(Image.open(folder / name)))
    other = ImageFolder(folder, class_order=["well", "sick"], channels=3, image_size=8)
    assert other.classes == ("well", "sick") and other.images.shape == (8, 8, 8, 3) and other.subjects is None
    assert other.labels.tolist() == [0] * 4 + [1] * 4 and other.files[0] == "well/pw0_0.png"
    flat = ImageFolder(folder, labelled=False)
    assert flat.labels is None and len(flat) == 8 and len(ImageFolder(folder / "sick", labelled=False)) == 4


def test_natural_order_and_nested_folders(tmp_path: Path) -> None:
    for name in ("x_10.png", "x_9.png", "deep/x_1.png", ".hidden/x.png", "_masks/x.png"):
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    make_folder(tmp_path / "rest", ("b",), size=8)
    (tmp_path / "rest" / "b").rename(tmp_path / "b")
    (tmp_path / "rest").rmdir()
    (tmp_path / "_masks").mkdir()
    ds = ImageFolder(tmp_path)
    assert ds.files[:3] == ("a/deep/x_1.png", "a/x_9.png", "a/x_10.png") and ds.classes == ("a", "b")


def test_groups_from_tables_and_functions(folder: Path, tmp_path: Path) -> None:
    files = ImageFolder(folder).files
    by_path = write_csv(tmp_path / "t.csv", [{"file": f, "subject": f[:6], "id": f[5:8]} for f in files])
    expected = [f[5:8] for f in files]
    assert ImageFolder(folder, groups=f"{by_path}:id").subjects.tolist() == expected
    assert ImageFolder(folder, groups=(by_path, "id")).subjects.tolist() == expected
    assert ImageFolder(folder, groups=lambda f: f[5:8]).subjects.tolist() == expected
    assert ImageFolder(folder, groups="t.csv:id").subjects.tolist() == expected  # beside the folder
    assert ImageFolder(folder, groups=by_path).subjects.tolist() == [f[:6] for f in files]
    by_name = write_csv(tmp_path / "n.csv", [{"who": f[5:8], "filename": f[5:]} for f in reversed(files)])
    assert ImageFolder(folder, groups=(by_name, "who")).subjects.tolist() == expected


def test_a_function_must_return_a_name(folder: Path) -> None:
    """What it does not name would become a subject as text: None for all, or a match for each image."""
    assert set(ImageFolder(folder, groups=len).subjects) <= {"14", "15", "16"}
    assert set(ImageFolder(folder, groups=lambda f: np.int64(3)).subjects) == {"3"}
    for bad in (None, "", True, 1.5, b"p", ("a", "b"), np.bool_(True)):
        with pytest.raises(TypeError, match=rf"groups\('\w+/\w+.png'\): expected a str .*, got {re.escape(repr(bad))}"):
            ImageFolder(folder, groups=lambda f, bad=bad: bad)
    with pytest.raises(TypeError, match=r"got <re.Match .*; a match has it as match\[1\]"):
        ImageFolder(folder, groups=re.compile(r"(p)").search)


def test_groups_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    rows = [{"file": f, "subject": f[5:8]} for f in ImageFolder(folder).files]
    cases = {
        "no row for 1 of 8 images: well/pw1_1.png": rows[:-1],
        "twice": [*rows, {"file": rows[0]["file"], "subject": "other"}],
        "no subject for 1 images": [*rows[:-1], {"file": rows[-1]["file"], "subject": ""}],
    }
    for message, table in cases.items():
        path = write_csv(tmp_path / "t.csv", table)
        with pytest.raises(ValueError, match=message):
            ImageFolder(folder, groups=path)
    surplus = write_csv(tmp_path / "t.csv", [*rows, {"file": "well/ghost.png", "subject": "x"}])
    with pytest.warns(DataWarning, match=r"t\.csv: 1 of 9 rows are about no image here"):
        assert ImageFolder(folder, groups=surplus).n_subjects == 4
    with pytest.raises(ValueError, match="Did you mean subject"):
        ImageFolder(folder, groups=f"{write_csv(tmp_path / 't.csv', rows)}:subjct")
    with pytest.raises(FileNotFoundError, match="no table"):
        ImageFolder(folder, groups="nowhere.csv")
    for pattern, message in [("nothing(x)", "does not match 8 of 8"), ("p", "one group"), ("(", "regular expression")]:
        with pytest.raises(ValueError, match=message):
            ImageFolder(folder, groups=pattern)


def test_wrong_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder\. Did you mean .*data\?"):
        ImageFolder(tmp_path / "dat")
    with pytest.raises(NotADirectoryError, match="found a file"):
        ImageFolder(folder / "sick" / "ps0_0.png")
    for name, start in (("one scan.nii.gz", b""), ("00001", bytes(128) + b"DICM")):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / name).write_bytes(start)
        with pytest.raises(NotADirectoryError, match=r"a file\. Cut the scans of its folder .*scans_slices"):
            ImageFolder(tmp_path / "scans" / name)
    shutil.rmtree(tmp_path / "scans")
    assert ImageFolder(tmp_path).classes == ("sick", "well")  # a folder around it is passed
    with pytest.raises(ValueError, match=r"lie in it directly\. Did you mean the folder above"):
        ImageFolder(folder / "sick")
    with pytest.raises(ValueError, match="class_order: expected the classes sick, well"):
        ImageFolder(folder, class_order=["sick", "wel"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="class empty is empty"):
        ImageFolder(folder)
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="no class folders"):
        ImageFolder(tmp_path / "void")
    with pytest.raises(ValueError, match=r"no \.jpg"):
        ImageFolder(tmp_path / "void", labelled=False)


def test_one_class_and_other_formats_are_told(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "one", ("only",))
    (root / "only" / "scan.dcm").write_bytes(b"x")
    with pytest.warns(DataWarning) as told:
        ImageFolder(root)
    text = " ".join(str(w.message) for w in told)
    assert "one class only (only)" in text and "not read: 1 .dcm" in text


def test_corrupt_files_are_named(folder: Path) -> None:
    victim = folder / "sick" / "ps1_0.png"
    victim.write_bytes(victim.read_bytes()[:60])
    (folder / "well" / "pw0_1.png").write_bytes(b"not an image")
    with pytest.raises(_core.DecodeError, match="2 of 8 files cannot be read") as raised:
        ImageFolder(folder)
    assert "ps1_0.png" in str(raised.value) and "pw0_1.png" in str(raised.value)
    with pytest.warns(DataWarning, match="left out"):
        ds = ImageFolder(folder, errors="warn", groups=r"/(p\w\d+)_")
    assert len(ds) == 6 and "sick/ps1_0.png" not in ds.files
    assert ds.labels.tolist() == [0] * 3 + [1] * 3 and ds.subjects.tolist().count("ps1") == 1


def test_several_sizes_need_one(folder: Path) -> None:
    Image.new("L", (20, 16)).save(folder / "well" / "pw1_1.png")
    with pytest.raises(ValueError, match=r"1 of 8 are not 16 x 16 px .*pw1_1.*image_size"):
        ImageFolder(folder)
    assert ImageFolder(folder, image_size=16, n_jobs=-1).images.shape == (8, 16, 16, 1)
    for option in ({"channels": 2}, {"image_size": 1}, {"errors": "skip"}):
        with pytest.raises(ValueError, match=next(iter(option))):
            ImageFolder(folder, **option)


# -- phantoms on disk


def test_phantoms_come_back_from_disk(tmp_path: Path) -> None:
    options = {"seed": 3, "n_subjects": 8, "slices": 2, "image_size": 48}
    made = phantoms(**options)
    assert write_phantoms(tmp_path / "ph", **options).fingerprint() == made.fingerprint()
    again = load_phantoms(tmp_path / "ph")
    assert again.fingerprint() == made.fingerprint() and again.files == made.files and again.name == made.name
    assert all(np.array_equal(again.masks[k], made.masks[k]) for k in made.masks)
    small = open_dataset(tmp_path / "ph", image_size=24, task="cdr0")
    assert small.images.shape == (16, 24, 24, 1) and small.masks["head"].shape == (16, 24, 24)
    assert small.masks["head"].mean() == pytest.approx(made.masks["head"].mean(), abs=0.02)
    plain = ImageFolder(tmp_path / "ph", groups="subjects.csv:subject")
    order = [made.files.index(f) for f in plain.files]
    np.testing.assert_array_equal(plain.images, made.images[order])
    assert plain.subjects.tolist() == made.subjects[order].tolist()
    assert write_phantoms(tmp_path / "ph", **options).fingerprint() == made.fingerprint()
    with pytest.raises(FileExistsError, match="other phantoms"):
        write_phantoms(tmp_path / "ph", **{**options, "seed": 4})
    with pytest.raises(FileExistsError, match="not empty"):
        write_phantoms(make_folder(tmp_path / "other"), **options)
    (tmp_path / "ph" / made.files[5]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 16 phantoms are missing"):
        load_phantoms(tmp_path / "ph")


def test_open_dataset_reads_plain_folders(folder: Path) -> None:
    assert open_dataset(folder).classes == ("sick", "well")
    assert open_dataset(folder, labelled=False).labels is None
    with pytest.raises(ValueError, match="not a folder of phantoms"):
        load_phantoms(folder)


# -- the Alzheimer MRI data set


def test_numbering_gives_every_slice_once() -> None:
    for n, t in ((2, 12), (28, 179), (100, 640), (70, 448)):
        order = alzheimer_mri_subjects(n, t)
        assert len(order) == len(set(order)) == 32 * n
        assert all(level >= 26 for _, level in order[:t]) and all(level <= 26 for _, level in order[t:])


def test_alzheimer_mri(real_data: Path) -> None:
    root = real_data / "alzheimer_mri_128"
    ds = open_dataset(root)
    assert ds.name == "Alzheimer MRI" and ds.classes == SEVERITY and ds.images.shape == (6400, 128, 128, 1)
    assert ds.counts().rows()[0] == {"class": "Non_Demented", "images": 3200, "subjects": 100}
    assert ds.counts().subjects.tolist() == [100, 70, 28, 2]
    with open(real_data / "subjects.csv", newline="") as stream:
        known = {f"{row['class']}/{row['file']}": row["subject"] for row in csv.DictReader(stream)}
    assert dict(zip(ds.files, ds.subjects, strict=True)) == known
    by_table = ImageFolder(root, groups=(real_data / "subjects.csv", "subject"), class_order=SEVERITY)
    assert by_table.fingerprint() == ds.fingerprint()
    i = 4321
    np.testing.assert_array_equal(ds.images[i, ..., 0], np.asarray(Image.open(root / ds.files[i]).convert("L")))
    with pytest.raises(ValueError, match=r"Did you mean .*alzheimer_mri_128"):
        AlzheimerMRI(real_data)
    with pytest.raises(ValueError, match=r"Did you mean .*alzheimer_mri_128"):
        AlzheimerMRI(root / "Non_Demented")


def test_an_incomplete_copy_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "copy", SEVERITY)
    with pytest.raises(ValueError, match=r"Non_Demented: expected the 3,200 published files, found 4; missing non_1"):
        AlzheimerMRI(root)
    assert open_dataset(root).classes == SEVERITY
