"""Workers come to the same tables as one process, also when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import psutil
import pytest

from simclr_mri import datasets, split, study
from simclr_mri.cli import main
from simclr_mri.studies._workers import checked_workers

SMALL = {"arch": "resnet18", "epochs": 1, "batch_size": 16, "verbose": 0, "n_jobs": 1}
LOOK = ("init", "label_fraction", "seed", "split", "purpose", "test_set", "images")


def run(out: Path, n_workers: Any = None, **more: Any) -> tuple[bytes, bytes, list[tuple[Any, ...]]]:
    """What a study writes: both tables, and the looks without their times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = datasets.phantoms(seed=0, n_subjects=16, slices=2, image_size=32, task="cdr0")
        options: dict[str, Any] = {"fractions": [1.0], "n_bootstrap": 10, "pretrain": SMALL}
        options |= {"finetune": {**SMALL, "min_steps": 1}, "split": split(ds, fractions=(0.5, 0.25, 0.25))}
        study(ds, out=out, n_workers=n_workers, **(options | more))
    looks = [json.loads(line) for line in (out / "test_looks.jsonl").read_text().splitlines()]
    kept = [tuple(look[name] for name in LOOK) for look in looks]
    assert not (out / ".data").exists() and not list(out.rglob("*/test_looks.jsonl"))
    return (out / "study.csv").read_bytes(), (out / "summary.csv").read_bytes(), kept


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(tmp_path_factory.mktemp("alone"))


def test_two_processes_one_of_which_is_killed(alone: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        end = time.monotonic() + 300
        while time.monotonic() < end and not list(tmp_path.rglob("checkpoint.safetensors")):
            time.sleep(0.01)
        for child in psutil.Process().children(recursive=True):
            if "loky" in " ".join(child.cmdline()) and "resource_tracker" not in " ".join(child.cmdline()):
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)
                return

    watcher = threading.Thread(target=kill_one)
    watcher.start()
    found = run(tmp_path, 2)
    watcher.join()
    assert killed and found == alone
    assert run(tmp_path, 2) == alone  # all is done: nothing is looked at again


def test_the_workers_of_a_dask_cluster(alone: Any, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="workers of a cluster")
    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**cluster) as made, distributed.Client(made), joblib.parallel_config("dask"):
        assert run(tmp_path, -1) == alone


def test_the_workers_of_ray(alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")
    ray = pytest.importorskip("ray", reason="workers of a cluster")
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        with joblib.parallel_config("ray"):
            assert run(tmp_path, -1) == alone
    finally:
        ray.shutdown()


def test_rates_are_found_once_and_serve_all_seeds(tmp_path: Path) -> None:
    more = {"inits": ["random"], "fractions": [1.0], "seeds": 2, "lrs": [1e-4, 1e-3]}
    one, two = run(tmp_path / "one", **more), run(tmp_path / "two", 2, **more)
    assert one == two and (tmp_path / "one/rates.csv").read_bytes() == (tmp_path / "two/rates.csv").read_bytes()
    assert not list((tmp_path / "two/random").glob("*seed1/lr_*"))


def test_what_is_no_number_of_workers() -> None:
    assert checked_workers("auto") == "auto" and checked_workers(-1) == -1 and checked_workers(None) is None
    for wrong in (0, -2, 1.5, "many", True):
        with pytest.raises(ValueError, match="n_workers: expected a number of processes"):
            checked_workers(wrong)


def test_starting_over_takes_another_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose another folder to start over"):
        run(tmp_path, 2, resume="never")


def test_a_scheduler_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="workers of a cluster")
    datasets.write_phantoms(tmp_path / "d", n_subjects=12, slices=1, image_size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = main(
            ["study", str(tmp_path / "d"), "--task", "cdr0", "--dask", "nonsense", "--out", str(tmp_path / "o")]
        )
    assert code == 1 and "no scheduler answers there" in capsys.readouterr().err
