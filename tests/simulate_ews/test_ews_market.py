"""Offers, awards and instructions over signed SOAP: what becomes of them, and of the market's faults."""

import asyncio
import itertools
from datetime import date, datetime

import numpy as np
import pytest
from ews_scene import CHICAGO, DAY, POOL, Scene, offers, play
from msgspec.structs import replace

from sampled import some
from tieline.desk.ports import Offer, Segment
from tieline.desk.ports import Session as LinkSession
from tieline.errors import PeerError
from tieline.links.grid.ews_offers import sold_as
from tieline.links.grid.ews_settings import EwsPool
from tieline.market.award import price_dispute
from tieline.resource.claim import Refusal
from tieline.simulate.iso import market as iso_market
from tieline.simulate.iso.faults import FaultMenu
from tieline.times import HOUR_NS, MINUTE_NS, market_day, to_ns

REPORTED_HE18 = 1395.54
"""HB_NORTH, 2021-06-15, HE18, $/MWh: ERCOT report 13060."""
BEGINS_NS = market_day(DAY, CHICAGO).start_ns


def five_pm(scene: Scene) -> tuple[float, float]:
    at_ns = to_ns(datetime(2021, 6, 15, 17, tzinfo=CHICAGO))
    (award,) = [each for each in scene.desk.got if each.start_ns == at_ns]
    return award.power_w, award.price_per_mwh


@pytest.mark.parametrize("how", ["energy-only", "three-part"])
def test_offers_clear_on_real_prices_and_become_awards_in_watts_and_utc(how: str) -> None:
    """Sold from no resource an award bears its price; sold from one it has that of the settlement point."""

    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS)

    pools = {POOL: {"resource": "TL_NORTH", "settlement_point": "HB_NORTH", "energy": how}}
    scene = play(act, pools=pools)
    assert len(scene.desk.got) == 24
    assert [a.start_ns for a in sorted(scene.desk.got, key=lambda a: a.start_ns)] == [
        h.start_ns for h in market_day(DAY, CHICAGO).steps(HOUR_NS)
    ]
    power_w, price = five_pm(scene)
    assert power_w == 5e6
    # 5 MW taken at 0.02 % a MW lower the clearing price by 0.1 %; the settlement point's own price is the report's.
    assert price == pytest.approx(REPORTED_HE18 * (1 if how == "three-part" else 1 - 0.0002 * 5), abs=0.006)
    by_id = {offer.id: offer for offer in scene.desk.offered}
    assert all(by_id[award.offer].start_ns == award.start_ns for award in scene.desk.got)


