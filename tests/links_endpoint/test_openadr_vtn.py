"""The VTN: scopes, privacy, conflicts, filters, limits, tokens, and what it keeps over a restart."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openadr_room import START_NS, Room, play

from tieline.links.endpoint.openadr.access import (
    READS,
    SCOPES,
    WRITES,
    Bearer,
    Client,
    Tokens,
    may,
    secret_digest,
    shown,
)
from tieline.links.endpoint.openadr.callbacks import is_allowed, read_origins
from tieline.links.endpoint.openadr.limits import VtnLimits
from tieline.store.journal import SqliteJournal
from tieline.wire.openadr3.objects import KINDS, TYPES, read_object

EVENT = {"intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [1]}]}]}


async def program(room: Room, name: str = "p", **more: Any) -> str:
    status, made = await room.call("bl", "POST", "/programs", {"programName": name, **more})
    assert status == 201, made
    return made["id"]


async def event(room: Room, of: str, **more: Any) -> dict:
    status, made = await room.call("bl", "POST", "/events", {"programID": of, **EVENT, **more})
    assert status == 201, made
    return made


async def grant(room: Room, client: str, *targets: str) -> dict:
    body = {"objectType": "BL_VEN_REQUEST", "venName": f"ven-{client}", "clientID": client, "targets": list(targets)}
    status, made = await room.call("bl", "POST", "/vens", body)
    assert status == 201, made
    return made


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

    play(scene, keep_ven=False)
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


def subscription(url: str, **more: Any) -> dict:
    wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": url, "bearerToken": "very-secret"}
    return {"clientName": "c", "objectOperations": [wish], **more}


# --- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_each_kind_is_read_and_written_by_its_own_scopes_and_by_no_other(kind: str) -> None:
    """The table of scopes of OpenADR 3.1.0: read_targets reads programs and events, read_ven_objects what is one's own."""
    for scope in SCOPES | {"openid"}:
        bearer = Bearer("c", frozenset({scope}))
        assert may(bearer, "GET", kind) is (scope in READS[kind])
        for method in ("POST", "PUT", "DELETE"):
            assert may(bearer, method, kind) is (scope in WRITES[kind])
    targeted = kind in ("programs", "events")
    assert ("read_targets" in READS[kind], "read_ven_objects" in READS[kind]) == (targeted, not targeted)


def test_a_narrowed_token_reads_no_more_than_it_was_asked_for() -> None:
    found = {}

    async def scene(room: Room) -> None:
        headers = await room.token("site-6", scope="read_targets write_events read_all")
        for path in ("/events", "/programs", "/vens", "/reports", "/resources", "/subscriptions"):
            found[path] = (await room.http.get(room.url + path, headers=headers)).status_code
        form = {"grant_type": "client_credentials", "client_id": "site-6", "client_secret": "secret-of-site-6"}
        answer = await room.http.post(room.url + "/auth/token", data={**form, "scope": "write_programs"})
        found["not its own"] = (answer.status_code, answer.json()["error"])

    play(scene, keep_ven=False)
    assert found.pop("not its own") == (400, "invalid_scope")
    assert found.pop("/events") == found.pop("/programs") == 200
    assert set(found.values()) == {403}


def test_what_scopes_don_t_allow_is_403_and_without_a_token_all_is_401() -> None:
    found = {}

    async def scene(room: Room) -> None:
        found["ven"] = (await room.call("site-5", "POST", "/programs", {"programName": "p"}))[0]
        found["targets"] = (await room.call("site-6", "POST", "/vens", {"venName": "v", "targets": ["site-5"]}))[0]
        for kind in TYPES:
            for method, path in (
                ("GET", f"/{kind}"),
                ("POST", f"/{kind}"),
                ("PUT", f"/{kind}/x"),
                ("DELETE", f"/{kind}/x"),
            ):
                for headers in ({}, {"authorization": "Bearer x.y.z"}, {"authorization": "Basic x"}):
                    answer = await room.http.request(method, room.url + path, headers=headers)
                    found[(kind, method, str(headers))] = answer.status_code
        wrong = {"grant_type": "client_credentials", "client_id": "bl", "client_secret": "wrong"}
        found["wrong"] = (await room.http.post(room.url + "/auth/token", data=wrong)).status_code

    play(scene)
    assert (found.pop("ven"), found.pop("targets"), found.pop("wrong")) == (403, 403, 401)
    assert set(found.values()) == {401}


