"""What the commands share: opening data, splitting it, remembering it, and writing what they make."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from .. import plot, splits
from .._shared import bytes_text, counted, is_quiet, option_text, peak_memory_bytes, save_figure, say
from ..config import DataOptions, ReadingOptions, as_dict
from ..datasets import Dataset, likely_subjects, open_dataset
from ..learning import (
    CHECKPOINT_FILE,
    Callback,
    History,
    Ranks,
    checkpoint_path,
    is_checkpoint,
    read_checkpoint,
)
from ..tracking import tracker
from ..weights import safetensors_metadata
from ._settings import Settings


def open_data(options: DataOptions) -> Dataset:
    """The data set that the options describe."""
    if not options.path:
        raise ValueError("no folder of images was given, and the model remembers none")
    more: dict[str, Any] = {"task": options.task, "channels": options.channels, "cache": options.cache}
    ds = open_dataset(options.path, **more, **reading_of(options))
    found = ds.reading.get("intensity")
    if options.intensity is None and isinstance(found, tuple):  # remembered with the run, so that others are read alike
        options.intensity = tuple(map(str, found))
    if ds.understood:
        say(f"{options.path}: {ds.understood}")
    return ds


def reading_of(options: ReadingOptions) -> dict[str, Any]:
    """How images are read, but for task and channels: arguments of `open_dataset` and `write_slices`."""
    return {
        "groups": options.groups,
        "labels": options.labels,
        "image_size": options.image_size,
        "merge": options.merge,
        "class_order": options.class_order,
        "labelled": not getattr(options, "unlabelled", False),
        "layout": options.layout,
        "intensity": _intensity(options.intensity),
        "fit": options.fit,
        "errors": options.errors,
        "max_pixels": options.max_pixels,
    }


def _intensity(words: tuple[str, ...] | None) -> Any:
    """ "percentile" of ("percentile",), (0.0, 4095.0) of ("0", "4095")."""
    if words is None or len(words) == 1:
        return None if words is None else words[0]
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError(f"--intensity: expected full, percentile or two numbers, got {' '.join(words)}") from None
    return low, high


def split_data(ds: Dataset, options: DataOptions) -> splits.Split:
    """The split that the options describe; ValueError says what to do when subjects are unknown."""
    if options.split == ("given",):
        if options.folds > 1:
            raise ValueError(
                "--split given: has no folds; leave out --folds, or give shares such as --split 0.7 0.15 0.15"
            )
        return splits.given_split(ds)
    if ds.parts is not None:
        names = ", ".join(sorted(set(ds.parts.tolist())))
        warnings.warn(
            f"{options.path}: comes in parts ({names}), which are joined and split anew. To use them as they are: "
            "--split given",
            stacklevel=2,
        )
    _check_subjects(ds, options)
    if options.folds == 1:
        return splits.split(ds, by=options.by, seed=options.split_seed, fractions=options.split)
    if options.fold >= options.folds:
        raise ValueError(
            f"--fold {options.fold}: expected 0 to {options.folds - 1}, as there are {options.folds} folds"
        )
    return next(islice(_folds(ds, options, options.folds), options.fold, None))


def _check_subjects(ds: Dataset, options: DataOptions) -> None:
    if options.by == "subject" and ds.subjects is None:
        pattern = likely_subjects(ds)
        guess = f" (these names may tell: {option_text('groups', pattern)})" if pattern else ""
        raise ValueError(
            f"{options.path}: the subjects are unknown, so the images cannot be split by subject. Name them by "
            f"--groups with a table or a pattern over file names{guess}; or --by image, whose scores flatter if one "
            "head gave several images"
        )


def study_splits(ds: Dataset, options: DataOptions, n: int) -> list[splits.Split]:
    """The held-out test set, or all of n folds."""
    if options.folds > 1:
        raise ValueError("--folds is for single runs; a study takes --splits, and runs all of them")
    _check_subjects(ds, options)
    return list(_folds(ds, options, n)) if n > 1 else [split_data(ds, options)]


def _folds(ds: Dataset, options: DataOptions, n: int) -> Iterator[splits.Split]:
    val = options.split[1] / sum(options.split[:2]) if len(options.split) == 3 else 0.0
    return splits.kfold(ds, n_splits=n, by=options.by, seed=options.split_seed, val=val)


def facts_of(options: DataOptions, recipe: str) -> dict[str, Any]:
    """What a run remembers of its data: enough to open it again, from the cache if there is one."""
    values = as_dict(options)
    place = values.pop("cache") or values["path"]
    return {"recipe": recipe, "options": {**values, "path": str(Path(place).expanduser().resolve())}}


def remembered(path: str | None) -> dict[str, Any]:
    """What a run remembers of its data; nothing for foreign weights."""
    if path is None or path == "random":
        return {}
    file = checkpoint_path(path)
    metadata = safetensors_metadata(file) if file.is_file() else {}
    return read_checkpoint(file).extra.get("data", {}) if is_checkpoint(metadata) else {}


def inherited(remembered: dict[str, Any]) -> dict[str, Any]:
    """The data options and recipe of the run that a command builds upon."""
    options = {k: v for k, v in remembered.get("options", {}).items() if v is not None and k != "unlabelled"}
    if options and "fit" not in options:  # a run of version 0.1.0, which stretched images and took all of 16 bits
        options |= {"fit": "stretch", "intensity": ["full"]}
    return {"recipe": remembered.get("recipe"), "data": options}


def folder_for_results(settings: Settings, default: str) -> Path:
    """Where results go; OSError, before any work, if nothing can be written there."""
    out = Path(settings.run.out or default).expanduser()
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"--out {out}: expected a folder, and {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: nothing can be written to {place}")
    return out


def beside_model(model: str, name: str) -> Path:
    """A place in the model's folder; in the current folder, with a note, where that cannot be written to."""
    folder = checkpoint_path(model).parent
    if os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
        return folder / name
    place = Path(f"{folder.resolve().name}_{name}")
    warnings.warn(f"{folder} cannot be written to: results go to {place}", stacklevel=2)
    return place


