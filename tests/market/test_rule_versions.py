"""Versions of baseline rules: each day of their union has exactly one, and what is no version is refused by name."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.market.baseline import Event, compute
from tieline.market.rule import BaselineRule, RuleTable, baseline_rule, parse_rules, rule_in_force, rule_table

ROW = """
version = "{version}"
source = "a tariff"
certainty = "ours"
level = "meter"
day_types = "weekday-or-not"
window_days = 45
pool_n = 10
min_n = {{ business = 5, other = 4 }}
pick = "{pick}"
{more}
"""


def row(version: str, more: str = "", pick: str = "all", name: str = "mine") -> str:
    return f"[[{name}]]" + ROW.format(version=version, more=more, pick=pick)


def table(*rows: str) -> RuleTable:
    return parse_rules("".join(rows), "rules.toml")


def spans() -> st.SearchStrategy[list[int]]:
    """Lengths in days of versions that follow each other."""
    return st.lists(st.integers(1, 400), min_size=1, max_size=6)


@given(spans(), st.data(), st.booleans(), st.booleans())
def test_every_day_of_the_union_of_versions_has_exactly_one_and_no_other_day_has_any(
    lengths: list[int], data: st.DataObject, begins: bool, ends: bool
) -> None:
    firsts = [date(2015, 3, 1) + timedelta(days=sum(lengths[:n])) for n in range(len(lengths))]
    after = firsts[-1] + timedelta(days=lengths[-1])
    rows = []
    for n, first in enumerate(firsts):
        more = f'effective_from = "{first}"\n' if n or begins else ""
        told = data.draw(st.booleans()) if n + 1 < len(firsts) else ends
        last = (firsts[n + 1] if n + 1 < len(firsts) else after) - timedelta(days=1)
        rows.append(row(f"v{n}", more + (f'effective_to = "{last}"\n' if told else "")))
    made = table(*data.draw(st.permutations(rows)))
    for day in data.draw(st.lists(st.dates(date(2014, 1, 1), date(2024, 1, 1)), min_size=1, max_size=20)) + firsts:
        right = [n for n, first in enumerate(firsts) if (first <= day or (not n and not begins))
                 and (day < firsts[n + 1] if n + 1 < len(firsts) else not ends or day < after)]  # fmt: skip
        if right:
            assert [f"v{n}" for n in right] == [made.on("mine", day).rule.version]
        else:
            with pytest.raises(ConfigError, match=rf"baseline rule 'mine' .*the event is on {day}"):
                made.on("mine", day)


def test_what_is_in_force_says_from_when_to_when_and_a_pin_says_what_its_own_row_does() -> None:
    made = table(row("2", 'effective_from = "2024-01-01"'), row("1", 'effective_from = "2020-01-01"'))
    held = made.on("mine", date(2023, 12, 31))
    assert held.told() == {"by": "event day", "day": "2023-12-31", "from": "2020-01-01", "to": "2023-12-31"}
    assert made.on("mine", date(2024, 1, 1)).told()["to"] is None
    pinned = made.on("mine@1", date(2024, 7, 1))
    assert pinned.told() == {"by": "pinned", "day": "2024-07-01", "from": "2020-01-01", "to": None}
    assert [one.version for one in made.versions("mine")] == ["1", "2"]
    assert made.named("mine").version == "2" and made.named("mine@1").version == "1"


def test_a_pin_before_its_first_day_is_refused_and_one_after_its_given_last_day_is_flagged() -> None:
    made = table(
        row("1", "effective_from = 2020-01-01\neffective_to = 2023-12-31"), row("2", "effective_from = 2024-01-01")
    )
    with pytest.raises(ConfigError, match="'mine@1' is in force from 2020-01-01: the event is on 2019-12-31"):
        made.on("mine@1", date(2019, 12, 31))
    assert made.on("mine@1", date(2023, 12, 31)).flags == ()
    told = made.on("mine@1", date(2024, 1, 1)).flags
    assert told == ("version 1 is pinned: it was in force to 2023-12-31, the event is on 2024-01-01",)


BAD = [
    ("not toml", "rules.toml: not TOML"),
    ("mine = 3", r"rules.toml: \$.mine = 3: give a row under \[mine\], or versions each under \[\[mine\]\]"),
    (row("1", name='"a@b"'), r"rules.toml: \$.'a@b': give a rule's name"),
    (row("1@2"), r"rules.toml: \$.mine\[0\].version = '1@2': give"),
    (row("1", "pool_m = 3"), r"rules.toml: \$.mine\[0\].pool_m = 3: is unknown"),
    (row("1", "is_own = true"), r"rules.toml: \$.mine\[0\].is_own = True: is unknown"),
    (row("1", 'id = "b"'), r"rules.toml: \$.mine\[0\].id = 'b': is unknown"),
    (row("1", 'lag_days = "two"'), r"rules.toml: \$.mine\[0\].lag_days = 'two': Expected `int`"),
    (row("1").replace("pool_n = 10", ""), r"rules.toml: \$.mine\[0\]: .*missing required field `pool_n`"),
    (row("1", pick="best"), r"rules.toml: \$.mine\[0\].pick = 'best': Invalid enum value"),
    (row("1", 'effective_from = "2024-02-30"'), r"\$.mine\[0\].effective_from = '2024-02-30': give a day such as"),
    (row("1", 'effective_from = "20240201"'), r"\$.mine\[0\].effective_from = '20240201': give a day such as"),
    (row("1", "effective_from = 2024"), r"\$.mine\[0\].effective_from = 2024: give a day such as"),
    (row("1", "effective_from = 2024-01-01T00:00:00"), r"\$.mine\[0\].effective_from = .*: give a day such as"),
    (row("1", "effective_to = 0001-01-01"), r"\$.mine\[0\].effective_to = '0001-01-01': give 1900-01-01 to"),
    (
        row("1", "effective_from = 2024-02-01\neffective_to = 2024-01-31"),
        r"\$.mine\[0\].effective_to = '2024-01-31': give 2024-02-01, its first day, or later",
    ),
    (
        row("1", "effective_from = 2020-01-01") + row("1", "effective_from = 2021-01-01"),
        r"rules.toml: \$.mine\[1\].version = '1': stands twice: give each version a name of its own",
    ),
    (
        row("1", "effective_to = 2020-06-30") + row("2", "effective_from = 2020-06-30"),
        r"rules.toml: \$.mine\[1\].effective_from = '2020-06-30': version 1 holds to 2020-06-30: give 2020-07-01",
    ),
    (
        row("1", "effective_to = 2020-06-30") + row("2", "effective_from = 2020-07-02"),
        r"rules.toml: \$.mine\[1\].effective_from = '2020-07-02': no version holds from 2020-07-01 to 2020-07-01: "
        "give 2020-07-01",
    ),
    (row("1") + row("2"), r"rules.toml: \$.mine\[1\].effective_from = '': version 1 holds from the first day, too"),
    (
        row("1", "effective_from = 2020-01-01") + row("2", "effective_from = 2020-01-01"),
        r"rules.toml: \$.mine\[1\].effective_from = '2020-01-01': version 1 holds from that day, too",
    ),
    (row("1", "lag_days = 45"), r"\$.mine\[0\].lag_days = 45: give 0 to 44"),
    (row("1", "low_use_frac = nan"), r"\$.mine\[0\].low_use_frac = nan: give 0 to 1"),
    (row("1").replace("window_days = 45", "window_days = 9999"), r"window_days = 9999: give 1 to 3660"),
    (row("1").replace("pool_n = 10", "pool_n = 60"), r"\$.mine\[0\].pool_n = 60: give 1 to 45"),
    (row("1").replace("other = 4", "other = 11"), r"\$.mine\[0\].min_n.other = 11: give 1 to 10"),
    (row("1").replace(", other = 4", ""), r"\$.mine\[0\].min_n.other = None: give 1 to 10"),
    (row("1", pick="highest"), r"\$.mine\[0\].pick_n = 0: give 1 to 10"),
    (row("1", "pick_n = 11", pick="middle"), r"\$.mine\[0\].pick_n = 11: give 1 to 10"),
    (row("1", 'adjust = "ratio"'), r"\$.mine\[0\].adjust = 'ratio': give adjust_before or adjust_after with it"),
    (row("1", 'adjust = "ratio"\nadjust_before = [-1, -4]'), r"adjust_before = \(-1.0, -4.0\): give two hours"),
    (row("1", 'adjust = "ratio"\nadjust_before = [-4, 1]'), r"adjust_before = \(-4.0, 1.0\): give two hours"),
    (row("1", 'adjust = "ratio"\nadjust_after = [-2, 2]'), r"adjust_after = \(-2.0, 2.0\): give two hours"),
    (row("1", "pick_n = 99999"), r"\$.mine\[0\].pick_n = 99999: give 0 to 3660"),
    (row("1", "adjust_low = 1e308"), r"\$.mine\[0\].adjust_low = 1e\+308: give 0 to 1"),
    (row("1", "adjust_high = 0.9"), r"\$.mine\[0\].adjust_high = 0.9: give 1 or more"),
    (row("1", "adjust_high = nan"), r"\$.mine\[0\].adjust_high = nan: give 1 or more"),
    (row("1", pick="same-day"), r"\$.mine\[0\].pick = 'same-day': give own_before or own_after with it"),
    (row("1", "other = { pool_n = 3, pick_n = 4 }"), r"\$.mine\[0\].other.pick_n = 4: give 1 to 3"),
    (row("1", "other = { pool_n = 4, pick_n = 2, weights = [1.0] }"), r"other.weights = \(1.0,\): give 2 above 0"),
    (row("1", "other = { pool_n = 4, pick_n = 1, weights = [0.0] }"), r"other.weights = \(0.0,\): give 1 above 0"),
]


@pytest.mark.parametrize("text, says", BAD)
def test_what_is_no_table_of_versions_is_refused_with_its_file_row_field_and_value(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_rules(text, "rules.toml")


def test_every_fault_of_a_file_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        table(row("1", "lag_days = 45"), row("2", "effective_from = 2024", name="other"))
    assert "$.mine[0].lag_days" in str(told.value) and "$.other[0].effective_from" in str(told.value)


def test_a_file_adds_versions_to_a_rule_that_comes_with_tieline_and_never_changes_one() -> None:
    more = parse_rules(row("2027.1", "effective_from = 2027-01-01", name="caiso-10-in-10"), "rules.toml", rule_table())
    assert more.on("caiso-10-in-10", date(2026, 12, 31)).rule is baseline_rule("caiso-10-in-10")
    added = more.on("caiso-10-in-10", date(2027, 1, 1)).rule
    assert (added.version, added.is_own) == ("2027.1", True)
    assert more.on("pjm-same-day", date(2024, 1, 1)).rule.version == "2024.1"
    with pytest.raises(ConfigError, match=r"rules.toml: \$.caiso-10-in-10\[0\].version = '2024.1': stands twice"):
        parse_rules(row("2024.1", "effective_from = 2027-01-01", name="caiso-10-in-10"), "rules.toml", rule_table())
    with pytest.raises(ConfigError, match=r"\$.caiso-10-in-10\[0\].effective_from = '': version 2024.1 holds from"):
        parse_rules(row("2027.1", name="caiso-10-in-10"), "rules.toml", rule_table())


@pytest.mark.parametrize(
    "more, says",
    [
        (
            "effective_to = 2022-11-01",
            "no version holds from 2022-11-02 to 2022-11-02: give 2022-11-02, or leave it out",
        ),
        ("effective_to = 2022-11-03", "version 2024.1 holds from 2022-11-03: give 2022-11-02, or leave it out"),
    ],
)
def test_a_past_that_a_file_adds_to_a_rule_must_end_the_day_before_the_row_that_was_there(more: str, says: str) -> None:
    past = row("2021.1", f"effective_from = 2021-01-01\n{more}", name="gb-dfs-10-of-10")
    with pytest.raises(ConfigError, match=rf"rules.toml: \$.gb-dfs-10-of-10\[0\].effective_to = .*: {says}"):
        parse_rules(past, "rules.toml", rule_table())


def test_a_row_of_ones_own_has_a_stamp_of_what_it_says_and_a_row_that_comes_with_tieline_its_version() -> None:
    """Two people may both write a version 1 of `mine`: answers by them must not look alike."""
    one, other = (table(row("1", more)).named("mine") for more in ("", "lag_days = 1"))
    assert one.stamp != other.stamp and one.stamp.startswith("1:")
    assert table(row("1"), row("2", "effective_from = 2024-01-01")).named("mine@1").stamp == one.stamp
    assert baseline_rule("caiso-10-in-10").stamp == "2024.1"


def test_unknown_rules_and_versions_are_told_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="baseline rule 'no-such' is unknown: give one of aemo-wdr"):
        rule_in_force("no-such", date(2024, 1, 1))
    for odd in ("gb-dfs-10-of-10@7", "gb-dfs-10-of-10@"):
        with pytest.raises(
            ConfigError, match=r"version '7?' is unknown: give one of 2024.1 \(2022-11-03 to 2023-10-29"
        ):
            baseline_rule(odd)


def test_households_of_the_demand_flexibility_service_lost_the_in_day_adjustment_in_its_second_winter() -> None:
    """From 30 October 2023 (National Grid ESO): homes had raised their load in the hours before an event."""
    before, after = (rule_in_force("gb-dfs-10-of-10", day).rule for day in (date(2023, 10, 29), date(2023, 10, 30)))
    assert (before.adjust, after.adjust) == ("additive", "none")
    assert before.version != after.version


def test_the_tables_that_come_with_tieline_are_held_to_the_same_checks() -> None:
    text = Path("src/tieline/market/rules/baselines.toml").read_text()
    assert {each.id for each in rule_table().every()} == set(parse_rules(text, "baselines.toml").newest())


VALUES = (
    "1", "0", "-1", "3", "45", "99999", "0.5", "-2.5", "nan", "inf", "-inf", "1e308", "true", '"x"', '""', "[]", "[1]",
    "[-4, -1]", "[2, 4]", "[nan, 0]", "[-inf, 0]", "{}", "{ business = 1, other = 1 }", "{ pool_n = 3, pick_n = 3 }",
    "{ pool_n = 4, pick_n = 2, weights = [0.5, 0.5] }", "2024-01-01", "07:00:00", "99999999999999999999999",
)  # fmt: skip
PICKS = ("all", "highest", "middle", "nearest-temperature", "most-similar", "same-day", "last-reading", "hourly-model")
EVENT_DAY = date(2024, 7, 31)
LOAD = {EVENT_DAY - timedelta(days=k): np.random.default_rng(k).uniform(0, 5, 24) for k in range(60)}
WARMEST = {day: 20.0 + day.toordinal() % 9 for day in LOAD}
CELSIUS = {day: np.arange(20.0, 44.0) for day in LOAD}


@given(
    st.sampled_from(PICKS),
    st.integers(0, 12),
    st.sampled_from(["none", "ratio", "additive"]),
    st.dictionaries(st.sampled_from(BaselineRule.__struct_fields__), st.sampled_from(VALUES), max_size=3),
    st.integers(0, 22),
)
@settings(max_examples=400)
def test_whatever_a_row_says_it_is_refused_or_computed_to_finite_numbers(
    pick: str, pick_n: int, adjust: str, odd: dict[str, str], first: int
) -> None:
    said = {
        "version": '"1"', "source": '"a tariff"', "certainty": '"ours"', "level": '"meter"', "window_days": "45",
        "day_types": '"weekday-or-not"', "pool_n": "10", "min_n": "{ business = 5, other = 4 }", "pick": f'"{pick}"',
        "pick_n": str(pick_n), "adjust": f'"{adjust}"', "adjust_before": "[-4, -1]", "own_before": "[-4, -1]", **odd,
    }  # fmt: skip
    try:
        rule = table("[mine]\n" + "".join(f"{field} = {value}\n" for field, value in said.items())).named("mine")
    except ConfigError as error:
        assert str(error).startswith("rules.toml: $.mine")
        return
    try:
        made = compute(rule, LOAD, Event(EVENT_DAY, first, first + 2), warmest=WARMEST, celsius=CELSIUS)
    except (ConfigError, ValueError):
        return  # too few like days, or none that the rule may look at
    assert np.isfinite(made.baseline).all()
