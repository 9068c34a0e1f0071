"""The tools agree on the house before anything is built in it."""

from typing import Any

import numba
import pytest

import tieline
from tieline.compiled import compiled


def test_the_package_has_a_version() -> None:
    assert tieline.__version__


def test_what_is_compiled_runs_where_numba_may_keep_nothing_on_disk() -> None:
    """A function of no file has no place for a cache, as one of a service that may not write has none."""
    made: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return 2.0 * x\n", "<nowhere>", "exec"), made)
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(made["twice"])
    assert compiled(made["twice"])(21.0) == 42.0
