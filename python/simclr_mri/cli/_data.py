"""`simclr-mri data`: what is in a folder, and how it would be split."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import plot
from .._shared import option_text
from ..datasets import counted_by_reason, likely_subjects
from ._common import open_data, save_axes, split_data
from ._settings import Settings


def data(args: argparse.Namespace) -> int:
    """Describe a folder and its split."""
    settings = Settings(args)
    ds = open_data(settings.data)
    print(f"{ds!r}\n\n{ds.counts()}\n")
    if settings.data.cache:
        print(f"{settings.data.cache}/: a cache, which every command opens as its DATA\n")
    known = ds.subjects is not None or settings.data.by == "image" or settings.data.split == ("given",)
    if ds.labels is not None and known:
        print(split_data(ds, settings.data))
    elif ds.subjects is None:
        pattern = likely_subjects(ds)
        guess = f" These names may tell: {option_text('groups', pattern)}" if pattern else ""
        print(f"Subjects are unknown: give --groups to keep the slices of one subject together.{guess}")
    if ds.not_read:
        print(f"\nnot read: {counted_by_reason(ds.not_read, all_kinds=True)}")
    if settings.run.out:
        path = Path(settings.run.out) / "montage.png"
        save_axes(plot.montage(ds), path)
        print(f"\n{path}")
    return 0
