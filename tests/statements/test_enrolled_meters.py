"""Settlement asks the book of enrolments: no statement of an event holds a meter that wasn't enrolled through it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tieline.contract.enrolment import ProgramEnrolment, State, Step, Why
from tieline.contract.membership import EnrolmentBook
from tieline.times import FOREVER_NS, HOUR_NS, parse_iso

Tieline = Callable[..., dict[str, Any]]
START_NS = parse_iso("2024-07-31T16:00:00-07:00")
BEFORE_NS = START_NS - 1_000 * HOUR_NS
PARTIES = """
party = [
  { id = "u", roles = ["utility", "retailer"] },
  { id = "north", roles = ["owner", "customer"] },
]
[[contract]]
id = "c-north"
owner = "north"
manager = "u"
locations = ["site-a", "site-b", "site-c"]
termination = { notice_days = 30 }
[[contract.terms]]
version = 1
effective_from = 2024-01-01T00:00:00Z
products = ["peak"]
currency = "USD"
owner_share_frac = 0.5
"""
LOCATION = """
[[location]]
id = "site-{0}"
customer = "north"
utility = "u"
retailer = "u"
account = "{0}-1"
meter = "{0}"
jurisdiction = "US-CA"
"""
ACTIVE = (
    Step(State.AUTHORISED, Why.CONSENT_GIVEN, "ann", BEFORE_NS),
    Step(State.SUBMITTED, Why.SENT, "ann", BEFORE_NS),
    Step(State.CONFIRMED, Why.NO_REVIEW_ASKED, "ann", BEFORE_NS),
    Step(State.ACTIVE, Why.STARTED, "clock", BEFORE_NS),
)
WORDS = ("--contracts", "contracts.toml", "--enrolments", "book.json", "--at", "2024-08-02T00:00:00Z")


def enrolled(
    meter: str, program: str = "peak", starts_ns: int = BEFORE_NS, ends_ns: int = FOREVER_NS,
    steps: tuple[Step, ...] = ACTIVE,
) -> ProgramEnrolment:  # fmt: skip
    return ProgramEnrolment(
        id=f"e-{meter}-{program}", program=program, contract="c-north", location=f"site-{meter}", resource=f"r-{meter}",
        kind="battery", fuel="none", market="dr", power_w=1e3, rating_w=1e3, starts_ns=starts_ns, ends_ns=ends_ns,
        made_ns=BEFORE_NS, steps=steps,
    )  # fmt: skip


def write(folder: Path, *every: ProgramEnrolment) -> None:
    (folder / "contracts.toml").write_text(PARTIES + "".join(LOCATION.format(meter) for meter in "abc"))
    book = EnrolmentBook({one.id: one for one in every})
    (folder / "book.json").write_bytes(msgspec.json.encode(book))


def test_an_event_whose_meters_are_all_enrolled_is_settled_and_made_again_from_the_kept_book(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    write(folder, *(enrolled(meter) for meter in "abc"))
    told = opened(*issue, *WORDS)
    assert told["is_new"] and told["total"] == "4.04"
    (folder / "book.json").unlink()
    assert opened("statements", "again", "--book", "book")["all_same"]


@pytest.mark.parametrize(
    ("its", "says"),
    [
        ((), "meter c: not enrolled in peak"),
        ((enrolled("c", "heat"),), "meter c: not enrolled in peak"),
        ((enrolled("c", starts_ns=START_NS + 1),), "meter c: enrolled in peak from 2024-07-31T23:00:00"),
        ((enrolled("c", ends_ns=START_NS + HOUR_NS),), "until 2024-08-01T00:00:00Z"),
        ((enrolled("c", steps=ACTIVE[:3]),), "meter c: its enrolment in peak was confirmed at 2024-07-31T23:00:00Z"),
        (
            (enrolled("c", steps=(*ACTIVE, Step(State.SUSPENDED, Why.SAFETY, "bo", START_NS + HOUR_NS))),),
            "meter c: its enrolment in peak was suspended at 2024-08-01T00:00:00Z",
        ),
    ],
)
def test_a_meter_that_was_not_enrolled_through_the_event_is_refused_with_its_reason(
    opened: Tieline, issue: tuple[str, ...], folder: Path, its: tuple[ProgramEnrolment, ...], says: str
) -> None:
    write(folder, enrolled("a"), enrolled("b"), *its)
    refused = opened(*issue, *WORDS, code=2)["error"]
    assert says in refused and "meter a" not in refused and refused.count("meter c") == 1


def test_who_left_after_an_event_is_still_settled_for_it(opened: Tieline, issue: tuple[str, ...], folder: Path) -> None:
    left = Step(State.ENDED, Why.OWNER_LEFT, "ann", START_NS + 4 * HOUR_NS)
    write(folder, enrolled("a"), enrolled("b"), enrolled("c", steps=(*ACTIVE, left)))
    assert opened(*issue, *WORDS)["is_new"]


def test_a_book_without_contracts_is_refused_as_nobody_knows_whose_meter_is_where(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    write(folder, enrolled("a"))
    assert "give --contracts as well" in opened(*issue, *WORDS[2:], code=2)["error"]
