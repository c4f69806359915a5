"""Damage to a checkpoint is named and never loaded: flipped bits, cut files, values that no run writes."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import simclr_mri as sm
from simclr_mri import _core
from simclr_mri._shared import _files, atomic_writer
from simclr_mri.learning._checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint
from simclr_mri.weights import CheckpointError


def small() -> Checkpoint:
    return Checkpoint(
        kind="simclr",
        config={"epochs": 3},
        network={"arch": "resnet18", "image_size": 32, "in_channels": 1, "features": "avgpool", "head": []},
        model={"conv1.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 1, 2, 2)},
        optimizer={"momentum/conv1.weight": np.ones(4, np.float32), "step": np.array(7, np.int64)},
        progress={"epoch": 2, "step": 7, "step_in_epoch": 1, "finished": False},
        extra={"classes": ["a", "ü"], "preprocess": {"mean": [0.1], "std": [0.2]}},
        history=[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}],
    )


def test_every_flipped_bit_is_named(tmp_path):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            read_checkpoint(path)
    path.write_bytes(whole)
    assert read_checkpoint(path).progress == small().progress


def test_every_length_is_named(tmp_path):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            read_checkpoint(path)


def rewritten(path: Path, **metadata: str) -> None:
    """The file as a version without digests wrote it, with other metadata."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        old = dict(file.metadata())
    kept = {name: value for name, value in old.items() if name not in ("digest", "digests")}
    save_file(tensors, path, {**kept, "format": "simclr_mri 1", **metadata})


def test_a_checkpoint_of_the_version_before_is_read(tmp_path):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    rewritten(path)
    found = read_checkpoint(path)
    assert found.progress == small().progress
    np.testing.assert_array_equal(found.model["conv1.weight"], small().model["conv1.weight"])
    rewritten(path, format="simclr_mri 2")
    with pytest.raises(CheckpointError, match="without its digest"):
        read_checkpoint(path)


IMPLAUSIBLE = [
    {"progress": {"epoch": 2, "step": 7, "step_in_epoch": 10**9}},
    {"progress": {"epoch": -1}},
    {"progress": {"epoch": 1.5}},
    {"progress": {"epoch": True}},
    {"progress": {"step": 10**400}},
    {"progress": {"finished": 1}},
    {"progress": {"seconds": float("nan")}},
    {"progress": {"loss_sum": float("inf")}},
    {"progress": {"n_images": 3, "n_correct": 4}},
    {"progress": {"epoch": 1}},  # of two rows
    {"progress": {"step": 8}},  # the optimizer did 7
    {"progress": {"elsewhere": 1}},
    {"progress": []},
    {"kind": 3},
    {"config": "text"},
    {"history": {"a": 1}},
    {"history": [1]},
    {"network": {"arch": "resnet9000"}},
    {"network": {"arch": ["resnet18"]}},
    {"network": {"arch": {}}},
    {"network": {"image_size": "32"}},
    {"network": {"image_size": 10**9}},
    {"network": {"in_channels": True}},
    {"network": {"head": [[3, 2.0, False]]}},
    {"network": {"head": [3]}},
    {"network": {"head": 3}},
    {"network": {"head_name": "x" * 16}},
    {"network": None},
    {"extra": {"preprocess": {"mean": [0.1], "std": [0.0]}}},
    {"extra": {"preprocess": {"mean": [None], "std": [1.0]}}},
    {"extra": {"preprocess": 3}},
    {"extra": {"classes": "abc"}},
    {"extra": {"classes": [1]}},
    {"extra": {"temperature": 0}},
    {"extra": {"temperature": "0.5"}},
    {"extra": {"best_epoch": "1"}},
    {"extra": {"best_score": float("inf")}},
    {"extra": {"data": []}},
]


@pytest.mark.parametrize("values", IMPLAUSIBLE, ids=lambda values: json.dumps(values)[:50])
def test_values_that_no_run_writes(tmp_path, values):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    rewritten(path, **{name: json.dumps(value) for name, value in values.items()})
    with pytest.raises(CheckpointError, match=r"c\.safetensors") as error:
        read_checkpoint(path)
    assert len(str(error.value)) < len(str(path)) + 200


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{", "1" * 5000, '{"epoch": 1e999}', '"\\ud800"', "nul"])
def test_metadata_that_is_no_json(tmp_path, text):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    rewritten(path, progress=text)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bn1.running_var", -1.0),
        ("bn1.running_var", np.nan),
        ("conv1.weight", np.inf),
        ("optimizer/momentum/conv1.weight", np.nan),
        ("optimizer/exp_avg_sq/conv1.weight", -1e-3),
        ("best/conv1.weight", np.nan),
        ("best/bn1.running_var", -1.0),
    ],
)
def test_numbers_that_no_run_writes(tmp_path, name, value):
    run = small()
    group, _, rest = name.rpartition("/") if name.startswith("best/") else name.partition("/")
    target = {"best": run.best, "optimizer": run.optimizer}.get(group, run.model)
    target[rest if group in ("best", "optimizer") else name] = np.array([1.0, value], np.float32)
    path = write_checkpoint(tmp_path / "c.safetensors", run)
    with pytest.raises(CheckpointError, match=rf"c\.safetensors: {name} holds"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=rf"{name}|conv1"):
        load_weights(path, 1)


