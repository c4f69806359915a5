"""GB/s of every memory-bound pass beside what this machine's memory gives to the same pattern of reads and writes.

    PYTHONPATH=python python tests/bench/bench_memory.py [--threads 2] [--isa avx512] [--precision bf16] [--repeat 15]

The yardsticks are plain C loops compiled here with `cc`, cut in equal parts among the threads, in the better of
ordinary and non-temporal stores. Bytes are those a pass must move: each array once for a read and once for a write.
Yardstick and pass alternate and the best time of each counts, so that a busy neighbour slows both or neither.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import _testing
from simclr_mri import _core

STREAMS = """
#include <immintrin.h>
#include <stddef.h>
float stream_read(float *a, float *b, float *c, size_t n) {
    __m256 s[8];
    for (int k = 0; k < 8; k++) s[k] = _mm256_setzero_ps();
    for (size_t i = 0; i + 64 <= n; i += 64)
        for (int k = 0; k < 8; k++) s[k] = _mm256_add_ps(s[k], _mm256_loadu_ps(a + i + 8 * k));
    for (int k = 1; k < 8; k++) s[0] = _mm256_add_ps(s[0], s[k]);
    return _mm256_cvtss_f32(s[0]);
}
#define LOOP(name, expression, store) \\
    float name(float *a, float *b, float *c, size_t n) { \\
        for (size_t i = 0; i + 8 <= n; i += 8) store(a + i, expression); \\
        return 0; \\
    }
