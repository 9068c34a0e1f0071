"""Nobody passes the two-person rule alone: not by a token of somebody else, a machine's, or a link that he made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from console_stage import Running, left_over

from tieline.node.web import DESK_ROLES

ADMIN = "rita"
PASSWORD = "a long pass phrase"


@contextmanager
def enrolled(running: Running, name: str, secret: str) -> Iterator[httpx.Client]:
    """Use a one-time link, and give a client that is signed in by it."""
    with running.client(None) as client:
        assert client.post("/api/v1/enrol", json={"secret": secret, "password": PASSWORD}).status_code == 200
        assert client.get("/api/v1/me").json()["name"] == name
        yield client


@pytest.fixture
def admin(running: Running) -> Iterator[httpx.Client]:
    """Somebody with every role of the desk, by a link of the server's."""
    with enrolled(running, ADMIN, running.console.accounts.invite(ADMIN, DESK_ROLES)) as client:
        yield client


def by(running: Running, token: str) -> httpx.Client:
    return httpx.Client(base_url=running.url, headers={"authorization": f"Bearer {token}"}, timeout=60.0)


def submitted(running: Running, client: httpx.Client) -> str:
    group, _ = left_over(running)
    start_ns = running.now_ns + 3_600 * 10**9
    wish = {"program": "One hand", "group": group, "start_ns": start_ns, "end_ns": start_ns + 3_600 * 10**9}
    event = client.post("/api/v1/events", json={**wish, "power_w": 10_000.0})
    assert event.status_code == 200, event.text
    path = f"/api/v1/events/{event.json()['id']}"
    assert client.post(f"{path}/submit").status_code == 200
    return path


def invited(admin: httpx.Client, name: str, **what: object) -> dict[str, Any]:
    answer = admin.post("/api/v1/accounts", json={"name": name, "roles": ["operator", "program_manager"], **what})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def audited(running: Running) -> list[str]:
    with running.client("auditor") as auditor:
        rows = auditor.get("/api/v1/audit?kind=Audited&count=50").json()["rows"]
    return [row["says"] for row in rows]


def is_refused_as_one(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json().get("rule")) == (403, "two people")


def test_no_admin_gets_the_token_of_a_person(running: Running, admin: httpx.Client) -> None:
    with enrolled(running, "anna", invited(admin, "anna")["secret"]):
        refused = admin.post("/api/v1/accounts/anna/tokens")
        assert (refused.status_code, refused.json()["field"]) == (403, "account"), refused.text
        rows = {row["name"]: row["tokens"] for row in admin.get("/api/v1/accounts").json()}
        assert rows["anna"] == 0


def test_a_person_makes_a_token_for_himself_and_it_decides_nothing(running: Running, admin: httpx.Client) -> None:
    with running.client("ben") as ben:
        token = ben.post("/api/v1/me/tokens").json()["secret"]
        path = submitted(running, admin)
        with by(running, token) as program:
            assert program.get("/api/v1/me").json()["name"] == "ben"
            assert is_refused_as_one(program.post(f"{path}/approve"))
            assert is_refused_as_one(program.post(f"{path}/deny"))
            assert program.post("/api/v1/me/tokens").status_code == 403, "a token makes no tokens"
        assert ben.post(f"{path}/approve").json()["approved_by"] == "ben"
        assert ben.post(f"{path}/cancel").status_code == 200


def test_what_is_done_by_token_is_marked_so_in_the_audit(running: Running) -> None:
    with running.client("ann") as ann:
        with by(running, ann.post("/api/v1/me/tokens").json()["secret"]) as program:
            path = submitted(running, program)
        assert ann.post(f"{path}/cancel").status_code == 200
    says = audited(running)
    assert any("submit_event" in row and "via=token" in row for row in says), says[:5]
    assert not any("cancel_event" in row and "via=token" in row for row in says[:1])


