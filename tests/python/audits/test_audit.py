"""The audit: heads found in the pixels, copies, leaks, baselines that know nothing, and folders with faults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from simclr_mri.audits import Audit, audit
from simclr_mri.audits._baselines import run_baselines, shuffle_labels
from simclr_mri.audits._record import percent
from simclr_mri.audits._subjects import infer_groups
from simclr_mri.datasets import AlzheimerMRI, Dataset, concatenate, dark_share, phantoms
from simclr_mri.splits import LeakageError, Split, check_overlap, split
from simclr_mri.splits._fourier_mellin import rotation


@pytest.fixture(scope="module")
def heads() -> Dataset:
    return phantoms(seed=1, n_subjects=40, slices=14, image_size=64, proportions=(4, 3, 2, 1)).with_task("3class")


@pytest.fixture(scope="module")
def report(heads: Dataset) -> Audit:
    return audit(heads.with_subjects(None), split=leaking(heads.with_subjects(None)), copies=False)


def leaking(ds: Dataset) -> Split:
    """Every fifth image is tested, whoever it shows."""
    test = np.arange(len(ds)) % 5 == 0
    return Split(ds, {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}, "image", 0)


def finding(result: Audit, check: str) -> tuple[str, str]:
    return next((f.level, f.result) for f in result.findings if f.check == check)


def test_heads_are_found_in_the_pixels(heads: Dataset) -> None:
    groups = infer_groups(heads.images)
    assert groups.found == "clear"
    assert adjusted_rand_score(heads.subjects, groups.labels) > 0.95
    assert np.mean(heads.subjects[groups.neighbours] == heads.subjects) > 0.99
    assert len(groups.links) == len(heads) - 1 and groups.names()[0] == "group-0001"


def test_no_heads_where_there_are_none(heads: Dataset) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 1), dtype=np.uint8)
    one_each = phantoms(seed=2, n_subjects=120, slices=1, image_size=48)
    for images in (noise, one_each.images):
        groups = infer_groups(images)
        assert groups.found == "none" and groups.n_groups == len(images)
    assert infer_groups(noise[:3]).found == "none"
    assert len(set(infer_groups(np.zeros((10, 16, 16, 1), np.uint8)).labels)) in (1, 10)  # blank: no exception


def test_a_large_set_is_chained_by_a_few_neighbours_of_each(heads: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = infer_groups(heads.images)
    monkeypatch.setattr("simclr_mri.audits._subjects.MAX_MATRIX", 10)
    few = infer_groups(heads.images)
    assert few.found == "clear" and len(few.links) == len(whole.links)
    assert adjusted_rand_score(whole.labels, few.labels) > 0.98
    assert np.mean(whole.neighbours == few.neighbours) > 0.98
    assert abs(few.threshold - whole.threshold) < 0.05


def test_groups_of_a_large_set_are_not_clear_where_links_were_missed(
    heads: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MAX_MATRIX": 10, "N_CELLS": 1, "N_NEIGHBOURS": 1, "N_ENDS": 1, "N_FURTHER": 1}.items():
        monkeypatch.setattr(f"simclr_mri.audits._subjects.{name}", value)
    few = infer_groups(heads.images)
    assert few.n_groups > len(set(heads.subjects)) and few.found == "uncertain"


def test_pieces_without_a_link_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    from simclr_mri.audits import _subjects

    rng = np.random.default_rng(0)
    far = np.repeat(np.eye(6, 8), 20, axis=0) + rng.normal(0, 0.01, (120, 8))  # six knots, each of 20
    rows = (far / np.linalg.norm(far, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(_subjects, "N_NEIGHBOURS", 4)
    ends, links, _, _ = _subjects._sparse_tree(rows)
    _, exact, _, _ = _subjects._spanning_tree(rows)
    assert ends.shape == (119, 2) and (links < 0.5).sum() == (exact < 0.5).sum() == 5


def test_it_sees_through_a_split_by_image(heads: Dataset, report: Audit) -> None:
    assert report.subjects_from == "pixels" and report.agreement is None
    by_image, shuffled = (report.baseline("nearest neighbour", "image", shuffled=s) for s in (False, True))
    by_subject = report.baseline("nearest neighbour", "subject")
    assert by_image.accuracy > 0.95 and shuffled.accuracy > 0.9 and by_subject.accuracy < 0.7
    assert report.verdict.startswith("Do not split this data set by image")
    level, text = finding(report, "proposed split")
    assert level == "bad" and "also in train" in text and not report.ok
    assert "subjects were inferred" in report.verdict


def test_known_subjects_and_a_clean_split(heads: Dataset) -> None:
    result = audit(heads[:280], split=split(heads[:280]), baselines=False)
    assert result.ok and result.subjects_from == "given" and result.agreement > 0.95
    level, text = finding(result, "proposed split")
    assert level == "good" and text.startswith("the 3 parts share no subject and no picture")
    caught = audit(heads, split=leaking(heads), baselines=False, copies=False)
    assert finding(caught, "proposed split")[0] == "bad"
    with pytest.raises(ValueError, match="made from"):
        audit(heads[:100], split=leaking(heads), baselines=False, copies=False)


def test_subjects_that_contradict_the_pixels(heads: Dataset) -> None:
    wrong = heads.subjects.copy()
    wrong[::14] = "someone else"  # one slice of each head
    level, text = finding(audit(heads.with_subjects(wrong), baselines=False, copies=False), "subjects against pixels")
    assert level == "bad" and "look like an image of another subject" in text


def test_copies(heads: Dataset) -> None:
    heads, rng = heads[:140], np.random.default_rng(0)
    extra = heads[[3, 100]].images.copy()
    extra[1] = np.clip(extra[1].astype(int) + rng.integers(-1, 2, extra[1].shape), 0, 255)
    labels = [int(heads.labels[3]), (int(heads.labels[100]) + 1) % 3]
    more = Dataset(extra, labels, heads.classes, files=["again/exact.png", "again/near.png"])
    result = audit(concatenate([heads.with_subjects(None), more]), baselines=False)
    assert finding(result, "exact copies")[1] == f"1 pair, such as {heads.files[3]} and again/exact.png"
    assert finding(result, "edited copies")[1].startswith(
        f"1 pair, such as {heads.files[100]} and again/near.png (same"
    )
    level, text = finding(result, "labels of copies")
    assert level == "bad" and "again/near.png" in text
    part = np.arange(len(heads) + 2) < len(heads)
    across = Split(result.dataset, {"train": np.flatnonzero(part), "test": np.flatnonzero(~part)}, "image", 0)
    assert (
        "2 pairs of copies in different parts, such as"
        in finding(audit(result.dataset, split=across, baselines=False), "proposed split")[1]
    )


def test_an_all_clear_says_what_was_looked_for_and_how_well(heads: Dataset) -> None:
    level, text = finding(audit(heads[:140], baselines=False), "edited copies")
    assert level in ("good", "note") and text.startswith("none. Looked for: equal pixels; turned by any angle")
    assert "made for a trial" in text and "Not looked for: elastic" in text
    one_each = phantoms(seed=2, n_subjects=120, slices=1, image_size=48).with_subjects(None)
    result = audit(one_each, split=leaking(one_each), baselines=False, copies=False)
    assert finding(result, "edited copies") == ("note", "not looked for (copies=False)")
    level, text = finding(result, "proposed split")
    assert level == "note" and "Whether they share a subject is not known" in text


@pytest.mark.parametrize("edit", ["turned", "mirrored"])  # more kinds: tests/python/splits
def test_edited_copies_in_the_other_part(heads: Dataset, edit: str) -> None:
    train, source = heads[:140], heads[np.arange(0, 140, 14)]
    if edit == "mirrored":
        images = source.images[:, :, ::-1]
    else:
        inverse = np.linalg.inv(rotation(20))
        moved = [ndimage.affine_transform(i[..., 0], inverse, 31.5 - inverse @ (31.5, 31.5)) for i in source.images]
        images = np.stack(moved)
    test = Dataset(images, source.labels, heads.classes, [f"other-{i}" for i in range(10)])
    whole = concatenate([train, test])
    parts = Split(whole, {"train": np.arange(140), "test": np.arange(140, 150)}, "subject", 0)
    result = audit(whole, split=parts, baselines=False)
    level, text = finding(result, "proposed split")
    assert level == "bad" and not result.ok and edit in text
    assert finding(result, "subjects of copies")[0] == "bad"
    found = set(np.array(result.copies)[:, 1]) & set(range(140, 150))
    assert len(found) >= 8
    with pytest.raises(LeakageError, match="edited cop"):
        check_overlap(train, test)


def test_a_folder_of_black_images_is_bad(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (32, 32)).save(path)
    result = audit(tmp_path)
    assert finding(result, "blank images")[0] == "bad" and not result.ok
    assert "blank images" in result.verdict
    assert finding(result, "edited copies") == ("note", "not looked for: the images are blank")
    assert finding(result, "subjects")[0] == "note" and "the pixels show nothing" in finding(result, "subjects")[1]


def test_shuffled_labels_keep_subjects_whole(heads: Dataset) -> None:
    y = shuffle_labels(heads, 0)
    assert all(len(set(y[heads.subjects == s])) == 1 for s in np.unique(heads.subjects))
    assert sorted(y) == sorted(heads.labels) and not np.array_equal(y, heads.labels)
    assert sorted(shuffle_labels(heads.with_subjects(None), 0)) == sorted(heads.labels)


def test_the_dark_share_is_that_of_a_drawing() -> None:
    row, column = np.mgrid[:64, :64] - 31.5
    radius = np.hypot(row, column)
    heads = np.zeros((4, 64, 64, 1), np.uint8)
    for image, hole in zip(heads[:3], (0, 8, 14), strict=True):  # a disc with a dark middle, one off the centre
        image[radius < 28] = 180
        image[np.hypot(row, column - 5) < hole] = 20
    expected = [np.sum(np.hypot(row, column - 5) < hole) / np.sum(radius < 28) for hole in (0, 8, 14)]
    assert dark_share(heads) == pytest.approx([*expected, 0.0], abs=0.01)  # edges are rounded; the last one is blank
    brighter = np.minimum(heads.astype(int) * 4 // 3, 255).astype(np.uint8)
    assert np.array_equal(dark_share(brighter), dark_share(heads))
    assert dark_share(np.repeat(heads, 3, axis=3)) == pytest.approx(dark_share(heads))


def test_one_number_finds_wide_ventricles_but_not_shuffled_labels() -> None:
    many = phantoms(seed=3, n_subjects=120, slices=2, image_size=64, task="3class")
    rows = {(b.by, b.shuffled): b.balanced_accuracy for b in run_baselines(many) if b.method == "CSF fraction"}
    assert len(rows) == 4
    assert rows["subject", False] > 0.43 > rows["subject", True]  # chance is 0.333


def test_baselines_without_subjects_and_with_few(heads: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {b.by for b in run_baselines(heads.with_subjects(None)[:140])} == {"image"}
    two = heads[np.isin(heads.subjects, ["sub-0001", "sub-0002", "sub-0003"])]
    assert {b.by for b in run_baselines(two)} == {"image"}
    monkeypatch.setattr("simclr_mri.audits._baselines.MAX_IMAGES", 280)
    assert {b.by for b in run_baselines(heads)} == {"image", "subject"}


def test_folder_with_faults(tmp_path: Path, heads: Dataset) -> None:
    for i in range(0, 56):
        path = tmp_path / heads.classes[heads.labels[i]] / f"{heads.subjects[i]}_{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(heads.images[i, ..., 0]).save(path)
    some_class = path.parent
    (some_class / "broken.png").write_bytes(path.read_bytes()[:100])
    Image.new("L", (64, 64)).save(some_class / "blank.png")
    result = audit(tmp_path, baselines=False, copies=False)
    level, text = finding(result, "files")
    assert level == "bad" and "broken.png" in text and len(result.dataset) == 57
    assert "blank.png" in finding(result, "blank images")[1]
    Image.new("L", (20, 30), 99).save(some_class / "small.png")
    (some_class / "broken.png").unlink()
    assert finding(audit(tmp_path, baselines=False, copies=False), "image sizes")[0] == "note"
    with pytest.raises(FileNotFoundError):
        audit(tmp_path / "nowhere")


def test_folder_with_a_ready_made_split(tmp_path: Path, heads: Dataset) -> None:
    for i in range(0, 140):
        part = "train" if i % 3 else "test"
        path = tmp_path / part / heads.classes[heads.labels[i]] / f"{heads.subjects[i]}_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(heads.images[i, ..., 0]).save(path)
    result = audit(tmp_path, groups=r"/(sub-\d+)_", baselines=False, copies=False)
    assert len(result.dataset) == 140 and finding(result, "proposed split")[0] == "bad"
    assert "also in" in finding(result, "proposed split")[1]


def test_unlabelled_and_tiny_sets(heads: Dataset) -> None:
    assert not audit(heads.unlabelled(), copies=False).baselines
    tiny = audit(heads[:4])
    assert tiny.groups.found == "none" and str(tiny).endswith(tiny.verdict)
    with pytest.raises(ValueError, match="groups: for a folder"):
        audit(heads, groups="x")
    with pytest.raises(ValueError, match="task: for a folder"):
        audit(heads, task="cdr0")


def test_page_and_text(report: Audit, tmp_path: Path) -> None:
    text, page = str(report), report.to_html()
    assert report.verdict in text and "nearest neighbour    image    shuffled" in text and "CSF fraction" in text
    assert re.search(r"should beat a balanced accuracy of [\d.]+% by subject, which [a-z ]+ reaches", report.verdict)
    assert page.count("data:image/png;base64,") == 4 and not re.search(r'(src|href)="(?!data:|#)', page)
    assert report.to_html(tmp_path / "audit.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    json.dumps(report.to_dict())
    assert "<table" in report._repr_html_()
    assert report.plot().get_ylabel() == "accuracy"
    assert [percent(v) for v in (1.0, 0.99953, 0.9991, 0.5)] == ["100.0%", "99.95%", "99.9%", "50.0%"]


def test_real_heads(real_data: Path) -> None:
    ds = AlzheimerMRI(real_data / "alzheimer_mri_128")
    result = audit(ds.with_subjects(None), baselines=False, copies=False)
    assert result.groups.found == "clear"
    assert adjusted_rand_score(ds.subjects, result.groups.labels) >= 0.95
