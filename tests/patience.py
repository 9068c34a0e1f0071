"""Waiting for what comes with a later beat, commit or message: for the thing itself, never for a length of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

# Who waits for the thing itself loses no time by a long patience; it is only spent where the thing never comes.
PATIENCE_S = 120.0


def seen(ask: Callable[[], Any], holds: Callable[[Any], object], what: str, every_s: float = 0.1) -> Any:
    """Ask until what is answered holds and return that answer; else fail with the answer that was seen last."""
    end = time.monotonic() + PATIENCE_S
    while not holds(last := ask()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_S:g} s, last seen was {last!r}"
        time.sleep(every_s)
    return last


async def until(ask: Callable[[], Awaitable[Any]], what: str, every_s: float = 0.1) -> Any:
    """Ask until the answer is true and return it; else fail with the answer that was seen last."""
    end = time.monotonic() + PATIENCE_S
    while not (last := await ask()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE_S:g} s, last seen was {last!r}"
        await asyncio.sleep(every_s)
    return last
