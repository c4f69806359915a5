"""The demo, shortened: from PNG folders to the report; and again, which reads what is there."""

from __future__ import annotations

import pytest

from simclr_mri.cli import main

SHORT = [
    "--n-subjects", "24", "--slices", "2", "--image-size", "32", "--label-fractions", "0.3", "1", "--n-bootstrap", "20",
    "--pretrain.epochs", "1", "--pretrain.batch-size", "8", "--finetune.epochs", "1", "--finetune.min-steps", "2",
    "--pretrain.verbose", "0",
]  # fmt: skip


def test_the_demo_from_files_to_report(tmp_path, capsys, monkeypatch):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *SHORT]) == 0
    text = capsys.readouterr().out
    before, after = text.split("run 1 of 4")
    assert "It will take about" in before and "of memory" in before and "48 phantom slices" in before
    assert "without labels: 1 epoch\n" in before
    assert f"Open {out / 'report.html'}" in after and "| 30 % |" in after
    assert len(list((out / "phantoms").rglob("*.png"))) == 96  # images and masks
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") >= 9 and "Where the networks look" in page and "http" not in page
    table = (out / "study.csv").read_bytes()

    from simclr_mri import Classifier, SimCLR

    for cls in (SimCLR, Classifier):
        monkeypatch.setattr(cls, "estimate", lambda self, *_: pytest.fail("timed again"))
    assert main(["demo", "--out", str(out), *SHORT]) == 0
    assert (out / "study.csv").read_bytes() == table
    assert "finished before" in capsys.readouterr().out