def describe(ds: Dataset, parts: splits.Split) -> None:
    say(f"{ds!r}\n{parts}\n")


def estimator_of(cls: type, section: Any, **more: Any) -> Any:
    values = {f.name: getattr(section, f.name) for f in fields(section)}
    return cls(**{**values, **more})


def announce(
    estimator: Any, what: str, train: Dataset, val: Dataset | None, out: Path, resume: str, ranks: Ranks
) -> None:
    if not estimator.verbose or is_quiet():
        return
    if not checkpoint_path(out).exists() or resume == "never":
        if ranks.size > 1:  # one of them alone would time another step
            say(f"{what}, by {ranks.size} ranks. Results go to {out}/")
            return
        estimate = estimator.estimate(train, val)
        say(f"{what}: {estimate}. Results go to {out}/")
        if estimate.left_over:
            n = f"{counted(estimate.left_over, 'image')} of {len(train):,}"
            say(f"an epoch leaves out {n}, others each time: they fill no batch of {estimator.batch_size}")
        return
    found = read_checkpoint(out)
    before = found.config.get("epochs", estimator.epochs)
    if not found.progress["finished"]:
        state = f"a run that has done {counted(found.progress['step'], 'step')}"
    elif estimator.epochs > before:
        state = f"a finished run of {counted(before, 'epoch')}"
    else:
        state = "a finished run"
    say(f"{what}: {out}/ holds {state}")


def trackers(settings: Settings) -> list[Callback]:
    """What --track asks for; ImportError before any work."""
    chosen = settings.track
    if chosen.track_to is not None and len(chosen.track or ()) != 1:
        raise ValueError("--track-to: expected one --track beside it, whose place it names")
    return [tracker(name, chosen.track_to) for name in chosen.track or ()]


def ranks_of(args: argparse.Namespace) -> Ranks:
    """The processes that do this command together."""
    return getattr(args, "ranks", None) or Ranks()


def after_training(estimator: Any, out: Path, then: str, ranks: Ranks) -> int:
    if not estimator.position_.finished:
        raise KeyboardInterrupt
    if not ranks.is_first:
        return 0
    save_figure(plot.history(estimator.history_).figure, out / "history.png")
    rows = estimator.history_
    say(f"{rows}\n" if len(rows) <= 20 else f"the last of {len(rows)} epochs:\n{History(rows[-1:])}\n")
    speed = sum(r["images"] for r in rows) / max(1e-9, sum(r["seconds"] for r in rows))
    say(f"{speed:.1f} images/s, peak memory {bytes_text(peak_memory_bytes())}")
    print(f"{out}/: {CHECKPOINT_FILE}, log.csv, log.jsonl, manifest.json, history.png")
    say(f"next: {then}")
    return 0


def save_axes(ax: Any, path: Path) -> None:
    """The figure of these axes as a PNG file."""
    save_figure(ax.figure, path, dpi=150, bbox_inches="tight")
