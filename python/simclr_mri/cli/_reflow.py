"""Long lines on a terminal: broken between words, and what goes on stands under where it began.

In a file or a pipe every line stays whole. A command that is meant to be typed is not broken, so that it can be copied.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

ESCAPES = re.compile(r"\x1b\[[\d;]*m")
# A command up to the end of its sentence, an option with its value, or a word.
WORDS = re.compile(r"simclr-mri(?: [^ ]*[^ ,.;:)])* [^ ]+|--[\w.-]+ [^ -][^ ]*|[^ ]+")
HANG = 2  # more than the line, where there is no last column to go on in
FURTHEST = 0.75  # of the width: a last column that begins behind that is too narrow to go on in


def reflow(line: str, width: int) -> str:
    """A line in the width.

    Examples
    --------
    >>> print(reflow("ok  subjects   24 given; not all of them could be linked", 40))
    ok  subjects   24 given; not all of them
                   could be linked
    >>> print(reflow("1 run is evaluated and two are needed: simclr-mri evaluate runs/clf", 44))
    1 run is evaluated and two are needed:
      simclr-mri evaluate runs/clf
    """
    if len(ESCAPES.sub("", line)) <= width or "\r" in line:
        return line
    indent = len(line) - len(line.lstrip())
    last_column = max((gap.end() for gap in re.finditer(r"(?<=[^ ]) {2,}", line)), default=width)
    hang = " " * (last_column if last_column <= FURTHEST * width else indent + HANG)
    lines, end = [line[:indent]], indent
    for word in WORDS.finditer(line, indent):
        gap = line[end : word.start()]
        if len(ESCAPES.sub("", lines[-1] + gap + word[0])) > width and lines[-1].strip():
            lines.append(hang)
            gap = ""
        lines[-1] += gap + word[0]
        end = word.end()
    return "\n".join(lines)


class Reflowed:
    """A terminal's stream; each `write` is of whole lines, as `print` makes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Returns the number of characters that were given."""
        width = shutil.get_terminal_size().columns
        self._stream.write("\n".join(reflow(line, width) for line in text.split("\n")))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def reflowed() -> Iterator[None]:
    """Within it, what goes to a terminal is broken between words."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Reflowed(stream) if stream.isatty() else stream for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
