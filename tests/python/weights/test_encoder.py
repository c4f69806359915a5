"""Weights as the programs of the field write them: the right encoder is found, and computes what PyTorch computes."""

from __future__ import annotations

import argparse
import functools
import pathlib
import warnings
from collections import OrderedDict, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

import simclr_mri as sm
from simclr_mri import _core
from simclr_mri.learning._checkpoint import load_weights
from simclr_mri.weights import CheckpointError, NoEncoderError, expected_shapes, find_encoder

torch = pytest.importorskip("torch", reason="the other side of the exchange")

from safetensors.torch import save_file  # noqa: E402

from reference.resnet_torch import ResNet  # noqa: E402

# Sums over at most 512 x 9 fp32 products, 17 layers deep, of numbers of size 1.
RTOL, ATOL = 2e-4, 2e-4
CHILDREN = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """An RGB ResNet-18 whose batch norms have seen images."""
    torch.manual_seed(0)
    net = ResNet(18, image_size=32, in_channels=3, head=[(10, 0.0, False)])
    with torch.no_grad():
        net.train()(torch.randn(8, 32, 32, 3))
    return net.eval()


# ---- what the programs write: functions of the right state and of another one ---


def under(prefix, state, drop_fc=False):
    return {f"{prefix}{name}": value for name, value in state.items() if not (drop_fc and name.startswith("fc."))}


def as_children(prefix, state):
    """nn.Sequential(*list(resnet.children())[:-1])."""
    found = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first in CHILDREN:
            found[f"{prefix}{CHILDREN[first]}.{rest}"] = value
    return found


def as_hugging_face(state):
    found = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] in ("conv1", "bn1"):
            kind = "convolution" if parts[0] == "conv1" else "normalization"
            found[f"resnet.embedder.embedder.{kind}.{parts[1]}"] = value
        elif parts[0].startswith("layer"):
            head = f"resnet.encoder.stages.{int(parts[0][5]) - 1}.layers.{parts[1]}"
            if parts[2] == "downsample":
                kind = "convolution" if parts[3] == "0" else "normalization"
                found[f"{head}.shortcut.{kind}.{parts[4]}"] = value
            else:
                kind = "convolution" if parts[2].startswith("conv") else "normalization"
                found[f"{head}.layer.{int(parts[2][-1]) - 1}.{kind}.{parts[3]}"] = value
    return found


def lightning(state):
    """Hyper-parameters of every kind, callbacks and an optimizer's state beside the weights."""
    momenta = {i: {"exp_avg": torch.randn(3, 3), "step": torch.tensor(7)} for i in range(3)}
    return {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": OrderedDict(under("model.backbone.", state, drop_fc=True)),
        "optimizer_states": [{"state": momenta, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}],
        "loops": {"fit_loop": defaultdict(dict)},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"dirpath": pathlib.PurePosixPath("/somewhere")}},
        "hyper_parameters": {
            "args": argparse.Namespace(lr=0.1),
            "more": SimpleNamespace(a=1),
            "device": torch.device("cpu"),
            "dtype": torch.float16,
            "score": np.float64(0.5),
            "table": np.arange(4),
            "size": torch.Size([3, 4]),
            "names": {"a", "b"},
            "z": 1 + 2j,
        },
    }


