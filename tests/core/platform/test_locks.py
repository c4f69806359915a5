"""Signals, forks and many pools: nobody waits for a lock that will never be returned. Each case runs in a child
process, which is killed, and fails the test, if it hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import os, signal, sys, tempfile, threading, time, warnings
import numpy as np
import _testing
from simclr_mri import _core
warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, which is what is tried
folder = tempfile.mkdtemp()
_core.write_png(folder + "/a.png", np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))
paths = [folder + "/a.png"] * 20_000
network = _core.Network(18, image_size=32, n_threads=2)
images = np.zeros((64, 32, 32, 1), np.float32)

def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.1)
    return thread
"""

CASES = {
    "a handler that decodes while files are decoded": """
calls = []
def handler(*_):
    calls.append(len(_core.decode_files(paths[:200], n_threads=2)[1]))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.05)
deadline = time.monotonic() + 20
while not calls and time.monotonic() < deadline:
    assert not _core.decode_files(paths[:3000], n_threads=2)[1]
signal.setitimer(signal.ITIMER_REAL, 0)
assert calls and not any(calls)
""",
    "a handler that uses the network while it computes": """
errors = []
def handler(*_):
    try:
        network.forward(images[:1])
    except RuntimeError as error:
        errors.append(str(error))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.06, 0.06)
expected = network.forward(images[:1])[0]
deadline = time.monotonic() + 20
while not errors and time.monotonic() < deadline:
    assert np.array_equal(network.forward(np.concatenate([images] * 20))[0], expected)
signal.setitimer(signal.ITIMER_REAL, 0)
assert errors and "already in use by this thread" in errors[0]
""",
    "a fork while another thread decodes": """
stop = []
def decode():
    while not stop:
        _core.decode_files(paths[:2000], n_threads=2)
thread = in_background(decode)
for _ in range(20):
    forked(lambda: _core.decode_files(paths[:200], n_threads=2))
stop.append(1)
thread.join()
""",
    "a fork while another thread computes": """
stop = []
expected = network.forward(images)
def compute():
    while not stop:
        network.forward(images)
def again():
    assert np.array_equal(network.forward(images), expected)
thread = in_background(compute)
for _ in range(10):
    forked(again)
stop.append(1)
thread.join()
again()
""",
    "a fork within a handler": """
expected = network.forward(images)
def child():
    assert _core.decode_files(paths[:200], n_threads=2)[0].shape == (200, 64, 64, 1)
    other = _core.Network(18, image_size=32, n_threads=2)
    other.load(state)
    assert np.array_equal(other.forward(images), expected)
state = network.state()
count = []
def handler(*_):
    count.append(1)
    forked(child)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.06)
deadline = time.monotonic() + 20
while not count and time.monotonic() < deadline:
    _core.decode_files(paths[:2000], n_threads=2)
assert count
""",
    "many numbers of threads": """
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()
x = np.zeros(1000, np.float32)
for n in range(1, 65):
    _testing.relu_forward(x, n_threads=n)
kept = threads() - before
assert kept <= sum(range(57, 65)), kept
for n in (3, 64, 1, 3):
    _testing.relu_forward(x, n_threads=n)
""",
    "many threads that want one pool": """
errors = []
def work(n):
    for _ in range(50):
        y = _testing.relu_forward(np.full(5000, n, np.float32), n_threads=1 + n % 12)
        if not (y == n).all():
            errors.append(n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors
""",
}


@pytest.mark.parametrize("case", CASES)
def test_nobody_waits_for_ever(case):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}  # where _testing.py is
    command = [sys.executable, "-c", PRELUDE + CASES[case]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-2000:]}"
