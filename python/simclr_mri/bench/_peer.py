"""Whole training steps and inference beside PyTorch's on this processor.

Each side runs in a process of its own, so that peak memory is its own, and waits while another one measures: a turn of
ours, one of each of PyTorch's configurations, and again; medians of that. A turn is a step that is not counted, since
after a second of waiting caches and clock are cold (up to 10 % of ours), and two that are. PyTorch's configurations,
all with channels_last, and in bf16 with autocast:

    default          as it comes
    tuned            an allocator that does not give pages back (MALLOC_MMAP_THRESHOLD_ and its like, which the C
                     library reads at start)
    compiled         torch.compile on top of the tuned allocator; needs a C++ compiler and setuptools
    cast             bf16 inference only: weights rounded once (model.bfloat16()) instead of at every call, tuned
    cast compiled    both

The fastest of them is the one to compare with; a configuration that fails says why. Inference is compared
with ONNX Runtime (fp32) and OpenVINO too, where they are installed: the same network as an ONNX graph. Peak memory
counts from the third step on, so that what compiling takes is not held against a program. On a machine that other
programs keep busy, a ratio says little, and is marked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from .. import _core
from .._shared import Precision, busy_share, n_threads
from ._contestant import PEERS
from ._measure import COUNTED, ROWS, Row
from ._runtimes import RUNTIMES

PATIENCE_S = 900.0  # for the first steps: compiling a ResNet-50 takes minutes
BUSY = 0.1
"""Share of the processors that other programs may use before a ratio is marked: the steps' own spread is below it."""


