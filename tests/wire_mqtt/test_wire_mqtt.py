"""The MQTT codec: cuts change nothing, what is written is read, garbage gets the declared error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.wire.mqtt import packets as p
from tieline.wire.mqtt.reading import PacketReader, read_packet
from tieline.wire.mqtt.topics import check_filter, matches

NUMBER = st.integers(1, 65_535)
TEXT = st.text(st.characters(exclude_characters="\0#+", exclude_categories=["Cs"]), min_size=1, max_size=20)
BLOB = st.binary(max_size=300)
WILLS = st.builds(p.Will, TEXT, BLOB, st.integers(0, 1), st.booleans())
CONNECTS = st.builds(
    p.Connect, TEXT, st.booleans(), st.integers(0, 65_535), TEXT, st.none() | BLOB, st.none() | WILLS
)  # fmt: skip
PUBLISHES = st.builds(p.Publish, TEXT, BLOB, st.just(1), st.booleans(), st.booleans(), NUMBER) | st.builds(
    p.Publish, TEXT, BLOB, st.just(0), st.booleans()
)
PACKETS = st.one_of(
    CONNECTS,
    PUBLISHES,
    st.builds(p.ConnAck, st.integers(0, 5), st.booleans()),
    st.builds(p.PubAck, NUMBER),
    st.builds(p.Subscribe, NUMBER, st.lists(st.tuples(TEXT, st.integers(0, 1)), min_size=1, max_size=4).map(tuple)),
    st.builds(p.SubAck, NUMBER, st.lists(st.sampled_from([0, 1, 0x80]), min_size=1, max_size=4).map(tuple)),
    st.builds(p.Unsubscribe, NUMBER, st.lists(TEXT, min_size=1, max_size=4).map(tuple)),
    st.builds(p.UnsubAck, NUMBER),
    st.sampled_from([p.PingReq(), p.PingResp(), p.Disconnect()]),
)


@given(st.lists(PACKETS, max_size=6), st.data())
def test_packets_do_not_depend_on_how_the_bytes_were_cut(packets: list, data: st.DataObject) -> None:
    raw = b"".join(p.octets(packet) for packet in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    reader, found = PacketReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[begin:end])
    assert found == packets


@given(st.binary(max_size=200))
def test_any_bytes_make_packets_or_the_declared_error(raw: bytes) -> None:
    try:
        PacketReader().feed(raw)
    except p.PacketError:
        pass


@given(st.integers(0, 255), st.binary(max_size=60))
def test_any_body_behind_any_head_is_a_packet_or_the_declared_error(head: int, body: bytes) -> None:
    try:
        assert read_packet(head, body) is not None
    except p.PacketError as error:
        assert str(error)


@given(PACKETS, st.data())
def test_a_packet_with_a_bent_byte_is_another_packet_or_the_declared_error(packet: p.Packet, data: object) -> None:
    raw = bytearray(p.octets(packet))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        PacketReader().feed(bytes(raw))
    except p.PacketError:
        pass


def test_golden_bytes_of_the_standard() -> None:
    """OASIS MQTT 3.1.1: 3.1.2 (protocol name, level), figure 3.11 (a/b, packet id 10), 3.8 figure 3.23 (a/b, c/d)."""
    assert p.octets(p.Connect("x", True, 10))[:12].hex() == "100d00044d5154540402000a"
    assert p.octets(p.Publish("a/b", b"", 1, packet_id=10)).hex() == "32070003612f62000a"
    assert p.octets(p.Subscribe(10, (("a/b", 1), ("c/d", 2)))).hex() == "820e000a0003612f62010003632f6402"
    assert p.octets(p.PingReq()).hex() == "c000"


@pytest.mark.parametrize(("size", "head"), [(127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001")])
def test_the_length_grows_where_the_standard_says(size: int, head: str) -> None:
    """Table 2.4 of the standard."""
    raw = p.octets(p.Publish("t", b"x" * (size - 3)))
    assert raw[1 : 1 + len(head) // 2].hex() == head


def test_a_packet_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(p.PacketError, match="at most 100"):
        PacketReader(100).feed(bytes.fromhex("30ff01"))


@pytest.mark.parametrize(
    "packet",
    [
        p.Publish("a/#", b""), p.Publish("", b""), p.Publish("a", b"", 2), p.Publish("a", b"", 1),
        p.Connect("x", password=b"y"), p.Connect("x", keep_alive_s=70_000), p.Connect("\0"), p.PubAck(0),
    ],
)  # fmt: skip
def test_what_the_standard_forbids_is_not_written(packet: p.Packet) -> None:
    with pytest.raises(p.PacketError):
        p.octets(packet)


@pytest.mark.parametrize(
    ("filter_", "topic", "takes"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor/Clients", True),
    ],
)
def test_filters_take_what_the_standard_says(filter_: str, topic: str, takes: bool) -> None:
    """Examples of 4.7.1.2, 4.7.1.3 and 4.7.2."""
    assert matches(filter_, topic) is takes


@pytest.mark.parametrize("filter_", ["", "a#", "#/a", "a/b+", "a/#/b"])
def test_a_crooked_filter_is_refused(filter_: str) -> None:
    with pytest.raises(p.PacketError):
        check_filter(filter_)
