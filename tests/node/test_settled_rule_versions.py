"""A served day is settled by the version in force on it, and settled again by the one that it was settled by."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs
from test_settled_days import Hands, Served, play

from sampled import some
from tieline.errors import ConfigError
from tieline.node.config import load_config
from tieline.times import HOUR_NS, market_day

CHICAGO = ZoneInfo("America/Chicago")
RULE = "gb-dfs-10-of-10"


def ruled(served: Served, rule: str) -> None:
    """Settle the pool by another rule from now on, as a restart with other settings does."""
    terms = served.trader.days.terms["pool-1"]
    settings = structs.replace(terms.settings, load_rule=rule)
    served.trader.days.terms = {"pool-1": replace(terms, settings=settings)}


async def called(served: Served, clock: Hands, day: date, rule: str) -> int:
    """Award an hour of a day, with readings and prices, and put the clock to the day's end; return its start."""
    over, first_ns = market_day(day, CHICAGO), market_day(date(2023, 10, 1), CHICAGO).start_ns
    start_ns = over.start_ns + 17 * HOUR_NS
    ruled(served, rule)
    clock.at_ns = over.start_ns
    await served.awarded(start_ns, 100_000.0)
    await served.priced(start_ns, 100.0)
    for row in (0, 1):
        # More in the three hours before: an in-day adjustment takes it for what the called hour would have been.
        served.read(
            row, first_ns, over.end_ns,
            lambda at: -2.5e5 if start_ns <= at < start_ns + HOUR_NS
            else -4e5 if start_ns - 4 * HOUR_NS <= at < start_ns else -3e5,
        )  # fmt: skip
    clock.at_ns = over.end_ns
    return start_ns


@pytest.mark.parametrize("day, version, total", some([
    (date(2023, 10, 27), "2024.1", "25.04"), (date(2023, 11, 8), "2024.2", "5.00"),
]))  # fmt: skip
def test_a_day_is_settled_by_the_version_in_force_on_it(tmp_path: Path, day: date, version: str, total: str) -> None:
    """100 kW gained at 50 $/MWh; the adjustment adds 200 kW at 100 $/MWh, in intervals of whole cents."""

    async def scene(served: Served, clock: Hands) -> None:
        await called(served, clock, day, RULE)
        settled = await served.day()
        assert settled.state == "settled", settled.missing
        (statement,) = settled.statements
        assert [base["version"] for base in statement.body["baselines"]] == [version]
        assert statement.total == total

    play(tmp_path, scene)


@pytest.mark.parametrize("before, since, version", some([
    (f"{RULE}@2024.1", RULE, "2024.1"), (RULE, f"{RULE}@2024.1", "2024.2"),
]))  # fmt: skip
def test_a_corrected_reading_settles_a_day_by_the_version_that_it_was_settled_by(
    tmp_path: Path, before: str, since: str, version: str
) -> None:
    """On the day 2024.2 is in force: what settings pin, before or since, changes nothing that is settled."""

    async def scene(served: Served, clock: Hands) -> None:
        start_ns = await called(served, clock, date(2023, 11, 8), before)
        (first,) = (await served.day()).statements
        assert [base["version"] for base in first.body["baselines"]] == [version]
        ruled(served, since)
        served.read(1, start_ns, start_ns + HOUR_NS, lambda at: -3e5, received_ns=1)
        again = (await served.day()).statements
        assert [each.version for each in again] == [1, 2]
        assert [base["version"] for base in again[-1].body["baselines"]] == [version]

    play(tmp_path, scene)


def test_a_day_on_which_the_rule_is_not_in_force_waits_and_says_so(tmp_path: Path) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        over = market_day(date(2022, 8, 17), CHICAGO)
        ruled(served, RULE)
        clock.at_ns = over.start_ns
        start_ns = over.start_ns + 17 * HOUR_NS
        await served.awarded(start_ns, 100_000.0)
        await served.priced(start_ns, 100.0)
        for row in (0, 1):
            served.read(row, over.start_ns, over.end_ns, lambda at: -3e5)
        clock.at_ns = over.end_ns
        waits = await served.day()
        assert waits.state == "waiting"
        assert waits.missing[0].startswith(f"baseline rule '{RULE}' is in force from 2022-11-03: the event is on 2022")

    play(tmp_path, scene)


def test_settings_pin_a_version_that_exists_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "tieline.toml"
    text = 'zone = "Europe/London"\njurisdiction = "GB"\n[pools.pool-1]\nload_rule = "{}"\n'
    path.write_text(text.format(f"{RULE}@2024.1"))
    assert load_config(path).pools["pool-1"].load_rule == f"{RULE}@2024.1"
    for odd in (f"{RULE}@7", f"{RULE}@", "no-such@2024.1"):
        path.write_text(text.format(odd))
        with pytest.raises(ConfigError, match=rf"load_rule '{odd}' at \$.pools.pool-1.load_rule: give one of"):
            load_config(path)
