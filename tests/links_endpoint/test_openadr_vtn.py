"""The VTN: scopes, privacy, conflicts, filters, limits, tokens, and what it keeps over a restart."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openadr_calls import event, grant, program, subscription
from openadr_room import Room, play

from tieline.links.endpoint.openadr.access import (
    Bearer,
    shown,
)
from tieline.links.endpoint.openadr.limits import VtnLimits
from tieline.store.journal import SqliteJournal
from tieline.times import iso
from tieline.wire.openadr3.objects import KINDS, TYPES, read_object

# --- privacy ----------------------------------------------------------------------------------------------------------


def test_a_ven_sees_targeted_events_only_where_asked_granted_and_object_meet_and_learns_no_other_target() -> None:
    """OpenADR 3.1.0 Definition, Object Privacy: targeting, and target hiding."""
    seen = {}

    async def scene(room: Room) -> None:
        await grant(room, "site-6", "street-1", "feeder-2")
        of = await program(room)
        one = await event(room, of, eventName="both", targets=["street-1", "feeder-9"])
        await event(room, of, eventName="open")
        for name, query in {
            "none": "", "granted": "?targets=street-1", "not granted": "?targets=feeder-9", "both": "?targets=street-1&targets=feeder-9",
        }.items():  # fmt: skip
            _, seen[name] = await room.call("site-6", "GET", "/events" + query)
        _, seen["other"] = await room.call("site-5", "GET", "/events?targets=street-1")
        seen["by id"] = await room.call("site-6", "GET", f"/events/{one['id']}")
        seen["other by id"] = await room.call("site-5", "GET", f"/events/{one['id']}")

    play(scene, keep_ven=False, is_bound=False)
    assert [e["eventName"] for e in seen["none"]] == ["telemetry", "open"]
    for name in ("granted", "both"):
        assert [(e["eventName"], e["targets"]) for e in seen[name]] == [("both", ["street-1"])], name
    assert seen["not granted"] == seen["other"] == []
    assert seen["by id"][1]["targets"] == ["street-1"]
    assert seen["other by id"][0] == 404


TARGETS = st.frozensets(st.sampled_from("abcd"))


@given(TARGETS, TARGETS, TARGETS)
def test_nobody_is_shown_a_target_that_was_not_granted_and_asked_for(
    granted: frozenset[str], wanted: frozenset[str], targets: frozenset[str]
) -> None:
    thing = {"id": "x", "targets": sorted(targets)}
    seen = shown(Bearer("v", frozenset({"read_targets"})), "events", thing, granted, wanted)
    if not targets:
        assert seen == thing
    elif granted & wanted & targets:
        assert seen is not None and set(seen["targets"]) == granted & wanted & targets
    else:
        assert seen is None


def test_a_ven_that_takes_another_s_name_gets_neither_its_targets_nor_its_events() -> None:
    found = {}

    async def scene(room: Room) -> None:
        await room.command(1_000.0)
        found["taken"] = await room.call("site-6", "POST", "/vens", {"venName": "site-5"})
        found["like"] = (await room.call("site-6", "POST", "/vens", {"venName": "Site-5"}))[0]
        found["events"] = await room.call("site-6", "GET", "/events?targets=site-5")
        found["vens"] = await room.call("site-6", "GET", "/vens")
        found["owner"] = room.vtn.book.named("vens", "site-5")["clientID"]

    play(scene)
    assert found["taken"][0] == 409 and found["like"] == 201
    assert found["events"][1] == []
    assert [v["venName"] for v in found["vens"][1]] == ["Site-5"]
    assert found["owner"] == "site-5"


@pytest.mark.parametrize("name", ["site-5", "battery-9"])
def test_no_ven_and_no_resource_is_named_after_a_device_that_its_client_does_not_speak_for(name: str) -> None:
    """`battery-9` is another's, over another link: no VEN of it is there to be in the way."""
    found: dict[str, Any] = {}

    async def scene(room: Room) -> None:
        room.vtn.is_device = {"site-5", "battery-9"}.__contains__
        status, other = await room.call("site-6", "POST", "/vens", {"venName": "mine"})
        assert status == 201
        body = {"resourceName": name, "venID": other["id"]}
        found["ven"] = await room.call("site-6", "POST", "/vens", {"venName": name})
        found["renamed"] = await room.call("site-6", "PUT", f"/vens/{other['id']}", {"venName": name})
        found["resource"] = await room.call("site-6", "POST", "/resources", body)
        own = room.vtn.book.named("vens", "site-5")
        fine = {"resourceName": "site-5", "venID": own["id"]}
        assert (await room.call("site-5", "POST", "/resources", fine))[0] == 201
        assert (await room.call("site-5", "PUT", f"/vens/{own['id']}", {"venName": "site-5"}))[0] == 200
        assert (await room.call("site-6", "POST", "/resources", {**body, "resourceName": "roof"}))[0] == 201
        await room.command(1_000.0)

    play(scene, keep_ven=False)
    assert {key: status for key, (status, _) in found.items()} == dict.fromkeys(found, 403)
    assert found["ven"][1]["detail"] == f"$.venName: {name!r} is a device that this client doesn't speak for"
    assert found["resource"][1]["detail"].startswith("$.resourceName: ")


