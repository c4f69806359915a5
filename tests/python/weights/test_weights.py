"""Reading other programs' weights: PyTorch's files, byte for byte, and files that mean harm."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from simclr_mri.weights import WeightsError, read_weights

torch = pytest.importorskip("torch", reason="writes the files that are read here")


def example() -> dict:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(40, generator=generator)
    return {
        "conv1.weight": torch.randn(4, 3, 7, 7, generator=generator),
        "transposed": torch.randn(4, 6, generator=generator).t(),
        "sliced": base[3:23].view(4, 5),
        "bn1.num_batches_tracked": torch.tensor(17),
        "half": torch.randn(5, generator=generator).half(),
        "bfloat16": torch.randn(5, generator=generator).bfloat16(),
        "double": torch.randn(5, generator=generator).double(),
        "empty": torch.zeros(0, 3),
        **{str(kind): torch.arange(6, dtype=torch.int32).to(kind) for kind in INTEGERS},
    }


INTEGERS = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
    torch.bool,
]


def assert_same(read: dict[str, np.ndarray], tensors: dict) -> None:
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        expected = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
        assert read[name].shape == tuple(tensor.shape)
        assert read[name].dtype == (np.float32 if tensor.is_floating_point() else np.int64)
        np.testing.assert_array_equal(read[name], expected)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_state_dict(tmp_path, zipped):
    path = tmp_path / "w.pth"
    torch.save(example(), path, _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(path), example())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_module_parameters_wrapped_and_prefixed(tmp_path, zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    path = tmp_path / "checkpoint.pth"
    wrapped = {
        "epoch": 3,
        "state_dict": {
            f"module.{k}": torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in module.state_dict().items()
        },
    }
    torch.save(wrapped, path, _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(path), module.state_dict())


def test_ordered_dict_with_metadata(tmp_path):
    state = torch.nn.BatchNorm2d(4).state_dict()
    assert hasattr(state, "_metadata")
    torch.save(state, tmp_path / "bn.pt")
    assert_same(read_weights(tmp_path / "bn.pt"), state)


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    tensors = {"conv1.weight": torch.randn(2, 1, 3, 3), "fc.bias": torch.randn(4)}
    save_file(tensors, tmp_path / "w.safetensors")
    assert_same(read_weights(tmp_path / "w.safetensors"), tensors)


class Harm:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_code_is_refused_and_not_run(tmp_path, capsys):
    legacy = tmp_path / "legacy.pth"
    legacy.write_bytes(pickle.dumps(Harm(), protocol=2))
    modern = tmp_path / "zip.pth"
    with zipfile.ZipFile(modern, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"w": Harm()}, protocol=2))
    for path in (legacy, modern):
        with pytest.raises(WeightsError, match=r"print.*refused"):
            read_weights(path)
    assert capsys.readouterr().out == ""


def test_tensor_larger_than_its_storage_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(7)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    # The shape (7,) and the storage's size are the byte pair K\x07: make both the shape's only.
    place = members[pickled].rindex(b"K\x07")
    members[pickled] = members[pickled][:place] + b"K\x70" + members[pickled][place + 2 :]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(WeightsError, match=r"w\.pth: w: shape \(112,\) does not fit a storage of 7 numbers"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_truncated_and_damaged_files(tmp_path, zipped):
    buffer = io.BytesIO()
    torch.save(example(), buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    path = tmp_path / "w.pth"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"w\.pth"):
            read_weights(path)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            read_weights(path)  # a flipped bit inside a number is not an error of the legacy format
        except WeightsError as error:
            assert "w.pth" in str(error)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello, I am no weights file at all, but long enough to look at")
    with pytest.raises(WeightsError, match=r"text\.pth: neither a safetensors"):
        read_weights(tmp_path / "text.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"empty\.pth"):
        read_weights(tmp_path / "empty.pth")
