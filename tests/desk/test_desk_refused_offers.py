"""A refused offer leaves its reservation's refusal alone: its trace leads to nothing that was never recorded."""

from __future__ import annotations

import asyncio

from desk_stage import Stage1, fleet_of

from tieline.desk.ports import Offer, Segment
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS


def test_every_cause_that_a_record_of_an_offer_names_is_in_the_journal() -> None:
    async def play() -> list:
        stage = Stage1(fleet_of([Kind.BATTERY] * 3))
        start_ns = stage.clock.ns + HOUR_NS
        for name, power_w in (("kept", 4_000.0), ("too much", 1e7)):
            await stage.desk.offer(
                [Offer(name, "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, (Segment(power_w, 50.0),))]
            )
        return stage.journal.records

    records = asyncio.run(play())
    known = {record.id for record in records}
    assert len(records) == 3
    assert {cause for record in records for cause in record.caused_by} <= known
