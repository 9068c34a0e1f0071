"""Room on the disk that the journal holds in advance, so that what was decided can be recorded on a disk that is full.

Theory of operation. A record is decided, applied and then written; one that finds no room could be neither taken back
nor answered. So blocks are reserved for the write-ahead log beyond its end (`fallocate`): no other file can take them.
As they are used more are reserved; where that fails, nothing new is begun, and what is under way fits into what is
held. The log's length as SQLite sees it stays as it is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import threading
from pathlib import Path

HELD_BYTES = 16 * 1024 * 1024
"""For what is under way when the disk fills: one commit and the one that gathers meanwhile."""
STEP_BYTES = 256 * 1024
KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Room:
    """The room of one write-ahead log. No file lock is touched: SQLite holds none on its log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._inode, self._end = 0, 0
        self._reserve = _fallocate()
        self._lock = threading.Lock()

    def lacks(self) -> str:
        """Hold the room anew where some was used, and return why it can't be held; empty: it is.

        Where the system or the file system knows no such reservation, as much has to be free on the disk.
        """
        with self._lock:
            try:
                found = os.stat(self._log)
            except OSError:  # no log yet: the first commit makes it
                return ""
            wanted = found.st_size + HELD_BYTES
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if most != resource.RLIM_INFINITY and wanted > most:
                return f"{self._log}: no file may be longer than {most} bytes: the disk counts as full: raise the limit"
            if found.st_ino == self._inode and wanted <= self._end:
                return ""
            fault = self._hold(wanted + STEP_BYTES) and self._hold(wanted)
            if fault and fault not in _FULL:
                fault = 0 if self._is_free() else errno.ENOSPC
            elif not fault:
                self._inode = found.st_ino
            return f"{self._log}: the disk is full ({os.strerror(fault)}): free space" if fault else ""

    def _is_free(self) -> bool:
        try:
            disk = os.statvfs(self._log)
        except OSError:  # the commit itself tells
            return True
        return disk.f_bavail * disk.f_frsize >= HELD_BYTES

    def _hold(self, end: int) -> int:
        """Reserve the log's blocks up to an end (byte), and return the error's number; 0: they are held."""
        if self._reserve is None:
            return errno.EOPNOTSUPP
        try:
            handle = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            return error.errno or errno.EIO
        try:
            while self._reserve(handle, KEEP_SIZE, 0, end):
                if (fault := ctypes.get_errno()) != errno.EINTR:
                    return fault
        finally:
            os.close(handle)
        self._end = end
        return 0


def _fallocate() -> ctypes._NamedFuncPointer | None:
    """Return Linux's `fallocate`, which reserves blocks beyond a file's end; None where the system has none."""
    system = ctypes.CDLL(None, use_errno=True)
    call = getattr(system, "fallocate64", None) or getattr(system, "fallocate", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        call.restype = ctypes.c_int
    return call
