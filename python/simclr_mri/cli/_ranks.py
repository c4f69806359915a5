"""A command of several processes that mpiexec started: rank 0 speaks, and an error is said by the rank that has it."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

from .._shared import quietly
from ..learning import world

TOGETHER = ("pretrain", "finetune")


def at_every_rank(command: Callable[[argparse.Namespace], int | None], args: argparse.Namespace) -> int:
    """The exit code of this rank: that of the command at the one rank that has something to say, else 0."""
    ranks = world()
    args.ranks = ranks
    if not ranks.is_first:
        warnings.simplefilter("ignore")
    try:
        with quietly(args.quiet or not ranks.is_first), ranks.together():
            if args.command not in TOGETHER:
                raise ValueError(
                    f"mpiexec started {ranks.size} processes, and this command is done by one; several do "
                    f"{' and '.join(TOGETHER)} together"
                )
            return command(args) or 0
    except KeyboardInterrupt:
        if ranks.is_first:
            raise
        return 0
    except Exception:
        if ranks.culprit in (None, ranks.rank):
            raise
        return 0
    finally:
        ranks.leave()
