"""`simclr-mri study`: starts x label fractions x seeds x splits, with a report."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from functools import partial

from .._shared import STORED, bytes_text, say
from ..config import StudyOptions
from ..learning import Classifier, SimCLR
from ..studies import study as run_study
from ..studies import study_report
from ._common import estimator_of, facts_of, folder_for_results, open_data, study_splits
from ._settings import Settings


def disk_bytes(chosen: StudyOptions, pretrained: str, finetuned: str) -> int:
    """What the networks of a study take: one a start, label fraction, seed and split, and the pretrained ones."""
    repeats = chosen.seeds * chosen.splits
    n_pretrained = repeats if "simclr" in chosen.inits else 0
    n_finetuned = len(chosen.inits) * len(chosen.label_fractions) * repeats
    return 4 * (n_pretrained * STORED[pretrained] + n_finetuned * STORED[finetuned])


def study(args: argparse.Namespace) -> int:
    """Starts x label fractions x seeds x splits, with a report."""
    settings = Settings(args)
    ds = open_data(settings.data)
    out, chosen = folder_for_results(settings, "runs/study"), settings.study
    parts = study_splits(ds, settings.data, chosen.splits)
    ssl, clf = estimator_of(SimCLR, settings.pretrain), estimator_of(Classifier, settings.finetune, init="random")
    size = disk_bytes(chosen, ssl.arch, clf.arch)
    say(f"{ds!r}\n" + "\n".join(map(str, parts)) + f"\nnetworks take about {bytes_text(size)} in {out}/\n")
    run = partial(
        run_study,
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
        facts=facts_of(settings.data, settings.recipe),
    )
    with _cluster(chosen.dask):
        result = run(n_workers=_workers(chosen.workers, chosen.dask))
    print(f"\n{result}")
    intro = f"Starts {', '.join(chosen.inits)} compared at {len(chosen.label_fractions)} label fractions on {ds.name}."
    report = study_report(
        result, title=f"Study: {ds.name}", intro=intro, views=ssl.views, pretrain_batch_size=ssl.batch_size
    )
    files = "study.csv, summary.csv, study.md, study.png, learning_curves.png, runs.md, test_looks.jsonl"
    files += ", rates.csv" if result.trials else ""
    print(f"{report.write(out / 'report.html')}\n{out}/: {files}")
    return 0


def _workers(asked: str | None, dask: str | None) -> int | str | None:
    if asked is None or asked.lower() == "none":
        return None if dask is None else -1
    if asked == "auto":
        return -1 if dask else "auto"
    try:
        return int(asked)
    except ValueError:
        raise ValueError(f"--workers: expected a number or auto, got {asked}") from None


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """The workers of a dask scheduler; without an address those of this machine."""
    if address is None:
        yield
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise ImportError("--dask needs dask: pip install 'simclr_mri[cluster]'") from None
    import joblib

    try:
        client = Client(address, timeout="20s")
    except (OSError, ValueError, TimeoutError) as error:
        raise OSError(
            f"--dask {address}: no scheduler answers there ({error}). Start one: dask scheduler; then on each machine: "
            f"dask worker {address} --nworkers auto --nthreads 1"
        ) from None
    with client, joblib.parallel_config("dask"):
        yield
