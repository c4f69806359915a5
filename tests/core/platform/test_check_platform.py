"""csrc/platform as a C program uses it: check_platform.c, compiled with the core's own sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def build(folder: Path, *options: str) -> Path | None:
    """The program, or None where the compiler lacks what `options` ask for."""
    program = folder / "check_platform"
    sources = [Path(__file__).with_name("check_platform.c"), *sorted((ROOT / "csrc" / "platform").glob("*.c"))]
    command = ["cc", "-std=c11", "-O1", "-g", "-DNDEBUG", f"-I{ROOT / 'include'}", f"-I{ROOT / 'csrc'}", *options]
    done = subprocess.run([*command, *map(str, sources), "-lm", "-lpthread", "-o", str(program)], capture_output=True)
    if not options:
        assert done.returncode == 0, done.stderr.decode()
    return program if done.returncode == 0 else None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = build(tmp_path_factory.mktemp("platform"))
    assert built is not None
    return built


@pytest.mark.parametrize("check", ["many_tasks", "signals", "affinity", "claims", "between", "messages", "races"])
def test_check(program, check):
    done = subprocess.run([str(program), check], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_facts_about_the_processor_are_read_without_a_race(tmp_path):
    program = build(tmp_path, "-fsanitize=thread")
    if program is None:
        pytest.skip("needs a compiler with the thread sanitizer")
    done = subprocess.run([str(program), "races"], capture_output=True, text=True, timeout=60)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("needs a kernel whose address layout the thread sanitizer knows")
    assert done.returncode == 0, done.stdout + done.stderr
