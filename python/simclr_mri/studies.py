"""The study: how much does a start help when labels are few?

Starts x label fractions x seeds on one split, every arm with the same budget, judged once on the test set. Each run
has a folder, so that a study that was stopped at any moment goes on where it was and ends in the same table.
"""

from __future__ import annotations

import csv
import difflib
import io
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from . import splits
from ._dataset import Dataset
from .cam import CamResult, grad_cam
from .cam_checks import CamChecks, check_cams
from .checkpoint import atomic_writer, checkpoint_path
from .classifier import Classifier
from .metrics import Evaluation, evaluate_predictions
from .progress import seconds_text
from .runlog import History, RunLog, html_table, write_json
from .simclr import SimCLR

METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "auc", "kappa")
N_EXAMPLES = 12  # images whose heat maps are kept for every arm


@dataclass(frozen=True)
class Arm:
    """One run of a study."""

    init: str
    label_fraction: float
    seed: int

    @property
    def folder(self) -> str:
        return f"{Path(self.init).name.replace('.', '_')}/{100 * self.label_fraction:g}pct_seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.init}, {100 * self.label_fraction:g} % of the labels, seed {self.seed}"


@dataclass
class StudyResult:
    """What a study found.

    Attributes
    ----------
    rows : list of dict
        One an arm: init, label_fraction, seed, n_labelled, and each metric by subject where subjects are known, with
        the bounds of its interval (`balanced_accuracy_low`, ...); `slice_<metric>` by slice.
    evaluations : dict of Arm to Evaluation
    histories, pretraining : dict of Arm, or of seed, to History
    cams : dict of Arm to CamResult
        Of seed 0, on the same images.
    split : Split
    facts : dict
        Options, times, fingerprints.
    checks : dict of Arm to CamChecks
        Of the heat maps of seed 0 with the most labels.

    Examples
    --------
    >>> result = study(ds, out="runs/study")  # doctest: +SKIP
    >>> print(result.to_markdown("auc"))  # doctest: +SKIP
    """

    rows: list[dict[str, Any]]
    evaluations: dict[Arm, Evaluation]
    histories: dict[Arm, History]
    pretraining: dict[int, History]
    cams: dict[Arm, CamResult]
    split: splits.Split
    facts: dict[str, Any] = field(default_factory=dict)
    checks: dict[Arm, CamChecks] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """What the main figures count: "subject", or "slice" where subjects are unknown."""
        return "slice" if self.split.dataset.subjects is None else "subject"

    def table(self, metric: str = "balanced_accuracy") -> tuple[list[str], list[list[str]]]:
        """Head and rows: label fractions down, starts across, mean over seeds with the interval of seed 0."""
        inits = list(dict.fromkeys(row["init"] for row in self.rows))
        fractions = sorted({row["label_fraction"] for row in self.rows})
        head = ["labels", "images", *inits]
        lines = []
        for f in fractions:
            cells = [f"{100 * f:g} %", ""]
            for name in inits:
                mine = [row for row in self.rows if row["init"] == name and row["label_fraction"] == f]
                cells[1] = f"{mine[0]['n_labelled']:,}" if mine else cells[1]
                cells.append(_cell(mine, metric) if mine else "")
            lines.append(cells)
        return head, lines

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def to_markdown(self, metric: str = "balanced_accuracy") -> str:
        head, lines = self.table(metric)
        rows = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *lines]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"

    def differences(self, a: str, b: str, metric: str = "balanced_accuracy") -> list[Any]:
        """Paired difference b - a at each fraction (seed 0), by bootstrap over subjects: `metrics.Difference`s."""
        from .metrics import paired_difference

        found = []
        for f in sorted({arm.label_fraction for arm in self.evaluations}):
            one, two = (self.evaluations.get(Arm(name, f, 0)) for name in (a, b))
            if one is not None and two is not None:
                pair = (one.probabilities, two.probabilities)
                found.append((f, paired_difference(one.labels, *pair, one.groups, metric, level=self.level)))
        return found

    def plot(self, metric: str = "balanced_accuracy", ax: Any = None) -> Any:
        """The line plot: score by share of the labels, one line a start."""
        from . import plot

        chance = 1 / len(self.split.dataset.classes) if metric == "balanced_accuracy" else None
        ax = plot.label_fractions(self.rows, metric=metric, chance=chance, ax=ax)
        ax.set_ylabel(f"{metric.replace('_', ' ')} by {self.level}")
        return ax

    def __repr__(self) -> str:
        return f"<StudyResult: {len(self.rows)} arms, judged by {self.level}>"

    def __str__(self) -> str:
        return f"balanced accuracy by {self.level} on the test set\n{self.to_markdown()}"

    def _repr_html_(self) -> str:
        return f"<p>balanced accuracy by {self.level} on the test set</p>{html_table(*self.table())}"


