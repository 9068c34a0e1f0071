"""A day whose server was dead for most of it: owners' parts go by what the meters of their devices say."""

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_settled_days import Hands, Served, play

from tieline.desk.entry import Entry
from tieline.desk.facts import EventTracked, IntervalTracked
from tieline.desk.packed import Packed
from tieline.ids import derive
from tieline.market.baseline import compute
from tieline.market.calendar import holidays_around, on_the_clock_of
from tieline.market.picking import Event
from tieline.market.rule import baseline_rule, baseline_rules
from tieline.node.device_gave import device_gave
from tieline.node.kept_readings import STEP_NS, Seen
from tieline.node.statements import moved_of_rows
from tieline.times import HOUR_NS, market_day

DAY = date(2022, 8, 17)
OVER = market_day(DAY, ZoneInfo("America/Chicago"))
START_NS = OVER.start_ns + 17 * HOUR_NS
FIRST_NS = market_day(date(2022, 8, 2), ZoneInfo("America/Chicago")).start_ns
ROWS = Packed.of(np.array([0, 1], np.int32))


async def dead_but_for_its_first_interval(served: Served, clock: Hands, uncounted_s: int = 0) -> None:
    """Award 100 kW and count its first interval alone, of which ann's device was seen to give nine tenths."""
    clock.at_ns = OVER.start_ns
    await served.awarded(START_NS, 100_000.0)
    await served.priced(START_NS, 100.0)
    gap = ((START_NS + STEP_NS - uncounted_s * 10**9, START_NS + STEP_NS),) if uncounted_s else ()
    each_w = Packed.of(np.array([90_000.0, 10_000.0]))
    seen = IntervalTracked("pool-1", START_NS, START_NS + STEP_NS, 1e5, 1e5, {}, ROWS, each_w, 1, uncounted=gap)
    await served.node.desk.commit([Entry(derive("interval", "pool-1", START_NS), seen, "pool-1", ())])


def gives(each_w: float):
    """Return what a load draws that draws 300 kW as ever, and gives so much in the called hour (W)."""
    return lambda at: each_w - 3e5 if START_NS <= at < START_NS + HOUR_NS else -3e5


def test_a_server_that_saw_one_interval_of_its_hour_pays_the_others_by_the_devices_meters(tmp_path: Path) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        await dead_but_for_its_first_interval(served, clock)
        served.read(0, FIRST_NS, OVER.end_ns, gives(20_000.0))
        served.read(1, FIRST_NS, OVER.end_ns, gives(80_000.0))
        clock.at_ns = OVER.end_ns
        (statement,) = (await served.day()).statements
        # ann: 7.5 kWh as seen and 18.333 by meter of 100 kWh, of $4.00 that are the owners'.
        assert (statement.total, statement.body["shares"]) == ("5.00", {"ann": "1.03", "bob": "2.97"})
        assert statement.body["shared_by"] == {
            "telemetry": {"milli_wh": 8_333_334, "amount": "0.33", "intervals": 1},
            "meters": {"milli_wh": 91_666_666, "amount": "3.67", "intervals": 11},
        }
        assert (statement.body["loose_milli_wh"], statement.body["flags"]) == (0, [])
        # The readings of bob's device are corrected afterwards: it gave 30 kW.
        served.read(1, START_NS, START_NS + HOUR_NS, gives(30_000.0), received_ns=1)
        again = (await served.day()).statements
        assert [each.version for each in again] == [1, 2]
        # 50 kWh, of which 4.167 as seen (3.75 and 0.417), and by meters 2 to 3 of the rest: 18.333 and 27.5.
        owners = sum(Decimal(each) for each in again[1].body["shares"].values())
        assert float(again[1].body["shares"]["ann"]) == pytest.approx(float(owners) * 22.083 / 50.0, abs=0.006)
        served.trader.days.changed_since(START_NS)
        assert (await served.day()).statements == again, "the same readings are the same statement"

    play(tmp_path, scene)


def test_the_part_of_an_interval_that_was_not_counted_goes_by_the_meters_too(tmp_path: Path) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        await dead_but_for_its_first_interval(served, clock, uncounted_s=240)
        served.read(0, FIRST_NS, OVER.end_ns, gives(20_000.0))
        served.read(1, FIRST_NS, OVER.end_ns, gives(80_000.0))
        clock.at_ns = OVER.end_ns
        (statement,) = (await served.day()).statements
        # 60 s as seen: 1.5 kWh and 0.167; the rest by meters: 19.667 and 78.667.
        assert statement.body["shares"] == {"ann": "0.85", "bob": "3.15"}
        assert statement.body["resources_milli_wh"] == pytest.approx(
            {"load-1": 21_166_667, "load-2": 78_833_333}, abs=30
        )

    play(tmp_path, scene)


