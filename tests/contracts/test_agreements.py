"""Terms of a contract never overlap; consent ends at the next arbitration; every fault of a file is told with its path."""

from __future__ import annotations

from itertools import combinations

import pytest
from agreed import CONTRACTS, EVIDENCE, contracts, ns
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.admission import without_consent
from tieline.contract.party import Consent, Contract, Terms, amend, parse_contracts, withdraw
from tieline.errors import ConfigError
from tieline.resource.arbitrate import arbitrate
from tieline.resource.claim import Claim, ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds
from tieline.times import HOUR_NS, from_ns, to_ns

YEAR = ns("2026-01-01T00:00:00")
AGREED = contracts().contracts["contract-1"]


def terms(version: int, start: int, end: int | None = None) -> Terms:
    return structs.replace(
        AGREED.terms[0],
        version=version,
        effective_from=from_ns(YEAR + start * HOUR_NS),
        effective_to=None if end is None else from_ns(YEAR + end * HOUR_NS),
    )


AMENDMENTS = st.lists(
    st.tuples(st.integers(1, 8), st.integers(-5, 40), st.none() | st.integers(-5, 50), st.integers(-5, 40)), max_size=12
)


@given(AMENDMENTS)
def test_terms_never_overlap_and_what_held_is_never_changed(asked: list[tuple[int, int, int | None, int]]) -> None:
    one = structs.replace(AGREED, terms=(terms(1, 0),))
    for version, start, end, now in sorted(asked, key=lambda each: each[3]):
        held = {at: one.terms_at(YEAR + at * HOUR_NS) for at in range(-5, now)}
        after = amend(one, terms(version, start, end), YEAR + now * HOUR_NS)
        if isinstance(after, Refusal):
            continue
        for at, before in held.items():
            then = after.terms_at(YEAR + at * HOUR_NS)
            assert (then and then.version) == (before and before.version)
        one = after
    for at in range(-5, 60):
        instant = from_ns(YEAR + at * HOUR_NS)
        holding = [
            each
            for each in one.terms
            if each.effective_from <= instant and (each.effective_to is None or instant < each.effective_to)
        ]
        assert len(holding) <= 1
    assert [each.version for each in one.terms] == list(range(1, len(one.terms) + 1))


def test_the_same_amendment_twice_is_one() -> None:
    once = amend(structs.replace(AGREED, terms=(terms(1, 0),)), terms(2, 5), YEAR)
    assert isinstance(once, Contract)
    assert amend(once, terms(2, 5), YEAR + 9 * HOUR_NS) == once
    assert once.terms[0].effective_to == once.terms[1].effective_from


@pytest.mark.parametrize(
    ("version", "start", "end", "now", "field"),
    [
        (2, 4, None, 5, "effective_from"),
        (3, 6, None, 5, "version"),
        (2, 6, 6, 5, "effective_to"),
        (2, 0, None, 0, "effective_from"),
    ],
)
def test_an_amendment_that_cannot_be_is_refused(
    version: int, start: int, end: int | None, now: int, field: str
) -> None:
    refused = amend(structs.replace(AGREED, terms=(terms(1, 0),)), terms(version, start, end), YEAR + now * HOUR_NS)
    assert isinstance(refused, Refusal) and refused.field == field


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.integers(0, 30)), max_size=6), st.integers(0, 40))
def test_a_withdrawal_takes_what_it_names_from_then_on_and_nothing_before(
    words: list[tuple[str, int]], at: int
) -> None:
    consent = Consent(products=("x", "y", "z"), granted_at=from_ns(YEAR), evidence_sha256=EVIDENCE)
    whole = structs.replace(AGREED.terms[0], products=("x", "y", "z"), effective_to=None)
    one = structs.replace(AGREED, terms=(whole,), consents=(consent,))
    for product, hour in sorted(words, key=lambda each: each[1]):
        made = withdraw(one, (product,), YEAR + hour * HOUR_NS)
        assert isinstance(made, Contract)
        assert withdraw(made, (product,), YEAR + (hour + 1) * HOUR_NS) == made
        one = made
    for product in ("x", "y", "z"):
        first = min((hour for name, hour in words if name == product), default=99)
        assert (one.refusal(product, YEAR + at * HOUR_NS) is None) == (at < first)
    assert {each.evidence_sha256 for each in one.consents} == {EVIDENCE}


