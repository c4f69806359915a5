"""The bar has room beside what it tells, and tables have five columns."""

from __future__ import annotations

import re
import sys

import pytest

from simclr_mri._shared import chief_columns, quietly
from simclr_mri.learning import History

PROGRAM = """
import logging, sys, time
from simclr_mri._shared import Progress
progress = Progress("fine-tune a_start_with_a_long_name 10%", 7200, verbose=1)
for step in range(4):
    time.sleep(0.12)
    progress.update(32, epoch="1/3", step=f"{step}/225", loss="12.3456", gradient_norm="1.2")
progress.epoch(1, 3, {"epoch": 1, "loss": 12.3456, "val_loss": 1.0, "val_balanced_accuracy": 0.5, "seconds": 3.0})
progress.update(32, loss="12.3456")
progress.close()
"""


@pytest.mark.parametrize("columns", [80, 132])
def test_the_bar_is_a_bar(columns):
    """On a real terminal: twenty columns at least, and the loss, images/s and the time left are there."""
    pexpect = pytest.importorskip("pexpect", reason="needs a terminal")
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM], dimensions=(24, columns), encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    lines = [line for line in re.split(r"[\r\n]+", child.before) if "loss" in line]
    assert lines
    for line in lines:
        facts = r"([\d:]+) left, ([\d.]+) images/s, loss 12.3(456|5)(.*)"
        found = re.fullmatch(rf"(.+): +(\d+)% \|(.+)\| {facts}", line.strip())
        assert found, line
        assert len(found[3]) >= 20 and len(line) <= columns and found[1].endswith("10%")
    assert ("epoch 1/3" in child.before) == (columns > 100)


def test_five_columns_and_a_callbacks_own_first():
    names = "epoch loss lr images seconds images_per_s temperature spread knn_accuracy probe_balanced_accuracy".split()
    assert chief_columns(names) == ["epoch", "loss", "knn_accuracy", "probe_balanced_accuracy", "seconds"]
    assert chief_columns([*names, "mine"]) == ["epoch", "loss", "mine", "knn_accuracy", "seconds"]
    history = History([{name: 1.0 for name in names}])
    assert len(str(history).splitlines()[0].split()) == 5 and history.columns == names
    assert history.to_csv().splitlines()[0].split(",") == names


def test_quiet_is_quiet(capsys):
    from simclr_mri._shared import Progress, say, say_next

    with quietly():
        say("a remark")
        say_next("a step")
        Progress("title", 3, verbose=2).epoch(1, 1, {"loss": 1.0})
    assert capsys.readouterr() == ("", "")
    say("a remark")
    assert capsys.readouterr().out == "a remark\n"