@pytest.mark.parametrize("how", ["energy-only", "three-part"])
@pytest.mark.parametrize("errs", [False, True])
def test_an_award_has_the_price_that_the_market_tells_also_where_our_offer_rules_it_out(
    how: str, errs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market that clears rightly gives no cause for a dispute; one that errs takes all of what is far too dear."""
    if errs:
        monkeypatch.setattr(iso_market, "clear", lambda curve, price: (sum(mw for mw, _ in curve), price))
    asks = 9_000.0 if errs else -100.0

    async def act(scene: Scene) -> None:
        hours = market_day(DAY, CHICAGO).steps(HOUR_NS)
        curve = (Segment(1e6, asks), Segment(1e6, asks + 100.0))
        await scene.offer([Offer(f"o{h.start_ns}", POOL, "ENERGY", h.start_ns, h.end_ns, curve) for h in hours])
        await scene.until(BEGINS_NS)

    pools = {POOL: {"resource": "TL_NORTH", "settlement_point": "HB_NORTH", "energy": how}}
    scene = play(act, pools=pools)
    by_id = {offer.id: offer for offer in scene.desk.offered}
    found = [price_dispute(award, by_id[award.offer]) for award in scene.desk.got]
    assert len(found) > 12
    assert [one is not None for one in found] == [errs] * len(found)


@pytest.mark.parametrize(("day", "hours"), [(date(2021, 3, 14), 23), (date(2021, 11, 7), 25)])
def test_a_day_has_as_many_awards_as_hours(day: date, hours: int) -> None:
    begins_ns = market_day(day, CHICAGO).start_ns

    async def act(scene: Scene) -> None:
        await scene.offer(offers(day))
        await scene.until(begins_ns)

    awards = play(act, start_ns=begins_ns - 75 * MINUTE_NS).desk.got
    assert len({award.start_ns for award in awards}) == hours
    assert len({award.offer for award in awards}) == hours
    assert {award.end_ns - award.start_ns for award in awards} == {HOUR_NS}


@pytest.mark.parametrize(("product", "share"), [("NSPIN", 0.1), ("ECRS", 0.1), ("RRS", 0.1)])
def test_a_load_resource_sells_reserve_at_its_own_clearing_price(product: str, share: float) -> None:
    """The emulator clears a reserve at a tenth of the hour's energy price: 139.55 $/MW at five in the afternoon."""

    async def act(scene: Scene) -> None:
        await scene.offer(offers(DAY, price=2.0, product=product))
        await scene.until(BEGINS_NS)

    scene = play(act)
    assert {award.product for award in scene.desk.got} == {product}
    power_w, price = five_pm(scene)
    assert (power_w, price) == (4e6, pytest.approx(REPORTED_HE18 * share, abs=0.006))


def test_a_late_or_crooked_offer_is_refused_by_row_and_the_others_stand() -> None:
    async def act(scene: Scene) -> None:
        good, *rest = offers(DAY)
        hour = 3600 * 10**9
        crooked = [
            replace(rest[0], segments=(Segment(1.23e5, 5.0),)),
            replace(rest[1], segments=(Segment(1e6, 5.001),)),
            replace(rest[2], segments=(Segment(1e6, 50.0), Segment(1e6, 20.0))),
            replace(rest[3], segments=tuple(Segment(1e5, float(k)) for k in range(6))),
            replace(rest[4], pool="pool:elsewhere"),
            replace(rest[5], product="INERTIA"),
            replace(rest[6], end_ns=rest[6].end_ns + hour),
            replace(rest[7], start_ns=rest[7].start_ns + 60, end_ns=rest[7].end_ns + 60),
        ]
        answers = await scene.link.submit([good, *crooked])
        assert answers[0] is None
        fields = [answer.field for answer in answers[1:] if answer is not None]
        assert fields == ["power_w", "price_per_mwh", "segments", "segments", "pool", "product", "end_ns", "start_ns"]
        late = await scene.link.submit(offers(date(2021, 6, 14)))
        assert {answer.reason.split(" at ")[0] for answer in late if answer is not None} == {"the gate closed"}
        assert len(late) == 24 and None not in late

    play(act)


def test_an_offer_that_is_refused_after_all_is_given_back_to_the_desk() -> None:
    """The market answers in three seconds; this one waits for one, and hears of the refusal from a poll."""

    async def act(scene: Scene) -> None:
        scene.market._accept_ns = 15 * 10**9
        late = offers(date(2021, 6, 14))[-1]
        assert await scene.link.submit([late]) == [None]
        assert scene.desk.without == []
        await asyncio.sleep(60)
        assert scene.desk.without == [late.id]
        assert "gate closed" in scene.link.health().last_error

    play(act, accept_s=1.0)


def test_offers_are_asked_for_and_withdrawn_by_their_keys_while_the_gate_is_open() -> None:
    async def act(scene: Scene) -> None:
        first, second, *_ = made = offers(DAY)
        await scene.offer(made[:2])
        assert await scene.link.status(first) == "ACCEPTED"
        assert await scene.link.cancel([first]) == [None]
        assert await scene.link.status(first) == "CANCELED"
        assert await scene.link.status(replace(second, id="never-made")) == "UNKNOWN"
        await scene.until(BEGINS_NS - 50 * MINUTE_NS)
        (refusal,) = await scene.link.cancel([second])
        assert isinstance(refusal, Refusal) and "gate" in refusal.reason
        await scene.until(BEGINS_NS)
        assert {award.offer for award in scene.desk.got} == {second.id}

    scene = play(act)
    assert scene.desk.without == [offers(DAY)[0].id], "what was withdrawn holds nothing once the day is cleared"


def test_dispatch_reaches_the_desk_before_its_step_and_every_instruction_is_acknowledged() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)

    scene = play(act)
    assert all(scene.desk.holds(BEGINS_NS + step * 5 * MINUTE_NS) for step in range(12))
    assert all(batch.received_ns < batch.instructions[0].start_ns for batch in scene.desk.batches)
    assert set(scene.desk.effects.values()) == {1}
    assert set(scene.iso.seen.reply_count.values()) == {1}
    assert {each.response for reply in scene.iso.seen.replies.values() for each in reply.replies} == {"ACCEPT"}


