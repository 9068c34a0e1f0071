"""The API over a desk that lives: every view answers, acts are recorded, errors name what is wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from console_stage import Running, left_over

from tieline.console.routes import ROUTES
from tieline.desk.facts import KINDS
from tieline.desk.people import TwoPeople
from tieline.node import read_audit
from tieline.times import iso

READS = [route for route in ROUTES if route.method == "GET"]


def _filled(running: Running, path: str) -> str:
    state = running.stage.node.state
    found = {
        "group": "feeder-01", "feeder": "feeder-01", "resource": state.fleet.ids[0], "alarm": "alarm:none",
        "record": running.stage.node.journal.of_kind("AwardTaken").__next__().id, "event": "event:none",
        "account": "ann",
    }  # fmt: skip
    return path.format(**found, waiting=_taken_back(running) if "{waiting}" in path else "")


def _taken_back(running: Running) -> str:
    """The id of an act that waited for a second person, and was taken back."""
    state = running.stage.node.state
    before, state.two_people = state.two_people, TwoPeople(devices=2)
    wish = {"low_w": -9e5, "high_w": 9e5, "minutes": 5, "because": "to be taken back"}
    try:
        with running.client("ann") as ann:
            waits = ann.post("/api/v1/resources/feeder-01/limit", json=wish).json()["id"]
            assert ann.post(f"/api/v1/waiting/{waits}/drop").json()["done"] is True
    finally:
        state.two_people = before
    return str(waits)


@pytest.mark.parametrize("route", READS, ids=lambda route: route.path)
def test_every_view_answers_with_what_the_description_says(running: Running, route) -> None:
    """The keys of each answer are those of its schema: the document can't drift from the code."""
    with running.client("ann") as client:
        params = {"text": "bat"} if route.path.endswith("/search") else {}
        answer = client.get(_filled(running, route.path), params=params)
        document = client.get("/api/v1/openapi.json").json()
    assert answer.status_code == 200, answer.text
    schema = document["paths"][route.path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    body = answer.json()
    if schema.get("type") == "array":
        schema, body = schema["items"], (body or [{}])[0]
    name = schema["$ref"].rpartition("/")[2]
    if body:
        assert set(body) == set(document["components"]["schemas"][name]["properties"])


def test_the_document_is_openapi_3_1_and_names_every_route(running: Running) -> None:
    with running.client(None) as client:
        document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {(m.upper(), p) for p, ops in document["paths"].items() for m in ops} == {(r.method, r.path) for r in ROUTES}


def test_instructed_and_delivered_are_those_of_the_desk(running: Running) -> None:
    """16:42 of the story's day: awards hold, and the share of the pool's rows is what the desk commands."""
    with running.client("ann") as client:
        view = client.get("/api/v1/overview").json()
    awards = running.stage.node.state.awards.values()
    assert view["instructed_w"] > 0
    assert view["instructed_w"] <= max(a.power_w for a in awards) + 1
    assert len(view["commitments"]) == sum(1 for a in awards if a.end_ns > view["now_ns"])
    assert view["devices"] == 200
    assert sum(count for who, count in view["controls"].items() if not who.startswith("limited")) == 200


def _called(running: Running) -> tuple[int, int]:
    """Return a device of the first feeder that somebody names the power of, and when (ns): between two calls none is."""
    state = running.stage.node.state
    for _ in range(300):
        now_ns = running.now_ns
        settled = state.claims.arbitrate(now_ns, state.fleet.leaves("feeder-01"))
        if (settled.winner >= 0).any():
            return int(settled.rows[settled.winner >= 0][0]), now_ns
        time.sleep(0.2)
    raise AssertionError("nobody was called for a minute")


def test_a_resource_is_shown_in_two_views_at_one_revision_with_its_winner(running: Running) -> None:
    state = running.stage.node.state
    row, now_ns = _called(running)
    told = state.claims.explain(row, now_ns)
    with running.client("ann") as client:
        view = client.get(f"/api/v1/resources/{state.fleet.ids[row]}").json()
        why = client.get(f"/api/v1/resources/{state.fleet.ids[row]}/why").json()
    assert view["winner"]["id"] == told.setpoint.by
    assert view["scada"]["low_w"] == pytest.approx(told.setpoint.bounds.low_w)
    assert {claim["outcome"] for claim in view["claims"]} >= {"wins"}
    assert {group["purpose"] for group in view["ancestors"]} >= {"electrical", "site", "pool"}
    assert view["command"]["reached"][0] is True
    assert "AwardTaken" in {node["kind"] for node in why["nodes"]}


def _wish(running: Running, **changes: object) -> dict[str, object]:
    now_ns = running.now_ns
    return {
        "program": "Peak relief", "group": "feeder-01", "start_ns": now_ns + 60_000_000_000,
        "end_ns": now_ns + 3_660_000_000_000, "power_w": 20_000.0, **changes,
    }  # fmt: skip


def test_an_event_needs_a_second_person_and_cancel_gives_back(running: Running) -> None:
    """Composed by ann; ann may not approve it; ben may; cancel ends it. Each step is in the journal."""
    group, _ = left_over(running)
    with running.client("ann") as ann, running.client("ben") as ben:
        preview = ann.post("/api/v1/events/preview", json=_wish(running, group=group)).json()
        event = ann.post("/api/v1/events", json=_wish(running, group=group)).json()
        path = f"/api/v1/events/{event['id']}"
        assert ann.post(f"{path}/submit").json()["state"] == "Submitted"
        refused = ann.post(f"{path}/approve")
        assert (refused.status_code, refused.json()["rule"]) == (403, "two people")
        assert ben.post(f"{path}/approve").json()["state"] == "Scheduled"
        assert ann.post(f"{path}/cancel").json()["state"] == "Canceled"
        assert ben.post(f"{path}/approve").status_code == 409
    assert preview["devices"] > 0
    assert 0 < preview["expected_w"] <= 20_000.5
    steps = [r for r in running.stage.node.journal.of_kind("EventChanged") if event["id"].encode() in r.body]
    assert len(steps) == 5  # New, Submitted, Approved, Scheduled, Canceled


def test_an_event_that_was_to_start_an_hour_ago_is_refused_by_field_value_and_limit(running: Running) -> None:
    late_ns = running.now_ns - 3_600_000_000_000
    with running.client("ann") as ann:
        for path in ("/api/v1/events/preview", "/api/v1/events"):
            answer = ann.post(path, json=_wish(running, start_ns=late_ns))
            said = answer.json()
            assert (answer.status_code, said["field"], said["value"][:16]) == (409, "start_ns", iso(late_ns)[:16])
            assert said["limit"].endswith(" or later") and "lies in the past" in str(said)


def test_an_event_that_starts_now_becomes_claims_and_cancel_ends_them(running: Running) -> None:
    now_ns, (group, _) = running.now_ns, left_over(running)
    with running.client("ann") as ann, running.client("ben") as ben:
        event = ann.post("/api/v1/events", json=_wish(running, group=group, start_ns=now_ns - 1_000_000_000)).json()
        path = f"/api/v1/events/{event['id']}"
        ann.post(f"{path}/submit")
        ben.post(f"{path}/approve")
        states = {e["id"]: e["state"] for e in ann.get("/api/v1/events").json()}
        assert states[event["id"]] == "In Progress"
        held = [b for b, alive in running.stage.node.state.claims.batches() if b.program == event["id"] and alive.any()]
        assert len(held) == 1
        assert held[0].level == 8
        assert ann.post(f"{path}/cancel").json()["state"] == "Canceled"
        assert not [b for b, alive in running.stage.node.state.claims.batches() if b.program == event["id"]]


def test_a_limit_is_a_lease_that_can_be_released(running: Running) -> None:
    """While it holds it is among the claims and bounds the setpoint; after it only what others hold remains."""
    name = running.stage.node.state.fleet.ids[-1]
    body = {"low_w": -1_000_000.0, "high_w": 500.0, "minutes": 10, "because": "work on the line"}

    def ours(view: dict) -> list[dict]:
        return [claim for claim in view["claims"] if claim["source"] == "console"]

    with running.client("ann") as client:
        assert client.post(f"/api/v1/resources/{name}/limit", json=body).json()["done"] is True
        view = client.get(f"/api/v1/resources/{name}").json()
        assert [claim["high_w"] for claim in ours(view)] == [500.0]
        assert view["scada"]["high_w"] <= 500.0
        assert client.post(f"/api/v1/resources/{name}/release").json()["done"] is True
        after = client.get(f"/api/v1/resources/{name}").json()
        assert client.post(f"/api/v1/resources/{name}/release").json()["done"] is False
    # Others' limits, and the device's own: one that just stopped is held where it is by its timer (R12).
    others = [bound["high_w"] for bound in after["limits"] if bound["high_w"] is not None]
    assert ours(after) == [] and not any(
        bound["holder"] in {claim["id"] for claim in ours(view)} for bound in after["limits"]
    )
    assert after["scada"]["high_w"] == pytest.approx(min([after["max_inject_w"], *others]))


def test_every_answer_carries_the_security_headers(running: Running) -> None:
    with running.client(None) as client:
        for path in ("/", "/api/v1/me", "/healthz", "/nothing.js"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"


def test_another_sites_request_is_refused(running: Running) -> None:
    with running.client("ann") as client:
        answer = client.post("/api/v1/events", json=_wish(running), headers={"origin": "http://evil.example"})
    assert answer.status_code == 403


def test_metrics_are_of_links_and_pool_never_of_devices(running: Running) -> None:
    with running.client("ann") as client:
        text = client.get("/metrics").text
    assert "tieline_devices 200.0" in text
    assert running.stage.node.state.fleet.ids[0] not in text
    with running.client(None) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").json()["ok"] is True


def test_what_people_do_is_in_the_journal_and_out_and_in_are_told_apart(running: Running) -> None:
    name = running.stage.node.state.fleet.ids[3]
    with running.client("ann") as client:
        client.post(f"/api/v1/resources/{name}/opt-out")
        client.post(f"/api/v1/resources/{name}/opt-in")
        rows = client.get("/api/v1/audit?count=50").json()["rows"]
    mine = [(row["kind"], row["says"]) for row in reversed(rows) if row["subject"] == name]
    acts = [says for kind, says in mine if kind == "Audited"]
    assert acts[-2:] == ["ann: opt_out: done", "ann: opt_in: done"]
    granted = next(says for kind, says in mine if kind == "AskGranted")
    assert granted == f"owner:{name} granted opt-out: owner need (the owner opted out (ann))"
    (back,) = [says for kind, says in mine if kind == "AskWithdrawn"]
    assert back == f"owner:{name} is back in: the owner opted in (ann)"


def test_the_audit_shows_acts_and_counts_renewals_and_no_record_is_left_out(running: Running) -> None:
    """Every page of acts together stands for each record once: those that it shows, and those that it counts."""
    with running.client("ann") as client:
        seen, before, acts = 0, 0, []
        last_seq = client.get("/api/v1/audit?count=1").json()["last_seq"]
        while True:
            view = client.get(f"/api/v1/audit?count=60&before={before or last_seq + 1}").json()
            rows = view["rows"]
            assert [row["seq"] for row in rows] == sorted((row["seq"] for row in rows), reverse=True)
            assert all(row["first_seq"] <= row["seq"] - row["count"] + 1 for row in rows if row["count"] > 1)
            renewed = [
                (row["kind"], row["says"]) for row in rows if row["kind"] in ("ClaimsPlaced", "CommandsReported")
            ]
            assert len(renewed) <= 2, "a page counts a kind of renewal in one line"
            seen += sum(row["count"] for row in rows)
            acts += [row["kind"] for row in rows if row["count"] == 1]
            before = view["next_before"]
            if not before:
                break
        assert seen == last_seq
        assert {"AwardTaken", "BatchTaken", "OfferMade", "AskGranted"} <= set(acts)
        each = client.get("/api/v1/audit?count=60&all=1").json()["rows"]
        assert [row["seq"] for row in each] == list(range(last_seq, last_seq - 60, -1))
        placed = client.get("/api/v1/audit?count=20&kind=ClaimsPlaced").json()["rows"]
        assert [(row["kind"], row["count"]) for row in placed] == [("ClaimsPlaced", 1)] * 20


def test_no_two_acts_have_one_name_in_the_audit() -> None:
    acts = [route.audited_as for route in ROUTES if route.method != "GET" and route.action and not route.is_raw]
    assert sorted(acts) == sorted(set(acts))


def test_the_chain_is_checked_from_the_audit(running: Running) -> None:
    with running.client("ann") as client:
        view = client.get("/api/v1/audit?check=1&count=1").json()
    assert (view["checked"], view["bad_seq"]) == (True, None)


def test_why_answers_for_limits_alone_with_what_led_to_each(running: Running) -> None:
    """Two limits and no target: both are in force, so both are in the answer, as the command line says it."""
    state = running.stage.node.state
    row = next(
        row for row, name in enumerate(state.fleet.ids)
        if name.startswith("battery") and state.claims.explain(row, running.now_ns).setpoint.by is None
    )  # fmt: skip
    device, most_w = state.fleet.id_of(row), float(state.fleet.max_inject_w[row])
    with running.client("ann") as client:
        asked = {"low_w": -most_w, "high_w": most_w / 2, "minutes": 30, "because": "a test of limits"}
        one = client.post(f"/api/v1/resources/{device}/limit", json=asked).json()["claim"]
        other = client.post(f"/api/v1/resources/{device}/owner-limit", json={"low_w": 0.0, "high_w": most_w}).json()
        try:
            found = client.get(f"/api/v1/resources/{device}/why").json()
        finally:
            client.post(f"/api/v1/resources/{device}/owner-release")
            client.post(f"/api/v1/resources/{device}/release")
    ids = {node["id"] for node in found["nodes"]}
    assert {one, other["claim"]} <= ids
    assert {"AskGranted", "ClaimsPlaced"} <= {node["kind"] for node in found["nodes"]}
    assert all(cause in ids and effect in ids for cause, effect in found["edges"])


def test_a_check_of_the_whole_chain_runs_beside_the_loop(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check waits in its thread until the loop has answered something else: on the loop it would wait for ever."""
    answered = threading.Event()
    verify = read_audit.bad_seq

    def slow(journal) -> int | None:
        assert answered.wait(20.0)
        return verify(journal)

    monkeypatch.setattr(read_audit, "bad_seq", slow)
    with running.client("ann") as client, ThreadPoolExecutor(1) as pool:
        waits = pool.submit(client.get, "/api/v1/audit?count=1&check=1")
        with running.client("ben") as other:
            assert other.get("/api/v1/shell").status_code == 200
        answered.set()
        view = waits.result(30).json()
    assert (view["checked"], view["bad_seq"]) == (True, None)


def test_every_kind_of_record_can_be_asked_for(running: Running) -> None:
    """A kind that the journal holds and the list lacks could be neither exported nor filtered."""
    held = {record.kind for record in running.stage.node.journal.replay()}
    assert {"AccountChanged", "OpenAdrObject"} <= held <= set(KINDS)
