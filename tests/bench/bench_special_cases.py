"""What each special case of the core earns: a step with it beside one without it, in one process, in turn.

    python tests/bench/bench_special_cases.py [--threads 2] [--depth 50] [--precision fp32] [--images 8] [--rounds 24]

Each case is taken out of a copy of csrc by the change that is listed here, and the library is built again. One that
earns less than 0.5 % should go. The last two columns are robust against busy neighbours: each operation's least time,
and its lower quartile, over the rounds, summed. A ratio above 1 is what the case saves.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).parent

# What is left out: the file below csrc, the text that stands there, and what takes its place.
CASES = {
    "nothing (the noise)": ("network/fuse.c", "struct rewriting rewriting;", "struct rewriting rewriting ;"),
    "all work on the way": (
        "network/fuse.c",
        "const bool fuses = !program->config.unfused;",
        "const bool fuses = program->config.unfused && false;",
    ),
    "producers on the way": (
        "network/fuse.c",
        "fuse_reduction(program, i), fuse_producer(program, i);",
        "fuse_reduction(program, i), (void)fuse_producer;",
    ),
    "reductions on the way": (
        "network/fuse.c",
        "fuse_reduction(program, i), fuse_producer(program, i);",
        "fuse_producer(program, i), (void)fuse_reduction;",
    ),
    "operations that overlap": ("network/fuse.c", "overlaps = true;", "overlaps = false;"),
    "first stage by parts": ("network/build.c", "PREFIX_BYTES ((size_t)4 << 20)", "PREFIX_BYTES ((size_t)4 << 40)"),
    "stores past the caches": ("kernels/kernels.h", "bytes >= (size_t)8 << 20", "bytes >= (size_t)8 << 40"),
    "columns four by four": ("kernels/family.h", "SMRI_SIDE_BY_SIDE ((size_t)4)", "SMRI_SIDE_BY_SIDE ((size_t)1)"),
    "igemm: images innermost": ("layers/conv2d/igemm.c", "#define SMALL_IMAGE 8", "#define SMALL_IMAGE 0"),
    "igemm: memory ahead": ("layers/conv2d/igemm.c", "if (steps > 0) queue->rate", "if (steps == 0) queue->rate"),
    "weights: memory ahead": (
        "layers/conv2d/igemm_wgrad.c",
        "run->prefetch_rate = lines < steps ? lines > 0 : (lines + steps / 2) / steps;",
        "run->prefetch_rate = 0 * lines * steps;",
    ),
    "weights: x in place": ("layers/conv2d/igemm_wgrad.c", "job.in_place = !pairs &&", "job.in_place = false &&"),
    "Winograd: memory ahead": ("layers/conv2d/winograd.c", "if (list == NULL) return;", "if (steps > 0) return;"),
    "Winograd: shared inputs": (
        "layers/conv2d/winograd.c",
        "SHARED_U_LIMIT ((size_t)16384)",
        "SHARED_U_LIMIT SIZE_MAX",
    ),
    "Winograd: shared weights": (
        "layers/conv2d/winograd.c",
        "SHARED_U_LIMIT ((size_t)16384)",
        "SHARED_U_LIMIT ((size_t)0)",
    ),
    "workers pinned": ("platform/affinity_linux.c", "atomic_bool pinning = true", "atomic_bool pinning = false"),
}


def build(folder: Path, into: Path) -> None:
    command = ["make", "-s", "-j2", "-C", str(folder / "csrc"), "IO=0", f"BUILD={into}", "all"]
    subprocess.run(command, check=True)


def build_without(case: str, folder: Path) -> Path:
    """The library without the case."""
    name, old, new = CASES[case]
    tree = folder / "tree"
    for part in ("csrc", "include"):
        shutil.copytree(ROOT / part, tree / part)
    file = tree / "csrc" / name
    text = file.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"{name}: expected {old!r} once, found it {text.count(old)} times: adapt CASES")
    file.write_text(text.replace(old, new))
    build(tree, folder / "build")
    return folder / "build" / "libsmri.so"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=50, choices=[18, 34, 50, 101])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="all by default"
    )
    parser.add_argument("--folder", type=Path, help="keeps what is built (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        plain = folder / "plain"
        build(ROOT, plain)
        program = folder / "compare_libraries"
        source = str(BENCH / "compare_libraries.c")
        subprocess.run(["cc", "-O1", f"-I{ROOT / 'include'}", source, "-ldl", "-o", str(program)], check=True)
        print("| without | pass | least | paired median (quartiles) | by least times | by lower quartiles |")
        print("| --- " * 6 + "|")
        for case in options.cases:
            there = folder / re.sub(r"\W+", "_", case)
            library = there / "build" / "libsmri.so"
            if not library.exists():
                library = build_without(case, there)
            sizes = [
                str(options.depth),
                options.precision,
                *map(str, (options.images, options.rounds, options.threads)),
            ]
            done = subprocess.run(
                [str(program), *sizes, str(plain / "libsmri.so"), str(library)],
                check=True,
                capture_output=True,
                text=True,
            )
            for line in done.stdout.splitlines()[2:]:  # the first two are the whole library beside itself
                print("| " + " | ".join([case, *line.split("\t")[1:]]) + " |", flush=True)


if __name__ == "__main__":
    main()
