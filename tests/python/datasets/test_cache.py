"""A cache gives the data set that the files give, notices when they change, and tells when it is damaged."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reference import making
from simclr_mri import datasets, split
from simclr_mri.cli import main
from simclr_mri.datasets import Dataset, DataWarning, ImageFolder, Volumes, open_dataset
from simclr_mri.datasets import _images as images_module
from simclr_mri.datasets import _store as store_module


def class_folders(root: Path) -> Path:
    return making.pictures(root, "A/OAS1_000[1-4]_MR1_mpr-1_100.png B/OAS1_000[5-9]_MR1_mpr-1_101.png")


def sixteen_bits(root: Path) -> Path:
    """12-bit values in 16-bit files of both decoders, beside 8-bit ones: the range is that of the whole set."""
    rng = np.random.default_rng(0)
    for i in range(6):
        (root / "AB"[i % 2]).mkdir(parents=True, exist_ok=True)
        deep = rng.integers(0, 4000, (12, 12), dtype=np.uint16)
        Image.fromarray(deep).save(root / "AB"[i % 2] / f"{i}{'.tif' if i < 3 else '.png'}")
    return making.pictures(root, "A/7.png B/8.bmp")


def with_a_broken_one(root: Path) -> Path:
    class_folders(root)
    (root / "A" / "OAS1_0002_MR1_mpr-1_100.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return root


def volumes(root: Path) -> Path:
    for i, name in enumerate(("AD/sub-01", "AD/sub-02", "CN/sub-03")):
        making.nifti(root / f"{name}_T1w.nii.gz", np.random.default_rng(i).integers(1, 90, (10, 12, 8)).astype("i2"))
    return root


def parquet(root: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="reads Parquet files")
    import pyarrow.parquet as module

    root.mkdir()
    column = [{"bytes": making.png_bytes(i), "path": None} for i in range(7)]
    module.write_table(pyarrow.table({"image": column, "label": list("bababab")}), root / "rows.parquet")
    return root


def by_table(root: Path) -> Path:
    class_folders(root)
    rows = "\n".join(
        f"{p.relative_to(root)},{'xyz'[i % 3]},s{i // 2}" for i, p in enumerate(sorted(root.rglob("*.png")))
    )
    return making.table(root / "who.csv", f"path,label,subject\n{rows}")


def phantoms(root: Path) -> Path:
    datasets.write_phantoms(root, n_subjects=4, slices=2, image_size=32)
    return root


READERS: list[tuple[Callable[[Path], Path], Callable[..., Dataset], dict[str, Any]]] = [
    (class_folders, ImageFolder, {}),
    (class_folders, open_dataset, {"image_size": 16, "channels": 3}),
    (class_folders, ImageFolder, {"labelled": False}),
    (sixteen_bits, ImageFolder, {}),
    (with_a_broken_one, ImageFolder, {"errors": "warn"}),
    (volumes, Volumes, {"every": 1}),
    (volumes, open_dataset, {"image_size": 16, "channels": 3}),
    (parquet, open_dataset, {}),
    (by_table, open_dataset, {}),
    (phantoms, open_dataset, {"task": "cdr0"}),
]


@pytest.mark.parametrize(("make", "read", "options"), READERS)
def test_a_cache_gives_what_the_files_give(make, read, options, tmp_path, monkeypatch):
    path = make(tmp_path / "files")
    monkeypatch.setattr(store_module, "CHUNK_BYTES", 500)
    monkeypatch.setattr(images_module, "CHUNK_BYTES", 500)

    def opened(**more: Any) -> tuple[Dataset, list[str]]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            ds = read(path, **options, **more)
        return ds, [str(w.message) for w in told if issubclass(w.category, DataWarning)]

    expected, notes = opened()
    place = tmp_path / "cache"
    for again in range(3):
        ds, said = opened(cache=place) if again < 2 else (open_dataset(place, task=options.get("task")), notes)
        assert said == notes and ds.fingerprint() == expected.fingerprint()
        assert np.array_equal(ds.images, expected.images) and ds.files == expected.files
        assert ds.classes == expected.classes and ds.name == expected.name and ds.understood == expected.understood
        assert ds.reading == expected.reading and ds.not_read == expected.not_read and ds.sources == expected.sources
        assert np.array_equal(ds.histogram(), expected.histogram())
        assert all(np.array_equal(a, b) for a, b in zip(ds.image_keys(), expected.image_keys(), strict=True))
        for name in ("labels", "subjects", "slices", "parts"):
            mine, theirs = getattr(ds, name), getattr(expected, name)
            assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs)), name
        assert (ds.masks is None) == (expected.masks is None)
        assert all(np.array_equal(mask, expected.masks[k]) for k, mask in (ds.masks or {}).items())
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    ImageFolder(class_folders(tmp_path / "files"), cache=tmp_path / "cache")
    return tmp_path / "cache"


def test_subsets_of_a_cache_travel_by_path_and_index(cache):
    ds = open_dataset(cache)
    rows = np.array([7, 2, 2, 5])
    sent = pickle.dumps(ds[rows])
    again = pickle.loads(sent)
    assert (
        len(sent) < 1500
        and again.fingerprint() == Dataset(ds.images, ds.labels, ds.classes, ds.subjects)[rows].fingerprint()
    )
    assert again.files == ds[rows].files and again.name == ds.name and again.labels.tolist() == ds.labels[rows].tolist()
    other = pickle.loads(pickle.dumps(ds[rows].with_subjects(list("abca"))))
    assert other.subjects.tolist() == list("abca")


def test_masks_travel_too(tmp_path):
    ds = datasets.put_on_disk(datasets.phantoms(n_subjects=4, slices=2, image_size=32), tmp_path / "cache")
    again = pickle.loads(pickle.dumps(ds[[3, 1]]))
    assert len(pickle.dumps(ds)) < 1500 and ds.masks["head"].any()
    assert all(np.array_equal(again.masks[k], mask[[3, 1]]) for k, mask in ds.masks.items())


def test_what_was_computed_once_is_kept_with_the_cache(cache, monkeypatch):
    part = split(open_dataset(cache), by="subject", fractions=(0.5, 0.5)).train
    fingerprint = part.fingerprint()
    assert fingerprint in json.loads((cache / "fingerprints.json").read_text()).values()
    monkeypatch.setattr(store_module.Store, "chunks", None)  # nothing goes over the pixels again
    assert pickle.loads(pickle.dumps(part)).fingerprint() == fingerprint
    part.histogram()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "A" / "OAS1_0001_MR1_mpr-1_100.png").unlink(), r"1 is gone \(A/OAS1_0001"),
        (lambda root: making.picture(root / "B" / "new.png"), r"1 is new \(B/new\.png\)"),
        (lambda root: os.utime(root / "A" / "OAS1_0002_MR1_mpr-1_100.png", (1, 1)), r"1 file changed \(A/OAS1_0002"),
        (lambda root: (root / "A" / "OAS1_0003_MR1_mpr-1_100.png").write_bytes(b"short"), r"1 file changed \(A/OAS1"),
    ],
)
def test_files_that_change_are_noticed_and_the_way_out_works(cache, change, said):
    root = cache.parent / "files"
    change(root)
    for call in (lambda: ImageFolder(root, cache=cache), lambda: open_dataset(cache)):
        with pytest.raises(datasets.CacheError, match=said):
            call()
    shutil.rmtree(cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ImageFolder(root, cache=cache, errors="warn")


def test_a_table_of_subjects_that_changes_is_noticed(tmp_path):
    root = class_folders(tmp_path / "files")
    rows = "".join(f"{p.name},s{i}\n" for i, p in enumerate(sorted(root.rglob("*.png"))))
    table = making.table(tmp_path / "who.csv", f"file,subject\n{rows}")
    ImageFolder(root, groups=f"{table}:subject", cache=tmp_path / "cache")
    table.write_text(table.read_text().replace("s1", "s77"))
    with pytest.raises(datasets.CacheError, match=r"1 file changed \(.*who\.csv\)"):
        ImageFolder(root, groups=f"{table}:subject", cache=tmp_path / "cache")


def test_a_cache_stands_for_itself_where_the_files_are_gone(cache):
    expected = open_dataset(cache).fingerprint()
    shutil.rmtree(cache.parent / "files")
    assert open_dataset(cache).fingerprint() == expected
    moved = cache.rename(cache.with_name("moved"))
    assert open_dataset(moved).fingerprint() == expected


def test_a_cache_that_moved_with_its_files_is_one_of_them(cache):
    root = cache.parent / "files"
    expected = ImageFolder(root, cache=cache)
    there = (cache.parent / "there").resolve()
    there.mkdir()
    root, cache = root.rename(there / "files"), cache.rename(there / "cache")
    found = ImageFolder(root, cache=cache)
    assert found.fingerprint() == expected.fingerprint()
    assert all(Path(path).is_file() and Path(path).is_relative_to(there) for path in found.sources)
    empty = there / "empty"
    empty.mkdir()
    with pytest.raises(datasets.CacheError, match=r"is not as it was when the cache was made: .* are gone"):
        ImageFolder(empty, cache=cache)
    os.utime(next(root.rglob("*.png")), (1, 1))
    with pytest.raises(datasets.CacheError, match="1 file changed"):
        ImageFolder(root, cache=cache)


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "files")

    def refused(self, *args, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(
        OSError, match=r"Read-only file system, so the folder of the cache cannot be made: '.*my_cache'"
    ):
        ImageFolder(root, cache=tmp_path / "my_cache")


def flipped(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def replaced(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


DAMAGE = {
    "cut pixels": ("pixels.npy", lambda p: os.truncate(p, p.stat().st_size - 1)),
    "cut within the header": ("pixels.npy", lambda p: os.truncate(p, 50)),
    "longer pixels": ("pixels.npy", lambda p: os.truncate(p, p.stat().st_size + 9)),
    "empty pixels": ("pixels.npy", lambda p: os.truncate(p, 0)),
    "first bit of the pixels": ("pixels.npy", lambda p: flipped(p, 0)),
    "a bit of the shape": ("pixels.npy", lambda p: flipped(p, 65 / p.stat().st_size)),
    "a bit of an image": ("pixels.npy", lambda p: flipped(p, 0.7)),
    "last bit of the pixels": ("pixels.npy", lambda p: flipped(p, 1)),
    "pixels of another type": ("pixels.npy", lambda p: replaced(p, np.load(p).astype(np.int8))),
    "pixels of another shape": ("pixels.npy", lambda p: replaced(p, np.load(p)[:-1])),
    "pixels in another order": ("pixels.npy", lambda p: replaced(p, np.asfortranarray(np.load(p)[::-1]))),
    "pickled objects": ("pixels.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True)),
    "cut index": ("index.npz", lambda p: os.truncate(p, 100)),
    "a bit of the index": ("index.npz", lambda p: flipped(p, 0.5)),
    "no index": ("index.npz", lambda p: p.unlink()),
    "no pixels": ("pixels.npy", lambda p: p.unlink()),
    "cut histograms": ("histograms.npy", lambda p: os.truncate(p, 3000)),
    "a bit of a histogram": ("histograms.npy", lambda p: flipped(p, 0.5)),
    "no histograms": ("histograms.npy", lambda p: p.unlink()),
    "a bit of the description": ("cache.json", lambda p: p.write_text(p.read_text().replace('"A"', '"C"'))),
    "half a description": ("cache.json", lambda p: os.truncate(p, 80)),
    "an empty description": ("cache.json", lambda p: p.write_text("{}")),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("is_large", [False, True])
def test_damage_is_named(cache, kind, is_large, monkeypatch):
    from simclr_mri.datasets import _cached_store

    monkeypatch.setattr(_cached_store, "CHECKED_AT_ONCE", 0 if is_large else 1 << 20)
    name, harm = DAMAGE[kind]
    harm(cache / name)
    if name != "cache.json":  # without it, or where it says something else, a folder is not taken for a cache
        with pytest.raises(datasets.CacheError, match=rf"{name}: damaged"):
            open_dataset(cache).take([3, 5, 6]), open_dataset(cache).histogram(), len(open_dataset(cache).images)
    with pytest.raises(datasets.CacheError, match=rf"{name}: damaged: .*(\n.*)?Delete the folder .*cache") as told:
        ds = ImageFolder(cache.parent / "files", cache=cache)
        ds.histogram()
        ds.take([3, 5, 6])
        assert len(ds.images) == 9
    assert str(cache) in str(told.value)


def test_fingerprints_that_cannot_be_read_are_computed_anew(cache):
    expected = open_dataset(cache)[:3].fingerprint()
    (cache / "fingerprints.json").write_text("[1, 2")
    assert open_dataset(cache)[:3].fingerprint() == expected


def test_a_run_that_breaks_leaves_no_half_cache(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "files")
    (root / "A" / "x.png").write_bytes(b"no picture")
    with pytest.raises(datasets.CacheError.__mro__[1]):
        ImageFolder(root, cache=tmp_path / "cache")
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(OSError, match=r"cache: the images need \d+ KB, and 0 KB are free"):
        ImageFolder(root, cache=tmp_path / "cache")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 16}, "made with image_size=None, and asked for is image_size=16"),
        ({"groups": r"OAS1_(\d+)"}, "made with groups=None"),
        ({"merge": "A,B=C"}, "made with merge=None"),
    ],
)
def test_a_cache_that_was_made_otherwise_is_refused(cache, options, said):
    with pytest.raises(datasets.CacheError, match=said):
        ImageFolder(cache.parent / "files", cache=cache, **options)


def test_places_that_cannot_be_a_cache(cache):
    root = cache.parent / "files"
    with pytest.raises(datasets.CacheError, match="lies among the files"):
        ImageFolder(root, cache=root / "cache")
    ImageFolder(root, cache=root / "_cache")  # a name that readers pass over
    (cache.parent / "else").mkdir()
    with pytest.raises(datasets.CacheError, match="is no cache"):
        ImageFolder(root, cache=cache.parent / "else")
    other = class_folders(cache.parent / "other")
    with pytest.raises(datasets.CacheError, match=r"is a cache of .*files, and asked for is .*other"):
        ImageFolder(other, cache=cache)


def test_a_cache_as_data(cache):
    ds = open_dataset(cache, merge="A,B=C", groups=r"(OAS1)_")
    assert ds.classes == ("C",) and ds.n_subjects == 1
    assert open_dataset(cache, class_order=["B", "A"]).classes == ("B", "A")
    assert open_dataset(cache, labelled=False).labels is None
    for options in ({"image_size": 32}, {"channels": 3}, {"intensity": "percentile"}, {"layout": "part/class"}):
        with pytest.raises(datasets.CacheError, match=r"another cache: datasets\.open_dataset\("):
            open_dataset(cache, **options)
    assert open_dataset(cache, image_size=12, intensity="full").image_size == 12


def test_from_the_shell(tmp_path, capsys):
    root = making.pictures(tmp_path / "files", "A/OAS1_00[10-29]_MR1.png B/OAS1_00[30-49]_MR1.png", shape=(32, 32))
    cache = tmp_path / "cache"
    assert main(["data", str(root), "--cache", str(cache)]) == 0
    first = capsys.readouterr().out
    assert main(["data", str(cache)]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == first.splitlines()[-4:] and "a cache, which every" in first
    tiny = ["--arch", "resnet18", "--epochs", "0", "--batch-size", "16", "--image-size", "32"]
    assert main(["finetune", str(root), "--cache", str(cache), *tiny, "--out", str(tmp_path / "clf")]) == 0
    assert main(["evaluate", str(tmp_path / "clf")]) == 0  # from the cache, which the run remembers
    assert main(["predict", str(tmp_path / "clf"), str(cache)]) == 0
    capsys.readouterr()
    assert main(["data", str(cache), "--image-size", "64"]) == 1
    assert "simclr-mri data" in capsys.readouterr().err
