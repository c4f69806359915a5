"""`simclr-mri predict`: what a classifier says about new pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..learning import Classifier, check_table_path
from ._common import beside_model
from ._settings import Settings


def predict(args: argparse.Namespace) -> int:
    """A table of class probabilities, by slice and by subject."""
    settings = Settings(args)
    chosen = settings.predict
    name = Path(args.path).expanduser().resolve().name
    out = check_table_path(chosen.out or beside_model(args.model, f"answers_{name}.csv"))
    clf = Classifier.load(args.model, precision=chosen.precision)
    table = clf.predict_table(args.path, groups=chosen.groups, errors=chosen.errors)
    written = table.save(out)
    print(f"{args.model} on {args.path}: {len(table):,} pictures\n{table}\n{', '.join(map(str, written))}")
    return 0
