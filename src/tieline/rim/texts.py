"""Text files that people write, by whatever editor."""

from __future__ import annotations

import codecs
from pathlib import Path

from tieline.errors import ConfigError

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_in(path: Path) -> str:
    """Return the text of a file: UTF-8, with or without the byte order mark that some editors put first.

    Raises:
        ConfigError: It is no UTF-8: names the file, the line, and what to do.
        OSError: It can't be read.
    """
    octets = path.read_bytes()
    if octets.startswith(_WIDE):
        raise ConfigError(f"{path}: is UTF-16: save it as UTF-8")
    try:
        return octets.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: line {line}: byte {octets[error.start]:#04x} is not UTF-8: save it as UTF-8"
        ) from None
