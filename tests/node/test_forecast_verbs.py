"""`tieline forecast` from files: the next day, what models are worth, what was known when, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tieline.node.cli import main
from tieline.simulate.datasets import homes, weather
from tieline.times import HOUR_NS, iso, parse_iso

ZONE = ["--timezone", "America/Los_Angeles"]
FIRST = datetime(2017, 1, 1, tzinfo=ZoneInfo("America/Los_Angeles"))
DAYS = 77
HOURS = [FIRST.astimezone(UTC) + timedelta(hours=k) for k in range(24 * DAYS - 1)]  # 12 March has 23 hours


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["forecast", *map(str, words)])


def refused(*words: object) -> str:
    done = run(*words, "--json")
    assert done.exit_code == 2 and not done.stdout
    told = json.loads(done.stderr)
    return str(told["error"])


def write(folder: Path, kwh: np.ndarray, celsius: float = 15.0, skip: int = -1) -> tuple[Path, Path]:
    meter, weather = folder / "meter.csv", folder / "weather.csv"
    rows = [
        f"{at.isoformat()},{value:.4f},home-{m}"
        for m, row in enumerate(kwh)
        for at, value in zip(HOURS, row, strict=False)
    ]
    meter.write_text("start,kwh,meter\n" + "\n".join(rows))
    warm = [f"{at.isoformat()},{celsius}" for k, at in enumerate(HOURS) if not 0 <= skip <= k < skip + 5]
    weather.write_text("start,celsius\n" + "\n".join(warm))
    return meter, weather


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write(tmp_path_factory.mktemp("meters"), homes()[:4, 1 : 1 + len(HOURS) - 23] / 1e3)


def test_the_next_day_is_foretold_with_quantiles_its_model_and_its_worth(files: tuple[Path, Path]) -> None:
    done = run(files[0], *ZONE, "--temperature", files[1], "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["day"] == "2017-03-18" and told["readings_until"] == "2017-03-18T07:00:00Z" and told["meters"] == 4
    (one,) = told["series"]
    assert one["series"] == "pool" and len(one["intervals"]) == 24
    assert one["total_kwh"] == pytest.approx(sum(row["kwh"] for row in one["intervals"]))
    for row in one["intervals"]:
        assert 0 <= row["q05"] <= row["q10"] <= row["q25"] <= row["q50"] <= row["q75"] <= row["q90"] <= row["q95"]
    assert set(one["lately"]["wape"]) == {"week", "day", "like", "ridge", "chosen"}
    assert 0.8 < one["coverage_90"] <= 1
    assert "pool" in run(files[0], *ZONE).stdout


def test_meters_add_up_whichever_model_speaks_for_all(files: tuple[Path, Path]) -> None:
    each = json.loads(
        run(files[0], *ZONE, "--level", "meter", "--model", "ridge", "--day", "2017-03-12", "--json").stdout
    )
    assert [one["series"] for one in each["series"]] == [f"home-{k}" for k in range(4)]
    assert all(len(one["intervals"]) == 23 for one in each["series"])  # an hour was skipped


def test_a_past_day_is_foretold_from_what_was_read_before_it(files: tuple[Path, Path], tmp_path: Path) -> None:
    changed = homes()[:4, 1 : 1 + len(HOURS) - 23] / 1e3
    changed[:, 24 * 60 :] = 9.0
    later, _ = write(tmp_path, changed)
    words = [*ZONE, "--day", "2017-03-02", "--json"]
    assert json.loads(run(later, *words).stdout)["series"] == json.loads(run(files[0], *words).stdout)["series"]
    other = json.loads(run(later, *ZONE, "--day", "2017-03-03", "--json").stdout)["series"]
    assert other != json.loads(run(files[0], *ZONE, "--day", "2017-03-03", "--json").stdout)["series"]


@pytest.mark.parametrize("lead", [1, 3])
def test_of_a_long_past_nothing_after_the_lead_is_looked_at(tmp_path: Path, lead: int) -> None:
    starts = [iso(parse_iso("2024-01-01T00:00Z") + k * HOUR_NS) for k in range(24 * 230)]
    told = []
    for name, changed in (("a", 1.0), ("b", 50.0)):
        path = tmp_path / f"{name}.csv"
        rows = [f"{at},{(homes()[m, 1 + k] / 1e3 * (changed if k >= 24 * (220 - lead + 1) else 1.0)):.4f},{m}"
                for m in range(2) for k, at in enumerate(starts) if changed == 1.0 or (m, k // 24) != (1, 220)]  # fmt: skip
        path.write_text("start,kwh,meter\n" + "\n".join(rows))
        done = run(path, "--timezone", "UTC", "--day", "2024-08-08", "--lead", lead, "--json")
        told.append(json.loads(done.stdout)["series"])
    assert told[0] == told[1]


def test_a_day_with_an_event_says_nothing_of_others(files: tuple[Path, Path], tmp_path: Path) -> None:
    changed = homes()[:4, 1 : 1 + len(HOURS) - 23] / 1e3
    changed[:, 24 * 70 : 24 * 71] = 0.0  # 12 March and, as that is an hour short, the first hour of the 13th
    cut, _ = write(tmp_path, changed)
    words = [*ZONE, "--without", "2017-03-12", "--without", "2017-03-13", "--json"]
    assert json.loads(run(cut, *words).stdout)["series"] == json.loads(run(files[0], *words).stdout)["series"]


def test_models_are_scored_on_days_that_are_over_and_a_seed_gives_the_same(files: tuple[Path, Path]) -> None:
    words = ["score", files[0], *ZONE, "--temperature", files[1], "--days", 40, "--json"]
    done = run(*words)
    told = json.loads(done.stdout)
    until = files[1].read_text().index("2017-03-18T08")  # days that are over need no temperature of days to come
    short = files[1].with_name("short.csv")
    short.write_text(files[1].read_text()[:until])
    assert run("score", files[0], *ZONE, "--temperature", short, "--days", 40, "--json").stdout == done.stdout
    assert told["days"] == 40 and told["until"] == "2017-03-17" and sum(told["chosen"].values()) == 40
    assert told["wape"]["ridge"] < told["wape"]["week"] and told["skill"] > 0
    assert 0.8 < told["coverage_90"] < 1
    assert run(*words).stdout == done.stdout
    assert "skill over the same day a week ago" in run("score", files[0], *ZONE).stdout


def test_a_score_counts_from_where_a_model_could_be_chosen(files: tuple[Path, Path]) -> None:
    """75 days are there: of the last 30 the days before show who is best; of all there are, none do for the first."""
    told = json.loads(run("score", files[0], *ZONE, "--days", 30, "--json").stdout)
    others = [value for name, value in told["wape"].items() if name not in ("ridge", "chosen")]
    assert told["days"] == 30 and told["from"] == "2017-02-16" and told["wape"]["chosen"] < min(others)
    assert told["chosen"]["week"] == 0 and told["since_choice"]["wape"] == told["wape"]
    told = json.loads(run("score", files[0], *ZONE, "--days", 3_000, "--json").stdout)
    since = told["since_choice"]
    assert (since["days"], told["chosen"]["week"]) == (told["days"] - 7, 7)
    assert since["wape"]["chosen"] < told["wape"]["chosen"]
    said = run("score", files[0], *ZONE, "--days", 3_000).stdout
    assert f"since {since['from']}, when a model could be chosen: WAPE week" in said
    assert "when a model could be chosen" not in run("score", files[0], *ZONE, "--days", 30).stdout


def test_what_was_known_then_is_told_for_any_instant(files: tuple[Path, Path], tmp_path: Path) -> None:
    for lead, at in ((2, "2017-03-16T10:00:00-07:00"), (1, "2017-03-17T00:05:00-07:00")):
        done = run(files[0], *ZONE, "--day", "2017-03-17", "--lead", lead, "--out", tmp_path / "kept", "--at", at)
        assert done.exit_code == 0, done.stderr
    rows = {at: json.loads(run("known", tmp_path / "kept", "--at", at, "--json").stdout)["forecasts"]
            for at in ("2017-03-16T09:00:00-07:00", "2017-03-16T12:00:00-07:00", "2017-03-17T12:00:00-07:00")}  # fmt: skip
    none, early, late = rows.values()
    assert not none and len(early) == len(late) == 24
    assert {row["known_at"] for row in early} == {"2017-03-16T17:00:00Z"}
    assert {row["readings_until"] for row in late} == {"2017-03-17T07:00:00Z"}
    assert refused("known", tmp_path / "kept", "--series", "x").startswith("--series 'x': nothing was known of it at")


def test_what_is_wrong_is_refused_by_name_value_and_limit(files: tuple[Path, Path], tmp_path: Path) -> None:
    meter, _ = files
    assert refused(meter, "--timezone", "Mars/Olympus").startswith("--timezone 'Mars/Olympus': give an IANA name")
    assert refused(meter, *ZONE, "--lead", 20) == "--lead 20: give 1 to 14 days"
    assert "--day 2017-03-20: readings end with 2017-03-17: give 2017-03-18 at the latest, or --lead 3" in refused(
        meter, *ZONE, "--day", "2017-03-20"
    )
    assert refused(meter, *ZONE, "--day", "x").startswith("--day 'x': give a day")
    assert "7 whole days before 2017-01-08 less the lead: give at least 14" in refused(
        meter, *ZONE, "--day", "2017-01-08"
    )
    assert refused(meter, *ZONE, "--at", "2017-03-16T10:00:00Z").startswith(
        "--at '2017-03-16T10:00:00Z': belongs to --out"
    )
    early = refused(meter, *ZONE, "--day", "2017-03-17", "--out", tmp_path, "--at", "2017-03-16T10:00:00Z")
    assert early.startswith("known_at = 2017-03-16T10:00:00Z: it was made from readings until 2017-03-17T07:00:00Z")
    _, holes = write(tmp_path, homes()[:1, : len(HOURS)] / 1e3, skip=24 * 40)
    assert f"{holes}: no temperature for all of 2017-02-10" in refused(meter, *ZONE, "--temperature", holes)
    holes.write_text(holes.read_text().replace(",15.0", ",150.0", 1))
    assert "row 2: celsius = 150: give -90 to 65 degC" in refused(meter, *ZONE, "--temperature", holes)
    assert refused("score", meter, "--timezone", "UTC", "--days", "14", "--lead", "14").endswith("give at least 56")
    said = refused("score", meter, "--timezone", "UTC", "--days", "14", "--lead", "14")
    assert "home-3: --days 14 leaves 14 days to be foretold: give at least 28; of whole days of readings, 75 " in said


def test_gaps_and_silent_meters_stop_nothing_and_are_named(tmp_path: Path) -> None:
    kwh = homes()[:6, 1 : 1 + len(HOURS) - 23] / 1e3
    rng = np.random.default_rng(1)
    kwh[rng.random(kwh.shape) < 0.1] = np.nan  # on every day some meter lacks some hour
    kwh[5] = np.nan
    meter, _ = write(tmp_path, kwh)
    text = meter.read_text().replace(",nan,", ",,")
    meter.write_text(text)
    told = json.loads(run(meter, *ZONE, "--json").stdout)
    (one,) = told["series"]
    assert "meter home-5: left out: no reading at some time of day lately" in told["flags"]
    assert one["model"] != "week" and one["lately"]["skill"] > 0 and 0.8 < one["coverage_90"] <= 1
    meter.write_text(
        "\n".join(
            line for line in text.splitlines() if not line.endswith(("home-0", "home-1", "home-2", "home-3", "home-4"))
        )
    )
    said = refused(meter, *ZONE)
    assert "no meter has readings at all times of day" in said
    assert said.endswith("home-5: readings at 00:00 = 0 in 76 days: give at least 1 for every time of day"), said


def test_half_an_hour_off_midnight_is_no_grid(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("start,kwh\n" + "\n".join(f"{(at + timedelta(minutes=30)).isoformat()},1" for at in HOURS[:480]))
    assert "it is no whole number of 60 minute intervals after midnight in America/Los_Angeles" in refused(path, *ZONE)


def test_few_days_give_a_forecast_by_the_floor_without_quantiles_and_say_so(tmp_path: Path) -> None:
    meter, _ = write(tmp_path, homes()[:2, 1 : 1 + 24 * 20] / 1e3)
    told = json.loads(run(meter, *ZONE, "--json").stdout)
    assert told["series"][0]["model"] == "week" and told["series"][0]["intervals"][0]["q05"] is None
    assert told["flags"] == ["no quantiles: 6 days could be foretold before: 14 are needed"]
    assert "nan" not in run(meter, *ZONE).stdout


def test_of_meters_that_used_nothing_no_share_is_said(tmp_path: Path) -> None:
    meter, _ = write(tmp_path, np.zeros((2, 24 * 60)))
    for words in ((meter, *ZONE), ("score", meter, *ZONE)):
        said = run(*words).stdout
        assert "nan" not in said.lower(), said
        assert "WAPE" not in said or "unknown (nothing was used)" in said


PLANT = json.loads((Path(__file__).parents[1] / "forecast" / "pvlib.json").read_text(encoding="utf-8"))
PLACE = ["--latitude", PLANT["latitude_deg"], "--longitude", PLANT["longitude_deg"], "--timezone", "Etc/GMT+5"]


def write_plants(folder: Path, days: int = 59) -> tuple[Path, Path]:
    """Two plants by pvlib, and the weather that made them, a day longer."""
    found, rows = weather(), range(PLANT["first_row"], PLANT["first_row"] + 24 * 60)
    starts = [iso(PLANT["starts_ns"] + k * HOUR_NS) for k in range(24 * 60)]
    output, sky = folder / "output.csv", folder / "sky.csv"
    told = [f"{starts[k]},{PLANT[f'{name}_kw'][k]},{name}" for name in ("one", "two") for k in range(24 * days)]
    output.write_text("start,kwh,meter\n" + "\n".join(told))
    told = [f"{at},{found.outdoor_c[r]},{found.direct_w_per_m2[r]},{found.diffuse_w_per_m2[r]}"
            for at, r in zip(starts, rows, strict=True)]  # fmt: skip
    sky.write_text("start,celsius,direct,diffuse\n" + "\n".join(told))
    return output, sky


def test_plants_are_foretold_from_the_weather_without_a_data_sheet(tmp_path: Path) -> None:
    output, sky = write_plants(tmp_path)
    done = run("pv", output, "--weather", sky, *PLACE, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    actual = sum(PLANT["one_kw"][-24:]) + sum(PLANT["two_kw"][-24:])
    assert told["total_kwh"] == pytest.approx(actual, rel=0.06)
    assert told["lately"]["wape"] < 0.06 < 0.2 < told["lately"]["wape_day_before"]
    assert "kWh of 2 plants" in run("pv", output, "--weather", sky, *PLACE).stdout


def test_plants_without_weather_or_sense_are_refused(tmp_path: Path) -> None:
    output, sky = write_plants(tmp_path)
    words = ["pv", output, "--weather", sky]
    assert "place = 95, 0: give -90 to 90" in refused(*words, "--latitude", 95, "--longitude", 0, "--timezone", "UTC")
    assert "no weather at" in refused(*words, *PLACE, "--day", "2019-06-20")
    assert "0 days have output and weather at the same starts: give at least 20" in refused(
        *words, *PLACE, "--day", "2019-04-11"
    )
    text = sky.read_text()
    sky.write_text(text.replace("direct,diffuse", "direct,other"))
    assert "columns celsius, direct: give direct and diffuse, or level" in refused(*words, *PLACE)
    sky.write_text(text + "\n" + text.splitlines()[-1])
    assert "stands there twice: keep one" in refused(*words, *PLACE)
    sky.write_text(text.rsplit(",", 1)[0] + ",9000")
    assert "diffuse = 9000: give 0 to 1500" in refused(*words, *PLACE)
    output.write_text(output.read_text().replace(",0.8999,", ",-0.8999,"))
    sky.write_text(text)
    assert "meter one: kwh = -0.8999: give output above 0" in refused(*words, *PLACE)


def test_a_sample_is_written_once(tmp_path: Path) -> None:
    made = json.loads(run("sample", tmp_path / "s", "--json").stdout)["files"]
    assert [Path(name).name for name in made] == ["meter.csv", "temperature.csv", "output.csv", "sky.csv"]
    assert "has a meter.csv: give a folder without" in refused("sample", tmp_path / "s")
