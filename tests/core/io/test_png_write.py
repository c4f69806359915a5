"""PNG writing: what is written is read back, by Pillow too, and a refused write leaves nothing behind."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import _testing
from reference.guard import guarded
from simclr_mri import _core
from simclr_mri._shared import _files


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 33), (300, 200)])
@pytest.mark.parametrize("channels, dtype", [(1, np.uint8), (3, np.uint8), (1, np.uint16)])
def test_round_trip(tmp_path: Path, size, channels, dtype):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)
    data = _core.encode_png(pixels)
    read = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(read.reshape(pixels.shape), pixels)
    if dtype == np.uint8:
        assert np.array_equal(_testing.decode_image(data), pixels)
    else:
        expected = (pixels / np.float32(65535)).astype(np.float32)
        assert np.array_equal(_testing.decode_image(data, dtype="float32"), expected)
    path = tmp_path / "out.png"
    _core.write_png(path, pixels)
    assert path.read_bytes() == data and os.listdir(tmp_path) == ["out.png"]


def test_forms_of_input():
    pixels = np.random.default_rng(2).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    assert _core.encode_png(pixels[..., 0].copy()) == _core.encode_png(pixels[..., :1].copy())
    assert _core.encode_png(pixels[::2, ::-1]) == _core.encode_png(pixels[::2, ::-1].copy())
    assert (
        _core.encode_png(guarded(pixels)) == _core.encode_png(pixels) == _core.encode_png(guarded(pixels, at="start"))
    )
    sizes = [len(_core.encode_png(np.zeros((64, 64), np.uint8), compression=level)) for level in (0, 9)]
    assert sizes[0] > 64 * 64 > sizes[1]


def test_wrong_arguments_are_named(tmp_path: Path):
    for pixels, error, message in (
        (np.zeros((4, 4, 2), np.uint8), ValueError, "expected 1 or 3 channels, got 2"),
        (np.zeros((4, 4, 3), np.uint16), ValueError, "expected 8 bits, or 16 for one channel"),
        (np.zeros((0, 4), np.uint8), ValueError, "expected 1 to 65500 pixels a side, got 0 x 4"),
        (np.zeros(4, np.uint8), ValueError, r"pixels: expected shape \(H, W\)"),
        (np.zeros((4, 4), np.float32), TypeError, "pixels: expected dtype uint8, got float32"),
        ([[1]], TypeError, "pixels: expected a numpy array"),
    ):
        with pytest.raises(error, match=message):
            _core.encode_png(pixels)
        with pytest.raises(error, match=message):
            _core.write_png(tmp_path / "x.png", pixels)
    with pytest.raises(ValueError, match="compression 0 to 9, got 10"):
        _core.encode_png(np.zeros((4, 4), np.uint8), compression=10)
    assert os.listdir(tmp_path) == []


def test_a_new_file_honours_the_umask(tmp_path: Path):
    path = tmp_path / "out.png"
    mask = os.umask(0o027)
    try:
        _core.replace_file(path, b"new")
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    _core.replace_file(path, b"")
    assert path.read_bytes() == b""


def test_refused_targets(tmp_path: Path):
    pixels = np.zeros((4, 4), np.uint8)
    with pytest.raises(FileNotFoundError) as missing:
        _core.write_png(tmp_path / "no" / "x.png", pixels)
    assert missing.value.filename == str(tmp_path / "no" / "x.png")
    with pytest.raises(IsADirectoryError):
        _core.write_png(tmp_path, pixels)
    with pytest.raises(OSError, match="not a regular file"):
        _core.write_png("/dev/full", pixels)  # renaming over a device would remove it
    assert not os.path.isfile("/dev/full")
    with pytest.raises(OSError) as long:
        _core.write_png(tmp_path / ("x" * 300), pixels)
    assert long.value.errno == errno.ENAMETOOLONG
    assert os.listdir(tmp_path) == []


WRITE_BEYOND_LIMIT = """
import sys
import numpy as np
from simclr_mri import _core
from simclr_mri._shared import _files
pixels = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
try:
    _core.write_png(sys.argv[1], pixels)
except OSError as error:
    print(error.errno, error.filename)
"""


def test_without_sync_the_file_is_the_same(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    _core.write_png(tmp_path / "a.png", pixels)
    _core.write_png(tmp_path / "b.png", pixels, sync=False)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def limit() -> None:  # the kernel refuses bytes beyond this size, as a full disk does
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(
        [sys.executable, "-c", WRITE_BEYOND_LIMIT, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    assert done.stdout.split() == [str(errno.EFBIG), str(path)], done.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.png"]


def write_atomically(path, data: bytes) -> None:
    with _files.atomic_writer(path) as file:
        file.write(data)


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("exists", [True, False])
def test_a_replaced_file_keeps_links_and_permissions(tmp_path, depth, exists):
    """A chain of symbolic links, relative and absolute: all stay, and the file at its end is replaced."""
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target"
    if exists:
        target.write_bytes(b"old")
        target.chmod(0o640)
    links = [target]
    for i in range(depth):
        link = tmp_path / f"link{i}"
        link.symlink_to(links[-1] if i % 2 else os.path.relpath(links[-1], tmp_path))
        links.append(link)
    for write in (_core.replace_file, write_atomically):
        write(links[-1], b"new" + write.__name__.encode())
        assert target.read_bytes() == b"new" + write.__name__.encode()
        assert all(link.is_symlink() for link in links[1:]) and not target.is_symlink()
        if exists:
            assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["far", *(p.name for p in links)])


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        _core.replace_file(tmp_path / "a", b"new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