def test_the_dispatch_of_the_desk_is_changed_by_no_client() -> None:
    found = {}

    async def scene(room: Room) -> None:
        await room.command(1_000.0)
        mine, of = room.events()[0], room.vtn.book.named("programs", "tieline-dispatch")
        found["put"] = (await room.call("bl", "PUT", f"/events/{mine['id']}", {"programID": of["id"], **EVENT}))[0]
        found["delete"] = (await room.call("bl", "DELETE", f"/events/{mine['id']}"))[0]
        found["add"] = (await room.call("bl", "POST", "/events", {"programID": of["id"], **EVENT}))[0]
        found["program"] = (await room.call("bl", "DELETE", f"/programs/{of['id']}"))[0]

    assert play(scene).site.power_w == 1_000.0
    assert set(found.values()) == {403}


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_ends_with_its_hour_and_with_its_client_s_revocation_even_over_a_restart(tmp_path: Path) -> None:
    found = []

    async def first(room: Room) -> None:
        headers = await room.token("site-6")

        async def ask() -> None:
            found.append((await room.http.get(room.url + "/events", headers=headers)).status_code)

        await ask()
        await room.vtn.revoke("site-6")
        await ask()
        headers = await room.token("site-6")  # a fresh one, given after the revocation, counts
        await ask()
        await asyncio.sleep(3601)
        await ask()
        await room.vtn.revoke("site-6")

    async def second(room: Room) -> None:
        assert room.vtn.book.revoked_ns["site-6"] > START_NS
        assert room.vtn._tokens.revoked_ns == room.vtn.book.revoked_ns

    play(first, tmp_path / "j", keep_ven=False)
    play(second, tmp_path / "j", keep_ven=False)
    assert found == [200, 401, 200, 401]


class _Clock:
    now = START_NS

    def now_ns(self) -> int:
        return self.now


def test_a_token_never_carries_more_than_its_client_may_have_by_now() -> None:
    client = Client("c", secret_digest("s"), frozenset({"read_all", "write_events"}))
    given = Tokens({"c": client}, b"k" * 32, _Clock()).grant("c", "s")
    less = Tokens({"c": Client("c", client.secret_sha256, frozenset({"read_all"}))}, b"k" * 32, _Clock())
    assert less.check(given.token).scopes == {"read_all"}
    assert Tokens({}, b"k" * 32, _Clock()).check(given.token) is None
    assert Tokens({"c": client}, b"x" * 32, _Clock()).check(given.token) is None
    assert Tokens({"c": client}, b"k" * 32, _Clock(), issuer="other").check(given.token) is None


