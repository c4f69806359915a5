"""The house rules: who imports whom in Python; who includes whom in C, headers that stand alone, what is exported."""

from __future__ import annotations

import ast
import graphlib
import platform
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simclr_mri import _core
from whole import house

ROOT = Path(__file__).resolve().parents[2]
HEADERS = sorted((ROOT / "include" / "smri").glob("*.h"))

# Each folder of csrc may include its own headers and those of the folders listed.
ALLOWED = {
    "platform": set(),
    "kernels": {"platform"},
    "layers": {"platform", "kernels"},
    "network": {"platform", "kernels", "layers"},
    "training": {"platform", "kernels", "layers", "network"},
    "io": {"platform", "kernels"},
}

# Headers that have one home in the project.
HOMES = {
    "cblas.h": {"csrc/kernels/blas.c"},
    "png.h": {"csrc/io/png_read.c", "csrc/io/png_write.c"},
    "jpeglib.h": {"csrc/io/jpeg.c"},
    "Python.h": {"python/binding/binding.h"},
    "omp.h": set(),
}


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', path.read_text(), re.MULTILINE)


def implemented_in(header: str) -> str | None:
    """The folder of csrc that implements include/smri/<header>: the one with a file that includes it first."""
    for folder in ALLOWED:
        for path in sorted((ROOT / "csrc" / folder).rglob("*.c")):
            names = includes(path)
            if names and names[0] == header:
                return folder
    return None


@pytest.mark.parametrize("folder", ALLOWED)
def test_folders_include_only_what_lies_below(folder):
    for path in sorted((ROOT / "csrc" / folder).rglob("*.[ch]")):
        for name in includes(path):
            owner = name.split("/")[0] if name.split("/")[0] in ALLOWED else None
            if name.startswith("smri/"):
                owner = implemented_in(name)
            if owner is not None and owner != folder:
                assert owner in ALLOWED[folder], f"{path.relative_to(ROOT)} includes {name}, which belongs to {owner}"


