"""An ISO whose every call ends in a bare HTTP status is down, for the alarm as for the market's own screen."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from iso_desk import ScheduleDesk

from patience import until
from tieline.desk.ports import LinkHealth, Session
from tieline.links.grid.iso_settings import IsoSettings
from tieline.links.grid.iso_web import IsoWeb
from tieline.node.read_alarms import DOWN_NS, link_alarms
from tieline.node.read_monitor import links_of
from tieline.rim.clock import SystemClock
from tieline.rim.http import HttpClient
from tieline.rim.supervise import Supervisor

BODY = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
FAULT = BODY.format("<s:Fault><faultcode>s:Server</faultcode><faultstring>no room</faultstring></s:Fault>")
LIST = BODY.format('<DispatchBatches xmlns="urn:tieline:ads:1" serverTime="2026-01-01T00:00:00Z"/>')
PAGE = "<html>Internal Server Error</html>"


def polled(statuses: list[tuple[int, str]]) -> LinkHealth:
    """Return the health of a link whose first calls are answered so, and all later ones as the last of these."""

    async def play() -> LinkHealth:
        calls = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            await reader.readuntil(b":Envelope>")
            status, body = statuses[min(calls, len(statuses) - 1)]
            calls += 1
            head = f"HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with Supervisor(np.random.default_rng(1)) as supervisor, HttpClient() as client:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            how = IsoSettings(url, "America/Chicago", {"pool:north": "TL_NORTH"}, poll_s=0.05)
            link = IsoWeb(how, client, ScheduleDesk(), SystemClock(), np.random.default_rng(1))
            supervisor.keep("iso", link.run)

            async def failed() -> bool:
                return link.health().errors > 0

            await until(failed, "it took no answer for an error", 0.01)
            health = link.health()
            link._become(Session.LIVE, "")
            assert link.health().last_error == "", "what healed is no error of a live link"
        server.close()
        return health

    return asyncio.run(play())


@pytest.mark.parametrize("answer", [(500, PAGE), (500, ""), (502, PAGE), (404, "")])
def test_an_iso_that_answers_every_call_with_an_http_error_is_down_and_told_as_soon(answer: tuple[int, str]) -> None:
    health = polled([answer])
    ((alarm, after_ns),) = link_alarms(links_of([health]), {}, {})
    assert (health.session, after_ns) == (Session.DOWN, DOWN_NS)
    assert f"HTTP {answer[0]}" in health.last_error and "is down" in alarm.title


@pytest.mark.parametrize("answers", [[(500, FAULT)], [(200, LIST), (500, PAGE)], [(200, PAGE)]])
def test_one_that_answers_some_call_or_in_words_is_degraded(answers: list[tuple[int, str]]) -> None:
    assert polled(answers).session is Session.DEGRADED
