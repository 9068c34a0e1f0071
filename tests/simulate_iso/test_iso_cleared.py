"""What the ISO cleared without: told to the desk once its day is cleared, and of no other day or offer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from iso_desk import ScheduleDesk
from msgspec.structs import replace
from test_iso_dispatch import DAY, START_NS, Scene, offers, play

from tieline.desk.ports import Award, Offer, Segment
from tieline.resource.claim import Refusal
from tieline.times import MINUTE_NS

DEAR = (Segment(1e6, 9_000.0),)
GATE_NS, CLEARED_NS = START_NS + 15 * MINUTE_NS, START_NS + 47 * MINUTE_NS


def dear(day_offers: Sequence[Offer]) -> list[Offer]:
    """Each second of a day's offers so dear that no market takes it."""
    return [replace(one, segments=DEAR) if n % 2 else one for n, one in enumerate(day_offers)]


def test_offers_that_a_day_was_cleared_without_are_told_and_those_of_other_days_and_pools_are_not() -> None:
    tomorrow = offers(DAY + timedelta(days=1))
    other = [replace(one, id=f"{one.id}-south", pool="pool:south") for one in offers(DAY)]

    async def act(scene: Scene) -> None:
        made = dear(offers(DAY))
        scene.desk.offered = [*made, *tomorrow, *other]
        assert await scene.link.submit(made) == [None] * 24
        await scene.until(GATE_NS)
        assert scene.desk.without == [], "the day is not cleared yet"
        await scene.until(CLEARED_NS)
        assert {award.offer for award in scene.desk.got} == {one.id for one in made[::2]}
        assert scene.desk.without == [one.id for one in made[1::2]]

    play(act)


def test_an_offer_that_the_iso_names_in_a_row_that_was_refused_keeps_what_it_holds() -> None:
    async def act(scene: Scene) -> None:
        made = dear(offers(DAY))
        scene.desk.offered = made
        await scene.link.submit(made)
        await scene.until(scene.market.clears_ns(DAY))
        scene.market.advance()
        row = scene.market.awards[DAY][0]
        scene.market.awards[DAY] = (replace(row, resource="TL_ELSEWHERE"), *scene.market.awards[DAY][1:])
        await scene.until(CLEARED_NS)
        assert row.bid_uid not in {award.offer for award in scene.desk.got}
        assert row.bid_uid not in scene.desk.without and len(scene.desk.without) == 12

    play(act)


class Busy(ScheduleDesk):
    """Makes another offer while it takes the awards of those before."""

    async def awards(self, awards: Sequence[Award], frame: str) -> list[Refusal | None]:
        self.offered.append(replace(self.offered[0], id="late"))
        return await super().awards(awards, frame)


def test_what_is_offered_while_the_market_is_asked_is_none_of_what_it_cleared() -> None:
    async def act(scene: Scene) -> None:
        scene.link._inlet = busy = Busy()
        busy.offered = dear(offers(DAY))
        await scene.link.submit(busy.offered)
        await scene.until(CLEARED_NS)
        assert len(busy.without) == 12 and "late" not in busy.without

    play(act)
