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
    return _compiled(function, error_model="python")


def compiled_unchecked(function: Callable[..., Any]) -> Any:
    """Return a function compiled into those that call it, in which a division by zero gives what numpy gives.

    Twice as fast where a step of a few dozen nanoseconds is spread over functions that divide: neither the check nor
    the call stands in the way of the rest. The caller sees to the divisors.
    """
    return _compiled(function, error_model="numpy", forceinline=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba found no folder that it could write to
        return njit(nogil=True, **options)(function)
