"""Self-contained HTML reports: text, tables and pictures in one file that needs no network."""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ._figures import png_tag
from ._files import atomic_writer
from ._html import html_table

CSS = """
:root { --ink: #1d2433; --soft: #5a6478; --line: #e3e6ec; --accent: #0072B2; --paper: #ffffff; --wash: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink); }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 2.5rem 3rem 3rem; background: var(--paper); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
.when { color: var(--soft); margin-bottom: 1.4rem; }
.lead { background: #eef5fb; border-left: 4px solid var(--accent); padding: .8rem 1.1rem; max-width: none; }
.note { color: var(--soft); font-size: .92rem; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .3rem; max-width: 46rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.row figure { flex: 1 1 0; min-width: 240px; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .32rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
td + td, th + th { text-align: right; }
pre { background: var(--wash); padding: .8rem; overflow-x: auto; font-size: .8rem; border-radius: 4px; }
summary { cursor: pointer; color: var(--accent); }
@media print {
  body { background: white; }
  main { padding: 0; max-width: none; }
  h2 { break-after: avoid; }
  figure { break-inside: avoid; }
}
"""


class Report:
    """Parts in the order in which they are added, written as one file.

    Examples
    --------
    >>> report = Report("A title")
    >>> report.section("Data").text("Four images.").table(["class", "images"], [["a", 4]])
    <Report 'A title': 3 parts>
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[str] = []

    def section(self, title: str) -> Report:
        return self.html(f"<h2>{html.escape(title)}</h2>")

    def text(self, text: str, kind: str = "") -> Report:
        """A paragraph; kind "lead" or "note" sets it apart."""
        attribute = f' class="{kind}"' if kind else ""
        return self.html(f"<p{attribute}>{html.escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Report:
        return self.html(f'<div class="scroll">{html_table(head, rows)}</div>')

    def figure(self, ax: Any, caption: str = "") -> Report:
        return self.html(_figure(ax, caption))

    def figures(self, pairs: Iterable[tuple[Any, str]]) -> Report:
        """Pictures side by side, as many as fit a line."""
        return self.html('<div class="row">' + "".join(_figure(ax, caption) for ax, caption in pairs) + "</div>")

    def details(self, summary: str, value: Any) -> Report:
        """JSON behind a click."""
        text = html.escape(json.dumps(value, indent=2, default=str))
        return self.html(f"<details><summary>{html.escape(summary)}</summary><pre>{text}</pre></details>")

    def html(self, text: str) -> Report:
        self.parts.append(text)
        return self

    def __repr__(self) -> str:
        return f"<Report {self.title!r}: {len(self.parts)} parts>"

    def _repr_html_(self) -> str:
        return "".join(self.parts)

    def to_html(self) -> str:
        now = datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
        title = html.escape(self.title)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
            f'<p class="when">simclr_mri, {now}. A research tool, not a medical device: nothing here diagnoses '
            "anyone.</p>\n" + "\n".join(self.parts) + "\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the file, whole or not at all."""
        path = Path(path).expanduser()
        with atomic_writer(path) as file:
            file.write(self.to_html().encode())
        return path


def _figure(ax: Any, caption: str) -> str:
    text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{png_tag(ax.figure, alt=caption or 'figure')}{text}</figure>"
