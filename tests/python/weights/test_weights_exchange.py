"""Weights to and from PyTorch: both compute the same. And files that claim more than they hold."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri.views import plain_batch
from simclr_mri.weights import CheckpointError, WeightsError, export_weights, read_weights

torch = pytest.importorskip("torch", reason="the other side of the exchange")

from safetensors.torch import load_file, save_file  # noqa: E402

from reference.resnet_torch import ResNet  # noqa: E402

# Sums over at most 512 x 9 fp32 products, 17 layers deep, of numbers of size 1.
RTOL, ATOL = 2e-4, 2e-4


@pytest.fixture(scope="module")
def ds() -> sm.Dataset:
    return sm.datasets.phantoms(n_subjects=8, slices=1, image_size=64, task="cdr0")


@pytest.fixture(scope="module")
def foreign() -> torch.nn.Module:
    """An RGB ResNet-18 as torchvision and timm name it, whose batch norms have seen images."""
    torch.manual_seed(0)
    model = ResNet(18, image_size=64, in_channels=3, head=[(1000, 0.0, False)])
    with torch.no_grad():
        model.train()(torch.randn(8, 64, 64, 3))
    return model.eval()


def written(state: dict, path: Path, kind: str) -> Path:
    """The file in one of the forms in which weights are passed on."""
    if kind == "safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    if kind == "wrapped":
        state = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(state, path.with_suffix(".pth"), _use_new_zipfile_serialization=kind != "legacy")
    return path.with_suffix(".pth")


def torch_features(model: torch.nn.Module, x: np.ndarray, channels: int) -> np.ndarray:
    """What enters the head, of gray images given in all channels."""
    seen: list[torch.Tensor] = []
    head = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.from_numpy(x).repeat(1, 1, 1, channels))
    hook.remove()
    return seen[0].numpy()


@pytest.mark.parametrize("kind", ["zip", "legacy", "wrapped", "safetensors"])
def test_from_pytorch(ds, foreign, tmp_path, kind):
    path = written(foreign.state_dict(), tmp_path / "resnet18", kind)
    clf = sm.Classifier(str(path), arch="resnet18", epochs=0, verbose=0).fit(ds)
    x = plain_batch(ds.images, np.arange(len(ds)), clf.preprocess_)
    np.testing.assert_allclose(clf.transform(ds), torch_features(foreign, x, 3), rtol=RTOL, atol=ATOL)
    ssl = sm.SimCLR("resnet18", weights=str(path), epochs=0, batch_size=4, verbose=0).fit(ds)
    np.testing.assert_array_equal(ssl.transform(ds), clf.transform(ds))


@pytest.mark.parametrize("rgb", [False, True])
def test_to_pytorch(ds, tmp_path, rgb):
    clf = sm.Classifier(arch="resnet18", epochs=1, batch_size=4, verbose=0).fit(ds)
    export_weights(clf, tmp_path / "out.safetensors", rgb_stem=rgb)
    model = ResNet(18, image_size=64, in_channels=3 if rgb else 1, head=[(2, 0.0, False)])
    model.load_state_dict(load_file(tmp_path / "out.safetensors"), strict=True)
    x = plain_batch(ds.images, np.arange(len(ds)), clf.preprocess_)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(x).repeat(1, 1, 1, 3 if rgb else 1)).numpy()
    np.testing.assert_allclose(clf._forward(ds, "head"), logits, rtol=RTOL, atol=ATOL)
    with pytest.raises(TypeError, match=r"expected a fitted SimCLR or Classifier.*not fitted yet"):
        export_weights(sm.SimCLR(), tmp_path / "never.safetensors")


def test_another_network_is_named(ds, foreign, tmp_path):
    path = written(foreign.state_dict(), tmp_path / "resnet18", "zip")
    with pytest.raises(
        CheckpointError, match=r"resnet18\.pth.*: these weights are not of a resnet50.*choose arch='resnet18'"
    ):
        sm.Classifier(str(path), arch="resnet50", epochs=0, verbose=0).fit(ds)
    other = {"conv1.0.weight": torch.zeros(32, 3, 3, 3), "bn1.weight": torch.zeros(64)}  # timm's resnet50d
    with pytest.raises(CheckpointError, match=r"expected a ResNet under torchvision's names .* found conv1\.0\.weight"):
        sm.Classifier(str(written(other, tmp_path / "deep", "zip")), arch="resnet18", epochs=0).fit(ds)


# ---- files that mean harm -------------------------------------------------------------------------------------------


def refused(path: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=rf"{path.name}: .*{match}"):
        read_weights(path)


def test_safetensors_that_claim_too_much(tmp_path):
    path = tmp_path / "w.safetensors"
    for size in (2**63, 2**40, 200_000_000):
        path.write_bytes(struct.pack("<Q", size) + b"{}")
        refused(path, "")
    for claim in ([0, 2**62], [-4, 4], [8, 4]):
        header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": claim}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
        refused(path, "")


def test_a_zip_bomb_is_refused_unopened(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(5_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 100_000
    refused(path, "claims to be larger than the file")


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_many_tensors_of_one_storage_are_refused(tmp_path, kind):
    one = torch.zeros(100_000)
    path = written({f"w{i}": one.view(-1) for i in range(200)}, tmp_path / "w", kind)
    assert path.stat().st_size < 500_000
    refused(path, "names tensors of 20,000,000 numbers: refused")


def test_a_storage_longer_than_the_file_is_refused(tmp_path):
    path = written({"w": torch.zeros(300)}, tmp_path / "w", "legacy")
    data = path.read_bytes()
    path.write_bytes(
        data.replace(b"M,\x01", b"J\xff\xff\xff\x7f").replace(struct.pack("<q", 300), struct.pack("<q", 2**31 - 1))
    )
    refused(path, "the file ends after")
    path.write_bytes(b"\x80\x02\x8d" + struct.pack("<Q", 2**62) + b"x.")  # a text of 4 exabytes
    refused(path, "")


@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "numpy.load", "torch.load", "collections.deque"])
def test_other_names_are_refused(tmp_path, call):
    module, name = call.rsplit(".", 1)
    code = f"c{module}\n{name}\n(X\x04\x00\x00\x00ruletR.".encode()
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02" + code)
    refused(path, f"asks for {call}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + code)
    refused(path, f"asks for {call}")


@pytest.mark.parametrize(("features", "rgb"), [("avgpool", True), ("avgpool", False), ("flatten", False)])
def test_the_lines_that_are_printed_load_the_file(ds, tmp_path, monkeypatch, capsys, features, rgb):
    """torchvision's constructor is stood in for by a network of the same names, which the lines then change."""

    def resnet18(num_classes=1000):
        model = ResNet(18, image_size=64, in_channels=3, head=[(num_classes, 0.0, False)])
        model.avgpool = torch.nn.AdaptiveAvgPool2d(1)
        return model

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=SimpleNamespace(resnet18=resnet18)))
    clf = sm.Classifier(arch="resnet18", features=features, epochs=0, verbose=1).fit(ds)
    capsys.readouterr()
    export_weights(clf, tmp_path / "out.safetensors", rgb_stem=rgb)
    told = capsys.readouterr().out
    scope: dict = {}
    exec(told, scope)
    model = scope["model"]
    x = torch.from_numpy(plain_batch(ds.images, np.arange(len(ds)), clf.preprocess_))
    with torch.no_grad():
        found = model.stages(x.repeat(1, 1, 1, 3 if rgb else 1))["layer4"]
        logits = model.fc(model.avgpool(found).flatten(1)).numpy()
    np.testing.assert_allclose(clf._forward(ds, "head"), logits, rtol=RTOL, atol=ATOL)
    with pytest.raises(ValueError, match=r"out\.pth: expected a file name that ends in \.safetensors, which Py"):
        export_weights(clf, tmp_path / "out.pth")
