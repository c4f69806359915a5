"""The memory that a container leaves to this process, by its cgroup and all above it, of versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_UNLIMITED = 2**60  # version 1 writes no limit as the largest number of pages


def available_in_cgroups(
    membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that the tightest limit leaves, or None without one.

    Memory that the system holds files in counts as used until someone needs it, and is given back then: the part of it
    that nobody has looked at lately ("inactive_file") is available.
    """
    found = [left for folder in _folders(membership, mount) if (left := _left_in(folder)) is not None]
    return min(found) if found else None


def _folders(membership: Path, mount: Path) -> Iterator[Path]:
    """This process's cgroups and all above them. A container may see its own as the root."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        for root in (mount / "memory",) if controllers else (mount, mount / "unified"):
            parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
            for depth in range(len(parts), -1, -1):
                yield root.joinpath(*parts[:depth])


def _left_in(folder: Path) -> int | None:
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    key = "inactive_file"
    if limit is None and used is None:
        limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
        key = "total_inactive_file"
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    return max(0, limit - used + min(used, _statistic(folder / "memory.stat", key)))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def _statistic(path: Path, key: str) -> int:
    try:
        rows = (line.split() for line in path.read_text().splitlines())
        return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == key), 0)
    except (OSError, ValueError):
        return 0
