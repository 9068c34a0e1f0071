"""Batches that can't be read, and the newer ones that follow them: every batch shown is answered, across restarts too."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iso_desk import ScheduleDesk
from msgspec.structs import replace
from structlog.testing import capture_logs

from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.rim.http import HttpClient
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket, Published
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, to_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import pack

START_NS = to_ns(datetime(2021, 6, 15, 3, 45, tzinfo=UTC))
SPOILED = {"cut": lambda text: text[:-9], "stars": lambda _: "***", "empty": lambda _: "", "bytes": lambda t: t + t}


class Rig:
    """An ISO that shows what a test wants, and a link of ours that can be begun anew over the same desk."""

    def __init__(self, market: IsoMarket, client: HttpClient, clock: VirtualClock) -> None:
        self.market, self.client, self.clock = market, client, clock
        self.desk, self._uid, self.shown = ScheduleDesk(), count(1), list[str]()
        self.begin()

    def begin(self) -> None:
        how = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {"pool:north": "TL_NORTH"})
        self.link = IsoWeb(how, self.client, self.desk, self.clock, np.random.default_rng(4))

    def show(self, spoiled: str = "") -> str:
        """Publish one batch, readable or not, and return its UID."""
        uid, now = str(next(self._uid)), self.clock.now_ns()
        start_ns = now + int(uid) * 5 * MINUTE_NS
        segment = ads.Segment(from_ns(start_ns), from_ns(start_ns + 5 * MINUTE_NS), 1.0)
        one = ads.Instruction(f"i{uid}", "TL_NORTH", "ENERGY", 20.0, (segment,))
        sent, expires = from_ns(now), from_ns(now + 48 * HOUR_NS)
        head = (uid, "RT5", "ACTIVE", sent, expires, "RTD", sent, "NORMAL", True, 1)
        batch = ads.DispatchBatch(*head, (one,))
        payload = pack(batch)
        self.market.batches[uid] = Published(batch, now, SPOILED[spoiled](payload) if spoiled else payload)
        self.shown.append(uid)
        return uid

    async def polls(self, times: int) -> None:
        for _ in range(times):
            await self.link.poll()
            await asyncio.sleep(5)


def play(act: Callable[[Rig], Awaitable[None]]) -> Rig:
    async def main(loop: VirtualLoop) -> Rig:
        clock, faults = VirtualClock(loop, START_NS), Faults(FaultMenu(), np.random.default_rng(1))
        market = IsoMarket(clock, np.random.default_rng(2), faults)
        server = await serve_iso(IsoApp(market, faults), "127.0.0.1", 8443)
        async with HttpClient() as client:
            rig = Rig(market, client, clock)
            await act(rig)
        server.close()
        return rig

    return run_virtual(main)


burst = st.lists(st.sampled_from(["", "", *SPOILED]), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(burst, st.integers(0, 3), st.booleans()), min_size=1, max_size=4))
def test_every_batch_is_answered_however_many_newer_ones_come_and_whenever_we_begin_anew(
    turns: Sequence[tuple[list[str], int, bool]],
) -> None:
    spoiled: set[str] = set()

    async def act(rig: Rig) -> None:
        for kinds, polls, anew in turns:
            for kind in kinds:
                uid = rig.show(kind)
                if kind:
                    spoiled.add(uid)
            await rig.polls(polls)
            if anew:
                rig.begin()
        await rig.polls(4)

    rig = play(act)
    replies = rig.market.seen.replies
    assert set(replies) == set(rig.shown)
    assert {uid for uid, reply in replies.items() if reply.reason.startswith("malformed: ")} == spoiled
    assert set(rig.desk.effects.values()) <= {1}
    if not any(anew for _, _, anew in turns):
        assert set(rig.market.seen.reply_count.values()) == {1}


def test_a_batch_that_was_broken_on_its_way_once_is_followed_though_newer_ones_came_meanwhile() -> None:
    async def act(rig: Rig) -> None:
        uid = rig.show("cut")
        for _ in range(20):
            rig.show()
        await rig.polls(1)
        made = rig.market.batches[uid]
        made.payload = pack(made.batch)
        await rig.polls(2)

    rig = play(act)
    assert rig.market.seen.replies["1"].replies[0].response == "ACCEPT"
    assert rig.desk.effects["i1"] == 1


def test_what_was_answered_before_a_restart_is_not_answered_again_beyond_the_overlap() -> None:
    async def act(rig: Rig) -> None:
        for kind in ("", "stars", *[""] * 40):
            rig.show(kind)
        await rig.polls(4)
        rig.begin()
        await rig.polls(2)

    rig = play(act)
    assert rig.market.seen.reply_count["1"] == rig.market.seen.reply_count["2"] == 1
    assert rig.market.batches["1"].fetched == 1


def test_an_answer_that_is_no_message_at_all_holds_up_no_newer_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The payload stands in an attribute: one with a raw `<` makes the whole envelope unreadable."""
    from tieline.simulate.iso import app

    async def act(rig: Rig) -> None:
        rig.show()
        rig.show()
        whole = app.envelope
        broken = b'payload="<'
        monkeypatch.setattr(
            app, "envelope", lambda m: whole(m).replace(b'payload="', broken if _is_first(m) else b'payload="')
        )
        await rig.polls(1)
        assert rig.market.seen.replies["2"].replies[0].response == "ACCEPT"
        await rig.polls(3)

    assert play(act).market.seen.replies["1"].reason.startswith("malformed: ")


