"""What the API refuses, and how: the field, the value and the limit are named, and nothing is taken."""

from __future__ import annotations

import json

import pytest
from console_stage import Running


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/events/preview", {"program": "x"}, 422, "group"),
        ("/events/preview", {"program": "x", "group": "feeder-01", "start_ns": "now"}, 422, "start_ns"),
        ("/events", {"surprise": 1}, 422, "surprise"),
        ("/resources/nothing/limit", {"low_w": 0, "high_w": 1, "minutes": 5, "because": "b"}, 404, "resource"),
        ("/resources/feeder-01/limit", {"low_w": 0, "high_w": 1, "minutes": 5, "because": "b" * 401}, 422, "because"),
        ("/resources/feeder-01/limit", {"low_w": 0, "high_w": 1e13, "minutes": 5, "because": "b"}, 409, "low, high"),
        ("/resources/feeder-01/limit", {"low_w": 2, "high_w": 1, "minutes": 5, "because": "b"}, 409, "low_w, high_w"),
        ("/resources/feeder-01/limit", {"low_w": 0, "high_w": 1, "minutes": 0, "because": "b"}, 409, "minutes"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_field(running: Running, path, body, status, field) -> None:
    with running.client("ann") as client:
        answer = client.post(f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("field", "") == field


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"power_w": None}, "power_w: give a finite number, not null"),
        ({"power_w": "abc"}, "power_w: give a number, not text"),
        ({"start_ns": 1.5}, "start_ns: give a whole number, not 1.5"),
        ({"end_ns": 0.001}, "end_ns: give a whole number, not 0.001"),
        ({"end_ns": 1e30}, "end_ns: give a whole number, not 1e+30"),
        ({"group": 5}, "group: give text, not a whole number"),
        ({"program": None}, "program: give text, not null"),
        ({"power": 1}, "power: is unknown here"),
        ({"power_w": ...}, "power_w: is missing"),
    ],
)
def test_a_field_of_a_wrong_kind_is_told_in_its_own_words_and_not_the_decoder_s(
    running: Running, changes: dict, says: str
) -> None:
    wish = {"program": "p", "group": "feeder-01", "start_ns": 1, "end_ns": 2, "power_w": 1.0} | changes
    with running.client("ann") as client:
        sent = {key: value for key, value in wish.items() if value is not ...}
        answer = client.post("/api/v1/events/preview", json=sent)
    assert (answer.status_code, answer.json()["detail"]) == (422, says)
    assert answer.json()["field"] == next(iter(changes))


def test_a_number_beyond_all_floats_is_told_to_be_finite(running: Running) -> None:
    body = b'{"program": "p", "group": "feeder-01", "start_ns": 1, "end_ns": 2, "power_w": 1e400}'
    with running.client("ann") as client:
        answer = client.post("/api/v1/events/preview", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "power_w: give a finite number")


@pytest.mark.parametrize("query", ["at=-1", "count=0", "count=x", "count=99999999999999999999"])
def test_a_number_outside_its_limits_is_refused_with_the_limits(running: Running, query: str) -> None:
    with running.client("ann") as client:
        answer = client.get(f"/api/v1/groups/feeder-01/members?{query}")
    assert answer.status_code == 422
    assert " to " in answer.json()["limit"]


def test_what_is_not_there_is_a_404_with_its_name(running: Running) -> None:
    with running.client("ann") as client:
        for path in ("/resources/nothing", "/feeders/nothing", "/trace/nothing", "/groups/nothing/members"):
            answer = client.get(f"/api/v1{path}")
            assert (answer.status_code, answer.json()["value"]) == (404, "nothing")
        assert client.get("/api/v1/no-such-route").status_code == 404
        assert client.delete("/api/v1/overview").status_code == 405


def test_a_body_beyond_the_limit_is_refused(running: Running) -> None:
    with running.client("ann") as client:
        answer = client.post("/api/v1/events", content=b"x" * 1_000_001, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_path_never_leaves_the_bundle(running: Running) -> None:
    with running.client(None) as client:
        for path in ("/../app.py", "/..%2fapp.py", "/%2e%2e/app.py", "/assets/..%2f..%2fapp.py"):
            answer = client.get(path)
            assert b"create_app" not in answer.content


@pytest.mark.parametrize("bad", ["\0", "works\b", "a\x7fb", "a\x85b"])
def test_a_control_character_in_a_text_is_refused_by_field_and_code_and_umlauts_and_lines_stand(
    running: Running, bad: str
) -> None:
    wish = {"low_w": -9e5, "high_w": 9e5, "minutes": 5, "because": bad}
    with running.client("ann") as client:
        before = running.stage.node.journal.last_seq
        answer = client.post("/api/v1/resources/feeder-01/limit", json=wish)
        assert answer.status_code == 422
        assert answer.json()["field"] == "because" and answer.json()["value"].startswith("U+00")
        said = [
            r for r in running.stage.node.journal.replay(before) if r.kind == "AskGranted" and r.subject == "feeder-01"
        ]
        assert said == []
        fine = client.post("/api/v1/resources/feeder-01/limit", json={**wish, "because": "Gerät 10 °C\n\tmorgen"})
        assert fine.status_code == 200
        client.post("/api/v1/resources/feeder-01/release")


@pytest.mark.parametrize("ascii_alone", [True, False])
@pytest.mark.parametrize("bad", list("\u2028\u2029\u202a\u202e\u2066\u2069\u061c\u200e\u200f"))
def test_a_mark_of_direction_or_a_line_separator_in_a_reason_is_refused_by_field_and_code(
    running: Running, bad: str, ascii_alone: bool
) -> None:
    """Turned around, a reason reads as another than the record has; with a separator it reads as two."""
    wish = {"low_w": -9e5, "high_w": 9e5, "minutes": 5, "because": f"skrow {bad}on"}
    body, head = json.dumps(wish, ensure_ascii=ascii_alone).encode(), {"content-type": "application/json"}
    with running.client("ann") as client:
        answer = client.post("/api/v1/resources/feeder-01/limit", content=body, headers=head)
    assert (answer.status_code, answer.json()["field"]) == (422, "because")
    assert answer.json()["value"] == f"U+{ord(bad):04X}"


@pytest.mark.parametrize(
    ("path", "field", "limit"),
    [
        ("overview?bogus=1", "bogus", "one of as_of"),
        ("search?txt=bat", "txt", "one of text, count, as_of"),
        ("sign-in/ways?x=1", "x", "no parameters"),
        ("messages?protocol=zzz", "protocol", "one of dnp3, ews, iso_web, modbus, mqtt, openadr"),
        ("audit?kind=Nothing", "kind", "one of AccountChanged"),
    ],
)
def test_a_parameter_that_would_be_passed_over_is_refused(running: Running, path: str, field: str, limit: str) -> None:
    with running.client("ann") as client:
        answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.json()["limit"].startswith(limit)
