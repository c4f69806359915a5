"""The runs of a study by several workers: processes of this machine, or of a cluster through joblib's backends.

A worker gets the study with the places of its images, indices and parameters, never pixels. It trains and judges one
run in that run's folder, and writes its looks at the test set there. When all runs are done, the process that started
them goes over the study as if it were alone, finds each run finished, and writes the tables: so they are the same, byte
by byte, whoever did the work. What others wait for is begun first, then the longest.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .._shared import available_memory_bytes, bytes_text, in_words, n_processors, say
from ..datasets import put_on_disk
from ..splits import Split
from ._arm import Arm

if TYPE_CHECKING:
    from ._run import Run

MOST_DEATHS = 3
"""Times in a row that workers may die without any run being finished in between."""

PATIENCE_S, STEP_S = 600.0, 0.2

Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """A run, or the pretraining of its split and seed."""

    arm: Arm
    is_pretraining: bool
    cost: float

    def __str__(self) -> str:
        where = f", split {self.arm.split}" if self.arm.split else ""
        return f"pretraining, seed {self.arm.seed}{where}" if self.is_pretraining else f"{self.arm}{where}"


def checked_workers(n_workers: Any) -> int | str | None:
    """`n_workers` as `study` takes it; ValueError for anything else."""
    is_number = isinstance(n_workers, int) and not isinstance(n_workers, bool) and (n_workers >= 1 or n_workers == -1)
    if n_workers is None or n_workers == "auto" or is_number:
        return n_workers
    name, none = in_words("n_workers", "--workers"), in_words("None", "none")
    raise ValueError(f"{name}: expected a number of processes, -1 for all, 'auto' or {none}, got {n_workers!r}")


def do_by_workers(run: Run, arms: Sequence[Arm], n_workers: int | str | None) -> None:
    """All trainings that are not done yet, each by a worker; nothing if there would be one worker only."""
    import joblib

    number = _chosen_number(run, arms) if n_workers == "auto" else n_workers
    if joblib.effective_n_jobs(number) == 1:
        return
    if run.resume == "never":
        raise ValueError("resume='never': workers go on with what is in `out`; choose another folder to start over")
    place = run.out / ".data"
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    try:
        sent = replace(run, out=run.out.absolute(), splits=_on_disk(run.splits, place), rates={})
        for wave in _waves(run, arms):
            for task, lr in _results(sent, wave, number, run.clf.verbose > 0):
                if lr is not None:
                    sent.rates[task.arm.init, task.arm.label_fraction, task.arm.split] = lr
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _chosen_number(run: Run, arms: Sequence[Arm]) -> int:
    """One process a processor, as far as there are runs and memory: two of one thread do more than one of two."""
    need = run.clf.estimate(run.splits[0].train).memory_bytes
    if any(arm.init == "simclr" for arm in arms):
        need = max(need, run.ssl.estimate(run.splits[0].train).memory_bytes)
    left = available_memory_bytes()
    fits = len(arms) if left is None else max(1, int(0.9 * left // need))
    number = min(n_processors(), fits, max(len(wave) for wave in _waves(run, arms)))
    if run.clf.verbose:
        said = f"{number} workers" if number > 1 else "1 process"
        say(f"{said}: {n_processors()} processors, about {bytes_text(need)} of memory each")
    return number


def _on_disk(splits: Sequence[Split], place: Path) -> list[Split]:
    """The splits with their images in files, which all workers share."""
    known: dict[int, Any] = {}
    for split in splits:
        ds = split.dataset
        if id(ds) not in known:
            known[id(ds)] = ds if ds.is_on_disk else put_on_disk(ds, place / str(len(known)))
    return [Split(known[id(split.dataset)], split.indices, split.by, split.seed) for split in splits]


def _waves(run: Run, arms: Sequence[Arm]) -> list[list[Task]]:
    """Tasks that need nothing; those that need a pretraining; and those that need a rate that another seed finds."""
    pretrainings: dict[tuple[int, int], Task] = {}
    free: list[Task] = []
    after: list[Task] = []
    last: list[Task] = []
    for arm in arms:
        n = len(run.splits[arm.split].indices["train"])
        task = Task(arm, False, arm.label_fraction * n)
        if arm.init == "simclr":
            pretrainings.setdefault((arm.split, arm.seed), Task(arm, True, float(n)))
        if run.lrs and arm.seed != arms[0].seed:
            last.append(task)
        else:
            (after if arm.init == "simclr" else free).append(task)
    waves = [sorted(wave, key=lambda task: -task.cost) for wave in (free, after, last)]
    waves[0] = sorted(pretrainings.values(), key=lambda task: -task.cost) + waves[0]
    return [wave for wave in waves if wave]


def _results(run: Run, tasks: list[Task], number: int | str | None, verbose: bool) -> Iterator[tuple[Task, Any]]:
    """Each task with its rate as it is done. Where a worker died, what is missing is given out again, and resumes."""
    done: set[Task] = set()
    deaths = 0
    while len(done) < len(tasks):
        todo = [task for task in tasks if task not in done]
        try:
            for task, lr in _parallel(run, todo, number):
                done.add(task)
                deaths = 0
                if verbose:
                    say(f"{len(done)} of {len(tasks)} done: {task}")
                yield task, lr
        except BrokenProcessPool as error:
            deaths += 1
            if deaths > MOST_DEATHS:
                raise ChildProcessError(
                    f"{run.out}: workers died {deaths} times in a row and finished nothing in between ({error}). The "
                    "system ends processes when memory is short: take fewer workers"
                ) from error
            say(f"a worker died: its run is taken up again ({len(todo)} left)")


def _parallel(run: Run, tasks: list[Task], number: int | str | None) -> Any:
    import joblib

    calls = [joblib.delayed(work)(run, task) for task in tasks]
    options: dict[str, Any] = {"n_jobs": number, "batch_size": 1, "pre_dispatch": "all"}
    try:
        return joblib.Parallel(**options, return_as="generator_unordered")(calls)
    except ValueError:  # a backend that gives all results at once
        return joblib.Parallel(**options)(calls)


def work(run: Run, task: Task) -> tuple[Task, float | None]:
    """What a worker does: one task, in its own folder. Returns the rate that was chosen, if there was a choice."""
    quiet = replace(run, ssl=_quiet(run.ssl), clf=_quiet(run.clf))
    return task, quiet.one(task.arm, only_pretraining=task.is_pretraining)


def _quiet(estimator: Any) -> Any:
    return type(estimator)(**{**estimator.get_params(deep=False), "verbose": 0})


def patiently(read: Callable[[], Result]) -> Result:
    """What `read` gives once no other worker holds the folder: a pretraining is read by several at a time."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return read()
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(STEP_S)