def test_what_an_event_moved_of_a_device_is_paid_there_and_no_part_of_what_it_gave(tmp_path: Path) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        await dead_but_for_its_first_interval(served, clock)
        for at in range(START_NS, START_NS + HOUR_NS, STEP_NS):
            clock.at_ns = at + STEP_NS
            moved = EventTracked(
                "e", at, at + STEP_NS, 6e4, 6e4, {}, 1, rows=Packed.of(np.array([1], np.int32)),
                row_w=Packed.of(np.array([60_000.0])),
            )  # fmt: skip
            await served.node.desk.commit([Entry(derive("event-interval", "e", at), moved, "pool-1", ())])
        assert {at: watts.tolist() for at, (_, watts) in moved_of_rows(
            served.node.journal, START_NS, START_NS + STEP_NS).items()} == {START_NS: [60_000.0]}  # fmt: skip
        served.read(0, FIRST_NS, OVER.end_ns, gives(20_000.0))
        served.read(1, FIRST_NS, OVER.end_ns, gives(80_000.0))
        clock.at_ns = OVER.end_ns
        (statement,) = (await served.day()).statements
        # Of 40 kWh that are the award's 36.667 go by meters, half to half; of the first interval nine to one.
        assert statement.body["resources_milli_wh"] == pytest.approx(
            {"load-1": 21_333_333, "load-2": 18_666_667}, abs=40
        )

    play(tmp_path, scene)


class Hours:
    """Meters of devices as a table: a mean for each row and interval since an instant."""

    def __init__(self, first_ns: int, power_w: np.ndarray) -> None:
        self.first_ns, self.power_w = first_ns, power_w

    async def seen(self, rows: np.ndarray, start_ns: int, end_ns: int) -> Seen:
        at = (start_ns - self.first_ns) // STEP_NS
        return Seen(self.power_w[rows, at : at + (end_ns - start_ns) // STEP_NS], np.zeros((len(rows), 2), np.int64))


BY_SERVER = sorted(name for name, rule in baseline_rules().items() if not rule.needs)


@given(
    st.sampled_from(BY_SERVER),
    st.sampled_from(
        [
            (DAY, "America/Chicago"),
            (date(2022, 11, 7), "America/Chicago"),
            (date(2026, 10, 26), "Europe/Berlin"),
            (date(2022, 3, 13), "America/Chicago"),
            (date(2022, 11, 6), "America/Chicago"),  # 23 hours, and 25
        ]
    ),
    st.integers(0, 2**32 - 1),
    st.integers(8, 19),
)
@settings(max_examples=25, deadline=None)
def test_what_devices_gave_adds_up_to_what_their_pool_gave_by_every_rule_that_a_server_settles_by(
    rule_id: str, when: tuple[date, str], seed: int, hour: int
) -> None:
    day, zone, rng = when[0], ZoneInfo(when[1]), np.random.default_rng(seed)
    rule, over = baseline_rule(rule_id), market_day(when[0], ZoneInfo(when[1]))
    assume(not rule.effective_from or day.isoformat() >= rule.effective_from)
    first_ns = market_day(day - timedelta(days=rule.window_days + 1), zone).start_ns
    starts = np.arange(first_ns, over.end_ns, STEP_NS, dtype=np.int64)
    each_w = -rng.uniform(1e4, 9e4, (3, 1)) * rng.uniform(0.6, 1.4, (3, len(starts)))
    kwh = on_the_clock_of(day, zone, starts, -each_w.sum(axis=0) / 12 / 1e3)
    event = Event(day, hour * 12, hour * 12 + 24, 12)
    base = compute(rule, kwh, event, holidays=holidays_around(day))
    called = [over.start_ns + at * STEP_NS for at in range(event.first, event.last)]
    rows = np.arange(3, dtype=np.int32)
    found = asyncio.run(device_gave(Hours(first_ns, each_w), [(rows, base)], day, zone, event, called, {}))
    pool_w = np.array([found.gave_w[at].sum() for at in called])
    assert pool_w == pytest.approx(base.performance * 12e3, abs=1e-3)
