"""Ranks: the processes that train one network together, on one machine or on many, through MPI (mpi4py).

Every rank runs the same program on the same data. The core deals the micro-batches of a step over the ranks, and gives
all of them the bits that one process would have had (csrc/training/pass.c). Rank 0 alone writes and shows anything.

What happens to one rank happens to all, at the same step: wherever ranks meet, they first tell each other how they are
(`agree`). A rank that was interrupted or has failed says so once, and the others, who are on their way to the next such
meeting, learn of it there, in the core or in Python.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._shared import n_launched
from ._sums import OrderedSums

OK, INTERRUPTED, STOPPED, FAILED = 0, 7, 50, 100  # 1 to 8 are the core's smri_status, of which 7 is SMRI_INTERRUPTED


class RankError(ConnectionError):
    """Another rank failed, or has other data, options or weights; the message names it."""


class RunStopped(Exception):
    """A callback of rank 0 ends the run; not an error."""


def not_interrupted() -> bool:
    return False


class Ranks:
    """This process alone; `MPIRanks` is several.

    Attributes
    ----------
    rank, size : int
        This process, of so many.
    is_busy : bool
        Whether it is in a call that the others are in too, and that nothing may break off.
    is_interrupted : callable () -> bool
        Asked at every agreement.
    culprit : int or None
        The rank whose failure, interruption or stop ended what the ranks did together.
    """

    rank, size = 0, 1
    is_busy = False

    def __init__(self) -> None:
        self.is_interrupted: Callable[[], bool] = not_interrupted
        self.culprit: int | None = None
        self.has_ended = False  # all ranks know how it ended, and none may call `agree` again
        self.has_met = False

    @staticmethod
    def of(comm: Any) -> Ranks:
        """Those of an mpi4py communicator; of None, this process alone."""
        if comm is None or isinstance(comm, Ranks):
            return Ranks() if comm is None else comm
        if not hasattr(comm, "Alltoallv"):
            raise TypeError(f"comm: expected a communicator of mpi4py, got {type(comm).__name__}")
        return MPIRanks(comm.Dup()) if comm.Get_size() > 1 else Ranks()

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes and shows."""
        return self.rank == 0

    def agree(self, status: int = OK, message: str = "") -> None:
        """Return if all are well, or if this rank's own `status` is what counts.

        Raises
        ------
        KeyboardInterrupt, RunStopped, RankError
            Another rank was interrupted, ends the run, or has failed.
        """

    def share(self, value: Any) -> Any:
        """Rank 0's value, at all ranks; agrees first."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """The values of all ranks; agrees first."""
        return [value]

    def check_same(self, facts: Mapping[str, Any], why: str = "") -> None:
        """RankError at all ranks if one has other facts than rank 0; names the rank and the fact."""
        if self.size == 1:
            return
        found = self.collect(dict(facts))
        for rank, theirs in enumerate(found):
            other = [name for name in facts if theirs[name] != found[0][name]]
            if other:
                self.has_ended, self.culprit = True, 0
                shown = f" ({theirs[other[0]]}, not {found[0][other[0]]})" if len(str(theirs[other[0]])) < 30 else ""
                raise RankError(f"rank {rank} has {other[0]} other than rank 0{shown}. {why}")

    def gather(self, data: np.ndarray, bounds: list[int]) -> None:
        """For the core: piece data[bounds[r]:bounds[r + 1]] of rank r, to all; in place."""

    def begin_sum(self, data: np.ndarray, n_terms: int, wire: str = "fp32") -> None:
        """For the core: begin the sum over the first n_terms ranks, at all of them; in place."""

    def finish_sums(self) -> None:
        """For the core: wait for all sums that were begun."""

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What all ranks do, and leave together: after an error of one, all raise, once rank 0 has written its own."""
        try:
            yield
            if not self.has_ended:
                self.agree()
        except BaseException as error:
            try:
                if not self.has_ended:
                    self.tell(error)
            finally:
                if not self.has_met:
                    self._meet(_text_of(error))
            raise
        self.has_ended = True
        self._meet("")
        self.has_ended = self.has_met = False

    def tell(self, error: BaseException) -> None:
        """Let the others know of an error or an interruption of this rank; raises as `agree`."""
        is_interruption = isinstance(error, KeyboardInterrupt)
        self.agree(INTERRUPTED if is_interruption else FAILED, "" if is_interruption else _text_of(error))

    def leave(self) -> None:
        """Leave MPI, before an exit: after an error that all ranks know of, its exit code does not abort the others."""

    def _meet(self, failure: str) -> None:
        self.has_met = True


