"""One token is ended by who holds its account, or by an admin: it ends at once and for good, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import msgspec
import pytest
from console_stage import Running
from hypothesis import given
from hypothesis import strategies as st
from test_console_one_hand import ADMIN, admin, by, invited

from tieline.console.auth.accounts import Account, Accounts, hashed, token_id
from tieline.console.auth.roles import Role
from tieline.flow.record import Record

__all__ = ["admin"]
ME = "/api/v1/me/tokens"


@pytest.fixture
def ben(running: Running) -> Iterator[httpx.Client]:
    """Ben, who has no token before a test nor after it: what other files' tests made for him is theirs alone."""
    with running.client("ben") as client:
        ended(client)
        yield client
        ended(client)


def ended(client: httpx.Client) -> None:
    for row in client.get(ME).json():
        assert client.delete(f"{ME}/{row['id']}").status_code == 200


def made(client: httpx.Client, path: str = ME) -> tuple[str, str]:
    answer = client.post(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["secret"], answer.json()["id"]


def counts(running: Running, token: str) -> bool:
    with by(running, token) as program:
        return program.get("/api/v1/me").status_code == 200


def audited(running: Running, act: str) -> list[str]:
    """Return the acts of one kind as subject and words, the newest first."""
    with running.client("auditor") as auditor:
        rows = auditor.get("/api/v1/audit?kind=Audited&count=50").json()["rows"]
    return [f"{row['subject']} {row['says']}" for row in rows if f": {act}: " in row["says"]]


def test_a_person_ends_one_token_of_his_and_the_others_and_his_session_go_on(
    running: Running, ben: httpx.Client
) -> None:
    (first, first_id), (second, second_id) = made(ben), made(ben)
    assert ben.get(ME).json() == [{"id": each, "is_this": False} for each in (first_id, second_id)]
    answer = ben.delete(f"{ME}/{first_id}")
    assert (answer.status_code, answer.json()) == (200, [{"id": second_id, "is_this": False}])
    assert (counts(running, first), counts(running, second)) == (False, True)
    assert ben.get("/api/v1/me").json()["name"] == "ben"
    again = ben.delete(f"{ME}/{first_id}")
    assert (again.status_code, again.json()["field"]) == (404, "token")
    lines = audited(running, "end_own_token")
    assert f"{first_id} ben: end_own_token: done" in lines, lines
    assert not any(first in row or hashed(first) in row for row in lines)


def test_a_token_ends_itself_and_no_other(running: Running, ben: httpx.Client) -> None:
    (first, first_id), (second, second_id) = made(ben), made(ben)
    with by(running, first) as program:
        assert [row["id"] for row in program.get(ME).json() if row["is_this"]] == [first_id]
        assert program.delete(f"{ME}/{second_id}").status_code == 403
        assert program.delete(f"{ME}/{first_id}").status_code == 200
        assert program.get("/api/v1/me").status_code == 401
    assert counts(running, second)


def test_an_admin_ends_one_token_of_a_machine_or_a_person_and_nobody_else_does(
    running: Running, admin: httpx.Client, ben: httpx.Client
) -> None:
    invited(admin, "meter-reader", is_machine=True)
    path = "/api/v1/accounts/meter-reader/tokens"
    (first, first_id), (second, second_id) = made(admin, path), made(admin, path)
    mine, mine_id = made(ben)
    with running.client("auditor") as other:
        for method, at in (
            ("GET", path),
            ("DELETE", f"{path}/{first_id}"),
            ("DELETE", f"/api/v1/accounts/ben/tokens/{mine_id}"),
        ):
            assert other.request(method, at).status_code == 403
        assert other.delete(f"{ME}/{mine_id}").status_code == 404, "what is another's is not theirs to end"
    assert counts(running, first) and counts(running, mine)
    assert [row["id"] for row in admin.get(path).json()] == [first_id, second_id]
    assert [row["id"] for row in admin.delete(f"{path}/{first_id}").json()] == [second_id]
    assert (counts(running, first), counts(running, second)) == (False, True)
    assert admin.delete(f"/api/v1/accounts/ben/tokens/{mine_id}").json() == []
    assert not counts(running, mine)
    assert admin.delete(f"{path}/{mine_id}").status_code == 404
    assert admin.get("/api/v1/accounts/nobody/tokens").status_code == 404
    lines = audited(running, "end_token")
    assert f"meter-reader {ADMIN}: end_token: done (token={first_id})" in lines, lines


class Clock:
    def now_ns(self) -> int:
        return 1


ACTS = st.lists(
    st.tuples(st.sampled_from(["make", "end", "close"]), st.sampled_from("ab"), st.integers(0, 9)), max_size=40
)


@given(ACTS)
def test_whatever_is_made_and_ended_what_counts_is_what_was_made_and_not_ended_also_after_a_restart(
    acts: list[tuple[str, str, int]],
) -> None:
    import asyncio

    records: list[Record] = []
    random = iter(range(10_000))

    async def append(more: list[Record]) -> None:
        records.extend(more)

    def book() -> Accounts:
        return Accounts(append, Clock(), lambda: 0.0, lambda size: next(random).to_bytes(size, "big"))

    async def play() -> None:
        accounts, live = book(), dict[str, list[str]](a=[], b=[])
        for name in live:
            await accounts.make_machine(name, (Role.VIEWER,))
        gone = []
        for what, name, number in acts:
            if what == "make":
                live[name].append(str(await accounts.make_token(name)))
            elif what == "close":
                gone += live[name]
                live[name] = []
                await accounts.close(name)
                await accounts.make_machine(name, (Role.VIEWER,))
            elif live[name]:
                token = live[name].pop(number % len(live[name]))
                gone.append(token)
                other = "b" if name == "a" else "a"
                assert not await accounts.end_token(other, token_id(hashed(token)))
                assert await accounts.end_token(name, token_id(hashed(token)))
        again = book()
        again.replay(records)
        for found in (accounts, again):
            for name, tokens in live.items():
                assert [getattr(found.by_token(token), "name", "") for token in tokens] == [name] * len(tokens)
            assert [found.by_token(token) for token in gone] == [None] * len(gone)
        for record in records:
            assert not any(token.encode() in record.body for token in gone)
            msgspec.msgpack.decode(record.body, type=Account)

    asyncio.run(play())
