"""What a room shows to a notebook: names that load the module they live in when they are first asked for.

`import tieline.plan` stays free of numpy and numba, and `from tieline.plan import plan_pool` works all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(room: str, names: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a room's `__getattr__` and `__dir__`.

    Args:
        room: The package, such as `tieline.plan`.
        names: What each name stands for: `module` (of the room, the same name in it) or `module:name`.

    >>> get, _ = lazily("tieline", {"ConfigError": "errors", "Interval": "times:Interval"})
    >>> get("ConfigError").__name__, get("Interval").__name__
    ('ConfigError', 'Interval')
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"{room} has no {name}: it has {', '.join(sorted(names))}, and its modules")
        module, _, inside = names[name].partition(":")
        return getattr(import_module(f"{room}.{module}"), inside or name)

    def listed() -> list[str]:
        return sorted(names)

    return get, listed
