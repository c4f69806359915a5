"""What people have is read at the first try, or refused with words that help: layouts, formats, tables.

Each row of the tables makes a folder and says what must be read, or which error must be raised.
"""

from __future__ import annotations

import gzip
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reference import making, png
from simclr_mri import split
from simclr_mri.datasets import Dataset, DataWarning, ImageFolder, open_dataset

picture, pictures, table = making.picture, making.pictures, making.table


def opened(path: Path, **options: Any) -> tuple[Dataset, str]:
    """The data set, and all notes as one text."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ds = open_dataset(path, **options)
    return ds, "\n".join(str(w.message) for w in told if issubclass(w.category, DataWarning))


def check(root: Path, options: dict[str, Any], expected: dict[str, Any]) -> None:
    """Reads a folder and compares what is expected: counts by class, parts, subjects, notes; or an error."""
    if "error" in expected:
        with pytest.raises((ValueError, OSError), match=expected["error"]):
            opened(root, **options)
        return
    ds, notes = opened(root, **options)
    counts = {row["class"]: row["images"] for row in ds.counts().rows()}
    if "classes" in expected:
        assert list(counts.items()) == list(expected["classes"].items())
    if "parts" in expected:
        found = None if ds.parts is None else dict(zip(*np.unique(ds.parts, return_counts=True), strict=True))
        assert found == expected["parts"]
    if "subjects" in expected:
        assert (None if ds.subjects is None else sorted(set(ds.subjects.tolist()))) == expected["subjects"]
    if "slices" in expected:
        assert (None if ds.slices is None else sorted(ds.slices.tolist())) == expected["slices"]
    for text in np.atleast_1d(expected.get("notes", [])):
        assert text in notes, notes
    if expected.get("notes") is None:
        assert "not read" not in notes, notes
    if "n" in expected:
        assert len(ds) == expected["n"]


# -- layouts: files, options, what is expected ------------------------------------------------------------------------

AB = {"A": 2, "B": 2}
FOUR = "NonDemented VeryMildDemented MildDemented ModerateDemented".split()

LAYOUTS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("classes", "A/[1-2].png B/[1-2].png", {}, {"classes": AB, "parts": None}),
    ("one wrapper", "w/A/[1-2].png w/B/[1-2].png", {}, {"classes": AB}),
    ("two wrappers", "w/v/A/[1-2].png w/v/B/[1-2].png", {}, {"classes": AB}),
    ("wrapper beside a picture", "x.png w/A/[1-2].png w/B/[1-2].png", {}, {"classes": AB, "notes": "pictures beside"}),
    (
        "parts",
        "train/A/1.png train/B/1.png test/A/1.png test/B/1.png",
        {},
        {"classes": AB, "parts": {"train": 1 + 1, "test": 2}},
    ),
    (
        "parts, three, other words",
        "Training~set/A/1.png Training~set/B/1.png validation_data/A/2.png validation_data/B/2.png Holdout/A/3.png",
        {},
        {"classes": {"A": 3, "B": 2}, "parts": {"Training set": 2, "validation_data": 2, "Holdout": 1}},
    ),
    (
        "parts below classes",
        "A/train/1.png A/test/1.png B/train/1.png B/test/1.png",
        {},
        {"classes": AB, "parts": {"train": 2, "test": 2}},
    ),
    (
        "a part in a part",
        "train/train/A/1.png train/train/B/1.png test/test/A/1.png test/test/B/1.png",
        {},
        {"classes": AB, "parts": {"train": 2, "test": 2}},
    ),
    (
        "folds of parts",
        "fold1/train/A/1.png fold1/train/B/1.png fold1/test/A/1.png "
        "fold2/train/A/1.png fold2/train/B/1.png fold2/test/A/1.png",
        {},
        {"classes": {"A": 4, "B": 2}, "parts": {"fold1/train": 2, "fold1/test": 1, "fold2/train": 2, "fold2/test": 1}},
    ),
    (
        "parts spelt differently",
        "train/MildDemented/1.png train/NonDemented/1.png test/Mild_Demented/1.png test/Non_Demented/1.png",
        {"task": "cdr0"},
        {"classes": {"CDR_0": 2, "CDR_above_0": 2}},
    ),
    (
        "flat test beside parts",
        "train/A/[1-2].png train/B/[1-2].png test/[1-3].png",
        {},
        {"classes": AB, "notes": "in test/ without a class folder: 3"},
    ),
    (
        "flat test beside classes",
        "A/[1-2].png B/[1-2].png test/[1-3].png",
        {},
        {"classes": AB, "notes": "in test/ without a class folder: 3"},
    ),
    (
        "parts without classes",
        "train/[1-2].png test/[1-2].png",
        {},
        {"error": "no class folders, the images lie in t.*labelled=False"},
    ),
    (
        "any words, two readings",
        "alpha/x/1.png alpha/y/1.png beta/x/1.png beta/y/1.png",
        {},
        {"error": r"(?s)two ways.*layout='part/class'.*layout='class'"},
    ),
    (
        "the first reading",
        "alpha/x/1.png alpha/y/1.png beta/x/1.png beta/y/1.png",
        {"layout": "part/class"},
        {"classes": {"x": 2, "y": 2}, "parts": {"alpha": 2, "beta": 2}},
    ),
    (
        "the second reading",
        "alpha/x/1.png alpha/y/1.png beta/x/1.png beta/y/1.png",
        {"layout": "class"},
        {"classes": {"alpha": 2, "beta": 2}},
    ),
    (
        "subjects by folder",
        "A/s1/1.png A/s2/1.png B/s3/[1-2].png",
        {"layout": "class/subject"},
        {"classes": AB, "subjects": ["s1", "s2", "s3"]},
    ),
    (
        "a level that does not exist",
        "A/1.png B/1.png",
        {"layout": "group/class"},
        {"error": "each one of part, class, subject"},
    ),
    (
        "sites of diagnoses",
        "oslo/AD/1.png oslo/CN/1.png turin/AD/1.png turin/CN/1.png",
        {},
        {"classes": {"CN": 2, "AD": 2}, "parts": {"oslo": 2, "turin": 2}},
    ),
    (
        "planes below classes",
        "AD/axial/1.png AD/coronal/1.png CN/axial/1.png CN/coronal/1.png",
        {},
        {"classes": {"CN": 2, "AD": 2}, "parts": None},
    ),
    (
        "planes above classes",
        "axial/AD/1.png axial/CN/1.png coronal/AD/1.png coronal/CN/1.png",
        {},
        {"classes": {"CN": 2, "AD": 2}, "parts": None},
    ),
    ("numbered subjects below classes", "AD/[1-20]/a.png CN/[1-20]/a.png", {}, {"classes": {"CN": 20, "AD": 20}}),
    (
        "patients by folder",
        "AD/patient_1/[1-2].png AD/Patient~02/1.png CN/patient_3/1.png",
        {},
        {"classes": {"CN": 1, "AD": 3}, "subjects": ["Patient 02", "patient_1", "patient_3"]},
    ),
    (
        "patients numbered anew in each class",
        "AD/case-1/[1-2].png CN/case-1/1.png",
        {},
        {"subjects": ["AD/case-1", "CN/case-1"]},
    ),
    (
        "an archive unpacked twice",
        "yes/[1-2].png no/[1-2].png set/yes/[1-2].png set/no/[1-2].png",
        {},
        {"error": r"(?s)set/ holds the same folders as lie beside it.*open_dataset\('[^']*/set'\).*rename set to _set"},
    ),
    (
        "pictures to be predicted",
        "yes/[1-2].png no/[1-2].png pred/[1-3].png",
        {},
        {"classes": {"no": 2, "yes": 2}, "notes": "in pred/ without a class folder: 3"},
    ),
    ("another case in each part", "Train/AD/1.png Train/CN/1.png Testing/ad/1.png Testing/cn/1.png", {}, {"n": 4}),
    (
        "sessions of BIDS",
        "AD/sub-01/ses-0[1-2]/anat/sub-01_T1w_1.png CN/sub-02/ses-01/anat/sub-02_T1w_[1-2].png",
        {},
        {"subjects": ["sub-01", "sub-02"]},
    ),
    (
        "sub-folders of ADNI",
        "AD/002_S_0295/MPR/2006-04-18/I13712/[1-2].png CN/011_S_0021/MPR/2006-01-01/I2/1.png",
        {},
        {"classes": {"CN": 1, "AD": 2}, "subjects": ["002_S_0295", "011_S_0021"]},
    ),
    ("folders of subjects", "sub-01/1.png sub-02/1.png", {}, {"error": "called like subjects.*layout='class'"}),
    (
        "augmented beside original",
        "Original/A/[1-2].png Original/B/[1-2].png Augmented/A/[1-9].png Augmented/B/[1-9].png",
        {},
        {"classes": AB, "notes": "augmented copies (Augmented/): 18"},
    ),
    (
        "augmented, Kaggle's words",
        "OriginalDataset/A/[1-2].png OriginalDataset/B/[1-2].png "
        "AugmentedAlzheimerDataset/A/3.png AugmentedAlzheimerDataset/B/3.png",
        {},
        {"classes": AB, "notes": "augmented copies (AugmentedAlzheimerDataset/): 2"},
    ),
    (
        "augmented classes",
        "AD/[1-2].png CN/[1-2].png AD_aug/1.png CN_aug/1.png",
        {},
        {"classes": {"CN": 2, "AD": 2}, "notes": "augmented copies"},
    ),
    (
        "masks in a folder",
        "images/A/[1-2].png images/B/[1-2].png masks/A/[1-2].png masks/B/[1-2].png",
        {},
        {"classes": AB, "notes": "masks or other annotations (masks/): 4"},
    ),
    (
        "masks beside",
        "A/[1-2].png A/1_mask.png B/[1-2].png",
        {},
        {"classes": AB, "notes": "masks beside their pictures: 1"},
    ),
    ("hidden", "A/[1-2].png B/[1-2].png _masks/A/1.png .cache/x.png A/._1.png", {}, {"classes": AB}),
    ("flat", "1.png 2.png", {}, {"error": "images lie in it directly.*labelled=False"}),
    ("flat, unlabelled", "1.png 2.png deep/3.png deep/er/4.png", {"labelled": False}, {"n": 4}),
    ("classes that differ by a sign", "IDH+/[1-2].png IDH-/[1-2].png", {}, {"classes": {"IDH+": 2, "IDH-": 2}}),
    ("one class", "only/[1-3].png", {}, {"classes": {"only": 3}, "notes": "one class only (only)"}),
    ("nothing", "", {}, {"error": "no class folders and no images"}),
    (
        "176 x 208",
        " ".join(f"{part}/{c}/[1-2].jpg" for part in ("train", "test") for c in FOUR),
        {"task": "3class"},
        {
            "classes": {"Non_Demented": 4, "Very_Mild_Demented": 4, "Mild_or_Moderate_Demented": 8},
            "parts": {"train": 8, "test": 8},
        },
    ),
    (
        "OASIS",
        "Very~mild~Dementia/OAS1_0028_MR1_mpr-1_[100-102].jpg Non~Demented/OAS1_0001_MR1_mpr-2_[100-101].jpg",
        {"task": "cdr0"},
        {
            "classes": {"CDR_0": 2, "CDR_above_0": 3},
            "subjects": ["OAS1_0001", "OAS1_0028"],
            "slices": [100, 100, 101, 101, 102],
        },
    ),
    (
        "ADNI",
        "AD/ADNI_002_S_0295_MR_raw_20060418193538653_[97-98]_S13402_I13712.jpg "
        "CN/ADNI_011_S_0021_MR_raw_20060418193538653_5_S1_I2.jpg "
        "EMCI/I7_131_S_0123_axial_3.jpg LMCI/023_S_4035_4.jpg MCI/023_S_4036_4.jpg",
        {},
        {
            "classes": {"CN": 1, "EMCI": 1, "MCI": 1, "LMCI": 1, "AD": 2},
            "subjects": ["002_S_0295", "011_S_0021", "023_S_4035", "023_S_4036", "131_S_0123"],
        },
    ),
    (
        "BIDS",
        "AD/sub-01/anat/sub-01_T1w_[7-8].png CN/sub-02/anat/sub-02_T1w_9.png",
        {},
        {"subjects": ["sub-01", "sub-02"], "slices": [7, 8, 9]},
    ),
    (
        "merge",
        "Mild/1.png Moderate/1.png None/1.png",
        {"merge": "Mild,Moderate=Dementia"},
        {"classes": {"Dementia": 2, "None": 1}},
    ),
    (
        "merge by beginnings, order",
        "Mild_Demented/1.png Very_Mild_Demented/1.png Non_Demented/1.png",
        {"merge": ["mild,very mild=Sick"], "class_order": ["Sick", "Non_Demented"]},
        {"classes": {"Sick": 2, "Non_Demented": 1}},
    ),
    ("merge a stranger", "A/1.png B/1.png", {"merge": "A,C=x"}, {"error": "merge: 'C' is none of the classes A, B"}),
    (
        "merge without a name",
        "A/1.png B/1.png",
        {"merge": "A,B"},
        {"error": r"expected old,old=new, got 'A,B'.*merge='A,B=joined'"},
    ),
    ("order that lacks a class", "A/1.png B/1.png", {"class_order": ["B"]}, {"error": r"class_order=\['A', 'B'\]"}),
    (
        "task of other classes",
        "A/1.png B/1.png",
        {"task": "cdr0"},
        {"error": r"in whatever wording; this data set has A, B.*merge_classes"},
    ),
]


@pytest.mark.parametrize(
    ("files", "options", "expected"), [row[1:] for row in LAYOUTS], ids=[row[0] for row in LAYOUTS]
)
def test_layouts(tmp_path: Path, files: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    check(pictures(root, files), options, expected)


# -- files that are there and are not pictures, or not the usual ones -------------------------------------------------


def _cmyk(root: Path) -> None:
    picture(root / "A" / "1.jpg", mode="CMYK", shape=(12, 12, 3))
    with Image.open(root / "A" / "1.jpg") as image:
        assert image.mode == "CMYK"


def _links(root: Path) -> None:
    picture(root.parent / "elsewhere" / "9.png")
    os.symlink(root.parent / "elsewhere", root / "A" / "more")
    os.symlink(root / "B", root / "B" / "again")
    os.symlink("self", root / "B" / "self")


def _up(root: Path) -> None:
    os.symlink(root, root / "B" / "r")


def _dangling(root: Path) -> None:
    os.symlink("nowhere.png", root / "A" / "8.png")
    os.symlink("../.git/annex/objects/ab/cd.png", root / "A" / "9.png")


def _lfs(root: Path) -> None:
    (root / "A" / "8.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _patched_jpeg(offset: int, value: int) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = picture(root / "A" / "8.jpg")
        data = bytearray(path.read_bytes())
        data[data.index(b"\xff\xc0") + offset] = value
        path.write_bytes(bytes(data))

    return make


def _foreign_bytes(root: Path) -> None:
    path = picture(root / "A" / "8.jpg")
    data = path.read_bytes()
    at = data.index(b"\xff\xdb")
    path.write_bytes(data[:at] + b"\0\1" + data[at:])


def _long_text(root: Path) -> None:
    text = png.chunk(b"tEXt", b"Title\0" + b"x" * (9 << 20))
    (root / "A" / "8.png").write_bytes(png.encode(making.pixels(1)[..., None], png.GRAY, 8, extra=text))


def _pipe(root: Path) -> None:
    os.mkfifo(root / "A" / "8.png")


def _deep(path: Path, top: int, extra: bytes = b"") -> None:
    values = np.random.default_rng(1).integers(0, top + 1, (12, 12, 1))
    values[0, 0] = top
    path.write_bytes(png.encode(values, png.GRAY, 16, extra=extra))


def _all(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """The same instead of every picture."""

    def replace(root: Path) -> None:
        for path in root.glob("*/*.png"):
            make(path)

    return replace


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(data) and None


FILES: list[tuple[str, Callable[[Path], object], dict[str, Any], dict[str, Any]]] = [
    ("other endings of JPEG", lambda r: pictures(r, "A/8.jpe B/8.JFIF A/9.JPG"), {}, {"n": 7}),
    ("formats of Pillow", lambda r: pictures(r, "A/8.tif B/8.bmp A/9.webp B/9.gif A/7.ppm"), {}, {"n": 9}),
    ("no ending", lambda r: picture(r / "A" / "8.png").rename(r / "A" / "scan"), {}, {"n": 5}),
    ("a TIFF called PNG", lambda r: picture(r / "A" / "8.tif").rename(r / "A" / "8.png"), {}, {"n": 5}),
    ("CMYK", _cmyk, {}, {"n": 4 + 1}),
    ("a NIfTI file in a class", _write("A/8.nii.gz", b"x"), {}, {"n": 4, "notes": "not read: 1 .nii.gz"}),
    (
        "DICOM without ending",
        _write("A/IM1", bytes(128) + b"DICM" + bytes(300)),
        {},
        {"n": 4, "notes": "files without ending: 1 (A/IM1)"},
    ),
    ("what accompanies a set", _write("A/README.md", b"x"), {}, {"n": 4}),
    ("an unknown ending", _write("A/8.xyz", b"x"), {}, {"n": 4, "notes": "not read: 1 .xyz"}),
    (
        "links to folders",
        _links,
        {},
        {"n": 5, "notes": ["lead back to a folder above them: 1 (B/again)", "cannot be followed"]},
    ),
    ("dangling links", _dangling, {}, {"n": 4, "notes": ["target does not exist: 1 (A/8.png)", "DataLad"]}),
    ("Git LFS", _lfs, {}, {"error": "A/8.png: a Git LFS pointer"}),
    ("a web page", _write("A/8.png", b"<!DOCTYPE html><html>"), {}, {"error": "a web page and not a picture"}),
    ("12-bit JPEG", _patched_jpeg(4, 12), {}, {"error": r"not supported: a 12-bit JPEG"}),
    ("lossless JPEG", _patched_jpeg(1, 0xC3), {}, {"error": r"not supported: a lossless JPEG"}),
    ("left out if asked", _patched_jpeg(1, 0xC3), {"errors": "warn"}, {"n": 4, "notes": "They are left out"}),
    ("bytes in a JPEG's header", _foreign_bytes, {}, {"n": 5, "notes": "foreign bytes in their header"}),
    ("a PNG with 9 MB of text", _long_text, {}, {"n": 5}),
    ("a pipe called PNG", _pipe, {}, {"n": 4, "notes": "pipes, sockets or devices: 1 (A/8.png)"}),
    ("12 bits in 16", _all(lambda p: _deep(p, 4000)), {}, {"notes": "values from", "n": 4}),
    (
        "12 bits stated",
        _all(lambda p: _deep(p, 4000, png.chunk(b"sBIT", b"\x0c"))),
        {},
        {"notes": "0 to 4,095 become black to white"},
    ),
    ("16 bits filled", _all(lambda p: _deep(p, 65535)), {}, {"n": 4}),
    (
        "all black",
        _all(lambda p: Image.new("L", (12, 12)).save(p)),
        {},
        {"notes": "every pixel of all 4 images has the value 0"},
    ),
    (
        "few gray levels",
        _all(lambda p: Image.fromarray(making.pixels(1) // 16).save(p)),
        {},
        {"notes": "from 0 to 15 only, of 255"},
    ),
    (
        "several sizes",
        lambda r: picture(r / "A" / "8.png", shape=(20, 12)),
        {},
        {"error": "1 of 5 are not 12 x 12 px .*image_size=32"},
    ),
    (
        "several sizes of TIFF",
        lambda r: picture(r / "A" / "8.tif", shape=(20, 12)),
        {},
        {"error": "1 of 5 are not 12 x 12 px .*image_size=32"},
    ),
    ("an empty class", lambda r: (r / "C").mkdir(), {}, {"error": "class C is empty: .*nothing at all"}),
    (
        "a class of volumes",
        lambda r: [(r / "C").mkdir(), _write("C/1.nii.gz", b"x")(r)],
        {},
        {"error": r"class C is empty: .*holds 1 \.nii\.gz\. Cut .*write_slices"},
    ),
    (
        "a class of dangling links",
        lambda r: [(r / "C").mkdir(), os.symlink("no.png", r / "C" / "1.png")],
        {},
        {"error": "class C is empty: .*1 links whose target"},
    ),
    ("an archive beside", _write("all.zip", b"PK"), {}, {"n": 4, "notes": "not read: 1 .zip"}),
    ("endings in capitals", lambda r: pictures(r, "A/8.PNG B/8.JPEG B/9.TIF"), {}, {"n": 7}),
    (
        "links in a circle",
        lambda r: [
            os.symlink(r / "y", r / "A" / "x"),
            os.symlink(r / "A" / "x", r / "y"),
            os.symlink(r, r / "B" / "r"),
        ],
        {},
        {"n": 4, "notes": ["cannot be followed", "lead back to a folder above them: 1 (B/r)"]},
    ),
    (
        "numbers of 32 bits",
        lambda r: Image.fromarray(np.arange(144, dtype=np.int32).reshape(12, 12) * 20).save(r / "A" / "8.tif"),
        {},
        {"n": 5, "notes": "1 files hold numbers of 32 bits, from 0 to 2860"},
    ),
    ("an empty file", _write("A/8.png", b""), {}, {"error": "A/8.png: an empty file"}),
    ("a folder of texts", lambda r: [(r / "info").mkdir(), _write("info/a.txt", b"x")(r)], {}, {"n": 4}),
]


@pytest.mark.parametrize(("make", "options", "expected"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_files(tmp_path: Path, make: Callable[[Path], object], options: dict, expected: dict) -> None:
    root = pictures(tmp_path / "root", "A/[1-2].png B/[1-2].png")
    make(root)
    check(root, options, expected)


# -- tables: text, encoding, groups= or labels=, what is expected -----------------------------------------------------

WHO = ["p1", "p2"]
TABLES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("paths", "file,subject\nA/1.png,p1\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2", {}, {"subjects": WHO}),
    (
        "absolute paths",
        "file,subject\n/data/A/1.png,p1\n/data/A/2.png,p1\n/data/B/1.png,p2\n/data/B/2.png,p2",
        {},
        {"subjects": WHO},
    ),
    (
        "Windows' paths",
        "file;subject\nC:\\x\\A\\1.png;p1\nC:\\x\\A\\2.png;p1\nC:\\x\\B\\1.png;p2\nC:\\x\\B\\2.png;p2",
        {},
        {"subjects": WHO},
    ),
    ("ids without ending", "id,subject\nA/1,p1\nA/2,p1\nB/1,p2\nB/2,p2", {}, {"subjects": WHO}),
    ("other endings", "image,subject\nA/1.dcm,p1\nA/2.dcm,p1\nB/1.dcm,p2\nB/2.dcm,p2", {}, {"subjects": WHO}),
    (
        "columns in another order",
        "subject\tage\tpath\np1\t70\tA/1.png\np1\t70\tA/2.png\np2\t60\tB/1.png\np2\t60\tB/2.png",
        {},
        {"subjects": WHO},
    ),
    (
        "a file column of another name",
        "age,who,scan\n70,p1,A/1.png\n70,p1,A/2.png\n60,p2,B/1.png\n60,p2,B/2.png",
        {"groups": "t.csv:who"},
        {"subjects": WHO},
    ),
    (
        "UTF-16",
        "file,subject\nA/1.png,p1\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2",
        {"encoding": "utf-16"},
        {"subjects": WHO},
    ),
    (
        "Windows-1252",
        "file;subject\nA/1.png;Müller\nA/2.png;Müller\nB/1.png;p2\nB/2.png;p2",
        {"encoding": "cp1252"},
        {"subjects": ["Müller", "p2"]},
    ),
    (
        "a whole cohort",
        "file,subject\nA/1.png,p1\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2\nZ/9.png,p9",
        {},
        {"subjects": WHO, "notes": "1 of 5 rows are about no image"},
    ),
    ("no subject column", "file,age\nA/1.png,7", {}, {"error": r"t\.csv has the columns file, age, not 'subject'"}),
    ("another case", "File,SUBJECT_ID\nA/1.png,p1\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2", {}, {"subjects": WHO}),
    (
        "names in two folders",
        "file,subject\n1.png,p1\n2.png,p1",
        {},
        {"error": r"must give paths such as A/1\.png.*1\.png may be"},
    ),
    (
        "no match at all",
        "file,subject\nx.png,p1",
        {},
        {"error": r"t\.csv has no row for 4 of 4 images.*called A/1\.png; the column file has x\.png"},
    ),
    (
        "no value",
        "file,subject\nA/1.png,nan\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2",
        {},
        {"error": r"t\.csv has no subject for 1 images \('nan'\): A/1\.png"},
    ),
    (
        "twice",
        "file,subject\nA/1.png,p1\nA/1.png,p3\nA/2.png,p1\nB/1.png,p2\nB/2.png,p2",
        {},
        {"error": "gives A/1.png twice, as 'p1' and 'p3'"},
    ),
    (
        "1 beside 1.0",
        "file,subject\nA/1.png,1\nA/2.png,1.0\nB/1.png,2\nB/2.png,2",
        {},
        {"notes": "'1' and '1.0' may be the same subject"},
    ),
    (
        "one image each",
        "file,subject\nA/1.png,a\nA/2.png,b\nB/1.png,c\nB/2.png,d",
        {},
        {"notes": "each of the 4 subjects has one image"},
    ),
    (
        "several classes",
        "file,subject\nA/1.png,a\nA/2.png,b\nB/1.png,a\nB/2.png,d",
        {},
        {"notes": "1 of 3 subjects are in several classes, such as a (A, B)"},
    ),
    (
        "a ragged line",
        "file,subject\nA/1.png,p1,surplus",
        {},
        {"error": "line 2 has 3 values, and there are 2 columns"},
    ),
    (
        "a missing row beside a column of classes",
        "file,class,subject\nA/1.png,A,p1\nA/2.png,A,p1\nB/1.png,B,p2",
        {},
        {"error": r"no row for 1 of 4 images: B/2\.png"},
    ),
    ("empty", "", {}, {"error": "an empty table"}),
    (
        "labels",
        "file,dx\nA/1.png,sick\nA/2.png,well\nB/1.png,sick\nB/2.png,well",
        {"labels": "t.csv"},
        {"classes": {"sick": 2, "well": 2}},
    ),
    (
        "labels and all",
        "path,dx,ptid,split\nA/1.png,s,p1,train\nA/2.png,w,p2,train\nB/1.png,s,p3,test\nB/2.png,w,p4,test",
        {"labels": "t.csv:dx"},
        {"classes": {"s": 2, "w": 2}, "subjects": ["p1", "p2", "p3", "p4"], "parts": {"train": 2, "test": 2}},
    ),
    (
        "labels, one of which is missing",
        "file,dx\nA/1.png,s\nA/2.png,n/a\nB/1.png,w\nB/2.png,w",
        {"labels": "t.csv"},
        {"classes": {"s": 1, "w": 2}, "notes": "pictures that no table gives a class: 1 (A/2.png)"},
    ),
    ("labels by a pattern", "", {"labels": r"/(\d)\."}, {"classes": {"1": 2, "2": 2}}),
    ("labels by no pattern", "", {"labels": "[A-Z]"}, {"error": r"labels: expected a table .*which has 0"}),
    (
        "labels, column unknown",
        "file,stage\nA/1.png,s",
        {"labels": "t.csv"},
        {"error": "say which one holds the classes, such as labels='.*t.csv:stage'"},
    ),
]


@pytest.mark.parametrize(("text", "options", "expected"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_tables(tmp_path: Path, text: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    root = pictures(tmp_path / "root", "A/[1-2].png B/[1-2].png")
    options = dict(options)
    table(tmp_path / "t.csv", text, options.pop("encoding", "utf-8"))
    if "labels" not in options:
        options.setdefault("groups", "t.csv")
    check(root, options, expected)


ROWS = {1: "A", 2: "B", 3: "A", 4: "B", 5: "A", 6: "B"}


def rows(first: int, last: int, head: str = "file,label", sign: str = ",", line: str = "{}.png{}{}") -> str:
    return "\n".join([head, *(line.format(i, sign, ROWS[i]) for i in range(first, last + 1))])


BESIDE: list[tuple[str, str, dict[str, str | bytes], dict[str, Any]]] = [
    (
        "train.csv and test.csv",
        "img/[1-6].png",
        {"train.csv": rows(1, 4), "test.csv": rows(5, 6)},
        {
            "classes": {"A": 3, "B": 3},
            "parts": {"train": 4, "test": 2},
            "says": "parts train 4, test 2; classes A 3, B 3",
        },
    ),
    (
        "train_labels.csv and val_labels.csv",
        "[1-6].png",
        {"train_labels.csv": rows(1, 4, "id,dx", line="{}{}{}"), "val_labels.csv": rows(5, 6, "id,dx", line="{}{}{}")},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "val": 2}},
    ),
    (
        "three parts, columns of other names",
        "[1-6].png",
        {"train.csv": rows(1, 3), "dev.csv": rows(4, 5, "image,class"), "holdout.csv": rows(6, 6, "path;group", ";")},
        {"parts": {"train": 3, "val": 2, "test": 1}},
    ),
    (
        "a table in each part's folder",
        "train/[1-4].png test/[1-2].png",
        {"train/labels.csv": rows(1, 4), "test/labels.csv": rows(1, 2)},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "test": 2}},
    ),
    (
        "a test set without labels",
        "train/[1-4].png test/[5-6].png",
        {"train.csv": rows(1, 4), "test.csv": "id\n5\n6", "sample_submission.csv": rows(5, 6)},
        {"classes": {"A": 2, "B": 2}, "parts": None, "notes": "pictures that no table gives a class: 2 (test/5.png)"},
    ),
    (
        "one table for folders of parts",
        "train/[1-4].png test/[5-6].png",
        {"labels.csv": rows(1, 6)},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "test": 2}},
    ),
    (
        "one table, and its parts beside it",
        "[1-6].png",
        {"all.csv": rows(1, 6), "train.csv": rows(1, 4), "test.csv": rows(5, 6)},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "test": 2}},
    ),
    (
        "a picture in both parts",
        "[1-4].png",
        {"train.csv": rows(1, 3), "test.csv": rows(3, 4)},
        {"error": r"3\.png is in train\.csv and in test\.csv.*open_dataset\('.*train\.csv'\)"},
    ),
    (
        "two tables that differ",
        "[1-4].png",
        {"a.csv": rows(1, 4), "b.csv": rows(1, 4).replace("1.png,A", "1.png,B")},
        {"error": r"(?s)they differ\..*labels='.*a\.csv:label'.*labels='.*b\.csv:label'"},
    ),
    (
        "two tables that agree, one of which has subjects",
        "[1-4].png",
        {"a.csv": rows(1, 4), "b.csv": rows(1, 4, "file,label,subject", line="{0}.png,{2},p{0}")},
        {"subjects": ["p1", "p2", "p3", "p4"]},
    ),
    (
        "rows for some only",
        "[1-4].png",
        {"a.csv": rows(1, 3)},
        {"error": r"for 3 of 4 .*open_dataset\('.*a\.csv'"},
    ),
    (
        "a column of classes with a name of its own",
        "[1-4].png",
        {"a.csv": rows(1, 4, "Datei;Diagnose", ";")},
        {"error": r"say which one holds the classes, such as labels='.*a\.csv:Diagnose'"},
    ),
    ("no names of columns", "[1-4].png", {"a.csv": rows(1, 4, "")}, {"classes": {"A": 2, "B": 2}}),
    (
        "no names of three columns",
        "[1-2].png",
        {"a.csv": "7,1.png,A\n8,2.png,B"},
        {"error": r"has the columns column 1, file, column 3; .*labels='.*a\.csv:column 3'"},
    ),
    (
        "Roboflow, a column a class",
        "train/[1-4].jpg valid/[5-6].jpg",
        {
            "train/_classes.csv": "filename, AD, CN\n1.jpg, 1, 0\n2.jpg, 0, 1\n3.jpg, 0, 1\n4.jpg, 1, 0",
            "valid/_classes.csv": "filename, AD, CN\n5.jpg, 1, 0\n6.jpg, 0, 1",
        },
        {"classes": {"CN": 3, "AD": 3}, "parts": {"train": 4, "val": 2}},
    ),
    (
        "Roboflow, several classes a picture",
        "train/[1-2].jpg valid/3.jpg",
        {"train/_classes.csv": "filename, AD, CN\n1.jpg, 1, 0\n2.jpg, 1, 1"},
        {"error": r"train/_classes\.csv has a column for each class, and its row 2 is of several classes \(AD, CN\)"},
    ),
    (
        "Roboflow, boxes of COCO",
        "train/[1-2].jpg valid/3.jpg",
        {"train/_annotations.coco.json": '{"images": [], "annotations": []}'},
        {"error": r"_annotations\.coco\.json marks places in pictures, .*labelled=False"},
    ),
    (
        "boxes of YOLO",
        "train/images/[1-2].jpg valid/images/3.jpg",
        {"data.yaml": "nc: 2", "train/labels/1.txt": "0 0.5 0.5 0.1 0.1", "train/labels/2.txt": "1 0.5 0.5 0.1 0.1"},
        {"notes": ["txt marks places in pictures", "one class only (images)"]},
    ),
    ("text, by blanks", "img/[1-4].png", {"labels.txt": rows(1, 4, "", " ")}, {"classes": {"A": 2, "B": 2}}),
    ("text, by blanks, with names", "img/[1-4].png", {"labels.txt": rows(1, 4, "file label", " ")}, {"n": 4}),
    ("text, by tabs", "img/[1-4].png", {"labels.txt": rows(1, 4, "", "\t")}, {"classes": {"A": 2, "B": 2}}),
    ("text, by commas", "img/[1-4].png", {"labels.txt": rows(1, 4, "")}, {"classes": {"A": 2, "B": 2}}),
    (
        "text, blanks in the paths",
        "my~img/[1-3].png",
        {"labels.txt": "my img/1.png 0\nmy img/2.png 1\nmy img/3.png 1"},
        {"classes": {"0": 1, "1": 2}},
    ),
    (
        "text of parts",
        "img/[1-6].png",
        {"train.txt": rows(1, 4, "", " "), "val.txt": rows(5, 6, "", " ")},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "val": 2}},
    ),
    (
        "lists of parts beside class folders",
        "A/[1-3].png B/[4-6].png",
        {"train.txt": "A/1.png\nA/2.png\nB/4.png\nB/5.png", "test.txt": "A/3.png\nB/6.png"},
        {"classes": {"A": 3, "B": 3}, "parts": {"train": 4, "test": 2}},
    ),
    (
        "lists that do not name every picture",
        "A/[1-3].png B/[4-6].png",
        {"train.txt": "A/1.png\nB/4.png", "test.txt": "A/3.png\nB/6.png"},
        {"parts": None},
    ),
    (
        "numbers that are no classes",
        "img/[1-4].png",
        {"images.txt": "1 1.png\n2 2.png\n3 3.png\n4 4.png"},
        {"notes": "one class"},
    ),
    (
        "JSON lines, as Hugging Face has them",
        "train/[1-2].png test/[1-2].png",
        {
            f"{part}/metadata.jsonl": '{"file_name": "1.png", "label": "A"}\n{"file_name": "2.png", "label": "B"}\n'
            for part in ("train", "test")
        },
        {"classes": {"A": 2, "B": 2}, "parts": {"train": 2, "test": 2}},
    ),
    (
        "JSON, file to class",
        "img/[1-2].png",
        {"labels.json": '{"1.png": "A", "2.png": "B"}'},
        {"classes": {"A": 1, "B": 1}},
    ),
    (
        "JSON, records",
        "img/[1-2].png",
        {"labels.json": '[{"image": "1.png", "dx": 0, "box": [1]}, {"image": "2.png", "dx": 1.0}]'},
        {"classes": {"0": 1, "1": 1}},
    ),
    (
        "numbers without leading zeros",
        "img/000[1-4].png",
        {"train.csv": "id,label\n1,A\n2,B\n3,A\n4,B"},
        {"classes": {"A": 2, "B": 2}},
    ),
    (
        "numbers of folders without leading zeros",
        "00[10-31]/a/1.png",
        {"train.csv": "id,label\n" + "\n".join(f"{i},{'AB'[i % 2]}" for i in range(10, 32))},
        {"classes": {"A": 11, "B": 11}},
    ),
    (
        "BIDS",
        "sub-01/anat/sub-01_T1w_[1-2].png sub-02/anat/sub-02_T1w_[1-2].png",
        {"participants.tsv": "participant_id\tage\tdiagnosis\nsub-01\t70\tAD\nsub-02\t60\tCN"},
        {"classes": {"CN": 2, "AD": 2}, "subjects": ["sub-01", "sub-02"]},
    ),
    (
        "BIDS without the prefix, one without a diagnosis",
        "sub-01/anat/sub-01_T1w_[1-2].png sub-02/anat/sub-02_run-01_[1-2].png sub-03/anat/sub-03_T1w_1.png",
        {"participants.tsv": "participant_id\tgroup\n01\tAD\n02\tCN\n03\tn/a"},
        {"classes": {"CN": 2, "AD": 2}, "notes": "pictures that no table gives a class: 1 (sub-03"},
    ),
    (
        "visits that agree",
        "002_S_0295_[1-2].png 011_S_0021_[1-2].png",
        {"ADNIMERGE.csv": "PTID,VISCODE,DX\n002_S_0295,bl,CN\n002_S_0295,m06,CN\n011_S_0021,bl,AD"},
        {"classes": {"CN": 2, "AD": 2}, "subjects": ["002_S_0295", "011_S_0021"], "notes": "1 of 3 rows"},
    ),
    (
        "visits that differ",
        "002_S_0295_[1-2].png 011_S_0021_[1-2].png",
        {"ADNIMERGE.csv": "PTID,VISCODE,DX\n002_S_0295,bl,CN\n002_S_0295,m06,MCI\n011_S_0021,bl,AD"},
        {"error": r"ADNIMERGE\.csv gives 002_S_0295 twice, as 'CN' and 'MCI' in DX\. Keep one row"},
    ),
    (
        "a folder of pictures beside a table whose column is unknown",
        "img/[1-4].png",
        {"train.csv": "image,age,tumor\n1.png,70,0\n2.png,71,1\n3.png,72,0\n4.png,73,1"},
        {"notes": ["labels='", "train.csv:tumor'", "one class only (img)"]},
    ),
    ("classes in the names", "AD_[1-2].png CN_[1-2].png", {}, {"error": r"begin with AD, CN\. .*labels='\^\("}),
    ("two columns of classes", "[1-2].png", {"a.csv": "id,label,dx\n1,0,A\n2,1,B"}, {"says": "it also has dx"}),
    ("a column a class", "[1-2].png", {"a.csv": "id,age,AD,CN\n1,70,1,0\n2,60,0,1"}, {"classes": {"CN": 1, "AD": 1}}),
    (
        "a class called None",
        "[1-4].png",
        {"train.csv": "file,label\n1.png,None\n2.png,Mild\n3.png,Mild", "test.csv": "file,label\n4.png,None"},
        {"classes": {"Mild": 2, "None": 2}, "parts": {"train": 3, "test": 1}},
    ),
    ("what Excel writes", "[1-4].png", {"a.csv": "sep=;\n" + rows(1, 4, sign=";", head="file;label")}, {"n": 4}),
    ("a mark of UTF-8", "[1-4].png", {"a.csv": b"\xef\xbb\xbf" + rows(1, 4).encode()}, {"n": 4}),
    ("UTF-16 without its mark", "[1-4].png", {"a.csv": rows(1, 4).encode("utf-16-le")}, {"n": 4}),
    ("packed by gzip", "[1-4].png", {"a.csv.gz": gzip.compress(rows(1, 4).encode())}, {"n": 4}),
    (
        "packed by gzip, and cut",
        "[1-4].png",
        {"a.csv.gz": gzip.compress(rows(1, 4).encode())[:30]},
        {"error": "wrong f"},
    ),
    ("lines above the header", "[1-4].png", {"a.csv": "# exported\n\n" + rows(1, 4)}, {"n": 4}),
    ("a column of row numbers", "[1-4].png", {"a.csv": rows(1, 4, ",file,label", line="{0},{0}.png,{2}")}, {"n": 4}),
    ("a spreadsheet", "[1-4].png", {"a.xlsx": b"PK"}, {"error": "a.xlsx may hold the classes. Save the spreadsheet"}),
    ("an archive alone", "", {"a.zip": b"PK"}, {"error": "Unpack it first: python3 -m zipfile -e .*a.zip .*/a$"}),
]


@pytest.mark.parametrize(("names", "tables", "expected"), [row[1:] for row in BESIDE], ids=[row[0] for row in BESIDE])
def test_tables_beside_pictures(
    tmp_path: Path, names: str, tables: dict[str, str | bytes], expected: dict[str, Any]
) -> None:
    root = pictures(tmp_path / "root", names)
    root.mkdir(exist_ok=True)
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    check(root, {}, expected)
    if "says" in expected:
        assert expected["says"] in opened(root)[0].understood


def test_a_cache_of_links_in_a_circle(tmp_path: Path) -> None:
    root = pictures(tmp_path / "root", "A/[1-2].png B/[1-2].png")
    os.symlink("x", root / "x")
    assert opened(root, cache=tmp_path / "cache")[0].files == opened(root, cache=tmp_path / "cache")[0].files


def test_tables_of_parts_are_split_as_given(tmp_path: Path) -> None:
    root = pictures(tmp_path, "[1-6].png")
    for name, first, last in (("train.csv", 1, 4), ("test.csv", 5, 6)):
        (root / name).write_text(rows(first, last, "file,label,subject", line="{0}.png,{2},p{0}"))
    given = split(opened(root)[0], fractions="given")
    assert sorted(given.train.files) == [f"{i}.png" for i in range(1, 5)] and set(given.test.subjects) == {"p5", "p6"}


def test_ids_of_subjects_and_sessions(tmp_path: Path) -> None:
    """A table with one row a subject or a session, not a picture."""
    root = pictures(
        tmp_path / "root", "A/OAS1_0028_MR1_mpr-1_[100-101].png B/OAS1_0030_MR1_mpr-1_[7-8].png A/sub-7/x_1.png"
    )
    table(tmp_path / "t.csv", "ID,who\nOAS1_0028_MR1,a\nOAS1_0030_MR1,b\nsub-7,c\nOAS1_0031_MR1,d")
    ds, notes = opened(root, groups="t.csv:who")
    assert dict(zip(ds.files, ds.subjects.tolist(), strict=True)) == {
        **{f"A/OAS1_0028_MR1_mpr-1_{i}.png": "a" for i in (100, 101)},
        **{f"B/OAS1_0030_MR1_mpr-1_{i}.png": "b" for i in (7, 8)},
        "A/sub-7/x_1.png": "c",
    }
    assert "1 of 4 rows are about no image" in notes


# -- tables and Parquet files as data sets ----------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["folder", "table"])
def test_a_table_of_paths_and_labels(tmp_path: Path, given: str) -> None:
    pictures(tmp_path, "img/[1-4].png")
    rows = "\n".join(f"{i},{'AD' if i % 2 else 'CN'},p{i}" for i in range(1, 5))
    path = table(tmp_path / "labels.csv", f"image_id,diagnosis,patient_id\n{rows}")
    ds, _ = opened(tmp_path if given == "folder" else path)
    assert ds.classes == ("CN", "AD") and ds.files == ("img/2.png", "img/4.png", "img/1.png", "img/3.png")
    assert ds.subjects.tolist() == ["p2", "p4", "p1", "p3"] and "labels.csv" in ds.understood
    picture(tmp_path / "img" / "5.png")
    ds, notes = opened(path)
    assert len(ds) == 4 and "pictures that labels.csv does not name: 1 (img/5.png)" in notes


def test_a_table_of_paths_reads_what_it_names_alone(tmp_path: Path) -> None:
    """Its subjects' names fit pictures of other folders too, which may be broken and are not asked for."""
    pictures(tmp_path, "mine/sub-[1-4]_1.png copies/sub-[1-4]_1.png older/sub-[1-4]_2.png")
    (tmp_path / "older" / "sub-1_2.png").write_bytes(b"")
    lines = [f"mine/sub-{i}_1.png,{'AB'[i % 2]},sub-{i}" for i in range(1, 5)]
    ds, _ = opened(table(tmp_path / "t.csv", "\n".join(["image,diagnosis,patient", *lines])))
    assert sorted(ds.files) == [line.split(",")[0] for line in lines]
    assert ds.n_subjects == 4 and ds.classes == ("A", "B")


