"""`simclr-mri demo`: the whole experiment on phantoms."""

from __future__ import annotations

import argparse

from .._shared import seconds_text
from ..config import DEMO_CHOICES
from ..demo import run_demo
from ..learning import Classifier, SimCLR
from ._common import estimator_of, folder_for_results
from ._settings import Settings


def demo(args: argparse.Namespace) -> int:
    """The whole experiment on phantoms."""
    settings = Settings(args, DEMO_CHOICES)
    out = folder_for_results(settings, "simclr_mri_demo")
    ssl, clf = estimator_of(SimCLR, settings.pretrain), estimator_of(Classifier, settings.finetune, init="random")
    done = run_demo(out, settings.demo, settings.study, settings.data, ssl, clf, resume=settings.run.resume)
    print(f"\n{done.result}\nDone in {seconds_text(done.seconds)}. Open {done.report}")
    return 0
