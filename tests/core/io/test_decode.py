"""JPEG and PNG decoding against Pillow and against the PNG specification; damaged, foreign and missing files."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import _testing
from reference import png
from reference.guard import guarded
from simclr_mri import _core
from simclr_mri._core import DecodeError


def smooth(h: int, w: int, c: int, seed: int = 0) -> np.ndarray:
    """An image with edges, gradients and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / max(h, w)
    base = 0.5 + 0.3 * np.sin(9 * x + 5 * y[..., ::-1]) + 0.2 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.1)
    image = base[..., None] * np.linspace(1, 0.6, c) + rng.normal(0, 0.03, (h, w, c))
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def saved(pixels: np.ndarray, kind: str = "JPEG", mode: str | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def pillow(data: bytes, mode: str | None = None) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    pixels = np.asarray(image if mode is None else image.convert(mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (16, 17), (33, 64), (128, 128)])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_equals_pillow(size, channels):
    pixels = smooth(*size, channels)
    for quality in (5, 50, 75, 95, 100):
        for progressive in (False, True):
            for subsampling in (0, 1, 2) if channels == 3 else (0,):
                data = saved(pixels, quality=quality, progressive=progressive, subsampling=subsampling)
                decoded = _testing.decode_image(data)
                assert decoded.dtype == np.uint8 and decoded.shape == (*size, channels)
                assert np.array_equal(decoded, pillow(data))
                assert np.array_equal(_testing.decode_image(data, channels=1), pillow(data, "L"))
                assert np.array_equal(_testing.decode_image(data, channels=3), pillow(data, "RGB"))
                as_float = _testing.decode_image(data, dtype="float32")
                assert np.array_equal(as_float, (decoded / np.float32(255)).astype(np.float32))


def test_jpeg_variants():
    pixels = smooth(40, 50, 3)
    for options in (
        {"optimize": True},
        {"restart_marker_blocks": 2},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},  # orientation 6: ignored
        {"comment": b"x" * 60_000},
        {"keep_rgb": True},
        {"dpi": (300, 300)},
    ):
        data = saved(pixels, **options)
        assert np.array_equal(_testing.decode_image(data), pillow(data))
    # Bytes after the end of the image are not the image's.
    assert np.array_equal(_testing.decode_image(saved(pixels) + b"trailer"), pillow(saved(pixels)))


def in_scans(gray: bytes, components: list[int]) -> bytes:
    """A gray baseline JPEG turned into one of three components, each scan holding one of them."""
    frame, scan = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    height_width = gray[frame + 5 : frame + 9]
    header = b"\xff\xc0" + struct.pack(">HB", 17, 8) + height_width + b"\3" + b"\1\x11\0\2\x11\0\3\x11\0"
    scans = [b"\xff\xda\0\x08\1" + bytes([component, 0, 0, 63, 0]) + gray[scan + 10 : -2] for component in components]
    return gray[:frame] + header + gray[frame + 13 : scan] + b"".join(scans) + b"\xff\xd9"


def test_jpeg_in_many_scans():
    gray = saved(smooth(24, 32, 1))
    data = in_scans(gray, [1, 2, 3])
    assert np.array_equal(_testing.decode_image(data), pillow(data))
    with pytest.raises(DecodeError, match=r"^x\.jpg: more than 64 scans in a JPEG"):
        _testing.decode_image(in_scans(gray, [1, 2] * 40 + [3]), name="x.jpg")


@pytest.mark.parametrize("size", [(20, 20), (9, 17)])
def test_jpeg_in_cmyk_equals_pillow(size):
    data = saved(smooth(*size, 3), mode="CMYK", quality=90)
    marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    for transform in (b"\0", b"\2"):  # CMYK, and YCCK
        adobe = data[:2] + marker + transform + data[2:]
        for kind in (data, adobe):
            assert np.array_equal(_testing.decode_image(kind), pillow(kind, "RGB"))
            assert _testing.decode_image(kind, channels=1).shape == (*size, 1)


