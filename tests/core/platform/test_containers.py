"""Limits of containers, from trees of files like those of the kernel; and what free-threaded Python is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import _testing
from simclr_mri import _core
from simclr_mri._shared._cgroup import available_in_cgroups
from simclr_mri._shared._machine import n_threads

GB = 10**9


def tree(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "membership", root / "mount"


def v2(path: str, limit: object, used: int, inactive: int = 0) -> dict[str, str]:
    folder = f"mount{path}"
    statistics = f"anon 5\nfile {2 * inactive}\ninactive_file {inactive}\nactive_file {inactive}\n"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": statistics,
    }


def v1(path: str, limit: int, used: int, inactive: int = 0) -> dict[str, str]:
    folder = f"mount/memory{path}"
    statistics = f"inactive_file 0\ntotal_inactive_file {inactive}\n"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": statistics,
    }


NONE = 9223372036854771712
MEMORY = {
    "page cache is available": ({"membership": "0::/\n", **v2("", 2 * GB, 2 * GB - 5, GB)}, GB + 5),
    "the process's own group": ({"membership": "0::/a/b\n", **v2("/a/b", GB, 100)}, GB - 100),
    "a group above it": ({"membership": "0::/a/b\n", **v2("/a", GB, 700), **v2("/a/b", "max", 100)}, GB - 700),
    "the tightest": ({"membership": "0::/a/b\n", **v2("/a", GB, 0), **v2("/a/b", 500, 100), **v2("", 3 * GB, 0)}, 400),
    "a container that sees itself as the root": ({"membership": "0::/../../pod\n", **v2("", GB, 1)}, GB - 1),
    "no limit": ({"membership": "0::/a\n", **v2("/a", "max", 3)}, None),
    "version 1": ({"membership": "4:memory:/a\n0::/\n", **v1("/a", GB, 900, 300), **v1("", NONE, 10**10)}, GB - 600),
    "version 1 without a limit": ({"membership": "4:memory:/\n", **v1("", NONE, 5)}, None),
    "another controller": ({"membership": "3:cpuset:/a\n", **v1("/a", 5, 5)}, None),
    "both versions": ({"membership": "2:cpu,memory:/x\n0::/y\n", **v1("/x", GB, 0), **v2("/y", 2 * GB, 0)}, GB),
    "over the limit": ({"membership": "0::/\n", **v2("", 100, 200)}, 0),
    "no such file": ({"mount/x": ""}, None),
}


@pytest.mark.parametrize("case", MEMORY)
def test_memory(tmp_path, case):
    files, expected = MEMORY[case]
    assert available_in_cgroups(*tree(tmp_path, files)) == expected


CPUS = {
    "v2": ({"membership": "0::/\n", "mount/cpu.max": "200000 100000\n"}, 2),
    "v2 without a limit": ({"membership": "0::/\n", "mount/cpu.max": "max 100000\n"}, None),
    "nested": (
        {"membership": "0::/a/b\n", "mount/a/cpu.max": "300000 100000\n", "mount/a/b/cpu.max": "max 100000\n"},
        3,
    ),
    "the tightest": (
        {"membership": "0::/a/b\n", "mount/a/cpu.max": "150000 100000\n", "mount/a/b/cpu.max": "400000 100000\n"},
        1,
    ),
    "less than one": ({"membership": "0::/\n", "mount/cpu.max": "50000 100000\n"}, 1),
    "v1": (
        {"membership": "4:cpu,cpuacct:/a\n", "mount/cpu,cpuacct/a/cpu.cfs_quota_us": "400000\n"}
        | {"mount/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
        4,
    ),
    "v1 without a limit": (
        {"membership": "1:cpu:/\n", "mount/cpu/cpu.cfs_quota_us": "-1\n", "mount/cpu/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "cpuset is not cpu": ({"membership": "3:cpuset:/\n", "mount/cpu/cpu.max": "100000 100000\n"}, None),
    "a long path": ({"membership": f"0::/{'x' * 900}\n", "mount/cpu.max": "200000 100000\n"}, 2),
    "no such file": ({"mount/x": ""}, None),
}


@pytest.mark.parametrize("case", CPUS)
def test_processors(tmp_path, case):
    files, expected = CPUS[case]
    assert _testing.cgroup_cpus(*map(str, tree(tmp_path, files))) == expected


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("1,2", 1), ("", 0), ("many", 0), ("0", 0), ("-3", 0)])
def test_omp_num_threads_is_the_default(monkeypatch, text, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert n_threads(None) == expected
    assert n_threads(-1) == 0
    assert n_threads(3) == 3


def test_omp_num_threads_never_asks_for_more_than_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    assert n_threads(None) == _core.cpu_info()["threads"]


def test_a_free_threaded_python_is_told_what_to_use():
    setup = Path(__file__).parents[3] / "setup.py"
    program = (
        f"import sysconfig, runpy; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1; runpy.run_path({str(setup)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=setup.parent, env={**os.environ}
    )
    assert done.returncode == 1
    assert "free-threaded" in done.stderr and "python3.13" in done.stderr
