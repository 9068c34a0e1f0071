"""The id by which a data folder signs in at a broker: the same over restarts, and no other folder's.

A broker knows a client by its id alone and ends the session of whoever had it before (MQTT 3.1.1, 3.1.4). So no two
desks may come by one that nobody set. A folder keeps a random text of its own; where it lies counts too, as the copy
of a folder is another desk.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.store.whole_file import sync_folder, whole

FILE = "broker-id"
_LETTERS = 16  # with `tieline` before them 23, which every broker must take (3.1.3.1): 80 bits


def client_id_of(folder: Path, link: str) -> str:
    """Return the client id of a folder's link by its name: 23 of a-z and 0-9. The first call writes the folder's file.

    Raises:
        ConfigError: The file can't be read or written.
    """
    own = derive("broker", _text_of(folder / FILE), str(folder.resolve()), link).partition(":")[2]
    return f"tieline{own[:_LETTERS]}"


def _text_of(path: Path) -> bytes:
    """Return what the file holds; any text will do. One that isn't there, or is empty, is written."""
    try:
        return (path.read_bytes() if path.exists() else b"") or _written(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: let the server read and write it") from None


def _written(path: Path) -> bytes:
    text = f"{secrets.token_hex(16)}\n"
    with whole(path, "file") as part, open(part, "w", encoding="utf-8", opener=_private) as file:
        file.write(text)
    sync_folder(path.parent)
    return text.encode()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
