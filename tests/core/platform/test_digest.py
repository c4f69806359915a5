"""XXH64 against its specification, written down in Python's whole numbers, and against published values."""

from __future__ import annotations

import numpy as np
import pytest

from simclr_mri import _core

P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
WORD = 2**64


def rotl(x: int, by: int) -> int:
    return (x << by | x >> 64 - by) % WORD


def lane(sum_: int, word: int) -> int:
    return rotl((sum_ + word * P2) % WORD, 31) * P1 % WORD


def reference(data: bytes) -> int:
    """Sections "Step 1" to "Step 6" of the specification, with a seed of 0."""
    at, total = 0, P5
    if len(data) >= 32:
        lanes = [(P1 + P2) % WORD, P2, 0, -P1 % WORD]
        while len(data) - at >= 32:
            for i in range(4):
                lanes[i] = lane(lanes[i], int.from_bytes(data[at + 8 * i : at + 8 * i + 8], "little"))
            at += 32
        total = sum(rotl(value, by) for value, by in zip(lanes, (1, 7, 12, 18), strict=True)) % WORD
        for value in lanes:
            total = ((total ^ lane(0, value)) * P1 + P4) % WORD
    total = (total + len(data)) % WORD
    while len(data) - at >= 8:
        total = (rotl(total ^ lane(0, int.from_bytes(data[at : at + 8], "little")), 27) * P1 + P4) % WORD
        at += 8
    if len(data) - at >= 4:
        total = (rotl(total ^ int.from_bytes(data[at : at + 4], "little") * P1 % WORD, 23) * P2 + P3) % WORD
        at += 4
    for byte in data[at:]:
        total = rotl(total ^ byte * P5 % WORD, 11) * P1 % WORD
    for by, prime in ((33, P2), (29, P3)):
        total = (total ^ total >> by) * prime % WORD
    return total ^ total >> 32


def test_published_values():
    assert _core.xxh64(b"") == 0xEF46DB3751D8E999
    assert _core.xxh64(b"a") == 0xD24EC4F1A98C6E5B
    assert _core.xxh64(b"abc") == 0x44BC2CF5AD770999


@pytest.mark.parametrize("length", [*range(70), 127, 128, 129, 1000, 4099])
def test_equals_the_specification_at_any_address(length):
    data = np.random.default_rng(length).integers(0, 256, length + 7, dtype=np.uint8)
    for start in (0, 1, 7):
        piece = data[start : start + length]
        assert _core.xxh64(piece) == reference(piece.tobytes())


def test_each_bit_counts():
    data = bytearray(np.random.default_rng(0).integers(0, 256, 100, dtype=np.uint8).tobytes())
    digests = {_core.xxh64(data)}
    for bit in range(800):
        data[bit // 8] ^= 1 << bit % 8
        digests.add(_core.xxh64(data))
        data[bit // 8] ^= 1 << bit % 8
    assert len(digests) == 801


def test_other_arguments():
    with pytest.raises(TypeError):
        _core.xxh64("text")
    with pytest.raises((TypeError, BufferError, ValueError)):
        _core.xxh64(np.arange(10)[::2])