#define AT(p) _mm256_loadu_ps(p + i)
LOOP(stream_copy, AT(b), _mm256_storeu_ps)
LOOP(stream_copy_nt, AT(b), _mm256_stream_ps)
LOOP(stream_triad, _mm256_add_ps(AT(b), AT(c)), _mm256_storeu_ps)
LOOP(stream_triad_nt, _mm256_add_ps(AT(b), AT(c)), _mm256_stream_ps)
LOOP(stream_write, _mm256_set1_ps(1.0f), _mm256_storeu_ps)
LOOP(stream_write_nt, _mm256_set1_ps(1.0f), _mm256_stream_ps)
LOOP(stream_scale, _mm256_add_ps(AT(a), AT(a)), _mm256_storeu_ps)
LOOP(stream_update, _mm256_add_ps(AT(a), AT(b)), _mm256_storeu_ps)
"""
# pattern: the loops that move memory in this way, and the arrays they touch for each element
PATTERNS = {
    "read": (["stream_read"], 1),
    "write": (["stream_write", "stream_write_nt"], 1),
    "copy": (["stream_copy", "stream_copy_nt"], 2),
    "triad": (["stream_triad", "stream_triad_nt"], 3),
    "scale": (["stream_scale"], 2),
    "update": (["stream_update"], 3),
}


class Pass(NamedTuple):
    name: str
    moves: dict[str, float]  # pattern: bytes moved in that way
    run: Callable[[], object]


def compile_streams() -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp())
    (folder / "streams.c").write_text(STREAMS)
    library = folder / "streams.so"
    subprocess.run(["cc", "-O2", "-mavx2", "-shared", "-fPIC", "-o", library, folder / "streams.c"], check=True)
    return ctypes.CDLL(str(library))


def seconds(run: Callable[[], object], cpu_threads: int = 0) -> float:
    """Elapsed time of a call; with cpu_threads, the CPU time of the process for each of them."""
    clock, share = (time.process_time, cpu_threads) if cpu_threads else (time.perf_counter, 1)
    start = clock()
    run()
    return (clock() - start) / share


def stream(library: ctypes.CDLL, name: str, arrays: list[np.ndarray], n_threads: int) -> None:
    """One loop over all threads; ctypes drops the GIL."""
    n = arrays[0].size // n_threads // 16 * 16
    function = getattr(library, name)

    def part(t: int) -> None:
        pointers = [ctypes.c_void_p(a.ctypes.data + 4 * n * t) for a in arrays]
        function(*pointers, ctypes.c_size_t(n))

    workers = [threading.Thread(target=part, args=(t,)) for t in range(1, n_threads)]
    for worker in workers:
        worker.start()
    part(0)
    for worker in workers:
        worker.join()


def aligned(n: int, seed: int = 0) -> np.ndarray:
    """n random floats at a 64-byte boundary, as the arenas give them."""
    raw = np.empty(n + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    raw[start : start + n] = np.random.default_rng(seed).standard_normal(n, dtype=np.float32)
    return raw[start : start + n]


def activations(n: int, precision: str, seed: int = 0) -> np.ndarray:
    """n random numbers of that precision at a 64-byte boundary."""
    if precision == "fp32":
        return aligned(n, seed)
    halves = aligned(-(-n // 2)).view(np.uint16)[:n]
    halves[...] = _core.bf16_from_float(aligned(n, seed))
    return halves


def layer_passes(n: int, rows: int, cols: int, channels: int, threads: int, precision: str) -> list[Pass]:
    """Batch norm, ReLU and pooling of one activation tensor."""
    size = n * rows * cols * channels
    x, dy, y, other = (activations(size, precision, i).reshape(1, -1, channels) for i in range(4))
    one, zero = np.ones((1, channels), np.float32), np.zeros((1, channels), np.float32)
    images, pixels = (n, rows, cols, channels), (n, rows * cols, channels)
    pooled, places = _testing.maxpool_forward(x.reshape(images), 3, 2, 1)
    mean, var = _testing.batchnorm_statistics(x)
    b = x.nbytes
    pooling = b + b // 4 + size // 4
    arguments = {"n_threads": threads}

    def affine(x, out, **options):
        return lambda: _testing.scale_shift_add_relu(x, one, zero, relu=True, out=out, **options, **arguments)

    def backward(dy, out):
        return lambda: _testing.batchnorm_backward(dy, x, one[0], mean, var, one, zero, relu=True, out=out, **arguments)

    def max_forward():
        return _testing.maxpool_forward(x.reshape(images), 3, 2, 1, out=pooled, **arguments)

    def max_backward():
        out = y.reshape(images)
        return _testing.maxpool_backward(pooled, places, rows, cols, 3, 2, 1, out=out, **arguments)

    _, mask = _testing.scale_shift_add_relu(x, one, zero, relu=True, mask=True, **arguments)

    def block_backward():
        return _testing.batchnorm_backward(dy, x, one[0], mean, var, one, zero, mask=mask, ds=dy, out=y, **arguments)

    return [
        Pass("batch norm statistics", {"read": b}, lambda: _testing.batchnorm_statistics(x, **arguments)),
        Pass("affine + relu", {"copy": 2 * b}, affine(x, y)),
        Pass("affine + relu in place", {"scale": 2 * b}, affine(y, y)),
        Pass("affine + residual + relu", {"triad": 3 * b}, affine(x, y, residual=other)),
        Pass("batch norm backward", {"read": 2 * b, "triad": 3 * b}, backward(dy, y)),
        Pass("batch norm backward in place", {"read": 2 * b, "update": 3 * b}, backward(y, y)),
        Pass("block backward", {"update": 3 * b, "triad": 3 * b}, block_backward),
        Pass("max pool 3x3/2", {"read": pooling}, max_forward),
        Pass("max pool backward", {"read": pooling - b, "write": b}, max_backward),
        Pass("average pool", {"read": b}, lambda: _testing.avgpool_forward(x.reshape(pixels), **arguments)),
    ]


def head_passes(n: int, features: int, threads: int) -> list[Pass]:
    x = aligned(n * features).reshape(n, features)
    return [
        Pass(
            "dropout in place",
            {"scale": 2 * x.nbytes},
            lambda: _testing.dropout(x, 0.5, 1, out=x, n_threads=threads),
        )
    ]


def optimizer_passes(n: int, threads: int) -> list[Pass]:
    w, m, v, g, copy = (aligned(n, i) for i in range(5))
    np.abs(v, out=v)
    b = 4 * n
    arguments = {"n_threads": threads}

    def perturb(**options):
        return lambda: _testing.sam_perturb(w, g, 1e-9, 1.0, **options, **arguments)

    def sgd(**options):
        return lambda: _testing.sgd_step(w, m, g, 1e-9, momentum=0.9, weight_decay=1e-4, **options, **arguments)

    def adamw(**options):
        return lambda: _testing.adamw_step(w, m, v, g, 1e-9, 10, **options, **arguments)

    return [
        Pass("gradient norm", {"read": b}, lambda: _testing.gradient_norm2(g, **arguments)),
        Pass("gradient norm, ASAM", {"read": 2 * b}, lambda: _testing.gradient_norm2(g, w, **arguments)),
        Pass("perturb", {"update": 3 * b}, perturb(adaptive=True)),
        Pass("perturb and copy", {"update": 2 * b, "copy": 2 * b}, perturb(copy=copy)),
        Pass("SGD", {"update": 5 * b}, sgd()),
        Pass("SGD from the copy", {"update": 3 * b, "copy": 2 * b}, sgd(start=copy)),
        Pass("AdamW", {"update": 7 * b}, adamw()),
        Pass("AdamW from the copy", {"update": 5 * b, "copy": 2 * b}, adamw(start=copy)),
    ]


def report(title: str, passes: list[Pass], floats: int, library: ctypes.CDLL, options: argparse.Namespace) -> None:
    threads, cpu_threads = options.threads, options.threads if options.cpu else 0
    print(f"\n{title}, {threads} threads, {_core.cpu_info()['isa']}")
    arrays = [aligned(floats, i) for i in range(3)]
    for item in passes:
        if not re.search(options.only, item.name):
            continue
        best, peers = float("inf"), dict.fromkeys(item.moves, float("inf"))
        for _ in range(options.repeat):
            best = min(best, seconds(item.run, cpu_threads))
            for pattern in item.moves:
                for loop in PATTERNS[pattern][0]:
                    run = partial(stream, library, loop, arrays, threads)
                    peers[pattern] = min(peers[pattern], seconds(run, cpu_threads))
        limits = {pattern: 4 * floats * PATTERNS[pattern][1] / time for pattern, time in peers.items()}
        moved, least = sum(item.moves.values()), sum(size / limits[pattern] for pattern, size in item.moves.items())
        rate, limit, kind = moved / best / 1e9, moved / least / 1e9, " + ".join(item.moves)
        print(f"{item.name:28s} {rate:6.1f} GB/s   {kind:15s} {limit:6.1f} GB/s   {100 * rate / limit:4.0f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=_core.cpu_info()["threads"])
    parser.add_argument("--isa", default=_core.cpu_info()["isa"])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the activations")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="count CPU time, which a busy neighbour disturbs less")
    parser.add_argument("--only", default="", metavar="REGEX", help="passes whose name matches")
    arguments = parser.parse_args()
    _testing.set_isa(arguments.isa)
    library = compile_streams()
    threads = arguments.threads
    for shape in [(32, 64, 64, 64), (32, 32, 32, 256), (32, 4, 4, 2048)]:
        megabytes = int(np.prod(shape)) * (4 if arguments.precision == "fp32" else 2) / 1e6
        title = f"activations {' x '.join(map(str, shape))}, {arguments.precision} ({megabytes:.0f} MB)"
        passes = layer_passes(*shape, threads, arguments.precision)
        report(title, passes, int(megabytes * 1e6) // 4, library, arguments)
    report("features 32 x 32768 (4 MB)", head_passes(32, 32768, threads), 32 * 32768, library, arguments)
    parameters = 25_600_000  # ResNet-50
    title = f"parameters ({4 * parameters / 1e6:.0f} MB)"
    report(title, optimizer_passes(parameters, threads), parameters, library, arguments)


if __name__ == "__main__":
    main()
