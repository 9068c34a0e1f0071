"""The VEN: all pages, foreign events, randomised starts, an unkind VTN, and a callback that only its VTN may call."""

import asyncio
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openadr_room import Room, Site, play

from tieline.errors import PeerError
from tieline.links.endpoint.openadr.payloads import with_notes
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.resource.setpoint import Bounds
from tieline.rim.http import CutOff
from tieline.site.plan import Owner
from tieline.times import SECOND_NS, iso


async def publish(room: Room, name: str, payloads: dict[str, Any], **more: Any) -> dict:
    of = room.vtn.book.named("programs", "p") or (await room.call("bl", "POST", "/programs", {"programName": "p"}))[1]
    said = [{"type": kind, "values": [value]} for kind, value in payloads.items()]
    body = {"programID": of["id"], "eventName": name, "intervals": [{"id": 0, "payloads": said}], **more}
    status, made = await room.call("bl", "POST", "/events", body)
    assert status == 201, made
    return made


def test_an_event_behind_the_first_fifty_is_found() -> None:
    async def scene(room: Room) -> None:
        for n in range(70):
            await publish(room, f"price {n}", {"PRICE": 0.1}, targets=["site-5"])
        await room.command(-3_000.0, wait_s=10)

    assert play(scene).site.power_w == -3_000.0


def test_events_of_another_program_are_followed_by_priority_within_all_limits() -> None:
    trail = []

    async def scene(room: Room) -> None:
        now = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT10M"}}
        await publish(room, "weak", {"DISPATCH_SETPOINT": -4}, priority=5, **now)
        await asyncio.sleep(2)
        trail.append(room.site.power_w)
        strong = await publish(room, "strong", {"DISPATCH_SETPOINT": -2}, priority=0, **now)
        await asyncio.sleep(2)
        trail.append(room.site.power_w)
        await publish(room, "envelope", {"EXPORT_CAPACITY_LIMIT": 1.5}, priority=9, **now)
        await asyncio.sleep(2)
        trail.append(room.site.power_w)
        await room.call("bl", "DELETE", f"/events/{strong['id']}")
        await asyncio.sleep(2)
        trail.append(room.site.power_w)
        await asyncio.sleep(600)
        trail.append(room.site.power_w)

    play(scene, is_bound=False)
    assert trail == [4_000.0, 2_000.0, 1_500.0, 1_500.0, 0.0]


def test_a_simple_event_sheds_and_is_acknowledged_by_a_report_on_it() -> None:
    said = []

    async def scene(room: Room) -> None:
        made = await publish(room, "shed", {"SIMPLE": 3})
        await asyncio.sleep(2)
        assert room.ven.hold.bounds == Bounds(0.0, 5_000.0)
        _, listed = await room.call("bl", "GET", f"/reports?eventID={made['id']}")
        said.extend(listed)

    play(scene, is_bound=False)
    assert [r["clientID"] for r in said] == ["site-5"]
    kinds = {p["type"] for r in said[0]["resources"] for i in r["intervals"] for p in i["payloads"]}
    assert {"OPERATING_STATE", "DEMAND", "DATA_QUALITY"} <= kinds


