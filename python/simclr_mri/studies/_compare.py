"""Runs side by side, from what their evaluations left: scores with intervals and, where they were judged on the same
images, paired differences."""

from __future__ import annotations

import csv
import html
import json
import os
import shlex
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import (
    Metric,
    Report,
    Rows,
    atomic_writer,
    check_path,
    counted,
    html_table,
    same_fields,
    save_figure,
    suggests_names,
    text_table,
)
from ..learning import Classifier, checkpoint_path
from ..metrics import NAMES as METRIC_NAMES
from ..metrics import Difference, Estimate, paired_difference
from ..weights import safetensors_metadata

ANSWER_COLUMNS = 4  # of a table of predictions, before the probabilities


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the evaluation of one run says.

    Attributes
    ----------
    path : Path
        The run folder.
    files, subjects, truth : tuple of str
        Of each image; subjects are "" where they are unknown.
    classes : tuple of str
    probabilities : ndarray of shape (N, classes)
    report : dict
        evaluation.json.
    """

    path: Path
    files: tuple[str, ...]
    subjects: tuple[str, ...]
    truth: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    report: dict[str, Any]

    @property
    def level(self) -> str:
        return "subject" if "subject" in self.report else "slice"

    def score(self, metric: str) -> Estimate:
        """By subject where these are known."""
        found = self.report[self.level]["metrics"][metric]
        value, low, high = (np.nan if found[key] is None else float(found[key]) for key in ("value", "low", "high"))
        return Estimate(value, low, high)

    def is_on_the_same(self, other: Judgement) -> bool:
        """Whether both were judged on the same images with the same classes."""
        mine, theirs = (sorted(zip(j.files, j.truth, j.subjects, strict=True)) for j in (self, other))
        return self.classes == other.classes and mine == theirs and len(set(self.files)) == len(self.files)

    def difference(self, reference: Judgement, metric: Metric, n_bootstrap: int) -> Difference:
        """self less reference."""
        place = {name: i for i, name in enumerate(self.files)}
        rows = [place[name] for name in reference.files]
        labels = np.array([reference.classes.index(name) for name in reference.truth])
        subjects = np.array(reference.subjects) if all(reference.subjects) else None
        return paired_difference(
            labels,
            reference.probabilities,
            self.probabilities[rows],
            subjects,
            metric,
            level="subject" if subjects is not None else "slice",
            n_bootstrap=n_bootstrap,
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side; `compare` makes it.

    Attributes
    ----------
    rows : list of dict
        One a run: run, n (images), score, low, high; and difference, difference_low, difference_high and p against the
        first run, None where the two were not judged on the same images.
    metric, level, on : str
    notes : list of str
        What the evaluations said of leaks and the like.

    Examples
    --------
    >>> rows = [{"run": name, "n": 20, "score": score, "low": score - 0.1, "high": score + 0.1} for name, score in
    ...         (("random", 0.5), ("simclr", 0.75))]
    >>> rows[1] |= {"difference": 0.25, "difference_low": 0.05, "difference_high": 0.45, "p": 0.02}
    >>> print(Comparison(rows, "balanced_accuracy", "subject", "test"))
    balanced accuracy by subject, test; 95 % intervals. Differences are paired, over the same images
    <BLANKLINE>
    run     images  balanced accuracy       less random
    random  20      0.500 (0.400 to 0.600)
    simclr  20      0.750 (0.650 to 0.850)  +0.250 (+0.050 to +0.450), p = 0.020
    """

    rows: list[dict[str, Any]]
    metric: str
    level: str
    on: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", Rows(self.rows))  # a list, which can be called as other results' rows()

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Comparison) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows."""
        rows = [
            [
                row["run"],
                f"{row['n']:,}",
                _interval(row["score"], row["low"], row["high"]),
                "" if i == 0 else _difference(row),
            ]
            for i, row in enumerate(self.rows)
        ]
        return ["run", "images", METRIC_NAMES[self.metric], f"less {self.rows[0]['run']}"], rows

    def caption(self) -> str:
        """What the figures are."""
        return (
            f"{METRIC_NAMES[self.metric]} by {self.level}, {self.on}; 95 % intervals. Differences are paired, over the "
            "same images"
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame; ImportError says what to install."""
        try:
            import pandas
        except ImportError:
            raise ImportError("Comparison.to_frame needs pandas: pip install pandas") from None
        return pandas.DataFrame(self.rows)

    def to_csv(self) -> str:
        head = list(self.rows[0])
        lines = [head, *([("" if row[name] is None else str(row[name])) for name in head] for row in self.rows)]
        return "".join(",".join(_quoted(cell) for cell in line) + "\n" for line in lines)

    def plot(self, ax: Any = None) -> Any:
        """A dot and its interval for each run."""
        from .. import plot

        scores = np.array([[row["score"], row["low"], row["high"]] for row in self.rows], float)
        names = [row["run"] for row in self.rows]
        return plot.intervals(names, scores, xlabel=f"{METRIC_NAMES[self.metric]} by {self.level}", ax=ax)

    def save(self, folder: str | Path) -> list[Path]:
        """Write compare.csv, compare.png and compare.html; returns their paths."""
        place = Path(folder).expanduser()
        table, picture, page = (place / f"compare.{suffix}" for suffix in ("csv", "png", "html"))
        with atomic_writer(table) as file:
            file.write(self.to_csv().encode())
        save_figure(self.plot().figure, picture, dpi=150, bbox_inches="tight")
        return [table, picture, self.report().write(page)]

    def report(self) -> Report:
        """A page with the table, a picture and the notes, which shows itself in a notebook.

        Examples
        --------
        >>> compare(["runs/random", "runs/simclr"]).report().write("compare.html")  # doctest: +SKIP
        """
        page = Report(f"Comparison of {len(self.rows)} runs")
        page.text(self._conclusion(), "lead")
        caption = self.caption()
        page.table(*self.table(), f"{caption[0].upper()}{caption[1:]}.", key="main")
        page.section("Scores")
        page.text(
            "{figure:scores} draws the scores of {table:main}. Its intervals are those of each run by itself. They do "
            "not judge differences: these are paired, and stand in the table."
        )
        page.figure(self.plot(), f"{self._name()} with 95 % intervals.", key="scores")
        if self.notes:
            page.section("Notes").items(self.notes)
        page.details("All figures", [{k: None if v != v else v for k, v in row.items()} for row in self.rows])
        return page

    def _name(self) -> str:
        return f"{METRIC_NAMES[self.metric].capitalize()} by {self.level}"

    def _conclusion(self) -> str:
        """Which runs differ from the first: those whose paired interval does not hold zero."""
        first, what = self.rows[0]["run"], f"{self._name()}, {self.on}"
        judged = [row for row in self.rows[1:] if row["difference"] is not None and not np.isnan(row["difference_low"])]
        differing = [row for row in judged if row["difference_low"] * row["difference_high"] > 0]
        if not judged:
            return (
                f"{what}: no difference from {first} could be judged, as the images differ or the subjects are too few."
            )
        if not differing:
            return f"{what}: no difference from {first} is distinguishable from zero."
        said = [
            f"{row['run']} {'higher' if row['difference'] > 0 else 'lower'}, {_difference(row)}" for row in differing
        ]
        return f"{what}, against {first}: {'; '.join(said)}."

    def __str__(self) -> str:
        lines = [textwrap.fill(self.caption(), 100), "", text_table(*self.table(), align="left")]
        return "\n".join([*lines, *(textwrap.fill(f"note: {note}", 100) for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self.caption())}</p>{html_table(*self.table())}{notes}"


@suggests_names
def compare(
    runs: Sequence[str | Path],
    *,
    on: str = "test",
    metric: Metric = "balanced_accuracy",
    n_bootstrap: int = 2000,
) -> Comparison:
    """Compare classifiers that were evaluated.

    Parameters
    ----------
    runs : sequence of paths
        Run folders; the first is what the others are compared with. Those without an evaluation are left out, with a
        warning.
    on : str
        Which evaluation: "test", "val", "train", "all", or the name of another data set, as in `evaluation_NAME`.
    metric : str
        accuracy, balanced_accuracy, macro_f1, auc, kappa, brier or ece.
    n_bootstrap : int
        Resamples of subjects for the differences.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than two of the runs were evaluated.

    Examples
    --------
    >>> print(compare(["runs/random", "runs/simclr"]))  # doctest: +SKIP
    >>> compare(["runs/random", "runs/simclr"], metric="auc").save("compared")  # doctest: +SKIP
    """
    if metric not in METRIC_NAMES:
        raise ValueError(f"metric: expected one of {', '.join(METRIC_NAMES)}, got {metric!r}")
    if isinstance(runs, (str, os.PathLike, Mapping)) or not isinstance(runs, Iterable):
        shown = repr(str(runs)) if isinstance(runs, (str, os.PathLike)) else type(runs).__name__
        raise TypeError(f"runs: expected a sequence of folders, such as ['runs/a', 'runs/b'], got {shown}")
    paths = [check_path(run, "runs") for run in runs]
    found, left_out = [], []
    for run in paths:
        judgement = read_judgement(run.expanduser(), on)
        if judgement is None:
            left_out.append(run)
        else:
            found.append(judgement)
    if len(found) < 2:
        classifiers = [path for path in left_out if _is_classifier(path)]
        example = f": simclr-mri evaluate {shlex.quote(str(classifiers[0]))}" if classifiers else ""
        part = f" --on {on}" if example and on in ("train", "val", "all") else ""
        missing = [str(path) for path in left_out if not path.exists()]
        if missing:
            raise FileNotFoundError(f"{', '.join(missing)}: no such run")
        trained = [str(path) for path in left_out if checkpoint_path(path).is_file() and path not in classifiers]
        about = f" ({', '.join(trained)}: a pretraining, which has no scores)" if trained else ""
        raise ValueError(
            f"compare: {len(found)} of {counted(len(paths), 'run')} {'is' if len(found) == 1 else 'are'} evaluated on "
            f"{on}, and two are needed{about}{example}{part}"
        )
    if left_out:
        listed = ", ".join(path.name for path in left_out)
        warnings.warn(f"compare: not evaluated on {on}, and left out: {listed}", stacklevel=2)
    first = found[0]
    names = _names([judgement.path for judgement in found])
    rows = [_row(judgement, name, first, metric, n_bootstrap) for judgement, name in zip(found, names, strict=True)]
    notes = [
        f"{name}: {note}"
        for judgement, name in zip(found, names, strict=True)
        for note in judgement.report.get("notes", ())
    ]
    if any(row["difference"] is None for row in rows[1:]):
        notes.append(f"no difference where the images are not those that {names[0]} was judged on")
    return Comparison(rows, metric, first.level, on, notes)


def read_judgement(run: Path, on: str) -> Judgement | None:
    """What `evaluate` or a study wrote into a run folder; None if nothing is there."""
    places = [(run / f"evaluation_{on}" / "evaluation.json", run / f"evaluation_{on}" / "predictions.csv")]
    if on == "test":
        places.append((run / "evaluation.json", run / "test_predictions.csv"))
    for report, answers in places:
        if report.is_file() and answers.is_file():
            try:
                return _read(run, report, answers)
            except (ValueError, KeyError, IndexError, OSError) as error:
                raise ValueError(f"{report.parent}: an evaluation that cannot be read: {error}") from None
    return None


def _is_classifier(run: Path) -> bool:
    file = checkpoint_path(run)
    return file.is_file() and safetensors_metadata(file).get("kind") == json.dumps(Classifier.kind)


def _read(run: Path, report: Path, answers: Path) -> Judgement:
    with open(answers, newline="", encoding="utf-8", errors="surrogateescape") as file:
        head, *rows = csv.reader(file)
    probabilities = np.array([[float(cell) for cell in row[ANSWER_COLUMNS:]] for row in rows])
    files, subjects, truth = (tuple(row[i] for row in rows) for i in range(3))
    text = json.loads(report.read_text(encoding="utf-8"))
    return Judgement(run, files, subjects, truth, tuple(head[ANSWER_COLUMNS:]), probabilities, text)


def _row(one: Judgement, name: str, first: Judgement, metric: Metric, n_bootstrap: int) -> dict[str, Any]:
    score = one.score(metric)
    row: dict[str, Any] = {"run": name, "n": len(one.files), "score": score.value, "low": score.low, "high": score.high}
    row |= dict.fromkeys(("difference", "difference_low", "difference_high", "p"))
    if one is not first and one.is_on_the_same(first):
        found = one.difference(first, metric, n_bootstrap)
        difference = found.difference
        row |= {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high}
        row["p"] = found.p
    return row


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders without what they have in common."""
    whole = [path.resolve() for path in paths]
    common = Path(commonpath([path.parent for path in whole]))
    return [str(path.relative_to(common)) for path in whole]


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f}" + ("" if np.isnan(low) else f" ({low:.3f} to {high:.3f})")


def _difference(row: dict[str, Any]) -> str:
    if row["difference"] is None:
        return "other images"
    if np.isnan(row["difference_low"]):
        return f"{row['difference']:+.3f} (too few)"
    bounds = f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}"
    return f"{row['difference']:+.3f} ({bounds}), p = {row['p']:.3f}"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\n') else cell
