"""`simclr-mri label-curve`: what frozen features of several starts are worth with few labelled subjects."""

from __future__ import annotations

import argparse
from itertools import product

from .._shared import say, say_next
from ..config import LabelCurveOptions
from ..learning import SimCLR
from ..studies import Start
from ..studies import label_curve as run_label_curve
from ._common import estimator_of, folder_for_results, open_data
from ._settings import Settings


def label_curve(args: argparse.Namespace) -> int:
    """Starts x numbers of labelled subjects, with probes on frozen features."""
    settings = Settings(args)
    ds = open_data(settings.data)
    out, chosen = folder_for_results(settings, "runs/label_curve"), settings.label_curve
    if chosen.slices is not None:
        if ds.slices is None:
            raise ValueError("--slices: this data set does not number its slices")
        ds = ds[ds.slices <= chosen.slices]
    say(f"{ds!r}\n")
    curve = run_label_curve(
        ds,
        _starts(chosen),
        chosen.n_labelled,
        draws=chosen.draws,
        repeats=chosen.repeats,
        n_splits=chosen.splits,
        pretrain=estimator_of(SimCLR, settings.pretrain),
        seed=settings.data.split_seed,
        out=out,
        progress=say_next,
    )
    print(f"{curve}\n\n{out}/: report.html, label_curve.csv, differences.csv, label_curve.json, label_curve.png")
    return 0


def _starts(chosen: LabelCurveOptions) -> dict[str, Start]:
    """Every start in every way in which its features are to be read; pixels and the CSF fraction have no layers."""
    found: dict[str, Start] = {}
    for init, intensities, layer, pool in product(chosen.starts, chosen.intensities, chosen.layer, chosen.pool):
        start = Start(init, layer=layer, grid=chosen.grid, pool=pool, intensities=intensities)
        found.setdefault(start.name, start)
    return found