@pytest.fixture(scope="module")
def network():
    return _core.Network(18, image_size=32, head=[(2, 0.0, False)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_network_takes_finite_numbers_only(network, value):
    state = network.state()
    for name in ("conv1.weight", "bn1.running_mean", "bn1.running_var", "fc.bias"):
        bad = {**state, name: state[name].copy()}
        bad[name].reshape(-1)[-1] = value
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
            network.load(bad)
    negative = {**state, "layer4.1.bn2.running_var": -state["layer4.1.bn2.running_var"]}
    with pytest.raises(ValueError, match=r"layer4\.1\.bn2\.running_var: expected variances of 0 or more"):
        network.load(negative)
    assert all(np.array_equal(state[name], array) for name, array in network.state().items())


@pytest.fixture(scope="module")
def fitted():
    ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    return ds, sm.Classifier(arch="resnet18", epochs=0, verbose=0).fit(ds)


def test_outputs_that_are_not_finite_are_no_answer(fitted):
    import copy

    ds, classifier = fitted
    diverged = copy.deepcopy(classifier)
    state = {
        name: np.full_like(array, 3e38) if "fc" in name else array for name, array in diverged.network_.state().items()
    }
    diverged.network_.load(state)
    for ask in (diverged.predict, diverged.predict_proba):
        with pytest.raises(FloatingPointError, match=r"outputs are not finite.*lower learning rate"):
            ask(ds)


@pytest.mark.parametrize("part", ["extra", "network", "progress"])
def test_a_checkpoint_that_lacks_a_value_is_named(fitted, tmp_path, part):
    classifier = fitted[1]
    path = classifier.save(tmp_path)
    rewritten(path, **{part: "{}"})
    if part != "progress":
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: the checkpoint lacks"):
            sm.Classifier.load(tmp_path)
    rewritten(path, config='{"epochs": "many"}')
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
        sm.Classifier.load(tmp_path)


def test_what_a_digest_costs(tmp_path):
    """Of saving 90 MB: under a tenth here, where other programs run; it is about 2 % by itself."""
    data = np.ones(90 << 18, np.float32)
    began = time.process_time()
    _core.xxh64(data)
    cost = time.process_time() - began
    run = small()
    run.model = {"conv1.weight": data}
    began = time.perf_counter()
    write_checkpoint(tmp_path / "c.safetensors", run)
    assert cost < 0.1 * (time.perf_counter() - began) + 0.02


# ---- the file that appears whole or not at all ---------------------------------------------------------------------


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    names = iter(["00000000", "11111111"])
    monkeypatch.setattr("simclr_mri._shared._files.secrets.token_hex", lambda _: next(names))
    (tmp_path / f".out.{_files._place()}.{os.getpid()}.00000000.tmp").symlink_to(victim)
    with atomic_writer(tmp_path / "out") as file:
        file.write(b"new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "out").read_bytes() == b"new"


def test_the_folder_is_synced_after_the_renaming(tmp_path, monkeypatch):
    calls = []
    real_replace, real_sync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("rename"), real_replace(*a)))
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (calls.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), real_sync(fd)),
    )
    with atomic_writer(tmp_path / "out") as file:
        file.write(b"new")
    assert calls == ["file", "rename", "folder"]


def test_what_killed_processes_left_goes(tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    here = _files._place()
    for name in (f".out.{child}.tmp", f".out.{child}.abcd1234.tmp", f".out.{here}.{child}.abcd1234.tmp"):
        (tmp_path / name).write_text("half")  # of the versions before, and of this one
    kept = [f".out.{os.getppid()}.abcd1234.tmp", f".out.{here}.{os.getppid()}.abcd1234.tmp"]  # they live
    kept.append(f".out.another-host-1.{child}.abcd1234.tmp")  # where this number may be a process that lives
    for name in kept:
        (tmp_path / name).write_text("half")
    with atomic_writer(tmp_path / "out") as file:
        file.write(b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "out"])


def test_a_checkpoint_that_will_not_fit_is_refused_before_training(tmp_path, monkeypatch):
    import shutil

    ds = sm.datasets.phantoms(n_subjects=8, slices=1, image_size=32, task="cdr0")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    classifier = sm.Classifier(arch="resnet18", epochs=1, batch_size=4, verbose=0)
    with pytest.raises(OSError, match=r"a checkpoint takes up to .* and 10.* are free"):
        classifier.fit(ds, checkpoint=tmp_path / "run")


def test_the_header_is_what_other_programs_read(tmp_path):
    path = write_checkpoint(tmp_path / "c.safetensors", small())
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert (8 + length) % 8 == 0
    digests = json.loads(header["__metadata__"]["digests"])
    assert set(digests) == set(header) - {"__metadata__"}
