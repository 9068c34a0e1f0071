"""Readings a second from an HTTP body to the answer that says they are durable."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tieline.errors import ConfigError

BAR = 1_000_000.0
UNIT = "records/s"
WHAT = "HTTP -> columns -> write-ahead log -> fsync -> 200, columnar JSON, 1,000 records a request, two processes"
DEVICES, ROWS, CONNECTIONS = 100_000, 1_000, 16


async def _serve(folder: Path) -> None:
    """Serve the ingest over the real HTTP stack, on a port that is free and that it tells, until killed."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from tieline.bench.arbitrate import plain_fleet
    from tieline.desk.screens import Ingested
    from tieline.rim.clock import SystemClock
    from tieline.rim.serve import serve_asgi
    from tieline.rim.supervise import Supervisor
    from tieline.store.group import GroupCommit
    from tieline.store.ingest import Ingest
    from tieline.store.series import Wal

    fleet = plain_fleet(DEVICES)
    async with Supervisor(np.random.default_rng(0)) as supervisor:
        group = GroupCommit(Wal(folder), supervisor.spawn, ThreadPoolExecutor(1))
        ingest = Ingest(fleet, fleet.take_readings, group.append, SystemClock())
        encode = msgspec.json.Encoder().encode

        async def accept(request: Request) -> Response:
            answer = await ingest.accept(await request.body())
            return Response(encode(answer), 200 if isinstance(answer, Ingested) else 400)

        app = Starlette(routes=[Route("/readings", accept, methods=["POST"])])
        server = await serve_asgi(app, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


async def _send(port: int, seconds: float, seed: int) -> tuple[int, float]:
    """Send bodies over some connections for so long; return (records acknowledged, seconds)."""
    rng = np.random.default_rng(seed)
    bodies = []
    for n in range(32):
        rows = rng.choice(DEVICES, ROWS, replace=False)
        values = np.round(rng.normal(0, 3e3, ROWS), 1).tolist()
        names, when = [f"battery-{row}" for row in rows], [1_700_000_000_000_000_000 + n] * ROWS
        body = {"point": "power_w", "resource": names, "value": values, "taken_at_ns": when}
        raw = msgspec.json.encode(body)
        head = f"POST /readings HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
        bodies.append(head.encode() + raw)
    done, began = 0, time.perf_counter()

    async def one(turn: int) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while time.perf_counter() - began < seconds:
            writer.write(bodies[turn % len(bodies)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = msgspec.json.decode(await reader.readexactly(length))
            done += answer["taken"]
            turn += 1
        writer.close()

    await asyncio.gather(*(one(turn) for turn in range(CONNECTIONS)))
    return done, time.perf_counter() - began


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Start the server in a process of its own, and send from this one."""
    import uvloop

    seconds = 1.0 if quick else 8.0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tieline.bench.ingest", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            told = server.stdout.readline()
            if not told:
                raise ConfigError("the server ended before it told its port: what it printed says why")
            port = int(told)
            uvloop.run(_send(port, 0.5, seed))
            records, took_s = uvloop.run(_send(port, seconds, seed))
        finally:
            server.kill()
            server.wait()
        kept = _kept(Path(folder))
    rate = records / took_s
    progress(f"{records:,} records acknowledged in {took_s:.1f} s; {kept:,} on disk")
    return {"value": round(rate), "ok": rate >= BAR and kept >= records, "records": records, "on_disk": kept}


def _kept(folder: Path) -> int:
    from tieline.store.segment import read_segment
    from tieline.store.series import Wal

    return sum(read_segment(path).num_rows for path in Wal(folder).segments())


def _main(arguments: list[str]) -> Any:
    import uvloop

    return uvloop.run(_serve(Path(arguments[0])))


if __name__ == "__main__":
    _main(sys.argv[1:])
