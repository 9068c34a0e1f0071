"""Signing in and out, enrolment, accounts and tokens."""

from __future__ import annotations

import ipaddress
import math

from msgspec import Struct

from tieline.console.auth.accounts import OF_PROVIDER, hashed, is_machine, is_of_provider, token_id
from tieline.console.auth.roles import Action, Role
from tieline.console.auth.sessions import Who
from tieline.console.problems import Problem
from tieline.console.table import Call, Route
from tieline.ids import MOST_NAME, NAME, is_name
from tieline.resource.identity import Kind

FIRST_TIME = "The first time, use the one-time link that the server printed when it started."
NEW_LINK = "the terminal of the server prints a new one-time link at each sign-out, and when you press Enter there"
_A = "/api/v1"
LEAST_PASSWORD, MOST_PASSWORD, MOST_SCOPE = 12, 1_000, 100


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Name and password of a local account."""

    name: str
    password: str


class Enrol(Struct, frozen=True, forbid_unknown_fields=True):
    """The secret of a one-time link, and the password to set where the link asks for one."""

    secret: str
    password: str = ""


class Invite(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to let in, with roles; `scope` names the devices that an owner sees, or sites: all behind one by then.

    `is_machine`: no link is made, the account stands at once and has tokens alone; so has one whose only role is
    `gateway`.
    """

    name: str
    roles: tuple[Role, ...]
    scope: tuple[str, ...] = ()
    is_machine: bool = False


class Me(Struct, frozen=True):
    """Who is signed in, what he may do, the resources that are his, and where and when the server is.

    `says` tells of a one-time link of this account that somebody else asked for, and of its use, for a day.
    """

    name: str
    roles: tuple[Role, ...]
    may: tuple[str, ...]
    scope: tuple[str, ...] = ()
    utility: str = ""
    zone: str = ""
    setting: str = ""
    says: str = ""


class Ways(Struct, frozen=True):
    """How people sign in here; `provider` names the identity provider, empty: local accounts alone.

    `says` tells who comes the first time, or comes back, where to find a one-time link.
    """

    password: bool
    provider: str = ""
    says: str = ""


class Asked(Struct, frozen=True):
    """What a link gives, and whether a password must be chosen."""

    name: str
    sets_password: bool


class Secret(Struct, frozen=True):
    """A secret that is shown this once."""

    secret: str


class Token(Struct, frozen=True):
    """A token, shown this once, and its id, by which it is ended."""

    secret: str
    id: str


class TokenRow(Struct, frozen=True):
    """A token that counts, without its secret; `is_this`: this very call came by it."""

    id: str
    is_this: bool = False


class Invited(Struct, frozen=True):
    """A one-time link's secret, shown this once, and what its use will change; a machine has none: it is empty.

    `account` is "new", "active" or "closed" as it stands now, `roles_now` and `scope_now` are what it has until the
    link is used; a link of the same name that was not used yet is void.
    """

    secret: str
    name: str
    roles: tuple[Role, ...]
    says: str
    account: str = "new"
    roles_now: tuple[Role, ...] = ()
    scope_now: tuple[str, ...] = ()


class AccountRow(Struct, frozen=True):
    """An account without its secrets."""

    name: str
    roles: tuple[Role, ...]
    is_active: bool
    tokens: int
    is_machine: bool = False


def _me(call: Call, who: Who) -> Me:
    from tieline.console.auth.roles import ALLOWED

    may = tuple(action.value for action, roles in ALLOWED.items() if roles & set(who.roles))
    shell = call.desk.reader.shell()
    says = "" if who.is_token else call.desk.accounts.says_of(who.name)
    scope = tuple(sorted(call.desk.reader.devices_of(who.scope)))
    return Me(who.name, who.roles, may, scope, shell.utility, shell.zone, shell.setting, says)


def _peer(call: Call) -> str:
    return call.request.client.host if call.request.client else ""


def _require_loopback(call: Call) -> None:
    try:
        near = ipaddress.ip_address(_peer(call)).is_loopback
    except ValueError:
        near = False
    if not near:
        text = "a one-time link works on the server itself"
        raise Problem(403, text, field="peer", value=_peer(call), limit="loopback")


async def _whoami(call: Call) -> Me:
    assert call.who is not None
    return _me(call, call.who)


async def _ways(call: Call) -> Ways:
    says = FIRST_TIME if call.desk.renew is None else f"Whoever has no password here: {NEW_LINK}."
    return Ways(True, call.desk.provider, says)


async def _sign_in(call: Call) -> Me:
    body: SignIn = call.body
    if not 0 < len(body.name) <= MOST_NAME or len(body.password) > MOST_PASSWORD:
        limit = f"name up to {MOST_NAME}, password up to {MOST_PASSWORD} characters"
        raise Problem(422, "name or password is too long", field="name, password", limit=limit)
    wait_s = call.desk.accounts.waits_s(body.name, _peer(call))
    if wait_s > 0:
        if call.desk.accounts.is_worth_telling(_peer(call)):
            await call.desk.operator.audited(body.name, "sign in", "", "held back", {"peer": _peer(call)})
        whole_s = math.ceil(wait_s)  # rounded down, it would be too early, or "0 s"
        raise Problem(429, f"too many wrong tries: wait {whole_s} s", {"retry-after": str(whole_s)})
    account = await call.desk.accounts.check(body.name, body.password, _peer(call))
    await call.desk.operator.audited(body.name, "sign in", "", "done" if account else "refused", {"peer": _peer(call)})
    if account is None:
        raise Problem(401, "name or password is wrong")
    call.cookie = await call.desk.sessions.open(account.name)
    return _me(call, Who(account.name, account.roles, frozenset(account.scope)))


