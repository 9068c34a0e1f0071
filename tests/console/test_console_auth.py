"""Who may do what: the whole matrix of routes and roles, and the ways in."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from console_stage import Running
from hypothesis import given
from hypothesis import strategies as st

from tieline.console.auth.accounts import FREE_TRIES, FREE_TRIES_OF_PEER, LONGEST_WAIT_S, Account, Accounts
from tieline.console.auth.roles import ALLOWED, OWN, Action, Role, may
from tieline.console.routes import ROUTES
from tieline.flow.record import Record
from tieline.node.web import Doors
from tieline.times import SECOND_NS

MATRIX = [(route, role) for route in ROUTES if route.action is not None for role in Role]


@pytest.mark.parametrize(("route", "role"), MATRIX, ids=lambda x: getattr(x, "path", str(x)))
def test_every_route_lets_in_the_roles_of_its_action_and_no_other(running: Running, route, role) -> None:
    """A call with an empty body: 401 and 403 are the gate's; anything else is past it."""
    if route.path.endswith("sign-out"):
        pytest.skip("would end the session that the other rows need")
    path = route.path.format(
        group="feeder-01", feeder="feeder-01", resource="nothing", record="nothing", alarm="nothing", event="nothing",
        account="nothing", waiting="nothing", contract="nothing", token="nothing",
    )  # fmt: skip
    with running.client(role.value) as client:
        answer = client.request(route.method, path)
    allowed = role in ALLOWED[route.action] and (role is not Role.OWNER or route.action in OWN)
    assert (answer.status_code not in (401, 403)) is allowed, answer.text


@pytest.mark.parametrize("route", [r for r in ROUTES if r.action is not None], ids=lambda r: r.path)
def test_nobody_passes_without_signing_in(running: Running, route) -> None:
    with running.client(None) as client:
        assert client.request(route.method, route.path).status_code == 401


def test_every_action_has_a_row_and_every_role_some_use() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(any(role in roles for roles in ALLOWED.values()) for role in Role)


@given(st.sets(st.sampled_from(list(Role))), st.sampled_from(list(Action)))
def test_no_roles_may_nothing_and_more_roles_never_less(roles: set[Role], action: Action) -> None:
    assert not may((), action)
    for role in roles:
        if may((role,), action):
            assert may(roles, action)


def test_an_owner_sees_only_his_own_resources() -> None:
    mine = frozenset({"battery-000001"})
    assert may((Role.OWNER,), Action.SEE_RESOURCE, "battery-000001", mine)
    assert not may((Role.OWNER,), Action.SEE_RESOURCE, "battery-000002", mine)
    assert not may((Role.OWNER,), Action.SEE_GRID, "", mine)


class _Clock:
    now_s = 1_000.0

    def now_ns(self) -> int:
        return int(self.now_s * SECOND_NS)


def _book(kept: list[Record], clock: _Clock) -> Accounts:
    counter = iter(range(10**6))

    async def append(records) -> int:
        kept.extend(records)
        return len(kept)

    return Accounts(append, clock, lambda: clock.now_s, lambda n: next(counter).to_bytes(n, "big"))


def test_a_link_works_once_and_for_a_while() -> None:
    async def play() -> None:
        clock = _Clock()
        book = _book([], clock)
        secret = book.invite("ann", [Role.VIEWER], sets_password=False)
        assert (await book.enrol(secret, "")).name == "ann"  # type: ignore[union-attr]
        assert await book.enrol(secret, "") is None
        late = book.invite("ben", [Role.VIEWER], sets_password=False)
        clock.now_s += 31 * 60
        assert await book.enrol(late, "") is None

    asyncio.run(play())


def test_accounts_survive_a_restart_and_no_secret_is_recorded() -> None:
    async def play() -> None:
        kept: list[Record] = []
        book = _book(kept, _Clock())
        secret = book.invite("ann", [Role.ADMIN])
        assert await book.enrol(secret, "") is None  # this link wants a password
        await book.enrol(secret, "correct horse battery")
        token = await book.make_token("ann")
        again = _book([], _Clock())
        again.replay(kept)
        assert (await again.check("ann", "correct horse battery", "1.2.3.4")).name == "ann"  # type: ignore[union-attr]
        assert again.by_token(token or "").roles == (Role.ADMIN,)  # type: ignore[union-attr]
        recorded = b"".join(record.body for record in kept)
        for hidden in (b"correct horse", (token or "").encode(), secret.encode()):
            assert hidden not in recorded
        assert await again.close("ann")
        assert again.by_token(token or "") is None

    asyncio.run(play())


