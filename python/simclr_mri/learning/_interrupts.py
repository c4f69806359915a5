"""Ctrl-C during training: it waits for the end of a step, and what cannot wait is abandoned in a thread."""

from __future__ import annotations

import contextlib
import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupts:
    """Ctrl-C as a request, which only calls marked as interruptible answer at once.

    Python raises KeyboardInterrupt between any two instructions, also after a step has changed the weights and before
    it was counted. Here it is raised inside `at_once` only; elsewhere the loop asks `requested`. A second one raises.

    Parameters
    ----------
    must_wait : callable () -> bool, optional
        While it is true, neither raises: a step is done and not yet counted.
    """

    def __init__(self, must_wait: Callable[[], bool] = lambda: False) -> None:
        self.requested = False
        self._must_wait = must_wait
        self._at_once = False
        self._old: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._old = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)

    def _handle(self, *_: object) -> None:
        again, self.requested = self.requested, True
        if (self._at_once or again) and not self._must_wait():
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        self._at_once = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False


def abandonable(call: Callable[[], T]) -> T:
    """The result of a call that does not look for Ctrl-C, from a thread that Ctrl-C leaves behind.

    For calls of the core that take a second and change nothing, such as making a network: their result is dropped.
    """
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C does not reach other threads
        return call()
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()  # in which errors speak the shell's language

    def run() -> None:
        try:
            results.append(context.run(call))
        except BaseException as error:  # raised again by whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, name="simclr_mri", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
