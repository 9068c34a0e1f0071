"""Roles, actions and the one decision: denied unless the table says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """What somebody is here for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    DISPATCHER = "dispatcher"
    TRADER = "trader"
    PROGRAM_MANAGER = "program_manager"
    OWNER = "owner"
    AUDITOR = "auditor"
    ADMIN = "admin"
    GATEWAY = "gateway"


class Action(StrEnum):
    """What can be done through the API."""

    SIGN_OUT = "sign_out"
    SEE_GRID = "see_grid"
    SEE_RESOURCE = "see_resource"
    SEE_TRACE = "see_trace"
    SEE_EVENTS = "see_events"
    SEE_MARKET = "see_market"
    SEE_MONEY = "see_money"
    SEE_AUDIT = "see_audit"
    SEE_METRICS = "see_metrics"
    SEND_READINGS = "send_readings"
    OFFER = "offer"
    SEND_PRICES = "send_prices"
    SEE_MESSAGES = "see_messages"
    ACKNOWLEDGE = "acknowledge"
    COMPOSE_EVENT = "compose_event"
    DECIDE_EVENT = "decide_event"
    CANCEL_EVENT = "cancel_event"
    LIMIT = "limit"
    OPT = "opt"
    SEE_CONTRACTS = "see_contracts"
    CONSENT = "consent"
    KILL = "kill"
    SET_MODE = "set_mode"
    CONFIRM = "confirm"
    SEE_ACCOUNTS = "see_accounts"
    MANAGE_ACCOUNTS = "manage_accounts"
    MAKE_TOKEN = "make_token"
    MAKE_OWN_TOKEN = "make_own_token"


_EVERYBODY = frozenset(Role) - {Role.GATEWAY}  # a gateway is no person: it sends readings and sees nothing
_SEES_GRID = _EVERYBODY - {Role.OWNER}

ALLOWED: dict[Action, frozenset[Role]] = {
    Action.SIGN_OUT: _EVERYBODY,
    Action.SEE_GRID: _SEES_GRID,
    Action.SEE_RESOURCE: _EVERYBODY,
    Action.SEE_TRACE: _SEES_GRID,
    Action.SEE_EVENTS: _SEES_GRID,
    Action.SEE_MARKET: frozenset({Role.OPERATOR, Role.DISPATCHER, Role.TRADER, Role.AUDITOR}),
    Action.SEE_MONEY: frozenset({Role.TRADER, Role.PROGRAM_MANAGER, Role.AUDITOR}),
    Action.SEE_AUDIT: frozenset({Role.AUDITOR, Role.ADMIN}),
    Action.SEE_METRICS: frozenset({Role.VIEWER, Role.OPERATOR, Role.DISPATCHER, Role.AUDITOR, Role.ADMIN}),
    Action.SEND_READINGS: frozenset({Role.GATEWAY}),
    Action.OFFER: frozenset({Role.TRADER}),
    Action.SEND_PRICES: frozenset({Role.TRADER}),
    Action.SEE_MESSAGES: frozenset({Role.OPERATOR, Role.DISPATCHER, Role.AUDITOR, Role.ADMIN}),
    Action.ACKNOWLEDGE: frozenset({Role.OPERATOR, Role.DISPATCHER}),
    Action.COMPOSE_EVENT: frozenset({Role.DISPATCHER, Role.PROGRAM_MANAGER}),
    Action.DECIDE_EVENT: frozenset({Role.OPERATOR, Role.DISPATCHER, Role.PROGRAM_MANAGER}),
    Action.CANCEL_EVENT: frozenset({Role.OPERATOR, Role.DISPATCHER, Role.PROGRAM_MANAGER}),
    Action.LIMIT: frozenset({Role.OPERATOR}),
    Action.OPT: frozenset({Role.OPERATOR, Role.OWNER}),
    Action.SEE_CONTRACTS: frozenset(
        {Role.OPERATOR, Role.DISPATCHER, Role.TRADER, Role.PROGRAM_MANAGER, Role.AUDITOR, Role.OWNER}
    ),
    Action.CONSENT: frozenset({Role.PROGRAM_MANAGER, Role.OWNER}),
    Action.KILL: frozenset({Role.OPERATOR}),
    Action.SET_MODE: frozenset({Role.DISPATCHER}),
    Action.CONFIRM: frozenset({Role.OPERATOR, Role.DISPATCHER, Role.PROGRAM_MANAGER}),
    Action.SEE_ACCOUNTS: frozenset({Role.AUDITOR, Role.ADMIN}),
    Action.MANAGE_ACCOUNTS: frozenset({Role.ADMIN}),
    Action.MAKE_TOKEN: frozenset({Role.ADMIN}),
    Action.MAKE_OWN_TOKEN: _EVERYBODY,
}
"""Who may do each action; an action that is not here is nobody's."""


OWN = frozenset({Action.SIGN_OUT, Action.SEE_CONTRACTS, Action.CONSENT, Action.MAKE_OWN_TOKEN})
"""What an owner does with no resource named: the answer holds what is his alone."""


def may(roles: Iterable[Role], action: Action, resource: str = "", scope: frozenset[str] = frozenset()) -> bool:
    """Return whether somebody of these roles may do an action on a resource (empty: none in particular).

    An owner sees and touches only the resources of his scope; every other role sees all.
    """
    allowed = ALLOWED.get(action, frozenset())
    for role in roles:
        if role not in allowed:
            continue
        if role is not Role.OWNER or action in OWN or resource in scope:
            return True
    return False
