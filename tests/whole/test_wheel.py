"""The wheel that users get: in an environment of its own, with no compiler, headers or source within reach."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEELS = sorted(Path(os.environ.get("SMRI_WHEELS", ROOT / "dist")).glob("simclr_mri-*manylinux*.whl"))

pytestmark = pytest.mark.skipif(not WHEELS, reason="no wheel in dist/: .github/wheels/build.sh makes one")


def test_a_wheel_is_small_and_carries_its_licences():
    wheel = WHEELS[-1]
    assert wheel.stat().st_size < 25e6 and "abi3-manylinux_2_28" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert b"PyInit__testing" not in zipfile.ZipFile(wheel).read("simclr_mri/_core.abi3.so")  # what only tests call
    for library in ("libpng", "zlib", "libjpeg-turbo"):
        assert any(name.endswith(f"licenses/{library}.txt") for name in names), library
    assert any(name.endswith("libscipy_openblas.LICENSE.txt") for name in names)


def test_a_wheel_runs_the_demo_without_a_compiler(tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", str(WHEELS[-1])], check=True)
    short = [
        "--n-subjects", "24", "--slices", "2", "--image-size", "32", "--label-fractions", "1", "--n-bootstrap", "20",
        "--pretrain.epochs", "1", "--pretrain.batch-size", "8", "--finetune.epochs", "1", "--finetune.min-steps", "2",
        "--data.split", "0.6", "0.2", "0.2", "--seeds", "1",
    ]  # fmt: skip
    command = [str(python), "-m", "simclr_mri", "demo", "--out", "demo", *short]
    environment = {"HOME": str(tmp_path), "PATH": str(python.parent), "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
