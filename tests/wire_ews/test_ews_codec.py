"""The codec of the market's web service: round trips, bounds, numbers, keys, and bytes from elsewhere."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.wire.ews import messages as ews
from tieline.wire.ews import names as ns
from tieline.wire.ews.codec import (
    acknowledged_in,
    acknowledging,
    asked_in,
    asking,
    faulting,
    notified_in,
    notifying,
    telling,
    told_in,
)
from tieline.wire.ews.errors import EwsError, Fault, Malformed
from tieline.wire.ews.mrid import bid_id_of, hour_suffix, mrid
from tieline.wire.ews.security import body_of
from tieline.wire.ews.tree import MOST_BYTES, MOST_DEPTH, Tree, parse, serialise

words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)
instants = st.datetimes(datetime(2021, 1, 1), datetime(2030, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC, microsecond=0)
)
days = st.dates(date(2021, 1, 1), date(2030, 1, 1))
tenths = st.integers(-9999, 9999).map(lambda n: n / 10)
cents = st.integers(-500_000, 500_000).map(lambda n: n / 100)
maybe = st.none() | words


def some(kind: type, most: int = 3, **fields: Any) -> st.SearchStrategy[Any]:
    return st.lists(st.builds(kind, **fields), min_size=1, max_size=most).map(tuple)


span: dict[str, Any] = {"start_time": instants, "end_time": instants}
head = {**span, "mrid": maybe, "external_id": maybe, "status": maybe}
curves = some(ews.PriceCurve, **span, curve_style=st.sampled_from(["FIXED", "VARIABLE", "CURVE", None]),
              points=some(ews.CurvePoint, xvalue=tenths, y1value=cents))  # fmt: skip
reserves = some(
    ews.AsPriceCurve, **span,
    on_line=some(ews.OnLineReserves, xvalue=tenths, ecrs=cents, rrsuf=st.none() | cents, block=words),
    off_line=some(ews.OffLineNonSpin, xvalue=tenths, offns=cents, block=words),
)  # fmt: skip
award = {**span, "qse": words, "trading_date": days, "market_type": maybe}
details = st.builds(
    ews.VdiDetails, ercot_operator_name=words, instruction_type=words.map(lambda text: text[:10]),
    notification_time=instants, completion_time=st.none() | instants, vdi_ref_num=words, final_opr_level=tenths,
    initiation_time=st.none() | instants, current_opr_level=st.none() | tenths,
)  # fmt: skip
payloads = st.one_of(
    st.builds(
        ews.BidSet, trading_date=days,
        plans=some(ews.Cop, **head, resource=words, modes=some(ews.ResourceStatus, **span, operating_mode=words),
                   limits=some(ews.Limits, **span, hsl=tenths, lsl=tenths, hel=tenths, lel=tenths)),
        three_part=some(ews.ThreePartOffer, **head, resource=words, curves=curves),
        reserves=some(ews.AsOffer, **head, resource=words, as_type=words, curves=reserves),
        energy_only=some(ews.EnergyOnlyOffer, **head, sp=words, bid_id=words.map(bid_id_of), curves=curves),
    ),
    st.builds(
        ews.AwardSet, trading_date=days,
        reserves=some(ews.AwardedAs, **award, resource=words, as_type=words, blocks=reserves),
        three_part=some(ews.AwardedEnergyOffer, **award, resource=words, awarded_mwh=tenths),
        energy_only=some(ews.AwardedEnergyOnlyOffer, **award, awarded_mwh=tenths, spp=st.none() | cents, bid_id=words, sp=words),
    ),
    st.builds(ews.Spps, rows=some(ews.Spp, time=instants, value1=cents, sp=words)),
    st.builds(ews.Vdis, rows=some(ews.Vdi, mrid=maybe, status=maybe, resource=maybe, details=details)),
    st.builds(ews.Event, qse=words, id=words, type=words, priority=st.sampled_from(["High", "Medium", "Low"]),
              source=words, issued=instants, summary=words),
)  # fmt: skip
headers = st.builds(
    ews.Header, verb=words, noun=words, revision=words, source=words, user_id=maybe, message_id=maybe,
    replay_detection=st.builds(ews.ReplayDetection, nonce=words, created=words),
)  # fmt: skip
requests = st.builds(ews.Request, market_type=st.sampled_from(["DAM", None]), trading_date=st.none() | days,
                     start_time=st.none() | instants, ids=st.lists(words, max_size=3).map(tuple))  # fmt: skip
replies = st.builds(
    ews.Reply, reply_code=words, errors=st.lists(words, max_size=3).map(tuple), timestamp=st.none() | instants
)


def sent(envelope: Tree) -> Tree:
    """The body as the other side has it."""
    return body_of(parse(serialise(envelope)))


@settings(max_examples=80)
@given(headers, st.none() | requests, st.none() | payloads)
def test_what_is_asked_comes_back_as_it_went(header: Any, request: Any, payload: Any) -> None:
    asked = ews.Asked(header=header, request=request, payload=payload)
    assert asked_in(sent(asking(asked))) == asked


@settings(max_examples=80)
@given(headers, st.none() | replies, st.none() | payloads)
def test_what_is_told_comes_back_as_it_went_and_in_a_notice_as_well(header: Any, reply: Any, payload: Any) -> None:
    told = ews.Told(header=header, reply=reply, payload=payload)
    assert told_in(sent(telling(told))) == told
    assert notified_in(sent(notifying([told, told]))) == [told, told]


@settings(max_examples=300)
@given(st.binary(max_size=400))
@example(b"")
@example(b"\xff\xfe<\x00a\x00/\x00>\x00")
@example(b'<?xml version="1.0" encoding="UTF-16"?><a/>')
@example(b'<?xml version="1.0" encoding="UTF-7"?>+ADw-a/+AD4-')
@example(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
@example(b"<a>" * 60 + b"</a>" * 60)
def test_no_bytes_do_more_than_be_malformed(data: bytes) -> None:
    with pytest.raises(EwsError):
        asked_in(body_of(parse(data)))


@settings(max_examples=200)
@given(payloads, st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
def test_a_spoiled_message_is_refused_or_read_and_nothing_else(payload: Any, at: int, with_: bytes) -> None:
    header = ews.Header(verb="get", noun="x", source="q", replay_detection=ews.ReplayDetection(nonce="1", created="2"))
    data = serialise(telling(ews.Told(header=header, payload=payload)))
    at %= len(data)
    try:
        told_in(body_of(parse(data[:at] + with_ + data[at + len(with_) :])))
    except EwsError:
        pass


def test_a_bomb_a_deep_document_and_a_long_one_are_refused() -> None:
    bomb = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><b>&b;</b>'
    deep = b"<a>" * (MOST_DEPTH + 1) + b"</a>" * (MOST_DEPTH + 1)
    for data, why in ((bomb, "document type"), (deep, "deeper"), (b" " * (MOST_BYTES + 1), "limit")):
        with pytest.raises(Malformed, match=why):
            parse(data)


def test_one_instruction_that_cant_be_read_does_not_hide_the_others() -> None:
    good = ews.Vdi(
        resource="R",
        details=ews.VdiDetails(
            ercot_operator_name="o", instruction_type="AT_PQ_LEV", vdi_ref_num="7",
            notification_time=datetime(2021, 6, 15, tzinfo=UTC), final_opr_level=2.5,
        ),
    )  # fmt: skip
    header = ews.Header(
        verb="reply", noun="VDIs", source="q", replay_detection=ews.ReplayDetection(nonce="1", created="2")
    )
    data = serialise(telling(ews.Told(header=header, payload=ews.Vdis(rows=(good, good)))))
    told = told_in(body_of(parse(data.replace(b">2.5<", b">a lot<", 1))))
    assert told.payload == ews.Vdis(rows=(good,))
    ((reference, why),) = told.faults
    assert reference == "7" and "finalOprLevel" in why


def test_what_the_service_adds_later_is_passed_over_and_what_stands_twice_is_refused() -> None:
    event = (
        f'<soap:Envelope xmlns:soap="{ns.SOAP}"><soap:Body><m:ResponseMessage xmlns:m="{ns.MESSAGE}"><m:Header>'
        "<m:Verb>created</m:Verb><m:Noun>Event</m:Noun><m:ReplayDetection><m:Nonce>1</m:Nonce><m:Created>2</m:Created>"
        "</m:ReplayDetection><m:Revision>3</m:Revision><m:Source>ERCOT</m:Source><m:New>1</m:New></m:Header>"
        f'<m:Payload><Event xmlns="{ns.EWS}"><qse>Q</qse><ID>A-1</ID><type>Watch</type><priority>High</priority>'
        "<source>MMS</source><issued> 2008-10-17T12:53:41.115-05:00 </issued><summary>word</summary><new>1</new>"
        "</Event></m:Payload></m:ResponseMessage></soap:Body></soap:Envelope>"
    )
    told = told_in(body_of(parse(event.encode())))
    assert isinstance(told.payload, ews.Event) and told.payload.summary == "word"
    assert told.payload.issued == datetime(2008, 10, 17, 17, 53, 41, 115_000, tzinfo=UTC)
    with pytest.raises(Malformed, match="twice"):
        told_in(body_of(parse(event.replace("<new>1</new>", "<qse>R</qse>").encode())))


def test_faults_and_acknowledgements_are_told_apart() -> None:
    with pytest.raises(Fault, match=r"soap:Server: down"):
        told_in(sent(faulting("soap:Server", "down")))
    assert acknowledged_in(sent(acknowledging("OK", datetime(2021, 6, 15, tzinfo=UTC)))) == "OK"


@pytest.mark.parametrize(
    ("value", "text"), [(0.1 + 0.2, "0.3"), (-0.0, "0"), (1e-7, "0"), (4999.99, "4999.99"), (1e5, "100000")]
)
def test_numbers_are_plain_decimals(value: float, text: str) -> None:
    curve = ews.CurvePoint(xvalue=value, y1value=1.0)
    at = datetime(2021, 6, 15, tzinfo=UTC)
    offer = ews.EnergyOnlyOffer(
        curves=(ews.PriceCurve(start_time=at, end_time=at + timedelta(hours=1), points=(curve,)),)
    )
    header = ews.Header(
        verb="create", noun="BidSet", source="q", replay_detection=ews.ReplayDetection(nonce="1", created="2")
    )
    bids = ews.BidSet(trading_date=date(2021, 6, 15), energy_only=(offer,))
    data = serialise(asking(ews.Asked(header=header, payload=bids)))
    assert f"<e:xvalue>{text}</e:xvalue>".encode() in data


def test_instants_go_out_with_the_offset_of_the_market_s_clock() -> None:
    at = datetime(2021, 11, 7, 1, tzinfo=ZoneInfo("America/Chicago"), fold=1)
    header = ews.Header(verb="get", noun="x", source="q", replay_detection=ews.ReplayDetection(nonce="1", created="2"))
    data = serialise(asking(ews.Asked(header=header, request=ews.Request(start_time=at))))
    assert b"2021-11-07T01:00:00-06:00" in data


def test_keys_are_as_the_specification_makes_them() -> None:
    """Its examples: QSE.20081112.COP.UnitABC, QSE2.20081112.TPO.UnitXYZ.2R, and AEN.20080614.EOO.TNSCLP3___8X.338601."""
    assert mrid("SOMEQSE", date(2008, 11, 12), ews.Cop(resource="UnitABC")) == "SOMEQSE.20081112.COP.UnitABC"
    key = mrid("QSE2", date(2008, 11, 12), ews.ThreePartOffer(resource="UnitXYZ"))
    assert f"{key}.{hour_suffix(2, True)}" == "QSE2.20081112.TPO.UnitXYZ.2R"
    offer = ews.EnergyOnlyOffer(sp="TNSCLP3___8X", bid_id="338601")
    assert mrid("AEN", date(2008, 6, 14), offer) == "AEN.20080614.EOO.TNSCLP3___8X.338601"
    reserve = ews.AsOffer(resource="Resource1", as_type="Off-Non-Spin")
    assert mrid("ACME", date(2008, 1, 1), reserve) == "ACME.20080101.ASO.Resource1.Off-Non-Spin"


@given(st.lists(st.text(max_size=60), unique=True, max_size=40))
def test_bid_ids_are_short_plain_and_each_name_s_own(names: list[str]) -> None:
    ids = [bid_id_of(name) for name in names]
    assert len(set(ids)) == len(ids) and [bid_id_of(name) for name in names] == ids
    assert all(2 <= len(one) <= 12 and one.isalnum() and one.isascii() for one in ids)
