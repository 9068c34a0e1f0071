"""Functions compiled to machine code, kept on disk where there is a place for it.

The compiler is loaded by the first call: it takes over a second, which a verb that calls none of them need not spend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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


def compiled_by(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes a function one that numba compiles with options of its own, without the interpreter's lock."""
    return lambda function: _Compiled(function, options)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    return _Compiled(function, options)


class _Compiled:
    """Stands for a function until it is called or another that calls it is compiled."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        self._made: Any = None
        self.__doc__ = function.__doc__

    def __call__(self, *values: Any) -> Any:
        return (self._made or self._make())(*values)

    def _make(self) -> Any:
        """Return numba's function; from now on its module calls that itself, and so do those that it calls.

        numba knows its own functions alone among the globals that compiled code names.
        """
        if self._made is None:
            self._made = _dispatcher(self._function, self._options)
            names = self._function.__globals__
            for name in (self._function.__name__, *self._function.__code__.co_names):
                if isinstance(named := names.get(name), _Compiled):
                    names[name] = named._make()
        return self._made


def _dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    from numba import njit

    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba found no folder that it could write to
        return njit(nogil=True, **options)(function)
