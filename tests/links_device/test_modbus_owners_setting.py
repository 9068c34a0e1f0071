"""What a SunSpec device's owner had set in its controls is kept over our commands, wherever we die, and given back."""

import asyncio
import math

import modbus_room
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kept_room import Records
from modbus_room import MODELS, Battery
from owners_house import (
    AWAY,
    BACK,
    CLEARS,
    CUT,
    DIE,
    FREE,
    GRACE_S,
    HEARS,
    LASTS_S,
    REBOOT,
    SHUT,
    Call,
    Owns,
    play,
)
from test_modbus_late import Told

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.modbus.owner import KeptControls
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.sunspec_device import SunSpecDevice
from tieline.times import SECOND_NS
from tieline.wire.sunspec.models import MARKER

OWN = Owns(3_300.0, 70.0)
CALM = [(HEARS, 1.0), (BACK, 1.0), (CUT, 400.0)]


@pytest.mark.parametrize("call", [Call(2_000.0), Call(math.nan, 1_000.0), Call(-1_500.0, 2_000.0)])
@pytest.mark.parametrize("ends", [
    [(FREE, 30.0)], [(None, LASTS_S + GRACE_S + 30.0)], [(DIE, 0.0), (None, 3 * LASTS_S)],
    [(DIE, 0.0), (FREE, 30.0)], [(SHUT, LASTS_S), (HEARS, 200.0)],
], ids=["released", "run out", "by the next server", "released by the next server", "away at its end"])  # fmt: skip
@pytest.mark.parametrize("lies", [False, True])
def test_what_an_owner_had_set_is_given_back(call: Call, ends: list, lies: bool, writes: str) -> None:
    assert play([(OWN, 0.0), (None, 20.0), (call, 20.0), *ends], lies=lies).holds == (3_300.0, 70.0)


@pytest.mark.parametrize(("high_w", "holds"), [(math.inf, 70.0), (4_500.0, 70.0), (1_000.0, 20.0)])
def test_a_limit_of_an_owner_that_is_tighter_than_ours_goes_on_holding(
    high_w: float, holds: float, writes: str
) -> None:
    assert play([(OWN, 0.0), (None, 20.0), (Call(2_000.0, high_w), 20.0)]).holds == (min(2_000.0, high_w), holds)


def test_nothing_is_written_over_an_owners_setting_while_the_journal_is_away(writes: str) -> None:
    away = [(OWN, 0.0), (AWAY, 0.0), (None, 20.0), (Call(2_000.0), 20.0)]
    assert play(away).holds == (3_300.0, 70.0)
    assert play([*away, (BACK, 20.0)]).holds == (2_000.0, 70.0)


def test_what_an_owner_sets_or_clears_after_a_release_is_his_and_not_answered(writes: str) -> None:
    house = play([(OWN, 0.0), (None, 20.0), (Call(2_000.0), 20.0), (FREE, 20.0), (Owns(1_100.0), 60.0)])
    assert house.holds == (1_100.0, 70.0)
    house = play([(OWN, 0.0), (None, 20.0), (Call(2_000.0), 20.0), (FREE, 20.0), (REBOOT, 60.0), (None, 400.0)])
    assert house.holds == (None, None)
    assert not any("which we did not write" in error for error in house.errors)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([OWN, Owns(3_300.0), Owns(limit=30.0)]),
    st.lists(st.sampled_from([Call(2_000.0), Call(math.nan, 1_000.0), Call(-1_500.0)]), min_size=1, max_size=3),
    st.floats(15.0, 80.0), st.sampled_from([(DIE, CLEARS), (CLEARS, DIE)]), st.booleans(),
    st.sampled_from(["block", "steps"]),
)  # fmt: skip
def test_what_was_given_back_and_freed_by_its_owner_is_not_written_again_by_the_next_server(
    own: Owns, asked: list[Call], after_s: float, ends: tuple[str, str], is_told_again: bool, writes: str
) -> None:
    """The server dies at any instant after the hand-back, and its owner frees the device while none runs, or just before."""
    modbus_room.WRITES = writes
    calls = [(call, 12.0) for call in asked]
    again = [(Call(1_200.0), 20.0), (FREE, 30.0)] if is_told_again else []
    deeds = [(own, 0.0), (None, 20.0), *calls, (FREE, after_s), *((end, 0.0) for end in ends), (None, 400.0), *again]
    house = play([*deeds, (DIE, 0.0), (None, 40.0)])
    assert house.holds == (None, None)


