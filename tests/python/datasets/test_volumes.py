"""NIfTI and DICOM volumes: the same slices from every orientation, subjects without names, notes and refusals."""

from __future__ import annotations

import csv
import io
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference import lossless_jpeg
from reference.making import dicom_series, head, nifti, picture, reoriented
from simclr_mri import _core
from simclr_mri.datasets import DataWarning, Volumes, open_dataset, stream_pictures, write_slices

pytest.importorskip("nibabel", reason="reads volumes")
pytest.importorskip("pydicom", reason="reads DICOM")

PLANES = ("axial", "coronal", "sagittal")
WHOLE = {"every": 1, "range": (0, 1)}


def expected_slices(data: np.ndarray, plane: str) -> np.ndarray:
    """Written from the convention: right on the left (sagittal: front on the left), front or top up; 1 to 99 %."""
    ordered = np.sort(data, axis=None)
    low, high = (ordered[int(np.ceil(q * ordered.size)) - 1] for q in (0.01, 0.99))
    gray = np.floor(255 * (np.clip(data.astype(float), low, high) - low) / (high - low) + 0.5).astype(np.uint8)
    X, Y, Z = data.shape
    if plane == "axial":
        return np.array([[[gray[X - 1 - c, Y - 1 - r, k] for c in range(X)] for r in range(Y)] for k in range(Z)])
    if plane == "coronal":
        return np.array([[[gray[X - 1 - c, k, Z - 1 - r] for c in range(X)] for r in range(Z)] for k in range(Y)])
    return np.array([[[gray[k, Y - 1 - c, Z - 1 - r] for c in range(Y)] for r in range(Z)] for k in range(X)])


@pytest.mark.parametrize("plane", PLANES)
def test_every_orientation_gives_the_same_slices(tmp_path: Path, plane: str) -> None:
    data = head((6, 7, 5))
    expected = expected_slices(data, plane)
    for n, axes in enumerate(itertools.permutations(range(3))):
        for m, signs in enumerate(itertools.product((1, -1), repeat=3)):
            stored, affine = reoriented(data, axes, signs)
            folder = tmp_path / f"{n}{m}"
            nifti(folder / "v.nii", stored, affine)
            found = Volumes(folder, plane=plane, **WHOLE)
            np.testing.assert_array_equal(found.images[..., 0], expected, err_msg=f"{axes} {signs}")
            assert found.slices.tolist() == list(range(1, len(expected) + 1)) and found.subjects[0] == "v"


@pytest.mark.parametrize("stored", PLANES)
def test_dicom_equals_nifti(tmp_path: Path, stored: str) -> None:
    """Series of any orientation, files in any order and without ending."""
    data = np.floor(head((6, 7, 5)))
    nifti(tmp_path / "n" / "v.nii.gz", data)
    dicom_series(tmp_path / "d", data, plane=stored)
    for plane in PLANES:
        a = Volumes(tmp_path / "n", plane=plane, **WHOLE)
        b = Volumes(tmp_path / "d", plane=plane, **WHOLE)
        np.testing.assert_array_equal(a.images, b.images)
    assert set(b.subjects) == {"P1"} and b.files[0] == "P1_series-003_sagittal_001.png"


def test_square_pixels_and_sizes(tmp_path: Path) -> None:
    data = head((10, 12, 8))
    nifti(tmp_path / "a.nii", data, np.diag([1.0, 1.0, 2.0, 1.0]))
    assert Volumes(tmp_path, plane="coronal").images.shape[1:] == (16, 10, 1)
    assert Volumes(tmp_path, plane="axial").images.shape[1:] == (12, 10, 1)
    nifti(tmp_path / "b.nii", data[:8])
    with pytest.raises(ValueError, match=r"slices of several sizes: .*image_size=32"):
        Volumes(tmp_path)
    ds = Volumes(tmp_path, image_size=32, channels=3)
    assert ds.images.shape[1:] == (32, 32, 3) and ds.n_subjects == 2
    assert not ds.images[:, :, 0].any()  # narrower than high: black beside it


def test_which_slices_are_taken(tmp_path: Path) -> None:
    data = np.zeros((8, 8, 20), np.float32)
    data[1:7, 1:7, 5:15] = 100
    nifti(tmp_path / "a.nii", data)

    def numbers(**options) -> list[int]:
        return [int(f[-7:-4]) for f in Volumes(tmp_path, **options).files]

    assert numbers(every=1) == list(range(6, 16)) and numbers() == [6, 8, 10, 12, 14]
    assert numbers(every=5, range=(0, 1)) == [1, 6, 11, 16] and numbers(every=1, range=(0.5, 0.6)) == [11, 12]
    assert numbers(every=1, range=(3, 5)) == [3, 4, 5]
    assert Volumes(tmp_path).slices.tolist() == [1, 2, 3, 4, 5]
    for options in ({"plane": "oblique"}, {"every": 0}, {"range": (0.5, 0.2)}, {"range": 3}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))}: expected"):
            Volumes(tmp_path, **options)
    with pytest.raises(ValueError, match="no slice lies in the range"):
        Volumes(tmp_path, range=(100, 200))


