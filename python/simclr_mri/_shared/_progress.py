"""Progress that looks right where it is read: a bar in a terminal or a notebook, a line now and then in a log file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from ._notebook import in_notebook
from ._text import seconds_text

# What a person looks at first, in this order; log.csv and to_frame() have all that was measured.
CHIEF = ("val_loss", "val_balanced_accuracy", "knn_accuracy", "probe_balanced_accuracy", "train_accuracy", "lr")
OF_THE_RUN = ("epoch", "loss", "seconds", "images", "images_per_s")
N_COLUMNS = 5
BAR_COLUMNS = 20  # of a terminal's line at least
FACTS_COLUMNS = 50  # what stands beside the title and the bar: share, time left, images/s, loss


LINE_EVERY_S = 30.0  # a log file gets about one line in this time, so that it shows that the run lives


LOG = logging.getLogger("simclr_mri")
"""Carries what is printed, and a line an epoch whatever `verbose` says; silent until the user gives it a handler."""
LOG.addHandler(logging.NullHandler())


_quiet: ContextVar[bool] = ContextVar("nothing but results is shown", default=False)


@contextlib.contextmanager
def quietly(on: bool = True) -> Iterator[None]:
    """Within it, neither progress nor remarks by the way are shown."""
    token = _quiet.set(on)
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Whether only results are to be shown."""
    return _quiet.get()


def say(text: str) -> None:
    """A line on the screen, and in the log of logging.getLogger("simclr_mri")."""
    if not is_quiet():
        print(text, flush=True)
    LOG.info(text)


def say_next(text: str) -> None:
    """What a command does next, on stderr."""
    if not is_quiet():
        print(f"{text} ...", file=sys.stderr, flush=True)
    LOG.info(text)


def chief_columns(columns: Sequence[str]) -> list[str]:
    """The five columns of a history that are shown: epoch, loss, seconds, and two more, a callback's own first.

    Examples
    --------
    >>> chief_columns(["epoch", "loss", "lr", "images", "seconds", "val_loss", "val_accuracy", "val_balanced_accuracy"])
    ['epoch', 'loss', 'val_loss', 'val_balanced_accuracy', 'seconds']
    """
    known = (*OF_THE_RUN, *CHIEF, "temperature", "chance_loss", "spread", "alignment", "uniformity", "val_accuracy")
    own = [name for name in columns if name not in known]
    middle = [*own, *(name for name in CHIEF if name in columns)][: N_COLUMNS - 3]
    return [name for name in ("epoch", "loss", *middle, "seconds") if name in columns]


def _bar(title: str, n_images: int, done: int) -> Any:
    if in_notebook():
        from ._notebook import NotebookBar

        return NotebookBar(title, n_images, done)
    from tqdm import tqdm

    class Bar(tqdm):
        @property
        def format_dict(self) -> dict[str, Any]:
            found = super().format_dict
            rate = found["rate"] or (found["n"] - found["initial"]) / max(found["elapsed"], 1e-9)
            return {**found, "speed": f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}"}

    columns = _columns()
    width = {"dynamic_ncols": True} if columns else {"ncols": 100, "nrows": 20}  # one of no width shows no bar
    return Bar(
        total=n_images,
        initial=done,
        desc=_shortened(title, max(8, (columns or 100) - BAR_COLUMNS - FACTS_COLUMNS)),
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {remaining} left, {speed} images/s{postfix}",
        **width,
    )


def _shortened(text: str, n: int) -> str:
    """At most n characters, from both ends: "fine-tune ssl 10%" becomes "fine-t… 10%"."""
    if len(text) <= n:
        return text
    tail = text[-min(n // 3, 4) :]
    return f"{text[: n - len(tail) - 1]}…{tail}"


def _behind_the_bar(shown: dict[str, Any], title: str) -> str:
    """The loss; in a wide terminal the rest too."""
    facts = [f"{key} {value}" for key, value in _loss_first(shown).items()]
    room = _columns() - BAR_COLUMNS - FACTS_COLUMNS - len(title) - 2
    return ", ".join(fact for i, fact in enumerate(facts) if i == 0 or sum(map(len, facts[1 : i + 1])) + 2 * i <= room)


def _columns() -> int:
    """Of the terminal that stderr is; 0 where it does not tell, as under `docker exec -t`."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def _loss_first(shown: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(shown.items(), key=lambda item: item[0] != "loss"))


class Progress:
    """Counts images of a run.

    Parameters
    ----------
    title : str
        What runs: "SimCLR", "fine-tune random 10 %".
    n_images, done : int
        Images of the whole run, all epochs together, and how many were done before.
    verbose : {0, 1, 2}
        Nothing; a bar, or lines where there is no screen; a line at every epoch.
    """

    def __init__(self, title: str, n_images: int, done: int = 0, verbose: int = 1) -> None:
        verbose = 0 if is_quiet() else verbose
        self.title, self.n_images, self.done = title, n_images, done
        self._bar: Any = None
        self._as_lines = verbose == 2 or (verbose == 1 and not (sys.stderr.isatty() or in_notebook()))
        self._start_s = self._line_s = time.monotonic()
        self._start_done = done
        if verbose == 1 and not self._as_lines:
            self._bar = _bar(title, n_images, done)
        self._every_s = 0.0 if verbose == 2 else LINE_EVERY_S

    @property
    def images_per_s(self) -> float:
        """Since this object was made."""
        return (self.done - self._start_done) / max(1e-9, time.monotonic() - self._start_s)

    def update(self, n: int, **shown: Any) -> None:
        """`n` more images are done; `shown` stands behind the bar."""
        self.done += n
        if self._bar is not None:
            self._bar.update(n)
            if shown:
                self._show(shown)
        elif self._as_lines and time.monotonic() - self._line_s >= LINE_EVERY_S:
            self._print(self._line(shown, f"{seconds_text(self._seconds_left())} left"))

    def epoch(self, epoch: int, epochs: int, row: dict[str, Any]) -> None:
        """An epoch is done; `row` is its line of the history."""
        chief = [key for key in chief_columns(list(row)) if key not in ("epoch", "seconds")]
        shown = {key: f"{v:.4g}" for key in chief if isinstance(v := row[key], (int, float))}
        if self._bar is not None:
            self._show({"epoch": f"{epoch}/{epochs}", **shown})
        took = seconds_text(time.monotonic() - self._start_s)
        rest = f"done in {took}" if epoch == epochs else f"{seconds_text(self._seconds_left())} left"
        line = self._line({"epoch": f"{epoch}/{epochs}", **shown}, rest)
        LOG.info(line)
        if self._as_lines and (epoch == epochs or time.monotonic() - self._line_s >= self._every_s):
            self._print(line)

    def _show(self, shown: dict[str, Any]) -> None:
        if hasattr(self._bar, "set_postfix_str"):
            self._bar.set_postfix_str(_behind_the_bar(shown, self._bar.desc), refresh=False)
        elif self._bar is not None:
            self._bar.set_postfix(_loss_first(shown), refresh=False)

    def _seconds_left(self) -> float:
        return (self.n_images - self.done) / max(1e-9, self.images_per_s)

    def _line(self, shown: dict[str, Any], rest: str) -> str:
        facts = "  ".join(f"{key} {value}" for key, value in shown.items())
        return f"{self.title}: {facts}  {self.images_per_s:.3g} images/s  {rest}"

    def _print(self, line: str) -> None:
        self._line_s = time.monotonic()
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def tell(text: str) -> None:
    """Shows a few lines that the caller may want to copy."""
    print(text, flush=True)