FAMILIES = {
    "torchvision": lambda s, o: s,
    "DataParallel": lambda s, o: under("module.", s),
    "torch.compile": lambda s, o: under("_orig_mod.", s),
    "compiled and parallel": lambda s, o: {"model": under("module._orig_mod.", s), "epoch": 1},
    "compiled inside": lambda s, o: under("backbone._orig_mod.", s),
    "Lightning": lambda s, o: lightning(s),
    "lightly": lambda s, o: {
        "state_dict": as_children("backbone.", s) | {"projection_head.layers.0.weight": torch.randn(8, 8)}
    },
    "lightly, momentum": lambda s, o: {
        "state_dict": as_children("backbone_momentum.", o) | as_children("backbone.", s)
    },
    "solo-learn": lambda s, o: {
        "state_dict": under("momentum_backbone.", o)
        | under("backbone.", s, drop_fc=True)
        | {"projector.0.weight": torch.randn(8, 8), "classifier.weight": torch.randn(4, 8), "queue": torch.randn(4, 4)}
    },
    "solo-learn, old": lambda s, o: {"state_dict": under("momentum_encoder.", o) | under("encoder.", s)},
    "MoCo": lambda s, o: {
        "arch": "resnet18",
        "optimizer": {"state": {0: {"momentum_buffer": torch.randn(2, 2)}}, "param_groups": []},
        "state_dict": under("module.encoder_k.", o)
        | under("module.encoder_q.", s, drop_fc=True)
        | {"module.encoder_q.fc.0.weight": torch.randn(4, 4), "module.queue": torch.randn(4, 9)},
    },
    "MoCo v3": lambda s, o: {"state_dict": under("module.momentum_encoder.", o) | under("module.base_encoder.", s)},
    "SimSiam": lambda s, o: {
        "state_dict": under("module.encoder.", s, drop_fc=True)
        | {"module.encoder.fc.0.weight": torch.randn(4, 4), "module.predictor.0.weight": torch.randn(4, 4)}
    },
    "BYOL": lambda s, o: {
        "state_dict": under("target_network.encoder.", o)
        | under("online_network.encoder.", s)
        | {"online_network.projector.model.0.weight": torch.randn(4, 4)}
    },
    "BYOL, states apart": lambda s, o: {
        "target_network_state_dict": as_children("encoder.", o),
        "online_network_state_dict": as_children("encoder.", s),
    },
    "BYOL, net": lambda s, o: under("target_encoder.net.", o) | under("online_encoder.net.", s) | under("net.", s),
    "DINO": lambda s, o: {
        "student": under("module.backbone.", o) | {"module.head.mlp.0.weight": torch.randn(4, 4)},
        "teacher": under("backbone.", s) | {"head.mlp.0.weight": torch.randn(4, 4)},
    },
    "SwAV": lambda s, o: under("module.", s, drop_fc=True) | {"module.prototypes.weight": torch.randn(4, 4)},
    "Barlow Twins": lambda s, o: {"model": under("module.backbone.", s) | {"module.bn.running_mean": torch.randn(4)}},
    "RadImageNet": lambda s, o: as_children("backbone.", s),
    "children": lambda s, o: as_children("", s),
    "timm, with average": lambda s, o: {"state_dict": o, "state_dict_ema": s},
    "nested anywhere": lambda s, o: {"payload": [{"net": {"trunk": {"weights": s}}}], "step": 3},
    "Hugging Face": lambda s, o: as_hugging_face(s),
    "parameters": lambda s, o: {n: torch.nn.Parameter(v, requires_grad=v.is_floating_point()) for n, v in s.items()},
}
FILES = {  # name of the file, its kind, the type of its numbers
    ".pth": ("torch", torch.float32),
    ".pt": ("legacy", torch.float32),
    ".ckpt": ("torch", torch.float16),
    ".pth.tar": ("legacy", torch.bfloat16),
    ".bin": ("torch", torch.float64),
    "-without-ending": ("torch", torch.float32),
    ".weights": ("torch", torch.bfloat16),
    ".safetensors": ("safetensors", torch.float32),
    "-bf16.safetensors": ("safetensors", torch.bfloat16),
    "-fp16.safetensors": ("safetensors", torch.float16),
    "-fp64.safetensors": ("safetensors", torch.float64),
    "-safe.bin": ("safetensors", torch.float32),
    "-pickled.safetensors": ("torch", torch.float32),
}


def written(tree, path, kind):
    if kind == "safetensors":
        save_file({name: value.contiguous() for name, value in tree.items()}, path)
    else:
        torch.save(tree, path, _use_new_zipfile_serialization=kind == "torch")
    return path


@functools.cache
def network():
    return _core.Network(18, image_size=32, head=[(2, 0.0, False)])


X = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype(np.float32)


@functools.cache
def torch_features(model):
    with torch.no_grad():
        return model.stages(torch.from_numpy(X).repeat(1, 1, 1, 3))["layer4"].mean((2, 3)).numpy()


