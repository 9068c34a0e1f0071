"""Codes of places: each that a rule names is explained, and a place is refused by its own rule or by none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.contract.eligibility import FOSSIL, eligibility_rules, eligible, parse_rules
from tieline.contract.jurisdiction import jurisdictions
from tieline.contract.programs import sample_programs
from tieline.errors import ConfigError
from tieline.node.config import Settings
from tieline.node.known_rules import known_jurisdictions, unruled
from tieline.resource.identity import Fuel

NEW_ENGLAND = ("US-CT", "US-MA", "US-ME", "US-NH", "US-RI", "US-VT")
"""The six states of ISO New England, by ISO 3166-2:US."""


def named() -> set[str]:
    words = (rule.jurisdiction for rule in eligibility_rules())
    every = {one for each in words for one in ((each,) if isinstance(each, str) else each)}
    return {one for one in every | {program.jurisdiction for program in sample_programs()} if not one.endswith("*")}


def test_every_code_that_rules_and_programs_name_is_explained_by_its_standard() -> None:
    assert named() <= set(jurisdictions())
    for code, one in jurisdictions().items():
        assert one.name
        if one.standard == "ISO 3166-2":
            assert re.fullmatch(r"[A-Z]{2}-[A-Z0-9]{1,3}", code)
        elif one.standard == "ours":  # longer than any state of the US, so that it can't be one
            assert not re.fullmatch(r"US-[A-Z]{2}", code)
        assert one.says or code in known_jurisdictions()


@pytest.mark.parametrize("state", NEW_ENGLAND)
def test_new_england_goes_by_the_codes_of_its_states_and_nebraskas_is_nebraska(state: str) -> None:
    assert eligible("battery", "none", state, "energy").is_eligible
    assert not eligible("battery", "none", "US-NE", "energy").is_eligible
    (told,) = unruled(Settings(jurisdiction="US-NE"), None)
    assert state in told
    assert "Nebraska" in told


@given(st.sampled_from(["GB", "EU", "AU", "CA-ON", "IE", "", "USA", "US_TX"]), st.sampled_from(Fuel),
       st.sampled_from(["energy", "capacity", "demand_response"]))  # fmt: skip
def test_an_engine_outside_the_united_states_is_not_refused_by_their_rule(place: str, fuel: Fuel, program: str) -> None:
    verdict = eligible("backup_generator", fuel.value, place, program)
    assert (verdict.is_eligible, verdict.rule, verdict.says) == (False, "default-deny", "no rule allows it")


@given(st.sampled_from(["US", "US-NE", "US-IL", "US-PJM", "US-TX", *NEW_ENGLAND]), st.sampled_from(sorted(FOSSIL)))
def test_the_federal_rule_holds_in_every_state_that_rules_name_or_not(place: str, fuel: str) -> None:
    assert eligible("backup_generator", fuel, place, "energy").rule == "us-rice-emergency"


def test_a_rule_that_allows_by_the_beginning_of_a_code_is_refused_by_name() -> None:
    row = '[[rule]]\nid="x"\nversion="1"\nsource="s"\ncertainty="K"\nsays="y"\nallow=true\n'
    row += 'jurisdiction=["GB", "US-*"]\nprogram="energy"\nkind="battery"\nfuel="none"\n'
    with pytest.raises(ConfigError, match="x: jurisdiction"):
        parse_rules(row)
