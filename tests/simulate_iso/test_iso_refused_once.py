"""A batch of which nothing is taken has one record and one answer for each way in which it reads, however it is listed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from desk_stage import Stage1
from msgspec.structs import replace
from test_iso_mended import POOL, answers, over_desk, send_anew, told
from test_iso_unread import Rig, play

from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.node.read_refused import refused_by_us
from tieline.simulate.iso.market import Published
from tieline.times import MINUTE_NS, SECOND_NS, from_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import pack

HOW = IsoSettings("http://127.0.0.1:8443/", "America/Chicago", {POOL: "TL_NORTH"})
Spoil = Callable[[ads.DispatchBatch, int], ads.DispatchBatch]


def of_one(batch: ads.DispatchBatch, **how: object) -> ads.DispatchBatch:
    return replace(batch, instructions=(replace(batch.instructions[0], **how),))


def of_segment(batch: ads.DispatchBatch, **how: object) -> ads.DispatchBatch:
    return of_one(batch, segments=(replace(batch.instructions[0].segments[0], **how),))


SPOILED: dict[str, Spoil] = {
    "expired": lambda batch, now_ns: replace(batch, batch_expires=from_ns(now_ns - SECOND_NS)),
    "no number": lambda batch, _: of_segment(batch, mw=float("nan")),
    "unknown resource": lambda batch, _: of_one(batch, resource="TL_NOWHERE"),
    "ends before it starts": lambda batch, _: of_segment(
        batch, end_time=from_ns(int(batch.instructions[0].segments[0].start_time.timestamp() * 1e9) - MINUTE_NS)
    ),
    "more than was offered": lambda batch, _: of_segment(batch, mw=9.0),
    "no award": lambda batch, _: of_one(batch, product="SPIN"),
    "can't be read": lambda batch, _: batch,
}
BY_DESK, UNREADABLE = ("more than was offered", "no award"), ("no number", "can't be read")


class Restamping:
    """An ISO that keeps a refused batch in its list, and stamps it anew at each poll or otherwise than the batch says."""

    def __init__(self, rig: Rig, kind: str) -> None:
        self.rig, self.uid = rig, rig.show()
        made = rig.market.batches[self.uid]
        batch = SPOILED[kind](made.batch, rig.clock.now_ns())
        self.payload = pack(batch)[:-9] if kind == "can't be read" else pack(batch)
        self.batch, self.shown_ns = batch, made.shown_at_ns
        self.stamp(3 * SECOND_NS)

    def stamp(self, later_ns: int) -> None:
        """List it as sent at another time, its payload and status as they were."""
        status = self.rig.market.batches[self.uid].status
        listed = replace(self.batch, batch_sent=from_ns(self.shown_ns + later_ns))
        self.rig.market.batches[self.uid] = Published(listed, self.shown_ns, self.payload, twice=True, status=status)


def records(stage: Stage1) -> list[str]:
    return [one.kind for one in stage.journal.records if one.kind.startswith("Batch")]


@pytest.mark.parametrize("moves", [False, True], ids=["another time than the batch says", "another at each poll"])
@pytest.mark.parametrize("kind", SPOILED)
def test_it_is_answered_and_recorded_once_however_it_is_listed_and_over_a_restart(kind: str, moves: bool) -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        one = Restamping(rig, kind)
        for starts in (1, 2):
            for at in range(12):
                if moves:
                    one.stamp((4 + at) * SECOND_NS)
                await rig.polls(1)
            # How it read is kept by the desk alone, and what the link declines by itself never came to it.
            most = starts if moves and kind not in BY_DESK else 1
            assert rig.market.seen.reply_count[one.uid] <= most
            assert answers(rig, one.uid) == ("malformed" if kind in UNREADABLE else "DECLINE")
            assert len(records(stage)) == (0 if kind == "expired" else 1)
            rig.link = IsoWeb(HOW, rig.client, stage.desk, rig.clock, np.random.default_rng(4))
        again = stage.replayed(type(stage.state.ledger)())
        assert (again.batch_asks, again.batches) == (stage.state.batch_asks, stage.state.batches)

    play(act)


def test_it_is_answered_again_where_the_iso_says_that_it_has_no_answer_and_recorded_once_all_the_same() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        one = Restamping(rig, "more than was offered")
        await rig.polls(3)
        for at in range(3):
            rig.market.batches[one.uid].status = "RECEIVED"
            one.stamp((4 + at) * SECOND_NS)
            await rig.polls(3)
        assert rig.market.seen.reply_count == {one.uid: 4}
        assert records(stage) == ["BatchTaken"]

    play(act)


def test_its_reason_stays_as_it_was_where_what_was_sold_is_another_by_then() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show()
        send_anew(rig, uid, mw=9.0)
        await rig.polls(2)
        (title,) = told(rig, stage)
        assert "for what was not offered" in title
        stage.state.awards.clear()
        send_anew(rig, uid, mw=9.0)
        await rig.polls(2)
        assert told(rig, stage) == [title]
        assert records(stage) == ["BatchTaken"] and answers(rig, uid) == "DECLINE"

    play(act)


def test_one_that_is_changed_while_no_server_runs_is_answered_afresh() -> None:
    async def act(rig: Rig) -> None:
        stage = over_desk(rig)
        uid = rig.show()
        send_anew(rig, uid, mw=9.0)
        await rig.polls(2)
        rig.link = IsoWeb(HOW, rig.client, stage.desk, rig.clock, np.random.default_rng(4))
        send_anew(rig, uid, mw=1.0)
        await rig.polls(2)
        assert answers(rig, uid) == "ACCEPT" and told(rig, stage) == []
        assert [alarm for alarm, _ in refused_by_us(stage.state, rig.clock.now_ns())] == []

    play(act)