def same_features(path, model):
    """Our features of gray images from the file, and PyTorch's from its own model."""
    missing, unexpected = network().load(load_weights(path, 1), strict=False)
    assert sorted(missing) == ["fc.bias", "fc.weight"]
    assert not unexpected
    ours = network().forward(X, output="features")
    np.testing.assert_allclose(ours, torch_features(model), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("family", FAMILIES)
def test_families(tmp_path, model, family):
    other = {name: -value for name, value in model.state_dict().items()}
    path = written(FAMILIES[family](model.state_dict(), other), tmp_path / "w.pth", "torch")
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        same_features(path, model)
    said = [str(note.message) for note in notes]
    path.unlink()
    if family in ("torchvision", "parameters"):
        assert not said
    else:
        assert len(said) == 1 and "took the resnet18" in said[0] and "w.pth" in said[0]
    if family == "MoCo":
        assert "under 'state_dict.module.encoder_q.'" in said[0]
        assert all(word in said[0] for word in ("encoder_k", "queue", "encoder_q.fc", "optimizer"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:.*took the resnet18")
def test_files_by_content(tmp_path, model, name):
    kind, dtype = FILES[name]
    rounded = {n: v.to(dtype) if v.is_floating_point() else v for n, v in model.state_dict().items()}
    path = written(rounded, tmp_path / f"weights{name}", kind)
    peer = ResNet(18, image_size=32, in_channels=3, head=[(10, 0.0, False)]).eval()
    peer.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in rounded.items()})
    same_features(path, peer)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_pickled_model(tmp_path, model, zipped):
    torch.save(model, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    same_features(tmp_path / "model.pt", model)


def test_estimators_take_any_file(tmp_path, model):
    ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    path = written(FAMILIES["MoCo"](model.state_dict(), model.state_dict()), tmp_path / "c_0199.pth.tar", "torch")
    with pytest.warns(UserWarning, match=r"c_0199\.pth\.tar: took the resnet18"):
        clf = sm.Classifier(str(path), arch="resnet18", epochs=0, verbose=0).fit(ds)
    with pytest.warns(UserWarning, match="took the resnet18"):
        ssl = sm.SimCLR("resnet18", weights=str(path), epochs=0, batch_size=4, verbose=0).fit(ds)
    np.testing.assert_array_equal(ssl.transform(ds), clf.transform(ds))


# ---- what cannot be used, and why ---


def shapes(arch="resnet50", channels=3, **changes):
    found = expected_shapes(arch, channels) | {name.replace("__", "."): shape for name, shape in changes.items()}
    return {name: SimpleNamespace(shape=shape) for name, shape in found.items() if shape is not None}


def deeper():
    more = expected_shapes("resnet50", 3)
    extra = {n.replace("layer3.5", f"layer3.{i}"): s for i in range(6, 36) for n, s in more.items() if "layer3.5" in n}
    return {name: SimpleNamespace(shape=shape) for name, shape in (more | extra).items()}


REFUSED = {
    "ResNet-152": (deeper(), r"a ResNet of 3-4-36-3 bottleneck blocks; expected one of resnet18"),
    "wide": (shapes(layer1__0__conv1__weight=(128, 64, 1, 1)), r"wide.*layer1\.0\.conv1\.weight has shape \(128, 64"),
    "ResNeXt": (shapes(layer1__0__conv2__weight=(64, 2, 3, 3)), r"grouped \(ResNeXt\)"),
    "CIFAR stem": (shapes(conv1__weight=(64, 3, 3, 3)), r"its first convolution is 3 x 3.*7 x 7"),
    "volumes": (shapes(conv1__weight=(64, 1, 7, 7, 7)), "a network over volumes"),
    "GroupNorm": (
        {n: s for n, s in shapes().items() if "running" not in n},
        "lacks bn1.running_mean.*without batch norm's running statistics",
    ),
    "squeeze and excitation": (shapes(layer1__0__se__fc1__weight=(8, 64)), r"a variant.*layer1\.0\.se\.fc1\.weight"),
    "biases": (shapes(conv1__bias=(64,)), r"a variant of resnet50 with conv1\.bias"),
    "cut": (shapes(layer4__2__conv3__weight=None), r"lacks layer4\.2\.conv3\.weight"),
    "a transformer": ({"blocks.0.attn.qkv.weight": SimpleNamespace(shape=(9, 3))}, r"expected a ResNet.*blocks\.0"),
    "nothing": ({}, "holds no tensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case):
    tensors, why = REFUSED[case]
    with pytest.raises(NoEncoderError, match=why):
        find_encoder(tensors)
    nested = {f"state_dict.module.{name}": tensor for name, tensor in tensors.items()}
    if nested:
        with pytest.raises(NoEncoderError):
            find_encoder(nested)


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50", "resnet101"])
@pytest.mark.parametrize("channels", [1, 3])
def test_expected_shapes_are_the_networks_own(arch, channels):
    net = _core.Network(int(arch.removeprefix("resnet")), image_size=32, in_channels=channels, head=[(2, 0.0, False)])
    own = {name: tuple(shape) for name, shape, *_ in net.table if not name.startswith("fc.")}
    assert expected_shapes(arch, channels) == own
    assert find_encoder({n: SimpleNamespace(shape=s) for n, s in own.items()}).arch == arch


def test_files_that_hold_no_weights(tmp_path):
    cases = {
        "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        "page.pth": (b"<!DOCTYPE html><html>", "web page"),
        "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        "empty.ckpt": (b"", "empty"),
    }
    for name, (data, why) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises((CheckpointError, ValueError), match=rf"{name}.*{why}"):
            load_weights(tmp_path / name, 1)
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        load_weights(tmp_path / "none.ckpt", 1)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"hub.*no checkpoint\.safetensors.*model\.safetensors"):
        load_weights(tmp_path / "hub", 1)
