"""The lock of a data folder: one server, or one import, at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tieline.errors import ConfigError
from tieline.store.narrow import opener


class FolderLock:
    """Holds a data folder for one server; a second one is told who holds it."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: Another process holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / "lock", "a+", encoding="utf-8", opener=opener)  # noqa: SIM115  held for the life of the process
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise ConfigError(f"{folder}: in use by {holder}: stop it, or give another --data folder") from error
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        """Give the folder back."""
        self._file.close()


def held_since_ns(folder: Path) -> int | None:
    """Return since when a process holds a data folder (ns, by the clock of files); None: nobody. Nothing is taken."""
    try:
        with open(folder / "lock", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
    return None
