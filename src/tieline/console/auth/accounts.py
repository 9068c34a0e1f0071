"""Local accounts, one-time enrolment links and API tokens, kept as records of the journal.

No account exists by default and no password is ever printed or logged. Passwords are kept as argon2id hashes, links and
tokens as blake2b hashes of 256 random bits. A link works once, for a limited time, and from loopback alone.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b

import msgspec
from msgspec import Struct

from tieline.console.auth.roles import Role
from tieline.flow.record import Record, recorded
from tieline.ids import derive
from tieline.times import HOUR_NS, Clock, iso

LINK_LASTS_S = 30 * 60.0
ID_DIGITS = 12
"""So many digits of its hash name a token."""
ONE_HAND_NS = 24 * HOUR_NS
"""How long somebody and who made the link that he used count as one person where two are needed."""
FREE_TRIES, FREE_TRIES_OF_PEER, LONGEST_WAIT_S = 5, 100, 300.0
TELL_EACH_S = 60.0
OF_PROVIDER = "oidc:"
"""How the names of people begin whom an identity provider vouches for; no local account's does."""
Append = Callable[[Iterable[Record]], Awaitable[int]]


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may sign in; without a hash only by a link or an identity provider.

    `is_machine`: nobody signs in as it; it has tokens alone. `hands` are others who had a secret of it in hand (its
    link or token), and when last (ns since 1970): who made a person's link is named once it is used.
    """

    name: str
    roles: tuple[Role, ...]
    password_hash: str = ""
    scope: tuple[str, ...] = ()
    is_active: bool = True
    token_hashes: tuple[str, ...] = ()
    is_machine: bool = False
    hands: dict[str, int] = {}


class Enrolment(Struct, frozen=True):
    """What a one-time link gives; `sets_password` when its user must choose one. Made `by` whom; empty: the server."""

    name: str
    roles: tuple[Role, ...]
    until_s: float
    sets_password: bool
    scope: tuple[str, ...] = ()
    by: str = ""


def is_of_provider(name: str) -> bool:
    """Return whether a name reads as that of a provider's person; in whatever case, as people read it so.

    >>> is_of_provider("oidc:ann"), is_of_provider("OIDC:ann"), is_of_provider("ann")
    (True, True, False)
    """
    return name[: len(OF_PROVIDER)].lower() == OF_PROVIDER


def is_machine(account: Account) -> bool:
    """Return whether an account is a machine's: made as one, or a gateway and nothing else."""
    return account.is_machine or set(account.roles) == {Role.GATEWAY}


def hashed(secret: str) -> str:
    """Return the hash under which a link or token is kept."""
    return blake2b(secret.encode(), digest_size=32, person=b"tieline-token").hexdigest()


def token_id(token_hash: str) -> str:
    """Return the name of a token, from its hash: nothing of the secret can be told from it."""
    return token_hash[:ID_DIGITS]


