"""Masters that come, fall silent, dial again, or have no business here."""

import asyncio
from itertools import pairwise

import msgspec
import pytest
from dnp3_desk import SmallDesk
from dnp3_room import BINDING, BOTH, NORTH, OK, Room, play
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.state import LAPSED
from tieline.errors import LinkDown
from tieline.links.grid.dnp3.binding import Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.grid.dnp3.refusals import FORGET_S, MOST_HOSTS, Refusals
from tieline.simulate.network import Network
from tieline.simulate.scada import Scada


def test_a_latch_lives_as_long_as_its_master_is_heard_and_lapses_after_two_keep_alives() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        for _ in range(20):
            await asyncio.sleep(60)
            await dno.poll()
            assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        versions = [ask.version for ask in room.desk.asks]
        assert versions == sorted(set(versions))
        await dno.close()
        await asyncio.sleep(121)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 5e6)
        await asyncio.sleep(60)
        assert ("dnp3:dno", "limit", "pool:north") in room.desk.withdrawn
        assert set(room.desk.why) == {LAPSED}, "nobody withdrew it"

    play(scene)


def test_a_lapse_is_shown_to_its_master_once_it_is_back_until_it_operates_again() -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        await dno.close()
        await asyncio.sleep(121)  # two keep-alives: not one look later is it still shown as enabled
        assert room.outstation.lapses() == {"dnp3 dno limit of pool:north": 1}
        again = await room.master()
        assert (again.binary(NORTH + 11), again.binary(NORTH + 4)) == (False, True)
        await again.limit(NORTH, -1e6, 1e6)
        await again.poll()
        assert (again.binary(NORTH + 11), again.binary(NORTH + 4)) == (True, False)

    play(scene)


@pytest.mark.parametrize("away_s", [10.0, 60.0, 79.0])
def test_what_a_master_that_is_heard_holds_outlives_a_journal_that_is_away_for_less_than_its_lease(
    away_s: float,
) -> None:
    """A full disk, a database that begins anew: nothing can be recorded for a while, a renewal among it."""

    async def scene(room: Room) -> None:
        dno, loop = await room.master(), asyncio.get_running_loop()
        assert await dno.limit(NORTH, -1e6, 1e6) == [OK, OK, OK]
        began = loop.time()
        while loop.time() < began + 600.0:
            room.desk.fail = 35.0 <= loop.time() - began < 35.0 + away_s
            await asyncio.sleep(1.0)
            if int(loop.time() - began) % 10 == 0:
                await dno.poll()
            assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        assert (dno.binary(NORTH + 11), dno.binary(NORTH + 4)) == (True, False)
        assert not any(room.outstation.lapses().values())

    play(scene)


def test_what_could_not_be_renewed_to_the_end_of_its_lease_is_shown_as_lapsed() -> None:
    async def scene(room: Room) -> None:
        dno, loop = await room.master(), asyncio.get_running_loop()
        await dno.limit(NORTH, -1e6, 1e6)
        room.desk.fail, began = True, loop.time()
        while loop.time() < began + 180.0:
            await asyncio.sleep(10.0)
            await dno.poll()
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 5e6)
        assert (dno.binary(NORTH + 11), dno.binary(NORTH + 4)) == (False, True)

    play(scene)


@pytest.mark.parametrize("down_s", [2.0, 90.0, 200.0])
def test_an_outstation_that_begins_anew_goes_on_with_what_its_master_operated(down_s: float) -> None:
    async def scene(room: Room) -> None:
        dno = await room.master()
        assert await dno.limit(NORTH, -1e6, 2e6) == [OK, OK, OK]
        await dno.close()
        desk = SmallDesk()  # what the journal tells of the killed one; that its outstation does more is not seen here
        desk.claims = dict(room.desk.claims)
        await room.outstation.stop()
        await asyncio.sleep(down_s)
        made = Dnp3Outstation(msgspec.structs.replace(BINDING, port=20001), desk, room.clock, room.supervisor)
        await made.start()
        made.take_up(desk.claims.values())
        await made.publish(desk.snapshot(now_ns=room.clock.now_ns()))
        dno = Scada("tieline", 20001, master=1, outstation=10, spawn=room.supervisor.spawn)
        await dno.connect()
        lives = down_s < BINDING.lease_s
        assert (dno.binary(NORTH + 11), dno.binary(NORTH + 4)) == (lives, not lives)
        for _ in range(10):
            await asyncio.sleep(60)
            await dno.poll()
            assert (desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 2e6)) is lives
        await dno.close()
        await asyncio.sleep(BINDING.lease_s + 1)
        assert sum(made.lapses().values()) == lives, "and what it took up lapses as any other"
        await made.stop()

    play(scene)


def test_a_master_that_polls_before_the_first_beat_after_a_restart_learns_what_stands_and_the_rest_unasked() -> None:
    """It dialled at once: its limit is shown in its first poll, and what no beat had shown yet comes as events."""

    async def scene(room: Room) -> None:
        first = await room.master()
        await first.limit(NORTH, -1e6, 1e6)
        await first.close()
        desk = room.desk
        await room.outstation.stop()
        made = Dnp3Outstation(msgspec.structs.replace(BINDING, port=20001), desk, room.clock, room.supervisor)
        await made.start()
        made.take_up(desk.claims.values())
        dno = Scada("tieline", 20001, master=1, outstation=10, spawn=room.supervisor.spawn)
        await dno.connect()
        assert dno.binary(NORTH + 11), "its limit"
        unknown = dno.analog(NORTH + 4)
        task = room.supervisor.keep("dnp3 dno", dno.attend)
        await asyncio.sleep(1)
        await made.publish(desk.snapshot(now_ns=room.clock.now_ns()))
        await asyncio.sleep(5)
        assert (unknown, dno.analog(NORTH + 4)) == (0.0, pytest.approx(1e6, rel=0.02))
        task.cancel()
        await made.stop()

    play(scene)


