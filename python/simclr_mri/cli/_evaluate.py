"""`simclr-mri evaluate`: scores of a classifier on a part of its own data, or on all of another data set."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from .._shared import atomic_writer, source_commit, versions, write_json
from ..learning import predictions_csv
from ..metrics import Evaluation
from ..studies import LOOKS_FILE, model_digest, record_look, record_of
from ._common import beside_model, folder_for_results, save_axes
from ._judged import ALL, Judged, judged


def evaluate(args: argparse.Namespace) -> int:
    """Scores, the predictions behind them, and what was judged on what."""
    found = judged(args, "evaluate")
    path = found.settings.data.path
    out = folder_for_results(found.settings, str(_default_folder(args.model, found)))
    said = _record(args.model, found)
    evaluation = found.clf.evaluate(found.data, n_bootstrap=found.settings.evaluate.n_bootstrap)
    others = _answers_to_others(found)
    what = f"all of {path}" if found.on == ALL else f"the {found.on} set of {path}"
    print(f"{args.model} on {what}\n{evaluation}")
    for name, answers in others.items():
        counts = ", ".join(f"{n:,} {predicted}" for predicted, n in answers["predicted"].items())
        print(f"{name} is unknown to the model: its {answers['n']:,} images are not scored; they are called {counts}")
    print(f"\n{said}" if said else "")
    write_json(out / "evaluation.json", evaluation.to_dict() | _facts(args.model, found, others))
    _write_pictures(out, found, evaluation)
    print(f"{out}/: evaluation.json, predictions.csv, confusion_by_*.png")
    return 0


def _default_folder(model: str, found: Judged) -> Path:
    """evaluation_test in the model's folder; of another set evaluation_NAME, and of its namesake evaluation_NAME_2."""
    if not found.is_foreign:
        return beside_model(model, f"evaluation_{found.on}")
    place = Path(found.settings.data.path).expanduser().resolve()
    name = f"evaluation_{place.name}" + ("" if found.on == ALL else f"_{found.on}")
    for number in range(1, 1000):
        folder = beside_model(model, name if number == 1 else f"{name}_{number}")
        if _is_free(folder, place):
            break
    return folder


def _is_free(folder: Path, place: Path) -> bool:
    """Whether the folder holds no evaluation, or one of the same data."""
    try:
        there = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return there.get("data", {}).get("path") == str(place)


def _record(model: str, found: Judged) -> str:
    """Writes the look at a test set down first, and says which one it is; a read-only folder keeps no record."""
    if found.on not in ("test", ALL) or (found.on == ALL and not found.is_foreign):
        return ""
    keeper = record_of(Path(model).expanduser())
    try:
        n = record_look(keeper, "evaluate command", found.data, model=str(model))
    except OSError as error:
        warnings.warn(f"this access to a test set is not in the access log: {error}", stacklevel=2)
        return ""
    return f"Access {n} to this test set, by its access log {keeper / LOOKS_FILE}. Choose by the validation set.\n"


def _answers_to_others(found: Judged) -> dict[str, dict[str, Any]]:
    """What the classifier calls the images whose class it does not know."""
    answers = {}
    for name, images in found.others.items():
        counts = np.bincount(found.clf.predict(images), minlength=len(found.clf.class_names_))
        predicted = {c: int(n) for c, n in zip(found.clf.class_names_, counts, strict=True) if n}
        answers[name] = {"n": len(images), "predicted": predicted}
    return answers


def _facts(model: str, found: Judged, others: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Which data, which model, which split, which version: what the scores are of."""
    ds, clf = found.data, found.clf
    return {
        "data": {
            "path": str(Path(found.settings.data.path).expanduser().resolve()),
            "name": ds.name,
            "n_images": len(ds),
            "n_subjects": ds.n_subjects,
            "fingerprint": ds.fingerprint(),
            "is_the_models_own": not found.is_foreign,
        },
        "model": {
            "path": str(Path(model).expanduser().resolve()),
            "arch": clf.network_config_["arch"],
            "weights": model_digest(clf),
            "trained_on": clf.data_.get("name"),
        },
        "split": found.split,
        "classes_unknown_to_the_model": others,
        "commit": source_commit(),
        "versions": versions(),
    }


def _write_pictures(out: Path, found: Judged, evaluation: Evaluation) -> None:
    with atomic_writer(out / "predictions.csv") as file:
        file.write(predictions_csv(found.data, evaluation.probabilities).encode("utf-8", "surrogateescape"))
    for level in evaluation.levels:
        save_axes(plot.confusion(evaluation, level=level, title=f"by {level}"), out / f"confusion_by_{level}.png")
