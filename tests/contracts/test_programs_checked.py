"""Programs as data: ten types come with the package, and what can't be kept is refused with its path."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.contract.programs import parse_programs, sample_programs
from tieline.errors import ConfigError

TEXT = (files("tieline.contract") / "rules" / "programs.toml").read_text(encoding="utf-8")
TYPES = {
    "direct-load-control", "bring-your-own-thermostat", "peak-time-rebate", "critical-peak-price", "dynamic-price",
    "capacity-bidding", "base-interruptible", "emergency", "export-battery", "flexible-connection",
}  # fmt: skip


def of_type(name: str) -> str:
    """Return the text of the sample of a type."""
    parts = ["[[program]]" + part for part in TEXT.split("[[program]]")[1:]]
    return next(part for part in parts if f'type = "{name}"' in part)


def test_there_is_a_sample_of_every_type_with_source_and_certainty() -> None:
    samples = sample_programs()
    assert {one.__struct_config__.tag for one in samples} == TYPES
    assert all(one.source and one.certainty in ("V", "K", "sample") for one in samples)
    assert all(one.certainty == "V" or one.ours or one.certainty == "sample" for one in samples)


# Read 2026-11 on the utilities' own pages, not from the table: calls and hours that they publish.
PUBLISHED = [
    ("base-interruptible", "notice_s", 1_800), ("base-interruptible", "budget.hours_a_call", 6),
    ("base-interruptible", "budget.calls_a_day", 1), ("base-interruptible", "budget.calls_a_month", 10),
    ("base-interruptible", "budget.hours_a_season", 180), ("base-interruptible", "least_reduction_w", 100_000),
    ("critical-peak", "budget.calls_a_season", 15), ("critical-peak", "budget.hours_a_call", 5),
    ("battery-export", "budget.calls_a_season", 60), ("battery-export", "budget.hours_a_call", 3),
]  # fmt: skip


@pytest.mark.parametrize(("program", "path", "value"), PUBLISHED)
def test_a_sample_marked_as_read_says_what_was_published(program: str, path: str, value: float) -> None:
    held = next(one for one in sample_programs() if one.id == program)
    assert held.certainty == "V"
    for name in path.split("."):
        held = getattr(held, name)
    assert held == value


WRONG = [
    ("direct-load-control", "release_s = 2700", "release_s = 60", "snapback.release_s = 60: give 1800 to 3600"),
    ("direct-load-control", "stages = 4", "stages = 1", "snapback.stages = 1: give 2 or more"),
    ("direct-load-control", "off_frac = 0.5", "off_frac = 1.5", "$.program[0].off_frac"),
    ("direct-load-control", "longest_off_s = 900", "longest_off_s = 0", "$.program[0].longest_off_s"),
    ("direct-load-control", "is_allowed = true", "is_allowed = true, effective_s = 300", "opt_out.effective_s = 300"),
    ("direct-load-control", "is_allowed = true, free", "is_allowed = false, free", "opt_out.is_allowed = false"),
    ("direct-load-control", "above_c = 33.0", "above_k = 33.0", "unknown field `above_k`"),
    ("direct-load-control", ', above_c = 33.0', "", "triggers[0].above_c = none"),
    ("direct-load-control", "first_hour = 13", "first_hour = 20", "windows[0].last_hour = 20"),
    ("direct-load-control", "last_hour = 20", "last_hour = 25", "$.program[0].windows[0].last_hour"),
    ("direct-load-control", "hours_a_call = 4.0", "hours_a_call = 8.0", "give at most the longest window, 7 h"),
    ("direct-load-control", "hours_a_call = 4.0", "hours_a_call = 0.0", "budget.hours_a_call = 0: give more than 0"),
    ("direct-load-control", "calls_a_season = 15, ", "", "budget.calls_a_season = none"),
    ("direct-load-control", 'zone = "America/Chicago"', 'zone = "Chicago"', "zone = 'Chicago'"),
    ("direct-load-control", 'kinds = ["thermostat"', 'kinds = ["feeder"', "kinds = feeder"),
    ("direct-load-control", "groups = 2", "groups = 0", "$.program[0].rotation.groups"),
    ("direct-load-control", 'amount = "10.00"', 'amount = "-10.00"', "incentives[0].amount = -10.00"),
    ("direct-load-control", 'amount = "10.00"', 'amount = "NaN"', "incentives[0].amount = NaN"),
    ("direct-load-control", "version", "ours = ['colour']\nversion", "ours = 'colour'"),
    ("direct-load-control", 'source = "Form', 'certainty = "sure"\nsource = "Form', "not TOML"),
    ("bring-your-own-thermostat", "setback_k = 2.0", "setback_k = 9.0", "$.program[0].setback_k"),
    ("bring-your-own-thermostat", "by_k = 1.0", "by_k = 0.0", "$.program[0].precondition.by_k"),
    ("bring-your-own-thermostat", "lead_s = 3600", "lead_s = 86400", "$.program[0].precondition.lead_s"),
    ("peak-time-rebate", 'per = "kwh"', 'per = "call"', "incentives = none per kwh"),
    ("peak-time-rebate", "currency", 'opt_out = { is_allowed = true, penalty_per_kwh = "1" }\ncurrency', "nobody pays"),
    ("critical-peak-price", 'adder_per_kwh = "0.60"', 'adder_per_kwh = "-0.60"', "adder_per_kwh = -0.60"),
    ("critical-peak-price", "least_hours_a_call = 5.0", "least_hours_a_call = 6.0", "budget.least_hours_a_call = 6"),
    ("dynamic-price", "interval_s = 3600", "interval_s = 3601", "$.program[0].interval_s"),
    ("dynamic-price", 'cap_per_kwh = "2.00"', 'cap_per_kwh = "-2.00"', "cap_per_kwh = -2.00"),
    ("dynamic-price", "dual", "budget = { hours_a_call = 1.0 }\ndual", "a dynamic price holds always"),
    ("capacity-bidding", 'per = "kw_month"', 'per = "call"', "incentives = none per kw_month"),
    ("capacity-bidding", "hours_a_month = 30.0", "hours_a_month = 3.0", "give at most hours_a_month 3"),
    ("base-interruptible", "least_reduction_frac = 0.15", "least_reduction_frac = 15", "least_reduction_frac"),
    ("base-interruptible", "days = 30", "days = 0", "$.program[0].review.days"),
    ("emergency", "baseline =", "is_planned_for = true\nbaseline =", "$.program[0].is_planned_for"),
    ("emergency", "effective_from = 2022-01-01", "effective_from = 2022-13-01", "not TOML"),
    ("emergency", "dual", "effective_to = 2021-01-01\ndual", "effective_to = 2021-01-01"),
    ("emergency", "dual", 'excludes = ["emergency-load-reduction"]\ndual', "excludes ="),
    ("export-battery", 'kinds = ["battery", ', "kinds = [", "give battery among them"),
    ("export-battery", "least_reserve_frac = 0.2", "least_reserve_frac = 20", "$.program[0].least_reserve_frac"),
    ("flexible-connection", "fallback_frac = 0.3", "fallback_frac = 0.4", "fallback_frac = 0.4: give at most firm_frac"),
    ("flexible-connection", 'order = "last-in-first-out"', 'order = "by lot"', "$.program[0].order"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "there", "instead", "told"), WRONG, ids=[f"{w[0]}-{w[3]}" for w in WRONG])
def test_what_cannot_be_kept_is_refused_with_its_path(form: str, there: str, instead: str, told: str) -> None:
    text = of_type(form)
    assert there in text
    parse_programs(text, "mine.toml")
    with pytest.raises(ConfigError) as refused:
        parse_programs(text.replace(there, instead, 1), "mine.toml")
    assert told in str(refused.value)


def test_every_fault_of_every_program_is_told() -> None:
    text = TEXT.replace("release_s = 2700", "release_s = 60").replace('per = "kw_month"', 'per = "call"')
    with pytest.raises(ConfigError) as refused:
        parse_programs(text, "mine.toml")
    faults = refused.value.faults
    assert len(faults) == 3 and all(one.startswith("mine.toml: $.program[") for one in faults)


def test_two_versions_of_a_program_do_not_hold_on_one_day() -> None:
    old = of_type("emergency")
    with pytest.raises(ConfigError, match=r"program\[1\].effective_from = 2022-01-01: version 2026.1"):
        parse_programs(old + old, "mine.toml")
    dated = old.replace("effective_from = 2022-01-01", "effective_from = 2021-01-01\neffective_to = 2022-01-01")
    held = parse_programs(dated + old, "mine.toml")
    first = tomllib.loads("day = 2022-01-01")["day"]
    assert [one.holds_on(first) for one in held] == [False, True], "half-open"


@given(st.dictionaries(st.sampled_from(["id", "type", "kinds", "budget", "x"]), st.integers() | st.text(max_size=5)))
def test_any_row_is_a_program_or_is_refused_by_name(row: dict[str, object]) -> None:
    import json

    cells = "\n".join(f"{key} = {json.dumps(value)}" for key, value in row.items() if isinstance(value, int))
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        parse_programs(f"[[program]]\n{cells}\n", "mine.toml")
