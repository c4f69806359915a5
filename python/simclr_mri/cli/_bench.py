"""`simclr-mri bench`: speed and memory of whole steps, of operations and of layers."""

from __future__ import annotations

import argparse

from .. import _core
from .._shared import busy_share, warn_if_emulated, write_json
from ..bench import ROWS, busy_note, measure, run_peer
from ..plot import speed_and_memory
from ._common import folder_for_results, save_axes
from ._settings import Settings


def bench(args: argparse.Namespace) -> int:
    """Speed and memory of whole steps, of operations and of layers."""
    settings = Settings(args)
    chosen, out = settings.bench, folder_for_results(settings, "bench")
    if chosen.peer:
        results = run_peer(
            chosen.rows,
            chosen.precision,
            chosen.rounds,
            chosen.n_jobs,
            chosen.layers,
            tell=lambda text: print(text, flush=True),
        )
    else:
        info = _core.cpu_info()
        print(f"{info['cpu']}, {info['isa']}, {chosen.n_jobs or info['threads']} threads, medians of {chosen.rounds}")
        print(busy_note(busy_share()), flush=True)
        results = []
        for precision in chosen.precision:
            warn_if_emulated(precision)
            for name in chosen.rows:
                found = measure(ROWS[name], precision=precision, rounds=chosen.rounds, n_jobs=chosen.n_jobs)
                print(f"{found}{found.layer_table() if chosen.layers else ''}", flush=True)
                results.append(found.to_dict())
    write_json(out / "bench.json", results)
    save_axes(speed_and_memory(results), out / "bench.png")
    print(f"{out}/: bench.json, bench.png")
    return 0
