"""`simclr-mri audit`: what a score on a data set would mean."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._shared import say_next, write_json
from ..audits import audit as run_audit
from ._common import folder_for_results, reading_of
from ._settings import Settings


def audit(args: argparse.Namespace) -> int:
    """What a score on this data set would mean."""
    settings = Settings(args)
    chosen, out = settings.audit, folder_for_results(settings, "audit")
    found = run_audit(
        args.path,
        task=chosen.task,
        reading={**reading_of(chosen), "channels": chosen.channels},
        baselines=chosen.baselines,
        seed=chosen.seed,
        progress=say_next,
    )
    write_json(out / "audit.json", found.to_dict())
    page = found.to_html(out / "audit.html")
    print(f"{found}\n\n{out}/: {Path(page).name}, audit.json")
    return 0
