"""Participation models as data: every table is sound, every figure says where it is from, and every rule bites."""

from datetime import date
from itertools import pairwise

import pytest

from tieline.errors import ConfigError
from tieline.market.participation import as_rows, market_of, markets, model_at, parse_market, versions_of
from tieline.times import parse_iso

MODELS = [(market, model) for market in markets().values() for model in market.model]
ASKED = {
    "caiso-pdr", "caiso-rdrr-day-ahead", "caiso-derp", "pjm-economic", "pjm-capacity", "pjm-regulation", "ercot-ader",
    "ercot-ers-10", "ercot-ers-30", "nyiso-der", "iso-ne-drr", "miso-drr-1", "miso-lmr", "gb-bm",
    "gb-dynamic-containment", "gb-dynamic-moderation", "gb-dynamic-regulation", "gb-dfs", "eu-fcr", "eu-afrr-energy",
    "eu-mfrr-energy", "aemo-wdr", "aemo-fcas-contingency",
}  # fmt: skip


def test_every_market_that_was_asked_for_has_its_models() -> None:
    assert {model.id for _, model in MODELS} >= ASKED


@pytest.mark.parametrize(("market", "model"), MODELS, ids=lambda one: f"{one.id}-{getattr(one, 'version', '')}")
def test_every_figure_names_its_source_and_its_certainty(market, model) -> None:
    rows = as_rows(market, model)
    assert rows and all(row["mark"] in ("V", "K") and len(row["source"]) > 10 for row in rows)


@pytest.mark.parametrize("market", markets().values(), ids=lambda market: market.id)
def test_a_market_day_is_cut_into_intervals_without_gap_or_overlap_on_days_of_23_24_and_25_hours(market) -> None:
    for model in market.model:
        for day in (date(2025, 3, 9), date(2025, 3, 30), date(2025, 7, 1), date(2025, 10, 26), date(2025, 11, 2)):
            whole, cut = market.day(model, day), market.intervals(model, day)
            if not cut:
                assert model.interval_min is None
                continue
            assert (cut[0].start_ns, cut[-1].end_ns) == (whole.start_ns, whole.end_ns)
            assert all(a.end_ns == b.start_ns for a, b in pairwise(cut))
            assert all(market.day_of(model, at) == day for one in cut for at in (one.start_ns, one.end_ns - 1))


def test_a_block_of_four_hours_in_which_the_clock_is_set_is_three_or_five_hours() -> None:
    market, (model,) = versions_of("gb-dynamic-containment")
    hours = [[one.seconds / 3600 for one in market.intervals(model, date(2025, *day))] for day in ((3, 30), (10, 26))]
    assert hours == [[3, 4, 4, 4, 4, 4], [5, 4, 4, 4, 4, 4]]
    assert market.intervals(model, date(2025, 3, 30))[0].start_ns == parse_iso("2025-03-29T23:00:00+00:00")


def test_the_version_of_a_model_goes_by_the_market_day_of_delivery() -> None:
    caps = [
        model_at("aemo-wdr", parse_iso(at))[1].number("price_cap")
        for at in ("2025-07-01T03:55:00+10:00", "2025-07-01T04:00:00+10:00")
    ]
    assert caps == [17_500.0, 20_300.0]  # AEMC schedules of 2024-25 and 2025-26; the day begins at 04:00
    with pytest.raises(ConfigError, match=r"not in force on 2024-06-29: its versions hold 2024\.1: 2024-07-01"):
        model_at("aemo-wdr", parse_iso("2024-06-30T00:00:00+10:00"))


def test_unknown_names_are_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="market 'spp' is unknown: give one of aemo, caiso"):
        market_of("spp")
    with pytest.raises(ConfigError, match=r"participation model 'caiso-psr' is unknown: give one of .*caiso-pdr"):
        versions_of("caiso-psr")


TABLE = """
id = "x"
name = "X"
zone = "UTC"
currency = "USD"
[sources]
s = "a source of the figure"
[[gate]]
id = "g"
closes = { is = "10:00", mark = "K", from = "s" }
[[model]]
id = "x-a"
version = "1"
name = "A"
product = "ENERGY"
sells = "energy"
gates = ["g"]
directions = { is = ["up"], mark = "K", from = "s" }
curve = { is = ["steps"], mark = "K", from = "s" }
min_mw = { is = 1, mark = "K", from = "s" }
max_mw = { is = 5, mark = "K", from = "s" }
interval_min = { is = 60, mark = "K", from = "s" }
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('min_mw = { is = 1, mark = "K", from = "s" }', 'min_mw = { is = 1, mark = "K", from = "t" }', "x.toml: x-a 1: min_mw: from = 't'"),
        ('min_mw = { is = 1, mark = "K"', 'min_mw = { is = 1, mark = "Z"', "Invalid enum value 'Z'"),
        ("min_mw = { is = 1,", "min_mw = { is = 6,", "min_mw = 6: give 5 .max_mw. at most"),
        ("min_mw = { is = 1,", "min_mw = { is = 0,", "min_mw = 0: give over 0"),
        ("interval_min = { is = 60,", "interval_min = { is = 7,", "interval_min = 7: give whole minutes"),
        ('is = "10:00"', 'is = "25:00"', "gate g: closes = '25:00'"),
        ('gates = ["g"]', 'gates = ["h"]', "gates = 'h': give one of g"),
        ('is = ["up"]', 'is = ["sideways"]', "directions = 'sideways'"),
        ("closes =", "minutes_before = { is = 5, mark = 'K', from = 's' }\ncloses =", "and not both"),
        ("[[model]]", "colour = 1\n[[model]]", "unknown field `colour`"),
        ('sells = "energy"', 'sells = "energy"\neffective_from = "2024-02-30"', "x-a 1: effective_from = '2024-02-30': give a day"),
        ('sells = "energy"', 'sells = "energy"\neffective_to = "soon"', "x-a 1: effective_to = 'soon': give a day such as"),
        (
            'sells = "energy"',
            'sells = "energy"\neffective_from = "2024-02-01"\neffective_to = "2024-01-31"',
            "x-a 1: effective_to = '2024-01-31': give 2024-02-01, its first day, or later",
        ),
        ("[[gate]]", '[[gate]]\nopens = { is = "x", mark = "K", from = "s" }', "gate g: opens = 'x'"),
    ],
)  # fmt: skip
def test_a_table_with_a_fault_is_refused_by_file_and_row(old: str, new: str, says: str) -> None:
    parse_market(TABLE, "x.toml")
    with pytest.raises(ConfigError, match=says):
        parse_market(TABLE.replace(old, new, 1), "x.toml")


def test_two_versions_that_hold_on_one_day_are_refused() -> None:
    row = TABLE[TABLE.index("[[model]]") :]
    with pytest.raises(ConfigError, match="x-a 2: effective_from = 0000: version 1 holds"):
        parse_market(TABLE + row.replace('version = "1"', 'version = "2"'), "x.toml")