@pytest.mark.parametrize("seed", some(range(3)))
def test_ten_percent_duplicates_and_five_percent_reorders_have_exactly_one_effect(seed: int) -> None:
    """Design 6, section 5: the acceptance property. The truth is what the market published, newest first."""

    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + 2 * HOUR_NS)

    menu = FaultMenu(duplicate=0.10, reorder=0.05, supersede=0.10, busy=0.02, in_band=0.02, fault=0.02)
    scene = play(act, menu, seed=seed)
    assert set(scene.desk.effects.values()) == {1}
    told = dict(scene.iso.trajectory("TL_NORTH", BEGINS_NS, BEGINS_NS + 2 * HOUR_NS))
    assert len(told) >= 24
    assert scene.faults.drawn["duplicate"] + scene.faults.drawn["reorder"] > 0
    for at_ns, mw in told.items():
        assert scene.desk.holds(at_ns) == pytest.approx(round(mw, 1) * 1e6)


@pytest.mark.parametrize("fault", some(["duplicate", "reorder", "supersede", "late"], 2))
def test_each_fault_alone_leaves_the_schedule_as_published(fault: str) -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)
        for _ in range(3):
            scene.faults.ask(fault)
            await asyncio.sleep(900)
        await asyncio.sleep(1200)

    scene = play(act)
    assert scene.faults.drawn[fault] == 3
    assert set(scene.desk.effects.values()) == {1}
    for at_ns, mw in scene.iso.trajectory("TL_NORTH", BEGINS_NS, scene.clock.now_ns()):
        assert scene.desk.holds(at_ns) == pytest.approx(round(mw, 1) * 1e6)


def test_an_expired_instruction_is_answered_with_its_reason_and_changes_nothing() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)
        scene.faults.ask("expire")
        await asyncio.sleep(600)

    scene = play(act)
    declined = [each for r in scene.iso.seen.replies.values() for each in r.replies if each.response == "DECLINE"]
    assert [each.reason.split(";")[0] for each in declined] == ["batch has expired"]


def test_what_is_not_followed_is_left_unacknowledged_where_nobody_reads_a_reason() -> None:
    """The market's service knows no refusal: its operator asks after what is not acknowledged, as he would by himself."""

    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)
        scene.desk.refuse = {POOL: Refusal("kill switch", "scope", "fleet")}
        before = len(scene.desk.batches)
        await asyncio.sleep(900)
        assert len(scene.desk.batches) - before == 3, "each is decided once"
        health = scene.link.health()
        assert health.refused == 3 and "kill switch" in health.last_error and health.session is LinkSession.LIVE

    scene = play(act, declined="unacknowledged")
    assert {each.response for r in scene.iso.seen.replies.values() for each in r.replies} == {"ACCEPT"}
    assert sum(made.status != "ANSWERED" for made in scene.iso.batches.values() if made.fetched) == 3


def test_a_link_that_begins_anew_acknowledges_what_the_desk_has_taken_and_finds_the_awards_offers() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)
        scene.iso.seen.replies.clear()
        for made in scene.iso.batches.values():
            made.status = "PENDING"
        batches, awards = len(scene.desk.batches), list(scene.desk.got)
        scene.desk.got = []
        again = scene.another()
        await again.poll()
        assert len(scene.desk.batches) == batches, "nothing was decided twice"
        assert {each.response for r in scene.iso.seen.replies.values() for each in r.replies} == {"ACCEPT"}
        assert len(scene.iso.seen.replies) >= 12
        assert sorted(scene.desk.got, key=lambda a: a.id) == sorted(awards, key=lambda a: a.id)

    play(act)


