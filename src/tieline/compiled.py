"""Functions compiled to machine code, kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function that numba compiles at its first call: without Python objects, without the interpreter's lock.

    What it made is kept beside the code, else in the account's own cache, or where `NUMBA_CACHE_DIR` says. An account
    that may write none of them, as a service often may not, compiles anew at each start.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that it could write to
        return njit(nogil=True)(function)
