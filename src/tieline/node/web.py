"""Starts the console over a running node, and says how to get in the first time."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette

from tieline.console.app import create_app
from tieline.console.auth.accounts import Accounts
from tieline.console.auth.oidc import OidcSettings
from tieline.console.auth.oidc_login import OidcLogin
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import RECORD, Keeps, Sessions
from tieline.desk.screens import Intake
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.trader import NodeTrader, terms_of
from tieline.rim.clock import SystemClock
from tieline.rim.serve import serve_asgi

DESK_ROLES = (Role.OPERATOR, Role.DISPATCHER, Role.TRADER, Role.PROGRAM_MANAGER, Role.AUDITOR, Role.ADMIN)


@dataclass
class Doors:
    """The people who are let in by one-time links, and where these are told."""

    accounts: Accounts
    url: str
    people: dict[str, Sequence[Role]]
    sets_password: bool
    say: Callable[[str], None]

    def tell(self, name: str) -> str:
        """Tell a new link of somebody and return it; an older one that was not used yet is void."""
        secret = self.accounts.invite(name, self._roles(name), sets_password=self.sets_password)
        link = f"{self.url}/enrol#{secret}"
        self.say(f"  one-time link for {name}: {link}")
        return link

    def tell_all(self) -> None:
        """Tell a new link of each of the first people; an account that an admin closed stays closed."""
        for name in self.people:
            account = self.accounts.held(name)
            if account is None or account.is_active:
                self.tell(name)

    def _roles(self, name: str) -> Sequence[Role]:
        """Return what somebody may do as an admin left it, or may do at first."""
        account = self.accounts.get(name)
        return account.roles if account is not None else self.people[name]


@dataclass
class Console:
    """A console that runs: its server, and the one-time links that let the first people in."""

    server: asyncio.Server
    app: Starlette
    url: str
    links: tuple[tuple[str, str], ...]
    reader: NodeReader
    operator: NodeOperator
    accounts: Accounts
    doors: Doors

    async def stop(self) -> None:
        """Stop serving."""
        self.server.close()
        await asyncio.sleep(0)


async def serve_console(
    node: Node,
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    sources: Sources | None = None,
    reader: NodeReader | None = None,
    intake: Intake | None = None,
    trader: NodeTrader | None = None,
    tls: ssl.SSLContext | None = None,
    people: Sequence[tuple[str, Sequence[Role]]] = (("admin", DESK_ROLES),),
    sets_password: bool = True,
    oidc: OidcSettings | None = None,
    say: Callable[[str], None] = print,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Console:
    """Start the console on the running loop and say the one-time links.

    Args:
        node: What it shows and steers.
        host: Where to listen.
        port: Where to listen; 0 picks a free one.
        sources: What the node can't know by itself (names, zone, feeder model, forecast).
        reader: A reader that has sampled already; None: a new one.
        intake: Where readings are sent; None: nowhere.
        trader: Where offers and prices are put; None: one that settles no day.
        tls: TLS context; cookies are then marked Secure.
        people: Names and roles that get a one-time link, as long as no account of that name is there.
        sets_password: Whether a link's user must choose a password; a demonstration lets people straight in.
        oidc: The identity provider that people may sign in with; None: local accounts alone.
        say: Where the links are told (never logged).
        random_bytes: Where secrets come from.
    """
    if reader is None:
        reader = NodeReader(node, sources or Sources(), node.journal.reader())
    operator = NodeOperator(node, reader)
    trader = trader or NodeTrader(node, terms_of(list(node.cycle.pools), reader.sources.zone, {}, {}))
    loop = asyncio.get_running_loop()
    accounts = Accounts(node.group.append, node.clock, loop.time, random_bytes)
    accounts.replay(node.journal.of_kind("AccountChanged"))
    sessions = Sessions(accounts, loop.time, Keeps(node.group.append, node.clock, SystemClock()))
    sessions.restore(node.journal.of_kind(RECORD))
    # Tokens of a provider live on wall time, whatever time the desk plays.
    way = OidcLogin(oidc, SystemClock(), loop.time, accounts.secret) if oidc is not None else None
    is_secure = tls is not None
    app = create_app(
        reader, operator, accounts, loop.time, is_secure=is_secure, intake=intake, trader=trader, oidc=way,
        sessions=sessions,
    )  # fmt: skip
    server = await serve_asgi(app, host, port, tls)
    bound = server.sockets[0].getsockname()[1]
    url = f"{'https' if tls else 'http'}://{host if host not in ('0.0.0.0', '::') else '127.0.0.1'}:{bound}"
    doors = Doors(accounts, url, dict(people), sets_password, say)
    if not sets_password:
        app.state.desk.renew = doors.tell
    say(f"console at {url}")
    known = {name: accounts.get(name) for name in doors.people}
    links = [(name, doors.tell(name)) for name, account in known.items() if not (account and account.password_hash)]
    return Console(server, app, url, tuple(links), reader, operator, accounts, doors)