def test_what_was_granted_to_another_before_the_link_came_is_taken_back_and_its_own_ven_comes_home(
    tmp_path: Path,
) -> None:
    found = {}

    async def first(room: Room) -> None:
        ven = room.vtn.book.named("vens", "site-5")
        stolen = {"venName": "site-5", "clientID": "site-6", "targets": ["site-5", "more"]}
        await room.vtn.replace("vens", ven["id"], msgspec.json.encode(stolen))
        other = {"venName": "other", "clientID": "bl", "targets": ["site-5"]}
        await room.vtn.publish("vens", msgspec.json.encode(other))
        resource = {"resourceName": "r", "venID": ven["id"], "targets": ["site-5", "roof"]}
        await room.vtn.publish("resources", msgspec.json.encode(resource))
        assert room.vtn.book.granted("site-6") == {"site-5", "more", "roof"}

    async def second(room: Room) -> None:
        await room.command(1_000.0)
        found["thief"] = (await room.call("site-6", "GET", "/events?targets=site-5"))[1]
        found["granted"] = {client: room.vtn.book.granted(client) for client in ("site-5", "site-6", "bl")}

    play(first, tmp_path / "j", keep_ven=False)
    assert play(second, tmp_path / "j").site.power_w == 1_000.0
    mine = frozenset({"site-5", "more", "roof"})
    assert found == {"thief": [], "granted": {"site-5": mine, "site-6": frozenset(), "bl": frozenset()}}


def test_business_logic_may_grant_more_but_never_hands_the_dispatch_s_own_ven_or_target_on() -> None:
    found = {}

    async def scene(room: Room) -> None:
        ven, other = room.vtn.book.named("vens", "site-5"), await grant(room, "site-6")
        path, body = f"/vens/{ven['id']}", {"venName": "site-5", "clientID": "site-5", "targets": ["site-5"]}
        found["more"] = (await room.call("bl", "PUT", path, {**body, "targets": ["site-5", "street-1"]}))[0]
        found["own attributes"] = (await room.call("site-5", "PUT", path, {"venName": "site-5"}))[0]
        found["hand on"] = (await room.call("bl", "PUT", path, {**body, "clientID": "site-6"}))[0]
        found["rename"] = (await room.call("bl", "PUT", path, {**body, "venName": "x"}))[0]
        found["take away"] = (await room.call("bl", "PUT", path, {**body, "targets": ["street-1"]}))[0]
        found["delete"] = (await room.call("bl", "DELETE", path))[0]
        body = {"venName": "v", "clientID": "site-6", "targets": ["site-5"]}
        found["grant"] = (await room.call("bl", "POST", "/vens", body))[0]
        body = {"resourceName": "r", "venID": other["id"], "targets": ["site-5"]}
        found["grant by resource"] = (await room.call("bl", "POST", "/resources", body))[0]
        assert room.vtn.book.granted("site-5") == {"site-5", "street-1"}

    play(scene, keep_ven=False)
    assert (found.pop("more"), found.pop("own attributes")) == (200, 200)
    assert set(found.values()) == {403}, found


