"""Readings on disk: durable before acknowledged, a torn tail left out, moved to the historian once."""

import asyncio
import errno
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tieline.bench.arbitrate import plain_fleet
from tieline.fleet.columns import FEW
from tieline.resource.batch import BEHIND_NS, Readings
from tieline.resource.claim import Refusal
from tieline.resource.point import code
from tieline.resource.quality import UNFIT_FOR_DISPATCH, Quality
from tieline.store.ingest import Ingest
from tieline.store.segment import read_segment
from tieline.store.series import Historian, Wal
from tieline.times import DAY_NS, HOUR_NS, SECOND_NS


def readings(first: int, count: int, at_ns: int = 0) -> Readings:
    rows = np.arange(first, first + count, dtype=np.int32)
    when = np.full(count, at_ns, np.int64)
    codes = np.full(count, code("power_w"), np.uint16)
    return Readings(rows, codes, rows * 1.5, np.zeros(count, np.uint32), when, when, "test")


def test_what_was_appended_is_read_again_even_if_the_log_was_never_closed(tmp_path: Path) -> None:
    wal = Wal(tmp_path)
    wal.append([readings(0, 5), readings(5, 5)])
    wal.append([readings(10, 5)])
    (segment,) = wal.segments()
    assert read_segment(segment)["row"].to_pylist() == list(range(15))
    assert Wal(tmp_path).append([readings(0, 1)]) == 1
    assert len(Wal(tmp_path).segments()) == 2


@given(st.integers(0, 4_000))
def test_a_torn_tail_is_left_out_and_all_before_it_stays(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        wal = Wal(Path(folder))
        for n in range(4):
            wal.append([readings(10 * n, 10)])
        (segment,) = wal.segments()
        whole = segment.read_bytes()
        segment.write_bytes(whole[: max(len(whole) - cut, 0)])
        rows = read_segment(segment)["row"].to_pylist()
        assert rows == list(range(len(rows)))
        assert len(rows) % 10 == 0
        assert len(rows) == 40 or cut > 0


def test_the_log_moves_into_hours_sorted_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    historian = Historian(tmp_path / "h")
    for _ in range(2):
        wal = Wal(tmp_path / "w")
        wal.append([readings(5, 3, 2 * HOUR_NS + 7), readings(0, 3, HOUR_NS + 1), readings(0, 3, 2 * HOUR_NS + 1)])
        assert historian.compact(wal) == 9
        assert wal.segments() == []
    table = historian.read([0, 1, 5], [code("power_w")], HOUR_NS, 3 * HOUR_NS)
    found = list(zip(table["row"].to_pylist(), table["taken_at_ns"].to_pylist(), strict=True))
    assert found == [
        (0, HOUR_NS + 1), (0, 2 * HOUR_NS + 1), (1, HOUR_NS + 1), (1, 2 * HOUR_NS + 1), (5, 2 * HOUR_NS + 7),
    ]  # fmt: skip
    assert historian.read([0], [code("power_w")], HOUR_NS, 2 * HOUR_NS).num_rows == 1


class Fixed:
    def __init__(self, at_ns: int = 1_000) -> None:
        self._at_ns = at_ns

    def now_ns(self) -> int:
        return self._at_ns


def accept(body: bytes, at_ns: int = 1_000) -> tuple:
    fleet, kept = plain_fleet(4), []

    async def keep(batch: list) -> int:
        kept.extend(batch)
        return len(kept)

    answer = asyncio.run(Ingest(fleet, fleet.take_readings, keep, Fixed(at_ns)).accept(body))
    return answer, fleet, kept


def body(**change: object) -> bytes:
    base = {"point": "power_w", "resource": ["battery-1", "battery-3"], "value": [5.0, -2.0], "taken_at_ns": [10, 20]}
    return json.dumps({**base, **change}).encode()


def test_good_rows_reach_the_columns_and_the_log_and_bad_rows_are_named() -> None:
    answer, fleet, kept = accept(body(resource=["battery-1", "nobody"]))
    assert (answer.taken, answer.refused) == (1, ((1, "unknown resource"),))
    assert fleet.power_w[1] == 5.0
    assert len(kept[0].rows) == 1


@pytest.mark.parametrize(
    ("power_w", "is_fit"), [(6_499.0, True), (6_501.0, False), (-6_499.0, True), (-6_501.0, False), (9e9, False)]
)
def test_a_power_beyond_the_rating_of_its_device_is_kept_and_marked_and_nobody_trusts_it(
    power_w: float, is_fit: bool
) -> None:
    """A battery of 5 kW: a fifth more and 500 W are allowed."""
    answer, fleet, kept = accept(body(value=[power_w, 5.0]))
    assert (answer.taken, answer.refused) == (2, ())
    assert kept[0].quality.tolist() == [0 if is_fit else int(Quality.OUT_OF_RANGE), 0]
    assert bool(fleet.quality[1] & int(UNFIT_FOR_DISPATCH)) == (not is_fit)
    assert fleet.beyond == (not is_fit)


def test_any_other_point_is_held_against_no_rating() -> None:
    _, _, kept = accept(body(point="voltage_v", value=[9_000.0, 230.0]))
    assert kept[0].quality.tolist() == [0, 0]


@pytest.mark.parametrize("count", [1, 40])
def test_the_base_learns_nothing_from_a_power_beyond_the_rating(count: int) -> None:
    from tieline.desk.base import learn
    from tieline.desk.state import DeskState
    from tieline.fleet.claims import ClaimBook
    from tieline.fleet.ledger import Ledger

    fleet = plain_fleet(count)
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    rows, codes = np.arange(count, dtype=np.int32), np.full(count, code("power_w"), np.uint16)
    for step, power_w in enumerate([1_000.0, 9e9, 1_000.0], 1):
        when = np.full(count, step * 60 * SECOND_NS, np.int64)
        sent = Readings(rows, codes, np.full(count, power_w), np.zeros(count, np.uint32), when, when, "test")
        learn(state, fleet.in_rating(sent), step * 60 * SECOND_NS)
    assert state.base_w.tolist() == [1_000.0] * count


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(-1.2e12, 1.2e12))
def test_what_a_device_can_do_is_never_beyond_its_rating_and_what_is_far_off_always_is(
    inject_w: float, absorb_w: float, power_w: float
) -> None:
    fleet = plain_fleet(1)
    fleet.max_inject_w[:], fleet.max_absorb_w[:] = inject_w, absorb_w
    (beyond,) = fleet.is_beyond_rating(np.zeros(1, np.int32), np.array([power_w])).tolist()
    if -absorb_w <= power_w <= inject_w or inject_w == absorb_w == 0:
        assert not beyond
    elif power_w > 1.3 * inject_w + 1_000 or power_w < -1.3 * absorb_w - 1_000:
        assert beyond


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"point": "colour"}, "point"),
        ({"value": [1.0]}, "resource"),
        ({"value": ["x", 1]}, "body"),
        ({"extra": 1}, "body"),
        ({"taken_at_ns": [2**70, 1]}, "taken_at_ns, quality"),
        ({"quality": [2**40, 0]}, "taken_at_ns, quality"),
    ],
)
def test_a_bad_body_is_refused_by_field_and_nothing_of_it_is_taken(change: dict, field: str) -> None:
    answer, fleet, kept = accept(body(**change))
    assert isinstance(answer, Refusal)
    assert answer.field == field
    assert np.isnan(fleet.power_w).all()
    assert kept == []


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    assert isinstance(accept(raw)[0], Refusal)


