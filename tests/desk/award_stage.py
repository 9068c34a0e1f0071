"""A pool on two feeders whose award, instructions and limits come at any second; devices as machines are."""

from __future__ import annotations

import numpy as np
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.planned import Planned
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, DispatchBatch, Granted, Instruction, Offer, Segment
from tieline.fleet.columns import KIND_CODE
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
KINDS = [
    *[Kind.BATTERY] * 3, Kind.WATER_HEATER, Kind.PV, Kind.EV_CHARGER,
    *[Kind.BATTERY] * 3, Kind.WATER_HEATER, Kind.SHIFTABLE_LOAD, Kind.INTERRUPTIBLE_LOAD,
]  # fmt: skip
HEATER, PV, CAR, OTHER_HEATER, PLUG = 3, 4, 5, 9, 10
FREE_W = np.array([0, 0, 0, -3_000, 3_000, -3_600, 0, 0, 0, -3_000, -2_000, 0], np.float64)
SWITCHED = np.isin(np.arange(len(KINDS)), [HEATER, OTHER_HEATER, PLUG])
STORES = np.array([kind is Kind.BATTERY for kind in KINDS])
AWARD_W = 12_000.0
HEATER_OFF_NS = 60 * SECOND_NS
"""For so long a heater that was switched off stays off, by its own timer."""


class Hour:
    """The hour of an award, second by second; each feeder's devices are read every `polls_s`, and obey at once.

    A beat comes every minute, and within a second of what the desk says has changed, or is due.
    """

    def __init__(self, polls_s: tuple[int, int] = (10, 10), *, by_schedule: bool = True) -> None:
        plain = fleet_of(KINDS, 6)
        plain.max_absorb_w[:] = np.where(STORES, 5_000.0, 0.0)
        plain.max_absorb_w[[HEATER, OTHER_HEATER, PLUG, CAR, 11]] = [3_000.0, 3_000.0, 2_000.0, 7_200.0, 2_000.0]
        plain.max_inject_w[PV], plain.energy_wh[:] = 6_000.0, np.where(STORES, 13_500.0, 0.0)
        self.stage = Stage1(plain)
        self.state, self.devices, self.clock = self.stage.state, self.stage.devices, self.stage.clock
        count, self.polls_ns = len(KINDS), np.repeat(polls_s, 6) * SECOND_NS
        self.state.is_switched |= SWITCHED
        price = merit_price(plain.kinds)
        self.pool = PoolDesk(
            "pool-1", np.arange(count, dtype=np.int32), price, np.ones(count, np.bool_), np.zeros(count)
        )
        if by_schedule:
            rows = np.flatnonzero(STORES).astype(np.int32)
            self.pool.planned = Planned(
                ("a",), HOUR, HOUR_NS, HOUR, rows, np.full((1, len(rows)), AWARD_W / len(rows), np.float32)
            )
        self.desk = Desk(self.state, self.stage.journal, self.clock, PEOPLE, on_change=self._changed)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: self.state.fleet.id_of(row) for row in range(count)})
        self.cycle, self.wakes, self.batch = Cycle(self.desk, {"pool-1": self.pool}), False, 0
        self.looked_ns = HOUR
        self.is_off, self.off_ns = np.zeros(count, np.bool_), np.full(count, -HOUR_NS)
        self.power_w = FREE_W.copy()
        self.powers_w: list[np.ndarray] = []
        self.state.offers["o"] = Offer("o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, (Segment(AWARD_W, 50.0),))
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, AWARD_W, 50.0)
        self.state.base_w[:] = FREE_W
        self.clock.ns = HOUR
        self.read(np.ones(count, np.bool_))

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)
        self.wakes = True

    def obey(self) -> None:
        """Have devices do as they were told; a heater that went off stays off for as long as its own timer says."""
        now_ns, told = self.clock.ns, self.devices
        alive = told.until_ns > now_ns
        wish_w = np.where(alive & np.isfinite(told.target_w), told.target_w, FREE_W)
        wish_w = np.where(alive, np.clip(wish_w, told.low_w, told.high_w), wish_w)
        size_w = self.state.fleet.max_absorb_w
        stops = SWITCHED & (wish_w > -0.5 * size_w)
        self.off_ns = np.where(stops & ~self.is_off, now_ns, self.off_ns)
        waits = self.is_off & np.isin(self.state.fleet.kinds, [KIND_CODE[Kind.WATER_HEATER]])
        self.is_off = stops | (waits & (now_ns - self.off_ns < HEATER_OFF_NS))
        wish_w = np.where(SWITCHED, np.where(self.is_off, 0.0, FREE_W), wish_w)
        wish_w[PV] = min(wish_w[PV], FREE_W[PV])
        wish_w[CAR] = 0.0 if wish_w[CAR] > -1_380.0 else max(wish_w[CAR], FREE_W[CAR])
        self.power_w = wish_w

    def read(self, rows: np.ndarray) -> None:
        """Have what some devices do told to the desk."""
        fleet, power_w = self.state.fleet, self.power_w
        fleet.power_w[rows], fleet.taken_at_ns[rows] = power_w[rows], self.clock.ns
        fleet.energy_available_wh[rows] = np.where(STORES, 10_800.0, np.nan)[rows]
        fleet.column("available_up_w")[CAR] = -fleet.power_w[CAR]
        fleet.column("available_down_w")[CAR] = 7_200.0 + fleet.power_w[CAR]

    async def until(self, second: float) -> None:
        """Let time pass until so many seconds after the hour began."""
        while self.clock.ns < HOUR + second * SECOND_NS:
            due_ns = self.cycle.next_freed_ns(self.looked_ns)
            if self.wakes or self.clock.ns % MINUTE_NS == 0 or due_ns <= self.clock.ns:
                self.looked_ns = self.clock.ns
                self.wakes = False
                await self.cycle.beat(self.clock.ns)
                await self.desk.flush()
            self.obey()
            self.powers_w.append(self.power_w)
            self.clock.ns += SECOND_NS
            self.obey()
            self.read((self.clock.ns - HOUR) % self.polls_ns == 0)

    async def instruct(self, power_w: float) -> None:
        """Supersede what was asked from now on until the hour is over."""
        self.batch += 1
        name, now_ns = str(self.batch), self.clock.ns
        one = Instruction(f"i{name}", name, "pool-1", "ENERGY", now_ns, HOUR + HOUR_NS, power_w, 60.0, self.batch)
        answer = await self.desk.dispatch(DispatchBatch(name, now_ns, now_ns, HOUR + HOUR_NS, (one,), "f"))
        assert answer.accepted == (one.id,), answer

    async def limit(self, feeder: str, low_w: float, high_w: float) -> None:
        """Have the network's operator limit a feeder's net power."""
        ask = self.stage.ask("dso", Level.ENVELOPE, feeder, ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=HOUR + HOUR_NS)  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def release(self, feeder: str) -> None:
        """End its limit."""
        await self.desk.withdraw("test:dso", "p", feeder, Quantity.P, "f")

    @property
    def given_w(self) -> np.ndarray:
        """What the pool gave above what it does uncalled, second by second (W)."""
        return np.array([float((power_w - FREE_W).sum()) for power_w in self.powers_w])
