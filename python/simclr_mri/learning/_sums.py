"""Sums over the ranks of an MPI communicator, to bits that no number of ranks changes, while the caller computes.

A piece of the data is cut into a share for each rank. Every rank is sent its share of all terms, adds them up in the
order of a binary tree (`_core.tree_sum`), and sends the sum to all: as much traffic as a ring, in two steps. A few
pieces are under way at a time, so that the network has work while one is added up.

References
----------
Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", IJHPCA 2005
(reduce-scatter and all-gather).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any

import numpy as np

from .. import _core

PIECE = 1 << 21  # floats; of 4, 8 and 16 MB the fastest through two gigabit hosts (tests/bench/bench_wire.py)
UNDER_WAY = 3  # pieces: one that is sent, one that is added up, one that is sent back
NAP_S = 0.0005  # between two looks at the network while the caller computes: 1.25 Gbit/s fill 80 KB, sockets hold more
N_TAGS = 8192  # of pieces; an MPI has tags up to 32767 at least


class OrderedSums:
    """Sums that are begun one by one, and waited for together; all ranks begin the same ones in the same order.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Nobody else sends messages through it from one rank to another.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self._comm = comm
        self._may_overlap = MPI.Query_thread() >= MPI.THREAD_SERIALIZED
        self._waiting: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._is_waited_for = False
        self._n_begun = 0

    def begin(self, data: np.ndarray, n_terms: int, wire: str) -> None:
        """`data`, float32, is not to be touched until `finish` returns; then it holds the sum of ranks 0 to n_terms."""
        for start in range(0, len(data), PIECE):
            self._waiting.put(_Piece(self._comm, data[start : start + PIECE], n_terms, wire, self._n_begun % N_TAGS))
            self._n_begun += 1
        if self._thread is None and self._may_overlap:
            self._thread = threading.Thread(target=self._run, name="simclr_mri sums", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        self._is_waited_for = True
        self._waiting.put(None)
        if self._thread is None:
            self._run()
        else:
            self._thread.join()
        self._thread, self._is_waited_for = None, False
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            self._move()
        except BaseException as error:  # for `finish`
            self._error = error
            while self._waiting.get() is not None:
                pass

    def _move(self) -> None:
        under_way: list[_Piece] = []
        is_open = True
        while is_open or under_way:
            while is_open and len(under_way) < UNDER_WAY:
                try:
                    piece = self._waiting.get(block=not under_way)
                except queue.Empty:
                    break
                if piece is None:
                    is_open = False
                else:
                    piece.start()
                    under_way.append(piece)
            under_way = [piece for piece in under_way if not piece.is_done()]
            if not self._is_waited_for:
                time.sleep(NAP_S)
            elif under_way:
                os.sched_yield()


class _Piece:
    """Shares on their way to the ranks that add them up, then sums on their way to all."""

    def __init__(self, comm: Any, data: np.ndarray, n_terms: int, wire: str, number: int) -> None:
        self._comm, self._data, self._n_terms, self._wire, self._tag = comm, data, n_terms, wire, 2 * number
        self._rank = comm.Get_rank()
        self._bounds = np.linspace(0, len(data), comm.Get_size() + 1).astype(int).tolist()
        self._requests: list[Any] = []

    def start(self) -> None:
        self._numbers = _core.bf16_from_float(self._data) if self._wire == "bf16" else self._data  # as they travel
        mine, has_term = self._share(self._rank), self._rank < self._n_terms
        self._rows: np.ndarray | None = np.empty((self._n_terms, len(mine)), self._numbers.dtype)
        if has_term:
            self._rows[self._rank] = mine
        for other in self._others():
            if other < self._n_terms and len(mine):
                self._requests.append(self._comm.Irecv(self._rows[other], other, self._tag))
            if has_term and len(self._share(other)):
                self._requests.append(self._comm.Isend(self._share(other), other, self._tag))

    def is_done(self) -> bool:
        """Goes on as far as it can."""
        if not self._has_arrived():
            return False
        if self._rows is not None:
            self._spread()
            if not self._has_arrived():
                return False
        if self._wire == "bf16":
            self._data[:] = _core.bf16_to_float(self._numbers)
        return True

    def _spread(self) -> None:
        assert self._rows is not None
        _core.tree_sum(self._rows)
        mine = self._share(self._rank)
        mine[:] = self._rows[0]
        self._rows = None
        for other in self._others():
            if len(self._share(other)):
                self._requests.append(self._comm.Irecv(self._share(other), other, self._tag + 1))
            if len(mine):
                self._requests.append(self._comm.Isend(mine, other, self._tag + 1))

    def _has_arrived(self) -> bool:
        from mpi4py import MPI

        if not MPI.Request.Testall(self._requests):
            return False
        self._requests = []
        return True

    def _share(self, rank: int) -> np.ndarray:
        return self._numbers[self._bounds[rank] : self._bounds[rank + 1]]

    def _others(self) -> list[int]:
        """Each rank begins with its next, so that not all send to the same one first."""
        size = len(self._bounds) - 1
        return [(self._rank + i) % size for i in range(1, size)]
