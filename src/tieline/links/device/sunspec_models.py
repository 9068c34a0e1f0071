"""The SunSpec model definitions, read from the installed package that carries them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tieline.errors import ConfigError
from tieline.wire.sunspec.models import Model, parse_model


@cache
def model(number: int) -> Model:
    """Return a model by its number. Raises ConfigError where the package has no such model."""
    return parse_model(definition(number))


@cache
def definition(number: int) -> str:
    """Return a model's JSON definition. Raises ConfigError where the package has no such model."""
    spec = find_spec("sunspec2")
    if spec is None or spec.origin is None:
        raise ConfigError("SunSpec models are missing: install pysunspec2")
    path = Path(spec.origin).parent / "models" / "json" / f"model_{number}.json"
    if not path.exists():
        raise ConfigError(f"SunSpec model {number} is not in {path.parent}")
    return path.read_text(encoding="utf-8")
