"""Files that mean harm to the reader of torch.save's format: each ends in a named error, soon and in little memory.

Every file is read in both formats in one child process, under a limit on memory and a limit on time."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from simclr_mri.weights import WeightsError, read_weights

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
MOST_SECONDS = 3.0  # a second on an idle machine
MOST_BYTES = 400 << 20  # above what the interpreter with numpy has


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def storage(key: str = "0", size: bytes = b"K\x04", kind: str = "FloatStorage") -> bytes:
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + size + b"tQ"


def tensor(shape: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85", of: bytes = b"") -> bytes:
    view = b"K\x00" + shape + stride + b"\x89ccollections\nOrderedDict\n)Rt"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + (of or storage()) + view + b"R"


def table(*values: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(values) + b"u."


def shared_tuples(levels: int) -> bytes:
    """A tuple of two references to a tuple of two references to ...: 2 ** levels to whoever follows them."""
    return b")q\x00" + b"h\x00h\x00\x86q\x00" * levels


def big_integer(n_bytes: int = 250) -> bytes:
    return b"\x8a" + bytes([n_bytes]) + b"\x7f" * n_bytes


HARM = {
    "a shared tuple as a key": table(shared_tuples(200), b"N"),
    "a shared tuple as a key by SETITEM": b"\x80\x02}" + shared_tuples(200) + b"Ns.",
    "a shared tuple as a storage": table(text("w"), shared_tuples(200) + b"Q"),
    "a shared tuple as a storage's kind": table(
        text("w"), b"(" + text("storage") + shared_tuples(200) + text("0") + text("cpu") + b"K\x04tQ"
    ),
    "a shared tuple as a storage's key": table(
        text("w"), b"(" + text("storage") + b"ctorch\nFloatStorage\n" + shared_tuples(200) + text("cpu") + b"K\x04tQ"
    ),
    "a shared tuple as a size": table(text("w"), tensor(shape=shared_tuples(200) + b"\x85")),
    "a shared dictionary in itself": table(
        text("w"), b"}q\x00" + (b"(" + text("a") + b"h\x00" + text("b") + b"h\x00u") * 99
    ),
    "a dictionary that is its own wrapper": b"\x80\x02}q\x00" + text("model") + b"h\x00s.",
    "1000 sizes of 2000 bits": table(
        text("w"), tensor(shape=b"(" + big_integer() * 1000 + b"t", stride=b"(" + b"K\x01" * 1000 + b"t")
    ),
    "1000 sizes of 62 bits": table(
        text("w"), tensor(shape=b"(" + big_integer(8) * 1000 + b"t", stride=b"(" + b"K\x01" * 1000 + b"t")
    ),
    "64 sizes of 62 bits": table(
        text("w"), tensor(shape=b"(" + big_integer(8) * 64 + b"t", stride=b"(" + b"K\x01" * 64 + b"t")
    ),
    "a size of 0 and one that no memory has": table(
        text("w"), tensor(shape=b"K\x00" + big_integer(8) + b"\x86", stride=b"K\x01K\x01\x86")
    ),
    "a negative size": table(text("w"), tensor(shape=b"J\xff\xff\xff\xff\x85")),
    "100,000 marks": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    "300,000 marks": b"\x80\x02" + b"(" * 300_000 + b"t" * 300_000 + b".",
    "300,000 nested tuples": b"\x80\x02)" + b"\x85" * 300_000 + b".",
    "300,000 nested tuples in a dictionary": table(text("w"), b")" + b"\x85" * 300_000),
    "300,000 nested lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "objects in objects": b"\x80\x02" + b"cx\ny\n" + b")R" + b"q\x00\x85q\x01cx\ny\nh\x01R" * 300 + b".",
    "an endless pickle": b"\x80\x02" + b"K\x00q\x00" * 3_000_000 + b".",
    "a text of 4 exabytes": b"\x80\x02\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "a text of 2 gigabytes": b"\x80\x02X" + struct.pack("<I", 2**31) + b"x.",
    "bytes of 4 gigabytes": b"\x80\x02B" + struct.pack("<I", 2**32 - 1) + b"x.",
    "a long key again and again": b"\x80\x02}" + (text("k" * 9_000_000) + b"Ns") * 2 + b".",
    "a long name again and again": b"\x80\x02" + text("m" * 9_000_000) + b"q\x00" + b"h\x00h\x00\x93" * 50_000 + b".",
    "a list of pairs made a dictionary again and again": b"\x80\x02("
    + (text("k") + b"N\x86") * 20_000
    + b"lq\x00ccollections\nOrderedDict\nq\x01"
    + b"h\x01h\x00\x85R0" * 20_000
    + b".",
    "a value below a mark": b"\x80\x02K\x01(0t.",
    "an empty stack": b"\x80\x02.",
    "a memo that is not there": b"\x80\x02h\x07.",
    "an unknown protocol": b"\x80\xff}.",
    "a text that is not UTF-8": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    "a call of a text": b"\x80\x02" + text("x") + b")R.",
    "a call without a tuple": b"\x80\x02ccollections\nOrderedDict\nK\x01R.",
    "an odd number of values": b"\x80\x02}(" + text("x") + b"u.",
    "an integer of 80 bits": table(text("w"), big_integer(10)),
    "a line without an end": b"\x80\x02c" + b"x" * 9_000_000,
    "control characters in a name": b"\x80\x02cx\x1b[31m\nprint\n)R.",
}


def zipped(pickled: bytes, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, data in members.items():
            archive.writestr(f"x/data/{name.removeprefix('s')}", data)
    return buffer.getvalue()


def legacy(pickled: bytes) -> bytes:
    head = pickle.dumps(1001, protocol=2) + pickle.dumps({"little_endian": True}, protocol=2)
    return MAGIC + head + pickled + pickle.dumps([], protocol=2)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def test_each_file_ends_in_a_named_error_soon(tmp_path):
    paths = []
    for number, (_, pickled) in enumerate(HARM.items()):
        for kind, data in (("zip", zipped(pickled, s0=b"\0" * 16)), ("legacy", legacy(pickled)), ("bare", pickled)):
            path = tmp_path / f"{number}_{kind}.pth"
            path.write_bytes(data)
            paths.append(path)
    program = """
