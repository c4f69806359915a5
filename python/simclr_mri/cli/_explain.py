"""`simclr-mri explain`: heat maps of a classifier, and whether they can be believed."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .. import plot
from .._shared import atomic_writer, counted, write_json
from ..datasets import CutVolume, Dataset, PictureStream, concatenate, spread_examples
from ..explain import check_cams, grad_cam
from ..learning import Classifier, seen_note
from ._common import beside_model, folder_for_results, inherited, remembered, save_axes
from ._judged import is_elsewhere, judged
from ._settings import Settings


def explain(args: argparse.Namespace) -> int:
    """Heat maps of images of a part of the split, or of new pictures."""
    asked = _chosen_pictures(args)
    settings, clf, pictures, part = asked.settings, asked.clf, asked.pictures, asked.part
    chosen = settings.explain
    out = folder_for_results(settings, str(_default_folder(args, part)))
    result = grad_cam(clf, pictures, layer=chosen.layer, target=chosen.target, method=chosen.method)
    save_axes(plot.cam(result), out / f"{chosen.method}_{result.layer}.png")
    result.save(out / "maps.npz")
    rows = result.region_shares()
    with atomic_writer(out / "regions.csv") as file:
        lines = [["region", "heat", "area", "ratio"], *([r["region"], r["heat"], r["area"], r["ratio"]] for r in rows)]
        file.write("".join(",".join(map(str, line)) + "\n" for line in lines).encode("utf-8", "surrogateescape"))
    print(f"{result!r}")
    for row in rows:
        print(f"  {row['region']:<18} {row['heat']:6.1%} of the heat on {row['area']:6.1%} of the picture")
    print(f"{out}/: {chosen.method}_{result.layer}.png, maps.npz, regions.csv")
    _write_overlays(asked, out)
    if chosen.checks and part is not None:
        _check_maps(clf, part, chosen, out)
    return 0


@dataclass
class Chosen:
    """The settings, the classifier, some pictures, and the part that they are of: None for new ones without labels."""

    settings: Settings
    clf: Classifier
    pictures: Dataset
    part: Dataset | None = None
    volumes: list[tuple[Dataset, CutVolume]] = field(default_factory=list)


def _chosen_pictures(args: argparse.Namespace) -> Chosen:
    known = remembered(args.model)
    if is_elsewhere(args, known) and not hasattr(args, "on"):
        settings = Settings(args, inherited(known))
        clf = Classifier.load(args.model, precision=settings.explain.precision)
        stream = clf.stream(args.path, groups=getattr(args, "groups", None), errors=settings.data.errors)
        n_images = settings.explain.n_images
        if isinstance(stream, PictureStream):
            return Chosen(settings, clf, stream.read(stream.spread(n_images)))
        volumes = list(islice(stream.with_places(), n_images))
        middle = concatenate([ds[len(ds) // 2 :][:1] for ds, _ in volumes])
        return Chosen(settings, clf, middle, volumes=volumes)
    found = judged(args, "explain")
    note = seen_note(found.clf.data_, found.data)
    if note and found.on == "test":
        warnings.warn(f"explain: {note}", stacklevel=1)
    n_images = found.settings.explain.n_images
    return Chosen(found.settings, found.clf, spread_examples(found.data, n_images), found.data)


def _write_overlays(asked: Chosen, out: Path) -> None:
    """The heat maps of all slices of each volume as a volume, for the class that the whole volume is given."""
    chosen = asked.settings.explain
    for ds, place in asked.volumes:
        target = chosen.target
        if target is None:
            target = int(asked.clf.predict_proba(ds).mean(axis=0).argmax())
        result = grad_cam(asked.clf, ds, layer=chosen.layer, target=target, method=chosen.method)
        path = place.save(result.maps, out / f"{place.name}_{chosen.method}.nii.gz")
    if asked.volumes:
        print(f"{out}/: {counted(len(asked.volumes), 'overlay')} in the scans' own millimetres, such as {path.name}")


def _default_folder(args: argparse.Namespace, part: Dataset | None) -> Path:
    if part is not None:
        return beside_model(args.model, "heat_maps")
    return beside_model(args.model, f"heat_maps_{Path(args.path).expanduser().resolve().name}")


def _check_maps(clf: Classifier, part: Dataset, chosen: Any, out: Path) -> None:
    """Whether the maps can be believed: a table, its figures and two pictures."""
    options = {"layer": chosen.layer, "target": chosen.target, "method": chosen.method, "n_images": chosen.checks}
    found = check_cams(clf, part, **options)
    write_json(out / "checks.json", found.to_dict())
    save_axes(found.plot(), out / "deletion_insertion.png")
    save_axes(plot.class_maps(found), out / "class_maps.png")
    print(f"\n{found}\n{out}/: checks.json, deletion_insertion.png, class_maps.png")