def test_foreign_bytes_in_a_header_are_passed_over_and_noted():
    """The pixels are whole: five of Pillow's own test pictures are like that. In a scan such bytes mean damage."""
    data = saved(smooth(24, 32, 1))
    for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xda"):
        at = data.index(marker)
        decoded, facts = _testing.decode_image(data[:at] + b"\0\1\2" + data[at:], facts=True)
        assert np.array_equal(decoded, pillow(data)) and facts.tolist() == [[8, 0, 0, 255, 1]]
    assert _testing.decode_image(data, facts=True)[1].tolist() == [[8, 0, 0, 255, 0]]
    with pytest.raises(DecodeError, match="corrupt JPEG data"):
        _testing.decode_image(data[:-2] + b"\0" * 9 + data[-2:])


def test_kinds_of_jpeg_that_are_not_supported_are_not_called_corrupt():
    data = bytearray(saved(smooth(16, 16, 1)))
    frame = data.index(b"\xff\xc0")
    for start, patch, what in (
        (frame + 4, b"\x0c", "a 12-bit JPEG"),
        (frame + 1, b"\xc3", "a lossless JPEG"),
        (frame + 1, b"\xf7", "a JPEG-LS file"),
        (frame + 1, b"\xc5", "a hierarchical JPEG"),
    ):
        other = bytes(data[:start]) + patch + bytes(data[start + 1 :])
        with pytest.raises(DecodeError, match=f"^x: not supported: {what}"):
            _testing.decode_image(other, name="x")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind, bits", png.KINDS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 17), (32, 33)])
def test_png_means_what_the_specification_says(kind, bits, interlaced, size):
    rng = np.random.default_rng(kind * 100 + bits)
    samples = rng.integers(0, 2**bits, (*size, png.CHANNELS[kind]))
    palette = rng.integers(0, 256, (2**bits, 3)) if kind == png.PALETTE else None
    transparencies: list[np.ndarray | None] = [None]
    if kind == png.PALETTE:
        transparencies.append(rng.integers(0, 256, 2**bits - 1))
    elif kind in (png.GRAY, png.RGB):
        transparencies.append(samples[0, 0])
    for transparency in transparencies:
        data = png.encode(samples, kind, bits, interlaced=interlaced, palette=palette, transparency=transparency)
        expected = png.meaning(samples, kind, bits, palette, transparency)
        decoded = _testing.decode_image(data)
        # Composited in the file's bits and then rounded to 8: two roundings.
        assert decoded.shape == expected.shape
        assert np.abs(decoded - 255 * expected).max() <= (0.5 if bits <= 8 else 0.5 + 0.5 / 257) + 1e-9
        as_float = _testing.decode_image(data, dtype="float32")
        assert np.abs(as_float - expected).max() <= 0.5 / (255 if bits <= 8 else 65535) + 2**-23
        gray = expected if expected.shape[2] == 1 else expected @ [[0.299], [0.587], [0.114]]
        assert np.abs(_testing.decode_image(data, channels=1) - 255 * gray).max() <= 1.01
        assert np.abs(_testing.decode_image(data, channels=1, dtype="float32") - gray).max() <= 0.5 / 255 + 2**-22
        rgb = np.broadcast_to(expected, (*size, 3))
        assert np.abs(_testing.decode_image(data, channels=3, dtype="float32") - rgb).max() <= 0.5 / 255 + 2**-23


