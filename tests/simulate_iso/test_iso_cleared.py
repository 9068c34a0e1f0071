"""What the ISO cleared without: told to the desk once its day is cleared, and of no other day or offer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from iso_desk import ScheduleDesk
from msgspec.structs import replace
from test_iso_dispatch import CHICAGO, DAY, START_NS, Scene, offers, play

from tieline.desk.ports import Award, Offer, Segment, Session
from tieline.resource.claim import Refusal
from tieline.times import MINUTE_NS, market_day
from tieline.wire.ads import messages as ads
from tieline.wire.ads.errors import Fault

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


def test_an_award_that_the_iso_adds_to_a_day_that_was_read_is_taken_within_two_looks() -> None:
    async def act(scene: Scene) -> None:
        made = dear(offers(DAY))
        scene.desk.offered = made
        await scene.link.submit(made)
        await scene.until(CLEARED_NS)
        rows, late = scene.market.awards[DAY], made[-1]
        assert late.id in scene.desk.without and len(scene.desk.got) == 12
        added = replace(rows[-1], award_uid="added", bid_uid=late.id, hour_ending=24, mw=1.5)
        scene.market.awards[DAY] = (*rows, added)
        await scene.until(CLEARED_NS + 2 * MINUTE_NS)
        assert len(scene.desk.got) == 13
        (award,) = [each for each in scene.desk.got if each.id == "added"]
        assert (award.offer, award.start_ns, award.power_w) == (late.id, late.start_ns, 1.5e6)

    play(act)


class Counting(ScheduleDesk):
    """Counts how often it is brought awards, and of how many."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[int] = []

    async def awards(self, awards: Sequence[Award], frame: str) -> list[Refusal | None]:
        self.brought.append(len(awards))
        return [Refusal("not ours", "offer", each.offer) for each in awards]


def test_a_day_that_was_read_is_asked_for_once_a_minute_until_it_is_over_and_what_is_known_is_brought_once() -> None:
    """Its awards are all refused by the desk: that is said once, and not at each look."""

    async def act(scene: Scene) -> None:
        scene.link._inlet = desk = Counting()
        asked: list[tuple[date, int]] = []
        carry_out = scene.app._carry_out

        def noted(call: ads.Message) -> ads.Message:
            if isinstance(call, ads.GetAwards):
                asked.append((call.market_date, scene.clock.now_ns()))
            return carry_out(call)

        scene.app._carry_out = noted
        await scene.link.submit(offers(DAY))
        over = market_day(DAY, CHICAGO)
        await scene.until(over.end_ns + 30 * MINUTE_NS)
        assert desk.brought == [24]
        assert scene.link.health().refused >= 24 and scene.link.health().session is Session.LIVE
        at = [when for day, when in asked if day == DAY and when >= CLEARED_NS]
        assert over.end_ns - 2 * MINUTE_NS < at[-1] < over.end_ns, "it is asked for until its delivery is over"
        assert min(b - a for a, b in pairwise(at)) >= MINUTE_NS

    play(act)


def test_an_iso_that_refuses_to_show_a_day_again_or_is_busy_then_keeps_no_dispatch_waiting() -> None:
    async def act(scene: Scene) -> None:
        await scene.link.submit(offers(DAY))
        over = market_day(DAY, CHICAGO)
        await scene.until(over.start_ns - 5 * MINUTE_NS)
        assert len(scene.desk.got) == 24
        carry_out, shut = scene.app._carry_out, 0

        def closed(call: ads.Message) -> ads.Message:
            nonlocal shut
            if isinstance(call, ads.GetAwards) and call.market_date == DAY:
                shut += 1
                if shut % 2:
                    scene.faults.ask("busy")
                raise Fault("1018", "no awards now")
            return carry_out(call)

        scene.app._carry_out = closed
        await scene.until(over.start_ns + 60 * MINUTE_NS)
        assert 30 < shut <= 66, "as often as before, and no oftener"
        answered = [uid for uid in scene.market.batches if uid in scene.market.seen.replies]
        assert len(answered) >= 12
        assert scene.link.health().session is Session.LIVE
        scene.app._carry_out = carry_out
        rows = scene.market.awards[DAY]
        scene.market.awards[DAY] = (*rows, replace(rows[-1], award_uid="added"))
        await scene.until(over.start_ns + 63 * MINUTE_NS)
        assert "added" in {each.id for each in scene.desk.got}

    play(act)