def test_an_event_that_can_t_be_followed_is_answered_with_error_once_and_harms_no_other() -> None:
    found: dict[str, Any] = {}

    async def scene(room: Room) -> None:
        # Our VTN takes no such event from a client; others may.
        of = (await room.call("bl", "POST", "/programs", {"programName": "p"}))[1]["id"]
        said = {"programID": of, "intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [17]}]}]}
        bad = await room.vtn.publish("events", json.dumps(said).encode())
        await room.command(-3_000.0)
        await asyncio.sleep(300)
        _, listed = await room.call("bl", "GET", f"/reports?eventID={bad['id']}")
        found["states"] = [
            p["values"]
            for r in listed
            for p in r["resources"][0]["intervals"][0]["payloads"]
            if p["type"] == "OPERATING_STATE"
        ]
        found["unread"] = room.ven.unread

    assert play(scene).site.power_w == -3_000.0
    assert found == {"states": [["ERROR"]], "unread": 1}


def test_a_randomised_start_is_honoured_once_drawn_and_stands_over_polls() -> None:
    starts = []

    async def scene(room: Room) -> None:
        start = iso(room.clock.now_ns() + 600 * SECOND_NS)
        period = {"start": start, "duration": "PT10M", "randomizeStart": "PT5M"}
        await publish(room, "spread", {"DISPATCH_SETPOINT": -1}, intervalPeriod=period)
        began_s = asyncio.get_running_loop().time()
        while room.site.power_w == 0.0:  # noqa: ASYNC110  virtual time
            await asyncio.sleep(1)
        starts.append(asyncio.get_running_loop().time() - began_s)
        ends = starts[-1]
        while room.site.power_w != 0.0:  # noqa: ASYNC110
            await asyncio.sleep(1)
        assert asyncio.get_running_loop().time() - began_s - ends == pytest.approx(600, abs=2)

    for seed in range(4):
        play(scene, seed=seed, poll_s=30.0, is_bound=False)
    assert all(299 <= start <= 902 for start in starts)
    assert len({round(start) for start in starts}) > 1


def test_a_callback_takes_no_word_from_who_does_not_know_its_token() -> None:
    found = []

    async def scene(room: Room) -> None:
        polls = room.ven.polls
        wish = room.vtn.book.owned("subscriptions", "site-5")[0]["objectOperations"][0]
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {wish['bearerToken']}"}):
            answer = await room.http.post(wish["callbackUrl"], content=b"{}", headers=headers)
            await asyncio.sleep(1)
            found.append((answer.status_code, room.ven.polls - polls))

    play(scene)
    assert found == [(401, 0), (401, 0), (200, 1)]


def test_a_notification_in_the_clear_over_a_network_is_no_more_than_news() -> None:
    """Who listens on the way has the token: what they make up is not followed, and what the VTN shows is."""

    async def scene(room: Room) -> None:
        wish = room.vtn.book.owned("subscriptions", "site-5")[0]["objectOperations"][0]
        headers = {"authorization": f"Bearer {wish['bearerToken']}"}
        for url, polls, followed_w in (("http://192.0.2.7/callback", 1, 0.0), (wish["callbackUrl"], 0, 4_000.0)):
            room.ven._callback_url, before = url, room.ven.polls
            said = [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [-4]}]}]
            forged = {
                "id": "forged", "programID": "p", "intervals": said,
                "payloadDescriptors": [{"payloadType": "DISPATCH_SETPOINT", "units": "KW"}],
                "intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT10M"},
            }  # fmt: skip
            note = {"objectType": "EVENT", "operation": "CREATE", "object": forged}
            await room.http.post(wish["callbackUrl"], json=note, headers=headers)
            await asyncio.sleep(1)
            assert (room.ven.polls - before, room.site.power_w) == (polls, followed_w)

    play(scene)


def test_an_event_that_is_told_is_followed_without_asking_and_one_that_is_withdrawn_let_go() -> None:
    async def scene(room: Room) -> None:
        polls = room.ven.polls
        now = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT10M"}}
        event = await publish(room, "roof", {"DISPATCH_SETPOINT": -1}, **now)
        await asyncio.sleep(1)
        assert room.site.power_w == 1_000.0
        assert (await room.call("bl", "DELETE", f"/events/{event['id']}"))[0] == 200
        await asyncio.sleep(1)
        assert (room.site.power_w, room.ven.polls - polls) == (0.0, 0)

    play(scene, is_bound=False)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=20), st.integers(0, 20), st.integers(0, 20)
)
def test_what_was_fetched_with_what_was_told_since_is_what_the_vtn_shows(
    history: list, fetched: int, told_from: int
) -> None:
    """From wherever notifications are late, those that were fetched already are told again."""
    shows: list[dict] = [{}]
    notes: list[tuple[str, dict]] = []
    for turn, (name, what) in enumerate(history):
        now = dict(shows[-1])
        living = next((key for key in now if key.startswith(name)), None)
        if living is None:  # an id never comes again
            event = {"id": f"{name}{turn}", "modificationDateTime": f"2026-01-01T00:00:{turn:02}Z"}
            now[event["id"]] = event
            notes.append(("CREATE", event))
        elif what == 0:
            notes.append(("DELETE", now.pop(living)))
        else:
            now[living] = {**now[living], "modificationDateTime": f"2026-01-01T00:00:{turn:02}.5Z"}
            notes.append(("UPDATE", now[living]))
        shows.append(now)
    fetched = min(fetched, len(history))
    assert with_notes(shows[fetched], notes[min(told_from, fetched) :]) == shows[-1]


def test_a_ven_that_comes_again_keeps_one_subscription_and_learns_of_new_targets() -> None:
    async def scene(room: Room) -> None:
        room.ven_task.cancel()
        room.ven.stop()
        room.ven_task = room.supervisor.keep("ven", room.ven.run)
        await asyncio.sleep(2)
        assert len(room.vtn.book.owned("subscriptions", "site-5")) == 1
        resource = room.vtn.book.owned("resources", "site-5")[0]
        body = {"resourceName": resource["resourceName"], "venID": resource["venID"], "targets": ["roof"]}
        assert (await room.call("bl", "PUT", f"/resources/{resource['id']}", body))[0] == 200
        await asyncio.sleep(2)
        now = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT10M"}}
        await publish(room, "roof", {"DISPATCH_SETPOINT": -1}, targets=["roof"], **now)
        await asyncio.sleep(2)
        assert room.site.power_w == 1_000.0

    play(scene, is_bound=False)


