"""A desk whose devices are under contract: one owner each, who agreed to some products."""

from __future__ import annotations

from desk_stage import START_NS, Stage1, fleet_of

from tieline.contract.party import Contracts, parse_contracts
from tieline.desk.agreed import Agreements
from tieline.desk.consents import decide_agreed, decide_word
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind

PRODUCTS = ("energy", "demand_response", "peak")
NEW = "b" * 64


def evidence_of(row: int) -> str:
    return f"{row:064x}"


def book(count: int, terms: str = "", products: tuple[str, ...] = PRODUCTS) -> Contracts:
    """Contracts of so many devices r0, r1, ...: `terms` are lines of TOML beside those that all have."""
    listed = ", ".join(f'"{one}"' for one in products)
    text = '[[party]]\nid = "u"\nroles = ["utility", "retailer"]\n[[party]]\nid = "o"\nroles = ["owner", "customer"]\n'
    for n in range(count):
        text += f"""
[[location]]
id = "r{n}"
customer = "o"
utility = "u"
retailer = "u"
account = "A-{n}"
meter = "M-{n}"
jurisdiction = "US-TX"
[[contract]]
id = "c{n}"
owner = "o"
manager = "u"
locations = ["r{n}"]
[[contract.terms]]
version = 1
effective_from = 2023-01-01T00:00:00Z
effective_to = 2024-01-01T00:00:00Z
products = [{listed}]
currency = "USD"
owner_share_frac = 0.8
{terms}
[[contract.consents]]
products = [{listed}]
granted_at = 2023-01-01T00:00:00Z
evidence_sha256 = "{evidence_of(n)}"
[contract.termination]
notice_days = 30
"""
    return parse_contracts(text, "contracts.toml")


class Agreed(Stage1):
    """A desk over batteries, all or the first of them under contract."""

    def __init__(
        self, count: int = 4, covered: int | None = None, terms: str = "", serves_others: bool = False, **more: object
    ) -> None:
        super().__init__(fleet_of([Kind.BATTERY] * count))
        self.book = book(count if covered is None else covered, terms)
        self.state.agreed = Agreements(self.book, self.state.fleet, "UTC", serves_others=serves_others, **more)  # type: ignore[arg-type]
        self.state.agreed.tick(START_NS)
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = float("inf")

    async def says(self, contract: str, *products: str, evidence: str | None = None) -> Refusal | None:
        """Let an owner take consent back, or give it anew, and let the desk decide what follows."""
        entries, refusal = decide_word(self.state, contract, products, evidence, "olga", "moves out", self.clock.ns)
        await self.desk.commit(entries)
        await self.beat()
        return refusal

    async def beat(self) -> None:
        """What a beat does of contracts, and the settlement that follows."""
        await self.desk.commit(decide_agreed(self.state, self.clock.ns))
        await self.desk.settle()
