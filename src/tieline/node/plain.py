"""A result as JSON can hold it, whoever reads it: equal runs compare equal, which NaN never does."""

from __future__ import annotations

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return a value as JSON can hold it: what is no number (NaN, inf) becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, tuple):
        return tuple(finite(item) for item in value)
    return value
