"""Instants that nanoseconds don't reach (before 1678, after 2262) are refused by value, wherever they come from."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.store.meter_files import read_meters
from tieline.times import FOREVER_NS, from_ns, iso, parse_iso, to_ns

FAR = ["2262-04-12T00:00:00Z", "2300-01-01T00:00:00+01:00", "9999-12-31T23:59:59Z", "1677-09-21T00:00:00Z"]


@pytest.mark.parametrize("text", FAR)
def test_a_text_beyond_what_nanoseconds_reach_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1678 and 2262"):
        parse_iso(text)


@given(st.datetimes(datetime(1678, 1, 1), datetime(2262, 4, 11), timezones=st.just(UTC)))
def test_every_instant_within_is_read_again_as_it_was_written(instant: datetime) -> None:
    assert parse_iso(iso(to_ns(instant))) == to_ns(instant)
    assert abs(to_ns(instant)) <= FOREVER_NS and from_ns(to_ns(instant)) == instant


@pytest.mark.parametrize("text", FAR)
def test_a_reading_of_such_an_instant_is_refused_by_its_row_in_csv_and_parquet(tmp_path: Path, text: str) -> None:
    starts = ["2024-07-31T00:00:00Z", "2024-07-31T01:00:00Z", text]
    (tmp_path / "far.csv").write_text("start,kwh\n" + "".join(f"{start},1\n" for start in starts))
    instants = pa.array([datetime.fromisoformat(start) for start in starts], pa.timestamp("us", tz="UTC"))
    pyarrow.parquet.write_table(pa.table({"start": instants, "kwh": [1.0, 1.0, 1.0]}), tmp_path / "far.parquet")
    for name in ("far.csv", "far.parquet"):
        with pytest.raises(ConfigError, match=rf"{name}: row 4: start = .*: give "):
            read_meters(tmp_path / name)
