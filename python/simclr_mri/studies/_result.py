"""What a study found: every run, the arms over their runs, and their comparison."""

from __future__ import annotations

import csv
import io
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .._shared import Metric, Rows, frame_of, html_table, same_fields, text_table
from ..datasets import labels_of
from ..explain import CamChecks, CamResult, Viewer
from ..learning import History
from ..metrics import (
    TOO_FEW,
    Difference,
    Evaluation,
    Pooled,
    Repetition,
    difference_of,
    join,
    pooled_difference,
    pooled_metrics,
)
from ..splits import Split
from ._arm import METRICS, Arm, level_of
from ._rates import rates_table

N_COMPARISONS = 2000  # bootstrap samples of a comparison, as in metrics.paired_difference


@dataclass(eq=False)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    rows : list of dict
        Also as `rows()`. One a run: init, label_fraction, seed, split, n_labelled, and each metric at `level` with the
        bounds of its interval (`balanced_accuracy_low`, ...); `slice_<metric>` by slice.
    evaluations, histories : dict of Arm to Evaluation, to History
    pretraining : dict of (split, seed) to History
    cams : dict of Arm to CamResult
        Of the first split and seed, on the same images.
    splits : list of Split
    facts : dict
        Options, times, fingerprints.
    checks : dict of Arm to CamChecks
        Of the heat maps of the first split and seed with the most labels.
    looks : list of dict
        Every look at a test set, the first one first.
    n_bootstrap : int
        Of the intervals.
    trials : list of dict
        The rates that each start tried, their validation scores and which was chosen; empty with one rate for all.
    viewers : dict of Arm to Viewer
        Of a few test subjects, of the first split and seed with the most labels.

    Examples
    --------
    >>> result = study(ds, out="runs/study", splits=5)  # doctest: +SKIP
    >>> print(result.to_markdown("auc"))  # doctest: +SKIP
    """

    rows: list[dict[str, Any]]
    evaluations: dict[Arm, Evaluation]
    histories: dict[Arm, History]
    pretraining: dict[tuple[int, int], History]
    cams: dict[Arm, CamResult]
    splits: list[Split]
    facts: dict[str, Any] = field(default_factory=dict)
    checks: dict[Arm, CamChecks] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    n_bootstrap: int = 1000
    trials: list[dict[str, Any]] = field(default_factory=list)
    viewers: dict[Arm, Viewer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = Rows(self.rows)

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, StudyResult) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame; ImportError says what to install."""
        return frame_of(list(self.rows), "StudyResult")

    @property
    def split(self) -> Split:
        """The first split."""
        return self.splits[0]

    @property
    def level(self) -> str:
        """What the main figures count: "subject", or "slice" where subjects are unknown or were split themselves."""
        return level_of(self.split)

    @property
    def main_metrics(self) -> tuple[Metric, ...]:
        """What is shown first; by slice also the accuracy, which is what is published of such splits."""
        return ("balanced_accuracy",) if self.level == "subject" else ("balanced_accuracy", "accuracy")

    @property
    def inits(self) -> list[str]:
        return list(dict.fromkeys(arm.init for arm in self.evaluations))

    @property
    def fractions(self) -> list[float]:
        return sorted({arm.label_fraction for arm in self.evaluations})

    # ---- over the runs of an arm ------------------------------------------------------------------------------------

    def runs(self, init: str, fraction: float) -> list[Arm]:
        """The runs of an arm: its splits and seeds."""
        return [arm for arm in self.evaluations if arm.init == init and arm.label_fraction == fraction]

    def repetitions(self, init: str, fraction: float) -> list[Repetition]:
        """Its test predictions, put together over the splits until each image is there once; by seed."""
        found = []
        for seed in dict.fromkeys(arm.seed for arm in self.runs(init, fraction)):
            mine = [arm for arm in self.runs(init, fraction) if arm.seed == seed]
            found += join([Repetition(self._test_rows(arm), self.evaluations[arm].probabilities) for arm in mine])
        return found

    def _test_rows(self, arm: Arm) -> np.ndarray:
        return self.splits[arm.split].indices["test"]

    @cached_property
    def _pooled(self) -> dict[tuple[str, float], Pooled]:
        ds = self.split.dataset
        labels = labels_of(ds)
        options: dict[str, Any] = {"level": self.level, "n_bootstrap": self.n_bootstrap}
        return {
            (name, f): pooled_metrics(labels, self.repetitions(name, f), ds.subjects, **options)
            for name in self.inits
            for f in self.fractions
            if self.runs(name, f)
        }

    def summary(self) -> list[dict[str, Any]]:
        """One dictionary an arm: runs, n_labelled (their mean), and each metric with its interval and spread.

        `<metric>` is the mean over seeds of the figure over all test subjects together, `_low` and `_high` its 95 %
        interval over subjects and seeds (NaN with too few subjects), `_sd` the standard deviation of the runs (None of
        one run).
        """
        lines = []
        for (name, f), pooled in self._pooled.items():
            mine = [row for row in self.rows if row["init"] == name and row["label_fraction"] == f]
            line = {"init": name, "label_fraction": f, "runs": len(mine)}
            line["n_labelled"] = round(float(np.mean([row["n_labelled"] for row in mine])))
            for metric in METRICS:
                estimate = pooled[metric]
                spread = float(np.std([row[metric] for row in mine], ddof=1)) if len(mine) > 1 else None
                line |= {metric: estimate.value, f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
                line[f"{metric}_sd"] = spread
            lines.append(line)
        return lines

    def confusion(self, init: str, fraction: float) -> np.ndarray:
        """Confusion matrix of an arm: the sum over its runs."""
        return np.sum([self.evaluations[arm].levels[self.level].confusion for arm in self.runs(init, fraction)], axis=0)

    def differences(self, a: str, b: str, metric: Metric = "balanced_accuracy") -> list[tuple[float, Difference]]:
        """Paired difference b - a at each fraction, with an interval over subjects and seeds."""
        ds, found = self.split.dataset, []
        for f in self.fractions:
            if self.runs(a, f) and self.runs(b, f):
                pair = (self.repetitions(a, f), self.repetitions(b, f))
                options: dict[str, Any] = {"level": self.level, "n_bootstrap": N_COMPARISONS}
                found.append((f, pooled_difference(labels_of(ds), *pair, ds.subjects, metric, **options)))
        return found

    def mean_difference(self, a: str, b: str, metric: Metric = "balanced_accuracy") -> Difference | None:
        """The same for the mean over all fractions that both have; None if there is none."""
        ds, both = self.split.dataset, [f for f in self.fractions if self.runs(a, f) and self.runs(b, f)]
        if not both:
            return None
        labels = labels_of(ds)
        options: dict[str, Any] = {"level": self.level, "n_bootstrap": N_COMPARISONS, "only": metric}
        one, two = (
            [pooled_metrics(labels, self.repetitions(name, f), ds.subjects, arm=arm, **options) for f in both]
            for arm, name in enumerate((a, b))
        )
        return difference_of(metric, self.level, one, two)

    def wins(self, a: str, b: str, fraction: float, metric: Metric = "balanced_accuracy") -> tuple[int, int]:
        """In how many runs b is ahead of a, and how many pairs of runs there are (same split, same seed)."""
        score = {(row["init"], row["label_fraction"], row["seed"], row["split"]): row[metric] for row in self.rows}
        runs = [(arm.seed, arm.split) for arm in self.runs(a, fraction)]
        pairs = [(score[a, fraction, *run], score[b, fraction, *run]) for run in runs if (b, fraction, *run) in score]
        return sum(two > one for one, two in pairs), len(pairs)

    # ---- shown ------------------------------------------------------------------------------------------------------

    def table(self, metric: Metric = "balanced_accuracy") -> tuple[list[str], list[list[str]]]:
        """Head and rows: label fractions down, starts across, each figure with its spread and interval."""
        head = ["labels", "images", *self.inits]
        found = {(line["init"], line["label_fraction"]): line for line in self.summary()}
        lines, missing = [], f" ({TOO_FEW})" if self.n_bootstrap else ""
        for f in self.fractions:
            mine = [found.get((name, f)) for name in self.inits]
            images = next(f"{line['n_labelled']:,}" for line in mine if line)
            lines.append([f"{100 * f:g} %", images, *(_cell(line, metric, missing) if line else "" for line in mine)])
        return head, lines

    def caption(self, metric: Metric = "balanced_accuracy") -> str:
        """What the figures of the table are."""
        unit = "images" if self.split.dataset.subjects is None else "subjects"
        text = f"{metric.replace('_', ' ').capitalize()} by {self.level} on the test set"
        if len(self.splits) > 1:
            text += f"s of {len(self.splits)} splits together"
        seeds = len({arm.seed for arm in self.evaluations})
        text += f", mean over {seeds} seeds" if seeds > 1 else ""
        runs = max((line["runs"] for line in self.summary()), default=1)
        spread = f" ± standard deviation of the {runs} runs" if runs > 1 else ""
        over = f"{unit} and seeds" if seeds > 1 else unit
        return f"{text}{spread} (95 % interval over {over})"

    def to_csv(self) -> str:
        return _csv(self.rows)

    def summary_csv(self) -> str:
        return _csv(self.summary())

    def rates_csv(self) -> str:
        """What each rate scored; without the time, so that a repeated study gives the same file."""
        return _csv([{key: value for key, value in trial.items() if key != "seconds"} for trial in self.trials])

    def rates_caption(self) -> str:
        """What the table of rates shows; empty with one rate for all."""
        if not self.trials:
            return ""
        metric = self.trials[0]["metric"].replace("_", " ").replace("loss", "negative loss")
        return f"Learning rates that every start tried alike, and the {metric} by slice on validation data"

    def to_markdown(self, metric: Metric = "balanced_accuracy") -> str:
        return _markdown(*self.table(metric))

    def page(self) -> str:
        """study.md: the tables with what they show, and the conclusions."""
        tables = [f"{self.caption(metric)}:\n\n{self.to_markdown(metric)}" for metric in self.main_metrics]
        if self.trials:
            tables.append(f"{self.rates_caption()}:\n\n{_markdown(*rates_table(self.trials))}")
        return "\n".join([*tables, f"{self.conclusions()}\n"])

    def conclusions(self, metric: Metric = "balanced_accuracy") -> str:
        """A paragraph computed from the figures."""
        from ._conclusions import conclusions

        return conclusions(self, metric)

    def plot(self, metric: Metric = "balanced_accuracy", ax: Any = None) -> Any:
        """The line plot: score by share of the labels, one line a start, a dot a run."""
        from ._plots import scores

        return scores(self, metric, ax=ax)

    def plot_learning_curves(self) -> Any:
        """Loss and validation score of every run by epoch."""
        from ._plots import learning_curves

        return learning_curves(self)

    def __repr__(self) -> str:
        return f"<StudyResult: {len(self._pooled)} arms, {len(self.rows)} runs, judged by {self.level}>"

    def __str__(self) -> str:
        said = "\n".join(textwrap.fill(line, 100) for line in self.conclusions().splitlines())
        return f"{textwrap.fill(self.caption(), 100)}\n\n{text_table(*self.table())}\n\n{said}"

    def _repr_html_(self) -> str:
        return f"<p>{self.caption()}</p>{html_table(*self.table())}<p>{self.conclusions()}</p>"


def _cell(line: dict[str, Any], metric: str, missing: str) -> str:
    spread = "" if line[f"{metric}_sd"] is None else f" ± {line[f'{metric}_sd']:.3f}"
    low, high = line[f"{metric}_low"], line[f"{metric}_high"]
    bounds = missing if np.isnan(low) else f" ({low:.3f} to {high:.3f})"
    return f"{line[metric]:.3f}{spread}{bounds}"


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