def test_png_chunks_may_be_as_long_as_the_file():
    samples = np.arange(64).reshape(8, 8, 1)
    text = png.chunk(b"tEXt", b"Title\0" + bytes(9 << 20))
    assert np.array_equal(_testing.decode_image(png.encode(samples, png.GRAY, 8, extra=text)), samples)
    noise = np.random.default_rng(0).integers(0, 256, (3000, 1000, 3), dtype=np.uint8)
    lines = np.hstack([np.zeros((3000, 1), np.uint8), noise.reshape(3000, -1)]).tobytes()
    header = struct.pack(">IIBBBBB", 1000, 3000, 8, png.RGB, 0, 0, 0)
    stored = png.chunk(b"IDAT", zlib.compress(lines, 0))
    assert len(stored) > 8 << 20
    data = png.MAGIC + png.chunk(b"IHDR", header) + stored + png.chunk(b"IEND", b"")
    assert np.array_equal(_testing.decode_image(data), noise)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_becomes_black_and_white(channels, tmp_path: Path):
    """A range of values, against its formula; and the facts from which a range is chosen."""
    kind, rng = (png.GRAY if channels == 1 else png.RGB), np.random.default_rng(channels)
    samples = rng.integers(300, 4000, (20, 30, channels))
    data = png.encode(samples, kind, 16, extra=png.chunk(b"sBIT", bytes([12] * channels)))
    _, facts = _testing.decode_image(data, facts=True)
    assert facts.tolist() == [[16, 12, samples.min(), samples.max(), 0]]
    ordered = np.sort(samples, axis=None)
    ends = [ordered[int(np.ceil(share * ordered.size)) - 1] for share in (0.01, 0.99)]
    for given, (low, high) in (((0, 4095), (0, 4095)), ((500, 900), (500, 900)), ("percentile", ends)):
        unit = (np.clip(samples, low, high) - low) / (high - low)
        assert np.array_equal(_testing.decode_image(data, range=given), np.floor(255 * unit + 0.5))
        as_float = _testing.decode_image(data, range=given, dtype="float32")
        np.testing.assert_allclose(as_float, unit, atol=2**-23)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    images, _, facts = _core.decode_files([path, tmp_path / "no.png"], range=(0, 4095), facts=True)
    assert np.array_equal(images[0], _testing.decode_image(data, range=(0, 4095)))
    assert facts.tolist() == [[16, 12, samples.min(), samples.max(), 0], [0] * 5]
    plain = png.encode(samples % 200 + 20, kind, 8)
    unit = np.clip((samples % 200 + 20 - 50) / 50, 0, 1)
    assert np.array_equal(_testing.decode_image(plain, range=(50, 100)), np.floor(255 * unit + 0.5))
    black = png.encode(np.full((4, 4, 1), 7), png.GRAY, 16)
    assert not _testing.decode_image(black, range="percentile").any()
    for wrong in ((5, 5), (0, 65536), (-1, 4), "all", 3, (1, 2, 3)):
        with pytest.raises((ValueError, TypeError)):
            _testing.decode_image(data, range=wrong)


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (33, 32), (30, 30), (1, 50)])
@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_proportions_are_kept(shape, size, tmp_path: Path):
    """A white picture: where it lies, and that its centre is the resized original's."""
    (H, W), (h, w) = shape, size
    pixels = smooth(H, W, 1)
    path = tmp_path / "a.png"
    path.write_bytes(saved(np.full((H, W, 1), 255, np.uint8), "PNG"))
    padded = _core.decode_files([path], size=size, fit="pad")[0][0, ..., 0]
    rows, columns = np.flatnonzero(padded.any(axis=1)), np.flatnonzero(padded.any(axis=0))
    assert (len(rows), len(columns)) == (
        (h, max(1, round(W * h / H))) if H * w > W * h else (max(1, round(H * w / W)), w)
    )
    assert abs(rows[0] - (h - 1 - rows[-1])) <= 1 and abs(columns[0] - (w - 1 - columns[-1])) <= 1
    assert (padded[np.ix_(rows, columns)] == 255).all()
    assert (_core.decode_files([path], size=size, fit="crop")[0] == 255).all()
    path.write_bytes(saved(pixels, "PNG"))
    cropped = _core.decode_files([path], size=size, fit="crop")[0]
    tall, wide = (max(1, round(W * h / w)), W) if H * w > W * h else (H, max(1, round(H * w / h)))
    top, left = (H - tall) // 2, (W - wide) // 2
    expected = _core.resize(np.ascontiguousarray(pixels[None, top : top + tall, left : left + wide]), size)
    assert np.array_equal(cropped, expected)
    stretched = _core.decode_files([path], size=size)[0]
    assert np.array_equal(stretched, _core.resize(pixels[None], size))


