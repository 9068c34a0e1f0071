"""A SunSpec device that is late, deaf, rounds or cuts short: what it makes of our commands is nobody else's hand."""

import asyncio
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery, Log
from test_modbus_owners_hand import LASTS_S

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.batch import CommandBatch, CommandReports
from tieline.resource.command import MADE, Stage
from tieline.resource.point import code
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

FREE, SHUT, HEARS, CUT, DIE = "free", "shut", "hears", "cut", "die"


@dataclass(frozen=True)
class Manner:
    """How a device is: it answers so late (s), cuts short at `most_w`, rounds to `step_w`, and may have no timer."""

    late_s: float = 0.0
    most_w: float = 5_000.0
    step_w: float = 1.0
    has_timer: bool = True


class Own(SunSpecDevice):
    """One that makes something else of what it is told."""

    manner = Manner()

    def _obey(self) -> None:
        told_w, manner = self._value("WSet"), self.manner
        made_w = round(told_w / manner.step_w) * manner.step_w
        self._lay(704, "WSet", min(max(made_w, -manner.most_w), manner.most_w))
        super()._obey()


@dataclass
class Told(Log):
    """A log that knows how each batch stands."""

    stood: dict[str, Stage] = field(default_factory=dict)
    made_w: dict[str, float] = field(default_factory=dict)

    def reports(self, reports: CommandReports) -> None:
        super().reports(reports)
        self.stood[reports.batch] = Stage(int(reports.stage[-1]))
        if reports.native and reports.native[-1].startswith(MADE):
            self.made_w[reports.batch] = float(reports.observed_w[-1])


def play(manner: Manner, deeds: list[tuple[object, float]], ends: bool = True) -> tuple[bool, set[float], int]:
    """Play deeds, a number is a call (W); return whether it ends free, what it said of LOCAL, and how often that was
    alarmed of. `ends`: it is calm and told to run free at the end."""

    async def main(loop: VirtualLoop) -> tuple[bool, set[float], int]:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        device = Own(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        device.manner, device.late_s = manner, manner.late_s
        for name in () if manner.has_timer else ("WSetRvrtTms", "WMaxLimPctRvrtTms"):
            at = MODELS[704].field(name).offset
            device.registers[704][at : at + 2] = [0xFFFF, 0xFFFF]
        server, seq, last, took, left = SunSpecServer({1: device}), 0, None, False, list(deeds)
        made_w = math.nan
        await server.start(port=502)
        how = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0)
        local, contended, is_calm = set[float](), 0, not ends
        while left or not is_calm:
            if not left:
                is_calm, device.late_s, device.is_silent = True, 0.0, False
                left = [(None, 300.0), (FREE, 60.0)]
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                log = Told()
                link = ModbusLink(how, log, clock, supervisor, np.random.default_rng(2))
                if last is not None and (took or math.isfinite(made_w)):
                    link.remember(last, np.full(1, math.nan), np.full(1, took), np.full(1, made_w))
                link.start()
                await asyncio.sleep(1.0)
                while left:
                    deed, wait_s = left.pop(0)
                    if deed == DIE:
                        break
                    if deed == CUT:
                        loop.network.cut("127.0.0.1", 502)
                    elif deed in (SHUT, HEARS):
                        device.is_silent = deed == SHUT
                    elif deed is not None:
                        seq, now_ns, one = seq + 1, clock.now_ns(), np.ones(1)
                        target_w = math.nan if deed == FREE else float(deed)
                        last, took = CommandBatch(
                            f"c{seq}", np.array([7], np.int32), target_w * one, -np.inf * one, np.inf * one, 0 * one,
                            now_ns, now_ns, now_ns + int(LASTS_S) * SECOND_NS, 1, seq, (),
                        ), False  # fmt: skip
                        await link.send(last)
                    await asyncio.sleep(wait_s)
                if last is not None and last.id in log.stood:
                    took, made_w = log.stood[last.id] is Stage.DONE, log.made_w.get(last.id, math.nan)
                contended += link.counts.contended
                local |= {float(v) for b in log.readings_ for v in b.values[b.points == code("is_local")]}
                link.stop()
        is_free = device._value("WSetEna") == 0.0 and device._value("WMaxLimPctEna") == 0.0
        return is_free, local, contended

    return run_virtual(main)


waits = st.sampled_from([0.1, 1.0, 5.0, 30.0, 200.0])
some = st.sampled_from([2_000.0, -1_500.0, 4_444.0, FREE, FREE, SHUT, HEARS, CUT, DIE])
manners = st.builds(
    Manner, late_s=st.sampled_from([0.0, 1.0, 4.0]), most_w=st.sampled_from([5_000.0, 1_500.0]),
    step_w=st.sampled_from([1.0, 100.0]), has_timer=st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(manners, st.lists(st.tuples(some, waits), max_size=10))
@example(Manner(most_w=1_500.0, has_timer=False), [(2_000.0, 1_200.0)])
@example(Manner(late_s=4.0), [(2_000.0, 0.1), (FREE, 0.1), (2_000.0, 5.0), (FREE, 30.0)])
@example(Manner(late_s=1.0), [(2_000.0, 30.0), (DIE, 5.0), (FREE, 0.1), (4_444.0, 0.1), (DIE, 30.0)])
def test_what_a_device_makes_of_our_commands_is_nobodys_hand_and_it_ends_free(
    manner: Manner, done: list[tuple[object, float]]
) -> None:
    is_free, local, contended = play(manner, done)
    assert (is_free, local - {0.0}, contended) == (True, set(), 0)


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("calls", [1, 3])
def test_what_a_device_without_a_timer_made_of_a_call_ends_with_it_also_where_its_server_died(
    calls: int, dies: bool
) -> None:
    """Nobody tells it anything afterwards: its own limit is 1.5 kW, and it was told 2 kW, once or renewed."""
    deeds: list[tuple[object, float]] = [(2_000.0, 30.0)] * calls
    is_free, local, contended = play(
        Manner(most_w=1_500.0, has_timer=False), [*deeds, *([(DIE, 0.0)] if dies else []), (None, 1_500.0)], ends=False
    )
    assert (is_free, local - {0.0}, contended) == (True, set(), 0)
