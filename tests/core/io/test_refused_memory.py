"""Memory refused while files are decoded, scaled and written: always MemoryError, never a file called corrupt."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference import refusing


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return refusing.build(tmp_path_factory.mktemp("refuse"))


SWEEP = (
    f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})  # where _testing.py is
"""
    + """
import numpy as np
import _testing
from simclr_mri import _core

def sweep(what, call):
    expected = call()
    for refuse in (refuse_allocation, refuse_once):
        n = 0
        while True:
            n += 1
            refuse(n)
            try:
                result, error = call(), None
                stop_refusing()
            except BaseException as found:
                stop_refusing()
                result, error = None, found
            done = allocations() < n
            assert error is None or isinstance(error, MemoryError), (what, n, repr(error))
            assert error is not None or np.array_equal(result, expected), (what, n)
            if done:
                break
    print(what, n)

def files(paths):
    pixels, failures = _core.decode_files(paths, 1, (16, 16), 1)
    kinds = {kind for _, kind, _ in failures}
    assert kinds <= {"MemoryError"}, failures
    if kinds:
        raise MemoryError
    return pixels
"""
)


def test_reading_and_writing(library, tmp_path):
    pixels = np.arange(40 * 48 * 3, dtype=np.uint8).reshape(40, 48, 3)
    gray = Image.fromarray(pixels[..., 0])
    Image.fromarray(pixels).save(tmp_path / "a.jpg", progressive=True)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    gray.convert("P").save(tmp_path / "c.png")
    buffer = io.BytesIO()
    gray.save(buffer, "JPEG")
    (tmp_path / "d.jpg").write_bytes(buffer.getvalue())
    program = (
        SWEEP
        + """
folder = sys.argv[1]
paths = [f"{folder}/{name}" for name in ("a.jpg", "b.png", "c.png", "d.jpg")]
for path in paths:
    data = open(path, "rb").read()
    sweep("bytes " + path[-5:], lambda: _testing.decode_image(data))
    sweep("float " + path[-5:], lambda: _testing.decode_image(data, dtype="float32", channels=3))
    sweep("path " + path[-5:], lambda: _core.read_image(path, 1))
sweep("files", lambda: files(paths))
image = np.arange(24 * 20, dtype=np.uint8).reshape(24, 20)
sweep("encode", lambda: np.frombuffer(_core.encode_png(image), np.uint8))
sweep("write", lambda: _core.write_png(f"{folder}/out.png", image) or _core.read_image(f"{folder}/out.png"))
sweep("resize", lambda: _core.resize(image[None, :, :, None], (10, 30), n_threads=1))
"""
    )
    lines = refusing.run(library, program, str(tmp_path)).splitlines()
    assert len(lines) == 4 * 3 + 4
    assert all(int(line.split()[-1]) > 1 for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.png", "c.png", "d.jpg", "out.png"]