@pytest.mark.parametrize("header", HOMES)
def test_foreign_headers_have_one_home(header):
    found = {
        str(path.relative_to(ROOT))
        for folder in ("csrc", "include", "python")
        for path in (ROOT / folder).rglob("*.[ch]")
        if header in includes(path)
    }
    assert found <= HOMES[header]


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_public_header_compiles_alone(header):
    compiler = shutil.which("cc")
    assert compiler, "needs a C compiler, as building the package does"
    command = [
        compiler,
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        str(ROOT / "include"),
        "-fsyntax-only",
        str(header),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_core_prints_nothing_and_reads_no_environment():
    forbidden = re.compile(r"\b(printf|puts|putchar|perror|exit|abort|getenv)\s*\(")
    for path in sorted((ROOT / "csrc").rglob("*.[ch]")):
        if path.parent.name == "examples":
            continue  # a program, which prints
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert not forbidden.search(text), f"{path.relative_to(ROOT)}: {forbidden.search(text).group(0)}"


def test_extension_exports_its_init_functions_only():
    nm = shutil.which("nm")
    assert nm, "needs nm from binutils, as building the package does"
    done = subprocess.run([nm, "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["PyInit__core", "PyInit__testing"]


def test_source_distribution_has_every_file_whichever_machine_made_it(monkeypatch):
    setuptools = pytest.importorskip("setuptools", reason="builds the package")
    given: dict = {}
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: given.update(keywords))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    found = {str(path.relative_to(ROOT)) for folder in ("csrc", "python") for path in (ROOT / folder).rglob("*.c")}
    found = {path for path in found if "/examples/" not in path}
    assert set(given["ext_modules"][0].sources) == found


def test_core_is_a_c_library_without_python(tmp_path):
    """Compiles csrc/platform with a C program that runs jobs of the thread pool, one by one and side by side."""
    program = tmp_path / "use_pool.c"
    program.write_text(
        """
        #include "smri/pool.h"
        static void square(void *context, size_t index, size_t worker) {
            (void)worker;
            ((size_t *)context)[index] = index * index;
        }
        static void add(void *context, size_t begin, size_t end, size_t worker) {
            (void)worker;
            for (size_t i = begin; i < end; i++) {
                for (volatile size_t wait = i % 5 * 500; wait > 0; wait--) {}
                ((size_t *)context)[i] += i;
            }
        }
        static int run_one_by_one(smri_pool *pool) {
            size_t results[1000];
            for (int repeat = 0; repeat < 2000; repeat++) {
                for (size_t i = 0; i < 1000; i++) results[i] = 0;
                smri_pool_run(pool, 1000, square, results);
                for (size_t i = 0; i < 1000; i++) if (results[i] != i * i) return 2;
            }
            return 0;
        }
        /* Each is finished before its numbers are looked at. */
        static int run_side_by_side(smri_pool *pool) {
            size_t sums[2][40] = {{0}};
            unsigned begun[2] = {0};
            for (size_t repeat = 0; repeat < 6000; repeat++) {
                const size_t job = repeat % 2, times = repeat / 2;
                smri_pool_finish(pool, begun[job]);
                for (size_t i = 0; i < 40; i++) if (sums[job][i] != i * times) return 3;
                smri_pool_begin_ranges(pool, 40, 1 + repeat % 4, add, sums[job]);
                begun[job] = smri_pool_begun(pool);
            }
            smri_pool_finish(pool, smri_pool_begun(pool));
            for (size_t i = 0; i < 80; i++) if (sums[i / 40][i % 40] != i % 40 * 3000) return 4;
            return 0;
        }
        int main(void) {
            for (size_t threads = 1; threads < 5; threads++) {
                smri_pool *pool;
                if (smri_pool_create(&pool, threads) != SMRI_OK) return 1;
                int wrong = run_one_by_one(pool);
                if (wrong == 0) wrong = run_side_by_side(pool);
                smri_pool_destroy(pool);
                if (wrong != 0) return wrong;
            }
            return 0;
        }
        """
    )
    sources = [str(path) for path in sorted((ROOT / "csrc" / "platform").glob("*.c"))]
    command = ["cc", "-std=c11", "-O2", "-I", str(ROOT / "include"), "-I", str(ROOT / "csrc"), str(program), *sources]
    subprocess.run([*command, "-lm", "-lpthread", "-o", str(tmp_path / "use_pool")], check=True)
    assert subprocess.run([str(tmp_path / "use_pool")], timeout=60).returncode == 0


# ---- Python ----------------------------------------------------------------------------------------------------------

PACKAGE = ROOT / "python" / "simclr_mri"

# What breaks each rule, planted as splits/_planted.py: the text of the offence that has to be found.
PLANTED = {
    "an import from above": ("from ..studies import study", "lies above or beside"),
    "a lazy import from above": ("def f():\n    from ..learning import SimCLR", "lies above or beside"),
    "an import from above for types only": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..explain import CamResult",
        "lies above or beside",
    ),
    "an import past the door": ("from ..datasets._dataset import Dataset", "not through the door"),
    "a foreign module out of its home": ("import argparse", "imports argparse, whose home is cli/"),
    "another foreign module": (
        "def f():\n    from matplotlib import pyplot",
        "imports matplotlib, whose home is plot/",
    ),
    "a private name of a sibling": ("from ._split import _one", "private to _split"),
    "a private attribute": ("def f(other):\n    return other._inside", "uses other._inside, which is private"),
    "a print": ("def f():\n    print(1)", "prints; use _shared.say"),
}


def test_packages_import_only_what_lies_below_and_through_the_door():
    assert not house.offences(PACKAGE)


@pytest.mark.parametrize("what", PLANTED)
def test_the_rules_catch_what_is_planted(what):
    code, expected = PLANTED[what]
    found = list(house.offences_of("splits/_planted.py", ast.parse(code)))
    assert any(expected in line for line in found), found


def test_there_is_no_circle_of_files():
    graph = house.edges_at_run_time(PACKAGE)
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    graphlib.TopologicalSorter(graph).prepare()


def test_a_planted_circle_is_caught():
    graph = house.edges_at_run_time(PACKAGE)
    assert "splits/_split.py" in graph["splits/_kfold.py"]
    graph["splits/_split.py"].add("splits/_kfold.py")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


def test_every_package_has_its_floor_and_its_door():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"demo"}
    assert packages == house.MAY_IMPORT.keys()
    for package in packages - {"demo"}:
        homes = house.stub_homes(PACKAGE, package)
        assert homes and all((PACKAGE / home).is_file() for home in homes.values()), package
        loose = [p.name for p in (PACKAGE / package).glob("*.py") if not p.name.startswith("_")]
        assert not loose, f"{package}: modules inside have an underscore"


def test_importing_the_package_takes_less_than_a_tenth_of_a_second():
    code = "import time; t = time.process_time(); import simclr_mri; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.1
