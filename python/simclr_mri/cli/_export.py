"""`simclr-mri export`: a model as a file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._shared import bytes_text
from ..learning import Classifier, SimCLR, checkpoint_path, read_checkpoint
from ..weights import export_onnx, export_weights
from ._common import beside_model
from ._settings import Settings


def export(args: argparse.Namespace) -> int:
    """ONNX or safetensors, as the ending of the file says."""
    chosen = Settings(args).export
    out = Path(chosen.out or beside_model(args.model, "model.onnx")).expanduser()
    kind = read_checkpoint(checkpoint_path(args.model)).kind
    model = (SimCLR if kind == SimCLR.kind else Classifier).load(args.model)
    if out.suffix == ".onnx":
        export_onnx(model, out, opset=chosen.opset)
    else:
        export_weights(model, out, rgb_stem=chosen.rgb_stem)
    print(f"{out}: {bytes_text(out.stat().st_size)}")
    return 0
