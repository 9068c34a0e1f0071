"""Routes of contracts: what an owner agreed to, and his word on it; an owner has those of his own devices alone."""

from __future__ import annotations

from tieline.console.auth.roles import ALLOWED, Action, Role
from tieline.console.done import Done, done
from tieline.console.problems import Problem
from tieline.console.table import Call, Route
from tieline.console.twice import MOST_BECAUSE
from tieline.desk.contract_views import ContractView, GiveConsent, TakeBack

_SEES_ALL = ALLOWED[Action.SEE_CONTRACTS] - {Role.OWNER}


async def _contracts(call: Call) -> list[ContractView]:
    """Return the contracts that somebody may see: an owner those on a device of his."""
    assert call.who is not None
    mine = None if set(call.who.roles) & _SEES_ALL else call.who.scope
    at, count = call.number("at", 0, 0, 10_000_000), call.number("count", 100, 1, 1_000)
    return call.desk.reader.contracts(call.text("resource", 128), mine, at, count)


async def _take_back(call: Call) -> Done:
    body, name = call.body, _own(call)
    return done(await call.desk.operator.consent(name, body.products, None, call.name, body.because))


async def _give(call: Call) -> Done:
    body, name = call.body, _own(call)
    return done(await call.desk.operator.consent(name, body.products, body.evidence_sha256, call.name, body.because))


def _own(call: Call) -> str:
    """Return the contract that is spoken of. Raises Problem where it is no contract of who speaks, all of it."""
    assert call.who is not None
    if len(call.body.because) > MOST_BECAUSE:
        raise Problem(422, "a reason is short", field="because", limit=f"up to {MOST_BECAUSE} characters")
    name, manages = call.path("contract"), bool(set(call.who.roles) & {Role.PROGRAM_MANAGER})
    if not manages and not call.desk.reader.is_under(name, call.who.scope):
        raise KeyError(name)
    return name


_A = "/api/v1"
CONTRACT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET", f"{_A}/contracts", Action.SEE_CONTRACTS, _contracts, "Contracts, what each lets be called, and budgets",
        list[ContractView], query=(
            ("resource", "Only those of this device or group"), ("at", "First contract, 0 or more"),
            ("count", "1 to 1000; left out: 100"),
        ),
    ),
    Route(
        "POST", f"{_A}/contracts/{{contract}}/withdraw", Action.CONSENT, _take_back,
        "Take consent back; it counts from the next arbitration on", Done, TakeBack, subject="contract",
        act="take_back_consent",
    ),
    Route(
        "POST", f"{_A}/contracts/{{contract}}/consent", Action.CONSENT, _give, "Give consent anew, with its own date",
        Done, GiveConsent, subject="contract", act="give_consent",
    ),
)  # fmt: skip
