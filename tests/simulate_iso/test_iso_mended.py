"""A batch of which nothing was taken, and that the ISO sends anew under its own UID, is read at the next poll, once."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from desk_stage import PEOPLE, Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs
from test_iso_unread import SPOILED, Rig, play

from tieline.desk.desk import Desk
from tieline.desk.ports import Award, Offer, Segment
from tieline.fleet.ledger import Ledger
from tieline.ids import derive
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.node.read_refused import refused_by_us
from tieline.resource.identity import Kind
from tieline.simulate.iso.market import Published
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, to_ns
from tieline.wire.ads.codec import pack
from tieline.wire.ads.messages import AwardRow

POOL = "pool-1"


def over_desk(rig: Rig) -> Stage1:
    """Put the real desk behind the link, with an award over all that the rig will ask; return its stage."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.desk = Desk(stage.state, stage.journal, rig.clock, PEOPLE)
    start_ns, end_ns = rig.clock.now_ns(), rig.clock.now_ns() + 20 * HOUR_NS
    stage.state.offers["o"] = Offer("o", POOL, "ENERGY", start_ns, end_ns, (Segment(1e6, 50.0),))
    stage.state.awards["a"] = Award("a", "o", POOL, "ENERGY", start_ns, end_ns, 1e6, 50.0)
    how = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {POOL: "TL_NORTH"})
    rig.link = IsoWeb(how, rig.client, stage.desk, rig.clock, np.random.default_rng(4))
    return stage


def send_anew(rig: Rig, uid: str, resource: str = "TL_NORTH", spoiled: str = "", mw: float = 1.0) -> None:
    """Have the ISO send a batch again under its own UID, and wait for another answer."""
    made = rig.market.batches[uid]
    (one,) = made.batch.instructions
    one = replace(one, resource=resource, segments=(replace(one.segments[0], mw=mw),))
    batch = replace(made.batch, batch_sent=from_ns(rig.clock.now_ns()), instructions=(one,))
    payload = pack(batch)
    rig.market.mend(Published(batch, made.shown_at_ns, SPOILED[spoiled](payload) if spoiled else payload))


def told(rig: Rig, stage: Stage1) -> list[str]:
    return [alarm.title for alarm, after_ns in refused_by_us(stage.state, rig.clock.now_ns()) if not after_ns]


def answers(rig: Rig, uid: str) -> str:
    reply = rig.market.seen.replies[uid]
    return "malformed" if reply.reason else ",".join(each.response for each in reply.replies)


@pytest.mark.parametrize("newer", [0, 30])
@pytest.mark.parametrize("how", ["cut", "strange", "too much"])
def test_it_is_followed_answered_and_ends_its_alarm_at_the_next_poll_and_has_one_effect(how: str, newer: int) -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show("cut" if how == "cut" else "")
        if how != "cut":
            send_anew(rig, uid, "TL_NOWHERE" if how == "strange" else "TL_NORTH", mw=1.0 if how == "strange" else 9.0)
        await rig.polls(4)
        assert answers(rig, uid) == ("malformed" if how == "cut" else "DECLINE")
        assert len(told(rig, stage)) == 1
        for _ in range(newer):
            rig.show()
        await rig.polls(2)
        seen = stage.state.last_batch_uid
        send_anew(rig, uid)
        await rig.polls(1)
        assert answers(rig, uid) == "ACCEPT"
        assert told(rig, stage) == []
        await rig.polls(5)
        mine = [one for one in stage.state.instructions[POOL, "ENERGY"].values() if one.batch == uid]
        assert [one.power_w for one in mine] == [1e6]
        taken = [
            record
            for record in stage.journal.records
            if record.kind == "BatchTaken" and record.id == derive("batch", uid)
        ]
        assert len(taken) == 1
        assert rig.market.seen.reply_count[uid] == 2
        assert stage.state.last_batch_uid == (seen if newer else uid)
        again = stage.replayed(Ledger())
        assert (again.unread, again.refused, again.batches) == (
            stage.state.unread,
            stage.state.refused,
            stage.state.batches,
        )

    play(act)


def test_what_is_sent_anew_and_can_t_be_read_still_is_declined_anew_and_its_alarm_stands() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show("cut")
        await rig.polls(4)
        send_anew(rig, uid, spoiled="stars")
        await rig.polls(4)
        (title,) = told(rig, stage)
        assert "base64" in title and answers(rig, uid) == "malformed"
        send_anew(rig, uid)
        await rig.polls(1)
        assert answers(rig, uid) == "ACCEPT" and told(rig, stage) == []

    play(act)


def test_what_is_mended_when_its_time_is_over_is_declined_and_ends_its_alarm() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show("cut")
        await rig.polls(4)
        await asyncio.sleep(20 * 60)
        send_anew(rig, uid)
        await rig.polls(2)
        assert answers(rig, uid) == "DECLINE" and told(rig, stage) == []

    play(act)


