"""A full disk, or no memory, at any point of a saving: the old checkpoint is whole, and nothing else is left."""

from __future__ import annotations

import sys

import pytest

from reference import refusing


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return refusing.build(tmp_path_factory.mktemp("refuse"))


PRELUDE = """
import numpy as np
from simclr_mri.learning._checkpoint import Checkpoint, read_checkpoint, write_checkpoint
folder = sys.argv[1]
def example(value):
    return Checkpoint(
        kind="simclr", config={}, network={}, model={"conv1.weight": np.full(8, value, np.float32)}
    )
def value():
    return read_checkpoint(folder).model["conv1.weight"][0]
path = write_checkpoint(folder, example(1.0))
size = path.stat().st_size
"""


def test_a_disk_that_is_full_after_any_byte(library, tmp_path):
    program = """
for n in range(2 * size):  # the header is written twice
    refuse_write(n)
    try:
        write_checkpoint(folder, example(2.0))
        break
    except OSError as error:
        refuse_write(-1)
        assert "No space left" in str(error) and "is intact" in str(error), error
        assert value() == 1.0 and os.listdir(folder) == [path.name], (n, os.listdir(folder))
refuse_write(-1)
assert value() == 2.0
print(n, size)
"""
    tried, size = map(int, refusing.run(library, PRELUDE + program, str(tmp_path)).split())
    assert tried >= size


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="this Python itself crashes where it gets no memory for a function"
)
def test_memory_that_is_refused_at_any_allocation(library, tmp_path):
    program = """
os.fsync = lambda handle: None
refuse_once(0)
write_checkpoint(folder, example(1.0))
stop_refusing()
total, kept, refused = allocations(), 1.0, 0
for n in range(1, total + 1):
    refuse_once(n)
    try:
        write_checkpoint(folder, example(2.0))
        stop_refusing()
        kept = 2.0
    except Exception as error:  # CPython's own os.stat makes a TypeError of a refusal
        stop_refusing()
        refused += isinstance(error, MemoryError)
    assert os.listdir(folder) == [path.name], (n, os.listdir(folder))
    assert value() in (kept, 2.0), n
    if value() == 2.0:
        write_checkpoint(folder, example(1.0))
        kept = 1.0
print(total, refused)
"""
    total, refused = map(int, refusing.run(library, PRELUDE + program, str(tmp_path)).split())
    assert total > 50 and refused > total / 2
