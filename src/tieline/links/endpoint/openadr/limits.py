"""How much a caller may ask of the VTN: requests a second, bytes a body, objects of its own."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct
from starlette.requests import Request

MOST_CALLERS = 100_000


class VtnLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a VTN; rates are a second, `burst` is what may come at once."""

    body_bytes: int = 256 * 1024
    rate_per_s: float = 50.0
    burst: float = 500.0
    token_rate_per_s: float = 1.0
    token_burst: float = 20.0
    page: int = 50
    own_objects: int = 1_000
    own_subscriptions: int = 20


class TooLarge(ValueError):
    """A body beyond the limit; nothing of it was kept."""


class Buckets:
    """One bucket of turns for each caller; who has used up its own waits, and nobody else does."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, now_s: float) -> float:
        """Take a turn and return 0; or return how long to wait for the next (s)."""
        # Popped and put back at the end, so that the oldest caller is first when there are too many.
        turns, at_s = self._held.pop(caller, (self._burst, now_s))
        turns = min(turns + (now_s - at_s) * self._rate_per_s, self._burst)
        has_turn = turns >= 1.0
        self._held[caller] = (turns - has_turn, now_s)
        if len(self._held) > MOST_CALLERS:
            self._held.popitem(last=False)
        return 0.0 if has_turn else (1.0 - turns) / self._rate_per_s


async def read_body(request: Request, most: int) -> bytes:
    """Return a body. Raises TooLarge as soon as it is, or says that it will be, without taking in the rest."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > most:
        raise TooLarge(f"over {most} bytes: give at most that many")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(f"over {most} bytes: give at most that many")
        parts.append(part)
    return b"".join(parts)
