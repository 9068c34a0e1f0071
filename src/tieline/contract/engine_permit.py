"""What an operator gives of his backup engines: their permits with yearly hours, and orders that are in force.

A rule that lets an engine run under an executive order does so within its air permit: an engine whose permit nobody
gave is not called, and an order holds in its place and days alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from tieline.contract.eligibility import Order
from tieline.contract.engine_hours import HourLimit, HourRule
from tieline.contract.jurisdiction import jurisdictions
from tieline.contract.strict import Instant, Name
from tieline.times import iso, to_ns

YEAR_H = 8_784.0


class Permit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The air permit of some engines: each may run so many hours a calendar year for the uses of each limit."""

    id: Name
    version: str
    source: str
    resources: Annotated[tuple[Name, ...], Meta(min_length=1)]
    limits: Annotated[tuple[HourLimit, ...], Meta(min_length=1)]

    @property
    def rule(self) -> HourRule:
        """Its limits as a rule of hours."""
        return HourRule(self.id, self.version, self.source, "permit", self.limits)


class OrderInForce(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An executive order that permits prohibited resources in a jurisdiction over [starts, ends)."""

    id: Name
    source: str
    jurisdiction: str
    starts: Instant
    ends: Instant
    names_disadvantaged: bool = False

    @property
    def says(self) -> Order:
        """Return what it says, in the word of the rules of eligibility."""
        return "permits_disadvantaged" if self.names_disadvantaged else "permits"


def order_over(orders: Sequence[OrderInForce], jurisdiction: str, start_ns: int, end_ns: int) -> Order:
    """Return what an order says that is in force through all of [start, end); "": none is.

    Where several are, the one that says most.
    """
    said = [
        one.says
        for one in orders
        if one.jurisdiction == jurisdiction and to_ns(one.starts) <= start_ns and end_ns <= to_ns(one.ends)
    ]
    return max(said, key=len, default="")


def faults(permits: Sequence[Permit], orders: Sequence[OrderInForce]) -> Iterator[str]:
    """Yield what is wrong with permits and orders, each as `path = value: what to give`."""
    of: dict[str, str] = {}
    for at, permit in enumerate(permits):
        for place, limit in enumerate(permit.limits):
            path = f"$.permits[{at}].limits[{place}]"
            if not 0 <= limit.hours <= YEAR_H:
                yield f"{path}.hours = {limit.hours:g}: give 0 to {YEAR_H:g}"
            if not limit.uses:
                yield f"{path}.uses = []: give one at least"
        for resource in permit.resources:
            if resource in of:
                yield f"$.permits[{at}].resources = {resource!r}: {of[resource]} has it: give each engine one permit"
            of[resource] = permit.id
    for at, order in enumerate(orders):
        if order.jurisdiction not in jurisdictions():
            yield f"$.orders[{at}].jurisdiction = {order.jurisdiction!r}: give one of {', '.join(jurisdictions())}"
        if order.ends <= order.starts:
            yield f"$.orders[{at}].ends = {iso(to_ns(order.ends))}: give one after starts"
