"""Dangerous acts need two people; strangers neither guess quickly nor fill the journal; owners see what is theirs."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import httpx
import pytest
from console_stage import Running
from hypothesis import given
from hypothesis import strategies as st

from tieline.console.auth.accounts import FREE_TRIES
from tieline.console.auth.roles import Action
from tieline.console.auth.second import LASTS_S, MOST_ENDED, MOST_WAITING, Became, Held, SecondPerson, Waiting
from tieline.console.routes import ROUTES, Pressed
from tieline.desk.people import BY_SIZE, TwoPeople
from tieline.resource.claim import Refusal

KILL = next(route for route in ROUTES if route.action is Action.KILL)
ASKED = Pressed(False, "the fault is cleared")


class _Time:
    now_s = 100.0


def _book(time: _Time) -> SecondPerson:
    names = iter(range(10**6))
    return SecondPerson(lambda: time.now_s, lambda: f"act-{next(names)}")


def _asked(book: SecondPerson, asked: Pressed = ASKED) -> Waiting:
    waits = book.ask(KILL, {}, "", asked, "ann", "one", "why")
    assert isinstance(waits, Waiting)
    return waits


@given(st.sampled_from(["ann", "ben"]), st.sampled_from(["one", "two"]), st.booleans(), st.sampled_from([0.0, LASTS_S]))
def test_only_another_person_in_another_session_in_time_confirms_exactly_what_was_asked(by, session, is_same, later_s):
    time = _Time()
    book = _book(time)
    waits = _asked(book)
    time.now_s += later_s
    taken = book.take(waits.id, waits.payload if is_same else "0" * 64, by, session)
    assert isinstance(taken, Held) is (by == "ben" and session == "two" and is_same and later_s == 0.0)
    if isinstance(taken, Held):
        assert taken.body == ASKED
        assert isinstance(book.take(waits.id, waits.payload, by, session), Refusal)  # once


@pytest.mark.parametrize(("passed_s", "minutes"), [(0.0, 10), (0.5, 10), (60.0, 9), (61.0, 9), (599.5, 1)])
def test_a_waiting_act_says_the_minutes_that_it_has_left_and_never_more_than_the_rule(passed_s: float, minutes: int):
    time = _Time()
    time.now_s = 1964.2955866018053  # 600 s on in floats is a little more than 600 s away
    book = _book(time)
    asked = _asked(book)
    assert asked.left_minutes == 10
    time.now_s += passed_s
    (waits,) = book.waiting()
    assert waits.left_minutes == minutes


def test_acts_that_wait_are_bounded_and_end_by_themselves() -> None:
    time = _Time()
    book = _book(time)
    for n in range(MOST_WAITING):
        _asked(book, Pressed(False, f"fault {n} is cleared"))
    assert isinstance(book.ask(KILL, {}, "", ASKED, "ann", "one", "why"), Refusal)
    time.now_s += LASTS_S
    assert book.waiting() == []
    _asked(book)


@given(st.sampled_from([("ann", "one"), ("ben", "two")]), st.sampled_from(["taken", "dropped", "over"]))
def test_what_waits_already_is_not_kept_again_and_may_be_asked_anew_once_it_is_decided(who, how) -> None:
    """Each of two that wait would be done by itself: an event made longer by each would last twice as much longer."""
    time = _Time()
    book = _book(time)
    waits = _asked(book)
    again = book.ask(KILL, {}, "", ASKED, *who, "why")
    assert isinstance(again, Refusal)
    assert (again.field, again.value) == ("waiting", waits.id) and "asked by ann" in again.reason
    route = next(route for route in ROUTES if route.path.endswith("/confirm"))
    assert f"{route.method} {route.path.replace('{waiting}', waits.id)} with its payload" in again.reason
    assert [one.id for one in book.waiting()] == [waits.id]
    assert isinstance(book.ask(KILL, {}, "", Pressed(False, "another reason"), *who, "why"), Waiting)
    if how == "taken":
        assert isinstance(book.take(waits.id, waits.payload, "ben", "two"), Held)
    elif how == "dropped":
        assert book.drop(waits.id, "ben")
    else:
        time.now_s += LASTS_S
    assert isinstance(book.ask(KILL, {}, "", ASKED, *who, "why"), Waiting)


def test_what_became_of_an_act_that_waited_is_known_for_a_while() -> None:
    time = _Time()
    book = _book(time)
    one, two, late, void = (_asked(book, Pressed(False, f"fault {n} is cleared")) for n in range(4))
    assert book.became(one.id) == Became("waiting")
    book.take(one.id, one.payload, "ben", "two")
    assert book.became(one.id) == Became("waiting"), "taken, and not done yet"
    book.decided(one.id, "ben")
    book.take(two.id, two.payload, "ben", "two")
    book.decided(two.id, "ben", "the desk says no")
    assert book.drop(void.id, "ben") and not book.drop(void.id, "ben")
    time.now_s += LASTS_S
    assert [book.became(w.id) for w in (one, two, void, late)] == [
        Became("confirmed", "ben"), Became("failed", "ben", "the desk says no"), Became("refused", "ben"),
        Became("over", says="nobody confirmed it in time"),
    ]  # fmt: skip
    assert book.became("act-never") is None
    for _ in range(MOST_ENDED):
        book.drop(_asked(book).id, "ann")
    assert book.became(one.id) is None, "the list has an end"


def test_who_asked_is_told_what_another_decided(running: Running) -> None:
    with running.client("ann") as ann, running.client("ben") as ben:
        assert ann.get("/api/v1/waiting/nobody-asked").status_code == 404
        ann.post("/api/v1/kill", json={"pressed": True, "because": "drill"}).raise_for_status()
        waits = ann.post("/api/v1/kill", json={"pressed": False, "because": "the drill is over"}).json()
        told = f"/api/v1/waiting/{waits['id']}"
        assert ann.get(told).json()["state"] == "waiting"
        ben.post(f"{told}/confirm", json={"payload": waits["payload"]}).raise_for_status()
        assert ann.get(told).json() == {"state": "confirmed", "by": "ben", "says": ""}


@pytest.mark.parametrize(
    ("devices", "fleet", "two"),
    [
        (999, 10**6, False),
        (1_000, 10**6, True),
        (250, 2_501, False),
        (250, 2_500, True),
        (249, 249, False),
        (1, 1, False),
    ],
)
def test_a_large_group_or_share_of_the_fleet_needs_two(devices: int, fleet: int, two: bool) -> None:
    assert bool(BY_SIZE.why(devices, fleet)) is two


def test_the_kill_switch_is_pressed_by_one_and_released_by_two_with_reasons_in_the_audit(running: Running) -> None:
    with running.client("ann") as ann, running.client("ben") as ben:
        assert ann.post("/api/v1/kill", json={"pressed": True, "because": " "}).status_code == 422
        assert ann.post("/api/v1/kill", json={"pressed": True, "because": "smoke at feeder 1"}).status_code == 200
        assert ann.get("/api/v1/shell").json()["is_killed"] is True
        asked = ann.post("/api/v1/kill", json={"pressed": False, "because": "all clear"})
        assert asked.status_code == 202
        waits = asked.json()
        assert waits["done"] is False
        path, body = f"/api/v1/waiting/{waits['id']}/confirm", {"payload": waits["payload"]}
        assert ann.post(path, json=body).status_code == 403
        assert ben.post(path, json={"payload": "0" * 64}).status_code == 403
        assert ann.get("/api/v1/shell").json()["is_killed"] is True
        assert [w["id"] for w in ben.get("/api/v1/waiting").json()] == [waits["id"]]
        assert ben.post(path, json=body).json()["done"] is True
        assert ben.post(path, json=body).status_code == 404
        assert ann.get("/api/v1/shell").json()["is_killed"] is False
        said = " ".join(row["says"] for row in ann.get("/api/v1/audit?count=40").json()["rows"])
    records = list(running.stage.node.journal.of_kind("Audited"))
    assert any(b"smoke at feeder 1" in record.body for record in records)
    assert "ann with ben" in said


def test_a_mode_that_is_none_is_refused_by_its_name_with_the_words_that_are(running: Running) -> None:
    with running.client("ann") as ann:
        refused = ann.post("/api/v1/feeders/feeder-02/mode", json={"mode": "Off", "because": "x"})
    told = refused.json()
    assert (refused.status_code, told["field"], told["value"]) == (422, "mode", "Off")
    assert told["limit"] == "Disabled, Manual, Automatic"


def test_the_mode_of_a_large_feeder_waits_for_a_second_person_and_what_would_be_refused_waits_for_nobody(
    running: Running,
) -> None:
    state, path = running.stage.node.state, "/api/v1/feeders/feeder-02/mode"
    before, state.two_people = state.two_people, TwoPeople(devices=10)
    try:
        with running.client("ann") as ann, running.client("ben") as ben:

            def mode() -> str:
                return ann.get("/api/v1/feeders/feeder-02").json()["mode"]

            for odd, status in (({"mode": "Off", "because": "x"}, 422), ({"mode": "Disabled", "because": " "}, 409)):
                refused = ann.post(path, json=odd)
                assert refused.status_code == status
            assert ann.post(path, json={"mode": "Automatic", "because": "is so"}).status_code == 200
            assert ann.post("/api/v1/feeders/none/mode", json={"mode": "Manual", "because": "x"}).status_code == 404
            for asked in ("Disabled", "Automatic"):
                waits = ann.post(path, json={"mode": asked, "because": "works"})
                assert (waits.status_code, waits.json()["action"]) == (202, "set_mode")
                assert mode() != asked
                confirm, body = f"/api/v1/waiting/{waits.json()['id']}/confirm", {"payload": waits.json()["payload"]}
                assert ann.post(confirm, json=body).status_code == 403
                assert ben.post(confirm, json=body).json()["done"] is True
                assert mode() == asked
    finally:
        state.two_people = before


def test_a_kill_switch_that_is_not_pressed_is_released_by_nobody_and_that_is_said_at_once(running: Running) -> None:
    with running.client("ann") as ann:
        assert ann.get("/api/v1/shell").json()["is_killed"] is False
        answer = ann.post("/api/v1/kill", json={"pressed": False, "because": "all clear"})
        assert (answer.status_code, answer.json()["done"]) == (200, False)
        assert answer.json()["says"] == "the kill switch is not pressed: nothing is released"
        assert ann.get("/api/v1/waiting").json() == []


def test_a_release_that_was_asked_of_one_press_releases_no_later_one(running: Running) -> None:
    with running.client("ann") as ann, running.client("ben") as ben:

        def asked(pressed: bool, because: str) -> dict[str, Any]:
            return ann.post("/api/v1/kill", json={"pressed": pressed, "because": because}).json()

        def confirmed(waits: dict[str, Any]) -> int:
            return ben.post(f"/api/v1/waiting/{waits['id']}/confirm", json={"payload": waits["payload"]}).status_code

        asked(True, "smoke at feeder 1")
        first, left = asked(False, "all clear"), asked(False, "all clear, again")
        assert confirmed(first) == 200
        assert ben.get("/api/v1/waiting").json() == []
        asked(True, "another emergency")
        assert confirmed(left) == 404
        assert ann.get("/api/v1/shell").json()["is_killed"] is True
        for resource in ("battery-000001", "feeder-01"):
            told = ann.get(f"/api/v1/resources/{resource}/why").json()["told"]["kill_switch"]
            assert told["by"] == "ann"
            assert told["since"] > "2022"
        assert confirmed(asked(False, "over")) == 200
        assert ann.get("/api/v1/resources/battery-000001/why").json()["told"]["kill_switch"] is None


def test_what_waits_can_be_dropped_and_then_never_happens(running: Running) -> None:
    with running.client("ann") as ann, running.client("ben") as ben:
        assert ann.post("/api/v1/kill", json={"pressed": True, "because": "a drill"}).json()["done"] is True
        waits = ann.post("/api/v1/kill", json={"pressed": False, "because": "mistake"}).json()
        assert ben.post(f"/api/v1/waiting/{waits['id']}/drop").json()["done"] is True
        body = {"payload": waits["payload"]}
        assert ben.post(f"/api/v1/waiting/{waits['id']}/confirm", json=body).status_code == 404
        assert ann.get("/api/v1/shell").json()["is_killed"] is True
        waits = ann.post("/api/v1/kill", json={"pressed": False, "because": "the drill is over"}).json()
        confirm = f"/api/v1/waiting/{waits['id']}/confirm"
        assert ben.post(confirm, json={"payload": waits["payload"]}).json()["done"] is True
        assert ann.get("/api/v1/shell").json()["is_killed"] is False


def test_many_guesses_at_once_are_held_back_like_guesses_in_turn(running: Running) -> None:
    """Sixty wrong passwords in parallel: as many are looked at as are free, and the journal grows by few records."""

    async def burst() -> Counter[int]:
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            guess = [
                client.post("/api/v1/sign-in", json={"name": "victim", "password": f"guess {n}"}) for n in range(60)
            ]
            return Counter(answer.status_code for answer in await asyncio.gather(*guess))

    before = running.stage.node.journal.last_seq
    statuses = asyncio.run(burst())
    assert statuses[401] <= FREE_TRIES + 1
    assert statuses[401] + statuses[429] == 60
    assert running.stage.node.journal.last_seq - before < 60


def test_who_must_wait_for_less_than_a_second_is_told_a_second_and_never_none(running: Running) -> None:
    accounts = running.console.accounts
    real, accounts._monotonic_s = accounts._monotonic_s, lambda: 1_000.0
    accounts._failures["name", "hasty"] = (FREE_TRIES, 999.3)  # the first wait is a second
    try:
        with running.client(None) as client:
            answer = client.post("/api/v1/sign-in", json={"name": "hasty", "password": "another guess"})
    finally:
        accounts._monotonic_s = real
        del accounts._failures["name", "hasty"]
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["detail"] == "too many wrong tries: wait 1 s"


@pytest.mark.parametrize("path", ["/%00", "/" + "a" * 3_000, "/..%2f..%2fpyproject.toml", "/assets/%2e%2e/index.html"])
def test_an_odd_path_is_never_our_fault(running: Running, path: str) -> None:
    with running.client(None) as client:
        answer = client.get(path)
    assert answer.status_code in (200, 404)
    assert "tieline" not in answer.text.lower() or "<!doctype html>" in answer.text.lower()


def test_an_owner_is_let_in_for_his_own_resources(running: Running) -> None:
    mine, other = running.stage.node.state.fleet.ids[:2]
    wrong = (("owner", []), ("viewer", [mine]), ("owner", ["feeder-01"]), ("owner", ["nothing"]))
    with running.client("ann") as admin:
        for role, scope in wrong:
            answer = admin.post("/api/v1/accounts", json={"name": "olga", "roles": [role], "scope": scope})
            assert (answer.status_code, answer.json()["field"]) == (422, "scope")
        made = admin.post("/api/v1/accounts", json={"name": "olga", "roles": ["owner"], "scope": [mine]})
    with running.client(None) as client:
        entered = client.post("/api/v1/enrol", json={"secret": made.json()["secret"], "password": "a long password"})
        cookie = re.search(r"tieline_session=([^;]+)", entered.headers["set-cookie"])[1]  # type: ignore[index]
    with httpx.Client(base_url=running.url, cookies={"tieline_session": cookie}, timeout=60.0) as olga:
        who = olga.get("/api/v1/me").json()
        assert who["scope"] == [mine]
        assert who["zone"]
        assert olga.get(f"/api/v1/resources/{mine}").status_code == 200
        assert olga.get(f"/api/v1/resources/{other}").status_code == 403
        assert olga.post(f"/api/v1/resources/{other}/opt-out").status_code == 403
        assert olga.post(f"/api/v1/resources/{mine}/opt-out").status_code == 200
        assert olga.get(f"/api/v1/resources/{mine}").json()["market"]["opted_out"] is True
        assert olga.post(f"/api/v1/resources/{mine}/opt-in").status_code == 200
