"""libsmri by itself: csrc/Makefile builds it without Python, C and C++ programs use it, and its kernels are checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import simclr_mri
from conftest import SUPPORTED

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "CFLAGS=-O1 -g0 -DNDEBUG"


def make(*arguments: str) -> str:
    command = ["make", "-s", "-C", str(ROOT / "csrc"), f"-j{os.cpu_count()}", "IO=0", FLAGS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    folder = tmp_path_factory.mktemp("library")
    make("install", f"BUILD={folder / 'build'}", f"PREFIX={folder / 'prefix'}")
    return folder


def compile_and_run(installed: Path, source: Path, compiler: str = "cc") -> str:
    prefix, program = installed / "prefix", installed / source.stem
    found = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "smri"],
        env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")},
        capture_output=True,
        text=True,
        check=True,
    )
    command = [
        compiler,
        "-Wall",
        "-Wextra",
        "-Werror",
        str(source),
        *found.stdout.split(),
        f"-Wl,-rpath,{prefix / 'lib'}",
    ]
    subprocess.run([*command, "-lm", "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amx_on_emulated_registers(installed):
    """check_amx.c runs the AMX kernels, and the convolutions around them, on any processor."""
    lines = make("check-amx", f"BUILD={installed / 'build'}").splitlines()
    assert len(lines) == 36 and all(line.endswith(" ok") for line in lines), lines


def test_avx512_on_emulated_registers(installed):
    """check_kernels.c with AVX-512's kernels compiled against plain C, on any x86 processor with AVX2."""
    if "avx2" not in SUPPORTED:
        pytest.skip("needs a processor with AVX2")
    lines = make("check-avx512", f"BUILD={installed / 'build'}").splitlines()
    kernels = [line.split()[0] for line in lines if line.endswith(" ok")]
    assert len(kernels) == len(lines) > 150 and set(kernels) == {"avx512", "avx512bf16"}, lines


def test_fused_operations_have_the_bits_of_single_ones(installed):
    compile_and_run(installed, ROOT / "tests" / "core" / "check_fusion.c")


def test_every_kernel_agrees_with_its_reference(installed):
    """check_kernels.c exits with 1 when one is wrong, and prints a line for each of them."""
    lines = make("check", f"BUILD={installed / 'build'}").splitlines()
    assert len(lines) > 80 and all(
        re.fullmatch(r"\w+ +[\w ]+ +(fp32|bf16) +\d+  [0-9a-f]{16}  \S+  ok", line) for line in lines
    )


def test_the_example_trains(installed):
    losses = re.findall(r"loss ([\d.]+)", compile_and_run(installed, ROOT / "csrc" / "examples" / "train.c"))
    assert len(losses) == 12 and sum(map(float, losses[-4:])) < 0.2 * sum(map(float, losses[:4]))


def test_misuse_is_refused_in_a_release_build(installed):
    assert compile_and_run(installed, ROOT / "tests" / "core" / "check_misuse.c") == ""


def test_the_library_exports_its_own_names_only(installed):
    library = str(installed / "prefix" / "lib" / "libsmri.so")
    done = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    assert "smri_trainer_create" in names and "smri_version" in names
    declared = "\n".join(path.read_text() for path in (ROOT / "include" / "smri").glob("*.h"))
    assert [name for name in names if not re.search(rf"\b{name}\b", declared)] == []


def test_headers_are_cplusplus_too(installed, tmp_path):
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    program = tmp_path / "version.cpp"
    program.write_text('#include <cstdio>\n#include "smri/smri.h"\nint main() { std::puts(smri_version()); }\n')
    assert compile_and_run(installed, program, "c++").strip() == simclr_mri.__version__


def test_neon_has_the_bits_of_avx2(installed, tmp_path):
    """The library for aarch64, under emulation: every check hashes as on x86 with AVX2, and BFDOT is right."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs Debian's gcc-aarch64-linux-gnu and qemu-user")
    make(f"BUILD={installed / 'build'}", f"{installed / 'build' / 'check_kernels'}")
    x86 = subprocess.run([str(installed / "build" / "check_kernels"), "avx2"], capture_output=True, text=True)
    if x86.returncode != 0:
        pytest.skip("needs a processor with AVX2 to compare with")
    run = f"RUN={emulator} -cpu max -L /usr/aarch64-linux-gnu"
    arm = make("check", f"BUILD={tmp_path}", f"CC={compiler}", run)

    def hashes(text: str, isa: str) -> dict[str, str]:
        return dict(re.findall(rf"^{isa} +(.*?)  ([0-9a-f]{{16}}) ", text, re.MULTILINE))

    assert len(hashes(arm, "neon")) > 70 and hashes(arm, "neon") == hashes(x86.stdout, "avx2")
    assert hashes(arm, "neonbf16").keys() == hashes(arm, "neon").keys()
