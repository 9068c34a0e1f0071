"""Money of a backtest adds up to the cent, and no run beats what nobody could."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from backtests import small
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.settlement import Basis
from tieline.simulate.backtest.energy import bound_of
from tieline.simulate.backtest.money import Played, Profit, intervals, lines_of, profit_of, with_owners
from tieline.times import HOUR_NS, MINUTE_NS

FIRST, LAST = date(2021, 2, 13), date(2021, 2, 20)
BASIS = Basis("statement", "own way", "1", "inputs", "data")


def one_hour(awarded_mw: float, delivered_mw: float, price: float, **other: object) -> Played:
    said = {
        "starts_ns": np.array([0]), "step_ns": HOUR_NS, "awarded_w": np.array([awarded_mw * 1e6]),
        "delivered_w": np.array([delivered_mw * 1e6]), "offline_w": np.zeros(1), "opted_out_w": np.zeros(1),
        "price": np.array([price]), "given_wh": np.zeros(0), "worth": np.zeros(0), "chp_wh": 0.0, "missed": (),
        "refill": (),
    }  # fmt: skip
    return Played(**{**said, **other})  # type: ignore[arg-type]


def test_an_hour_is_settled_twice_day_ahead_and_by_each_real_time_price() -> None:
    """4 MW at 62.15 are 248.60; 3.6 MW came, so 0.1 MWh lacks in each quarter-hour, at 58, 61, 64 and 70: 25.30."""
    spot = {k * 15 * MINUTE_NS: price for k, price in enumerate((58.0, 61.0, 64.0, 70.0))}
    played = one_hour(4.0, 3.6, 62.15)
    found = profit_of(played, lines_of(played, BASIS, spot), 0.0, 0.0)
    assert (found.day_ahead, found.real_time) == (Decimal("248.60"), Decimal("-25.30"))


def test_without_real_time_prices_a_lack_is_bought_at_the_day_ahead_price_and_penalised() -> None:
    played = one_hour(4.0, 3.9, 62.15, chp_wh=2e6, missed=((5_000.0, 200.0),), refill=((10_000.0, 100.0),))
    found = profit_of(played, lines_of(played, BASIS, {}), 50.0, 45.0)
    # By hand: 0.1 MWh at 62.15 is 6.215, to the cent 6.22 (half to even), and 10 kWh at 100 is 1.00; the penalty
    # is 5.00 and 5 kWh that drivers lacked at 200 are 1.00; two MWh of fuel are 90.00.
    assert found == Profit(Decimal("248.60"), Decimal("-7.22"), Decimal("6.00"), Decimal("90.00"))
    assert found.margin == Decimal("145.38")


def test_an_hour_whose_first_real_time_price_is_missing_has_none() -> None:
    assert intervals(0, HOUR_NS, {15 * MINUTE_NS: 5.0}) == []
    assert intervals(0, HOUR_NS, {0: 4.0, 30 * MINUTE_NS: 5.0}) == [
        (0, 30 * MINUTE_NS, 4.0), (30 * MINUTE_NS, HOUR_NS, 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize("mind", ["known", "yesterday", "foresight"])
def test_lines_add_up_to_days_and_days_to_the_whole_to_the_cent(mind: str) -> None:
    played = small(FIRST, LAST).run(mind)  # type: ignore[arg-type]
    for day, lines, money in zip(played.played, played.lines, played.days, strict=True):
        refill = sum((Decimal(str(round(wh / 1e6 * price, 2))) for wh, price in day.refill), Decimal(0))
        assert sum(line.amount for line in lines) - refill == money.day_ahead + money.real_time
        shared = money.owner_pay + money.margin + money.penalties + money.fuel
        assert shared == money.day_ahead + money.real_time
        cents = (getattr(money, name) for name in money.__struct_fields__)
        assert all(amount == amount.quantize(Decimal("0.01")) for amount in cents)
    whole = played.whole
    assert whole.before_owners == sum((day.before_owners for day in played.days), Decimal(0))
    assert abs(whole.owner_pay - whole.before_owners * Decimal("0.8")) <= Decimal("0.01")


def test_what_lacks_is_split_by_cause_without_losing_a_watt() -> None:
    played = small(FIRST, LAST).run()
    for day, lines in zip(played.played, played.lines, strict=True):
        lacking_wh = np.maximum(day.awarded_w - day.delivered_w, 0.0).sum()
        told_wh = -sum(line.energy_wh for line in lines if line.cause)
        assert told_wh == pytest.approx(lacking_wh, abs=0.1)
    causes = {line.cause for lines in played.lines for line in lines}
    assert {"offline", "opt_out", "underperformed"} <= causes


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 10**6))
def test_no_run_beats_the_bound(seed: int) -> None:
    world = small(FIRST, LAST, 300, seed)
    best = bound_of(world.asked, world.fleet, world.line, world.prices)
    found = [float(world.run(mind).whole.before_owners) for mind in ("known", "yesterday", "foresight")]  # type: ignore[arg-type]
    assert max(found) <= best + 0.5  # each of some hundred lines is rounded to the cent
    assert found[2] > max(found[:2]) > 0  # who knows the prices earns more


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**4)), min_size=1, max_size=12),
    st.integers(0, 1000),
)
def test_owners_get_their_part_of_the_statement_to_date_whatever_days_brought(
    days: list[tuple[int, int]], milli: int
) -> None:
    bare = [Profit(Decimal(cents) / 100, penalties=Decimal(fines) / 100) for cents, fines in days]
    frac = Decimal(milli) / 1000
    paid = with_owners(bare, [np.array([1.0, 2.5])] * len(bare), frac)
    total = sum((day.before_owners for day in bare), Decimal(0))
    owners = sum((day.owner_pay for day in paid), Decimal(0))
    assert owners >= 0 and (owners == 0 if total <= 0 else abs(owners - total * (1 - frac)) <= Decimal("0.005"))
    assert sum((day.margin for day in paid), Decimal(0)) + owners == total


def test_a_flat_price_gives_batteries_and_cars_nothing_to_do() -> None:
    """Moving energy earns nothing then, and wears: only the sun sells, and heat that is let go."""
    world = small(date(2021, 3, 1), date(2021, 3, 3))
    flat = world.repriced(dict.fromkeys(world.prices.of_hour, 40.0))
    played = flat.run("foresight")
    worth = sum(day.worth for day in played.played)
    kinds = world.fleet.kind
    assert float(np.abs(worth[kinds == "battery"]).max()) < 1e-6
    assert float(np.abs(worth[kinds == "ev_charger"]).max()) < 1e-6
    assert float(worth[kinds == "pv"].sum()) > 1.0
