"""Award days of a served folder: settled when they are over and all is in, by the clock of the market, or named."""

import asyncio
import errno
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampled import some
from tieline.desk.entry import Entry
from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.ports import Award, Offer, Segment
from tieline.desk.prices import SendPrices
from tieline.desk.screens import DayView
from tieline.ids import derive
from tieline.node.config import load_config
from tieline.node.kept_readings import HOLDS_NS, STEP_NS, KeptReadings, interval_means
from tieline.node.runtime import Node
from tieline.node.serve import node_of, trader_of
from tieline.node.trader import NodeTrader
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.store import registry
from tieline.store.importing import read_fleet
from tieline.store.series import Historian, Wal, joined
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, market_day

ZONE = ZoneInfo("America/Chicago")
TABLE = """id,kind,max_absorb_w,owner,pool
load-1,interruptible_load,9000000,ann,pool-1
load-2,interruptible_load,9000000,bob,pool-1
"""
SETTINGS = 'zone = "America/Chicago"\njurisdiction = "US-TX"\n[pools.pool-1]\nreadings_wait_h = 24.0\n'
QUARTER_NS = 15 * MINUTE_NS


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns


class Served:
    """A served folder without its console: a node, its trader, and a log of readings."""

    def __init__(self, folder: Path, supervisor: Supervisor, clock: Hands) -> None:
        (folder / "devices.csv").write_text(TABLE)
        (folder / "tieline.toml").write_text(SETTINGS)
        registry.save(read_fleet(folder / "devices.csv"), folder / "registry.bin")
        settings = load_config(folder / "tieline.toml")
        self.node: Node = node_of(folder, settings, supervisor, None, clock)
        self.wal = Wal(folder / "readings")
        self.kept = KeptReadings(self.wal, Historian(folder / "historian"), None, self.node.state.fleet)
        self.trader: NodeTrader = trader_of(self.node, settings, self.kept)

    async def awarded(self, start_ns: int, power_w: float) -> None:
        offer = Offer(f"o{start_ns}", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, (Segment(power_w, 1.0),))
        assert await self.node.desk.offer([offer]) == [None]
        award = Award(f"a{start_ns}", offer.id, "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, power_w, 50.0)
        assert await self.node.desk.awards([award], "f") == [None]

    async def priced(self, start_ns: int, price: float) -> None:
        sent = SendPrices("system", "real_time", [start_ns], [price])
        assert (await self.trader.prices(sent, "ann")).new == 1

    def read(self, row: int, first_ns: int, end_ns: int, power_w: Callable[[int], float], received_ns: int = 0) -> None:
        taken = np.arange(first_ns, end_ns, QUARTER_NS, dtype=np.int64)
        count = len(taken)
        values = np.array([power_w(at) for at in taken.tolist()])
        readings = Readings(
            np.full(count, row, np.int32), np.full(count, code("power_w"), np.uint16), values,
            np.zeros(count, np.uint32), taken, np.full(count, received_ns, np.int64), "test",
        )  # fmt: skip
        self.wal.append([readings])
        self.trader.days.heard(readings)

    def sent(self, row: int, taken: np.ndarray, power_w: float, quality: Quality) -> None:
        """Put readings into the log as they are, past all that looks at what comes in."""
        count = len(taken)
        columns = (np.full(count, code("power_w"), np.uint16), np.full(count, power_w), np.full(count, int(quality)))
        point, value, flags = columns[0], columns[1], columns[2].astype(np.uint32)
        self.wal.append([Readings(np.full(count, row, np.int32), point, value, flags, taken, taken, "test")])

    async def day(self) -> DayView:
        await self.trader.days.look()
        (only,) = self.trader.settlements("")
        return only


def play(folder: Path, scene: Callable) -> None:
    async def main() -> None:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            clock = Hands()
            await scene(Served(folder, supervisor, clock), clock)

    asyncio.run(main())


def by_the_wall(at_ns: int) -> float:
    """Consumption that follows the hour of the day: only like hours can be compared."""
    return -100_000.0 * (1 + from_ns(at_ns).astimezone(ZONE).hour)


@pytest.mark.parametrize(
    ("day", "hours_of_day", "called_hour", "zone"),
    some([
        (date(2022, 3, 13), 23, 16, "America/Chicago"),  # 17 o'clock: two in the morning is not there
        (date(2022, 11, 6), 25, 18, "America/Chicago"),  # 17 o'clock, an hour later on the clock that runs
        (date(2022, 11, 6), 25, 2, "America/Chicago"),  # one in the morning, the second time
        (date(2022, 8, 17), 24, 17, "America/Chicago"),
        (date(2026, 3, 8), 23, 16, "America/New_York"),
        (date(2026, 11, 1), 25, 18, "America/New_York"),
        (date(2026, 11, 1), 25, 2, "America/New_York"),
        (date(2026, 3, 29), 23, 16, "Europe/Berlin"),
        (date(2026, 10, 25), 25, 18, "Europe/Berlin"),
        (date(2026, 10, 25), 25, 3, "Europe/Berlin"),  # two in the morning, the second time
        (date(2026, 3, 29), 23, 1, "Europe/London"),  # the first hour of summer: one in the morning is not there
    ], 4),
)  # fmt: skip
def test_a_day_of_any_length_is_settled_when_it_is_over_and_against_like_hours(
    tmp_path: Path, day: date, hours_of_day: int, called_hour: int, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ZONE", ZoneInfo(zone))
    monkeypatch.setitem(globals(), "SETTINGS", SETTINGS.replace("America/Chicago", zone))
    over = market_day(day, ZONE)
    assert over.end_ns - over.start_ns == hours_of_day * HOUR_NS
    start_ns = over.start_ns + called_hour * HOUR_NS

    def called(at_ns: int) -> float:
        return by_the_wall(at_ns) + (40_000.0 if start_ns <= at_ns < start_ns + HOUR_NS else 0.0)

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns - HOUR_NS
        await served.awarded(start_ns, 80_000.0)
        await served.priced(start_ns, 1_000.0)
        for row in (0, 1):
            served.read(row, market_day(day - timedelta(days=15), ZONE).start_ns, over.end_ns, called)
        clock.at_ns = over.end_ns - 1
        assert (await served.day()).state == "running"
        clock.at_ns = over.end_ns
        settled = await served.day()
        assert settled.state == "settled", settled.missing
        (statement,) = settled.statements
        assert statement.total == "4.00"  # 0.08 MWh at 50 $/MWh: not a watt more or less than was awarded
        # Nobody was seen to give it, as nothing was dispatched: the owners' four fifths go by their own meters.
        assert (statement.body["operator"], statement.body["undistributed"]) == ("0.80", "0.00")
        assert statement.body["shares"] == {"ann": "1.60", "bob": "1.60"}

    play(tmp_path, scene)


def test_a_day_waits_for_readings_by_name_and_then_does_without_them(tmp_path: Path) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns = over.start_ns + 17 * HOUR_NS
    first_ns = market_day(date(2022, 8, 2), ZONE).start_ns

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        served.read(0, first_ns, over.end_ns, lambda at: -2e5 if at // HOUR_NS == start_ns // HOUR_NS else -3e5)
        served.read(1, first_ns, start_ns + QUARTER_NS, lambda at: -3e5)
        clock.at_ns = over.end_ns
        waits = await served.day()
        assert waits.state == "waiting"
        assert waits.missing == (
            "real-time prices of system: 12 intervals from 2022-08-17T22:00:00Z on",
            "readings of load-2 in called hours",
        )
        await served.priced(start_ns, 100.0)
        waits = await served.day()
        assert (waits.state, waits.missing) == ("waiting", ("readings of load-2 in called hours",))
        assert waits.waits_until_ns == over.end_ns + 24 * HOUR_NS
        clock.at_ns = waits.waits_until_ns
        settled = await served.day()
        (statement,) = settled.statements
        assert (settled.state, statement.total) == ("settled", "5.00")  # load-1 alone gave all of it
        assert "without readings of the called hours, paid nothing: load-2" in statement.body["flags"]
        # Its readings come after all: it had gone on as ever, so that the pool gave no less.
        served.read(1, start_ns, over.end_ns, lambda at: -2.5e5, received_ns=1)
        again = await served.day()
        assert [s.version for s in again.statements] == [1, 2]
        # 50 kW more than awarded, at 100 $/MWh: 0.4167 $ in each interval, paid in whole cents.
        assert again.statements[1].total == "10.04"
        assert (await served.day()).statements == again.statements, "what does not change is not settled anew"

    play(tmp_path, scene)


def test_a_day_whose_readings_were_corrected_while_the_disk_was_full_is_settled_anew_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns, first_ns = over.start_ns + 17 * HOUR_NS, market_day(date(2022, 8, 2), ZONE).start_ns

    def full(table: object, where: Path, **how: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        for row in (0, 1):
            served.read(row, first_ns, over.end_ns, lambda at: -2e5 if at // HOUR_NS == start_ns // HOUR_NS else -3e5)
        clock.at_ns = over.end_ns
        (first,) = (await served.day()).statements
        with monkeypatch.context() as patched:
            patched.setattr(pq, "write_table", full)
            served.read(1, start_ns, start_ns + HOUR_NS, lambda at: -3e5, received_ns=1)
            with pytest.raises(OSError, match="No space left"):
                await served.day()
        settled = await served.day()
        assert [each.version for each in settled.statements] == [1, 2]
        # 100 kW less for an hour at 100 $/MWh, in twelve intervals of 0.8333 $ that are paid in whole cents.
        assert float(settled.statements[1].total) == pytest.approx(float(first.total) - 10.0, abs=0.06)

    play(tmp_path, scene)


def test_a_late_reading_of_another_called_day_makes_a_new_version_of_that_day_alone(tmp_path: Path) -> None:
    """The day before stands for no other, as it was called: an empty second version of the next day told otherwise."""
    days = [market_day(date(2022, 8, day), ZONE) for day in (16, 17)]
    starts_ns, first_ns = [day.start_ns + 17 * HOUR_NS for day in days], market_day(date(2022, 8, 1), ZONE).start_ns

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = days[0].start_ns
        for start_ns in starts_ns:
            await served.awarded(start_ns, 100_000.0)
            await served.priced(start_ns, 100.0)
        called = {start_ns // HOUR_NS for start_ns in starts_ns}
        for row in (0, 1):
            served.read(row, first_ns, days[1].end_ns, lambda at: -2e5 if at // HOUR_NS in called else -3e5)
        clock.at_ns = days[1].end_ns
        await served.trader.days.look()
        served.read(1, starts_ns[0], starts_ns[0] + HOUR_NS, lambda at: -3e5, received_ns=1)
        await served.trader.days.look()
        versions = {day.day: [each.version for each in day.statements] for day in served.trader.settlements("")}
        assert versions == {"2022-08-16": [1, 2], "2022-08-17": [1]}

    play(tmp_path, scene)


def test_who_is_paid_nothing_for_want_of_readings_has_no_share_until_they_come(tmp_path: Path) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns, first_ns = over.start_ns + 17 * HOUR_NS, market_day(date(2022, 8, 2), ZONE).start_ns
    gave, each_w = Packed.of(np.array([0, 1], np.int32)), Packed.of(np.array([30_000.0, 70_000.0]))

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        for at in range(start_ns, start_ns + HOUR_NS, STEP_NS):
            seen = IntervalTracked("pool-1", at, at + STEP_NS, 1e5, 1e5, {}, gave, each_w, 1, {})
            await served.node.desk.commit([Entry(derive("interval", "pool-1", at), seen, "pool-1", ())])
        called = range(start_ns, start_ns + HOUR_NS)
        served.read(0, first_ns, over.end_ns, lambda at: -2e5 if at in called else -3e5)
        served.read(1, first_ns, start_ns, lambda at: -3e5)
        clock.at_ns = over.end_ns + 24 * HOUR_NS
        (statement,) = (await served.day()).statements
        assert "without readings of the called hours, paid nothing: load-2" in statement.body["flags"]
        assert (statement.total, statement.body["shares"]) == ("5.00", {"ann": "4.00"})
        served.read(1, start_ns, over.end_ns, lambda at: -2e5 if at in called else -3e5, received_ns=1)
        again = (await served.day()).statements[-1]
        assert (again.version, again.body["shares"]) == (2, {"ann": "3.59", "bob": "8.38"})

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("power_w", "quality", "why"),
    some([
        (-9e9, Quality.GOOD, " (1 of them beyond what their devices are rated for)"),  # kept before anybody looked
        (9e9, Quality.GOOD, " (1 of them beyond what their devices are rated for)"),
        (-9e9, Quality.OUT_OF_RANGE, " (1 of them beyond what their devices are rated for)"),
        (-1e5, Quality.QUESTIONABLE, ""),
        (-1e5, Quality.ESTIMATED, ""),
    ], 4),
)  # fmt: skip
@pytest.mark.parametrize("days_before", some([0, 1]))
def test_one_reading_that_cannot_be_true_moves_no_money_and_is_told(
    tmp_path: Path, power_w: float, quality: Quality, why: str, days_before: int
) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns = over.start_ns + 17 * HOUR_NS

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        for row in (0, 1):
            served.read(
                row, market_day(date(2022, 8, 2), ZONE).start_ns, over.end_ns,
                lambda at: -2.5e5 if at // HOUR_NS == start_ns // HOUR_NS else -3e5,
            )  # fmt: skip
        taken = np.array([start_ns - days_before * 24 * HOUR_NS + 7 * MINUTE_NS], np.int64)
        served.sent(0, taken, power_w, quality)
        clock.at_ns = over.end_ns
        (statement,) = (await served.day()).statements
        assert statement.total == "5.00"  # 0.1 MWh at 50 $/MWh, all of it given
        assert statement.body["flags"] == [f"1 readings not fit to settle by were left out{why}: load-1"]

    play(tmp_path, scene)


def test_a_device_whose_every_reading_is_questionable_is_waited_for_and_the_reason_said(tmp_path: Path) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns = over.start_ns + 17 * HOUR_NS

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        first_ns = market_day(date(2022, 8, 2), ZONE).start_ns
        for row in (0, 1):
            served.read(row, first_ns, over.start_ns if row else over.end_ns, lambda at: -3e5)
        taken = np.arange(over.start_ns, over.end_ns, QUARTER_NS, dtype=np.int64)
        assert len(taken) == 96
        served.sent(1, taken, -3e5, Quality.QUESTIONABLE)
        clock.at_ns = over.end_ns
        waits = await served.day()
        unfit = "96 readings not fit to settle by were left out: load-2"
        assert (waits.state, waits.missing) == ("waiting", (f"readings of load-2 in called hours ({unfit})",))

    play(tmp_path, scene)


def test_too_few_like_days_are_said_and_live_readings_make_no_day_due(tmp_path: Path) -> None:
    over = market_day(date(2022, 8, 17), ZONE)
    start_ns = over.start_ns + 17 * HOUR_NS

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        for row in (0, 1):
            served.read(row, over.start_ns, over.end_ns, lambda at: -3e5)
        clock.at_ns = over.end_ns
        waits = await served.day()
        assert waits.state == "waiting"
        out = "left out: 31 days from 2022-07-05 to 2022-08-16 (no meter data), 2022-07-04 (a holiday)"
        assert waits.missing == (f"caiso-10-in-10: 0 like days for 2022-08-17, needs 5; {out}",)
        before = served.node.journal.last_seq
        served.read(0, over.end_ns, over.end_ns + HOUR_NS, lambda at: -3e5)
        assert not served.trader.days._dirty
        await served.day()
        assert served.node.journal.last_seq == before

    play(tmp_path, scene)


samples = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-900, 3_600), st.floats(-1e6, 1e6), st.booleans()), max_size=40
)


@given(samples)
def test_means_of_intervals_are_what_each_second_held(sent: list[tuple[int, int, float, bool]]) -> None:
    """Against a walk over every second, which knows nothing of columns."""
    start_ns, steps = 1_660_712_400 * 10**9, 12
    rows = np.array([3, 5, 9], np.int32)
    quality = [0 if good else int(Quality.INVALID) for *_, good in sent]
    table = joined(
        [
            Readings(
                rows[[row for row, *_ in sent]] if sent else np.zeros(0, np.int32),
                np.full(len(sent), code("power_w"), np.uint16), np.array([w for _, _, w, _ in sent], np.float64),
                np.array(quality, np.uint32),
                np.array([start_ns + s * 10**9 for _, s, _, _ in sent], np.int64), np.arange(len(sent), dtype=np.int64),
                "test",
            )
        ]
    )  # fmt: skip
    import pyarrow as pa

    found = interval_means(pa.Table.from_batches([table]), rows, start_ns, start_ns + steps * STEP_NS)
    for at in range(3):
        held = np.full(3_600, np.nan)
        mine = {s: w for row, s, w, good in sent if row == at and good}
        for second in range(3_600):
            last = max((s for s in mine if s <= second), default=None)
            if last is not None and second - last < HOLDS_NS // 10**9:
                held[second] = mine[last]
        of_step = held.reshape(steps, 300)
        known = np.isfinite(of_step).sum(axis=1) >= 240
        assert (np.isfinite(found[at]) == known).all()
        for step in np.flatnonzero(known):
            assert found[at][step] == pytest.approx(np.nanmean(of_step[step]), abs=1e-3)