def test_a_node_logs_what_its_links_bring_and_moves_it_each_hour(tmp_path: Path) -> None:
    from tieline.desk.state import DeskState
    from tieline.fleet.claims import ClaimBook
    from tieline.fleet.ledger import Ledger
    from tieline.node.runtime import Node
    from tieline.rim.supervise import Supervisor
    from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
    from tieline.store.journal import SqliteJournal

    async def main(loop: VirtualLoop) -> None:
        fleet, clock = plain_fleet(6), VirtualClock(loop, 0)
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
            node = Node(state, SqliteJournal(tmp_path / "j"), clock, supervisor, {}, {})
            node.keep_readings(Wal(tmp_path / "w"), Historian(tmp_path / "h"))
            node.start()
            node.desk.readings(readings(0, 6, 5))
            await asyncio.sleep(61)
            assert sum(read_segment(path).num_rows for path in Wal(tmp_path / "w").segments()) == 6
            await asyncio.sleep(3_600)

    run_virtual(main)
    assert Historian(tmp_path / "h").read([3], [code("power_w")], 0, HOUR_NS)["value"].to_pylist() == [4.5]


def test_a_disk_that_is_full_at_the_full_hour_stops_no_beat_and_the_hour_is_moved_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tieline.desk.state import DeskState
    from tieline.fleet.claims import ClaimBook
    from tieline.fleet.ledger import Ledger
    from tieline.node.runtime import Node
    from tieline.rim.supervise import Supervisor
    from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
    from tieline.store.journal import SqliteJournal

    write = pq.write_table

    def full(table: pa.Table, where: Path, **how: object) -> None:
        where.write_bytes(b"PAR1 half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    async def main(loop: VirtualLoop) -> None:
        fleet, clock, followed = plain_fleet(6), VirtualClock(loop, 0), []

        async def follow() -> None:
            followed.append(loop.time())

        async with Supervisor(np.random.default_rng(0)) as supervisor:
            state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
            node = Node(state, SqliteJournal(tmp_path / "j"), clock, supervisor, {}, {})
            node.keep_readings(Wal(tmp_path / "w"), Historian(tmp_path / "h"))
            node.after_beat.append(follow)
            node.start()
            node.desk.readings(readings(0, 6, 5))
            monkeypatch.setattr(pq, "write_table", full)
            await asyncio.sleep(3_661)
            assert not supervisor.failures
            assert followed[-1] == pytest.approx(3_660, abs=1), "what follows a beat follows this one too"
            assert sum(read_segment(path).num_rows for path in Wal(tmp_path / "w").segments()) == 6
            assert list((tmp_path / "h").iterdir()) == [], "what was half written takes no room"
            monkeypatch.setattr(pq, "write_table", write)
            await asyncio.sleep(1_200)

    run_virtual(main)
    assert Historian(tmp_path / "h").read([3], [code("power_w")], 0, HOUR_NS)["value"].to_pylist() == [4.5]
    assert Wal(tmp_path / "w").segments() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 99)), min_size=1, max_size=60))
