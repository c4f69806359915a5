"""Fixtures that every test may use."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the processors: threads that wait would take them from others
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        # glibc keeps what one test's network has freed for the next one's: that the kernel clears fresh pages is a
        # sixth of a short training. -3 is M_MMAP_THRESHOLD, -1 is M_TRIM_THRESHOLD.
        mallopt(-3, 1 << 30), mallopt(-1, (1 << 31) - 1)
os.environ.setdefault("SIMCLR_MRI_FIGURES", "png")  # PDF files take longest; `all_figures` has all

from simclr_mri import _core

NEON = _core.cpu_info()["isa_supported"].startswith("neon")
ISA_LEVELS = ["ref", "neon", "neonbf16"] if NEON else ["ref", "avx2", "avx512", "avx512bf16", "amx"]
SUPPORTED = ISA_LEVELS[: ISA_LEVELS.index(_core.cpu_info()["isa_supported"]) + 1]
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


FP32_LEVELS = [level for level in SUPPORTED if level in ("ref", "avx2", "avx512", "neon")]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells leave it to what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def gives_memory_back() -> Iterator[None]:
    """After each file, so that a worker does not hold what its largest file needed: several share a machine."""
    yield
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


@pytest.fixture(params=FP32_LEVELS)
def isa(request: pytest.FixtureRequest):
    """Each instruction set of this machine that changes something in fp32; the best one again afterwards."""
    import _testing  # which a wheel has not

    _testing.set_isa(request.param)
    yield request.param
    _testing.set_isa(SUPPORTED[-1])


@pytest.fixture(params=SUPPORTED)
def isa_bf16(request: pytest.FixtureRequest):
    """Each instruction set that this machine has, in turn; the best one again afterwards."""
    import _testing  # which a wheel has not

    _testing.set_isa(request.param)
    yield request.param
    _testing.set_isa(SUPPORTED[-1])


LONGEST_FIRST = ("tests/whole", "tests/python/studies", "tests/python", "tests/test_", "tests/core/training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that no worker waits for another at the end."""

    def place(item: pytest.Item) -> int:
        return next((i for i, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture
def all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are written in every format, as users have them."""
    monkeypatch.delenv("SIMCLR_MRI_FIGURES")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data set, which is not part of the repository."""
    if not (REAL_DATA / "alzheimer_mri_128").is_dir():
        pytest.skip(f"needs the real data set at {REAL_DATA}")
    return REAL_DATA


@pytest.fixture(autouse=True)
def _figures_closed():
    """No test sees the figures that another one has left."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """`with stop_after(n):` lets estimators take n training steps in all and stops the next one."""
    from simclr_mri.learning._classifier_task import ClassifierTask
    from simclr_mri.learning._simclr_task import SimCLRTask

    class Stop(Exception):
        pass

    @contextmanager
    def stopping(n: int) -> Iterator[None]:
        count = [0]
        with monkeypatch.context() as patch, pytest.raises(Stop):
            for cls in (SimCLRTask, ClassifierTask):
                plain = cls.step

                def step(self, *args, plain=plain):
                    count[0] += 1
                    if count[0] > n:
                        raise Stop
                    return plain(self, *args)

                patch.setattr(cls, "step", step)
            yield

    return stopping