def test_guessing_secrets_is_slowed_down_and_others_are_not() -> None:
    found = []

    async def scene(room: Room) -> None:
        for client, secret in [("site-6", "wrong")] * 4 + [("bl", "secret-of-bl")]:
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
            found.append((await room.http.post(room.url + "/auth/token", data=form)).status_code)

    play(scene, keep_ven=False, limits=VtnLimits(token_rate_per_s=0.01, token_burst=2.0))
    assert found == [401, 401, 429, 429, 200]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/programs", {"programName": "tieline-dispatch"}, 409, "is taken"),
        ("/programs", {}, 400, "programName"),
        ("/programs", {"programName": "p", "colour": "red"}, 400, "colour"),
        ("/events", {"programID": "none", "intervals": []}, 409, "no such program"),
        ("/events", {"programID": "x", "intervalPeriod": {"start": "noon"}}, 400, "$.intervalPeriod.start"),
        ("/events", {"programID": "x", "intervalPeriod": {"start": "0001-01-01", "duration": "15m"}}, 400, "PT15M"),
        ("/events", {"programID": "x", "duration": "-PT5M"}, 400, "$.duration"),
        ("/events", {"programID": "x", "priority": -1}, 400, "$.priority"),
        ("/events", {"programID": "x", "intervalPeriod": {"start": "0002-01-01T00:00:00Z"}}, 400, "1970 to 2200"),
        ("/events", {"programID": "x", "intervalPeriod": {"start": "9999-01-01T00:00:00Z"}}, 400, "1970 to 2200"),
        ("/reports", {"eventID": "none", "clientName": "c", "resources": []}, 409, "no such event"),
        ("/resources", {"resourceName": "r", "venID": "none"}, 404, "$.venID"),
        ("/subscriptions", {"clientName": "c", "objectOperations": [{"objects": ["CAT"], "operations": ["CREATE"], "callbackUrl": "http://h"}]}, 400, "objects"),
    ],
)  # fmt: skip
def test_a_bad_body_is_a_problem_that_names_it(path: str, body: dict, status: int, says: str) -> None:
    found = []

    async def scene(room: Room) -> None:
        found.append(await room.call("bl", "POST", path, body))

    play(scene, keep_ven=False)
    assert found[0][0] == status, found
    assert says in found[0][1]["detail"]
    assert found[0][1]["status"] == status


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"programName": "a", "programName": "b"}', b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b"", b'{"a": ' + b"9" * 5_000 + b"}"])  # fmt: skip
def test_a_body_that_two_readers_could_take_two_ways_or_that_never_ends_is_refused(body: bytes) -> None:
    found = []

    async def scene(room: Room) -> None:
        headers = await room.token("bl")
        found.append((await room.http.post(room.url + "/programs", content=body, headers=headers)).status_code)

    play(scene, keep_ven=False)
    assert found == [400]


def test_a_body_over_the_limit_is_refused_before_it_is_taken_in_and_turns_run_out() -> None:
    found = []

    async def scene(room: Room) -> None:
        headers = await room.token("bl")
        big = b'{"programName": "' + b"x" * 2_000 + b'"}'
        found.append((await room.http.post(room.url + "/programs", content=big, headers=headers)).status_code)
        for _ in range(4):
            found.append((await room.http.get(room.url + "/programs", headers=headers)).status_code)
        await asyncio.sleep(1.1)
        found.append((await room.http.get(room.url + "/programs", headers=headers)).status_code)

    play(scene, keep_ven=False, limits=VtnLimits(body_bytes=1_000, rate_per_s=1.0, burst=3.0))
    assert found == [413, 200, 200, 429, 429, 200]


@pytest.mark.parametrize(("path", "status"), [("/auth/token", 400), ("/programs", 413)])
def test_a_body_that_says_it_will_be_too_large_is_answered_before_it_comes(path: str, status: int) -> None:
    heard = []

    async def scene(room: Room) -> None:
        head = "".join(f"{key}: {value}\r\n" for key, value in (await room.token("bl")).items())
        host, _, port = room.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: 999999999999\r\n\r\n".encode())
        async with asyncio.timeout(30):
            heard.append(int((await reader.readline()).split()[1]))
        writer.close()

    play(scene, keep_ven=False)
    assert heard == [status]


ORIGINS = read_origins(("http://127.0.0.1:*", "https://ven.example:8443/hooks/"))


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("http://127.0.0.1:5000/x", True),
        ("https://ven.example:8443/hooks/a?b=c", True),
        ("https://VEN.example:8443/hooks", True),
        ("http://127.0.0.1:1@evil.example/", False),
        ("http://127.0.0.1:1@10.0.0.1:80/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1:80#@evil/", False),
        ("http://127.0.0.1\\@evil.example/", False),
        ("https://127.0.0.1:5000/x", False),
        ("https://ven.example/hooks/", False),
        ("https://ven.example:8443/hooksofother", False),
        ("https://ven.example:8443/hooks/../admin", False),
        ("https://ven.example:8443/hooks/%2e%2e/admin", False),
        ("http://[::1]:5000/", False),
        ("http://127.0.0.1:99999/", False),
        ("http://2130706433/", False),
        ("file:///etc/passwd", False),
        ("http://127.0.0.1:5000/\r\nx: y", False),
    ],
)
def test_a_callback_is_judged_by_its_parts_and_never_as_text(url: str, is_good: bool) -> None:
    assert is_allowed(url, ORIGINS) is is_good


def test_a_webhook_goes_only_where_the_allow_list_says() -> None:
    found = []

    async def scene(room: Room) -> None:
        for url in ("http://10.0.0.1/steal", "http://127.0.0.1:1@10.0.0.1/"):
            found.append((await room.call("site-6", "POST", "/subscriptions", subscription(url)))[0])

    play(scene, keep_ven=False)
    assert found == [403, 403]


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

    play(scene, keep_ven=False)
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
        over = {"intervalPeriod": {"start": "2023-01-01T00:00:00Z", "duration": "PT1H"}}
        await event(room, p, eventName="pa", targets=["a"])
        await event(room, p, eventName="pab", targets=["a", "b"])
        await event(room, q, eventName="qab", targets=["a", "b"])
        await event(room, p, eventName="over", targets=["a"], **over)
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
        gone = await event(room, of, eventName="gone")
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

    play(scene, keep_ven=False, limits=VtnLimits(own_objects=3))
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
