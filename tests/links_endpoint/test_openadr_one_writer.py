"""A resource that the desk commands takes commands from the desk alone, whoever writes events and whenever."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from openadr_calls import grant, program
from openadr_room import Room, play
from test_openadr_webhooks import Callback, subscribe

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.access import Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import DESK
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.links.endpoint.openadr.one_writer import OneWriter
from tieline.links.endpoint.openadr.settings import EndPointName, OpenAdrSettings, check
from tieline.wire.openadr3.objects import read_object

NOW = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT2H"}}
GIVES_4_KW = [{"type": "DISPATCH_SETPOINT", "values": [-4]}]
PRICE = [{"type": "PRICE", "values": [0.3]}]


def asking(of: str, payloads: list[dict[str, Any]], targets: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """Return an event of now with one interval."""
    said = {"programID": of, "intervals": [{"id": 0, "payloads": payloads}], **NOW, **more}
    return said if targets is None else {**said, "targets": targets}


async def keep(room: Room, body: dict[str, Any]) -> dict[str, Any]:
    """Keep an event of a client as it was kept before such were refused."""
    return await room.vtn.book.add("events", read_object("events", msgspec.json.encode(body)), "bl")


async def give(room: Room, *targets: str) -> None:
    """Give the VEN of the desk's resource targets, beside its own."""
    ven = room.vtn.book.named("vens", "site-5")
    assert ven is not None
    said = await room.call("bl", "PUT", f"/vens/{ven['id']}", {**ven, "targets": ["site-5", *targets]})
    assert said[0] == 200, said


def is_free(room: Room) -> bool:
    """Return whether the device was never told a power."""
    return all(math.isnan(hold.target_w) for hold in room.site.holds) and room.site.power_w == 0.0


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "field", "value"),
    [
        (["site-5"], "$.targets[0]", '"site-5"'),
        (["nobody", "street-1"], "$.targets[1]", '"street-1"'),
        ([], "$.targets", "[]"),
        (None, "$.targets", "null"),
    ],
)
def test_an_event_that_would_command_a_resource_of_the_desk_is_refused_new_and_changed_and_says_where_to_ask(
    targets: list[str] | None, field: str, value: str
) -> None:
    async def scene(room: Room) -> None:
        await give(room, "street-1")
        of = await program(room)
        status, price = await room.call("bl", "POST", "/events", asking(of, PRICE, targets))
        assert status == 201
        kept = dict(room.vtn.book.things["events"])
        for method, path in (("POST", "/events"), ("PUT", f"/events/{price['id']}")):
            status, said = await room.call("bl", method, path, asking(of, GIVES_4_KW, targets))
            assert (status, said["type"]) == (403, "/openapi.json#/components/schemas/WrongValue"), said
            assert (said["field"], said["value"]) == (field, value)
            assert "DISPATCH_SETPOINT would command it" in said["limit"] and field in said["detail"]
            assert "POST /api/v1/resources/{resource}/limit" in said["limit"] and "POST /api/v1/events" in said["limit"]
        assert room.vtn.book.things["events"] == kept
        await asyncio.sleep(300)
        assert is_free(room)

    play(scene)


@pytest.mark.parametrize(
    "payloads",
    [
        [],  # it lets the device run by itself
        [*PRICE, *GIVES_4_KW],
        [{"type": "CONTROL_SETPOINT", "values": ["off"]}],
        [{"type": "dispatch_setpoint", "values": [-4]}],
        [{"type": "GIVE_ALL", "values": [True]}],
    ],
)
def test_what_is_not_known_to_inform_alone_commands(payloads: list[dict[str, Any]]) -> None:
    async def scene(room: Room) -> None:
        of = await program(room)
        status, said = await room.call("bl", "POST", "/events", asking(of, payloads, ["site-5"]))
        assert (status, said["field"]) == (403, "$.targets[0]"), said
        later = asking(of, PRICE, ["site-5"])
        later["intervals"].append({"id": 1, "payloads": payloads})
        assert (await room.call("bl", "POST", "/events", later))[0] == 403
        status, said = await room.call("bl", "POST", "/events", asking(of, payloads, ["elsewhere"]))
        assert status == 201, said

    play(scene, keep_ven=False)


def test_what_informs_and_what_asks_for_reports_comes_to_every_ven_as_before() -> None:
    async def scene(room: Room) -> None:
        of, wish = await program(room), {"reportDescriptors": [{"payloadType": "USAGE"}]}
        alert = [{"type": "ALERT_FLEX_ALERT", "values": ["spare what you can"]}]
        made = []
        for body in (asking(of, PRICE), asking(of, alert, ["site-5"]), {"programID": of, "intervals": [], **wish}):
            status, said = await room.call("bl", "POST", "/events", body)
            assert status == 201, said
            made.append(said["id"])
        seen = [(await room.call("site-5", "GET", f"/events{query}"))[1] for query in ("", "?targets=site-5")]
        assert set(made) <= {each["id"] for page in seen for each in page}
        await room.command(-3_000.0)
        assert room.site.power_w == -3_000.0  # and the desk's own word is followed beside them

    play(scene)


