"""Who is believed: answers and notices by the market alone, asks by us alone, and each of them once."""

import asyncio
from datetime import timedelta

import pytest
from ews_scene import CHICAGO, DAY, Scene, people, play
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.ports import Session as LinkSession
from tieline.links.grid.ews_call import Seal
from tieline.links.grid.ews_listen import MOST_BYTES, EwsListener
from tieline.times import MINUTE_NS, from_ns, market_day
from tieline.wire.ews import messages as ews
from tieline.wire.ews.codec import acknowledged_in, asking, notifying
from tieline.wire.ews.errors import EwsError
from tieline.wire.ews.security import Signer, body_of, seal
from tieline.wire.ews.tree import parse, serialise

BEGINS_NS = market_day(DAY, CHICAGO).start_ns


def notice(
    scene: Scene, signer: Signer, noun: str = "AwardedEnergyOnlyOffer", nonce: str = "1", late_s: float = 0
) -> bytes:
    at = from_ns(scene.clock.now_ns())
    head = ews.Header(
        verb="created",
        noun=noun,
        source="ERCOT",
        replay_detection=ews.ReplayDetection(nonce=nonce, created=at.isoformat()),
    )
    alert = ews.Event(qse="QTIELINE", id="A-1", type="Watch", priority="High", source="MMS", issued=at, summary="heat")
    told = ews.Told(header=head, payload=alert)
    return serialise(seal(notifying([told]), signer, at - timedelta(seconds=late_s)))


def test_an_answer_that_was_changed_on_its_way_is_not_believed_and_takes_the_session_down() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(60)
        assert scene.link.health().session is LinkSession.LIVE
        scene.app.tampers = True
        await asyncio.sleep(60)
        health = scene.link.health()
        assert health.session is LinkSession.DEGRADED and "not what was signed" in health.last_error

    play(act)


def test_an_answer_by_another_participant_is_not_the_market_s() -> None:
    async def act(scene: Scene) -> None:
        scene.app._signer = people().stranger
        await asyncio.sleep(30)
        assert "signed by QOTHER" in scene.link.health().last_error

    play(act)


def test_the_market_takes_no_call_that_is_signed_by_another_or_was_heard_before() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(10)
        scene.link._caller._seal = Seal(people().stranger, people().trusts_market)
        before = scene.app.calls["get VDIs"]
        await asyncio.sleep(60)
        assert scene.app.unsigned >= 1 and scene.app.calls["get VDIs"] == before
        head = ews.Header(
            verb="get",
            noun="SystemStatus",
            source="QTIELINE",
            replay_detection=ews.ReplayDetection(nonce="7", created="x"),
        )
        now = from_ns(scene.clock.now_ns())
        call = serialise(seal(asking(ews.Asked(header=head)), people().us, now))
        codes = [b"<m:ReplyCode>OK" in scene.app.answer(call)[2] for _ in range(2)]
        assert codes == [True, False] and scene.app.replayed == 1

    play(act)


def test_a_notice_of_awards_brings_them_within_seconds_though_they_are_asked_for_by_the_hour() -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        cleared_ns = BEGINS_NS - 30 * MINUTE_NS
        await scene.until(cleared_ns + 5 * 10**9)
        assert len(scene.desk.got) == 24
        await scene.until(BEGINS_NS + 10 * MINUTE_NS)
        assert set(scene.desk.effects.values()) == {1}
        starts = [one.start_ns for batch in scene.desk.batches for one in batch.instructions]
        assert min(starts) == BEGINS_NS, "an instruction that was told of is asked for before its step, polls or none"

    scene = play(act, with_notices=True, poll_s=3600.0, awards_s=3600.0)
    assert scene.listener.taken == scene.notices.acknowledged > 3 and not scene.notices.refused


@pytest.mark.parametrize("fault", ["duplicate", "reorder"])
def test_notices_that_come_twice_or_in_another_order_have_one_effect(fault: str) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(20):
            scene.notices._faults.ask(fault)
        await scene.offer()
        await scene.until(BEGINS_NS + 20 * MINUTE_NS)

    scene = play(act, with_notices=True)
    assert len(scene.desk.got) == 24 and set(scene.desk.effects.values()) == {1}
    assert (scene.listener.repeated > 0) == (fault == "duplicate")


def test_a_notice_that_is_forged_old_or_changed_has_no_effect_and_one_that_is_right_is_kept() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(10)
        listener, right = scene.listener, notice(scene, people().market)
        bad = [
            notice(scene, people().stranger),
            notice(scene, people().market, late_s=3600),
            right.replace(b"heat", b"cold"),
            right[: len(right) // 2],
            b"x" * (MOST_BYTES + 1),
            serialise(notifying([])),
        ]
        for at, data in enumerate(bad, 1):
            status, _ = listener.answer(data)
            assert (status, listener.taken, listener.refused) == (500, 0, at)
        assert not listener.events
        for _ in range(2):
            status, envelope = listener.answer(right)
            assert status == 200 and acknowledged_in(body_of(parse(serialise(envelope)))) == "OK"
        assert (listener.taken, listener.repeated, [event.id for event in listener.events]) == (1, 1, ["A-1"])

    play(act, poll_s=3600.0)


def test_a_reference_that_is_used_again_is_another_instruction_and_the_desk_is_asked_anew() -> None:
    """The desk keeps answers for good, and a market counts its references as it likes."""

    async def act(scene: Scene) -> None:
        for turn in range(2):
            at = from_ns(scene.clock.now_ns())
            details = ews.VdiDetails(
                ercot_operator_name="o", instruction_type="AT_PQ_LEV", vdi_ref_num="689", notification_time=at,
                completion_time=at + timedelta(minutes=30), final_opr_level=1.0 + turn,
            )  # fmt: skip
            vdi = ews.Vdi(resource="TL_NORTH", details=details)
            for _ in range(2):
                await scene.link._take(vdi)
            await asyncio.sleep(86_400)
        assert [batch.instructions[0].power_w for batch in scene.desk.batches] == [1e6, 2e6]

    play(act, poll_s=80_000.0)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_no_bytes_do_more_to_the_listener_than_be_refused(data: bytes) -> None:
    class Nobody:
        name = "ews"

        def noticed(self, noun: str) -> None:
            raise AssertionError(noun)

    class Now:
        def now_ns(self) -> int:
            return BEGINS_NS

    listener = EwsListener(Nobody(), people().trusts_market, Now())  # type: ignore[arg-type]
    status, envelope = listener.answer(data)
    assert status == 500 and listener.refused == 1
    with pytest.raises(EwsError):
        acknowledged_in(body_of(parse(serialise(envelope))))