def test_what_a_device_without_timers_held_is_told_of_and_not_given_back(writes: str) -> None:
    house = play([(OWN, 0.0), (None, 20.0), (Call(2_000.0), 20.0), (FREE, 30.0)], has_timer=False)
    assert house.holds == (None, None)
    assert any("somebody else set 3300 W, limit 70%; it is written over" in error for error in house.errors)


calls = st.sampled_from([Call(2_000.0), Call(-1_500.0), Call(math.nan, 1_000.0), Call(4_444.0, 4_500.0)])
owners = st.sampled_from([OWN, Owns(3_300.0), Owns(1_100.0), Owns(limit=30.0), Owns(-700.0, 55.0)])
others = st.sampled_from([FREE, FREE, DIE, DIE, CUT, SHUT, HEARS, REBOOT, AWAY, BACK])
waits = st.sampled_from([0.02, 0.1, 1.0, 5.0, 30.0, 400.0])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(owners | calls | others, waits), max_size=12), st.booleans(),
    st.sampled_from(["block", "steps"]),
)  # fmt: skip
@example([(OWN, 30.0), (Call(2_000.0), 0.02), (DIE, 0.0), (Call(-1_500.0), 0.02), (DIE, 0.0)], False, "block")
@example([(OWN, 30.0), (Call(2_000.0), 5.0), (DIE, 0.0), (Owns(1_100.0), 30.0), (Call(-1_500.0), 5.0)], True, "steps")
def test_in_the_end_a_device_holds_what_its_owner_set_last_or_nothing(
    deeds: list[tuple[object, float]], is_let_go: bool, writes: str
) -> None:
    """Owners, calls, releases, deaths, cuts, reboots, silence, a journal that is away; then all is calm.

    What a reboot took before anybody had read it is not known: there it may be what he had set before that.
    """
    modbus_room.WRITES = writes
    ends = [*CALM, (FREE, 1_000.0)] if is_let_go else [*CALM, (None, 3_000.0)]
    house = play([(None, 5.0), *deeds, *ends])
    power_w, limit = house.holds
    assert power_w in (None, house.power_w, *(lost[0] for lost in house.lost))
    assert limit in (None, house.limit, *(lost[1] for lost in house.lost))


def test_what_drops_the_timer_that_it_is_told_is_not_taken_for_its_owners(writes: str) -> None:
    """It implements the register, and holds 0 there whatever it is told: what stands may be ours."""

    class Forgets(SunSpecDevice):
        def _start_timers(self) -> None:
            for name in ("WSet", "WMaxLimPct"):
                self._lay(704, f"{name}RvrtTms", 0.0)
            super()._start_timers()

    calls = [(Call(2_000.0), 20.0), (DIE, 0.0), (None, 20.0), (Call(-1_500.0), 20.0), (FREE, 60.0)]
    assert play([(None, 20.0), *calls], make=Forgets).holds == (None, None)
    killed = [(Call(2_000.0), 20.0), (Call(-1_500.0), 0.0), (DIE, 0.0), (None, 20.0), (Call(1_000.0), 20.0)]
    assert play([(None, 20.0), *killed, (FREE, 60.0)], make=Forgets).holds == (None, None)


