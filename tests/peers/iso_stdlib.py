"""A dispatch web service written from the standard library alone (http.server, xml.etree, gzip): the independent peer.

It imports nothing of Tieline and was written from the wire format's description, not from its codec. It holds three
batches (2 supersedes the second half of 1; 3 has expired), prints its port, and prints what it is answered as JSON
lines. Arguments: the UTC second at which batch 1 begins.
"""

import base64
import gzip
import json
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

NS = "{urn:tieline:ads:1}"
START = datetime.fromtimestamp(int(sys.argv[1]), UTC)


def at(minutes):
    return (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def batch(uid, revision, begins, ends, mw, expires):
    text = (
        f"<DispatchBatch xmlns='urn:tieline:ads:1' batchUID='{uid}' marketID='RT5' batchStatus='ACTIVE' "
        f"batchSent='{at(-1)}' batchExpires='{at(expires)}' batchType='RTD' startTime='{at(begins)}' "
        f"dispatchMode='NORMAL' bindingFlag='true' revisionNo='{revision}'>"
        f"<Instruction instructionUID='i{uid}' resource='TL_NORTH' product='ENERGY' price='42.5'>"
        f"<Segment startTime='{at(begins)}' endTime='{at(ends)}' mw='{mw}'/></Instruction></DispatchBatch>"
    )
    return base64.b64encode(gzip.compress(text.encode())).decode()


BATCHES = {"1": batch(1, 1, 0, 5, 4.0, 5), "2": batch(2, 2, 2.5, 5, 2.5, 5), "3": batch(3, 3, 5, 10, 1.0, -60)}


def answer(call):
    name, uid = call.tag.removeprefix(NS), call.get("batchUID")
    if name == "GetDispatchBatchesSinceUID":
        rows = "".join(
            f"<BatchHeader batchUID='{each}' batchSent='{at(-1)}' batchType='RTD'/>" for each in ("2", "1", "2", "3")
        )
        return f"<DispatchBatches xmlns='urn:tieline:ads:1' serverTime='{at(0)}'>{rows}</DispatchBatches>"
    if name == "GetDispatchBatch":
        return f"<PackedBatch xmlns='urn:tieline:ads:1' batchUID='{uid}' payload='{BATCHES[uid]}'/>"
    if name == "GetAwards":
        return f"<AwardRows xmlns='urn:tieline:ads:1' marketDate='{call.get('marketDate')}' cleared='false'/>"
    if name == "RespondDispatchBatch":
        replies = [[r.get("instructionUID"), r.get("response"), r.get("reason")] for r in call]
        print(json.dumps([uid, replies]), flush=True)
    return f"<Acknowledged xmlns='urn:tieline:ads:1' uid='{uid}' status='OK'/>"


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        document = ET.fromstring(self.rfile.read(int(self.headers["Content-Length"])))
        body = document.find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
        text = (
            "<?xml version='1.0'?><s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>"
            f"<s:Body>{answer(body[0])}</s:Body></s:Envelope>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Service)
print(server.server_address[1], flush=True)
server.serve_forever()
