"""The demo, shortened: from PNG folders to the report; again, which reads what is there; and its page in a browser."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

import simclr_mri as sm
from reference.browser import CHROMIUM, Browser, browser
from simclr_mri.cli import main

SHORT = [
    "--n-subjects", "24", "--slices", "2", "--image-size", "32", "--label-fractions", "0.3", "1", "--n-bootstrap", "20",
    "--data.split", "0.6", "0.2", "0.2", "--data.task", "3class", "--seeds", "1",
    "--pretrain.epochs", "1", "--pretrain.batch-size", "8", "--finetune.epochs", "1", "--finetune.min-steps", "2",
    "--pretrain.verbose", "0",
]  # fmt: skip
WIDTHS = (1400, 390)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where a demo is, and what it said."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["demo", "--out", str(out), *SHORT]) == 0
    return out, said.getvalue()


def test_the_demo_from_files_to_report(done):
    out, text = done
    before, after = text.split("run 1 of 4")
    assert "It will take about" in before and "of memory" in before and "48 phantom slices" in before
    assert "without labels: 1 epoch\n" in before
    assert f"Open {out / 'report.html'}" in after and "\n  30 %  " in after
    assert len(list((out / "phantoms").rglob("*.png"))) == 96  # images and masks
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") >= 9 and "Where the networks look" in page and "http" not in page


def test_a_finished_demo_is_read(done, capsys, monkeypatch):
    out, _ = done
    table = (out / "study.csv").read_bytes()
    for cls in (sm.SimCLR, sm.Classifier):
        monkeypatch.setattr(cls, "estimate", lambda self, *_: pytest.fail("timed again"))
    assert main(["demo", "--out", str(out), *SHORT]) == 0
    assert (out / "study.csv").read_bytes() == table
    assert "finished before" in capsys.readouterr().out


# ---- pages in a browser ----------------------------------------------------------------------------------------------

FAULTS = """(() => {
  const faults = [], root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`the page is ${root.scrollWidth} wide on ${innerWidth}`);
  for (const image of document.querySelectorAll("main img"))
    if (!image.naturalWidth || !image.alt) faults.push(`a picture does not load or has no words: ${image.alt}`);
  for (const link of document.querySelectorAll("a[href]"))
    if (!link.hash || !document.getElementById(link.hash.slice(1))) faults.push(`${link.textContent} leads nowhere`);
  for (const table of document.querySelectorAll("table")) {
    const box = table.parentElement;
    if (table.offsetWidth > box.clientWidth && getComputedStyle(box).overflowX != "auto") faults.push("a cut table");
    if (innerWidth < 700 && table.offsetWidth > box.clientWidth + 1) faults.push("a table whose end a phone hides");
    if (table.querySelector("th:not([scope])")) faults.push("a table head without scope");
  }
  const ids = [...document.querySelectorAll("[id]")].map(part => part.id);
  if (new Set(ids).size < ids.length) faults.push("an id twice");
  if (/\\{(figure|table):/.test(document.body.innerText)) faults.push("a mention without a figure");
  return faults;
})()"""


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(done, tmp_path_factory) -> list[Path]:
    """Of a study, an audit and a label curve."""
    folder = tmp_path_factory.mktemp("pages")
    ds = sm.datasets.phantoms(n_subjects=24, slices=2, image_size=32, task="cdr0")
    curve = sm.label_curve(ds, ["pixels", "random"], n_labelled=[4, 8], draws=3, repeats=1)
    sm.studies.label_curve_report(curve).write(folder / "curve.html")
    sm.audit(ds).to_html(folder / "audit.html")
    return [done[0] / "report.html", folder / "curve.html", folder / "audit.html"]


def test_pages_hold_together_on_a_desk_and_on_a_phone(chromium: Browser, pages: list[Path]):
    for page in pages:
        for width in WIDTHS:
            chromium.open(page, width)
            assert chromium.run(FAULTS) == [], f"{page.name} at {width}"
            assert chromium.run("document.body.innerText.match(/medical device/g).length") == 1


def test_what_a_planted_fault_would_be(chromium: Browser, tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><main><img src="gone.png" alt="gone"><a href="#no">x</a><p style="width:2000px">{figure:x}</p>'
        "<table><tr><th>x</th></tr></table></main>"
    )
    chromium.open(page, 390)
    assert len(chromium.run(FAULTS)) == 5


def test_the_study_opens_with_its_conclusion_a_table_and_contents(chromium: Browser, pages: list[Path]):
    chromium.open(pages[0], 1400)
    order = "[...document.querySelectorAll('main > *')].slice(0, 5).map(part => part.className || part.tagName)"
    assert chromium.run(order) == ["H1", "when", "lead", "table", "NAV"]
    texts = "[...document.querySelectorAll('{}')].map(part => part.innerText)"
    heads, links = (chromium.run(texts.format(what)) for what in ("h2", "nav a"))
    assert heads == links and len(heads) > 8
    lead = chromium.run("document.querySelector('.lead').innerText")
    assert lead.endswith(".") and lead.count(". ") == 0 and "SimCLR" in lead


def test_dark_follows_the_reader_and_paper_is_light(chromium: Browser, pages: list[Path]):
    paper = "getComputedStyle(document.querySelector('main')).backgroundColor"
    found = {}
    for scheme in ("light", "dark"):
        chromium.open(pages[0], 390, scheme=scheme)
        found[scheme] = chromium.run(paper)
    chromium.print_media()
    assert found["light"] == chromium.run(paper) == "rgb(255, 255, 255)" and found["dark"] != found["light"]


def test_wide_tables_are_lists_on_a_phone_and_tables_on_paper(chromium: Browser, pages: list[Path]):
    rows = "[...document.querySelectorAll('table:has([data-head]) tbody tr')]"
    side_by_side = f"{rows}.every(row => row.cells[0].offsetTop == row.cells[1].offsetTop)"
    for page in pages:
        chromium.open(page, 390)
        label = "getComputedStyle(document.querySelector('td[data-head]'), '::before').content"
        assert chromium.run(label) != "none" and not chromium.run(side_by_side)
        chromium.print_media()
        assert chromium.run(label) == "none" and chromium.run(side_by_side)


def test_pictures_enlarge_by_keyboard_and_come_back(chromium: Browser, pages: list[Path]):
    chromium.open(pages[0], 390)
    chromium.run("document.querySelector('button.enlarge').focus()")
    chromium.press("Enter")
    shown = (
        "document.querySelector('dialog').open && document.querySelector('dialog img').getBoundingClientRect().width"
    )
    assert chromium.run(shown) > chromium.run("document.querySelector('button.enlarge img').clientWidth")
    chromium.press("Escape")
    assert chromium.run("!document.querySelector('dialog').open")
    assert chromium.run("document.activeElement == document.querySelector('button.enlarge')")
