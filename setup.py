"""Builds the extension `simclr_mri._core`: the C core and its binding in one shared object.

What pyproject.toml cannot say is here: flags by file (a kernel is compiled for the instruction set that its suffix
names, a file of loops for several), the search for the libraries, and the copy of OpenBLAS that travels inside the
package.

Environment, all optional:
    SMRI_OPENBLAS   folder with include/ and lib/ of an OpenBLAS, or "none" for the plain C path
    SMRI_STATIC     1 links libpng, zlib and libjpeg from their archives, for a wheel (see .github/wheels/build.sh)
    SMRI_WERROR     1 turns warnings into errors (CI)
    SMRI_SANITIZE   a value for -fsanitize=, for a debugging build
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
PACKAGE = ROOT / "python" / "simclr_mri"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
MACHINE = {"x86_64": "x86", "AMD64": "x86", "arm64": "aarch64"}.get(platform.machine(), platform.machine())

# What a linker is told differs by system: to hide all but the modules' entries, and to look beside them for OpenBLAS.
LINKING = {
    "linux": (["-Wl,--version-script=python/binding/exports.map"], ["-Wl,-rpath,$ORIGIN"]),
    "darwin": (["-Wl,-exported_symbol,_PyInit_*"], ["-Wl,-rpath,@loader_path"]),
    "win32": (["-static-libgcc"], []),
}
HIDING, BESIDE = LINKING.get(sys.platform, LINKING["linux"])
SYSTEM_FLAGS = ["-D__USE_MINGW_ANSI_STDIO=1"] if sys.platform == "win32" else []
LIBRARY_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")

WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]  # of callbacks, which take what all of their kind take
C_FLAGS = ["-std=c11", "-O3", "-g1", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", *WARNINGS]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
ISA_FLAGS = {
    "x86": {
        "avx2": AVX2,
        "avx512": AVX512,
        "avx512bf16": [*AVX512, "-mavx512bf16"],
        "amx": [*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
    },
    "aarch64": {"neon": [], "neonbf16": ["-march=armv8.2-a+bf16"]},
}
# A file of loops is compiled once for each of its instruction sets, whose name it knows as SMRI_ISA.
LOOPS_ISAS = {"x86": ["avx2", "avx512"], "aarch64": ["neon"]}.get(MACHINE, [])
ALSO = {"pixels": ["ref"], "peak": ["ref"]}
if MACHINE == "x86":  # where rounding has an instruction in AVX512_BF16
    ALSO |= {family: ["avx512bf16"] for family in ("batchnorm", "convert", "pool2d", "winograd")}


def instruction_sets(source: str) -> list[str]:
    """For which a source is compiled: "" is the machine's least; none for one that is another machine's."""
    name = Path(source).stem
    if name.endswith("_loops"):
        return [*LOOPS_ISAS, *ALSO.get(name.removesuffix("_loops"), [])]
    if any(name.endswith(f"_{isa}") for machine in ISA_FLAGS for isa in ISA_FLAGS[machine] if machine != MACHINE):
        return []
    return [next((isa for isa in ISA_FLAGS.get(MACHINE, {}) if name.endswith(f"_{isa}")), "")]


def sources() -> list[str]:
    """All of them, on any machine: a source distribution serves every machine, whichever made it."""
    core = [path for path in sorted((ROOT / "csrc").rglob("*.c")) if path.parent.name != "examples"]
    found = core + sorted((ROOT / "python" / "binding").rglob("*.c"))
    return [str(path.relative_to(ROOT)) for path in found]


def headers() -> list[str]:
    folders = (ROOT / "include", ROOT / "csrc", ROOT / "python" / "binding")
    return [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.rglob("*.h"))]


def pkg_config(name: str, *options: str) -> list[str]:
    try:
        done = subprocess.run(["pkg-config", *options, name], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.split()


def codec_libraries() -> list[str]:
    """Linker flags for libpng and libjpeg, as pkg-config gives them or by their usual names."""
    static = ["--static"] if os.environ.get("SMRI_STATIC") == "1" else []
    png = pkg_config("libpng", "--libs", *static) or ["-lpng"]
    jpeg = pkg_config("libjpeg", "--libs", *static) or ["-ljpeg"]
    return [*png, *jpeg]


def find_openblas() -> dict[str, list[str]]:
    """Flags for OpenBLAS: the environment, then pkg-config, then the PyPI wheel, else the plain C path."""
    chosen = os.environ.get("SMRI_OPENBLAS", "")
    if chosen == "none":
        return {"define": [], "include": [], "link": [], "bundle": []}
    if chosen:
        prefix = Path(chosen)
        if not (prefix / "lib").is_dir():
            sys.exit(f"SMRI_OPENBLAS={chosen}: expected a folder with include/ and lib/, or 'none'")
        lib = prefix / "lib"
        return {
            "define": ["-DSMRI_HAVE_CBLAS"],
            "include": [f"-I{prefix / 'include'}"],
            "link": [f"-L{lib}", "-lopenblas", f"-Wl,-rpath,{lib}"],
            "bundle": [],
        }
    if libs := pkg_config("openblas", "--libs"):
        return {
            "define": ["-DSMRI_HAVE_CBLAS"],
            "include": pkg_config("openblas", "--cflags"),
            "link": libs,
            "bundle": [],
        }
    try:
        import scipy_openblas32 as wheel
    except ImportError:
        print("OpenBLAS not found: building the plain C path", file=sys.stderr)
        return {"define": [], "include": [], "link": [], "bundle": []}
    # The wheel is a build requirement and vanishes after the build: its library is copied beside the extension.
    lib = Path(wheel.get_lib_dir())
    return {
        "define": ["-DSMRI_HAVE_CBLAS", "-DSMRI_CBLAS_SCIPY"],
        "include": [f"-I{wheel.get_include_dir()}"],
        "link": [f"-L{lib}", f"-l{wheel.get_library()}", *BESIDE],
        "bundle": [str(lib / f"lib{wheel.get_library()}{LIBRARY_SUFFIX}"), *openblas_licenses()],
    }


def openblas_licenses() -> list[str]:
    """The licence texts that must travel with the library."""
    files = importlib.metadata.files("scipy-openblas32") or []
    return [str(file.locate()) for file in files if "licenses" in file.parts]


def require_codecs() -> None:
    """Says which package is missing before the compiler drowns it."""
    include = [f"-I{ROOT / 'include'}", *pkg_config("libpng", "--cflags"), *pkg_config("libjpeg", "--cflags")]
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    for header, package in (("png.h", "libpng-dev"), ("jpeglib.h", "libjpeg-dev")):
        program = f"#include <stddef.h>\n#include <stdio.h>\n#include <{header}>\n"
        try:
            done = subprocess.run(
                [*compiler, *include, "-fsyntax-only", "-x", "c", "-"], input=program, text=True, capture_output=True
            )
        except OSError:
            sys.exit(f"no C compiler: '{compiler[0]}' cannot be run. On Debian or Ubuntu: apt-get install gcc")
        if done.returncode != 0:
            sys.exit(f"{header} not found. On Debian or Ubuntu: apt-get install {package}\n\n{done.stderr}")


class BuildExt(build_ext):
    """Compiles file by file, each for its instruction sets, on all cores; not what other machines have."""

    def run(self) -> None:
        self.develops = bool(self.inplace or self.editable_mode)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        require_codecs()
        blas = find_openblas()
        flags = [*C_FLAGS, *SYSTEM_FLAGS, *blas["define"], *blas["include"]]
        flags += pkg_config("libpng", "--cflags") + pkg_config("libjpeg", "--cflags")
        link = list(ext.extra_link_args)
        if os.environ.get("SMRI_WERROR") == "1":
            flags.append("-Werror")
        if sanitize := os.environ.get("SMRI_SANITIZE"):
            flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
            link.append(f"-fsanitize={sanitize}")

        if self.develops:
            flags.append("-DSMRI_TESTING")  # with the module `_testing`, which no wheel has

        def compile_one(source: str, isa: str) -> list[str]:
            define = [f"-DSMRI_ISA={isa}"] if source.endswith("_loops.c") else []
            return self.compiler.compile(
                [source],
                output_dir=os.path.join(self.build_temp, isa),
                macros=ext.define_macros,
                include_dirs=ext.include_dirs,
                extra_postargs=[*flags, *ISA_FLAGS.get(MACHINE, {}).get(isa, []), *define],
                depends=ext.depends,
            )

        here = [source for source in ext.sources if self.develops or Path(source).parent.name != "testing"]
        tasks = [(source, isa) for source in here for isa in instruction_sets(source)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
            objects = [name for names in workers.map(compile_one, *zip(*tasks, strict=True)) for name in names]

        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in blas["bundle"]:
            name = Path(file).name
            is_library = LIBRARY_SUFFIX in name
            shutil.copy2(file, target.parent / (name if is_library else f"libscipy_openblas.{name}"))
        self.compiler.link_shared_object(
            objects,
            str(target),
            extra_postargs=[*link, *blas["link"], *codec_libraries(), "-lm", "-lpthread"],
            build_temp=self.build_temp,
        )

    def bundled(self) -> list[Path]:
        return sorted((Path(self.build_lib) / "simclr_mri").glob("libscipy_openblas*"))

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        for file in self.bundled():
            shutil.copy2(file, PACKAGE)

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), *map(str, self.bundled())]


if FREE_THREADED:
    sys.exit(
        "simclr_mri needs a Python with the global interpreter lock: its extension guards what threads share with it.\n"
        "This Python is free-threaded (its name ends in 't'). Use the usual build of the same version, such as "
        "python3.13"
    )

extension = Extension(
    "simclr_mri._core",
    sources=sources(),
    depends=headers(),
    include_dirs=["include", "csrc", "python/binding", numpy.get_include()],
    define_macros=[
        ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
        ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
        ("Py_LIMITED_API", "0x030B0000"),
    ],
    extra_link_args=HIDING,
    py_limited_api=True,
)

setup(
    ext_modules=[extension],
    cmdclass={"build_ext": BuildExt},
    options={
        "bdist_wheel": {"py_limited_api": "cp311"},
        # The C is GCC's and Clang's: on Windows that of MSYS2.
        **({"build": {"compiler": "mingw32"}} if sys.platform == "win32" else {}),
    },
)
