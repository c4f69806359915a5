"""The work behind `study`: every arm in turn, each in a folder of its own."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .. import splits as _splits
from .._shared import Resume, atomic_writer, has_figure, save_figure, say
from ..explain import grad_cam, view
from ..learning import Classifier, RunLog, SimCLR, checkpoint_path
from ..metrics import Evaluation
from ._arm import METRICS, Arm, level_of
from ._fold import Fold
from ._judge import RunJudge
from ._looks import collect_looks, read_looks, record_look
from ._model_card import model_card
from ._plan import Plan
from ._rates import RateSearch, adopt_trial, trial_name, trials_become_runs
from ._result import StudyResult
from ._workers import do_by_workers, patiently

N_VIEWED = 8
"""Slices of each subject in the viewer of a report."""


@dataclass
class Run:
    """The work behind `study`."""

    out: Path
    splits: list[_splits.Split]
    ssl: SimCLR
    clf: Classifier
    lrs: tuple[float, ...]
    cam_layer: str
    n_bootstrap: int
    resume: Resume
    facts: dict[str, Any]
    first_seed: int = 0
    most_labels: float = 1.0
    rates: dict[tuple[str, float, int], float] = field(default_factory=dict)  # that other workers have found
    _open: Fold | None = field(default=None, init=False)

    def all(self, arms: list[Arm], n_workers: int | str | None = None) -> StudyResult:
        self.most_labels = max(arm.label_fraction for arm in arms)
        self.first_seed = arms[0].seed
        self.facts |= {"by": self.splits[0].by, "split_seed": self.splits[0].seed}
        if len(self.splits) > 1:
            self.facts["splits"] = len(self.splits)
        do_by_workers(self, arms, n_workers)
        collect_looks(self.out, [self._folder(arm.split) / arm.folder for arm in arms])
        self.log, self.looks_in = RunLog(self.out), self.out
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

    def one(self, arm: Arm, *, only_pretraining: bool = False) -> float | None:
        """What a worker does: a run, or the pretraining that it needs; the rate that was found, if rates were tried."""
        self.log, self.search = RunLog(None), RateSearch(self.lrs, self.resume, chosen=dict(self.rates))
        fold = self._fold(arm.split)
        self.looks_in = fold.folder / arm.folder
        result = StudyResult([], {}, {}, {}, {}, self.splits)
        init = patiently(lambda: self._start(fold, arm, result))
        if only_pretraining:
            return None
        self._arm(fold, arm, init, result, None)
        return self.search.chosen.get((arm.init, arm.label_fraction, arm.split))

    def _say(self, text: str) -> None:
        self.log.event("run", text=text)
        if self.clf.verbose:
            say(text)

    def _fold(self, index: int) -> Fold:
        """One at a time: each holds its images."""
        if self._open is None or self._open.index != index:
            self._open = Fold.of(index, self.splits[index], self._folder(index))
        return self._open

    def _folder(self, index: int) -> Path:
        return self.out / f"split{index}" if len(self.splits) > 1 else self.out

    def _facts(self, fold: Fold) -> dict[str, Any]:
        """What a run's checkpoint remembers: enough for `simclr-mri evaluate` to find the same test set again."""
        if len(self.splits) == 1:
            return self.facts
        facts = {**self.facts, "split": fold.index}
        if "options" in facts:
            facts["options"] = {**facts["options"], "folds": len(self.splits), "fold": fold.index}
        return facts

    def _start(self, fold: Fold, arm: Arm, result: StudyResult) -> Any:
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

    def _rate(self, fold: Fold, arm: Arm, init: Any, plan: Plan | None) -> float | None:
        """The learning rate of an arm; the trial that found it becomes the run where it learnt from the same data."""
        if not self.lrs:
            return self.clf.lr
        folder = fold.folder / arm.folder

        def tried(lr: float, clf: Classifier, score: float) -> None:
            known = score if math.isfinite(score) else None  # JSON has no infinity
            self.log.event("tried", arm=str(arm), split=arm.split, lr=lr, val_score=known)
            if plan is not None:
                plan.tried(arm, lr, clf.history_, score)

        lr = self.search.choose(
            arm, lambda lr: self._classifier(arm, init, lr), fold.choosing, folder, self._facts(fold), tried
        )
        if trials_become_runs(self.clf, fold.split) and arm.seed == self.first_seed:
            adopt_trial(folder / trial_name(lr), folder, self.resume)
        return lr

    def _arm(self, fold: Fold, arm: Arm, init: Any, result: StudyResult, plan: Plan | None) -> None:
        folder = fold.folder / arm.folder
        clf = self._classifier(arm, init, self._rate(fold, arm, init, plan))
        on_test = clf.select_on == "test"
        if on_test and not checkpoint_path(folder).exists():
            self._look(fold, arm, "the best epoch is chosen here", epochs=clf.epochs)
        with warnings.catch_warnings():
            if result.rows:  # said once is enough
                warnings.filterwarnings("ignore", message="recipe 'paper' reproduces")
            select = fold.test if on_test else fold.val
            clf.fit(fold.train, select, checkpoint=folder, resume=self.resume, facts=self._facts(fold))
        _stop_if_interrupted(clf)
        judge = RunJudge(clf, fold.test, folder, self.resume == "auto")
        evaluation = judge.evaluation(self.n_bootstrap, before=lambda: self._look(fold, arm, "judged"))
        self.log.event("judged", arm=str(arm), balanced_accuracy=evaluation["balanced_accuracy"].value)
        result.rows.append(_row(arm, clf, evaluation, level_of(fold.split)))
        result.evaluations[arm] = evaluation
        result.histories[arm] = clf.history_
        if arm.seed == self.first_seed and fold.index == 0:
            is_shown = arm.label_fraction == self.most_labels
            if is_shown:
                result.checks[arm] = judge.checks(self.cam_layer)  # kept in a file, also for whom a worker does it
            if plan is None:
                return
            result.cams[arm] = grad_cam(clf, fold.examples, layer=self.cam_layer)
            if is_shown:
                result.viewers[arm] = view(clf, fold.test, n_slices=N_VIEWED, layer=self.cam_layer)

    def _look(self, fold: Fold, arm: Arm, purpose: str, **more: Any) -> None:
        facts = {"init": arm.init, "label_fraction": arm.label_fraction, "seed": arm.seed, "split": arm.split}
        record_look(self.looks_in, purpose, fold.test, **facts, **more)

    def _write(self, result: StudyResult) -> None:
        result.looks = read_looks(self.out)
        files = {"summary.csv": result.summary_csv(), "study.md": result.page()}
        if result.trials:
            files["rates.csv"] = result.rates_csv()
        for name, text in files.items():
            with atomic_writer(self.out / name) as file:
                file.write(text.encode())
        table, place = result.to_csv().encode(), self.out / "study.csv"
        is_new = not place.exists() or place.read_bytes() != table
        for name, draw in (("study.png", result.plot), ("learning_curves.png", result.plot_learning_curves)):
            if is_new or not has_figure(self.out / name):  # drawing takes longer than passing by many finished runs
                save_figure(draw().figure, self.out / name)
        with atomic_writer(place) as file:
            file.write(table)
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

        model_card(result).write(self.out / "model_card.md")

    def _training_s(self, result: StudyResult) -> float:
        """Of all processes that worked on a study; the manifest's wall_s is that of the last one."""
        histories = [*result.pretraining.values(), *result.histories.values()]
        became_runs = [trials_become_runs(self.clf, split) for split in self.splits]
        tried = [t["seconds"] for t in result.trials if not (t["chosen"] and became_runs[t["split"]])]
        return round(sum(row["seconds"] for history in histories for row in history) + sum(tried), 1)


def plain_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters as plain values."""
    values = {f.name: getattr(estimator, f.name) for f in fields(estimator)}
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
    return {name: v if isinstance(v, (int, float, str, type(None))) else str(v) for name, v in plain.items()}


def _row(arm: Arm, clf: Classifier, evaluation: Evaluation, level: str) -> dict[str, Any]:
    row = {"init": arm.init, "label_fraction": arm.label_fraction, "seed": arm.seed, "split": arm.split}
    row |= {"n_labelled": len(clf.labelled_), "lr": clf.effective_lr()}
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
