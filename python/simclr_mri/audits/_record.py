"""What an audit finds: findings, and the record that prints, saves and shows them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._shared import ArrayRecord, Record, plain_row
from ..datasets import Dataset
from ..splits import Copies
from ._baselines import Baseline
from ._shortcuts import TOGETHER, Shortcut, ShortcutSearch
from ._subjects import Groups

_FORMER_METHODS = {"dark share": "CSF fraction", "share of dark pixels": "CSF fraction"}


@dataclass(frozen=True)
class Finding(Record):
    """One line of the audit's table; `level` is "good", "note" or "bad"."""

    check: str
    result: str
    level: str


@dataclass(frozen=True, eq=False)
class Audit(ArrayRecord):
    """What `audit` found. Prints as a table and a verdict; `plot()` draws it, `to_html()` makes a page.

    Attributes
    ----------
    dataset : Dataset
    findings : tuple of Finding
    groups : Groups
        Subjects inferred from the pixels.
    agreement : float or None
        Adjusted Rand index of these and the given subjects; None when subjects are unknown.
    baselines : tuple of Baseline
    subjects_from : str
        "given", "pixels" or "unknown": what the baselines by subject went by.
    verdict : str
    seconds : float
    copies : tuple of (int, int)
        Indices of images that show the same picture.
    copy_search : Copies or None
        How the copies differ, and how many planted ones the search found.
    shortcuts : ShortcutSearch
        How well properties of files and images name the class, with nothing of the disease in them.

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> found = audit(datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0"))
    >>> found.ok, found.baseline("nearest neighbour", "subject").accuracy < 1
    (True, True)
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    groups: Groups
    agreement: float | None
    baselines: tuple[Baseline, ...]
    subjects_from: str
    verdict: str
    seconds: float
    copies: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    copy_search: Copies | None = field(default=None, repr=False)
    shortcuts: ShortcutSearch = field(default=ShortcutSearch(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing bad was found."""
        return all(finding.level != "bad" for finding in self.findings)

    def baseline(self, method: str, by: str, *, shuffled: bool = False) -> Baseline | None:
        """One row of the table of baselines; None if it was not run."""
        if method in _FORMER_METHODS:
            new = _FORMER_METHODS[method]
            warnings.warn(f"method: {method!r} is now called {new!r}", FutureWarning, stacklevel=2)
            method = new
        rows = [b for b in self.baselines if (b.method, b.by, b.shuffled) == (method, by, shuffled)]
        return rows[0] if rows else None

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a finding; `to_frame()` has them as a table."""
        return [plain_row(finding) for finding in self.findings]

    table = rows

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, lists and strings, for JSON."""
        return {
            "dataset": self.dataset.name,
            "n_images": len(self.dataset),
            "ok": self.ok,
            "verdict": self.verdict,
            "findings": self.table(),
            "groups": {
                "found": self.groups.found,
                "n": self.groups.n_groups,
                "separation": self.groups.separation,
                "agreement_with_subjects": self.agreement,
            },
            "subjects_from": self.subjects_from,
            "copies": self._copies(),
            "baselines": [vars(b) for b in self.baselines],
            "shortcuts": self._shortcuts(),
            "seconds": self.seconds,
        }

    def _copies(self) -> dict[str, object]:
        search = self.copy_search
        if search is None:
            return {"pairs": [list(pair) for pair in self.copies]}
        files = self.dataset.files
        pairs = [[files[a], files[b], search.edit(i)] for i, (a, b) in enumerate(search.pairs.tolist())]
        return {"pairs": pairs, "planted": search.n_controls, "planted_found": search.n_controls_found}

    def _shortcuts(self) -> dict[str, object]:
        search = self.shortcuts
        rows = [
            vars(s)
            | {"balanced_accuracy": s.balanced_accuracy.to_dict(), "is_clear": s.is_clear}
            | {"values": dict(zip(search.classes, s.values, strict=False))}
            for s in search.found
        ]
        return {
            "found": rows,
            "constant": list(search.constant),
            "left_out": list(search.left_out),
            "files_not_seen": search.not_seen,
        }

    def plot(self, ax: Any = None) -> Any:
        """Draws links, baselines and look-alikes; see `audit_page.plot_audit`."""
        from ._page import plot_audit

        return plot_audit(self, ax=ax)

    def to_html(self, path: str | Path | None = None) -> str | Path:
        """The audit as a self-contained page; written to `path` if one is given."""
        from ._page import audit_report

        report = audit_report(self)
        return report.to_html() if path is None else report.write(path)

    def __repr__(self) -> str:
        return f"<Audit of {self.dataset.name!r}: {len(self.findings)} checks>"

    def __str__(self) -> str:
        mark = {"good": "ok", "note": "..", "bad": "!!"}
        width = max(len(f.check) for f in self.findings)
        lines = [f"{mark[f.level]}  {f.check:<{width}}  {f.result}" for f in self.findings]
        if self.baselines:
            lines += ["", f"{'baseline':<20} {'split by':<8} {'labels':<9} accuracy  balanced"]
        for b in self.baselines:
            labels = "shuffled" if b.shuffled else "true"
            line = f"{b.method:<20} {b.by:<8} {labels:<9} {b.accuracy:8.3f}  {b.balanced_accuracy:8.3f}"
            if b.balanced_accuracy_range:
                low, high = b.balanced_accuracy_range
                line += f"  ({low:.3f} to {high:.3f} in 95 % of shuffles)"
            lines.append(line)
        lines += _shortcut_lines(self.shortcuts.found)
        return "\n".join([*lines, "", self.verdict])

    def _repr_html_(self) -> str:
        from ._page import audit_report

        return audit_report(self)._repr_html_()


def _shortcut_lines(found: tuple[Shortcut, ...]) -> list[str]:
    """A table of what names the class better than by chance, and of all of a kind together."""
    told = [s for s in found if s.predicts or s.name == TOGETHER]
    if not told:
        return []
    lines = ["", f"{'shortcut':<26} {'of':<6} {'split by':<8} balanced  by chance  p (best of all by chance)"]
    for s in told:
        value = s.balanced_accuracy
        row = f"{s.name:<26} {s.kind:<6} {s.split_by:<8} {value.value:8.3f}  {s.by_chance:9.3f}  {s.p:.3f}"
        lines.append(row + ("" if value.low != value.low else f"  (95 % CI {value.low:.3f} to {value.high:.3f})"))
    return lines


def percent(share: float) -> str:
    """One decimal, and two where one would round to 100 % what is less."""
    return f"{share:.2%}" if 0.9995 <= share < 1 else f"{share:.1%}"
