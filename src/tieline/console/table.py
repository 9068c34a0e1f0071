"""The shape of the API: every route is a row with its action, its types and its handler; nothing else is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tieline.console.auth.accounts import Accounts
from tieline.console.auth.roles import Action
from tieline.console.auth.second import SecondPerson
from tieline.console.auth.sessions import Sessions, Who
from tieline.console.problems import PLAIN, Problem, is_control
from tieline.desk.screens import KEY, Intake, Operator, Reader, Trader
from tieline.times import parse_iso

MOST_KEY = 255
MOST_PART = 512
"""Characters of a part of a path: each name of ours has fewer."""


@dataclass
class Desk:
    """What handlers work with; `provider` is what the button of the identity provider says, empty: there is none."""

    reader: Reader
    operator: Operator
    accounts: Accounts
    sessions: Sessions
    second: SecondPerson
    is_secure: bool = False
    intake: Intake | None = None
    provider: str = ""
    trader: Trader | None = None
    renew: Callable[[str], None] | None = None
    """Tells the server's terminal a new one-time link of somebody; None: people come back by their password."""

    def scoped(self, who: Who | None) -> Who | None:
        """Return somebody with the devices that his scope means by now in place of the sites that it names."""
        return replace(who, scope=self.reader.devices_of(who.scope)) if who is not None and who.scope else who


@dataclass
class Call:
    """One request: who asks, for what, with which decoded body."""

    desk: Desk
    request: Request
    who: Who | None
    body: Any = None
    cookie: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The sender's own name of this call, by which it is done once however often it comes; empty: it has none.

        Raises:
            Problem: 422 where it is no key.
        """
        text = self.request.headers.get(KEY)
        if text is None:
            return ""
        key = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
        if not 0 < len(key) <= MOST_KEY or not key.isascii() or not key.isprintable():
            limit = f"1 to {MOST_KEY} printable characters of ASCII"
            raise Problem(422, "a call's key is short and plain", field=KEY, value=text[:80], limit=limit)
        return key

    @property
    def name(self) -> str:
        """Name of who asks; empty: nobody signed in."""
        return self.who.name if self.who else ""

    def path(self, key: str) -> str:
        """Return a part of the path. Raises Problem 422 where it is too long for a name, or holds what none does."""
        text = str(self.names[key] if self.names else self.request.path_params[key])
        if len(text) > MOST_PART or any(map(is_control, text)):
            limit = f"up to {MOST_PART} characters: {PLAIN}"
            raise Problem(422, f"{key} is no name", field=key, value=text[:80], limit=limit)
        return text

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number of the query. Raises Problem 422 naming it where it is none or outside its limits."""
        text = self.request.query_params.get(key)
        if text is None:
            return default
        digits = text.removeprefix("-")
        value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else least - 1
        if not least <= value <= most:
            raise Problem(422, f"{key} is out of range", field=key, value=text[:80], limit=f"{least} to {most}")
        return value

    def instant(self, key: str) -> int:
        """Return an instant of the query, given as ns since 1970 or as ISO 8601 with an offset.

        Raises:
            Problem: 422 naming it where it is neither, or outside what is kept.
        """
        text = self.request.query_params.get(key, "")
        if text.removeprefix("-").isdigit():
            return self.number(key, 0, 0, 2**62)
        limit = "ns since 1970, or ISO 8601 with an offset such as 2022-08-17T21:00:00Z"
        for said in (text, text.replace(" ", "+")):  # a query's `+` that was not escaped came as a space
            with suppress(ValueError):
                at_ns = parse_iso(said)
                if at_ns < 0:
                    raise Problem(422, f"{key} is before 1970", field=key, value=text[:80], limit=limit)
                return at_ns
        raise Problem(422, f"{key} is no instant", field=key, value=text[:80], limit=limit)

    def asked_of(self, names: Sequence[str]) -> tuple[str, int] | None:
        """Return which of these names of one parameter was given, the first such, and its instant; None: none was.

        Raises:
            Problem: 422 naming one that is no instant, or both where two say different ones.
        """
        given = [(name, self.instant(name)) for name in names if name in self.request.query_params]
        if len({at_ns for _, at_ns in given}) > 1:
            both = " and ".join(name for name, _ in given)
            value = " and ".join(self.request.query_params[name][:80] for name, _ in given)
            raise Problem(422, f"{both} say different instants", field=both, value=value, limit="give one of them")
        return given[0] if given else None

    def word(self, key: str, words: Sequence[str]) -> str:
        """Return a word of the query, empty where it is missing. Raises Problem 422 where it is none of them."""
        value = self.request.query_params.get(key, "")
        if value and value not in words:
            raise Problem(422, f"{key} is unknown", field=key, value=value[:80], limit=f"one of {', '.join(words)}")
        return value

    def text(self, key: str, most: int = 200) -> str:
        """Return a text of the query, empty where it is missing. Raises Problem 422 where it is too long."""
        value = self.request.query_params.get(key, "")
        if len(value) > most:
            raise Problem(422, f"{key} is too long", field=key, value=value[:80], limit=f"{most} characters")
        return value


AT = ("at", "Another name of `as_of`, that of `tieline why --at`")
"""What a route has in its query where `at` is an instant: on those that list page by page it is where a page begins."""


@dataclass(frozen=True)
class Route:
    """A row of the API; `action` None: anybody may, signed in or not.

    `is_raw`: the handler reads the body by itself and nothing is audited, as measurements never enter the journal.
    `two` says of a call why it needs a second person; empty: it needs none. `act` is what the audit calls it where
    several routes are one action. `is_once`: a header `Idempotency-Key` lets it be sent again and done once.
    """

    method: str
    path: str
    action: Action | None
    handler: Callable[[Call], Awaitable[Any]]
    says: str
    answer: Any
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    two: Callable[[Call], str] | None = None
    is_raw: bool = False
    act: str = ""
    is_once: bool = False

    @property
    def instants(self) -> tuple[str, ...]:
        """Names of the parameter that asks for the view of a past instant; on some routes `at` is another thing."""
        return ("as_of", AT[0]) if AT in self.query else ("as_of",)

    @property
    def audited_as(self) -> str:
        """What the audit calls it."""
        return self.act or ("" if self.action is None else self.action.value)


Handler = Callable[[Request], Awaitable[Response]]