def test_parquet_files_with_pictures(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet files")
    import json

    import pyarrow

    names = ["Mild_Demented", "Non_Demented"]
    for part, seeds in (("train", range(4)), ("test", range(4, 6))):
        rows = {"image": [{"bytes": making.png_bytes(s), "path": None} for s in seeds], "label": [s % 2 for s in seeds]}
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        made = pyarrow.table(rows).replace_schema_metadata({"huggingface": json.dumps(info)})
        parquet.write_table(made, tmp_path / f"{part}-00000-of-00001.parquet")
    ds, _ = opened(tmp_path)
    assert ds.classes == ("Non_Demented", "Mild_Demented") and ds.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert sorted(ds.parts.tolist()) == ["test"] * 2 + ["train"] * 4
    seeds = [int(f.rpartition(":")[2]) + (4 if f.startswith("test") else 0) for f in ds.files]
    for image, seed in zip(ds.images, seeds, strict=True):
        np.testing.assert_array_equal(image[..., 0], making.pixels(seed))
    one, _ = opened(tmp_path / "test-00000-of-00001.parquet", image_size=16, channels=3)
    assert one.images.shape == (2, 16, 16, 3) and one.parts is None
    rows = {"image": [{"bytes": making.png_bytes(7), "path": None}]}  # a part for others to judge
    parquet.write_table(pyarrow.table(rows), tmp_path / "heldout.parquet")
    more, notes = opened(tmp_path)
    assert more.fingerprint() == ds.fingerprint() and "rows without a class: 1 (heldout.parquet:0)" in notes
    assert "parts test 2, train 4; classes Non_Demented 3, Mild_Demented 3" in more.understood
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ValueError, match=r"broken\.parquet: cannot be read as Parquet"):
        open_dataset(tmp_path / "broken.parquet")


