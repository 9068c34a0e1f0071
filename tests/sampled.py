"""Cases of which `make test` runs the first ones, and `make long` the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Return all cases; those beyond the first `count` are for `make long`. A tuple is one case of several values."""
    return [case if at < count else rare(case) for at, case in enumerate(cases)]


def rare(case: Any) -> Any:
    """Return a case that `make long` alone runs."""
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