class Accounts:
    """All accounts; rebuilt from the journal's records of kind `AccountChanged`."""

    def __init__(
        self,
        append: Append,
        clock: Clock,
        monotonic_s: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Make the book.

        Args:
            append: Makes records durable.
            clock: Gives the time of records.
            monotonic_s: Gives seconds for waits and lifetimes; a paced clock would shorten them.
            random_bytes: Where secrets come from (os.urandom).
        """
        self._append, self._clock, self._monotonic_s, self._random = append, clock, monotonic_s, random_bytes
        self._accounts: dict[str, Account] = {}
        self._closings: dict[str, int] = {}
        self._links: dict[str, Enrolment] = {}
        self._tokens: dict[str, str] = {}
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._told: dict[str, float] = {}
        self._steps = 0

    def replay(self, records: Iterable[Record]) -> None:
        """Take accounts from the journal's records."""
        for record in records:
            if record.kind == "AccountChanged":
                self._take(msgspec.msgpack.decode(record.body, type=Account))

    def _take(self, account: Account) -> None:
        if is_of_provider(account.name):  # one from before such names were refused: who used it, no record can tell
            account = msgspec.structs.replace(account, is_active=False, token_hashes=())
        self._accounts[account.name] = account
        if not account.is_active:
            self._closings[account.name] = self.closings(account.name) + 1
        self._tokens = {key: name for key, name in self._tokens.items() if name != account.name}
        self._tokens.update((key, account.name) for key in account.token_hashes)

    async def _keep(self, account: Account) -> None:
        self._steps += 1
        now_ns = self._clock.now_ns()
        name = derive("account", account.name, now_ns, self._steps)
        record = recorded(name, "AccountChanged", account.name, now_ns, (), account)
        self._take(account)
        await self._append([record])

    def secret(self) -> str:
        """Return 256 random bits as URL-safe text."""
        return urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()

    def names(self) -> list[Account]:
        """Return all accounts by name."""
        return [self._accounts[name] for name in sorted(self._accounts)]

    def get(self, name: str) -> Account | None:
        """Return an active account, or None."""
        account = self._accounts.get(name)
        return account if account is not None and account.is_active else None

    def held(self, name: str) -> Account | None:
        """Return the account of a name, open or closed; None: there never was one."""
        return self._accounts.get(name)

    def closings(self, name: str) -> int:
        """Return how often the account of a name was closed: what it had open before goes on no more."""
        return self._closings.get(name, 0)

    # --- links -----------------------------------------------------------------------------------------------------

    def invite(
        self, name: str, roles: Iterable[Role], *, sets_password: bool = True, scope: Iterable[str] = (), by: str = ""
    ) -> str:
        """Return the secret of a one-time link for an account.

        Args:
            name: Whose account.
            roles: What it may do once the link is used.
            sets_password: Whether its user must choose a password.
            scope: The resources of an owner or gateway.
            by: Who asked for the link; empty: the server made it by itself.
        """
        # Of two links of one name the later counts: an older one could give back roles that were just taken.
        self._links = {key: link for key, link in self._links.items() if link.name != name}
        secret = self.secret()
        until_s = self._monotonic_s() + LINK_LASTS_S
        self._links[hashed(secret)] = Enrolment(name, tuple(sorted(roles)), until_s, sets_password, tuple(scope), by)
        return secret

    def peek(self, secret: str) -> Enrolment | None:
        """Return what a link would give, or None where it is used, unknown or too old."""
        link = self._links.get(hashed(secret))
        return link if link is not None and self._monotonic_s() < link.until_s else None

    async def enrol(self, secret: str, password: str) -> Account | None:
        """Use a link up and return its account; None where it can't be used."""
        link = self.peek(secret)
        if link is None or (link.sets_password and not password):
            return None
        del self._links[hashed(secret)]
        old = self._accounts.get(link.name)
        if old is not None and old.is_machine:
            return None  # its tokens would be a person's
        kept = old.password_hash if old else ""
        hands = _with_hand(old, link.by, self._clock.now_ns())
        account = Account(
            link.name, link.roles, await self._hash(password) if password else kept,
            link.scope or (old.scope if old else ()), True, old.token_hashes if old else (), hands=hands,
        )  # fmt: skip
        await self._keep(account)
        return account

    async def make_machine(self, name: str, roles: Iterable[Role], scope: Iterable[str] = ()) -> Account:
        """Make the account of a machine, or give it these roles and resources, and return it; it has no link.

        Raises:
            ValueError: The name is a person's.
        """
        old = self._accounts.get(name)
        if old is not None and not is_machine(old):
            raise ValueError(f"{name} is a person")
        self._links = {key: link for key, link in self._links.items() if link.name != name}
        account = Account(name, tuple(sorted(roles)), "", tuple(scope), True, is_machine=True)
        if old is not None:
            account = msgspec.structs.replace(account, token_hashes=old.token_hashes, hands=old.hands)
        await self._keep(account)
        return account

    # --- hands -----------------------------------------------------------------------------------------------------

    def is_one_hand(self, first: str, second: str) -> bool:
        """Return whether two names may be one person: one had a secret of the other in hand.

        That of a machine counts for ever, as whoever saw its token has it; that of a person for `ONE_HAND_NS` after
        the link was used, by when a person whose account was taken has noticed.
        """
        return first == second or self._was_in_hand(first, second) or self._was_in_hand(second, first)

    def _was_in_hand(self, name: str, of: str) -> bool:
        account = self._accounts.get(name)
        if account is None or of not in account.hands:
            return False
        return is_machine(account) or self._clock.now_ns() - account.hands[of] < ONE_HAND_NS

    def says_of(self, name: str) -> str:
        """Return what the holder of an account should know: a link of it that another asked for, or that was used."""
        links = [link.by for link in self._links.values() if link.name == name and self._monotonic_s() < link.until_s]
        account, now_ns = self._accounts.get(name), self._clock.now_ns()
        if account is None:
            return ""
        said = [f"{by} made a new one-time link of it: who uses it signs in as you" for by in links if by]
        said += [
            f"a one-time link of {by} was used for it at {iso(at_ns)}: if it was not by you, tell an auditor"
            for by, at_ns in account.hands.items()
            if now_ns - at_ns < ONE_HAND_NS
        ]
        return "; ".join(said)

    # --- passwords -------------------------------------------------------------------------------------------------

    async def _hash(self, password: str) -> str:
        import asyncio

        from argon2 import PasswordHasher

        return await asyncio.get_running_loop().run_in_executor(None, PasswordHasher().hash, password)

    def waits_s(self, name: str, peer: str) -> float:
        """Return how long the next try of a name from a peer must wait (s).

        A name waits after five wrong tries. A peer is often a whole office behind one address, so that one who forgot
        his password must not shut out the others: it waits after a hundred, which still ends guessing name by name.
        """
        return max(self._waits_s(("name", name), FREE_TRIES), self._waits_s(("peer", peer), FREE_TRIES_OF_PEER))

    def _waits_s(self, key: tuple[str, str], free: int) -> float:
        count, last_s = self._failures.get(key, (0, 0.0))
        if count < free:
            return 0.0
        # Beyond 2**9 s the longest wait holds; a bare power would overflow a float after a thousand tries.
        return max(0.0, last_s + min(2.0 ** min(count - free, 9), LONGEST_WAIT_S) - self._monotonic_s())

    async def check(self, name: str, password: str, peer: str) -> Account | None:
        """Return the account of a right name and password; a wrong one counts against name and peer alike.

        A name that is unknown takes as long as one that is known, so that time tells nothing. A try counts before its
        password is looked at: many at once would else all pass before the first had failed.
        """
        import asyncio

        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        self._count(("name", name))
        self._count(("peer", peer))
        account = self.get(name)
        if account is not None and is_machine(account):
            account = None
        known = account.password_hash if account and account.password_hash else _NOBODY
        try:
            verify = PasswordHasher().verify
            right = bool(await asyncio.get_running_loop().run_in_executor(None, verify, known, password))
        except (VerificationError, InvalidHashError):
            right = False
        if right and account is not None and account.password_hash:
            self._failures.pop(("name", name), None)
            count, last_s = self._failures.get(("peer", peer), (1, 0.0))
            self._failures["peer", peer] = (count - 1, last_s)
            return account
        return None

    def _count(self, key: tuple[str, str]) -> None:
        count, _ = self._failures.pop(key, (0, 0.0))
        self._failures[key] = (count + 1, self._monotonic_s())
        if len(self._failures) > 10_000:
            self._failures.pop(next(iter(self._failures)))

    def is_worth_telling(self, peer: str) -> bool:
        """Return whether to record that a peer was held back: once a minute, or strangers would fill the journal."""
        now_s = self._monotonic_s()
        if now_s - self._told.get(peer, -TELL_EACH_S) < TELL_EACH_S:
            return False
        self._told.pop(peer, None)
        self._told[peer] = now_s
        if len(self._told) > 10_000:
            self._told.pop(next(iter(self._told)))
        return True

    # --- tokens ----------------------------------------------------------------------------------------------------

    async def make_token(self, name: str, by: str = "") -> str | None:
        """Return a new API token of an account, shown once to whoever asks for it; None: there is no such account.

        Its id is `token_id(hashed(token))`.
        """
        account = self.get(name)
        if account is None:
            return None
        token = "tl_" + self.secret()
        hands = _with_hand(account, by, self._clock.now_ns())
        made = (*account.token_hashes, hashed(token))
        await self._keep(msgspec.structs.replace(account, token_hashes=made, hands=hands))
        return token

    async def end_token(self, name: str, which: str) -> bool:
        """End one token of an account, by its id, and return whether it was there."""
        account = self.get(name)
        left = () if account is None else tuple(each for each in account.token_hashes if token_id(each) != which)
        if account is None or len(left) == len(account.token_hashes):
            return False
        await self._keep(msgspec.structs.replace(account, token_hashes=left))
        return True

    def by_token(self, token: str) -> Account | None:
        """Return the account of an API token, or None."""
        key = hashed(token)
        name = next((who for held, who in self._tokens.items() if hmac.compare_digest(held, key)), None)
        return self.get(name) if name is not None else None

    async def close(self, name: str) -> bool:
        """Close an account, and return whether it was open."""
        account = self.get(name)
        if account is None:
            return False
        await self._keep(msgspec.structs.replace(account, is_active=False, token_hashes=()))
        return True


def _with_hand(account: Account | None, by: str, now_ns: int) -> dict[str, int]:
    """Return who had secrets of an account in hand, with one more who has one now; empty or its holder: nobody."""
    hands = {} if account is None else account.hands
    return hands if not by or (account is not None and by == account.name) else {**hands, by: now_ns}


_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$0000000000000000000000000000000000000000000"
"""A hash that no password has, in the cost of the real ones."""