def test_wrong_passwords_make_the_next_try_wait_longer() -> None:
    async def play() -> None:
        clock = _Clock()
        book = _book([], clock)
        for _ in range(5):
            assert book.waits_s("ann", "9.9.9.9") == 0
            assert await book.check("ann", "wrong", "9.9.9.9") is None
        first_s = book.waits_s("ann", "9.9.9.9")
        assert first_s > 0
        assert book.waits_s("ann", "8.8.8.8") == first_s, "from anywhere"
        clock.now_s += first_s
        await book.check("ann", "wrong", "9.9.9.9")
        assert book.waits_s("ann", "9.9.9.9") > first_s

    asyncio.run(play())


def test_who_forgot_his_password_shuts_out_nobody_else_behind_his_address() -> None:
    async def play() -> None:
        clock = _Clock()
        book = _book([], clock)
        await book.enrol(book.invite("ben", [Role.VIEWER]), "correct horse battery")
        for _ in range(FREE_TRIES + 3):
            await book.check("ann", "wrong", "9.9.9.9")
        assert book.waits_s("ann", "9.9.9.9") > 0
        assert book.waits_s("ben", "9.9.9.9") == 0
        assert (await book.check("ben", "correct horse battery", "9.9.9.9")).name == "ben"  # type: ignore[union-attr]

    asyncio.run(play())


def test_an_address_that_tries_a_hundred_names_waits_and_no_wait_is_longer_than_the_longest() -> None:
    clock = _Clock()
    book = _book([], clock)
    for n in range(FREE_TRIES_OF_PEER):
        assert book.waits_s("nobody", "9.9.9.9") == 0
        book._count(("name", f"name-{n}"))
        book._count(("peer", "9.9.9.9"))
    assert book.waits_s("nobody", "9.9.9.9") > 0
    assert book.waits_s("nobody", "8.8.8.8") == 0
    assert book.waits_s("9.9.9.9", "8.8.8.8") == 0, "a name that looks like an address is a name"
    for _ in range(2_000):
        book._count(("peer", "9.9.9.9"))
    assert book.waits_s("nobody", "9.9.9.9") == LONGEST_WAIT_S


@given(st.integers(0, 72 * 3600))
def test_a_link_makes_one_hand_of_two_people_for_a_day_and_a_token_of_a_machine_for_ever(later_s: int) -> None:
    async def play() -> None:
        kept: list[Record] = []
        clock = _Clock()
        book = _book(kept, clock)
        await book.enrol(book.invite("ann", [Role.VIEWER], sets_password=False, by="root"), "")
        await book.enrol(book.invite("ben", [Role.VIEWER], sets_password=False), "")
        await book.make_machine("robot", [Role.VIEWER])
        await book.make_token("robot", "root")
        again = _book([], clock)
        again.replay(kept)
        clock.now_s += later_s
        for one, other in (("root", "ann"), ("ann", "root")):
            assert again.is_one_hand(one, other) is (later_s < 24 * 3600)
        assert again.is_one_hand("root", "robot")
        assert not again.is_one_hand("ann", "ben")
        assert not again.is_one_hand("root", "ben"), "the server's own link is nobody's"

    asyncio.run(play())


def test_no_machine_signs_in_by_a_link_or_a_password() -> None:
    async def play() -> None:
        book = _book([], _Clock())
        await book.make_machine("robot", [Role.VIEWER])
        assert await book.enrol(book.invite("robot", [Role.VIEWER]), "correct horse battery") is None
        await book.enrol(book.invite("gate", [Role.GATEWAY]), "correct horse battery")
        assert await book.check("gate", "correct horse battery", "1.2.3.4") is None
        await book.enrol(book.invite("ann", [Role.VIEWER]), "correct horse battery")
        with pytest.raises(ValueError, match="ann is a person"):
            await book.make_machine("ann", [Role.VIEWER])

    asyncio.run(play())


