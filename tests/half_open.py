"""A server whose first connection is half open: it takes the call and never answers it."""

import asyncio
from typing import Any


class HalfOpen:
    """An ASGI app before another: the first call hangs, those after it reach the other. `calls` counts all."""

    def __init__(self, app: Any) -> None:
        self.app, self.calls = app, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        if self.calls == 1:
            await asyncio.Event().wait()
        await self.app(scope, receive, send)
