"""The study: how much does a start help when labels are few?

Starts x label fractions x seeds x splits, every arm with the same budget, each run judged once on its test set. Each
run has a folder, so that a study that was stopped at any moment goes on where it was and ends in the same table.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from .. import splits as _splits
from .._shared import By, Resume, in_words, sole_writer, suggests_names
from ..datasets import Dataset, require_labels
from ..explain import default_layer
from ..learning import Classifier, SimCLR, checkpoint_path
from ._arm import Arm
from ._rates import checked_rates
from ._result import StudyResult
from ._run import Run
from ._workers import checked_workers

VAL_SHARE = 0.15 / 0.85  # of what a fold does not test: as in the split of one


@suggests_names
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
    cam_layer: str | None = None,
    n_bootstrap: int = 1000,
    resume: Resume = "auto",
    facts: Mapping[str, Any] | None = None,
    n_workers: int | str | None = None,
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
        Folder of the study: study.csv (a row a run), summary.csv (a row an arm), study.md, study.png (also .pdf and
        .svg), model_card.md, runs.md (what is done and how long the rest will take), rates.csv (what each of `lrs`
        scored), test_looks.jsonl, manifest.json and a folder for each run.
    split : Split, optional
        By default by subject with seed 42. With K folds it says by what, from which seed, and how much is for
        validation.
    pretrain, finetune : estimator or dict, optional
        The budget of every arm: an unfitted `SimCLR` and `Classifier`, or their arguments.
    lrs : sequence of float, optional
        Fine-tuning rates that every start tries at each label fraction in each split, with the first seed; the best by
        validation data serves all seeds, instead of one rate for all. A split without validation data holds back 15 %
        of its training set for that; the networks that are judged learn from all of it.
    cam_layer : str, optional
        Stage of the heat maps that are kept; by default that of `grad_cam`.
    n_bootstrap : int
    resume : {"auto", "never"}
    facts : dict, optional
        Kept in the manifest.
    n_workers : int, "auto" or None
        Processes that train at a time, through joblib; None is one, or what `joblib.parallel_config` says. "auto" is as
        many as there are processors, runs and memory for. Within `joblib.parallel_config("dask")` or `"ray"` they are
        those of a cluster, on which `out` and the images must have the same paths. Each takes one thread, or what
        ``OMP_NUM_THREADS`` says. The tables are the same, byte by byte, whatever the number.

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
    require_labels(ds, "ds")
    n_workers = checked_workers(n_workers)
    _check_starts(inits, fractions)
    chosen = _chosen_splits(ds, splits, split)
    seeds = range(seeds) if isinstance(seeds, (int, Integral)) else seeds
    run = Run(
        out=Path(out).expanduser(),
        splits=chosen,
        ssl=_template(SimCLR, pretrain),
        clf=_template(Classifier, finetune),
        lrs=checked_rates(lrs),
        cam_layer=default_layer(ds.image_size) if cam_layer is None else cam_layer,
        n_bootstrap=n_bootstrap,
        resume=resume,
        facts=dict(facts or {}),
    )
    shares = sorted(float(f) for f in fractions)
    order = [(k, seed) for k in range(len(chosen)) for seed in seeds]
    try:
        with sole_writer(run.out):
            return run.all([Arm(name, f, seed, k) for k, seed in order for name in inits for f in shares], n_workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"study: stopped. What was done is kept in {out}, and the same call goes on from there"
        ) from None


def _chosen_splits(
    ds: Dataset, given: int | Sequence[_splits.Split], split: _splits.Split | None
) -> list[_splits.Split]:
    if not isinstance(given, (int, Integral)):
        if not given:
            raise ValueError("splits: expected at least one Split, got none")
        return list(given)
    by: By = split.unit if split else "subject" if ds.subjects is not None else "image"
    n_splits = int(given)
    if n_splits < 2:
        if n_splits < 1:
            raise ValueError(f"splits: expected 1 or more, got {given}")
        return [split or _splits.split(ds, by=by)]
    if split is None:
        return list(_splits.kfold(ds, n_splits=n_splits, by=by, seed=42, val=VAL_SHARE))
    n_val = len(split.indices.get("val", ()))
    val = n_val / (n_val + len(split.indices["train"]))
    return list(_splits.kfold(split.dataset, n_splits=n_splits, by=by, seed=split.seed, val=val))


def _check_starts(inits: Sequence[str], fractions: Sequence[float]) -> None:
    """Mistakes that would otherwise show after hours, when their turn comes."""
    for name in inits:
        if name not in ("random", "simclr") and not checkpoint_path(name).is_file():
            near = difflib.get_close_matches(str(name), ["random", "simclr"], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise FileNotFoundError(f"inits: expected 'random', 'simclr' or files of weights; no {name!r}.{hint}")
    for f in fractions:
        if not 0 < f <= 1:
            name = in_words("fractions", "--label-fractions")
            raise ValueError(f"{name}: expected shares above 0 and at most 1 (0.1 is 10 %), got {f}")


def _template(cls: type, given: Any) -> Any:
    if given is None:
        return cls()
    return cls(**given) if isinstance(given, Mapping) else given
