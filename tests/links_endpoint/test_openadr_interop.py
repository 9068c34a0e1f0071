"""An independent OpenADR 3.1 client by other hands drives our VTN over real sockets."""

import asyncio
import json
import os
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from tieline.links.endpoint.openadr.access import READ_ALL, Client, Tokens, secret_digest
from tieline.links.endpoint.openadr.book import Book
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.rim.serve import serve_asgi
from tieline.rim.supervise import Supervisor
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal

ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv-peers-openadr" / "bin" / "python"


class WallClock:
    def now_ns(self) -> int:
        return time.time_ns()


@pytest.mark.interop
@pytest.mark.skipif(not PEER.exists(), reason="no peer: run `make peers-openadr` (needs Python 3.12 or newer)")
def test_openadr3_client_works_our_vtn_as_business_logic_and_as_ven(tmp_path: Path) -> None:
    async def main() -> dict:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            group = GroupCommit(SqliteJournal(tmp_path / "j"), supervisor.spawn)
            scopes = {
                "bl": frozenset({READ_ALL, "write_programs", "write_events", "write_vens", "write_targets"}),
                "site-6": frozenset({"read_targets", "read_ven_objects", "write_vens", "write_reports"}),
            }
            clients = {n: Client(n, secret_digest(f"secret-of-{n}"), s) for n, s in scopes.items()}
            tokens = Tokens(clients, b"k" * 32, WallClock())
            vtn = Vtn(Book(group, WallClock()), tokens, supervisor, httpx.AsyncClient(), ())
            server = await serve_asgi(vtn.app, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            script = str(ROOT / "tests" / "peers" / "openadr_client.py")
            peer = await asyncio.create_subprocess_exec(
                str(PEER),
                script,
                url,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(os.environ, OAUTHLIB_INSECURE_TRANSPORT="1"),
            )
            out, err = await peer.communicate()
            server.close()
            assert peer.returncode == 0, err.decode()[-3000:]
            return json.loads(out)

    found = asyncio.run(main())
    assert found == {
        "program": "peer-program", "ven": "site-6", "events_seen_by_ven": ["shed"], "value": 2, "minutes": 15.0,
        "twice": "409", "after_delete": 0,
    }  # fmt: skip
