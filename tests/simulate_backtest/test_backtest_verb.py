"""`tieline backtest` as a user runs it: whole answers, odd days, empty fleets, and what is refused."""

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.errors import ConfigError
from tieline.node.analysis_backtest import backtest_of
from tieline.node.cli import main
from tieline.simulate.backtest.asked import BacktestTerms, parse

STORM = {"devices": 300, "first": date(2021, 2, 13), "last": date(2021, 2, 19)}


def told(*words: str) -> dict:  # type: ignore[type-arg]
    done = CliRunner().invoke(main, ["backtest", *words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict = json.loads(done.output)  # type: ignore[type-arg]
    return found


def test_the_same_asked_gives_the_same_answer_to_the_cent_and_another_seed_another() -> None:
    first, again = (backtest_of("ercot-february-2021", **STORM) for _ in range(2))
    assert first == again
    assert backtest_of("ercot-february-2021", **STORM, seed=2)["whole"] != first["whole"]


def test_an_answer_says_profit_by_its_parts_by_day_and_whole_and_what_to_judge_it_by() -> None:
    found = told("ercot-february-2021", "--devices", "300", "--from", "2021-02-13", "--to", "2021-02-19")
    parts = {"day_ahead", "real_time", "penalties", "fuel", "owner_pay", "margin"}
    assert set(found["whole"]) == parts and all(parts <= set(day) for day in found["days"])
    for name in parts:
        cents = sum(round(float(day[name]) * 100) for day in found["days"])
        assert cents == round(float(found["whole"][name]) * 100)
    assert [one["by"] for one in found["beside"]] == ["yesterday", "foresight"]
    assert float(found["before_owners"]) < found["bound_before_owners"]
    assert found["refused"] == {"us-rice-emergency": 6}
    assert found["real_time_prices"].startswith("none")


def on_the_page(row: str) -> list[float]:
    """The figures of the first row of that name in the page's tables."""
    page = (Path(__file__).parents[2] / "docs" / "do" / "backtest.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"| {row} |"))
    return [float(cell.replace(",", "").strip("* ")) for cell in line.split("|")[2:-1] if cell.strip("* ")]


def test_february_2021_comes_out_as_the_page_tells_it() -> None:
    """The golden run: any change of its figures is one of the product's.

    By a thousandth: the forecasts are least squares, and another processor's linear algebra ends them in other bits.
    """
    found = backtest_of("ercot-february-2021")
    parts = ("day_ahead", "real_time", "penalties", "fuel", "owner_pay", "margin")
    near = {"rel": 1e-3, "abs": 50.0}
    whole = [*(float(found["whole"][name]) for name in parts), float(found["before_owners"])]
    assert on_the_page("**all**") == pytest.approx(whole, **near)
    for one, words in zip(found["beside"], ("by yesterday's prices", "by foresight of the prices"), strict=True):
        assert on_the_page(words) == pytest.approx([float(one[name]) for name in (*parts, "before_owners")], **near)
    storm = [day for day in found["days"] if "2021-02-13" <= day["day"] <= "2021-02-19"]
    sums = [sum(float(day[name]) for day in storm) for name in parts]
    assert on_the_page("the seven days of the storm")[: len(parts)] == pytest.approx(sums, **near)
    assert on_the_page("bound: no run can beat it") == pytest.approx([found["bound_before_owners"]], **near)


@pytest.mark.long
def test_august_2020_comes_out_as_the_page_tells_it() -> None:
    found = backtest_of("sgip-august-2020")
    page = (Path(__file__).parents[2] / "docs" / "do" / "backtest.md").read_text(encoding="utf-8")
    by = [found["avoided_tonnes"], *(one["avoided_tonnes"] for one in found["beside"]), found["bound_tonnes"]]
    assert f"**{by[0]:.3f}**" in page and all(f"| {tonnes:.3f} |" in page for tonnes in by[1:])
    assert f"{found['own_way_tonnes']:.3f} t" in page


def test_nobody_earns_nothing_and_avoids_nothing() -> None:
    found = backtest_of("ercot-february-2021", devices=0, first=date(2021, 2, 13), last=date(2021, 2, 14))
    assert set(found["whole"].values()) == {"0.00"} and found["bound_before_owners"] == 0
    assert found["serving"] == {} and found["lines"] == 96
    carbon = backtest_of("sgip-august-2020", devices=0, last=date(2020, 8, 2))
    assert carbon["avoided_tonnes"] == carbon["bound_tonnes"] == carbon["own_way_tonnes"] == 0


@pytest.mark.parametrize(("day", "hours"), [(date(2021, 3, 14), 23), (date(2021, 11, 7), 25)])
def test_days_of_23_and_25_hours_are_played_hour_by_hour(day: date, hours: int) -> None:
    found = backtest_of("ercot-february-2021", 300, day, day)
    assert [one["hours"] for one in found["days"]] == [hours]
    assert found["lines"] >= 2 * hours  # each hour is a line day-ahead and one of its deviation at least
    assert float(found["before_owners"]) <= found["bound_before_owners"]


def test_what_is_avoided_is_told_beside_nothing_done_the_last_days_alone_and_foresight() -> None:
    found = told("sgip-august-2020", "--devices", "60", "--from", "2020-08-14", "--to", "2020-08-16")
    by = {one["by"]: one["avoided_tonnes"] for one in found["beside"]}
    assert 0 < found["avoided_tonnes"] < by["foresight"] <= found["bound_tonnes"]
    assert found["own_way_tonnes"] > 0 and set(by) == {"like_days", "foresight"}
    whole = sum(day["avoided_kg"] for day in found["days"]) / 1e3
    assert whole == pytest.approx(found["avoided_tonnes"], abs=1e-5)


def prices_file(folder: Path, days: int = 20) -> None:
    hours = [(day, hour) for day in range(1, days + 1) for hour in range(24)]
    rows = [f"2024-05-{day:02}T{hour:02}:00:00Z,{20 + 60 * (17 <= hour < 21)}" for day, hour in hours]
    (folder / "prices.csv").write_text("\n".join(["start,price", *rows]), encoding="utf-8")


def own(folder: Path, more: str = "") -> str:
    text = (
        'name = "mine"\nof = "energy"\nfirst = 2024-05-18\nlast = 2024-05-20\nprices = "prices.csv"\nzone = "Etc/UTC"\n'
    )
    (folder / "mine.toml").write_text(text + more, encoding="utf-8")
    return str(folder / "mine.toml")


def test_a_file_of_ones_own_is_played_with_its_prices_and_terms(tmp_path: Path) -> None:
    prices_file(tmp_path)
    found = told(own(tmp_path, "devices = 400\n[terms]\noperator_frac = 0.5\nopt_out_frac = 0.0\noffline_frac = 0.0\n"))
    whole = {name: float(value) for name, value in found["whole"].items()}
    assert [day["mean_price"] for day in found["days"]] == [30.0] * 3
    assert whole["owner_pay"] == pytest.approx(whole["margin"], abs=0.011) and whole["margin"] > 0
    assert set(found["lacks_mwh"]) <= {"underperformed"}


def test_real_time_prices_of_ones_own_price_deviations_and_leave_the_rest(tmp_path: Path) -> None:
    prices_file(tmp_path)
    plain = told(own(tmp_path, "devices = 400\n"))
    rows = [f"2024-05-{d}T{h:02}:{m:02}:00Z,0" for d in (18, 19, 20) for h in range(24) for m in (0, 15, 30, 45)]
    (tmp_path / "spot.csv").write_text("\n".join(["start,price", *rows]), encoding="utf-8")
    free = told(own(tmp_path, 'devices = 400\nreal_time = "spot.csv"\n'))
    assert free["whole"]["day_ahead"] == plain["whole"]["day_ahead"]
    refill = float(free["whole"]["real_time"])
    assert refill <= 0 and float(plain["whole"]["real_time"]) != refill
    assert free["input_hash"] != plain["input_hash"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("start,price\n2024-05-01T00:00:00,5\n", "offset"),
        ("start,price\n2024-05-01T00:00:00Z,nan\n", "finite"),
        ("start,price\n2024-05-01T00:00:00Z,5\n2024-05-01T00:00:00Z,6\n", "each start once"),
        ("begin,price\n2024-05-01T00:00:00Z,5\n", "start"),
        ("start,price\n", "no prices"),
    ],
)
def test_a_file_of_prices_that_is_none_is_refused_with_its_row(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "prices.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        backtest_of(own(tmp_path))


def test_an_hour_without_a_price_is_named(tmp_path: Path) -> None:
    prices_file(tmp_path)
    path = tmp_path / "prices.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("2024-05-19T07")]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match="2024-05-19T07:00:00Z"):
        backtest_of(own(tmp_path, "devices = 50\n"))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("texas", {}, "is unknown"),
        ("ercot-february-2021", {"last": date(2021, 1, 31)}, "give a day from 2021-02-01"),
        ("ercot-february-2021", {"first": date(2021, 1, 10)}, "15 days of prices before it"),
        ("ercot-february-2021", {"first": date(2023, 1, 10), "last": date(2023, 1, 10), "devices": 10}, "price"),
        ("sgip-august-2020", {"first": date(2020, 9, 5), "last": date(2020, 9, 6)}, "no emissions"),
        ("sgip-august-2020", {"first": date(2020, 7, 30), "last": date(2020, 8, 2)}, "no emissions"),
    ],
)
def test_days_and_names_that_are_not_there_are_refused(name: str, options: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=says):
        backtest_of(name, **options)


def test_the_file_that_the_page_shows_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "do" / "backtest.md").read_text(encoding="utf-8")
    shown = page.split("```text mine.toml\n")[1].split("```")[0]
    assert parse(shown, "mine.toml").terms == BacktestTerms()


def test_a_toml_with_an_unknown_key_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="operater_frac"):
        backtest_of(own(tmp_path, "[terms]\noperater_frac = 0.5\n"))
