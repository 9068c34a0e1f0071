"""The protocol monitor decodes what was on the wire: fields by independent libraries or the standard's own examples."""

from __future__ import annotations

from console_stage import Running
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import WriteMultipleRegistersRequest

from tieline.node.read_monitor import decoded


@given(st.integers(1, 247), st.integers(0, 60_000), st.lists(st.integers(0, 65_535), min_size=1, max_size=20))
def test_a_modbus_write_is_decoded_as_another_library_built_it(unit: int, start: int, values: list[int]) -> None:
    request = WriteMultipleRegistersRequest(address=start, registers=values, dev_id=unit, transaction_id=7)
    octets = FramerSocket(DecodePDU(is_server=True)).buildFrame(request)
    told = dict(decoded("modbus", octets.hex()))
    assert told["unit"] == str(unit)
    assert told["register"] == str(start)
    assert told["values"] == " ".join(str(value) for value in values)
    assert told["function"].startswith("16 ")


def test_a_dnp3_direct_operate_names_its_stations_function_and_object() -> None:
    """A direct operate of analogue output 1 (group 41 variation 1), from station 1 to 10."""
    octets = bytes.fromhex("05641ac40a000100fc42c0c3052901280100010040e20100000000")
    told = dict(decoded("dnp3", octets.hex()))
    assert (told["from"], told["to"]) == ("1", "10")
    assert told["function"] == "5 direct operate"
    assert told["object"] == "group 41 variation 1"


def test_an_mqtt_publish_shows_topic_and_payload() -> None:
    """MQTT 3.1.1, 3.3: type 3, QoS 1, topic a/b, packet 10."""
    told = dict(decoded("mqtt", (b"\x32\x0a\x00\x03a/b\x00\x0ahi!").hex()))
    assert told == {"topic": "a/b", "qos": "1", "packet": "10", "payload": "hi!"}


@given(st.binary(max_size=40), st.sampled_from(["dnp3", "modbus", "mqtt", "openadr", "iso_web"]))
def test_any_bytes_are_shown_and_never_a_failure(octets: bytes, protocol: str) -> None:
    assert isinstance(decoded(protocol, octets.hex()), tuple)


def test_messages_of_the_story_are_listed_newest_first_and_lead_to_their_trace(running: Running) -> None:
    with running.client("ann") as client:
        found = client.get("/api/v1/messages?count=200").json()
        assert found
        assert [m["seq"] for m in found] == sorted((m["seq"] for m in found), reverse=True)
        iso = next(m for m in found if m["protocol"] == "iso_web")
        assert "DispatchBatch" in iso["raw"]
        assert client.get(f"/api/v1/trace/{iso['record']}").json()["nodes"]
        only = client.get("/api/v1/messages?protocol=iso_web").json()
        assert {m["protocol"] for m in only} == {"iso_web"}
