"""A small desk behind the DNP3 outstation under test: keeps claims as the port's words say, and shows what holds."""

import asyncio

from tieline.desk.ports import Ask, Granted, GroupView, Measured, Snapshot
from tieline.errors import LinkDown
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.resource.selects import Selects
from tieline.times import SECOND_NS

START_NS = 1_626_000_000 * SECOND_NS


class SmallDesk:
    """Admits asks below a cap, keeps the newest of each (source, program, resource), and answers with revisions."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.asks: list[Ask] = []
        self.claims: dict[tuple[str, str, str], Ask] = {}
        self.refusals: list[tuple[str, str, str]] = []
        self.withdrawn: list[tuple[str, str, str]] = []
        self.why: list[str] = []
        self.why: list[str] = []
        self.revision = 1
        self.refusing: Refusal | None = None
        self.fail = False
        self.delay_s = delay_s
        self.selects = Selects()

    def select(
        self, source: str, resource: str, quantity: Quantity, level: Level, lease_s: float = 5.0
    ) -> Refusal | None:
        now_ns = int(asyncio.get_running_loop().time() * SECOND_NS)
        return self.selects.take((source.partition(":")[0], resource, quantity, level), source, now_ns, lease_s)

    def deselect(self, source: str) -> int:
        return self.selects.release(source)

    async def ask(self, ask: Ask) -> Granted | Refusal:
        await asyncio.sleep(self.delay_s)
        if self.fail:
            raise LinkDown("journal is away")
        self.asks.append(ask)
        if self.refusing:
            return self.refusing
        self.claims[ask.source, ask.program, ask.resource] = ask
        self.revision += 1
        return Granted(f"claim:{len(self.asks)}", self.revision)

    async def refuse(self, ask: Ask, refusal: Refusal) -> None:
        self.refusals.append((ask.resource, ask.program, refusal.value))

    async def withdraw(
        self, source: str, program: str, resource: str, quantity: Quantity, frame: str, why: str = "withdrawn"
    ) -> bool:
        self.withdrawn.append((source, program, resource))
        self.why.append(why)
        self.why.append(why)
        return self.claims.pop((source, program, resource), None) is not None

    def bounds(self, resource: str, now_ns: int) -> tuple[float, float]:
        live = [c for c in self.claims.values() if c.resource == resource and c.end_ns > now_ns]
        limits = [c for c in live if c.kind is ClaimKind.LIMIT]
        return max((c.low for c in limits), default=-5e6), min((c.high for c in limits), default=5e6)

    def snapshot(self, power_w: float = 1e6, quality: Quality = Quality.GOOD, now_ns: int = START_NS) -> Snapshot:
        groups = []
        for resource in ("pool:north", "pool:south"):
            low, high = self.bounds(resource, now_ns)
            values = {
                "power_w": Measured(power_w, quality, now_ns),
                "available_up_w": Measured(2e6, Quality.GOOD, now_ns),
                "limit_low_w": Measured(low, Quality.GOOD, now_ns),
                "limit_high_w": Measured(high, Quality.GOOD, now_ns),
                "soc_frac": Measured(0.5, Quality.GOOD, now_ns),
                "is_connected": Measured(1.0, Quality.GOOD, now_ns),
            }
            groups.append(GroupView(resource, resource, values))
        return Snapshot(self.revision, now_ns, tuple(groups))
