"""`simclr-mri compare`: runs side by side, from what their evaluations left."""

from __future__ import annotations

import argparse

from ..studies import compare as compare_runs
from ._settings import Settings


def compare(args: argparse.Namespace) -> int:
    """A table of scores and paired differences; with --out also as a file, and a picture."""
    chosen = Settings(args).compare
    found = compare_runs(args.runs, on=chosen.on, metric=chosen.metric, n_bootstrap=chosen.n_bootstrap)
    print(found)
    if chosen.out:
        print(f"\n{', '.join(map(str, found.save(chosen.out)))}")
    return 0
