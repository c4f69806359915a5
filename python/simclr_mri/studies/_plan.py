"""What a study has done and has still to do, and how long that will take: runs.md, and a line as each run begins.

Work is counted in images that pass the network in training; looking at an image is a third of that (one of three
passes). The rate is that of the runs so far, also of those that an earlier process did.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._shared import atomic_writer, seconds_text
from ..learning import Classifier, SimCLR
from ..splits import Split
from ._arm import Arm
from ._rates import HELD_BACK, trials_become_runs

PAIR_COST = 2.0  # of a SimCLR pair in supervised images, until one was timed: it is two images


@dataclass
class _Item:
    """One training: of an arm, or the pretraining of a split and seed."""

    kind: str
    name: str
    n_trained: float
    n_looked_at: float
    state: str = "waiting"
    seconds: float = 0.0
    score: float | None = None


class Plan:
    """The list of a study's runs.

    Parameters
    ----------
    path : Path
        Where the list is written whenever it changes.
    arms : sequence of Arm
        In the order in which they are run.
    splits : sequence of Split
    ssl, clf : estimators
        The budget of every arm.
    lrs : sequence of float
        Rates that are tried at each start, label fraction and split; none if there is one for all.
    """

    def __init__(
        self,
        path: Path,
        arms: Sequence[Arm],
        splits: Sequence[Split],
        ssl: SimCLR,
        clf: Classifier,
        lrs: Sequence[float] = (),
    ) -> None:
        self._path, self._ssl, self._clf, self._splits = path, ssl, clf, splits
        self._items: dict[Any, _Item] = {}
        for arm in arms:
            where = f", split {arm.split}" if len(splits) > 1 else ""
            if arm.init == "simclr" and (arm.split, arm.seed) not in self._items:
                self._items[arm.split, arm.seed] = self._pretraining(arm, f"pretraining, seed {arm.seed}{where}")
            tried = bool(lrs) and arm.seed == arms[0].seed
            for lr in lrs if tried else ():
                self._items[arm, lr] = self._trial(arm, f"{arm}{where}: rate {lr:g} on validation data")
            self._items[arm] = self._finetuning(arm, f"{arm}{where}")
            if tried and self._is_a_trial(arm):
                self._items[arm].n_trained = 0.0
                self._items[arm].n_looked_at = len(splits[arm.split].indices["test"])
        self._arms = list(arms)
        self._rates: dict[str, list[float]] = {"pretraining": [], "fine-tuning": []}

    def _pretraining(self, arm: Arm, name: str) -> _Item:
        n = len(self._splits[arm.split].indices["train"])
        return _Item("pretraining", name, self._ssl.epochs * n, 0.0)

    def _finetuning(self, arm: Arm, name: str) -> _Item:
        indices = self._splits[arm.split].indices
        n = max(1, round(arm.label_fraction * len(indices["train"])))
        per_epoch = -(-n // min(self._clf.batch_size, n))
        epochs = max(self._clf.epochs, -(-self._clf.min_steps // per_epoch))
        looked_at = min(epochs, self._clf.epochs) * len(indices.get("val", ())) + len(indices["test"])
        return _Item("fine-tuning", name, epochs * n, looked_at)

    def _trial(self, arm: Arm, name: str) -> _Item:
        item = self._finetuning(arm, name)
        indices, n_epochs = self._splits[arm.split].indices, max(self._clf.epochs, 1)
        item.n_looked_at -= len(indices["test"])
        if "val" not in indices:
            item.n_trained *= 1 - HELD_BACK
            item.n_looked_at = HELD_BACK * n_epochs * len(indices["train"])
        return item

    def _is_a_trial(self, arm: Arm) -> bool:
        return trials_become_runs(self._clf, self._splits[arm.split])

    # ---- told by the study ------------------------------------------------------------------------------------------

    def begin(self, arm: Arm, *, measure: bool = False) -> str:
        """A run begins: the line to say. `measure` times a few steps if nothing is known about the speed."""
        if measure and not any(self._rates.values()):
            self._time_a_few_steps(self._splits[arm.split])
        self._items[arm].state = "running"
        if arm.init == "simclr":
            pretraining = self._items[arm.split, arm.seed]
            if pretraining.state == "waiting":
                pretraining.state = "running"
        self._write()
        left = self.seconds_left()
        time_left = "" if left is None else f" (about {seconds_text(left)} left)"
        return f"run {self._arms.index(arm) + 1} of {len(self._arms)}: {self._items[arm].name}{time_left}"

    def pretrained(self, arm: Arm, history: Sequence[dict[str, Any]]) -> None:
        self._done(self._items[arm.split, arm.seed], history, None)

    def tried(self, arm: Arm, lr: float, history: Sequence[dict[str, Any]], score: float) -> None:
        self._done(self._items[arm, lr], history, score)

    def end(self, arm: Arm, history: Sequence[dict[str, Any]], score: float) -> None:
        """The history of a run that was a trial before is that trial's, which is counted already."""
        self._done(self._items[arm], history if self._items[arm].n_trained else (), score)

    def _done(self, item: _Item, history: Sequence[dict[str, Any]], score: float | None) -> None:
        if item.state == "done":
            return
        item.state, item.score = "done", score
        item.seconds = sum(row["seconds"] for row in history)
        n = sum(row["images"] for row in history)
        if n and item.seconds:
            self._rates[item.kind].append(item.seconds / n)
        self._write()

    # ---- time -------------------------------------------------------------------------------------------------------

    def seconds_left(self) -> float | None:
        """None while nothing is known about the speed."""
        rates = {kind: sum(found) / len(found) for kind, found in self._rates.items() if found}
        if not rates:
            return None
        image = rates.get("fine-tuning", rates.get("pretraining", 0.0) / PAIR_COST)
        rates = {"pretraining": image * PAIR_COST, "fine-tuning": image} | rates
        waiting = [item for item in self._items.values() if item.state != "done"]
        return sum(item.n_trained * rates[item.kind] + item.n_looked_at * image / 3 for item in waiting)

    def _time_a_few_steps(self, split: Split) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._clf.estimate(split.train)
        n = found.steps * min(self._clf.batch_size, len(split.indices["train"]))
        self._rates["fine-tuning"].append(found.seconds / n)

    def _write(self) -> None:
        done = sum(item.state == "done" for item in self._items.values())
        left = self.seconds_left()
        head = f"{done} of {len(self._items)} done" + ("" if left is None else f", about {seconds_text(left)} left")
        lines = [head, "", "| run | state | training, s | score |", "| --- | --- | ---: | ---: |"]
        for item in self._items.values():
            seconds = f"{item.seconds:.0f}" if item.state == "done" else ""
            score = "" if item.score is None else f"{item.score:.3f}"
            lines.append(f"| {item.name} | {item.state} | {seconds} | {score} |")
        with atomic_writer(self._path) as file:
            file.write("\n".join([*lines, ""]).encode())