@pytest.mark.parametrize("is_changed", [True, False])
def test_one_that_is_changed_while_no_server_runs_is_declined_as_it_reads_now_and_followed_as_it_was_answered(
    is_changed: bool,
) -> None:
    """It was answered ACCEPT anew, without an alarm; one that came again as it was is accepted as ever."""

    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show()
        await rig.polls(2)
        assert answers(rig, uid) == "ACCEPT"
        how = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {POOL: "TL_NORTH"})
        for mw in (0.5, 0.25):
            rig.link = IsoWeb(how, rig.client, stage.desk, rig.clock, np.random.default_rng(4))
            if is_changed:
                send_anew(rig, uid, mw=mw)
            await rig.polls(2)
            assert answers(rig, uid) == ("DECLINE" if is_changed else "ACCEPT")
            titles = told(rig, stage)
            assert len(titles) == is_changed
            assert not is_changed or (f"{mw:g} MW" in titles[0] and "1 MW, as it was answered" in titles[0])
        mine = [one for one in stage.state.instructions[POOL, "ENERGY"].values() if one.batch == uid]
        assert [one.power_w for one in mine] == [1e6]
        assert stage.replayed(Ledger()).batch_texts == stage.state.batch_texts

    play(act)


@pytest.mark.parametrize("kept", ["", "<VDIs/>", "no XML", "<dispatchBatch"])
def test_where_it_is_not_kept_how_one_came_first_or_it_came_by_another_protocol_its_answer_is_given_again(
    kept: str,
) -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show()
        await rig.polls(2)
        stage.state.batch_texts[uid] = kept
        how = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {POOL: "TL_NORTH"})
        rig.link = IsoWeb(how, rig.client, stage.desk, rig.clock, np.random.default_rng(4))
        await rig.polls(2)
        assert answers(rig, uid) == "ACCEPT" and told(rig, stage) == []

    play(act)


def test_one_that_nobody_sends_anew_is_fetched_no_more() -> None:
    async def act(rig: Rig) -> None:
        uid = rig.show("cut")
        await rig.polls(200)
        assert rig.market.batches[uid].fetched == 3
        assert rig.market.seen.reply_count[uid] == 1

    play(act)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["show", "good", "cut", "strange", "poll"]), st.integers(0, 5)), max_size=30))
def test_however_batches_are_spoiled_and_mended_each_has_one_effect_and_the_answer_of_what_was_sent_last(
    steps: list[tuple[str, int]],
) -> None:
    async def act(rig: Rig) -> None:
        with capture_logs():
            last: dict[str, str] = {}
            for what, number in steps:
                uids = list(last)
                if what == "show":
                    last[rig.show("cut")] = "cut"
                elif what == "poll":
                    await rig.polls(1 + number)
                elif uids and last[uid := uids[number % len(uids)]] != "good":
                    await rig.polls(4)  # what is accepted meanwhile needs a UID of its own
                    last[uid] = what
                    send_anew(
                        rig, uid, "TL_NOWHERE" if what == "strange" else "TL_NORTH", "cut" if what == "cut" else ""
                    )
            await rig.polls(8)
            expected = {"good": "ACCEPT", "cut": "malformed", "strange": "DECLINE"}
            assert {uid: answers(rig, uid) for uid in last} == {uid: expected[kind] for uid, kind in last.items()}
            assert set(rig.desk.effects.values()) <= {1}
            assert len(rig.desk.effects) == sum(kind == "good" for kind in last.values())

    play(act)


def test_what_was_accepted_and_is_corrected_under_its_uid_is_an_alarm_until_its_time_is_over() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show()
        await rig.polls(2)
        send_anew(rig, uid, mw=0.5)
        await rig.polls(3)
        (title,) = told(rig, stage)
        assert title.startswith(f"Dispatch batch {uid} of link iso came again with other contents")
        assert "0.5 MW" in title and "1 MW, as it was answered" in title
        assert [one.power_w for one in stage.state.instructions[POOL, "ENERGY"].values()] == [1e6]
        assert stage.replayed(Ledger()).changed == stage.state.changed
        kept = [record for record in stage.journal.records if record.kind == "BatchChanged"]
        assert len(kept) == 1
        await asyncio.sleep(15 * 60)
        assert told(rig, stage) == []

    play(act)


def test_what_was_awarded_while_no_server_ran_covers_what_is_called_of_it_at_the_first_poll() -> None:
    """Batches were read before awards: the first call of an hour was declined for good."""

    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        del stage.state.awards["a"]
        soon = from_ns(rig.clock.now_ns() + 10 * MINUTE_NS).astimezone(ZoneInfo("America/Chicago"))
        start_ns = to_ns(soon.replace(minute=0, second=0, microsecond=0))
        stage.state.offers["o"] = replace(stage.state.offers["o"], start_ns=start_ns, end_ns=start_ns + HOUR_NS)
        row = AwardRow("w", "o", "TL_NORTH", "ENERGY", soon.date(), soon.hour + 1, False, 1.0, 50.0)
        rig.market.awards[soon.date()] = (row,)
        rig.show()
        uid = rig.show()
        await rig.polls(1)
        assert "w" in stage.state.awards
        assert answers(rig, uid) == "ACCEPT" and told(rig, stage) == []

    play(act)
