"""Webhooks: who is told what, in which order, how often, and what never leaks."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from openadr_room import Room, play
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tieline.links.endpoint.openadr.access import Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.callbacks import read_origins
from tieline.links.endpoint.openadr.notify import Notifier, WebhookLimits
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.rim.http import Answer, TimedOut
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.wire.openadr3.objects import read_object


class Callback:
    """Somebody's callback: it notes what comes, and answers as it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict]] = []
        self.answers: list[int] = []
        self.tries = 0
        self.body = b""

    async def start(self) -> str:
        async def take(request: Request) -> Response:
            self.tries += 1
            status = self.answers.pop(0) if self.answers else 200
            if status < 300:
                self.seen.append((request.headers.get("authorization", ""), await request.json()))
            headers = {"location": "http://127.0.0.1:1/elsewhere"} if status == 307 else {}
            return Response(self.body, status_code=status, headers=headers)

        server = await serve_asgi(Starlette(routes=[Route("/hook", take, methods=["POST"])]), "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"

    def names(self) -> list[str]:
        return [f"{said['operation']} {said['object'].get('eventName', said['objectType'])}" for _, said in self.seen]


async def subscribe(room: Room, client: str, url: str, objects: list[str], **more: Any) -> dict:
    operations = more.pop("operations", ["CREATE", "UPDATE", "DELETE"])
    wish = {"objects": objects, "operations": operations, "callbackUrl": url, "bearerToken": f"hush-{client}"}
    status, made = await room.call(
        client, "POST", "/subscriptions", {"clientName": client, "objectOperations": [wish], **more}
    )
    assert status == 201, made
    return made


async def publish(room: Room, name: str, **more: Any) -> dict:
    of = room.vtn.book.named("programs", "p") or (await room.call("bl", "POST", "/programs", {"programName": "p"}))[1]
    body = {"programID": of["id"], "eventName": name, "intervals": [], **more}
    status, made = await room.call("bl", "POST", "/events", body)
    assert status == 201, made
    return made


async def grant(room: Room, client: str, *targets: str) -> None:
    body = {"objectType": "BL_VEN_REQUEST", "venName": f"v-{client}", "clientID": client, "targets": list(targets)}
    assert (await room.call("bl", "POST", "/vens", body))[0] == 201


def test_each_is_told_of_what_it_may_see_and_wished_for_with_hidden_targets_hidden() -> None:
    mine, others, business = Callback(), Callback(), Callback()

    async def scene(room: Room) -> None:
        await grant(room, "site-6", "street-1")
        await subscribe(room, "site-6", await mine.start(), ["EVENT"])
        await subscribe(room, "site-5", await others.start(), ["EVENT"], operations=["DELETE"])
        await subscribe(room, "bl", await business.start(), ["EVENT", "REPORT", "SUBSCRIPTION"])
        made = await publish(room, "street", targets=["street-1", "other"])
        await publish(room, "far", targets=["other"])
        await publish(room, "all")
        await room.call("bl", "DELETE", f"/events/{made['id']}")
        await asyncio.sleep(5)

    play(scene, keep_ven=False)
    assert mine.names() == ["CREATE street", "CREATE all", "DELETE street"]
    assert mine.seen[0][1]["object"]["targets"] == ["street-1"]
    assert {token for token, _ in mine.seen} == {"Bearer hush-site-6"}
    assert others.names() == []  # of "street" it may know nothing, its end included
    assert business.names()[-4:] == ["CREATE street", "CREATE far", "CREATE all", "DELETE street"]
    assert "hush-site" not in str([said for _, said in business.seen])  # the owner's token stays the owner's


def test_a_subscription_is_narrowed_by_its_program_and_its_targets_and_takes_both_words_for_an_operation() -> None:
    by_program, by_target = Callback(), Callback()

    async def scene(room: Room) -> None:
        await grant(room, "site-6", "a", "b")
        _, other = await room.call("bl", "POST", "/programs", {"programName": "other"})
        how = {"operations": ["POST"]}  # as 3.0.1 named it
        await subscribe(room, "site-6", await by_program.start(), ["EVENT"], programID=other["id"], **how)
        await subscribe(room, "site-6", await by_target.start(), ["EVENT"], targets=["a"], **how)
        await publish(room, "with b", targets=["b"])
        await publish(room, "with a", targets=["a", "b"])
        await publish(room, "in other", programID=other["id"])
        await asyncio.sleep(5)

    play(scene, keep_ven=False)
    assert by_program.names() == ["CREATE in other"]
    assert [(s["object"]["eventName"], s["object"]["targets"]) for _, s in by_target.seen] == [("with a", ["a"])]


def test_a_callback_that_fails_is_tried_again_in_order_and_holds_up_nobody_else() -> None:
    bad, good = Callback(), Callback()
    bad.answers = [500, 503, 307, 404]
    at = {}

    async def scene(room: Room) -> None:
        await subscribe(room, "site-6", await bad.start(), ["EVENT"])
        await subscribe(room, "site-5", await good.start(), ["EVENT"])
        for n in range(3):
            await publish(room, f"e{n}")
        await asyncio.sleep(0.2)
        at["good"] = list(good.names())
        await asyncio.sleep(120)

    play(scene, keep_ven=False)
    assert at["good"] == ["CREATE e0", "CREATE e1", "CREATE e2"]
    assert bad.names() == ["CREATE e0", "CREATE e1", "CREATE e2"]
    assert bad.tries == 7


def test_a_callback_that_is_gone_is_given_up_after_its_tries_and_the_queue_is_bounded() -> None:
    gone = Callback()
    gone.answers = [500] * 1_000

    async def scene(room: Room) -> None:
        await subscribe(room, "site-6", await gone.start(), ["EVENT"])
        for n in range(20):
            await publish(room, f"e{n}")
        await asyncio.sleep(3_600)

    room = play(scene, keep_ven=False, webhooks=WebhookLimits(tries=3, waiting=5))
    assert room.vtn.notifier.notified == 0
    assert room.vtn.notifier.lost == 20
    assert gone.tries == 3 * 5 or gone.tries == 3 * 6  # the first may already be on its way when the queue fills


class Switch:
    """The kill switch at the last hop."""

    is_pressed = False

    def passes(self, batch: CommandBatch) -> np.ndarray:
        return np.full(len(batch.rows), not self.is_pressed)


def test_a_webhook_that_waits_is_asked_again_and_never_leaves_once_the_kill_switch_is_pressed() -> None:
    """The callback is down when the command is published; it comes back after the press, and hears of no setpoint."""
    callback, switch = Callback(), Switch()
    callback.answers = [503] * 4

    async def scene(room: Room) -> None:
        room.link.last_hop = switch
        await subscribe(room, "site-5", await callback.start(), ["EVENT"])
        await room.command(2_000.0, wait_s=1.0)
        assert callback.tries >= 1
        switch.is_pressed = True
        await asyncio.sleep(300)
        assert room.log.stages == [Stage.CANCELLED]
        assert "CREATE dispatch 1.1" not in callback.names()
        assert room.vtn.notifier.barred >= 1
        switch.is_pressed = False
        await room.command(1_000.0, wait_s=300.0)
        assert "CREATE dispatch 1.2" in callback.names()

    play(scene, keep_ven=False)


def test_an_event_that_a_newer_command_withdrew_before_it_was_told_is_told_no_more() -> None:
    callback = Callback()
    callback.answers = [503]

    async def scene(room: Room) -> None:
        await subscribe(room, "site-5", await callback.start(), ["EVENT"], operations=["CREATE"])
        for power_w in (2_000.0, 1_000.0):
            await room.command(power_w, wait_s=0.1)
        await asyncio.sleep(300)

    play(scene, keep_ven=False)
    assert callback.names() == ["CREATE dispatch 1.2"]


def test_a_deleted_subscription_is_told_no_more() -> None:
    callback = Callback()
    callback.answers = [500] * 3

    async def scene(room: Room) -> None:
        made = await subscribe(room, "site-6", await callback.start(), ["EVENT"])
        await publish(room, "e")
        await room.call("site-6", "DELETE", f"/subscriptions/{made['id']}")
        await asyncio.sleep(600)

    play(scene, keep_ven=False)
    assert callback.seen == []


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    callback = Callback()
    callback.body = b"x" * 10_000_000

    async def scene(room: Room) -> None:
        await subscribe(room, "site-6", await callback.start(), ["EVENT"])
        await publish(room, "e")
        await asyncio.sleep(5)
        assert room.vtn.notifier.notified == 1

    play(scene, keep_ven=False)


def test_subscriptions_of_one_client_are_bounded() -> None:
    found = []

    async def scene(room: Room) -> None:
        for n in range(22):
            wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": f"http://127.0.0.1:{n + 1}/"}
            body = {"clientName": "c", "objectOperations": [wish]}
            found.append((await room.call("site-6", "POST", "/subscriptions", body))[0])

    play(scene, keep_ven=False)
    assert found == [201] * 20 + [403] * 2


def test_a_subscription_is_served_after_a_restart(tmp_path: Path) -> None:
    callback, urls = Callback(), []

    async def first(room: Room) -> None:
        wish_url = "http://127.0.0.1:7777/hook"
        await subscribe(room, "site-6", wish_url, ["EVENT"])

    async def second(room: Room) -> None:
        async def take(request: Request) -> Response:
            urls.append(await request.json())
            return Response(status_code=200)

        await serve_asgi(Starlette(routes=[Route("/hook", take, methods=["POST"])]), "127.0.0.1", 7777)
        await publish(room, "after")
        await asyncio.sleep(5)

    play(first, tmp_path / "j", keep_ven=False)
    play(second, tmp_path / "j", keep_ven=False)
    assert [said["object"]["eventName"] for said in urls] == ["after"]
    assert callback.seen == []


def test_no_secret_stands_in_any_log() -> None:
    gone = Callback()
    gone.answers = [500] * 100
    structlog.reset_defaults()  # the command line lets errors alone through, and a test before this may have run it
    with structlog.testing.capture_logs() as logs:

        async def scene(room: Room) -> None:
            await subscribe(room, "site-6", await gone.start(), ["EVENT"])
            await publish(room, "e")
            await room.call("site-6", "POST", "/subscriptions", {"clientName": "x", "objectOperations": []})
            await asyncio.sleep(3_600)
            room.server.close()
            await asyncio.sleep(300)

        play(scene, webhooks=WebhookLimits(tries=3))
    said = str(logs)
    assert "webhook given up" in said
    for secret in ("hush-", "secret-of-", "Bearer ", "eyJ"):
        assert secret not in said


@pytest.mark.parametrize("vens", [200, 2_000])
def test_telling_one_ven_does_not_look_at_all_the_others(vens: int) -> None:
    """An event for one of many finds its one subscriber; the audit found a scan of all VENs for each of all subscribers."""
    looked: list[int] = []

    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 10**18)
        async with Supervisor(np.random.default_rng(0)) as supervisor:

            class Fast:
                async def append(self, records: Any) -> int:
                    return 0

            book = Book(Fast(), clock)
            scopes = frozenset({"read_targets", "read_ven_objects"})
            tokens = Tokens(
                {f"c{n}": Client(f"c{n}", secret_digest("s"), scopes) for n in range(vens)}, b"k" * 32, clock
            )
            for n in range(vens):
                ven = b'{"venName": "v%d", "clientID": "c%d", "targets": ["t%d"]}' % (n, n, n)
                await book.add("vens", read_object("vens", ven), "bl")
                wish = b'{"clientName": "c", "objectOperations": [{"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "http://h/"}]}'
                await book.add("subscriptions", read_object("subscriptions", wish), f"c{n}")
            notifier = Notifier(book, tokens, supervisor, None, (), np.random.default_rng(0), WebhookLimits())
            thing = {"id": "e", "targets": ["t7"], "programID": "p"}
            began = time.perf_counter()
            for _ in range(200):
                looked.append(len(list(notifier._subscribers("events", thing))))
            each_s = (time.perf_counter() - began) / 200
            assert each_s < 1e-3, each_s

    run_virtual(main)
    assert set(looked) == {1}


