"""A participant and a market by another hand: zeep for SOAP, xmlsec (libxmlsec1) for signatures; nothing of Tieline.

`ask URL`: a participant. It creates a bid set, asks for its status, and prints what it was told as one JSON line; the
market's signature is verified by zeep. `serve`: a market that verifies what it is asked, answers signed, prints its
port and then, as JSON lines, what it was asked. Both take the folder of certificates, and the WSDL, from the
environment: EWS_FOLDER and EWS_WSDL.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import xmlsec
from lxml import etree
from zeep import Client, Settings
from zeep.wsse import utils
from zeep.wsse.signature import (
    BinarySignature,
    _make_sign_key,
    _make_verify_key,
    _sign_envelope_with_key_binary,
    _verify_envelope_with_key,
)

FOLDER = Path(os.environ["EWS_FOLDER"])
M = "http://www.ercot.com/schema/2007-06/nodal/ews/message"
E = "http://www.ercot.com/schema/2007-06/nodal/ews"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
NOTIFIED = datetime.now(UTC)


def stamp(envelope):
    """Put a timestamp into the security header; zeep signs it with the body."""
    made, now = utils.WSU.Timestamp(), datetime.now(UTC).replace(microsecond=0)
    for name, at in (("Created", now), ("Expires", now + timedelta(minutes=1))):
        made.append(utils.WSU(name, at.isoformat().replace("+00:00", "Z")))
    utils.get_security_header(envelope).append(made)


class Signed(BinarySignature):
    def apply(self, envelope, headers):
        stamp(envelope)
        return super().apply(envelope, headers)


def how(mine, theirs):
    strong = {"signature_method": xmlsec.Transform.RSA_SHA256, "digest_method": xmlsec.Transform.SHA256}
    made = Signed(str(FOLDER / f"{mine}.key"), str(FOLDER / f"{mine}.pem"), **strong)
    made.cert_data = (FOLDER / f"{mine}.pem").read_bytes()
    verify_with = (FOLDER / f"{theirs}.pem").read_bytes()
    # zeep verifies what it receives with the certificate that it signs with; the market's is another.
    made.verify = lambda envelope: _verify_envelope_with_key(envelope, _make_verify_key(verify_with)) or envelope
    return made


def ask(url):
    client = Client(os.environ["EWS_WSDL"], wsse=how("QTIELINE", "ERCOT"), settings=Settings(strict=False))
    service = client.create_service("{urn:tieline:test:ews}Binding", url)

    def header(verb, nonce):
        return {
            "Verb": verb,
            "Noun": "BidSet",
            "ReplayDetection": {"Nonce": nonce, "Created": "2021-06-15T00:00:00Z"},
            "Revision": "1",
            "Source": "QTIELINE",
            "UserID": "peer",
        }

    bids = etree.fromstring(sys.stdin.buffer.read())
    made = service.MarketTransactions(
        Header=header("create", "1"), Request={"MarketType": "DAM"}, Payload={"_value_1": [bids]}
    )
    rows = made.Payload["_value_1"][0]
    keys = [each.text for each in rows.iter(f"{{{E}}}mRID")]
    status = service.MarketTransactions(Header=header("get", "2"), Request={"ID": keys})
    told = [each.text for each in status.Payload["_value_1"][0].iter(f"{{{E}}}status")]
    print(json.dumps({"code": made.Reply.ReplyCode, "keys": keys, "status": told}), flush=True)


ANSWER = """<s:Envelope xmlns:s="{soap}"><s:Header/><s:Body><m:ResponseMessage xmlns:m="{m}"><m:Header><m:Verb>reply</m:Verb>
<m:Noun>{noun}</m:Noun><m:ReplayDetection><m:Nonce>{nonce}</m:Nonce><m:Created>{now}</m:Created></m:ReplayDetection>
<m:Revision>1</m:Revision><m:Source>ERCOT</m:Source></m:Header><m:Reply><m:ReplyCode>{code}</m:ReplyCode>
<m:Timestamp>{now}</m:Timestamp></m:Reply>{payload}</m:ResponseMessage></s:Body></s:Envelope>"""


class Market(BaseHTTPRequestHandler):
    count = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        envelope = etree.fromstring(body)
        _verify_envelope_with_key(envelope, _make_verify_key((FOLDER / "QTIELINE.pem").read_bytes()))
        find = lambda name: [each.text for each in envelope.iter(f"{{{M}}}{name}")]  # noqa: E731
        verb, noun = find("Verb")[0], find("Noun")[0]
        states = [each.text for each in envelope.iter(f"{{{E}}}status")]
        print(json.dumps([verb, noun, states]), flush=True)
        Market.count += 1
        now = datetime.now(UTC)
        text = ANSWER.format(
            soap=SOAP,
            m=M,
            noun=noun,
            nonce=Market.count,
            now=now.isoformat(),
            code="OK",
            payload=self.payload(verb, noun, now),
        )
        made = etree.fromstring(text)
        stamp(made)
        key = _make_sign_key((FOLDER / "ERCOT.key").read_bytes(), (FOLDER / "ERCOT.pem").read_bytes(), None)
        _sign_envelope_with_key_binary(made, key, xmlsec.Transform.RSA_SHA256, xmlsec.Transform.SHA256)
        data = etree.tostring(made)
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def payload(self, verb, noun, now):
        if (verb, noun) != ("get", "VDIs"):
            return ""
        end = (NOTIFIED + timedelta(minutes=5)).isoformat()
        rows = "".join(
            f"<VDI><resource>{resource}</resource><Details><ercotOperatorName>o</ercotOperatorName><instructionType>"
            f"AT_PQ_LEV</instructionType><notificationTime>{NOTIFIED.isoformat()}</notificationTime><completionTime>{end}"
            f"</completionTime><vdiRefNum>{at}</vdiRefNum><finalOprLevel>2.5</finalOprLevel></Details></VDI>"
            for at, resource in ((1, "TL_NORTH"), (2, "ELSEWHERE"))
        )
        return f'<m:Payload xmlns:m="{M}"><VDIs xmlns="{E}">{rows}</VDIs></m:Payload>'

    def log_message(self, *said):
        pass


if sys.argv[1] == "ask":
    ask(sys.argv[2])
else:
    server = HTTPServer(("127.0.0.1", 0), Market)
    print(server.server_port, flush=True)
    server.serve_forever()
