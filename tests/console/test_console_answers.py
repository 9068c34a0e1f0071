"""What an act is answered: what keeps it from its effect, what there is not, and how an instant may be written."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from console_stage import Running
from test_console_unknown import HandClock, _fleet, _hear, on_node

from tieline.console.auth.roles import Action, Role, may
from tieline.desk.ports import Granted
from tieline.desk.screens import AskLimit
from tieline.errors import InvariantError
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.store.segment import read_segment
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS, SECOND_NS, from_ns, iso, parse_iso

LIMIT = {"low_w": -1e6, "high_w": 0.0, "minutes": 5, "because": "a test"}


def test_a_limit_under_the_kill_switch_says_that_devices_are_not_told_of_it(running: Running) -> None:
    with running.client("ann") as ann, running.client("ben") as ben:
        device = ann.get("/api/v1/groups/feeder-01/members?at=0&count=1").json()[0]["resource"]
        before = ann.post("/api/v1/resources/feeder-01/limit", json=LIMIT).json()
        assert (before["done"], before["says"]) == (True, "")
        ann.post("/api/v1/kill", json={"pressed": True, "because": "smoke"}).raise_for_status()
        try:
            for path, body in (
                ("feeder-01/limit", LIMIT),
                (f"{device}/opt-out", None),
                (f"{device}/owner-limit", {"low_w": 0.0, "high_w": 0.0}),
            ):
                said = ann.post(f"/api/v1/resources/{path}", json=body).json()
                assert said["done"] is True, said
                assert said["says"].startswith("the kill switch is pressed: this is recorded, and until")
        finally:
            asked = ann.post("/api/v1/kill", json={"pressed": False, "because": "clear"}).json()
            ben.post(f"/api/v1/waiting/{asked['id']}/confirm", json={"payload": asked["payload"]}).raise_for_status()
            for path in ("feeder-01/release", f"{device}/opt-in", f"{device}/owner-release"):
                ann.post(f"/api/v1/resources/{path}").raise_for_status()


def test_a_limit_that_no_device_is_rated_for_is_taken_and_its_answer_says_so(running: Running) -> None:
    with running.client("ann") as ann:
        device = ann.get("/api/v1/groups/feeder-01/members?at=0&count=1").json()[0]["resource"]
        said = ann.post(f"/api/v1/resources/{device}/limit", json=LIMIT | {"low_w": 9e8, "high_w": 9.5e8}).json()
        ann.post(f"/api/v1/resources/{device}/release").raise_for_status()
    assert said["done"] is True
    assert said["says"].startswith(f"it can't be met: {device} is rated for ")
    assert "less than the 900000000 to 950000000 W asked" in said["says"]


def test_what_is_no_resource_has_no_limit_to_release(running: Running) -> None:
    with running.client("ann") as ann:
        answer = ann.post("/api/v1/resources/zzz/release")
        assert (answer.status_code, answer.json()["field"], answer.json()["value"]) == (404, "resource", "zzz")
        none = ann.post("/api/v1/resources/feeder-02/release")
        assert (none.status_code, none.json()["done"]) == (200, False)


def test_a_past_instant_may_be_ns_or_iso_8601_with_any_offset(running: Running) -> None:
    frame = running.console.reader.record.frames[-1]
    at_ns = frame.at_ns - frame.at_ns % SECOND_NS + SECOND_NS
    texas = from_ns(at_ns).isoformat().replace("+00:00", "Z")
    with running.client("ann") as client:
        as_ns = client.get("/api/v1/shell", params={"as_of": str(at_ns)}).json()
        for text in (iso(at_ns), texas, "1970-01-01T00:00:00.000000001Z"):
            answer = client.get("/api/v1/shell", params={"as_of": text})
            if parse_iso(text) == at_ns:
                assert answer.json()["revision"] == as_ns["revision"]
            else:
                assert answer.status_code == 409  # nothing was kept of it: it was read, and is long ago
        bare = from_ns(at_ns).isoformat()
        assert bare.endswith("+00:00")
        unescaped = client.get(f"/api/v1/shell?as_of={quote(bare, safe='+:')}")
        assert unescaped.json()["revision"] == as_ns["revision"], "a `+` of the query that came as a space"


@pytest.mark.parametrize(
    "text", ["", "noon", "2022-08-17T21:00:00", "1.5e9", "1969-12-31T00:00:00Z", "9999-01-01T00:00:00Z"]
)
def test_what_is_no_instant_is_refused_with_the_form_that_is(running: Running, text: str) -> None:
    with running.client("ann") as client:
        answer: httpx.Response = client.get("/api/v1/shell", params={"as_of": text})
        assert (answer.status_code, answer.json()["field"]) == (422, "as_of")
        assert "ISO 8601 with an offset" in answer.json()["limit"]


def test_feeder_modes_are_the_dispatchers_alone() -> None:
    """As docs/do/people.md has it: an operator limits, a dispatcher says who may move a feeder."""
    assert {role for role in Role if may([role], Action.SET_MODE)} == {Role.DISPATCHER}


def test_a_journal_that_takes_no_records_is_an_alarm_after_ten_seconds_and_none_once_it_is_back(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        async def titles() -> list[str]:
            await _hear(node, 1_000.0)
            return [alarm.title for alarm in reader.alarms()]

        clock.ns += MINUTE_NS
        assert await titles() == []
        journal, pages = node.journal, node.journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count={pages}")
        waits = asyncio.ensure_future(operator.audited("ann", "try", "feeder-01", "done", {"why": "x" * 399}))
        while not node.group.down:
            waits = asyncio.gather(waits, operator.audited("ann", "try", "feeder-01", "done", {"why": "x" * 399}))
            await asyncio.sleep(0.01)
        clock.ns += SECOND_NS
        assert await titles() == [], "it may be back in a moment"
        clock.ns += 11 * SECOND_NS
        (title,) = await titles()
        assert title.startswith("Nothing can be recorded: ") and "full" in title
        (alarm,) = reader.alarms()
        assert (alarm.priority, alarm.action) == (1, "Make room on its disk, or bring its database back")
        journal._db.execute("PRAGMA max_page_count=1000000")
        await waits
        clock.ns += SECOND_NS
        assert await titles() == []

    on_node(tmp_path, _fleet(2, 10), act)


def test_a_journal_that_failed_for_good_is_an_alarm_until_a_restart_and_what_is_measured_is_still_shown_and_kept(
    tmp_path: Path,
) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        wal = Wal(tmp_path / "readings")
        node.keep_readings(wal, Historian(tmp_path / "historian"))
        await _hear(node, 1_000.0)
        node.journal._db.execute("CREATE TRIGGER none BEFORE INSERT ON record BEGIN SELECT raise(FAIL, 'broken'); END")
        with pytest.raises(InvariantError, match="broken"):
            await operator.audited("ann", "try", "feeder-01", "done", {"why": "x"})
        node.journal._db.execute("DROP TRIGGER none")
        node.start()
        for _ in range(3):
            clock.ns += 11 * SECOND_NS
            await _hear(node, 2_000.0)
            at_ns, codes = np.full(2, clock.ns, np.int64), np.full(2, code("power_w"), np.uint16)
            values, fit = np.full(2, 2_000.0), np.zeros(2, np.uint32)
            node.desk.readings(Readings(np.arange(2, dtype=np.int32), codes, values, fit, at_ns, at_ns, "test"))
            node.wake()
            await asyncio.sleep(1.5)
        (alarm,) = reader.alarms()
        assert alarm.priority == 1
        assert alarm.title.startswith("Nothing can be recorded: ") and "broken" in alarm.title
        assert alarm.action.startswith("Start the server again")
        kept = [row for path in wal.segments() for row in read_segment(path)["value"].to_pylist()]
        assert 2_000.0 in kept
        assert node.snapshot is not None and node.snapshot.at_ns > clock.ns - MINUTE_NS

    on_node(tmp_path, _fleet(2, 10), act)


def test_readings_that_the_disk_does_not_take_are_an_alarm_until_it_does(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        faults = [OSError(errno.ENOSPC, "No space left on device")] * 4

        def sync(handle: int) -> None:
            if faults:
                raise faults.pop()

        wal = Wal(tmp_path / "readings", sync)
        node.keep_readings(wal, Historian(tmp_path / "historian"))

        async def titles() -> list[str]:
            await _hear(node, 2_000.0)
            at_ns, codes = np.full(2, clock.ns, np.int64), np.full(2, code("power_w"), np.uint16)
            values, fit = np.full(2, 2_000.0), np.zeros(2, np.uint32)
            node.desk.readings(Readings(np.arange(2, dtype=np.int32), codes, values, fit, at_ns, at_ns, "test"))
            await node.beat()
            clock.ns += SECOND_NS  # what is shown is made once a second, and the beat showed it before it was lost
            return [alarm.title for alarm in reader.alarms()]

        for _ in range(2):
            assert await titles() == [], "it may be back in a moment"
        for lost in (6, 8):
            clock.ns += 11 * SECOND_NS
            (title,) = await titles()
            assert title == f"Readings are not kept: {lost} so far: No space left on device"
        (alarm,) = reader.alarms()
        assert (alarm.priority, alarm.subject) == (2, "readings")
        clock.ns += 11 * SECOND_NS
        assert await titles() == []

    on_node(tmp_path, _fleet(2, 10), act)


def test_a_call_without_fields_takes_none(running: Running) -> None:
    with running.client("ann") as admin:
        for body in ({"name": "x", "lasts": 1}, [1], "text"):
            answer = admin.post("/api/v1/accounts/ann/tokens", json=body)
            assert answer.status_code == 422, answer.text
            assert answer.json()["limit"] == "an empty body"
        assert admin.post("/api/v1/accounts/ann/tokens", content=b"{").status_code == 400
        assert admin.post("/api/v1/accounts/ann/tokens", json={}).status_code == 200


def test_an_event_that_no_device_is_rated_for_is_taken_and_its_answers_say_so(running: Running) -> None:
    with running.client("ann") as ann:
        groups = [f"feeder-{at:02}" for at in range(1, 9)]
        members = (ann.get(f"/api/v1/groups/{name}/members?at=0&count=50").json() for name in groups)
        device = next(one["resource"] for some in members if isinstance(some, list) for one in some)
        now_ns = ann.get("/api/v1/shell").json()["now_ns"]
        spans = {"start_ns": now_ns + 600 * SECOND_NS, "end_ns": now_ns + 1_200 * SECOND_NS}
        wish = {"program": "Peak relief", "group": device, "power_w": 90_000.0, "why": "", **spans}
        answers = [ann.post("/api/v1/events/preview", json=wish), ann.post("/api/v1/events", json=wish)]
        event = answers[-1].json()["id"]
        answers.append(ann.post(f"/api/v1/events/{event}/submit"))
        listed = {one["id"]: one for one in ann.get("/api/v1/events").json()}[event]
        ann.post(f"/api/v1/events/{event}/cancel").raise_for_status()
    for said in (*(answer.json() for answer in answers), listed):
        assert said["unmet"].startswith(f"it can't be met: {device} is rated for "), said
        assert said["unmet"].endswith("which is less than the 90000 W asked"), said


def test_a_limit_on_what_nobody_sees_says_what_it_goes_by_and_on_what_is_seen_does_not(tmp_path: Path) -> None:
    ask = AskLimit(-1e3, 1e3, 5, "a test")

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        async def unseen(resource: str) -> str:
            said = await operator.limit(resource, ask, "ann")
            assert isinstance(said, Granted)
            return said.unseen

        await _hear(node, 1_000.0)
        assert await unseen("battery-3") == ""
        node.state.fleet.quality[[3, 4]] = int(Quality.COMM_LOST)
        assert await unseen("battery-3") == (
            "battery-3 can't be seen now: until it is heard it goes by what it took last and then by its default, and "
            "nobody sees whether the limit is kept"
        )
        assert await unseen("feeder-01") == "", "the others keep it"
        node.state.fleet.quality[:] = int(Quality.COMM_LOST)
        assert await unseen("feeder-01") == (
            "none of the 10 devices of feeder-01 can be seen now: until they are heard they go by what they took last "
            "and then by their defaults, and nobody sees whether the limit is kept"
        )

    on_node(tmp_path, _fleet(2, 10), act)


def test_a_limit_on_a_group_says_what_limits_of_their_own_keep_its_devices_from(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 1_000.0)
        for at in range(10):
            assert (await operator.limit(f"battery-{at}", AskLimit(500.0, 5e3, 5, "a test"), "ann")).unmet == ""
        assert (await operator.limit("feeder-01", AskLimit(-5e4, 5e3, 5, "a test"), "ann")).unmet == "", "it just can"
        said = (await operator.limit("feeder-01", AskLimit(-5e4, 4_900.0, 5, "a test"), "ann")).unmet
        assert said.startswith("it can't be met: limits of their own leave the devices of feeder-01 5000 to 50000 W")
        assert (await operator.limit("feeder-02", AskLimit(-5e4, 0.0, 5, "a test"), "ann")).unmet == "", "not its own"

    on_node(tmp_path, _fleet(2, 10), act)


def test_an_event_that_is_sent_twice_with_one_key_is_one_event_and_with_another_body_is_refused(
    running: Running,
) -> None:
    now_ns = running.now_ns
    spans = {"start_ns": now_ns + 600 * SECOND_NS, "end_ns": now_ns + 1_200 * SECOND_NS}
    wish = {"program": "Peak relief", "group": "feeder-01", "power_w": 1_000.0, "why": "sent twice", **spans}

    def sent(client: httpx.Client, key: str, **other: object) -> httpx.Response:
        return client.post("/api/v1/events", json=wish | other, headers={"Idempotency-Key": key})

    with running.client("ann") as ann, running.client("ben") as ben:
        first, again, quoted = sent(ann, "k-1"), sent(ann, "k-1"), sent(ann, '"k-1"')
        assert (first.status_code, first.json()) == (200, again.json()) == (200, quoted.json())
        his = sent(ben, "k-1")
        assert his.json()["id"] != first.json()["id"], "a key is of who sends it"
        refused = sent(ann, "k-1", power_w=2_000.0)
        assert refused.status_code == 422
        assert {"field": "Idempotency-Key", "rule": "idempotency", "holder": first.json()["id"]}.items() <= (
            refused.json().items()
        )
        for key in ("", "x" * 256):
            answer = sent(ann, key)
            assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
        mine = [event["id"] for event in ann.get("/api/v1/events").json() if event["why"] == "sent twice"]
        assert sorted(mine) == sorted([first.json()["id"], his.json()["id"]])
        for name in mine:
            ann.post(f"/api/v1/events/{name}/cancel").raise_for_status()
        described = ann.get("/api/v1/openapi.json").json()["paths"]["/api/v1/events"]["post"]["parameters"]
    assert [(one["name"], one["in"]) for one in described] == [("Idempotency-Key", "header")]