def test_hundreds_that_never_answer_do_not_keep_waiting_who_does() -> None:
    """A street without power: 400 end-points let each webhook run into its ten seconds, and one is there."""
    told_at: dict[str, float] = {}

    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 10**18)

        class Fast:
            async def append(self, records: Any) -> int:
                return 0

        class Street:
            async def call(self, method: str, url: str, *, content: bytes, answer_s: float, **how: Any) -> Answer:
                if "silent" in url:
                    await asyncio.sleep(answer_s)
                    raise TimedOut(url)
                told_at[json.loads(content)["object"]["id"]] = loop.time()
                return Answer(200, {}, b"")

        async with Supervisor(np.random.default_rng(0)) as supervisor:
            book, scopes = Book(Fast(), clock), frozenset({"read_targets", "read_ven_objects"})
            names = [*(f"silent-{n}" for n in range(400)), "there"]
            tokens = Tokens({name: Client(name, secret_digest("s"), scopes) for name in names}, b"k" * 32, clock)
            for name in names:
                wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": f"http://127.0.0.1:9/{name}"}
                body = json.dumps({"clientName": name, "objectOperations": [wish]}).encode()
                await book.add("subscriptions", read_object("subscriptions", body), name)
            origins = read_origins(("http://127.0.0.1:9/",))
            rng = np.random.default_rng(0)
            notifier = Notifier(book, tokens, supervisor, Street(), origins, rng, WebhookLimits())
            for minute in range(20):
                notifier.tell("events", "CREATE", {"id": f"e{minute}", "programID": "p"})
                await asyncio.sleep(60)

    run_virtual(main)
    late_s = [told_at[f"e{minute}"] - 60 * minute for minute in range(20)]
    assert max(late_s[2:]) < 1.0, late_s