def test_a_payload_type_that_sender_and_operator_agreed_on_may_inform_and_none_of_the_standard_s_commands_may() -> None:
    async def scene(room: Room) -> None:
        room.vtn.one_writer.bind(OpenAdrSettings({}, private_informing=("WEATHER",)))
        of = await program(room)
        for name, expected in {"WEATHER": 201, "GIVE_ALL": 403}.items():
            body = asking(of, [{"type": name, "values": [1]}], ["site-5"])
            assert (await room.call("bl", "POST", "/events", body))[0] == expected

    play(scene, keep_ven=False)
    for word, says in {"SIMPLE": "it commands", "": "give 1 to 128 characters"}.items():
        with pytest.raises(ConfigError, match=says):
            check(OpenAdrSettings({}, private_informing=("WEATHER", word)))


# --- never shown ------------------------------------------------------------------------------------------------------


def test_an_event_from_before_is_shown_to_no_ven_of_the_desk_by_no_call_and_no_webhook(tmp_path: Path) -> None:
    made: dict[str, str] = {}

    async def before(room: Room) -> None:
        of = await program(room)
        for name, targets in {"named": ["site-5"], "group": ["site-5", "street-1"], "everybody": None}.items():
            made[name] = (await keep(room, asking(of, GIVES_4_KW, targets)))["id"]

    async def after(room: Room) -> None:
        await asyncio.sleep(300)
        assert is_free(room)
        for query in ("", "?targets=site-5", "?targets=street-1", "?limit=1", "?targets=site-5&limit=1&skip=1"):
            _, listed = await room.call("site-5", "GET", f"/events{query}")
            assert not set(made.values()) & {each["id"] for each in listed}, query
        for each in made.values():
            assert (await room.call("site-5", "GET", f"/events/{each}"))[0] == 404
        of = (await room.call("bl", "GET", f"/events/{made['named']}"))[1]["programID"]
        # The desk's own comes, though what is kept back stands before it.
        await room.command(-3_000.0)
        assert room.site.power_w == -3_000.0
        # Its writer may end it, or turn it into what informs; and then it is shown.
        assert (await room.call("bl", "PUT", f"/events/{made['named']}", asking(of, GIVES_4_KW, ["site-5"])))[0] == 403
        assert (await room.call("bl", "PUT", f"/events/{made['named']}", asking(of, PRICE, ["site-5"])))[0] == 200
        assert (await room.call("site-5", "GET", f"/events/{made['named']}"))[0] == 200
        assert (await room.call("bl", "DELETE", f"/events/{made['group']}"))[0] == 200
        await asyncio.sleep(300)
        assert room.site.power_w == -3_000.0

    play(before, tmp_path / "j", keep_ven=False, is_bound=False)
    play(after, tmp_path / "j")


def test_a_ven_that_is_given_a_group_later_is_not_shown_what_commands_the_group() -> None:
    async def scene(room: Room) -> None:
        await grant(room, "site-6", "street-1")
        of = await program(room)
        status, made = await room.call("bl", "POST", "/events", asking(of, GIVES_4_KW, ["street-1"]))
        assert status == 201
        await give(room, "street-1")
        await asyncio.sleep(300)
        assert "street-1" in room.vtn.book.granted("site-5") and is_free(room)
        for client, statuses in {"site-5": 404, "site-6": 200}.items():
            assert (await room.call(client, "GET", f"/events/{made['id']}"))[0] == statuses

    play(scene)


def test_a_webhook_of_a_ven_of_the_desk_is_told_no_command_of_others_and_their_ends() -> None:
    mine, others = Callback(), Callback()

    async def scene(room: Room) -> None:
        await subscribe(room, "site-5", await mine.start(), ["EVENT"])
        await subscribe(room, "site-6", await others.start(), ["EVENT"])
        of = await program(room)
        made = await keep(room, asking(of, GIVES_4_KW, eventName="all"))
        room.vtn.notifier.tell("events", "CREATE", made)
        room.vtn.notifier.tell("events", "UPDATE", made)
        assert (await room.call("bl", "DELETE", f"/events/{made['id']}"))[0] == 200
        await asyncio.sleep(5)

    play(scene, keep_ven=False)
    assert mine.names() == ["DELETE all"]
    assert others.names() == ["CREATE all", "UPDATE all", "DELETE all"]


def test_a_client_that_speaks_for_a_resource_is_not_shown_what_others_command_even_if_it_may_read_all() -> None:
    async def scene(room: Room) -> None:
        bound = OpenAdrSettings({5: EndPointName("site-5", "site-5"), 6: EndPointName("site-6", "bl")})
        link = OpenAdrLink(bound, room.vtn, room.log, room.clock, room.supervisor, "both")
        of = await program(room)
        made = await keep(room, asking(of, GIVES_4_KW, ["elsewhere"]))
        assert (await room.call("bl", "GET", f"/events/{made['id']}"))[0] == 404
        _, listed = await room.call("bl", "GET", "/events")
        assert made["id"] not in {each["id"] for each in listed}
        # A VEN's name counts as its target from the first, also before the VEN is made.
        assert (await room.call("bl", "POST", "/events", asking(of, GIVES_4_KW, ["site-6"])))[0] == 403
        link.stop()

    play(scene, keep_ven=False)


