"""A batch that a link can't read is an alarm, told once, until it can be read or somebody acknowledges it."""

from __future__ import annotations

import asyncio

from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.entry import Entry
from tieline.desk.facts import AlarmChanged
from tieline.desk.ports import DispatchBatch, Instruction
from tieline.desk.refused import MOST_UNREAD
from tieline.fleet.ledger import Ledger
from tieline.node.read_refused import refused_by_us
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS

CUT = Refusal("malformed: no payload", "batchUID", "7")


def stage_of() -> Stage1:
    return Stage1(fleet_of([Kind.BATTERY] * 4))


def told(stage: Stage1) -> list[str]:
    return [alarm.title for alarm, after_ns in refused_by_us(stage.state, stage.clock.ns) if not after_ns]


def readable(stage: Stage1, uid: str) -> DispatchBatch:
    now_ns = stage.clock.ns
    one = Instruction("i", uid, "pool-1", "ENERGY", now_ns, now_ns + 5 * MINUTE_NS, 0.0, 1.0, 1)
    return DispatchBatch(uid, 0, 0, now_ns + HOUR_NS, (one,), "f")


def test_it_says_which_batch_of_which_link_and_what_can_t_be_read_and_is_told_once() -> None:
    stage = stage_of()

    async def act() -> None:
        assert await stage.desk.unread("7", CUT, "iso")
        stage.clock.ns += HOUR_NS
        assert not await stage.desk.unread("7", CUT, "iso")
        assert [record.kind for record in stage.journal.records] == ["BatchUnread"]
        (title,) = told(stage)
        assert title.startswith("Dispatch batch 7 is declined by link iso") and "no payload" in title

    asyncio.run(act())
    assert stage.replayed(Ledger()).unread == stage.state.unread


def test_what_names_its_time_ends_with_it() -> None:
    stage = stage_of()

    async def act() -> None:
        end_ns = stage.clock.ns + HOUR_NS
        await stage.desk.unread("7", Refusal("instruction i: unknown resource", "resource", "X"), "iso", end_ns)
        stage.clock.ns = end_ns - 1
        assert len(told(stage)) == 1
        stage.clock.ns = end_ns
        assert told(stage) == []

    asyncio.run(act())


@given(st.lists(st.tuples(st.sampled_from(["unread", "other", "readable", "acknowledged"]), st.integers(1, 3))))
def test_it_stands_until_that_batch_can_be_read_or_it_is_acknowledged_and_a_replay_has_the_same(
    steps: list[tuple[str, int]],
) -> None:
    stage = stage_of()

    async def act() -> None:
        standing: set[str] = set()
        known: dict[str, str] = {}
        for what, number in steps:
            stage.clock.ns += MINUTE_NS
            uid = str(number)
            if what == "readable" and uid in stage.state.batches:
                continue  # a link asks no more for what was answered
            if what == "readable":
                await stage.desk.dispatch(readable(stage, uid))
                standing.discard(uid)
                known.pop(uid, None)
            elif what == "acknowledged":
                alarms = [
                    alarm
                    for alarm, _ in refused_by_us(stage.state, stage.clock.ns)
                    if f"batch {uid} is declined by" in alarm.title
                ]
                for alarm in alarms:
                    body = {"by": "test:anna", "since_ns": alarm.since_ns}
                    fact = AlarmChanged(alarm.id, "acknowledged", "test:anna", body)
                    await stage.desk.commit([Entry(f"ack {stage.clock.ns}", fact, "", ())])
                standing.discard(uid)
            else:
                is_news = await stage.desk.unread(uid, Refusal(what, "batchUID", uid), "iso")
                assert is_news == (known.get(uid) != what)
                known[uid] = what
                if is_news:
                    standing.add(uid)
            titles = [title for title in told(stage) if "is declined by link" in title]
            assert {title.split()[2] for title in titles} == standing

    asyncio.run(act())
    assert stage.replayed(Ledger()).unread == stage.state.unread


def test_the_oldest_gives_way_where_a_market_sends_nothing_else() -> None:
    stage = stage_of()

    async def act() -> None:
        for uid in range(MOST_UNREAD + 5):
            await stage.desk.unread(str(uid), CUT, "iso")
        assert len(stage.state.unread) == MOST_UNREAD and ("iso", "4") not in stage.state.unread

    asyncio.run(act())
