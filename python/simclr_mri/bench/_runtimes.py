"""Inference by what people deploy with: the same ResNet as an ONNX graph, which each runtime compiles for itself."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from .._shared import Precision
from ._measure import Row, head_of, images_of


class Runtime(NamedTuple):
    """The package to install, and the precisions in which it computes convolutions on a CPU."""

    package: str
    precisions: tuple[Precision, ...]


RUNTIMES = {
    "ONNX Runtime": Runtime("onnxruntime", ("fp32",)),
    "OpenVINO": Runtime("openvino", ("fp32", "bf16")),
}


def graph_of(row: Row) -> bytes:
    """PyTorch's ResNet as an ONNX model for exactly the row's images."""
    import torch

    from ._resnet_torch import ResNet

    model = ResNet(row.depth, image_size=row.pixels, head=head_of(row)).eval()
    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that needs no further package
        torch.onnx.export(model, (torch.from_numpy(images_of(row)),), file, dynamo=False, opset_version=17)
    return file.getvalue()


def runtime_step(name: str, row: Row, precision: Precision, n_threads: int) -> Callable[[], Any]:
    """A call that infers the row's images once."""
    x = images_of(row)
    if name == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        session = onnxruntime.InferenceSession(graph_of(row), options, providers=["CPUExecutionProvider"])
        inputs = {session.get_inputs()[0].name: x}
        return lambda: float(session.run(None, inputs)[0][0, 0])
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": n_threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
    }
    request = core.compile_model(core.read_model(graph_of(row)), "CPU", settings).create_infer_request()
    return lambda: float(request.infer({0: x})[0][0, 0])
