"""The ISO's service driven by tools of other hands: curl over TLS, openssl, gzip, base64, and lxml to read the answers."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from tieline.rim.certificates import Files, server_context
from tieline.rim.clock import SystemClock
from tieline.simulate.iso.app import IsoApp, serve_iso
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket, Published
from tieline.times import MINUTE_NS, from_ns
from tieline.wire.ads import messages as ads
from tieline.wire.ads.codec import MOST_BYTES, pack

TOOLS = ("curl", "openssl", "gzip", "base64")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]
SOAP, ADS = "{http://schemas.xmlsoap.org/soap/envelope/}", "{urn:tieline:ads:1}"
MEAN = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def wrapped(inner: str) -> str:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns="urn:tieline:ads:1"><s:Body>{inner}</s:Body></s:Envelope>'
    )


def run(*words: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run([str(word) for word in words], input=stdin, capture_output=True, check=True).stdout


class Pki:
    """An authority made by openssl alone."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate)  # fmt: skip

    def issue(self, name: str, san: str = "") -> Files:
        """Return the files of a certificate; `san`: an address that it stands for."""
        key, asked, made = (self.folder / f"{self.name}-{name}.{end}" for end in ("key", "csr", "pem"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", asked)  # fmt: skip
        more: tuple[str | Path, ...] = ()
        if san:
            extra = self.folder / "san.cnf"
            extra.write_text(f"subjectAltName=IP:{san}\n")
            more = ("-extfile", extra)
        run("openssl", "x509", "-req", "-in", asked, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "2", "-out", made, *more)  # fmt: skip
        return Files(made, key, self.certificate)


@dataclass
class Answer:
    exit: int
    status: int
    body: bytes
    words: str

    def message(self) -> etree._Element:
        """The one message in the SOAP body, as lxml reads it."""
        root = etree.fromstring(self.body, MEAN)
        assert root.tag == f"{SOAP}Envelope"
        (inner,) = root.find(f"{SOAP}Body")
        return inner


class Room:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.authority = Pki(folder, "authority")
        self.client = self.authority.issue("tieline")
        faults = Faults(FaultMenu(), np.random.default_rng(1))
        self.market = IsoMarket(self.clock, np.random.default_rng(1), faults)
        self.app = IsoApp(self.market, faults)
        self.url = ""

    async def curl(self, body: str | bytes, files: Files | None = None, bare: bool = False, *more: str) -> Answer:
        """POST a body, with our client's certificate where no other is named."""
        raw = body.encode() if isinstance(body, str) else body
        files = files or self.client
        words = ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", str(self.authority.certificate)]
        words += [] if bare else ["--cert", str(files.certificate), "--key", str(files.key)]
        words += ["--header", "Content-Type: text/xml; charset=utf-8", "--data-binary", "@-", *more]
        words += ["--write-out", "\n%{http_code}", self.url]
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        out, err = await child.communicate(raw)
        text, _, status = out.rpartition(b"\n")
        return Answer(child.returncode or 0, int(status or 0), text, err.decode())

    def publish(self) -> str:
        now_ns = self.clock.now_ns()
        start_ns, end_ns = now_ns + 2 * MINUTE_NS, now_ns + 7 * MINUTE_NS
        segment = ads.Segment(from_ns(start_ns), from_ns(end_ns), 4.25)
        one = ads.Instruction("i-1", "TL_NORTH", "ENERGY", 42.5, (segment,))
        batch = ads.DispatchBatch(
            "7", "RT5", "ACTIVE", from_ns(now_ns), from_ns(end_ns), "RTD", from_ns(start_ns), "NORMAL", True, 1, (one,)
        )
        self.market.batches["7"] = Published(batch, now_ns, pack(batch))
        return "7"


def play(folder: Path, scene: Callable[[Room], Awaitable[None]]) -> None:
    async def main() -> None:
        room = Room(folder)
        server = await serve_iso(room.app, "127.0.0.1", 0, server_context(room.authority.issue("iso", san="127.0.0.1")))
        room.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/ads"
        await scene(room)
        server.close()

    asyncio.run(main())


def test_curl_lists_fetches_unpacks_and_answers_a_batch_with_its_certificate(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        uid = room.publish()
        listed = await room.curl(wrapped('<GetDispatchBatchesSinceUID lastUID="-1"/>'))
        assert (listed.exit, listed.status) == (0, 200)
        assert [row.get("batchUID") for row in listed.message()] == [uid]
        fetched = await room.curl(wrapped(f'<GetDispatchBatch batchUID="{uid}"/>'))
        payload = fetched.message().get("payload")
        assert payload
        plain = run("gzip", "-dc", stdin=run("base64", "-d", stdin=payload.encode()))
        batch = etree.fromstring(plain, MEAN)
        assert (batch.tag, batch.get("batchUID"), batch.get("bindingFlag")) == (f"{ADS}DispatchBatch", uid, "true")
        assert [s.get("mw") for s in batch.iter(f"{ADS}Segment")] == ["4.25"]
        for body in (
            f'<ValidateDispatchBatch batchUID="{uid}"/>',
            f'<RespondDispatchBatch batchUID="{uid}"><Reply instructionUID="i-1" response="ACCEPT"/></RespondDispatchBatch>',
        ):
            assert (await room.curl(wrapped(body))).message().get("status") == "OK"
        assert room.market.seen.replies[uid].replies[0].response == "ACCEPT"
        assert room.market.batches[uid].status == "ANSWERED"

    play(tmp_path, scene)


def test_who_has_no_certificate_of_the_authority_is_hung_up_on_before_a_byte_is_read(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        stranger = Pki(tmp_path, "stranger").issue("tieline")
        call = wrapped('<GetDispatchBatchesSinceUID lastUID="-1"/>')
        for refused in (await room.curl(call, bare=True), await room.curl(call, stranger)):
            # TLS 1.3 tells a client that it is refused after its handshake: curl sees an alert (56), or just an end (52).
            assert refused.exit in (35, 52, 56) and refused.status == 0, refused
        assert room.app.calls == {}
        assert (await room.curl(call)).status == 200

    play(tmp_path, scene)


def test_a_client_that_trusts_another_authority_refuses_our_server(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        room.authority = Pki(tmp_path, "elsewhere")
        refused = await room.curl(wrapped('<GetDispatchBatchesSinceUID lastUID="-1"/>'))
        assert refused.exit == 60  # CURLE_PEER_FAILED_VERIFICATION
        assert room.app.calls == {}

    play(tmp_path, scene)


CALL = '<GetDispatchBatchesSinceUID lastUID="-1"/>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "nothing": (b"", "XML"),
    "cut off": (wrapped(CALL)[:-30].encode(), "XML"),
    "no XML": (b"\x00\x01\x02 lastUID=-1", "XML"),
    "JSON": (b'{"lastUID": -1}', "XML"),
    "no envelope": (CALL.encode(), "envelope"),
    "two messages": (wrapped(CALL * 2).encode(), "envelope"),
    "another namespace": (wrapped(CALL).replace("urn:tieline:ads:1", "urn:other").encode(), "urn:other"),
    "unknown attribute": (wrapped(CALL.replace("/>", ' more="1"/>')).encode(), "more"),
    "missing attribute": (wrapped("<GetDispatchBatch/>").encode(), "batchUID"),
    "entities that expand": (
        wrapped(CALL).replace(
            '<?xml version="1.0"?>', f'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY l0 "ha">{LAUGHS}]>'
        ).replace("-1", "&l9;").encode(),
        "DTD",
    ),
    "an entity of a file": (
        wrapped(CALL).replace(
            '<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        ).replace("-1", "&x;").encode(),
        "DTD",
    ),
    "a DTD of another host": (
        wrapped(CALL).replace(
            '<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE z SYSTEM "http://127.0.0.1:1/z.dtd">'
        ).encode(),
        "DTD",
    ),
    "too deep": (wrapped("<a>" * 500 + "</a>" * 500).encode(), "deeper"),
    "too long": (wrapped(CALL + " " * (MOST_BYTES + 1)).encode(), str(MOST_BYTES)),
}  # fmt: skip


def test_a_body_that_is_none_gets_a_fault_in_words_and_the_service_goes_on(tmp_path: Path) -> None:
    """SOAP 1.1, 4.4.1 and 6.2: faultcode Client, with HTTP 500; nothing of what was sent is carried out or echoed."""

    async def scene(room: Room) -> None:
        for name, (body, words) in HOSTILE.items():
            answer = await room.curl(body)
            assert answer.status == 500, (name, answer)
            fault = answer.message()
            assert fault.tag == f"{SOAP}Fault" and fault.findtext("faultcode") == "soap:Client", name
            said = fault.findtext("faultstring") or ""
            assert words in said and len(said) <= 500, (name, said)
            assert b"root:" not in answer.body and b"haha" not in answer.body, name
        assert room.app.calls == {}
        assert (await room.curl(wrapped(CALL))).status == 200

    play(tmp_path, scene)


def test_a_body_in_chunks_and_one_that_waits_for_continue_are_read_as_any(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        room.publish()
        for header in ("Transfer-Encoding: chunked", "Expect: 100-continue"):
            answer = await room.curl(wrapped(CALL), None, False, "--header", header)
            assert (answer.status, len(answer.message())) == (200, 1), header

    play(tmp_path, scene)
