"""A fitted model as an ONNX file: from raw pixels to probabilities, with nothing left to do outside.

The graph takes the pictures as they are stored, uint8, and normalises them itself, so a program in any language that
has an ONNX runtime gives the same answers. It is built node by node from the weights; PyTorch has no part in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._shared import atomic_writer, check_path, option_text
from ._encoder import BLOCKS
from ._export import model_facts

if TYPE_CHECKING:
    from onnx import ModelProto

OPSETS = (13, 21)
"""The oldest and newest version of ONNX's operators whose meaning the graph relies on."""

_BN_EPS = 1e-5
_INSTALL = "export_onnx needs the package onnx: pip install 'simclr_mri[onnx]'"


def export_onnx(model: Any, path: str | Path, *, opset: int = 17) -> Path:
    """Writes a fitted model as ONNX, whole or not at all.

    Parameters
    ----------
    model : Classifier or SimCLR, fitted
    path : str or Path
        The file to write, ``.onnx``.
    opset : int, default 17
        Version of ONNX's operators, 13 to 21. 17 needs ONNX Runtime 1.12 or newer.

    Returns
    -------
    Path
        The file. Input: "images", uint8 of shape (N, size, size, channels), any N. Outputs: "probabilities", float32 of
        shape (N, classes), of a classifier only; "embeddings", float32 of shape (N, features), what the head sees
        (`transform`). Classes, size, mean and deviation are in the model's metadata, as JSON.

    Raises
    ------
    ImportError
        The package onnx is not installed.
    TypeError
        Not a fitted estimator.
    ValueError
        Another suffix, or another opset.

    Examples
    --------
    >>> import tempfile, pathlib, simclr_mri as sm
    >>> ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    >>> clf = sm.Classifier(arch="resnet18", epochs=0, verbose=0).fit(ds)
    >>> path = export_onnx(clf, pathlib.Path(tempfile.mkdtemp()) / "clf.onnx")
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(path)  # doctest: +SKIP
    >>> probabilities, embeddings = session.run(None, {"images": ds.images})  # doctest: +SKIP
    """
    path = check_path(path, "path").expanduser()
    if path.suffix != ".onnx":
        raise ValueError(f"export_onnx: {path}: expected a file name that ends in .onnx")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"{option_text('opset', opset)}: expected {OPSETS[0]} to {OPSETS[1]}")
    if not hasattr(model, "network_"):
        unfitted = " that is not fitted yet" if hasattr(model, "fit") else ""
        raise TypeError(f"export_onnx: expected a fitted SimCLR or Classifier, got {type(model).__name__}{unfitted}")
    data = _build(model, opset).SerializeToString()
    with atomic_writer(path) as file:
        file.write(data)
    return path


class _Graph:
    """Nodes in order, each with one output, and the weights that they name."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """A node; the name of its output."""
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        """A weight; its name."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def tensor(self, name: str) -> str:
        """One of the network's own, under its own name."""
        return self.constant(name, self.state[name])

    def conv_bn(self, x: str, conv: str, bn: str, stride: int, window: int) -> str:
        """Convolution and batch normalisation with running statistics."""
        sizes: dict[str, Any] = {"strides": [stride] * 2, "pads": [window // 2] * 4, "kernel_shape": [window] * 2}
        y = self.add("Conv", [x, self.tensor(f"{conv}.weight")], **sizes)
        parts = [self.tensor(f"{bn}.{name}") for name in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", [y, *parts], epsilon=_BN_EPS)

    def block(self, x: str, name: str, stride: int, windows: tuple[int, ...]) -> str:
        """Residual block: 3x3, 3x3 or 1x1, 3x3, 1x1, with the stride on the first 3x3."""
        y, strided = x, windows.index(3)
        for i, window in enumerate(windows):
            y = self.conv_bn(y, f"{name}.conv{i + 1}", f"{name}.bn{i + 1}", stride if i == strided else 1, window)
            y = self.add("Relu", [y]) if i + 1 < len(windows) else y
        if f"{name}.downsample.0.weight" in self.state:
            x = self.conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", stride, 1)
        return self.add("Relu", [self.add("Add", [y, x])])


def _build(model: Any, opset: int) -> ModelProto:
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ImportError(_INSTALL) from error

    config, state = model.network_config_, model.network_.state()
    size, channels = config["image_size"], config["in_channels"]
    graph = _Graph(state)
    x = _normalised(graph, model.preprocess_)
    features = _encoder(graph, x, config)
    n_features = state[_head_layers(config)[0] + ".weight"].shape[1]
    outputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", n_features])]
    classes = getattr(model, "class_names_", None)
    if classes is not None:
        _classify(graph, features, _head_layers(config))
        outputs.insert(0, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)]))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, channels])
    made = helper.make_model(
        helper.make_graph(graph.nodes, config["arch"], [images], outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
        producer_name="simclr_mri",
        doc_string=f"{config['arch']}: uint8 images (N, {size}, {size}, {channels}), as stored, 0 to 255",
    )
    helper.set_model_props(made, model_facts(model))
    onnx.checker.check_model(made)
    return made


def _normalised(graph: _Graph, preprocess: Any) -> str:
    """(pixel / 255 - mean) / deviation as one product and one sum, channels first."""
    std = np.array(preprocess.std, np.float64)
    scale = graph.constant("pixel_scale", (1 / (255 * std)).astype(np.float32))
    shift = graph.constant("pixel_shift", (-np.array(preprocess.mean, np.float64) / std).astype(np.float32))
    x = graph.add("Cast", ["images"], to=1)  # TensorProto.FLOAT
    x = graph.add("Add", [graph.add("Mul", [x, scale]), shift])
    return graph.add("Transpose", [x], perm=[0, 3, 1, 2])


def _encoder(graph: _Graph, x: str, config: dict[str, Any]) -> str:
    bottleneck, stages = BLOCKS[config["arch"]]
    x = graph.add("Relu", [graph.conv_bn(x, "conv1", "bn1", 2, 7)])
    x = graph.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, n_blocks in enumerate(stages, 1):
        for i in range(n_blocks):
            stride = 2 if stage > 1 and i == 0 else 1
            x = graph.block(x, f"layer{stage}.{i}", stride, (1, 3, 1) if bottleneck else (3, 3))
    if config["features"] == "avgpool":
        x = graph.add("GlobalAveragePool", [x])
    return graph.add("Flatten", [x], "embeddings", axis=1)


def _head_layers(config: dict[str, Any]) -> list[str]:
    name, n = config["head_name"], len(config["head"])
    return [name] if n == 1 else [f"{name}.{i}" for i in range(n)]


def _classify(graph: _Graph, x: str, layers: list[str]) -> None:
    for layer in layers:
        x = graph.add("Gemm", [x, graph.tensor(f"{layer}.weight"), graph.tensor(f"{layer}.bias")], transB=1)
    graph.add("Softmax", [x], "probabilities", axis=1)


__all__ = ["OPSETS", "export_onnx"]
