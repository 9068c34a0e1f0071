"""The way of one command over OpenADR, what VENs say and may not say, and both after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from openadr_room import Room, play

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.times import SECOND_NS

LIFE = [Stage.SENT, Stage.ACCEPTED, Stage.DONE]


def test_a_command_is_delivered_acknowledged_and_observed_in_three_states() -> None:
    async def scene(room: Room) -> None:
        await room.command(-3_000.0)

    room = play(scene)
    assert room.site.power_w == -3_000.0
    assert room.log.stages == LIFE
    assert room.log.observed_w[-1] == -3_000.0
    assert (room.link.counts.sent, room.link.counts.acknowledged, room.link.counts.observed) == (1, 1, 1)


def test_a_command_comes_by_webhook_and_not_by_the_next_poll() -> None:
    async def scene(room: Room) -> None:
        await room.command(-3_000.0)
        assert room.link.counts.delays_s[0] < 1.0

    play(scene, poll_s=3_600.0)


def test_without_a_webhook_the_next_poll_brings_it() -> None:
    async def scene(room: Room) -> None:
        for made in list(room.vtn.book.owned("subscriptions", "site-5")):
            await room.vtn.retract("subscriptions", made["id"])
        await room.command(-3_000.0, wait_s=40.0)

    assert play(scene, poll_s=30.0).log.stages == LIFE


def test_the_owner_s_bounds_hold_at_the_end_point_and_what_was_done_is_told() -> None:
    async def scene(room: Room) -> None:
        await room.command(-7_500.0)

    room = play(scene)
    assert room.site.power_w == -5_000.0
    assert (room.log.stages, room.log.observed_w[-1]) == (LIFE, -5_000.0)


def test_a_device_that_does_nothing_is_not_done_because_its_ven_took_the_event() -> None:
    async def scene(room: Room) -> None:
        room.site.obeys = False
        await room.command(-3_000.0, wait_s=200.0)

    room = play(scene)
    assert room.log.stages == [Stage.SENT, Stage.ACCEPTED, Stage.UNCONFIRMED]
    assert room.log.observed_w[-1] == 0.0


def test_a_newer_command_replaces_the_older_and_an_older_one_never_comes_back() -> None:
    async def scene(room: Room) -> None:
        first = await room.command(1_000.0)
        await room.command(2_000.0)
        await room.link.send(first)
        await asyncio.sleep(5)
        assert [e["eventName"] for e in room.events()] == ["dispatch 1.2"]

    assert play(scene).site.power_w == 2_000.0


def test_a_command_that_is_done_before_the_event_before_it_is_gone_stands() -> None:
    """A quick VEN shows its power while the older event is on its way out: its own is not taken back with that."""

    async def scene(room: Room) -> None:
        await room.command(-3_000.0)
        retract = room.vtn.retract

        async def slow(kind: str, thing_id: str) -> None:
            await asyncio.sleep(20)
            await retract(kind, thing_id)

        room.vtn.retract = slow
        await room.command(-2_000.0, wait_s=60)
        assert (room.site.power_w, len(room.events())) == (-2_000.0, 1)

    play(scene)


def test_a_start_to_come_is_waited_for_and_the_end_frees_the_device() -> None:
    trail = []

    async def scene(room: Room) -> None:
        await room.command(1_000.0, seconds=300.0, after_s=600.0)
        trail.append((room.site.power_w, list(room.log.stages)))
        await asyncio.sleep(590)
        trail.append(room.site.power_w)
        await asyncio.sleep(10)
        trail.append((room.site.power_w, list(room.log.stages)))
        await asyncio.sleep(300)
        trail.append(room.site.power_w)

    play(scene)
    assert trail == [(0.0, LIFE[:2]), 0.0, (1_000.0, LIFE), 0.0]


def test_an_event_is_withdrawn_when_its_time_is_over_or_nobody_answered() -> None:
    left = []

    async def scene(room: Room) -> None:
        await room.command(1_000.0, seconds=60.0)
        await asyncio.sleep(60)
        left.append(room.events())
        await room.supervisor.stop()

    room = play(scene)
    assert left == [[]] and room.site.power_w == 0.0


def test_a_command_for_an_end_point_that_never_comes_expires_and_was_never_sent() -> None:
    async def scene(room: Room) -> None:
        await room.command(1_000.0, seconds=30.0, wait_s=40.0)
        assert room.events() == []

    room = play(scene, keep_ven=False)
    assert (room.log.stages, room.link.counts.sent) == ([Stage.EXPIRED], 0)


def test_a_command_whose_event_can_t_be_kept_is_rejected_and_leaves_no_phantom() -> None:
    async def scene(room: Room) -> None:
        room.journal.is_broken = True
        await room.command(1_000.0)
        assert room.events() == []
        room.journal.is_broken = False
        await room.command(2_000.0)

    room = play(scene)
    assert room.log.stages == [Stage.REJECTED, *LIFE]
    assert room.site.power_w == 2_000.0


# --- whom to believe --------------------------------------------------------------------------------------------------


# --- there and away ---------------------------------------------------------------------------------------------------


def test_after_a_restart_the_fence_counts_on_and_the_standing_things_are_found_and_not_made_again(
    tmp_path: Path,
) -> None:
    found: dict[str, Any] = {}

    async def first(room: Room) -> None:
        await room.command(1_500.0, seq=7)

    async def second(room: Room) -> None:
        found["events"] = [e["eventName"] for e in room.vtn.book.all("events")]
        found["vens"] = len(list(room.vtn.book.all("vens")))
        await asyncio.sleep(5)
        found["holds on"] = room.site.power_w
        await room.command(9_999.0, seq=6)
        found["older"] = (room.site.power_w, list(room.log.stages))
        await room.command(-1_000.0, seq=8)
        found["newer"] = (room.site.power_w, [e["eventName"] for e in room.events()])

    play(first, tmp_path / "j")
    play(second, tmp_path / "j")
    assert found == {
        "events": ["telemetry", "dispatch 1.7"], "vens": 1, "holds on": 1_500.0, "older": (1_500.0, []),
        "newer": (-1_000.0, ["dispatch 1.8"]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"answer_s": 0}, r"\$\.openadr\.answer_s = 0"),
        ({"settle_s": 1e9}, r"\$\.openadr\.settle_s"),
        ({"lost_s": -1}, r"\$\.openadr\.lost_s"),
        ({"near_frac": 2}, r"\$\.openadr\.near_w, near_frac"),
        ({"priority": -1}, r"\$\.openadr\.priority"),
        ({"end_points": {"5": {"ven": "a", "client": ""}}}, r"\$\.openadr\.end_points\.5\.client"),
        ({"end_points": {"5": {"ven": "a", "client": "c"}, "6": {"ven": "a", "client": "d"}}}, r"end_points\.6\.ven"),
        ({"speed": 1}, "speed"),
    ],
)
def test_a_setting_that_can_t_be_is_refused_by_its_path(how: dict, says: str) -> None:
    def make(room: Room) -> None:
        document = {"end_points": {"5": {"ven": "site-5", "client": "site-5"}}, **how}
        settings = msgspec.convert(document, OpenAdrSettings, strict=False)
        OpenAdrLink(settings, room.vtn, room.log, room.clock, room.supervisor)

    async def scene(room: Room) -> None:
        with pytest.raises((ConfigError, msgspec.ValidationError), match=says):
            make(room)

    play(scene, keep_ven=False)


def test_a_thousand_end_points_are_commanded_in_one_batch_within_budget() -> None:
    """The harness of VENs is the VTN's own book: what is measured is the link, the book and the tell of one event each."""
    import time

    from openadr_room import BL_SCOPES, ROOMY, Client, Log, Tokens, secret_digest

    from tieline.links.endpoint.openadr.book import Book
    from tieline.links.endpoint.openadr.vtn import Vtn

    count = 1_000

    async def main(loop: VirtualLoop) -> float:
        clock = VirtualClock(loop, 10**18)
        async with Supervisor(np.random.default_rng(0)) as supervisor:

            class Fast:
                async def append(self, records: Any) -> int:
                    await asyncio.sleep(0)
                    return 0

            tokens = Tokens({"bl": Client("bl", secret_digest("s"), BL_SCOPES)}, b"k" * 32, clock)
            vtn = Vtn(Book(Fast(), clock), tokens, supervisor, None, (), clock, np.random.default_rng(0), ROOMY)
            names = {row: EndPointName(f"ven-{row}", f"c-{row}") for row in range(count)}
            link = OpenAdrLink(OpenAdrSettings(names), vtn, Log(), clock, supervisor)
            await link.start()
            now, one = clock.now_ns(), np.ones(count)
            began = time.perf_counter()
            for seq in (1, 2):
                batch = CommandBatch(
                    f"b{seq}", np.arange(count, dtype=np.int32), 1e3 * one, -np.inf * one, np.inf * one, 0 * one, now, now,
                    now + 900 * SECOND_NS, 1, seq, (),
                )  # fmt: skip
                await link.send(batch)
                await asyncio.sleep(1)
            passed_s = time.perf_counter() - began
            assert len(list(vtn.book.all("events"))) == count + 1
            link.stop()
            return passed_s

    assert run_virtual(main) < 5.0
