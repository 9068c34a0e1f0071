"""Sessions of local accounts outlive the server; what ended stays ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import IDLE_S, LASTS_S, TELLS_S, Keeps, Sessions, Who
from tieline.errors import LinkDown
from tieline.flow.record import Record
from tieline.times import SECOND_NS

PASSWORD = "correct horse battery"


class Server:
    """A server's accounts and sessions over one journal; `restart` begins anew from what that holds."""

    def __init__(self) -> None:
        self.wall_s, self.up_s, self.is_down, self.made = 1.7e9, 0.0, False, 0
        self.journal: list[Record] = []
        self.restart()

    def restart(self) -> None:
        self.up_s = 0.0
        self.accounts = Accounts(self.append, self, lambda: self.up_s, self.random)
        self.accounts.replay(self.journal)
        self.sessions = Sessions(self.accounts, lambda: self.up_s, Keeps(self.append, self, self))
        self.sessions.restore(self.journal)

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.up_s += seconds

    def now_ns(self) -> int:
        return round(self.wall_s * SECOND_NS)

    def random(self, count: int) -> bytes:
        self.made += 1
        return self.made.to_bytes(count, "big")

    async def append(self, records) -> int:
        if self.is_down:
            raise LinkDown("the database is away")
        self.journal.extend(records)
        return len(self.journal)

    async def ann(self) -> str:
        """Let her in, without a password: what hashes one takes its time."""
        await self.accounts.enrol(self.accounts.invite("ann", [Role.VIEWER], sets_password=False), "")
        return await self.sessions.open("ann")

    async def name(self, cookie: str) -> str:
        who = self.sessions.who(cookie)
        if who is not None:
            await self.sessions.used(who)
        return "" if who is None else who.name


def play(act: Callable[[Server], Coroutine[None, None, None]]) -> None:
    asyncio.run(act(Server()))


@given(st.lists(st.tuples(st.floats(1.0, 2.5 * 3600.0), st.booleans()), max_size=8))
@settings(deadline=None)
def test_a_session_ends_after_restarts_no_later_than_without_and_hardly_sooner(steps: list) -> None:
    async def act(server: Server) -> None:
        cookie, other = await server.ann(), Server()
        always = await other.ann()
        for seconds, restarts in steps:
            server.pass_s(seconds)
            other.pass_s(seconds)
            if restarts:
                server.restart()
            found, meant = await server.name(cookie), await other.name(always)
            assert not found or meant, "a restart made it last longer"
            if meant and not found:
                assert seconds > IDLE_S - TELLS_S, "it was signed out though it was used a short while ago"
                return

    play(act)


def test_who_signed_out_or_whose_account_was_closed_stays_out() -> None:
    async def act(server: Server) -> None:
        out, left = await server.ann(), await server.sessions.open("ann")
        await server.sessions.end(out)
        server.restart()
        assert [await server.name(cookie) for cookie in (out, left)] == ["", "ann"]
        await server.accounts.close("ann")
        assert await server.name(left) == ""
        server.restart()
        assert await server.name(left) == ""
        anew = await server.ann()  # an admin lets her in again: what she had open before is no more
        assert [await server.name(cookie) for cookie in (left, anew)] == ["", "ann"]
        server.restart()
        assert [await server.name(cookie) for cookie in (out, left, anew)] == ["", "", "ann"]

    play(act)


def test_a_clock_that_was_set_back_makes_no_session_last_longer_than_a_new_one() -> None:
    async def act(server: Server) -> None:
        cookie = await server.ann()
        server.wall_s -= 1e6
        server.restart()
        for _ in range(int(LASTS_S / 3600.0) - 1):
            server.pass_s(3600.0)
            assert await server.name(cookie) == "ann"
        server.pass_s(3600.0)
        assert await server.name(cookie) == ""

    play(act)


def test_people_of_a_provider_sign_in_anew_after_a_restart_and_nothing_of_theirs_is_kept() -> None:
    async def act(server: Server) -> None:
        cookie = await server.sessions.open("oidc:ann", Who("oidc:ann", (Role.VIEWER,)))
        assert await server.name(cookie) == "oidc:ann"
        assert server.journal == []
        server.restart()
        assert await server.name(cookie) == ""

    play(act)


def test_no_record_has_a_cookie_and_a_session_in_use_leaves_few() -> None:
    async def act(server: Server) -> None:
        cookie = await server.ann()
        for _ in range(3_600):
            server.pass_s(1.0)
            assert await server.name(cookie) == "ann"
        assert len(server.journal) <= 2 + 3_600 / TELLS_S
        assert not any(cookie.encode() in record.body for record in server.journal)

    play(act)


def test_while_the_journal_is_away_a_session_goes_on_and_none_begins_or_ends() -> None:
    async def act(server: Server) -> None:
        cookie = await server.ann()
        server.is_down = True
        server.pass_s(TELLS_S + 1.0)
        assert await server.name(cookie) == "ann"
        for asked in (server.sessions.open("ann"), server.sessions.end(cookie)):
            with pytest.raises(LinkDown):
                await asked
        assert await server.name(cookie) == "ann", "he was told that it did not end"
        server.is_down = False
        await server.sessions.end(cookie)
        server.restart()
        assert await server.name(cookie) == ""

    play(act)
