"""ONNX files answer as the model does: every architecture, one and three channels, any number of pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri.datasets import Dataset

onnx = pytest.importorskip("onnx", reason="writes the files")
onnxruntime = pytest.importorskip("onnxruntime", reason="computes what they say")


def pictures(channels: int, n: int = 5, size: int = 48) -> Dataset:
    """Noise of every brightness; a black and a white picture among them."""
    rng = np.random.default_rng(channels)
    images = (rng.random((n, size, size, channels)) * rng.integers(1, 256, (n, 1, 1, channels))).astype(np.uint8)
    images[0], images[1] = 0, 255
    return Dataset(images, np.arange(n) % 3, ("a", "b", "c"))


def model_of(arch: str, channels: int, features: str = "avgpool") -> sm.Classifier:
    """Weights as after training: no statistic and no bias is what it was at the start."""
    clf = sm.Classifier(arch=arch, features=features, epochs=0, verbose=0).fit(pictures(channels))
    rng = np.random.default_rng(0)
    state = clf.network_.state()
    for name, array in state.items():
        if "running" in name or ("bn" in name and "weight" in name) or "downsample.1.weight" in name:
            state[name] = (array + 0.2 * rng.random(array.shape)).astype(np.float32)
        elif name.endswith("bias"):
            state[name] = (array + 0.1 * rng.normal(size=array.shape)).astype(np.float32)
    clf.network_.load(state)
    return clf


@pytest.mark.parametrize(
    ("arch", "channels", "features", "opset"),
    [
        *((f"resnet{depth}", channels, "avgpool", 17) for depth in (18, 34, 50, 101) for channels in (1, 3)),
        ("resnet18", 1, "flatten", 13),
        ("resnet50", 3, "avgpool", 21),
    ],
)
def test_same_answers(tmp_path, arch, channels, features, opset):
    clf, ds = model_of(arch, channels, features), pictures(channels)
    path = sm.export_onnx(clf, tmp_path / "model.onnx", opset=opset)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    probabilities, embeddings = session.run(None, {"images": ds.images})
    np.testing.assert_allclose(probabilities, clf.predict_proba(ds), atol=1e-4)
    ours = clf.transform(ds)
    np.testing.assert_allclose(embeddings, ours, atol=1e-4 * np.abs(ours).max())
    one = session.run(["probabilities"], {"images": ds.images[:1]})[0]
    np.testing.assert_allclose(one, probabilities[:1], atol=1e-5)
    said = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert said["classes"] == ["a", "b", "c"] and said["arch"] == arch and said["image_size"] == 48
    np.testing.assert_allclose(said["mean"], clf.preprocess_.mean)
    assert [entry.version for entry in onnx.load(path, load_external_data=False).opset_import] == [opset]
    path.unlink()


def test_simclr_gives_embeddings(tmp_path):
    ds = pictures(1)
    ssl = sm.SimCLR("resnet18", epochs=0, batch_size=4, verbose=0).fit(ds)
    session = onnxruntime.InferenceSession(sm.export_onnx(ssl, tmp_path / "ssl.onnx"))
    assert [output.name for output in session.get_outputs()] == ["embeddings"]
    np.testing.assert_allclose(session.run(None, {"images": ds.images})[0], ssl.transform(ds), atol=1e-4)


def test_mistakes_are_named(tmp_path):
    clf = model_of("resnet18", 1)
    with pytest.raises(ValueError, match=r"model\.pt: expected a file name that ends in \.onnx"):
        sm.export_onnx(clf, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="opset=7: expected 13 to 21"):
        sm.export_onnx(clf, tmp_path / "model.onnx", opset=7)
    with pytest.raises(TypeError, match="expected a fitted SimCLR or Classifier, got SimCLR that is not fitted yet"):
        sm.export_onnx(sm.SimCLR(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