async def _on_pymodbus(seed: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Let owner, calls and deaths of servers come by chance at a pymodbus server that never lets go by itself.

    Return the controls' functions (power, limit; the registers of each that make it that setting) as they are in the
    end, and as their owner had written them last, with pymodbus.
    """
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    from tieline.rim.clock import SystemClock

    rng, clock, journal = np.random.default_rng(seed), SystemClock(), Records(takes_s=0.01)
    size = len(MARKER) + sum(MODELS[n].size for n in MODELS) + 2
    image = [*SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock).read(0, size)]
    block = ModbusSequentialDataBlock(1, [0] * 40_000 + image + [0] * 200)
    context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    at = 40_002 + sum(MODELS[n].size for n in (1, 701, 702, 703))
    owned: list[tuple[int, ...]] = [(), ()]

    async with AsyncModbusTcpClient("127.0.0.1", port=port) as hand:

        async def own() -> None:
            which = int(rng.integers(1, 4))
            if which & 1:
                watts = int(rng.choice([3_300, 1_100]))
                for offset, words in ((24, [0, watts]), (31, [0, 0]), (23, [1]), (22, [1])):
                    await hand.write_registers(at + offset, words, device_id=1)
                owned[0] = (1, 0, watts)
            if which & 2:
                tenths = int(rng.choice([700, 300]))
                for offset, words in ((15, [tenths]), (18, [0, 0]), (14, [1])):
                    await hand.write_registers(at + offset, words, device_id=1)
                owned[1] = (1, tenths)

        last, stage, seq = None, Stage.DONE, 0
        await own()
        for life in range(3):
            log = Told()
            async with Supervisor(np.random.default_rng(seed)) as supervisor:
                kept = KeptControls("modbus", journal, clock, supervisor.spawn)
                kept.restore(journal)
                how = ModbusSettings(
                    {7: f"127.0.0.1:{port}/1"}, {7: 5_000.0}, poll_s=0.1, grace_s=0.1, writes=modbus_room.WRITES
                )
                link = ModbusLink(how, log, clock, supervisor, np.random.default_rng(2), controls=kept)
                if last is not None:
                    link.doubt([7])
                if last is not None and stage is Stage.DONE:
                    link.remember(last, np.full(1, math.nan), np.ones(1, np.bool_))
                link.start()
                await asyncio.sleep(0.5)
                for _ in range(2 if life < 2 else 0):
                    seq, now_ns, one = seq + 1, clock.now_ns(), np.ones(1)
                    target_w = float(rng.choice([2_000.0, -1_500.0]))
                    high_w = float(rng.choice([math.inf, 1_000.0]))
                    last = CommandBatch(
                        f"c{seq}", np.array([7], np.int32), target_w * one, -np.inf * one, high_w * one, 0 * one,
                        now_ns, now_ns, now_ns + 2 * SECOND_NS, 1, seq, (),
                    )  # fmt: skip
                    await link.send(last)
                    await asyncio.sleep(0.3)
                    stage = log.stood[last.id]
                    assert stage is Stage.DONE
                    if rng.random() < 0.5:
                        await asyncio.sleep(2.5)
                        await own()
                        await asyncio.sleep(0.5)
                await asyncio.sleep(0.0 if life < 2 else 4.0)
                link.stop()
            if rng.random() < 0.3:
                await own()
        power = (await hand.read_holding_registers(at + 22, count=4, device_id=1)).registers
        limit = (await hand.read_holding_registers(at + 14, count=2, device_id=1)).registers
    await server.shutdown()
    return [(power[0], *power[2:]), tuple(limit)], owned


@pytest.mark.long
@pytest.mark.interop
def test_a_pymodbus_server_holds_in_the_end_what_its_owner_wrote_last(writes: str) -> None:
    async def main() -> list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]:
        return await asyncio.gather(*(_on_pymodbus(seed) for seed in range(5)))

    for seed, (found, owned) in enumerate(asyncio.run(main())):
        for here, own in zip(found, owned, strict=True):
            assert here == own if own else here[0] == 0, f"seed {seed}"
