"""A report as bytes: a zip with one CSV or XML file, or with an error that says why there is none.

Nothing is unpacked before it is known how large it is said to be, and no more of it than that; a document type is
refused outright (defusedxml). Of the parts of a price only the whole (`LMP`) counts.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from tieline.wire.oasis.errors import Malformed, Refused

MOST_BYTES = 8 << 20
MOST_UNPACKED = 64 << 20
MOST_RATIO = 200
MOST_ROWS = 500_000
NAMESPACE = "http://www.caiso.com/soa/OASISReport_v1.xsd"
START, END = "INTERVALSTARTTIME_GMT", "INTERVALENDTIME_GMT"
VALUES = ("MW", "VALUE", "LMP_PRC")
"""Under which name the price of a row stands: day-ahead reports say MW, five-minute ones VALUE or LMP_PRC."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which report: its name, market and node, over [start, end), and whether as CSV (6) or XML (5)."""

    name: str
    market: str
    node: str
    start: datetime
    end: datetime
    version: int = 1
    form: int = 6

    def parameters(self) -> dict[str, str]:
        """Return it as the parameters of a URL; instants in GMT, to the minute."""
        return {
            "queryname": self.name, "market_run_id": self.market, "node": self.node, "version": str(self.version),
            "startdatetime": _stamp(self.start), "enddatetime": _stamp(self.end), "resultformat": str(self.form),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a node ($/MWh) over [start, end)."""

    node: str
    start: datetime
    end: datetime
    value: float


def query_of(parameters: dict[str, str]) -> Query:
    """Return the query in a URL's parameters. Raises Malformed for one that is none."""
    try:
        start, end = (
            datetime.strptime(parameters[name], "%Y%m%dT%H:%M%z") for name in ("startdatetime", "enddatetime")
        )
        return Query(
            parameters["queryname"], parameters["market_run_id"], parameters["node"], start.astimezone(UTC),
            end.astimezone(UTC), int(parameters.get("version", "1")), int(parameters.get("resultformat", "5")),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise Malformed(f"parameters: {error}") from None


def prices_in(data: bytes) -> list[Price]:
    """Return the prices of a zipped report, each node and start once.

    Raises:
        Refused: It holds an error of the service.
        Malformed: It is no zip, holds something else, is too large, or contradicts itself.
    """
    name, text = _member(data)
    rows = _csv(text) if name.lower().endswith(".csv") else _xml(text)
    found: dict[tuple[str, datetime], Price] = {}
    for row in rows:
        same = found.setdefault((row.node, row.start), row)
        if same != row:
            raise Malformed(f"{row.node} at {row.start.isoformat()}: {same.value:g} and {row.value:g}")
        if len(found) > MOST_ROWS:
            raise Malformed(f"more than {MOST_ROWS} rows")
    return list(found.values())


def _member(data: bytes) -> tuple[str, bytes]:
    if len(data) > MOST_BYTES:
        raise Malformed(f"{len(data)} bytes: the limit is {MOST_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as held:
            files = [one for one in held.infolist() if not one.is_dir()]
            if len(files) != 1:
                raise Malformed(f"{len(files)} files in the zip: give one")
            (one,) = files
            room = min(MOST_UNPACKED, max(len(data) * MOST_RATIO, 4096))
            # What a zip says of its size may be a lie: no more than there is room for is unpacked to learn that.
            with held.open(one) as opened:
                text = opened.read(room + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Malformed(f"no zip: {str(error)[:100]}") from None
    if len(text) > room:
        raise Malformed(f"{one.filename[:60]}: more than {room} bytes in {len(data)}")
    return one.filename, text


def _csv(data: bytes) -> Iterator[Price]:
    try:
        lines = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        columns = lines.fieldnames or []
        value = next((name for name in VALUES if name in columns), None)
        if value is None or not {START, END, "LMP_TYPE"} <= set(columns) or not {"NODE", "NODE_ID"} & set(columns):
            raise Malformed(f"columns {columns!r}"[:200] + ": prices of nodes were expected")
        for row in lines:
            if row["LMP_TYPE"] == "LMP":
                yield _price(row.get("NODE") or row.get("NODE_ID") or "", row[START], row[END], row[value])
    except (UnicodeDecodeError, csv.Error) as error:
        raise Malformed(f"CSV: {error}") from None


def _xml(data: bytes) -> Iterator[Price]:
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise Malformed(f"XML with {type(error).__name__}: a DTD or entities are not taken") from None
    except (ParseError, ValueError, LookupError) as error:
        raise Malformed(f"XML: {error}") from None
    error_ = next((each for each in root.iter() if _local(each) == "ERROR"), None)
    if error_ is not None:
        told = {_local(each): (each.text or "").strip() for each in error_}
        raise Refused(told.get("ERR_CODE", "?")[:20], told.get("ERR_DESC", "no words")[:300])
    if _local(root) != "OASISReport":
        raise Malformed(f"{_local(root)[:60]}: OASISReport was expected")
    for each in root.iter():
        if _local(each) == "REPORT_DATA":
            told = {_local(part): (part.text or "").strip() for part in each}
            if told.get("DATA_ITEM") == "LMP_PRC":
                wanted = ("RESOURCE_NAME", "INTERVAL_START_GMT", "INTERVAL_END_GMT", "VALUE")
                yield _price(*(told.get(name, "") for name in wanted))


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _price(node: str, start: str | None, end: str | None, value: str | None) -> Price:
    try:
        begins, ends = (datetime.fromisoformat((at or "").strip().replace("Z", "+00:00")) for at in (start, end))
        amount = float(value or "")
        if begins.tzinfo is None or ends.tzinfo is None or not math.isfinite(amount) or not node:
            raise ValueError("no node, no offset, or no number")
        if not timedelta(0) < ends - begins <= timedelta(hours=1):
            raise ValueError(f"{ends - begins} long")
        return Price(node, begins.astimezone(UTC), ends.astimezone(UTC), amount)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"row {node[:40]!r}, {start!r}, {end!r}, {value!r}: {error}"[:300]) from None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%dT%H:%M-0000")


# --- writing, as an emulator does -------------------------------------------------------------------------------------


def report(query: Query, prices: list[Price]) -> bytes:
    """Return prices as a zipped report, in the form that was asked for."""
    stem = f"{query.start:%Y%m%d}_{query.end:%Y%m%d}_{query.name}_{query.market}_v{query.version}"
    if query.form == 6:
        return zipped(f"{stem}.csv", _written(query, prices))
    return zipped(f"{stem}.xml", _document("".join(_item(query, price) for price in prices)))


def refusal(code: str, words: str) -> bytes:
    """Return an error of the service as it comes: in a zip, as XML, whatever form was asked for."""
    return zipped(
        "INVALID_REQUEST.xml", _document(f"<ERROR><ERR_CODE>{code}</ERR_CODE><ERR_DESC>{words}</ERR_DESC></ERROR>")
    )


def zipped(name: str, text: str) -> bytes:
    """Return a zip of one file; the same text, the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr(zipfile.ZipInfo(name), text, compress_type=zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _written(query: Query, prices: list[Price]) -> str:
    value = "MW" if query.name == "PRC_LMP" else "VALUE"
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow([START, END, "NODE_ID", "NODE", "MARKET_RUN_ID", "LMP_TYPE", "XML_DATA_ITEM", value])
    for one in prices:
        span = [one.start.isoformat().replace("+00:00", "-00:00"), one.end.isoformat().replace("+00:00", "-00:00")]
        for kind, item, share in (("LMP", "LMP_PRC", 1.0), ("MCE", "LMP_ENE_PRC", 1.0), ("MCC", "LMP_CONG_PRC", 0.0)):
            lines.writerow([*span, one.node, one.node, query.market, kind, item, f"{one.value * share:.5f}"])
    return out.getvalue()


def _item(query: Query, one: Price) -> str:
    return (
        f"<REPORT_DATA><DATA_ITEM>LMP_PRC</DATA_ITEM><RESOURCE_NAME>{one.node}</RESOURCE_NAME>"
        f"<INTERVAL_START_GMT>{one.start.isoformat()}</INTERVAL_START_GMT>"
        f"<INTERVAL_END_GMT>{one.end.isoformat()}</INTERVAL_END_GMT><VALUE>{one.value:.5f}</VALUE></REPORT_DATA>"
    )


def _document(inner: str) -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OASISReport xmlns="{NAMESPACE}"><MessagePayload><RTO>'
        f"<name>CAISO</name>{inner}</RTO></MessagePayload></OASISReport>"
    )