def test_png_of_16_bits_keeps_its_precision():
    samples = np.arange(65536).reshape(256, 256, 1)
    data = png.encode(samples, png.GRAY, 16)
    assert np.array_equal(
        _testing.decode_image(data, dtype="float32"), (samples / np.float32(65535)).astype(np.float32)
    )
    assert np.array_equal(_testing.decode_image(data), np.floor(samples / 257 + 0.5))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_equals_pillow(mode):
    pixels = smooth(31, 45, 3)
    for options in ({}, {"optimize": True}, {"compress_level": 0}, {"compress_level": 1}):
        data = saved(pixels, "PNG", mode, **options)
        if mode in ("1", "L", "LA"):
            assert np.array_equal(_testing.decode_image(data), pillow(data, "L"))
        assert np.array_equal(_testing.decode_image(data, channels=3), pillow(data, "RGB"))
        luma = Image.fromarray(pillow(data, "RGB")).convert("L")
        assert np.array_equal(_testing.decode_image(data, channels=1)[..., 0], np.asarray(luma))


def test_png_ancillary_chunks_are_skipped_and_their_checksums_are_not():
    samples = np.arange(64).reshape(8, 8, 1)
    text = png.chunk(b"tEXt", b"Title\0" + b"x" * 100_000)
    bomb = png.chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(50_000_000), 9))
    gamma = png.chunk(b"gAMA", struct.pack(">I", 220_000))
    for extra in (text, bomb, gamma, png.chunk(b"iCCP", b"bad profile"), png.chunk(b"vpAg", b"private") * 20):
        assert np.array_equal(_testing.decode_image(png.encode(samples, png.GRAY, 8, extra=extra)), samples)
    broken = bytearray(text)
    broken[-1] ^= 1
    with pytest.raises(DecodeError, match="CRC"):
        _testing.decode_image(png.encode(samples, png.GRAY, 8, extra=bytes(broken)))
    unknown = png.chunk(b"CRIT", b"")
    with pytest.raises(DecodeError, match="corrupt PNG data"):
        _testing.decode_image(png.encode(samples, png.GRAY, 8, extra=unknown))


def damaged_files() -> list[tuple[str, bytes]]:
    pixels = smooth(48, 40, 3)
    samples = np.random.default_rng(1).integers(0, 256, (24, 20, 3))
    return [
        ("jpeg", saved(pixels)),
        ("progressive", saved(pixels, progressive=True)),
        ("restarts", saved(pixels[..., :1], restart_marker_blocks=3)),
        ("png", saved(pixels[..., :1], "PNG")),
        ("interlaced", png.encode(samples, png.RGB, 8, interlaced=True)),
    ]


@pytest.mark.parametrize("name, data", damaged_files())
def test_a_truncated_file_is_an_error_at_every_length(name, data):
    for length in [*range(0, len(data), 97), *range(1, 40), *range(len(data) - 40, len(data))]:
        with pytest.raises(DecodeError, match=rf"^{name}: "):
            _testing.decode_image(guarded(np.frombuffer(data[:length], np.uint8)), name=name)


