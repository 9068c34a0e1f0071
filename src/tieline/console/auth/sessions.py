"""Sessions of browsers: a random cookie, its account, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tieline.console.auth.accounts import Accounts, hashed
from tieline.console.auth.roles import Role

COOKIE = "tieline_session"
LASTS_S, IDLE_S = 12 * 3600.0, 2 * 3600.0
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who is signed in: name, roles, the resources an owner may see, and which session or token it is."""

    name: str
    roles: tuple[Role, ...]
    scope: frozenset[str] = frozenset()
    session: str = ""


@dataclass(slots=True)
class _Session:
    name: str
    until_s: float
    idle_until_s: float
    who: Who | None


class Sessions:
    """Opens, finds and ends sessions; they live in memory, so a restart signs everybody out."""

    def __init__(self, accounts: Accounts, monotonic_s: Callable[[], float]) -> None:
        self._accounts, self._monotonic_s = accounts, monotonic_s
        self._sessions: dict[str, _Session] = {}

    def open(self, name: str, who: Who | None = None) -> str:
        """Return the cookie of a new session; `who` is given for people of an identity provider."""
        if len(self._sessions) >= MOST:
            self._sessions.pop(next(iter(self._sessions)))
        cookie, now_s = self._accounts.secret(), self._monotonic_s()
        self._sessions[hashed(cookie)] = _Session(name, now_s + LASTS_S, now_s + IDLE_S, who)
        return cookie

    def who(self, cookie: str) -> Who | None:
        """Return who a cookie stands for, or None. Roles are read anew, so that a change holds at once."""
        key = hashed(cookie)
        session = self._sessions.get(key)
        if session is None:
            return None
        now_s = self._monotonic_s()
        if now_s >= min(session.until_s, session.idle_until_s):
            del self._sessions[key]
            return None
        session.idle_until_s = now_s + IDLE_S
        if session.who is not None:
            return replace(session.who, session=key)
        account = self._accounts.get(session.name)
        return None if account is None else Who(account.name, account.roles, frozenset(account.scope), key)

    def by_token(self, token: str) -> Who | None:
        """Return who an API token stands for, or None."""
        account = self._accounts.by_token(token)
        return None if account is None else Who(account.name, account.roles, frozenset(account.scope), hashed(token))

    def end(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(hashed(cookie), None)