def test_of_readings_of_one_instant_in_one_body_the_last_is_shown_and_is_kept(
    drawn: list[tuple[int, int, int]],
) -> None:
    """A head-end that corrects itself within a body: what is settled by is what was shown."""
    import tempfile

    row, at, value = (np.array(column) for column in zip(*drawn, strict=True))
    when, came = 1 + at.astype(np.int64) * SECOND_NS, np.full(len(drawn), HOUR_NS - 1, np.int64)
    codes, fit = np.full(len(drawn), code("power_w"), np.uint16), np.zeros(len(drawn), np.uint32)
    sent = Readings(row.astype(np.int32), codes, value.astype(np.float64), fit, when, came, "http")
    fleet = plain_fleet(3)
    fleet.take_readings(sent)
    last = {(row, at): float(value) for row, at, value in drawn}
    with tempfile.TemporaryDirectory() as name:
        wal, historian = Wal(Path(name) / "w"), Historian(Path(name) / "h")
        wal.append([sent])
        historian.compact(wal)
        kept = historian.read([0, 1, 2], [code("power_w")], 0, HOUR_NS)
    rows, times, values = (kept[of].to_pylist() for of in ("row", "taken_at_ns", "value"))
    found = {(row, (at - 1) // SECOND_NS): value for row, at, value in zip(rows, times, values, strict=True)}
    assert len(rows) == len(found)
    assert found == last
    for row in {row for row, _, _ in drawn}:
        newest = max(at for each, at in last if each == row)
        assert fleet.power_w[row] == last[row, newest]


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=30))
def test_no_reading_was_taken_after_it_came_and_only_one_of_a_wrong_clock_is_questionable(drawn: list) -> None:
    taken, received = (np.array(x, np.int64) for x in zip(*drawn, strict=True))
    count = len(drawn)
    came = Readings(
        np.arange(count, dtype=np.int32), np.zeros(count, np.uint16), np.zeros(count), np.zeros(count, np.uint32),
        taken, received, "x",
    )  # fmt: skip
    found = came.in_time(30 * SECOND_NS)
    assert (found.taken_at_ns == np.minimum(taken, received)).all()
    assert ((found.quality == int(Quality.QUESTIONABLE)) == (taken > received + 30 * SECOND_NS)).all()


NOW_NS = 1_795_900_000 * SECOND_NS


@given(st.lists(st.integers(0, NOW_NS), min_size=1, max_size=60))
@example([NOW_NS - BEHIND_NS, NOW_NS - BEHIND_NS - 1, 0, 1])
@example([9_000_000 * SECOND_NS])
def test_a_reading_of_ten_years_ago_or_more_is_questionable_and_of_when_it_came(taken: list[int]) -> None:
    """By a handful and by the column alike; an instant of 0 says that nothing was read, and stays so."""
    rows, old = np.arange(len(taken), dtype=np.int32), [0 < at < NOW_NS - BEHIND_NS for at in taken]
    came = Readings(
        rows, np.full(len(taken), code("soc_frac"), np.uint16), np.zeros(len(taken)), np.zeros(len(taken), np.uint32),
        np.array(taken, np.int64), np.full(len(taken), NOW_NS, np.int64), "x",
    )  # fmt: skip
    found = plain_fleet(len(taken)).checked(came, 30 * SECOND_NS)
    assert found.taken_at_ns.tolist() == [NOW_NS if is_old else at for at, is_old in zip(taken, old, strict=True)]
    assert (found.quality == int(Quality.QUESTIONABLE)).tolist() == old


