"""What the systems do differently: opening and locking files, peak memory. The home of fcntl and resource."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl
    import resource


def can_open_folders() -> bool:
    """Whether a folder can be opened as a file is, to lock it or to sync it."""
    return sys.platform != "win32"


def open_to_read(path: str | os.PathLike[str]) -> int:
    """Opens anything for reading: a pipe without a writer does not hang, children do not inherit it."""
    flags = ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT")
    return os.open(path, sum((getattr(os, name, 0) for name in flags), os.O_RDONLY))


def can_sync_all() -> bool:
    """Whether `sync_all` exists, so that thousands of files need not wait for the disk one by one."""
    return sys.platform != "win32"


def sync_all() -> None:
    """Waits until everything that was written is on the disk; nothing where the system has no such call."""
    if sys.platform != "win32":
        os.sync()


def is_gone(pid: int) -> bool:
    """Whether there is no such process; False where that cannot be asked without harm."""
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it lives and is someone else's
        return False
    return False


def lock_file(handle: int) -> bool:
    """Locks an open file or folder; False where the file system cannot, BlockingIOError where another has done so."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except PermissionError:
        if sys.platform == "win32":
            raise BlockingIOError from None
        return False
    except OSError:
        return False
    return True


def open_to_lock(path: str | os.PathLike[str]) -> int:
    """Opens a file for writing, made if need be, that children do not inherit."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)


def peak_rss_bytes() -> int:
    """The most memory that this process has held so far; 0 where that is not told."""
    if sys.platform == "win32":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
