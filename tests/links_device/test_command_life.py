"""The life of a command, which every link that carries commands keeps in the same way."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tieline.desk.ports import LinkHealth
from tieline.links.life import KILLED, Counts, Course, Life
from tieline.links.telling import Teller
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import NEXT, TERMINAL, RejectWord, Stage
from tieline.times import SECOND_NS

NOW_NS = 1_700_000_000 * SECOND_NS
ROW = 7


@dataclass
class Desk:
    """A fake of the desk: it keeps what it is told, and its kill switch may be pressed."""

    stages: list[tuple[str, Stage]] = field(default_factory=list)
    natives: list[str] = field(default_factory=list)
    is_killed: bool = False

    def reports(self, reports: CommandReports) -> None:
        self.stages += [(reports.batch, Stage(int(stage))) for stage in reports.stage]
        self.natives += list(reports.native) or [""] * len(reports.rows)

    def readings(self, readings: Readings) -> None:
        raise AssertionError("a command's life brings no readings")

    def health(self, health: LinkHealth) -> None:
        raise AssertionError("a command's life has no health")

    def passes(self, batch: CommandBatch) -> NDArray[np.bool_]:
        return np.full(len(batch.rows), not self.is_killed)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at_ns = NOW_NS

    def now_ns(self) -> int:
        return self.at_ns


class Link:
    """What a life asks of its link."""

    def __init__(self) -> None:
        self.desk, self.clock, self.counts, self.speed = Desk(), Clock(), Counts(), 1.0
        self.last_hop: Desk | None = self.desk
        self.teller = Teller("link", self.desk, self.clock)

    def told(self) -> list[tuple[str, Stage]]:
        self.teller.flush()
        return self.desk.stages


def batch(seq: int, seconds: float = 60.0, epoch: int = 1) -> CommandBatch:
    one = np.ones(1)
    until_ns = NOW_NS + int(seconds * SECOND_NS)
    return CommandBatch(
        f"b{epoch}.{seq}", np.array([ROW], np.int32), one, -one, one, 0 * one, NOW_NS, NOW_NS, until_ns, epoch, seq, ()
    )


async def lived(link: Link, steps: list[tuple[str, Stage]]) -> None:
    life = Life(ROW, "battery", link)
    course, seq = Course(batch(0), 0), 0
    for step, stage in steps:
        match step:
            case "newer":
                seq += 1
                assert life.takes(batch(seq)) and not life.takes(batch(seq)) and not life.takes(batch(seq - 1))
                life.displace(course)
                course = Course(batch(seq), 0)
            case "sent":
                life.sent(course)
            case "accepted":
                life.accepted(course)
            case _:
                life.end(course, stage, native="as it was")
    assert course.is_over == (course.stage in TERMINAL)


@given(
    st.lists(
        st.tuples(st.sampled_from(["newer", "sent", "accepted", "end"]), st.sampled_from(sorted(TERMINAL))), max_size=12
    )
)
def test_whatever_a_wire_says_the_desk_is_told_a_life_of_the_table(steps: list[tuple[str, Stage]]) -> None:
    """A late answer, a second end, an answer to what was displaced: none leaves the table, and each is counted once."""
    link = Link()

    async def play() -> None:
        await lived(link, steps)
        link.teller.flush()

    asyncio.run(play())
    at: dict[str, Stage] = {}
    for name, stage in link.desk.stages:
        assert stage in NEXT[at.get(name, Stage.QUEUED)]
        at[name] = stage
    seen, counts = Counter(stage for _, stage in link.desk.stages), link.counts
    assert counts.stages == [seen[stage] for stage in Stage]
    told = (counts.sent, counts.acknowledged, counts.observed, counts.rejected, counts.unconfirmed)
    assert told == tuple(
        seen[stage] for stage in (Stage.SENT, Stage.ACCEPTED, Stage.DONE, Stage.REJECTED, Stage.UNCONFIRMED)
    )
    assert len(counts.delays_s) == counts.acknowledged


def one(act: str, killed: bool = False, after_s: float = 0.0) -> Link:
    link = Link()

    async def play() -> None:
        life, course = Life(ROW, "battery", link), Course(batch(1), 0)
        link.desk.is_killed, link.clock.at_ns = killed, NOW_NS + int(after_s * SECOND_NS)
        if act == "begins":
            assert life.begins(course) == (not killed and after_s < 60)
        elif act == "sent and displaced":
            life.sent(course)
            life.displace(course)
        else:
            life.end(course, Stage.UNCONFIRMED, RejectWord.TIMEOUT, "nobody answered")
        link.told()

    asyncio.run(play())
    return link


@pytest.mark.parametrize(
    ("killed", "after_s", "stages"), [(False, 59.9, []), (False, 60.0, [Stage.EXPIRED]), (True, 0.0, [Stage.CANCELLED])]
)
def test_what_may_not_leave_ends_before_it_is_written(killed: bool, after_s: float, stages: list[Stage]) -> None:
    link = one("begins", killed, after_s)
    assert [stage for _, stage in link.desk.stages] == stages
    assert link.desk.natives == ([KILLED] if killed else [""] * len(stages))


def test_what_left_and_is_displaced_unheard_is_unconfirmed_as_it_may_still_take_effect() -> None:
    link = one("sent and displaced")
    assert [stage for _, stage in link.desk.stages] == [Stage.SENT, Stage.UNCONFIRMED]
    assert (link.counts.displaced, link.counts.unconfirmed) == (1, 1)
    assert link.counts.last_error == "battery: displaced before it was acknowledged"


def test_what_was_written_without_a_sign_is_told_as_sent_before_it_is_unconfirmed() -> None:
    assert [stage for _, stage in one("end").desk.stages] == [Stage.SENT, Stage.UNCONFIRMED]


def test_an_older_epoch_never_comes_back_though_its_number_is_higher() -> None:
    """Rule R14: (epoch, seq) only grows."""
    life = Life(ROW, "battery", Link())
    assert life.takes(batch(1, epoch=2))
    assert not life.takes(batch(99, epoch=1))
    assert life.takes(batch(0, epoch=3))