def test_cookies_are_for_the_server_alone(running: Running) -> None:
    secret = running.console.accounts.invite("cookie", [Role.VIEWER], sets_password=False)
    with running.client(None) as client:
        header = client.post("/api/v1/enrol", json={"secret": secret}).headers["set-cookie"].lower()
        assert "httponly" in header
        assert "samesite=strict" in header
        assert client.get("/api/v1/me").json()["name"] == "cookie"
        client.post("/api/v1/sign-out")
        assert client.get("/api/v1/me").status_code == 401


def test_who_has_no_password_and_signs_out_finds_a_new_link_in_the_terminal(running: Running) -> None:
    first = running.console.accounts.invite("gone", [Role.VIEWER], sets_password=False)
    with running.client(None) as client:
        client.post("/api/v1/enrol", json={"secret": first})
        before = len(running.says)
        client.post("/api/v1/sign-out")
        (told,) = running.says[before:]
        assert "one-time link for gone: " in told
        says = client.post("/api/v1/enrol", json={"secret": first}).json()["detail"]
        assert "press Enter" in says
        assert "press Enter" in client.get("/api/v1/sign-in/ways").json()["says"]
        again = client.post("/api/v1/enrol", json={"secret": told.partition("#")[2]}).json()
        assert (again["name"], again["roles"]) == ("gone", ["viewer"])


def test_who_has_a_password_signs_out_without_a_new_link(running: Running) -> None:
    secret = running.console.accounts.invite("keeps", [Role.VIEWER])
    with running.client(None) as client:
        client.post("/api/v1/enrol", json={"secret": secret, "password": "a long pass phrase"})
        before = len(running.says)
        client.post("/api/v1/sign-out")
        assert running.says[before:] == []


def test_new_links_of_all_leave_out_whom_an_admin_closed(running: Running) -> None:
    async def play() -> tuple[list[str], list[str]]:
        book, said = _book([], _Clock()), []
        doors = Doors(book, "http://x", {"ann": (Role.VIEWER,), "ben": (Role.VIEWER,)}, False, said.append)
        doors.tell_all()
        both = [line.split()[3] for line in said]
        await book.enrol(said[1].partition("#")[2], "")
        await book.close("ben")
        said.clear()
        doors.tell_all()
        return both, [line.split()[3] for line in said]

    assert asyncio.run(play()) == (["ann:", "ben:"], ["ann:"])


def test_a_token_stands_for_its_account_and_dies_with_it(running: Running) -> None:
    with running.client("admin") as admin, running.client(None) as client:
        made = admin.post("/api/v1/accounts", json={"name": "robot", "roles": ["viewer"], "is_machine": True})
        assert made.status_code == 200, made.text
        token = admin.post("/api/v1/accounts/robot/tokens").json()["secret"]
        headers = {"authorization": f"Bearer {token}"}
        assert client.get("/api/v1/overview", headers=headers).status_code == 200
        assert client.get("/api/v1/audit", headers=headers).status_code == 403
        admin.post("/api/v1/accounts/robot/close")
        assert client.get("/api/v1/overview", headers=headers).status_code == 401


def test_a_sign_in_with_a_wrong_password_is_recorded_without_it(running: Running) -> None:
    with running.client(None) as client, running.client("auditor") as auditor:
        answer = client.post("/api/v1/sign-in", json={"name": "ann", "password": "not-this-one"})
        rows = auditor.get("/api/v1/audit?kind=Audited&count=50").json()["rows"]
    assert answer.status_code == 401
    assert any(row["says"].startswith("ann: sign in: refused") for row in rows)
    assert not any("not-this-one" in row["says"] for row in rows)


