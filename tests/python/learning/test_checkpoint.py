"""Checkpoints: the format, damage, a full disk, foreign weights."""

from __future__ import annotations

import errno
import os
import weakref
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from simclr_mri.learning._checkpoint import Checkpoint, load_weights, read_checkpoint, write_checkpoint
from simclr_mri.weights import CheckpointError, TensorToCopy, expected_shapes


def example(value: float = 1.0) -> Checkpoint:
    weights = {"conv1.weight": np.full((4, 1, 7, 7), value, np.float32), "fc.weight": np.ones((2, 4), np.float32)}
    return Checkpoint(
        kind="simclr",
        config={"epochs": 3, "split": [0.8, 0.2], "lr": None},
        network={"arch": "resnet18"},
        model=weights,
        optimizer={"momentum/conv1.weight": np.arange(196, dtype=np.float32), "step": np.array(7, np.int64)},
        best={"conv1.weight": weights["conv1.weight"] * 2},
        progress={"epoch": 2},
        extra={"classes": ["a", "ü"]},
        history=[{"epoch": 1, "loss": 0.5}],
    )


def test_what_is_saved_comes_back(tmp_path):
    before = example()
    path = write_checkpoint(tmp_path / "run", before)
    assert path == tmp_path / "run" / "checkpoint.safetensors"
    after = read_checkpoint(tmp_path / "run")
    for name in ("kind", "config", "network", "progress", "extra", "history"):
        assert getattr(after, name) == getattr(before, name)
    for group in ("model", "optimizer", "best"):
        mine, theirs = getattr(before, group), getattr(after, group)
        assert set(mine) == set(theirs)
        for name, array in mine.items():
            assert theirs[name].dtype == array.dtype and theirs[name].shape == array.shape
            np.testing.assert_array_equal(theirs[name], array)
    assert os.listdir(tmp_path / "run") == ["checkpoint.safetensors"]


def test_other_programs_read_it(tmp_path):
    path = write_checkpoint(tmp_path / "a.safetensors", example())
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["conv1.weight"], example().model["conv1.weight"])


def test_tensors_are_copied_one_at_a_time(tmp_path):
    copied, alive = [], []

    def copy(value: int) -> np.ndarray:
        assert not any(reference() is not None for reference in alive)
        array = np.full((256, 1024), value, np.float32)
        copied.append(value)
        alive.append(weakref.ref(array))
        return array

    run = example()
    run.optimizer = {f"momentum/{i}": TensorToCopy((256, 1024), partial(copy, i)) for i in range(5)}
    write_checkpoint(tmp_path / "run", run)
    assert copied == list(range(5))
    read = read_checkpoint(tmp_path / "run").optimizer
    assert set(read) == set(run.optimizer)
    assert all(read[f"momentum/{i}"].shape == (256, 1024) and (read[f"momentum/{i}"] == i).all() for i in range(5))


def test_an_error_while_tensors_are_copied_keeps_the_old_checkpoint(tmp_path):
    path = write_checkpoint(tmp_path / "run", example(1.0))

    def fail() -> np.ndarray:
        raise RuntimeError("another thread")

    run = example(2.0)
    run.optimizer = {"momentum/conv1.weight": TensorToCopy((196,), fail)}
    with pytest.raises(RuntimeError, match="another thread"):
        write_checkpoint(tmp_path / "run", run)
    assert read_checkpoint(path).model["conv1.weight"][0, 0, 0, 0] == 1.0
    assert os.listdir(tmp_path / "run") == ["checkpoint.safetensors"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path, share):
    path = write_checkpoint(tmp_path / "cut.safetensors", example())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors .* is not a whole safetensors file"):
        read_checkpoint(path)


def test_foreign_and_missing_files_are_named(tmp_path):
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors is a safetensors file, but not a checkpoint"):
        read_checkpoint(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is not a checkpoint at all")
    with pytest.raises(CheckpointError, match=r"text\.safetensors"):
        read_checkpoint(tmp_path / "text.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "nothing")


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "run", example(1.0))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoint.safetensors: No space left.*is intact") as error:
        write_checkpoint(tmp_path / "run", example(2.0))
    assert error.value.errno == errno.ENOSPC
    assert read_checkpoint(path).model["conv1.weight"][0, 0, 0, 0] == 1.0
    assert os.listdir(tmp_path / "run") == ["checkpoint.safetensors"]


def test_a_limit_of_the_system_is_an_oserror(tmp_path):
    """The real thing: the system refuses the bytes, in a child process with a limit on the size of files."""
    child = os.fork()
    if child == 0:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            write_checkpoint(tmp_path / "run", example())
        except OSError as error:
            os._exit(0 if error.errno == errno.EFBIG and "cannot write" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.listdir(tmp_path / "run") == []


def test_weights_of_other_programs(tmp_path):
    rng = np.random.default_rng(0)
    encoder = {name: np.ones(shape, np.float32) for name, shape in expected_shapes("resnet18", 3).items()}
    stem = rng.normal(size=(64, 3, 7, 7)).astype(np.float32)
    state = encoder | {
        "conv1.weight": stem,
        "bn1.num_batches_tracked": np.array(5, np.int64),
        "fc.weight": np.zeros((1000, 4), np.float32),
    }
    save_file(state, tmp_path / "theirs.safetensors")
    gray = load_weights(tmp_path / "theirs.safetensors", 1)
    assert set(gray) == set(encoder)
    np.testing.assert_allclose(gray["conv1.weight"][:, 0], stem.sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(load_weights(tmp_path / "theirs.safetensors", 3)["conv1.weight"], stem)
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "no_resnet.safetensors")
    with pytest.raises(CheckpointError, match=r"no_resnet\.safetensors: expected a ResNet"):
        load_weights(tmp_path / "no_resnet.safetensors", 1)


def test_weights_of_an_own_checkpoint_are_the_best_epochs(tmp_path):
    write_checkpoint(tmp_path / "run", example(1.0))
    assert load_weights(tmp_path / "run", 1)["conv1.weight"][0, 0, 0, 0] == 2.0
