"""The audit as pictures and as a self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from .._shared import Report
from ..plot import COLOURS, axes_of_size, draw_tiles, styled
from ._baselines import N_SHUFFLES

if TYPE_CHECKING:
    from ._record import Audit

WORDS = {"good": "fine", "note": "note", "bad": "mend or explain"}


@styled
def plot_audit(audit: Audit, ax: Axes | None = None) -> Axes:
    """Accuracy of the classifiers that know nothing, by image, by subject and with shuffled labels.

    Parameters
    ----------
    audit : Audit
    ax : Axes or None

    Returns
    -------
    Axes
    """
    ax = axes_of_size(ax, (8.2, 3.6))
    kinds = [("image", False), ("image", True), ("subject", False), ("subject", True)]
    accuracy = {(b.method, b.by, b.shuffled): b.accuracy for b in audit.baselines}
    kinds = [kind for kind in kinds if ("nearest neighbour", *kind) in accuracy]
    methods = ("nearest neighbour", "ridge regression", "CSF fraction")
    width = 0.8 / max(1, len(kinds))
    for i, (by, shuffled) in enumerate(kinds):
        values = [accuracy[method, by, shuffled] for method in methods]
        x = np.arange(len(methods)) + (i - (len(kinds) - 1) / 2) * width
        style: dict[str, Any] = (
            {"hatch": "///", "facecolor": "white"} if shuffled else {"facecolor": COLOURS[1 if by == "image" else 0]}
        )
        bars = ax.bar(
            x,
            values,
            width * 0.92,
            edgecolor=COLOURS[1 if by == "image" else 0],
            label=f"split by {by}{', shuffled labels' if shuffled else ''}",
            **style,
        )
        ax.bar_label(bars, [f"{100 * v:.0f}" for v in values], fontsize=8, padding=2)
    largest = accuracy.get(("largest class", "image", False))
    if largest is not None:
        ax.axhline(largest, color="black", linewidth=1, linestyle="--", label="naming the largest class")
    ax.set(
        xticks=range(len(methods)),
        xticklabels=methods,
        ylim=(0, 1.1),
        ylabel="accuracy",
        yticks=np.arange(0, 1.1, 0.25),
    )
    ax.grid(False, axis="x")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    ax.set_title("What knows nothing of the disease reaches")
    return ax


@styled
def plot_links(audit: Audit, ax: Axes | None = None) -> Axes:
    """Similarities along the chains of similar images: two heaps where subjects have several images.

    Parameters
    ----------
    audit : Audit
    ax : Axes or None

    Returns
    -------
    Axes
    """
    ax = axes_of_size(ax, (5.4, 3.4))
    links, edge = audit.groups.links, audit.groups.threshold
    bins = np.linspace(min(0.0, links.min(initial=0.0)), 1.0, 80).tolist()
    if audit.groups.found == "none":
        ax.hist(links, bins, color=COLOURS[6], label="links")
    else:
        ax.hist(links[links > edge], bins, color=COLOURS[1], label="within a subject")
        ax.hist(links[links <= edge], bins, color=COLOURS[0], label="between subjects")
        ax.axvline(edge, color="black", linewidth=1, linestyle="--", label="threshold")
    ax.set(xlabel="similarity of fine detail", ylabel="links", yscale="log")
    ax.legend(fontsize=8)
    ax.set_title(f"Links between look-alikes ({audit.groups.found})")
    return ax


@styled
def plot_look_alikes(audit: Audit, ax: Axes | None = None, *, n: int = 4) -> Axes:
    """Some images (top) above the most similar other image of the set (bottom).

    Parameters
    ----------
    audit : Audit
    ax : Axes or None
    n : int
        Pairs; spread over the set.

    Returns
    -------
    Axes
    """
    ax = axes_of_size(ax, (1.5 * n, 3.4))
    ds, groups = audit.dataset, audit.groups
    chosen = np.unique(np.linspace(0, len(ds) - 1, n + 2).astype(int)[1:-1])
    height, width = draw_tiles(ax, [list(ds[chosen].images), list(ds[groups.neighbours[chosen]].images)])
    for i, image in enumerate(chosen):
        other = groups.neighbours[image]
        text = f"{groups.similarities[image]:.2f}"
        if ds.subjects is not None:
            text += ", same subject" if ds.subjects[image] == ds.subjects[other] else ", other subject"
        ax.text((i + 0.5) * width, 2 * height + 2, text, ha="center", va="top", fontsize=8)
    ax.set_title("Images and their nearest look-alikes")
    return ax


@styled
def plot_shortcuts(audit: Audit, ax: Axes | None = None) -> Axes:
    """Balanced accuracy of each property alone and of all of a kind together.

    Parameters
    ----------
    audit : Audit
    ax : Axes or None

    Returns
    -------
    Axes
    """
    shortcuts = audit.shortcuts.found
    ax = axes_of_size(ax, (7.0, 0.8 + 0.27 * len(shortcuts)))
    for row, s in enumerate(shortcuts):
        e, colour = s.balanced_accuracy, COLOURS[1 if s.predicts else 0]
        ends = [[0.0], [0.0]] if np.isnan(e.low) else [[e.value - e.low], [e.high - e.value]]
        ax.errorbar([e.value], [row], xerr=ends, fmt="o", color=colour, markersize=5, capsize=2)
        ax.plot([s.by_chance] * 2, [row - 0.4, row + 0.4], color="0.6", linewidth=2)
    ax.set(
        yticks=range(len(shortcuts)),
        yticklabels=[f"{s.name} ({s.kind})" for s in shortcuts],
        xlim=(0, 1.02),
        ylim=(len(shortcuts) - 0.4, -0.6),
        xlabel="balanced accuracy",
    )
    ax.grid(False, axis="y")
    ax.set_title("What one property alone tells of the class")
    return ax


def audit_report(audit: Audit) -> Report:
    """The audit as a page.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    Report
    """
    report = Report(f"Audit of {audit.dataset.name}").text(audit.verdict, "lead")
    report.section("Checks").table(
        ["check", "judgement", "result"],
        [[f.check, WORDS[f.level], f.result] for f in audit.findings],
        "What was looked for, and what was found.",
    )
    if audit.baselines:
        report.section("Classifiers that know nothing")
        report.text(
            "Five-fold cross-validation. With labels shuffled among the subjects there is nothing to learn but who is "
            f"who: {N_SHUFFLES} shuffles give a mean and, in brackets, where one more would lie with 95 %. The CSF "
            "fraction is one number an image: the share of head pixels darker than the picture's mean, as fluid is in "
            "most sequences."
        )
        report.figure(plot_audit(audit), "Hatched: labels shuffled among the subjects.")
        report.table(
            ["classifier", "split by", "labels", "accuracy", "balanced accuracy"],
            _baseline_rows(audit),
            "Scores of these classifiers.",
        )
    if audit.shortcuts.found:
        report.section("Shortcuts")
        report.text(
            "What predicts the class from one property of each file or image, with nothing of the disease in it: the "
            "class for which the value is most frequent in training, five-fold. In a sound set no property of files "
            "does. Brightness, background and the place of the head may be biology or the making of the images. The "
            "last column is the share of shuffled labels with which the best property does as well by chance."
        )
        report.figure(plot_shortcuts(audit), "Balanced accuracy. Bars: 95 % intervals over subjects. Grey: by chance.")
        rows = [
            [s.name, s.kind, s.balanced_accuracy, f"{s.by_chance:.3f}", f"{s.p:.3f}"] for s in audit.shortcuts.found
        ]
        report.table(["property", "of", "balanced accuracy", "by chance", "p"], rows, "How well each names the class.")
        values = [[s.name, *s.values] for s in audit.shortcuts.found if s.values]
        caption = "Values by class: the median with the 10th to 90th percentile, or the most frequent value."
        report.table(["property", *audit.shortcuts.classes], values, caption)
    if len(audit.groups.links):
        report.section("Who is who, by the pixels")
        report.figures(
            [
                (plot_links(audit), "Each link joins an image to the chain it resembles most."),
                (plot_look_alikes(audit), "Numbers: similarity of fine detail, from -1 to 1."),
            ]
        )
    return report.details("all figures", audit.to_dict())


def _with_range(value: float, bounds: tuple[float, float] | None) -> str:
    return f"{value:.3f}" if bounds is None else f"{value:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"


def _baseline_rows(audit: Audit) -> list[list[Any]]:
    return [
        [
            b.method,
            b.by,
            "shuffled" if b.shuffled else "true",
            _with_range(b.accuracy, b.accuracy_range),
            _with_range(b.balanced_accuracy, b.balanced_accuracy_range),
        ]
        for b in audit.baselines
    ]
