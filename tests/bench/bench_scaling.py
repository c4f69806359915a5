"""How many times faster a training step is with more threads, beside what the machine's processors give at that time.

    PYTHONPATH=python python tests/bench/bench_scaling.py [--row supervised] [--precision fp32 bf16] [--threads 2]
                                                    [--minutes 10]

Turns of many threads, of one, and of many again: steps (two of many threads and one of one, each after one that does
not count), then, for as long each, products on registers that share nothing but the way in which the pool divides
work. On a quiet machine those scale by the number of threads. In a virtual machine beside others they do not: one
thread can have whichever processor is free, two need both. So the last column is what the step itself loses: to memory,
to caches, and to threads that wait for each other.

Ratios are of neighbours in time, and the median of the turns is what counts; quartiles say how far to trust it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from simclr_mri import _core
from simclr_mri.bench import ROWS
from simclr_mri.bench._measure import our_step


class Turn(NamedTuple):
    """Of steps: seconds of one thread and of many. Of products: operations a second of one thread and of many."""

    step_one: float
    step_many: float
    rate_one: float
    rate_many: float

    @property
    def step(self) -> float:
        return self.step_one / self.step_many

    @property
    def products(self) -> float:
        return self.rate_many / self.rate_one


def seconds_of(step: Callable[[], Any]) -> float:
    step()
    before = time.perf_counter()
    step()
    return time.perf_counter() - before


def take_turn(one: Callable[[], Any], many: Callable[[], Any], n_threads: int, precision: str) -> Turn:
    first, alone, last = seconds_of(many), seconds_of(one), seconds_of(many)

    def rate(threads: int, seconds: float) -> float:
        return _core.measured_peak(precision, threads, min(seconds, 60.0), mean=True)

    rates = rate(n_threads, first), rate(1, alone), rate(n_threads, last)
    return Turn(alone, (first + last) / 2, rates[1], (rates[0] + rates[2]) / 2)


def report(turns: list[Turn]) -> str:
    step, products = [turn.step for turn in turns], [turn.products for turn in turns]
    one, many = (1e3 * statistics.median(times) for times in zip(*(turn[:2] for turn in turns), strict=True))
    share = statistics.median(a / b for a, b in zip(step, products, strict=True))

    def text(ratios: list[float]) -> str:
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        return f"{middle:.3f} ({low:.3f} to {high:.3f})"

    return f"{len(turns):5} {one:8.0f} {many:8.0f} {one / many:7.3f}   {text(step)}   {text(products)}   {share:8.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=[name for name in ROWS if name != "inference"], default="supervised")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all precisions together, which take turns")
    options = parser.parse_args()
    steps = {
        precision: [our_step(ROWS[options.row], precision, n_threads)[0] for n_threads in (1, options.threads)]
        for precision in options.precision
    }
    turns: dict[str, list[Turn]] = {precision: [] for precision in options.precision}
    begin_s, whole_s, taken_s = time.monotonic(), 60.0 * options.minutes, 0.0
    with tqdm(total=whole_s, bar_format="{l_bar}{bar}| {remaining} left", leave=False, disable=None) as bar:
        while taken_s < whole_s or not all(turns.values()):
            precision = min(turns, key=lambda name: sum(turn.step_one for turn in turns[name]))
            turns[precision].append(take_turn(*steps[precision], options.threads, precision))
            before_s, taken_s = taken_s, time.monotonic() - begin_s
            bar.update(taken_s - before_s)
    print(f"{ROWS[options.row].title}, {_core.cpu_info()['isa']}, {options.threads} threads beside one")
    print("      turns  one, ms   of many  ratio   step: median, quartiles   products: the same        step / products")
    for precision, taken in turns.items():
        print(f"{precision:6}{report(taken)}", flush=True)


if __name__ == "__main__":
    main()
