"""`simclr-mri evaluate`: scores of a classifier on a part of the split."""

from __future__ import annotations

import argparse

from .. import plot
from .._shared import atomic_writer, write_json
from ..learning import checkpoint_path, predictions_csv
from ..studies import LOOKS_FILE as LOOKS
from ..studies import record_look, record_of
from ._common import folder_for_results, model_and_part, save_axes


def evaluate(args: argparse.Namespace) -> int:
    """Scores on a part of the split."""
    clf, part, settings = model_and_part(args, "evaluate")
    on = settings.evaluate.on
    out = folder_for_results(settings, str(checkpoint_path(args.model).parent / f"evaluation_{on}"))
    if on == "test":
        keeper = record_of(args.model)
        n_looks = record_look(keeper, "evaluate command", part, model=str(args.model))
    evaluation = clf.evaluate(part, n_bootstrap=settings.evaluate.n_bootstrap)
    print(f"{args.model} on the {on} set of {settings.data.path}\n{evaluation}\n")
    if on == "test":
        print(f"Look {n_looks} at this test set, by the record {keeper / LOOKS}. Choose by the validation set.\n")
    write_json(out / "evaluation.json", evaluation.to_dict())
    with atomic_writer(out / "predictions.csv") as file:
        file.write(predictions_csv(part, evaluation.probabilities).encode())
    for level in evaluation.levels:
        save_axes(plot.confusion(evaluation, level=level, title=f"by {level}"), out / f"confusion_by_{level}.png")
    print(f"{out}/: evaluation.json, predictions.csv, confusion_by_*.png")
    return 0
