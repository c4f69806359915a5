"""Self-contained HTML reports: text, tables and pictures in one file that needs no network."""

from __future__ import annotations

import datetime
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._figures import describe, png_tag
from ._files import atomic_writer
from ._html import html_table
from ._page_style import CSS, SCRIPT

NOT_A_DEVICE = "A research tool, not a medical device: nothing here diagnoses anyone."
_MENTION = re.compile(r"\{(figure|table):([\w-]+)\}")


class Picture(NamedTuple):
    """A figure on its way into a report; `alt` says what is seen, and is made from the axes where it is empty."""

    ax: Any
    caption: str = ""
    alt: str = ""
    key: str = ""


class Report:
    """Parts in the order in which they are added, written as one file.

    What stands before the first section opens the page; then comes a list of contents. Figures, and tables with a
    caption, are numbered. Text may mention them: "{figure:scores}" reads as "Figure 2" if that is the one with
    `key="scores"`, and links to it.

    Examples
    --------
    >>> report = Report("A title")
    >>> report.section("Data").text("Four images.").table(["class", "images"], [["a", 4]])
    <Report 'A title': 3 parts>
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[str] = []
        self._sections: list[tuple[str, str]] = []
        self._opening = 0  # parts before the first section
        self._numbers = {"figure": 0, "table": 0}
        self._keys: dict[tuple[str, str], int] = {}

    def section(self, title: str) -> Report:
        if not self._sections:
            self._opening = len(self.parts)
        name = f"section-{len(self._sections) + 1}"
        self._sections.append((name, title))
        return self.html(f'<h2 id="{name}">{html.escape(title)}</h2>')

    def subsection(self, title: str) -> Report:
        return self.html(f"<h3>{html.escape(title)}</h3>")

    def text(self, text: str, kind: str = "") -> Report:
        """A paragraph; kind "lead" or "note" sets it apart."""
        attribute = f' class="{kind}"' if kind else ""
        return self.html(f"<p{attribute}>{html.escape(text)}</p>")

    def items(self, texts: Iterable[str]) -> Report:
        """A list with a dot before each text."""
        return self.html(f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in texts)}</ul>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", *, key: str = "") -> Report:
        """A table, numbered if it has a caption; it scrolls by itself where it is wider than the screen."""
        table = html_table(head, rows)
        if not caption:
            return self.html(f'<div class="scroll" role="region" tabindex="0" aria-label="table">{table}</div>')
        name, label = self._numbered("table", key)
        title = f'<figcaption id="{name}-caption"><b>{label}.</b> {html.escape(caption)}</figcaption>'
        box = f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-caption">{table}</div>'
        return self.html(f'<figure class="table" id="{name}">{title}{box}</figure>')

    def figure(self, ax: Any, caption: str = "", *, alt: str = "", key: str = "") -> Report:
        return self.html(self._figure(Picture(ax, caption, alt, key)))

    def figures(self, pictures: Iterable[tuple[Any, ...]]) -> Report:
        """Pictures side by side, as many as fit a line: each (ax, caption), or a `Picture`."""
        inside = "".join(self._figure(Picture(*picture)) for picture in pictures)
        return self.html(f'<div class="row">{inside}</div>')

    def details(self, summary: str, value: Any) -> Report:
        """JSON behind a click."""
        text = html.escape(json.dumps(value, indent=2, default=str))
        return self.html(f"<details><summary>{html.escape(summary)}</summary><pre>{text}</pre></details>")

    def folded_table(self, summary: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Report:
        """A table behind a click."""
        box = f'<div class="scroll" role="region" tabindex="0" aria-label="table">{html_table(head, rows)}</div>'
        return self.html(f"<details><summary>{html.escape(summary)}</summary>{box}</details>")

    def html(self, text: str) -> Report:
        self.parts.append(text)
        return self

    def __repr__(self) -> str:
        return f"<Report {self.title!r}: {len(self.parts)} parts>"

    def _repr_html_(self) -> str:
        return self._mentioned("".join(self.parts), links=False)

    def to_html(self) -> str:
        now = datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
        title = html.escape(self.title)
        opening, rest = self.parts[: self._opening], self.parts[self._opening :]
        body = self._mentioned("\n".join([*opening, self._contents(), *rest]), links=True)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
            f'<p class="when">simclr_mri, {now}. {NOT_A_DEVICE}</p>\n{body}\n</main>\n'
            f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the file, whole or not at all."""
        path = Path(path).expanduser()
        with atomic_writer(path) as file:
            file.write(self.to_html().encode())
        return path

    def _contents(self) -> str:
        if len(self._sections) < 2:
            return ""
        items = "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for name, title in self._sections)
        return f'<nav aria-label="Contents"><p>Contents</p><ol>{items}</ol></nav>'

    def _figure(self, picture: Picture) -> str:
        name, label = self._numbered("figure", picture.key)
        text = f"<figcaption><b>{label}.</b> {html.escape(picture.caption)}</figcaption>"
        tag = png_tag(picture.ax.figure, alt=picture.alt or describe(picture.ax, picture.caption))
        return f'<figure id="{name}">{tag}{text}</figure>'

    def _numbered(self, kind: str, key: str) -> tuple[str, str]:
        """(id, label) of the next figure or table."""
        self._numbers[kind] += 1
        number = self._numbers[kind]
        if key:
            self._keys[kind, key] = number
        return f"{kind}-{number}", f"{kind.capitalize()} {number}"

    def _mentioned(self, text: str, *, links: bool) -> str:
        """`text` with "{figure:key}" put into words; what is no key of ours stays as it is."""

        def words(found: re.Match[str]) -> str:
            kind, key = found.groups()
            if (kind, key) not in self._keys:
                return found.group()
            number = self._keys[kind, key]
            label = f"{kind.capitalize()} {number}"
            return f'<a href="#{kind}-{number}">{label}</a>' if links else label

        return _MENTION.sub(words, text)