def _cell(rows: list[dict[str, Any]], metric: str) -> str:
    mean = float(np.mean([row[metric] for row in rows]))
    low, high = rows[0].get(f"{metric}_low"), rows[0].get(f"{metric}_high")
    return f"{mean:.3f}" if low is None else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def study(
    ds: Dataset,
    *,
    inits: Sequence[str] = ("random", "simclr"),
    fractions: Sequence[float] = (0.01, 0.1, 0.2, 0.5, 1.0),
    seeds: int | Sequence[int] = 1,
    out: str | Path,
    split: splits.Split | None = None,
    pretrain: SimCLR | Mapping[str, Any] | None = None,
    finetune: Classifier | Mapping[str, Any] | None = None,
    cam_layer: str = "layer3",
    n_bootstrap: int = 1000,
    resume: str = "auto",
    facts: Mapping[str, Any] | None = None,
) -> StudyResult:
    """Compare starts at several label fractions.

    Parameters
    ----------
    ds : Dataset
    inits : sequence of str
        "random", "simclr" (pretrained here, once for each seed), or paths of weights.
    fractions : sequence of float
        Shares of the training labels; the sets are nested.
    seeds : int or sequence of int
        Repetitions (5 means 0 to 4): of the labels drawn, the weights and the order. The split stays.
    out : path
        Folder of the study: study.csv, study.md, study.png, manifest.json and a folder for each run.
    split : Split, optional
        By default by subject with seed 42.
    pretrain, finetune : estimator or dict, optional
        The budget of every arm: an unfitted `SimCLR` and `Classifier`, or their arguments.
    cam_layer : str
        Stage of the heat maps that are kept.
    n_bootstrap : int
    resume : {"auto", "never"}
    facts : dict, optional
        Kept in the manifest.

    Returns
    -------
    StudyResult

    Examples
    --------
    >>> from simclr_mri import datasets
    >>> ds = datasets.phantoms(n_subjects=20, slices=2, image_size=32, task="cdr0")
    >>> import tempfile
    >>> small = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0}
    >>> with tempfile.TemporaryDirectory() as out:
    ...     result = study(ds, inits=["random"], fractions=[1.0], finetune=small, out=out, n_bootstrap=10)
    >>> [(row["init"], row["label_fraction"], row["n_labelled"]) for row in result.rows]
    [('random', 1.0, 28)]
    """
    out = Path(out)
    if split is None:
        split = splits.split(ds, by="subject" if ds.subjects is not None else "image")
    _check_starts(inits, fractions)
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    run = _Run(
        out=out,
        split=split,
        ssl=_template(SimCLR, pretrain),
        clf=_template(Classifier, finetune),
        cam_layer=cam_layer,
        n_bootstrap=n_bootstrap,
        resume=resume,
        facts={**(facts or {}), "by": split.by, "split_seed": split.seed},
    )
    arms = [Arm(name, float(f), seed) for seed in seeds for name in inits for f in sorted(fractions)]
    return run.all(arms)


def _check_starts(inits: Sequence[str], fractions: Sequence[float]) -> None:
    """Mistakes that would otherwise show after hours, when their turn comes."""
    for name in inits:
        if name not in ("random", "simclr") and not checkpoint_path(name).is_file():
            near = difflib.get_close_matches(str(name), ["random", "simclr"], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise FileNotFoundError(f"inits: expected 'random', 'simclr' or files of weights; no {name!r}.{hint}")
    for f in fractions:
        if not 0 < f <= 1:
            raise ValueError(f"fractions: expected shares above 0 and at most 1 (0.1 is 10 %), got {f}")


def _template(cls: type, given: Any) -> Any:
    if given is None:
        return cls()
    return cls(**given) if isinstance(given, Mapping) else given


@dataclass
class _Run:
    """The work behind `study`."""

    out: Path
    split: splits.Split
    ssl: SimCLR
    clf: Classifier
    cam_layer: str
    n_bootstrap: int
    resume: str
    facts: dict[str, Any]

    def all(self, arms: list[Arm]) -> StudyResult:
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = RunLog(self.out)
        self.parts = list(self.split)
        train, test = self.parts[0], self.parts[-1]
        # A data set of the training set's class order, and the validation set where there is one.
        self.train, self.val, self.test = train, self.parts[1] if len(self.parts) == 3 else None, test
        self.examples = spread_examples(test, N_EXAMPLES)
        self.most_labels = max(arm.label_fraction for arm in arms)
        result = StudyResult([], {}, {}, {}, {}, self.split, self.facts)
        began_s = time.monotonic()
        for i, arm in enumerate(arms):
            self._say(f"run {i + 1} of {len(arms)}: {arm}{_left(began_s, i, len(arms))}")
            init = self._start(arm, result)
            self._arm(arm, init, result)
        self._write(result)
        return result

    def _say(self, text: str) -> None:
        self.log.event("run", text=text)
        if self.clf.verbose:
            print(text, flush=True)

    def _start(self, arm: Arm, result: StudyResult) -> Any:
        if arm.init != "simclr":
            return arm.init
        folder = self.out / "simclr" / f"pretraining_seed{arm.seed}"
        if getattr(self, "_ssl_of", None) != arm.seed:
            ssl = type(self.ssl)(
                **{**self.ssl.get_params(deep=False), "random_state": self.ssl.random_state + arm.seed}
            )
            ssl.fit(self.train, self.val, checkpoint=folder, resume=self.resume, facts=self.facts)
            _stop_if_interrupted(ssl)
            self._ssl, self._ssl_of = ssl, arm.seed
            result.pretraining[arm.seed] = ssl.history_
        return self._ssl

    def _arm(self, arm: Arm, init: Any, result: StudyResult) -> None:
        folder = self.out / arm.folder
        parameters = {
            **self.clf.get_params(deep=False),
            "init": init,
            "label_fraction": arm.label_fraction,
            "random_state": self.clf.random_state + arm.seed,
        }
        clf = type(self.clf)(**parameters)
        with warnings.catch_warnings():
            if result.rows:  # said once is enough
                warnings.filterwarnings("ignore", message="recipe 'seed' reproduces")
            select = self.test if clf.select_on == "test" else self.val
            clf.fit(self.train, select, checkpoint=folder, resume=self.resume, facts=self.facts)
        _stop_if_interrupted(clf)
        evaluation = self._evaluate(arm, clf, folder)
        result.rows.append(_row(arm, clf, evaluation))
        result.evaluations[arm] = evaluation
        result.histories[arm] = clf.history_
        if arm.seed == 0:
            result.cams[arm] = grad_cam(clf, self.examples, layer=self.cam_layer)
            if arm.label_fraction == self.most_labels:
                result.checks[arm] = check_cams(clf, self.test, layer=self.cam_layer, n_images=2 * N_EXAMPLES)

    def _evaluate(self, arm: Arm, clf: Classifier, folder: Path) -> Evaluation:
        """Judge on the test set once; the probabilities are kept, so that a repeated command need not look again."""
        path = folder / "test_predictions.csv"
        probabilities = clf.predict_proba(self.test)
        evaluation = evaluate_predictions(
            self.test.labels,
            probabilities,
            self.test.classes,
            subjects=self.test.subjects,
            n_bootstrap=self.n_bootstrap,
        )
        with atomic_writer(path) as file:
            file.write(predictions_csv(self.test, probabilities).encode())
        write_json(folder / "evaluation.json", evaluation.to_dict())
        self.log.event("looked at the test set", arm=str(arm), balanced_accuracy=evaluation["balanced_accuracy"].value)
        return evaluation

    def _write(self, result: StudyResult) -> None:
        with atomic_writer(self.out / "study.csv") as file:
            file.write(result.to_csv().encode())
        with atomic_writer(self.out / "study.md") as file:
            file.write(result.to_markdown().encode())
        with atomic_writer(self.out / "study.png") as file:
            result.plot().figure.savefig(file, format="png")
        from matplotlib import pyplot

        pyplot.close("all")
        result.facts["manifest"] = self.log.manifest(
            kind="study",
            facts={key: value for key, value in self.facts.items() if key != "manifest"},
            split=self.split.rows(),
            data={"name": self.split.dataset.name, "fingerprint": self.split.dataset.fingerprint()},
            pretrain=plain_parameters(self.ssl),
            finetune=plain_parameters(self.clf),
            pretraining_images_per_s=_speed(result.pretraining.values()),
            finetuning_images_per_s=_speed(result.histories.values()),
        )


def plain_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters as plain values."""
    values = {f.name: getattr(estimator, f.name) for f in fields(estimator)}
    return {
        name: value if isinstance(value, (int, float, str, type(None))) else str(value)
        for name, value in values.items()
    }


def spread_examples(ds: Dataset, n: int) -> Dataset:
    """Up to n images, the classes in turn, each of another subject as long as there are any."""
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    queues = []
    for c in np.unique(labels):
        found = np.flatnonzero(labels == c)
        if ds.subjects is not None:
            rank = np.zeros(len(found), np.int64)
            for subject in np.unique(ds.subjects[found]):
                mine = np.flatnonzero(ds.subjects[found] == subject)
                rank[np.roll(mine, -(len(mine) // 2))] = np.arange(len(mine))  # a middle slice first
            found = found[np.argsort(rank, kind="stable")]
        queues.append(list(found))
    chosen: list[int] = []
    while len(chosen) < n and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue]
    return ds[np.array(sorted(chosen[:n], key=lambda i: (labels[i], i)), np.int64)]


def predictions_csv(ds: Dataset, probabilities: np.ndarray) -> str:
    """file, subject, class, predicted, and the probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "subject", "class", "predicted", *ds.classes])
    subjects = [""] * len(ds) if ds.subjects is None else ds.subjects
    for file, subject, label, row in zip(ds.files, subjects, ds.labels, probabilities, strict=True):
        writer.writerow([file, subject, ds.classes[label], ds.classes[int(row.argmax())], *(f"{p:.6f}" for p in row)])
    return text.getvalue()


def _row(arm: Arm, clf: Classifier, evaluation: Evaluation) -> dict[str, Any]:
    row = {"init": arm.init, "label_fraction": arm.label_fraction, "seed": arm.seed, "n_labelled": len(clf.labelled_)}
    row |= {"epochs": len(clf.history_), "best_epoch": clf.best_epoch_}
    main = evaluation.subjects or evaluation.slices
    for name in METRICS:
        estimate = main[name]
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        row[f"slice_{name}"] = evaluation.slices[name].value
    return row


def _left(began_s: float, done: int, n: int) -> str:
    return f" ({seconds_text((time.monotonic() - began_s) / done * (n - done))} left)" if done else ""


def _speed(histories: Any) -> float | None:
    rows = [row for history in histories for row in history]
    seconds = sum(row["seconds"] for row in rows)
    return round(sum(row["images"] for row in rows) / seconds, 1) if seconds else None


def _stop_if_interrupted(estimator: Any) -> None:
    if not estimator.position_.finished:
        raise KeyboardInterrupt
