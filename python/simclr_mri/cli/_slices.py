"""`simclr-mri slices`: volumes cut into a folder of pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .._shared import call_text, is_quiet, option_text, say
from ..datasets import write_slices
from ._common import reading_of
from ._settings import Settings


def slices(args: argparse.Namespace) -> int:
    """Write slices as PNG files, with tables of subjects and numbers."""
    chosen = Settings(args).slices
    root = Path(args.path).expanduser()
    out = Path(chosen.out or root.absolute().with_name(f"{root.absolute().name}_slices"))
    options = {k: v for k, v in reading_of(chosen).items() if k != "max_pixels"}
    n = write_slices(
        root,
        out,
        **{**options, "labelled": None},
        plane=chosen.plane,
        every=chosen.every,
        range=chosen.range,
        progress=lambda text: None if is_quiet() else print(text, file=sys.stderr, flush=True),
    )
    which = "" if chosen.image_size else f", or with {option_text('image_size', 128)} where volumes differ in size"
    print(f"{n:,} {chosen.plane} slices in {out}/, with subjects.csv and slices.json")
    say(f"next: {call_text('', 'data', out)}{which}")
    return 0
