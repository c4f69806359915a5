"""Builds and runs the libFuzzer targets of `fuzz_io.c`.

    python tests/fuzz/fuzz_c.py --seconds 1800             30 minutes a target, one after another
    python tests/fuzz/fuzz_c.py --seconds 60 --coverage    and the lines of csrc/io that they reach

It needs clang with its fuzzer library and the sources of libpng, libjpeg-turbo and zlib's headers.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
TARGETS = ("DECODE", "FILES", "WRITE", "RESIZE")
SOURCES = [
    *(f"csrc/io/{name}.c" for name in "decode_batch file_io image jpeg png_read png_write resize taps".split()),
    *(f"csrc/platform/{name}.c" for name in "affinity_linux cpu_count memory pool quiet_thread status".split()),
]


WRAPPED = "malloc calloc realloc strdup asprintf read write fstat fsync rename open".split()


def has_clang() -> bool:
    if shutil.which("clang") is None:
        return False
    program = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }"
    command = ["clang", "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", os.devnull]
    return subprocess.run(command, input=program, text=True, capture_output=True).returncode == 0


def build(target: str, folder: Path, *, coverage: bool = False) -> Path:
    """One target's program; the core's objects are compiled at the first call for this folder."""
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all"]
    flags += [f"-I{ROOT / 'include'}", f"-I{ROOT / 'csrc'}"]
    flags += ["-fprofile-instr-generate", "-fcoverage-mapping"] if coverage else []
    objects = [folder / f"{Path(source).stem}.o" for source in SOURCES]
    if not all(path.exists() for path in objects):
        subprocess.run(["clang", *flags, "-c", *(str(ROOT / source) for source in SOURCES)], check=True, cwd=folder)
    program = folder / f"fuzz_{target.lower()}"
    command = ["clang", *flags, "-fsanitize=fuzzer", f"-DTARGET={target}", str(ROOT / "tests/fuzz/fuzz_io.c")]
    command += [f"-Wl,--wrap={name}" for name in WRAPPED]
    libraries = ["-lpng", "-ljpeg", "-lz", "-lm", "-lpthread"]
    subprocess.run([*command, *map(str, objects), *libraries, "-o", str(program)], check=True)
    return program


def write_seeds(target: str, folder: Path) -> None:
    """A few small inputs of each kind, made here: always of the target's format, and no files to keep."""
    folder.mkdir(parents=True, exist_ok=True)
    if target in ("WRITE", "RESIZE"):
        for i, head in enumerate(([8, 9, 1, 7], [5, 5, 3, 0], [6, 4, 5, 9], [0, 3, 2, 11])):
            head += [2 + i, 0, 0, 0]
            (folder / str(i)).write_bytes(bytes(head) + bytes(range(100)))
        return
    rng = np.random.default_rng(0)
    pixels = (np.add.outer(np.arange(20), np.arange(24)) * 5 + rng.integers(0, 9, (20, 24))).astype(np.uint8)
    rgb = np.dstack([pixels, pixels[::-1], 255 - pixels])
    alpha = np.dstack([rgb, pixels])
    made: list[tuple[Image.Image, dict]] = [
        (Image.fromarray(pixels), {"format": "JPEG"}),
        (Image.fromarray(pixels), {"format": "JPEG", "progressive": True}),
        (Image.fromarray(rgb), {"format": "JPEG", "progressive": True, "subsampling": 2}),
        (Image.fromarray(rgb), {"format": "JPEG", "subsampling": 1, "restart_marker_blocks": 1}),
        (Image.fromarray(rgb).convert("CMYK"), {"format": "JPEG"}),
        (Image.fromarray(pixels), {"format": "PNG"}),
        (Image.fromarray(rgb), {"format": "PNG"}),
        (Image.fromarray(alpha), {"format": "PNG"}),
        (Image.fromarray(pixels).convert("1"), {"format": "PNG"}),
        (
            Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE, colors=9),
            {"format": "PNG", "transparency": 3},
        ),
        (Image.fromarray(alpha).convert("LA"), {"format": "PNG"}),
        (Image.fromarray(pixels.astype(np.uint16) * 257), {"format": "PNG"}),
    ]
    for i, (image, options) in enumerate(made):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        for j, head in enumerate((b"\0\0\0\0", bytes([33 + i % 4, 1 + i % 3, 20, 0]), bytes([7, 2, 90, 1 + i]))):
            (folder / f"{i}_{j}").write_bytes(head + buffer.getvalue())


def run(program: Path, corpus: Path, seconds: int, findings: Path) -> int:
    """Runs a target and returns how many inputs it tried; AssertionError with the report if one failed."""
    findings.mkdir(parents=True, exist_ok=True)
    command = [str(program), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]
    command += ["-print_final_stats=1", "-seed=1", f"-artifact_prefix={findings}/", str(corpus)]
    environment = {
        **os.environ,
        "LLVM_PROFILE_FILE": f"{program}.profraw",
        "ASAN_OPTIONS": "allocator_may_return_null=1",
    }
    # The memory limit is held against a peak that exec inherits from the process which forked, here a test run of
    # gigabytes. So the program is the child of a small shell.
    shell = ["sh", "-c", '"$@" & wait $!', "sh"]
    done = subprocess.run([*shell, *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    return int(counted[1]) if counted else 0


def covered_lines(programs: list[Path]) -> str:
    """llvm-cov's table of csrc/io."""
    profiles = [f"{program}.profraw" for program in programs]
    merged = f"{programs[0]}.profdata"
    subprocess.run(["llvm-profdata", "merge", "-o", merged, *profiles], check=True)
    objects = [f"-object={program}" for program in programs[1:]]
    command = ["llvm-cov", "report", str(programs[0]), *objects, f"-instr-profile={merged}", str(ROOT / "csrc/io")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the reading and writing of images.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--coverage", action="store_true", help="report the lines of csrc/io that were reached")
    parser.add_argument("--corpus", type=Path, help="folder that keeps what was found interesting")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no target named {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if not has_clang():
        sys.exit("clang with libFuzzer not found. On Debian or Ubuntu: apt-get install clang llvm")
    with tempfile.TemporaryDirectory() as temporary:
        programs = []
        for target in arguments.targets or TARGETS:
            corpus = (arguments.corpus or Path(temporary)) / target.lower()
            write_seeds(target, corpus)
            program = build(target, Path(temporary), coverage=arguments.coverage)
            tried = run(program, corpus, arguments.seconds, Path("fuzz_findings"))
            print(f"{target}: {tried:,} inputs, no finding", flush=True)
            programs.append(program)
        if arguments.coverage:
            print(covered_lines(programs))


if __name__ == "__main__":
    main()
