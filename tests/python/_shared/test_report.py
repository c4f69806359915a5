"""Reports: one file, nothing from the network, text escaped; and how times and sizes are written."""

from __future__ import annotations

import io
import sys
from html.parser import HTMLParser

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import pytest

from simclr_mri import History, Report
from simclr_mri._shared import Picture, Progress, bytes_text, describe, html_table, seconds_text, versions
from simclr_mri.learning import RunLog

VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_report_is_one_whole_file(tmp_path):
    ax = plt.subplots()[1]
    report = Report("Heads & <tails>").section("One").text("a < b", "lead").table(["x", "y"], [["<i>", 1]])
    report.figure(ax, 'a "caption"').details("more", {"key": [1, 2]})
    text = report.write(tmp_path / "deep" / "report.html").read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == [] and text.startswith("<!doctype html>")
    assert "Heads &amp; &lt;tails&gt;" in text and "&lt;i&gt;" in text and "a &lt; b" in text
    assert "http" not in text and text.count("<img") == 1
    assert "<b>Figure 1.</b> a &quot;caption&quot;" in text and "<nav" not in text  # one section needs no contents
    assert plt.get_fignums() == [ax.figure.number]  # a figure of the caller stays open
    plt.close(ax.figure)


def test_figures_and_tables_are_numbered_and_mentioned_by_number():
    report = Report("T").text("{figure:b} and {table:t}, not {figure:unknown}.").section("One").section("Two & more")
    report.figures([(plt.subplots()[1], "first"), Picture(plt.subplots()[1], "second", "seen", "b")])
    report.table(["a", "b"], [["x", 1]], "counts", key="t")
    text = report.to_html()
    assert '<a href="#figure-2">Figure 2</a> and <a href="#table-1">Table 1</a>, not {figure:unknown}.' in text
    assert 'alt="seen"' in text and 'id="figure-2"' in text and '<a href="#section-2">Two &amp; more</a>' in text
    assert "Figure 2 and Table 1, not" in report._repr_html_()  # a notebook has one page, and links would lose it


def test_a_table_names_its_heads_and_lines_up_its_numbers():
    table = html_table(["class", "n", "share"], [["a<b", "1,204", "3.1 %"], ["c", "-", "12 (of 3)"]])
    assert '<th scope="col" class="n">n</th><th scope="col">share</th>' in table
    assert '<th scope="row" data-head="class">a&lt;b</th><td class="n" data-head="n">1,204</td>' in table
    narrow = html_table(["class", "n"], [["a<b", "1,204"]])
    assert '<th scope="row">a&lt;b</th><td class="n">1,204</td>' in narrow


def test_a_figure_is_put_into_words():
    ax = plt.subplots()[1]
    ax.plot([1, 2], [0.25, 0.5], label="SimCLR")
    ax.axhline(0.1, label="chance")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.twinx().plot([1], [3.0], label="score")
    assert describe(ax) == "Loss by epoch. SimCLR: 0.25 at 1, 0.5 at 2. Chance: 0.1. Score: 3."


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")]
)
def test_times(seconds, text):
    assert seconds_text(seconds) == text


def test_sizes():
    assert bytes_text(812e6) == "812 MB" and bytes_text(1.24e9) == "1.2 GB"


def test_history_as_text_csv_and_frame():
    history = History([{"epoch": 1, "loss": 0.123456}, {"epoch": 2, "loss": float("nan"), "knn_accuracy": 0.5}])
    assert history.to_csv().splitlines() == ["epoch,loss,knn_accuracy", "1,0.123456,", "2,nan,0.5"]
    assert str(history).splitlines()[1].split() == ["1", "0.1235"]
    assert history.column("knn_accuracy") == [0.5]
    pandas = pytest.importorskip("pandas")
    assert isinstance(history.to_frame(), pandas.DataFrame) and list(history.to_frame().columns) == history.columns


def test_progress_in_a_log_file_is_lines_not_bars(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = Progress("SimCLR", 20, verbose=2)
    for epoch in (1, 2):
        progress.update(10)
        progress.epoch(epoch, 2, {"epoch": epoch, "loss": 0.5, "lr": 0.1})
    progress.close()
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("SimCLR: epoch 1/2  loss 0.5") and "left" in lines[0]
    assert lines[1].endswith("done in 0 s") and "\r" not in sys.stderr.getvalue()


def test_a_run_log_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = RunLog(None)
    log.event("start")
    log.history(History())
    assert log.manifest(kind="x")["versions"]["python"] and list(tmp_path.iterdir()) == []


def test_versions_name_what_a_bug_report_needs():
    assert {"simclr_mri", "python", "numpy", "cpu", "isa", "blas", "threads"} <= set(versions())


def test_a_long_epoch_in_a_log_file_shows_that_it_lives(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("simclr_mri._shared._progress.LINE_EVERY_S", 0.0)
    progress = Progress("SimCLR", 4000)
    progress.update(32, epoch="1/2", step="1/62", loss="4.1")
    line = sys.stderr.getvalue()
    assert line.startswith("SimCLR: epoch 1/2  step 1/62  loss 4.1") and "images/s" in line and line.endswith("left\n")
