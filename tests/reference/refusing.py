"""A child Python in which allocations and writes can be refused: `tests/fuzz/refuse.c` in front of the C library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "fuzz" / "refuse.c"

PRELUDE = """
import ctypes, faulthandler, os, sys
faulthandler.enable()
_libc = ctypes.CDLL(None)
refuse_allocation = _libc.refuse_allocation
refuse_once = _libc.refuse_once
allocations = _libc.allocations
refuse_write = _libc.refuse_write
for f in (refuse_allocation, refuse_once, refuse_write):
    f.argtypes, f.restype = [ctypes.c_long], None
stop_refusing = os.sched_yield
allocations.argtypes, allocations.restype = [], ctypes.c_long
"""


def build(folder: Path) -> Path:
    """Compiles the library; the compiler that builds the extension is there."""
    library = folder / "refuse.so"
    command = [*os.environ.get("CC", "cc").split(), "-O1", "-shared", "-fPIC", "-fno-builtin", str(SOURCE)]
    subprocess.run([*command, "-o", str(library), "-ldl"], check=True, capture_output=True, text=True)
    return library


def run(library: Path, program: str, *arguments: str, timeout: float = 120) -> str:
    """What the program prints, with the functions of `refuse.c` at hand; AssertionError if it fails or dies."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout
