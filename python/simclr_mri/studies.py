"""The study: how much does a start help when labels are few?

Starts x label fractions x seeds x splits, every arm with the same budget, each run judged once on its test set. Each
run has a folder, so that a study that was stopped at any moment goes on where it was and ends in the same table.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from . import splits as _splits
from ._dataset import Dataset
from .cam import grad_cam
from .cam_checks import CamChecks, check_cams, load_checks, save_checks
from .checkpoint import atomic_writer, checkpoint_path
from .classifier import Classifier
from .looks import model_digest, read_looks, record_look
from .metrics import Evaluation, evaluate_predictions
from .runlog import RunLog, sole_writer, write_json
from .simclr import SimCLR
from .study_plan import Plan
from .study_rates import RateSearch, adopt_trial, checked_rates, held_back, trial_name, trials_become_runs
from .study_result import METRICS, Arm, StudyResult, level_of

N_EXAMPLES = 12  # images whose heat maps are kept for every arm
VAL_SHARE = 0.15 / 0.85  # of what a fold does not test: as in the split of one


def study(
    ds: Dataset,
    *,
    inits: Sequence[str] = ("random", "simclr"),
    fractions: Sequence[float] = (0.01, 0.1, 0.2, 0.5, 1.0),
    seeds: int | Sequence[int] = 1,
    splits: int | Sequence[_splits.Split] = 1,
    out: str | Path,
    split: _splits.Split | None = None,
    pretrain: SimCLR | Mapping[str, Any] | None = None,
    finetune: Classifier | Mapping[str, Any] | None = None,
    lrs: Sequence[float] | None = None,
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
        "random", "simclr" (pretrained here, once for each split and seed, never on its test set), or paths of weights.
    fractions : sequence of float
        Shares of the training labels; the sets are nested.
    seeds : int or sequence of int
        Repetitions (5 means 0 to 4): of the labels drawn, the weights and the order.
    splits : int or sequence of Split
        1 holds out one test set. K of 2 or more cuts the data set into K folds: every subject (or image) is tested
        once, and the figures are those over all of them. Or splits of your own, such as
        `list(kfold(ds, repeats=3, val=0.2))`.
    out : path
        Folder of the study: study.csv (a row a run), summary.csv (a row an arm), study.md, study.png, runs.md (what
        is done and how long the rest will take), rates.csv (what each of `lrs` scored), test_looks.jsonl,
        manifest.json and a folder for each run.
    split : Split, optional
        By default by subject with seed 42. With K folds it says by what, from which seed, and how much is for
        validation.
    pretrain, finetune : estimator or dict, optional
        The budget of every arm: an unfitted `SimCLR` and `Classifier`, or their arguments.
    lrs : sequence of float, optional
        Fine-tuning rates that every start tries at each label fraction in each split, with the first seed; the best by
        validation data serves all seeds, instead of one rate for all. A split without validation data holds back 15 %
        of its training set for that; the networks that are judged learn from all of it.
    cam_layer : str
        Stage of the heat maps that are kept.
    n_bootstrap : int
    resume : {"auto", "never"}
    facts : dict, optional
        Kept in the manifest.

    Returns
    -------
    StudyResult

    Raises
    ------
    ValueError, FileNotFoundError
        An argument, named, before any work.
    BlockingIOError
        Another study is writing to `out` at this moment.

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
    _check_starts(inits, fractions)
    chosen = _chosen_splits(ds, splits, split)
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    run = _Run(
        out=Path(out),
        splits=chosen,
        ssl=_template(SimCLR, pretrain),
        clf=_template(Classifier, finetune),
        lrs=checked_rates(lrs),
        cam_layer=cam_layer,
        n_bootstrap=n_bootstrap,
        resume=resume,
        facts=dict(facts or {}),
    )
    shares = sorted(float(f) for f in fractions)
    order = [(k, seed) for k in range(len(chosen)) for seed in seeds]
    try:
        with sole_writer(run.out):
            return run.all([Arm(name, f, seed, k) for k, seed in order for name in inits for f in shares])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"study: stopped. What was done is kept in {out}, and the same call goes on from there"
        ) from None


def _chosen_splits(ds: Dataset, given: int | Sequence[_splits.Split], split: _splits.Split | None) -> list:
    if not isinstance(given, int):
        if not given:
            raise ValueError("splits: expected at least one Split, got none")
        return list(given)
    by = split.by if split else "subject" if ds.subjects is not None else "image"
    if given < 2:
        if given < 1:
            raise ValueError(f"splits: expected 1 or more, got {given}")
        return [split or _splits.split(ds, by=by)]
    if split is None:
        return list(_splits.kfold(ds, n_splits=given, by=by, seed=42, val=VAL_SHARE))
    n_val = len(split.indices.get("val", ()))
    val = n_val / (n_val + len(split.indices["train"]))
    return list(_splits.kfold(split.dataset, n_splits=given, by=by, seed=split.seed, val=val))


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
    splits: list[_splits.Split]
    ssl: SimCLR
    clf: Classifier
    lrs: tuple[float, ...]
    cam_layer: str
    n_bootstrap: int
    resume: str
    facts: dict[str, Any]
    _open: _Fold | None = field(default=None, init=False)

    def all(self, arms: list[Arm]) -> StudyResult:
        self.log = RunLog(self.out)
        self.most_labels = max(arm.label_fraction for arm in arms)
        self.first_seed = arms[0].seed
        self.facts |= {"by": self.splits[0].by, "split_seed": self.splits[0].seed}
        if len(self.splits) > 1:
            self.facts["splits"] = len(self.splits)
        self.search = RateSearch(self.lrs, self.resume)
        result = StudyResult([], {}, {}, {}, {}, self.splits, self.facts, n_bootstrap=self.n_bootstrap)
        result.trials = self.search.trials
        plan = Plan(self.out / "runs.md", arms, self.splits, self.ssl, self.clf, self.lrs)
        for arm in arms:
            fold = self._fold(arm.split)
            is_new = not checkpoint_path(fold.folder / arm.folder).exists()
            self._say(plan.begin(arm, measure=is_new and self.clf.verbose > 0))
            init = self._start(fold, arm, result)
            if (fold.index, arm.seed) in result.pretraining:
                plan.pretrained(arm, result.pretraining[fold.index, arm.seed])
            self._arm(fold, arm, init, result, plan)
            plan.end(arm, result.histories[arm], result.rows[-1]["balanced_accuracy"])
        self._write(result)
        return result

    def _say(self, text: str) -> None:
        self.log.event("run", text=text)
        if self.clf.verbose:
            print(text, flush=True)

    def _fold(self, index: int) -> _Fold:
        """One at a time: each holds its images."""
        if self._open is None or self._open.index != index:
            several = len(self.splits) > 1
            self._open = _Fold.of(index, self.splits[index], self.out / f"split{index}" if several else self.out)
        return self._open

    def _facts(self, fold: _Fold) -> dict[str, Any]:
        """What a run's checkpoint remembers: enough for `simclr-mri evaluate` to find the same test set again."""
        if len(self.splits) == 1:
            return self.facts
        facts = {**self.facts, "split": fold.index}
        if "options" in facts:
            facts["options"] = {**facts["options"], "folds": len(self.splits), "fold": fold.index}
        return facts

    def _start(self, fold: _Fold, arm: Arm, result: StudyResult) -> Any:
        if arm.init != "simclr":
            return arm.init
        if fold.ssl_seed != arm.seed:
            seed = {"random_state": self.ssl.random_state + arm.seed}
            ssl = type(self.ssl)(**{**self.ssl.get_params(deep=False), **seed})
            folder = fold.folder / "simclr" / f"pretraining_seed{arm.seed}"
            ssl.fit(fold.train, fold.val, checkpoint=folder, resume=self.resume, facts=self._facts(fold))
            _stop_if_interrupted(ssl)
            fold.ssl, fold.ssl_seed = ssl, arm.seed
            result.pretraining[fold.index, arm.seed] = ssl.history_
        return fold.ssl

    def _classifier(self, arm: Arm, init: Any, lr: float | None) -> Classifier:
        parameters = {
            **self.clf.get_params(deep=False),
            "init": init,
            "label_fraction": arm.label_fraction,
            "random_state": self.clf.random_state + arm.seed,
            "lr": lr,
        }
        return type(self.clf)(**parameters)

    def _rate(self, fold: _Fold, arm: Arm, init: Any, plan: Plan) -> float | None:
        """The learning rate of an arm; the trial that found it becomes the run where it learnt from the same data."""
        if not self.lrs:
            return self.clf.lr
        folder = fold.folder / arm.folder

        def tried(lr: float, clf: Classifier, score: float) -> None:
            known = score if math.isfinite(score) else None  # JSON has no infinity
            self.log.event("tried", arm=str(arm), split=arm.split, lr=lr, val_score=known)
            plan.tried(arm, lr, clf.history_, score)

        lr = self.search.choose(
            arm, lambda lr: self._classifier(arm, init, lr), fold.choosing, folder, self._facts(fold), tried
        )
        if trials_become_runs(self.clf, fold.split) and arm.seed == self.first_seed:
            adopt_trial(folder / trial_name(lr), folder, self.resume)
        return lr

    def _arm(self, fold: _Fold, arm: Arm, init: Any, result: StudyResult, plan: Plan) -> None:
        folder = fold.folder / arm.folder
        clf = self._classifier(arm, init, self._rate(fold, arm, init, plan))
        on_test = clf.select_on == "test"
        if on_test and not checkpoint_path(folder).exists():
            self._look(fold, arm, "the best epoch is chosen here", epochs=clf.epochs)
        with warnings.catch_warnings():
            if result.rows:  # said once is enough
                warnings.filterwarnings("ignore", message="recipe 'seed' reproduces")
            select = fold.test if on_test else fold.val
            clf.fit(fold.train, select, checkpoint=folder, resume=self.resume, facts=self._facts(fold))
        _stop_if_interrupted(clf)
        judge = _Judge(clf, fold.test, folder, self.resume == "auto")
        evaluation = judge.evaluation(self.n_bootstrap, before=lambda: self._look(fold, arm, "judged"))
        self.log.event("judged", arm=str(arm), balanced_accuracy=evaluation["balanced_accuracy"].value)
        result.rows.append(_row(arm, clf, evaluation, level_of(fold.split)))
        result.evaluations[arm] = evaluation
        result.histories[arm] = clf.history_
        if arm.seed == self.first_seed and fold.index == 0:
            result.cams[arm] = grad_cam(clf, fold.examples, layer=self.cam_layer)
            if arm.label_fraction == self.most_labels:
                result.checks[arm] = judge.checks(self.cam_layer)

    def _look(self, fold: _Fold, arm: Arm, purpose: str, **more: Any) -> None:
        facts = {"init": arm.init, "label_fraction": arm.label_fraction, "seed": arm.seed, "split": arm.split}
        record_look(self.out, purpose, fold.test, **facts, **more)

    def _write(self, result: StudyResult) -> None:
        result.looks = read_looks(self.out)
        files = {"summary.csv": result.summary_csv(), "study.md": result.page()}
        if result.trials:
            files["rates.csv"] = result.rates_csv()
        for name, text in files.items():
            with atomic_writer(self.out / name) as file:
                file.write(text.encode())
        for name, ax in (("study.png", result.plot()), ("learning_curves.png", result.plot_learning_curves())):
            with atomic_writer(self.out / name) as file:
                ax.figure.savefig(file, format="png")
        from matplotlib import pyplot

        pyplot.close("all")
        with atomic_writer(self.out / "study.csv") as file:
            file.write(result.to_csv().encode())
        dataset = self.splits[0].dataset
        result.facts["manifest"] = self.log.manifest(
            kind="study",
            facts={key: value for key, value in self.facts.items() if key != "manifest"},
            splits=[split.rows() for split in self.splits],
            data={"name": dataset.name, "fingerprint": dataset.fingerprint()},
            pretrain=plain_parameters(self.ssl),
            finetune=plain_parameters(self.clf),
            pretraining_images_per_s=_speed(result.pretraining.values()),
            finetuning_images_per_s=_speed(result.histories.values()),
            training_s=self._training_s(result),
            looks_at_test_sets=len(result.looks),
        )

    def _training_s(self, result: StudyResult) -> float:
        """Of all processes that worked on a study; the manifest's wall_s is that of the last one."""
        histories = [*result.pretraining.values(), *result.histories.values()]
        became_runs = [trials_become_runs(self.clf, split) for split in self.splits]
        tried = [t["seconds"] for t in result.trials if not (t["chosen"] and became_runs[t["split"]])]
        return round(sum(row["seconds"] for history in histories for row in history) + sum(tried), 1)


@dataclass
class _Fold:
    """A split with its data sets, its folder, and the pretrained network of the seed that is at work."""

    index: int
    split: _splits.Split
    folder: Path
    train: Dataset
    val: Dataset | None
    test: Dataset
    examples: Dataset
    ssl: SimCLR | None = None
    ssl_seed: int | None = None

    @classmethod
    def of(cls, index: int, split: _splits.Split, folder: Path) -> _Fold:
        test = split.test
        return cls(index, split, folder, split.train, split.val, test, spread_examples(test, N_EXAMPLES))

    def choosing(self) -> tuple[Dataset, Dataset]:
        """What rates are tried on: (train, validation)."""
        if self.val is not None:
            return self.train, self.val
        return held_back(self.train, self.split.by, self.split.seed)


@dataclass
class _Judge:
    """What a trained classifier says about its test set, computed once and kept beside it.

    The results carry the names of the weights and of the test set that they belong to: a repeated study reads them
    instead of looking again, unless one of the two has changed.
    """

    clf: Classifier
    test: Dataset
    folder: Path
    reuse: bool

    def __post_init__(self) -> None:
        self.of = {"model": model_digest(self.clf), "test_set": self.test.fingerprint()[:16]}

    def evaluation(self, n_bootstrap: int, before: Any) -> Evaluation:
        """`before` is called just before the test set is looked at."""
        predictions, report = self.folder / "test_predictions.csv", self.folder / "evaluation.json"
        if not self._is_kept(report):
            before()
            text = predictions_csv(self.test, self.clf.predict_proba(self.test))
            with atomic_writer(predictions) as file:
                file.write(text.encode())
        # The first time too from what is in the file: a repeated study must come to the same figures.
        probabilities = read_predictions(predictions)
        found = evaluate_predictions(
            self.test.labels, probabilities, self.test.classes, subjects=self.test.subjects, n_bootstrap=n_bootstrap
        )
        write_json(report, {"of": self.of, **found.to_dict()})
        return found

    def checks(self, layer: str) -> CamChecks:
        options = {"layer": layer, "n_images": 2 * N_EXAMPLES}
        path, of = self.folder / "heat_map_checks.npz", {**self.of, **options}
        kept = load_checks(path, of) if self.reuse else None
        if kept is None:
            kept = check_cams(self.clf, self.test, **options)
            save_checks(path, kept, of)
        return kept

    def _is_kept(self, report: Path) -> bool:
        if not self.reuse or not report.exists():
            return False
        return json.loads(report.read_text(encoding="utf-8")).get("of") == self.of


def plain_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters as plain values."""
    values = {f.name: getattr(estimator, f.name) for f in fields(estimator)}
    return {
        name: value if isinstance(value, (int, float, str, type(None))) else str(value)
        for name, value in values.items()
    }


def spread_examples(ds: Dataset, n: int) -> Dataset:
    """Up to n images, the classes in turn, each of another subject as long as there are any.

    Of a subject the slices that show most of the known regions come first, and of these the middle one.
    """
    labels = np.zeros(len(ds), np.int64) if ds.labels is None else ds.labels
    n_regions = np.zeros(len(ds), np.int64)
    for mask in (ds.masks or {}).values():
        n_regions += mask.any(axis=(1, 2))
    queues = []
    for c in np.unique(labels):
        found = np.flatnonzero(labels == c)
        if ds.subjects is not None:
            rank = np.zeros(len(found), np.int64)
            for subject in np.unique(ds.subjects[found]):
                mine = np.flatnonzero(ds.subjects[found] == subject)
                showing = n_regions[found[mine]]
                fullest = np.flatnonzero(showing == showing.max())
                off_middle = np.abs(np.arange(len(mine)) - fullest[len(fullest) // 2])
                rank[mine[np.lexsort((off_middle, -showing))]] = np.arange(len(mine))
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


def read_predictions(path: str | Path) -> np.ndarray:
    """The probabilities of `predictions_csv`, float64 (N, classes)."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return np.array([[float(cell) for cell in row[4:]] for row in rows[1:]])


def _row(arm: Arm, clf: Classifier, evaluation: Evaluation, level: str) -> dict[str, Any]:
    row = {"init": arm.init, "label_fraction": arm.label_fraction, "seed": arm.seed, "split": arm.split}
    row |= {"n_labelled": len(clf.labelled_), "lr": clf._lr()}
    row |= {"epochs": len(clf.history_), "best_epoch": clf.best_epoch_}
    main = evaluation.levels[level]
    for name in METRICS:
        estimate = main[name]
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        row[f"slice_{name}"] = evaluation.slices[name].value
    return row


def _speed(histories: Any) -> float | None:
    rows = [row for history in histories for row in history]
    seconds = sum(row["seconds"] for row in rows)
    return round(sum(row["images"] for row in rows) / seconds, 1) if seconds else None


def _stop_if_interrupted(estimator: Any) -> None:
    if not estimator.position_.finished:
        raise KeyboardInterrupt


__all__ = ["Arm", "StudyResult", "predictions_csv", "read_predictions", "spread_examples", "study"]
