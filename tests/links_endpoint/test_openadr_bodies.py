"""What the VTN refuses, by name: bodies, callbacks, sizes."""

import asyncio

import pytest
from openadr_calls import program, subscription
from openadr_room import Room, play

from tieline.links.endpoint.openadr.callbacks import is_allowed, read_origins
from tieline.links.endpoint.openadr.limits import VtnLimits
from tieline.times import HOUR_NS, iso


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


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"programName": "a", "programName": "b"}', b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b"", b'{"a": ' + b"9" * 5_000 + b"}", b'{"programName": "\\ud800"}', b'{"programName": "p", "\\udfff": 1}'])  # fmt: skip
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


def test_a_new_event_that_is_over_is_refused_and_one_that_has_begun_is_followed_from_now_on_and_says_so() -> None:
    found = {}

    async def scene(room: Room) -> None:
        found["at"] = now_ns = room.clock.now_ns()
        of = await program(room, "p")
        headers = await room.token("bl")
        said = [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [-2]}]}]
        hours = {"over": -2, "begun": -0.5, "now": 0, "ahead": 2}
        for name, hour in hours.items():
            period = {"start": iso(now_ns + round(hour * HOUR_NS)), "duration": "PT1H"}
            body = {"programID": of, "eventName": name, "intervals": said, "intervalPeriod": period}
            answer = await room.http.post(room.url + "/events", json=body, headers=headers)
            found[name] = (answer.status_code, answer.headers.get("tieline-note"), answer.json().get("detail"))
        _, listed = await room.call("bl", "GET", f"/events?programID={of}")
        found["kept"] = [each["eventName"] for each in listed]
        await asyncio.sleep(2)
        found["followed"] = room.site.power_w

    play(scene, is_bound=False)
    now = iso(found["at"])[: len("2023-11-14T22:13:22")]
    over = f"$.intervalPeriod: over at {iso(found['at'] - HOUR_NS)}: give an event that ends after {now}"
    assert (found["over"][0], found["over"][2][: len(over)]) == (400, over)
    begun = f"began at {iso(found['at'] - HOUR_NS // 2)}: it is followed from {now}"
    assert (found["begun"][0], found["begun"][1][: len(begun)]) == (201, begun)
    assert (found["now"], found["ahead"]) == ((201, None, None), (201, None, None))
    assert (found["kept"], found["followed"]) == (["begun", "now", "ahead"], 2_000.0)