def test_intensity_of_volumes(tmp_path: Path) -> None:
    data = head((6, 6, 6))
    nifti(tmp_path / "a.nii", data)
    full = Volumes(tmp_path, intensity="full", **WHOLE).images
    assert full.max() == 255 and (full == 255).sum() == (data == data.max()).sum()
    given = Volumes(tmp_path, intensity=(0, 1000), **WHOLE).images
    assert given.max() == np.floor(255 * data.max() / 1000 + 0.5)
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    nifti(tmp_path / "a.nii", data)
    assert Volumes(tmp_path, **WHOLE).images.max() == 255


def test_classes_subjects_and_tables_of_bids(tmp_path: Path) -> None:
    for name in ("01", "02", "03"):
        nifti(tmp_path / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz", head((6, 6, 6)))
    ds = open_dataset(tmp_path)
    assert ds.labels is None and sorted(set(ds.subjects)) == ["sub-01", "sub-02", "sub-03"]
    rows = "participant_id\tgroup\nsub-01\tAD\nsub-02\tCN\nsub-03\tAD\nsub-04\tCN"
    (tmp_path / "participants.tsv").write_text(rows)
    with pytest.warns(DataWarning, match="1 of 4 rows"):
        ds = open_dataset(tmp_path, labels="participants.tsv:group")
    assert ds.classes == ("CN", "AD") and {str(s) for s in ds.subjects[ds.labels == 0]} == {"sub-02"}


def test_class_folders_of_volumes(tmp_path: Path) -> None:
    for cls, names in (("AD", "xy"), ("CN", "z")):
        for name in names:
            nifti(tmp_path / cls / f"{name}.nii", head((6, 6, 6)))
    ds = open_dataset(tmp_path)
    assert ds.classes == ("CN", "AD") and ds.counts().subjects.tolist() == [1, 2]
    assert ds.files[0] == "CN/z_axial_001.png" and "3 volumes" in ds.understood
    same = tmp_path / "same"
    for name in "xy":
        nifti(same / name / "T1.nii", head((6, 6, 6)))
    assert sorted(set(Volumes(same, labelled=False).subjects)) == ["x", "y"]


def test_an_export_of_dicom(tmp_path: Path) -> None:
    """Patients by tag, no name kept anywhere; what is no slice is counted; several series stay apart."""
    data = np.floor(head((8, 8, 6)))
    root = tmp_path / "export"
    dicom_series(root / "DOE_JANE" / "st1" / "se1", data, patient="DOE4711", name="Doe^Jane")
    dicom_series(root / "DOE_JANE" / "st1" / "se2", data, patient="DOE4711", name="Doe^Jane", series=4)
    dicom_series(root / "ROE" / "st1" / "se1", data, patient="0815", name="Roe^Richard", endings=".dcm")
    dicom_series(root / "ROE" / "st1" / "sr", data[:, :, :1], patient="0815", SamplesPerPixel=3, Rows=2, Columns=1)
    (root / "README").write_text("export")
    with pytest.warns(DataWarning, match="DICOM in colour, such as screenshots: 1"):
        ds = open_dataset(root)
    assert ds.labels is None and ds.n_subjects == 2 and "0815" in ds.subjects
    assert len({f.rsplit("_axial", 1)[0] for f in ds.files}) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_slices(root, tmp_path / "out", every=1)
    written = [p.name.casefold() for p in (tmp_path / "out").rglob("*")]
    texts = [p.read_text().casefold() for p in (tmp_path / "out").iterdir() if p.suffix in (".csv", ".json")]
    assert not any(
        name in text for text in (*written, *texts, repr(ds.files).casefold()) for name in ("doe", "jane", "roe")
    )


def test_a_clinics_table_of_dicom(tmp_path: Path) -> None:
    """A row a patient, by the id that the tags have and no file name shows."""
    for patient in ("P1", "P2"):
        for series in (3, 4):
            place = tmp_path / "export" / f"x{patient[1:]}" / str(series)
            dicom_series(place, np.floor(head((6, 6, 3))), patient=patient, series=series)
    (tmp_path / "clinic.csv").write_text("PatientID;Diagnosis\nP1;AD\nP2;CN\nP3;CN")
    with pytest.warns(DataWarning, match="1 of 3 rows"):
        ds = open_dataset(tmp_path / "export", labels="clinic.csv:Diagnosis")
    assert ds.classes == ("CN", "AD") and {str(s) for s in ds.subjects[ds.labels == 1]} == {"P1"}


def test_odd_series(tmp_path: Path) -> None:
    data = np.floor(head((8, 8, 6)))
    dicom_series(tmp_path / "a", data, RescaleSlope=2, RescaleIntercept=-1024)
    dicom_series(tmp_path / "plain", data)
    both = [Volumes(tmp_path / name, **WHOLE).images for name in ("a", "plain")]
    np.testing.assert_array_equal(*both)
    dicom_series(tmp_path / "inverted", 4000 - data, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(Volumes(tmp_path / "inverted", **WHOLE).images, both[0])
    files = sorted((tmp_path / "plain").iterdir())
    import pydicom

    for file in files:
        if abs(float(pydicom.dcmread(file).ImagePositionPatient[2]) - 2) < 0.1:
            file.unlink()
    with pytest.warns(DataWarning, match="some are missing"):
        Volumes(tmp_path / "plain", **WHOLE)
    bare = dicom_series(tmp_path / "bare", data)
    for file in bare.iterdir():
        tags = pydicom.dcmread(file)
        del tags.ImageOrientationPatient, tags.ImagePositionPatient
        tags.save_as(file)
    with pytest.warns(DataWarning, match="states no orientation"):
        assert Volumes(bare, **WHOLE).images.shape == (6, 8, 8, 1)
    with pytest.warns(DataWarning, match="DICOM without pixels"):
        tags = pydicom.dcmread(sorted((tmp_path / "a").iterdir())[0])
        del tags.Rows, tags.PixelData
        tags.Modality = "SR"
        tags.save_as(tmp_path / "a" / "report")
        Volumes(tmp_path / "a", **WHOLE)


def test_enhanced_dicom(tmp_path: Path) -> None:
    """All slices in one file, with places by frame."""
    import pydicom
    from pydicom.dataset import Dataset as Tags
    from pydicom.sequence import Sequence

    data = np.floor(head((8, 9, 6)))
    single = dicom_series(tmp_path / "single", data)
    expected = Volumes(single, **WHOLE).images
    tags = [pydicom.dcmread(path) for path in sorted(single.iterdir())]
    whole = tags[0]
    frames = []
    for one in tags:
        frame, place = Tags(), Tags()
        place.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    shared, plane, measures = Tags(), Tags(), Tags()
    plane.ImageOrientationPatient = whole.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = [1.0, 1.0], 1.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([measures])
    whole.NumberOfFrames = len(tags)
    whole.PixelData = b"".join(one.PixelData for one in tags)
    del whole.ImagePositionPatient, whole.ImageOrientationPatient, whole.PixelSpacing
    whole.PerFrameFunctionalGroupsSequence, whole.SharedFunctionalGroupsSequence = Sequence(frames), Sequence([shared])
    (tmp_path / "multi").mkdir()
    whole.save_as(tmp_path / "multi" / "one.dcm")
    np.testing.assert_array_equal(Volumes(tmp_path / "multi", **WHOLE).images, expected)


COMPRESSIONS = {  # transfer syntax, and how far pixels may be from those without compression
    "RLELossless": 0,
    "JPEG2000Lossless": 0,
    "JPEGLosslessSV1": 0,
    "JPEGLossless": 0,
    "JPEG2000": 6,
    "JPEGBaseline8Bit": 6,
}


def compressed_series(folder: Path, data: np.ndarray, name: str) -> Path:
    """A DICOM series whose pixels are compressed; 8 bits for baseline JPEG, as that has no more."""
    import pydicom

    depth = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} if name in ("JPEGBaseline8Bit", "JPEG2000") else {}
    dicom_series(folder, data, **depth)
    syntax = getattr(pydicom.uid, name)
    for path in folder.iterdir():
        tags = pydicom.dcmread(path)
        if name == "RLELossless":
            tags.compress(syntax)
        else:
            values = np.frombuffer(tags.PixelData, np.uint16).reshape(tags.Rows, tags.Columns)
            tags.PixelData = pydicom.encaps.encapsulate([_jpeg(values, name)])
            tags["PixelData"].VR = "OB"
            tags.file_meta.TransferSyntaxUID = syntax
        tags.save_as(path)
    return folder


def _jpeg(values: np.ndarray, name: str) -> bytes:
    if name.startswith("JPEGLossless"):
        return lossless_jpeg.encode(values, 12)
    stream = io.BytesIO()
    if name == "JPEG2000Lossless":
        Image.fromarray(values).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    elif name == "JPEG2000":
        options = {"irreversible": True, "quality_mode": "rates", "quality_layers": [2], "no_jp2": True}
        Image.fromarray(values.astype(np.uint8)).save(stream, "JPEG2000", **options)
    else:
        Image.fromarray(values.astype(np.uint8)).save(stream, "JPEG", quality=98)
    return stream.getvalue()


@pytest.mark.parametrize(("name", "most"), COMPRESSIONS.items(), ids=COMPRESSIONS)
def test_compressed_dicom(tmp_path: Path, name: str, most: int) -> None:
    """Each compression gives the slices that there are without it; damage is named with the file and the syntax."""
    if name not in ("RLELossless", "JPEG2000Lossless", "JPEG2000", "JPEGBaseline8Bit"):
        pytest.importorskip("libjpeg", reason="pylibjpeg-libjpeg reads it")
    data = head((40, 44, 3))
    data = np.floor(255 * data / data.max())
    dicom_series(tmp_path / "plain", data)
    expected = Volumes(tmp_path / "plain", **WHOLE)
    folder = compressed_series(tmp_path / "pressed", data, name)
    found = Volumes(folder, **WHOLE)
    assert found.files == expected.files
    assert np.abs(found.images.astype(int) - expected.images).max() <= most
    file = min(folder.iterdir())
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(_core.DecodeError, match=file.name):
        Volumes(folder, **WHOLE)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("JPEGLosslessSV1", r"compressed as JPEG Lossless, .*1\.2\.4\.70.*: pip install pylibjpeg pylibjpeg-libjpeg$"),
        ("JPEG2000Lossless", r"compressed as JPEG 2000 .*1\.2\.4\.90.*: pip install pylibjpeg pylibjpeg-openjpeg$"),
    ],
)
def test_a_decoder_that_is_missing_is_named(tmp_path: Path, monkeypatch, name: str, advice: str) -> None:
    import pydicom

    folder = compressed_series(tmp_path, np.floor(head((8, 8, 2))), name)
    decoder = pydicom.pixels.get_decoder(getattr(pydicom.uid, name))
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(ImportError, match=rf"{min(folder.iterdir()).name[:4]}.*{advice}"):
        Volumes(folder)