def test_busy_is_waited_out_and_clock_skew_is_told() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(60)
        before = scene.app.calls["get VDIs"]
        scene.faults.ask("busy")
        await asyncio.sleep(5.6)
        assert scene.app.calls["get VDIs"] - before <= 1, "it is waited out"
        assert scene.link.health().session is LinkSession.LIVE, "to be asked once to come later is no fault of a link"
        await asyncio.sleep(30)
        for _ in range(3):
            scene.faults.ask("busy")
        seen = []
        for _ in range(90):
            await asyncio.sleep(1)
            seen.append(scene.link.health().session)
        assert LinkSession.DEGRADED in seen and seen[-1] is LinkSession.LIVE

    play(act, poll_s=5)

    async def skewed(scene: Scene) -> None:
        await asyncio.sleep(30)
        assert scene.link.health().session is LinkSession.DEGRADED
        said = scene.link.health().last_error
        assert 8.0 < float(said.split("is ")[1].split(" s")[0]) <= 9.0, "it tells whole seconds"

    play(skewed, FaultMenu(skew_s=9.0))


def test_instructions_follow_a_lower_plan_from_the_first_hour_that_is_open() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS // 2)
        await scene.link.declare(POOL, 1.57e6, 0.0, "limit by the DNO")
        plan = scene.market.plans["TL_NORTH", DAY]
        assert plan.modes[0].operating_mode == "ONL"
        assert plan.limits[0].hsl == 1.5 and to_ns(plan.limits[0].start_time) == BEGINS_NS + 2 * HOUR_NS
        await scene.until(BEGINS_NS + HOUR_NS + 30 * MINUTE_NS)
        assert scene.desk.holds(scene.clock.now_ns()) >= 3.9e6, "the hours before are the market's already"
        await scene.until(BEGINS_NS + 2 * HOUR_NS + 30 * MINUTE_NS)
        assert scene.desk.holds(scene.clock.now_ns()) == 1.5e6
        await scene.link.declare(POOL, 0.0, 0.0, "works")
        assert scene.market.plans["TL_NORTH", DAY].modes[0].operating_mode == "OUTL"

    play(act)


def test_a_fault_or_an_error_of_the_whole_service_is_no_answer_to_an_offer() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(4)
        for fault, word in (("fault", "internal error"), ("in_band", "temporarily out of service")):
            scene.faults.ask(fault)
            with pytest.raises(PeerError, match=word):
                await scene.link.submit(offers(DAY)[:1])
        assert await scene.link.submit(offers(DAY)[:1]) == [None]

    play(act, poll_s=3600)


@pytest.mark.long
def test_the_same_seed_plays_the_same_day() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(BEGINS_NS + HOUR_NS)

    menu = FaultMenu(duplicate=0.2, reorder=0.1, supersede=0.2, busy=0.05)
    told = [play(act, menu, seed=4) for _ in range(2)]
    first, second = ([(one.uid, one.instructions) for one in scene.desk.batches] for scene in told)
    assert first == second and len(first) >= 12


def test_a_curve_of_steps_is_never_sold_below_what_it_asks() -> None:
    """Any point of the line that goes out costs at least what the step below it asks."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        sizes = rng.integers(1, 40, size=int(rng.integers(1, 6)))
        prices = np.sort(rng.integers(-1000, 5000, size=len(sizes)))
        steps = tuple(Segment(float(size) * 1e5, float(price) / 100) for size, price in zip(sizes, prices, strict=True))
        offer = Offer("o", POOL, "ENERGY", BEGINS_NS, BEGINS_NS + HOUR_NS, steps)
        sold = sold_as(offer, {POOL: EwsPool("TL_NORTH", "HB_NORTH")}, "Q", CHICAGO)
        assert not isinstance(sold, Refusal)
        points = sold.row.curves[0].points
        assert len(points) <= 10
        assert points[-1].xvalue == pytest.approx(sizes.sum() / 10)
        if len(points) == 1:
            continue
        assert all(b.xvalue > a.xvalue and b.y1value >= a.y1value for a, b in itertools.pairwise(points))
        for mw in np.arange(0.05, sizes.sum() / 10, 0.1):
            asked = prices[int(np.searchsorted(np.cumsum(sizes) / 10, mw))] / 100
            given = np.interp(mw, [p.xvalue for p in points], [p.y1value for p in points])
            assert given >= asked - 1e-9
