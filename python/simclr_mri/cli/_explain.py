"""`simclr-mri explain`: heat maps of a classifier, and whether they can be believed."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from .. import plot
from .._shared import atomic_writer, write_json
from ..datasets import Dataset, spread_examples
from ..explain import check_cams, grad_cam
from ..learning import Classifier, checkpoint_path, seen_note
from ._common import folder_for_results, model_and_part, save_axes


def explain(args: argparse.Namespace) -> int:
    """Heat maps of images of a part of the split."""
    clf, part, settings = model_and_part(args, "explain")
    note = seen_note(clf.data_, part)
    if note and settings.explain.on == "test":
        warnings.warn(f"explain: {note}", stacklevel=1)
    chosen = settings.explain
    out = folder_for_results(settings, str(checkpoint_path(args.model).parent / "heat_maps"))
    result = grad_cam(
        clf, spread_examples(part, chosen.n_images), layer=chosen.layer, target=chosen.target, method=chosen.method
    )
    save_axes(plot.cam(result), out / f"{chosen.method}_{chosen.layer}.png")
    rows = result.region_shares()
    with atomic_writer(out / "regions.csv") as file:
        lines = [["region", "heat", "area", "ratio"], *([r["region"], r["heat"], r["area"], r["ratio"]] for r in rows)]
        file.write("".join(",".join(map(str, line)) + "\n" for line in lines).encode())
    print(f"{result!r}")
    for row in rows:
        print(f"  {row['region']:<18} {row['heat']:6.1%} of the heat on {row['area']:6.1%} of the picture")
    print(f"{out}/: {chosen.method}_{chosen.layer}.png, regions.csv")
    if chosen.checks:
        _check_maps(clf, part, chosen, out)
    return 0


def _check_maps(clf: Classifier, part: Dataset, chosen: Any, out: Path) -> None:
    """Whether the maps can be believed: a table, its figures and two pictures."""
    options = {"layer": chosen.layer, "target": chosen.target, "method": chosen.method, "n_images": chosen.checks}
    found = check_cams(clf, part, **options)
    write_json(out / "checks.json", found.to_dict())
    save_axes(found.plot(), out / "deletion_insertion.png")
    save_axes(plot.class_maps(found), out / "class_maps.png")
    print(f"\n{found}\n{out}/: checks.json, deletion_insertion.png, class_maps.png")
