"""The platform layer as Python sees it: random streams and instruction sets."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import _testing
from reference.guard import guarded
from simclr_mri import _core


def philox4x32(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 with Python integers, from the definition in Salmon et al. (SC 2011)."""
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (p1 >> 32) ^ counter[1] ^ k0,
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ counter[3] ^ k1,
            p0 & 0xFFFFFFFF,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return counter


def test_philox_known_answer():
    # The zero vector of the authors' known-answer tests.
    expected = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox4x32([0, 0, 0, 0], [0, 0]) == expected
    assert _testing.random_words(4, 0, purpose=0).tolist() == expected


def test_stream_is_named_by_all_of_its_parts():
    seed, epoch, sample, view, purpose = 2**40 + 7, 3, 2**33 + 5, 1, 2
    words = _testing.random_words(11, seed, epoch=epoch, sample=sample, view=view, purpose=purpose)
    expected: list[int] = []
    for block in range(3):
        counter = [block, view | purpose << 8 | (sample >> 32) << 16, sample & 0xFFFFFFFF, epoch]
        expected += philox4x32(counter, [seed & 0xFFFFFFFF, seed >> 32])
    assert words.tolist() == expected[:11]


def test_words_are_uniform():
    words = _testing.random_words(1 << 16, 42)
    counts = np.bincount(words >> 24, minlength=256)
    chi_square = ((counts - 256.0) ** 2 / 256.0).sum()
    assert 150 < chi_square < 370  # 255 degrees of freedom: mean 255, six standard deviations


def normals(n: int, seed: int, skipped: int, isa: str) -> tuple[np.ndarray, int]:
    """n normal numbers that end at a forbidden page, and the word after them."""
    _testing.set_isa(isa)
    numbers = guarded(np.full(n, np.nan, np.float32))
    after = _testing.random_normals(numbers, seed, skipped)
    return numbers, after


def test_normal_numbers_follow_box_and_muller(isa):
    numbers, after = normals(100_001, 7, 0, isa)
    words = _testing.random_words(200_003, 7, purpose=1)
    u, v = (words[:-1:2][:100_001] + 1.0) / 2**32, words[1::2] / 2**32
    expected = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
    assert after == words[200_002] and np.abs(numbers / expected - 1).max() < 2.0**-23


def test_normal_numbers_have_the_bits_of_the_reference(isa):
    """Also where the nearest float is in doubt: 16 groups of 32 in 4 million numbers."""
    sizes = [(n, skipped) for n in (0, 1, 31, 32, 33, 64, 65, 1000) for skipped in range(5)] + [(4_000_000, 0)]
    for n, skipped in sizes:
        seed = 2**40 + n + skipped
        (found, after), (expected, after_it) = normals(n, seed, skipped, isa), normals(n, seed, skipped, "ref")
        assert found.tobytes() == expected.tobytes() and after == after_it, (n, skipped)


def test_unknown_isa_is_named():
    with pytest.raises(ValueError, match=r"unknown instruction set 'sse9'.*avx512bf16"):
        _testing.set_isa("sse9")


def test_isa_is_in_use(isa_bf16):
    assert _core.cpu_info()["isa"] == isa_bf16


def import_with(isa: str) -> subprocess.CompletedProcess:
    program = "from simclr_mri import _core; print(_core.cpu_info()['isa'])"
    environment = os.environ | {"SMRI_ISA": isa}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)


def test_environment_caps_the_instruction_set():
    assert import_with("ref").stdout.strip() == "ref"
    unknown = import_with("sse9")
    assert unknown.returncode != 0
    assert "ImportError: environment variable SMRI_ISA: unknown instruction set 'sse9'" in unknown.stderr


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_measured_peak(isa_bf16, precision):
    """A processor does at least one operation a cycle on registers, and no core does 2**14 of them."""
    best = _core.measured_peak(precision, 1, 0.03)
    assert 1e8 < best < 2**14 * 8e9
    assert 1e8 < _core.measured_peak(precision, 2, 0.03, mean=True) < 2 * 2**14 * 8e9
    with pytest.raises(ValueError, match="precision: expected 'fp32' or 'bf16', got 'fp8'"):
        _core.measured_peak("fp8")
    with pytest.raises(ValueError, match=r"seconds in \(0, 60\]"):
        _core.measured_peak(precision, 1, 0.0)


N_CPUS = len(os.sched_getaffinity(0))


@pytest.mark.skipif(N_CPUS < 2, reason="one processor only")
@pytest.mark.parametrize("n_threads", sorted({2, N_CPUS, N_CPUS + 3}))
def test_workers_keep_off_the_callers_processor(n_threads):
    """With a processor for each thread, with more, and with fewer; also after the caller has moved."""
    program = f"""
import os, sys
import numpy as np
from simclr_mri import _core

def call():
    before = set(os.listdir("/proc/self/task"))
    _core.conv2d_forward((8, 8, 8, 32, 64, 1, 1, 1, 0), x, w, n_threads={n_threads})
    return set(os.listdir("/proc/self/task")) - before

x = np.ones((8, 8, 8, 32), np.float32)
w = _core.conv2d_pack(np.ones((64, 32, 1, 1), np.float32))
cpus = sorted(os.sched_getaffinity(0))
workers = call()
assert len(workers) == {n_threads} - 1, workers
for cpu in (cpus[0], cpus[-1], cpus[0]):
    os.sched_setaffinity(0, {{cpu}})
    call()
    for worker in workers:
        assert cpu not in os.sched_getaffinity(int(worker)), (cpu, worker)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
