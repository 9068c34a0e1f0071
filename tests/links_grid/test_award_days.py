"""Which rows of a market day's awards are news: those that its last reading had not."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.links.grid.iso_awards import AwardDays
from tieline.wire.ads.messages import AwardRow, AwardRows

DAY = date(2026, 7, 1)
ROW = AwardRow("a1", "b1", "THEIRS", "ENERGY", DAY, 18, False, 0.008, 10.0)
ONE = st.sampled_from([replace(ROW, mw=mw, price=price) for mw in (0.008, 0.005) for price in (10.0, 41.0)])
OTHER = st.sampled_from([None, replace(ROW, award_uid="a2", hour_ending=19)])


@given(st.lists(st.tuples(ONE, OTHER), min_size=1, max_size=8))
def test_what_an_award_reads_as_is_brought_whenever_the_reading_before_had_it_otherwise(
    readings: list[tuple[AwardRow, AwardRow | None]],
) -> None:
    days = AwardDays({"pool-1": "THEIRS"}, ZoneInfo("America/Chicago"))
    before: set[AwardRow] = set()
    for reading in readings:
        rows = tuple(row for row in reading if row is not None)
        awards, faults = days.unread(AwardRows(DAY, True, rows))
        assert [one.id for one in awards] == [row.award_uid for row in rows if row not in before]
        assert not faults
        days.note(AwardRows(DAY, True, rows), DAY)
        before = set(rows)
