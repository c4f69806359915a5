"""One side of a comparison in its own process: `python -m simclr_mri.bench._contestant SIDE ROW PRECISION THREADS`.

It warms up, then answers each line on its input with the seconds of a turn, and at the end with its peak memory.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._shared import Precision
from ._measure import Row, head_of, images_of, our_step
from ._runtimes import RUNTIMES, runtime_step

TUNED_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
STEPS_A_TURN = 2


class Peer(NamedTuple):
    """A configuration of PyTorch: variables of its environment, torch.compile, weights rounded to bf16 once."""

    environment: dict[str, str]
    is_compiled: bool = False
    is_cast: bool = False


PEERS = {
    "default": Peer({}),
    "tuned": Peer(TUNED_ALLOCATOR),
    "compiled": Peer(TUNED_ALLOCATOR, is_compiled=True),
    "cast": Peer(TUNED_ALLOCATOR, is_cast=True),
    "cast compiled": Peer(TUNED_ALLOCATOR, is_compiled=True, is_cast=True),
}


def torch_step(row: Row, precision: Precision, n_threads: int, peer: Peer) -> Callable[[], Any]:
    """The same in PyTorch; SimCLR in two passes, ASAM with torch._foreach operations."""
    import torch

    from ._resnet_torch import ResNet, nt_xent

    torch.set_num_threads(n_threads)
    n = row.images
    model: Any = ResNet(row.depth, image_size=row.pixels, head=head_of(row))
    model = model.to(memory_format=torch.channels_last)
    x = torch.from_numpy(images_of(row))
    if peer.is_cast:
        model, x = model.bfloat16(), x.bfloat16()
    compiled = torch.compile(model) if peer.is_compiled else model

    def forward(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16" and not peer.is_cast):
            return compiled(images).float()

    if row.kind == "inference":
        model.eval()

        def infer() -> float:
            with torch.inference_mode():
                return float(forward(x)[0, 0])

        return infer
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True)
    labels = torch.arange(n) % 4

    def loss() -> torch.Tensor:
        if row.kind == "simclr":
            return nt_xent(torch.cat([forward(x[: n // 2]), forward(x[n // 2 :])]), 0.5)
        return torch.nn.functional.cross_entropy(forward(x), labels)

    def ascend() -> list[torch.Tensor]:
        gradients = [p.grad for p in parameters]
        kept = [p.clone() for p in parameters]
        scaled = torch._foreach_mul(kept, gradients)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(scaled))).item()
        torch._foreach_mul_(scaled, kept)
        torch._foreach_add_(parameters, scaled, alpha=1.0 / (norm + 1e-12))
        return kept

    def step() -> float:
        optimizer.zero_grad()
        first = loss()
        first.backward()
        if row.kind == "simclr":
            with torch.no_grad():
                kept = ascend()
            optimizer.zero_grad()
            loss().backward()
            with torch.no_grad():
                torch._foreach_copy_(parameters, kept)
        optimizer.step()
        return first.item()

    return step


def _forget_peak_memory() -> None:
    """The kernel's record of the most resident memory starts anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024 if found else 0


def _answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _begin(side: str, row: Row, precision: Precision, threads: int) -> tuple[Callable[[], Any], Callable[[], float]]:
    """(a step, the flops of the convolutions in one)."""
    if side in RUNTIMES:
        return runtime_step(side, row, precision, threads), lambda: 0.0
    if side != "ours":
        return torch_step(row, precision, threads, PEERS[side]), lambda: 0.0
    step, source, _ = our_step(row, precision, threads)
    passes = 2 if row.kind == "simclr" else 1
    return step, lambda: passes * sum(flops for *_, flops in source.profile())


def main(arguments: Sequence[str]) -> None:
    """Serves one side until its input ends."""
    side, row, precision, threads = arguments
    try:
        step, flops = _begin(side, Row(**json.loads(row)), precision, int(threads))  # type: ignore[arg-type]
        for _ in range(2):
            step()
    except (Exception, SystemExit) as error:  # whatever a compiler or a missing library throws is the answer
        text = str(error).strip() or type(error).__name__
        return _answer({"failed": text.splitlines()[0][:200]})
    _forget_peak_memory()
    _answer({"ready": True})
    for _ in sys.stdin:
        step()
        seconds = []
        for _ in range(STEPS_A_TURN):
            began_s = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began_s)
        _answer(seconds)
    _answer({"peak_bytes": _peak_memory_bytes(), "flops": flops()})


if __name__ == "__main__":
    main(sys.argv[1:])
