"""Long lines on a terminal are broken between words; in a pipe they are whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simclr_mri.cli._reflow import reflow

NOTE = (
    "simclr-mri: \x1b[33mnote\x1b[0m: class A has 2 subjects for 3 sets: train and test get one each. "
    "Join it to its neighbour: --merge Mild_Demented,Moderate_Demented=joined, or do without val: --split 0.8 0.2"
)
COMMAND = "1 of 2 runs is evaluated on test, and two are needed: simclr-mri evaluate runs/clf --on test --out x"
ROW = "nearest neighbour    image    shuffled     0.500     0.489  (0.203 to 0.775 in 95 % of shuffles)"


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("line", [NOTE, COMMAND, ROW, "word " * 100, "  ok   files   " + "many words " * 30])
def test_all_words_are_there_and_in_the_width(line, width):
    lines = reflow(line, width).split("\n")
    assert " ".join(lines).split() == line.split()
    for part in lines:
        assert (
            len(part.replace("\x1b[33m", "").replace("\x1b[0m", "")) <= width
            or "simclr-mri evaluate" in part
            or (part.strip().startswith("--merge"))
        )


def test_what_is_typed_is_not_broken():
    assert any(
        part.endswith("simclr-mri evaluate runs/clf --on test --out x") for part in reflow(COMMAND, 40).split("\n")
    )
    assert any("--merge Mild_Demented,Moderate_Demented=joined," in part for part in reflow(NOTE, 40).split("\n"))


def test_a_line_goes_on_in_its_last_column_and_a_bar_is_left_alone():
    first, second = reflow(ROW, 80).split("\n")
    assert second.index("95") == first.index("(0.203") or second.strip().startswith(("95", "in", "of", "%"))
    assert reflow("\rSimCLR: " + 90 * "#", 80) == "\rSimCLR: " + 90 * "#"
    assert reflow(80 * "x", 80) == 80 * "x" and reflow(90 * "x", 80) == 90 * "x"


def test_on_a_terminal_only():
    pexpect = pytest.importorskip("pexpect", reason="needs a terminal")
    command = ["-m", "simclr_mri", "pretrain", "/nowhere/" + 30 * "x"]
    shown = pexpect.spawn(sys.executable, command, dimensions=(24, 60), encoding="utf-8", timeout=60)
    text = shown.read()
    assert len(text.splitlines()) > 1 and "error" in text
    piped = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert len(piped.stderr.splitlines()) == 1