def test_no_client_has_the_desk_s_own_name() -> None:
    clients = {DESK: Client(DESK, secret_digest("s"), frozenset({"write_events"}))}

    async def scene(room: Room) -> None:
        with pytest.raises(ConfigError, match="the desk itself writes under this name"):
            OneWriter(room.vtn.book, Tokens(clients, b"k" * 32, room.clock))

    play(scene, keep_ven=False)


# --- whatever targets, groups and payloads -----------------------------------------------------------------------------

GROUPS = ("site-5", "site-6", "street-1", "street-2", "feeder-1")
COMMANDING = (
    ("SIMPLE", 1), ("DISPATCH_SETPOINT", -4), ("DISPATCH_SETPOINT_RELATIVE", 1), ("IMPORT_CAPACITY_LIMIT", 0),
    ("CHARGE_STATE_SETPOINT", 1), ("OLS", 0.5), ("CONTROL_SETPOINT", "x"), ("CTA2045_REBOOT", 1), ("OWN", 1),
)  # fmt: skip
INFORMING = (("PRICE", 0.3), ("GHG", 1), ("ALERT_FIRE", "fire"), ("IMPORT_CAPACITY_SUBSCRIPTION", 5))


class Drawn:
    """Choices of a seed, each one of few."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def some(self, of: tuple[str, ...]) -> list[str]:
        return [each for each in of if self._rng.random() < 0.3]

    def is_so(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def intervals(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the intervals of an event and whether they command."""
        found, commands = [], False
        for at in range(int(self._rng.integers(1, 4))):
            kinds = COMMANDING if self.is_so(0.25) else INFORMING
            drawn = self._rng.choice(len(kinds), int(self._rng.integers(0 if self.is_so(0.1) else 1, 3)), replace=False)
            found.append({"id": at, "payloads": [{"type": kinds[n][0], "values": [kinds[n][1]]} for n in drawn]})
            commands |= kinds is COMMANDING or not len(drawn)
        return found, commands


@pytest.mark.parametrize("seed", range(4))
def test_whatever_targets_groups_and_payloads_a_ven_of_the_desk_is_shown_no_command_but_the_desk_s(seed: int) -> None:
    drawn, counts = Drawn(seed), {201: 0, 200: 0, 403: 0}

    async def scene(room: Room) -> None:
        book, of = room.vtn.book, await program(room)
        commands: dict[str, bool] = {}
        for _ in range(60):
            if drawn.is_so(0.3):
                await give(room, *drawn.some(GROUPS[2:]))
            if drawn.is_so(0.2):  # groups by a resource behind the VEN count as the VEN's own do
                ven = book.named("vens", "site-5")
                assert ven is not None
                old = book.named("resources", ven["id"], "shed")
                body = {"resourceName": "shed", "venID": ven["id"], "targets": drawn.some(GROUPS[2:])}
                how = ("PUT", f"/resources/{old['id']}") if old else ("POST", "/resources")
                assert (await room.call("bl", *how, body))[0] in (200, 201)
            (intervals, is_command), targets = drawn.intervals(), drawn.some(GROUPS)
            held = book.granted("site-5")
            is_reached = not targets or bool(set(targets) & held)
            body = {"programID": of, "intervals": intervals, **NOW, "targets": targets or None}
            changed = next((i for i in commands if drawn.is_so(0.1)), None)
            how = ("POST", "/events") if changed is None else ("PUT", f"/events/{changed}")
            status, said = await room.call("bl", *how, body)
            assert (status == 403) == (is_command and is_reached), (body, held, said)
            assert status in ((201 if changed is None else 200), 403), said
            counts[status] += 1
            if status != 403:
                commands[said["id"]] = is_command
            await shown_rightly(room, commands)
        await room.command(-3_000.0, wait_s=10)
        assert room.site.power_w == -3_000.0
        assert {hold.target_w for hold in room.site.holds if not math.isnan(hold.target_w)} == {-3_000.0}

    async def shown_rightly(room: Room, commands: dict[str, bool]) -> None:
        wanted = drawn.some(GROUPS)
        query = "&".join(f"targets={each}" for each in wanted)
        for client in ("site-5", "site-6"):
            held = room.vtn.book.granted(client)
            asked = set(wanted) & held
            expected = set()
            for thing in room.vtn.book.all("events"):
                reached = set(thing.get("targets") or ())
                is_seen = asked <= reached and bool(asked) if wanted else not reached
                if is_seen and thing["id"] in commands and not (client == "site-5" and commands[thing["id"]]):
                    expected.add(thing["id"])
            seen: set[str] = set()
            for skip in range(0, 200, 50):
                _, page = await room.call(client, "GET", f"/events?skip={skip}&{query}")
                seen |= {each["id"] for each in page}
            assert seen & commands.keys() == expected

    play(scene)
    assert all(counts.values()), counts
