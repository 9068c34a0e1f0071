"""The VTN and VENs on virtual time: privacy, scopes, conflicts, webhooks, restart; and the way of one command."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.ports import LinkHealth
from tieline.links.endpoint.openadr.access import READ_ALL, Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import TYPES, Book
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.ven import Ven, VenSettings, read_plan
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import Stage
from tieline.resource.setpoint import Bounds
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner, Plan, decide, newer
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal
from tieline.times import SECOND_NS
from tieline.wire.openadr3.objects import ObjectError, instant_ns, read_object, seconds_of

VEN_SCOPES = frozenset({"read_targets", "read_ven_objects", "write_reports", "write_subscriptions", "write_vens"})
BL_SCOPES = frozenset({READ_ALL, "write_programs", "write_events", "write_vens", "write_targets"})
START_NS = 1_700_000_000 * SECOND_NS


@dataclass
class Site:
    """A device that holds what it is told."""

    power_w: float = 0.0
    holds: list = field(default_factory=list)

    def read(self) -> dict:
        return {"power_w": self.power_w, "available_up_w": 1_000.0, "available_down_w": 500.0}

    def hold(self, hold: Hold, until_ns: int) -> None:
        self.holds.append(hold)
        self.power_w = 0.0 if math.isnan(hold.target_w) else hold.target_w


@dataclass
class Log:
    stages: list = field(default_factory=list)
    power: list = field(default_factory=list)

    def reports(self, reports: CommandReports) -> None:
        self.stages += [Stage(int(s)) for s in reports.stage]

    def readings(self, readings: Readings) -> None:
        self.power.append(float(readings.values[0]))

    def health(self, health: LinkHealth) -> None:
        pass


@dataclass
class Room:
    vtn: Vtn
    url: str
    http: httpx.AsyncClient
    clock: VirtualClock
    supervisor: Supervisor
    link: OpenAdrLink
    site: Site
    ven: Ven
    log: Log
    seq: int = 0

    async def token(self, client: str) -> dict:
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"secret-of-{client}"}
        answer = await self.http.post(self.url + "/auth/token", data=form)
        return {"authorization": "Bearer " + answer.json()["access_token"]}

    async def call(self, client: str, method: str, path: str, body: dict | None = None) -> tuple:
        headers = await self.token(client)
        answer = await self.http.request(method, self.url + path, json=body, headers=headers)
        return answer.status_code, answer.json()

    async def command(self, target_w: float, seconds: float = 900.0) -> CommandBatch:
        self.seq += 1
        now, one = self.clock.now_ns(), np.ones(1)
        batch = CommandBatch(
            f"commands:{self.seq}", np.array([5], np.int32), target_w * one, -8_000 * one, 6_000 * one, 0 * one, now, now,
            now + int(seconds * SECOND_NS), 1, self.seq, (),
        )  # fmt: skip
        await self.link.send(batch)
        await asyncio.sleep(5)
        return batch


def play(scene: Callable[[Room], Awaitable[None]], path: Path | None = None) -> Room:
    async def main(loop: VirtualLoop) -> Room:
        clock = VirtualClock(loop, START_NS)
        journal = SqliteJournal(path or Path(":memory:"))
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            book = Book(GroupCommit(journal, supervisor.spawn), clock)
            book.restore(journal)
            clients = {n: Client(n, secret_digest(f"secret-of-{n}"), VEN_SCOPES) for n in ("site-5", "site-6")}
            clients["bl"] = Client("bl", secret_digest("secret-of-bl"), BL_SCOPES)
            http, log, site = httpx.AsyncClient(), Log(), Site()
            vtn = Vtn(book, Tokens(clients, b"k" * 32, clock), supervisor, http, ("http://127.0.0.1:",))
            server = await serve_asgi(vtn.app, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            link = OpenAdrLink(vtn, {5: "site-5"}, log, clock, supervisor)
            await link.start()
            settings = VenSettings(url, "site-5", "site-5", "secret-of-site-5")
            ven = Ven(settings, site, Owner(Bounds(-5_000.0, 5_000.0)), http, clock)
            supervisor.keep("ven", ven.run)
            await asyncio.sleep(2)
            room = Room(vtn, url, http, clock, supervisor, link, site, ven, log)
            await scene(room)
        journal.close()
        return room

    return run_virtual(main)


def test_a_command_reaches_the_device_by_webhook_and_its_progress_comes_back() -> None:
    polls = []

    async def scene(room: Room) -> None:
        polls.append(room.ven.polls)
        await room.command(-3_000.0)

    room = play(scene)
    assert room.site.power_w == -3_000.0
    assert room.log.stages == [Stage.ACCEPTED, Stage.DONE]
    assert -3_000.0 in room.log.power


def test_the_owner_s_bounds_hold_at_the_end_point_whatever_is_asked() -> None:
    async def scene(room: Room) -> None:
        await room.command(-7_500.0)

    assert play(scene).site.power_w == -5_000.0


def test_an_owner_who_opted_out_is_left_alone_and_the_command_is_rejected() -> None:
    async def scene(room: Room) -> None:
        room.ven.owner = Owner(Bounds(-5_000.0, 5_000.0), takes_part=False)
        await room.command(-3_000.0)

    room = play(scene)
    assert room.log.stages == [Stage.REJECTED]
    assert room.site.power_w == 0.0


def test_a_newer_command_replaces_the_older_and_an_older_one_never_comes_back() -> None:
    async def scene(room: Room) -> None:
        first = await room.command(1_000.0)
        await room.command(2_000.0)
        await room.link.send(first)
        await asyncio.sleep(5)

    room = play(scene)
    assert room.site.power_w == 2_000.0
    assert len([e for e in room.vtn.book.all("events") if e.get("eventName") != "telemetry"]) == 1


def test_a_silent_end_point_ends_unconfirmed() -> None:
    async def scene(room: Room) -> None:
        await room.supervisor.stop()
        await room.command(1_000.0)
        await asyncio.sleep(100)

    assert play(scene).log.stages[-1:] == [Stage.UNCONFIRMED]


def test_an_expired_command_is_never_published() -> None:
    async def scene(room: Room) -> None:
        await room.command(1_000.0, seconds=-1)

    room = play(scene)
    assert room.log.stages == [Stage.EXPIRED]
    assert room.link.sent == 0


def test_a_ven_sees_its_own_objects_and_only_events_that_its_targets_reach() -> None:
    seen = {}

    async def scene(room: Room) -> None:
        await room.command(1_000.0)
        seen["own"] = await room.call("site-5", "GET", "/events")
        seen["other"] = await room.call("site-6", "GET", "/events")
        seen["vens"] = await room.call("site-6", "GET", "/vens")
        event = next(e["id"] for e in room.vtn.book.all("events") if e.get("targets"))
        seen["one"] = await room.call("site-6", "GET", f"/events/{event}")
        seen["all"] = await room.call("bl", "GET", "/events")

    play(scene)
    assert len(seen["own"][1]) == 2
    assert [e["eventName"] for e in seen["other"][1]] == ["telemetry"]
    assert seen["vens"] == (200, [])
    assert seen["one"][0] == 404
    assert len(seen["all"][1]) == 2


def test_what_scopes_don_t_allow_is_403_and_without_a_token_all_is_401() -> None:
    found = {}

    async def scene(room: Room) -> None:
        program = {"programName": "p"}
        found["ven"] = (await room.call("site-5", "POST", "/programs", program))[0]
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


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/programs", {"programName": "tieline-dispatch"}, 409, "is taken"),
        ("/programs", {}, 400, "programName"),
        ("/programs", {"programName": "p", "colour": "red"}, 400, "colour"),
        ("/events", {"programID": "none", "intervals": []}, 409, "no such program"),
        ("/events", {"programID": "x", "intervals": [], "intervalPeriod": {"start": "noon"}}, 400, "$.intervalPeriod.start"),
        ("/events", {"programID": "x", "intervals": [], "intervalPeriod": {"start": "0001-01-01", "duration": "15m"}}, 400, "PT15M"),
    ],
)  # fmt: skip
def test_a_bad_body_is_a_problem_that_names_it(path: str, body: dict, status: int, says: str) -> None:
    found = []

    async def scene(room: Room) -> None:
        found.append(await room.call("bl", "POST", path, body))

    play(scene)
    assert found[0][0] == status
    assert says in found[0][1]["detail"]
    assert found[0][1]["status"] == status


def test_a_webhook_goes_only_where_the_allow_list_says() -> None:
    found = []

    async def scene(room: Room) -> None:
        operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "http://10.0.0.1/steal"}
        body = {"clientName": "site-6", "objectOperations": [operation]}
        found.append(await room.call("site-6", "POST", "/subscriptions", body))

    play(scene)
    assert found[0][0] == 403


def test_pages_hold_at_most_50() -> None:
    found = []

    async def scene(room: Room) -> None:
        for n in range(60):
            await room.vtn.publish("programs", b'{"programName": "p%d"}' % n)
        found.append(await room.call("bl", "GET", "/programs?skip=50"))
        found.append(await room.call("bl", "GET", "/programs?limit=51"))

    play(scene)
    assert (len(found[0][1]), found[1][0]) == (11, 400)


def test_what_was_answered_is_there_after_a_restart_and_measurements_are_not_in_the_journal(tmp_path: Path) -> None:
    async def first(room: Room) -> None:
        await room.command(1_500.0)

    async def second(room: Room) -> None:
        kept.append({kind: sorted(t["id"] for t in room.vtn.book.all(kind)) for kind in ("programs", "vens")})

    kept: list = []
    before = play(first, tmp_path / "j")
    play(second, tmp_path / "j")
    assert kept[0]["programs"] == sorted(t["id"] for t in before.vtn.book.all("programs"))
    assert len(kept[0]["vens"]) == 1
    journal = SqliteJournal(tmp_path / "j")
    assert not [r for r in journal.replay() if b'"DEMAND"' in r.body or b"DEMAND" in r.body]


# --- pure parts -----------------------------------------------------------------------------------------------------


def test_durations_and_instants_of_the_standard() -> None:
    """OpenADR 3.1: 0001-01-01 means now, P9999Y without end."""
    assert seconds_of("PT15M") == 900
    assert seconds_of("P1DT2H3.5S") == 86_400 + 7_200 + 3.5
    assert seconds_of("P9999Y") == 9999 * 365 * 86_400
    assert instant_ns("0001-01-01T00:00:00Z") is None
    for bad in ("15M", "P", "PT", "", "P-1D"):
        with pytest.raises(ObjectError):
            seconds_of(bad)
    with pytest.raises(ObjectError, match="offset"):
        instant_ns("2026-01-01T00:00:00")


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=200))
def test_any_body_is_an_object_or_the_declared_error(kind: str, body: bytes) -> None:
    try:
        read_object(kind, body)
    except ObjectError:
        pass


def test_kilowatts_of_the_load_become_watts_of_the_grid() -> None:
    payloads = [{"type": "DISPATCH_SETPOINT", "values": [2.5]}, {"type": "EXPORT_CAPACITY_LIMIT", "values": [4]}]
    event = {
        "id": "e", "eventName": "3.7", "intervals": [{"id": 0, "payloads": payloads}],
        "intervalPeriod": {"start": "2023-11-14T22:13:20Z", "duration": "PT15M"},
    }  # fmt: skip
    assert read_plan(event, 0) == Plan(3, 7, -2_500.0, Bounds(-math.inf, 4_000.0), START_NS + 900 * SECOND_NS)


OWNER = Owner(Bounds(-5_000.0, 5_000.0))


@given(st.floats(-1e5, 1e5), st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_no_plan_crosses_the_owner_s_bounds(target: float, low: float, width: float) -> None:
    plan = Plan(1, 1, target, Bounds(low, low + width), 100)
    hold = decide(plan, OWNER, math.nan, 50, 50, 0)
    assert -5_000 <= hold.target_w <= 5_000


def test_contact_lost_past_the_trip_time_falls_back_and_stays_for_a_while_after_it_returns() -> None:
    plan = Plan(1, 1, 1_000.0, Bounds(-math.inf, math.inf), 10 * SECOND_NS)
    late = 200 * SECOND_NS
    assert decide(plan, OWNER, -100.0, 5 * SECOND_NS, 0, 0).target_w == 1_000.0
    assert decide(plan, OWNER, -100.0, late, 0, 0).why == "contact is lost"
    assert decide(plan, OWNER, -100.0, late, late, late).why == "contact came back just now"
    assert math.isnan(decide(plan, OWNER, -100.0, late + 121 * SECOND_NS, late + 100 * SECOND_NS, late).target_w)


def test_only_a_newer_plan_replaces_the_last() -> None:
    bounds = Bounds(-1.0, 1.0)
    last = Plan(2, 5, 0.0, bounds, 0)
    assert newer(Plan(2, 6, 0.0, bounds, 0), last)
    assert newer(Plan(3, 1, 0.0, bounds, 0), last)
    assert not newer(Plan(2, 5, 9.0, bounds, 0), last)
    assert not newer(Plan(1, 9, 9.0, bounds, 0), last)
