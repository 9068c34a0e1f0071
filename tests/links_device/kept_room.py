"""A journal for links that keep what owners had set, which outlives each server of ours."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from tieline.errors import LinkDown
from tieline.flow.record import Record


@dataclass
class Records:
    """A journal that takes its time; what is on its way as its server dies is not kept. `is_down`: it is away."""

    kept: list[Record] = field(default_factory=list)
    takes_s: float = 0.05
    is_down: bool = False

    def ready(self) -> None:
        if self.is_down:
            raise LinkDown("away")

    async def append(self, records: list[Record]) -> int:
        await asyncio.sleep(self.takes_s)
        self.kept += records
        return len(self.kept)

    def of_kind(self, kind: str) -> Iterator[Record]:
        return iter([record for record in self.kept if record.kind == kind])
