"""The codec of the ISO's dispatch service: round trips, bounds, and bytes from elsewhere."""

import base64
import gzip
import itertools
import zlib
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import decode, encode, envelope, fault, open_envelope, pack, unpack
from tieline.wire.ads.errors import AdsError, Fault, Malformed
from tieline.wire.ads.hours import hour_ns, hour_of, hours_of

CHICAGO = ZoneInfo("America/Chicago")
NOON = datetime(2021, 6, 15, 12, tzinfo=UTC)
words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
instants = st.datetimes(datetime(2021, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
powers = st.floats(-1e6, 1e6)
segments = st.builds(ads.Segment, instants, instants, powers)
instructions = st.builds(
    ads.Instruction, words, words, words, powers, st.lists(segments, min_size=1, max_size=4).map(tuple)
)
batches = st.builds(
    ads.DispatchBatch,
    words,
    words,
    words,
    instants,
    instants,
    words,
    instants,
    words,
    st.booleans(),
    st.integers(0, 2**53),
    st.lists(instructions, max_size=4).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(batches)
def test_a_batch_comes_back_as_it_went(batch: ads.DispatchBatch) -> None:
    assert unpack(pack(batch))[0] == batch
    assert open_envelope(envelope(batch), (ads.DispatchBatch,)) == batch


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
@example(b"")
@example(b"\xff\xfe<a/>")
@example(b'<?xml version="1.0" encoding="ebcdic-xyz"?><a/>')
def test_no_bytes_do_more_than_be_malformed(data: bytes) -> None:
    with pytest.raises(AdsError):
        open_envelope(data, ads.CALLS)
    with pytest.raises(AdsError):
        unpack(base64.b64encode(data).decode())


@settings(max_examples=200, deadline=None)
@given(batches, st.data())
def test_a_batch_with_a_byte_changed_is_read_or_malformed(batch: ads.DispatchBatch, data: st.DataObject) -> None:
    text = bytearray(encode(batch))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(text), (ads.DispatchBatch,))
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "DTD"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DTD"),
        (b"<a>" * 200, "deeper"),
        (b"<a/>" * 2, "XML"),
    ],
)
def test_documents_that_attack_are_refused(document: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        decode(document, (ads.DispatchBatch,))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b"<a>" + b" " * 50_000_000, 9, 31)).decode()
    with pytest.raises(Malformed, match="more than"):
        unpack(bomb)


@pytest.mark.parametrize(
    "change",
    [
        ("mw=", "mv="),
        ('mw="1.5"', 'mw="NaN"'),
        ('mw="1.5"', 'mw="1e9"'),
        ('Z" mw', '" mw'),
        ('revisionNo="1"', 'revisionNo="-1"'),
        ('bindingFlag="true"', 'bindingFlag="perhaps"'),
        ("Segment", "Segmant"),
    ],
)
def test_what_is_unknown_or_out_of_bounds_is_refused(change: tuple[str, str]) -> None:
    one = ads.Instruction("i", "r", "ENERGY", 5.0, (ads.Segment(NOON, NOON + timedelta(minutes=5), 1.5),))
    batch = ads.DispatchBatch("1", "m", "A", NOON, NOON, "RTD", NOON, "N", True, 1, (one,))
    text = encode(batch).decode()
    assert change[0] in text
    with pytest.raises(Malformed):
        decode(text.replace(*change).encode(), (ads.DispatchBatch,))


def test_a_batch_written_by_another_hand_is_read() -> None:
    """Default namespace instead of prefixes, other order and blanks, gzip from the standard library."""
    text = """<?xml version="1.0"?>
    <DispatchBatch xmlns="urn:tieline:ads:1" revisionNo="3" batchUID="77" marketID="RT5" batchStatus="ACTIVE"
      batchSent="2021-06-15T12:00:00-05:00" batchExpires="2021-06-15T17:05:00Z" batchType="RTD"
      startTime="2021-06-15T17:00:00Z" dispatchMode="NORMAL" bindingFlag="true">
      <Instruction instructionUID="x" resource="R" product="ENERGY" price="31.20">
        <Segment startTime="2021-06-15T17:02:30Z" endTime="2021-06-15T17:05:00Z" mw="2.5"/>
      </Instruction>
    </DispatchBatch>"""
    batch, native = unpack(base64.encodebytes(gzip.compress(text.encode())).decode())
    assert (batch.batch_uid, batch.revision_no, batch.batch_sent) == ("77", 3, datetime(2021, 6, 15, 17, tzinfo=UTC))
    assert batch.instructions[0].segments[0].mw == 2.5
    assert native == text


def test_faults_and_errors_in_band_are_raised_with_their_words() -> None:
    with pytest.raises(Fault, match=r"soap:Server: broken"):
        open_envelope(fault("soap:Server", "broken"), ads.ANSWERS)
    with pytest.raises(Fault, match=r"1018: out of service"):
        open_envelope(envelope(ads.InBandError("1018", "out of service")), ads.ANSWERS)


@pytest.mark.parametrize(
    ("day", "hours", "absent", "twice"),
    # ERCOT: HE03 of 2021-03-14 is absent, HE02 of 2021-11-07 is repeated (design 6, section 4).
    [(date(2021, 3, 14), 23, {3}, set()), (date(2021, 11, 7), 25, set(), {2}), (date(2021, 6, 15), 24, set(), set())],
)
def test_hour_endings_of_a_day(day: date, hours: int, absent: set[int], twice: set[int]) -> None:
    found = hours_of(day, CHICAGO)
    assert len(found) == hours
    assert set(range(1, 25)) - {h for h, *_ in found} == absent
    assert {h for h, repeated, *_ in found if repeated} == twice
    assert all(end == after for (*_, end), (_, _, after, _) in itertools.pairwise(found))
    for hour_ending, repeated, start_ns, _ in found:
        assert hour_of(start_ns, CHICAGO) == (day, hour_ending, repeated)


@pytest.mark.parametrize(
    ("day", "hour_ending", "repeated"),
    [(date(2021, 3, 14), 3, False), (date(2021, 6, 15), 2, True), (date(2021, 6, 15), 25, False)],
)
def test_an_hour_that_is_not_there_is_refused(day: date, hour_ending: int, repeated: bool) -> None:
    with pytest.raises(Malformed):
        hour_ns(day, hour_ending, repeated, CHICAGO)
