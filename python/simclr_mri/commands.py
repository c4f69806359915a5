"""What the commands of the shell do: each takes the parsed arguments, prints what it finds, returns an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from . import _core, checkpoint, plot, splits
from ._dataset import Dataset
from ._machine import warn_if_emulated
from ._seen import PRETRAINED, TRAINED, seen_note
from .audits import audit as run_audit
from .bench import ROWS, measure, run_peer
from .bench_plot import speed_and_memory
from .cam import grad_cam
from .cam_checks import check_cams
from .checkpoint import atomic_writer
from .classifier import Classifier
from .cli import Settings
from .config import DEMO_CHOICES, DataOptions, as_dict
from .datasets import open_dataset
from .demo import run_demo
from .looks import FILE_NAME as LOOKS
from .looks import record_look, record_of
from .progress import bytes_text, counted, seconds_text
from .runlog import History, peak_memory_bytes, write_json
from .simclr import SimCLR
from .studies import predictions_csv, spread_examples
from .studies import study as run_study
from .study_page import study_report


def open_data(options: DataOptions) -> Dataset:
    """The data set that the options describe."""
    if not options.path:
        raise ValueError("no folder of images was given, and the model remembers none")
    return open_dataset(
        options.path,
        groups=options.groups,
        image_size=options.image_size,
        task=options.task,
        channels=options.channels,
        errors=options.errors,
    )


def split_data(ds: Dataset, options: DataOptions) -> splits.Split:
    """The split that the options describe; ValueError says what to do when subjects are unknown."""
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
        raise ValueError(
            f"{options.path}: the subjects are unknown, so the images cannot be split by subject. Give --groups "
            "'table.csv:column' or a pattern over file names; or --by image, whose scores flatter if one head gave "
            "several images"
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


def _facts(options: DataOptions, recipe: str) -> dict[str, Any]:
    values = as_dict(options)
    return {"recipe": recipe, "options": {**values, "path": str(Path(values["path"]).resolve())}}


def _remembered(path: str | None) -> dict[str, Any]:
    """What a run remembers of its data; nothing for foreign weights."""
    if path is None or path == "random":
        return {}
    file = checkpoint.checkpoint_path(path)
    if not file.is_file() or file.suffix != ".safetensors":
        return {}
    metadata = checkpoint.read_safetensors(file)[1]
    return json.loads(metadata["extra"])["data"] if metadata.get("format") == checkpoint.FORMAT else {}


def _inherited(remembered: dict[str, Any]) -> dict[str, Any]:
    """The data options and recipe of the run that a command builds upon."""
    options = {k: v for k, v in remembered.get("options", {}).items() if v is not None}
    return {"recipe": remembered.get("recipe"), "data": options}


def _out(settings: Settings, default: str) -> Path:
    """Where results go; OSError, before any work, if nothing can be written there."""
    out = Path(settings.run.out or default)
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"--out {out}: expected a folder, and {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: nothing can be written to {place}")
    return out


def _describe(ds: Dataset, parts: splits.Split) -> None:
    print(f"{ds!r}\n{parts}\n", flush=True)


def _estimator(cls: type, section: Any, **more: Any) -> Any:
    values = {f.name: getattr(section, f.name) for f in fields(section)}
    return cls(**{**values, **more})


def data(args: argparse.Namespace) -> int:
    """Describe a folder and its split."""
    settings = Settings(args)
    ds = open_data(settings.data)
    print(f"{ds!r}\n\n{ds.counts()}\n")
    if ds.labels is not None and (ds.subjects is not None or settings.data.by == "image"):
        print(split_data(ds, settings.data))
    elif ds.subjects is None:
        print("Subjects are unknown: give --groups to keep the slices of one head together.")
    if settings.run.out:
        path = Path(settings.run.out) / "montage.png"
        _save(plot.montage(ds), path)
        print(f"\n{path}")
    return 0


def pretrain(args: argparse.Namespace) -> int:
    """SimCLR on the training part of the split."""
    settings = Settings(args)
    ds = open_data(settings.data)
    parts = split_data(ds, settings.data)
    _describe(ds, parts)
    out = _out(settings, "runs/pretrain")
    ssl = _estimator(SimCLR, settings.pretrain)
    what = f"SimCLR, {ssl.arch}, {counted(ssl.epochs, 'epoch')}"
    _announce(ssl, what, parts.train, parts.val, out, settings.run.resume)
    ssl.fit(
        parts.train, parts.val, checkpoint=out, resume=settings.run.resume, facts=_facts(settings.data, settings.recipe)
    )
    return _after_training(ssl, out, f"simclr-mri finetune --init {out} --label-fraction 0.1")


def finetune(args: argparse.Namespace) -> int:
    """A classifier on the training part of the split."""
    init = getattr(args, "init", "random")
    theirs = _remembered(init)
    settings = Settings(args, _inherited(theirs))
    clf = _estimator(Classifier, settings.finetune)
    clf.check_start()
    ds = open_data(settings.data)
    parts = split_data(ds, settings.data)
    _describe(ds, parts)
    _warn_of_pretraining(init, theirs, settings, parts.test)
    out = _out(settings, f"runs/finetune_{100 * clf.label_fraction:g}pct")
    select = parts.test if clf.select_on == "test" else parts.val
    what = f"classifier, start {clf.init}, {100 * clf.label_fraction:g} % of the labels"
    _announce(clf, what, parts.train, select, out, settings.run.resume)
    clf.fit(
        parts.train, select, checkpoint=out, resume=settings.run.resume, facts=_facts(settings.data, settings.recipe)
    )
    return _after_training(clf, out, f"simclr-mri evaluate {out}")


def _warn_of_pretraining(init: str, remembered: dict[str, Any], settings: Settings, test: Dataset) -> None:
    """What the start has seen of the test set, or may have seen where it does not remember its images."""
    note = seen_note({PRETRAINED: remembered.get(TRAINED)}, test)
    if note:
        warnings.warn(f"{init}: {note}", stacklevel=2)
    theirs, mine = _inherited(remembered).get("data", {}), as_dict(settings.data)
    differing = [
        k
        for k in ("by", "split_seed", "split", "task", "folds", "fold")
        if k in theirs and _plain(theirs[k]) != _plain(mine[k])
    ]
    if differing:
        warnings.warn(
            f"{init} was pretrained on another split ({', '.join(differing)} differ): it may have seen test images, "
            "without their labels",
            stacklevel=2,
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _announce(estimator: Any, what: str, train: Dataset, val: Dataset | None, out: Path, resume: str) -> None:
    if not estimator.verbose:
        return
    if not checkpoint.checkpoint_path(out).exists() or resume == "never":
        print(f"{what}: {estimator.estimate(train, val)}. Results go to {out}/", flush=True)
        return
    progress = checkpoint.load(out).progress
    state = (
        "a finished run, which is read" if progress["finished"] else f"{progress['step']} steps of it, and it goes on"
    )
    print(f"{what}: {out}/ holds {state}", flush=True)


def _after_training(estimator: Any, out: Path, then: str) -> int:
    if not estimator.position_.finished:
        raise KeyboardInterrupt
    with atomic_writer(out / "history.png") as file:
        plot.history(estimator.history_).figure.savefig(file, format="png")
    rows = estimator.history_
    print(f"{rows}\n" if len(rows) <= 20 else f"the last of {len(rows)} epochs:\n{History(rows[-1:])}\n")
    speed = sum(r["images"] for r in rows) / max(1e-9, sum(r["seconds"] for r in rows))
    print(f"{speed:.1f} images/s, peak memory {bytes_text(peak_memory_bytes())}")
    print(f"{out}/: {checkpoint.FILE_NAME}, log.csv, log.jsonl, manifest.json, history.png\nnext: {then}")
    return 0


def _model_and_part(args: argparse.Namespace, section: str) -> tuple[Classifier, Dataset, Settings]:
    """The classifier, the part of the split that is asked for, and the settings."""
    settings = Settings(args, _inherited(_remembered(args.model)))
    clf = Classifier.load(args.model, precision=getattr(settings, section).precision)
    ds = open_data(settings.data)
    if ds.classes != clf.classes_:
        raise ValueError(
            f"the model knows the classes {', '.join(clf.classes_)}; {settings.data.path} has {', '.join(ds.classes)}"
        )
    parts = split_data(ds, settings.data)
    on = getattr(settings, section).on
    if on not in parts.indices:
        raise ValueError(f"--on {on}: this split has only {', '.join(parts.indices)}")
    return clf, ds[parts.indices[on]], settings


def evaluate(args: argparse.Namespace) -> int:
    """Scores on a part of the split."""
    clf, part, settings = _model_and_part(args, "evaluate")
    on = settings.evaluate.on
    out = _out(settings, str(checkpoint.checkpoint_path(args.model).parent / f"evaluation_{on}"))
    if on == "test":
        keeper = record_of(args.model)
        n_looks = record_look(keeper, "evaluate command", part, model=str(args.model))
    evaluation = clf.evaluate(part, n_bootstrap=settings.evaluate.n_bootstrap)
    print(f"{args.model} on the {on} set of {settings.data.path}\n{evaluation}\n")
    if on == "test":
        print(f"Look {n_looks} at this test set, by the record {keeper / LOOKS}. Choose by the validation set.\n")
    write_json(out / "evaluation.json", evaluation.to_dict())
    with atomic_writer(out / "predictions.csv") as file:
        file.write(predictions_csv(part, evaluation.probabilities).encode())
    for level in evaluation.levels:
        _save(plot.confusion(evaluation, level=level, title=f"by {level}"), out / f"confusion_by_{level}.png")
    print(f"{out}/: evaluation.json, predictions.csv, confusion_by_*.png")
    return 0


def explain(args: argparse.Namespace) -> int:
    """Heat maps of images of a part of the split."""
    clf, part, settings = _model_and_part(args, "explain")
    note = seen_note(clf.data_, part)
    if note and settings.explain.on == "test":
        warnings.warn(f"explain: {note}", stacklevel=1)
    chosen = settings.explain
    out = _out(settings, str(checkpoint.checkpoint_path(args.model).parent / "heat_maps"))
    result = grad_cam(
        clf, spread_examples(part, chosen.n_images), layer=chosen.layer, target=chosen.target, method=chosen.method
    )
    _save(plot.cam(result), out / f"{chosen.method}_{chosen.layer}.png")
    rows = result.region_shares()
    with atomic_writer(out / "regions.csv") as file:
        lines = [["region", "heat", "area", "ratio"], *([r["region"], r["heat"], r["area"], r["ratio"]] for r in rows)]
        file.write("".join(",".join(map(str, line)) + "\n" for line in lines).encode())
    print(f"{result!r}")
    for row in rows:
        print(f"  {row['region']:<18} {row['heat']:6.1%} of the heat on {row['area']:6.1%} of the picture")
    print(f"{out}/: {chosen.method}_{chosen.layer}.png, regions.csv")
    if chosen.checks:
        _check_maps(clf, part, chosen, out)
    return 0


def _check_maps(clf: Classifier, part: Dataset, chosen: Any, out: Path) -> None:
    """Whether the maps can be believed: a table, its figures and two pictures."""
    options = {"layer": chosen.layer, "target": chosen.target, "method": chosen.method, "n_images": chosen.checks}
    found = check_cams(clf, part, **options)
    write_json(out / "checks.json", found.to_dict())
    _save(found.plot(), out / "deletion_insertion.png")
    _save(plot.class_maps(found), out / "class_maps.png")
    print(f"\n{found}\n{out}/: checks.json, deletion_insertion.png, class_maps.png")


def study(args: argparse.Namespace) -> int:
    """Starts x label fractions x seeds x splits, with a report."""
    settings = Settings(args)
    ds = open_data(settings.data)
    out, chosen = _out(settings, "runs/study"), settings.study
    parts = study_splits(ds, settings.data, chosen.splits)
    print(f"{ds!r}\n" + "\n".join(map(str, parts)) + "\n", flush=True)
    ssl, clf = _estimator(SimCLR, settings.pretrain), _estimator(Classifier, settings.finetune, init="random")
    result = run_study(
        ds,
        inits=chosen.inits,
        fractions=chosen.label_fractions,
        seeds=chosen.seeds,
        splits=parts,
        out=out,
        pretrain=ssl,
        finetune=clf,
        lrs=chosen.lrs,
        n_bootstrap=chosen.n_bootstrap,
        resume=settings.run.resume,
        facts=_facts(settings.data, settings.recipe),
    )
    print(f"\n{result}")
    intro = f"Starts {', '.join(chosen.inits)} compared at {len(chosen.label_fractions)} label fractions on {ds.name}."
    report = study_report(
        result, title=f"Study: {ds.name}", intro=intro, views=ssl.views, pretrain_batch_size=ssl.batch_size
    )
    files = "study.csv, summary.csv, study.md, study.png, learning_curves.png, runs.md, test_looks.jsonl"
    files += ", rates.csv" if result.trials else ""
    print(f"{report.write(out / 'report.html')}\n{out}/: {files}")
    return 0


def audit(args: argparse.Namespace) -> int:
    """What a score on this data set would mean."""
    settings = Settings(args)
    chosen, out = settings.audit, _out(settings, "audit")
    found = run_audit(
        args.path,
        groups=chosen.groups,
        task=chosen.task,
        baselines=chosen.baselines,
        seed=chosen.seed,
        progress=lambda text: print(f"{text} ...", file=sys.stderr, flush=True),
    )
    write_json(out / "audit.json", found.to_dict())
    page = found.to_html(out / "audit.html")
    print(f"{found}\n\n{out}/: {Path(page).name}, audit.json")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Speed and memory of whole steps, of operations and of layers."""
    settings = Settings(args)
    chosen, out = settings.bench, _out(settings, "bench")
    if chosen.peer:
        results = run_peer(chosen.rows, chosen.precision, chosen.rounds, chosen.n_jobs, chosen.layers)
    else:
        info = _core.cpu_info()
        print(f"{info['cpu']}, {info['isa']}, {chosen.n_jobs or info['threads']} threads, medians of {chosen.rounds}")
        results = []
        for precision in chosen.precision:
            warn_if_emulated(precision)
            for name in chosen.rows:
                found = measure(ROWS[name], precision=precision, rounds=chosen.rounds, n_jobs=chosen.n_jobs)
                print(f"{found}{found.layer_table() if chosen.layers else ''}", flush=True)
                results.append(found.to_dict())
    write_json(out / "bench.json", results)
    _save(speed_and_memory(results), out / "bench.png")
    print(f"{out}/: bench.json, bench.png")
    return 0


def demo(args: argparse.Namespace) -> int:
    """The whole experiment on phantoms."""
    settings = Settings(args, DEMO_CHOICES)
    out = _out(settings, "simclr_mri_demo")
    ssl, clf = _estimator(SimCLR, settings.pretrain), _estimator(Classifier, settings.finetune, init="random")
    done = run_demo(out, settings.demo, settings.study, settings.data, ssl, clf, resume=settings.run.resume)
    print(f"\n{done.result}\nDone in {seconds_text(done.seconds)}. Open {done.report}")
    return 0


def _save(ax: Any, path: Path) -> None:
    from matplotlib import pyplot

    with atomic_writer(path) as file:
        ax.figure.savefig(file, format="png", dpi=150, bbox_inches="tight")
    pyplot.close(ax.figure)


__all__ = ["audit", "bench", "data", "demo", "evaluate", "explain", "finetune", "pretrain", "study"]