def test_a_machine_has_no_link_and_no_password_and_its_token_is_made_by_an_admin(
    running: Running, admin: httpx.Client
) -> None:
    made = invited(admin, "planner-1", is_machine=True)
    assert (made["secret"], made["account"]) == ("", "active")
    with by(running, admin.post("/api/v1/accounts/planner-1/tokens").json()["secret"]) as machine:
        assert machine.get("/api/v1/me").json()["name"] == "planner-1"
        path = submitted(running, machine)
        assert is_refused_as_one(admin.post(f"{path}/approve")), "who made its token could have composed it"
        with running.client("ben") as ben:
            assert ben.post(f"{path}/approve").json()["state"] == "Scheduled"
            assert ben.post(f"{path}/cancel").status_code == 200
        theirs = submitted(running, admin)
        assert is_refused_as_one(machine.post(f"{theirs}/approve"))
        assert admin.post(f"{theirs}/cancel").status_code == 200
    with running.client(None) as client:
        assert client.post("/api/v1/sign-in", json={"name": "planner-1", "password": PASSWORD}).status_code == 401
    rows = {row["name"]: row for row in admin.get("/api/v1/accounts").json()}
    assert (rows["planner-1"]["is_machine"], rows["ben"]["is_machine"]) == (True, False)


def test_a_name_is_a_machines_or_a_persons_for_ever(running: Running, admin: httpx.Client) -> None:
    invited(admin, "planner-2", is_machine=True)
    with enrolled(running, "paula", invited(admin, "paula")["secret"]):
        for name, is_machine in (("planner-2", False), ("paula", True)):
            body = {"name": name, "roles": ["operator"], "is_machine": is_machine}
            refused = admin.post("/api/v1/accounts", json=body)
            assert (refused.status_code, refused.json()["field"]) == (409, "name"), refused.text
    as_gateway = admin.post("/api/v1/accounts", json={"name": "paula", "roles": ["gateway"]})
    assert as_gateway.status_code == 409, "a gateway is a machine too"
    late = invited(admin, "planner-3")["secret"]
    invited(admin, "planner-3", is_machine=True)
    with running.client(None) as client:
        assert client.post("/api/v1/enrol", json={"secret": late, "password": PASSWORD}).status_code == 403
    as_admin = {"name": "planner-4", "roles": ["admin"], "is_machine": True}
    assert admin.post("/api/v1/accounts", json=as_admin).status_code == 422, "it would let people in, in its own name"


def test_who_made_somebodys_link_is_no_second_person_to_him_for_a_day(running: Running, admin: httpx.Client) -> None:
    with enrolled(running, "zoe", invited(admin, "zoe")["secret"]) as zoe:
        path = submitted(running, admin)
        refused = zoe.post(f"{path}/approve")
        assert is_refused_as_one(refused)
        assert ADMIN in refused.json()["detail"]
        theirs = submitted(running, zoe)
        assert is_refused_as_one(admin.post(f"{theirs}/approve"))
        with running.client("ben") as ben:
            assert ben.post(f"{path}/approve").status_code == 200
            waits = admin.post(f"{path}/extend", json={"minutes": 5}).json()
            confirm = f"/api/v1/waiting/{waits['id']}/confirm"
            assert is_refused_as_one(zoe.post(confirm, json={"payload": waits["payload"]}))
            assert ben.post(confirm, json={"payload": waits["payload"]}).status_code == 200
        for one in (path, theirs):
            assert admin.post(f"{one}/cancel").status_code == 200


def test_a_new_link_of_an_open_account_is_told_to_its_holder_and_in_the_audit(
    running: Running, admin: httpx.Client
) -> None:
    secret = running.console.accounts.invite("hanna", DESK_ROLES)
    with enrolled(running, "hanna", secret) as hanna:
        assert hanna.get("/api/v1/me").json()["says"] == ""
        link = invited(admin, "hanna")["secret"]
        assert re.search(f"{ADMIN} made a new one-time link", hanna.get("/api/v1/me").json()["says"])
        with enrolled(running, "hanna", link) as other:
            assert re.search(f"link of {ADMIN} was used", hanna.get("/api/v1/me").json()["says"])
            path = submitted(running, admin)
            assert is_refused_as_one(other.post(f"{path}/approve"))
            assert admin.post(f"{path}/cancel").status_code == 200
    says = audited(running)
    assert any(row.startswith("hanna: enrol") and f"link_by={ADMIN}" in row for row in says), says[:10]
    assert any(row.startswith(f"{ADMIN}: ") and "name=hanna" in row for row in says), says[:10]