def claim(name: str, level: Level, value: float, program: str) -> Claim:
    return Claim(
        name, name, name, program, level, "r", Quantity.P, ClaimKind.SET, YEAR, YEAR, "because", value=value
    )  # fmt: skip


def test_withdrawn_consent_restores_the_next_valid_claim_at_the_next_arbitration() -> None:
    """The program's claim decides until the owner's word; then the default of the local optimiser does again."""
    claims = [
        claim("called", Level.PROGRAM, 900.0, "peak-rebate"),
        claim("own", Level.LOCAL, -50.0, ""),
        claim("shed", Level.GRID_EMERGENCY, 300.0, "none"),
    ]
    word = YEAR + HOUR_NS
    withdrawn = withdraw(AGREED, ("peak-rebate",), word)

    def settled(contract: Contract, at: int, asked: list[Claim]) -> tuple[float | None, set[str]]:
        kept, barred = without_consent(asked, {"r": contract}, at)
        made = arbitrate(Bounds(-1000.0, 1000.0), kept, now_ns=at)
        return made.setpoint.target_w, set(barred)

    assert settled(AGREED, word, claims[:2]) == (900.0, set())
    assert settled(withdrawn, word - 1, claims[:2]) == (900.0, set())
    assert settled(withdrawn, word, claims[:2]) == (-50.0, {"called"})
    assert settled(withdrawn, word, claims) == (300.0, {"called"}), "protection does not rest on consent"
    kept, barred = without_consent([structs.replace(claims[0], resource="elsewhere")], {"r": withdrawn}, word)
    assert len(kept) == 1 and not barred


def test_a_contract_that_ends_in_a_call_is_not_relied_on() -> None:
    end = to_ns(AGREED.terms[0].effective_to)
    assert AGREED.refusal_over("peak-rebate", end - HOUR_NS, end) is None
    assert AGREED.refusal_over("peak-rebate", end - HOUR_NS, end + 1).field == "at"
    ended = structs.replace(AGREED, termination=structs.replace(AGREED.termination, ends_at=from_ns(YEAR + HOUR_NS)))
    assert ended.refusal_over("peak-rebate", YEAR, YEAR + HOUR_NS) is None
    assert ended.refusal_over("peak-rebate", YEAR, YEAR + 2 * HOUR_NS) is not None


