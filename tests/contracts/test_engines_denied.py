"""No rule that comes with Tieline lets a served desk run a backup generator for a call: no hours could bar one."""

from __future__ import annotations

from itertools import product

from tieline.contract.eligibility import Case, eligibility_rules, judge
from tieline.node.rebuilt import PROGRAMS
from tieline.resource.identity import Fuel, Kind


def test_no_backup_generator_may_serve_any_program_that_a_desk_asks_in_any_place() -> None:
    """A desk asks of market events without an order; what an order permits in California is no such event."""
    words = (rule.jurisdiction for rule in eligibility_rules())
    places = {one for each in words for one in ((each,) if isinstance(each, str) else each)}
    fuels = [*(fuel.value for fuel in Fuel), "unknown"]
    assert {"US-CA", "US-TX", "GB"} <= places
    for where, fuel, program, location in product(sorted(places), fuels, PROGRAMS, ("", "disadvantaged_community")):
        case = Case(Kind.BACKUP_GENERATOR.value, fuel, where, program, location)
        assert not judge(case).is_eligible, case
