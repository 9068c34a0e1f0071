"""What is sent holds to the schemas of the service: to a shape of our own, and to the market's where they can be had.

The market's schemas are public and not ours to hand on: put `ErcotTransactions.xsd`, `ErcotAwards.xsd`,
`ErcotInformation.xsd`, `Message.xsd`, `Notification.xsd` and what they include into a folder, and name it in `EWS_XSD`.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from lxml import etree

from tieline.wire.ews import messages as ews
from tieline.wire.ews import names as ns
from tieline.wire.ews.codec import acknowledging, asking, notifying, payload_tree, telling
from tieline.wire.ews.security import body_of

OURS = Path(__file__).with_name("ews_shape.xsd")
THEIRS = os.environ.get("EWS_XSD", "")
FILE_OF = {
    "BidSet": "ErcotTransactions",
    "VDIs": "ErcotTransactions",
    "AwardSet": "ErcotAwards",
    "SPPs": "ErcotInformation",
}
START = datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=-5)))
END = START + timedelta(hours=1)
with_theirs = pytest.mark.skipif(not THEIRS, reason="EWS_XSD names no folder with the market's own schemas")


def payloads() -> Iterator[ews.Payload]:
    """One of each kind that is sent, by us or by the emulator, with every field that either gives."""
    span = {"start_time": START, "end_time": END}
    head = {**span, "external_id": "x", "expiration_time": START}
    points = (ews.CurvePoint(xvalue=0.0, y1value=10.0), ews.CurvePoint(xvalue=1.5, y1value=30.25))
    curve = ews.PriceCurve(**span, curve_style="CURVE", points=points)
    on_line = ews.AsPriceCurve(**span, on_line=(ews.OnLineReserves(xvalue=1.0, rrsuf=5.0, ecrs=2.5),))
    off_line = ews.AsPriceCurve(**span, off_line=(ews.OffLineNonSpin(xvalue=1.0, offns=5.0),))
    energy = ews.EnergyOnlyOffer(**head, sp="LZ_NORTH", bid_id="ab1", curves=(curve,))
    three = ews.ThreePartOffer(
        **head, resource="R", curves=(curve,), startup=(ews.StartupCost(**span, hot=0.0, intermediate=0.0, cold=0.0),),
        minimum=(ews.MinimumEnergy(**span, cost=0.0),),
    )  # fmt: skip
    reserves = tuple(
        ews.AsOffer(**head, resource="R", as_type=kind, curves=(each,))
        for kind, each in (("REGUP-RRS-ONNS", on_line), ("Off-Non-Spin", off_line))
    )
    plan = ews.Cop(
        **span, resource="R", modes=(ews.ResourceStatus(**span, operating_mode="ONL"),),
        limits=(ews.Limits(**span, hsl=2.5, lsl=0.0, hel=2.5, lel=0.0),),
    )  # fmt: skip
    told = ews.Problem(severity="ERROR", text="too late")
    answer = ews.EnergyOnlyOffer(mrid="Q.20240501.EOO.S.ab1", status="REJECTED", errors=(told,))
    day = date(2024, 5, 1)
    for rows in (
        {"energy_only": (energy, answer)},
        {"three_part": (three,)},
        {"reserves": reserves},
        {"plans": (plan,)},
    ):
        yield ews.BidSet(trading_date=day, **rows)
    won = {**span, "qse": "Q", "trading_date": day, "market_type": "DAM"}
    yield ews.AwardSet(
        trading_date=day, market_type="DAM",
        energy_only=(ews.AwardedEnergyOnlyOffer(**won, awarded_mwh=1.5, spp=31.0, bid_id="ab1", sp="S"),),
        three_part=(ews.AwardedEnergyOffer(**won, resource="R", awarded_mwh=1.5),),
        reserves=(ews.AwardedAs(**won, resource="R", as_type="ECRSS", blocks=(on_line,)),),
    )  # fmt: skip
    yield ews.Spps(rows=(ews.Spp(time=START, ending=END, value1=31.25, sp="S"),))
    details = ews.VdiDetails(
        ercot_operator_name="o", instruction_type="AT_PQ_LEV", notification_time=START, initiation_time=START,
        completion_time=END, vdi_ref_num="12", final_opr_level=2.5, other_information="x",
    )  # fmt: skip
    yield ews.Vdis(rows=(ews.Vdi(mrid="Q.VDI.R", status="REJECTED", errors=(told,), resource="R", details=details),))


def alone(element: object) -> object:
    """An element as a document of its own."""
    return etree.fromstring(etree.tostring(element))


def held_to(schema: Path, element: object) -> None:
    rules = etree.XMLSchema(etree.parse(str(schema)))
    assert rules.validate(alone(element)), rules.error_log


@pytest.mark.parametrize("payload", list(payloads()), ids=lambda one: type(one).__name__)
def test_each_payload_has_the_shape_of_the_service(payload: ews.Payload) -> None:
    held_to(OURS, payload_tree(payload))


@with_theirs
@pytest.mark.parametrize("payload", list(payloads()), ids=lambda one: type(one).__name__)
def test_each_payload_holds_to_the_market_s_own_schema(payload: ews.Payload) -> None:
    made = payload_tree(payload)
    held_to(Path(THEIRS) / f"{FILE_OF[etree.QName(made).localname]}.xsd", made)


@with_theirs
def test_each_message_holds_to_the_market_s_own_schema() -> None:
    header = ews.Header(
        verb="create", noun="BidSet", source="Q", user_id="u", message_id="m",
        replay_detection=ews.ReplayDetection(nonce="1", created="2024-05-01T00:00:00Z"),
    )  # fmt: skip
    request = ews.Request(
        market_type="DAM", trading_date=date(2024, 5, 1), start_time=START, end_time=END, ids=("a", "b")
    )
    reply = ews.Reply(reply_code="ERROR", errors=("no", "never"), timestamp=START, ids=("a",))
    (first, *_) = payloads()
    told = ews.Told(header=header, reply=reply, payload=first)
    for envelope in (asking(ews.Asked(header=header, request=request, payload=first)), telling(told)):
        held_to(Path(THEIRS) / "Message.xsd", body_of(envelope)[0])
    for envelope in (notifying([told]), acknowledging("OK", datetime(2024, 5, 1, tzinfo=UTC))):
        held_to(Path(THEIRS) / "Notification.xsd", body_of(envelope)[0])
    assert etree.QName(body_of(notifying([told]))[0]).namespace == ns.NOTIFICATION
