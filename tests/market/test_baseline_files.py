"""`tieline baseline` and `tieline rules`: the vectors of the design from files, and every bad row named."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from tieline.errors import ConfigError
from tieline.market.rule import baseline_rules
from tieline.node.cli import main
from tieline.store.meter_files import read_meters

ZONE = ZoneInfo("America/Los_Angeles")
HOURS = [20, 20, 20, 20, 20, 22, 26, 30, 34, 38, 42, 46, 50, 56, 60, 64, 66, 64, 58, 50, 42, 34, 28, 24]
DAY = date(2024, 7, 31)
EVENT = """timezone = "America/Los_Angeles"
start = 2024-07-31T16:00:00-07:00
end = 2024-07-31T20:00:00-07:00
other_event_days = [2024-07-24, 2024-07-11]
holidays = [2024-07-04, 2024-09-02]
"""
GOOD = ["start,kwh"] + [f"2024-07-31T{hour:02}:00:00-07:00,{hour + 1}" for hour in range(24)]


def site(days: int = 60, event: date = DAY, scale: float = 1.0) -> list[tuple[str, float]]:
    """The synthetic site of the design: load(d, HE) = base[HE] + (7 ordinal(d)) mod 11 + 4 on weekends."""
    rows = []
    for back in range(days, -1, -1):
        day = event - timedelta(days=back)
        for hour, base in enumerate(HOURS):
            load = base + (7 * day.toordinal()) % 11 + (4 if day.weekday() >= 5 else 0)
            if not back:
                load += 6 - (25 if 16 <= hour < 20 else 0) + (5 if 20 <= hour < 23 else 0)
            start = datetime(day.year, day.month, day.day, hour, tzinfo=ZONE)
            rows.append((start.isoformat(), load * scale))
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meter.csv").write_text("start,kwh\n" + "".join(f"{start},{kwh}\n" for start, kwh in site()))
    (tmp_path / "event.toml").write_text(EVENT)
    days = (DAY - timedelta(days=back) for back in range(95))
    temperatures = (f"{day}T15:00:00-07:00,{20 + (3 * day.toordinal()) % 17}\n" for day in days)
    (tmp_path / "warm.csv").write_text("start,celsius\n" + "".join(temperatures))
    return tmp_path


def ask(folder: Path, *words: str) -> dict:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def baseline(folder: Path, rule: str, *words: str, meter: str = "meter.csv") -> dict:
    return ask(folder, "baseline", rule, str(folder / meter), "--event", str(folder / "event.toml"), *words)


def july(*days: int) -> list[str]:
    return [f"2024-07-{day:02}" for day in days]


def test_vector_a_from_a_file_says_days_factor_and_every_interval(folder: Path) -> None:
    found = baseline(folder, "caiso-10-in-10")
    assert found["days"] == july(30, 29, 26, 25, 23, 22, 19, 18, 17, 16)
    assert {left["day"]: left["why"] for left in found["excluded"]}["2024-07-24"] == "an event day"
    assert found["factor"] == pytest.approx(187 / 181.9)
    gained = [each["performance_kwh"] for each in found["intervals"]]
    assert gained == pytest.approx([25.2991, 25.2430, 25.0748, 24.8505], abs=5e-5)
    assert [each["start"] for each in found["intervals"]][:1] == ["2024-07-31T16:00:00-07:00"]
    assert found["total_kwh"] == pytest.approx(100.4673, abs=5e-5)
    assert found["gaming"]["rebound_kwh"] == pytest.approx(100 - 187 / 181.9 * (47.3 + 39.3))
    assert (found["rule"], found["version"]) == ("caiso-10-in-10", "2024.1")


@pytest.mark.parametrize(
    ("rule", "days", "total"),
    [
        ("caiso-residential-5-in-10", july(26, 29, 18, 16, 30), 105.7611),
        ("pjm-3-day-types-saa", None, 100.0),
        ("nyiso-average-day", july(26, 15, 29, 18, 16), 99.2427),
    ],
)
def test_vectors_b_d_and_e_from_a_file(folder: Path, rule: str, days: list | None, total: float) -> None:
    found = baseline(folder, rule)
    assert days is None or found["days"] == days
    assert found["total_kwh"] == pytest.approx(total, abs=5e-5)


def test_vector_h_meter_before_meter_after(folder: Path) -> None:
    found = baseline(folder, "naesb-meter-before-meter-after")
    before = HOURS[15] + (7 * DAY.toordinal()) % 11 + 6
    assert [each["baseline_kwh"] for each in found["intervals"]] == [before] * 4
    gained = [each["performance_kwh"] for each in found["intervals"]]
    assert [gained[k] - gained[0] for k in range(4)] == [0, 2, 8, 16], "23, 25, 31, 39 of the design"
    assert (found["days"], found["factor"]) == ([], 1.0)


def test_weather_match_takes_the_four_days_that_were_as_warm(folder: Path) -> None:
    (folder / "event.toml").write_text(EVENT + 'temperature = "warm.csv"\n')
    found = baseline(folder, "caiso-weather-match")
    warm = {(DAY - timedelta(days=k)).isoformat(): (3 * (DAY - timedelta(days=k)).toordinal()) % 17 for k in range(61)}
    own = warm[DAY.isoformat()]
    may = [day for day in warm if date.fromisoformat(day).weekday() < 5 and day not in (DAY.isoformat(), "2024-07-04")]
    may = [day for day in may if day not in ("2024-07-24", "2024-07-11")]
    nearest = sorted(may, key=lambda day: (abs(warm[day] - own), -date.fromisoformat(day).toordinal()))[:4]
    assert found["days"] == nearest


def test_a_rule_that_goes_by_temperature_asks_for_it(folder: Path) -> None:
    words = ["baseline", "caiso-weather-match", str(folder / "meter.csv"), "--event", str(folder / "event.toml")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert 'temperature is missing: caiso-weather-match goes by it: give temperature = "FILE.csv"' in done.stderr


@pytest.mark.parametrize("rule", sorted(name for name, rule in baseline_rules().items() if not rule.needs))
def test_every_rule_answers_from_parquet_as_from_csv(folder: Path, rule: str) -> None:
    table = pyarrow.csv.read_csv(folder / "meter.csv")
    starts = pa.array([datetime.fromisoformat(str(v)) for v in table["start"].to_pylist()], pa.timestamp("us", "UTC"))
    pyarrow.parquet.write_table(pa.table({"start": starts, "kwh": table["kwh"]}), folder / "meter.parquet")
    assert baseline(folder, rule) == baseline(folder, rule, meter="meter.parquet")


def test_several_meters_are_each_their_own_or_one_registration(folder: Path) -> None:
    rows = [f"{start},{kwh},{name}\n" for name, scale in (("a", 1.0), ("b", 3.0)) for start, kwh in site(scale=scale)]
    (folder / "two.csv").write_text("start,kwh,meter\n" + "".join(rows))
    whole = baseline(folder, "caiso-10-in-10", meter="two.csv")
    assert whole["level"] == "registration"
    assert whole["total_kwh"] == pytest.approx(4 * 100.4673, abs=2e-4)
    each = baseline(folder, "caiso-residential-5-in-10", meter="two.csv")
    assert [one["meter"] for one in each["meters"]] == ["a", "b"]
    assert each["meters"][1]["total_kwh"] == pytest.approx(3 * each["meters"][0]["total_kwh"])
    assert each["total_kwh"] == pytest.approx(sum(one["total_kwh"] for one in each["meters"]))
    as_one = baseline(folder, "caiso-residential-5-in-10", "--level", "registration", meter="two.csv")
    assert "meters" not in as_one


def test_load_moved_into_the_window_after_the_notice_shows(folder: Path) -> None:
    lines = (folder / "meter.csv").read_text().splitlines()
    moved = []
    for line in lines:
        start, _, kwh = line.partition(",")
        raised = start.startswith("2024-07-31T") and 12 <= int(start[11:13]) < 15
        moved.append(f"{start},{float(kwh) + 8}" if raised else line)
    (folder / "raised.csv").write_text("\n".join(moved))
    (folder / "event.toml").write_text(EVENT + "notified_at = 2024-07-31T11:00:00-07:00\n")
    honest, raised = baseline(folder, "caiso-10-in-10"), baseline(folder, "caiso-10-in-10", meter="raised.csv")
    assert raised["gaming"]["adjustment_kwh"] > honest["gaming"]["adjustment_kwh"] + 20
    assert raised["gaming"]["window_z"] > honest["gaming"]["window_z"] + 2
    before = [found["gaming"]["baseline_before_notice_kwh"] for found in (honest, raised)]
    assert before[0] == pytest.approx(before[1]), "its window ended before anybody knew"


@pytest.mark.parametrize(("day", "hours"), [(date(2024, 3, 10), 23), (date(2024, 11, 3), 25)])
def test_a_day_of_23_or_25_hours_keeps_its_own_clock(folder: Path, day: date, hours: int) -> None:
    start = datetime(2024, 1, 15, tzinfo=ZONE).timestamp()
    end = datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() + hours * 3600
    count = round((end - start) / 3600)
    stamps = [datetime.fromtimestamp(start + 3600 * k, ZONE) for k in range(count)]
    rows = [f"{at.isoformat()},{10 + at.hour}\n" for at in stamps if (end - at.timestamp()) / 86400 < 50]
    (folder / "long.csv").write_text("start,kwh\n" + "".join(rows))
    (folder / "event.toml").write_text(
        f'timezone = "America/Los_Angeles"\nstart = "{day}T16:00:00"\nend = "{day}T18:00:00"\n'
    )
    found = baseline(folder, "caiso-10-in-10", meter="long.csv")
    assert [each["baseline_kwh"] for each in found["intervals"]] == pytest.approx([26.0, 27.0])
    assert found["total_kwh"] == pytest.approx(0.0)


def changed(line: int, text: str) -> str:
    return "\n".join([*GOOD[:line], text, *GOOD[line + 1 :]])


BAD_METERS = [
    ("", "give a CSV or Parquet file with start,kwh"),
    ("start,wh\n2024-07-31T00:00:00-07:00,1\n", "column kwh is missing among start, wh: give start,kwh"),
    ("start,kwh\n", "holds no reading"),
    (changed(3, "2024-07-31T02:00:00,3"), "row 4: start = '2024-07-31T02:00:00': give ISO 8601 with an offset"),
    (changed(3, "yesterday,3"), "row 4: start = 'yesterday': give ISO 8601 with an offset"),
    (changed(3, "2024-07-31T02:00:00-07:00,three"), "row 4: kwh = 'three': give a number"),
    (changed(3, "2024-07-31T02:00:00-07:00,inf"), "row 4: kwh = inf: give a finite number"),
    (changed(3, "2024-07-31T01:00:00-07:00,9"), "rows 3 and 4: two readings of 2024-07-31T08:00:00Z, 2 and 9 kWh"),
    (changed(3, "2024-07-31T01:20:00-07:00,3"), "row 4: start = 2024-07-31T08:20:00Z: off the grid"),
    ("\n".join(["start,kwh", *(f"2024-07-31T00:{m:02}:00-07:00,1" for m in (0, 20, 40))]), "20 minutes apart"),
    (changed(3, "2024-07-31T02:00:00-07:00,9e9"), "no meter has over 1e+06 kW: are these Wh?"),
    ("start,kwh,meter\n2024-07-31T00:00:00-07:00,1,\n", "row 2: meter is empty"),
    ("\n".join(GOOD[:2]), "one reading says nothing"),
]


@pytest.mark.parametrize(("text", "says"), BAD_METERS)
def test_a_bad_meter_file_is_refused_with_its_row_and_what_would_do(folder: Path, text: str, says: str) -> None:
    (folder / "bad.csv").write_text(text)
    words = ["baseline", "caiso-10-in-10", str(folder / "bad.csv"), "--event", str(folder / "event.toml")]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


BAD_EVENTS = [
    ("not toml at all", "no TOML"),
    ('timezone = "UTC"\n', "start is missing: give timezone, start, end"),
    (EVENT + "begin = 3\n", "begin: no such field: give timezone, start"),
    (EVENT.replace("America/Los_Angeles", "Mars/Base"), "timezone = 'Mars/Base': give an IANA name"),
    (EVENT.replace("T20:00:00-07:00", "T12:00:00-07:00"), "give an instant after start"),
    (EVENT.replace("end = 2024-07-31T20", "end = 2024-08-01T20"), "give an event within one local day"),
    (EVENT.replace("T16:00:00", "T16:10:00"), "give a whole 60 minute interval"),
    (EVENT.replace("[2024-07-24", '["soon"'), "other_event_days[0] = 'soon': give days"),
    (EVENT.replace("2024-07-31", "2023-07-31"), "no load for the event day 2023-07-31"),
    (EVENT + 'temperature = "nowhere.csv"\n', "nowhere.csv"),
]


@pytest.mark.parametrize(("text", "says"), BAD_EVENTS)
def test_a_bad_event_file_is_refused_with_its_field_and_what_would_do(folder: Path, text: str, says: str) -> None:
    (folder / "event.toml").write_text(text)
    words = ["baseline", "caiso-10-in-10", str(folder / "meter.csv"), "--event", str(folder / "event.toml"), "--json"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_gaps_negatives_and_rows_told_twice_are_flagged_and_never_filled_in(folder: Path) -> None:
    lines = (folder / "meter.csv").read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("2024-07-31T17"))
    lines[at] = lines[at].partition(",")[0] + ","
    lines[1] = lines[1].partition(",")[0] + ",-3"
    (folder / "odd.csv").write_text("\n".join([*lines, lines[5]]))
    found = baseline(folder, "caiso-10-in-10", meter="odd.csv")
    assert found["intervals"][1]["actual_kwh"] is None
    assert found["intervals"][1]["performance_kwh"] == 0.0
    flags = " / ".join(found["flags"])
    for words in (
        "repeats row 6: left out",
        f"1 rows without a reading (row {at + 1})",
        "1 rows negative",
        "zero perf",
    ):
        assert words in flags


@pytest.mark.parametrize("word", ["NaN", "nan", "NULL", "n/a", "-nan"])
def test_a_reading_that_is_a_word_for_no_number_is_refused_by_row_and_column(folder: Path, word: str) -> None:
    lines = (folder / "meter.csv").read_text().splitlines()
    lines[9] = f"{lines[9].partition(',')[0]},{word}"
    (folder / "words.csv").write_text("\n".join(lines))
    words = ["baseline", "caiso-10-in-10", str(folder / "words.csv"), "--event", str(folder / "event.toml")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "words.csv: row 10: kwh = " in done.stderr and "give a number" in done.stderr


def test_a_nan_of_a_parquet_file_is_refused_and_an_empty_cell_is_no_reading(folder: Path) -> None:
    starts = [f"2024-07-31T{hour:02d}:00:00-07:00" for hour in range(24)]
    for value, says in ((math.nan, "row 5: kwh = nan: give a number, or leave the cell empty"), (None, "")):
        kwh = [1.0, 1.0, 1.0, value, *[1.0] * 20]
        pyarrow.parquet.write_table(
            pa.table({"start": starts, "kwh": pa.array(kwh, pa.float64())}), folder / "odd.parquet"
        )
        if says:
            with pytest.raises(ConfigError, match=says):
                read_meters(folder / "odd.parquet")
        else:
            assert read_meters(folder / "odd.parquet")[0].flags == ("1 rows without a reading (row 5)",)


def test_rules_are_listed_shown_and_compared(folder: Path) -> None:
    listed = ask(folder, "rules", "list")["rules"]
    assert {each["rule"] for each in listed} == set(baseline_rules())
    assert all(each["source"] and each["certainty"] for each in listed)
    assert ask(folder, "rules", "show", "caiso-10-in-10")["adjust_high"] == 1.2
    differ = ask(folder, "rules", "diff", "caiso-10-in-10", "caiso-residential-5-in-10")["differ"]
    assert differ["pick"] == {"caiso-10-in-10": "all", "caiso-residential-5-in-10": "highest"}
    assert CliRunner().invoke(main, ["rules", "show", "nothing"]).exit_code == 2
    assert "caiso-10-in-10" in CliRunner().invoke(main, ["rules", "list"]).stdout


def test_a_rule_before_its_day_is_refused(folder: Path) -> None:
    (folder / "event.toml").write_text(EVENT.replace("2024", "2017"))
    (folder / "old.csv").write_text("start,kwh\n" + "".join(f"{s.replace('2024', '2017')},{k}\n" for s, k in site(40)))
    words = ["baseline", "iso-ne-mean-10-of-10", str(folder / "old.csv"), "--event", str(folder / "event.toml")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "is in force from 2018-06-01" in done.stderr


def test_vector_g_a_firm_service_level_from_a_file(folder: Path) -> None:
    """PLC 90, FSL 55, loss factor 1.031: HE17-20 give 40.512, 42.574, 48.76 and 57.008."""
    terms = "peak_load_kw = 90\nfirm_service_kw = 55\nloss_factor = 1.031\n"
    (folder / "event.toml").write_text(EVENT + terms)
    found = baseline(folder, "pjm-firm-service-level")
    assert [each["performance_kwh"] for each in found["intervals"]] == pytest.approx([40.512, 42.574, 48.76, 57.008])
    assert "0 intervals above the firm service level of 55 kW" in found["flags"]
    (folder / "event.toml").write_text(EVENT + terms.replace("55", "47"))
    assert "1 intervals above" in baseline(folder, "naesb-maximum-base-load")["flags"][1]
    (folder / "event.toml").write_text(EVENT)
    done = CliRunner().invoke(
        main, ["baseline", "pjm-firm-service-level", str(folder / "meter.csv"), "--event", str(folder / "event.toml")]
    )
    assert "peak_load_kw is missing: pjm-firm-service-level counts from it: give kW" in done.stderr


def test_a_sample_stands_for_its_population_and_says_its_error(folder: Path) -> None:
    """Two meters of a population of ten: the total is five times theirs, its error by Cochran's formula."""
    rows = [f"{start},{kwh},{name}\n" for name, scale in (("a", 1.0), ("b", 3.0)) for start, kwh in site(scale=scale)]
    (folder / "two.csv").write_text("start,kwh,meter\n" + "".join(rows))
    (folder / "event.toml").write_text(EVENT + "population = 10\n")
    found = baseline(folder, "naesb-statistical-sample", meter="two.csv")
    one, two = (part["total_kwh"] for part in found["meters"])
    assert found["total_kwh"] == pytest.approx(one + two)
    assert two == pytest.approx(3 * one)
    (folder / "event.toml").write_text(EVENT + "population = 2\n")
    alone = baseline(folder, "naesb-statistical-sample", meter="two.csv")
    assert found["total_kwh"] == pytest.approx(5 * alone["total_kwh"])
    assert alone["sample"]["standard_error_kwh"] == 0.0, "all of them are no sample"
    # N^2 (1 - n / N) s^2 / n with s = |x_a - x_b| / sqrt(2) of the meters as they are.
    spread = abs(one - two) / 5 / 2**0.5
    assert found["sample"]["standard_error_kwh"] == pytest.approx((10**2 * (1 - 0.2) * spread**2 / 2) ** 0.5)
    (folder / "event.toml").write_text(EVENT + "population = 1\n")
    words = ["baseline", "naesb-statistical-sample", str(folder / "two.csv"), "--event", str(folder / "event.toml")]
    assert "give how many they stand for, 2 at least" in CliRunner().invoke(main, words).stderr


