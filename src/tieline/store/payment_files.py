"""Payments for a bank: ISO 20022 customer credit transfer initiation (pain.001.001.09), or CSV; and tables of payees.

One message, one payment information block, a transaction an owner. Amounts have two decimals; `CtrlSum` and `NbOfTxs`
let the bank check that nothing was lost. An account is an IBAN, or a number at a US routing number (clearing system
USABA); where no BIC is given the agent is NOTPROVIDED, as the SEPA rule book has it.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

from tieline.contract.payment import Payee, Payment, refusal_of, total_cents
from tieline.errors import ConfigError
from tieline.pool.statement_facts import PaymentsSent
from tieline.store.enrolment_files import read_rows
from tieline.store.whole_file import whole
from tieline.times import from_ns

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
COLUMNS = ("owner", "name", "iban", "bic", "account", "routing")
FORMS = (".xml", ".csv")


def read_payees(path: Path) -> dict[str, Payee]:
    """Return who is paid, by owner, from CSV or XLSX: `owner,name`, and `iban,bic` or `account,routing`.

    Raises:
        ConfigError: A row names no account that a bank would take, or an owner twice; each is named.
    """
    found: dict[str, Payee] = {}
    faults = []
    for row in read_rows(path, COLUMNS, ("owner", "name")):
        cells = {name: row.cells.get(name, "").strip() for name in COLUMNS}
        payee = Payee(
            cells["owner"], cells["name"], cells["iban"].replace(" ", "").upper(), cells["bic"].upper(),
            cells["account"], cells["routing"],
        )  # fmt: skip
        if row.fault:
            faults.append(f"row {row.number}: {row.fault}")
        elif not payee.owner:
            faults.append(f"row {row.number}: owner = '': give an owner")
        elif payee.owner in found:
            faults.append(f"row {row.number}: owner = {payee.owner!r}: stands twice: keep the one that is right")
        elif why := refusal_of(payee):
            faults.append(f"row {row.number}: {why.field} = {why.value}: {why.reason}: {why.limit}")
        else:
            found[payee.owner] = payee
    if faults:
        raise ConfigError(f"{path}: " + "; ".join(faults[:20]))
    return found


def write_payments(sent: PaymentsSent, at_ns: int, path: Path) -> None:
    """Write a run of payments in the form that the suffix names. Raises ConfigError where it can't be."""
    require_form(path)
    body = as_pain001(sent, at_ns) if path.suffix.lower() == ".xml" else as_csv(sent).encode()
    with whole(path) as part:
        part.write_bytes(body)


def require_form(path: Path) -> None:
    """Do nothing for a file that payments can be written to. Raises ConfigError naming the suffixes."""
    if path.suffix.lower() not in FORMS:
        raise ConfigError(f"--out {path}: suffix = {path.suffix or 'none'}: give {' or '.join(FORMS)}")


def as_pain001(sent: PaymentsSent, at_ns: int) -> bytes:
    """Return a run of payments as a pain.001.001.09 message; the same run gives the same bytes."""
    ElementTree.register_namespace("", NAMESPACE)
    document = ElementTree.Element(_tag("Document"))
    message = _add(document, "CstmrCdtTrfInitn")
    head = _add(message, "GrpHdr")
    _add(head, "MsgId", sent.run)
    _add(head, "CreDtTm", from_ns(at_ns).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _totals(head, sent.payments)
    _add(_add(head, "InitgPty"), "Nm", sent.payer.name)
    block = _add(message, "PmtInf")
    _add(block, "PmtInfId", sent.run)
    _add(block, "PmtMtd", "TRF")
    _totals(block, sent.payments)
    is_sepa = {payment.currency for payment in sent.payments} == {"EUR"} and bool(sent.payer.iban)
    if is_sepa:
        _add(_add(_add(block, "PmtTpInf"), "SvcLvl"), "Cd", "SEPA")
    _add(_add(block, "ReqdExctnDt"), "Dt", sent.on)
    _add(_add(block, "Dbtr"), "Nm", sent.payer.name)
    _account(block, "DbtrAcct", sent.payer)
    _agent(block, "DbtrAgt", sent.payer)
    _add(block, "ChrgBr", "SLEV" if is_sepa else "SHAR")
    for payment in sent.payments:
        _transaction(block, payment)
    ElementTree.indent(document)
    made: bytes = ElementTree.tostring(document, encoding="UTF-8", xml_declaration=True)
    return made + b"\n"


def _transaction(block: ElementTree.Element, payment: Payment) -> None:
    one = _add(block, "CdtTrfTxInf")
    _add(_add(one, "PmtId"), "EndToEndId", payment.id)
    amount = _add(_add(one, "Amt"), "InstdAmt", _money(payment.cents))
    amount.set("Ccy", payment.currency)
    _agent(one, "CdtrAgt", payment.payee)
    _add(_add(one, "Cdtr"), "Nm", payment.payee.name)
    _account(one, "CdtrAcct", payment.payee)
    _add(_add(one, "RmtInf"), "Ustrd", f"Share of energy events {payment.id}")


def _totals(into: ElementTree.Element, payments: tuple[Payment, ...]) -> None:
    _add(into, "NbOfTxs", str(len(payments)))
    _add(into, "CtrlSum", _money(total_cents(payments)))


def _account(into: ElementTree.Element, name: str, payee: Payee) -> None:
    number = _add(_add(into, name), "Id")
    if payee.iban:
        _add(number, "IBAN", payee.iban)
    else:
        _add(_add(number, "Othr"), "Id", payee.account)


def _agent(into: ElementTree.Element, name: str, payee: Payee) -> None:
    bank = _add(_add(into, name), "FinInstnId")
    if payee.bic:
        _add(bank, "BICFI", payee.bic)
    elif payee.routing:
        member = _add(bank, "ClrSysMmbId")
        _add(_add(member, "ClrSysId"), "Cd", "USABA")
        _add(member, "MmbId", payee.routing)
    else:
        _add(_add(bank, "Othr"), "Id", "NOTPROVIDED")


def _add(into: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    made = ElementTree.SubElement(into, _tag(name))
    made.text = text
    return made


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _money(cents: int) -> str:
    return f"{Decimal(cents) / 100:.2f}"


def as_csv(sent: PaymentsSent) -> str:
    """Return a run of payments as CSV: a row a payment."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["payment", "run", "on", *COLUMNS, "amount", "currency"])
    for each in sent.payments:
        payee = each.payee
        who = [payee.owner, payee.name, payee.iban, payee.bic, payee.account, payee.routing]
        writer.writerow([each.id, sent.run, sent.on, *who, _money(each.cents), each.currency])
    return out.getvalue()