@pytest.mark.parametrize(("away_s", "lapses"), [(0.0, 0), (60.0, 0), (200.0, 1)])
def test_a_front_end_dials_anew_after_a_cut_and_renews_what_lapsed_meanwhile(away_s: float, lapses: int) -> None:
    class Line:
        """A path that can be interrupted: whoever dials then is refused."""

        is_open = True

        def delay_s(self, now_s: float, size: int) -> float | None:
            return 0.001 if self.is_open else None

    line = Line()

    async def scene(room: Room) -> None:
        dno = await room.master()
        await dno.limit(NORTH, -1e6, 1e6)
        task = room.supervisor.keep("dnp3 dno", dno.attend)
        await asyncio.sleep(90)
        line.is_open = False
        asyncio.get_running_loop().network.cut("tieline", 20000)
        await asyncio.sleep(away_s)
        line.is_open = True
        await asyncio.sleep(90)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-1e6, 1e6)
        assert (dno.renewed, sum(room.outstation.lapses().values())) == (lapses, lapses)
        assert room.supervisor.losses == {"dnp3 dno": 1}
        await dno.cancel(NORTH)
        await asyncio.sleep(90)
        assert room.desk.bounds("pool:north", room.clock.now_ns()) == (-5e6, 5e6)
        task.cancel()
        room.supervisor.failures.clear()

    play(scene, network=Network(lambda host, port: line))


def test_a_master_on_no_list_is_closed_unheard() -> None:
    async def scene(room: Room) -> None:
        stranger = await room.master(99, connect=False)
        with pytest.raises(LinkDown):
            await stranger.connect()
        assert room.outstation.health().errors == 1

    play(scene)


def test_a_wrong_master_that_dials_on_and_on_waits_twice_as_long_each_time_and_the_right_one_never() -> None:
    async def scene(room: Room) -> None:
        loop = asyncio.get_running_loop()
        waited = []
        for _ in range(9):
            began_s = loop.time()
            stranger = await room.master(99, connect=False)
            with pytest.raises(LinkDown):
                await stranger.connect()
            waited.append(loop.time() - began_s)
        assert waited[0] < 0.5
        assert all(later >= min(1.9 * before, 1.0) for before, later in pairwise(waited[1:]))
        began_s = loop.time()
        dno = await room.master(1)  # from the same host
        assert loop.time() - began_s < 0.5
        assert dno.analog(NORTH) == 1e6

    play(scene)


@given(
    calls=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 600)), min_size=1, max_size=60),
    hosts=st.integers(1, MOST_HOSTS + 5),
)
def test_a_hold_grows_to_half_a_minute_is_forgotten_when_quiet_and_its_memory_is_bounded(
    calls: list[tuple[int, float]], hosts: int
) -> None:
    refusals, now_s, last = Refusals(), 0.0, dict[int, tuple[float, float]]()
    for host, passed_s in calls:
        now_s += passed_s
        hold_s = refusals.hold_s(str(host), now_s)
        before_s, ends_s = last.get(host, (0.0, float("-inf")))
        if now_s - ends_s > FORGET_S:
            assert hold_s == 0.0
        else:
            assert hold_s == min(max(2 * before_s, 0.5), 30.0)
        last[host] = hold_s, now_s + hold_s
        now_s += hold_s
    for host in range(hosts):
        refusals.hold_s(f"other-{host}", now_s)
    assert len(refusals._of) <= MOST_HOSTS


def test_a_master_that_comes_again_displaces_itself_and_finds_its_events() -> None:
    async def scene(room: Room) -> None:
        await room.master()
        again = await room.master()
        assert room.outstation.health().peers == 1
        await room.publish(power_w=3e6)
        await asyncio.sleep(1)
        assert again.analog(NORTH) == 3e6

    play(scene)


@pytest.mark.long
def test_a_thousand_masters_hear_a_change_each_in_their_own_session() -> None:
    peers = tuple(Peer(f"m{n}", 100 + n, may_read=BOTH) for n in range(1000))

    async def scene(room: Room) -> None:
        masters = [await room.master(100 + n) for n in range(1000)]
        await room.publish(power_w=-4e6)
        await asyncio.sleep(5)
        assert {scada.analog(NORTH) for scada in masters} == {-4e6}
        assert room.outstation.health().peers == 1000

    play(scene, binding=msgspec.structs.replace(BINDING, peers=peers))


@pytest.mark.parametrize(("keep_alive_s", "pace"), [(1.0, 1.0), (60.0, 60.0), (300.0, 600.0)])
def test_an_idle_master_is_asked_for_a_sign_of_life_in_time_whatever_the_pace(keep_alive_s: float, pace: float) -> None:
    async def scene(room: Room) -> None:
        await room.outstation.stop()
        binding = msgspec.structs.replace(BINDING, port=20001, keep_alive_s=keep_alive_s)
        made = Dnp3Outstation(binding, room.desk, room.clock, room.supervisor, pace=pace)
        await made.start()
        await made.publish(room.desk.snapshot())
        dno = Scada("tieline", 20001, master=1, outstation=10, spawn=room.supervisor.spawn)
        await dno.connect()
        assert await dno.limit(NORTH, -1e6, 2e6) == [OK, OK, OK]
        await asyncio.sleep(20 * binding.lease_s / pace)
        assert room.desk.withdrawn == [] and made.health().peers == 1
        await dno.close()
        await asyncio.sleep(2 * binding.lease_s / pace + 2)
        assert room.desk.withdrawn == [("dnp3:dno", "limit", "pool:north")]
        await made.stop()

    play(scene)
