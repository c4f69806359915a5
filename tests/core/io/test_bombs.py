"""Small files that claim to be large images, or that cost much to decode: bounded by default, and by an option."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import _testing
from simclr_mri import _core
from simclr_mri._core import DecodeError
from simclr_mri.datasets import read_images

MOST_BYTES = 300 << 20
MOST_SECONDS = 5.0


def written(kind: str, side: int, mode: str = "L", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 120).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_of_too_many_pixels_names_the_way_out(tmp_path, kind):
    data = written(kind, 4100)
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(data)
    message = r"4100 x 4100 pixels, expected at most 16777216 in all: raise max_pixels"
    with pytest.raises(DecodeError, match=message):
        _testing.decode_image(data)
    with pytest.raises(DecodeError, match=message):
        _core.read_image(path)
    with pytest.raises(DecodeError, match=message):
        read_images(tmp_path, [path.name], image_size=8)
    assert read_images(tmp_path, [path.name], image_size=8, max_pixels=4100 * 4100)[0].shape == (1, 8, 8, 1)
    assert _core.read_image(path, max_pixels=4100 * 4100).shape == (4100, 4100, 1)


@pytest.mark.parametrize("limit", [-1, -(2**40)])
def test_negative_limits(limit):
    data = written("PNG", 8)
    for name in ("max_side", "max_pixels"):
        with pytest.raises(ValueError, match=f"{name}: expected 0 .the default. or more, got {limit}"):
            _testing.decode_image(data, **{name: limit})


@pytest.mark.parametrize("limit", [2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**62])
def test_large_limits_do_not_wrap(limit):
    for kind in ("PNG", "JPEG"):
        assert _testing.decode_image(written(kind, 8), max_side=limit, max_pixels=limit).shape == (8, 8, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_costliest_files_within_the_bounds(tmp_path, kind):
    options = {"progressive": True, "subsampling": 0} if kind == "JPEG" else {}
    path = tmp_path / "x"
    path.write_bytes(written(kind, 4096, "RGB" if kind == "JPEG" else "RGBA", **options))
    program = """
import sys, time
from simclr_mri import _core
def most_memory():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10
before, began = most_memory(), time.process_time()
_core.read_image(sys.argv[1], 1)
print(time.process_time() - began, most_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    seconds, grown = done.stdout.split()
    assert float(seconds) < MOST_SECONDS
    assert int(grown) < MOST_BYTES


def test_a_file_too_large_for_its_pixels_is_not_read(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(written("PNG", 8))
    with open(path, "r+b") as file:
        file.truncate(200 << 20)  # a sparse file: it takes no space
    before = time.process_time()
    with pytest.raises(DecodeError, match=r"x\.png: a file of 209715200 bytes, expected at most 150994944"):
        _core.read_image(path)
    assert time.process_time() - before < 0.5


def test_a_long_name_of_any_bytes_is_named(tmp_path):
    for name in ("é" * 120, "x" + "é" * 119, "語" * 80):
        path = tmp_path / "deep" / name / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
        with pytest.raises(DecodeError, match="not a JPEG or PNG file"):
            _core.read_image(path)
        _, failures = _core.decode_files([path])
        assert failures[0][1] == "DecodeError"
        with pytest.raises(FileNotFoundError) as error:
            _core.read_image(str(path) + "2")
        assert error.value.filename == str(path) + "2"
        assert error.value.strerror == "cannot be opened: No such file or directory"
    with pytest.raises(FileNotFoundError):
        _core.read_image(b"/nowhere/\xff\xfe" * 50)


def test_what_the_system_refuses_is_no_corrupt_file(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        path.write_bytes(written("PNG", 8))
    names = [path.name for path in paths]
    with pytest.raises(FileNotFoundError, match="2 of 2 files cannot be read"):
        read_images(tmp_path, ["a.png", "b.png"])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        for errors in ("raise", "warn"):
            with pytest.raises(OSError, match="Too many open files"):
                read_images(tmp_path, names, errors=errors, image_size=8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert np.array_equal(read_images(tmp_path, names, errors="warn")[1], [0, 1, 2])
