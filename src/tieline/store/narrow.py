"""Who may read a data folder's files: its owner and its owner's group; no other account of the machine.

Records hold addresses, hashes of passwords and tokens that others gave us in clear. What Tieline writes is made 0640 or
narrower, and what stood wider is narrowed as a server starts; what others put there is named by `doctor`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FILE_MODE = 0o640
OURS = ("journal.*", "registry.*", "learnt.*", "lock", "tieline.toml", "resources.parquet", "readings/*", "historian/*")
"""What a server writes into its folder, by pattern; `journal.*` are the index's files and copies beside it too."""
PUBLIC = frozenset({".pem", ".crt", ".cer"})


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=opener)`: one that is made is narrow from its first byte. Raises OSError."""
    return os.open(path, flags, FILE_MODE)


def make_narrow(path: Path) -> None:
    """Make an empty file that no other account can read, where none is yet. Raises OSError.

    One that is there is not opened: to close it would end all locks that this process holds on it (fcntl(2)), and
    whoever closes a database next would take its log for nobody's, and delete it under a running server.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def narrow(folder: Path) -> list[Path]:
    """Narrow the files that Tieline wrote into a folder to 0640, and return those that were wider and are not now.

    A file of another account can't be narrowed and stays as it is: `readable_by_others` names it.
    """
    found = []
    for path in _ours(folder):
        with contextlib.suppress(OSError):  # gone meanwhile, or another account's
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & ~FILE_MODE:
                path.chmod(mode & FILE_MODE)
                found.append(path)
    return found


def readable_by_others(folder: Path) -> list[Path]:
    """Return the files of a folder that every account of the machine can read; a certificate is meant to be.

    None where the folder itself lets nobody else in.
    """
    if not folder.is_dir() or not folder.stat().st_mode & stat.S_IXOTH:
        return []
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & stat.S_IROTH and not _is_public(path):
                found.append(path)
    return found


def _ours(folder: Path) -> Iterator[Path]:
    for pattern in OURS:
        for path in folder.glob(pattern):
            inside = path.iterdir() if path.is_dir() and not path.is_symlink() else iter((path,))
            yield from (one for one in inside if one.is_file() and not one.is_symlink())


def _is_public(path: Path) -> bool:
    """Return whether a file holds certificates alone."""
    return path.suffix in PUBLIC and b"PRIVATE KEY" not in path.read_bytes()