def test_a_row_that_says_it_was_taken_in_1970_is_refused_with_what_may_be_said() -> None:
    sent = {"point": "power_w", "resource": ["battery-0", "battery-1"], "value": [1.0, 2.0]}
    answer, _, kept = accept(json.dumps({**sent, "taken_at_ns": [9_000_000 * SECOND_NS, NOW_NS]}).encode(), NOW_NS)
    oldest_ns = NOW_NS - BEHIND_NS
    (refused,) = answer.refused
    assert (answer.taken, refused[0]) == (1, 0)
    assert refused[1].startswith(f"taken_at_ns {9_000_000 * SECOND_NS}: give {oldest_ns} (")
    assert [batch.taken_at_ns.tolist() for batch in kept] == [[NOW_NS]]


def test_a_row_that_says_it_was_taken_decades_from_now_is_refused_with_what_may_be_said() -> None:
    sent = {"point": "power_w", "resource": ["battery-0", "battery-1", "battery-2"], "value": [1.0, 2.0, 3.0]}
    far_ns, latest_ns = NOW_NS + 31 * 365 * DAY_NS, NOW_NS + BEHIND_NS
    body = json.dumps({**sent, "taken_at_ns": [far_ns, latest_ns, latest_ns + 1]}).encode()
    answer, _, kept = accept(body, NOW_NS)
    assert [row for row, _ in answer.refused] == [0, 2]
    assert answer.refused[0][1].startswith(f"taken_at_ns {far_ns}: give {latest_ns} (")
    assert answer.refused[0][1].endswith(") or earlier")
    assert [batch.taken_at_ns.tolist() for batch in kept] == [[NOW_NS]], "its clock is wrong, and when it came is known"


@pytest.mark.parametrize("count", [1, 40])
def test_a_reading_of_next_year_does_not_stand_in_the_way_of_the_next_one(count: int) -> None:
    """Ten years ahead, then now: the later one holds, by a handful and by the column alike."""
    fleet, kept, clock = plain_fleet(50), [], Fixed()

    async def keep(batch: list) -> int:
        kept.extend(batch)
        return len(kept)

    async def main() -> None:
        ingest = Ingest(fleet, fleet.take_readings, keep, clock)
        names = [f"battery-{n}" for n in range(count)]
        for value, when in ((7.0, 10 * 365 * DAY_NS), (5.0, 1_000)):
            answer = await ingest.accept(
                json.dumps({
                    "point": "power_w", "resource": names, "value": [value] * count, "taken_at_ns": [when] * count,
                }).encode()
            )  # fmt: skip
            assert answer.taken == count

    asyncio.run(main())
    assert (fleet.power_w[:count] == 5.0).all()
    assert (fleet.taken_at_ns[:count] == 1_000).all()
    assert (fleet.quality[:count] == 0).all()
    assert (kept[0].quality == int(Quality.QUESTIONABLE)).all()
    assert (kept[0].taken_at_ns == 1_000).all(), "nor does the log hold the year to come"


@pytest.mark.parametrize("count", [1, 40])
def test_after_our_clock_was_set_back_the_next_reading_holds(count: int) -> None:
    fleet = plain_fleet(50)
    for value, now_ns in ((7.0, 2 * HOUR_NS), (5.0, HOUR_NS)):
        when = np.full(count, now_ns, np.int64)
        fleet.take_readings(
            Readings(
                np.arange(count, dtype=np.int32), np.full(count, code("power_w"), np.uint16), np.full(count, value),
                np.zeros(count, np.uint32), when, when, "x",
            )
        )  # fmt: skip
    assert (fleet.power_w[:count] == 5.0).all()
    assert fleet.late == 0


_ONE = st.tuples(
    st.integers(0, 7), st.sampled_from(["power_w", "soc_frac"]), st.integers(1, 6), st.integers(1, 6), st.booleans()
)


@given(st.lists(st.lists(_ONE, min_size=FEW + 1, max_size=60), min_size=1, max_size=3))
def test_a_batch_leaves_what_its_readings_would_leave_if_they_came_one_by_one_in_the_order_they_were_taken(
    batches: list,
) -> None:
    def batch(ones: list) -> Readings:
        rows, keys, when, received, odd = zip(*ones, strict=True)
        quality = np.where(odd, np.uint32(int(Quality.OUT_OF_RANGE)), np.uint32(0)).astype(np.uint32)
        values = np.arange(len(ones), dtype=np.float64)
        return Readings(
            np.array(rows, np.int32), np.array([code(key) for key in keys], np.uint16), values, quality,
            np.array(when, np.int64), np.array(received, np.int64), "x",
        )  # fmt: skip

    whole, single = plain_fleet(8), plain_fleet(8)
    for ones in batches:
        readings = batch(ones)
        whole.take_readings(readings)
        for at in np.argsort(readings.taken_at_ns, kind="stable"):
            single.take_readings(readings.only(np.array([at])))
    for key in ("power_w", "soc_frac"):
        assert np.array_equal(whole.column(key), single.column(key), equal_nan=True)
    assert whole.late == single.late
    for name in ("quality", "taken_at_ns", "received_at_ns"):
        assert np.array_equal(getattr(whole, name), getattr(single, name))
