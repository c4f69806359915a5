"""A short run of every fuzz target. The long ones: fuzz_c.py and fuzz_readers.py, with --seconds 1800."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_c
import fuzz_readers

SECONDS_C = 5
SECONDS_READER = 4


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.mark.skipif(not fuzz_c.has_clang(), reason="clang with its fuzzer library is not installed")
@pytest.mark.parametrize("target", fuzz_c.TARGETS)
def test_images(target, programs, tmp_path):
    fuzz_c.write_seeds(target, tmp_path / "corpus")
    program = fuzz_c.build(target, programs)
    assert fuzz_c.run(program, tmp_path / "corpus", SECONDS_C, tmp_path / "findings") > 50


@pytest.mark.parametrize("name", fuzz_readers.READERS)
def test_readers(name, tmp_path):
    assert fuzz_readers.fuzz(name, SECONDS_READER, findings=tmp_path / "findings") > 20


def test_the_loop_finds_what_is_there(tmp_path, monkeypatch):
    def reader(path: Path) -> None:
        if b"\xff\xff" in path.read_bytes():
            raise KeyError("unnamed")

    suffix, seeds, _, named = fuzz_readers.READERS["toml"]
    monkeypatch.setitem(fuzz_readers.READERS, "toml", (suffix, seeds, reader, named))
    with pytest.raises(AssertionError, match="toml: KeyError"):
        fuzz_readers.fuzz("toml", 60, findings=tmp_path / "findings")
    assert len(list((tmp_path / "findings").iterdir())) == 1
