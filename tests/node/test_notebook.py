"""The Python API of a notebook, as its reader would use it."""

import stat

import pytest

import tieline
from tieline.errors import ConfigError
from tieline.store.narrow import readable_by_others


@pytest.fixture(scope="module")
def day() -> object:
    made = tieline.demo(devices=60, seed=4)
    made.run("60m")
    return made


def test_every_resource_is_a_row_with_ratings_parents_and_controller(day) -> None:
    rows = day.resources.to_pylist()
    assert len(rows) == len(day.resources) == 60
    one = next(row for row in rows if row["id"] == "battery-000001")
    assert one["kind"] == "battery"
    assert one["feeder"] in {"feeder-01", "feeder-02"}
    assert one["electrical"].startswith(f"bus-{one['feeder'][-2:]}-")
    assert one["pool"] == "pool-1"
    assert one["max_inject_w"] > 0
    assert 0 <= one["soc_frac"] <= 1
    assert any((row["controlled_by"] or "").startswith("MARKET") for row in rows)


def test_the_frame_of_dispatch_adds_up_to_the_report(day) -> None:
    rows = day.dispatch.to_pylist()
    assert sum(r["instructed_mw"] for r in rows) == sum(r["instructed_mw"] for r in day.report["dispatch"])


def test_no_other_account_can_read_the_table_of_resources_beside_the_records(day) -> None:
    assert stat.S_IMODE((day.folder / "resources.parquet").stat().st_mode) == 0o640
    assert readable_by_others(day.folder) == []


def test_records_are_those_of_the_journal(day) -> None:
    assert len(day.records("AwardTaken")) == len(day.report["awards"])


def test_asking_before_running_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="call run"):
        _ = tieline.demo(devices=60).resources


def test_a_frame_without_its_library_names_the_fix(day, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match="pip install polars"):
        day.resources.to_polars()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"devices": 5}, "devices = 5: give a whole number, 40 or more"),
        ({"devices": 60.0}, "devices = 60.0: give a whole number"),
        ({"devices": True}, "devices = True: give a whole number"),
        ({"seed": -1}, "seed = -1: give a whole number, 0 or more"),
        ({"scenario": "snow"}, "scenario 'snow' is unknown: give one of heatwave, cloud, comms-loss"),
    ],
)
def test_a_day_that_cannot_be_is_refused_before_it_is_run(how: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tieline.demo(**how)


def test_a_run_that_is_refused_leaves_the_last_one_as_it_was(day) -> None:
    before = day.report
    for duration, says in (("5x", "--for '5x'"), ("5m", "give 60m or more"), ("2d", "1d at most")):
        with pytest.raises(ConfigError, match=says):
            day.run(duration)
    assert day.report is before
    assert len(day.resources) == 60
    assert day.why("battery-000001")["resource"] == "battery-000001"


@pytest.mark.parametrize("at", [1_700_000_000, 1.5, "noon", "2024-07-31T16:00:00", "3000-01-01T00:00:00Z"])
def test_an_instant_that_is_none_is_refused_with_its_value_and_what_would_do(day, at: object) -> None:
    with pytest.raises(ConfigError, match=r"at = .*: give ISO 8601 with an offset such as"):
        day.why("battery-000001", at=at)


@pytest.mark.parametrize("duration", [90, 1.5, None, True, b"90m"])
def test_a_length_that_is_no_text_is_refused_with_its_value_and_what_would_do(day, duration: object) -> None:
    with pytest.raises(ConfigError, match=r"duration = .*: give text such as '90m' or '1d'"):
        day.run(duration)


def test_equal_runs_have_equal_reports_here_and_as_json(day) -> None:
    """NaN is equal to nothing: where JSON has null, Python has None."""
    import json

    text = json.dumps(day.report, default=str, allow_nan=False)
    assert json.loads(text) == json.loads(json.dumps(day.report, default=str))
    assert day.report == day.report | {"seed": 4}