WRONG = [
    ('roles = ["owner", "customer"]', 'roles = ["owner", "customer", "king"]', "$.party[2].roles[2]"),
    ('owner = "owner-1"', 'owner = "utility-1"', "$.contract[0].owner = 'utility-1'"),
    ('manager = "retailer-1"', 'manager = "nobody"', "$.contract[0].manager = 'nobody'"),
    ('manager = "retailer-1"', 'manager = "owner-1"', "utility or retailer or aggregator"),
    ('meter = "M-2"', 'meter = "M-1"', "$.location[1].meter = 'M-1'"),
    ('retailer = "retailer-1"', 'retailer = "owner-1"', "$.location[0].retailer = 'owner-1'"),
    ('locations = ["site-1", "site-2"]', 'locations = ["site-9"]', "$.contract[0].locations = 'site-9'"),
    ("owner_share_frac = 0.8", "owner_share_frac = 1.8", "$.contract[0].terms[0].owner_share_frac"),
    ("notice_s = 900", "notice_s = 900\nnotice_sec = 1", "unknown field `notice_sec`"),
    ("notice_s = 900", 'pay = [{ per = "kwh", amount = "NaN" }]', "$.contract[0].terms[0].pay[0].amount = NaN"),
    ("notice_s = 900", 'penalties = [{ per = "kwh", amount = "-1" }]', "terms[0].penalties[0].amount = -1"),
    ("notice_s = 900", "comfort = { least_c = 26.0, most_c = 20.0 }", "terms[0].comfort.most_c = 20"),
    ("effective_to = 2027-01-01T00:00:00Z", "effective_to = 2026-01-01T00:00:00Z", "terms[0].effective_to"),
    ("effective_from = 2026-01-01T00:00:00Z", "effective_from = 2026-01-01T00:00:00", "terms[0].effective_from"),
    (f'evidence_sha256 = "{EVIDENCE}"', 'evidence_sha256 = "signed"', "$.contract[0].consents[0].evidence_sha256"),
    ("notice_days = 30", 'notice_days = 30\nfee = "-1"', "$.contract[0].termination.fee = -1"),
    ("notice_days = 30", "notice_days = 30\nwho = 1", "unknown field `who`"),
    ('[[party]]\nid = "utility-1"', '[[parties]]\nid = "u"\n[[party]]\nid = "utility-1"', "$.parties: is unknown"),
]


@pytest.mark.parametrize(("there", "instead", "told"), WRONG, ids=[each[2] for each in WRONG])
def test_what_does_not_fit_is_refused_with_its_path(there: str, instead: str, told: str) -> None:
    assert there in CONTRACTS
    with pytest.raises(ConfigError) as refused:
        contracts(CONTRACTS.replace(there, instead, 1))
    assert told in str(refused.value)


def test_every_fault_of_a_file_is_told_not_the_first_alone() -> None:
    text = CONTRACTS
    for there, instead, _ in WRONG[4:7]:
        text = text.replace(there, instead, 1)
    with pytest.raises(ConfigError) as refused:
        contracts(text)
    assert len(refused.value.faults) == 3


def test_two_managers_cannot_have_one_location_for_one_product_at_one_time() -> None:
    """No double counting of the same service: FERC Order 2222, 18 CFR 35.28(g)(12)(ii)(D)."""
    contract = CONTRACTS[CONTRACTS.index("[[contract]]") :]
    second = contract.replace("contract-1", "contract-2").replace('manager = "retailer-1"', 'manager = "utility-1"')
    with pytest.raises(ConfigError, match="contract-1 has it for capacity-bid at that time"):
        contracts(CONTRACTS + second)
    later = second.replace("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z").replace(
        "effective_from = 2026-01-01T00:00:00Z", "effective_from = 2027-01-01T00:00:00Z"
    )
    assert len(contracts(CONTRACTS + later).contracts) == 2


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_as_a_setting(text: str) -> None:
    try:
        parse_contracts(text, "f")
    except ConfigError:
        pass


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), min_size=2, max_size=4))
def test_overlapping_terms_of_a_file_are_refused_and_others_taken(spans: list[tuple[int, int]]) -> None:
    """Oracle: spans overlap where some whole hour lies in both."""
    rows = "".join(
        f"[[contract.terms]]\nversion = {at}\neffective_from = 2026-01-{start + 1:02}T00:00:00Z\n"
        f'effective_to = 2026-01-{start + length + 1:02}T00:00:00Z\nproducts = ["p"]\ncurrency = "USD"\n'
        "owner_share_frac = 0.5\n"
        for at, (start, length) in enumerate(spans, 1)
    )
    head, tail = CONTRACTS.split("[[contract.terms]]")
    clash = any(
        set(range(one[0], sum(one))) & set(range(other[0], sum(other))) for one, other in combinations(spans, 2)
    )
    try:
        contracts(head + rows + tail[tail.index("[[contract.consents]]") :])
    except ConfigError as error:
        assert clash and "overlaps terms[" in str(error)
    else:
        assert not clash
