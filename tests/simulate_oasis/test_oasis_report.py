"""Price reports as bytes: one written by another hand, both forms, errors inside, and what is refused."""

import io
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.wire.oasis.errors import Malformed, OasisError, Refused
from tieline.wire.oasis.report import Price, Query, prices_in, query_of, refusal, report, zipped

NINE = datetime(2022, 2, 1, 15, tzinfo=UTC)
# The columns of PRC_LMP as the service has given them since 2013, with its own order and its `-00:00`.
COLUMNS = (
    "INTERVALSTARTTIME_GMT,INTERVALENDTIME_GMT,OPR_DT,OPR_HR,OPR_INTERVAL,NODE_ID_XML,NODE_ID,NODE,MARKET_RUN_ID,"
    "LMP_TYPE,XML_DATA_ITEM,PNODE_RESMRID,GRP_TYPE,POS,MW,GROUP\n"
)
ROW = "2022-02-01T{:02d}:00:00-00:00,2022-02-01T{:02d}:00:00-00:00,2022-02-01,8,0,N,N,{},DAM,{},LMP_PRC,N,ALL,1,{},1\n"
nodes = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)


def rows_of(*rows: str) -> bytes:
    return zipped("20220201_20220202_PRC_LMP_DAM_v1.csv", COLUMNS + "".join(rows))


def test_a_report_by_another_hand_is_read_and_only_whole_prices_count() -> None:
    data = rows_of(ROW.format(15, 16, "N", "LMP", "74.63"), ROW.format(15, 16, "N", "MCC", "3.0"),
                   ROW.format(16, 17, "N", "LMP", "-12.5"))  # fmt: skip
    hour = timedelta(hours=1)
    assert prices_in(data) == [Price("N", NINE, NINE + hour, 74.63), Price("N", NINE + hour, NINE + 2 * hour, -12.5)]


def test_an_error_inside_a_zip_is_told_by_its_code_and_words() -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<m:OASISReport xmlns:m="http://www.caiso.com/soa/OASISReport_v1.xsd">\n'
        "<m:MessagePayload><m:RTO><m:name>CAISO</m:name><m:ERROR>\n<m:ERR_CODE>1000</m:ERR_CODE>\n"
        "<m:ERR_DESC>No data returned for the specified selection</m:ERR_DESC>\n</m:ERROR></m:RTO></m:MessagePayload>\n"
        "</m:OASISReport>"
    )
    for data in (zipped("x.xml", text), refusal("1000", "No data returned for the specified selection")):
        with pytest.raises(Refused, match="1000: No data returned") as found:
            prices_in(data)
        assert found.value.code == "1000"


@settings(max_examples=60)
@given(nodes, st.lists(st.integers(-(10**6), 10**7), min_size=1, max_size=30), st.sampled_from([5, 6]), st.booleans())
def test_a_report_comes_back_as_it_went(node: str, values: list[int], form: int, is_ahead: bool) -> None:
    step = timedelta(hours=1) if is_ahead else timedelta(minutes=5)
    query = Query("PRC_LMP" if is_ahead else "PRC_INTVL_LMP", "DAM", node, NINE, NINE + len(values) * step, 1, form)
    rows = [Price(node, NINE + k * step, NINE + (k + 1) * step, value / 1000) for k, value in enumerate(values)]
    assert prices_in(report(query, rows)) == rows
    assert query_of(query.parameters()) == query


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<html>Acceptable use policy violation</html>", "no zip"),
        (rows_of(ROW.format(15, 16, "N", "LMP", "1"), ROW.format(15, 16, "N", "LMP", "2")), "1 and 2"),
        (rows_of(ROW.format(15, 16, "N", "LMP", "nan")), "no number"),
        (rows_of(ROW.format(15, 16, "N", "LMP", "")), "row 'N'"),
        (rows_of(ROW.format(16, 15, "N", "LMP", "1")), "long"),
        (rows_of(ROW.format(15, 16, "N", "LMP", "1").replace("-00:00", "")), "no offset"),
        (zipped("x.csv", "A,B\n1,2\n"), "columns"),
        (zipped("x.xml", "<a/>"), "OASISReport was expected"),
        (zipped("x.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "DTD"),
        (zipped("x.csv", "A" * 10_000_000), "more than"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_by_its_rule(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        prices_in(data)


def test_a_zip_of_two_files_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as held:
        held.writestr("a.csv", COLUMNS)
        held.writestr("b.csv", COLUMNS)
    with pytest.raises(Malformed, match="2 files"):
        prices_in(made.getvalue())


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 10**6))
@example(b"PK\x03\x04" + b"\x00" * 26, 0)
def test_no_bytes_do_more_than_be_malformed(noise: bytes, at: int) -> None:
    good = rows_of(ROW.format(15, 16, "N", "LMP", "74.63"))
    at %= len(good)
    for data in (noise, good[:at] + noise + good[at + len(noise) :]):
        try:
            prices_in(data)
        except OasisError:
            pass