def test_a_token_that_was_taken_back_is_fetched_anew_and_an_old_one_is_renewed_before_its_end() -> None:
    async def scene(room: Room) -> None:
        await room.vtn.revoke("site-5")
        await asyncio.sleep(120)
        refused = room.vtn.refused
        assert refused == 1
        await asyncio.sleep(3 * 3_600)
        assert room.vtn.refused == refused

    play(scene)


LEFT_OUT = object()


@pytest.mark.parametrize(
    "strange",
    [
        {"priority": "high"},
        {"priority": -1},
        {"programID": None, "intervals": 7},
        {"programID": None},
        {"programID": LEFT_OUT},
        {"programID": ""},
        {"programID": 7},
        {"programID": ["p"]},
        {"programID": {"p": 1}},
        {"intervals": [{"id": 0}]},
        {"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [{"x": 1, "y": 2}]}]}]},
        {"intervalPeriod": "now"},
        {"intervalPeriod": {"start": "soon"}},
        {"modificationDateTime": 7},
        {"payloadDescriptors": [{"payloadType": "DISPATCH_SETPOINT", "units": "HORSES"}]},
        {"duration": 5},
    ],
)
@pytest.mark.parametrize("way", ["fetched", "told"])
def test_a_strange_event_of_a_foreign_vtn_is_not_followed_and_does_not_end_the_ven(strange: dict, way: str) -> None:
    async def scene(room: Room) -> None:
        said = [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [1]}]}]
        bad = {
            "id": "bad",
            "programID": "p",
            "eventName": "x",
            "intervals": said,
            "modificationDateTime": "2023-01-01T00:00:00Z",
        }
        bad = {key: value for key, value in {**bad, **strange}.items() if value is not LEFT_OUT}
        real = room.ven._vtn.get_all

        async def get_all(kind: str, **query: str) -> list[dict]:
            return await real(kind, **query) + ([bad] if kind == "events" and not query else [])

        if way == "told":
            wish = room.vtn.book.owned("subscriptions", "site-5")[0]["objectOperations"][0]
            note = {"objectType": "EVENT", "operation": "CREATE", "object": bad}
            headers = {"authorization": f"Bearer {wish['bearerToken']}"}
            assert (await room.http.post(wish["callbackUrl"], json=note, headers=headers)).status_code == 200
        else:
            room.ven._vtn.get_all = get_all
            room.ven._asks = True
        await room.command(-3_000.0)
        assert room.supervisor.failures == {}

    room = play(scene)
    assert (room.site.power_w, room.ven.unread) == (-3_000.0, 1)


def test_a_vtn_that_takes_no_report_on_its_own_strange_event_does_not_end_the_ven() -> None:
    async def scene(room: Room) -> None:
        real = room.ven._vtn.call

        async def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
            if path == "/reports" and body is not None and body["eventID"] == "bad":
                raise PeerError("POST /reports: 400 no such event")
            return await real(method, path, body)

        room.ven._vtn.call = call
        room.ven._notes.append(("CREATE", {"id": "bad", "programID": None, "intervals": []}))
        room.ven._tell_loop()
        await asyncio.sleep(2)
        assert (room.ven.unread, room.supervisor.failures) == (1, {})
        room.ven._vtn.call = real
        await room.command(-3_000.0)

    assert play(scene).site.power_w == -3_000.0


def test_a_ven_whose_name_is_somebody_else_s_says_so_and_does_not_serve() -> None:
    async def scene(room: Room) -> None:
        settings = VenSettings(room.url, "site-5", "site-6", "secret-of-site-6")
        other = Ven(settings, Site(), Owner(Bounds(-1.0, 1.0)), room.ours, room.clock, np.random.default_rng(9))
        with pytest.raises(PeerError, match="somebody else"):
            await other.run()
        assert other.hold is not None and math.isnan(other.hold.target_w)
        other.stop()

    play(scene)


@pytest.mark.parametrize("is_lost", [False, True])
def test_an_event_that_is_known_ahead_begins_at_its_second_also_without_webhook_or_vtn(is_lost: bool) -> None:
    async def scene(room: Room) -> None:
        for made in list(room.vtn.book.owned("subscriptions", "site-5")):
            await room.vtn.retract("subscriptions", made["id"])
        start_ns = room.clock.now_ns() + 637 * SECOND_NS
        period = {"start": iso(start_ns), "duration": "PT10M"}
        await publish(room, "ahead", {"DISPATCH_SETPOINT": -1}, intervalPeriod=period)
        await asyncio.sleep(40)

        async def dead(*call: Any, **how: Any) -> Any:
            raise CutOff("gone")

        if is_lost:
            room.ven._vtn._client.call = dead
        await asyncio.sleep((start_ns - room.clock.now_ns()) / SECOND_NS - 0.01)
        assert room.site.power_w == 0.0
        await asyncio.sleep(0.03)
        assert room.site.power_w == 1_000.0

    play(scene, poll_s=30.0, is_bound=False)
