"""`tieline capability` from a table of devices: both ways, by group, and whether a request can be met."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tieline.node.cli import main

TABLE = """resource,up_kw,down_kw,up_kwh,down_kwh,notice_s,ramp_kw_per_s,rebound_frac,reach_frac,feeder
battery-1,5,5,10,3,1,5,0,1,f1
battery-2,5,5,2,11,1,5,0,1,f2
thermostat-1,2,,1,,300,0.5,0.8,0.9,f1
engine,50,,,,600,0.1,,1,f2
"""
REQUEST = "start,kw\n2024-07-01T17:00Z,{}\n2024-07-01T18:00Z,{}\n"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["capability", *map(str, words)])


def refused(*words: object) -> str:
    done = run(*words, "--json")
    assert done.exit_code == 2 and not done.stdout
    return str(json.loads(done.stderr)["error"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "devices.csv"
    path.write_text(TABLE)
    return path


def test_power_falls_with_length_and_grows_with_notice(table: Path) -> None:
    (pool,) = json.loads(run(table, "--lasts", "1h,2h", "--notice", "4s,5m,1d", "--json").stdout)["groups"]
    told = [[one["kw"] for one in cell["held"]] for cell in pool["up"]]
    assert told == [[7.0, 6.0], [8.0, 6.5], [58.0, 56.5]]
    assert [cell["resources"] for cell in pool["up"]] == [2, 3, 4]
    assert [[one["kw"] for one in cell["held"]] for cell in pool["down"]] == [[8.0, 6.5]] * 3
    assert pool["up"][1]["held"][0]["rebound_kwh"] == pytest.approx(0.8)
    assert pool["up"][2]["ramped_s"] == 500.0 and pool["up"][2]["kwh"] is None  # the engine runs on
    assert pool["up"][1]["held"][0]["firm_kw"] == 7.0  # the thermostat answers nine times of ten


def test_groups_add_up(table: Path) -> None:
    words = ["--lasts", "1h", "--notice", "1d", "--json"]
    feeders = json.loads(run(table, "--by", "feeder", *words).stdout)["groups"]
    assert [(one["group"], one["up"][0]["held"][0]["kw"]) for one in feeders] == [("f1", 6.0), ("f2", 52.0)]
    table.write_text(TABLE.replace("1,5,0,1,f1", "1,5,0,1,"))  # battery-1 is in no group
    feeders = json.loads(run(table, "--by", "feeder", *words).stdout)["groups"]
    assert [(one["group"], one["up"][0]["held"][0]["kw"]) for one in feeders] == [("f1", 1.0), ("f2", 52.0)]
    assert len(json.loads(run(table, "--by", "resource", *words).stdout)["groups"]) == 4
    assert "at   1d" in run(table).stdout


def test_a_request_is_met_or_what_it_lacks_is_said(table: Path, tmp_path: Path) -> None:
    asked = tmp_path / "request.csv"
    asked.write_text(REQUEST.format(7, 5))
    told = json.loads(run(table, "--notice", "4s", "--request", asked, "--json").stdout)["request"]
    assert told["can_be_met"] and told["direction"] == "up" and [row["kw"] for row in told["given"]] == [7.0, 5.0]
    asked.write_text(REQUEST.format(5, 7.5))  # 12.5 of 12 kWh
    told = json.loads(run(table, "--notice", "4s", "--request", asked, "--json").stdout)["request"]
    assert not told["can_be_met"] and told["lacks_kwh"] == pytest.approx(0.5)
    asked.write_text(REQUEST.format(-8, -5))
    assert "request down: can be met" in run(table, "--request", asked).stdout


def test_what_is_wrong_is_refused_by_row_value_and_limit(table: Path, tmp_path: Path) -> None:
    asked = tmp_path / "request.csv"
    asked.write_text(REQUEST.format(5, -1))
    assert "row 3: kw = -1: give numbers of one direction" in refused(table, "--request", asked)
    asked.write_text("start,kw\n2024-07-01T17:00Z,1\n")
    assert "give two or more rising starts" in refused(table, "--request", asked)
    assert refused(table, "--lasts", "1w") == "--lasts '1w': give lengths such as 4s,15m,1h,1d"
    assert "column pool is missing" in refused(table, "--by", "pool")
    table.write_text(TABLE.replace("0.9,f1", "9,f1"))
    assert "row 4: reach_frac = 9: give 0 to 1" in refused(table)
    table.write_text(TABLE.replace("thermostat-1", "engine"))
    assert "row 5: resource = 'engine': stands in row 4, too" in refused(table)
    table.write_text("resource,up_kw,up_kWh\na,5,10\n")
    assert "column 'up_kWh' is not known: give resource, up_kw" in refused(table)
    for word in ("nan", "NaN"):
        table.write_text(f"resource,up_kw,up_kwh\na,5,{word}\n")
        assert "row 2: up_kwh = nan: give a number, or leave the cell empty" in refused(table)
    table.write_text("resource,up_kw,ramp_kw_per_s\na,5,0\n")
    assert "row 2: ramp_kw_per_s = 0: give more than 0" in refused(table)
    table.write_text("resource,up_kw\na,-5\n")
    assert "row 2: up_kw = -5: give 0 or more" in refused(table)


@pytest.mark.parametrize(("cell", "told"), [("", "''"), ('""', "''"), ('"  "', "'  '"), ("\t", "'\\t'")])
def test_a_row_that_names_no_device_is_refused_whatever_its_cell_is_made_of(table: Path, cell: str, told: str) -> None:
    table.write_text(f"resource,up_kw\na,5\n{cell},5\n")
    assert f"row 3: resource = {told}: give the name of a device" in refused(table)
