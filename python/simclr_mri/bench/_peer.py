"""The same measurements with PyTorch beside them, by the scripts of the source tree."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import _core
from .._shared import n_threads
from ._measure import ROWS

TESTS = Path(__file__).parents[3] / "tests" / "bench"


def run_peer(
    rows: tuple[str, ...], precisions: tuple[str, ...], rounds: int, n_jobs: int | None, layers: bool
) -> list[dict[str, Any]]:
    """Both programs in turn, by the scripts of the source tree, which print; what the one of whole steps measured.

    Raises
    ------
    FileNotFoundError
        Without a source tree.
    RuntimeError
        When a script fails; it has said why.
    """
    if not (TESTS / "bench_step.py").is_file():
        raise FileNotFoundError(
            f"--peer: the comparison with PyTorch runs scripts of the source tree, and there is no "
            f"{TESTS / 'bench_step.py'}: this package was installed without it. In a source tree: pip install -e "
            "'.[bench]'"
        )
    threads = str(n_threads(n_jobs) or _core.cpu_info()["threads"])
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        options = ["--rows", *rows, "--precision", *precisions, "--rounds", str(rounds), "--json", str(found)]
        _run_script("bench_step.py", [*options, "--threads", threads])
        results = json.loads(found.read_text())
    networks = sorted({f"resnet{ROWS[row].depth}" for row in rows}) if layers else []
    for network in networks:
        for precision in precisions:
            _run_script("bench_conv.py", ["--network", network, "--precision", precision, "--threads", threads])
    return results


def _run_script(name: str, options: list[str]) -> None:
    code = subprocess.run([sys.executable, str(TESTS / name), *options], check=False).returncode
    if code:
        raise RuntimeError(f"{name} ended with exit code {code}")
