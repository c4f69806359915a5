"""An encoder of lossless JPEG, which no small package has: to make what scanners write.

One component, the sample to the left as prediction (selection value 1), one Huffman code for all 17 categories of
differences, of 5 bits each.

References
----------
ITU-T T.81, annex H (lossless mode), table H.2 (categories of differences), annex B (markers).
"""

from __future__ import annotations

import struct

import numpy as np


def encode(values: np.ndarray, bits: int) -> bytes:
    """A picture of shape (H, W), whole numbers of 2 to 16 bits, as a lossless JPEG stream."""
    rows, columns = values.shape
    frame = struct.pack(">BHHB", bits, rows, columns, 1) + b"\1\x11\0"
    huffman = b"\0" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    scan = b"\1\1\0\1\0\0"  # one component, table 0, selection value 1
    markers = [(b"\xff\xc3", frame), (b"\xff\xc4", huffman), (b"\xff\xda", scan)]
    head = b"".join(name + struct.pack(">H", len(body) + 2) + body for name, body in markers)
    return b"\xff\xd8" + head + _entropy_coded(_differences(values.astype(np.int64), bits)) + b"\xff\xd9"


def _differences(values: np.ndarray, bits: int) -> list[int]:
    """To the left; of the first column to the row above; of the first sample to the middle. Modulo 2^16."""
    before = np.empty_like(values)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 1 << (bits - 1)
    return (((values - before + (1 << 15)) & 0xFFFF) - (1 << 15)).ravel().tolist()


def _entropy_coded(differences: list[int]) -> bytes:
    """Category in 5 bits, then the difference in as many bits as the category says; 1 bits at the end."""
    text = []
    for d in differences:
        category = 16 if d == -(1 << 15) else abs(d).bit_length()
        text.append(f"{category:05b}")
        if 0 < category < 16:
            text.append(f"{d if d > 0 else d + (1 << category) - 1:0{category}b}")
    joined = "".join(text)
    joined += "1" * (-len(joined) % 8)
    data = bytes(int(joined[i : i + 8], 2) for i in range(0, len(joined), 8))
    return data.replace(b"\xff", b"\xff\0")