def test_parquet_files_of_paths_are_tables(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet files")
    import pyarrow

    pictures(tmp_path, "img/[1-4].png")
    for part, seeds in (("train", (1, 2, 3)), ("test", (4,))):
        made = pyarrow.table({"path": [f"img/{i}.png" for i in seeds], "label": [float(i % 2) for i in seeds]})
        parquet.write_table(made, tmp_path / f"{part}.parquet")
    ds, notes = opened(tmp_path)
    assert ds.classes == ("0", "1") and sorted(ds.parts.tolist()) == ["test", "train", "train", "train"] and not notes
    alone, notes = opened(tmp_path / "train.parquet")
    assert len(alone) == 3 and "pictures that train.parquet does not name: 1 (img/4.png)" in notes


# -- arrays -----------------------------------------------------------------------------------------------------------

STACK = np.stack([making.pixels(i) for i in range(6)])
ZERO_ONE = np.arange(6) % 2


def _figshare(root: Path) -> None:
    """Files of MATLAB 7.3 with a struct, as the brain tumour set on figshare."""
    h5py = pytest.importorskip("h5py", reason="reads HDF5 files")
    for i in range(6):
        with h5py.File(root / f"{i}.mat", "w", userblock_size=512) as file:
            group = file.create_group("cjdata")
            group["image"], group["label"] = STACK[i].T.astype(np.int16), np.array([[1.0 + i % 2]])
            group["PID"] = np.array([[ord(c)] for c in f"10{i // 2}"], np.uint16)
        data = bytearray((root / f"{i}.mat").read_bytes())
        data[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        (root / f"{i}.mat").write_bytes(data)


def _hdf5(root: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="reads HDF5 files")
    with h5py.File(root / "a.h5", "w") as file:
        file["images"], file["labels"], file["patients"] = STACK, ZERO_ONE, [f"p{i // 2}" for i in range(6)]


def _matlab(root: Path) -> None:
    import scipy.io

    scipy.io.savemat(root / "a.mat", {"images": np.moveaxis(STACK, 0, 2), "labels": ZERO_ONE})


def _npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda root: np.savez(root / "a.npz", **arrays)


def _npy(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda root: [np.save(root / f"{name}.npy", array) for name, array in arrays.items()] and None


def _one_a_file(root: Path) -> None:
    for i, image in enumerate(STACK):
        (root / "AB"[i % 2]).mkdir(exist_ok=True)
        np.save(root / "AB"[i % 2] / f"{i}.npy", image)


MEDMNIST = {f"{p}_images": STACK[s] for p, s in (("train", slice(4)), ("test", slice(4, 6)))}
MEDMNIST |= {f"{p}_labels": ZERO_ONE[s][:, None] for p, s in (("train", slice(4)), ("test", slice(4, 6)))}
ARRAYS: list[tuple[str, Callable[[Path], None], str, dict[str, Any]]] = [
    ("MedMNIST", _npz(**MEDMNIST), "a.npz", {"classes": {"0": 3, "1": 3}, "parts": {"train": 4, "test": 2}}),
    ("in a folder", _npz(X=STACK[..., None], y=ZERO_ONE), "", {"classes": {"0": 3, "1": 3}}),
    ("by position", _npz(arr_0=STACK, arr_1=ZERO_ONE), "", {"classes": {"0": 3, "1": 3}}),
    ("one-hot, channels first", _npz(x=STACK[:, None], y=np.eye(2)[ZERO_ONE]), "", {"classes": {"0": 3, "1": 3}}),
    (
        "names and subjects",
        _npz(images=STACK / 255, labels=ZERO_ONE, class_names=["CN", "AD"], subject_ids=np.arange(6) // 2),
        "a.npz",
        {"classes": {"CN": 3, "AD": 3}, "subjects": ["0", "1", "2"]},
    ),
    (
        "files of parts",
        _npy(X_train=STACK[:4], y_train=ZERO_ONE[:4], X_test=STACK[4:], y_test=ZERO_ONE[4:]),
        "",
        {"classes": {"0": 3, "1": 3}, "parts": {"train": 4, "test": 2}},
    ),
    ("one picture a file", _one_a_file, "", {"classes": {"A": 3, "B": 3}}),
    ("MATLAB 5", _matlab, "", {"classes": {"0": 3, "1": 3}}),
    ("figshare", _figshare, "", {"classes": {"glioma": 3, "meningioma": 3}, "subjects": ["100", "101", "102"]}),
    ("HDF5", _hdf5, "a.h5", {"classes": {"0": 3, "1": 3}, "subjects": ["p0", "p1", "p2"]}),
    (
        "labels elsewhere",
        _npy(X=STACK, y=ZERO_ONE),
        "X.npy",
        {"error": r"X\.npy: no labels for 6 .*open the folder"},
    ),
    ("pickled", _npz(images=np.array([{}, {}], object)), "a.npz", {"error": "pickled objects, which can run code"}),
    (
        "no pictures",
        _npz(a=np.zeros(3)),
        "a.npz",
        {"error": r"an array of pictures, .*found a float64 \(3,\)"},
    ),
    ("cut off", _write("a.npz", b"PK\x03\x04"), "a.npz", {"error": r"a\.npz: cannot be read"}),
    ("TFRecord", _write("train.tfrecord-00000-of-00001", b"x"), "", {"error": "TFRecord files are not read. Write"}),
    ("a file of TFRecord", _write("a.tfrecord", b"x"), "a.tfrecord", {"error": "TFRecord files are not read. Write"}),
    ("NRRD", _write("a.nrrd", b"NRRD"), "", {"error": r"Write it as NIfTI first: .* .*a\.nrrd .*a\.nii\.gz"}),
    ("Arrow", _write("a.arrow", b"x"), "", {"error": "Write it as Parquet first"}),
    ("a pickle", _write("a.pkl", b"x"), "", {"error": "can run code"}),
]


@pytest.mark.parametrize(("make", "name", "expected"), [row[1:] for row in ARRAYS], ids=[row[0] for row in ARRAYS])
def test_files_of_arrays(tmp_path: Path, make: Callable[[Path], None], name: str, expected: dict[str, Any]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    check(root / name, {}, expected)
    if "error" not in expected:
        ds, _ = opened(root / name, labelled=False, intensity="full" if "figshare" not in str(root) else (0, 255))
        assert sorted(image.tobytes() for image in ds.images) == sorted(image.tobytes() for image in STACK)


# -- pixels -----------------------------------------------------------------------------------------------------------


def test_formats_of_pillow_have_the_same_pixels(tmp_path: Path) -> None:
    """A picture in any lossless format is the one that the core reads from a PNG."""
    for mode, shape in (("L", (20, 14)), ("RGB", (20, 14, 3))):
        for channels in (1, 3):
            for options in ({}, {"image_size": 16}, {"image_size": 16, "fit": "crop"}, {"intensity": "percentile"}):
                images = []
                for kind in ("png", "tif", "bmp", "ppm"):
                    root = tmp_path / f"{mode}-{kind}"
                    picture(root / "A" / f"1.{kind}", 5, shape, mode)
                    images.append(ImageFolder(root, labelled=False, channels=channels, **options).images)
                for other in images[1:]:
                    np.testing.assert_array_equal(other, images[0])


def test_deep_tiff_equals_deep_png(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (12, 12)).astype(np.uint16)
    for kind in ("png", "tif"):
        (tmp_path / kind / "A").mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / kind / "A" / f"1.{kind}")
    found = [opened(tmp_path / kind, labelled=False) for kind in ("png", "tif")]
    np.testing.assert_array_equal(found[0][0].images, found[1][0].images)
    np.testing.assert_array_equal(found[0][0].images[0, ..., 0], np.floor(255.0 * values.astype(float) / 4095 + 0.5))
    assert found[0][0].reading == found[1][0].reading == {"intensity": (0, 4095), "fit": "pad"}
    full = ImageFolder(tmp_path / "tif", labelled=False, intensity="full").images
    np.testing.assert_array_equal(full[0, ..., 0], np.floor(values / 257 + 0.5))


def test_a_circle_stays_a_circle(tmp_path: Path) -> None:
    y, x = np.mgrid[:208, :176]
    disc = 255 * ((y - 103.5) ** 2 + (x - 87.5) ** 2 < 60**2).astype(np.uint8)
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        Image.fromarray(disc).save(tmp_path / name / "1.png")
    for fit, round_ in (("pad", True), ("crop", True), ("stretch", False)):
        image = ImageFolder(tmp_path, image_size=64, fit=fit).images[0, ..., 0] > 127
        rows, columns = image.any(axis=1).sum(), image.any(axis=0).sum()
        assert (abs(rows - columns) <= 1) == round_, (fit, rows, columns)
    assert ImageFolder(tmp_path).images.shape == (2, 208, 176, 1)
    with pytest.raises(ValueError, match="fit: expected one of pad, crop, stretch"):
        ImageFolder(tmp_path, fit="squash")


@pytest.mark.parametrize("wrong", ["low", (5, 5), (1,), 7])
def test_wrong_intensity(tmp_path: Path, wrong: Any) -> None:
    pictures(tmp_path, "A/1.png B/1.png")
    with pytest.raises(ValueError, match="intensity: expected 'full', 'percentile' or a pair"):
        ImageFolder(tmp_path, intensity=wrong)


def test_subsets_keep_parts(tmp_path: Path) -> None:
    ds, _ = opened(pictures(tmp_path, "train/A/1.png train/B/1.png test/A/1.png test/B/1.png"))
    half = ds[ds.parts == "test"]
    assert half.parts.tolist() == ["test", "test"] and half.understood == ds.understood