def test_messages_of_damaged_files():
    jpeg, flat = saved(smooth(48, 40, 1)), saved(smooth(48, 40, 1), "PNG")
    for data, message in (
        (jpeg[: len(jpeg) // 2], r"scan_07: truncated JPEG data"),
        (flat[: len(flat) // 2], r"scan_07: truncated PNG data \(ends after \d+ bytes\)"),
        (b"", r"scan_07: an empty file"),
        (b"%PDF-1.7", r"scan_07: not a JPEG or PNG file \(begins with 25 50 44 46\)"),
        (b"GI", r"scan_07: not a JPEG or PNG file \(2 bytes, begins with 47\)"),
        (flat[:8] + flat[16:], r"scan_07: corrupt PNG data"),
    ):
        with pytest.raises(DecodeError, match=message):
            _testing.decode_image(data, name="scan_07")
    assert issubclass(DecodeError, ValueError)


@pytest.mark.parametrize("name, data", damaged_files())
def test_flipped_bytes_give_an_image_or_an_error(name, data):
    rng = np.random.default_rng(len(data))
    images = 0
    for _ in range(120):
        broken = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(broken), rng.integers(1, 6))
        broken[places] = rng.integers(0, 256, len(places))
        try:
            decoded = _testing.decode_image(guarded(broken), name=name, max_pixels=1 << 20)
            assert decoded.ndim == 3 and decoded.shape[2] in (1, 3)
            images += 1
        except DecodeError as error:
            assert str(error).startswith(f"{name}: ")
    if name in ("png", "interlaced"):
        assert images <= 4  # everything in a PNG has a checksum: only a byte replaced by itself goes unseen


def test_size_limits_hold_before_memory_is_asked_for():
    header = struct.pack(">IIBBBBB", 65_000, 60_000, 8, 6, 0, 0, 0)
    data = png.MAGIC + png.chunk(b"IHDR", header) + png.chunk(b"IDAT", zlib.compress(b"")) + png.chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=r"image: 60000 x 65000 pixels, expected at most 16777216 in all: raise"):
        _testing.decode_image(data)
    jpeg = bytearray(saved(smooth(16, 16, 1)))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    with pytest.raises(DecodeError, match=r"65500 x 65500 pixels, expected at most 16777216"):
        _testing.decode_image(bytes(jpeg))
    data = saved(smooth(20, 30, 1), "PNG")
    assert _testing.decode_image(data, max_side=30, max_pixels=600).shape == (20, 30, 1)
    with pytest.raises(DecodeError):
        _testing.decode_image(data, max_side=29)
    with pytest.raises(DecodeError, match="20 x 30 pixels, expected at most 599 in all"):
        _testing.decode_image(data, max_pixels=599)


def test_wrong_arguments_are_named():
    data = saved(smooth(4, 4, 1))
    with pytest.raises(ValueError, match=r"channels: expected 0 \(keep\), 1 or 3, got 2"):
        _testing.decode_image(data, channels=2)
    with pytest.raises(ValueError, match="dtype: expected 'uint8' or 'float32', got 'int8'"):
        _testing.decode_image(data, dtype="int8")
    with pytest.raises(TypeError):
        _testing.decode_image("text")
    with pytest.raises(TypeError, match="expected a sequence of paths, got one path"):
        _core.decode_files("a.png")
    with pytest.raises(ValueError, match="size: expected a positive integer"):
        _core.decode_files([], size=0)
    with pytest.raises(ValueError, match="n_threads: expected >= 0"):
        _core.decode_files([], n_threads=-1)


def test_files_that_the_system_refuses(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as missing:
        _core.read_image(tmp_path / "no.png")
    assert missing.value.filename == str(tmp_path / "no.png")
    with pytest.raises(IsADirectoryError):
        _core.read_image(tmp_path)
    with pytest.raises(NotADirectoryError):
        (tmp_path / "file").write_bytes(b"x")
        _core.read_image(tmp_path / "file" / "x.png")
    with pytest.raises(DecodeError, match="an empty file"):
        (tmp_path / "empty.png").touch()
        _core.read_image(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"null byte|embedded null"):
        _core.read_image("a\0b")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            _core.read_image(path)


def test_a_file_without_permission(tmp_path: Path):
    path = tmp_path / "secret.png"
    path.write_bytes(saved(smooth(4, 4, 1), "PNG"))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything: be nobody meanwhile
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            _core.read_image(path)
        _, failures = _core.decode_files([path])
        assert [kind for _, kind, _ in failures] == ["PermissionError"]
    finally:
        os.seteuid(user)


def test_long_and_odd_paths_keep_the_fact_in_the_message(tmp_path: Path):
    folder = tmp_path / ("d" * 200) / ("e" * 200)
    folder.mkdir(parents=True)
    path = os.fsencode(folder) + b"/\xff\xfe.png"
    with open(path, "wb") as file:
        file.write(b"GIF89a")
    with pytest.raises(DecodeError, match="not a JPEG or PNG file"):
        _core.read_image(path)
    _, failures = _core.decode_files([path, os.fsencode(folder)])
    assert [failure[:2] for failure in failures] == [(0, "DecodeError"), (1, "IsADirectoryError")]
    with pytest.raises(FileNotFoundError) as missing:
        _core.read_image(folder / "no.png")
    assert missing.value.filename == str(folder / "no.png") and "Errno 2" in str(missing.value)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_all_failures_of_a_folder_are_reported(tmp_path: Path, n_threads: int):
    images = [smooth(20, 24, 1, seed) for seed in range(12)]
    paths = [tmp_path / f"scan_{i:02}.{'png' if i % 2 else 'jpg'}" for i in range(12)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(saved(image, "PNG" if path.suffix == ".png" else "JPEG"))
    expected = np.stack([pillow(path.read_bytes()) for path in paths])
    decoded, failures = _core.decode_files(paths, n_threads=n_threads)
    assert failures == [] and np.array_equal(decoded, expected)

    paths[2].write_bytes(paths[2].read_bytes()[:-100])
    paths[5].write_bytes(b"hello world")
    paths[6].unlink()
    paths[7].write_bytes(saved(smooth(20, 25, 1), "PNG"))
    paths[9].write_bytes(saved(smooth(20, 24, 3), "PNG"))
    paths[11].write_bytes(b"")
    decoded, failures = _core.decode_files(paths, n_threads=n_threads)
    kinds = {index: kind for index, kind, _ in failures}
    assert kinds == {
        2: "DecodeError",
        5: "DecodeError",
        6: "FileNotFoundError",
        7: "ValueError",
        9: "ValueError",
        11: "DecodeError",
    }
    for index, _, message in failures:
        assert str(paths[index]) in message and not decoded[index].any()
    texts = {index: message for index, _, message in failures}
    assert "truncated JPEG data" in texts[2]
    assert re.search(r"20 x 25 x 1 .* first image has 20 x 24 x 1", texts[7])
    good = [i for i in range(12) if i not in kinds]
    assert np.array_equal(decoded[good], expected[good])

    gray, failures = _core.decode_files(paths, channels=1, size=(10, 12), n_threads=n_threads)
    assert gray.shape == (12, 10, 12, 1) and [index for index, *_ in failures] == [2, 5, 6, 11]
    assert np.array_equal(gray[:1], _core.resize(expected[:1], (10, 12)))


def test_the_first_good_file_gives_the_shape(tmp_path: Path):
    paths = [tmp_path / "bad.jpg", tmp_path / "good.png"]
    paths[0].write_bytes(b"bad")
    paths[1].write_bytes(saved(smooth(6, 5, 3), "PNG"))
    decoded, failures = _core.decode_files(paths)
    assert decoded.shape == (2, 6, 5, 3) and len(failures) == 1
    nothing, failures = _core.decode_files(paths[:1], channels=1)
    assert nothing.shape == (1, 0, 0, 1) and len(failures) == 1
    empty, failures = _core.decode_files([])
    assert empty.shape[0] == 0 and failures == []


def test_decoding_leaves_no_file_open_and_needs_no_lock(tmp_path: Path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(saved(smooth(30, 30, 1), "PNG"))
    bad.write_bytes(saved(smooth(30, 30, 1), "PNG")[:-20])
    before = len(os.listdir("/proc/self/fd"))
    results = []

    def work():
        results.append(_core.decode_files([good, bad] * 50, n_threads=2))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(len(failures) == 50 for _, failures in results)
    assert len(os.listdir("/proc/self/fd")) == before


def test_real_images_equal_pillow(real_data: Path):
    paths = sorted((real_data / "alzheimer_mri_128").glob("*/*.jpg"))[::100]
    decoded, failures = _core.decode_files(paths, channels=1)
    assert failures == []
    assert np.array_equal(decoded, np.stack([pillow(path.read_bytes(), "L") for path in paths]))


@pytest.mark.parametrize("character", ["é", "€", "🧠"])
def test_a_long_name_is_cut_between_characters(character):
    for lead in range(4):
        name = "x" * lead + character * 150
        with pytest.raises(_core.DecodeError) as error:
            _testing.decode_image(b"no image", name=name)
        shown = str(error.value).split(":")[0]
        assert set(shown) <= {character, "x"} and name.endswith(shown) and 190 < len(shown.encode()) <= 200