def test_a_model_by_the_weather_from_files_says_what_it_learnt_from(folder: Path) -> None:
    days = [DAY - timedelta(days=back) for back in range(60, -1, -1)]
    hours = [datetime(day.year, day.month, day.day, hour, tzinfo=ZONE) for day in days for hour in range(24)]
    celsius = [18 + 6 * ((at.hour - 3) % 24 / 12 - 1) + (at.toordinal() * 5) % 9 for at in hours]
    (folder / "hot.csv").write_text(
        "start,celsius\n" + "".join(f"{at.isoformat()},{c}\n" for at, c in zip(hours, celsius, strict=True))
    )
    cut = [25 if at.date() == DAY and 16 <= at.hour < 20 else 0 for at in hours]
    kwh = [40 + HOURS[at.hour] + 2 * max(c - 22, 0) - less for at, c, less in zip(hours, celsius, cut, strict=True)]
    (folder / "cool.csv").write_text(
        "start,kwh\n" + "".join(f"{at.isoformat()},{k}\n" for at, k in zip(hours, kwh, strict=True))
    )
    (folder / "event.toml").write_text(EVENT + 'temperature = "hot.csv"\n')
    found = baseline(folder, "hourly-weather-normalised", meter="cool.csv")
    # It bends at 18 and 24 degC, the load at 22: what it is off by it says itself, of sums near 290 kWh.
    assert found["model"]["error"] < 3
    assert found["total_kwh"] == pytest.approx(100, abs=2 * found["model"]["error"])
    assert found["model"]["learnt_hours"] == 58 * 24, "60 days less two event days"
    assert found["model"]["cvrmse"] < 0.02
    assert len(found["days"]) == 58
    (folder / "event.toml").write_text(EVENT + 'temperature = "warm.csv"\n')
    words = ["baseline", "hourly-weather-normalised", str(folder / "cool.csv"), "--event", str(folder / "event.toml")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "no temperature of 2024-07-31 hour 16: give one for each hour of the event" in done.stderr


def test_a_resource_is_a_level_and_the_one_of_a_rule_that_says_so(folder: Path) -> None:
    """A row of the rules had it, and the verb refused it."""
    as_one = baseline(folder, "caiso-10-in-10", "--level", "registration")
    found = baseline(folder, "caiso-10-in-10", "--level", "resource")
    assert (found["level"], found["total_kwh"]) == ("resource", as_one["total_kwh"])
    assert baseline(folder, "naesb-meter-before-meter-after")["level"] == "resource"


def test_hours_that_a_window_cuts_are_told_and_half_hours_are_not(folder: Path) -> None:
    """ISO-NE's window ends half an hour before the event; of hourly readings the hour up to it was taken silently."""
    found = baseline(folder, "iso-ne-mean-10-of-10")
    said = [flag for flag in found["flags"] if "adjusts by -2.5 to -0.5 h" in flag]
    assert len(said) == 1
    assert "60 minute intervals don't divide: by those from 14:00 to 16:00 after midnight" in said[0]
    assert "30 minutes or less" in said[0]
    assert not any("don't divide" in flag for flag in baseline(folder, "caiso-10-in-10")["flags"])
    halves = [(start.replace(":00:00-", f":{half}:00-"), kwh / 2) for start, kwh in site() for half in ("00", "30")]
    (folder / "meter.csv").write_text("start,kwh\n" + "".join(f"{start},{kwh}\n" for start, kwh in halves))
    assert not any("don't divide" in flag for flag in baseline(folder, "iso-ne-mean-10-of-10")["flags"])
