"""A broker that ends our session again and again: its likely cause is told, as two clients by one id would go on for ever."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from mqtt_room import Scene, play

from tieline.desk.ports import Session
from tieline.errors import LinkDown, PeerError
from tieline.links.device.mqtt.endings import LEAST, SESSION_ENDED, WITHIN_S, Endings
from tieline.rim.mqtt import MqttClient
from tieline.times import SECOND_NS
from tieline.wire.mqtt.packets import Connect


async def other_desk(client_id: str, port: int = 1883) -> None:
    """Keep a connection by an id, and take it back two seconds after each loss."""
    while True:
        client = MqttClient(Connect(client_id, True, 60), lambda message: None)
        try:
            await client.open("127.0.0.1", port)
            await asyncio.shield(client.lost)
        except (LinkDown, PeerError):
            pass
        finally:
            client.close()
        await asyncio.sleep(2)


def test_another_client_by_our_id_is_told_with_the_id_and_what_to_set() -> None:
    says: list[str] = []

    async def scene(s: Scene) -> None:
        other = asyncio.create_task(other_desk("desk-a"))
        for _ in range(120):
            await asyncio.sleep(1)
            says.append(s.link.health().last_error)
        other.cancel()
        await asyncio.sleep(WITHIN_S - 30)
        says.append(s.link.health().last_error)
        await asyncio.sleep(60)
        assert (s.link.health().session, s.link.health().last_error) == (Session.LIVE, "")

    play(scene, client_id="desk-a")
    told = [text for text in says if text.startswith(SESSION_ENDED)]
    assert told == says[-len(told) :], "once told it is told on, up or down, until it has been calm for long"
    assert all("'desk-a'" in text and "client_id" in text for text in told)
    assert len(told) > 60


def test_a_client_by_an_id_of_its_own_is_no_trouble() -> None:
    async def scene(s: Scene) -> None:
        other = asyncio.create_task(other_desk("desk-b"))
        await asyncio.sleep(120)
        assert (s.link.health().session, s.link.health().last_error) == (Session.LIVE, "")
        other.cancel()

    play(scene, client_id="desk-a")


def test_a_broker_that_is_started_anew_twice_is_no_other_client() -> None:
    async def scene(s: Scene) -> None:
        for _ in range(2):
            for session in list(s.broker.sessions.values()):
                session.abort()
            await asyncio.sleep(60)
            assert not s.link.health().last_error.startswith(SESSION_ENDED)

    play(scene)


@given(st.lists(st.integers(1, 2 * WITHIN_S), max_size=12), st.integers(0, 2 * WITHIN_S))
def test_it_is_told_after_so_many_within_the_time_and_until_it_was_calm_for_as_long(
    gaps_s: list[int], later_s: int
) -> None:
    endings, ends_s, at_s, stands = Endings("desk-a"), list[int](), 0, False
    for gap_s in gaps_s:
        at_s += gap_s
        stands &= gap_s < WITHIN_S
        ends_s = [each for each in [*ends_s, at_s] if each > at_s - WITHIN_S]
        stands |= len(ends_s) >= LEAST
        endings.take(at_s * SECOND_NS)
        assert bool(endings.says(at_s * SECOND_NS)) == stands
    assert bool(endings.says((at_s + later_s) * SECOND_NS)) == (stands and later_s < WITHIN_S)
