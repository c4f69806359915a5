"""Seeded mutations of files for the readers in Python: weights, checkpoints, tables and settings.

    python tests/fuzz/fuzz_readers.py --seconds 1800       30 minutes a reader, one after another

A reader returns, or raises one of its named exceptions. Any other exception, more than 5 s or 1 GiB is a finding: the
file is kept in fuzz_findings/ and the loop ends.
"""

from __future__ import annotations

import argparse
import pickle
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from simclr_mri.config import read_toml
from simclr_mri.datasets._read_table import read_rows
from simclr_mri.learning._checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from simclr_mri.weights import CheckpointError, WeightsError, open_weights, read_weights

Reader = Callable[[Path], object]
MOST_SECONDS = 5.0
MOST_BYTES = 1 << 30


def _pth_seeds(folder: Path) -> list[bytes]:
    """Both formats of torch.save, of pickles made by hand: PyTorch is not needed."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "python" / "weights"))
    import test_torch_pickle_bounds as made

    good = made.table(made.text("conv1.weight"), made.tensor(), made.text("fc.bias"), made.tensor(of=made.storage("1")))
    wrapped = made.table(made.text("state_dict"), good[2:-1], made.text("epoch"), b"K\x07")
    numbers = np.arange(4, dtype=np.float32).tobytes()
    stored = b"".join(struct.pack("<q", 4) + numbers for _ in range(2))
    head = made.MAGIC + pickle.dumps(1001, protocol=2) + pickle.dumps({"little_endian": True}, protocol=2)
    seeds = [made.zipped(good, s0=numbers, s1=numbers), made.zipped(wrapped, s0=numbers, s1=numbers)]
    seeds.append(head + good + pickle.dumps(["0", "1"], protocol=2) + stored)
    seeds.append(seeds[-1].replace(pickle.dumps(True, protocol=2)[2:3], pickle.dumps(False, protocol=2)[2:3], 1))
    seeds += [made.zipped(harm, s0=numbers) for harm in made.HARM.values() if len(harm) < 2000]
    return seeds + _torchs_own_seeds(folder)


def _torchs_own_seeds(folder: Path) -> list[bytes]:
    """What torch.save writes of kinds that are tedious to make by hand, where it is installed."""
    try:
        import torch
    except ImportError:
        return []
    values = torch.arange(6.0).reshape(2, 3)
    kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.uint16)
    names = {str(kind): (values.to(torch.int32) if kind == torch.uint16 else values).to(kind) for kind in kinds}
    marked = torch.zeros(2, 2)
    marked.note = "an attribute"  # saved with the tensor's class
    trees = [
        {"state_dict": names, "epoch": 3, "arch": "resnet18", "lr": 0.1, "flags": (True, None, b"bytes", [1, {2}])},
        {"a": torch.nn.Parameter(values), "b": values.T, "c": values[:, 1], "empty": torch.zeros(0, 3), "d": marked},
        torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)),
    ]
    seeds = []
    for tree in trees:
        for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
            path = folder / "torchs.pth"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.save(tree, path, **options)
            seeds.append(path.read_bytes())
    with zipfile.ZipFile(path) as plain:
        members = {info.filename: plain.read(info) for info in plain.infolist()}
    for order in (b"little", b"big"):  # deflated, as other programs pack them anew
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in members.items():
                packed.writestr(name, order if name.endswith("byteorder") else data)
        seeds.append(path.read_bytes())
    path.unlink()
    return seeds


def _safetensors_seeds(folder: Path) -> list[bytes]:
    tensors = {"conv1.weight": np.ones((2, 1, 3, 3), np.float32), "n": np.arange(3), "half": np.ones(4, np.float16)}
    return [save(tensors), save({"a": np.zeros((0, 3), np.float32)}, {"format": "pt"})]


def _checkpoint_seeds(folder: Path) -> list[bytes]:
    run = Checkpoint(
        kind="simclr",
        config={"epochs": 3},
        network={
            "arch": "resnet18",
            "image_size": 32,
            "in_channels": 1,
            "features": "avgpool",
            "head": [[4, 0.5, True]],
        },
        model={"conv1.weight": np.ones((2, 1, 2, 2), np.float32), "bn1.running_var": np.ones(2, np.float32)},
        optimizer={"momentum/conv1.weight": np.ones(4, np.float32), "step": np.array(7, np.int64)},
        progress={"epoch": 1, "step": 7, "step_in_epoch": 1, "finished": False},
        extra={"classes": ["a", "b"], "preprocess": {"mean": [0.1], "std": [0.2]}},
        history=[{"epoch": 1, "loss": 0.5}],
    )
    whole = write_checkpoint(folder / "seed.safetensors", run).read_bytes()
    return [whole, whole.replace(b'"digest": "', b'"digesu": "').replace(b"simclr_mri 2", b"simclr_mri 1")]


def _table_seeds(folder: Path) -> list[bytes]:
    return [b"file,subject\na.png,1\nb.png,2\n", b'\xef\xbb\xbf"file";subject\n"x ""y""",3\n', b"a\tb\n1\t2\n"]


