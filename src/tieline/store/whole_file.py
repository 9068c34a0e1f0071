"""A file that is asked for is written whole, or the former one stays as it is; names in a folder are made durable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tieline.errors import ConfigError


def sync_folder(folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole(path: Path, option: str = "--out") -> Iterator[Path]:
    """Yield where to write; what was written takes the place of `path` once it is durable.

    Raises:
        ConfigError: A full disk, or a folder that may not be written; it names the option.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with part.open("rb") as made:
            os.fsync(made.fileno())
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
