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

import queue
import threading
import time
from typing import Any

import numpy as np

from .. import _core

PIECE, UNDER_WAY = 1 << 19, 12
"""Floats, and pieces at a time. A message of MPI waits for an answer behind all that lies in the sockets' buffers, up
to 4 MB. 100 MB between two hosts of 1 Gbit/s: 3 pieces of 2 MB take 1.40 s, 12 take 0.88, 24 of 1 MB 0.89, 12 of 8 MB
0.90, the bandwidth alone 0.80 (AMD EPYC with 2 processors, busy; as tests/bench/bench_wire.py)."""
NAP_S = 0.0005
"""Between two looks at the network while the caller computes: 1 Gbit/s brings 60 KB meanwhile; sockets hold more."""
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
        self._is_open, self._is_waited_for = True, False  # more sums may be begun; the caller has nothing else to do
        self._n_begun = 0
        self._spare: list[np.ndarray] = []  # memory for what arrives: new pages would cost as much as adding it up

    def begin(self, data: np.ndarray, n_terms: int, wire: str) -> None:
        """`data`, float32, is not to be touched until `finish` returns; then it holds the sum of ranks 0 to n_terms."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._waiting.put(_Piece(self._comm, piece, n_terms, wire, self._n_begun % N_TAGS, self._spare))
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
        self._thread, self._is_open, self._is_waited_for = None, True, False
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            self._move()
        except BaseException as error:  # for `finish`
            self._error = error
            while self._is_open:
                self._is_open = self._waiting.get() is not None

    def _move(self) -> None:
        from mpi4py import MPI

        under_way: list[_Piece] = []
        has_news = False
        while self._is_open or under_way:
            while self._is_open and len(under_way) < UNDER_WAY:
                try:
                    piece = self._waiting.get(block=not under_way)
                except queue.Empty:
                    break
                if piece is None:
                    self._is_open = False
                else:
                    piece.start()
                    under_way.append(piece)
                    has_news = True
            if has_news:
                under_way = [piece for piece in under_way if not piece.is_done()]
            requests = [request for piece in under_way for request in piece.requests]
            if self._is_waited_for:
                MPI.Request.Waitany(requests)
                has_news = True
            else:
                has_news = bool(MPI.Request.Testsome(requests))
                if not has_news:
                    time.sleep(NAP_S)


class _Piece:
    """Shares on their way to the ranks that add them up, then sums on their way to all."""

    def __init__(
        self, comm: Any, data: np.ndarray, n_terms: int, wire: str, number: int, spare: list[np.ndarray]
    ) -> None:
        self._comm, self._data, self._n_terms, self._wire, self._tag = comm, data, n_terms, wire, 2 * number
        self._spare = spare
        self._rank = comm.Get_rank()
        self._bounds = np.linspace(0, len(data), comm.Get_size() + 1).astype(int).tolist()
        self.requests: list[Any] = []

    def start(self) -> None:
        self._numbers = _core.bf16_from_float(self._data) if self._wire == "bf16" else self._data  # as they travel
        mine, has_term = self._share(self._rank), self._rank < self._n_terms
        self._memory: np.ndarray | None = self._spare.pop() if self._spare else np.empty(0, np.uint8)
        n_bytes = self._n_terms * mine.nbytes
        if self._memory.nbytes < n_bytes:
            self._memory = np.empty(n_bytes, np.uint8)
        self._rows = self._memory[:n_bytes].view(mine.dtype).reshape(self._n_terms, len(mine))
        if has_term:
            self._rows[self._rank] = mine
        for other in self._others():
            if other < self._n_terms and len(mine):
                self.requests.append(self._comm.Irecv(self._rows[other], other, self._tag))
            if has_term and len(self._share(other)):
                self.requests.append(self._comm.Isend(self._share(other), other, self._tag))

    def is_done(self) -> bool:
        """Goes on as far as it can."""
        if not self._has_arrived():
            return False
        if self._memory is not None:
            self._spread()
            if not self._has_arrived():
                return False
        if self._wire == "bf16":
            self._data[:] = _core.bf16_to_float(self._numbers)
        return True

    def _spread(self) -> None:
        assert self._memory is not None
        _core.tree_sum(self._rows)
        mine = self._share(self._rank)
        mine[:] = self._rows[0]
        self._spare.append(self._memory)
        self._memory = None
        for other in self._others():
            if len(self._share(other)):
                self.requests.append(self._comm.Irecv(self._share(other), other, self._tag + 1))
            if len(mine):
                self.requests.append(self._comm.Isend(mine, other, self._tag + 1))

    def _has_arrived(self) -> bool:
        from mpi4py import MPI

        if not MPI.Request.Testall(self.requests):
            return False
        self.requests = []
        return True

    def _share(self, rank: int) -> np.ndarray:
        return self._numbers[self._bounds[rank] : self._bounds[rank + 1]]

    def _others(self) -> list[int]:
        """Each rank begins with its next, so that not all send to the same one first."""
        size = len(self._bounds) - 1
        return [(self._rank + i) % size for i in range(1, size)]