def test_an_invitation_of_a_known_name_says_what_its_use_will_change(running: Running) -> None:
    with running.client("admin") as admin, running.client(None) as client:
        ask = {"name": "rita", "roles": ["viewer"]}
        first = admin.post("/api/v1/accounts", json=ask).json()
        assert (first["account"], first["roles_now"]) == ("new", [])
        voided = first["secret"]
        first = admin.post("/api/v1/accounts", json=ask).json()
        assert client.post("/api/v1/enrol", json={"secret": voided, "password": "a long password"}).status_code == 403
        body = {"secret": first["secret"], "password": "a long password"}
        assert client.post("/api/v1/enrol", json=body).status_code == 200
        again = admin.post("/api/v1/accounts", json={**ask, "roles": ["auditor"]}).json()
        assert (again["account"], again["roles_now"], again["roles"]) == ("active", ["viewer"], ["auditor"])
        assert "keep the roles of now until the link is used" in again["says"]
        assert client.get("/api/v1/audit").status_code == 403
        with running.client(None) as other:
            other.post("/api/v1/enrol", json={"secret": again["secret"], "password": "another long password"})
        assert client.get("/api/v1/audit").status_code == 200, "an open session has the new roles at once"
        admin.post("/api/v1/accounts/rita/close")
        closed = admin.post("/api/v1/accounts", json=ask).json()
        assert (closed["account"], closed["roles_now"]) == ("closed", ["auditor"])


def test_a_gateway_may_be_held_to_its_devices(running: Running) -> None:
    mine = running.stage.node.state.fleet.ids[0]
    with running.client("admin") as admin:
        made = admin.post("/api/v1/accounts", json={"name": "head-end", "roles": ["gateway"], "scope": [mine]})
        assert made.status_code == 200, made.text
        wrong = admin.post("/api/v1/accounts", json={"name": "eve", "roles": ["trader"], "scope": [mine]})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "scope")


@pytest.mark.parametrize("name", ["oidc:ann", "OIDC:ann", "oidc:"])
def test_no_local_account_is_named_as_people_of_the_provider_are(running: Running, name: str) -> None:
    with running.client("admin") as admin:
        refused = admin.post("/api/v1/accounts", json={"name": name, "roles": ["viewer"]})
        assert (refused.status_code, refused.json()["field"], refused.json()["value"]) == (422, "name", name)
        assert "oidc:" in refused.json()["limit"]


def test_an_account_from_before_that_is_named_so_is_closed() -> None:
    async def play() -> None:
        kept: list[Record] = []
        book = _book(kept, _Clock())
        await book.enrol(book.invite("ann", [Role.ADMIN]), "correct horse battery")
        token = await book.make_token("ann")
        held = msgspec.msgpack.decode(kept[-1].body, type=Account)
        named = msgspec.msgpack.encode(msgspec.structs.replace(held, name="oidc:ann"))
        again = _book([], _Clock())
        again.replay([Record("account:old", "AccountChanged", "oidc:ann", 0, (), named)])
        assert await again.check("oidc:ann", "correct horse battery", "1.2.3.4") is None
        assert again.by_token(token or "") is None
        assert not again.names()[0].is_active

    asyncio.run(play())


def test_one_limit_of_names_is_said_and_kept_at_the_invitation_and_the_sign_in(running: Running) -> None:
    """At most 128 of them, as of every name that people give."""
    with running.client("admin") as admin, running.client(None) as client:
        for name, fits in (("n" * 128, True), ("n" * 129, False)):
            made = admin.post("/api/v1/accounts", json={"name": name, "roles": ["viewer"]})
            assert (made.status_code == 200) is fits, made.text
            tried = client.post("/api/v1/sign-in", json={"name": name, "password": "not-this-one"})
            assert tried.status_code == (401 if fits else 422)
            for refused in () if fits else (made, tried):
                assert "128" in refused.json()["limit"]
        nobody = admin.post("/api/v1/accounts", json={"name": "nora", "roles": []}).json()
        assert (nobody["field"], nobody["limit"]) == ("roles", "one or more")


def test_an_auditor_sees_who_has_an_account_and_changes_none(running: Running) -> None:
    with running.client("auditor") as auditor, running.client("viewer") as viewer:
        seen = auditor.get("/api/v1/accounts")
        assert seen.status_code == 200, seen.text
        assert "auditor" in {row["name"] for row in seen.json()}
        assert auditor.post("/api/v1/accounts", json={"name": "mole", "roles": ["viewer"]}).status_code == 403
        assert auditor.post("/api/v1/accounts/viewer/close").status_code == 403
        assert viewer.get("/api/v1/accounts").status_code == 403
