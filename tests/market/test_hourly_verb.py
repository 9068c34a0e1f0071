"""`tieline baseline hourly-weather-normalised` says what a model can't say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import CliRunner

from tieline.node.cli import main

EVENT = """
timezone = "America/Los_Angeles"
start = "2024-07-31T14:00:00-07:00"
end = "2024-07-31T18:00:00-07:00"
other_event_days = []
holidays = []
temperature = "t.csv"
"""


def test_a_meter_that_used_nothing_has_a_baseline_of_nothing_and_no_figures_of_its_error(tmp_path: Path) -> None:
    begins = datetime(2024, 5, 1, 7, tzinfo=UTC)
    starts = [(begins + timedelta(hours=hour)).isoformat() for hour in range(24 * 95)]
    (tmp_path / "m.csv").write_text("start,kwh\n" + "".join(f"{start},0\n" for start in starts))
    degrees = "".join(f"{start},{20 + at % 24 / 3}\n" for at, start in enumerate(starts))
    (tmp_path / "t.csv").write_text("start,celsius\n" + degrees)
    (tmp_path / "e.toml").write_text(EVENT)
    asked = ["baseline", "hourly-weather-normalised", str(tmp_path / "m.csv"), "--event", str(tmp_path / "e.toml")]
    told = CliRunner().invoke(main, asked)
    assert told.exit_code == 0, told.output
    assert "how far off it is can't be said" in told.output
    assert "total 0.0000 kWh" in told.output