def test_a_ven_s_put_of_itself_keeps_what_business_logic_granted() -> None:
    found = {}

    async def scene(room: Room) -> None:
        ven = await grant(room, "site-6", "street-1")
        resource = {"resourceName": "r", "venID": ven["id"], "targets": ["roof"]}
        _, made = await room.call("bl", "POST", "/resources", resource)
        body = {"venName": "ven-site-6", "attributes": [{"type": "LOCATION", "values": [1.5, 2]}]}
        found["ven"] = await room.call("site-6", "PUT", f"/vens/{ven['id']}", body)
        body = {"resourceName": "r2", "venID": ven["id"]}
        found["resource"] = await room.call("site-6", "PUT", f"/resources/{made['id']}", body)
        found["read back"] = await room.call(
            "site-6", "PUT", f"/vens/{ven['id']}", {**found["ven"][1], "targets": None}
        )
        found["bl"] = await room.call(
            "bl", "PUT", f"/vens/{ven['id']}", {"venName": "ven-site-6", "clientID": "site-6"}
        )

    play(scene, keep_ven=False)
    assert (found["ven"][0], found["ven"][1]["targets"], found["ven"][1]["clientID"]) == (200, ["street-1"], "site-6")
    assert (found["resource"][0], found["resource"][1]["targets"]) == (200, ["roof"])
    assert found["read back"][0] == 200
    assert found["bl"][0] == 200 and "targets" not in found["bl"][1]  # a PUT is a full replacement


def test_one_ven_s_objects_do_not_exist_for_another() -> None:
    found = {}

    async def scene(room: Room) -> None:
        ven = await grant(room, "site-6")
        _, sub = await room.call("site-6", "POST", "/subscriptions", subscription("http://127.0.0.1:9/x"))
        for method in ("GET", "PUT", "DELETE"):
            for path in (f"/vens/{ven['id']}", f"/subscriptions/{sub['id']}"):
                body = {"venName": "stolen"} if path.startswith("/vens") else subscription("http://127.0.0.1:9/y")
                found[method, path] = (await room.call("site-5", method, path, body))[0]
        resource = {"resourceName": "mine", "venID": ven["id"]}
        found["resource"] = (await room.call("site-5", "POST", "/resources", resource))[0]
        _, listed = await room.call("bl", "GET", "/subscriptions?clientName=c")
        found["token"] = "bearerToken" in listed[0]["objectOperations"][0]

    play(scene, keep_ven=False)
    assert found.pop("token") is False  # what an owner is called back with is nobody else's business
    assert set(found.values()) == {404}


# --- names, filters, pages ---------------------------------------------------------------------------------------------


def test_names_are_unique_where_the_standard_says_and_only_there() -> None:
    """Definition, "Object names": programs and VENs in the VTN, resources in their VEN; events and reports not at all."""
    found = {}

    async def scene(room: Room) -> None:
        of = await program(room, "p")
        await program(room, "q")
        found["program"] = (await room.call("bl", "POST", "/programs", {"programName": "p"}))[0]
        found["program put"] = (await room.call("bl", "PUT", f"/programs/{of}", {"programName": "q"}))[0]
        found["itself"] = (await room.call("bl", "PUT", f"/programs/{of}", {"programName": "p"}))[0]
        a, b = await grant(room, "site-5"), await grant(room, "site-6")
        found["ven"] = (await room.call("site-6", "POST", "/vens", {"venName": a["venName"]}))[0]
        for name, ven in (("r", a), ("r of another", b), ("r again", a)):
            body = {"resourceName": "r", "venID": ven["id"]}
            found[name] = (await room.call("bl", "POST", "/resources", body))[0]
        for _ in range(2):
            await event(room, of, eventName="same")

    play(scene, keep_ven=False, is_bound=False)
    assert found == {
        "program": 409, "program put": 409, "itself": 200, "ven": 409, "r": 201, "r of another": 201, "r again": 409,
    }  # fmt: skip


