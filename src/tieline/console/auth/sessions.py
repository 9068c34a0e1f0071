"""Sessions of browsers: a random cookie, its account, and when it ends.

Those of local accounts outlive a restart of the server: a record in the journal goes before the cookie of one that
opens, and before the answer to who signs out. What is in use is recorded anew every `TELLS_S`: after a restart it
ends by no more than that sooner than it would have, and never later. The journal has hashes of cookies alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec
from msgspec import Struct

from tieline.console.auth.accounts import Accounts, Append, hashed
from tieline.console.auth.roles import Role
from tieline.errors import LinkDown
from tieline.flow.record import Record, recorded
from tieline.ids import derive
from tieline.times import SECOND_NS, Clock

COOKIE, RECORD = "tieline_session", "SessionChanged"
LASTS_S, IDLE_S, TELLS_S = 12 * 3600.0, 2 * 3600.0, 15 * 60.0
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who is signed in: name, roles, the resources an owner may see, and which session or token it is."""

    name: str
    roles: tuple[Role, ...]
    scope: frozenset[str] = frozenset()
    session: str = ""
    is_token: bool = False


class KeptSession(Struct, frozen=True):
    """What the journal holds of a session: hash of its cookie, whose, when it ends and was used last (s since 1970).

    `closings` is how often the account had been closed: one that is closed ends it, though it opens again.
    """

    session_hash: str
    name: str
    closings: int
    until_s: float
    used_s: float
    is_over: bool = False


@dataclass(slots=True)
class _Session:
    name: str
    closings: int
    until_s: float
    idle_until_s: float
    who: Who | None
    told_s: float


@dataclass(frozen=True)
class Keeps:
    """Where sessions are kept: what makes records durable, the time of records, and the time on the wall."""

    append: Append
    clock: Clock
    wall: Clock


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, accounts: Accounts, monotonic_s: Callable[[], float], keeps: Keeps | None = None) -> None:
        """Make the book.

        Args:
            accounts: Whose sessions.
            monotonic_s: Gives seconds for lifetimes.
            keeps: Where they are kept; None: in memory alone.
        """
        self._accounts, self._monotonic_s, self._keeps = accounts, monotonic_s, keeps
        self._sessions: dict[str, _Session] = {}
        self._steps = 0

    def restore(self, records: Iterable[Record]) -> None:
        """Take in those of a journal's records that still last; the accounts have been taken in."""
        kept: dict[str, KeptSession] = {}
        for record in records:
            if record.kind == RECORD:
                one = msgspec.msgpack.decode(record.body, type=KeptSession)
                kept.pop(one.session_hash, None)
                if not one.is_over:
                    kept[one.session_hash] = one
        now_s, wall_s = self._monotonic_s(), self._wall_s()
        for key, one in list(kept.items())[-MOST:]:
            # A clock that was set back makes nothing last longer than a new session does.
            left_s, idle_s = min(one.until_s - wall_s, LASTS_S), min(one.used_s + IDLE_S - wall_s, IDLE_S)
            if min(left_s, idle_s) > 0.0:
                used_s = now_s + idle_s - IDLE_S
                self._sessions[key] = _Session(
                    one.name, one.closings, now_s + left_s, now_s + idle_s, None, told_s=used_s
                )

    async def open(self, name: str, who: Who | None = None) -> str:
        """Return the cookie of a new session; `who` is given for people of an identity provider.

        Theirs end with a restart, as nothing else here ends what the provider took away.

        Raises:
            LinkDown: The journal's database is away, and no session was opened.
        """
        if len(self._sessions) >= MOST:
            self._sessions.pop(next(iter(self._sessions)))
        cookie, now_s = self._accounts.secret(), self._monotonic_s()
        session = _Session(name, self._accounts.closings(name), now_s + LASTS_S, now_s + IDLE_S, who, now_s)
        await self._keep(hashed(cookie), session)
        self._sessions[hashed(cookie)] = session
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
        if account is None or self._accounts.closings(session.name) != session.closings:
            return None
        return Who(account.name, account.roles, frozenset(account.scope), key)

    async def used(self, who: Who) -> None:
        """Keep that a session was used, once in a while; while nothing can be recorded it is not."""
        session, now_s = self._sessions.get(who.session), self._monotonic_s()
        if session is None or now_s - session.told_s < TELLS_S:
            return
        told_s, session.told_s = session.told_s, now_s
        try:
            await self._keep(who.session, session)
        except LinkDown:
            session.told_s = told_s

    def by_token(self, token: str) -> Who | None:
        """Return who an API token stands for, or None."""
        account = self._accounts.by_token(token)
        if account is None:
            return None
        return Who(account.name, account.roles, frozenset(account.scope), hashed(token), is_token=True)

    async def end(self, cookie: str) -> None:
        """End a session. Raises LinkDown where the journal's database is away: it goes on, as it would later."""
        session = self._sessions.pop(hashed(cookie), None)  # gone at once: no use of it may be kept after its end
        if session is None:
            return
        try:
            await self._keep(hashed(cookie), session, is_over=True)
        except LinkDown:
            self._sessions[hashed(cookie)] = session
            raise

    def _wall_s(self) -> float:
        return 0.0 if self._keeps is None else self._keeps.wall.now_ns() / SECOND_NS

    async def _keep(self, key: str, session: _Session, *, is_over: bool = False) -> None:
        if self._keeps is None or session.who is not None:
            return
        wall_s, now_s = self._wall_s(), self._monotonic_s()
        kept = KeptSession(key, session.name, session.closings, wall_s + session.until_s - now_s, wall_s, is_over)
        self._steps += 1
        now_ns = self._keeps.clock.now_ns()
        record = derive("session", key, self._keeps.wall.now_ns(), self._steps)
        await self._keeps.append([recorded(record, RECORD, session.name, now_ns, (), kept)])
