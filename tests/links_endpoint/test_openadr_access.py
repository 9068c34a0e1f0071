"""Who may do what at the VTN: scopes, and tokens that end."""

import asyncio
from pathlib import Path

import pytest
from openadr_calls import EVENT
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
)
from tieline.links.endpoint.openadr.limits import VtnLimits
from tieline.wire.openadr3.objects import TYPES


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