def _spent(call: Call) -> Problem:
    then = NEW_LINK if call.desk.renew is not None else "start the server anew, or ask an admin"
    return Problem(403, f"the link is used, unknown or too old: {then}")


async def _ask_link(call: Call) -> Asked:
    _require_loopback(call)
    link = call.desk.accounts.peek(call.body.secret)
    if link is None:
        raise _spent(call)
    return Asked(link.name, link.sets_password)


async def _enrol(call: Call) -> Me:
    _require_loopback(call)
    body: Enrol = call.body
    if body.password and len(body.password) < LEAST_PASSWORD:
        raise Problem(422, "the password is short", field="password", limit=f"{LEAST_PASSWORD} characters or more")
    link = call.desk.accounts.peek(body.secret)
    account = await call.desk.accounts.enrol(body.secret, body.password)
    if account is None:
        await call.desk.operator.audited("", "enrol", "", "refused", {"peer": _peer(call)})
        raise _spent(call)
    asked = {"peer": _peer(call), **({"link_by": link.by} if link is not None and link.by else {})}
    await call.desk.operator.audited(account.name, "enrol", account.name, "done", asked)
    call.cookie = await call.desk.sessions.open(account.name)
    return _me(call, Who(account.name, account.roles, frozenset(account.scope)))


async def _sign_out(call: Call) -> Me:
    from tieline.console.auth.sessions import COOKIE

    await call.desk.sessions.end(call.request.cookies.get(COOKIE, ""))
    call.cookie = ""
    account = call.desk.accounts.get(call.name)
    if call.desk.renew is not None and account is not None and not account.password_hash:
        call.desk.renew(call.name)
    return Me("", (), ())


async def _accounts(call: Call) -> list[AccountRow]:
    held = call.desk.accounts.names()
    return [AccountRow(a.name, a.roles, a.is_active, len(a.token_hashes), is_machine(a)) for a in held]


async def _invite(call: Call) -> Invited:
    body: Invite = call.body
    if not body.roles:
        raise Problem(422, "an account has a role", field="roles", value="none", limit="one or more")
    if not is_name(body.name):  # it stands in the path of the calls that end its tokens and close it
        raise Problem(422, "that can't be an account's name", field="name", value=body.name[:200], limit=NAME)
    if is_of_provider(body.name):
        limit = f"a name that doesn't begin with {OF_PROVIDER}"
        raise Problem(422, "so are people of the identity provider named", field="name", value=body.name, limit=limit)
    may_have = Role.OWNER in body.roles or Role.GATEWAY in body.roles
    if (Role.OWNER in body.roles and not body.scope) or (body.scope and not may_have) or len(body.scope) > MOST_SCOPE:
        limit = f"1 to {MOST_SCOPE} resources for an owner, up to {MOST_SCOPE} for a gateway, none for others"
        raise Problem(422, "an owner has resources, and a gateway may", field="scope", limit=limit)
    for resource in body.scope:
        _require_device(call, resource)
    held, roles = call.desk.accounts.held(body.name), tuple(sorted(body.roles))
    is_one = body.is_machine or set(roles) == {Role.GATEWAY}
    if is_one and Role.ADMIN in roles:
        raise Problem(422, "a machine lets nobody in", field="roles", value=Role.ADMIN.value, limit="other roles")
    if held is not None and is_machine(held) is not is_one:
        kind = "a person" if is_one else "a machine"  # its tokens, or its links, would stand for the other kind then
        raise Problem(409, f"that is the name of {kind}, and stays so", field="name", value=body.name, limit="another")
    if is_one:
        await call.desk.accounts.make_machine(body.name, roles, body.scope)
        says = f"a machine has no link: POST {_A}/accounts/{body.name}/tokens gives it a token"
        return Invited("", body.name, roles, says, "active", roles, body.scope)
    secret = call.desk.accounts.invite(body.name, body.roles, scope=body.scope, by=call.name)
    if held is None:
        return Invited(secret, body.name, roles, "the account is made when the link is used")
    state = "active" if held.is_active else "closed"
    then = (
        "its sessions and tokens keep the roles of now until the link is used" if held.is_active else "it opens again"
    )
    says = f"there is an account of that name, {state}: {then}"
    return Invited(secret, body.name, roles, says, state, held.roles, held.scope)


def _require_device(call: Call, resource: str) -> None:
    try:
        found = call.desk.reader.resource(resource)
    except KeyError:
        found = None
    if found is None or (found.is_group and found.kind != Kind.SITE.value):
        raise Problem(422, "there is no device or site of that name", field="scope", value=resource[:80])


