"""`simclr-mri pretrain`: SimCLR on the training part of the split."""

from __future__ import annotations

import argparse

from .._shared import counted, say
from ..learning import SimCLR
from ._common import (
    after_training,
    announce,
    describe,
    estimator_of,
    facts_of,
    folder_for_results,
    open_data,
    ranks_of,
    split_data,
    trackers,
)
from ._settings import Settings


def pretrain(args: argparse.Namespace) -> int:
    """SimCLR on the training part of the split."""
    settings = Settings(args)
    callbacks = trackers(settings)
    ds = open_data(settings.data)
    train, val = ds, None
    if settings.data.unlabelled:
        say(f"{ds!r}\nall {len(ds):,} images are used, without labels and without a split\n")
    else:
        parts = split_data(ds, settings.data)
        describe(ds, parts)
        train, val = parts.train, parts.val
    ranks = ranks_of(args)
    out = folder_for_results(settings, "runs/pretrain")
    ssl = estimator_of(SimCLR, settings.pretrain)
    what = f"SimCLR, {ssl.arch}, {counted(ssl.epochs, 'epoch')}"
    announce(ssl, what, train, val, out, settings.run.resume, ranks)
    ssl.fit(
        train,
        val,
        checkpoint=out,
        resume=settings.run.resume,
        facts=facts_of(settings.data, settings.recipe),
        callbacks=callbacks,
        comm=ranks,
    )
    return after_training(ssl, out, f"simclr-mri finetune --init {out} --label-fraction 0.1", ranks)
