"""The story with an ISO whose prices react: it keeps its promises, and its report says how prices moved."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from tieline.node.demo import quiet, run_headless
from tieline.times import MINUTE_NS, parse_iso


@cache
def played() -> dict[str, Any]:
    quiet()
    return run_headless(60, 1, "heatwave", 75 * MINUTE_NS, lambda line: None, iso="clearing")


@pytest.mark.long
def test_every_promise_is_kept_with_prices_that_react() -> None:
    result = played()
    assert [promise["name"] for promise in result["promises"] if not promise["held"]] == []
    assert result["failures"] == {}
    assert len(result["dispatch"]) >= 12 and result["override"]["declared_to_market"]


def test_the_report_says_who_cleared_how_well_and_how_our_offers_moved_the_price() -> None:
    told = played()["iso"]
    assert (told["cleared_by"], told["bus"]) == ("clearing", "60") and 0.0 <= told["gap"] <= 5e-3
    awards = {award["start"]: award for award in played()["awards"]}
    hours = {hour["start"]: hour for hour in told["hours"]}
    assert awards.keys() == {start for start, hour in hours.items() if hour["awarded_mw"] > 0}
    for start, award in awards.items():
        assert award["price_per_mwh"] == hours[start]["price_per_mwh"]
        assert award["mw"] == pytest.approx(hours[start]["awarded_mw"], abs=1e-6)
    assert min(hour["price_per_mwh"] - hour["same_plants_without_us"] for hour in hours.values()) < -0.1
    live = told["real_time"]
    assert live["steps"] >= 12 and live["price_per_mwh"] < live["without_us"] - 0.1
    assert live["not_given_mwh"] > 0.0, "what we did not give is told to the ISO, and comes into its balance"


def test_the_day_ahead_is_paid_at_the_prices_that_were_cleared() -> None:
    result = played()
    ended_ns = parse_iso(result["dispatch"][-1]["start"])
    whole = [award for award in result["awards"] if parse_iso(award["end"]) <= ended_ns + 5 * MINUTE_NS]
    owed = sum(award["mw"] * award["price_per_mwh"] for award in whole)
    assert Decimal(result["settlement"]["by_kind"]["day_ahead"]) == pytest.approx(Decimal(owed), abs=Decimal("0.15"))
