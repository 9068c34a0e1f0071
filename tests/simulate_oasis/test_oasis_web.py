"""The price reader against the price service on virtual time: whole days, every fault, and the desk's own answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from tieline.desk.ports import Session
from tieline.desk.prices import SendPrices, TakenPrices
from tieline.errors import ConfigError
from tieline.links.grid.oasis_web import OasisSettings, OasisWeb
from tieline.resource.claim import Refusal
from tieline.rim.http import HttpClient
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.prices import ZONE, prices_of
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.oasis.app import OasisApp
from tieline.times import HOUR_NS, MINUTE_NS, Clock, market_day, to_ns

DOCUMENT: dict[str, Any] = {
    "url": "http://127.0.0.1:8088/oasisapi/SingleZip",
    "zone": "America/Chicago",
    "nodes": {"north": "HB_NORTH"},
}
NOON = to_ns(datetime(2021, 6, 15, 12, tzinfo=ZONE))


@dataclass
class PriceDesk:
    """Keeps what it is brought, and can refuse."""

    sent: list[SendPrices] = field(default_factory=list)
    refusing: Refusal | None = None

    async def prices(self, sent: SendPrices, by: str) -> TakenPrices | Refusal:
        if self.refusing is not None:
            return self.refusing
        self.sent.append(sent)
        return TakenPrices(len(sent.start_ns), len(sent.start_ns))

    def of(self, market: str) -> dict[int, float]:
        mine = [each for each in self.sent if each.market == market]
        return {at: price for each in mine for at, price in zip(each.start_ns, each.price_per_mwh, strict=True)}


@dataclass
class Scene:
    clock: Clock
    desk: PriceDesk
    link: OasisWeb
    app: OasisApp


def play(act: Callable[[Scene], Awaitable[None]], start_ns: int = NOON, **settings: Any) -> Scene:
    async def main(loop: VirtualLoop) -> Scene:
        clock = VirtualClock(loop, start_ns)
        app, desk = OasisApp(clock), PriceDesk()
        server = await serve_asgi(app, "127.0.0.1", 8088)
        async with HttpClient() as client, Supervisor(np.random.default_rng(3)) as supervisor:
            how = msgspec.convert({**DOCUMENT, **settings}, OasisSettings)
            link = OasisWeb(how, client, desk, clock, np.random.default_rng(4))
            supervisor.keep("oasis", link.run)
            scene = Scene(clock, desk, link, app)
            await act(scene)
        server.close()
        return scene

    return run_virtual(main)


@pytest.mark.parametrize("form", ["csv", "xml"])
def test_day_ahead_prices_come_as_they_are_posted_and_to_the_cent(form: str) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(600)
        today, tomorrow = date(2021, 6, 15), date(2021, 6, 16)
        assert scene.desk.of("day_ahead") == pytest.approx(prices_of("HB_NORTH", today))
        await asyncio.sleep(2 * 3600)
        assert scene.desk.of("day_ahead") == pytest.approx(
            prices_of("HB_NORTH", today) | prices_of("HB_NORTH", tomorrow)
        )
        # HB_NORTH, 2021-06-15, HE18 in ERCOT report 13060.
        assert scene.desk.of("day_ahead")[to_ns(datetime(2021, 6, 15, 17, tzinfo=ZONE))] == 1395.54
        asked = [query for query in scene.app.queries if query.market == "DAM"]
        await asyncio.sleep(3 * 3600)
        assert [query for query in scene.app.queries if query.market == "DAM"] == asked, (
            "what is whole is not asked again"
        )
        assert scene.link.health().session is Session.LIVE and scene.link.health().errors == 0

    assert play(act, form=form).app.hurried == 0


@pytest.mark.parametrize(("day", "hours"), [(date(2021, 3, 14), 23), (date(2021, 11, 7), 25), (date(2021, 6, 16), 24)])
def test_a_day_has_as_many_prices_as_hours_and_no_hour_of_another(day: date, hours: int) -> None:
    over = market_day(day, ZONE)

    async def act(scene: Scene) -> None:
        await asyncio.sleep(600)
        found = [each for each in scene.desk.sent if each.start_ns[0] == over.start_ns]
        assert [len(each.start_ns) for each in found] == [hours]
        assert found[0].start_ns == list(range(over.start_ns, over.end_ns, HOUR_NS))

    play(act, over.start_ns - 10 * HOUR_NS, markets=["day_ahead"])


def test_five_minute_prices_are_followed_from_a_day_back_with_no_hole_and_none_twice() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(4 * 3600)
        found = scene.desk.of("real_time")
        starts = sorted(found)
        assert starts == list(range(starts[0], starts[0] + len(starts) * 5 * MINUTE_NS, 5 * MINUTE_NS))
        assert starts[0] == NOON - 24 * HOUR_NS
        assert scene.clock.now_ns() - starts[-1] <= 16 * MINUTE_NS
        assert sum(len(each.start_ns) for each in scene.desk.sent if each.market == "real_time") == len(starts)
        assert {each.step_s for each in scene.desk.sent} == {300}

    play(act, markets=["real_time"])


@pytest.mark.parametrize(("fault", "word"), [("busy", "busy"), ("page", "no zip"), ("cut", "no zip"), ("spoiled", "")])
def test_a_fault_of_the_service_costs_time_and_no_price(fault: str, word: str) -> None:
    async def act(scene: Scene) -> None:
        scene.app.faults.extend([fault] * 4)
        seen, said = set(), set()
        for _ in range(240):
            await asyncio.sleep(5)
            seen.add(scene.link.health().session)
            said.add(scene.link.health().last_error)
        assert Session.DEGRADED in seen and scene.link.health().session is Session.LIVE
        assert any(word in one for one in said if one), "why it costs time is told while it does"
        assert scene.link.health().last_error == "", "and no longer"
        assert scene.desk.of("day_ahead") == pytest.approx(prices_of("HB_NORTH", date(2021, 6, 15)))

    play(act, markets=["day_ahead"])


def test_calls_keep_the_distance_that_the_service_wants() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(600)

    scene = play(act, nodes={"north": "HB_NORTH", "houston": "LZ_HOUSTON"})
    assert scene.app.hurried == 0 and len(scene.app.queries) >= 4
    hurried = play(act, spacing_s=0.5)
    assert hurried.app.hurried > 0 and hurried.desk.of("day_ahead"), "and is waited out where it is not kept"


def test_a_node_that_there_is_not_is_no_price_and_a_refusal_of_the_desk_is_told() -> None:
    async def unknown(scene: Scene) -> None:
        await asyncio.sleep(600)
        assert scene.desk.sent == [] and scene.link.health().session is Session.LIVE

    play(unknown, nodes={"north": "NOWHERE"})

    async def refused(scene: Scene) -> None:
        scene.desk.refusing = Refusal("no such zone", "zone", "north", "one of HB_NORTH")
        await asyncio.sleep(60)
        health = scene.link.health()
        assert health.refused >= 1 and "no such zone" in health.last_error

    play(refused)


def test_a_service_that_is_gone_is_told_and_found_again() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(60)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        assert scene.link.health().session is Session.LIVE
        scene.link._settings = msgspec.structs.replace(scene.link._settings, url="http://127.0.0.1:9/none")
        await asyncio.sleep(900)
        assert scene.link.health().session is Session.DOWN
        scene.link._settings = msgspec.structs.replace(scene.link._settings, url=DOCUMENT["url"])
        await asyncio.sleep(300)
        assert scene.link.health().session is Session.LIVE

    play(act)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"uri": "x"}, "uri"),
        ({"url": "http://oasis.example/SingleZip"}, r"\$\.oasis\.url"),
        ({"url": "https://user:word@oasis.example/SingleZip"}, r"\$\.oasis\.url"),
        ({"url": "https://oasis.example/SingleZip?x=1"}, r"\$\.oasis\.url"),
        ({"zone": "Mars/Olympus"}, r"\$\.oasis\.zone"),
        ({"nodes": {}}, r"\$\.oasis\.nodes"),
        ({"markets": []}, r"\$\.oasis\.markets"),
        ({"markets": ["hour_ahead"]}, "hour_ahead"),
        ({"spacing_s": 0}, r"\$\.oasis\.spacing_s"),
    ],
)
def test_a_setting_that_is_unknown_or_cant_be_is_refused_by_its_path(how: dict[str, Any], path: str) -> None:
    class Now:
        def now_ns(self) -> int:
            return NOON

    with pytest.raises((ConfigError, msgspec.ValidationError), match=path):
        settings = msgspec.convert({**DOCUMENT, **how}, OasisSettings)
        OasisWeb(settings, HttpClient(), PriceDesk(), Now(), np.random.default_rng(1))