def _toml_seeds(folder: Path) -> list[bytes]:
    return [b'[pretrain]\nepochs = 3\nlr = 1e-3\narch = "resnet18"\n', b"[data]\npath = 'x'\nsize = [1, 2]\n"]


def _read_in_both_ways(path: Path) -> None:
    """All at once, as a state dictionary; and one tensor after another, wherever they are nested."""
    tensors = open_weights(path)
    for tensor in tensors.values():
        np.asarray(tensor)
    read_weights(path)


READERS: dict[str, tuple[str, Callable[[Path], list[bytes]], Reader, tuple[type[Exception], ...]]] = {
    "pth": (".pth", _pth_seeds, _read_in_both_ways, (WeightsError,)),
    "safetensors": (".safetensors", _safetensors_seeds, _read_in_both_ways, (WeightsError,)),
    "checkpoint": (".safetensors", _checkpoint_seeds, read_checkpoint, (CheckpointError,)),
    "table": (".csv", _table_seeds, read_rows, (ValueError,)),
    "toml": (".toml", _toml_seeds, read_toml, (ValueError,)),
}
_WORDS = (
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    struct.pack("<Q", 2**63),
    b"(",
    b"\x85",
    b"h\0",
    b"q\0",
    b"R",
    b'"',
    b"[",
)


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to eight small changes: bits, bytes, words, cuts, repeats, and pieces of another file."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 2, 4, 16, 100)))
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                changed[at:end] = b""
            case 3:
                changed[at:at] = rng.choice(_WORDS) * rng.choice((1, 1, 3, 50))
            case 4:
                changed[at:at] = changed[at:end] * rng.choice((1, 2, 20))
            case 5:
                del changed[at:]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                changed[at:end] = other[start : start + rng.randrange(64)]
    return bytes(changed[: 1 << 16])


def _repair_zip(data: bytes) -> bytes:
    """Makes the zip archive of a mutated pickle whole again, so that the pickle is reached."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "python" / "weights"))
    import test_torch_pickle_bounds as made

    start = data.find(b"\x80\x02")
    end = data.find(b"PK\x03\x04", start)
    numbers = bytes(16)
    return made.zipped(data[start:end], s0=numbers, s1=numbers) if data[:2] == b"PK" and 0 <= start < end else data


def fuzz(name: str, seconds: float, seed: int = 0, findings: Path = Path("fuzz_findings")) -> int:
    """Reads mutated files for so long and returns how many; AssertionError at the first finding."""
    suffix, make_seeds, reader, named = READERS[name]
    rng = random.Random(f"{name} {seed}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried, ends = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as temporary:
        seeds = make_seeds(Path(temporary))
        path = Path(temporary) / f"input{suffix}"
        while time.monotonic() < ends:
            data = mutate(rng.choice(seeds), rng, seeds)
            data = _repair_zip(data) if name == "pth" and rng.random() < 0.7 else data
            path.write_bytes(data)
            began = time.process_time()
            problem = None
            try:
                reader(path)
            except named as error:
                problem = None if str(path) in str(error) else f"does not name the file: {error}"
            except Exception as error:
                problem = repr(error)
            if time.process_time() - began > MOST_SECONDS:
                problem = f"took {time.process_time() - began:.1f} s"
            if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 > MOST_BYTES:
                problem = "took more than 1 GiB"
            if problem:
                findings.mkdir(exist_ok=True)
                kept = findings / f"{name}_{seed}_{tried}{suffix}"
                kept.write_bytes(data)
                raise AssertionError(f"{name}: {problem[:500]} (kept as {kept})")
            tried += 1
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers of weights, checkpoints, tables and settings.")
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)} (all)")
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.readers) - set(READERS):
        parser.error(f"no reader named {', '.join(sorted(unknown))}; there are {', '.join(READERS)}")
    for name in arguments.readers or READERS:
        print(f"{name}: {fuzz(name, arguments.seconds, arguments.seed):,} files, no finding", flush=True)


if __name__ == "__main__":
    main()