def test_two_calls_at_once_for_one_name_make_one_object_and_one_conflict() -> None:
    found = []

    async def scene(room: Room) -> None:
        calls = [room.call("bl", "POST", "/programs", {"programName": "p"}) for _ in range(8)]
        found.extend(sorted(status for status, _ in await asyncio.gather(*calls)))

    play(scene, keep_ven=False)
    assert found == [201] + [409] * 7


def test_every_filter_must_hold() -> None:
    found = {}

    async def scene(room: Room) -> None:
        p, q = await program(room, "p"), await program(room, "q")
        over = {"intervalPeriod": {"start": iso(room.clock.now_ns()), "duration": "PT1S"}}
        await event(room, p, eventName="pa", targets=["a"])
        await event(room, p, eventName="pab", targets=["a", "b"])
        await event(room, q, eventName="qab", targets=["a", "b"])
        await event(room, p, eventName="over", targets=["a"], **over)
        await asyncio.sleep(2)
        for query in ("targets=a&targets=b", f"targets=a&programID={p}", f"programID={p}&active=true", "targets=c"):
            _, listed = await room.call("bl", "GET", f"/events?{query}")
            found[query.replace(p, "P")] = [e["eventName"] for e in listed]
        for bad in ("limit=51", "limit=x", "skip=-1", "active=perhaps"):
            found[bad] = (await room.call("bl", "GET", f"/events?{bad}"))[0]

    play(scene, keep_ven=False)
    assert found == {
        "targets=a&targets=b": ["pab", "qab"],
        "targets=a&programID=P": ["pa", "pab", "over"],
        "programID=P&active=true": ["pa", "pab"],
        "targets=c": [],
        "limit=51": 400, "limit=x": 400, "skip=-1": 400, "active=perhaps": 400,
    }  # fmt: skip


def test_pages_hold_at_most_50_and_together_hold_all_once() -> None:
    found = []

    async def scene(room: Room) -> None:
        for n in range(120):
            await room.vtn.publish("programs", b'{"programName": "p%d"}' % n)
        for skip in (0, 50, 100, 150):
            _, listed = await room.call("bl", "GET", f"/programs?skip={skip}")
            found.append([p["programName"] for p in listed])

    play(scene, keep_ven=False)
    assert [len(page) for page in found] == [50, 50, 21, 0]
    assert len({name for page in found for name in page}) == 121


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_what_was_answered_is_there_after_a_restart_and_measurements_are_not_in_the_journal(tmp_path: Path) -> None:
    async def first(room: Room) -> None:
        await room.command(1_500.0)
        of = await program(room)
        gone = await event(room, of, eventName="gone", targets=["b"])
        await event(room, of, eventName="kept", targets=["a"])
        await room.call("bl", "DELETE", f"/events/{gone['id']}")
        await room.call("site-6", "POST", "/subscriptions", subscription("http://127.0.0.1:9/x"))

    async def second(room: Room) -> None:
        after.append({kind: list(room.vtn.book.all(kind)) for kind in TYPES if kind != "reports"})
        assert room.vtn.book.granted("site-5") == {"site-5"}

    after: list = []
    before = play(first, tmp_path / "j")
    play(second, tmp_path / "j", keep_ven=False)
    for kind, things in after[0].items():
        assert things == list(before.vtn.book.all(kind)), kind
    assert list(before.vtn.book.all("reports"))
    journal = SqliteJournal(tmp_path / "j")
    assert not [r for r in journal.replay() if b"UP_REGULATION" in r.body and b"values" in r.body]