class MPIRanks(Ranks):
    """The processes of an MPI communicator, which is used for nothing else.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    """

    def __init__(self, comm: Any) -> None:
        super().__init__()
        self._comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self._sums = OrderedSums(comm)
        self._statuses = np.empty(self.size, np.int32)

    def agree(self, status: int = OK, message: str = "") -> None:
        own = INTERRUPTED if status == OK and self.is_interrupted() else status
        with self._busy():
            self._comm.Allgather(np.array([own], np.int32), self._statuses)
            worst = max(self._statuses.tolist(), key=_weight)
            if worst == OK:
                return
            self.has_ended, self.culprit = True, self._statuses.tolist().index(worst)
            message = self._comm.bcast(f"rank {self.rank} on {socket.gethostname()}: {message}", self.culprit)
        if worst == status:
            return
        if worst == INTERRUPTED:
            raise KeyboardInterrupt
        if worst == STOPPED:
            raise RunStopped(message.partition(": ")[2])
        raise RankError(message)

    def share(self, value: Any) -> Any:
        with self._busy():
            self.agree()
            return self._comm.bcast(value)

    def collect(self, value: Any) -> list[Any]:
        with self._busy():
            self.agree()
            return self._comm.allgather(value)

    def gather(self, data: np.ndarray, bounds: list[int]) -> None:
        from mpi4py import MPI

        with self._busy():
            self._comm.Allgatherv(MPI.IN_PLACE, [data, np.diff(bounds), bounds[:-1], MPI.FLOAT])

    def begin_sum(self, data: np.ndarray, n_terms: int, wire: str = "fp32") -> None:
        self._sums.begin(data, n_terms, wire)

    def finish_sums(self) -> None:
        with self._busy():
            self._sums.finish()

    def leave(self) -> None:
        from mpi4py import MPI

        if self.has_met:
            MPI.Finalize()

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        before, self.is_busy = self.is_busy, True
        try:
            yield
        finally:
            self.is_busy = before

    def _meet(self, failure: str) -> None:
        super()._meet(failure)
        with self._busy():
            failures = self._comm.allgather(failure)
        if failure or not any(failures):
            return
        self.culprit = next(rank for rank, text in enumerate(failures) if text)
        raise RankError(f"rank {self.culprit}: {failures[self.culprit]}")


def _weight(status: int) -> tuple[bool, bool, bool, int]:
    """Orders statuses by what counts more: all is well, stopped, interrupted, failed."""
    return status != OK, status not in (OK, STOPPED), status not in (OK, STOPPED, INTERRUPTED), status


def _text_of(error: BaseException) -> str:
    return str(error) if isinstance(error, RankError) else f"{type(error).__name__}: {error}"


def world() -> Ranks:
    """The processes that mpiexec started with this one; alone where none did.

    Raises
    ------
    ImportError
        They are several, and mpi4py is not there.
    """
    n = n_launched()
    if n == 1:
        return Ranks()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"mpiexec started {n} processes, and mpi4py, by which they train together, cannot be loaded "
            f"({error}). Install it, and an MPI library if the machine has none: pip install 'simclr_mri[mpi]'"
        ) from None
    return Ranks.of(MPI.COMM_WORLD)
