"""Every convolution of a ResNet in its three directions, ours beside PyTorch's; see `simclr_mri.bench._layers`.

python tests/bench/bench_conv.py [--network resnet50|resnet18] [--threads 2] [--precision bf16]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import _testing
from simclr_mri.bench._layers import DIRECTIONS, measure_layers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("resnet50", "resnet18"), default="resnet50")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--isa", help="cap our instruction set")
    parser.add_argument("--methods", action="store_true", help="time every applicable method of ours")
    parser.add_argument("--direction", choices=DIRECTIONS, help="only this one")
    parser.add_argument("--only", default="", help="layers whose name contains this")
    options = parser.parse_args()
    if options.isa:
        _testing.set_isa(options.isa)
    measure_layers(
        options.network,
        options.precision,
        options.threads,
        repeat=options.repeat,
        methods=options.methods,
        directions=DIRECTIONS if options.direction is None else (options.direction,),
        only=options.only,
        tell=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    main()
