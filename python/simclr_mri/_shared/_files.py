"""Files that appear whole or not at all, a lock that keeps two runs out of one folder, and tables that are read."""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import glob
import json
import os
import re
import secrets
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ._system import can_open_folders, is_gone, lock_file, open_to_lock, open_to_read


def check_path(value: object, argument: str) -> Path:
    """`value` as a path; TypeError if it is none.

    Examples
    --------
    >>> check_path(None, "root")
    Traceback (most recent call last):
    TypeError: root: expected a path, got None
    """
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    shown = type(value).__name__ if hasattr(value, "__len__") else repr(value)  # not a thousand pixels
    raise TypeError(f"{argument}: expected a path, got {shown}")


@contextlib.contextmanager
def atomic_writer(path: str | Path):
    """A binary file that appears at `path` whole or not at all, whatever happens; OSError names `path`.

    A symbolic link stays, and its target is replaced; a file that is replaced keeps its permissions.
    """
    path = Path(path).expanduser()
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        file, temporary = _open_temporary(target)
        with file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            kept = "; the file that was there before is intact" if path.exists() else ""
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}{kept}") from error
        raise


def _open_temporary(path: Path) -> tuple[BinaryIO, Path]:
    """A new file beside `path`, under a name that cannot be foreseen; what is there under it is never opened."""
    for _ in range(100):
        temporary = path.with_name(f".{path.name}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        try:
            return open(temporary, "x+b"), temporary  # "x" is O_EXCL, which follows no link
        except FileExistsError:
            continue
        except BaseException:  # made, but no memory for the file object
            temporary.unlink(missing_ok=True)
            raise
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _sync_folder(folder: Path) -> None:
    """Makes a renaming durable, where the file system lets folders be synced."""
    with contextlib.suppress(OSError):
        handle = open_to_read(folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@functools.cache
def _place() -> str:
    """This host and its namespace of process numbers: elsewhere the same number is another process, or none."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
    try:
        return f"{host}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return host


def _sweep(path: Path) -> None:
    """Removes what killed processes of this host left of this file; a checkpoint is large."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pieces = left.name.removeprefix(f".{path.name}.").split(".")
        if pieces[0].isdigit():  # of version 0.1.0, which wrote no place
            pieces = [_place(), *pieces]
        place, pid = pieces[:2]
        if place != _place() or not pid.isdigit() or int(pid) == os.getpid():
            continue
        if is_gone(int(pid)):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def sole_writer(folder: str | Path | None) -> Iterator[None]:
    """Keeps other runs out of `folder`, which is made if need be and goes again if left empty. None keeps nothing.

    The system lets go of the lock when a process ends, however it ends.

    Raises
    ------
    BlockingIOError
        A run of this process or of another is at it.
    """
    if folder is None:
        yield
        return
    folder = Path(folder).expanduser()
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handles = [os.open(folder, os.O_RDONLY)] if can_open_folders() else []
    lock = folder / LOCK_FILE
    try:
        try:
            if not any(map(lock_file, handles)):  # NFS locks what is open for writing, which a folder cannot be
                handles.append(open_to_lock(lock))
                if not lock_file(handles[-1]):
                    _warn_of_no_locks(folder)
        except BlockingIOError:
            raise BlockingIOError(
                f"{folder}: another run is writing there; wait until it is done, or choose another folder"
            ) from None
        yield
    finally:
        for handle in handles:
            os.close(handle)
        if is_new:
            with contextlib.suppress(OSError):
                if os.listdir(folder) == [LOCK_FILE]:
                    lock.unlink()
                folder.rmdir()


LOCK_FILE = ".lock"


def _warn_of_no_locks(folder: Path) -> None:
    warnings.warn(
        f"{folder}: this file system does not lock, so nothing keeps a second run out of the folder. Start one only",
        stacklevel=4,
    )


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, whole or not at all; NumPy's numbers and arrays and paths are written as JSON has them."""
    with atomic_writer(path) as file:
        file.write((to_json(value, indent=2) + "\n").encode())


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON, with NumPy's numbers and arrays as numbers and lists, and paths as text."""
    return json.dumps(value, indent=indent, default=_plain)


def plain_json(value: Any, argument: str) -> Any:
    """`value` as it will be when it is read from JSON; TypeError naming `argument` if JSON has no form for it.

    Examples
    --------
    >>> plain_json({"shares": (0.5, 0.5), "folder": Path("data")}, "facts")
    {'shares': [0.5, 0.5], 'folder': 'data'}
    """
    try:
        return json.loads(to_json(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{argument}: expected what JSON can hold (numbers, texts, lists, dictionaries): {error}"
        ) from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a NumPy number or array
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is none of them")


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a .csv or .tsv file; ValueError with the file's name if it is none."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            rows = list(reader)
            return list(reader.fieldnames or []), rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a table in UTF-8: {error}") from None
