"""One figure as `tieline bench` prints it: what was measured, on what machine, under what load."""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys
from collections.abc import Callable
from types import ModuleType

import structlog

import tieline.bench
from tieline.errors import ConfigError

_NOT_BENCHES = frozenset({"figure"})


def names() -> list[str]:
    """Return the names of all benches."""
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(tieline.bench.__path__)
        if module.name not in _NOT_BENCHES and not module.name.startswith("_")
    )


def module(name: str) -> ModuleType:
    """Return the module of a bench.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in names():
        raise ConfigError(f"bench {name!r} is unknown: give one of {', '.join(names())}")
    return importlib.import_module(f"tieline.bench.{name.replace('-', '_')}")


def machine() -> str:
    """Return processor, cores, memory and Python, in one line."""
    model = platform.processor() or platform.machine()
    memory_gib = 0.0
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        pass
    return f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def measure(name: str, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Run a bench and return its figure with bar, machine, load and seed."""
    bench = module(name)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))  # standard output is the figure's
    load = os.getloadavg()[0]
    result: dict[str, object] = bench.run(seed=seed, quick=quick, progress=progress)
    head: dict[str, object] = {
        "bench": name,
        "what": bench.WHAT,
        "value": result.pop("value"),
        "unit": bench.UNIT,
        "bar": bench.BAR,
        "ok": result.pop("ok"),
        "seed": seed,
        "quick": quick,
        "machine": machine(),
        "load": round(load, 2),
    }
    return head | result
