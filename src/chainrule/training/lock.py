"""One training process to a run folder: a lock that the operating system drops with its holder.

The lock is on an open file, `.lock`, in the folder. A killed process leaves the file but not the lock,
so nothing is ever to be cleaned up by hand; who ends in any other way removes the file too.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chainrule.errors import ChainruleError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK_NAME", "locked", "make_folder"]

LOCK_NAME = ".lock"
#: How a lock held by another process is reported.
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock for a block; the folder is made if need be.

    Raises `ChainruleError` at once if another process, or another thread of this one, holds it, and if
    the folder cannot be made. Where `folder` is a file, or files cannot be locked or written at all,
    the block runs without: what it does will say more.
    """
    make_folder(folder)
    file = _acquire(folder / LOCK_NAME)
    try:
        yield
    finally:
        if file is not None:
            # Removed while it is held: whoever opened it meanwhile sees that it is no longer the one there.
            with suppress(OSError):
                (folder / LOCK_NAME).unlink()
            os.close(file)


def make_folder(folder: Path) -> None:
    """Make a run folder where nothing is yet; `ChainruleError` if that cannot be."""
    if folder.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChainruleError(
            f"{folder} could not be made ({error.strerror}); choose another --out."
        ) from None


def _acquire(path: Path) -> int | None:
    """The open, locked file; None where there can be no lock."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            _lock(file)
        except OSError as error:
            holder = _noted_holder(file)
            os.close(file)
            if error.errno not in _HELD:
                return None  # a file system without locks
            raise ChainruleError(
                f"another process{holder} is training in {path.parent} now; "
                "wait until it ends, or choose another --out."
            ) from None
        if _is_still_there(file, path):
            with suppress(OSError):
                os.truncate(file, 0)
                os.write(file, str(os.getpid()).encode())
            return file
        os.close(file)  # its last holder has removed it since it was opened


def _lock(file: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_still_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _noted_holder(file: int) -> str:
    """` (process 123)`, if the holder has written its number."""
    try:
        number = os.read(file, 20)
    except OSError:
        return ""
    return f" (process {int(number)})" if number.isdigit() else ""
