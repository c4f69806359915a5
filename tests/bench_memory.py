"""GB/s of every memory-bound pass beside what this machine's memory gives to the same pattern of reads and writes.

    PYTHONPATH=python python tests/bench_memory.py [--threads 2] [--isa avx512] [--repeat 15]

The yardsticks are plain C loops compiled here with `cc`, cut in equal parts among the threads, in the better of ordinary
and non-temporal stores. Bytes are those a pass must move: each array once for a read and once for a write. Yardstick and
pass alternate and the best time of each counts, so that a busy neighbour slows both or neither.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
LOOP(stream_scale, _mm256_add_ps(AT(a), AT(a)), _mm256_storeu_ps)
LOOP(stream_update, _mm256_add_ps(AT(a), AT(b)), _mm256_storeu_ps)
"""
# pattern: the loops that move memory in this way, and the arrays they touch for each element
PATTERNS = {
    "read": (["stream_read"], 1),
    "copy": (["stream_copy", "stream_copy_nt"], 2),
    "triad": (["stream_triad", "stream_triad_nt"], 3),
    "scale": (["stream_scale"], 2),
    "update": (["stream_update"], 3),
}


class Pass(NamedTuple):
    name: str
    pattern: str
    moved_bytes: int
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


def layer_passes(n: int, rows: int, cols: int, channels: int, threads: int) -> list[Pass]:
    """Batch norm, ReLU and pooling of one activation tensor."""
    size = n * rows * cols * channels
    x, dy, y, other = (aligned(size, i).reshape(1, -1, channels) for i in range(4))
    one, zero = np.ones((1, channels), np.float32), np.zeros((1, channels), np.float32)
    gamma = one[0]
    images, flat = x.reshape(n, rows, cols, channels), [a.reshape(-1) for a in (x, dy, y)]
    pooled, places = _core.maxpool_forward(images, 3, 2, 1)
    mean, var = _core.batchnorm_statistics(x)
    b = 4 * size
    options = {"n_threads": threads}
    return [
        Pass("batch norm statistics", "read", b, lambda: _core.batchnorm_statistics(x, **options)),
        Pass("affine + relu", "copy", 2 * b, lambda: _core.affine(x, one, zero, relu=True, out=y, **options)),
        Pass("affine + relu in place", "scale", 2 * b, lambda: _core.affine(y, one, zero, relu=True, out=y, **options)),
        Pass("affine + residual + relu", "triad", 3 * b, lambda: _core.affine(x, one, zero, other, relu=True, out=y, **options)),
        Pass(
            "batch norm backward",  # reads dy and x twice, writes dx
            "triad",
            5 * b,
            lambda: _core.batchnorm_backward(dy, x, gamma, mean, var, one, zero, relu=True, out=y, **options),
        ),
        Pass("relu backward in place", "update", 3 * b, lambda: _core.relu_backward(flat[1], flat[2], out=flat[1], **options)),
        Pass("max pool 3x3/2", "read", b + b // 4 + b // 16, lambda: _core.maxpool_forward(images, 3, 2, 1, out=pooled, **options)),
        Pass(
            "max pool backward",
            "copy",
            b + b // 4 + b // 16,
            lambda: _core.maxpool_backward(pooled, places, rows, cols, 3, 2, 1, out=y.reshape(images.shape), **options),
        ),
        Pass("average pool", "read", b, lambda: _core.avgpool_forward(x.reshape(n, -1, channels), **options)),
        Pass("dropout in place", "scale", 2 * b, lambda: _core.dropout(flat[2].reshape(n, -1), 0.5, 1, out=flat[2].reshape(n, -1), **options)),
    ]  # fmt: skip


def optimizer_passes(n: int, threads: int) -> list[Pass]:
    w, m, v, g, copy = (aligned(n, i) for i in range(5))
    np.abs(v, out=v)
    b = 4 * n
    options = {"n_threads": threads}
    return [
        Pass("gradient norm", "read", b, lambda: _core.gradient_norm2(g, **options)),
        Pass("gradient norm, ASAM", "read", 2 * b, lambda: _core.gradient_norm2(g, w, **options)),
        Pass("perturb", "update", 3 * b, lambda: _core.sam_perturb(w, g, 1e-9, 1.0, adaptive=True, **options)),
        Pass("perturb + copy", "update", 4 * b, lambda: _core.sam_perturb(w, g, 1e-9, 1.0, copy=copy, **options)),
        Pass("SGD", "update", 5 * b, lambda: _core.sgd_step(w, m, g, 1e-9, momentum=0.9, weight_decay=1e-4, **options)),
        Pass("SGD from the copy", "update", 5 * b, lambda: _core.sgd_step(w, m, g, 1e-9, momentum=0.9, start=copy, **options)),
        Pass("AdamW", "update", 7 * b, lambda: _core.adamw_step(w, m, v, g, 1e-9, 10, **options)),
    ]  # fmt: skip


def report(
    title: str, passes: list[Pass], floats: int, library: ctypes.CDLL, threads: int, repeat: int, cpu: bool
) -> None:
    cpu_threads = threads if cpu else 0
    print(f"\n{title}, {threads} threads, {_core.cpu_info()['isa']}")
    arrays = [aligned(floats, i) for i in range(3)]
    for item in passes:
        loops, touched = PATTERNS[item.pattern]
        best, peer = float("inf"), float("inf")
        for _ in range(repeat):
            best = min(best, seconds(item.run, cpu_threads))
            for name in loops:
                peer = min(peer, seconds(lambda name=name: stream(library, name, arrays, threads), cpu_threads))
        rate, limit = item.moved_bytes / best / 1e9, touched * 4 * floats / peer / 1e9
        print(f"{item.name:26s} {rate:7.1f} GB/s   {item.pattern:6s} {limit:6.1f} GB/s   {100 * rate / limit:4.0f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=_core.cpu_info()["threads"])
    parser.add_argument("--isa", default=_core.cpu_info()["isa"])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="count CPU time, which a busy neighbour disturbs less")
    arguments = parser.parse_args()
    _core.set_isa(arguments.isa)
    library = compile_streams()
    threads, repeat = arguments.threads, arguments.repeat
    for shape in [(32, 64, 64, 64), (32, 32, 32, 256), (32, 4, 4, 2048)]:
        floats = int(np.prod(shape))
        title = f"activations {' x '.join(map(str, shape))} ({4 * floats / 1e6:.0f} MB)"
        report(title, layer_passes(*shape, threads), floats, library, threads, repeat, arguments.cpu)
    parameters = 25_600_000  # ResNet-50
    title = f"parameters ({4 * parameters / 1e6:.0f} MB)"
    report(title, optimizer_passes(parameters, threads), parameters, library, threads, repeat, arguments.cpu)


if __name__ == "__main__":
    main()