def _is_first(message: ads.Message) -> bool:
    return isinstance(message, ads.PackedBatch) and message.batch_uid == "1"


def test_the_log_says_which_batch_of_which_link_was_declined_and_why_and_is_no_error_of_ours() -> None:
    async def act(rig: Rig) -> None:
        rig.show("stars")
        await rig.polls(3)

    with capture_logs() as lines:
        play(act)
    (line,) = [each for each in lines if "batch" in each]
    assert line["log_level"] == "warning"
    assert line["event"].startswith("iso: dispatch batch 1 could not be read in 3 tries and is declined whole")
    assert "base64" in line["why"]


def test_an_instruction_that_stands_twice_in_a_batch_is_declined_by_its_uid_and_the_others_are_followed() -> None:
    async def act(rig: Rig) -> None:
        now = rig.clock.now_ns()
        over = from_ns(now + 5 * MINUTE_NS), from_ns(now + 10 * MINUTE_NS)
        made = [ads.Instruction(uid, "TL_NORTH", "ENERGY", 20.0, (ads.Segment(*over, 1.0),)) for uid in "abb"]
        sent = from_ns(now)
        head = ("7", "RT5", "ACTIVE", sent, from_ns(now + HOUR_NS), "RTD", sent, "NORMAL", True, 1)
        batch = ads.DispatchBatch(*head, tuple(made))
        rig.market.batches["7"] = Published(batch, now, pack(batch))
        await rig.polls(1)
        why = "instruction UID twice in one batch; instructionUID = b; limit once in a batch"
        found = [
            (reply.instruction_uid, reply.response, reply.reason) for reply in rig.market.seen.replies["7"].replies
        ]
        assert found == [("a", "ACCEPT", ""), ("b", "DECLINE", why), ("b", "DECLINE", why)]

    play(act)


def revised(rig: Rig, uid: str, mw: float | None = None) -> None:
    """Have the ISO send a batch again under its own UID: as it was, or with another power."""
    made = rig.market.batches[uid]
    batch = replace(made.batch, batch_sent=from_ns(rig.clock.now_ns()))
    if mw is not None:
        (one,) = batch.instructions
        batch = replace(batch, instructions=(replace(one, segments=(replace(one.segments[0], mw=mw),)),))
    rig.market.batches[uid] = Published(batch, made.shown_at_ns, pack(batch))


def test_a_batch_that_is_corrected_under_its_own_uid_is_refused_by_name_once_and_the_first_stands() -> None:
    async def act(rig: Rig) -> None:
        rig.show()
        uid = rig.show()
        await rig.polls(2)
        revised(rig, uid)
        await rig.polls(2)
        assert rig.desk.disputed == []
        revised(rig, uid, 2.5)
        await rig.polls(3)

    rig = play(act)
    (uid, refusal) = rig.desk.disputed.pop()
    assert (rig.desk.disputed, uid, refusal.field) == ([], "2", "instructions")
    assert "TL_NORTH 2.5 MW" in str(refusal) and "TL_NORTH 1 MW" in str(refusal)
    health = rig.link.health()
    assert health.refused == 1 and "batch 2" in health.last_error and "a batch UID of its own" in health.last_error
    assert [one.power_w for one in rig.desk.schedule] == [1e6, 1e6]
    assert set(rig.desk.effects.values()) == {1}


def test_a_batch_that_is_corrected_and_then_sent_as_it_was_is_disputed_once() -> None:
    async def act(rig: Rig) -> None:
        uid = rig.show()
        await rig.polls(2)
        revised(rig, uid, 2.5)
        await rig.polls(1)
        revised(rig, uid, 1.0)
        await rig.polls(1)

    assert len(play(act).desk.disputed) == 1


def test_a_batch_that_can_t_be_read_is_told_to_the_desk_and_logged_once_however_often_we_begin_anew() -> None:
    async def act(rig: Rig) -> None:
        uid = rig.show("cut")
        rig.show()
        with capture_logs() as logs:
            for _ in range(3):
                await rig.polls(4)
                assert set(rig.desk.unfollowed) == {uid}
                rig.begin()
        assert rig.desk.unfollowed[uid].reason.startswith("malformed: ")
        assert len([each for each in logs if each["log_level"] == "warning"]) == 1, logs

    play(act)


def test_instructions_that_the_link_itself_can_t_follow_are_told_to_the_desk_with_the_end_of_their_time() -> None:
    async def act(rig: Rig) -> None:
        uid = rig.show()
        made = rig.market.batches[uid]
        (one,) = made.batch.instructions
        strange = replace(one, instruction_uid="strange", resource="TL_NOWHERE")
        batch = replace(made.batch, instructions=(one, strange))
        rig.market.batches[uid] = Published(batch, made.shown_at_ns, pack(batch))
        rig.show()
        await rig.polls(2)
        assert set(rig.desk.unfollowed) == {uid}
        says = str(rig.desk.unfollowed[uid])
        assert "instruction strange: unknown resource" in says and "TL_NOWHERE" in says
        assert len(rig.desk.effects) == 2

    play(act)
