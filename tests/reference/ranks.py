"""Ranks as threads of one process: what include/smri/comm.h asks for, in the plainest way, without MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class Stopped(Exception):
    """Another rank failed."""


class Meeting:
    """Where so many threads lay down what they have and take what all have laid down."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._barrier = threading.Barrier(size, timeout=60)
        self._laid: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self._laid[rank] = value
        self._barrier.wait()
        found = list(self._laid)
        self._barrier.wait()
        return found


def tree_sum(terms: list[np.ndarray], wire: str = "fp32") -> np.ndarray:
    """Neighbours are added until one is left; a last one without a neighbour goes up as it is. "bf16" rounds sums."""
    if len(terms) == 1:
        return terms[0]
    pairs = [terms[i] + terms[i + 1] for i in range(0, len(terms) - 1, 2)]
    if wire == "bf16":
        pairs = [rounded_to_bf16(pair) for pair in pairs]
    return tree_sum(pairs + terms[2 * len(pairs) :], wire)


def rounded_to_bf16(numbers: np.ndarray) -> np.ndarray:
    """Finite float32 numbers with 8 bits of precision, ties to even."""
    bits = numbers.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


class ThreadRank:
    """One of the threads."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.begun: list[tuple[np.ndarray, np.ndarray, int, str]] = []  # data, what was in it, terms, wire
        self.n_sums: list[int] = []  # floats of each sum so far

    def gather(self, data: np.ndarray, bounds: list[int]) -> None:
        pieces = self.meeting.exchange(self.rank, data[bounds[self.rank] : bounds[self.rank + 1]].copy())
        data[:] = np.concatenate(pieces)

    def begin_sum(self, data: np.ndarray, n_terms: int, wire: str) -> None:
        if wire == "bf16" and self.rank < n_terms:
            assert not (data.view(np.uint32) & 0xFFFF).any(), "not rounded"
        self.begun.append((data, data.copy(), n_terms, wire))
        self.n_sums.append(len(data))

    def finish_sums(self) -> None:
        """As late as can be: what was begun must not have changed meanwhile."""
        for data, before, n_terms, wire in self.begun:
            np.testing.assert_array_equal(data, before)
            data[:] = tree_sum(self.meeting.exchange(self.rank, before)[:n_terms], wire)
        self.begun = []

    def agree(self, status: int, message: str) -> None:
        found = self.meeting.exchange(self.rank, (status, message))
        worst = max(found)
        if worst[0] and worst[0] != status:
            raise Stopped(f"rank {found.index(worst)}: {worst[1]}")


def on_ranks(size: int, work: Callable[[ThreadRank], Any]) -> list[Any]:
    """What `work` returns, or raises, at each rank."""
    meeting, results = Meeting(size), [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRank(meeting, rank))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