def run_peer(
    rows: Sequence[str],
    precisions: Sequence[Precision],
    rounds: int,
    n_jobs: int | None,
    layers: bool,
    *,
    peers: Sequence[str] = tuple(PEERS),
    tell: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Both programs in turn.

    Parameters
    ----------
    rows : sequence of str
        Names in `ROWS`.
    precisions : sequence of {"fp32", "bf16"}
    rounds : int
        Turns of each side.
    n_jobs : int or None
    layers : bool
        Also every convolution by itself.
    peers : sequence of str
        Of PyTorch's configurations.
    tell : callable (str) -> None
        Is told the tables.

    Returns
    -------
    list of dict
        One a row and precision; "ratio" is PyTorch's time over ours, "busy" the share of the processors that other
        programs used.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    RuntimeError
        Our own side failed.

    Examples
    --------
    >>> run_peer(["inference"], ["fp32"], 5, None, False, tell=print)  # doctest: +SKIP
    """
    if importlib.util.find_spec("torch") is None:
        raise ImportError("--peer compares with PyTorch, which is not installed. Type: pip install torch")
    threads = n_threads(n_jobs) or _core.cpu_info()["threads"]
    tell(busy_note(busy_share()))
    results = []
    for precision in precisions:
        for row in rows:
            can_cast = precision == "bf16" and ROWS[row].kind == "inference"
            chosen = [side for side in peers if can_cast or not PEERS[side].is_cast]
            infers = ROWS[row].kind == "inference"
            runtimes = [name for name, runtime in RUNTIMES.items() if infers and precision in runtime.precisions]
            results.append(
                measure_beside(ROWS[row], precision, rounds=rounds, threads=threads, peers=chosen, runtimes=runtimes)
            )
            tell(report(results[-1]))
    if layers:
        from ._layers import measure_layers

        for network in sorted({f"resnet{ROWS[row].depth}" for row in rows}):
            for precision in precisions:
                measure_layers(network, precision, threads, tell=tell)
    return results


def busy_note(busy: float) -> str:
    """How busy the machine is, and what that means for what is measured now."""
    advice = " Ratios of now are not to be quoted: measure again when the machine is idle." if busy > BUSY else ""
    return f"{busy_text(busy).capitalize()}.{advice}"


def busy_text(busy: float) -> str:
    return f"other programs use {busy:.0%} of the processors"


def _start(side: str, row: Row, precision: str, threads: int) -> tuple[subprocess.Popen[str] | None, str]:
    """(a child that has warmed up, ""), or (None, why not)."""
    command = [sys.executable, "-W", "ignore", "-m", "simclr_mri.bench._contestant", side]
    command += [json.dumps(asdict(row)), precision, str(threads)]
    environment = {**os.environ, **(PEERS[side].environment if side in PEERS else {})}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    too_late = threading.Timer(PATIENCE_S, child.kill)
    too_late.start()
    try:
        answer = _heard(child)
    except BaseException:  # Ctrl-C while it compiles
        child.kill()
        child.wait()
        raise
    finally:
        is_late = not too_late.is_alive()
        too_late.cancel()
    if "ready" in answer:
        return child, ""
    child.kill()
    child.wait()
    return None, f"no step within {PATIENCE_S:.0f} s" if is_late else answer["failed"]


def _heard(child: subprocess.Popen[str]) -> Any:
    assert child.stdout is not None
    try:
        return json.loads(child.stdout.readline())
    except json.JSONDecodeError:
        return {"failed": "the process died"}


def measure_beside(
    row: Row,
    precision: Precision,
    *,
    rounds: int,
    threads: int,
    peers: Sequence[str],
    runtimes: Sequence[str] = (),
) -> dict[str, Any]:
    """{"sides": side -> {"seconds": median, "fastest", "per_s", "peak_bytes"} or {"failed": why}, ...}; alternating."""
    busy = busy_share()
    peak_flops = _core.measured_peak(precision, threads, 0.5)  # first: what compiled may still be busy at the end
    sides: dict[str, dict[str, Any]] = {}
    children: dict[str, subprocess.Popen[str]] = {}
    try:
        for side in ["ours", *peers, *runtimes]:
            child, why = _start(side, row, precision, threads)
            sides[side] = {"failed": why}
            if child is not None:
                children[side] = child
        if "ours" not in children:
            raise RuntimeError(f"{row.name}: {sides['ours']['failed']}")
        flops = _take_turns(row, rounds, children, sides)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    found: dict[str, Any] = {"row": row.name, "title": row.title, "precision": precision, "sides": sides}
    found |= {"flops": flops, "peak_flops": peak_flops, "isa": _core.cpu_info()["isa"]}
    found["busy"] = max(busy, busy_share())
    measured = [side for side in peers if "seconds" in sides[side]]
    if measured:
        best = min(measured, key=lambda side: sides[side]["seconds"])
        found["best_peer"] = best
        found["ratio"] = sides[best]["seconds"] / sides["ours"]["seconds"]
        found["memory_ratio"] = sides["ours"]["peak_bytes"] / sides[best]["peak_bytes"]
    return found


def _take_turns(
    row: Row, rounds: int, children: dict[str, subprocess.Popen[str]], sides: dict[str, dict[str, Any]]
) -> float:
    """Fills in the sides that run; returns the flops of a step of ours."""
    seconds: dict[str, list[float]] = {side: [] for side in children}
    for _ in range(rounds):
        for side, child in children.items():
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            seconds[side] += _heard(child)
    flops = 0.0
    for side, child in children.items():
        assert child.stdin is not None
        child.stdin.close()
        end = _heard(child)
        median = statistics.median(seconds[side])
        sides[side] = {"seconds": median, "fastest": min(seconds[side]), "per_s": row.per_step / median}
        sides[side]["peak_bytes"] = end["peak_bytes"]
        flops = end["flops"] or flops
    return flops


def report(found: dict[str, Any]) -> str:
    """A table of one row in one precision."""
    row = ROWS[found["row"]]
    lines = [f"{row.title}, {found['precision']}", f"  {'':20} {row.unit:>9} {'ms':>8} {'peak MB':>8}"]
    for side, r in found["sides"].items():
        name = side if side == "ours" or side in RUNTIMES else f"torch, {side}"
        if "failed" in r:
            lines.append(f"  {name:20} failed: {r['failed']}")
            continue
        lines.append(f"  {name:20} {r['per_s']:9.1f} {1e3 * r['seconds']:8.1f} {r['peak_bytes'] / 1e6:8.0f}")
    rate, peak = found["flops"] / found["sides"]["ours"]["seconds"], found["peak_flops"]
    lines.append(
        f"  ours: {rate / 1e9:.0f} GFLOP/s in convolutions over the whole step, {rate / peak:.0%} of "
        f"{peak / 1e9:.0f} GFLOP/s ({found['isa']}, products on registers)\n  {COUNTED}"
    )
    if "best_peer" in found:
        best = found["best_peer"]
        lines.append(
            f"  {found['ratio']:.2f} times the best of PyTorch's ({best}), {found['memory_ratio']:.2f} of its memory"
        )
    for name in RUNTIMES:
        if "seconds" in found["sides"].get(name, {}):
            lines.append(f"  {found['sides'][name]['seconds'] / found['sides']['ours']['seconds']:.2f} times {name}")
    if found.get("busy", 0.0) > BUSY:
        lines.append(f"  NOT TO BE QUOTED: {busy_text(found['busy'])} while it was measured")
    return "\n".join(lines)
