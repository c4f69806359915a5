"""label_curve: what frozen features are worth with few labelled subjects, and how sure that is.

Pretraining is for the case that labels are few, and there a few draws decide: another four subjects with labels give
another score. So each start's features are computed once a fold, and only probes are trained, on a hundred draws of
labelled subjects of each size, the same draws and folds for all starts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._shared import counted, in_words, option_text, sole_writer, suggests_names
from ..datasets import Dataset, DataWarning, require_labels
from ..learning import SimCLR
from ..splits import kfold, nested_order, units_of
from ._curve_page import write_curve
from ._curve_result import LabelCurve
from ._curve_scores import FoldScores, Scores
from ._probes import PENALTY, PROBES, Gram
from ._starts import Extractor, Start, named_starts

SIZES = (4, 8, 16, 40, 80, 160, 320, 640)


@dataclass(frozen=True, eq=False)
class _Part:
    """One fold of one repeat, in subjects."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray
    train_images: np.ndarray


@suggests_names
def label_curve(
    ds: Dataset,
    starts: Any = ("pixels", "random", "simclr"),
    n_labelled: Sequence[int] | None = None,
    *,
    draws: int = 100,
    repeats: int | None = None,
    n_splits: int = 5,
    penalty: float = PENALTY,
    pretrain: SimCLR | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> LabelCurve:
    """Scores of a linear probe and of nearest neighbours on each start's features, by number of labelled subjects.

    Everything is by subject: folds, draws of labels, features and scores. A fold's networks are pretrained on the
    images of its training subjects only, without labels.

    Parameters
    ----------
    ds : Dataset
        With labels and subjects.
    starts : sequence or dict
        "pixels", "csf", "random", "simclr", paths of runs or weights, `SimCLR` estimators (pretrained in each fold
        unless they are fitted), fitted `Classifier` of other subjects, or `studies.Start` for other layers and
        poolings; a dictionary names them.
    n_labelled : sequence of int, optional
        Labelled subjects of a draw. None: 4, 8, 16, 40, 80, 160, ... as far as the training subjects reach. Draws are
        stratified and nested: the 4 are among the 8.
    draws : int
        Of labelled subjects, in each fold.
    repeats : int, optional
        How often the subjects are dealt into folds anew, each time with other random weights. None is 10, or 1 if a
        start is pretrained: one pretraining a fold and repeat.
    n_splits : int
        Folds.
    penalty : float
        Of the linear probe, ridge regression on features that are standardised and divided by the square root of their
        number.
    pretrain : SimCLR, optional
        What "simclr" is, and by its `arch` the network of "random". None is `SimCLR("resnet18", recipe="quick")`.
    seed : int
        Of folds and draws.
    out : path, optional
        Keeps features and pretrained networks, so that the same call goes on after a stop, and adding a start costs
        only that start. Writes label_curve.csv, differences.csv, label_curve.json, label_curve.png and report.html.
    progress : callable (str) -> None, optional
        Is told what begins.

    Returns
    -------
    LabelCurve

    Raises
    ------
    ValueError
        An argument or the data, named.

    Examples
    --------
    >>> import simclr_mri as sm
    >>> ds = sm.datasets.phantoms(seed=1, n_subjects=40, slices=2, image_size=32, task="cdr0")
    >>> curve = sm.label_curve(ds, ["pixels", "random"], [4, 16], draws=10, repeats=2, n_splits=4)
    >>> curve.sizes, list(curve.starts)
    ((4, 16), ['pixels 16 x 16', 'random weights'])
    >>> curve.mean("auc").shape
    (2, 2)
    """
    ssl = SimCLR("resnet18", recipe="quick", verbose=0) if pretrain is None else pretrain
    chosen = named_starts(starts, ssl)
    # Starts that differ only in what is read from the network share its pretraining.
    networks = {(id(start.init), start.intensities): name for name, start in chosen.items() if start.learns}
    learns = list(networks.values())
    repeats = (1 if learns else 10) if repeats is None else repeats
    _check(ds, draws=draws, repeats=repeats, penalty=penalty)
    _, labels, _ = units_of(ds, "subject")
    parts = _parts(ds, n_splits, repeats, seed)
    sizes = _sizes(n_labelled, min(len(part.train) for part in parts), len(np.unique(labels)))
    say = progress or (lambda _: None)
    for name in learns if progress else ():
        cost = chosen[name].init.estimate(ds[parts[0].train_images].unlabelled())
        say(f"{name}: {counted(len(parts), 'pretraining')} on the training subjects of each fold, each {cost}")
    folder = None if out is None else Path(out).expanduser()
    with sole_writer(folder):
        fingerprint = ds.fingerprint()
        trained: dict[tuple[int, str], SimCLR] = {}
        extractors = [Extractor(start, ds, ssl, folder, fingerprint, trained) for start in chosen.values()]
        notes = {name: e.note for name, e in zip(chosen, extractors, strict=True) if e.note}
        for name, note in notes.items():
            warnings.warn(f"{name}: {note}", DataWarning, stacklevel=2)
        scores = Scores(len(chosen), sizes, repeats, draws, labels, len(ds.classes))
        for i, part in enumerate(parts):
            orders = _draws(labels[part.train], draws, (seed, part.repeat, part.fold))
            for j, (name, extractor) in enumerate(zip(chosen, extractors, strict=True)):
                say(f"repeat {part.repeat + 1} of {repeats}, fold {part.fold + 1} of {n_splits}: {name}")
                features = extractor.features(part.repeat, i, part.train_images)
                scores.add(j, part.repeat, _score(features, labels, part, orders, sizes, len(ds.classes), penalty))
        about = {"data": ds.name, "images": len(ds), "image_size": ds.image_size, "fingerprint": fingerprint}
        about |= {"draws": draws, "repeats": repeats, "n_splits": n_splits, "penalty": penalty, "seed": seed}
        references = [name for name, start in chosen.items() if start.is_reference]
        result = LabelCurve(tuple(chosen), sizes, scores, ds.classes, labels, about, references, notes)
        if folder is not None:
            write_curve(result, folder)
    return result


def _check(ds: Dataset, **numbers: Any) -> None:
    require_labels(ds, "ds")
    if ds.subjects is None:
        raise ValueError(
            "ds: the subjects are unknown, and labels are drawn by subject. Give them when opening the data "
            f"by {in_words('groups=', '--groups')}, a table.csv:column or a pattern over file names"
        )
    if (ds.counts().images > 0).sum() < 2:
        raise ValueError("ds: expected images of at least two classes")
    for name in ("draws", "repeats"):
        if not isinstance(numbers[name], (int, np.integer)) or numbers[name] < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1, got {numbers[name]!r}")
    if not 0 < numbers["penalty"] < np.inf:
        raise ValueError(f"penalty: expected a number above 0, got {numbers['penalty']!r}")


def _parts(ds: Dataset, n_splits: int, repeats: int, seed: int) -> list[_Part]:
    _, _, members = units_of(ds, "subject")
    found = []
    for i, split in enumerate(kfold(ds, n_splits=n_splits, seed=seed, repeats=repeats)):
        train, test = (np.unique(members[split.indices[name]]) for name in ("train", "test"))
        found.append(_Part(i // n_splits, i % n_splits, train, test, split.indices["train"]))
    return found


def _sizes(given: Sequence[int] | None, most: int, n_classes: int) -> tuple[int, ...]:
    if given is None:
        found = tuple(n for n in SIZES if n_classes <= n <= most)
        return found or (most,)
    found = tuple(dict.fromkeys(int(n) for n in np.atleast_1d(given)))
    for n in found:
        if not n_classes <= n <= most:
            raise ValueError(
                f"{option_text('n_labelled', n)}: expected {n_classes} (one a class) to {most} (the training subjects "
                "of the smallest fold)"
            )
    return tuple(sorted(found))


def _draws(labels: np.ndarray, draws: int, seed: tuple[int, ...]) -> np.ndarray:
    """Orders of the training subjects (draws, T), whose every prefix is stratified."""
    rng = np.random.default_rng(seed)
    return np.stack([nested_order(labels, rng) for _ in range(draws)])


def _score(
    features: np.ndarray,
    labels: np.ndarray,
    part: _Part,
    orders: np.ndarray,
    sizes: tuple[int, ...],
    n_classes: int,
    penalty: float,
) -> FoldScores:
    gram = Gram.of(features[part.train], features[part.test])
    found = FoldScores(part.test, labels[part.test], n_classes)
    for i, n in enumerate(sizes):
        # With all training subjects there is one draw.
        chosen = orders[:, :n] if n < len(part.train) else orders[:1]
        for name, probe in PROBES.items():
            more = {"penalty": penalty} if name == "linear" else {}
            found.add(i, name, probe(gram, labels[part.train], chosen, n_classes, **more))
    return found


__all__ = ["Start", "label_curve"]