def test_where_the_journal_fails_nothing_happened_and_the_caller_is_told() -> None:
    found = {}

    async def scene(room: Room) -> None:
        of = await program(room)
        before = {kind: list(room.vtn.book.all(kind)) for kind in TYPES}
        room.journal.is_broken = True
        found["add"] = (await room.call("bl", "POST", "/programs", {"programName": "phantom"}))[0]
        found["put"] = (await room.call("bl", "PUT", f"/programs/{of}", {"programName": "other"}))[0]
        found["delete"] = (await room.call("bl", "DELETE", f"/programs/{of}"))[0]
        assert {kind: list(room.vtn.book.all(kind)) for kind in TYPES} == before
        room.journal.is_broken = False
        found["name is free"] = (await room.call("bl", "POST", "/programs", {"programName": "phantom"}))[0]
        found["put after"] = (await room.call("bl", "PUT", f"/programs/{of}", {"programName": "other"}))[0]

    play(scene, keep_ven=False)
    assert found == {"add": 503, "put": 503, "delete": 503, "name is free": 201, "put after": 200}


def test_a_program_goes_with_its_events_and_a_ven_with_its_resources_at_once(tmp_path: Path) -> None:
    async def first(room: Room) -> None:
        of, ven = await program(room), await grant(room, "site-6", "a")
        await event(room, of, targets=["a"])
        await room.call("bl", "POST", "/resources", {"resourceName": "r", "venID": ven["id"], "targets": ["b"]})
        assert room.vtn.book.granted("site-6") == {"a", "b"}
        assert (await room.call("bl", "DELETE", f"/programs/{of}"))[0] == 200
        assert (await room.call("bl", "DELETE", f"/vens/{ven['id']}"))[0] == 200

    async def second(room: Room) -> None:
        assert room.events() == [] and not list(room.vtn.book.all("resources"))
        assert room.vtn.book.granted("site-6") == frozenset()

    play(first, tmp_path / "j", keep_ven=False)
    play(second, tmp_path / "j", keep_ven=False)


def test_metadata_is_the_vtn_s_own_whatever_a_body_says_and_a_put_replaces_the_whole() -> None:
    found = []

    async def scene(room: Room) -> None:
        forged = {"id": "mine", "createdDateTime": "1999-01-01T00:00:00Z", "objectType": "CAT"}
        _, made = await room.call("bl", "POST", "/programs", {"programName": "p", "targets": ["a"], **forged})
        await asyncio.sleep(60)
        _, put = await room.call("bl", "PUT", f"/programs/{made['id']}", {**made, "programName": "p2", "targets": None})
        found.extend([made, put])

    play(scene, keep_ven=False)
    made, put = found
    assert (made["id"] != "mine", made["objectType"], made["createdDateTime"][:10]) == (True, "PROGRAM", "2023-11-14")
    assert put["id"] == made["id"] and put["createdDateTime"] == made["createdDateTime"]
    assert put["modificationDateTime"] > made["modificationDateTime"] and "targets" not in put


def test_a_client_s_reports_and_objects_are_bounded() -> None:
    found = []

    async def scene(room: Room) -> None:
        on = await event(room, await program(room))
        for n in range(510):
            body = {"eventID": on["id"], "clientName": "c", "reportName": f"r{n}", "resources": []}
            room.vtn.book.keep_report(read_object("reports", msgspec.json.encode(body)), "site-6")
        found.append(len(list(room.vtn.book.all("reports"))))
        for n in range(4):
            found.append((await room.call("site-6", "POST", "/vens", {"venName": f"v{n}"}))[0])

    play(scene, keep_ven=False, limits=VtnLimits(own_objects=3), is_bound=False)
    assert found == [500, 201, 201, 201, 403]


def test_it_says_where_tokens_are_given_and_describes_itself() -> None:
    found = {}

    async def scene(room: Room) -> None:
        found["where"] = (await room.http.get(room.url + "/auth/server")).json()
        found["notifiers"] = await room.call("bl", "GET", "/notifiers")
        found["doc"] = (await room.http.get(room.url + "/openapi.json")).json()
        found["nowhere"] = (await room.http.get(room.url + "/nowhere")).json()["status"]
        found["method"] = (await room.http.patch(room.url + "/programs")).json()["status"]

    room = play(scene, keep_ven=False)
    assert found["where"] == {"tokenURL": room.url + "/auth/token"}
    assert found["notifiers"] == (200, {"WEBHOOK": True})
    assert {f"/{kind}" for kind in KINDS} <= set(found["doc"]["paths"])
    assert (found["nowhere"], found["method"]) == (404, 405)