import resource, sys, time
from simclr_mri.weights import WeightsError, read_weights
for path in sys.argv[1:]:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        read_weights(path)
        outcome = "read"
    except WeightsError as error:
        assert str(error).startswith(path + ": "), error
        assert len(str(error)) < len(path) + 400 and str(error).isprintable(), error
        outcome = "named"
    print(outcome, time.process_time() - began, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=limit_memory,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == len(paths)
    names = list(HARM)
    for path, (outcome, seconds, grown) in zip(paths, rows, strict=True):
        what = names[int(path.name.split("_")[0])]
        assert outcome == "named", f"{what} ({path.name}): was read"
        assert float(seconds) < MOST_SECONDS, f"{what} ({path.name}): {seconds} s"
        assert int(grown) < MOST_BYTES, f"{what} ({path.name}): {grown} bytes"


def many_tensors(n_tensors: int, keys: str, size: int) -> bytes:
    """Tensors of one number each, which name the storages in turn."""
    number = b"K" + bytes([size]) if size < 256 else b"J" + struct.pack("<i", size)
    values = []
    for i in range(n_tensors):
        one = tensor(b"K\x01\x85", b"K\x01\x85", storage(keys[i % len(keys)], number))
        values += [text(f"w{i}"), one]
    return table(*values)


def test_a_storage_is_read_once_for_all_its_tensors(tmp_path):
    size = 1 << 20
    data = np.arange(size, dtype=np.float32).tobytes()
    path = tmp_path / "one.pth"
    path.write_bytes(zipped(many_tensors(3000, "0", size), s0=data))
    began = time.process_time()
    read = read_weights(path)
    assert time.process_time() - began < MOST_SECONDS
    assert len(read) == 3000 and all(array.shape == (1,) and array[0] == 0 for array in read.values())


def test_storages_in_turn_are_refused(tmp_path):
    size = 1 << 20
    data = np.zeros(size, np.float32).tobytes()
    path = tmp_path / "two.pth"
    path.write_bytes(zipped(many_tensors(3000, "01", size), s0=data, s1=data))
    began = time.process_time()
    with pytest.raises(WeightsError, match=r"two\.pth: .*again and again"):
        read_weights(path)
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, packing):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("x/data.pkl", table(text("w"), tensor()))
        archive.writestr("x/data/0", b"\0" * 16)
    with pytest.raises(WeightsError, match=r"w\.pth: .*does not use: refused"):
        read_weights(path)


def test_a_damaged_deflated_member_is_named(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", table(text("w"), tensor()))
        archive.writestr("x/data/0", bytes(range(16)))
    whole = path.read_bytes()
    assert read_weights(path)["w"].shape == (4,)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_weights(path)
        except WeightsError as error:
            assert str(error).startswith(f"{path}: ")


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_weights(tmp_path)
    import os

    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(OSError, match="not a regular file"):
        read_weights(tmp_path / "pipe.pth")
