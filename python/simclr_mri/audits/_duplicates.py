"""What the audit says about copies: how many, which, between whom, and what the search could have seen."""

from __future__ import annotations

import numpy as np

from .._shared import counted
from ..datasets import Dataset
from ..splits import BLIND, MEASURED, N_CANDIDATES, SOUGHT, Copies
from ._record import Finding, percent

MANY = 0.01
"""Share of images with a copy from which the set is not what its size says."""

MANY_CROWDED = 0.5
"""Share of images with too many look-alikes from which the search says so: such sets are of flat or equal pictures."""

WEAK = 0.9
"""Share of planted copies that must be found for a search without a finding to be called good."""


def report_copies(ds: Dataset, copies: Copies, findings: list[Finding], edited: bool = True) -> None:
    """Adds what was found, between whom, and what was looked for.

    Parameters
    ----------
    ds : Dataset
    copies : Copies
    findings : list of Finding
        Added to.
    edited : bool
        Whether edited copies were looked for.
    """
    many = len(np.unique(copies.pairs[:, 1])) > MANY * len(ds)
    for name, found in (("exact copies", copies.equal), ("edited copies", ~copies.equal)):
        if name == "edited copies" and not edited:
            findings.append(Finding(name, "not looked for (copies=False)", "note"))
            continue
        if name == "edited copies" and not copies.n_controls and not found.any():  # of none could one be planted
            findings.append(Finding(name, "not looked for: the images are blank", "note"))
            continue
        text, level = "none", "good"
        if found.any():
            text, level = (
                f"{counted(int(found.sum()), 'pair')}, {_example(ds, copies, found)}",
                "bad" if many else "note",
            )
        if name == "edited copies":
            text += f". Looked for: {SOUGHT} ({MEASURED})"
            if copies.n_controls:
                text += (
                    f"; of {copies.n_controls:,} such copies made for a trial, {copies.n_controls_found:,} were found"
                )
                text += f" ({copies.missed()})" if copies.missed() else ""
                if copies.n_controls_found < WEAK * copies.n_controls and level == "good":
                    text, level = text + ": copies may have been missed", "note"
            if copies.n_crowded > MANY_CROWDED * len(ds):
                text += (
                    f". {copies.n_crowded:,} images resemble more others than the {N_CANDIDATES} that each is compared "
                    "with: their copies may have been missed"
                )
                level = "note" if level == "good" else level
            text += f". Not looked for: {BLIND}"
        findings.append(Finding(name, text, level))
    a, b = copies.pairs.T
    if ds.labels is not None:
        _conflict(ds, copies, ds.labels[a] != ds.labels[b], "labels of copies", "different labels", findings)
    if ds.subjects is not None:
        _conflict(ds, copies, ds.subjects[a] != ds.subjects[b], "subjects of copies", "different subjects", findings)


def _example(ds: Dataset, copies: Copies, which: np.ndarray) -> str:
    i = int(np.flatnonzero(which)[0])
    a, b = copies.pairs[i]
    how = "" if copies.equal[i] else f" ({copies.edit(i)})"
    return f"such as {ds.files[a]} and {ds.files[b]}{how}"


def _conflict(ds: Dataset, copies: Copies, which: np.ndarray, check: str, what: str, findings: list[Finding]) -> None:
    if which.any():
        share = percent(float(which.mean()))
        text = f"{counted(int(which.sum()), 'pair')} of copies ({share}) with {what}, {_example(ds, copies, which)}"
        findings.append(Finding(check, text, "bad"))