def test_what_no_package_reads_is_left_out_if_asked(tmp_path: Path) -> None:
    import pydicom

    dicom_series(tmp_path / "a", np.floor(head((8, 8, 2))))
    for path in dicom_series(tmp_path / "film", np.floor(head((8, 8, 1))), patient="P2").iterdir():
        tags = pydicom.dcmread(path)
        tags.PixelData = pydicom.encaps.encapsulate([bytes(100)])
        tags.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
        tags["PixelData"].VR = "OB"
        tags.save_as(path)
    with pytest.raises(_core.DecodeError, match=r"compressed as MPEG-4 .*Export it without compression"):
        Volumes(tmp_path, labelled=False)
    with pytest.warns(DataWarning, match="1 of 2 volumes cannot be read and are left out"):
        assert set(Volumes(tmp_path, labelled=False, errors="warn").subjects) == {"P1"}


def test_broken_volumes_are_named(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz", head((6, 6, 6)))
    good = (tmp_path / "a.nii.gz").read_bytes()
    for content in (good[: len(good) // 2], b"not a volume", good[:20]):
        (tmp_path / "b.nii.gz").write_bytes(content)
        with pytest.raises(_core.DecodeError, match=r"b\.nii\.gz: cannot be read as a volume"):
            Volumes(tmp_path)
        with pytest.warns(DataWarning, match=r"1 of 2 volumes cannot be read and are left out"):
            assert Volumes(tmp_path, errors="warn").n_subjects == 1
    nifti(tmp_path / "b.nii.gz", np.stack([head((6, 6, 6))] * 3, axis=3))
    with pytest.warns(DataWarning, match=r"b\.nii\.gz: the first of 3 volumes is read"):
        Volumes(tmp_path)
    (tmp_path / "pictures").mkdir()
    picture(tmp_path / "pictures" / "1.png")
    with pytest.raises(ValueError, match="no volumes, but 1 pictures"):
        Volumes(tmp_path / "pictures")


def test_slices_on_disk_come_back(tmp_path: Path) -> None:
    for cls, name in (("AD", "sub-1"), ("CN", "sub-2"), ("CN", "sub-3")):
        nifti(tmp_path / "v" / cls / f"{name}_T1w.nii.gz", head((8, 8, 8)))
    out = tmp_path / "out"
    n = write_slices(tmp_path / "v", out, plane="sagittal", every=3)
    direct, again = Volumes(tmp_path / "v", plane="sagittal", every=3), open_dataset(out)
    assert n == len(direct) and again.fingerprint() == direct.fingerprint()
    assert again.files == direct.files and again.slices.tolist() == direct.slices.tolist()
    with open(out / "subjects.csv", newline="") as stream:
        assert {row["number"] for row in csv.DictReader(stream)} == {f[-7:-4].lstrip("0") for f in direct.files}
    assert json.loads((out / "slices.json").read_text())["plane"] == "sagittal"
    assert open_dataset(out, labelled=False).n_subjects == 3
    assert open_dataset(out, merge="AD,CN=all").classes == ("all",)
    with pytest.raises(FileExistsError, match="not empty"):
        write_slices(tmp_path / "v", out)
    (tmp_path / "v" / "AD" / "broken.nii.gz").write_bytes(b"x")
    with pytest.raises(_core.DecodeError):
        write_slices(tmp_path / "v", tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "v"]  # nothing half-written is left


@pytest.mark.parametrize(
    ("module", "name"), [("nibabel", "a.nii"), ("pydicom", "a.dcm"), ("PIL", "a.tif"), ("pyarrow", "a.parquet")]
)
def test_missing_packages_are_named_with_the_line_to_type(tmp_path: Path, monkeypatch, module: str, name: str) -> None:
    import sys

    if name == "a.nii":
        nifti(tmp_path / name, head((6, 6, 6)))
    elif name == "a.dcm":
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    elif name == "a.tif":
        picture(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"PAR1")
    for loaded in [key for key in sys.modules if key.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"Type: pip install (nibabel|pydicom|pillow|pyarrow)"):
        open_dataset(tmp_path, labelled=False)


def test_volumes_are_streamed_for_answers(tmp_path: Path) -> None:
    for name in ("sub-1", "sub-2"):
        nifti(tmp_path / f"{name}.nii.gz", head((8, 9, 8)))
    ds = Volumes(tmp_path, plane="coronal", every=3, image_size=16)
    pieces = list(stream_pictures(tmp_path, image_size=16, reading=ds.reading))
    assert [len(piece) for piece in pieces] == [len(ds) // 2] * 2
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), ds.images)
    assert sum((piece.files for piece in pieces), ()) == ds.files and set(pieces[1].subjects) == {"sub-2"}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_maps_of_slices_lie_where_the_slices_were(tmp_path: Path, plane: str, fit: str) -> None:
    """The slices themselves, put back, are the volume that the scan's own affine places."""
    import nibabel

    data = head((20, 24, 18))
    stored, affine = reoriented(data, (2, 0, 1), (1, -1, -1))
    scan = nifti(tmp_path / "in" / "v.nii", stored, affine @ np.diag([1.0, 1.0, 2.0, 1.0]))
    reading = {"plane": plane, "every": 1, "range": (0, 1), "fit": fit}
    stream = stream_pictures(tmp_path / "in", image_size=48, reading=reading)
    ds, place = next(stream.with_places())
    place.save(ds.images[..., 0].astype(np.float32) / 255, tmp_path / "heat.nii.gz")
    theirs = nibabel.as_closest_canonical(nibabel.load(scan))
    heat = nibabel.load(tmp_path / "heat.nii.gz")
    assert heat.shape == theirs.shape
    np.testing.assert_allclose(heat.affine, theirs.affine)
    low, high = np.percentile(theirs.get_fdata(), (1, 99))
    gray = (np.clip(theirs.get_fdata(), low, high) - low) / (high - low)
    kept = heat.get_fdata() > 0  # "crop" has nothing to lay over what it cuts off
    assert kept.mean() > 0.3 and np.median(np.abs(gray - heat.get_fdata())[kept]) < 0.03  # resizing smooths edges


def test_slices_between_get_the_nearest_map(tmp_path: Path) -> None:
    nifti(tmp_path / "v.nii", head((8, 9, 12)))
    reading = {"plane": "axial", "every": 3, "range": (3, 10)}
    _, place = next(stream_pictures(tmp_path, image_size=16, reading=reading).with_places())
    assert place.numbers == (3, 6, 9)
    heat = place.overlay(np.stack([np.full((16, 16), v, np.float32) for v in (0.1, 0.2, 0.3)]))
    np.testing.assert_allclose(heat.max(axis=(0, 1)), [0, 0, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0, 0, 0], atol=1e-6)