async def _close(call: Call) -> AccountRow:
    name = call.path("account")
    if name == call.name:
        raise Problem(409, "nobody closes his own account", field="account", value=name)
    if not await call.desk.accounts.close(name):
        raise KeyError(name)
    return AccountRow(name, (), False, 0)


async def _token(call: Call) -> Token:
    """Give a machine's token to an admin, or his own: with a person's, he would be that person."""
    name = call.path("account")
    held = call.desk.accounts.get(name)
    if held is None:
        raise KeyError(name)
    if name == call.name:
        return await _own_token(call)
    if not is_machine(held):
        text = "a person's token is made by that person: POST /api/v1/me/tokens"
        raise Problem(403, text, field="account", value=name, limit="a machine, or one's own")
    return _shown(await call.desk.accounts.make_token(name, call.name) or "")


async def _own_token(call: Call) -> Token:
    assert call.who is not None
    if call.who.is_token:
        raise Problem(403, "a token makes no tokens of its own: sign in", field="by", value=call.name)
    token = await call.desk.accounts.make_token(call.name, call.name)
    if token is None:
        text = "people of the identity provider have no tokens: a machine gets an account of its own"
        raise Problem(409, text, field="account", value=call.name)
    return _shown(token)


def _shown(token: str) -> Token:
    return Token(token, token_id(hashed(token)))


async def _own_tokens(call: Call) -> list[TokenRow]:
    return _rows(call, call.name)


async def _tokens(call: Call) -> list[TokenRow]:
    return _rows(call, call.path("account"))


def _rows(call: Call, name: str) -> list[TokenRow]:
    held = call.desk.accounts.get(name)
    if held is None and name != call.name:  # who comes by an identity provider has no account here, and no tokens
        raise KeyError(name)
    this = call.who.session if call.who is not None and call.who.is_token else ""
    return [TokenRow(token_id(each), each == this) for each in (held.token_hashes if held is not None else ())]


async def _end_own_token(call: Call) -> list[TokenRow]:
    return await _end(call, call.name)


async def _end_token(call: Call) -> list[TokenRow]:
    return await _end(call, call.path("account"))


async def _end(call: Call, name: str) -> list[TokenRow]:
    """End one token of an account, which is at once no token any more; return those that are left."""
    which, who = call.path("token"), call.who
    assert who is not None
    if name == call.name and who.is_token and token_id(who.session) != which:
        raise Problem(403, "a token ends itself and no other of its account: sign in", field="by", value=call.name)
    if not await call.desk.accounts.end_token(name, which):
        raise Problem(404, "this account has no such token", field="token", value=which[:80])
    return _rows(call, name)


ACCOUNT_ROUTES: tuple[Route, ...] = (
    Route("GET", f"{_A}/sign-in/ways", None, _ways, "How people sign in here", Ways),
    Route("POST", f"{_A}/sign-in", None, _sign_in, "Sign in with a local account", Me, SignIn),
    Route("POST", f"{_A}/enrol/ask", None, _ask_link, "What a one-time link gives", Asked, Enrol),
    Route("POST", f"{_A}/enrol", None, _enrol, "Use a one-time link (loopback only)", Me, Enrol),
    Route("POST", f"{_A}/sign-out", Action.SIGN_OUT, _sign_out, "End this session", Me),
    Route("GET", f"{_A}/me", Action.SIGN_OUT, _whoami, "Who is signed in", Me),
    Route("GET", f"{_A}/accounts", Action.SEE_ACCOUNTS, _accounts, "All accounts", list[AccountRow]),
    Route(
        "POST", f"{_A}/accounts", Action.MANAGE_ACCOUNTS, _invite, "Make a person's one-time link, or a machine",
        Invited, Invite,
    ),
    Route("POST", f"{_A}/me/tokens", Action.MAKE_OWN_TOKEN, _own_token, "Make a token of one's own", Token),
    Route("GET", f"{_A}/me/tokens", Action.MAKE_OWN_TOKEN, _own_tokens, "One's own tokens", list[TokenRow]),
    Route(
        "DELETE", f"{_A}/me/tokens/{{token}}", Action.MAKE_OWN_TOKEN, _end_own_token,
        "End a token of one's own; the others go on", list[TokenRow], subject="token", act="end_own_token",
    ),
    Route(
        "POST", f"{_A}/accounts/{{account}}/close", Action.MANAGE_ACCOUNTS, _close, "Close an account", AccountRow,
        subject="account", act="close_account",
    ),
    Route(
        "POST", f"{_A}/accounts/{{account}}/tokens", Action.MAKE_TOKEN, _token,
        "Make an API token of a machine, shown once", Token,
        subject="account",
    ),
    Route(
        "GET", f"{_A}/accounts/{{account}}/tokens", Action.MAKE_TOKEN, _tokens, "The tokens of an account",
        list[TokenRow], subject="account",
    ),
    Route(
        "DELETE", f"{_A}/accounts/{{account}}/tokens/{{token}}", Action.MAKE_TOKEN, _end_token,
        "End a token of a machine or person; the others go on", list[TokenRow], subject="account", act="end_token",
    ),
)  # fmt: skip
