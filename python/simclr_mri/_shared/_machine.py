"""What this machine offers, and a check that a run fits before anything is allocated."""

from __future__ import annotations

import os
import platform
import subprocess
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import metadata
from pathlib import Path

from .. import _core
from ._advice import option_text
from ._cgroup import available_in_cgroups
from ._names import MAX_THREADS
from ._system import peak_rss_bytes
from ._text import bytes_text
from ._version import __version__

BF16_ISAS = ("avx512bf16", "amx")


class EmulationWarning(UserWarning):
    """What was asked for works on this processor, but only by emulation."""


def warn_if_emulated(precision: str) -> None:
    """Say, once a process, that bf16 is slower than fp32 on a processor without instructions for it."""
    isa = _core.cpu_info()["isa"]
    if precision != "bf16" or isa in BF16_ISAS:
        return
    warnings.warn(
        f"{option_text('precision', 'bf16')} is emulated: the instruction set in use is {isa!r}, and bf16 "
        f"products need one of {', '.join(BF16_ISAS)}. The results are right and activations take half the memory, but "
        f"every step is slower than with {option_text('precision', 'fp32')}",
        EmulationWarning,
        stacklevel=1,  # the place that Python remembers, so that it is said once
    )


def n_threads(n_jobs: int | None) -> int:
    """Threads for the core, 0 meaning all that this process may use: None or -1, as in scikit-learn.

    None follows ``OMP_NUM_THREADS`` where it is set, as programs that start workers (joblib's loky) set it for them.
    """
    if n_jobs is None:
        return _threads_by_environment()
    if n_jobs == -1:
        return 0
    if not 1 <= n_jobs <= MAX_THREADS:
        raise ValueError(
            f"{option_text('n_jobs', n_jobs)}: expected 1 to {MAX_THREADS} threads, or "
            f"{option_text('n_jobs', -1)} for all"
        )
    return n_jobs


def _threads_by_environment() -> int:
    """``OMP_NUM_THREADS``, of which OpenMP allows a list; 0 where it is not set or says nothing usable."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    threads = int(first) if first.isascii() and first.isdigit() else 0
    return min(threads, MAX_THREADS, _core.cpu_info()["threads"]) if threads else 0


def n_processors() -> int:
    """Processors that this process may use: by its affinity, cut down by the cgroup's quota."""
    return int(_core.cpu_info()["threads"])


def available_memory_bytes() -> int | None:
    """Memory that can still be had, by the system and by the cgroup's limit; None if the system does not tell."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if (left := available_in_cgroups()) is not None:
        found.append(left)
    return min(found) if found else None


def check_fits(need: Callable[[int], int], batch_size: int, argument: str = "batch_size") -> int:
    """Bytes that a run needs; MemoryError naming what would fit if it is more than there is.

    Parameters
    ----------
    need : callable (batch_size) -> int
        Bytes for a batch of this size.
    """
    wanted, available = need(batch_size), available_memory_bytes()
    if available is None or wanted <= available:
        return wanted
    fits = batch_size
    while fits > 1 and need(fits) > available:
        fits //= 2
    advice = (
        f"{option_text(argument, fits)} would need {bytes_text(need(fits))}"
        if need(fits) <= available
        else "use smaller images"
    )
    raise MemoryError(
        f"{option_text(argument, batch_size)} needs {bytes_text(wanted)}, and {bytes_text(available)} are available: "
        f"{advice}, or a smaller network ({option_text('arch', 'resnet18')})"
    )


def check_images_fit(n: int, rows: int, columns: int, bytes_per_pixel: int) -> None:
    """MemoryError, before anything is allocated, if images do not fit; it names a size that would.

    Parameters
    ----------
    n, rows, columns : int
        Images, and their size in pixels.
    bytes_per_pixel : int
    """
    wanted, available = n * rows * columns * bytes_per_pixel, available_memory_bytes()
    if available is None or wanted <= available:
        return
    side = 1 << max(3, int((available / (n * bytes_per_pixel)) ** 0.5).bit_length() - 1)
    fits = n * side * side * bytes_per_pixel <= available
    advice = (
        f"{option_text('image_size', side)} would need {bytes_text(n * side * side * bytes_per_pixel)}"
        if fits
        else "use fewer"
    )
    raise MemoryError(
        f"{n:,} images of {rows:,} x {columns:,} pixels need {bytes_text(wanted)}, and {bytes_text(available)} are "
        f"available: {advice}"
    )


PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib", "safetensors", "tqdm")


def versions() -> dict[str, str]:
    """Versions of this package, Python, the packages that it stands on, and what the core runs on."""
    found = {"simclr_mri": __version__, "python": platform.python_version(), "platform": platform.platform()}
    found |= {name: _installed_version(name) for name in PACKAGES}
    return found | {key: str(value) for key, value in _core.cpu_info().items()}


@cache
def _installed_version(name: str) -> str:
    """Kept, because it reads and parses a file and every run writes it down."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def source_commit() -> str | None:
    """The commit of this package's source, where it runs from a git checkout of its own; None where it is installed."""
    here = Path(__file__).resolve().parents[1]
    try:
        run = partial(subprocess.run, cwd=here, capture_output=True, text=True, check=True, timeout=10)
        run(["git", "ls-files", "--error-unmatch", "__init__.py"])  # site-packages may lie within another repository
        return run(["git", "rev-parse", "HEAD"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    return peak_rss_bytes()


def busy_share(seconds: float = 0.5) -> float:
    """Share of the processors that other programs use at this moment, 0 to 1, while this one waits; 0 if unknown."""
    try:
        before = _processor_ticks()
        time.sleep(seconds)
        idle, total = (after - b for after, b in zip(_processor_ticks(), before, strict=True))
    except (OSError, ValueError, IndexError):
        return 0.0
    return min(1.0, max(0.0, 1 - idle / total)) if total > 0 else 0.0


def _processor_ticks() -> tuple[int, int]:
    """(idle, all) since the start of the machine, of all processors; waiting for disks is idle."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def n_launched() -> int:
    """How many processes mpiexec (of Open MPI, MPICH or Intel) or srun started together with this one; 1 for none."""
    names = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS")
    return max((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), default=1)
