"""An auction behind a web service, written from the standard library alone: it takes bids and clears each whole.

It imports nothing of Tieline and was written from the wire format's description. Every bid of a market day is awarded in
full at 50 $/MWh as soon as its day is asked for; there is no dispatch. It prints its port.
"""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NS = "{urn:tieline:ads:1}"
BIDS = {}


def answer(call):
    name = call.tag.removeprefix(NS)
    if name == "SubmitBids":
        results = ""
        for bid in call:
            BIDS[bid.get("bidUID")] = bid
            results += f"<BidResult bidUID='{bid.get('bidUID')}' status='SUBMITTED'/>"
        return f"<BidResults xmlns='urn:tieline:ads:1'>{results}</BidResults>"
    if name == "GetAwards":
        day = call.get("marketDate")
        mine = [bid for bid in BIDS.values() if bid.get("marketDate") == day]
        rows = ""
        for bid in mine:
            told = {key: bid.get(key) for key in ("bidUID", "resource", "product", "marketDate", "hourEnding")}
            told |= {"repeatedHour": bid.get("repeatedHour", "false"), "awardUID": "aw-" + bid.get("bidUID")}
            told |= {"mw": str(sum(float(step.get("mw")) for step in bid)), "price": "50.0"}
            rows += "<AwardRow " + " ".join(f"{key}='{value}'" for key, value in told.items()) + "/>"
        cleared = "true" if mine else "false"
        return f"<AwardRows xmlns='urn:tieline:ads:1' marketDate='{day}' cleared='{cleared}'>{rows}</AwardRows>"
    if name == "GetDispatchBatchesSinceUID":
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"<DispatchBatches xmlns='urn:tieline:ads:1' serverTime='{now}'/>"
    return f"<Acknowledged xmlns='urn:tieline:ads:1' uid='{call.get('resource', 'ok')}' status='OK'/>"


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


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    print(server.server_address[1], flush=True)
    server.serve_forever()
