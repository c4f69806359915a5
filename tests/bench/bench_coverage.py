"""How often 95 % intervals hold the truth, over many simulated studies of classifiers of known accuracy.

    PYTHONPATH=tests python tests/bench/bench_coverage.py [--studies 500] [--quick]

Each line is one classifier and size: the share of studies whose interval holds the truth, in percent, by metric; "-"
where there are too few subjects for an interval. A line of "paired" is the difference of two classifiers on the same
subjects. With 500 studies a share of 95 % has a standard error of 1 %. Takes about an hour on one core; --quick, with
fewer sizes, some minutes. `tests/python/metrics/test_coverage.py` checks a part of it.
"""

from __future__ import annotations

import argparse

import numpy as np

from reference.studies import coverage, paired_coverage, population
from simclr_mri.metrics import METRICS

SIZES = ((12, 9, 3), (30, 20, 10), (100, 70, 30), (12, 12), (40, 30, 20, 10))
NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "auc", "kappa", "brier", "recall 0", "recall 1", "precision 0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(f"{'subjects':17}{'recalls':22}{'judged by':16}" + "".join(f"{name[:11]:>12}" for name in NAMES))
    outside = total = 0
    for counts in SIZES[: 2 if options.quick else None]:
        k = len(counts)
        for recalls in ((0.8,) * k, (0.6,) * k, tuple(np.linspace(0.9, 0.5, k).round(2))):
            for slices, level in ((1, "slice"), (8, "slice"), (8, "subject")):
                found = coverage(population(recalls, slices=slices), counts, level, options.studies)
                shown = [found[name][0] for name in NAMES]
                outside += sum(not 0.92 <= value <= 0.98 for value in shown if not np.isnan(value))
                total += sum(not np.isnan(value) for value in shown)
                cells = "".join(f"{'-' if np.isnan(v) else f'{100 * v:.1f}':>12}" for v in shown)
                print(f"{counts!s:17}{recalls!s:22}{f'{level}, x {slices}':16}{cells}", flush=True)
        shown = [paired(counts, metric, options.studies) for metric in METRICS if metric != "ece"]
        print(f"{counts!s:17}{'.6 and .8':22}{'paired, subject':16}" + "".join(f"{100 * v:12.1f}" for v in shown))
    print(f"{outside} of {total} are outside 92 to 98 %")


def paired(counts: tuple[int, ...], metric: str, n_studies: int) -> float:
    a, b = (population((recall,) * len(counts), slices=2) for recall in (0.6, 0.8))
    return paired_coverage(a, b, counts, metric, n_studies)


if __name__ == "__main__":
    main()
