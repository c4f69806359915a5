"""Ctrl-C and the stop button, as users press them: in a live Jupyter kernel and in a terminal.

A second is what users get on an idle machine. The limit here only tells a stop from work that goes on to its end.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simclr_mri.datasets import write_phantoms

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 3.0

SETUP = """
import warnings
import numpy as np
import simclr_mri as sm

ds = sm.datasets.phantoms(n_subjects=24, slices=2, image_size=32, task="cdr0")
train, val, test = sm.split(ds, by="subject", seed=0)
many = ds.images[np.arange(100_000) % len(ds)]
clf = sm.Classifier(arch="resnet18", epochs=0, batch_size=8, verbose=0).fit(train)
small = dict(arch="resnet18", batch_size=16, epochs=9999)
"""


def limit_s() -> float:
    """Three seconds, or as much longer as the processes that want a processor outnumber the processors."""
    return WITHIN_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Kernel:
    """A Jupyter kernel with a stop button."""

    def __init__(self, folder: Path) -> None:
        manager = pytest.importorskip("jupyter_client").manager
        env = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        self.manager = manager.KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=env)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(60)

    def run(self, code: str, *, stop_after_s: float | None = None, timeout_s: float = 90.0) -> tuple[str, float]:
        """What a cell prints, errors included, and the seconds from the stop button to the end of the cell.

        The button is pressed after this time, or once the progress bar moves if the time is 0.
        """
        request = self.client.execute(code)
        began_s = time.monotonic()
        stopped_s: float | None = None
        moves, said = False, []
        while time.monotonic() - began_s < timeout_s:
            ready = moves if stop_after_s == 0 else time.monotonic() - began_s >= (stop_after_s or timeout_s)
            if stop_after_s is not None and stopped_s is None and ready:
                self.manager.interrupt_kernel()
                stopped_s = time.monotonic()
            try:
                message = self.client.get_iopub_msg(timeout=0.01)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            moves = moves or kind == "update_display_data"
            if kind == "stream":
                said.append(content["text"])
            elif kind == "error":
                said.append(f"{content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(said), time.monotonic() - (stopped_s or began_s)
        raise TimeoutError(f"the cell did not end: {code}")

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    write_phantoms(folder / "images", n_subjects=40, slices=4, image_size=128)
    kernel = Kernel(folder)
    try:
        said, _ = kernel.run(SETUP)
        assert not said, said
        kernel.run("sm.SimCLR(**small).fit(9)")  # IPython's first traceback takes half a second
        yield kernel
    finally:
        kernel.close()


CASES = {
    # code, seconds until the stop button, what is said, what works afterwards
    "while a network is made": (
        "sm.SimCLR('resnet50', epochs=99, verbose=0).fit(train)",
        0.3,
        "SimCLR: stopped before the first step. Nothing was changed",
        "clf.predict(test)",
    ),
    "pretraining": (
        "ssl = sm.SimCLR(**small, knn_every=1).fit(train, val)",
        0,
        "usable as it is. Nothing was saved to disk; save('folder'), then fit",
        "assert ssl.transform(test).shape[1] == 512 and not ssl.position_.finished",
    ),
    "pretraining with checkpoints": (
        "ssl = sm.SimCLR(**small).fit(train, checkpoint='ssl')",
        0,
        "Saved to ssl/checkpoint.safetensors; the same call or command goes on from there",
        "assert sm.SimCLR.load('ssl').position_.step == ssl.position_.step",
    ),
    "fine-tuning": (
        "fine = sm.Classifier(**small).fit(train, val)",
        0,
        "fine-tune random 100%: stopped in epoch",
        "fine.predict(test)",
    ),
    "a study": (
        "sm.study(ds, fractions=[1.0], pretrain=small, finetune=small, out='study')",
        0,
        "study: stopped. What was done is kept in study, and the same call goes on from there",
        "clf.predict(test)",
    ),
    "prediction": ("clf.predict(many)", 0.5, "KeyboardInterrupt", "clf.predict(test)"),
    "heat maps": ("sm.grad_cam(clf, many)", 0.5, "KeyboardInterrupt", "sm.grad_cam(clf, test)"),
    "reading a folder": (
        "[sm.datasets.open_dataset('images') for _ in range(500)]",
        0.5,
        "KeyboardInterrupt",
        "clf.predict(test)",
    ),
    "an audit": ("[sm.audit(ds) for _ in range(500)]", 1.0, "KeyboardInterrupt", "clf.predict(test)"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_stop_button(kernel, case):
    code, after_s, expected, afterwards = CASES[case]
    said, took_s = kernel.run(code, stop_after_s=after_s)
    assert expected in said, said
    assert took_s <= limit_s(), f"{took_s:.2f} s"
    said, _ = kernel.run(afterwards)
    assert not said, said


def test_a_model_that_was_stopped_can_be_saved_and_goes_on(kernel):
    said, _ = kernel.run("ssl = sm.SimCLR(**{**small, 'epochs': 16}).fit(train)", stop_after_s=0)
    assert "TrainingInterrupted" in said, said
    said, _ = kernel.run(
        "ssl.save('kept'); step = ssl.position_.step\n"
        "again = sm.SimCLR(**{**small, 'epochs': 16, 'verbose': 0}).fit(train, checkpoint='kept')\n"
        "whole = sm.SimCLR(**{**small, 'epochs': 16, 'verbose': 0}).fit(train)\n"
        "assert again.position_.finished and step < again.position_.step\n"
        "assert all((whole.network_.state()[k] == v).all() for k, v in again.network_.state().items())"
    )
    assert not said, said


@pytest.mark.parametrize(
    ("command", "sent"),
    [("pretrain", signal.SIGINT), ("finetune", signal.SIGINT), ("study", signal.SIGINT), ("finetune", signal.SIGTERM)],
)
def test_ctrl_c_in_a_terminal_and_a_batch_systems_end(command, sent, tmp_path):
    write_phantoms(tmp_path / "images", n_subjects=24, slices=2, image_size=32)
    run = [sys.executable, "-m", "simclr_mri", command, "images", "--recipe", "quick", "--task", "cdr0", "--out", "run"]
    prefix = "--pretrain." if command == "study" else "--"
    run += [f"{prefix}epochs", "9999", f"{prefix}batch-size", "8"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    process = subprocess.Popen(run, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for_training(tmp_path / "run", process)
        began_s = time.monotonic()
        process.send_signal(sent)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    took_s = time.monotonic() - began_s
    assert process.returncode == 130 and "Traceback" not in said, said
    assert "usable as it is. Saved to run/" in said and "the same command goes on from here" in said, said
    assert list((tmp_path / "run").rglob("checkpoint.safetensors")), said
    assert took_s <= 2 * limit_s(), said  # and the process ends


def wait_for_training(folder: Path, process: subprocess.Popen) -> None:
    """Until an epoch is done."""
    for _ in range(1200):
        logs = [path.read_text() for path in folder.rglob("log.jsonl")]
        if any('"event": "epoch"' in log for log in logs):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise TimeoutError(f"no epoch was done in {folder}")
